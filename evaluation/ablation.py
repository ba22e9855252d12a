"""What each step from the model's likelihood to its ranked answers is worth, on the same spectra."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from ..generation_spec2mol import NUM_BEAMS
from ..ranking_spec2mol import DEFAULT_WEIGHTS, weigh
from .evaluator import KS, Drawn, draw, for_track, score_answers, score_pools

POOL_SIZES = {  # beams, samples
    "10 beams": (10, 0),
    "10 beams and 16 samples": (10, 16),
    "16 samples beside": (NUM_BEAMS, 16),
    "four times the beams": (4 * NUM_BEAMS, 0),
}
LIKELIHOOD = DEFAULT_WEIGHTS | {"fingerprint": 0.0, "fragments": 0.0}
CONSENSUS = LIKELIHOOD | {"consensus": 10.0}


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
    """By likelihood: beams and as many samples, free and of the formula that is known or that the mass suggests.
    These beams ranked also by how alike they are; instead by the predicted fingerprint; also by how well fragments
    explain the peaks; then with fitted weights if these change the order, which is what `predict_molecules` does.
    Other pools.

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
    told = "of the formula" if track == "formula" else "of formulas from the mass"

    def ranked(pools, weights=LIKELIHOOD):
        order = [np.argsort(-weigh(pool.features, weights), kind="stable")[: KS[-1]] for pool in pools]
        answers = [[pool.candidates[i].smiles for i in best] for pool, best in zip(pools, order, strict=True)]
        return score_answers(rows, answers)

    steps = {}
    samples = {"num_beams": 0, "num_samples": NUM_BEAMS}
    for name, size, constrain in (("beams", {}, False), ("samples", samples, False), ("samples", samples, True)):
        bound, against = (told, f"{name}, free") if constrain else ("free", "")
        other = draw(model, processor, queries, desc=f"{track}, {name}, {bound}", constrain=constrain, **size)
        steps[f"{name}, {bound}"] = Step(ranked(other.pools), against, other.seconds)
    pooled = f"beams, {told}"
    steps[pooled] = Step(ranked(drawn.pools), f"samples, {told}", drawn.seconds)
    steps["+ consensus"] = Step(ranked(drawn.pools, CONSENSUS), pooled, None)
    final = pooled
    if model.config.structure_config is not None:
        final = "+ predicted fingerprint, without consensus"
        steps[final] = Step(ranked(drawn.pools, DEFAULT_WEIGHTS | {"fragments": 0.0}), pooled, None)
    if model.config.fragmentation_config is not None:
        before, final = final, "+ explanation by fragments"
        steps[final] = Step(score_pools(rows, drawn.pools, [None] * len(rows)), before, None)
    ranking = model.config.ranking
    if ranking is not None and ranking["order"] != DEFAULT_WEIGHTS:
        steps["+ fitted weights"] = Step(score_pools(rows, drawn.pools, weights), final, None)
        final = "+ fitted weights"
    for name, (beams, samples) in POOL_SIZES.items():
        other = draw(model, processor, queries, desc=f"{track}, {name}", num_beams=beams, num_samples=samples)
        steps[f"the same, {name}"] = Step(score_pools(rows, other.pools, weights), final, other.seconds)
    return steps
