import numpy as np
import pytest
from rdkit import Chem
from rdkit.Chem.AllChem import EmbedMolecule
from rdkit.Chem.rdDepictor import Compute2DCoords

from spec2mol.molecules_spec2mol import (
    ATOM_SYMBOLS,
    conformer_features,
    embed_conformer,
    graph_features,
    motif_features,
)

ETHANOL = {"atoms": ["C", "C", "O"], "coordinates": [[0, 0, 0], [1.5, 0, 0], [2.0, 1.3, 0]]}


class TestConformers:
    def test_dictionary_is_uni_mols(self):
        assert len(ATOM_SYMBOLS) == 30
        assert ATOM_SYMBOLS[:9] == ["[PAD]", "[CLS]", "[SEP]", "[UNK]", "C", "N", "O", "S", "H"]
        assert ATOM_SYMBOLS[-1] == "Li"

    def test_given_conformer(self):
        features = conformer_features([ETHANOL])
        assert features["atom_ids"].tolist() == [[1, 4, 4, 6, 2]]
        assert features["atoms_mask"].tolist() == [[1] * 5]
        xyz = features["coordinates"][0]
        assert xyz.dtype == np.float32 and (xyz[[0, -1]] == 0).all()
        np.testing.assert_allclose(xyz[1:-1].mean(0), 0, atol=1e-6)
        np.testing.assert_allclose(xyz[1:-1] - xyz[1], ETHANOL["coordinates"], atol=1e-6)

    def test_hydrogens_are_left_out(self):
        with_hydrogen = {"atoms": ["O", "H", "H"], "coordinates": [[0.5, 0, 0], [1, 1, 0], [1, -1, 0]]}
        features = conformer_features([with_hydrogen])
        assert features["atom_ids"].tolist() == [[1, 6, 2]] and (features["coordinates"] == 0).all()
        assert conformer_features(["[H][H]"])["atom_ids"].tolist() == [[1, 8, 8, 2]]  # nothing else is there

    def test_embedded_conformer(self):
        atoms, xyz = embed_conformer("OCC#N")
        assert atoms == ["O", "C", "C", "N"] and xyz.shape == (4, 3) and xyz.dtype == np.float32
        lengths = np.linalg.norm(np.diff(xyz, axis=0), axis=1)
        np.testing.assert_allclose(lengths, [1.41, 1.47, 1.16], atol=0.03)  # C-O, C-C, C#N by MMFF94
        np.testing.assert_array_equal(embed_conformer("OCC#N")[1], xyz)
        assert not np.allclose(embed_conformer("OCCC#N", seed=1)[1], embed_conformer("OCCC#N", seed=2)[1])

    def test_without_force_field(self):
        assert embed_conformer("C[Se]C")[0] == ["C", "Se", "C"]  # MMFF knows no selenium

    def test_a_molecule_brings_its_conformer(self):
        molecule = Chem.AddHs(Chem.MolFromSmiles("CCCO"))
        EmbedMolecule(molecule, randomSeed=5)
        expected = molecule.GetConformer().GetPositions()[:4]
        xyz = conformer_features([molecule])["coordinates"][0, 1:-1]
        np.testing.assert_allclose(xyz, expected - expected.mean(0), atol=1e-5)

    def test_a_drawing_is_no_conformer(self):
        drawn = Chem.MolFromSmiles("CC(C)(C)C")
        Compute2DCoords(drawn)
        assert np.ptp(conformer_features([drawn])["coordinates"][0], axis=0).min() > 1  # Angstrom

    def test_mapping_with_smiles_alone(self):
        np.testing.assert_array_equal(
            conformer_features([{"smiles": "CCO", "coordinates": None}])["coordinates"],
            conformer_features(["CCO"])["coordinates"],
        )

    def test_padding(self):
        features = conformer_features(["C", ETHANOL])
        assert features["atom_ids"].tolist() == [[1, 4, 2, 0, 0], [1, 4, 4, 6, 2]]
        assert features["atoms_mask"].tolist() == [[1, 1, 1, 0, 0], [1] * 5]

    def test_unknown_elements(self):
        assert conformer_features([ETHANOL | {"atoms": ["C", "Xx", "O"]}])["atom_ids"].tolist() == [[1, 4, 3, 6, 2]]

    @pytest.mark.parametrize(
        ("molecule", "reason"),
        [
            ("CC(", "'CC(' is no molecule"),
            ("", "'' is no molecule"),
            ({"name": "ethanol"}, "None is no molecule"),
            (ETHANOL | {"atoms": ["C"]}, "1 atoms but 3 coordinates"),
            ({"atoms": ["C"] * 257, "coordinates": np.zeros((257, 3))}, "257 atoms, and at most 256"),
            ("C1#CC1", "ETKDG cannot embed it"),
        ],
    )
    def test_errors_name_the_molecule(self, molecule, reason):
        with pytest.raises(ValueError, match="molecule 1: ") as error:
            conformer_features(["CCO", molecule])
        assert reason in str(error.value)


