import pytest

from spec2mol.report.library import SpectralLibrary
from spec2mol.spectra import load_spectra

pytest.importorskip("matchms", reason="the library search of reports needs the extra `report`")

PEAKS = "110.0713 35\n138.0662 100\n"


def entry(name, mz=195.0877, peaks=PEAKS, mode="positive"):
    return f"BEGIN IONS\nNAME={name}\nSMILES=CCO\nPEPMASS={mz}\nIONMODE={mode}\n{peaks}END IONS\n"


@pytest.fixture
def library(tmp_path):
    path = tmp_path / "library.mgf"
    others = [
        entry("alike", peaks="110.0720 30\n138.0655 100\n170.0 10\n"),
        entry("same", peaks="110.0713 70\n138.0662 200\n"),
        entry("other ion", mode="negative"),
        entry("other mass", mz=195.0977),
        entry("other compound", mz=300.1, peaks="50.0 100\n60.0 100\n"),
    ]
    path.write_text("".join(others))
    return SpectralLibrary(path)


@pytest.fixture
def query(tmp_path):
    def make(**fields):
        path = tmp_path / "query.mgf"
        path.write_text(entry("query", **fields))
        return next(load_spectra(path))

    return make


def test_the_most_similar_of_the_same_ion(library, query):
    match = library.match(query())
    assert (match.name, match.matched_peaks, match.smiles) == ("same", 2, "CCO")
    assert match.cosine == pytest.approx(1.0)


def test_the_precursor_must_agree(library, query):
    assert library.match(query(mz=195.0890), ppm=5) is None
    assert library.match(query(mz=195.0890), ppm=10).name == "same"


def test_a_spectrum_like_none_has_no_match(library, query):
    assert library.match(query(mz=300.1)) is None
