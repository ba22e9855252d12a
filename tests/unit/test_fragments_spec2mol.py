import numpy as np
import pytest
from rdkit import Chem

from spec2mol.fragment_graph_spec2mol import FragmentGraph, charge_shift
from spec2mol.fragments_spec2mol import HYDROGEN_SHIFTS, enumerate_fragments, membership

STRUCTURES = {
    "caffeine": "CN1C=NC2=C1C(=O)N(C(=O)N2C)C",
    "benzoic acid": "O=C(O)c1ccccc1",
    "norbornane": "C1CC2CCC1C2",
    "anthracene": "c1ccc2cc3ccccc3cc2c1",
    "cubane": "C12C3C4C1C5C2C3C45",
    "spiro": "C1CCC2(CC1)OCCO2",
    "naringenin": "O=C1CC(c2ccc(O)cc2)Oc2cc(O)cc(O)c21",
    "chlordane": "ClC1C(Cl)C2C1C1(Cl)C(Cl)=C(Cl)C2(Cl)C1(Cl)Cl",
    "methane": "C",
}


def fragments_of(molecule, limit=10**6):
    """The atoms of each fragment."""
    pieces, lost = enumerate_fragments(molecule, np.ones(molecule.GetNumBonds()), limit)
    return [frozenset(np.flatnonzero(row)) for row in 1 - membership(pieces, molecule.GetNumAtoms())[lost].sum(1)]


def cuts_by_search(molecule, atoms):
    """What one cut leaves of these atoms: every bond, and every two bonds of one ring, opened in turn."""
    bonds = [(b.GetBeginAtomIdx(), b.GetEndAtomIdx()) for b in molecule.GetBonds()]
    left = set()
    for i in range(len(bonds)):
        for j in range(i, len(bonds)):
            parts = connected_parts(atoms, [bond for k, bond in enumerate(bonds) if k not in (i, j)])
            if i == j or all(connected_parts(atoms, bonds[:k] + bonds[k + 1 :]) == [atoms] for k in (i, j)):
                left.update(parts if len(parts) == 2 else [])
    return left


def connected_parts(atoms, bonds):
    parts = []
    unseen = set(atoms)
    while unseen:
        part = {unseen.pop()}
        while new := {b for edge in bonds for a, b in (edge, edge[::-1]) if a in part and b in unseen}:
            part |= new
            unseen -= new
        parts.append(frozenset(part))
    return parts


@pytest.mark.parametrize("smiles", STRUCTURES.values(), ids=STRUCTURES)
def test_fragments_are_the_intersections_of_two_cuts_in_one_piece(smiles):
    molecule = Chem.MolFromSmiles(smiles)
    bonds = [(b.GetBeginAtomIdx(), b.GetEndAtomIdx()) for b in molecule.GetBonds()]
    whole = frozenset(range(molecule.GetNumAtoms()))
    once = cuts_by_search(molecule, whole)
    twice = {a & b for a in once for b in once if a & b and len(connected_parts(a & b, bonds)) == 1}
    fragments = fragments_of(molecule)
    assert set(fragments) == {whole} | once | twice
    assert len(fragments) == len(set(fragments))
    assert fragments[0] == whole


def test_the_limit_keeps_the_cheapest():
    molecule = Chem.MolFromSmiles("CCCO")
    pieces, lost = enumerate_fragments(molecule, np.array([3.0, 2.0, 1.0]), limit=3)
    left = 1 - membership(pieces, 4)[lost].sum(1)
    assert sorted(left.tolist()) == [[0, 0, 0, 1], [1, 1, 1, 0], [1, 1, 1, 1]]


def test_molecules_that_cannot_be_cut():
    with pytest.raises(ValueError, match="65 heavy atoms, expected at most 64"):
        enumerate_fragments(Chem.MolFromSmiles("C" * 65), np.ones(64))
    with pytest.raises(ValueError, match="more than one molecule"):
        enumerate_fragments(Chem.MolFromSmiles("CC.CC"), np.ones(2))
    with pytest.raises(ValueError, match="element Fe"):
        FragmentGraph.from_molecule(Chem.MolFromSmiles("C[Fe]C"))


