"""Molecules as an encoder reads them: conformers in 3D for Uni-Mol, graphs with functional groups for GIN.

A molecule is a SMILES, an RDKit molecule, or a mapping with `smiles`. An RDKit molecule's own conformer is used, and a
mapping may have one: `atoms` (element symbols) and `coordinates` `(atoms, 3)` in Angstrom. Stereochemistry counts.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import cache

import numpy as np

try:
    from rdkit import Chem
    from rdkit.Chem.rdDistGeom import EmbedMolecule, ETKDGv3
    from rdkit.Chem.rdForceFieldHelpers import MMFFHasAllMoleculeParams, MMFFOptimizeMolecule
    from rdkit.rdBase import BlockLogs
except ImportError:
    Chem = None

# Uni-Mol's dictionary in its order, which the released weights depend on. Its mask token comes behind.
ATOM_SYMBOLS = "[PAD] [CLS] [SEP] [UNK] C N O S H Cl F Br I Si P B Na K Al Ca Sn As Hg Fe Zn Cr Se Gd Au Li".split()
START, END, UNKNOWN = (ATOM_SYMBOLS.index(name) for name in ("[CLS]", "[SEP]", "[UNK]"))
MAX_ATOMS = 256  # without hydrogens

# The features of the Open Graph Benchmark (Hu et al., NeurIPS 2020; its `features.py`): any other value is the last.
ATOM_FEATURES = (
    (lambda atom: atom.GetAtomicNum(), (*range(1, 119), None)),
    (
        lambda atom: str(atom.GetChiralTag()),
        ("CHI_UNSPECIFIED", "CHI_TETRAHEDRAL_CW", "CHI_TETRAHEDRAL_CCW", "CHI_OTHER", None),
    ),
    (lambda atom: atom.GetTotalDegree(), (*range(11), None)),
    (lambda atom: atom.GetFormalCharge(), (*range(-5, 6), None)),
    (lambda atom: atom.GetTotalNumHs(), (*range(9), None)),
    (lambda atom: atom.GetNumRadicalElectrons(), (*range(5), None)),
    (lambda atom: str(atom.GetHybridization()), ("SP", "SP2", "SP3", "SP3D", "SP3D2", None)),
    (lambda atom: atom.GetIsAromatic(), (False, True)),
    (lambda atom: atom.IsInRing(), (False, True)),
)
BOND_FEATURES = (
    (lambda bond: str(bond.GetBondType()), ("SINGLE", "DOUBLE", "TRIPLE", "AROMATIC", None)),
    (
        lambda bond: str(bond.GetStereo()),
        ("STEREONONE", "STEREOZ", "STEREOE", "STEREOCIS", "STEREOTRANS", "STEREOANY"),
    ),
    (lambda bond: bond.GetIsConjugated(), (False, True)),
)

# Functional groups, as in ReLMole (Ji et al. 2022) and LLaMo: how many atoms and bonds of each kind they hold, one-hot
# up to a largest number; of halogens, other elements and bonds in rings, whether there are any (None).
MOTIF_COUNTS = {"C": 10, "O": 5, "N": 5, "P": 5, "S": 5, "halogen": None, "other": None}
MOTIF_COUNTS |= {"SINGLE": 10, "DOUBLE": 7, "TRIPLE": 7, "AROMATIC": 7, "ring": None}
NUM_MOTIF_FEATURES = sum(1 if most is None else most + 1 for most in MOTIF_COUNTS.values())  # 73
FUNCTIONAL_ATOMS = ("[!#6]", "*=,#*", "[CX4]([O,N,S])[O,N,S]")  # hetero atoms, multiple bonds, acetals
HALOGENS = ("F", "Cl", "Br", "I")


def read_molecule(molecule):
    """RDKit molecule of a SMILES, a mapping with `smiles`, or itself. Raises ValueError if there is none."""
    if Chem is None:
        raise ImportError("rdkit is needed to read molecules: pip install rdkit")
    smiles = molecule.get("smiles") if isinstance(molecule, Mapping) else molecule
    if smiles is not None and not isinstance(smiles, str):
        return smiles
    with BlockLogs():
        read = Chem.MolFromSmiles(smiles) if smiles else None
    if read is None or read.GetNumAtoms() == 0:
        raise ValueError(f"{smiles!r} is no molecule")
    return read


def embed_conformer(molecule, seed: int = 0) -> tuple[list[str], np.ndarray]:
    """A new conformer as 3D-MoLM makes it: ETKDG, then MMFF where it has parameters for all atoms.

    Returns:
        element symbols without hydrogens, and their coordinates `(atoms, 3)` float32 in Angstrom; the same for the
        same seed.

    Raises:
        ValueError: no molecule, or none that ETKDG can embed.
    """
    molecule = Chem.AddHs(read_molecule(molecule))
    parameters = ETKDGv3()
    parameters.randomSeed = seed
    parameters.maxIterations = 10  # A few molecules would else be tried for minutes, and most of them in vain.
    with BlockLogs():
        if EmbedMolecule(molecule, parameters) != 0:
            parameters.useRandomCoords = True  # for the large and the strained
            if EmbedMolecule(molecule, parameters) != 0:
                raise ValueError(
                    f"no conformer of {Chem.MolToSmiles(Chem.RemoveHs(molecule))!r}: ETKDG cannot embed it"
                )
        if MMFFHasAllMoleculeParams(molecule):
            MMFFOptimizeMolecule(molecule)
    return _heavy_atoms([atom.GetSymbol() for atom in molecule.GetAtoms()], molecule.GetConformer().GetPositions())


def conformer_features(molecules: Sequence) -> dict[str, np.ndarray]:
    """Inputs of `UniMolModel`, padded to the largest molecule: atom_ids, atoms_mask `(batch, tokens)` and coordinates
    `(batch, tokens, 3)` float32: start and end in the origin, atoms without hydrogens, centred.

    Raises:
        ValueError: names the index of a molecule that has no conformer, or more than 256 atoms.
    """
    ids, coordinates = [], []
    for atoms, xyz in _each(_conformer, molecules):
        symbols = [ATOM_SYMBOLS.index(atom) if atom in ATOM_SYMBOLS else UNKNOWN for atom in atoms]
        ids.append(np.array([START, *symbols, END]))
        coordinates.append(np.pad(xyz - xyz.mean(0), ((1, 1), (0, 0))).astype(np.float32))
    atom_ids, atoms_mask = _padded(ids)
    return {"atom_ids": atom_ids, "coordinates": _padded(coordinates)[0], "atoms_mask": atoms_mask}


def _conformer(molecule):
    if isinstance(molecule, Mapping) and molecule.get("coordinates") is not None:
        atoms, coordinates = molecule["atoms"], np.asarray(molecule["coordinates"], np.float64).reshape(-1, 3)
        if len(atoms) != len(coordinates):
            raise ValueError(f"{len(atoms)} atoms but {len(coordinates)} coordinates")
    elif any(conformer.Is3D() for conformer in read_molecule(molecule).GetConformers()):
        atoms, coordinates = [a.GetSymbol() for a in molecule.GetAtoms()], molecule.GetConformer().GetPositions()
    else:
        atoms, coordinates = embed_conformer(molecule)
    atoms, coordinates = _heavy_atoms(atoms, coordinates)
    if len(atoms) > MAX_ATOMS:
        raise ValueError(f"{len(atoms)} atoms, and at most {MAX_ATOMS} can be read")
    return atoms, coordinates


def _heavy_atoms(atoms, coordinates):
    """All atoms where there are only hydrogens."""
    heavy = [index for index, atom in enumerate(atoms) if atom != "H"] or list(range(len(atoms)))
    return [atoms[index] for index in heavy], np.asarray(coordinates, np.float32)[heavy]


def graph_features(molecules: Sequence) -> dict[str, np.ndarray]:
    """Inputs of `GinModel`, padded to the largest molecule:
    - atom_features `(batch, atoms, 9)` and bond_features `(batch, bonds, 3)`, categories by `ATOM_FEATURES` and
      `BOND_FEATURES`, with atoms_mask and bonds_mask;
    - bonds `(batch, bonds, 2)`, indices of the atoms at both ends;
    - motif_features `(batch, motifs, 73)` float32 of functional groups, with motif_mask.

    Raises:
        ValueError: names the index of what is no molecule.
    """
    parts = zip(*_each(_graph, molecules), strict=True)
    (atoms, atoms_mask), (bonds, bonds_mask), (kinds, _), (motifs, motif_mask) = map(_padded, parts)
    features = {"atom_features": atoms, "atoms_mask": atoms_mask}
    features |= {"bonds": bonds, "bond_features": kinds, "bonds_mask": bonds_mask}
    return features | {"motif_features": motifs, "motif_mask": motif_mask}


def _graph(molecule):
    molecule = read_molecule(molecule)
    atoms = [_categories(atom, ATOM_FEATURES) for atom in molecule.GetAtoms()]
    bonds = [[bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()] for bond in molecule.GetBonds()]
    kinds = [_categories(bond, BOND_FEATURES) for bond in molecule.GetBonds()]
    return (
        np.array(atoms, np.int64).reshape(-1, len(ATOM_FEATURES)),
        np.array(bonds, np.int64).reshape(-1, 2),
        np.array(kinds, np.int64).reshape(-1, len(BOND_FEATURES)),
        motif_features(molecule),
    )


def _categories(thing, features) -> list[int]:
    values = [(read(thing), choices) for read, choices in features]
    return [choices.index(value) if value in choices else len(choices) - 1 for value, choices in values]


def functional_groups(molecule) -> list[set[int]]:
    """Atom indices of each group of an RDKit molecule, which may overlap:
    - functional atoms joined by bonds outside rings, and the atoms beside them by such bonds; a functional atom that
      has none of these bonds is a group only outside rings, as an ion;
    - any other bond outside rings;
    - rings, those merged that share more than two atoms.

    For molecules read from SMILES these are LLaMo's. In other orders of atoms its code may split a group.
    """
    functional = set()
    for smarts in FUNCTIONAL_ATOMS:
        functional.update(*molecule.GetSubstructMatches(_pattern(smarts), maxMatches=100_000))
    group_of = {atom: {atom} for atom in functional}
    beside, pairs = [], []
    for bond in molecule.GetBonds():
        if bond.IsInRing():
            continue
        ends = bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()
        marked = [atom for atom in ends if atom in functional]
        if len(marked) == 2:
            joined = group_of[ends[0]] | group_of[ends[1]]
            group_of |= dict.fromkeys(joined, joined)
        elif marked:
            beside.append((marked[0], sum(ends) - marked[0]))
        else:
            pairs.append(set(ends))
    groups = list({id(group): group for group in group_of.values()}.values())
    for atom, neighbour in beside:
        group_of[atom].add(neighbour)
    groups = [g for g in groups if len(g) > 1 or not molecule.GetAtomWithIdx(*g).IsInRing()]
    return groups + pairs + _merged_rings([set(ring) for ring in Chem.GetSymmSSSR(molecule)])


@cache
def _pattern(smarts):
    return Chem.MolFromSmarts(smarts)


def _merged_rings(rings):
    merged = []
    for ring in rings:
        while touching := [other for other in merged if len(ring & other) > 2]:
            merged = [other for other in merged if other not in touching]
            ring = ring.union(*touching)
        merged.append(ring)
    return merged


def motif_features(molecule) -> np.ndarray:
    """`(motifs, 73)` float32 of an RDKit molecule: the counts of `MOTIF_COUNTS` in each of its functional groups, in
    no particular order."""
    rows = []
    for group in functional_groups(molecule):
        counts = dict.fromkeys(MOTIF_COUNTS, 0)
        for atom in map(molecule.GetAtomWithIdx, group):
            element = atom.GetSymbol()
            kind = element if element in ("C", "O", "N", "P", "S") else "other"
            counts["halogen" if element in HALOGENS else kind] += 1
        for bond in molecule.GetBonds():
            if bond.GetBeginAtomIdx() in group and bond.GetEndAtomIdx() in group:
                counts["ring"] += bond.IsInRing()
                if (kind := str(bond.GetBondType())) in counts:
                    counts[kind] += 1
        row = []
        for kind, most in MOTIF_COUNTS.items():
            row += [counts[kind] > 0] if most is None else [min(counts[kind], most) == n for n in range(most + 1)]
        rows.append(row)
    return np.array(rows, np.float32).reshape(-1, NUM_MOTIF_FEATURES)


def _each(featurize: Callable, molecules: Sequence):
    for index, molecule in enumerate(molecules):
        try:
            yield featurize(molecule)
        except ValueError as error:
            raise ValueError(f"molecule {index}: {error}") from None


def _padded(arrays: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Arrays `(length, ...)` -> one `(batch, longest, ...)`, zeros behind, and its mask `(batch, longest)`."""
    longest = max(len(array) for array in arrays)
    padded = np.stack([np.pad(a, ((0, longest - len(a)), *[(0, 0)] * (a.ndim - 1))) for a in arrays])
    return padded, np.array([[1] * len(array) + [0] * (longest - len(array)) for array in arrays])


FEATURIZERS = {"conformer": conformer_features, "graph": graph_features}

__all__ = [
    "ATOM_SYMBOLS",
    "FEATURIZERS",
    "conformer_features",
    "embed_conformer",
    "functional_groups",
    "graph_features",
    "motif_features",
    "read_molecule",
]
