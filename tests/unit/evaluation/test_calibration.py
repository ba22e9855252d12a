import pytest

from spec2mol.evaluation.calibration import expected_calibration_error, reliability

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
