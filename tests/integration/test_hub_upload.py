"""hub_upload.py against a Hub on the loopback interface: huggingface_hub itself runs, and what arrives is loaded."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from huggingface_hub import ModelCard, snapshot_download
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file

from spec2mol import Spec2MolForConditionalGeneration, hub_upload, load_model, load_spectra
from spec2mol.hub.staging import stage
from spec2mol.hub.verify import expect, run_fresh_process
from spec2mol.saving import save_for_hub
from tests import builders
from tests.hub_server import LFS_FROM, TOKEN, Hub

ROOT = Path(__file__).parents[2]
REPO = "someone/spec2mol-tiny"
CARD = "---\nlicense: cc-by-4.0\n---\n# A card by hand\n"


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder as train.py leaves it, with what must not travel."""
    folder = tmp_path_factory.mktemp("trained")
    save_for_hub(builders.model(), builders.processor(), folder, half=True)
    builders.record_training(folder)
    (folder / "checkpoint-60").mkdir()
    (folder / "checkpoint-60" / "optimizer.pt").write_bytes(b"state of the optimizer")
    (folder / "training_args.bin").write_bytes(b"a pickle")
    return folder


@pytest.fixture
def staged(tmp_path):
    """Enough for an upload; that it would not load is not the Hub's business."""
    folder = tmp_path / "staged"
    folder.mkdir()
    (folder / "README.md").write_text(CARD)
    (folder / "modeling_spec2mol.py").write_text("# code")
    (folder / "model.safetensors").write_bytes(os.urandom(LFS_FROM))
    return folder


