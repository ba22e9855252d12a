"""What each step from the model's likelihood to its ranked answers is worth, on the same spectra."""

from collections.abc import Mapping, Sequence
from time import perf_counter
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from tqdm import tqdm

from ..chemistry_spec2mol import inchikey_block
from ..formula_constraint_spec2mol import FormulaConstraint
from ..generation_spec2mol import encode_queries, plan_queries
from ..ranking_spec2mol import DEFAULT_WEIGHTS, FEATURES
from .evaluator import KS, Drawn, draw, for_track, score_answers, score_pools
from .fitting import with_unfitted_order

BEAMS = 2 * KS[-1]  # Several SELFIES write one molecule.
POOL_SIZES = (8, 128)  # beside the usual one
CONSENSUS = ("likelihood", "frequency", "consensus")


class Step(NamedTuple):
    """Lines of `score_answers`, the step that it is compared with, and the mean time for a query in seconds, None
    where nothing new is drawn."""

    frame: pd.DataFrame
    against: str
    seconds: float | None


def ablate(
    model,
    processor,
    rows: Sequence[Mapping],
    track: str,
    drawn: Drawn,
    weights: Sequence[Mapping | None],
    molecules: int | None = None,
) -> dict[str, Step]:
    """By likelihood, beams and a pool of samples, free and of the formula that is known or that the mass suggests; the
    pool ranked also by how frequent and alike its samples are, then also by the predicted fingerprint, then with the
    fitted weights if these change the order, which is what `predict_molecules` does; other sizes of the pool.

    Args:
        rows: of `load_queries`.
        drawn: their pools, as `predict_molecules` draws them.
        weights: of the ranking, for each row.
        molecules: take the spectra of so many random ones of the molecules; by default of all.
    """
    names = np.random.default_rng(0).permutation(sorted({row["inchikey"] for row in rows}))
    taken = set(names[:molecules])
    chosen = [i for i, row in enumerate(rows) if row["inchikey"] in taken]
    rows, weights = [rows[i] for i in chosen], [weights[i] for i in chosen]
    drawn = drawn._replace(pools=[drawn.pools[i] for i in chosen])
    queries = for_track(rows, track)
    free = draw(model, processor, queries, desc=f"{track}, free samples", constrain=False)
    beams, beams_seconds = _beam_search(model, processor, queries, f"{track}, free beams", constrain=False)
    bound, bound_seconds = _beam_search(model, processor, queries, f"{track}, beams", constrain=True)
    told = "of the formula" if track == "formula" else "of formulas from the mass"

    def ranked(pools, *names):
        features = [pool.features @ [DEFAULT_WEIGHTS[n] if n in names else 0.0 for n in FEATURES] for pool in pools]
        order = [np.argsort(-scores, kind="stable")[: KS[-1]] for scores in features]
        answers = [[pool.candidates[i].smiles for i in best] for pool, best in zip(pools, order, strict=True)]
        return score_answers(rows, answers)

    steps = {
        "beams, free": Step(score_answers(rows, beams), "", beams_seconds),
        "beams, of the likeliest formula": Step(score_answers(rows, bound), "beams, free", bound_seconds),
        "samples, free": Step(ranked(free.pools, "likelihood"), "beams, free", free.seconds),
        f"samples, {told}": Step(ranked(drawn.pools, "likelihood"), "samples, free", drawn.seconds),
        "+ consensus": Step(ranked(drawn.pools, *CONSENSUS), f"samples, {told}", None),
    }
    if model.config.structure_config is not None:
        unfitted = score_pools(rows, drawn.pools, [None] * len(rows))
        steps["+ predicted fingerprint"] = Step(unfitted, "+ consensus", None)
    ranking = model.config.ranking
    if ranking is not None and ranking != with_unfitted_order(ranking):
        steps["+ fitted weights"] = Step(score_pools(rows, drawn.pools, weights), list(steps)[-1], None)
    final = list(steps)[-1]
    for size in POOL_SIZES:
        name = f"{size} samples"
        other = draw(model, processor, queries, desc=f"{track}, {name}", num_samples=size)
        steps[f"the same, {name}"] = Step(score_pools(rows, other.pools, weights), final, other.seconds)
    return steps


@torch.inference_mode()
def _beam_search(
    model, processor, queries, desc: str, constrain: bool, batch_size: int = 16
) -> tuple[list[list[str]], float]:
    """Distinct molecules by falling likelihood, and the mean time for a query in seconds. With `constrain`, those of
    the known or likeliest formula; none where there is no such formula."""
    plans = [plan_queries(processor, query, 1, constrain)[0][:1] for query in queries]
    answers, start = [[] for _ in queries], perf_counter()
    asked = sorted((i for i, plan in enumerate(plans) if plan), key=lambda i: len(queries[i]["mzs"]))
    progress = tqdm(total=len(asked), desc=desc, unit=" spectra", disable=None)
    for first in range(0, len(asked), batch_size):
        chosen = asked[first : first + batch_size]
        batch = [plans[i][0] for i in chosen]
        constraint = FormulaConstraint(processor.tokenizer, [query.formula for query in batch])
        prompt = torch.tensor(processor.prompt, device=model.device).expand(len(batch), -1)
        ids = model.generate(
            input_ids=prompt,
            attention_mask=torch.ones_like(prompt),
            soft_tokens=encode_queries(model, processor, batch).soft_tokens,
            logits_processor=[constraint],
            num_beams=BEAMS,
            num_return_sequences=BEAMS,
            do_sample=False,
            length_penalty=0.0,
        )
        molecules = processor.decode_molecules(ids)
        for row, i in enumerate(chosen):
            answers[i] = _distinct(molecules[row * BEAMS : (row + 1) * BEAMS])
        progress.update(len(chosen))
    progress.close()
    return answers, (perf_counter() - start) / max(len(asked), 1)


def _distinct(molecules) -> list[str]:
    """The first of each molecule."""
    found = {}
    for smiles in molecules:
        key = None if smiles is None else inchikey_block(smiles)
        if key is not None:
            found.setdefault(key, smiles)
    return list(found.values())[: KS[-1]]
