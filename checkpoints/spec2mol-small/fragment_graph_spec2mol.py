"""What the fragmentation model sees: a molecule with its fragments, and the conditions of the measurement."""

from dataclasses import dataclass, replace

import numpy as np
import torch

from .chemistry_spec2mol import ADDUCTS, ELECTRON_MASS, MONOISOTOPIC_MASSES
from .fragments_spec2mol import HYDROGEN_SHIFTS, MAX_FRAGMENTS, enumerate_fragments, membership

ELEMENTS = ("C", "N", "O", "S", "P", "F", "Cl", "Br", "I", "Si", "B", "Se")
INSTRUMENT_TYPES = ("QTOF", "Orbitrap")
PRECURSOR_HYDROGENS = {"[M+H]+": 1, "[M-H]-": -1, "[M]+": 0, "[M+Na]+": 0}  # beside those of M
METALS = {"[M+Na]+": "Na"}  # stays with the charged fragment
TOLERANCE_PPM, TOLERANCE_DA = 10.0, 0.005  # between a fragment and a peak; the larger counts
HYDROGEN_MASS = MONOISOTOPIC_MASSES["H"]

_ELEMENT_MASSES = np.array([MONOISOTOPIC_MASSES[element] for element in ELEMENTS])
_HAS_ODD_VALENCE = np.array([element in ("N", "P", "F", "Cl", "Br", "I", "B") for element in ELEMENTS])
_ELEMENT_INDEX = {element: i for i, element in enumerate(ELEMENTS)}
_BOND_TYPES = ("SINGLE", "DOUBLE", "TRIPLE", "AROMATIC")
_BOND_INDEX = {kind: i for i, kind in enumerate(_BOND_TYPES)}
_HYBRIDIZATIONS = {"SP3": 0, "SP2": 1}

NUM_ATOM_FEATURES = len(ELEMENTS) + 5 + 5 + 3 + 3 + 5
NUM_BOND_FEATURES = len(_BOND_TYPES) + 2
NUM_PIECE_FEATURES = len(ELEMENTS) + 3 + len(_BOND_TYPES) + 1
NUM_CONDITIONS = len(PRECURSOR_HYDROGENS) + len(INSTRUMENT_TYPES) + 6


