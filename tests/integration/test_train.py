"""train.py from recipe to a folder that predicts, on a handful of molecules."""

import json
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import yaml

from spec2mol.train import main
from tests import builders

ROOT = Path(__file__).parents[2]


@pytest.fixture
def data(tmp_path):
    rows = [
        spectrum | {"smiles": smiles, "inchikey": smiles, "identifier": str(i)}
        for i, (spectrum, smiles) in enumerate(zip(builders.spectra(), builders.MOLECULES, strict=True))
    ]
    path = tmp_path / "data.parquet"
    pd.DataFrame(rows * 8).to_parquet(path)
    builders.tokenizer().save_pretrained(tmp_path / "tokenizer")
    return path


@pytest.fixture
def recipe(tmp_path, data):
    config = {
        "encoder_config": builders.ENCODER,
        "projector_config": builders.PROJECTOR,
        "text_config": builders.LANGUAGE_MODEL,
        "num_query_tokens": builders.NUM_QUERIES,
    }
    content = {
        "stage": "align",
        "model": {"tokenizer": str(tmp_path / "tokenizer"), "config": config, "feature_extractor": {"num_peaks": 8}},
        "data": {"train": str(data), "validation": str(data), "validation_limit": 4},
        "condition_dropout": {"formula": 0.5},
        "arguments": {
            "max_steps": 6,
            "per_device_train_batch_size": 8,
            "learning_rate": 5e-3,
            "logging_steps": 1,
            "save_steps": 3,
            "report_to": "none",
            "disable_tqdm": True,
            "bf16": True,
        },
    }
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


def losses(folder, checkpoint):
    history = json.loads((folder / checkpoint / "trainer_state.json").read_text())["log_history"]
    return [entry["loss"] for entry in history if "loss" in entry]


def test_align_trains_saves_and_resumes(recipe, tmp_path):
    whole, resumed = tmp_path / "whole", tmp_path / "resumed"
    exact = "arguments.bf16=false"  # bfloat16 rounds alike only where memory happens to be aligned alike
    main([str(recipe), "--output", str(whole), exact])
    assert losses(whole, "checkpoint-6")[-1] < losses(whole, "checkpoint-6")[0]

    # The same run, stopped after three steps and gone on with: the schedule is that of six.
    (resumed / "checkpoint-3").parent.mkdir()
    (whole / "checkpoint-3").rename(resumed / "checkpoint-3")
    main([str(recipe), "--output", str(resumed), "--resume", exact])
    assert losses(resumed, "checkpoint-6") == pytest.approx(losses(whole, "checkpoint-6"), abs=1e-5)

    from transformers import AutoModelForCausalLM, AutoProcessor

    model, processor = AutoModelForCausalLM.from_pretrained(whole), AutoProcessor.from_pretrained(whole)
    ids = model.generate(**processor(spectra=builders.spectra(), return_tensors="pt"), max_new_tokens=5)
    assert len(processor.decode_molecules(ids)) == 4
    assert (whole / "modeling_spec2mol.py").exists()


def test_language_stage_starts_align(recipe, tmp_path, data):
    text_only = yaml.safe_load(recipe.read_text())
    config = text_only["model"]["config"]
    text_only["model"]["config"] = config | dict.fromkeys(("encoder_config", "condition_config", "projector_config"))
    pd.DataFrame({"smiles": list(builders.MOLECULES) * 8}).to_parquet(tmp_path / "molecules.parquet")
    text_only["data"]["train"] = text_only["data"]["validation"] = str(tmp_path / "molecules.parquet")
    text_only["condition_dropout"] = {}
    (tmp_path / "language.yaml").write_text(yaml.safe_dump(text_only))
    main([str(tmp_path / "language.yaml"), "--output", str(tmp_path / "language")])

    align = yaml.safe_load(recipe.read_text())
    del config["text_config"]
    align["model"] = {"from": str(tmp_path / "language"), "config": config | {"condition_config": {}}}
    align["trainable"] = ["model.*"]
    (tmp_path / "align.yaml").write_text(yaml.safe_dump(align))
    main([str(tmp_path / "align.yaml"), "--output", str(tmp_path / "align"), "arguments.max_steps=2"])

    from safetensors.torch import load_file

    before, after = (load_file(tmp_path / stage / "model.safetensors") for stage in ("language", "align"))
    assert all((after[name] == weight).all() for name, weight in before.items())  # the decoder, frozen
    assert any(name.startswith("model.encoder") for name in after)


def test_represent_leaves_a_whole_model_for_align(recipe, tmp_path):
    represent = yaml.safe_load(recipe.read_text())
    represent["stage"] = "represent"
    represent["model"]["config"]["structure_config"] = {"fingerprint_size": 64, "hidden_size": 16}
    represent["augmentation"] = {"mz_noise": 5.0, "peak_dropout": 0.1}
    (tmp_path / "represent.yaml").write_text(yaml.safe_dump(represent))
    main([str(tmp_path / "represent.yaml"), "--output", str(tmp_path / "represent")])
    history = json.loads((tmp_path / "represent/checkpoint-6/trainer_state.json").read_text())["log_history"]
    parts = ("contrast_loss", "matching_loss", "generation_loss", "structure_loss")
    assert history[0]["loss"] == pytest.approx(sum(history[0][part] for part in parts), rel=1e-2)  # logged in bfloat16

    align = yaml.safe_load(recipe.read_text())
    align["model"] = {"from": str(tmp_path / "represent")}
    align["trainable"] = ["language_model.*"]
    (tmp_path / "align.yaml").write_text(yaml.safe_dump(align))
    main([str(tmp_path / "align.yaml"), "--output", str(tmp_path / "align"), "arguments.max_steps=2"])

    from safetensors.torch import load_file

    before, after = (load_file(tmp_path / stage / "model.safetensors") for stage in ("represent", "align"))
    assert before.keys() == after.keys()
    assert all((after[name] == weight).all() for name, weight in before.items() if name.startswith("model."))


def test_script_and_module_give_help():
    for command in (["train.py"], ["-m", "spec2mol.train"]):
        done = subprocess.run([sys.executable, *command, "--help"], cwd=ROOT, capture_output=True, text=True)
        assert done.returncode == 0 and "recipe" in done.stdout
