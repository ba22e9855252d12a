import random

import numpy as np
import pandas as pd
import pytest
import torch
from rdkit import Chem

from spec2mol import FragmentationConfig
from spec2mol.fragment_graph_spec2mol import FragmentGraph, match_peaks
from spec2mol.modeling_fragmentation import MASS_UNIT, FragmentationModel
from spec2mol.simulation.fit import explain, molecule_loss, sample_fragments, vocabularies

CAFFEINE = FragmentGraph.from_molecule(Chem.MolFromSmiles("CN1C=NC2=C1C(=O)N(C(=O)N2C)C"))


def spectrum(mzs=(110.0713, 138.0662, 195.0877), intensities=(0.2, 1.0, 0.4), collision_energy=30.0):
    row = {"mzs": mzs, "intensities": intensities, "adduct": "[M+H]+"}
    return pd.Series(row | {"collision_energy": collision_energy, "instrument_type": "QTOF"})


def test_peaks_are_matched_within_ppm_or_dalton():
    masses, mzs = np.array([1000.009, 50.004, 50.0, 1000.011, 49.994]), np.array([50.0, 1000.0])
    index, peak = match_peaks(masses, mzs, mzs)
    assert sorted(zip(index.tolist(), peak.tolist(), strict=True)) == [(0, 1), (1, 0), (2, 0)]


def test_peaks_that_no_fragment_explains_do_not_count():
    model = FragmentationModel(FragmentationConfig())
    noisy = spectrum((110.0713, 138.0662, 150.5, 195.0877), (0.2, 1.0, 3.0, 0.4))
    assert set(explain(CAFFEINE, noisy)[1]) == {0, 1, 3}
    assert molecule_loss(model, CAFFEINE, [noisy]).item() == pytest.approx(
        molecule_loss(model, CAFFEINE, [spectrum()]).item(), rel=1e-5
    )
    assert molecule_loss(model, CAFFEINE, [spectrum((150.5,), (1.0,))]) is None


def test_the_loss_is_the_divergence():
    """Of a model that finds all fragments equally likely: their shares are numbers of fragments."""
    model = FragmentationModel(FragmentationConfig())
    for parameter in model.parameters():
        torch.nn.init.zeros_(parameter)
    index, peak = explain(CAFFEINE, spectrum())
    shares = np.bincount(peak) / CAFFEINE.is_possible("[M+H]+").sum()
    target = np.array([0.2, 1.0, 0.4]) / 1.6
    expected = (target * np.log(target / shares)).sum()
    assert molecule_loss(model, CAFFEINE, [spectrum()]).item() == pytest.approx(expected, rel=1e-4)


def test_the_sampled_fragments_stand_for_all(monkeypatch):
    """On average over samples the loss is that of all fragments."""
    monkeypatch.setattr("spec2mol.simulation.fit.UNMATCHED_FRAGMENTS", 40)
    np.random.seed(0)
    torch.manual_seed(0)
    model = FragmentationModel(FragmentationConfig())
    with torch.no_grad():
        exact = molecule_loss(model, CAFFEINE, [spectrum()]).item()
        sampled = []
        for _ in range(50):
            sample, correction = sample_fragments(CAFFEINE, [spectrum()])
            assert len(sample.masses) < len(CAFFEINE.masses)
            sampled.append(molecule_loss(model, sample, [spectrum()], correction).item())
    assert np.mean(sampled) == pytest.approx(exact, abs=3 * np.std(sampled) / np.sqrt(50) + 0.01)


def test_a_spectrum_can_be_learned():
    random.seed(0)
    torch.manual_seed(0)
    model = FragmentationModel(FragmentationConfig())
    model.losses, model.ions = vocabularies([(CAFFEINE, [spectrum()])], 512)
    assert (model.losses * MASS_UNIT - 57.0215).abs().min() < 1e-3  # methyl isocyanate
    assert (model.ions * MASS_UNIT - 138.0667).abs().min() < 1e-3
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    spectra = [spectrum(), spectrum(intensities=(0.01, 0.1, 1.0), collision_energy=5.0)]
    for _ in range(60):
        loss = molecule_loss(model, CAFFEINE, spectra)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.02
