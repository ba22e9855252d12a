import json

import numpy as np
import pytest
import torch

from spec2mol.evaluation.fitting import (
    FOLDS,
    PENALTY,
    LabelledPool,
    cross_fit,
    fit_ranking,
    honest_weights,
    load_folds,
    save_ranking,
)
from spec2mol.ranking_spec2mol import DEFAULT_WEIGHTS, EVIDENCE, FEATURES, evidence, rank, weigh

LIKELIHOOD, FORMULA = (list(FEATURES).index(name) for name in ("likelihood", "formula"))


def pools(molecules=200, seed=0) -> list[LabelledPool]:
    """Ten candidates each. Likelihood says, in part, which are similar; formula, how likely any is right."""
    rng = np.random.default_rng(seed)
    made = []
    for number in range(molecules):
        features = np.zeros((10, len(FEATURES)))
        features[:, LIKELIHOOD] = rng.normal(size=10)
        features[:, FORMULA] = rng.normal()
        right = (rng.uniform(size=10) < chance(features)).astype(float)
        tanimoto = np.where(right > 0, 1.0, np.clip(0.3 + 0.1 * features[:, LIKELIHOOD], 0.0, 0.9))
        made.append(LabelledPool(features, tanimoto, right, f"molecule {number}"))
    return made


def chance(features):
    """Of being right"""
    return 1 / (1 + np.exp(3 - features[:, LIKELIHOOD] - features[:, FORMULA]))


@pytest.fixture(scope="module")
def fitted():
    return fit_ranking(pools(8000))


def test_what_made_the_outcomes_is_found_again(fitted):
    right = fitted["right"]
    assert right["likelihood"] == pytest.approx(1, abs=0.1) and right["formula"] == pytest.approx(1, abs=0.1)
    assert right["size"] == 0  # It never differs.
    made = pools(500, seed=2)
    errors = [np.abs(rank(pool.features, fitted).probability - chance(pool.features)) for pool in made]
    assert np.mean(errors) < 0.005 and np.max(errors) < 0.05
    assert fitted["order"]["likelihood"] > DEFAULT_WEIGHTS["likelihood"]
    # What is the same for the whole pool says nothing of the order: its weight stays what it is without a fit.
    assert fitted["order"]["formula"] == pytest.approx(DEFAULT_WEIGHTS["formula"], abs=1e-3)


def test_the_weights_are_where_the_penalised_loss_is_least():
    """Its gradient is zero: the sum of errors times features, and the penalised weights."""
    made = pools(50)
    fitted = fit_ranking(made)
    x = np.concatenate([evidence(pool.features, weigh(pool.features, fitted["order"])) for pool in made])
    differs = x.std(0) > 0
    x = x[:, differs]
    mean, scale = x.mean(0), x.std(0)
    right = np.concatenate([pool.right for pool in made])
    weights = fitted["right"]
    slopes = np.array([weights[name] for name in EVIDENCE])[differs]
    errors = 1 / (1 + np.exp(-(x @ slopes + weights["intercept"]))) - right
    assert np.abs(((x - mean) / scale).T @ errors + PENALTY * slopes * scale).max() < 1e-3
    assert abs(errors.sum()) < 1e-3


def test_probabilities_of_other_molecules_are_calibrated(fitted):
    others = pools(2000, seed=1)
    ranking = [rank(pool.features, fitted) for pool in others]
    probability = np.concatenate([of_one.probability for of_one in ranking])
    assert probability.mean() == pytest.approx(np.concatenate([pool.right for pool in others]).mean(), abs=0.01)
    assert all((of_one.probability_close >= of_one.probability).all() for of_one in ranking)
    best = np.mean([pool.tanimoto[of_one.scores.argmax()] for pool, of_one in zip(others, ranking, strict=True)])
    assert best > np.mean([pool.tanimoto.mean() for pool in others]) + 0.1


def test_an_order_that_is_kept():
    made = pools(50)
    kept = fit_ranking(made, DEFAULT_WEIGHTS)
    assert kept["order"] == DEFAULT_WEIGHTS and fit_ranking(made)["order"] != DEFAULT_WEIGHTS
    assert [fold.weights["order"] for fold in cross_fit(made, DEFAULT_WEIGHTS)] == [DEFAULT_WEIGHTS] * FOLDS


def test_the_place_is_that_of_the_order():
    features = np.zeros((3, len(FEATURES)))
    features[:, LIKELIHOOD] = [-5.0, -1.0, -3.0]
    place = evidence(features, weigh(features, DEFAULT_WEIGHTS))[:, EVIDENCE.index("place")]
    assert np.exp(place) == pytest.approx([3, 1, 2])


def test_a_molecule_counts_once_however_many_pools_it_has():
    made = pools(40)
    thrice = made + [pool for pool in made if pool.molecule == "molecule 0"] * 2
    for target, weights in fit_ranking(thrice).items():
        assert weights == pytest.approx(fit_ranking(made)[target], abs=1e-3)


def test_nothing_to_learn_from():
    nothing = [pool._replace(right=np.zeros(10)) for pool in pools(20)]
    with pytest.raises(ValueError, match="no candidate is right"):
        fit_ranking(nothing)
    with pytest.raises(ValueError, match="at least 5"):
        cross_fit(pools(4))
    with pytest.raises(ValueError, match="answered nothing"):
        fit_ranking([])


def test_each_molecule_is_ranked_without_itself(tmp_path):
    made = pools(20)
    folds, ranking = cross_fit(made), fit_ranking(made)
    assert sorted(m for fold in folds for m in fold.molecules) == sorted(pool.molecule for pool in made)
    assert folds[1].weights == fit_ranking([pool for pool in made if pool.molecule not in folds[1].molecules])

    (tmp_path / "config.json").write_text('{"model_type": "spec2mol", "ranking": null}')
    save_ranking(tmp_path, ranking, folds)
    assert json.loads((tmp_path / "config.json").read_text()) == {"model_type": "spec2mol", "ranking": ranking}
    assert load_folds(str(tmp_path)) == folds and len(folds) == FOLDS

    rows = [{"inchikey": folds[3].molecules[0]}, {"inchikey": "unheard of"}]
    weights, sentence = honest_weights(ranking, folds, rows)
    assert weights == [folds[3].weights, ranking] and "on 1 of these molecules" in sentence
    weights, sentence = honest_weights(ranking, folds, rows[1:])
    assert weights == [ranking] and "none of these" in sentence
    assert honest_weights(None, [], rows)[0] == [None, None]


def test_the_same_pools_give_the_same_weights():
    torch.rand(3)
    assert fit_ranking(pools(20)) == fit_ranking(pools(20))
