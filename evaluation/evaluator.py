"""A model's answers to labelled spectra, and the figures of any answers."""

from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from time import perf_counter
from typing import NamedTuple

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import torch
from tqdm import tqdm

from ..chemistry_spec2mol import inchikey_block
from ..data.examples import SPECTRUM_COLUMNS
from ..generation_spec2mol import Pool, draw_pools, rank_pool
from .intervals import Interval, bootstrap_over_molecules, paired_difference
from .library_search import library_search, random_molecules_of_the_same_mass
from .metrics import best, exact_match, formula_match, lowest_mces, mass_error_ppm, mass_match, share, tanimoto, valid

TRACKS = ("mass", "formula")
KS = (1, 10)
MODEL, REMOVED = "model", "peaks removed"


def load_queries(path: str | Path, per_molecule: int | None = None, seed: int = 0) -> list[dict]:
    """Rows of a parquet file of labelled spectra: the columns of a spectrum (None where the file has none), smiles,
    identifier and inchikey (first block, computed from smiles). No row is dropped: the denominator of every figure is
    the whole file.

    Args:
        per_molecule: keep at most so many random spectra of each molecule, in the order of the file. Figures are
            averaged over molecules, so that fewer spectra cost little precision.

    Raises:
        ValueError: a column is missing, or a row is no molecule.
    """
    columns = ("smiles", "identifier", *SPECTRUM_COLUMNS)
    present = pq.read_schema(path).names
    if missing := {"smiles", "mzs", "intensities", "precursor_mz"} - set(present):
        raise ValueError(f"{path}: no column {', '.join(sorted(missing))}")
    rows = pq.read_table(path, columns=[name for name in columns if name in present]).to_pylist()
    keys = {smiles: inchikey_block(smiles) for smiles in {row["smiles"] for row in rows}}
    for index, row in enumerate(rows):
        if keys[row["smiles"]] is None:
            raise ValueError(f"{path}: row {index}: {row['smiles']!r} is no molecule that RDKit and InChI can read")
        row["inchikey"] = keys[row["smiles"]]
    rows = [dict.fromkeys(columns) | {"identifier": str(i)} | row for i, row in enumerate(rows)]
    if per_molecule is None:
        return rows
    taken, kept = Counter(), []
    for i in np.random.default_rng(seed).permutation(len(rows)):
        taken[rows[i]["inchikey"]] += 1
        if taken[rows[i]["inchikey"]] <= per_molecule:
            kept.append(i)
    return [rows[i] for i in sorted(kept)]


def for_track(rows: Sequence[Mapping], track: str, peaks: bool = True) -> list[dict]:
    """Queries of a track: "formula" is told the formula, "mass" only precursor m/z and metadata. Without `peaks`, the
    control: everything but the spectrum itself."""
    hidden = ({} if track == "formula" else {"formula": None}) | ({} if peaks else {"mzs": [], "intensities": []})
    return [row | hidden for row in rows]


class Drawn(NamedTuple):
    """The pool of each query, and the mean time for one in seconds."""

    pools: list[Pool]
    seconds: float


def compare(
    model,
    processor,
    rows: Sequence[Mapping],
    library: Sequence[Mapping],
    track: str,
    weights: Sequence[Mapping | None] | None = None,
) -> tuple[dict[str, pd.DataFrame], Drawn]:
    """The model and its controls on one track: name -> lines of `score_answers`; and the model's pools. The lines of
    the model, with and without peaks, also have loss, and of each answer score, probability and probability_close (NaN
    without); and seconds, the mean time for a query.

    Args:
        library: rows of `load_queries` that the model-free controls answer from; empty for none.
        weights: of the ranking, for each row; by default the model's own.
    """
    systems, drawn = {}, {}
    for name in (MODEL, REMOVED):
        drawn[name] = draw(model, processor, for_track(rows, track, peaks=name == MODEL), desc=f"{track}, {name}")
        systems[name] = score_pools(rows, drawn[name].pools, weights or [model.config.ranking] * len(rows))
        systems[name]["loss"] = target_losses(model, processor, rows, [pool.soft_tokens for pool in drawn[name].pools])
        systems[name]["seconds"] = drawn[name].seconds
    if library:
        queries = for_track(rows, track)
        likely = "same formula" if track == "formula" else "same precursor m/z"
        answers = {
            "library search": library_search(queries, library),
            "library search, with neutral losses": library_search(queries, library, losses=True),
            f"library search, {likely}": library_search(queries, library, restricted=True),
            "random training molecule of the same mass": random_molecules_of_the_same_mass(queries, library),
        }
        systems |= {name: score_answers(rows, ranked) for name, ranked in answers.items()}
    return systems, drawn[MODEL]


def draw(model, processor, queries: Sequence[Mapping], batch_size: int = 16, desc: str = "", **options) -> Drawn:
    """`options` as for `draw_pools`. Works through the queries by rising mass, so that those of a batch are about as
    long to write."""
    order = sorted(range(len(queries)), key=lambda i: queries[i]["precursor_mz"])
    pools = draw_pools(model, processor, (queries[i] for i in order), batch_size, **options)
    start = perf_counter()
    found = dict(zip(order, tqdm(pools, desc=desc, total=len(queries), unit=" spectra", disable=None), strict=True))
    return Drawn([found[i] for i in range(len(queries))], (perf_counter() - start) / len(queries))


