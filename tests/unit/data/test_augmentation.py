import numpy as np
import torch

from spec2mol.data.augmentation import Augmentation

ROW = {"mzs": np.linspace(50, 500, 2000), "intensities": np.linspace(0.01, 1, 2000), "adduct": "[M+H]+"}


def augmented(**options):
    torch.manual_seed(0)
    return Augmentation(**options)(ROW)


def test_without_options_peaks_stay_as_they_are():
    row = augmented()
    assert (row["mzs"] == ROW["mzs"]).all() and (row["intensities"] == ROW["intensities"]).all()


def test_mz_noise_is_in_ppm():
    errors = (augmented(mz_noise=5.0)["mzs"] / ROW["mzs"] - 1) * 1e6
    assert abs(errors.std() - 5) < 0.3 and abs(errors.mean()) < 0.5


def test_intensity_jitter_is_a_factor():
    factors = np.log(augmented(intensity_jitter=0.3)["intensities"] / ROW["intensities"])
    assert abs(factors.std() - 0.3) < 0.02


def test_peak_dropout_spares_the_base_peak():
    row = augmented(peak_dropout=0.25)
    assert abs(len(row["mzs"]) / 2000 - 0.75) < 0.04 and row["mzs"][-1] == 500
    assert len(augmented(peak_dropout=1.0)["mzs"]) == 1


def test_a_spectrum_without_peaks_stays():
    assert Augmentation(peak_dropout=0.5)({"mzs": [], "intensities": []})["mzs"] == []


def test_same_seed_same_spectrum():
    assert (augmented(mz_noise=5.0)["mzs"] == augmented(mz_noise=5.0)["mzs"]).all()