class TestGraphs:
    def test_features_are_ogbs(self):
        """The example in OGB's `features.py`, and further atoms by its `smiles2graph` (version 1.3.6)."""
        features = graph_features(["Cl[C@H](/C=C/C)Br", "[NH4+]", "[Fe]"])
        assert features["atom_features"][0, 1].tolist() == [5, 2, 4, 5, 1, 0, 2, 0, 0]
        assert features["bonds"][0, 2].tolist() == [2, 3] and features["bond_features"][0, 2].tolist() == [1, 2, 0]
        assert features["atom_features"][1, 0].tolist() == [6, 0, 4, 6, 4, 0, 2, 0, 0]
        iron = [25, 0, 0, 5, 0, 0, 2, 0, 0]
        assert features["atom_features"][2, 0].tolist() == iron
        benzene = graph_features(["c1ccccc1"])
        assert benzene["atom_features"][0].tolist() == [[5, 0, 3, 5, 1, 0, 1, 1, 1]] * 6
        assert benzene["bond_features"][0].tolist() == [[3, 0, 1]] * 6

    def test_masks_and_shapes(self):
        features = graph_features(["C", "CCO", "c1ccccc1"])
        assert features["atoms_mask"].sum(1).tolist() == [1, 3, 6]
        assert features["bonds_mask"].sum(1).tolist() == [0, 2, 6]
        assert features["motif_mask"].sum(1).tolist() == [0, 2, 1]
        assert {name: array.shape[2:] for name, array in features.items() if "mask" not in name} == {
            "atom_features": (9,),
            "bonds": (2,),
            "bond_features": (3,),
            "motif_features": (73,),
        }

    def test_stereo_counts(self):
        left, right = graph_features(["C[C@H](N)O", "C[C@@H](N)O"])["atom_features"]
        assert (left != right).sum() == 1

    def test_errors_name_the_molecule(self):
        with pytest.raises(ValueError, match="molecule 2: 'C1' is no molecule"):
            graph_features(["C", "CC", "C1"])


def described(**counts):
    """A motif vector by what is in the group."""
    blocks = []
    for kind, most in (("C", 10), ("O", 5), ("N", 5), ("P", 5), ("S", 5), ("halogen", 0), ("other", 0)):
        blocks.append((counts.pop(kind, 0), most))
    for kind, most in (("single", 10), ("double", 7), ("triple", 7), ("aromatic", 7), ("ring", 0)):
        blocks.append((counts.pop(kind, 0), most))
    assert not counts
    return [bit for count, most in blocks for bit in ([count == n for n in range(most + 1)] if most else [count > 0])]


def motifs(smiles):
    return sorted(motif_features(Chem.MolFromSmiles(smiles)).tolist())


class TestMotifs:
    def test_benzene(self):
        assert motifs("c1ccccc1") == [described(C=6, aromatic=6, ring=1)]

    def test_aspirin(self):
        assert motifs("CC(=O)Oc1ccccc1C(=O)O") == sorted(
            [
                described(C=3, O=2, single=3, double=1),  # the ester with both atoms beside it
                described(C=2, O=2, single=2, double=1),  # the acid and the ring's carbon
                described(C=6, aromatic=6, ring=1),
            ]
        )

    def test_methane(self):
        assert motif_features(Chem.MolFromSmiles("C")).shape == (0, 73)

    def test_salt(self):
        acetate = described(C=2, O=2, single=2, double=1)
        assert motifs("CC(=O)[O-].[Na+]") == sorted([acetate, described(other=1)])

    def test_alkanes_are_bonds(self):
        assert motifs("CCC") == [described(C=2, single=1)] * 2

    def test_acetals(self):
        assert motifs("COCOC") == [described(C=3, O=2, single=4)]
        ethers = [described(C=2, O=1, single=2)] * 2
        assert motifs("COCCOC") == sorted([*ethers, described(C=2, single=1)])

    def test_rings_that_share_more_than_two_atoms_are_one(self):
        assert motifs("C1CC2CCC1C2") == [described(C=7, single=8, ring=1)]  # norbornane
        assert motifs("C1CCC2CCCCC2C1") == [described(C=6, single=6, ring=1)] * 2  # decalin shares two
        cubane = motifs("C12C3C4C1C5C2C3C45")
        assert len(cubane) == 6  # its squares share two each

    def test_counts_end_at_a_largest_number(self):
        anthracene_chain = motif_features(Chem.MolFromSmiles("C1CCCCCCCCCCCCC1"))[0]
        assert anthracene_chain.tolist() == described(C=10, single=10, ring=1)

    def test_any_order_of_atoms_gives_the_same_groups(self):
        molecule = Chem.MolFromSmiles("CC(=O)NC(=O)OCC(Cl)C#N")
        for seed in range(5):
            order = np.random.default_rng(seed).permutation(molecule.GetNumAtoms()).tolist()
            other = motif_features(Chem.RenumberAtoms(molecule, order))
            assert sorted(other.tolist()) == sorted(motif_features(molecule).tolist())
