import json

import pytest
import torch
from transformers import AutoConfig

from spec2mol import ConditionConfig, DreamsConfig, Spec2MolConfig, Spec2MolForConditionalGeneration
from spec2mol.chemistry_spec2mol import ADDUCTS
from spec2mol.feature_extraction_spec2mol import ELEMENTS, INSTRUMENT_TYPES, ION_MODES
from tests import builders

SPECIAL_IDS = {"bos_token_id": 2, "eos_token_id": 3, "pad_token_id": 1}


def test_defaults_describe_the_full_system():
    config = Spec2MolConfig()
    encoder, projector, language_model = config.encoder_config, config.projector_config, config.text_config
    assert (encoder.model_type, encoder.num_hidden_layers, encoder.hidden_size) == ("dreams", 7, 1024)
    assert (encoder.num_attention_heads, encoder.intermediate_size, encoder.num_peaks) == (8, 4096, 60)
    assert (projector.model_type, projector.num_hidden_layers, projector.hidden_size) == ("blip_2_qformer", 12, 768)
    assert (config.num_query_tokens, projector.cross_attention_frequency) == (32, 2)
    assert projector.use_qformer_text_input
    assert (language_model.model_type, language_model.num_layers, language_model.hidden_size) == ("gpt_neo", 24, 128)
    assert config.condition_config.model_type == "spec2mol_conditions"
    assert config.soft_token_id == 4


def test_the_default_system_can_be_built():
    with torch.device("meta"):
        model = Spec2MolForConditionalGeneration(Spec2MolConfig())
    assert 90e6 < model.model.encoder.num_parameters() < 100e6
    reads_spectrum = [layer.has_cross_attention for layer in model.model.projector.qformer.encoder.layer]
    assert reads_spectrum == [True, False] * 6
    assert model.model.projector.query_tokens.weight.shape == (32, 768)
    assert model.language_model.num_parameters() == 5_099_264  # of which 4.7M in its layers


def test_default_language_model_is_the_published_one_but_for_its_special_ids(shared):
    published = json.loads((shared / "fixtures/chemgpt/config.json").read_text())
    ours = Spec2MolConfig().text_config.to_dict()
    shape = (published.keys() & ours.keys()) - {*SPECIAL_IDS, "architectures", "dtype", "transformers_version"}
    assert {"vocab_size", "hidden_size", "num_layers", "num_heads", "attention_layers", "window_size"} <= shape
    assert {name: ours[name] for name in shape} == {name: published[name] for name in shape}
    assert {name: ours[name] for name in SPECIAL_IDS} == SPECIAL_IDS
    assert published["eos_token_id"] >= published["vocab_size"]  # Why it is not taken over.


@pytest.mark.parametrize(
    "config",
    [
        Spec2MolConfig(),
        builders.config(num_query_tokens=7),
        builders.config(condition_config=None),
        builders.config(projector={"use_qformer_text_input": False}),
        builders.text_only_config(),
        builders.conformer_config(contrast_temperature=0.1, normalize_encoder=True),
        builders.graph_config(projector={"share_level_attention": True}),
    ],
    ids=["default", "tiny", "without-conditions", "without-text-branch", "text-only", "conformers", "graphs"],
)
def test_round_trip(config, tmp_path):
    config.save_pretrained(tmp_path)
    for loaded in (Spec2MolConfig.from_pretrained(tmp_path), AutoConfig.from_pretrained(tmp_path)):
        assert type(loaded) is Spec2MolConfig
        assert loaded.to_dict() | {"_name_or_path": ""} == config.to_dict()
        for part in ("encoder_config", "condition_config", "projector_config", "text_config"):
            assert type(getattr(loaded, part)) is type(getattr(config, part))


def test_parts_may_be_absent():
    config = builders.text_only_config()
    assert (config.encoder_config, config.projector_config, config.condition_config) == (None, None, None)
    assert builders.config(condition_config=None).condition_config is None


@pytest.mark.parametrize("absent", [["encoder_config"], ["encoder_config", "projector_config"], ["projector_config"]])
def test_wrong_combinations_are_refused(absent):
    with pytest.raises(ValueError, match="encoder_config"):
        Spec2MolConfig(**dict.fromkeys(absent))


def test_sizes_that_follow_from_other_parts():
    config = builders.config(
        encoder={"peak_hidden_size": 10, "fourier_hidden_size": 30},
        language_model={"vocab_size": 77, "pad_token_id": 5},
    )
    assert config.encoder_config.hidden_size == 40
    assert config.encoder_config.intermediate_size == 160
    assert config.projector_config.encoder_hidden_size == 40
    assert config.projector_config.vocab_size == 77
    assert config.projector_config.pad_token_id == 5


def test_any_causal_language_model_will_do():
    config = builders.config(language_model={"model_type": "gpt2", "hidden_size": 48})
    assert config.text_config.model_type == "gpt2"
    assert Spec2MolForConditionalGeneration(config).model.projector.language_projection.out_features == 48


def test_condition_vocabularies_hold_all_words_of_the_feature_extractor():
    config = ConditionConfig()
    assert config.num_adducts > len(ADDUCTS)
    assert config.num_ion_modes > len(ION_MODES)
    assert config.num_instrument_types > len(INSTRUMENT_TYPES)
    assert config.num_elements == len(ELEMENTS)


def test_unknown_model_type_is_an_error():
    with pytest.raises(ValueError, match="no_such_encoder"):
        Spec2MolConfig(encoder_config={"model_type": "no_such_encoder"})


def test_integers_pass_for_floats():
    assert DreamsConfig(max_mz=1500, hidden_dropout_prob=0).max_mz == 1500
