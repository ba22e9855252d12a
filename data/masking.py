"""DreaMS's self-supervision: spectra without labels -> batches of masked peaks (Bushuiev et al. 2025; `intens_p` and
`mask_mz_hot` in the original's `utils/data.py`)."""

from collections.abc import Mapping, Sequence

import torch

from ..feature_extraction_spec2mol import Spec2MolFeatureExtractor
from .augmentation import Augmentation

MASKED_SHARE = 0.3
MIN_MASKED = 2
MASK_MZ = -1.0
SHIFT_PROBABILITY = 0.2
MAX_SHIFT = 50.0  # Da


class MaskedPeaksCollator:
    """Rows of spectra -> tensors of `DreamsForPreTraining`.

    - The m/z of 30% of the peaks (at least two) becomes -1; their intensities stay. They are drawn without replacement
      in proportion to intensity. The precursor and the base peak are never masked.
    - One spectrum in five has all its m/z raised by the same amount, up to 50 Da: differences matter, not places.
    - Where rows have a `run` (LC-MS run) and a `retention_time` (any one unit), rows of one run become neighbours and
      learn which of two elutes first.

    Args:
        feature_extractor: without conditions.
        augmentation: of the peaks, before they are masked. None for evaluation, which also means no shifts, and always
            the same peaks masked.
    """

    def __init__(self, feature_extractor: Spec2MolFeatureExtractor, augmentation: Augmentation | None):
        self.feature_extractor = feature_extractor
        self.augmentation = augmentation

    def __call__(self, rows: Sequence[Mapping]) -> dict[str, torch.Tensor]:
        training = self.augmentation is not None
        generator = None if training else torch.Generator().manual_seed(0)
        timed = any(row.get("run") is not None for row in rows)
        if timed:
            rows = sorted(rows, key=lambda row: str(row.get("run")))
        if training:
            rows = [self.augmentation(row) for row in rows]
        batch = dict(self.feature_extractor(rows, return_tensors="pt"))
        mz, real = batch["peaks"][..., 0], batch["peaks_mask"].bool()
        if training:
            shifted = torch.rand(len(rows), 1) < SHIFT_PROBABILITY
            mz += MAX_SHIFT * torch.rand(len(rows), 1) * shifted * real
        masked = draw_masked_peaks(batch["peaks"], real, generator)
        batch["mz_labels"] = mz.masked_fill(~masked, -100.0)
        mz.masked_fill_(masked, MASK_MZ)
        if timed and len(rows) % 2 == 0:
            batch["retention_order_labels"] = torch.tensor(
                [_retention_order(*pair) for pair in zip(rows[::2], rows[1::2], strict=True)]
            )
        return batch


def draw_masked_peaks(peaks, real, generator=None) -> torch.Tensor:
    """Which peaks to mask, `(batch, tokens)`: a draw without replacement with probabilities in proportion to intensity
    picks those for which an exponential variate, divided by the intensity, is smallest."""
    intensity = peaks[..., 1]
    maskable = real & (intensity < 1)  # The base peak has 1, the precursor more.
    count = (MASKED_SHARE * maskable.sum(1)).round().clamp(min=MIN_MASKED)
    keys = torch.empty_like(intensity).exponential_(generator=generator) / intensity
    rank = keys.masked_fill(~maskable, torch.inf).argsort(1).argsort(1)
    return maskable & (rank < count[:, None])


def _retention_order(first, second) -> int:
    """1 if the first elutes before the second, 0 if after, -100 if nobody knows."""
    times = first.get("retention_time"), second.get("retention_time")
    if first.get("run") is None or first["run"] != second.get("run") or None in times or times[0] == times[1]:
        return -100
    return int(times[0] < times[1])
