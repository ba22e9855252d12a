import pandas as pd
import pytest
import torch

from spec2mol.data.collator import Spec2MolCollator
from spec2mol.data.examples import load_examples
from spec2mol.feature_extraction_spec2mol import CONDITIONS
from tests.builders import MOLECULES, processor, spectra


@pytest.fixture
def table(tmp_path):
    rows = [
        s | {"smiles": smiles, "inchikey": smiles, "identifier": str(i)}
        for i, (s, smiles) in enumerate(zip(spectra(), MOLECULES, strict=True))
    ]
    path = tmp_path / "spectra.parquet"
    pd.DataFrame(rows).to_parquet(path)
    return path


def test_examples_hold_targets_and_lengths(table):
    examples = load_examples(table, processor())
    assert examples[0]["target_ids"] == processor().encode_molecule(MOLECULES[0])
    assert examples["num_tokens"][:] == [len(ids) for ids in examples["target_ids"]]
    assert examples["num_peaks"][:] == [5, 8, 1, 3]


def test_limit(table):
    assert len(load_examples(table, processor(), limit=2)) == 2


def test_molecules_that_selfies_cannot_write_are_dropped_and_counted(tmp_path, capsys):
    path = tmp_path / "molecules.parquet"
    pd.DataFrame({"smiles": ["CCO", "C1CC", "CCS"]}).to_parquet(path)
    assert load_examples(path, processor())["smiles"][:] == ["CCO", "CCS"]
    assert "1 of 3 rows dropped" in capsys.readouterr().out


def test_collator_equals_processor(table):
    batch = Spec2MolCollator(processor())(load_examples(table, processor()).to_list())
    expected = processor()(spectra=spectra(), molecules=list(MOLECULES), return_tensors="pt")
    assert set(batch) == set(expected)
    for name, tensor in expected.items():
        assert torch.equal(batch[name], tensor), name


def test_molecules_alone_have_no_soft_tokens(tmp_path):
    path = tmp_path / "molecules.parquet"
    pd.DataFrame({"smiles": list(MOLECULES)}).to_parquet(path)
    batch = Spec2MolCollator(processor())(load_examples(path, processor()).to_list())
    assert set(batch) == {"input_ids", "attention_mask", "labels"}
    assert (batch["input_ids"][:, 0] == processor().tokenizer.bos_token_id).all()
    assert (batch["labels"][:, 0] == -100).all() and (batch["labels"][:, 1] != -100).all()


def test_condition_dropout_hides_the_named_conditions(table):
    torch.manual_seed(0)
    rows = load_examples(table, processor()).to_list() * 500
    known = Spec2MolCollator(processor())(rows)["condition_mask"].float().mean(0)
    seen = Spec2MolCollator(processor(), {"formula": 0.5, "adduct": 1.0})(rows)["condition_mask"].float().mean(0)
    assert seen[CONDITIONS.index("adduct")] == 0
    assert 0.45 < seen[CONDITIONS.index("formula")] / known[CONDITIONS.index("formula")] < 0.55
    assert seen[CONDITIONS.index("precursor_mz")] == 1


def test_a_hidden_precursor_is_hidden_from_the_encoder_too(table):
    rows = load_examples(table, processor()).to_list()
    batch = Spec2MolCollator(processor(), {"precursor_mz": 1.0})([*rows, rows[0] | {"mzs": [], "intensities": []}])
    assert (batch["condition_mask"][:, CONDITIONS.index("precursor_mz")] == 0).all()
    assert batch["peaks_mask"][:, 0].tolist() == [0, 0, 0, 0, 1]  # something must be left to read
    assert batch["peaks_mask"].sum(1).tolist() == [5, 8, 1, 3, 1]


def test_unknown_condition_names_are_an_error():
    with pytest.raises(ValueError, match="no such conditions: energy"):
        Spec2MolCollator(processor(), {"energy": 0.1})
