import numpy as np

from spec2mol.evaluation.metrics import bootstrap_over_molecules, exact_match, paired_difference, tanimoto


def test_exact_match_ignores_stereochemistry_and_notation():
    assert exact_match("OCC", "CCO") == 1
    assert exact_match("C[C@H](N)C(=O)O", "CC(N)C(=O)O") == 1
    assert exact_match("CCN", "CCO") == 0


def test_no_answer_scores_zero():
    assert exact_match(None, "CCO") == tanimoto(None, "CCO") == 0


def test_tanimoto():
    assert tanimoto("OCC", "CCO") == 1
    assert 0 < tanimoto("CCCO", "CCO") < 1


def test_each_molecule_counts_once():
    interval = bootstrap_over_molecules([1, 1, 1, 0], ["a", "a", "a", "b"])
    assert interval.mean == 0.5
    assert (interval.low, interval.high) == (0, 1)


def test_interval_covers_the_mean_as_often_as_it_says():
    rng = np.random.default_rng(0)
    hits = 0
    for seed in range(200):
        interval = bootstrap_over_molecules(rng.normal(3, 1, 60), range(60), resamples=500, seed=seed)
        hits += interval.low < 3 < interval.high
    assert 180 <= hits <= 199


def test_paired_difference_is_of_the_same_spectra():
    a = np.arange(100.0)
    interval = paired_difference(a + 1, a, range(100))
    assert tuple(interval) == (1, 1, 1)
