"""The weights of a ranking, fitted on pools whose true molecules are known; and honest figures of that ranking on the
same spectra, by cross-fitting over molecules.

The order and the probabilities are regressions of their own. For the order it matters how the candidates of one pool
compare: a softmax over each pool is fitted to their similarities to the truth (ListNet, Cao et al. 2007), and a
penalty holds it near the weights that are used without a fit. For a probability it matters how often candidates like
this one come true anywhere: a penalised logistic regression over all of them, on few numbers, since few come true.
"""

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import nn
from transformers.utils import cached_file

from ..generation_spec2mol import Pool
from ..ranking_spec2mol import DEFAULT_WEIGHTS, EVIDENCE, FEATURES, evidence, weigh
from .calibration import CLOSE
from .metrics import exact_match, tanimoto

FOLDS = 5
FOLDS_FILE = "ranking_folds.json"
PENALTY = 3.0  # on half the squared weights of standardised features, against a loss summed over molecules
SHARPNESS = 0.1  # difference in Tanimoto similarity that makes a candidate e times as desirable


class LabelledPool(NamedTuple):
    """features `(candidates, len(FEATURES))`; tanimoto `(candidates,)`, similarity to the true molecule; right
    `(candidates,)`, 1 or 0; molecule: first InChIKey block of the true one."""

    features: np.ndarray
    tanimoto: np.ndarray
    right: np.ndarray
    molecule: str


class Fold(NamedTuple):
    """Weights that know nothing of these molecules."""

    molecules: list[str]
    weights: dict


def label_pools(rows: Sequence[Mapping], pools: Sequence[Pool]) -> list[LabelledPool]:
    """Those of the pools that hold anything. rows: of `load_queries`."""
    labelled = []
    for row, pool in zip(rows, pools, strict=True):
        answers = [candidate.smiles for candidate in pool.candidates]
        if answers:
            similarity = np.array([tanimoto(smiles, row["smiles"]) for smiles in answers])
            right = np.array([exact_match(smiles, row["smiles"]) for smiles in answers])
            labelled.append(LabelledPool(pool.features, similarity, right, row["inchikey"]))
    return labelled


def fit_ranking(pools: Sequence[LabelledPool], order: Mapping | None = None) -> dict[str, dict[str, float]]:
    """Weights for `rank`. Each molecule counts as much as any other, however many pools it has.

    Args:
        order: weights of the order to keep; by default they are fitted too.

    Raises:
        ValueError: no pools, or only such in which nothing is right or everything is close.
    """
    if not pools:
        raise ValueError("no pool to fit a ranking on: the model answered nothing")
    times, sizes = Counter(pool.molecule for pool in pools), [len(pool.features) for pool in pools]
    shares = np.repeat([1 / times[pool.molecule] for pool in pools], sizes)
    similarity = np.concatenate([pool.tanimoto for pool in pools])
    right = np.concatenate([pool.right for pool in pools])
    close = np.maximum(similarity >= CLOSE, right)  # Tautomers are the same, but may look different.
    for name, outcome in (("right", right), (f"of Tanimoto similarity {CLOSE}", close)):
        if outcome.min() == outcome.max():
            which = "no" if outcome.max() == 0 else "every"
            raise ValueError(f"{which} candidate is {name}: fitting a ranking takes more molecules")
    if order is None:
        order = _fit_order(np.concatenate([pool.features for pool in pools]), similarity, sizes, shares)
    found = np.concatenate([evidence(pool.features, weigh(pool.features, order)) for pool in pools])
    fitted = {name: _fit_probability(found, outcome, shares) for name, outcome in (("right", right), ("close", close))}
    return {"order": dict(order), **fitted}


def _fit_order(features, similarity, sizes, shares) -> dict[str, float]:
    x, _, scale = _standardise(features, shares)
    pool_of = torch.from_numpy(np.repeat(np.arange(len(sizes)), sizes))
    counts = torch.from_numpy(shares)
    wish = _log_softmax(torch.from_numpy(similarity) / SHARPNESS, pool_of, len(sizes)).exp()

    def loss(w):
        return -(counts * wish * _log_softmax(x @ w[:-1], pool_of, len(sizes))).sum()

    unfitted = np.array([DEFAULT_WEIGHTS[name] for name in FEATURES]) * np.where(np.isinf(scale), 0.0, scale)
    slopes = _minimise(loss, unfitted)[:-1] / scale
    return dict(zip(FEATURES, slopes.tolist(), strict=True))


