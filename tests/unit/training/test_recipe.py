from pathlib import Path

import pytest
import torch
import yaml
from transformers import TrainingArguments

from spec2mol import DreamsConfig, Spec2MolConfig
from spec2mol.data.tasks import read_tasks
from spec2mol.data.text_tokenizer import build_text_tokenizer
from spec2mol.feature_extraction_spec2mol import CONDITIONS
from spec2mol.modeling_dreams import DreamsForSequenceClassification
from spec2mol.saving import save_for_hub
from spec2mol.training.recipe import ENCODER_STAGES, Recipe
from tests import builders

RECIPES = sorted((Path(__file__).parents[3] / "recipes").glob("*.yaml"))


@pytest.fixture
def recipe(tmp_path):
    path = tmp_path / "recipe.yaml"
    path.write_text(
        yaml.safe_dump({"stage": "align", "model": {}, "data": {}, "arguments": {"max_steps": 5, "seed": 1}})
    )
    return path


def test_overrides_replace_single_values(recipe):
    loaded = Recipe.load(recipe, ["arguments.max_steps=7", "model.config.num_query_tokens=3", "trainable=[a, b]"])
    assert loaded.arguments == {"max_steps": 7, "seed": 1}
    assert loaded.model == {"config": {"num_query_tokens": 3}}
    assert loaded.trainable == ["a", "b"]


def test_rates_need_no_point(recipe):
    loaded = Recipe.load(recipe, ["arguments={learning_rate: 4e-3, run_name: e3, max_steps: 5}"])
    assert loaded.arguments == {"learning_rate": 4e-3, "run_name": "e3", "max_steps": 5}
    assert Recipe.load(recipe, ["epoch_decay=9e-1", "data.near_mass=1e-1"]).epoch_decay == 0.9


def test_an_override_needs_a_value(recipe):
    with pytest.raises(ValueError, match="key.subkey=value"):
        Recipe.load(recipe, ["arguments.max_steps"])


def test_null_takes_a_key_away(recipe):
    """But fields of a config may be null: of an encoder, that there is none."""
    keys = ["model.encoder=runs/a", "lora.r=4", "data.max_tokens=5", "augmentation.mz_noise=1"]
    nulls = ["model.encoder=null", "lora=null", "data.max_tokens=null", "augmentation.mz_noise=null"]
    loaded = Recipe.load(recipe, [*keys, *nulls, "model.config.encoder_config=null", "arguments.report_to=null"])
    assert loaded.model == {"config": {"encoder_config": None}} and loaded.sources == []
    assert (loaded.lora, loaded.data, loaded.augmentation) == (None, {}, {})
    assert loaded.arguments["report_to"] is None


def test_unknown_stages_are_an_error(recipe):
    with pytest.raises(ValueError, match="stage is 'allign'; there are .*align"):
        Recipe.load(recipe, ["stage=allign"])


def test_lora_says_itself_what_is_trained(recipe):
    with pytest.raises(ValueError, match="lora.modules_to_save, not trainable"):
        Recipe.load(recipe, ["lora.r=4", "trainable=[model.*]"])


@pytest.mark.parametrize("overrides", [["stage=instruct"], ["tasks={}"]], ids=str)
def test_tasks_go_with_stage_instruct(recipe, overrides):
    with pytest.raises(ValueError, match="tasks go with stage instruct"):
        Recipe.load(recipe, overrides)


def test_tasks_may_be_a_file_and_overrides_reach_into_it(recipe, tmp_path):
    (tmp_path / "tasks.yaml").write_text("ask: {metric: text, train: a.jsonl, messages: []}")
    content = yaml.safe_load(recipe.read_text()) | {"stage": "instruct", "tasks": str(tmp_path / "tasks.yaml")}
    recipe.write_text(yaml.safe_dump(content))
    loaded = Recipe.load(recipe, ["tasks.ask.train=b.jsonl"])
    assert loaded.tasks == {"ask": {"metric": "text", "train": "b.jsonl", "messages": []}}
    assert loaded.training_files == ["b.jsonl"]


def test_unknown_fields_are_an_error(recipe):
    with pytest.raises(ValueError, match="unknown fields learning_rate"):
        Recipe.load(recipe, ["learning_rate=1"])


def test_a_new_model_takes_its_special_tokens_from_the_tokenizer(tmp_path):
    tokenizer = builders.tokenizer()
    tokenizer.save_pretrained(tmp_path)
    config = {
        "encoder_config": builders.ENCODER,
        "projector_config": builders.PROJECTOR,
        "text_config": builders.LANGUAGE_MODEL | {"bos_token_id": 0, "eos_token_id": 0},
        "num_query_tokens": 2,
    }
    model, processor = Recipe("align", {"tokenizer": str(tmp_path), "config": config}, {}, {}).load_model()
    text = model.config.text_config
    assert (text.bos_token_id, text.eos_token_id, text.pad_token_id) == (2, 3, 1)
    assert text.vocab_size == len(tokenizer)
    assert model.config.soft_token_id == tokenizer.mask_token_id
    assert processor.num_query_tokens == 2
    assert model(**processor(spectra=builders.spectra(), molecules=builders.MOLECULES, return_tensors="pt")).loss > 0


