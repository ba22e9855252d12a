import numpy as np
import pytest
import torch

from spec2mol import DreamsConfig, DreamsForPreTraining, Spec2MolFeatureExtractor
from spec2mol.data import masking
from spec2mol.data.augmentation import Augmentation
from spec2mol.data.masking import MaskedPeaksCollator, draw_masked_peaks
from tests.builders import ENCODER, spectrum, train

ROWS = [spectrum(seed, num_peaks=n, precursor_mz=200.0 + seed) for seed, n in enumerate((20, 3, 1, 11))]


def feature_extractor(num_peaks=30):
    return Spec2MolFeatureExtractor(num_peaks=num_peaks, conditions=False)


@pytest.fixture
def unmasked():
    return feature_extractor()(ROWS, return_tensors="pt")


def test_masked_peaks_lose_their_mz_and_nothing_else(unmasked):
    batch = MaskedPeaksCollator(feature_extractor(), None)(ROWS)
    masked = batch["mz_labels"] != -100
    assert masked.sum(1).tolist() == [6, 2, 0, 3]  # 30% of 19, 2, 0, 10 peaks beside the base peak, at least 2
    assert (batch["peaks"][masked][:, 0] == -1).all()
    assert torch.equal(batch["mz_labels"][masked], unmasked["peaks"][masked][:, 0])
    assert torch.equal(batch["peaks"][~masked], unmasked["peaks"][~masked])
    assert torch.equal(batch["peaks"][..., 1], unmasked["peaks"][..., 1])


def test_precursor_base_peak_and_padding_are_never_masked(unmasked):
    real = unmasked["peaks_mask"].bool()
    ever = torch.stack([draw_masked_peaks(unmasked["peaks"], real) for _ in range(300)]).any(0)
    assert torch.equal(ever, real & (unmasked["peaks"][..., 1] < 1))


def test_peaks_are_drawn_in_proportion_to_their_intensity(monkeypatch):
    monkeypatch.setattr(masking, "MASKED_SHARE", 0.0)
    monkeypatch.setattr(masking, "MIN_MASKED", 1)
    torch.manual_seed(0)
    peaks = torch.tensor([[300.0, 1.1], [50.0, 0.1], [60.0, 0.4], [70.0, 1.0], [80.0, 0.3]]).expand(20_000, -1, -1)
    drawn = draw_masked_peaks(peaks, torch.ones(20_000, 5, dtype=torch.bool)).float().mean(0)
    torch.testing.assert_close(drawn, torch.tensor([0, 1 / 8, 4 / 8, 0, 3 / 8]), atol=0.015, rtol=0)


def test_shifts_keep_all_differences():
    torch.manual_seed(0)
    collate = MaskedPeaksCollator(feature_extractor(), Augmentation())
    row = spectrum(0, num_peaks=12, precursor_mz=300.0)
    batch = collate([row] * 2000)
    shift = batch["peaks"][:, 0, 0] - 300.0
    assert 0.17 < (shift > 0).float().mean() < 0.23 and shift.max() < 50.01 and shift.max() > 45
    mz = batch["peaks"][..., 0].where(batch["mz_labels"] == -100, batch["mz_labels"])
    original = torch.tensor(np.concatenate([[300.0], row["mzs"]]), dtype=torch.float32)
    torch.testing.assert_close(mz - shift[:, None], original.expand(2000, -1), atol=1e-3, rtol=0)


def test_padding_is_not_shifted():
    torch.manual_seed(0)
    batch = MaskedPeaksCollator(feature_extractor(), Augmentation())([ROWS[0], *[ROWS[1]] * 200])
    assert (batch["peaks"][batch["peaks_mask"] == 0] == 0).all()


def test_evaluation_is_the_same_every_time():
    collate = MaskedPeaksCollator(feature_extractor(), None)
    first, again = collate(ROWS), collate(ROWS)
    assert all(torch.equal(first[name], again[name]) for name in first)
    training = MaskedPeaksCollator(feature_extractor(), Augmentation())
    assert any((training(ROWS)["mz_labels"] != first["mz_labels"]).any() for _ in range(5))


class TestRetentionOrder:
    def rows(self, *runs_and_times):
        return [ROWS[0] | {"run": run, "retention_time": time} for run, time in runs_and_times]

    def labels(self, *runs_and_times):
        return MaskedPeaksCollator(feature_extractor(), Augmentation())(self.rows(*runs_and_times)).get(
            "retention_order_labels"
        )

    def test_of_two_spectra_of_one_run(self):
        assert self.labels(("a", 1.0), ("a", 2.0), ("b", 9.0), ("b", 5.0)).tolist() == [1, 0]

    def test_rows_of_one_run_become_neighbours(self):
        assert self.labels(("b", 9.0), ("a", 1.0), ("b", 5.0), ("a", 2.0)).tolist() == [1, 0]

    @pytest.mark.parametrize("other", [("b", 2.0), ("a", None), ("a", 1.0), (None, 2.0)], ids=str)
    def test_what_cannot_be_compared(self, other):
        assert self.labels(("a", 1.0), other).tolist() == [-100]

    def test_an_odd_batch_has_none(self):
        assert self.labels(("a", 1.0), ("a", 2.0), ("a", 3.0)) is None

    def test_without_times_there_are_no_labels(self):
        assert "retention_order_labels" not in MaskedPeaksCollator(feature_extractor(), Augmentation())(ROWS)


def test_a_model_learns_from_it():
    torch.manual_seed(0)
    model = DreamsForPreTraining(DreamsConfig(**ENCODER | {"num_peaks": 30}, mz_bin_size=5.0))
    batch = MaskedPeaksCollator(feature_extractor(), None)(ROWS)
    losses = train(model, batch, steps=60)
    assert losses[-1] < 0.3 * losses[0]
