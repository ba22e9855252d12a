"""Systematic names of benzene and pyridine derivatives: substitutive nomenclature (IUPAC 2013, P-31, P-41, P-45) as
far as one ring with simple substituents needs it. All other molecules go without a name."""

import re
from collections import defaultdict
from collections.abc import Iterator
from itertools import chain

import numpy as np
from rdkit import Chem

# Characteristic groups, senior ones first: suffix, prefix, and the name of benzene with one of them.
SUFFIXES = {
    "*C(=O)O": ("carboxylic acid", "carboxy", "benzoic acid"),
    "*S(=O)(=O)O": ("sulfonic acid", "sulfo", "benzenesulfonic acid"),
    "*C(N)=O": ("carboxamide", "carbamoyl", "benzamide"),
    "*S(N)(=O)=O": ("sulfonamide", "sulfamoyl", "benzenesulfonamide"),
    "*C#N": ("carbonitrile", "cyano", "benzonitrile"),
    "*C=O": ("carbaldehyde", "formyl", "benzaldehyde"),
    "*O": ("ol", "hydroxy", "phenol"),
    "*S": ("thiol", "sulfanyl", "benzenethiol"),
    "*N": ("amine", "amino", "aniline"),
}
SENIORITY = list(SUFFIXES)
# What stands in front of the ring's name alone. Compound names are in brackets.
PREFIXES = {
    "*F": "fluoro",
    "*Cl": "chloro",
    "*Br": "bromo",
    "*I": "iodo",
    "*[N+](=O)[O-]": "nitro",
    "*N=O": "nitroso",
    "*C": "methyl",
    "*CC": "ethyl",
    "*CCC": "propyl",
    "*C(C)C": "(propan-2-yl)",
    "*CCCC": "butyl",
    "*C(C)(C)C": "tert-butyl",
    "*C=C": "ethenyl",
    "*CC=C": "(prop-2-en-1-yl)",
    "*C(F)(F)F": "(trifluoromethyl)",
    "*CCl": "(chloromethyl)",
    "*CBr": "(bromomethyl)",
    "*OC": "methoxy",
    "*OCC": "ethoxy",
    "*OCCC": "propoxy",
    "*OC(C)C": "[(propan-2-yl)oxy]",
    "*OCCCC": "butoxy",
    "*OC(F)(F)F": "(trifluoromethoxy)",
    "*SC": "(methylsulfanyl)",
    "*SCC": "(ethylsulfanyl)",
}
# The same, but beside a suffix at least as senior as this one: otherwise they would name the molecule, not the ring.
JUNIOR_PREFIXES = {
    "*C(=O)OC": ("(methoxycarbonyl)", "*S(=O)(=O)O"),
    "*C(=O)OCC": ("(ethoxycarbonyl)", "*S(=O)(=O)O"),
    "*NC(C)=O": ("acetamido", "*S(=O)(=O)O"),
    "*C(C)=O": ("acetyl", "*C=O"),
    "*CO": ("(hydroxymethyl)", "*O"),
    "*NC": ("(methylamino)", "*S"),
    "*N(C)C": ("(dimethylamino)", "*S"),
    "*N(CC)CC": ("(diethylamino)", "*S"),
}
RINGS = {"CCCCCC": "benzene", "CCCCCN": "pyridine"}
TIMES = ("", "", "di", "tri", "tetra", "penta", "hexa")
TIMES_COMPOUND = ("", "", "bis", "tris", "tetrakis", "pentakis", "hexakis")


def systematic_name(smiles: str) -> str | None:
    """The name of a molecule that is one ring of benzene or pyridine with substituents of the tables; else None."""
    molecule = Chem.MolFromSmiles(smiles)
    if molecule is None or "." in smiles or molecule.GetRingInfo().NumRings() != 1:
        return None
    (ring,) = molecule.GetRingInfo().AtomRings()
    atoms = [molecule.GetAtomWithIdx(i) for i in ring]
    parent = RINGS.get("".join(sorted(atom.GetSymbol() for atom in atoms)))
    if parent is None or any(a.GetFormalCharge() or a.GetIsotope() or not a.GetIsAromatic() for a in atoms):
        return None
    groups = [_group(molecule, atom, ring) for atom in atoms]
    principal = min((group for group in groups if group in SUFFIXES), key=SENIORITY.index, default=None)
    prefixes = [group and _prefix(group, principal) for group in groups]
    if any(group and group != principal and not prefix for group, prefix in zip(groups, prefixes, strict=True)):
        return None

    starts = [i for i, atom in enumerate(atoms) if atom.GetSymbol() == "N"] or range(6)
    numberings = [[(start + step * k) % 6 for k in range(6)] for start in starts for step in (1, -1)]
    located = [_located(numbering, groups, principal, prefixes) for numbering in numberings]
    suffix, front = min(located, key=_order)
    return _written(parent, principal, suffix, front)


