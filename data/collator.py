"""Examples -> batches, padded to the longest of each."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import torch

from ..chemistry_spec2mol import random_smiles
from ..feature_extraction_spec2mol import CONDITIONS
from ..processing_spec2mol import Spec2MolProcessor
from .augmentation import Augmentation


@dataclass
class Spec2MolCollator:
    """Rows of `load_examples` or `load_task_examples` -> tensors of `Spec2MolForConditionalGeneration`, or with
    `pairs` of `Spec2MolForPreTraining`. In tasks the loss is on the answers, and some rows may be text alone.

    condition_dropout: probability that a condition, by name, is hidden; so a model learns to do without it. The
        precursor m/z is hidden from the encoder as well: it names a training molecule almost alone, so a model
        that always has it may learn that by heart instead of reading the peaks.
    augmentation: of the peaks.
    pairs: molecules as the text branch reads them, with their identity, instead of the language model's text.
    told_fingerprint: share of the rows in which the fingerprint tokens tell a part of the truth, from none to all.
    random_order: share of the molecules that are written from a random atom on, anew each time. Those that would be
        longer than `max_tokens` stay as they are.
    """

    processor: Spec2MolProcessor
    condition_dropout: Mapping[str, float] = field(default_factory=dict)
    augmentation: Augmentation | None = None
    pairs: bool = False
    told_fingerprint: float = 0.0
    random_order: float = 0.0
    max_tokens: int | None = None

    def __post_init__(self):
        if unknown := set(self.condition_dropout) - set(CONDITIONS):
            raise ValueError(f"no such conditions: {', '.join(sorted(unknown))}; there are {', '.join(CONDITIONS)}")

    def __call__(self, rows) -> dict[str, torch.Tensor]:
        queries = [row for row in rows if self.processor.is_query(row)]
        batch = self._queries(queries) if queries else {}
        if "messages" in rows[0]:
            text = self.processor.conversation_text([row["messages"] for row in rows])
        elif self.pairs:
            ids, mask = self.processor.pad([self._target(row) for row in rows])
            identity = np.array([row["identity"] for row in rows])
            text = {"molecule_ids": ids, "molecule_mask": mask, "identity": identity}
        else:
            targets = [self._target(row) for row in rows]
            text = self.processor.training_text(targets, soft_tokens=bool(batch))
        batch |= {name: torch.from_numpy(array) for name, array in text.items()}
        if batch and "fingerprint" in rows[0]:
            packed = np.array([row["fingerprint"] for row in rows], np.uint8)
            batch["fingerprint"] = torch.from_numpy(np.unpackbits(packed, axis=1))
            batch["element_counts"] = torch.tensor([row["element_counts"] for row in rows])
            if self.told_fingerprint:
                batch["told_share"] = torch.rand(len(rows)) * (torch.rand(len(rows)) < self.told_fingerprint)
        return batch

    def _target(self, row) -> list[int]:
        if self.random_order and torch.rand(()) < self.random_order:
            smiles = random_smiles(row["smiles"], seed=int(torch.randint(2**31, ())))
            try:
                target = self.processor.encode_molecule(smiles)
            except ValueError:  # Another order may take a symbol that the vocabulary lacks.
                return row["target_ids"]
            if self.max_tokens is None or len(target) <= self.max_tokens:
                return target
        return row["target_ids"]

    def _queries(self, rows) -> dict[str, torch.Tensor]:
        if self.processor.feature_extractor.molecules is not None:
            return dict(self.processor.feature_extractor(rows, return_tensors="pt"))
        if self.augmentation is not None:
            rows = [self.augmentation(row) for row in rows]
        probabilities = torch.tensor([self.condition_dropout.get(name, 0.0) for name in CONDITIONS])
        kept = torch.rand(len(rows), len(CONDITIONS)) >= probabilities
        knows_formula = kept[:, CONDITIONS.index("formula")]  # If not, it must not explain the peaks either.
        rows = [row if knows else row | {"formula": None} for row, knows in zip(rows, knows_formula, strict=True)]
        batch = dict(self.processor.feature_extractor(rows, return_tensors="pt"))
        batch["condition_mask"] = batch["condition_mask"] * kept
        # The precursor is the encoder's first token as well; it stays if there is nothing else to read.
        has_peaks = batch["peaks_mask"].sum(1) > 1
        batch["peaks_mask"][:, 0] *= kept[:, CONDITIONS.index("precursor_mz")] | ~has_peaks
        return batch
