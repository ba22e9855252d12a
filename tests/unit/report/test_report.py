"""What stands in a report; how it looks is tested in tests/integration/test_report_page.py."""

import re

import numpy as np
import pytest

from spec2mol import Candidate
from spec2mol.report import Report
from spec2mol.spectra import load_inputs
from tests.pages import report_data

CAFFEINE = Candidate("Cn1c(=O)c2c(ncn2C)n(C)c1=O", "RYYVLZVUVIJVGH-UHFFFAOYSA-N", "C8H10N4O2", -1.25)
ETHANOL = Candidate("CCO", "LFQSCWFLJHTTHZ-UHFFFAOYSA-N", "C2H6O", -2.5)


def entry(peaks, **fields):
    fields = {"PEPMASS": "195.0877", "ADDUCT": "[M+H]+"} | fields
    lines = "".join(f"{key}={value}\n" for key, value in fields.items())
    return f"BEGIN IONS\n{lines}" + "".join(f"{mz} {intensity}\n" for mz, intensity in peaks) + "END IONS\n"


PEAKS = [(110.0713, 30), (120.0, 10), (138.0662, 60), (195.0877, 100)]  # C5H8N3+, noise, C6H8N3O+, the precursor


@pytest.fixture
def report(tmp_path):
    """report(entries, answers) -> data of the page, and its text."""

    def write(entries, answers, **options):
        (tmp_path / "run.mgf").write_text("".join(entries))
        reader = load_inputs([tmp_path / "run.mgf"])
        page = Report(tmp_path / "report.html", "org/model", **options)
        for spectrum, candidates in zip(reader, answers, strict=True):
            page.add(spectrum, candidates)
        page.write(reader)
        return report_data(page.path), page.path.read_text("utf-8")

    return write


def test_peaks_are_explained_by_the_best_answer(report):
    (query,) = report([entry(PEAKS)], [[CAFFEINE, ETHANOL]])[0]["queries"]
    assert query["mzs"] == [mz for mz, _ in PEAKS]
    assert query["intensities"] == [30, 10, 60, 100]
    assert [(i, ion) for i, ion, _ in query["ions"]] == [(0, "C5H8N3"), (2, "C6H8N3O"), (3, "C8H11N4O2")]
    assert all(abs(error) < 5 for _, _, error in query["ions"])
    assert query["explained"] == 0.9  # The precursor does not count: 30 + 60 of 100.


def test_ppm_decides_what_is_explained(report):
    shifted = [(mz * (1 + 4e-6), intensity) for mz, intensity in PEAKS]
    (query,) = report([entry(shifted)], [[CAFFEINE]], ppm=20)[0]["queries"]
    assert "C6H8N3O" in [ion for _, ion, _ in query["ions"]]
    (query,) = report([entry(shifted)], [[CAFFEINE]], ppm=3)[0]["queries"]
    assert "C6H8N3O" not in [ion for _, ion, _ in query["ions"]]


def test_answers_with_their_exact_mass_check(report):
    data, _ = report([entry(PEAKS)], [[CAFFEINE, ETHANOL]])
    caffeine, ethanol = data["queries"][0]["answers"]
    assert data["molecules"][caffeine[0]]["smiles"] == CAFFEINE.smiles
    assert caffeine[1:3] == [-1.25, pytest.approx(0.1, abs=0.3)]
    assert ethanol[2] > 1e6
    assert caffeine[3:] == [None, None]


def test_a_molecule_is_drawn_once(report):
    data, _ = report([entry(PEAKS)] * 3, [[CAFFEINE, ETHANOL], [ETHANOL], []])
    assert [m["smiles"] for m in data["molecules"]] == [CAFFEINE.smiles, ETHANOL.smiles]
    assert [[a[0] for a in q["answers"]] for q in data["queries"]] == [[0, 1], [1], []]


def test_an_unknown_adduct_and_no_answer_are_no_errors(report):
    data, _ = report([entry(PEAKS, ADDUCT="[M+Xy]+"), entry(PEAKS)], [[CAFFEINE], []])
    assert data["queries"][0]["answers"][0][2] is None
    assert all("ions" not in query and "explained" not in query for query in data["queries"])


def test_long_spectra_keep_their_most_intense_peaks_and_say_so(report):
    peaks = [(50 + i / 10, i + 1) for i in range(1000)]
    (query,) = report([entry(peaks, PEPMASS=400)], [[ETHANOL]])[0]["queries"]
    assert (query["peaks"], len(query["mzs"])) == (1000, 200)
    assert query["mzs"] == [mz for mz, _ in np.round(peaks[-200:], 4).tolist()]


def test_what_was_skipped_is_told(report):
    entries = [entry(PEAKS), entry([]), entry(PEAKS, ADDUCT=""), entry(PEAKS, MSLEVEL=1)]
    data, _ = report(entries, [[CAFFEINE]] * 2)
    (file,) = data["files"]
    assert (file["read"], file["notMs2"]) == (2, 1)
    assert file["skipped"] == [[1, "run:1", "no peaks"]]
    assert any("[M+H]+ assumed" in text for text in file["warnings"])


def test_the_page_stands_alone_and_is_safe_from_its_data(report):
    """Text of the file stays inside of the packed data; nothing in the page asks for a network address."""
    data, page = report([entry(PEAKS, FEATURE_ID="</script><img src=x onerror=alert(1)>")], [[CAFFEINE]])
    assert data["queries"][0]["id"].startswith("</script>")
    assert "onerror=alert" not in page
    assert "default-src 'none'" in page
    assert not re.search(r'(src|href)=["\']?(https?:)?//', page)


@pytest.mark.parametrize("word", ["Mike Bostock", "Observable, Inc.", "Permission to use, copy, modify"])
def test_the_licence_of_the_plotting_library_travels_along(word, report):
    assert word in report([entry(PEAKS)], [[CAFFEINE]])[1]


def test_a_library_match_is_mirrored(report, tmp_path):
    pytest.importorskip("matchms", reason="the library search of reports needs the extra `report`")
    library = tmp_path / "library.mgf"
    library.write_text(entry(PEAKS, NAME="Caffeine", SMILES=CAFFEINE.smiles, COLLISION_ENERGY="20 eV"))
    data, _ = report([entry(PEAKS), entry(PEAKS, PEPMASS=500)], [[ETHANOL], []], library=library)
    match = data["queries"][0]["match"]
    assert (match["name"], match["cosine"], match["matched"], match["energy"]) == ("Caffeine", 1.0, 4, 20.0)
    assert match["mzs"] == [mz for mz, _ in PEAKS]
    assert data["molecules"][match["molecule"]]["formula"] == "C8H10N4O2"
    assert "match" not in data["queries"][1]
    assert data["library"] == 1
