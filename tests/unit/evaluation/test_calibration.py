import numpy as np
import pandas as pd
import pytest

from spec2mol.evaluation.calibration import expected_calibration_error, first_answer_events, reliability

# Two bins of [0, 1]: 0.1 and 0.3 with one hit in two, 0.8 with none, 1.0 with a hit
PROBABILITIES, OUTCOMES = [0.1, 0.3, 0.8, 1.0], [1, 0, 0, 1]


def test_bins_by_hand():
    low, high = reliability(PROBABILITIES, OUTCOMES, bins=2)
    assert low == (0, 0.5, 2, pytest.approx(0.2), 0.5)
    assert high == (0.5, 1, 2, pytest.approx(0.9), 0.5)


def test_error_by_hand():
    assert expected_calibration_error(PROBABILITIES, OUTCOMES, bins=2) == pytest.approx((0.3 + 0.4) / 2)
    assert expected_calibration_error([0.0, 1.0], [0, 1]) == 0


def test_certainty_is_in_the_last_bin_and_empty_bins_are_left_out():
    (only,) = reliability([1.0], [1])
    assert (only.low, only.high) == (0.9, 1.0)


def test_events_of_first_answers_leave_out_queries_without_an_answer():
    frame = pd.DataFrame(
        {
            "probability": [0.2, 0.9, np.nan],
            "probability_close": [0.5, 0.95, np.nan],
            "exact_match@1": [0.0, 1.0, 0.0],
            "tanimoto@1": [0.6, 1.0, 0.0],
        }
    )
    right, close = first_answer_events(frame).values()
    assert [values.tolist() for values in right] == [[0.2, 0.9], [0, 1]]
    assert [values.tolist() for values in close] == [[0.5, 0.95], [1, 1]]


def test_a_ranking_that_was_not_fitted_has_no_events():
    frame = pd.DataFrame({"exact_match@1": [1.0], "tanimoto@1": [1.0]})
    assert first_answer_events(frame.assign(probability=np.nan, probability_close=np.nan)) == {}
