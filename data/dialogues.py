"""Texts made from templates over facts: what RDKit computes of a molecule, and procedures of made reactions. None of
it was written by a person, and no number in a procedure was measured."""

from collections.abc import Callable

import numpy as np
from rdkit import Chem
from rdkit.Chem import Crippen, Descriptors, rdMolDescriptors

from ..chemistry_spec2mol import molecular_formula

GROUPS = {
    "a carboxylic acid": "[CX3](=O)[OX2H1]",
    "an ester": "[#6][CX3](=O)[OX2H0][#6]",
    "an amide": "[CX3](=O)[NX3]",
    "a primary amine": "[NX3;H2;!$(NC=[O,S])][#6]",
    "an alcohol": "[OX2H1][CX4]",
    "a phenol": "[OX2H1]c",
    "an ether": "[OX2H0]([#6;!$(C=O)])[#6;!$(C=O)]",
    "a ketone": "[#6][CX3](=O)[#6]",
    "an aldehyde": "[CX3H1](=O)[#6]",
    "a nitrile": "[CX2]#[NX1]",
    "a nitro group": "[$([NX3](=O)=O),$([NX3+](=O)[O-])]",
    "a sulfonamide": "[SX4](=O)(=O)[NX3]",
    "a halogen": "[F,Cl,Br,I]",
    "an aromatic ring": "a1aaaaa1",
}
_PATTERNS = {name: Chem.MolFromSmarts(smarts) for name, smarts in GROUPS.items()}


def groups(molecule: Chem.Mol) -> str:
    """ "an ester and a phenol", or "none of the groups I know"."""
    found = [name for name, pattern in _PATTERNS.items() if molecule.HasSubstructMatch(pattern)]
    if not found:
        return "none of the groups I know"
    return found[0] if len(found) == 1 else f"{', '.join(found[:-1])} and {found[-1]}"


# Fact: ways to ask, the answer, its value.
FACTS: dict[str, tuple[tuple[str, ...], str, Callable[[Chem.Mol], str]]] = {
    "formula": (
        ("What is its molecular formula?", "Which formula does it have?"),
        "Its formula is {}.",
        lambda molecule: molecular_formula(Chem.MolToSmiles(molecule)),
    ),
    "weight": (
        ("What is its molecular weight?", "How heavy is it?"),
        "Its molecular weight is {} g/mol.",
        lambda molecule: f"{Descriptors.MolWt(molecule):.1f}",
    ),
    "logp": (
        ("What is its logP?", "How lipophilic is it?"),
        "Its computed logP is {}.",
        lambda molecule: f"{Crippen.MolLogP(molecule):.2f}",
    ),
    "tpsa": (
        ("What is its polar surface area?", "Please give its TPSA."),
        "Its polar surface area is {} square angstroms.",
        lambda molecule: f"{rdMolDescriptors.CalcTPSA(molecule):.1f}",
    ),
    "rings": (
        ("How many rings does it have?", "Count its rings."),
        "The number of its rings is {}.",
        lambda molecule: str(rdMolDescriptors.CalcNumRings(molecule)),
    ),
    "groups": (
        ("Which functional groups does it hold?", "Name its functional groups."),
        "It holds {}.",
        groups,
    ),
}


def molecule_dialogue(smiles: str, generator: np.random.Generator) -> list[dict[str, str]] | None:
    """Two to four questions about a molecule and their answers; None if RDKit cannot read it."""
    molecule = Chem.MolFromSmiles(smiles)
    if molecule is None:
        return None
    messages = []
    for name in generator.permutation(list(FACTS))[: generator.integers(2, 5)]:
        questions, statement, value = FACTS[name]
        question = questions[generator.integers(len(questions))]
        if not messages:
            question = f"Here is a molecule: {smiles}. {question}"
        messages.append({"role": "user", "content": question})
        messages.append({"role": "assistant", "content": statement.format(value(molecule))})
    return messages


SOLVENTS = ("water", "methanol", "dichloromethane", "tetrahydrofuran", "toluene", "ethyl acetate")


def procedure(names: tuple[str, str], generator: np.random.Generator) -> tuple[str, str]:
    """A paragraph of a procedure with two substances and the actions in it, in the notation of Vaucher et al. 2020."""
    first, second = names
    solvent, extract = generator.permutation(SOLVENTS)[:2]
    grams, millilitres, hours = generator.integers(1, 50) / 10, generator.integers(5, 100), generator.integers(1, 25)
    degrees = 5 * generator.integers(0, 21)
    paragraphs = (
        f"{first} ({grams} g) was dissolved in {solvent} ({millilitres} mL), and {second} was added. The mixture was "
        f"stirred at {degrees} °C for {hours} h, extracted with {extract} and concentrated.",
        f"To a solution of {first} ({grams} g) in {solvent} ({millilitres} mL) was added {second}. After stirring for "
        f"{hours} h at {degrees} °C, the product was extracted with {extract} and the solvent was removed.",
    )
    actions = (
        f"MAKESOLUTION with {first} ({grams} g) and {solvent} ({millilitres} mL); ADD SLN; ADD {second}; STIR for "
        f"{hours} h at {degrees} °C; EXTRACT with {extract}; CONCENTRATE."
    )
    return paragraphs[generator.integers(len(paragraphs))], actions
