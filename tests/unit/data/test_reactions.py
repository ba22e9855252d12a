import pytest
from rdkit import Chem
from rdkit.Chem.rdMolDescriptors import CalcMolFormula

from spec2mol.data.reactions import REACTIONS, make_reactions

MOLECULES = [
    "CC(=O)O",
    "OC(=O)c1ccccc1",
    "CCO",
    "CCCO",
    "CCN",
    "C1CCNCC1",
    "Brc1ccccc1",
    "Ic1ccncc1",
    "OB(O)c1ccccc1",
    "C#CC1CC1",
    "C=Cc1ccccc1",
    "Oc1ccccc1",
    "CCBr",
    "O=Cc1ccccc1",
    "CS(=O)(=O)Cl",
    "CC(C)(C)OC(=O)NCc1ccccc1",
    "COC(=O)c1ccccc1",
    "O=[N+]([O-])c1ccccc1",
    "OC(=O)CC(=O)O",
    "NCC(=O)O",
]
EXPECTED = {
    "Fischer esterification": ("CC(=O)O.CCO", "CCOC(C)=O"),
    "amide coupling": ("CC(=O)O.CCN", "CCNC(C)=O"),
    "Suzuki coupling": ("Brc1ccccc1.OB(O)c1ccccc1", "c1ccc(-c2ccccc2)cc1"),
    "Buchwald-Hartwig amination": ("Brc1ccccc1.CCN", "CCNc1ccccc1"),
    "Sonogashira coupling": ("Brc1ccccc1.C#CC1CC1", "C(#CC1CC1)c1ccccc1"),
    "Heck reaction": ("Brc1ccccc1.C=Cc1ccccc1", "C(=C/c1ccccc1)\\c1ccccc1"),
    "Williamson ether synthesis": ("CCBr.Oc1ccccc1", "CCOc1ccccc1"),
    "reductive amination": ("CCN.O=Cc1ccccc1", "CCNCc1ccccc1"),
    "sulfonamide synthesis": ("CCN.CS(=O)(=O)Cl", "CCNS(C)(=O)=O"),
    "Boc deprotection": ("CC(C)(C)OC(=O)NCc1ccccc1", "NCc1ccccc1"),
    "saponification": ("COC(=O)c1ccccc1", "O=C(O)c1ccccc1"),
    "nitro reduction": ("O=[N+]([O-])c1ccccc1", "Nc1ccccc1"),
    "alcohol oxidation": ("CCO", "CC=O"),
}


@pytest.fixture(scope="module")
def reactions():
    return list(make_reactions(MOLECULES, count=26 * len(REACTIONS)))


@pytest.mark.parametrize("name", REACTIONS)
def test_each_named_reaction_makes_what_textbooks_say(reactions, name):
    made = {r.reactants: r.product for r in reactions if r.name == name}
    reactants, product = EXPECTED[name]
    reactants = ".".join(sorted(Chem.CanonSmiles(part) for part in reactants.split(".")))
    assert Chem.CanonSmiles(made[reactants]) == Chem.CanonSmiles(product)


def test_all_are_different_and_valid(reactions):
    assert len({(r.name, r.reactants) for r in reactions}) == len(reactions)
    for reaction in reactions:
        assert Chem.MolFromSmiles(reaction.product) is not None
        assert ":" not in reaction.product.replace("[", "")  # no atom maps


def test_esters_lose_one_water(reactions):
    for reaction in reactions:
        if reaction.name == "Fischer esterification":
            both, ester = (
                CalcMolFormula(Chem.MolFromSmiles(s)) for s in (reaction.reactants, reaction.product + ".O")
            )
            assert both == ester


def test_what_could_react_otherwise_does_not_react(reactions):
    for smiles in ("O=C(O)CC(=O)O", "NCC(=O)O"):  # an acid twice, an acid and an amine
        assert not any(smiles in r.reactants.split(".") for r in reactions if r.name == "amide coupling")
    assert any("NCC(=O)O" in r.reactants.split(".") for r in reactions if r.name == "Fischer esterification")


def test_the_same_seed_the_same_reactions():
    once, again, other = (list(make_reactions(MOLECULES, 26, seed=seed)) for seed in (0, 0, 1))
    assert once == again != other
