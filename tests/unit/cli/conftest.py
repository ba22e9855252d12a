import pytest

from spec2mol.saving import save_for_hub
from tests import builders


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory):
    """A tiny model that writes molecules of a few atoms, as `train.py` would leave it."""
    folder = tmp_path_factory.mktemp("model")
    save_for_hub(*builders.trained(steps=60), folder)
    return folder


@pytest.fixture
def mgf(tmp_path):
    """Writes an mgf file of the builder's spectra; entries may be replaced by text."""

    def write(name="spectra.mgf", entries=None):
        path = tmp_path / name
        path.write_text("\n".join(entries if entries is not None else map(entry, range(4), builders.spectra())))
        return path

    return write


def entry(index, spectrum) -> str:
    peaks = "\n".join(f"{mz:.5f} {i:.4f}" for mz, i in zip(spectrum["mzs"], spectrum["intensities"], strict=True))
    fields = f"TITLE=query {index}\nPEPMASS={spectrum['precursor_mz']}\nCHARGE=1+"
    return f"BEGIN IONS\n{fields}\n{peaks}\nEND IONS\n"
