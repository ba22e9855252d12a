import numpy as np
import pytest
import torch
from datasets import Dataset

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


class TestEnergyMixing:
    ION = {"identity": 1, "adduct": "[M+H]+", "instrument_type": "QTOF"}
    ROWS = [
        ION | {"mzs": [50.0, 100.0], "intensities": [1.0, 2.0], "collision_energy": 10.0},
        ION | {"mzs": [50.0001, 70.0], "intensities": [30.0, 10.0], "collision_energy": 40.0},
        ION | {"adduct": "[M+Na]+", "mzs": [90.0], "intensities": [1.0], "collision_energy": 20.0},
        ION | {"identity": 2, "mzs": [91.0], "intensities": [1.0], "collision_energy": 20.0},
    ]

    @pytest.fixture
    def mixing(self):
        augmentation = Augmentation(energy_mixing=1.0)
        augmentation.learn_energies(Dataset.from_list(self.ROWS))
        return augmentation

    def test_averages_spectra_of_one_ion(self, mixing):
        torch.manual_seed(0)
        mixed = [row for row in (mixing(dict(self.ROWS[0])) for _ in range(20)) if len(row["mzs"]) == 3]
        assert mixed  # else the spectrum itself was drawn
        for row in mixed:
            share = (40 - row["collision_energy"]) / 30
            assert row["intensities"] == pytest.approx([0.5 * share + (1 - share), (1 - share) / 3, share])
            assert row["mzs"] == pytest.approx([50.00005, 70, 100], abs=5.1e-5)

    def test_leaves_alone_what_has_no_other_energy(self, mixing):
        for row in self.ROWS[2:]:
            assert mixing(dict(row))["mzs"].tolist() == row["mzs"]

    def test_needs_to_know_the_ions(self):
        with pytest.raises(ValueError, match="needs identity, instrument_type"):
            columns = {"adduct": ["[M+H]+"], "collision_energy": [10.0]}
            Augmentation(energy_mixing=1.0).learn_energies(Dataset.from_dict(columns))

    def test_leaves_alone_an_unknown_energy(self, mixing):
        row = self.ROWS[0] | {"collision_energy": None}
        assert all(len(mixing(row)["mzs"]) == 2 for _ in range(10))


def test_same_seed_same_spectrum():
    assert (augmented(mz_noise=5.0)["mzs"] == augmented(mz_noise=5.0)["mzs"]).all()
