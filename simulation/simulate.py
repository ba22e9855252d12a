"""Structures and conditions -> simulated tandem mass spectra."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from rdkit import Chem
from safetensors.torch import load_file

from .features import FragmentGraph, charge_shift, condition_features
from .model import FragmentationModel

WEIGHTS = Path(__file__).with_name("weights.safetensors")
MIN_INTENSITY = 0.01  # of the base peak
MAX_PEAKS = 60
# The softmax is the mean over what spectra of such molecules look like; a single spectrum has fewer peaks. With this
# exponent as many peaks are above a tenth of the base peak as in measured spectra.
SHARPNESS = 1.25
MERGE_PPM = 5.0  # peaks closer than this are one


class Peaks(NamedTuple):
    """m/z in Da, ascending, and intensities, base peak 1; float64 `(peaks,)` each."""

    mzs: np.ndarray
    intensities: np.ndarray


def load_weights(path: str | Path = WEIGHTS) -> FragmentationModel:
    model = FragmentationModel()
    model.load_state_dict(load_file(path))
    return model.eval()


@torch.inference_mode()
def simulate(model, molecule: Chem.Mol, adduct: str, collision_energy=None, instrument_type=None, graph=None) -> Peaks:
    """The spectrum of one molecule under one set of conditions."""
    graph = FragmentGraph.from_molecule(molecule) if graph is None else graph
    inputs = condition_features(graph.mass, adduct, collision_energy, instrument_type)
    scores = model(graph, [adduct], torch.from_numpy(inputs)[None])[0].numpy().ravel()
    mzs = graph.masses.ravel() + charge_shift(adduct)
    allowed = graph.is_possible(adduct).ravel()
    return peaks_of(mzs[allowed], scores[allowed])


def peaks_of(mzs: np.ndarray, scores: np.ndarray) -> Peaks:
    """Candidates -> peaks: those of one m/z add up."""
    shares = np.exp(SHARPNESS * (scores - scores.max()))
    kept = shares > 1e-4
    mzs, shares = mzs[kept], shares[kept]
    order = np.argsort(mzs)
    mzs, shares = mzs[order], shares[order]
    first = np.concatenate([[True], np.diff(mzs) > MERGE_PPM * 1e-6 * mzs[1:]])
    peak = np.cumsum(first) - 1
    intensities = np.bincount(peak, shares)
    mzs = np.bincount(peak, shares * mzs) / intensities
    intensities = intensities / intensities.max()
    kept = np.argsort(-intensities, kind="stable")[:MAX_PEAKS]
    kept = np.sort(kept[intensities[kept] >= MIN_INTENSITY])
    return Peaks(mzs[kept], intensities[kept])
