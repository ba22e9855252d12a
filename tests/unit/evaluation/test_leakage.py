import pytest
from datasets import Dataset

from spec2mol.chemistry_spec2mol import inchikey_block
from spec2mol.evaluation.leakage import check_disjoint, check_unseen
from spec2mol.training.record import record_stage


def rows(*molecules):
    return [{"smiles": smiles, "inchikey": inchikey_block(smiles)} for smiles in molecules]


@pytest.fixture
def trained_on(tmp_path):
    """A folder whose record lists these molecules."""

    def write(*molecules, previous=()):
        dataset = Dataset.from_dict({"smiles": list(molecules)})
        dataset.to_parquet(tmp_path / "train.parquet")
        record_stage(tmp_path, previous, {}, tmp_path / "train.parquet", dataset)
        return tmp_path

    return write


def test_a_molecule_that_was_trained_on_is_an_error_however_it_is_written(trained_on):
    folder = trained_on("C[C@H](N)C(=O)O", "CCO")
    with pytest.raises(ValueError, match=r"trained on 1 of these 2 molecules, such as CC\(N\)C\(O\)=O"):
        check_unseen(folder, rows("CC(N)C(O)=O", "c1ccccc1"))


def test_new_molecules_pass(trained_on):
    assert "None of these 2 molecules" in check_unseen(trained_on("CCO"), rows("CCN", "c1ccccc1"))


def test_what_is_not_known_is_said(trained_on, tmp_path):
    assert "no training record" in check_unseen(tmp_path, rows("CCO"))
    assert "not known: the molecules behind dreams" in check_unseen(
        trained_on("CCO", previous=[str(tmp_path / "dreams")]), rows("CC")
    )


def test_data_and_library_share_no_molecule():
    check_disjoint(rows("CCO"), rows("CCN"))
    with pytest.raises(ValueError, match="1 molecules are in both --data and --train, such as CCO"):
        check_disjoint(rows("CCO"), rows("OCC"))
