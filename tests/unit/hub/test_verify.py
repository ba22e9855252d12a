"""A folder that is not right is refused, and the message names the file."""

import json
import shutil

import pytest
from safetensors.torch import load_file, save_file

from spec2mol.hub.verify import VerificationError, verify

REPO = "someone/spec2mol-tiny"


@pytest.fixture
def staged(saved, tmp_path):
    """A copy to spoil."""
    return shutil.copytree(saved[0], tmp_path / "staged")


def edit_json(path, change):
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def refused(staged, saved):
    with pytest.raises(VerificationError) as error:
        verify(staged, REPO, saved[1])
    return str(error.value)


def test_code_that_other_code_needs_is_missing(staged, saved):
    (staged / "modeling_qformer.py").unlink()
    assert refused(staged, saved) == "modeling_qformer.py: missing, but needed by modeling_spec2mol.py"


def test_auto_map_is_not_whole(staged, saved):
    edit_json(staged / "config.json", lambda config: config["auto_map"].pop("AutoModelForCausalLM"))
    assert refused(staged, saved) == "config.json: its auto_map lacks AutoModelForCausalLM"


def test_config_is_cut_short(staged, saved):
    (staged / "config.json").write_text((staged / "config.json").read_text()[:100])
    assert refused(staged, saved).startswith("config.json: ")


def test_answers_would_be_cut_short(staged, saved):
    edit_json(staged / "generation_config.json", lambda config: config.pop("max_new_tokens"))
    assert refused(staged, saved).startswith("generation_config.json: it lacks max_new_tokens")


def test_weights_are_cut_short(staged, saved):
    (staged / "model.safetensors").write_bytes((staged / "model.safetensors").read_bytes()[:-100])
    assert refused(staged, saved).startswith("model.safetensors: damaged")


def test_weights_are_missing(staged, saved):
    (staged / "model.safetensors").unlink()
    assert refused(staged, saved).startswith("model.safetensors: not in ")


def test_one_weight_is_missing(staged, saved):
    weights = load_file(staged / "model.safetensors")
    del weights["model.encoder.norm.weight"]
    save_file(weights, staged / "model.safetensors", metadata={"format": "pt"})
    assert refused(staged, saved) == (
        "model.safetensors: AutoModelForCausalLM finds no weights for model.encoder.norm.weight"
    )


def test_one_weight_is_another(staged, saved):
    weights = load_file(staged / "model.safetensors")
    weights["language_model.transformer.ln_f.weight"] *= 1.01
    save_file(weights, staged / "model.safetensors", metadata={"format": "pt"})
    assert refused(staged, saved).startswith("model.safetensors: logits differ by up to ")


def test_symbols_have_other_ids(staged, saved):
    def swap(content):
        vocabulary = content["model"]["vocab"]
        vocabulary["[C]"], vocabulary["[N]"] = vocabulary["[N]"], vocabulary["[C]"]

    edit_json(staged / "tokenizer.json", swap)
    assert refused(staged, saved).startswith("tokenizer.json: examples ")


def test_code_imports_spec2mol(staged, saved):
    path = staged / "modeling_conditions.py"
    path.write_text("import spec2mol\n" + path.read_text())
    assert refused(staged, saved) == "modeling_conditions.py: imports spec2mol, which a stranger does not have"


def test_code_fails_where_it_is_loaded(staged, saved):
    path = staged / "modeling_conditions.py"
    path.write_text(path.read_text() + "\nraise RuntimeError('not here')\n")
    assert refused(staged, saved) == ("modeling_conditions.py: AutoModelForCausalLM cannot be loaded (not here)")