@dataclass(frozen=True)
class FragmentGraph:
    """A molecule and its fragments as arrays.

    Of the molecule:
        atoms `(atoms, NUM_ATOM_FEATURES)`: element, degree 0-4, hydrogens 0-4, charge -1, 0, 1, sp3, sp2, other,
            aromatic, in a ring, in a ring of five, of six, in several rings.
        adjacency `(bond types, atoms, atoms)`.
        inner, outer `(2 bonds,)`: the ends of each bond, in both directions.
        bonds `(2 bonds, NUM_BOND_FEATURES)`: type, in a ring, conjugated.
        mass: in Da.
    Of the pieces that a fragment can lack, the first of which is empty:
        members `(pieces, atoms)`.
        cut `(pieces, 2 bonds)`: 1 where the outer end is in the piece and the inner is not.
        pieces `(pieces, NUM_PIECE_FEATURES)`: numbers of the elements, hydrogens, share of the mass, number of atoms,
            cut bonds by type, is it one acyclic bond. The first row describes the whole molecule.
    Of the fragments:
        lost `(fragments, 2)`: indices of pieces.
        masses `(fragments, shifts)`: in Da, numpy float64, with the hydrogens shifted.
        hydrogens `(fragments,)`: their own.
        is_radical `(fragments,)`: would it be one if it gained a charge but no hydrogen.
    """

    atoms: torch.Tensor
    adjacency: torch.Tensor
    inner: torch.Tensor
    outer: torch.Tensor
    bonds: torch.Tensor
    mass: float
    members: torch.Tensor
    cut: torch.Tensor
    pieces: torch.Tensor
    lost: torch.Tensor
    masses: np.ndarray
    hydrogens: np.ndarray
    is_radical: torch.Tensor

    @classmethod
    def from_molecule(cls, molecule, max_fragments: int = MAX_FRAGMENTS) -> "FragmentGraph":
        """Of a molecule of rdkit. Raises ValueError for elements that are not in `ELEMENTS` and for molecules that
        cannot be cut."""
        atoms, elements, hydrogens = _atom_arrays(molecule)
        begin, end, bonds, adjacency = _bond_arrays(molecule)
        pieces, lost = enumerate_fragments(molecule, _bond_costs(molecule), max_fragments)
        members = membership(pieces, len(atoms))
        outside = 1 - members
        cut = np.concatenate([outside[:, begin] * members[:, end], outside[:, end] * members[:, begin]], 1)
        bonds = np.concatenate([bonds, bonds])

        composition = members @ elements
        composition[0] = elements.sum(0)
        own = members @ hydrogens
        own[0] = hydrogens.sum()
        mass = composition @ _ELEMENT_MASSES + own * HYDROGEN_MASS
        size = members.sum(1)
        size[0] = len(atoms)
        broken = cut @ bonds[:, : len(_BOND_TYPES)]
        features = np.column_stack(
            [composition / 4, own / 8, mass / mass[0], size / 10, broken, broken.sum(1) == 1]
        ).astype(np.float32)

        is_odd = (own + composition @ _HAS_ODD_VALENCE) % 2
        whole, lacking = np.array([mass[0], own[0], is_odd[0]]), np.stack([mass, own, is_odd], 1)
        lacking[0] = 0
        mass_left, hydrogens_left, odd_left = (whole - lacking[lost].sum(1)).T
        return cls(
            atoms=torch.from_numpy(atoms),
            adjacency=torch.from_numpy(adjacency),
            inner=torch.from_numpy(np.concatenate([begin, end])),
            outer=torch.from_numpy(np.concatenate([end, begin])),
            bonds=torch.from_numpy(bonds),
            mass=float(mass[0]),
            members=torch.from_numpy(members),
            cut=torch.from_numpy(cut),
            pieces=torch.from_numpy(features),
            lost=torch.from_numpy(lost),
            masses=mass_left[:, None] + HYDROGEN_SHIFTS * HYDROGEN_MASS,
            hydrogens=hydrogens_left,
            is_radical=torch.from_numpy(odd_left % 2 == 0),
        )

    def take(self, fragments: np.ndarray) -> "FragmentGraph":
        """The same molecule with some of its fragments only."""
        return replace(
            self,
            lost=self.lost[fragments],
            masses=self.masses[fragments],
            hydrogens=self.hydrogens[fragments],
            is_radical=self.is_radical[fragments],
        )

    def precursor_mass(self, adduct: str) -> float:
        """In Da, without metal and charge, as `masses`."""
        return self.mass + PRECURSOR_HYDROGENS[adduct] * HYDROGEN_MASS

    def is_possible(self, adduct: str) -> np.ndarray:
        """`(fragments, shifts)`: not less than no hydrogens, and not heavier than the precursor."""
        return (self.hydrogens[:, None] + HYDROGEN_SHIFTS >= 0) & (self.masses < self.precursor_mass(adduct) + 1e-3)

    def explain(self, mzs: np.ndarray, adduct: str) -> tuple[np.ndarray, np.ndarray]:
        """(fragment and shift, flat; peak) of all pairs that agree within the tolerance. mzs: in Da, `(peaks,)`."""
        masses = np.where(self.is_possible(adduct), self.masses, np.inf)
        return match_peaks(masses.ravel(), mzs - charge_shift(adduct), mzs)

    def to(self, weight: torch.Tensor) -> "FragmentGraph":
        """Onto the device of the weights, and in their dtype."""
        moved = {name: value.to(weight.device) for name, value in vars(self).items() if torch.is_tensor(value)}
        return replace(
            self,
            **{name: value.to(weight.dtype) if value.is_floating_point() else value for name, value in moved.items()},
        )


