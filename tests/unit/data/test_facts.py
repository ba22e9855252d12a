import numpy as np
import pytest

from spec2mol.data.facts import conformer_facts, describe, molecule_facts, shape_facts


def test_aspirin():
    facts = molecule_facts("CC(=O)Oc1ccccc1C(=O)O")
    assert facts["molecular_weight"] == pytest.approx(180.159, abs=1e-3)
    assert facts["tpsa"] == pytest.approx(63.60, abs=1e-2)  # as PubChem has it
    assert facts["logp"] == pytest.approx(1.31, abs=0.01)
    assert facts["complexity"] == pytest.approx(343.2, abs=0.1)
    assert facts["num_rings"] == 1
    assert facts["functional_groups"] == "a carboxylic acid, an ester and an aromatic ring"


def test_shapes():
    line = shape_facts([[0, 0, 0], [1, 0, 0], [2, 0, 0]])
    assert line == pytest.approx({"span": 2, "radius_of_gyration": np.sqrt(2 / 3), "asphericity": 1})
    octahedron = np.concatenate([np.eye(3), -np.eye(3)])
    assert shape_facts(octahedron) == pytest.approx({"span": 2, "radius_of_gyration": 1, "asphericity": 0}, abs=1e-12)
    assert shape_facts([[1, 2, 3]]) == {"span": 0, "radius_of_gyration": 0, "asphericity": 0}


def test_conformers():
    facts = conformer_facts("CCO")
    assert facts["atoms"] == ["C", "C", "O"] and np.shape(facts["coordinates"]) == (3, 3)
    assert facts["span"] == pytest.approx(2.4, abs=0.1)  # Angstrom, over two bonds
    assert conformer_facts("OCCCCCCO", seed=1)["span"] != conformer_facts("OCCCCCCO", seed=2)["span"]


def test_no_molecule():
    with pytest.raises(ValueError, match="is no molecule"):
        molecule_facts("CC(")


def test_facts_in_words():
    facts = molecule_facts("CCO")
    flat = (
        "It has 0 rings. Its molecular weight is 46 g/mol, its logP -0.0, its polar surface area 20 square angstroms, "
        "its complexity 3. It holds an alcohol. Its SMILES is CCO"
    )
    assert describe("CCO", facts) == flat
    shape = "It is 2.4 angstroms long and its radius of gyration 1.02 angstroms. Its SMILES is CCO"
    in_space = facts | {"span": 2.4, "radius_of_gyration": 1.02}
    assert describe("CCO", in_space) == flat.replace("Its SMILES is CCO", shape)
