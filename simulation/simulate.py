"""Structures and conditions -> simulated tandem mass spectra."""

from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from rdkit import Chem
from rdkit.Chem.rdMolDescriptors import CalcExactMolWt
from safetensors.torch import load_file

from ..chemistry_spec2mol import ADDUCTS, canonical_smiles, inchikey_block, molecular_formula, precursor_mz
from ..configuration_spec2mol import FragmentationConfig
from ..fragment_graph_spec2mol import (
    INSTRUMENT_TYPES,
    PRECURSOR_HYDROGENS,
    FragmentGraph,
    charge_shift,
)
from ..modeling_fragmentation import FragmentationModel

WEIGHTS = Path(__file__).with_name("weights.safetensors")
MOLECULES = "molecules"  # in the file of the weights
MAX_PEAKS = 60
MERGE_PPM = 5.0  # peaks closer than this are one
# The model gives the mean of what spectra of such molecules look like; a single spectrum has fewer peaks. With these
# two there are as many peaks, and as many above a tenth of the base peak, as in measured spectra (docs/simulation.md).
SHARPNESS = 1.25  # exponent
MIN_INTENSITY = 0.02  # of the base peak

# Hydrogens that come off as protons: of OH, SH, PH, and of NH at an aromatic ring or beside a multiple bond.
_ACIDIC = ("[O,S,P;!H0]", "[n;H1]", "[NX3;!H0]~[$([C,S,P]=[O,S,N]),$(a)]")
_BASIC = "[#7,#8,#15,#16,#34]"


class CannotCarry(ValueError):
    """The molecule does not form the ion."""


class Peaks(NamedTuple):
    """m/z (Da, ascending) and intensities, base peak 1; float64 `(peaks,)` each."""

    mzs: np.ndarray
    intensities: np.ndarray


class Conditions(NamedTuple):
    """collision_energy: in eV; None is unknown, so is the instrument type."""

    adduct: str = "[M+H]+"
    collision_energy: float | None = None
    instrument_type: str | None = None


def load_fragmentation(path: str | Path = WEIGHTS) -> FragmentationModel:
    model = FragmentationModel(FragmentationConfig())
    weights = load_file(path)
    del weights[MOLECULES]
    model.load_state_dict(weights)
    return model.eval()


def fitted_molecules(path: str | Path = WEIGHTS) -> np.ndarray:
    """`molecule_identity` of the molecules whose spectra the weights were fitted to, int64."""
    return load_file(path)[MOLECULES].numpy()


def simulate_peaks(model: FragmentationModel, graph: FragmentGraph, conditions: Conditions) -> Peaks:
    scores = model.scores_of_possible(graph, *conditions)
    possible = np.isfinite(scores)
    return to_peaks(graph.masses[possible] + charge_shift(conditions.adduct), scores[possible])


def to_peaks(mzs: np.ndarray, scores: np.ndarray) -> Peaks:
    """Fragments -> peaks: those of one m/z add up; the weak are left out."""
    shares = np.exp(SHARPNESS * (scores - scores.max()))
    visible = shares > MIN_INTENSITY / 100
    mzs, shares = mzs[visible], shares[visible]
    order = np.argsort(mzs)
    mzs, shares = mzs[order], shares[order]
    peak = np.cumsum(np.diff(mzs, prepend=-np.inf) > MERGE_PPM * 1e-6 * mzs) - 1
    intensities = np.bincount(peak, shares)
    mzs = np.bincount(peak, shares * mzs) / intensities
    intensities /= intensities.max()
    strongest = np.argsort(-intensities, kind="stable")[:MAX_PEAKS]
    kept = np.sort(strongest[intensities[strongest] >= MIN_INTENSITY])
    return Peaks(mzs[kept], intensities[kept])


