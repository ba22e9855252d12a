"""examples/known_compounds.mgf is what its script makes, and chemically possible."""

import runpy
from pathlib import Path

import pytest

from spec2mol.chemistry_spec2mol import ADDUCTS, formula_mass, parse_formula, precursor_mz
from spec2mol.spectra import load_spectra

EXAMPLES = Path(__file__).parents[3] / "examples"
SCRIPT = runpy.run_path(str(EXAMPLES / "make_known_compounds.py"))
COMPOUNDS = SCRIPT["COMPOUNDS"]


def by_name(compound):
    return compound.name


def ion_atoms(compound):
    """Element counts of the precursor ion [M+H]+ or [M-H]-."""
    atoms = parse_formula(compound.formula)
    atoms["H"] += {"[M+H]+": 1, "[M-H]-": -1}[compound.adduct]
    return atoms


def test_the_file_is_what_the_script_writes():
    assert (EXAMPLES / "known_compounds.mgf").read_text() == SCRIPT["make_mgf"]()


@pytest.mark.parametrize("compound", COMPOUNDS, ids=by_name)
def test_every_fragment_is_a_part_of_the_ion(compound):
    atoms = ion_atoms(compound)
    for fragment in compound.fragments:
        assert all(number <= atoms.get(element, 0) for element, number in parse_formula(fragment).items()), fragment


@pytest.mark.parametrize("compound", COMPOUNDS, ids=by_name)
def test_the_precursor_is_among_the_peaks_and_the_base_peak_is_100(compound):
    assert ion_atoms(compound) in [parse_formula(fragment) for fragment in compound.fragments]
    assert max(compound.fragments.values()) == 100


def test_masses_account_for_the_electron():
    assert SCRIPT["ion_mz"]("C6H8N3O", 1) == pytest.approx(138.0662, abs=5e-5)  # caffeine's base peak
    assert SCRIPT["ion_mz"]("C6H5O", -1) == pytest.approx(93.0346, abs=5e-5)  # phenolate


def test_the_file_reads_without_a_remark():
    reader = load_spectra(EXAMPLES / "known_compounds.mgf")
    spectra = list(reader)
    assert [spectrum["metadata"]["name"] for spectrum in spectra] == [compound.name for compound in COMPOUNDS]
    assert (reader.skipped, reader.not_ms2, dict(reader.warnings)) == ([], 0, {})
    for spectrum, compound in zip(spectra, COMPOUNDS, strict=True):
        assert spectrum["adduct"] == compound.adduct
        assert spectrum["ion_mode"] == ADDUCTS[compound.adduct].ion_mode
        assert spectrum["collision_energy"] == compound.collision_energy
        expected = precursor_mz(formula_mass(compound.formula), compound.adduct)
        assert spectrum["precursor_mz"] == pytest.approx(expected, abs=5e-5)
        assert spectrum["mzs"][-1] == pytest.approx(expected, abs=1e-4)
    assert {spectrum["ion_mode"] for spectrum in spectra} == {"positive", "negative"}
    assert sum(spectrum["formula"] is not None for spectrum in spectra) == 2