def _group(molecule, atom, ring) -> str | None:
    """SMILES of what an atom of the ring carries, with * in the ring's place; None for hydrogen."""
    bond = next((bond for bond in atom.GetBonds() if bond.GetOtherAtomIdx(atom.GetIdx()) not in ring), None)
    if bond is None:
        return None
    pieces = Chem.GetMolFrags(Chem.FragmentOnBonds(molecule, [bond.GetIdx()], dummyLabels=[(0, 0)]), asMols=True)
    return next(Chem.MolToSmiles(piece) for piece in pieces if not piece.GetRingInfo().NumRings())


def _prefix(group, principal) -> str | None:
    """None for the suffix, for a group of no table, and for one that would itself name the molecule."""
    if group == principal:
        return None
    if group in SUFFIXES:
        return SUFFIXES[group][1]
    if group in JUNIOR_PREFIXES:
        prefix, least = JUNIOR_PREFIXES[group]
        return prefix if principal in SENIORITY[: SENIORITY.index(least) + 1] else None
    return PREFIXES.get(group)


def _located(numbering, groups, principal, prefixes) -> tuple[list[int], dict[str, list[int]]]:
    """Locants of the suffix, and of each prefix, in alphabetical order."""
    suffix, front = [], defaultdict(list)
    for locant, i in enumerate(numbering, start=1):
        if prefixes[i]:
            front[prefixes[i]].append(locant)
        elif groups[i]:
            suffix.append(locant)
    return suffix, dict(sorted(front.items(), key=lambda item: re.sub("[^a-z]", "", item[0].removeprefix("tert-"))))


def _order(located):
    """Lowest locants go to the suffix, then to all prefixes together, then to the prefix that is said first."""
    suffix, front = located
    return suffix, sorted(chain(*front.values())), list(front.values())


def _written(parent, principal, suffix, front) -> str:
    name = parent
    if principal is not None and (parent, len(suffix)) == ("benzene", 1):
        name = SUFFIXES[principal][2]
    elif principal is not None:
        ending = SUFFIXES[principal][0]
        times = TIMES[len(suffix)].removesuffix("a") if ending[0] in "ao" else TIMES[len(suffix)]
        stem = parent.removesuffix("e") if (times + ending)[0] in "ao" else parent
        name = f"{stem}-{_comma(suffix)}-{times}{ending}"
    if name == "benzene" and [*map(len, front.values())] == [1]:
        return f"{next(iter(front))}benzene"  # All places are the same.
    return "-".join(f"{_comma(places)}-{_times(prefix, len(places))}" for prefix, places in front.items()) + name


def _comma(locants) -> str:
    return ",".join(map(str, locants))


def _times(prefix, times) -> str:
    if prefix.startswith("tert-") and times > 1:
        return f"{TIMES[times]}-{prefix}"
    return (TIMES_COMPOUND if prefix[0] in "([" else TIMES)[times] + prefix


def make_names(seed: int = 0) -> Iterator[tuple[str, str]]:
    """Different derivatives without end, SMILES and name: a ring and one to four substituents, all drawn at random."""
    generator = np.random.default_rng(seed)
    substituents = [group.removeprefix("*") for group in (*SUFFIXES, *PREFIXES, *JUNIOR_PREFIXES)]
    made = set()
    while True:
        places = generator.permutation(5)[: generator.integers(1, 5)]
        drawn = [f"({generator.choice(substituents)})" if place in places else "" for place in range(5)]
        first = "cn"[generator.integers(2)]
        smiles = Chem.CanonSmiles(f"{first}1" + "c".join(["", *drawn[:4], f"1{drawn[4]}"]))
        if smiles not in made and (name := systematic_name(smiles)) is not None:
            made.add(smiles)
            yield smiles, name
