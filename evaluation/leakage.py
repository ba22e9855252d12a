"""Has the model seen the molecules it is tested on?"""

from collections.abc import Mapping, Sequence

from ..training.record import load_seen


def check_unseen(model: str, rows: Sequence[Mapping]) -> str:
    """A sentence on what is known: that no molecule of `rows` was trained on, or that the model has no record of it.

    Args:
        model: folder or Hub name.
        rows: with `smiles` and `inchikey` (first block).

    Raises:
        ValueError: molecules that the model was trained on; the first few are named.
    """
    molecules = {row["inchikey"]: row["smiles"] for row in rows}
    record = load_seen(model)
    if record is None:
        return "The model has no training record: whether it has seen these molecules in training is not known."
    seen = [smiles for smiles, saw in zip(molecules.values(), record.saw(list(molecules)), strict=True) if saw]
    if seen:
        raise ValueError(
            f"{model} was trained on {len(seen)} of these {len(molecules)} molecules, such as {', '.join(seen[:3])}: "
            "its figures on them would mean nothing"
        )
    sentence = (
        f"None of these {len(molecules)} molecules, by first InChIKey block, is among the {len(record.molecules):,} "
        "of the model's training record."
    )
    if record.unknown:
        sentence += f" Not recorded, and so not known: the molecules behind {', '.join(record.unknown)}."
    return sentence


def check_disjoint(rows: Sequence[Mapping], library: Sequence[Mapping]):
    """Raises ValueError if a molecule of `rows` is in the library that the controls answer from."""
    if shared := {row["inchikey"] for row in rows} & {row["inchikey"] for row in library}:
        example = next(row["smiles"] for row in rows if row["inchikey"] in shared)
        raise ValueError(f"{len(shared)} molecules are in both --data and --train, such as {example}")
