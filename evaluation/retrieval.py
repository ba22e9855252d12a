"""Retrieval: the true molecule among candidates of its mass. Files of candidates are gzipped JSON,
`{smiles: {"candidates": [smiles, ...], "same_formula": [0 or 1, ...]}}`, keyed by the true molecule."""

import gzip
import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from tqdm import tqdm

from ..chemistry_spec2mol import morgan_fingerprint
from ..modeling_spec2mol import EncoderOutput

HITS = (1, 5, 20)
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


@torch.no_grad()
def retrieve(
    model, processor, rows: Sequence[Mapping], candidates: Mapping[str, Sequence[str]], batch_size: int = 64
) -> pd.DataFrame:
    """One line for each query: identifier, inchikey, smiles, candidates (their number) and, @1, @5, @20, whether the
    truth is among the first by contrast alone (itc) and by contrast and matching (itm), added as `Spec2MolModel.score`
    does; and the expectation of a random order (chance). Each spectrum is encoded once. Candidates that the model
    cannot write are last.

    Raises:
        ValueError: the model has no text branch.
    """
    of_molecule = defaultdict(list)
    for i, row in enumerate(rows):
        of_molecule[row["smiles"]].append(i)
    lines = [None] * len(rows)
    progress = tqdm(total=len(rows), desc="retrieval", unit=" spectra", disable=None)
    for smiles, indices in of_molecule.items():
        listed = candidates[smiles]
        readable = [j for j, candidate in enumerate(listed) if _readable(model, processor, candidate)]
        texts = _batches(processor, [listed[j] for j in readable], batch_size, model.device)
        for start in range(0, len(indices), batch_size):
            chosen = indices[start : start + batch_size]
            contrast, odds = np.full((2, len(chosen), len(listed)), np.nan)
            if readable:
                contrast[:, readable], odds[:, readable] = _scores(model, processor, [rows[i] for i in chosen], texts)
            truth = listed.index(smiles)
            chance = {f"chance@{k}": min(1.0, k / len(listed)) for k in HITS}
            for i, itc, itm in zip(chosen, contrast, contrast + odds, strict=True):
                hits = _hits({"itc": rank_of_truth(itc, truth), "itm": rank_of_truth(itm, truth)})
                lines[i] = {name: rows[i][name] for name in IDENTITY} | {"candidates": len(listed)} | hits | chance
        progress.update(len(indices))
    progress.close()
    return pd.DataFrame(lines)


def _readable(model, processor, smiles) -> bool:
    try:
        length = len(processor.encode_molecule(smiles))
    except ValueError:
        return False
    return length <= model.config.projector_config.max_position_embeddings


def _batches(processor, molecules, batch_size, device):
    starts = range(0, len(molecules), batch_size)
    return [processor(molecules=molecules[i : i + batch_size], return_tensors="pt").to(device) for i in starts]


def _scores(model, processor, rows, texts) -> tuple[np.ndarray, np.ndarray]:
    """Cosine / temperature, and log odds of the matching head, each `(spectra, molecules)`."""
    base, projector = model.model, model.model.projector
    inputs = processor.feature_extractor(rows, return_tensors="pt").to(model.device)
    encoded = base.encode(**{name: inputs[name] for name in base.input_names if name in inputs})
    features = projector.spectrum_features(projector.query_states(encoded))
    contrast, odds = [], []
    for text in texts:
        ids, mask = text["molecule_ids"], text["molecule_mask"]
        contrast.append(projector.similarity(features, projector.molecule_features(ids, mask)) / projector.temperature)
        of_text = []
        for row in range(len(rows)):
            repeated = EncoderOutput(
                last_hidden_state=encoded.last_hidden_state[row : row + 1].expand(len(ids), -1, -1),
                attention_mask=encoded.attention_mask[row : row + 1].expand(len(ids), -1),
            )
            other, this = projector.matching_logits(repeated, ids, mask).unbind(-1)
            of_text.append(this - other)
        odds.append(torch.stack(of_text))
    return tuple(torch.cat(parts, dim=1).float().cpu().numpy() for parts in (contrast, odds))


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
