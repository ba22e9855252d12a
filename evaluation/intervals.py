"""Means over molecules and their bootstrap intervals."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np


class Interval(NamedTuple):
    """A mean with its bootstrap confidence interval."""

    mean: float
    low: float
    high: float

    def __str__(self):
        return f"{self.mean:.3f} [{self.low:.3f}, {self.high:.3f}]"


def bootstrap_over_molecules(
    values: Sequence[float], molecules: Sequence[str], level: float = 0.95, resamples: int = 2000, seed: int = 0
) -> Interval:
    """Mean over molecules, spectra of one molecule averaged first, and its percentile bootstrap interval.

    Args:
        values: one figure for each spectrum.
        molecules: its molecule's identity.
    """
    return ratio_over_molecules(values, np.ones(len(values)), molecules, level, resamples, seed)


def ratio_over_molecules(
    numerators: Sequence[float],
    denominators: Sequence[float],
    molecules: Sequence[str],
    level: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> Interval:
    """Sum of the numerators over sum of the denominators, spectra of one molecule averaged first, and its interval, as
    `bootstrap_over_molecules`; NaN where there is no denominator. Precision and recall are such ratios."""
    names, index = np.unique(np.asarray(molecules), return_inverse=True)
    counts = np.bincount(index)
    above, below = (np.bincount(index, weights=np.asarray(x, float)) / counts for x in (numerators, denominators))
    if not below.any():
        return Interval(np.nan, np.nan, np.nan)
    draws = np.random.default_rng(seed).integers(len(names), size=(resamples, len(names)))
    drawn = below[draws].sum(1)
    ratios = above[draws].sum(1)[drawn > 0] / drawn[drawn > 0]
    return percentile_interval(above.sum() / below.sum(), ratios, level)


def percentile_interval(figure: float, resampled: Sequence[float], level: float = 0.95) -> Interval:
    """
    Args:
        resampled: the same figure of sets that were drawn again.
    """
    low, high = np.quantile(resampled, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(figure), float(low), float(high))


def resampling_weights(molecules: Sequence, resamples: int = 1000, seed: int = 0) -> np.ndarray:
    """`(resamples, lines)`: how often each line counts in a set of as many molecules, drawn with replacement."""
    names, index = np.unique(np.asarray(molecules), return_inverse=True)
    draws = np.random.default_rng(seed).multinomial(len(names), np.full(len(names), 1 / len(names)), size=resamples)
    return draws[:, index]


def paired_difference(a: Sequence[float], b: Sequence[float], molecules: Sequence[str]) -> Interval:
    """Interval of the mean of a - b over the same spectra."""
    return bootstrap_over_molecules(np.asarray(a) - np.asarray(b), molecules)
