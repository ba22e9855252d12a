"""Figures of a model on labelled spectra, beside the control that shows whether it reads them."""

from collections.abc import Sequence

import pandas as pd
import torch
from tqdm import tqdm

from ..data.collator import Spec2MolCollator
from ..generation_spec2mol import predict_molecules
from .metrics import exact_match, tanimoto

TRACKS = ("mass", "formula")


def for_track(rows: Sequence[dict], track: str, peaks: bool = True) -> list[dict]:
    """Queries of a track: "formula" is told the formula, "mass" only precursor m/z and metadata. Without `peaks`, the
    control: everything but the spectrum itself."""
    hidden = ({} if track == "formula" else {"formula": None}) | ({} if peaks else {"mzs": [], "intensities": []})
    return [row | hidden for row in rows]


def evaluate(model, processor, rows: Sequence[dict], batch_size: int = 64, desc: str = "") -> pd.DataFrame:
    """One line for each query: identifier, inchikey, smiles, predicted (greedy answer, None if invalid), loss (mean
    over the target's symbols, nats), exact_match, tanimoto.

    Args:
        rows: of `load_examples`, as `for_track` gives them.
    """
    order = sorted(range(len(rows)), key=lambda i: (rows[i]["num_tokens"], rows[i]["num_peaks"]))
    losses, predictions = {}, {}
    for start in tqdm(range(0, len(rows), batch_size), desc=desc, unit="batch"):
        chosen = order[start : start + batch_size]
        batch = [rows[i] for i in chosen]
        losses |= dict(zip(chosen, target_losses(model, processor, batch), strict=True))
        answers = predict_molecules(model, processor, batch, top_k=1, batch_size=batch_size)
        predictions |= {i: answer[0].smiles if answer else None for i, answer in zip(chosen, answers, strict=True)}
    return pd.DataFrame(
        {
            "identifier": row["identifier"],
            "inchikey": row["inchikey"],
            "smiles": row["smiles"],
            "predicted": predictions[i],
            "loss": losses[i],
            "exact_match": exact_match(predictions[i], row["smiles"]),
            "tanimoto": tanimoto(predictions[i], row["smiles"]),
        }
        for i, row in enumerate(rows)
    )


@torch.no_grad()
def target_losses(model, processor, rows: Sequence[dict]) -> list[float]:
    """Mean negative log likelihood of each true molecule's symbols, in nats."""
    batch = {name: tensor.to(model.device) for name, tensor in Spec2MolCollator(processor)(rows).items()}
    labels = batch.pop("labels")[:, 1:]
    log_p = model(**batch).logits[:, :-1].float().log_softmax(-1)
    kept = labels != -100
    losses = -log_p.gather(-1, labels.clamp(min=0)[..., None])[..., 0] * kept
    return (losses.sum(1) / kept.sum(1)).tolist()
