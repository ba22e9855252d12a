"""Augmentation: the same spectrum as another instrument, or another day, might have measured it."""

from dataclasses import dataclass

import numpy as np
import torch


@dataclass
class Augmentation:
    """
    mz_noise: standard deviation of the error of each peak's m/z, in ppm.
    intensity_jitter: standard deviation of the natural logarithm of a random factor for each intensity.
    peak_dropout: probability that a peak is missing; the base peak stays.
    """

    mz_noise: float = 0.0
    intensity_jitter: float = 0.0
    peak_dropout: float = 0.0

    def __call__(self, row: dict) -> dict:
        mzs, intensities = np.asarray(row["mzs"], np.float64), np.asarray(row["intensities"], np.float64)
        if not len(mzs):
            return row
        # torch's generator is the one that the Trainer stores for a resumed run.
        noise, jitter = torch.randn(2, len(mzs), dtype=torch.float64).numpy()
        kept = torch.rand(len(mzs)).numpy() >= self.peak_dropout
        kept[intensities.argmax()] = True
        mzs = mzs * (1 + noise * self.mz_noise * 1e-6)
        intensities = intensities * np.exp(jitter * self.intensity_jitter)
        return row | {"mzs": mzs[kept], "intensities": intensities[kept]}
