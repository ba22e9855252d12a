import json
import shutil

import pytest

from spec2mol.cli.main import main
from spec2mol.loading import DEFAULT_MODEL, load_model
from tests import builders
from tests.unit.hub.test_cards import METRICS


@pytest.fixture
def info(capsys):
    def run(*args):
        code = main(["info", *map(str, args)])
        printed = capsys.readouterr()
        return code, printed.out + printed.err

    return run


def test_parts_and_parameters(model_folder, info):
    code, text = info(model_folder)
    model, _ = load_model(str(model_folder))
    assert code == 0
    assert f"{model.num_parameters():,}" in text
    assert f"{sum(p.numel() for p in model.model.encoder.parameters()):,}" in text
    assert "gpt_neo, 2 layers x 32" in text


def test_without_records_it_says_so(model_folder, info):
    _, text = info(model_folder)
    assert "Training: not recorded" in text
    assert "Licence of the weights: not known" in text
    assert "Figures: none recorded" in text


def test_training_licence_and_figures(model_folder, tmp_path, info):
    folder = shutil.copytree(model_folder, tmp_path / "model")
    builders.record_training(folder)
    (folder / "metrics.json").write_text(json.dumps(METRICS))
    _, text = info(folder)
    assert "60 steps x 4" in text and "train.parquet (MassBank)" in text
    assert "Seen in training: 4 molecules" in text
    assert "Licence of the weights: cc-by-sa-4.0" in text
    assert "2,993 spectra of val.parquet" in text and "0.250" in text
    assert "All figures: README.md" in text
    (folder / "README.md").write_text("---\nlicense: mit\n---\n")
    assert "Licence of the weights: mit" in info(folder)[1]


def test_the_shipped_model_is_the_default(info):
    code, text = info()
    assert code == 0 and DEFAULT_MODEL in text and "Licence of the weights: cc-by-sa-4.0" in text


def test_lora_weights_name_their_base(model_folder, tmp_path, info):
    adapter = {"base_model_name_or_path": str(model_folder), "r": 8, "target_modules": ["q_proj"]}
    (tmp_path / "adapter_config.json").write_text(json.dumps(adapter))
    code, text = info(tmp_path)
    assert code == 0 and f"LoRA weights of rank 8 for ['q_proj'] of {model_folder}" in text


@pytest.mark.parametrize("content", [None, {"model_type": "gpt_neo"}])
def test_no_model(tmp_path, content, info):
    if content:
        (tmp_path / "config.json").write_text(json.dumps(content))
    code, text = info(tmp_path)
    assert code == 2 and str(tmp_path) in text
