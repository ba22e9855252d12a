import gzip
import json

import pandas as pd
import pytest
from datasets import Dataset

from spec2mol.cli.main import main
from spec2mol.evaluation.metrics import exact_match
from spec2mol.hub.cards import read_metrics
from spec2mol.saving import save_for_hub
from spec2mol.training.record import record_stage
from tests import builders


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A model that answers its four spectra."""
    folder = tmp_path_factory.mktemp("model") / "tiny"
    save_for_hub(*builders.trained(steps=150), folder)
    return folder


@pytest.fixture
def data(tmp_path):
    path = tmp_path / "val.parquet"
    rows = zip(builders.spectra(), builders.MOLECULES, strict=True)
    pd.DataFrame(s | {"smiles": m, "identifier": str(i)} for i, (s, m) in enumerate(rows)).to_parquet(path)
    return path


@pytest.fixture
def train(tmp_path):
    path = tmp_path / "train.parquet"
    pd.DataFrame(
        s | {"smiles": m} for s, m in zip(builders.spectra(), ["CCC", "CCN", "CCS", "CCCC"], strict=True)
    ).to_parquet(path)
    return path


@pytest.fixture
def candidates(tmp_path):
    path = tmp_path / "candidates_val.json.gz"
    listed = {m: {"candidates": [m, "CCN"], "same_formula": [1, 0]} for m in builders.MOLECULES}
    with gzip.open(path, "wt") as file:
        json.dump(listed, file)
    return path


def evaluate(*args) -> int:
    return main(["evaluate", *map(str, args)])


def test_everything_in_one_run(folder, data, train, candidates, tmp_path, capsys):
    output, docs = tmp_path / "out", tmp_path / "results.md"
    options = ["--train", train, "--candidates", candidates, "--limit-per-molecule", 1, "--ablation", 3]
    assert evaluate("--model", folder, "--data", data, *options, "--output", output, "--docs", docs) == 0

    shown = capsys.readouterr().out
    assert "model less peaks removed" in shown and "4 spectra of 4 molecules, at most 1 of each" in shown
    metrics = json.loads((output / "metrics.json").read_text())
    assert metrics["spectra"] == 4 and "no training record" in metrics["training_record"]
    assert metrics["figures"]["formula"]["retrieval"]["chance@1"]["mean"] == 1  # the other has another formula
    queries = pd.read_parquet(output / "queries.parquet")
    assert set(queries.groupby(["track", "system"]).size()) == {4} and queries["system"].nunique() == 7
    of_model = queries[(queries["track"] == "mass") & (queries["system"] == "model")]
    first = [answers[0] if len(answers) else None for answers in of_model["answers"]]
    right = [exact_match(answer, smiles) for answer, smiles in zip(first, of_model["smiles"], strict=True)]
    assert metrics["figures"]["mass"]["model"]["exact_match@1"]["mean"] == sum(right) / 4
    assert "not fitted" in metrics["ranking"] and metrics["calibration"] == {"mass": {}, "formula": {}}
    assert metrics["ablation"]["mass"]["beams, free"]["tanimoto@1"]["mean"] > 0
    assert metrics["seconds_per_spectrum"]["mass"] > 0 and read_metrics(output)["spectra"] == 4
    assert (output / "tanimoto_mass.png").exists()

    written = docs.read_text()
    assert "## tiny, val, track mass" in written and "## tiny, val, track formula" in written
    assert (
        f"--track formula --train {train} --candidates {candidates} --limit-per-molecule 1 --ablation 3\n" in written
    )
    assert written.count("Steps to the answers, 3 spectra of 3 molecules") == 2
    assert evaluate("--model", folder, "--data", data, "--track", "mass", "--docs", docs) == 0
    assert docs.read_text().count("## tiny, val, track mass") == 1
    assert "library search" in docs.read_text().split("## tiny, val, track formula")[1]


def test_a_leak_stops_the_command(folder, data, tmp_path, capsys):
    dataset = Dataset.from_dict({"smiles": ["OCC"]})
    dataset.to_parquet(tmp_path / "seen.parquet")
    record_stage(folder, [], {}, tmp_path / "seen.parquet", dataset)
    try:
        assert evaluate("--model", folder, "--data", data) == 2
    finally:
        for name in ("training_record.json", "training_molecules.safetensors"):
            (folder / name).unlink()
    assert "was trained on 1 of these 4 molecules, such as CCO" in capsys.readouterr().err


def test_library_with_a_molecule_of_the_data(folder, data, capsys):
    assert evaluate("--model", folder, "--data", data, "--train", data) == 2
    assert "4 molecules are in both --data and --train" in capsys.readouterr().err


def test_a_model_without_text_branch_ranks_candidates_by_what_it_has(data, candidates, tmp_path, capsys):
    model, processor = builders.model(projector={"use_qformer_text_input": False}), builders.processor()
    inputs = processor(spectra=builders.spectra(), molecules=builders.MOLECULES, return_tensors="pt")
    builders.train(model, inputs, steps=30)
    save_for_hub(model, processor, tmp_path / "model")
    args = ["--model", tmp_path / "model", "--data", data, "--candidates", candidates, "--track", "mass"]
    assert evaluate(*args) == 0
    printed = capsys.readouterr().out
    assert "likely formula" in printed and "ITC" not in printed


def test_a_language_model_alone(data, tmp_path, capsys):
    model = builders.model(encoder=None, projector=None, condition_config=None)
    save_for_hub(model, builders.processor(), tmp_path / "model")
    assert evaluate("--model", tmp_path / "model", "--data", data) == 2
    assert "without a spectrum encoder" in capsys.readouterr().err


def test_impossible_numbers_and_missing_files(folder, data, tmp_path, capsys):
    assert evaluate("--model", folder, "--data", data, "--limit-per-molecule", 0) == 2
    assert "at least 1" in capsys.readouterr().err
    assert evaluate("--model", folder, "--data", tmp_path / "none.parquet") == 2
    assert "none.parquet" in capsys.readouterr().err
