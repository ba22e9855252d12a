from itertools import product

import numpy as np
import pytest

from spec2mol.chemistry_spec2mol import ADDUCTS, formula_mass, parse_formula, precursor_mz
from spec2mol.formulas_spec2mol import (
    FORMULA_ELEMENTS,
    LARGEST_MASS,
    enumerate_formulas,
    explain_peaks,
    hill_formula,
    peak_features,
    rank_formulas,
)

CAFFEINE = {
    "mzs": [42.0338, 56.0495, 69.0447, 83.0604, 110.0713, 138.0662, 195.0877],
    "intensities": [10, 8, 10, 20, 35, 100, 40],
    "precursor_mz": 195.0877,
    "adduct": "[M+H]+",
}


def counts_of(*formulas):
    parsed = [parse_formula(formula) for formula in formulas]
    return np.array([[counts.get(element, 0) for element in FORMULA_ELEMENTS] for counts in parsed])


def test_all_formulas_of_a_small_mass_are_found():
    """Against trying all counts of C, H, N and O, with the rules that the docstring names."""
    mz = precursor_mz(formula_mass("C6H9N3O2"), "[M+H]+")
    expected = set()
    for c, h, n, o in product(range(1, 14), range(30), range(12), range(10)):
        mass = formula_mass("CHNO") + (c - 1) * 12 + (h - 1) * 1.007825031898
        mass += (n - 1) * 14.00307400425 + (o - 1) * 15.99491461926
        unsaturation = 2 * c + 2 + n - h
        if abs(precursor_mz(mass, "[M+H]+") - mz) <= mz * 10e-6 and unsaturation >= 0 and unsaturation % 2 == 0:
            if h >= 0.1 * c and n <= 4 * c and o <= 3 * c:
                expected.add((c, h, n, o))
    counts, log_frequency = enumerate_formulas(mz, "[M+H]+")
    found = {tuple(row[:4]) for row in counts.tolist() if not any(row[4:])}
    assert found == expected and (6, 9, 3, 2) in found
    assert len(log_frequency) == len(counts) == len(np.unique(counts, axis=0))


@pytest.mark.parametrize("adduct", ["[M+H]+", "[M-H]-", "[M+Na]+", "[M+HCOO]-", "[M-H2O+H]+", "[M+2H]2+"])
@pytest.mark.parametrize("formula", ["C8H10N4O2", "C10H14NO5PS", "C6H4BrCl2FO", "C9H13BO3", "C12H22O11"])
def test_the_formula_is_among_those_of_its_mass(formula, adduct):
    counts, _ = enumerate_formulas(precursor_mz(formula_mass(formula), adduct), adduct)
    assert (counts == counts_of(formula)).all(1).any()


def test_an_ion_that_is_the_molecule_has_an_odd_number_of_valences():
    counts, _ = enumerate_formulas(precursor_mz(formula_mass("C5H14NO"), "[M]+"), "[M]+")
    assert (counts == counts_of("C5H14NO")).all(1).any()


def test_ranking():
    ranked = rank_formulas(CAFFEINE, top_k=1000)
    assert ranked[0].formula == "C8H10N4O2" and ranked[0].explained > 0.9 and abs(ranked[0].error_ppm) < 1
    scores = [candidate.score for candidate in ranked]
    assert scores == sorted(scores, reverse=True)
    assert np.exp(scores).sum() == pytest.approx(1, abs=1e-6), "all that the mass allows are here"
    assert rank_formulas(CAFFEINE, top_k=3) == ranked[:3]


def test_fragments_decide():
    """The same mass, and once more without the fragments that only caffeine explains."""
    probability = {c.formula: np.exp(c.score) for c in rank_formulas(CAFFEINE)}
    without = {c.formula: np.exp(c.score) for c in rank_formulas(CAFFEINE | {"mzs": [], "intensities": []})}
    assert probability["C8H10N4O2"] > without["C8H10N4O2"]


def test_neither_order_nor_scale_of_the_peaks_matters():
    order = np.random.default_rng(0).permutation(7)
    shuffled = {
        "mzs": np.array(CAFFEINE["mzs"])[order],
        "intensities": np.array(CAFFEINE["intensities"])[order] * 1e-3,
    }
    for a, b in zip(rank_formulas(CAFFEINE), rank_formulas(CAFFEINE | shuffled), strict=True):
        assert a.formula == b.formula and a.score == pytest.approx(b.score, abs=1e-4)


def test_negative_mode_is_told_by_the_ion_mode():
    mz = precursor_mz(formula_mass("C7H6O2"), "[M-H]-")
    spectrum = {"mzs": [77.0397, 93.0346], "intensities": [1, 0.5], "precursor_mz": mz, "ion_mode": "negative"}
    assert rank_formulas(spectrum)[0].formula == "C7H6O2"


def test_what_explains_a_peak():
    """C6H8N3O+ is an even-electron ion, C4H6N2+ a radical one; C13H14O has no sub-formula of either mass."""
    counts = counts_of("C8H10N4O2", "C13H14O")
    for mz, expected in ((138.0662, [1, 1, 1]), (82.0525, [1, 0, 0.3])):
        features = peak_features(CAFFEINE | {"mzs": [mz], "intensities": [1.0]}, counts, "[M+H]+", 10.0)
        of_kinds = features.reshape(2, 3, 5)
        assert of_kinds[0, :, 0] == pytest.approx(expected, abs=0.02)
        assert of_kinds[0, :, 4] == pytest.approx(1 - of_kinds[0, :, 0])
        assert not of_kinds[1, :, 0].any()


def test_explained_peaks():
    explained = explain_peaks(CAFFEINE | {"mzs": [138.0662, 100.5]}, "C8H10N4O2")
    assert explained.formulas == ["C6H8N3O", None]
    assert abs(explained.error_ppm[0]) < 5 and np.isnan(explained.error_ppm[1])


@pytest.mark.parametrize("counts, formula", [((8, 10, 4, 2), "C8H10N4O2"), ((0, 2, 0, 1), "H2O"), ((1, 4), "CH4")])
def test_hill_order(counts, formula):
    assert hill_formula(counts) == formula


@pytest.mark.parametrize(
    "change, message",
    [
        ({"adduct": "[M+Xx]+"}, "unknown adduct"),
        ({"precursor_mz": float("nan")}, "no usable precursor m/z"),
        ({"precursor_mz": LARGEST_MASS + 2}, "too heavy"),
    ],
)
def test_errors(change, message):
    with pytest.raises(ValueError, match=message):
        rank_formulas(CAFFEINE | change)


def test_no_formula_fits():
    assert rank_formulas(CAFFEINE | {"precursor_mz": 195.5}) == []


def test_every_adduct_of_the_data_is_known():
    assert {"[M+CH3COO]-", "[M+NH4]+", "[M+Cl]-", "[M+K]+", "[M-CH3]-", "[M-2H2O+H]+"} <= set(ADDUCTS)