def _fit_probability(found, outcome, shares) -> dict[str, float]:
    x, mean, scale = _standardise(found, shares)
    outcome, counts = torch.from_numpy(outcome), torch.from_numpy(shares)

    def loss(w):
        errors = nn.functional.binary_cross_entropy_with_logits(x @ w[:-1] + w[-1], outcome, reduction="none")
        return (counts * errors).sum()

    w = _minimise(loss, np.zeros(len(EVIDENCE)))
    slopes = w[:-1] / scale
    return dict(zip(EVIDENCE, slopes.tolist(), strict=True)) | {"intercept": float(w[-1] - slopes @ mean)}


def _standardise(x, shares) -> tuple[torch.Tensor, np.ndarray, np.ndarray]:
    """And mean and scale; what never differs has an infinite scale, so that its weight is 0."""
    mean = np.average(x, axis=0, weights=shares)
    scale = np.sqrt(np.average((x - mean) ** 2, axis=0, weights=shares))
    scale[scale < 1e-9] = np.inf
    return torch.from_numpy((x - mean) / scale), mean, scale


def _log_softmax(scores, pool_of, pools):
    """Over each pool."""
    highest = scores.new_zeros(pools).scatter_reduce(0, pool_of, scores.detach(), "amax", include_self=False)
    scores = scores - highest[pool_of]
    return scores - scores.new_zeros(pools).index_add(0, pool_of, scores.exp()).log()[pool_of]


def _minimise(loss: Callable, expected: np.ndarray) -> np.ndarray:
    """The weights of least loss, which is convex, with a penalty on leaving the expected ones; and an intercept."""
    expected = torch.from_numpy(expected)
    w = torch.cat([expected, expected.new_zeros(1)]).requires_grad_()
    optimizer = torch.optim.LBFGS([w], max_iter=1000, tolerance_grad=1e-7, line_search_fn="strong_wolfe")

    def closure():
        optimizer.zero_grad()
        penalised = loss(w) + PENALTY / 2 * ((w[:-1] - expected) ** 2).sum()
        penalised.backward()
        return penalised

    optimizer.step(closure)
    return w.detach().numpy()


def cross_fit(pools: Sequence[LabelledPool], order: Mapping | None = None, seed: int = 0) -> list[Fold]:
    """`FOLDS` parts of the molecules, each with the weights that the others give; `order` as of `fit_ranking`.

    Raises:
        ValueError: as `fit_ranking`, and fewer molecules than folds.
    """
    molecules = np.unique([pool.molecule for pool in pools])
    if len(molecules) < FOLDS:
        raise ValueError(f"{len(molecules)} molecules with answers: fitting a ranking takes at least {FOLDS}")
    folds = []
    for part in np.array_split(np.random.default_rng(seed).permutation(molecules), FOLDS):
        held_out = set(part.tolist())
        weights = fit_ranking([pool for pool in pools if pool.molecule not in held_out], order)
        folds.append(Fold(sorted(held_out), weights))
    return folds


def save_ranking(folder: str | Path, weights: Mapping, folds: Sequence[Fold]):
    """Into the config of a saved model, and beside it the folds, for an honest evaluation on the same molecules."""
    path = Path(folder, "config.json")
    config = json.loads(path.read_text(encoding="utf-8")) | {"ranking": weights}
    path.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    Path(folder, FOLDS_FILE).write_text(json.dumps([fold._asdict() for fold in folds], indent=2) + "\n")


def load_folds(name: str) -> list[Fold]:
    """Of a folder or Hub name; none if its ranking was not fitted."""
    try:
        path = cached_file(name, FOLDS_FILE)
    except OSError:
        return []
    return [Fold(**fold) for fold in json.loads(Path(path).read_text(encoding="utf-8"))]


def honest_weights(
    ranking: Mapping | None, folds: Sequence[Fold], rows: Sequence[Mapping]
) -> tuple[list[Mapping | None], str]:
    """The weights to rank each row with, which know nothing of its molecule: the model's own (`config.ranking`), or
    those of its fold where its molecule helped to fit them. And a sentence on that."""
    if ranking is None:
        return [None] * len(rows), "Answers are ranked with weights that were not fitted; there are no probabilities."
    of_fold = {molecule: fold.weights for fold in folds for molecule in fold.molecules}
    known = {row["inchikey"] for row in rows} & set(of_fold)
    sentence = "The ranking's weights were fitted on none of these molecules."
    if known:
        sentence = (
            f"The ranking's weights were fitted on {len(known)} of these molecules; here each of them is ranked with "
            f"weights fitted without it ({len(folds)} folds)."
        )
    return [of_fold.get(row["inchikey"], ranking) for row in rows], sentence


__all__ = [
    "FOLDS_FILE",
    "Fold",
    "LabelledPool",
    "cross_fit",
    "fit_ranking",
    "honest_weights",
    "label_pools",
    "load_folds",
    "save_ranking",
]
