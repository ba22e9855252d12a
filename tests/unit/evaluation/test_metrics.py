import math

import pytest

from spec2mol.evaluation.metrics import (
    best,
    exact_match,
    formula_match,
    lowest_mces,
    mass_error_ppm,
    mass_match,
    mces,
    share,
    tanimoto,
    valid,
)

NO_MOLECULE = "C1CC"  # a ring that is not closed


def test_exact_match_ignores_stereochemistry_and_notation():
    assert exact_match("OCC", "CCO") == 1
    assert exact_match("C[C@H](N)C(=O)O", "CC(N)C(=O)O") == 1
    assert exact_match("CCN", "CCO") == 0


def test_tanimoto_counted_by_hand():
    # Morgan environments of CCO: three kinds of atoms and three of radius 1. Those of CCCO: three kinds of atoms, four
    # of radius 1, and one of radius 2 that has not the bonds of another. In common: kinds, CH3-CH2, CH2-OH.
    assert tanimoto("CCCO", "CCO") == pytest.approx(5 / (6 + 8 - 5))
    assert tanimoto("OCC", "CCO") == 1


def test_formula_is_that_of_isomers_and_ignores_charge():
    assert formula_match("COC", "CCO") == 1
    assert formula_match("CCCO", "CCO") == 0
    assert formula_match("C[N+](C)(C)CCO", "CN(C)(C)CCO") == 0 == valid("CN(C)(C)CCO")


def test_mass_error_by_hand():
    # C2H6O 46.041865 Da, C3H8 44.062600 Da
    assert mass_error_ppm("CCC", "CCO") == pytest.approx((44.062600 - 46.041865) / 46.041865 * 1e6, abs=0.05)
    assert mass_error_ppm("COC", "CCO") == 0
    assert mass_match("COC", "CCO") == 1 and mass_match("CCC", "CCO") == 0
    # N2 instead of CO: 11.2 mDa, 187 ppm of 60 Da
    assert mass_match("NNCC", "OCCC") == 0


def test_what_is_no_molecule_scores_zero():
    for answer in (None, NO_MOLECULE):
        assert valid(answer) == exact_match(answer, "CCO") == tanimoto(answer, "CCO") == 0
        assert formula_match(answer, "CCO") == mass_match(answer, "CCO") == 0
        assert math.isnan(mass_error_ppm(answer, "CCO"))


def test_best_and_share_count_missing_places():
    assert best([0.2, 0.7, 0.9], 2) == 0.7
    assert share([1, 0, 1], 2) == 0.5
    assert share([1, 1], 10) == 0.2
    assert best([], 10) == share([], 10) == 0


class TestMCES:
    @pytest.fixture(autouse=True)
    def needs_the_library(self):
        pytest.importorskip("myopic_mces")

    def test_bonds_to_change_by_hand(self):
        assert mces("OCC", "CCO") == 0
        assert mces("CC", "CCO") == 1  # add C-O
        assert mces("CCN", "CCO") == 2  # C-N away, C-O in its place
        assert mces("C=CO", "CCO") == 1  # a double bond for a single one
        assert mces("c1ccccc1", "C1CCCCC1") == 3  # six bonds of order 1.5 for 1

    def test_beyond_the_threshold_a_lower_bound_is_enough(self):
        assert mces("C" * 40, "CCO") > 15

    def test_no_answer_is_a_hundred(self):
        assert mces(None, "CCO") == mces(NO_MOLECULE, "CCO") == 100
        assert lowest_mces([], "CCO", ks=(1, 10)) == [100, 100]

    def test_lowest_of_the_first_k(self):
        answers = ["CCCCN", "C" * 40, "CCN", "CC", "CCCCCC"]
        each = [mces(answer, "CCO") for answer in answers]
        assert lowest_mces(answers, "CCO", ks=(1, 2, 3, 10)) == [each[0], each[0], each[2], each[3]]
        assert each[0] > each[2] > each[3]
