from itertools import islice

import pytest
from rdkit import Chem

from spec2mol.data.names import JUNIOR_PREFIXES, PREFIXES, SUFFIXES, make_names, systematic_name

NAMES = {
    "Oc1ccccc1": "phenol",
    "Oc1ccccc1O": "benzene-1,2-diol",
    "Clc1ccccc1": "chlorobenzene",
    "FC(F)(F)c1ccccc1": "(trifluoromethyl)benzene",
    "Cc1ccccc1[N+](=O)[O-]": "1-methyl-2-nitrobenzene",
    "Cc1ccc(C(=O)O)cc1": "4-methylbenzoic acid",
    "Nc1ccc(S(N)(=O)=O)cc1": "4-aminobenzenesulfonamide",
    "Nc1c(O)c(O)c(O)c(O)c1": "5-aminobenzene-1,2,3,4-tetrol",
    "CC(C)(C)c1cc(C)cc(C(C)(C)C)c1O": "2,6-di-tert-butyl-4-methylphenol",
    "FC(F)(F)c1cc(N)cc(C(F)(F)F)c1": "3,5-bis(trifluoromethyl)aniline",
    "CC(C)Oc1ccc(S)cc1CCl": "3-(chloromethyl)-4-[(propan-2-yl)oxy]benzenethiol",
    "O=C(O)c1cccnc1": "pyridine-3-carboxylic acid",
    "COc1ccnc(N)c1": "4-methoxypyridin-2-amine",
    "c1ccncc1": "pyridine",
}


@pytest.mark.parametrize(("smiles", "name"), NAMES.items())
def test_names(smiles, name):
    assert systematic_name(smiles) == name


def test_the_senior_group_is_the_suffix_and_has_the_lowest_locant():
    assert systematic_name("Nc1cccc(O)c1") == "3-aminophenol"
    assert systematic_name("O=Cc1cccc(O)c1") == "3-hydroxybenzaldehyde"
    assert systematic_name("O=Cc1cccc(C(=O)O)c1") == "3-formylbenzoic acid"


def test_prefixes_have_the_lowest_locants_together_and_the_first_of_the_alphabet_decides():
    assert systematic_name("Cc1cc(Cl)ccc1Br") == "1-bromo-4-chloro-2-methylbenzene"  # 1,2,4, not 1,3,4
    assert systematic_name("Cc1ccc(Cl)cc1N") == "5-chloro-2-methylaniline"
    assert systematic_name("CCc1ccccc1Br") == "1-bromo-2-ethylbenzene"


def test_what_would_name_the_molecule_itself_needs_a_senior_suffix():
    assert systematic_name("CC(=O)c1ccc(C(=O)O)cc1") == "4-acetylbenzoic acid"
    assert systematic_name("CC(=O)c1ccc(O)cc1") is None  # an ethanone
    assert systematic_name("CC(=O)Nc1ccccc1") is None  # an acetamide
    assert systematic_name("OCc1ccc(O)cc1") == "4-(hydroxymethyl)phenol"
    assert systematic_name("OCc1ccc(N)cc1") is None  # a methanol


@pytest.mark.parametrize(
    "smiles",
    ["not a molecule", "CCO", "c1ccc2ccccc2c1", "C1CCCCC1", "c1cnccn1", "[13cH]1ccccc1", "[2H]c1ccccc1"]
    + ["C[n+]1ccccc1", "Cl.Nc1ccccc1", "O=c1cccc[nH]1", "CCCCCCCCc1ccccc1"],
)
def test_other_molecules_have_none(smiles):
    assert systematic_name(smiles) is None


def test_any_spelling_gives_the_same_name():
    molecule = Chem.MolFromSmiles("CC(C)Oc1ccc(S)cc1CCl")
    names = {systematic_name(s) for s in Chem.MolToRandomSmilesVect(molecule, 20, randomSeed=1)}
    assert names == {NAMES["CC(C)Oc1ccc(S)cc1CCl"]}


@pytest.mark.parametrize("table", [SUFFIXES, PREFIXES, JUNIOR_PREFIXES])
def test_substituents_are_found_by_canonical_smiles(table):
    assert [Chem.CanonSmiles(group) for group in table] == list(table)


def test_made_derivatives_differ_in_structure_and_in_name():
    made = list(islice(make_names(seed=3), 300))
    smiles, names = zip(*made, strict=True)
    assert len(set(smiles)) == len(set(names)) == 300
    assert list(names) == [systematic_name(s) for s in smiles]
    assert made == list(islice(make_names(seed=3), 300)) != list(islice(make_names(seed=4), 300))
