import numpy as np

from spec2mol.evaluation.intervals import bootstrap_over_molecules, paired_difference


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


def test_the_same_seed_gives_the_same_interval():
    values, molecules = np.random.default_rng(0).random(50), np.arange(50) // 2
    assert bootstrap_over_molecules(values, molecules) == bootstrap_over_molecules(values, molecules)
    assert bootstrap_over_molecules(values, molecules) != bootstrap_over_molecules(values, molecules, seed=1)


def test_paired_difference_is_of_the_same_spectra():
    a = np.arange(100.0)
    interval = paired_difference(a + 1, a, range(100))
    assert tuple(interval) == (1, 1, 1)
