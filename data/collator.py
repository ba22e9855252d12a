"""Examples -> batches, padded to the longest of each."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch

from ..feature_extraction_spec2mol import CONDITIONS
from ..processing_spec2mol import Spec2MolProcessor


@dataclass
class Spec2MolCollator:
    """Rows of `load_examples` -> tensors of `Spec2MolForConditionalGeneration`.

    condition_dropout: probability that a condition, by name, is hidden; so a model learns to do without it. The
        precursor m/z is hidden from the encoder as well: it names a training molecule almost alone, so a model
        that always has it may learn that by heart instead of reading the peaks.
    """

    processor: Spec2MolProcessor
    condition_dropout: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self):
        if unknown := set(self.condition_dropout) - set(CONDITIONS):
            raise ValueError(f"no such conditions: {', '.join(sorted(unknown))}; there are {', '.join(CONDITIONS)}")

    def __call__(self, rows) -> dict[str, torch.Tensor]:
        targets = [row["target_ids"] for row in rows]
        if "mzs" not in rows[0]:
            text = self.processor.training_text(targets, soft_tokens=False)
            return {name: torch.from_numpy(array) for name, array in text.items()}
        batch = dict(self.processor.feature_extractor(rows, return_tensors="pt"))
        batch |= {name: torch.from_numpy(array) for name, array in self.processor.training_text(targets).items()}
        probabilities = torch.tensor([self.condition_dropout.get(name, 0.0) for name in CONDITIONS])
        kept = torch.rand(batch["condition_mask"].shape) >= probabilities
        batch["condition_mask"] = batch["condition_mask"] * kept
        # The precursor is the encoder's first token as well; it stays if there is nothing else to read.
        has_peaks = batch["peaks_mask"].sum(1) > 1
        batch["peaks_mask"][:, 0] *= kept[:, CONDITIONS.index("precursor_mz")] | ~has_peaks
        return batch
