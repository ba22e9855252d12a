"""What the fragmentation model sees of a molecule, of its fragments, and of the conditions."""

from dataclasses import dataclass

import numpy as np
import torch
from rdkit import Chem

from ..chemistry_spec2mol import ADDUCTS, ELECTRON_MASS, MONOISOTOPIC_MASSES
from .fragments import HYDROGEN_SHIFTS, enumerate_fragments, membership

ELEMENTS = ("C", "N", "O", "S", "P", "F", "Cl", "Br", "I", "Si", "B", "Se")
_ODD_VALENCE = np.array([element in ("N", "P", "F", "Cl", "Br", "I", "B") for element in ELEMENTS], np.float32)
_MASSES = np.array([MONOISOTOPIC_MASSES[element] for element in ELEMENTS])
HYDROGEN_MASS = MONOISOTOPIC_MASSES["H"]
_ATOMIC_NUMBERS = {Chem.GetPeriodicTable().GetAtomicNumber(element): i for i, element in enumerate(ELEMENTS)}
_BOND_TYPES = {Chem.BondType.SINGLE: 0, Chem.BondType.DOUBLE: 1, Chem.BondType.TRIPLE: 2, Chem.BondType.AROMATIC: 3}

ADDUCT_HYDROGENS = {"[M+H]+": 1, "[M-H]-": -1, "[M]+": 0, "[M+Na]+": 0}  # of the precursor beside those of M
ADDUCT_METALS = {"[M+Na]+": "Na"}  # stays with the charged fragment
INSTRUMENT_TYPES = ("QTOF", "Orbitrap")

NUM_ATOM_FEATURES = len(ELEMENTS) + 5 + 5 + 3 + 3 + 6
NUM_BOND_FEATURES = len(_BOND_TYPES) + 3
NUM_FRAGMENT_FEATURES = 2 * len(ELEMENTS) + 2 + 4 + 6 + 2
NUM_CONDITIONS = len(ADDUCT_HYDROGENS) + len(INSTRUMENT_TYPES) + 8


@dataclass
class MoleculeGraph:
    """A molecule and its fragments as arrays.

    atoms: `(atoms, NUM_ATOM_FEATURES)`; adjacency: `(bond types, atoms, atoms)`; inner, outer: `(2 bonds,)`, the ends of
    each bond, once in each direction; bonds: `(2 bonds, NUM_BOND_FEATURES)`; members: `(fragments, atoms)`; cut:
    `(fragments, 2 bonds)`, 1 where the inner end is in the fragment and the outer is not; fragments: `(fragments,
    NUM_FRAGMENT_FEATURES)`; odd: `(fragments,)`, 1 where the fragment with its own hydrogens is a radical; hydrogens:
    `(fragments,)`; masses: `(fragments, shifts)` in Da, with the hydrogen shift; mass: of the molecule, in Da.
    """

    atoms: torch.Tensor
    adjacency: torch.Tensor
    inner: torch.Tensor
    outer: torch.Tensor
    bonds: torch.Tensor
    members: torch.Tensor
    cut: torch.Tensor
    fragments: torch.Tensor
    odd: torch.Tensor
    hydrogens: np.ndarray
    masses: np.ndarray
    mass: float


def bond_costs(molecule: Chem.Mol) -> np.ndarray:
    """How hard each bond is to open, roughly: decides which fragments of large molecules are left out."""
    costs = []
    for bond in molecule.GetBonds():
        if bond.GetIsAromatic():
            costs.append(3.0)
        else:
            carbons = bond.GetBeginAtom().GetAtomicNum() == 6 == bond.GetEndAtom().GetAtomicNum()
            cost = bond.GetBondTypeAsDouble() + 0.5 * carbons
            costs.append(cost - 0.5 if bond.IsInRing() else cost)
    return np.array(costs)


