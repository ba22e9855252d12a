"""train.py from recipe to a folder that predicts, on a handful of molecules."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
import torch
import yaml

from spec2mol import Spec2MolForConditionalGeneration, load_model
from spec2mol.chemistry_spec2mol import inchikey_block
from spec2mol.evaluation.fitting import save_ranking
from spec2mol.train import main
from spec2mol.training.record import load_seen
from tests import builders

ROOT = Path(__file__).parents[2]


@pytest.fixture
def data(tmp_path):
    rows = [
        spectrum | {"smiles": smiles, "identifier": str(i)}
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

    record = load_seen(tmp_path / "align")
    files = [[data["file"] for data in stage["data"]] for stage in record.stages]
    assert files == [["molecules.parquet"], ["data.parquet"]] and record.unknown == []
    assert record.saw([inchikey_block(smiles) for smiles in (*builders.MOLECULES, "CCC")]) == [True] * 4 + [False]


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
    save_ranking(tmp_path / "represent", {"order": {"likelihood": 1.0}}, [])
    (tmp_path / "align.yaml").write_text(yaml.safe_dump(align))
    main([str(tmp_path / "align.yaml"), "--output", str(tmp_path / "align"), "arguments.max_steps=2"])

    from safetensors.torch import load_file

    before, after = (load_file(tmp_path / stage / "model.safetensors") for stage in ("represent", "align"))
    assert before.keys() == after.keys()
    assert all((after[name] == weight).all() for name, weight in before.items() if name.startswith("model."))
    assert json.loads((tmp_path / "align/config.json").read_text())["ranking"] is None  # It was of other weights.


def test_lora_trains_saves_loads_and_merges(recipe, tmp_path):
    from peft import PeftModel

    main([str(recipe), "--output", str(tmp_path / "align")])
    content = yaml.safe_load(recipe.read_text())
    content["model"] = {"from": str(tmp_path / "align")}
    content["lora"] = {
        "r": 2,
        "target_modules": r".*language_model.*\.(q_proj|v_proj)",
        "modules_to_save": ["query_tokens", "language_projection"],
    }
    (tmp_path / "lora.yaml").write_text(yaml.safe_dump(content))
    arguments = [str(tmp_path / "lora.yaml"), "--output", str(tmp_path / "lora"), "arguments.bf16=false"]
    main(arguments)

    start = Spec2MolForConditionalGeneration.from_pretrained(tmp_path / "align").eval()
    merged, processor = load_model(tmp_path / "lora")
    before, after = start.state_dict(), merged.state_dict()
    changed = {name for name, weight in before.items() if not torch.equal(weight, after[name])}
    attention = "language_model.transformer.h.{}.attn.attention.{}.weight"
    assert changed == {
        "model.projector.query_tokens.weight",
        "model.projector.language_projection.weight",
        "model.projector.language_projection.bias",
        *(attention.format(layer, name) for layer in (0, 1) for name in ("q_proj", "v_proj")),
    }
    adapted = PeftModel.from_pretrained(start, tmp_path / "lora/adapter").eval()
    inputs = processor(spectra=builders.spectra(), molecules=builders.MOLECULES, return_tensors="pt")
    with torch.no_grad():
        torch.testing.assert_close(merged(**inputs).logits, adapted(**inputs).logits, atol=1e-5, rtol=0)

    # Stopped after three steps and gone on with.
    whole = losses(tmp_path / "lora", "checkpoint-6")
    shutil.rmtree(tmp_path / "lora/checkpoint-6")
    main([*arguments, "--resume"])
    assert losses(tmp_path / "lora", "checkpoint-6") == pytest.approx(whole, abs=1e-5)


def run_script(recipe, output, *overrides, launch=()):
    """train.py in a process of its own, or in several. In float32: bfloat16 rounds alike only by chance."""
    command = [
        *(launch or [sys.executable]),
        "train.py",
        recipe,
        "--output",
        output,
        "arguments.bf16=false",
        *overrides,
    ]
    return subprocess.Popen(command, cwd=ROOT, env=os.environ | {"OMP_NUM_THREADS": "1"})


def test_a_killed_run_goes_on_as_if_nothing_had_happened(recipe, tmp_path):
    """Augmentation and dropout of conditions draw random numbers at every step, over several epochs of four steps."""
    content = yaml.safe_load(recipe.read_text())
    content["augmentation"] = {"intensity_jitter": 1.0, "peak_dropout": 0.5}
    content["arguments"] |= {"max_steps": 60, "save_steps": 5}
    recipe.write_text(yaml.safe_dump(content))
    assert run_script(recipe, tmp_path / "whole").wait() == 0

    run = run_script(recipe, tmp_path / "killed")
    while run.poll() is None and not (tmp_path / "killed/checkpoint-10").exists():
        time.sleep(0.002)
    run.kill()  # SIGKILL
    assert run.wait() == -signal.SIGKILL
    assert not (tmp_path / "killed/checkpoint-60").exists()
    assert run_script(recipe, tmp_path / "killed", "--resume").wait() == 0
    expected = losses(tmp_path / "whole", "checkpoint-60")
    assert len(set(expected)) == 60
    assert losses(tmp_path / "killed", "checkpoint-60") == pytest.approx(expected, abs=1e-5)


def test_two_processes_or_accumulated_batches_are_one_large_batch(recipe, tmp_path):
    content = yaml.safe_load(recipe.read_text())
    del content["condition_dropout"]
    recipe.write_text(yaml.safe_dump(content))
    # accelerate's word for several processes on one machine, also without a GPU.
    two = ["accelerate", "launch", "--multi_gpu", "--num_processes=2", "--num_machines=1"]
    two += ["--mixed_precision=no", "--dynamo_backend=no", "--main_process_port=0"]
    half = "arguments.per_device_train_batch_size=4"
    runs = {
        "one": run_script(recipe, tmp_path / "one"),
        "two": run_script(recipe, tmp_path / "two", half, launch=two),
        "accumulated": run_script(recipe, tmp_path / "accumulated", half, "arguments.gradient_accumulation_steps=2"),
    }
    assert {name: run.wait() for name, run in runs.items()} == dict.fromkeys(runs, 0)
    expected = losses(tmp_path / "one", "checkpoint-6")
    assert expected[-1] < expected[0]
    for name in ("two", "accumulated"):
        assert losses(tmp_path / name, "checkpoint-6") == pytest.approx(expected, abs=1e-4), name


def test_logs_and_a_picture_lie_beside_the_model(recipe, tmp_path):
    main([str(recipe), "--output", str(tmp_path / "out"), "arguments.report_to=tensorboard"])
    assert list((tmp_path / "out").glob("runs/*/events.out.tfevents.*"))
    assert (tmp_path / "out/loss.png").exists()


@pytest.mark.parametrize("override", ["model.from=./no/such/stage", "data.train=nothing.parquet"])
def test_what_is_not_there_is_named(recipe, tmp_path, override, capsys):
    with pytest.raises(SystemExit):
        main([str(recipe), "--output", str(tmp_path / "out"), override])
    assert override.partition("=")[2] in capsys.readouterr().err


def test_script_and_module_give_help():
    for command in (["train.py"], ["-m", "spec2mol.train"]):
        done = subprocess.run([sys.executable, *command, "--help"], cwd=ROOT, capture_output=True, text=True)
        assert done.returncode == 0 and "recipe" in done.stdout
