import json

import pytest
from datasets import Dataset

from spec2mol.chemistry_spec2mol import inchikey_block
from spec2mol.data.examples import load_spectra_examples
from spec2mol.training import record
from spec2mol.training.record import load_seen, record_stage
from tests import builders


@pytest.fixture
def stage(tmp_path):
    """Trains nothing, but records: returns the folder."""

    def run(name, molecules, previous=(), recipe=()):
        folder, data = tmp_path / name, tmp_path / f"{name}.parquet"
        folder.mkdir()
        dataset = Dataset.from_dict({"smiles": molecules})
        dataset.to_parquet(data)
        record_stage(folder, previous, dict(recipe), data, dataset)
        return folder

    return run


def saw(folder, *molecules):
    return load_seen(folder).saw([inchikey_block(smiles) for smiles in molecules])


def test_a_stage_is_recorded_with_its_data(stage):
    folder = stage("align", ["CCO", "OCC", "CCN"], recipe={"half": True})
    (recorded,) = json.loads((folder / "training_record.json").read_text())["stages"]
    assert recorded["recipe"] == {"half": True}
    assert (recorded["examples"], recorded["molecules"]) == (3, 2)
    (data,) = recorded["data"]
    assert data["file"] == "align.parquet" and len(data["sha256"]) == 64
    assert saw(folder, "OCC", "NCC", "CCC") == [True, True, False]


def test_the_stages_of_a_chain_accumulate(stage):
    language = stage("language", ["CCO", "CCN"])
    align = stage("align", ["CCN", "CCS"], previous=[str(language)])
    record = load_seen(align)
    assert [s["data"][0]["file"] for s in record.stages] == ["language.parquet", "align.parquet"]
    assert saw(align, "CCO", "CCN", "CCS", "CCC") == [True, True, True, False]
    assert len(record.molecules) == 3 and record.unknown == []


def test_weights_without_a_record_are_named_along_the_chain(stage, tmp_path):
    first = stage("first", ["CCO"], previous=[str(tmp_path / "official-dreams")])
    second = stage("second", ["CCN"], previous=[str(first)])
    assert load_seen(second).unknown == ["official-dreams"]


def test_examples_of_spectra_with_and_without_structures(tmp_path):
    labelled = Dataset.from_list([builders.spectrum() | {"smiles": "C[C@H](N)C(=O)O"}])
    unlabelled = Dataset.from_list([builders.spectrum()])
    for name, rows in (("labelled", labelled), ("unlabelled", unlabelled)):
        (tmp_path / name).mkdir()
        path = str(tmp_path / f"{name}.parquet")
        rows.to_parquet(path)
        record_stage(tmp_path / name, [], {}, [path], load_spectra_examples(path, num_peaks=8))
    assert saw(tmp_path / "labelled", "CC(N)C(=O)O") == [True] and load_seen(tmp_path / "labelled").unknown == []
    assert saw(tmp_path / "unlabelled", "CC(N)C(=O)O") == [False]
    assert load_seen(tmp_path / "unlabelled").unknown == ["unlabelled.parquet"]


def test_tasks_with_rows_that_name_no_molecule(tmp_path):
    (tmp_path / "rows.jsonl").write_text("{}")
    rows = {"task": ["caption", "forward", "forward"], "identity": [5, None, 7]}
    record_stage(tmp_path, [], {}, str(tmp_path / "rows.jsonl"), Dataset.from_dict(rows))
    seen = load_seen(tmp_path)
    assert seen.unknown == ["task forward"] and seen.molecules.tolist() == [5, 7]


def test_no_record_is_none(tmp_path):
    assert load_seen(tmp_path) is None
    assert load_seen(tmp_path / "none") is None


def test_folders_of_this_machine_are_not_written(stage, tmp_path):
    recipe = {"model": {"from": str(tmp_path / "runs" / "language")}, "data": [str(tmp_path / "x.parquet"), "a/b"]}
    folder = stage("align", ["CCO"], recipe=recipe)
    assert load_seen(folder).stages[0]["recipe"] == {"model": {"from": "language"}, "data": ["x.parquet", "a/b"]}
    assert str(tmp_path) not in (folder / "training_record.json").read_text()


def test_many_molecules_are_identified_in_processes(stage, monkeypatch):
    monkeypatch.setattr(record, "CHUNK", 2)
    molecules = ["C" * n for n in range(1, 8)]
    folder = stage("language", molecules)
    assert saw(folder, *molecules) == [True] * 7 and len(load_seen(folder).molecules) == 7
