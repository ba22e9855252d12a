"""Retrieval: the true molecule among candidates of its mass. Files of candidates are gzipped JSON,
`{smiles: {"candidates": [smiles, ...], "same_formula": [0 or 1, ...]}}`, keyed by the true molecule."""

import gzip
import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from ..chemistry_spec2mol import molecular_formula, morgan_fingerprint
from ..retrieval.molecules import molecule_features
from ..retrieval.ranking import score_molecules

HITS = (1, 5, 20)
# Part of `MoleculeScores` that each ranks by
RANKINGS = {
    "formula": "formula",
    "structure": "structure",
    "fragments": "fragments",
    "itc": "contrast",
    "itm": "match",
    "total": "total",
}
IDENTITY = ("identifier", "inchikey", "smiles")


def load_candidates(path: str | Path, rows: Sequence[Mapping], same_formula: bool = False) -> dict[str, list[str]]:
    """Candidates (SMILES) of each true molecule of `rows`, itself among them.

    same_formula: only those of the true formula.

    Raises:
        ValueError: a molecule is not in the file, or not among its own candidates.
    """
    with gzip.open(path, "rt") as file:
        content = json.load(file)
    candidates = {}
    for smiles in dict.fromkeys(row["smiles"] for row in rows):
        if smiles not in content:
            raise ValueError(f"{path}: no candidates for {smiles}")
        pairs = zip(content[smiles]["candidates"], content[smiles]["same_formula"], strict=True)
        candidates[smiles] = [candidate for candidate, same in pairs if same or not same_formula]
        if smiles not in candidates[smiles]:
            raise ValueError(f"{path}: {smiles} is not among its own candidates")
    return candidates


def rank_of_truth(scores: np.ndarray, truth: int) -> int:
    """Rank, from 1, of candidate `truth`; a candidate of the same score stands before it. NaN is the lowest score."""
    scores = np.nan_to_num(scores, nan=-np.inf)
    return int((scores >= scores[truth]).sum())


def retrieve(model, processor, rows: Sequence[Mapping], candidates: Mapping[str, Sequence[str]]) -> pd.DataFrame:
    """One line for each query: identifier, inchikey, smiles, candidates (their number), and whether the truth is among
    the first 1, 5 and 20 (name@1, ...) by each of `RANKINGS` that the model has the parts for; and the expectation of
    a random order (chance). Candidates that the text branch cannot write are last by its rankings; a query of which a
    part says nothing is a miss."""
    of_molecule = defaultdict(list)
    for i, row in enumerate(rows):
        of_molecule[row["smiles"]].append(i)
    lines = [None] * len(rows)
    progress = tqdm(total=len(rows), desc="retrieval", unit=" spectra", disable=None)
    for smiles, indices in of_molecule.items():
        listed = candidates[smiles]
        formulas, fingerprints, features = [molecular_formula(each) for each in listed], _fingerprints(listed), None
        unwritable = np.zeros(len(listed), bool)
        if model.config.projector_config.use_qformer_text_input:
            features = molecule_features(model, processor, listed).cpu().numpy()
            unwritable = ~features.any(1)
        truth = listed.index(smiles)
        chance = {f"chance@{k}": min(1.0, k / len(listed)) for k in HITS}
        for i in indices:
            spectrum = processor.feature_extractor.record(rows[i])
            scores = score_molecules(
                model, processor, spectrum, listed, formulas, fingerprints, features, shortlist=len(listed)
            )
            ranks = {}
            for name, part in RANKINGS.items():
                values = getattr(scores, part)
                if values is not None:
                    values = np.where(unwritable, np.nan, values) if part in ("contrast", "match") else values
                    ranks[name] = rank_of_truth(values, truth)
            lines[i] = {name: rows[i][name] for name in IDENTITY} | {"candidates": len(listed)} | _hits(ranks) | chance
        progress.update(len(indices))
    progress.close()
    frame = pd.DataFrame(lines)
    hits = [column for column in frame if "@" in column]
    return frame.fillna(dict.fromkeys(hits, 0.0))  # Fragments say nothing of some ions.


def without_spectrum(
    rows: Sequence[Mapping], candidates: Mapping[str, Sequence[str]], training: Sequence[str]
) -> pd.DataFrame:
    """The control that sees no spectrum: candidates ranked by their Tanimoto similarity to the nearest training
    molecule. Lines as of `retrieve`, with without_spectrum@1, @5, @20."""
    library = _fingerprints(sorted(set(training)))
    of_molecule = {}
    truths = dict.fromkeys(row["smiles"] for row in rows)
    for smiles in tqdm(truths, desc="without spectrum", unit=" molecules", disable=None):
        listed = candidates[smiles]
        own = _fingerprints(listed)
        common = own @ library.T
        nearest = (common / (own.sum(1)[:, None] + library.sum(1) - common)).max(1)
        rank = rank_of_truth(nearest, listed.index(smiles))
        of_molecule[smiles] = {"candidates": len(listed)} | _hits({"without_spectrum": rank})
    return pd.DataFrame({name: row[name] for name in IDENTITY} | of_molecule[row["smiles"]] for row in rows)


def _fingerprints(molecules) -> np.ndarray:
    """`(molecules, 2048)`, floats of 0 and 1: their products are by far the fastest way to many similarities."""
    return np.array([morgan_fingerprint(smiles) for smiles in molecules], np.float32)


def _hits(ranks: Mapping[str, int]) -> dict[str, float]:
    return {f"{name}@{k}": float(rank <= k) for name, rank in ranks.items() for k in HITS}
