"""What can be computed of a molecule: the answers of tasks about it. RDKit's, and plain geometry of one conformer."""

from collections.abc import Mapping

import numpy as np
from rdkit import Chem
from rdkit.Chem.Crippen import MolLogP
from rdkit.Chem.Descriptors import MolWt
from rdkit.Chem.GraphDescriptors import BertzCT
from rdkit.Chem.rdMolDescriptors import CalcNumRings, CalcTPSA

from ..molecules_spec2mol import embed_conformer, read_molecule

# Names as chemists say them, by SMARTS; a molecule is said to hold every one that matches.
FUNCTIONAL_GROUPS = {
    "carboxylic acid": "[CX3](=O)[OX2H1,OX1-]",
    "ester": "[CX3](=O)[OX2][#6;!$(C=O)]",
    "amide": "[CX3](=O)[NX3]",
    "aldehyde": "[CX3H1](=O)[#6]",
    "ketone": "[#6][CX3](=O)[#6]",
    "alcohol": "[OX2H][CX4]",
    "phenol": "[OX2H]c",
    "ether": "[OX2]([#6;!$(C=O)])[#6;!$(C=O)]",
    "amine": "[NX3;!$(N[#6]=[O,N,S]);!$(N[S,P]);!$(N=*);!$(N#*);!$([N+])][#6]",
    "nitrile": "C#N",
    "nitro group": "[$([NX3](=O)=O),$([N+](=O)[O-])]",
    "thiol": "[SX2H]",
    "sulfide": "[#6;!$(C=O)][SX2][#6;!$(C=O)]",
    "sulfonamide": "S(=O)(=O)[NX3]",
    "phosphate": "P(=O)([OX2,OX1-])([OX2,OX1-])[OX2,OX1-]",
    "halogen": "[F,Cl,Br,I][#6]",
    "aromatic ring": "a",
}
PATTERNS = {name: Chem.MolFromSmarts(smarts) for name, smarts in FUNCTIONAL_GROUPS.items()}


def molecule_facts(smiles: str) -> dict[str, float | int | str]:
    """
    molecular_weight (Da, average), logp (Crippen's), tpsa (Angstrom², Ertl's), complexity (Bertz's index, which
    PubChem's is derived from), num_rings; functional_groups, names of `FUNCTIONAL_GROUPS` joined by commas, or "none".

    Raises:
        ValueError: no molecule.
    """
    molecule = read_molecule(smiles)
    groups = [name for name, pattern in PATTERNS.items() if molecule.HasSubstructMatch(pattern)]
    return {
        "molecular_weight": MolWt(molecule),
        "logp": MolLogP(molecule),
        "tpsa": CalcTPSA(molecule),
        "complexity": BertzCT(molecule),
        "num_rings": CalcNumRings(molecule),
        "functional_groups": ", ".join(groups) or "none",
    }


def conformer_facts(smiles: str, seed: int = 0) -> dict:
    """One conformer without hydrogens, `atoms` and `coordinates` `(atoms, 3)` in Angstrom, and what only it tells:
    span (largest distance of two atoms, Angstrom), radius_of_gyration (of the atoms as equal points, Angstrom),
    asphericity (0 = a ball, 1 = a line; Rudnick and Gaspari 1986), which one atom alone has none of (0).

    Raises:
        ValueError: no molecule, or none that can be embedded.
    """
    atoms, coordinates = embed_conformer(smiles, seed)
    return {"atoms": atoms, "coordinates": coordinates.tolist()} | shape_facts(coordinates)


def shape_facts(coordinates) -> Mapping[str, float]:
    """span, radius_of_gyration and asphericity of points `(atoms, 3)`, see `conformer_facts`."""
    xyz = np.asarray(coordinates, np.float64)
    centred = xyz - xyz.mean(0)
    moments = np.linalg.eigvalsh(centred.T @ centred / len(xyz))  # squared radii along the principal axes
    total = moments.sum()
    spread = sum((moments[i] - moments[j]) ** 2 for i, j in ((0, 1), (0, 2), (1, 2)))
    return {
        "span": float(np.linalg.norm(xyz[:, None] - xyz[None], axis=-1).max()),
        "radius_of_gyration": float(np.sqrt(total)),
        "asphericity": float(spread / (2 * total**2)) if len(xyz) > 1 else 0.0,
    }