def score_pools(rows: Sequence[Mapping], pools: Sequence[Pool], weights: Sequence[Mapping | None]) -> pd.DataFrame:
    """Lines of `score_answers` for pools ranked with the weights of each row, with score, probability and
    probability_close of each answer."""
    ranked = [rank_pool(pool, of_row)[: KS[-1]] for pool, of_row in zip(pools, weights, strict=True)]
    frame = score_answers(rows, [[candidate.smiles for candidate in candidates] for candidates in ranked])
    for field in ("score", "probability", "probability_close"):
        frame[field] = [np.array([getattr(c, field) for c in candidates], float) for candidates in ranked]
    return frame


@torch.no_grad()
def target_losses(
    model, processor, rows: Sequence[Mapping], soft_tokens: Sequence[torch.Tensor], batch_size: int = 64
) -> list[float]:
    """Mean negative log likelihood of each true molecule's symbols, in nats; NaN where the model cannot write it or
    was not asked.

    soft_tokens: `(queries, num_soft_tokens, hidden)` of each row's pool. Those of the likeliest formula, which come
        first, are taken.
    """
    targets = {smiles: _target_ids(processor, smiles) for smiles in {row["smiles"] for row in rows}}
    asked = [i for i, row in enumerate(rows) if targets[row["smiles"]] is not None and len(soft_tokens[i])]
    asked.sort(key=lambda i: len(targets[rows[i]["smiles"]]))
    losses = [float("nan")] * len(rows)
    for start in range(0, len(asked), batch_size):
        chosen = asked[start : start + batch_size]
        text = processor.training_text([targets[rows[i]["smiles"]] for i in chosen])
        batch = {name: torch.from_numpy(array).to(model.device) for name, array in text.items()}
        labels = batch.pop("labels")[:, 1:]
        batch["soft_tokens"] = torch.stack([soft_tokens[i][0] for i in chosen])
        log_p = model(**batch).logits[:, :-1].float().log_softmax(-1)
        kept = labels != -100
        sums = (-log_p.gather(-1, labels.clamp(min=0)[..., None])[..., 0] * kept).sum(1)
        for i, loss in zip(chosen, (sums / kept.sum(1)).tolist(), strict=True):
            losses[i] = loss
    return losses


def _target_ids(processor, smiles):
    try:
        return processor.encode_molecule(smiles)
    except ValueError:
        return None


def score_answers(rows: Sequence[Mapping], answers: Sequence[Sequence[str]]) -> pd.DataFrame:
    """One line for each query: identifier, inchikey, smiles, answers (ranked SMILES), mass_error_ppm (of the first,
    NaN without one) and, @1 and @10,
    - exact_match, tanimoto: the best of the first k answers;
    - valid, formula_match, mass_match: the share of the k places.
    """
    frame = pd.DataFrame([{name: row[name] for name in ("identifier", "inchikey", "smiles")} for row in rows])
    frame["answers"] = [list(ranked) for ranked in answers]
    pairs = list(zip(frame["answers"], frame["smiles"], strict=True))
    frame["mass_error_ppm"] = [mass_error_ppm(ranked[0] if ranked else None, truth) for ranked, truth in pairs]
    figures = {
        "exact_match": (exact_match, best),
        "tanimoto": (tanimoto, best),
        "valid": (lambda answer, _: valid(answer), share),
        "formula_match": (formula_match, share),
        "mass_match": (mass_match, share),
    }
    for name, (metric, over) in figures.items():
        scores = [[metric(answer, truth) for answer in ranked] for ranked, truth in pairs]
        for k in KS:
            frame[f"{name}@{k}"] = [over(s, k) for s in scores]
    return frame


def add_mces(frame: pd.DataFrame, processes: int, seed: int = 0, desc: str = "MCES"):
    """Adds mces@1 and mces@10, the lowest of the first k answers, to lines of `score_answers`: of one random spectrum
    of each molecule, since a pair of molecules takes tenths of a second; NaN elsewhere."""
    chosen = frame.sample(frac=1, random_state=seed).drop_duplicates("inchikey").index
    pairs = list(zip(frame.loc[chosen, "answers"], frame.loc[chosen, "smiles"], strict=True))
    with ProcessPoolExecutor(processes) as pool:
        progress = tqdm(pool.map(_lowest_mces, pairs), desc=desc, total=len(pairs), unit=" queries", disable=None)
        distances = np.array(list(progress))
    for k, column in zip(KS, distances.T, strict=True):
        frame[f"mces@{k}"] = pd.Series(column, index=chosen)


def _lowest_mces(pair):
    return lowest_mces(*pair, ks=KS)


def summarise(frame: pd.DataFrame) -> dict[str, Interval]:
    """Mean over molecules, with its interval, of each figure (loss and what is @k) of a table with a column inchikey.

    Only two figures may be NaN, which leaves out queries: loss, where the model cannot write the truth, and mces, of
    which one spectrum of each molecule is enough."""
    figures = {}
    for name in (column for column in frame if "@" in column or column == "loss"):
        counted = frame.dropna(subset=[name])
        if len(counted):
            figures[name] = bootstrap_over_molecules(counted[name], counted["inchikey"])
    return figures


def summaries(systems: Mapping[str, pd.DataFrame]) -> dict[str, dict[str, Interval]]:
    """`summarise` of each system, and after that of the control without peaks the mean difference between the model
    and it, over the same spectra."""
    result = {}
    for name, frame in systems.items():
        result[name] = summarise(frame)
        if name == REMOVED:
            model = systems[MODEL]
            differences = {}
            for figure in result[name]:
                known = frame[figure].notna()
                pair = model.loc[known, figure], frame.loc[known, figure]
                differences[figure] = paired_difference(*pair, frame.loc[known, "inchikey"])
            result[f"{MODEL} less {REMOVED}"] = differences
    return result
