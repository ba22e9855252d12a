"""Are probabilities worth their name? Reliability and expected calibration error (Guo et al. 2017), over molecules:
the answers to a molecule's spectra together count as much as those to any other's."""

from typing import NamedTuple

import numpy as np
import pandas as pd

from .intervals import Interval, bootstrap_over_molecules, ratio_over_molecules
from .metrics import exact_match, tanimoto

BINS = 10
CLOSE = 0.6  # Tanimoto similarity
EVENTS = {"probability": "right", "probability_close": f"right or Tanimoto >= {CLOSE}"}


class Forecasts(NamedTuple):
    """Probabilities of answers, whether they came true (1 or 0), and the molecules that were asked for."""

    probabilities: np.ndarray
    outcomes: np.ndarray
    molecules: np.ndarray


class ReliabilityBin(NamedTuple):
    """Answers whose probability is in [low, high), the last bin closed: their number, mean probability, and the share
    that came true."""

    low: float
    high: float
    count: int
    predicted: float
    observed: Interval


def forecasts(frame: pd.DataFrame) -> dict[str, Forecasts]:
    """What was given a probability, of the first answers and of all: name -> forecasts, from the lines of
    `score_pools`; nothing for a model whose ranking was not fitted."""
    found = {}
    for which, last in (("first answer", 1), ("all answers", None)):
        for column, event in EVENTS.items():
            lines = []
            for answers, given, truth, molecule in zip(
                frame["answers"], frame[column], frame["smiles"], frame["inchikey"], strict=True
            ):
                for answer, probability in list(zip(answers, given, strict=True))[:last]:
                    came = exact_match(answer, truth)
                    if column == "probability_close":
                        came = came or tanimoto(answer, truth) >= CLOSE
                    lines.append((probability, float(came), molecule))
            lines = [line for line in lines if not np.isnan(line[0])]
            if lines:
                found[f"{which} {event}"] = Forecasts(*map(np.array, zip(*lines, strict=True)))
    return found


def reliability(given: Forecasts) -> list[ReliabilityBin]:
    """`BINS` bins of equal width over [0, 1], empty ones left out."""
    index = _bins(given)
    result = []
    for i in np.unique(index):
        inside = index == i
        predicted, observed = (
            ratio_over_molecules(values * inside, inside, given.molecules)
            for values in (given.probabilities, given.outcomes)
        )
        result.append(ReliabilityBin(i / BINS, (i + 1) / BINS, int(inside.sum()), predicted.mean, observed))
    return result


def expected_calibration_error(
    given: Forecasts, level: float = 0.95, resamples: int = 2000, seed: int = 0
) -> Interval:
    """Mean of |mean probability - share that came true| of the bins, and its bootstrap interval over molecules. Of
    perfect probabilities, too, the error is above 0, by chance."""
    _, molecule = np.unique(given.molecules, return_inverse=True)
    counts = np.bincount(molecule)
    gaps = np.zeros((len(counts), BINS))
    np.add.at(gaps, (molecule, _bins(given)), given.probabilities - given.outcomes)
    gaps /= counts[:, None]
    draws = np.random.default_rng(seed).integers(len(counts), size=(resamples, len(counts)))
    errors = np.array([np.abs(gaps[drawn].mean(0)).sum() for drawn in draws])
    low, high = np.quantile(errors, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(np.abs(gaps.mean(0)).sum()), float(low), float(high))


def calibration_summary(given: Forecasts) -> dict[str, Interval]:
    """mean probability, came true, expected calibration error: each over molecules."""
    return {
        "mean probability": bootstrap_over_molecules(given.probabilities, given.molecules),
        "came true": bootstrap_over_molecules(given.outcomes, given.molecules),
        "expected calibration error": expected_calibration_error(given),
    }


def _bins(given):
    return np.minimum((given.probabilities * BINS).astype(int), BINS - 1)