def molecule_graph(molecule: Chem.Mol, fragments: np.ndarray | None = None) -> MoleculeGraph:
    """Raises ValueError for elements that are not in `ELEMENTS` and for molecules of more than MAX_ATOMS atoms."""
    if fragments is None:
        fragments = enumerate_fragments(molecule, bond_costs(molecule))
    num_atoms = molecule.GetNumAtoms()
    atoms = np.zeros((num_atoms, NUM_ATOM_FEATURES), np.float32)
    elements = np.zeros((num_atoms, len(ELEMENTS)), np.float32)
    hydrogens = np.zeros(num_atoms, np.float32)
    rings = molecule.GetRingInfo()
    for i, atom in enumerate(molecule.GetAtoms()):
        number = atom.GetAtomicNum()
        if number not in _ATOMIC_NUMBERS:
            raise ValueError(f"element {atom.GetSymbol()}, expected one of H, {', '.join(ELEMENTS)}")
        elements[i, _ATOMIC_NUMBERS[number]] = 1
        hydrogens[i] = atom.GetTotalNumHs()
        row = atoms[i, len(ELEMENTS) :]
        row[min(atom.GetDegree(), 4)] = 1
        row[5 + min(int(hydrogens[i]), 4)] = 1
        row[10 + min(max(atom.GetFormalCharge(), -1), 1) + 1] = 1
        row[13 + {Chem.HybridizationType.SP3: 0, Chem.HybridizationType.SP2: 1}.get(atom.GetHybridization(), 2)] = 1
        row[16] = atom.GetIsAromatic()
        row[17] = atom.IsInRing()
        row[18] = rings.IsAtomInRingOfSize(i, 5)
        row[19] = rings.IsAtomInRingOfSize(i, 6)
        row[20] = rings.NumAtomRings(i) > 1
        row[21] = 1
    atoms[:, : len(ELEMENTS)] = elements

    num_bonds = molecule.GetNumBonds()
    begin, end = np.zeros(num_bonds, np.int64), np.zeros(num_bonds, np.int64)
    bonds = np.zeros((num_bonds, NUM_BOND_FEATURES), np.float32)
    adjacency = np.zeros((len(_BOND_TYPES), num_atoms, num_atoms), np.float32)
    for i, bond in enumerate(molecule.GetBonds()):
        begin[i], end[i] = bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()
        kind = _BOND_TYPES.get(bond.GetBondType(), 0)
        bonds[i, kind] = 1
        bonds[i, 4:] = bond.IsInRing(), bond.GetIsConjugated(), 1
        adjacency[kind, begin[i], end[i]] = adjacency[kind, end[i], begin[i]] = 1

    members = membership(fragments, num_atoms)
    inside_begin, inside_end = members[:, begin], members[:, end]
    cut = np.concatenate([inside_begin * (1 - inside_end), inside_end * (1 - inside_begin)], 1)
    counts = members @ elements
    own = members @ hydrogens
    whole = counts[0]
    odd = (own + counts @ _ODD_VALENCE) % 2
    masses = counts @ _MASSES + own * HYDROGEN_MASS
    num_cut = cut.sum(1)
    shares = np.stack([masses / masses[0], masses / 500], 1)
    unsaturation = 1 + counts[:, 0] + counts[:, 9] - (own - counts[:, [1, 4]].sum(1) + counts[:, 5:9].sum(1)) / 2
    broken = np.stack([cut @ np.tile(bonds[:, k], 2) for k in range(4)], 1)
    features = np.concatenate(
        [
            np.minimum(counts, 12) / 4,
            np.minimum(whole - counts, 12) / 4,
            shares,
            broken,
            num_cut[:, None] == np.arange(6),
            odd[:, None],
            unsaturation[:, None] / 5,
        ],
        1,
    )
    return MoleculeGraph(
        atoms=torch.from_numpy(atoms),
        adjacency=torch.from_numpy(adjacency),
        inner=torch.from_numpy(np.concatenate([begin, end])),
        outer=torch.from_numpy(np.concatenate([end, begin])),
        bonds=torch.from_numpy(np.concatenate([bonds, bonds])),
        members=torch.from_numpy(members),
        cut=torch.from_numpy(cut),
        fragments=torch.from_numpy(features.astype(np.float32)),
        odd=torch.from_numpy(odd.astype(np.int64)),
        hydrogens=own,
        masses=masses[:, None] + HYDROGEN_SHIFTS * HYDROGEN_MASS,
        mass=float(masses[0]),
    )


def charge_shift(adduct: str) -> float:
    """m/z (Da) of an ion less the mass of its fragment with the shifted hydrogens."""
    metal = ADDUCT_METALS.get(adduct)
    return (MONOISOTOPIC_MASSES[metal] if metal else 0.0) - ADDUCTS[adduct].charge * ELECTRON_MASS


def possible(graph: MoleculeGraph, adduct: str) -> np.ndarray:
    """`(fragments, shifts)` bool: has no less than no hydrogens and weighs no more than the precursor."""
    enough = graph.hydrogens[:, None] + HYDROGEN_SHIFTS >= 0
    heaviest = graph.mass + ADDUCT_HYDROGENS[adduct] * HYDROGEN_MASS + 1e-3
    return enough & (graph.masses <= heaviest)


def conditions(mass: float, adduct: str, collision_energy: float | None, instrument_type: str | None) -> np.ndarray:
    """`(NUM_CONDITIONS,)`: the energy (eV) as such and by the mass (Da), as normalised energies are."""
    known = collision_energy is not None and np.isfinite(collision_energy)
    energy = collision_energy if known else 0.0
    normalised = energy * 500 / mass
    return np.array(
        [
            *(adduct == name for name in ADDUCT_HYDROGENS),
            *(instrument_type == name for name in INSTRUMENT_TYPES),
            known,
            min(energy, 200) / 50,
            min(normalised, 300) / 50,
            np.log1p(energy) / 2,
            np.log1p(normalised) / 2,
            mass / 500,
            normalised < 25,
            normalised > 80,
        ],
        np.float32,
    )
