import numpy as np
import pytest

from spec2mol.simulation.similarity import align, cosine, entropy_similarity
from spec2mol.simulation.simulate import Peaks

A = Peaks(np.array([77.039, 105.034, 123.044]), np.array([0.3, 1.0, 0.5]))
B = Peaks(np.array([51.023, 77.036, 105.034]), np.array([0.2, 0.6, 1.0]))


def test_each_peak_is_matched_once_and_the_nearest_first():
    close = Peaks(np.array([77.030, 77.038]), np.array([1.0, 0.4]))
    x, y = align(A, close)
    assert x.tolist() == [0.3, 1.0, 0.5, 0.0]
    assert y.tolist() == [0.4, 0.0, 0.0, 1.0]


def test_cosine_of_a_worked_example():
    assert cosine(A, B) == pytest.approx((0.3 * 0.6 + 1.0) / np.sqrt(1.34 * 1.4))


def test_entropy_similarity_of_a_worked_example():
    """Two even peaks against one. The weights leave even peaks even; the mixture has shares 3/4 and 1/4."""
    two = Peaks(np.array([100.0, 200.0]), np.array([1.0, 1.0]))
    one = Peaks(np.array([100.0]), np.array([1.0]))
    mixture = -(0.75 * np.log(0.75) + 0.25 * np.log(0.25))
    assert entropy_similarity(two, one) == pytest.approx(1 - (2 * mixture - np.log(2)) / np.log(4))


@pytest.mark.parametrize("similarity", [cosine, entropy_similarity])
def test_range_and_symmetry(similarity):
    elsewhere = Peaks(A.mzs + 1, A.intensities)
    assert similarity(A, A) == pytest.approx(1)
    assert similarity(A, elsewhere) == pytest.approx(0, abs=1e-12)
    assert 0.1 < similarity(A, B) < 0.9
    assert similarity(A, B) == pytest.approx(similarity(B, A))
