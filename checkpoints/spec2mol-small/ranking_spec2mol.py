"""From a pool of candidates to ranked answers: what the model's likelihood, its structure and matching heads and a
candidate's neighbours in the pool say, with weights that `spec2mol fit-ranking` fits and stores in the config.

Candidates count by their likelihood, not by how often they were drawn, which says nothing of those that beams find.
Consensus, the expected similarity of a candidate to the truth if the pool held it, is the choice of least Bayes risk
(Kumar and Byrne 2004) with Tanimoto similarity as the gain.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

FEATURES = {
    "likelihood": "log likelihood of the candidate",
    "size": "log of its number of heavy atoms",
    "consensus": "its mean Tanimoto similarity to the pool, each candidate weighted by its likelihood",
    "fingerprint": "Tanimoto similarity of its fingerprint with the one that encoder or structure head predicts",
    "structure": "log likelihood of its fingerprint to that prediction, less the log of the sum over the pool",
    "fragments": "mean log share of the ion current that its fragments give to the peaks",
    "match": "cosine and matching odds of `model.score`, less the log of the sum over the pool",
    "formula": "log probability of its formula given mass and fragments; 0 where the formula is known",
}
# Of the order, without fitted weights
DEFAULT_WEIGHTS = dict.fromkeys(FEATURES, 0.0) | {
    "likelihood": 0.1,
    "fingerprint": 10.0,
    "fragments": 0.5,
    "formula": 0.1,
}
# What probabilities are made of: how sure the model is of the text, for its length, how well fragments explain the
# peaks, and the order of the candidates. Likeness to the predicted fingerprint compares candidates well, but is high,
# too, in some pools that are all wrong.
EVIDENCE = ("likelihood", "size", "fragments", "formula", "place")
MEAN_LOG_SHARE = -5.0  # of answers on val: "fragments" where the ion is one that the fragmentation model does not know


class Ranking(NamedTuple):
    """scores `(candidates,)`: higher is better; probabilities `(candidates,)` that a candidate is right, and that its
    Tanimoto similarity to the truth is at least 0.6, or None without fitted weights."""

    scores: np.ndarray
    probability: np.ndarray | None
    probability_close: np.ndarray | None


def tanimoto_matrix(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """`(n, bits)` and `(m, bits)` of numbers from 0 to 1 -> similarities `(n, m)`."""
    a, b = a.astype(np.float32), b.astype(np.float32)
    shared = a @ b.T
    return shared / np.maximum(a.sum(1)[:, None] + b.sum(1) - shared, 1e-9)


def pool_features(
    fingerprints: np.ndarray,
    sizes: Sequence[int],
    log_likelihoods: Sequence[float],
    formula_scores: Sequence[float],
    predicted_bits: np.ndarray | None = None,
    fragment_scores: Sequence[float] | None = None,
    match_scores: Sequence[float] | None = None,
) -> np.ndarray:
    """`(candidates, len(FEATURES))` of the distinct molecules in one pool; constant where the model has no such part.

    Args:
        fingerprints: Morgan, `(candidates, bits)`.
        sizes: numbers of heavy atoms.
        log_likelihoods, formula_scores: in nats.
        predicted_bits: probabilities, `(candidates, bits)`.
        fragment_scores: of `FragmentationModel.log_share`.
        match_scores: of `model.score`.
    """
    log_likelihoods, formula_scores = np.asarray(log_likelihoods), np.asarray(formula_scores)
    share = np.exp(_log_posterior(log_likelihoods + formula_scores))
    columns = dict.fromkeys(FEATURES, np.zeros(len(share))) | {
        "fragments": np.full(len(share), MEAN_LOG_SHARE),
        "likelihood": log_likelihoods,
        "size": np.log(sizes),
        "consensus": tanimoto_matrix(fingerprints, fingerprints) @ share,
        "formula": formula_scores,
    }
    if predicted_bits is not None:
        bits = np.clip(predicted_bits, 1e-6, 1 - 1e-6)
        shared = (fingerprints * bits).sum(1)
        columns["fingerprint"] = shared / (fingerprints.sum(1) + bits.sum(1) - shared)
        log_likelihoods = np.where(fingerprints > 0, np.log(bits), np.log1p(-bits)).sum(1)
        columns["structure"] = _log_posterior(log_likelihoods)
    if fragment_scores is not None:
        columns["fragments"] = np.asarray(fragment_scores)
    if match_scores is not None:
        columns["match"] = _log_posterior(match_scores)
    return np.stack(list(columns.values()), axis=1)


def rank(features: np.ndarray, weights: dict | None) -> Ranking:
    """
    Args:
        features: of `pool_features`.
        weights: `config.ranking`: for "order" the weight of each feature; for "right" and "close", which are logistic
            regressions, that of each `EVIDENCE`, and an "intercept"; or None.
    """
    if weights is None:
        return Ranking(weigh(features, DEFAULT_WEIGHTS), None, None)
    scores = weigh(features, weights["order"])
    found = evidence(features, scores)
    logits = (found @ [of[name] for name in EVIDENCE] + of["intercept"] for of in (weights["right"], weights["close"]))
    right, close = (1 / (1 + np.exp(-logit)) for logit in logits)
    return Ranking(scores, right, np.maximum(right, close))


def weigh(features: np.ndarray, weights: dict) -> np.ndarray:
    return features @ [weights[name] for name in FEATURES]


def evidence(features: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """`(candidates, len(EVIDENCE))`; place: log of the place that the scores give, from 1."""
    place = np.zeros(len(scores))
    place[np.argsort(-scores, kind="stable")] = np.log(np.arange(1, len(scores) + 1))
    names = list(FEATURES)
    return np.column_stack([features[:, [names.index(name) for name in EVIDENCE[:-1]]], place])


def _log_posterior(scores):
    scores = np.asarray(scores, np.float64)
    return scores - np.logaddexp.reduce(scores)


__all__ = ["EVIDENCE", "FEATURES", "Ranking", "evidence", "pool_features", "rank", "tanimoto_matrix", "weigh"]
