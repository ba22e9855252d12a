import numpy as np
import pytest
from fcd import get_fcd

from spec2mol.evaluation.chemnet import chemnet_distance, frechet_distance

MOLECULES = [
    "CCO",
    "CCN",
    "c1ccccc1O",
    "CC(=O)O",
    "CCCCCC",
    "OC1CCCCC1",
    "Nc1ccncc1",
    "CC(C)Cl",
    "O=C1CCCN1",
    "CS(C)=O",
]


def test_the_distance_is_that_of_the_published_code():
    answers, truths = MOLECULES[:5], MOLECULES[5:]
    distance = chemnet_distance(list(zip(answers, truths, strict=True)), range(5))
    assert distance.mean == pytest.approx(get_fcd(answers, truths), rel=1e-3)
    assert distance.low < distance.mean < distance.high


def test_answers_that_are_no_molecules_have_no_place_and_order_none():
    pairs = list(zip(MOLECULES[:4], MOLECULES[4:8], strict=True))
    figure = chemnet_distance(pairs, range(4)).mean
    swapped = [(a, t) for (a, _), (_, t) in zip(pairs, pairs[::-1], strict=True)]
    assert chemnet_distance(swapped, range(4)).mean == pytest.approx(figure)
    assert chemnet_distance([*pairs, (None, None)], range(5)).mean == pytest.approx(figure)


def test_a_set_has_no_distance_from_itself_and_few_molecules_have_none():
    assert chemnet_distance([(m, m) for m in MOLECULES], range(10)).mean == pytest.approx(0, abs=1e-6)
    assert np.isnan(chemnet_distance([("CC", "CCO"), (None, "CCN")], range(2))).all()


def test_of_normal_distributions():
    """Two that differ in the mean alone, and two whose covariances have the same axes."""
    points = np.random.default_rng(0).normal(size=(50, 3))
    assert frechet_distance(points, points + [1, 2, 0]) == pytest.approx(5)
    spread = np.cov(points.T)
    assert frechet_distance(points - points.mean(0), 3 * (points - points.mean(0))) == pytest.approx(
        4 * np.trace(spread)
    )