def test_what_arrives_loads_and_answers_as_the_source(trained, tmp_path):
    environment = {"HF_HOME": str(tmp_path / "home"), "HF_TOKEN": TOKEN, "HF_HUB_DISABLE_XET": "1"}
    with Hub() as hub:
        done = subprocess.run(
            [sys.executable, ROOT / "hub_upload.py", trained, REPO, "--message", "First"],
            cwd=tmp_path,
            env=os.environ | environment | {"HF_ENDPOINT": hub.endpoint},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        assert hub.repositories[REPO]["private"]
        assert hub.repositories[REPO]["commits"] == [("main", "First")]
        assert done.stdout.splitlines()[-1].startswith(f"{hub.endpoint}/{REPO}/commit/")
        cache = tmp_path / "download" / "cache"
        snapshot = Path(snapshot_download(REPO, endpoint=hub.endpoint, token=TOKEN, cache_dir=cache))

    code = {path.name for path in trained.glob("*.py")}
    assert {path.name for path in snapshot.iterdir()} == code | {
        ".gitattributes",
        "LICENSE",
        "README.md",
        "config.json",
        "generation_config.json",
        "model.safetensors",
        "processor_config.json",
        "tokenizer.json",
        "tokenizer_config.json",
        "training_molecules.safetensors",
        "training_record.json",
    }
    assert (snapshot / "model.safetensors").stat().st_size >= LFS_FROM  # so that it came by LFS
    ours, theirs = (load_file(folder / "model.safetensors") for folder in (trained, snapshot))
    assert all(torch.equal(theirs[name], weight) and weight.dtype == torch.float16 for name, weight in ours.items())
    assert ModelCard.load(snapshot / "README.md").data.license == "cc-by-sa-4.0"
    expected = expect(*load_model(str(trained)), list(load_spectra(hub_upload.EXAMPLES)))
    assert run_fresh_process(REPO, expected, tmp_path / "download").startswith("the same without spec2mol")


def test_lora_weights_are_merged(trained, tmp_path):
    base = Spec2MolForConditionalGeneration.from_pretrained(trained)
    target = r"language_model.*\.(q_proj|v_proj)|model\.projector\.qformer.*\.query"
    adapted = get_peft_model(base, LoraConfig(r=2, target_modules=target, init_lora_weights=False))
    adapted.peft_config["default"].base_model_name_or_path = str(trained)
    adapted.save_pretrained(tmp_path / "lora")

    staged = tmp_path / "staged"
    arguments = [str(tmp_path / "lora"), REPO, "--license", "cc-by-4.0", "--dry-run", "--staged", str(staged)]
    assert hub_upload.main(arguments) == 0
    inputs = builders.processor()(spectra=builders.spectra(), molecules=builders.MOLECULES, return_tensors="pt")
    with torch.no_grad():
        ours = adapted.eval()(**inputs).logits
        theirs = load_model(str(staged))[0](**inputs).logits
        without = load_model(str(trained))[0](**inputs).logits
    torch.testing.assert_close(theirs, ours, atol=1e-5, rtol=1e-5)
    assert (theirs - without).abs().max() > 0.1
    assert not list(staged.glob("adapter*"))


def test_answers_are_not_cut_at_the_default_of_transformers(trained, tmp_path):
    folder = shutil.copytree(trained, tmp_path / "copy")
    generation = json.loads((folder / "generation_config.json").read_text())
    assert generation.pop("max_new_tokens") == 59
    (folder / "generation_config.json").write_text(json.dumps(generation))
    stage(folder, tmp_path / "staged", REPO)
    assert load_model(str(tmp_path / "staged"))[0].generation_config.max_new_tokens == 59


def test_a_failed_check_uploads_nothing(hub, trained, monkeypatch, capsys):
    def stage_and_spoil(folder, target, *args):
        stage(folder, target, *args)
        (target / "modeling_qformer.py").unlink()

    monkeypatch.setattr(hub_upload, "stage", stage_and_spoil)
    assert hub_upload.main([str(trained), REPO]) == 2
    message = capsys.readouterr().err
    assert "error: modeling_qformer.py: missing" in message and "nothing uploaded, the staged folder is" in message
    assert hub.requests == [("GET", "/api/whoami-v2")]
    shutil.rmtree(message.split()[-1])


def test_a_card_that_the_hub_would_refuse(hub, trained, tmp_path, capsys):
    folder = shutil.copytree(trained, tmp_path / "copy")
    (folder / "README.md").write_text("---\ntags: [chemistry]\n---\nBy hand, without licence\n")
    assert hub_upload.main([str(folder), REPO]) == 2
    assert capsys.readouterr().err.endswith(f"{folder}/README.md: its metadata name no license\n")
    assert hub.requests == [("GET", "/api/whoami-v2")]


@pytest.mark.parametrize(
    ("folder", "repo_id", "message"),
    [
        ("nowhere", REPO, "nowhere: no such folder"),
        (".", "no-organisation", "no-organisation: the repository is ORG/NAME"),
        (".", "a/b/c", "Repo id must"),
    ],
)
def test_wrong_arguments(folder, repo_id, message, capsys):
    assert hub_upload.main([folder, repo_id]) == 2
    assert message in capsys.readouterr().err


def test_a_folder_that_is_not_empty_is_not_staged_in(trained, tmp_path, capsys):
    (tmp_path / "mine").touch()
    assert hub_upload.main([str(trained), REPO, "--dry-run", "--staged", str(tmp_path)]) == 2
    assert f"{tmp_path} is not empty" in capsys.readouterr().err
    assert (tmp_path / "mine").exists()


def test_not_logged_in(hub, trained, monkeypatch, capsys):
    monkeypatch.delenv("HF_TOKEN")
    assert hub_upload.main([str(trained), REPO]) == 2
    assert "hf auth login" in capsys.readouterr().err
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    assert hub_upload.main([str(trained), REPO]) == 2
    assert capsys.readouterr().err.startswith("hub_upload: error: ")


def test_hub_does_not_answer(hub, trained, monkeypatch, capsys):
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    assert hub_upload.main([str(trained), REPO]) == 2
    assert capsys.readouterr().err.startswith("hub_upload: error: http://127.0.0.1:9: ")


def test_public_and_on_a_branch(hub, staged):
    hub_upload.upload(staged, REPO, public=True, revision="v2", message="Second")
    assert not hub.repositories[REPO]["private"]
    assert hub.repositories[REPO]["commits"] == [("v2", "Second")]
    assert hub.files(REPO, "v2")["model.safetensors"] == (staged / "model.safetensors").read_bytes()
    assert hub.files(REPO).keys() == {".gitattributes"}


def test_nothing_of_an_earlier_upload_can_be_loaded_instead(hub, staged):
    hub_upload.upload(staged, REPO, public=False, revision=None, message="First")
    earlier = ["model-00001-of-00002.safetensors", "model.safetensors.index.json", "adapter_config.json", "old.py"]
    hub.files(REPO).update(dict.fromkeys([*earlier, "figure.png"], b"old"))
    hub_upload.upload(staged, REPO, public=False, revision=None, message="Second")
    assert hub.files(REPO).keys() == {
        ".gitattributes",
        "README.md",
        "figure.png",
        "model.safetensors",
        "modeling_spec2mol.py",
    }


@pytest.mark.parametrize("refused", ["POST /api/repos/create", "PUT /lfs/", "POST .*/commit/main"])
def test_the_hub_refuses(hub, staged, refused):
    hub.refused.append(refused)
    with pytest.raises(OSError, match="403"):
        hub_upload.upload(staged, REPO, public=False, revision=None, message="First")
    assert "model.safetensors" not in hub.repositories.get(REPO, {"branches": {"main": {}}})["branches"]["main"]
