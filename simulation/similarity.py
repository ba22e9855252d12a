"""How alike two spectra are, as simulators are judged: cosine and spectral entropy similarity, both 0 to 1."""

import numpy as np

from .simulate import Peaks

TOLERANCE = 0.01  # Da, of peaks that are the same


def align(a: Peaks, b: Peaks) -> tuple[np.ndarray, np.ndarray]:
    """Intensities of both on their joint peaks. Each peak is matched at most once, the nearest pairs first."""
    distance = np.abs(a.mzs[:, None] - b.mzs)
    rows, columns = np.nonzero(distance <= TOLERANCE)
    partner = {}
    for pair in np.argsort(distance[rows, columns], kind="stable"):
        if rows[pair] not in partner and columns[pair] not in partner.values():
            partner[rows[pair]] = columns[pair]
    alone = np.setdiff1d(np.arange(len(b.mzs)), list(partner.values()))
    of_b = np.zeros(len(a.mzs))
    of_b[list(partner)] = b.intensities[list(partner.values())]
    return np.append(a.intensities, np.zeros(len(alone))), np.append(of_b, b.intensities[alone])


def cosine(a: Peaks, b: Peaks) -> float:
    """Of the intensities as they are."""
    x, y = align(a, b)
    return float(x @ y / np.sqrt((x @ x) * (y @ y)))


def entropy_similarity(a: Peaks, b: Peaks) -> float:
    """Li et al., Nature Methods 2021, weighted: intensities of a spectrum whose entropy S is below 3 nats are raised
    to the power of (1 + S) / 4, so that its small peaks count."""
    x, y = (_weighted(intensities / intensities.sum()) for intensities in align(a, b))
    return float(1 - (2 * _entropy((x + y) / 2) - _entropy(x) - _entropy(y)) / np.log(4))


def _entropy(shares):
    shares = shares[shares > 0]
    return -(shares * np.log(shares)).sum()


def _weighted(shares):
    entropy = _entropy(shares)
    if entropy >= 3:
        return shares
    weighted = np.where(shares > 0, shares, 0) ** ((1 + entropy) / 4)
    return weighted / weighted.sum()
