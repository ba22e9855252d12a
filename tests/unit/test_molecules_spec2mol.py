import numpy as np
import pytest
from rdkit import Chem
from rdkit.Chem.AllChem import EmbedMolecule
from rdkit.Chem.rdDepictor import Compute2DCoords

from spec2mol.molecules_spec2mol import ATOM_SYMBOLS, conformer_features, embed_conformer

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
