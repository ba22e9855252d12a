"""Figures of an encoder alone: does it know molecules apart, their fingerprints, their elements?"""

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from .intervals import Interval, ratio_over_molecules


def embedding_similarities(embeddings: np.ndarray) -> np.ndarray:
    """Cosines `(spectra, spectra)` of embeddings `(spectra, size)`."""
    unit = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True).clip(1e-12)
    return unit @ unit.T


def same_molecule_hits(similarities: Iterable[np.ndarray], molecules: Sequence[str], k: int = 1) -> np.ndarray:
    """For each spectrum, 1 if one of its k most similar other spectra is of the same molecule, 0 if not, NaN if the
    molecule has no other spectrum.

    Args:
        similarities: a row `(spectra,)` for each spectrum: of `embedding_similarities`, or of
            `cosine_similarities(rows, rows)` for plain cosine, the control. -inf marks a spectrum that is not to be
            found, as if it were not there.
    """
    molecules = np.asarray(molecules)
    hits = np.full(len(molecules), np.nan)
    for i, row in enumerate(similarities):
        others = np.where(np.arange(len(molecules)) == i, -np.inf, row)
        same = (molecules == molecules[i]) & (others > -np.inf)
        if same.any():
            hits[i] = same[np.argsort(-others, kind="stable")[:k]].any()
    return hits


def of_other_ions(
    similarities: Iterable[np.ndarray], precursor_mz: Sequence[float], tolerance: float = 0.05
) -> Iterator[np.ndarray]:
    """The same rows without (-inf) the spectra whose precursor m/z is within `tolerance` (Da) of the query's. Nearly
    every precursor m/z belongs to one molecule, so it alone finds the others; of another ion of the molecule it says
    nothing."""
    precursor_mz = np.asarray(precursor_mz)
    for row, mz in zip(similarities, precursor_mz, strict=True):
        yield np.where(np.abs(precursor_mz - mz) <= tolerance, -np.inf, row)


def fingerprint_tanimoto(predicted: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Tanimoto similarity of each predicted fingerprint to the true one, `(spectra,)`; 0 if both are empty.

    Args:
        predicted, truth: booleans or 0 and 1, `(spectra, bits)`; probabilities are cut at a threshold first.
    """
    predicted, truth = np.asarray(predicted, bool), np.asarray(truth, bool)
    union = (predicted | truth).sum(1)
    return (predicted & truth).sum(1) / np.maximum(union, 1)


class PrecisionRecall(NamedTuple):
    """precision: share of what was said to be there that is there (NaN if nothing was); recall: share of what is there
    that was said (NaN if nothing is)."""

    precision: Interval
    recall: Interval


def precision_recall(
    probabilities: np.ndarray, truth: np.ndarray, threshold: float, molecules: Sequence[str]
) -> PrecisionRecall:
    """Of a yes-or-no property of each spectrum, such as "contains fluorine"; yes from `threshold` on. The spectra of a
    molecule together count as one."""
    said, truth = np.asarray(probabilities) >= threshold, np.asarray(truth, bool)
    return PrecisionRecall(
        ratio_over_molecules(said & truth, said, molecules), ratio_over_molecules(said & truth, truth, molecules)
    )
