"""Recipes: one YAML file for each training stage or system."""

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from transformers import AutoConfig, AutoTokenizer

from ..characters_spec2mol import character_ids
from ..configuration_spec2mol import DreamsConfig, Spec2MolConfig
from ..data.examples import listed
from ..data.tasks import read_tasks, training_files
from ..feature_extraction_spec2mol import Spec2MolFeatureExtractor
from ..modeling_dreams import DreamsForSequenceClassification, DreamsModel, DreamsPreTrainedModel
from ..modeling_modality_experts import partition_neurons
from ..modeling_spec2mol import Spec2MolForConditionalGeneration, Spec2MolModel
from ..processing_spec2mol import Spec2MolProcessor

COMPOSITE_STAGES = ("represent", "align", "instruct")
ENCODER_STAGES = ("spectrum", "fingerprint", "fluorine", "similarity")
STAGES = COMPOSITE_STAGES + ENCODER_STAGES


@dataclass
class Recipe:
    """
    stage: of the whole system, `represent` (contrast, matching, generation: `Spec2MolForPreTraining`) or `align` (the
        language model's loss; without an encoder, that of molecules alone) or `instruct` (that of the answers in a
        conversation); of the spectrum encoder alone, `spectrum` (masked peaks: `DreamsForPreTraining`), `fingerprint`,
        `fluorine` (`DreamsForSequenceClassification`) or `similarity` (`DreamsForSpectralEmbedding`).
    model: where the weights come from, with
        `from`: folder or Hub name of a spec2mol model (an earlier stage), for a stage of the encoder also of a DreaMS
        model, and/or
        `encoder`: folder or Hub name of a DreaMS model whose encoder is used, beside `from` also of a spec2mol model,
        of which all but the language model is used, and/or
        `language_model`: the same of a causal language model or an encoder-decoder, unless `from` has one, or
        `tokenizer`: folder of a tokenizer, for a new model;
        `config`: fields of `Spec2MolConfig` (or `DreamsConfig`) that replace those of `from`, or describe the new
        model;
        `feature_extractor`: likewise, arguments of `Spec2MolFeatureExtractor`.
    data: `train` and `validation` parquet files, globs or lists of them; `train_limit` and `validation_limit`, so many
        of the first rows of each; `max_tokens`, to leave out longer molecules in training; `near_mass`, the share of
        batches that hold molecules of about the same mass, as hard negatives; `random_order`, the share of molecules
        that are written in a random order of atoms; `told_fingerprint`, the share of examples in which the fingerprint
        tokens tell a part of the truth; `weights`, how many times a row counts, by its `source`; `text`, the column of
        the target where it is text, not the molecule (of several, the first that a file has); `only`, values by
        column, of the rows to take. Of `instruct`, whose tasks name their files, `mixing`, see `TwoLengthsSampler`.
    trainable: globs of parameter names.
    lora: fields of `peft.LoraConfig`; adapters and the `modules_to_save` are trained instead of `trainable`. The model
        that is left has them merged; by themselves they are in its folder `adapter`.
    tasks: of stage `instruct`, fields of `data.tasks.Task` by name, or a YAML file of them.
    chat_template: of stage `instruct`, see `Spec2MolProcessor.conversation_text`.
    condition_dropout: probability for each condition to be hidden in training.
    augmentation: of the peaks in training, see `data.augmentation.Augmentation`.
    arguments: of `transformers.TrainingArguments`.
    epoch_decay: see `Spec2MolTrainer`.
    half: store the trained weights in float16.
    """

    stage: str
    model: dict[str, Any]
    data: dict[str, Any]
    arguments: dict[str, Any]
    trainable: list[str] = field(default_factory=lambda: ["*"])
    lora: dict[str, Any] | None = None
    tasks: dict[str, Any] | None = None
    chat_template: str | None = None
    condition_dropout: dict[str, float] = field(default_factory=dict)
    augmentation: dict[str, float] = field(default_factory=dict)
    epoch_decay: float = 1.0
    half: bool = False

    @classmethod
    def load(cls, path: str | Path, overrides: list[str] = ()) -> "Recipe":
        """Reads a YAML file. An override `arguments.max_steps=10` replaces one value. A field that is null, or a key
        of `model`, `data`, `condition_dropout` or `augmentation`, is as if it were not there.

        Raises:
            FileNotFoundError, ValueError: no such file; an unknown field or an override without `=`.
        """
        content = _read_yaml(Path(path).read_text())
        if isinstance(content.get("tasks"), str):
            content["tasks"] = yaml.safe_load(Path(content["tasks"]).read_text(encoding="utf-8"))
        for override in overrides:
            key, equals, value = override.partition("=")
            if not equals:
                raise ValueError(f"{override!r}: an override reads key.subkey=value")
            *parents, last = key.split(".")
            place = content
            for parent in parents:
                place = place.setdefault(parent, {})
            place[last] = _read_yaml(value)
        content = _without_nulls(content)
        for name in ("model", "data", "condition_dropout", "augmentation"):
            content |= {name: _without_nulls(content[name])} if name in content else {}
        if unknown := set(content) - set(cls.__dataclass_fields__):
            raise ValueError(f"{path}: unknown fields {', '.join(sorted(unknown))}")
        if content.get("stage") not in STAGES:
            raise ValueError(f"{path}: stage is {content.get('stage')!r}; there are {', '.join(STAGES)}")
        if (content["stage"] == "instruct") != ("tasks" in content):
            raise ValueError(f"{path}: tasks go with stage instruct")
        if "lora" in content and "trainable" in content:
            raise ValueError(f"{path}: with lora, what else is trained is lora.modules_to_save, not trainable")
        return cls(**content)

    @property
    def sources(self) -> list[str]:
        """Folders or Hub names of the weights that the stage starts from."""
        return [self.model[part] for part in ("from", "encoder", "language_model") if part in self.model]

    @property
    def training_files(self) -> list[str]:
        return listed(self.data["train"]) if self.tasks is None else training_files(read_tasks(self.tasks))

    def load_model(self) -> tuple[Spec2MolForConditionalGeneration, Spec2MolProcessor]:
        source, config = self.model.get("from"), self.model.get("config", {})
        if "language_model" in self.model and source is None:
            parts = {"encoder": self.model.get("encoder"), "language_model": self.model["language_model"]}
            model = Spec2MolForConditionalGeneration.from_pretrained_parts(**parts, **config)
            return model, Spec2MolProcessor.from_pretrained_parts(
                **parts, num_query_tokens=model.config.num_soft_tokens, characters="experts_config" in config
            )
        if source is not None:
            return self._from_model(source, config)
        tokenizer = AutoTokenizer.from_pretrained(self.model["tokenizer"])
        text = {
            "vocab_size": len(tokenizer),
            "bos_token_id": tokenizer.bos_token_id,
            "eos_token_id": tokenizer.eos_token_id,
            "pad_token_id": tokenizer.pad_token_id,
        }
        config = with_modalities(config, tokenizer) | {"text_config": config.get("text_config", {}) | text}
        config = Spec2MolConfig(**config, soft_token_id=tokenizer.mask_token_id)
        feature_extractor = Spec2MolFeatureExtractor(**self.model.get("feature_extractor", {}))
        processor = Spec2MolProcessor(
            feature_extractor, tokenizer, config.num_soft_tokens, is_encoder_decoder=config.is_encoder_decoder
        )
        return Spec2MolForConditionalGeneration(config), processor

    def _from_model(self, source, config):
        processor, before = Spec2MolProcessor.from_pretrained(source), Spec2MolConfig.from_pretrained(source)
        described, features = before.to_dict(), processor.feature_extractor.to_dict()
        head, reader, encoder = None, None, self.model.get("encoder")
        if encoder is not None and AutoConfig.from_pretrained(encoder).model_type == "spec2mol":
            reader = Spec2MolModel.from_pretrained(encoder)
            spoken = {name: described[name] for name in ("text_config", "experts_config", "soft_token_id")}
            described = reader.config.to_dict() | spoken
            features = Spec2MolFeatureExtractor.from_pretrained(encoder).to_dict()
        elif encoder is not None:
            head = DreamsForSequenceClassification.from_pretrained(encoder)
            labels = head.config.num_labels
            head.config.num_labels, head.config.problem_type = 2, None  # Encoders have none.
            config = config | {"encoder_config": head.config.to_dict()}
        config = Spec2MolConfig.from_dict(described | with_modalities(config, processor.tokenizer))
        model = Spec2MolForConditionalGeneration.from_pretrained(source, config=config)
        if config.experts_config is not None and before.experts_config is None:
            partition_neurons(model.language_model, config.experts_config.num_experts)
        if reader is not None:
            own = model.model.state_dict()  # Of another shape are words, and soft tokens of another width.
            model.model.load_state_dict(
                own | {n: t for n, t in reader.state_dict().items() if t.shape == own[n].shape}
            )
        if head is not None:
            model.model.encoder, tokens = head.dreams, model.model.fingerprint_tokens
            if tokens is not None and labels == model.config.structure_config.fingerprint_size:
                tokens.classifier = head.classifier
        processor.num_query_tokens = config.num_soft_tokens
        features = Spec2MolFeatureExtractor.from_dict(features | self.model.get("feature_extractor", {}))
        processor.feature_extractor = features
        return model, processor

    def load_encoder(self, head: type[DreamsPreTrainedModel], task: dict[str, Any]):
        """An encoder with this head, and its feature extractor. The recipe's config overrides the fields of `task`.

        Raises:
            ValueError: `from` is a language model alone.
        """
        source, fields = self.model.get("from"), task | self.model.get("config", {})
        if source is None:
            config = DreamsConfig(**fields)
            feature_extractor = {"num_peaks": config.num_peaks} | self.model.get("feature_extractor", {})
            return head(config), Spec2MolFeatureExtractor(**feature_extractor, conditions=False)
        features = Spec2MolFeatureExtractor.from_pretrained(source).to_dict() | self.model.get("feature_extractor", {})
        feature_extractor = Spec2MolFeatureExtractor.from_dict(features | {"conditions": False})
        if AutoConfig.from_pretrained(source).model_type == "dreams":
            before = DreamsConfig.from_pretrained(source)
            config = DreamsConfig.from_dict(before.to_dict() | fields)
            if config.num_labels == before.num_labels:
                return head.from_pretrained(source, config=config), feature_extractor
            model = head(config)  # The classifier of another task stays behind.
            model.dreams = DreamsModel.from_pretrained(source, config=config)
            return model, feature_extractor
        encoder = Spec2MolModel.from_pretrained(source).encoder
        if encoder is None:
            raise ValueError(f"{source}: a language model alone, without a spectrum encoder")
        model = head(DreamsConfig.from_dict(encoder.config.to_dict() | fields))
        model.dreams.load_state_dict(encoder.state_dict())
        return model, feature_extractor


class _Loader(yaml.SafeLoader):
    """YAML 1.1, but 4e-3 is a number without a point too, as in YAML 1.2."""


_Loader.add_implicit_resolver("tag:yaml.org,2002:float", re.compile(r"[-+]?\d+[eE][-+]?\d+$"), list("-+0123456789"))


def _read_yaml(text: str):
    return yaml.load(text, _Loader)  # a safe one


def _without_nulls(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}


def with_modalities(config: dict[str, Any], tokenizer) -> dict[str, Any]:
    """Fields of `Spec2MolConfig`; modality experts, if any, know the modality of each token."""
    if config.get("experts_config") is None:
        return config
    return config | {"experts_config": {"modality_token_ids": character_ids(tokenizer)} | config["experts_config"]}
