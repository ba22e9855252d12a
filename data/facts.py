"""What can be computed of a molecule: the answers of tasks about it. RDKit's, and plain geometry of one conformer."""

from collections.abc import Mapping

import numpy as np
from rdkit.Chem.Crippen import MolLogP
from rdkit.Chem.Descriptors import MolWt
from rdkit.Chem.GraphDescriptors import BertzCT
from rdkit.Chem.rdMolDescriptors import CalcNumRings, CalcTPSA

from ..molecules_spec2mol import embed_conformer, read_molecule
from .dialogues import groups


def molecule_facts(smiles: str) -> dict[str, float | int | str]:
    """
    molecular_weight (Da, average), logp (Crippen's), tpsa (Angstrom², Ertl's), complexity (Bertz's index, which
    PubChem's is derived from), num_rings; functional_groups, as `dialogues.groups` names them.

    Raises:
        ValueError: no molecule.
    """
    molecule = read_molecule(smiles)
    return {
        "molecular_weight": MolWt(molecule),
        "logp": MolLogP(molecule),
        "tpsa": CalcTPSA(molecule),
        "complexity": BertzCT(molecule),
        "num_rings": CalcNumRings(molecule),
        "functional_groups": groups(molecule),
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


def describe(smiles: str, facts: Mapping) -> str:
    """A molecule in words, by a template over `molecule_facts` and, if they are there, `conformer_facts`. SMILES come
    last: nothing before can be read off them."""
    text = (
        "It has {num_rings} rings. Its molecular weight is {molecular_weight:.0f} g/mol, its logP {logp:.1f}, "
        "its polar surface area {tpsa:.0f} square angstroms, its complexity {complexity:.0f}. "
        "It holds {functional_groups}. "
    )
    if "span" in facts:
        text += "It is {span:.1f} angstroms long and its radius of gyration {radius_of_gyration:.2f} angstroms. "
    return text.format(**facts) + f"Its SMILES is {smiles}"
