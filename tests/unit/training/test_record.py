import json

import numpy as np
import pytest
from datasets import Dataset

from spec2mol.chemistry_spec2mol import inchikey_block
from spec2mol.training import record
from spec2mol.training.record import digests, load_seen, record_stage


@pytest.fixture
def stage(tmp_path):
    """Trains nothing, but records: returns the folder."""

    def run(name, molecules, previous=(), recipe=()):
        folder, data = tmp_path / name, tmp_path / f"{name}.parquet"
        folder.mkdir()
        dataset = Dataset.from_dict({"smiles": molecules})
        dataset.to_parquet(data)
        record_stage(folder, previous, dict(recipe), {data: dataset})
        return folder

    return run


def saw(folder, *molecules):
    return load_seen(folder).saw([inchikey_block(smiles) for smiles in molecules])


def test_a_stage_is_recorded_with_its_data(stage, tmp_path):
    folder = stage("align", ["CCO", "OCC", "CCN"], recipe={"half": True})
    content = json.loads((folder / "training_record.json").read_text())
    (recorded,) = content["stages"]
    assert recorded["recipe"] == {"half": True}
    (data,) = recorded["data"]
    assert (data["file"], data["rows"], data["molecules"]) == ("align.parquet", 3, 2)
    assert len(data["sha256"]) == 64
    assert saw(folder, "OCC", "NCC", "CCC") == [True, True, False]


def test_the_stages_of_a_chain_accumulate(stage):
    language = stage("language", ["CCO", "CCN"])
    align = stage("align", ["CCN", "CCS"], previous=[str(language)])
    record = load_seen(align)
    assert [s["data"][0]["file"] for s in record.stages] == ["language.parquet", "align.parquet"]
    assert saw(align, "CCO", "CCN", "CCS", "CCC") == [True, True, True, False]
    assert len(record.molecules) == 3 and record.unrecorded == []


def test_weights_without_a_record_are_named_along_the_chain(stage, tmp_path):
    first = stage("first", ["CCO"], previous=[str(tmp_path / "official-dreams")])
    second = stage("second", ["CCN"], previous=[str(first)])
    assert load_seen(second).unrecorded == ["official-dreams"]


def test_no_record_is_none(tmp_path):
    assert load_seen(tmp_path) is None
    assert load_seen(tmp_path / "none") is None


def test_folders_of_this_machine_are_not_written(stage, tmp_path):
    recipe = {"model": {"from": str(tmp_path / "runs" / "language")}, "data": [str(tmp_path / "x.parquet"), "a/b"]}
    folder = stage("align", ["CCO"], recipe=recipe)
    assert load_seen(folder).stages[0]["recipe"] == {"model": {"from": "language"}, "data": ["x.parquet", "a/b"]}
    assert str(tmp_path) not in (folder / "training_record.json").read_text()


def test_digests_are_of_eight_bytes_and_stable():
    values = digests(["LFQSCWFLJHTTHZ", "QUSNBJAOOMFDIB"])
    assert values.dtype == np.uint64
    # First 8 bytes of BLAKE2b with that digest size, little-endian
    assert values[0] == 668605011609445829
    assert len(digests([])) == 0


def test_many_molecules_are_digested_in_processes(stage, monkeypatch):
    monkeypatch.setattr(record, "CHUNK", 2)
    molecules = ["C" * n for n in range(1, 8)]
    folder = stage("language", molecules)
    assert saw(folder, *molecules) == [True] * 7 and len(load_seen(folder).molecules) == 7
