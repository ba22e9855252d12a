import re

import numpy as np
import pytest
from rdkit import Chem

from spec2mol.data.dialogues import FACTS, groups, molecule_dialogue, procedure


@pytest.mark.parametrize(
    ("smiles", "found"),
    [
        ("CC(=O)Oc1ccccc1C(=O)O", "a carboxylic acid, an ester and an aromatic ring"),
        ("CCO", "an alcohol"),
        ("Oc1ccccc1", "a phenol and an aromatic ring"),
        ("CC(=O)NC", "an amide"),
        ("CCN", "a primary amine"),
        ("CCOCC", "an ether"),
        ("CC(C)=O", "a ketone"),
        ("CC=O", "an aldehyde"),
        ("CC#N", "a nitrile"),
        ("C[N+](=O)[O-]", "a nitro group"),
        ("CS(=O)(=O)N", "a sulfonamide"),
        ("CCCl", "a halogen"),
        ("CCC", "none of the groups I know"),
    ],
)
def test_groups(smiles, found):
    assert groups(Chem.MolFromSmiles(smiles)) == found


def test_answers_are_facts():
    aspirin = Chem.MolFromSmiles("CC(=O)Oc1ccccc1C(=O)O")
    told = {name: value(aspirin) for name, (_, _, value) in FACTS.items()}
    assert told["formula"] == "C9H8O4" and told["weight"] == "180.2" and told["rings"] == "1"
    assert float(told["logp"]) == pytest.approx(1.31, abs=0.01)
    assert float(told["tpsa"]) == pytest.approx(63.6, abs=0.05)


def test_conversations_are_questions_and_answers_in_turn():
    generator = np.random.default_rng(0)
    for _ in range(20):
        messages = molecule_dialogue("CCO", generator)
        assert [m["role"] for m in messages] == ["user", "assistant"] * (len(messages) // 2)
        assert 4 <= len(messages) <= 8 and len({m["content"] for m in messages}) == len(messages)
        assert messages[0]["content"].startswith("Here is a molecule: CCO. ")
    assert molecule_dialogue("C1CC", generator) is None


def test_actions_hold_what_the_procedure_says():
    generator = np.random.default_rng(0)
    for _ in range(20):
        paragraph, actions = procedure(("Compound 1", "Compound 2"), generator)
        said, done = (set(re.findall(r"[\d.]+(?= )|Compound \d|\w+(?=[ ;.])", text)) for text in (paragraph, actions))
        numbers = {word for word in done if re.fullmatch(r"[\d.]+", word)}
        assert numbers <= said and {"Compound 1", "Compound 2"} <= said & done