def match_peaks(masses: np.ndarray, targets: np.ndarray, mzs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(index of the mass, index of the peak) of all pairs within the tolerance; `targets` are the masses sought by the
    peaks at `mzs`, all in Da."""
    order = np.argsort(masses)
    tolerance = np.maximum(mzs * TOLERANCE_PPM * 1e-6, TOLERANCE_DA)
    low = np.searchsorted(masses, targets - tolerance, sorter=order)
    high = np.searchsorted(masses, targets + tolerance, sorter=order)
    number = high - low
    peak = np.repeat(np.arange(len(mzs)), number)
    return order[np.arange(len(peak)) - np.repeat(np.cumsum(number) - number - low, number)], peak


def charge_shift(adduct: str) -> float:
    """m/z (Da) of an ion less the mass of its fragment with the hydrogens shifted."""
    metal = METALS.get(adduct)
    return (MONOISOTOPIC_MASSES[metal] if metal else 0.0) - ADDUCTS[adduct].charge * ELECTRON_MASS


def condition_features(
    mass: float, adduct: str, collision_energy: float | None, instrument_type: str | None
) -> np.ndarray:
    """`(NUM_CONDITIONS,)`: adduct, instrument, is the energy known, the energy (eV) as such and for 500 Da of the
    molecule, as normalised energies are, both also as logarithms, the mass (Da)."""
    is_known = collision_energy is not None and np.isfinite(collision_energy)
    energy = collision_energy if is_known else 0.0
    normalised = energy * 500 / mass
    return np.array(
        [
            *(adduct == name for name in PRECURSOR_HYDROGENS),
            *(instrument_type == name for name in INSTRUMENT_TYPES),
            is_known,
            min(energy, 200) / 50,
            min(normalised, 300) / 50,
            np.log1p(energy) / 2,
            np.log1p(normalised) / 2,
            mass / 500,
        ],
        np.float32,
    )


def _atom_arrays(molecule):
    """Features `(atoms, NUM_ATOM_FEATURES)`, of which the first are the elements, those again, and the hydrogens."""
    rings = molecule.GetRingInfo()
    features = np.zeros((molecule.GetNumAtoms(), NUM_ATOM_FEATURES), np.float32)
    hydrogens = np.zeros(molecule.GetNumAtoms(), np.float32)
    for i, atom in enumerate(molecule.GetAtoms()):
        element = _ELEMENT_INDEX.get(atom.GetSymbol())
        if element is None:
            raise ValueError(f"element {atom.GetSymbol()}, expected H, {', '.join(ELEMENTS)}")
        hydrogens[i] = atom.GetTotalNumHs()
        features[i, element] = 1
        row = features[i, len(ELEMENTS) :]
        row[min(atom.GetDegree(), 4)] = 1
        row[5 + min(int(hydrogens[i]), 4)] = 1
        row[11 + min(max(atom.GetFormalCharge(), -1), 1)] = 1
        row[13 + _HYBRIDIZATIONS.get(atom.GetHybridization().name, 2)] = 1
        num_rings = rings.NumAtomRings(i)
        if num_rings:
            row[16:] = (
                atom.GetIsAromatic(),
                1,
                rings.IsAtomInRingOfSize(i, 5),
                rings.IsAtomInRingOfSize(i, 6),
                num_rings > 1,
            )
    return features, features[:, : len(ELEMENTS)], hydrogens


def _bond_arrays(molecule):
    """Ends `(bonds,)` each, features `(bonds, NUM_BOND_FEATURES)`, adjacency `(bond types, atoms, atoms)`."""
    num_atoms, num_bonds = molecule.GetNumAtoms(), molecule.GetNumBonds()
    begin, end = np.zeros(num_bonds, np.int64), np.zeros(num_bonds, np.int64)
    features = np.zeros((num_bonds, NUM_BOND_FEATURES), np.float32)
    adjacency = np.zeros((len(_BOND_TYPES), num_atoms, num_atoms), np.float32)
    for i, bond in enumerate(molecule.GetBonds()):
        begin[i], end[i] = bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()
        kind = _BOND_INDEX.get(bond.GetBondType().name, 0)
        features[i, kind] = 1
        features[i, -2:] = bond.IsInRing(), bond.GetIsConjugated()
        adjacency[kind, begin[i], end[i]] = adjacency[kind, end[i], begin[i]] = 1
    return begin, end, features, adjacency


def _bond_costs(molecule) -> np.ndarray:
    """How hard each bond is to open, roughly: decides which fragments are left out where there are too many."""
    costs = []
    for bond in molecule.GetBonds():
        both_carbon = bond.GetBeginAtom().GetAtomicNum() == 6 == bond.GetEndAtom().GetAtomicNum()
        cost = 3.0 if bond.GetIsAromatic() else bond.GetBondTypeAsDouble() + 0.5 * both_carbon
        costs.append(cost - 0.5 * bond.IsInRing())  # of ring bonds two are opened
    return np.array(costs)


__all__ = [
    "INSTRUMENT_TYPES",
    "NUM_ATOM_FEATURES",
    "NUM_BOND_FEATURES",
    "NUM_CONDITIONS",
    "NUM_PIECE_FEATURES",
    "PRECURSOR_HYDROGENS",
    "FragmentGraph",
    "charge_shift",
    "condition_features",
    "match_peaks",
]
