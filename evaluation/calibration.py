"""Are probabilities worth their name? Reliability and expected calibration error (Guo et al. 2017)."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

CLOSE = 0.6  # Tanimoto similarity


class ReliabilityBin(NamedTuple):
    """Answers whose probability is in [low, high), the last bin closed: their number, mean probability, and the share
    that came true."""

    low: float
    high: float
    count: int
    predicted: float
    observed: float


def reliability(probabilities: Sequence[float], outcomes: Sequence[float], bins: int = 10) -> list[ReliabilityBin]:
    """Bins of equal width over [0, 1], empty ones left out. outcomes: 1 if it came true, else 0."""
    probabilities, outcomes = np.asarray(probabilities, float), np.asarray(outcomes, float)
    index = np.minimum((probabilities * bins).astype(int), bins - 1)
    result = []
    for i in np.unique(index):
        inside = index == i
        means = float(probabilities[inside].mean()), float(outcomes[inside].mean())
        result.append(ReliabilityBin(i / bins, (i + 1) / bins, int(inside.sum()), *means))
    return result


def expected_calibration_error(probabilities: Sequence[float], outcomes: Sequence[float], bins: int = 10) -> float:
    """Mean over answers of |mean probability - share that came true| of their bin."""
    found = reliability(probabilities, outcomes, bins)
    return sum(b.count * abs(b.predicted - b.observed) for b in found) / sum(b.count for b in found)


def first_answer_events(frame: pd.DataFrame) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """What a model gives the first answers a probability of -> (probabilities, outcomes), from the lines of `compare`;
    nothing for a model whose ranking was not fitted."""
    events = {
        "the first answer is right": ("probability", frame["exact_match@1"]),
        f"its Tanimoto similarity is at least {CLOSE}": ("probability_close", frame["tanimoto@1"] >= CLOSE),
    }
    given = {event: (frame[column], outcome) for event, (column, outcome) in events.items()}
    return {
        event: (probability[probability.notna()].to_numpy(), outcome[probability.notna()].to_numpy(float))
        for event, (probability, outcome) in given.items()
        if probability.notna().any()
    }
