import numpy as np
import pandas as pd
import pytest

from spec2mol.evaluation.calibration import (
    Forecasts,
    calibration_summary,
    expected_calibration_error,
    forecasts,
    reliability,
)

# Molecule a has two answers, so that each of them counts half.
GIVEN = Forecasts(np.array([0.12, 0.18, 0.85, 1.0]), np.array([1, 0, 0, 1]), np.array(["a", "a", "b", "c"]))


def test_bins_by_hand():
    low, high, certain = reliability(GIVEN)
    assert low[:4] == (0.1, 0.2, 2, pytest.approx(0.15)) and low.observed.mean == 0.5
    assert high[:4] == (0.8, 0.9, 1, 0.85) and high.observed == (0, 0, 0)
    assert certain[:4] == (0.9, 1.0, 1, 1.0) and certain.observed.mean == 1


def test_error_by_hand():
    assert expected_calibration_error(GIVEN).mean == pytest.approx((0.35 + 0.85 + 0) / 3)
    perfect = Forecasts(np.array([0.0, 1.0]), np.array([0, 1]), np.array(["a", "b"]))
    assert expected_calibration_error(perfect) == (0, 0, 0)


def test_errors_of_perfect_probabilities_shrink_and_those_of_false_ones_stay():
    rng = np.random.default_rng(0)
    probabilities = rng.uniform(size=2000)
    outcomes = (rng.uniform(size=2000) < probabilities).astype(float)
    molecules = np.arange(2000)
    assert expected_calibration_error(Forecasts(probabilities, outcomes, molecules)).high < 0.06
    error = expected_calibration_error(Forecasts(probabilities**3, outcomes, molecules))
    assert error.low < np.mean(probabilities - probabilities**3) < error.high


FRAME = pd.DataFrame(
    {
        "inchikey": ["ethanol", "benzene"],
        "smiles": ["CCO", "c1ccccc1"],
        "answers": [["CCO", "COC"], []],
        "probability": [np.array([0.2, 0.1]), np.array([])],
        "probability_close": [np.array([0.5, 0.3]), np.array([])],
    }
)


def test_forecasts_of_first_and_of_all_answers():
    given = forecasts(FRAME)
    assert list(given) == [
        "first answer right",
        "first answer right or Tanimoto >= 0.6",
        "all answers right",
        "all answers right or Tanimoto >= 0.6",
    ]
    first, every = given["first answer right"], given["all answers right or Tanimoto >= 0.6"]
    assert (first.probabilities.tolist(), first.outcomes.tolist()) == ([0.2], [1])
    assert (every.probabilities.tolist(), every.outcomes.tolist()) == ([0.5, 0.3], [1, 0])
    summary = calibration_summary(given["all answers right"])
    assert summary["mean probability"].mean == pytest.approx(0.15) and summary["came true"].mean == 0.5


def test_a_ranking_that_was_not_fitted_has_none():
    nan = [np.array([np.nan, np.nan]), np.array([])]
    assert forecasts(FRAME.assign(probability=nan, probability_close=nan)) == {}