def mzs_of(smiles, adduct):
    graph = FragmentGraph.from_molecule(Chem.MolFromSmiles(smiles))
    return graph.masses[graph.is_possible(adduct)] + charge_shift(adduct)


@pytest.mark.parametrize(
    "smiles, adduct, mz",
    [
        ("CN1C=NC2=C1C(=O)N(C(=O)N2C)C", "[M+H]+", 195.0877),  # caffeine, C8H11N4O2+
        ("CN1C=NC2=C1C(=O)N(C(=O)N2C)C", "[M+H]+", 138.0662),  # less methyl isocyanate: C6H8N3O+
        ("CN1C=NC2=C1C(=O)N(C(=O)N2C)C", "[M+H]+", 110.0713),  # and carbon monoxide: C5H8N3+
        ("O=C(O)c1ccccc1", "[M+H]+", 105.0335),  # benzoic acid less water: C7H5O+
        ("O=C(O)c1ccccc1", "[M+H]+", 79.0542),  # less carbon dioxide: C6H7+
        ("O=C(O)c1ccccc1", "[M+H]+", 77.0386),  # phenyl, C6H5+
        ("O=C(O)c1ccccc1", "[M-H]-", 121.0295),  # benzoate, C7H5O2-
        ("O=C(O)c1ccccc1", "[M-H]-", 77.0397),  # less carbon dioxide: C6H5-
        ("O=C1CC(c2ccc(O)cc2)Oc2cc(O)cc(O)c21", "[M+H]+", 153.0182),  # naringenin, retro-Diels-Alder: C7H5O4+
        ("C[N+](C)(C)CCO", "[M]+", 104.1070),  # choline
        ("C[N+](C)(C)CCO", "[M]+", 60.0808),  # trimethylammonium, C3H10N+
        ("OC1OC(CO)C(O)C(O)C1O", "[M+Na]+", 203.0526),  # glucose, C6H12O6Na+
    ],
)
def test_known_ions_are_among_the_fragments(smiles, adduct, mz):
    assert np.abs(mzs_of(smiles, adduct) - mz).min() < 1e-4


@pytest.mark.parametrize("smiles", STRUCTURES.values(), ids=STRUCTURES)
@pytest.mark.parametrize("adduct", ["[M+H]+", "[M-H]-", "[M+Na]+"])
def test_no_fragment_is_heavier_than_the_precursor_or_has_less_than_no_hydrogens(smiles, adduct):
    graph = FragmentGraph.from_molecule(Chem.MolFromSmiles(smiles))
    possible = graph.is_possible(adduct)
    assert graph.masses[possible].max() == pytest.approx(graph.precursor_mass(adduct), abs=1e-6)
    hydrogens = graph.hydrogens[:, None] + HYDROGEN_SHIFTS
    assert hydrogens[possible].min() >= 0


def test_atoms_are_conserved():
    """A fragment and its lost pieces are the molecule: in mass, in hydrogens, and never an atom twice."""
    molecule = Chem.MolFromSmiles(STRUCTURES["naringenin"])
    graph = FragmentGraph.from_molecule(molecule)
    lost = graph.members[graph.lost].sum(1)
    assert lost.max() == 1
    weights = np.array([atom.GetMass() + 1.008 * atom.GetTotalNumHs() for atom in molecule.GetAtoms()])
    average = (1 - lost.numpy()) @ weights
    own = graph.masses[:, HYDROGEN_SHIFTS == 0].ravel()
    assert np.abs(average - own).max() < 0.3  # average and monoisotopic masses differ by that much
    hydrogens = np.array([atom.GetTotalNumHs() for atom in molecule.GetAtoms()])
    assert ((1 - lost.numpy()) @ hydrogens == graph.hydrogens).all()


def test_closed_shells_and_radicals():
    """The phenyl cation has no unpaired electron and benzene's radical cation has one."""
    graph = FragmentGraph.from_molecule(Chem.MolFromSmiles("O=C(O)c1ccccc1"))
    for mass, is_radical in ((77.0391, False), (122.0368, True)):
        fragment = np.abs(graph.masses[:, HYDROGEN_SHIFTS == 0].ravel() - mass).argmin()
        assert graph.is_radical[fragment] == is_radical
