"""What each step from the model's likelihood to its ranked answers is worth, on the same spectra."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import torch
from tqdm import tqdm

from ..chemistry_spec2mol import inchikey_block
from ..generation_spec2mol import encode_queries, plan_queries, pool_molecules, sample_molecules
from ..ranking_spec2mol import DEFAULT_WEIGHTS, FEATURES, rank
from .evaluator import KS, score_answers

BEAMS = 2 * KS[-1]  # Several SELFIES write one molecule.
LIKELIHOOD = {"likelihood": 1.0}
CONSENSUS = {name: DEFAULT_WEIGHTS[name] for name in ("likelihood", "frequency", "consensus")}


@torch.inference_mode()
def ablate(
    model, processor, queries: Sequence[Mapping], num_samples: int = 32, batch_size: int = 16
) -> dict[str, pd.DataFrame]:
    """Lines of `score_answers` for each step, each with all before it:
    - beam search: `model.generate`, free, by likelihood;
    - samples: a pool of samples, free, by likelihood;
    - formula: of the known formula, or of the likeliest ones that the mass allows;
    - consensus: also by how frequent and how alike the samples are;
    - heads: also by structure head, matching head and formula, with fitted weights where the model has them: what
      `predict_molecules` does.

    Args:
        queries: rows of `load_queries` as `for_track` gives them.
    """
    order = sorted(range(len(queries)), key=lambda i: len(queries[i]["mzs"]))
    answers = {name: [None] * len(queries) for name in ("beam search", "samples", "formula", "consensus", "heads")}
    progress = tqdm(total=len(queries), desc="ablation", unit=" spectra", disable=None)
    for start in range(0, len(order), batch_size):
        chosen = order[start : start + batch_size]
        batch = [queries[i] for i in chosen]
        free = _pools(model, processor, batch, num_samples, constrain=False)
        bound = _pools(model, processor, batch, num_samples, constrain=True)
        steps = {
            "beam search": _beam_search(model, processor, batch),
            "samples": [_ranked(pool, _weighed(pool, LIKELIHOOD)) for pool in free],
            "formula": [_ranked(pool, _weighed(pool, LIKELIHOOD)) for pool in bound],
            "consensus": [_ranked(pool, _weighed(pool, CONSENSUS)) for pool in bound],
            "heads": [_ranked(pool, rank(pool[1], model.config.ranking).scores) for pool in bound],
        }
        for name, found in steps.items():
            for i, ranked in zip(chosen, found, strict=True):
                answers[name][i] = ranked
        progress.update(len(chosen))
    progress.close()
    return {name: score_answers(queries, found) for name, found in answers.items()}


def _beam_search(model, processor, batch) -> list[list[str]]:
    inputs = processor(spectra=batch, return_tensors="pt").to(model.device)
    ids = model.generate(**inputs, num_beams=BEAMS, num_return_sequences=BEAMS, do_sample=False, length_penalty=0.0)
    molecules = processor.decode_molecules(ids)
    return [_distinct(molecules[i * BEAMS : (i + 1) * BEAMS]) for i in range(len(batch))]


def _distinct(molecules) -> list[str]:
    """The first of each molecule."""
    found = {}
    for smiles in molecules:
        key = None if smiles is None else inchikey_block(smiles)
        if key is not None:
            found.setdefault(key, smiles)
    return list(found.values())[: KS[-1]]


def _pools(model, processor, batch, num_samples, constrain) -> list[tuple[list[str], np.ndarray]]:
    """(SMILES, features of the ranking) of each spectrum's pool."""
    plans = [plan_queries(processor, spectrum, num_samples, constrain)[0] for spectrum in batch]
    asked = [query for plan in plans for query in plan]
    soft_tokens = encode_queries(model, processor, asked)
    samples = sample_molecules(model, processor, asked, soft_tokens)
    pools, first = [], 0
    for plan in plans:
        own = slice(first, first := first + len(plan))
        molecules, features = pool_molecules(model, processor, plan, samples[own], soft_tokens[own])
        pools.append(([smiles for smiles, *_ in molecules], features))
    return pools


def _weighed(pool, weights) -> np.ndarray:
    return pool[1] @ [weights.get(name, 0.0) for name in FEATURES]


def _ranked(pool, scores) -> list[str]:
    return [pool[0][i] for i in np.argsort(-scores, kind="stable")[: KS[-1]]]