def simulate(model: FragmentationModel, smiles: str, conditions: Conditions) -> dict:
    """A spectrum with its molecule, as a row of the data sets (see docs/data.md), without `identifier`.

    Raises ValueError if `smiles` is no molecule that can be cut, `CannotCarry` if it does not form the ion.
    """
    molecule = read_molecule(smiles)
    if not can_carry(molecule, conditions.adduct):
        raise CannotCarry(f"{smiles} does not form {conditions.adduct}")
    graph = FragmentGraph.from_molecule(molecule)
    peaks = simulate_peaks(model, graph, conditions)
    smiles = Chem.MolToSmiles(molecule)
    return {
        "mzs": peaks.mzs.astype(np.float32),
        "intensities": peaks.intensities.astype(np.float32),
        "smiles": smiles,
        "inchikey": inchikey_block(smiles),
        "formula": molecular_formula(smiles),
        "precursor_mz": precursor_mz(graph.mass, conditions.adduct),
        "adduct": conditions.adduct,
        "ion_mode": ADDUCTS[conditions.adduct].ion_mode,
        "collision_energy": conditions.collision_energy,
        "instrument_type": conditions.instrument_type,
    }


def read_molecule(smiles: str) -> Chem.Mol:
    """Without stereochemistry and isotope labels. Raises ValueError if it cannot be parsed."""
    flat = canonical_smiles(smiles)
    if flat is None:
        raise ValueError(f"no molecule: {smiles}")
    return Chem.MolFromSmiles(flat)


def can_carry(molecule: Chem.Mol, adduct: str) -> bool:
    """Whether electrospray makes the ion: a cation as it is, a neutral molecule if it has a heteroatom for the proton
    or the sodium ion, or an acidic hydrogen to lose."""
    if adduct == "[M]+":
        return Chem.GetFormalCharge(molecule) == 1
    patterns = (_BASIC,) if ADDUCTS[adduct].charge > 0 else _ACIDIC
    return Chem.GetFormalCharge(molecule) == 0 and any(
        molecule.HasSubstructMatch(_pattern(smarts)) for smarts in patterns
    )


@cache
def _pattern(smarts):
    return Chem.MolFromSmarts(smarts)


class MeasuredConditions:
    """Adduct, collision energy and instrument of measured spectra, to be drawn together.

    Args:
        spectra: with the columns adduct, collision_energy (eV), instrument_type, precursor_mz (Da) and optionally
            collision_energy_kind. Rows without a known energy or of an ion or instrument that is not simulated are
            left out. An energy that was converted from a normalised one ("NCE_...") is proportional to the precursor
            m/z and is scaled to that of the molecule.

    Raises ValueError if no row is left.
    """

    def __init__(self, spectra: pd.DataFrame):
        spectra = spectra[
            spectra["adduct"].isin(PRECURSOR_HYDROGENS)
            & spectra["instrument_type"].isin(INSTRUMENT_TYPES)
            & spectra["collision_energy"].notna()
        ]
        if spectra.empty:
            raise ValueError("no spectrum has an adduct that is simulated, a known energy and instrument type")
        kinds = spectra.get("collision_energy_kind", pd.Series("", spectra.index)).fillna("")
        columns = spectra[["adduct", "collision_energy", "instrument_type", "precursor_mz"]]
        self.by_adduct = {}
        for kind, (adduct, energy, instrument_type, mz) in zip(kinds, columns.itertuples(index=False), strict=True):
            row = (energy / mz, instrument_type, True) if kind.startswith("NCE_") else (energy, instrument_type, False)
            self.by_adduct.setdefault(adduct, []).append(row)

    def draw(self, molecule: Chem.Mol, rng: np.random.Generator) -> Conditions:
        """Of the ions that the molecule forms. Raises CannotCarry if it forms none."""
        adducts = [adduct for adduct in self.by_adduct if can_carry(molecule, adduct)]
        if not adducts:
            raise CannotCarry(f"{Chem.MolToSmiles(molecule)} forms no ion of the measured spectra")
        numbers = np.array([len(self.by_adduct[adduct]) for adduct in adducts])
        adduct = adducts[rng.choice(len(adducts), p=numbers / numbers.sum())]
        energy, instrument_type, is_relative = self.by_adduct[adduct][rng.integers(len(self.by_adduct[adduct]))]
        if is_relative:
            energy *= precursor_mz(CalcExactMolWt(molecule), adduct)
        return Conditions(adduct, float(energy), instrument_type)
