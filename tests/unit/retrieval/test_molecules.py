import numpy as np
import pytest
import torch

from spec2mol.chemistry_spec2mol import formula_mass, morgan_fingerprint
from spec2mol.retrieval import MoleculeStore, build_molecule_store
from spec2mol.retrieval.molecules import ARRAYS, molecule_features
from spec2mol.retrieval.store import write_table
from tests import builders

STRUCTURES = ["Nc1ccccc1", "CCO", "COC", "OCC", "not a molecule", "CCO.Cl", "[Xe]", "CC(=O)[O-]", "C[C@H](N)C(=O)O"]


def test_store_is_sorted_by_mass_and_counts_what_it_left_out(tmp_path):
    skipped = build_molecule_store(STRUCTURES, tmp_path)
    assert skipped.total() == 4 and skipped["the same molecule as another one"] == 1
    store = MoleculeStore(tmp_path)
    everything = store.window(100.0, 100.0)
    assert len(store) == len(everything.smiles) == 5 and (np.diff(everything.mass) >= 0).all()
    assert "CC(N)C(=O)O" in everything.smiles, "without stereochemistry"
    for smiles, formula, mass, bits in zip(
        everything.smiles, everything.formula, everything.mass, everything.fingerprints, strict=True
    ):
        assert mass == formula_mass(formula) and (bits == morgan_fingerprint(smiles)).all()


def test_window_has_both_ends(tmp_path):
    build_molecule_store(STRUCTURES, tmp_path)
    store, mass = MoleculeStore(tmp_path), formula_mass("C2H6O")
    assert sorted(store.window(mass, 0.0).smiles) == ["CCO", "COC"]
    assert store.window(mass + 1e-3, 1e-3 + 1e-9).smiles and not store.window(mass + 1e-3, 0.9e-3).smiles


def test_any_number_of_processes_writes_the_same(tmp_path, monkeypatch):
    monkeypatch.setattr("spec2mol.retrieval.molecules.STRUCTURES_PER_WORKER", 1)
    for workers in (1, 2):
        build_molecule_store(STRUCTURES, tmp_path / str(workers), workers=workers)
    for name in (ARRAYS, "table.arrow"):
        assert (tmp_path / "1" / name).read_bytes() == (tmp_path / "2" / name).read_bytes()


def test_features_are_the_models_own(tmp_path):
    model, processor = builders.model(), builders.processor()
    build_molecule_store([*builders.MOLECULES, "[Si]"], tmp_path, model, processor)
    store = MoleculeStore(tmp_path)
    store.check(model)
    window = store.window(100.0, 100.0)
    unreadable = window.smiles.index("[Si]")
    assert not window.features[unreadable].any(), "an atom that the vocabulary lacks"
    with torch.no_grad():
        expected = model.get_molecule_features(
            **processor(molecules=[s for s in window.smiles if s != "[Si]"], return_tensors="pt")
        )
    np.testing.assert_allclose(np.delete(window.features, unreadable, 0), expected, atol=1e-3)  # float16
    assert molecule_features(model, processor, ["[Si]"]).tolist() == [[0.0] * 16]


def test_features_of_another_model(tmp_path):
    build_molecule_store(builders.MOLECULES, tmp_path, builders.model(), builders.processor())
    with pytest.raises(ValueError, match="another model; build it anew"):
        MoleculeStore(tmp_path).check(builders.model(seed=1))
    build_molecule_store(builders.MOLECULES, tmp_path)
    MoleculeStore(tmp_path).check(builders.model())  # None are stored


def test_a_model_without_text_branch_has_no_features(tmp_path):
    model = builders.model(projector={"use_qformer_text_input": False})
    with pytest.raises(ValueError, match="no text branch"):
        build_molecule_store(builders.MOLECULES, tmp_path, model, builders.processor())


@pytest.mark.parametrize("structures", [[], ["nonsense"]])
def test_nothing_is_left(tmp_path, structures):
    with pytest.raises(ValueError, match=f"none of {len(structures)} structures"):
        build_molecule_store(structures, tmp_path)


def test_no_store_of_molecules(tmp_path):
    with pytest.raises(ValueError, match="no store of molecules"):
        MoleculeStore(tmp_path)
    build_molecule_store(["CCO"], tmp_path / "store")
    table = MoleculeStore(tmp_path / "store").table
    write_table(tmp_path / "other", "spectra", table)
    with pytest.raises(ValueError, match="a store of spectra, not of molecules"):
        MoleculeStore(tmp_path / "other")
    for name in (ARRAYS, "table.arrow"):
        (tmp_path / "store" / name).write_bytes(b"damaged")
        with pytest.raises(ValueError, match="no store of molecules"):
            MoleculeStore(tmp_path / "store")
