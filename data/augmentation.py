"""Augmentation: the same spectrum as another instrument, or another day, might have measured it."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch

SAME_PEAK_PPM = 10.0


@dataclass
class Augmentation:
    """
    energy_mixing: probability that a spectrum is averaged with one of the same ion, measured on the same kind of
        instrument at another collision energy, as stepped energies do; see `learn_energies`.
    mz_noise: standard deviation of the error of each peak's m/z, in ppm.
    intensity_jitter: standard deviation of the natural logarithm of a random factor for each intensity.
    peak_dropout: probability that a peak is missing; the base peak stays.
    """

    energy_mixing: float = 0.0
    mz_noise: float = 0.0
    intensity_jitter: float = 0.0
    peak_dropout: float = 0.0

    def learn_energies(self, dataset):
        """
        Args:
            dataset: rows of `load_examples` or `load_spectra_examples`, from which spectra are mixed in.

        Raises:
            ValueError: spectra without structures, or without what was measured how.
        """
        if missing := {"identity", "adduct", "instrument_type", "collision_energy"} - set(dataset.column_names):
            raise ValueError(f"energy_mixing needs {', '.join(sorted(missing))} of the training spectra")
        self._dataset, self._same_ion = dataset, {}
        ions = zip(*(dataset[name][:] for name in ("identity", "adduct", "instrument_type")), strict=True)
        for index, ion in enumerate(ions):
            self._same_ion.setdefault(ion, []).append(index)

    def _mix(self, row):
        energy = row.get("collision_energy")
        others = self._same_ion.get((row["identity"], row["adduct"], row["instrument_type"]), ())
        if energy is None or len(others) < 2 or torch.rand(()) >= self.energy_mixing:
            return row
        other = self._dataset[others[int(torch.randint(len(others), ()))]]
        if other["collision_energy"] in (None, energy):
            return row
        share = float(torch.rand(()))
        mixed = share * energy + (1 - share) * other["collision_energy"]
        return row | mean_spectrum(row, other, share) | {"collision_energy": mixed}

    def __call__(self, row: dict) -> dict:
        if self.energy_mixing:
            row = self._mix(row)
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


def mean_spectrum(a: Mapping, b: Mapping, share: float) -> dict[str, np.ndarray]:
    """mzs and intensities of both spectra, relative to the base peak of each, with weights `share` and 1 - `share`.
    Peaks closer than 10 ppm become one, at their mean m/z."""
    mzs = np.concatenate([np.asarray(x["mzs"], np.float64) for x in (a, b)])
    intensities = np.concatenate(
        [
            weight * np.asarray(x["intensities"], np.float64) / np.max(x["intensities"], initial=0)
            for x, weight in ((a, share), (b, 1 - share))
        ]
    )
    order = mzs.argsort(kind="stable")
    mzs, intensities = mzs[order], intensities[order]
    peak = np.concatenate([[0], (np.diff(mzs) > mzs[1:] * SAME_PEAK_PPM * 1e-6).cumsum()])
    sums = np.bincount(peak, weights=intensities)
    kept = sums > 0
    return {"mzs": np.bincount(peak, weights=mzs * intensities)[kept] / sums[kept], "intensities": sums[kept]}
