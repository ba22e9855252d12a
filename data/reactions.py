"""Reactions made from molecules by the SMARTS of well-known named reactions (as in Hartenfeller et al. 2011).

They are what the templates say, not what was measured: no conditions, no yields, and molecules of which a group reacts
at one place alone. So they teach how transformations are written, not which would succeed."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from rdkit import Chem
from rdkit.Chem.AllChem import ReactionFromSmarts
from rdkit.Chem.rdSubstructLibrary import CachedMolHolder, PatternHolder, SubstructLibrary
from rdkit.rdBase import BlockLogs

ACID = "[#6:9][CX3:1](=[O:2])[OX2H1]"
AMINE = "[NX3;H2,H1;!$(N[C,S]=[O,S,N]);!$(N[!#6]);!$(N#*):3]"
ARYL_HALIDE = "[c:1][Br,I]"
REACTIONS = {
    "Fischer esterification": f"{ACID}.[OX2H1:3][CX4;!$(C(O)[O,N,S]):4]>>[#6:9][C:1](=[O:2])[O:3][C:4]",
    "amide coupling": f"{ACID}.{AMINE}>>[#6:9][C:1](=[O:2])[N:3]",
    "Suzuki coupling": f"{ARYL_HALIDE}.[c:2][B]([OX2H1])[OX2H1]>>[c:1][c:2]",
    "Buchwald-Hartwig amination": f"{ARYL_HALIDE}.{AMINE}>>[c:1][N:3]",
    "Sonogashira coupling": f"{ARYL_HALIDE}.[CX2H1:2]#[CX2:3]>>[c:1][C:2]#[C:3]",
    "Heck reaction": f"{ARYL_HALIDE}.[CX3H2:2]=[CX3H1:3][#6:4]>>[c:1]/[C:2]=[C:3]/[#6:4]",
    "Williamson ether synthesis": "[c:1][OX2H1:2].[CX4;H2,H3:3][Cl,Br,I]>>[c:1][O:2][C:3]",
    "reductive amination": f"[CX3H1:1](=O)[#6:4].{AMINE}>>[C:1]([#6:4])[N:3]",
    "sulfonamide synthesis": f"[#6:9][SX4:1](=[O:2])(=[O:4])Cl.{AMINE}>>[#6:9][S:1](=[O:2])(=[O:4])[N:3]",
    "Boc deprotection": "[NX3:1]C(=O)OC(C)(C)C>>[N:1]",
    "saponification": "[#6:9][CX3:1](=[O:2])O[CH3,$([CH2][CH3])]>>[#6:9][C:1](=[O:2])O",
    "nitro reduction": "[c:1][N+](=O)[O-]>>[c:1]N",
    "alcohol oxidation": "[#6:3][CX4H2:1][OX2H1:2]>>[#6:3][C:1]=[O:2]",
}
CHUNK = 1000  # molecules that are searched at a time


class Reaction(NamedTuple):
    """SMILES without atom maps; several reactants are joined by a dot."""

    name: str
    reactants: str
    product: str


def make_reactions(smiles: Sequence[str], count: int, seed: int = 0, max_atoms: int = 24) -> Iterator[Reaction]:
    """As many of each named reaction as molecules allow, all different.

    Args:
        smiles: molecules to react, drawn from at random.
        max_atoms: heavy atoms that a reactant has at most.
    """
    generator = np.random.default_rng(seed)
    library = SubstructLibrary(CachedMolHolder(), PatternHolder())  # Packed; searched ones grow to 40 kB.
    for i in generator.permutation(len(smiles)):
        molecule = Chem.MolFromSmiles(smiles[i])
        if molecule is not None and molecule.GetNumHeavyAtoms() <= max_atoms:
            library.AddMol(molecule)
    wanted = -(-count // len(REACTIONS))
    for name, smarts in REACTIONS.items():
        reaction = ReactionFromSmarts(smarts)
        templates = list(reaction.GetReactants())
        pools = [_reactive(library, template, templates, wanted) for template in templates]
        seen = set()
        for _ in range(4 * wanted if all(pools) else 0):
            chosen = [pool[generator.integers(len(pool))] for pool in pools]
            product = _only_product(reaction, chosen)
            reactants = ".".join(sorted(Chem.MolToSmiles(molecule) for molecule in chosen))
            if product is not None and reactants not in seen and len(seen) < wanted:
                seen.add(reactants)
                yield Reaction(name, reactants, product)


def _reactive(library, template, templates, wanted):
    """The first molecules, enough for `wanted` pairs, in which the template fits at one place and no other one of the
    reaction does: these would react with themselves."""
    pool = []
    for start in range(0, len(library), CHUNK):
        for i in library.GetMatches(template, start, min(start + CHUNK, len(library)), numThreads=1):
            molecule = library.GetMol(i)
            if sum(len(molecule.GetSubstructMatches(other, maxMatches=2)) for other in templates) == 1:
                pool.append(molecule)
                if len(pool) == wanted:
                    return pool
    return pool


def _only_product(reaction, reactants) -> str | None:
    """None unless there is one possible product, and a valid one."""
    products = set()
    with BlockLogs():
        for (product,) in reaction.RunReactants(reactants):
            try:
                Chem.SanitizeMol(product)
            except Chem.MolSanitizeException:
                return None
            products.add(Chem.MolToSmiles(product))
    return products.pop() if len(products) == 1 else None
