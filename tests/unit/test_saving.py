import torch
from safetensors.torch import load_file

from spec2mol import FragmentationConfig, Spec2MolConfig, Spec2MolForConditionalGeneration
from spec2mol.saving import is_half, save_for_hub
from tests import builders


def test_half_stores_float16_once_and_loads_as_float32(tmp_path):
    model = builders.model()
    save_for_hub(model, builders.processor(), tmp_path, half=True)
    stored = load_file(tmp_path / "model.safetensors")
    assert {weight.dtype for weight in stored.values()} == {torch.float16}
    assert "language_model.lm_head.weight" not in stored  # tied to the embedding
    loaded = Spec2MolForConditionalGeneration.from_pretrained(tmp_path)
    assert {weight.dtype for weight in loaded.parameters()} == {torch.float32}
    for name, weight in model.state_dict().items():
        torch.testing.assert_close(loaded.state_dict()[name], weight.half().float(), rtol=0, atol=0)


def test_the_model_itself_is_left_alone(tmp_path):
    model = builders.model()
    save_for_hub(model, builders.processor(), tmp_path, half=True)
    assert {weight.dtype for weight in model.parameters()} == {torch.float32}


def test_integers_stay_what_they_are(tmp_path):
    """The masses that the fragmentation model looks up."""
    model = builders.with_fragmentation(builders.model())
    save_for_hub(model, builders.processor(), tmp_path, half=True)
    loaded = Spec2MolForConditionalGeneration.from_pretrained(tmp_path).model.fragmentation
    torch.testing.assert_close(loaded.ions, model.model.fragmentation.ions, rtol=0, atol=0)
    torch.testing.assert_close(loaded.losses, model.model.fragmentation.losses, rtol=0, atol=0)


def test_without_weights_a_fragmentation_model_is_untrained(tmp_path):
    save_for_hub(builders.model(), builders.processor(), tmp_path)
    config = Spec2MolConfig.from_pretrained(tmp_path)
    config.fragmentation_config = FragmentationConfig()
    loaded = Spec2MolForConditionalGeneration.from_pretrained(tmp_path, config=config)
    assert loaded.model.fragmentation.is_untrained


def test_is_half(tmp_path):
    for half in (True, False):
        model = builders.with_fragmentation(builders.model())  # which has integers too
        save_for_hub(model, builders.processor(), tmp_path / str(half), half=half)
        assert is_half(tmp_path / str(half)) == half