def test_an_encoder_brings_the_fingerprint_that_it_expects(tmp_path):
    """From stage `fingerprint`, into a system with fingerprint tokens."""
    structure = {"fingerprint_size": 64, "hidden_size": 16, "num_tokens": 2}
    model, processor = builders.model(), builders.processor()
    model.save_pretrained(tmp_path / "whole")
    processor.save_pretrained(tmp_path / "whole")
    encoder = DreamsForSequenceClassification(DreamsConfig(**builders.ENCODER, num_labels=64))
    encoder.save_pretrained(tmp_path / "encoder")
    parts = {"from": str(tmp_path / "whole"), "encoder": str(tmp_path / "encoder")}
    joined, _ = Recipe("align", parts | {"config": {"structure_config": structure}}, {}, {}).load_model()
    inputs = processor(spectra=builders.spectra(), return_tensors="pt")
    query = {name: inputs[name] for name in joined.model.input_names if name in inputs}
    with torch.no_grad():
        expected = encoder.eval()(query["peaks"], query["peaks_mask"]).logits
        torch.testing.assert_close(joined.eval().model.encode(**query).fingerprint_logits, expected)


@torch.no_grad()
def test_a_language_model_takes_over_what_reads_spectra(tmp_path):
    structure = {"fingerprint_size": 16, "hidden_size": 8, "num_tokens": 2}
    reader, reads = builders.model(structure_config=structure), builders.processor()
    reads.num_query_tokens = reader.config.num_soft_tokens
    speaker = builders.model(seed=3, encoder=None, projector=None, condition_config=None)
    for name, model, processor in (("reader", reader, reads), ("speaker", speaker, builders.processor())):
        model.save_pretrained(tmp_path / name)
        processor.save_pretrained(tmp_path / name)
    parts = {"from": str(tmp_path / "speaker"), "encoder": str(tmp_path / "reader")}
    model, processor = Recipe("instruct", parts, {}, {}).load_model()
    inputs = processor(spectra=builders.spectra(), return_tensors="pt")
    query = {name: inputs[name] for name in reader.model.input_names if name in inputs}
    soft_tokens = reader.model(**query).soft_tokens
    torch.testing.assert_close(model.eval().model(**query).soft_tokens, soft_tokens, atol=1e-5, rtol=0)
    expected = speaker(input_ids=inputs["input_ids"], soft_tokens=soft_tokens).logits
    torch.testing.assert_close(model(**inputs).logits, expected, atol=1e-5, rtol=0)


@torch.no_grad()
def test_experts_may_come_at_a_later_stage(tmp_path):
    """With all of them active they compute what the dense model did."""
    build_text_tokenizer(["The molecule is an acid."], 150, characters=True).save_pretrained(tmp_path / "tokenizer")
    text = {"model_type": "llama", "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2}
    alone = dict.fromkeys(("encoder_config", "condition_config", "projector_config"))
    config = alone | {"text_config": text | {"num_attention_heads": 4}}
    new = {"tokenizer": str(tmp_path / "tokenizer"), "config": config}
    dense, processor = Recipe("instruct", new, {}, {}).load_model()
    save_for_hub(dense, processor, tmp_path / "dense")
    experts = {"experts_config": {"active_experts": [16] * 4}}
    model, _ = Recipe("instruct", {"from": str(tmp_path / "dense"), "config": experts}, {}, {}).load_model()
    ids = torch.tensor([processor.tokenizer("The {|C|}{|O|} is <|M|>")["input_ids"]])
    assert model.router.token_types_of(ids).unique().tolist() == [0, 1, 2]
    torch.testing.assert_close(model.eval()(ids).logits, dense.eval()(ids).logits, atol=1e-5, rtol=0)
    layers = [m.language_model.model.layers[0].mlp.up_proj.weight for m in (dense, model)]
    assert not torch.equal(*layers)  # in another order


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_every_recipe_is_sound(path, tmp_path):
    recipe = Recipe.load(path)
    TrainingArguments(output_dir=tmp_path, use_cpu=True, **recipe.arguments | {"bf16": False})
    (DreamsConfig if recipe.stage in ENCODER_STAGES else Spec2MolConfig)(**recipe.model.get("config", {}))
    assert set(recipe.condition_dropout) <= set(CONDITIONS)
    if recipe.tasks is None:
        assert set(recipe.data) >= {"train", "validation"}
    else:
        assert all(task.train and task.validation for task in read_tasks(recipe.tasks).values())
