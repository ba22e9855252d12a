"""Annotated mgf: what other programs read of it."""

import numpy as np
import pytest
from pyteomics import mgf as pyteomics_mgf

from spec2mol import Candidate, load_spectra
from spec2mol.cli.output import MgfWriter
from spec2mol.spectra import load_inputs

CAFFEINE = Candidate("Cn1c(=O)c2c(ncn2C)n(C)c1=O", "RYYVLZVUVIJVGH-UHFFFAOYSA-N", "C8H10N4O2", -1.25)
ENTRIES = """BEGIN IONS
FEATURE_ID=17
SCANS=90
NAME=what the file says
SMILES=CCO
PEPMASS=195.0877
RTINSECONDS=61.5
CHARGE=1+
COLLISION_ENERGY=30 eV
110.0713 35
138.06619 1000000
END IONS

BEGIN IONS
FEATURE_ID=18
PEPMASS=195.0877
IONMODE=negative
ADDUCT=[M+Xy]-
SMILES=CCO
110.0713 35
END IONS
"""


@pytest.fixture
def annotated(tmp_path):
    """File with an answer to the first of two spectra."""
    source, path = tmp_path / "source.mgf", tmp_path / "annotated.mgf"
    source.write_text(ENTRIES)
    with MgfWriter(path) as writer:
        for spectrum, candidates in zip(load_inputs([source]), ([CAFFEINE], []), strict=True):
            writer.write(spectrum, candidates)
    return path


def test_the_best_answer_takes_the_place_of_what_the_file_said(annotated):
    answered, unanswered = load_spectra(annotated)
    fields = answered["metadata"]
    assert [fields[key] for key in ("smiles", "inchikey", "formula")] == list(CAFFEINE[:3])
    assert "proposed by spec2mol" in fields["comment"]
    assert (fields["feature_id"], fields["scans"], fields["rtinseconds"]) == ("17", "90", "61.5")
    assert not {"smiles", "inchikey", "formula", "comment"} & unanswered["metadata"].keys()


def test_spectra_come_back_as_they_were(annotated, tmp_path):
    for before, after in zip(load_spectra(tmp_path / "source.mgf"), load_spectra(annotated), strict=True):
        np.testing.assert_allclose(after["mzs"], before["mzs"])
        np.testing.assert_allclose(after["intensities"], before["intensities"])
        for key in ("identifier", "precursor_mz", "adduct", "ion_mode", "collision_energy"):
            assert after[key] == before[key]


def test_pyteomics_reads_it(annotated):
    with pyteomics_mgf.read(str(annotated)) as entries:
        answered, unanswered = entries
    assert answered["params"]["smiles"] == CAFFEINE.smiles
    assert answered["params"]["pepmass"][0] == 195.0877
    assert [int(entry["params"]["charge"][0]) for entry in (answered, unanswered)] == [1, -1]


def test_matchms_reads_it(annotated):
    importing = pytest.importorskip("matchms.importing")
    answered, _ = importing.load_from_mgf(str(annotated))
    assert (answered.get("smiles"), answered.get("inchikey")) == (CAFFEINE.smiles, CAFFEINE.inchikey)
    assert (answered.get("precursor_mz"), answered.get("adduct")) == (195.0877, "[M+H]+")
