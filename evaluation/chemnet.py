"""Fréchet ChemNet distance of two sets of molecules (Preuer et al. 2018): how far written molecules as a whole are
from true ones, by what ChemNet sees in them. It does not ask which answer belongs to which row."""

import warnings
from collections.abc import Sequence
from functools import cache, lru_cache

import numpy as np

from .intervals import Interval
from .text_libraries import library

GROUPS = 50  # of molecules, left out in turn


def chemnet_distance(pairs: Sequence[tuple[str | None, str | None]], molecules: Sequence) -> Interval:
    """Over the valid SMILES of each side, and an interval from the jackknife by groups of molecules: sets drawn with
    replacement are further from any other, for they hold some molecules twice. NaN with fewer than two on a side.

    Args:
        pairs: canonical SMILES of answer and truth; None for what is no molecule.
        molecules: what each line is about; lines about the same are left out together.
    """
    sides = [_activations(side) for side in zip(*pairs, strict=True)]
    known = [~np.isnan(side).any(1) for side in sides]
    names, unit = np.unique(np.asarray(molecules), return_inverse=True)
    group = np.random.default_rng(0).permutation(len(names))[unit] % GROUPS

    def distance(kept):
        return frechet_distance(*(side[valid & kept] for side, valid in zip(sides, known, strict=True)))

    whole, left_out = distance(np.full(len(pairs), True)), np.array([distance(group != g) for g in set(group)])
    n = len(left_out)
    error = np.sqrt((n - 1) / n * ((left_out - left_out.mean()) ** 2).sum())
    return Interval(whole, whole - 1.96 * error, whole + 1.96 * error)


def frechet_distance(a: np.ndarray, b: np.ndarray) -> float:
    """Squared, of the normal distributions with the means and covariances of two sets `(n, size)`; NaN if one of them
    has fewer than two members."""
    if min(len(a), len(b)) < 2:
        return np.nan
    factors = [np.linalg.qr((x - x.mean(0)) / np.sqrt(len(x) - 1), mode="r") for x in (a, b)]
    # The trace of the root of a product of covariances is the sum of the singular values of their factors' product.
    root = np.linalg.svd(factors[0] @ factors[1].T, compute_uv=False).sum()
    spread = sum((factor**2).sum() for factor in factors)
    return float(((a.mean(0) - b.mean(0)) ** 2).sum() + spread - 2 * root)


def _activations(smiles: Sequence[str | None]) -> np.ndarray:
    """`(n, 512)`, NaN for None. ChemNet pads a set to its longest SMILES, so each set is read as a whole."""
    known = sorted({s for s in smiles if s is not None})
    rows = dict(zip(known, _read(tuple(known)), strict=True))
    return np.stack([rows.get(s, np.full(512, np.nan)) for s in smiles])


@lru_cache(maxsize=8)
def _read(smiles):
    if not smiles:
        return np.zeros((0, 512))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # SMILES of over 350 characters lengthen the padding, there as everywhere.
        return library("fcd").get_predictions(_chemnet(), list(smiles), n_jobs=0).astype(np.float64)


@cache
def _chemnet():
    return library("fcd").load_ref_model()
