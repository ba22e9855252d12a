"""Retrieval of texts by molecules and of molecules by texts with the text branch of a Q-Former, as 3D-MoLM's first
stage is evaluated: in batches and in the whole set, by contrast, and with the best of it ranked again by matching."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import torch
from tqdm import tqdm

from ..modeling_spec2mol import EncoderOutput
from .intervals import bootstrap_over_molecules, paired_difference
from .report import Table
from .retrieval import rank_of_truth

MODEL, SHUFFLED = "model", "another row's molecule"
DIRECTIONS = "molecule to text", "text to molecule"
CONTRAST, MATCHING = "contrast", "contrast and matching"
FIGURES = "accuracy", "r@20"
LEAST = 1e6  # puts what was not ranked again behind what was, in its own order


@torch.no_grad()
def retrieve_texts(
    model,
    processor,
    rows: Sequence[Mapping],
    texts: Sequence[str],
    batch: int = 64,
    shortlist: int = 32,
    batch_size: int = 32,
) -> pd.DataFrame:
    """One line for each row, direction, scope ("in batches", "in the whole set"), ranking and system: row, direction,
    scope, ranking, system, accuracy (the right one is first) and r@20 (it is among the first 20); of equally good
    ones the right one is last. The control asks with another row's molecule, or text, for what belongs to this one.

    Args:
        model: `Spec2MolForConditionalGeneration` whose projector has a text branch.
        rows: what its encoder reads.
        texts: one for each row; cut to what the text branch can read.
        batch: rows of a batch, about: all batches are as large but for one row.
        shortlist: so many of the best by contrast are ranked again.
        batch_size: of the computation alone.

    Raises:
        ValueError: no text branch.
    """
    if not getattr(model.config.projector_config, "use_qformer_text_input", False):
        raise ValueError("this model has no text branch: it cannot compare molecules with texts")
    features, states = _molecules(model, processor, rows, batch_size)
    longest = model.config.projector_config.max_position_embeddings
    ids = [processor.encode_text(text)[:longest] for text in texts]
    text_features = []
    for start in range(0, len(ids), batch_size):
        padded = _tensors(model, processor.pad(ids[start : start + batch_size]))
        text_features.append(model.get_molecule_features(*padded))
    cosine = model.model.projector.similarity(features, torch.cat(text_features)).float().cpu().numpy()

    order = np.arange(len(rows))
    scopes = {"in batches": np.array_split(order, max(1, round(len(rows) / batch))), "in the whole set": [order]}
    chosen = np.zeros(cosine.shape, bool)
    for groups in scopes.values():
        for group in groups:
            block = np.ix_(group, group)
            chosen[block] |= _best(cosine[block], shortlist) | _best(cosine[block].T, shortlist).T
    temperature = float(model.model.projector.temperature)
    match = cosine / temperature + _odds(model, processor, states, ids, chosen, batch_size)

    lines = []
    for scope, groups in scopes.items():
        for group in groups:
            block = np.ix_(group, group)
            for direction in DIRECTIONS:
                pair = cosine[block], match[block]
                of_contrast, of_match = pair if direction == DIRECTIONS[0] else (pair[0].T, pair[1].T)
                again = np.where(_best(of_contrast, shortlist), of_match, of_contrast - LEAST)
                for ranking, scores in ((CONTRAST, of_contrast), (MATCHING, again)):
                    for system, shift in ((MODEL, 0), (SHUFFLED, len(group) // 2)):
                        for i, row in enumerate(group):
                            rank = rank_of_truth(scores[(i + shift) % len(group)], i)
                            lines.append((int(row), direction, scope, ranking, system, rank == 1, rank <= 20))
    names = ["row", "direction", "scope", "ranking", "system", *FIGURES]
    return pd.DataFrame(lines, columns=names).astype(dict.fromkeys(FIGURES, float))


def retrieval_tables(lines: pd.DataFrame, molecules: Sequence[str]) -> list[Table]:
    """A table for each scope, with intervals over molecules. molecules: the identity of each row's."""
    columns = ["", *(f"{direction}, {figure}" for direction in DIRECTIONS for figure in FIGURES)]
    tables = []
    for scope, of_scope in lines.groupby("scope", sort=False):
        rows = []
        for ranking in (CONTRAST, MATCHING):
            values = {}
            for system in (MODEL, SHUFFLED):
                chosen = of_scope[(of_scope["ranking"] == ranking) & (of_scope["system"] == system)]
                sides = [chosen[chosen["direction"] == direction].sort_values("row") for direction in DIRECTIONS]
                values[system] = [side[figure].to_numpy() for side in sides for figure in FIGURES]
            label = {MODEL: ranking, SHUFFLED: f"{ranking}, {SHUFFLED}"}
            rows += [[label[s], *(bootstrap_over_molecules(v, molecules) for v in values[s])] for s in values]
            pairs = zip(*values.values(), strict=True)
            rows.append([f"{ranking}, difference", *(paired_difference(*pair, molecules) for pair in pairs)])
        tables.append(Table(f"Retrieval {scope}, {lines['row'].nunique()} rows", columns, rows))
    return tables


def _best(scores, count) -> np.ndarray:
    """Whether each of `(queries, candidates)` is among the `count` best of its row."""
    best = np.zeros(scores.shape, bool)
    np.put_along_axis(best, np.argsort(-scores, axis=1, kind="stable")[:, :count], True, axis=1)
    return best


def _molecules(model, processor, rows, batch_size):
    """Features `(rows, queries, contrast_size)`, and the encoder's states `(tokens, hidden)` of each row."""
    features, states = [], []
    for start in tqdm(range(0, len(rows), batch_size), desc="molecules", unit=" batches", disable=None):
        inputs = processor.feature_extractor(rows[start : start + batch_size], return_tensors="pt").to(model.device)
        encoded = model.model.encode(**inputs)
        features.append(model.model.projector.spectrum_features(model.model.projector.query_states(encoded)))
        pairs = zip(encoded.last_hidden_state, encoded.attention_mask.bool(), strict=True)
        states += [hidden[real] for hidden, real in pairs]
    return torch.cat(features), states


def _odds(model, processor, states, ids, chosen, batch_size) -> np.ndarray:
    """Log odds `(molecules, texts)` that they belong together; NaN where not chosen."""
    odds = np.full(chosen.shape, np.nan)
    pairs = sorted(zip(*np.nonzero(chosen), strict=True), key=lambda pair: len(ids[pair[1]]))  # pads least
    for start in tqdm(range(0, len(pairs), batch_size), desc="matching", unit=" batches", disable=None):
        molecules, texts = map(list, zip(*pairs[start : start + batch_size], strict=True))
        read = [states[i] for i in molecules]
        mask = torch.nn.utils.rnn.pad_sequence([torch.ones(len(s), device=s.device) for s in read], batch_first=True)
        encoded = EncoderOutput(
            last_hidden_state=torch.nn.utils.rnn.pad_sequence(read, batch_first=True), attention_mask=mask.long()
        )
        text = _tensors(model, processor.pad([ids[i] for i in texts]))
        other, this = model.model.projector.matching_logits(encoded, *text).float().unbind(-1)
        odds[molecules, texts] = (this - other).cpu().numpy()
    return odds


def _tensors(model, arrays):
    return [torch.from_numpy(array).to(model.device) for array in arrays]
