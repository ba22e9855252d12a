"""Pure functions: ranked answers against the truth, by the protocol of MassSpecGym (Bushuiev et al. 2024).

Molecules are SMILES. A place without an answer is None and counts: it scores 0, and MCES 100."""

from collections.abc import Sequence
from functools import lru_cache

from ..chemistry_spec2mol import formula_mass, inchikey_block, molecular_formula, morgan_fingerprint

MCES_THRESHOLD = 15.0
MCES_NO_ANSWER = 100.0
MCES_SECONDS = 30
MASS_TOLERANCE_PPM = 10.0

_identity = lru_cache(maxsize=100_000)(inchikey_block)
_formula = lru_cache(maxsize=100_000)(molecular_formula)
_fingerprint = lru_cache(maxsize=20_000)(morgan_fingerprint)


def valid(predicted: str | None) -> float:
    """1 if RDKit reads it as a molecule, else 0."""
    return float(predicted is not None and _formula(predicted) is not None)


def exact_match(predicted: str | None, truth: str) -> float:
    """1 if both have the same first InChIKey block, else 0."""
    return float(valid(predicted) and _identity(predicted) == _identity(truth))


def formula_match(predicted: str | None, truth: str) -> float:
    """1 if both have the same molecular formula (charge apart), else 0."""
    return float(valid(predicted) and _formula(predicted) == _formula(truth))


def mass_error_ppm(predicted: str | None, truth: str) -> float:
    """(predicted - true) / true monoisotopic mass in ppm; NaN without an answer."""
    if not valid(predicted):
        return float("nan")
    mass = formula_mass(_formula(truth))
    return (formula_mass(_formula(predicted)) - mass) / mass * 1e6


def mass_match(predicted: str | None, truth: str) -> float:
    """1 if the masses agree within 10 ppm, else 0."""
    return float(abs(mass_error_ppm(predicted, truth)) <= MASS_TOLERANCE_PPM)


def tanimoto(predicted: str | None, truth: str) -> float:
    """Tanimoto similarity of Morgan fingerprints (radius 2, 2,048 bits), 0 to 1."""
    if not valid(predicted):
        return 0.0
    a, b = _fingerprint(predicted), _fingerprint(truth)
    return float((a & b).sum() / (a | b).sum())


def mces(predicted: str | None, truth: str, threshold: float = MCES_THRESHOLD) -> float:
    """Myopic maximum-common-edge-subgraph distance (Kretschmer et al. 2025): bonds to change between both molecules.
    Exact up to `threshold`, a lower bound beyond it; 100 without an answer.

    The integer program stops after `MCES_SECONDS` of processor time with the best that it has, seldom needed.

    Raises:
        ImportError: myopic-mces is not installed (extra `mces`).
    """
    try:
        from myopic_mces.myopic_mces import MCES
    except ImportError:
        raise ImportError('MCES needs myopic-mces: pip install "spec2mol[mces]"') from None
    if not valid(predicted):
        return MCES_NO_ANSWER
    solver_options = {"msg": False, "threads": 1, "timeLimit": MCES_SECONDS, "timeMode": "cpu"}
    _, distance, *_ = MCES(
        predicted, truth, threshold=threshold, always_stronger_bound=True, solver_options=solver_options
    )
    return max(float(distance), 0.0)  # -1: out of time, with nothing better known than the bound of 0


def lowest_mces(answers: Sequence[str | None], truth: str, ks: Sequence[int]) -> list[float]:
    """Lowest MCES among the first k answers, for each k in ascending `ks`.

    Each further answer only has to be told from the best so far, which is what makes it affordable."""
    lowest, result = MCES_NO_ANSWER, []
    for rank in range(1, ks[-1] + 1):
        if rank <= len(answers) and lowest > 0:
            lowest = min(lowest, mces(answers[rank - 1], truth, threshold=min(MCES_THRESHOLD, lowest)))
        if rank in ks:
            result.append(lowest)
    return result


def best(scores: Sequence[float], k: int) -> float:
    """The highest of the first k scores; 0 if there is none."""
    return max(scores[:k], default=0.0)


def share(scores: Sequence[float], k: int) -> float:
    """Mean over k places; a place without an answer counts as 0."""
    return sum(scores[:k]) / k


__all__ = [
    "best",
    "exact_match",
    "formula_match",
    "lowest_mces",
    "mass_error_ppm",
    "mass_match",
    "mces",
    "share",
    "tanimoto",
    "valid",
]
