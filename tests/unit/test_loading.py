import json
import shutil

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file

from spec2mol.loading import load_model, require_model
from spec2mol.saving import save_for_hub
from tests import builders


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    folder = tmp_path_factory.mktemp("base")
    save_for_hub(builders.model(), builders.processor(), folder)
    return folder


@pytest.fixture
def adapter(base, tmp_path):
    """LoRA weights that change the answers, in the decoder and the query tokens, as PEFT saves them."""
    config = LoraConfig(
        r=2,
        target_modules=r"language_model.*\.(q_proj|v_proj)",
        modules_to_save=["query_tokens"],
        init_lora_weights=False,
    )
    adapted = get_peft_model(load_model(str(base))[0], config)
    with torch.no_grad():
        for name, parameter in adapted.named_parameters():
            if "modules_to_save" in name:
                parameter += 1
    adapted.save_pretrained(tmp_path / "adapter")
    return tmp_path / "adapter"


def logits(model, processor):
    with torch.no_grad():
        return model(**processor(spectra=builders.spectra(), molecules=builders.MOLECULES, return_tensors="pt")).logits


def test_a_folder_of_lora_weights_is_its_base_with_them(base, adapter):
    plain, merged = load_model(str(base)), load_model(str(adapter))
    beside = load_model(str(adapter), merge=False)
    assert (logits(*merged) - logits(*plain)).abs().max() > 0.1
    torch.testing.assert_close(logits(*merged), logits(*beside), atol=1e-5, rtol=1e-5)
    assert merged[0].state_dict().keys() == plain[0].state_dict().keys()
    assert any("lora" in name for name in beside[0].state_dict())
    assert not merged[0].training
    as_peft = PeftModel.from_pretrained(load_model(str(base))[0], adapter).eval()
    torch.testing.assert_close(logits(as_peft, beside[1]), logits(*beside))


def test_a_base_model_that_is_not_there(adapter):
    path = adapter / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"base_model_name_or_path": "runs/nowhere"}))
    with pytest.raises(ValueError, match="adapter_config.json names its base model: runs/nowhere"):
        load_model(str(adapter))


def test_lora_weights_of_another_model(adapter):
    path = adapter / "adapter_model.safetensors"
    save_file({name: weight[:1].clone() for name, weight in load_file(path).items()}, path)
    with pytest.raises(ValueError, match="LoRA weights do not fit"):
        load_model(str(adapter))


def test_weights_that_are_not_there_are_not_made_up(base, tmp_path):
    folder = shutil.copytree(base, tmp_path / "copy")
    weights = load_file(folder / "model.safetensors")
    kept = {name: weight for name, weight in weights.items() if not name.startswith("language_model.")}
    save_file(kept, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ValueError, match="no weights for language_model"):
        load_model(str(folder))


@pytest.mark.parametrize("name", ["no/such/folder", "nobody/none-such"])
def test_what_is_not_there_is_said_at_once(name, tmp_path):
    """The second asks the Hub: unreachable or reached, there is none."""
    with pytest.raises(FileNotFoundError, match=f"{name}: no such folder, and not from the Hub"):
        require_model(name)
    require_model(str(tmp_path))
