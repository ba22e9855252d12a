"""What the fragmentation model sees: a molecule with its fragments, and the conditions of the measurement."""

from dataclasses import dataclass, replace

import numpy as np
import torch
from rdkit import Chem

from ..chemistry_spec2mol import ADDUCTS, ELECTRON_MASS, MONOISOTOPIC_MASSES
from .fragments import HYDROGEN_SHIFTS, MAX_FRAGMENTS, enumerate_fragments, membership

ELEMENTS = ("C", "N", "O", "S", "P", "F", "Cl", "Br", "I", "Si", "B", "Se")
INSTRUMENT_TYPES = ("QTOF", "Orbitrap")
PRECURSOR_HYDROGENS = {"[M+H]+": 1, "[M-H]-": -1, "[M]+": 0, "[M+Na]+": 0}  # beside those of M
METALS = {"[M+Na]+": "Na"}  # stays with the charged fragment
HYDROGEN_MASS = MONOISOTOPIC_MASSES["H"]

_ELEMENT_MASSES = np.array([MONOISOTOPIC_MASSES[element] for element in ELEMENTS])
_HAS_ODD_VALENCE = np.array([element in ("N", "P", "F", "Cl", "Br", "I", "B") for element in ELEMENTS])
_ELEMENT_INDEX = {Chem.GetPeriodicTable().GetAtomicNumber(element): i for i, element in enumerate(ELEMENTS)}
_BOND_TYPES = (Chem.BondType.SINGLE, Chem.BondType.DOUBLE, Chem.BondType.TRIPLE, Chem.BondType.AROMATIC)
_BOND_INDEX = {kind: i for i, kind in enumerate(_BOND_TYPES)}

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
    def from_molecule(cls, molecule: Chem.Mol, max_fragments: int = MAX_FRAGMENTS) -> "FragmentGraph":
        """Raises ValueError for elements that are not in `ELEMENTS` and for molecules that cannot be cut."""
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
        element = _ELEMENT_INDEX.get(atom.GetAtomicNum())
        if element is None:
            raise ValueError(f"element {atom.GetSymbol()}, expected H, {', '.join(ELEMENTS)}")
        hydrogens[i] = atom.GetTotalNumHs()
        features[i, element] = 1
        row = features[i, len(ELEMENTS) :]
        row[min(atom.GetDegree(), 4)] = 1
        row[5 + min(int(hydrogens[i]), 4)] = 1
        row[11 + min(max(atom.GetFormalCharge(), -1), 1)] = 1
        row[13 + {Chem.HybridizationType.SP3: 0, Chem.HybridizationType.SP2: 1}.get(atom.GetHybridization(), 2)] = 1
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
        kind = _BOND_INDEX.get(bond.GetBondType(), 0)
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
