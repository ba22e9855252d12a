"""spec2mol: encoder -> conditions -> projector -> language model, as one config declares them.

Three models share one set of weights:
- `Spec2MolModel`: spectra -> soft tokens, and features and scores of spectra and molecules;
- `Spec2MolForPreTraining`: its stage-1 losses (contrast, matching, generation);
- `Spec2MolForConditionalGeneration`: plus the language model that writes the molecule.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForSeq2SeqLM,
    GenerationMixin,
    PreTrainedModel,
)
from transformers import initialization as init
from transformers.loss.loss_utils import ForMaskedLMLoss
from transformers.modeling_outputs import CausalLMOutputWithPast, ModelOutput, Seq2SeqLMOutput

from .characters_spec2mol import character_ids
from .configuration_spec2mol import Spec2MolConfig
from .distributed_spec2mol import gather_batch, gather_padded_batch, mean_over_processes, process_index
from .modeling_conditions import ConditionEmbeddings
from .modeling_dreams import DreamsModel
from .modeling_fragmentation import NO_MASS, FragmentationModel
from .modeling_gin import GinModel
from .modeling_modality_experts import add_modality_experts, partition_neurons
from .modeling_multilevel import MultilevelProjector
from .modeling_qformer import QFormerProjector
from .modeling_structure import FingerprintTokens, StructureHead, fingerprint_loss
from .modeling_unimol import UniMolModel
from .processing_spec2mol import load_tokenizer

ENCODERS = {"dreams": DreamsModel, "gin": GinModel, "unimol": UniMolModel}
PROJECTORS = {"blip_2_qformer": QFormerProjector, "spec2mol_multilevel": MultilevelProjector}
TEMPERATURE_RANGE = 0.001, 0.5  # BLIP's


@dataclass
class EncoderOutput(ModelOutput):
    """What a projector reads: the encoder's output with the condition tokens appended to `last_hidden_state`.

    last_hidden_state (`(batch, tokens, hidden)`), hidden_states (tuple of the encoder's own states, or None),
    attention_mask (`(batch, tokens)`, 1 = real), fingerprint_logits (`(batch, fingerprint_size)`, that the encoder
    expects; None without `FingerprintTokens`); of molecules, motif_features (`(batch, motifs, features)`) and
    motif_mask (`(batch, motifs)`, 1 = real), else None.
    """

    last_hidden_state: torch.FloatTensor | None = None
    hidden_states: tuple[torch.FloatTensor, ...] | None = None
    attention_mask: torch.LongTensor | None = None
    fingerprint_logits: torch.FloatTensor | None = None
    motif_features: torch.FloatTensor | None = None
    motif_mask: torch.LongTensor | None = None


@dataclass
class Spec2MolModelOutput(EncoderOutput):
    """soft_tokens (`(batch, num_soft_tokens, text_config.hidden_size)`), and the `EncoderOutput` they come from."""

    soft_tokens: torch.FloatTensor | None = None


@dataclass
class Spec2MolForPreTrainingOutput(ModelOutput):
    """loss (`()`): sum of contrast_loss, matching_loss, generation_loss and structure_loss (each `()`, the last one
    only with a structure head and its labels).
    similarity (`(spectra, molecules)`): cosines."""

    loss: torch.FloatTensor | None = None
    contrast_loss: torch.FloatTensor | None = None
    matching_loss: torch.FloatTensor | None = None
    generation_loss: torch.FloatTensor | None = None
    structure_loss: torch.FloatTensor | None = None
    similarity: torch.FloatTensor | None = None


@dataclass
class Spec2MolCausalLMOutput(CausalLMOutputWithPast):
    """loss (`()`): sum of language_loss and structure_loss (each `()`, the latter only with a structure head and its
    labels); the rest as `CausalLMOutputWithPast`."""

    language_loss: torch.FloatTensor | None = None
    structure_loss: torch.FloatTensor | None = None


@dataclass
class Spec2MolSeq2SeqLMOutput(Seq2SeqLMOutput):
    """The same of an encoder-decoder."""

    language_loss: torch.FloatTensor | None = None
    structure_loss: torch.FloatTensor | None = None


class Spec2MolPreTrainedModel(PreTrainedModel):
    config: Spec2MolConfig
    base_model_prefix = "model"
    main_input_name = "peaks"
    supports_gradient_checkpointing = True
    _supports_sdpa = True
    _no_split_modules = ["DreamsLayer", "UniMolLayer", "Blip2QFormerLayer", "GPTNeoBlock"]
    _skip_keys_device_placement = ["past_key_values"]

    @torch.no_grad()
    def _init_weights(self, module):
        super()._init_weights(module)
        if isinstance(module, QFormerProjector) and module.learns_temperature:
            init.constant_(module.temperature, 0.07)
        elif isinstance(module, FragmentationModel):
            init.constant_(module.losses, NO_MASS)
            init.constant_(module.ions, NO_MASS)
        elif isinstance(module, MultilevelProjector):
            init.normal_(module.level_queries)
            if module.config.num_motif_queries:
                init.normal_(module.motif_queries)


class Spec2MolModel(Spec2MolPreTrainedModel):
    # A generating checkpoint holds the language model too
    _keys_to_ignore_on_load_unexpected = [r"^language_model\."]

    def __init__(self, config: Spec2MolConfig):
        super().__init__(config)
        self.encoder = self.conditions = self.fingerprint_tokens = self.projector = self.structure_head = None
        self.fragmentation = None
        if config.encoder_config is not None:
            self.encoder = ENCODERS[config.encoder_config.model_type]._from_config(config.encoder_config)
            self.projector = PROJECTORS[config.projector_config.model_type](config)
        if config.condition_config is not None:
            self.conditions = ConditionEmbeddings(config.condition_config, config.encoder_config.hidden_size)
        if config.structure_config is not None:
            self.structure_head = StructureHead(config)
            if config.structure_config.num_tokens:
                self.fingerprint_tokens = FingerprintTokens(config)
        if config.fragmentation_config is not None:
            self.fragmentation = FragmentationModel(config.fragmentation_config)
        self.post_init()

    @property
    def input_names(self) -> tuple[str, ...]:
        """Names of the tensors that describe a query, as the feature extractor gives them."""
        return sum((part.input_names for part in (self.encoder, self.conditions) if part is not None), ())

    def encode(self, output_hidden_states=None, **inputs) -> EncoderOutput:
        """Encoder states with the condition tokens behind them. Without condition tensors there are no such tokens."""
        states = self.encoder(
            **{name: inputs.get(name) for name in self.encoder.input_names},
            output_hidden_states=output_hidden_states or self.projector.reads_hidden_states,
            return_dict=True,
        )
        hidden, mask = states.last_hidden_state, states.attention_mask
        if self.conditions is not None and inputs.get("condition_mask") is not None:
            tokens, known = self.conditions(**{name: inputs[name] for name in self.conditions.input_names})
            hidden, mask = torch.cat([hidden, tokens], dim=1), torch.cat([mask, known], dim=1)
        logits = None
        if self.fingerprint_tokens is not None:
            logits = self.fingerprint_tokens.classifier(states.last_hidden_state[:, 0])  # the precursor's
        added = {"last_hidden_state": hidden, "attention_mask": mask, "fingerprint_logits": logits}
        return EncoderOutput(**states | added)

    def forward(
        self, output_hidden_states=None, fingerprint=None, told_share=None, return_dict=None, **inputs
    ) -> tuple | Spec2MolModelOutput:
        """
        Args:
            fingerprint, told_share: of `FingerprintTokens`, in training.
            inputs: the tensors of `Spec2MolFeatureExtractor`.
        """
        encoded = self.encode(output_hidden_states=output_hidden_states, **inputs)
        soft_tokens = self.projector(encoded)
        if self.fingerprint_tokens is not None:
            told = self.fingerprint_tokens(encoded.fingerprint_logits, fingerprint, told_share)
            soft_tokens = torch.cat([soft_tokens, told.to(soft_tokens.dtype)], dim=1)
        output = Spec2MolModelOutput(soft_tokens=soft_tokens, **encoded)
        return output if return_dict in (None, True) else output.to_tuple()

    def structure_loss(self, soft_tokens, encoded: EncoderOutput, fingerprint, element_counts) -> torch.Tensor:
        """Of the structure head, and of the encoder's own fingerprint where it expects one."""
        loss = self.structure_head.loss(soft_tokens, fingerprint, element_counts)
        if encoded.fingerprint_logits is not None:
            loss = loss + fingerprint_loss(encoded.fingerprint_logits, fingerprint)
        return loss

    def get_spectrum_features(self, **inputs) -> torch.Tensor:
        """Unit vectors `(batch, num_query_tokens, contrast_size)` of the queries."""
        return self.projector.spectrum_features(self.projector.query_states(self.encode(**inputs)))

    def get_molecule_features(self, molecule_ids, molecule_mask) -> torch.Tensor:
        """Unit vectors `(batch, contrast_size)` of molecules, from `processor(molecules=...)`."""
        return self.projector.molecule_features(molecule_ids, molecule_mask)

    def score(self, spectra, molecules) -> torch.Tensor:
        """How well each molecule explains each spectrum, `(spectra, molecules)`: cosine / temperature plus the log
        odds of the matching head; higher is better, and only the order within a row means something.

        Args:
            spectra: tensors of `processor(spectra=...)`.
            molecules: tensors of `processor(molecules=...)`.
        """
        ids, mask = molecules["molecule_ids"], molecules["molecule_mask"]
        encoded = self.encode(**{name: spectra[name] for name in self.input_names if name in spectra})
        spectrum_features = self.projector.spectrum_features(self.projector.query_states(encoded))
        cosine = self.projector.similarity(spectrum_features, self.projector.molecule_features(ids, mask))
        odds = []
        for row in range(len(cosine)):
            repeated = EncoderOutput(
                last_hidden_state=encoded.last_hidden_state[row : row + 1].expand(len(ids), -1, -1),
                attention_mask=encoded.attention_mask[row : row + 1].expand(len(ids), -1),
            )
            other, this = self.projector.matching_logits(repeated, ids, mask).unbind(-1)
            odds.append(this - other)
        return cosine / self.projector.temperature + torch.stack(odds)

    @torch.no_grad()
    def match(self, encoded: EncoderOutput, rows: Sequence[int], molecule_ids, molecule_mask) -> torch.Tensor:
        """What `score` says of one spectrum for each molecule, `(molecules,)`.

        Args:
            encoded: of `encode`, `(spectra, ...)`.
            rows: the spectrum of each molecule.
        """
        features = self.projector.spectrum_features(self.projector.query_states(encoded))[rows]
        of_molecules = self.projector.molecule_features(molecule_ids, molecule_mask)
        cosine = torch.einsum("mqc,mc->mq", features, of_molecules).amax(-1)
        beside = EncoderOutput(
            last_hidden_state=encoded.last_hidden_state[rows], attention_mask=encoded.attention_mask[rows]
        )
        other, this = self.projector.matching_logits(beside, molecule_ids, molecule_mask).unbind(-1)
        return cosine / self.projector.temperature + this - other


class Spec2MolForPreTraining(Spec2MolPreTrainedModel):
    """Stage 1 (`represent`): contrast + matching + generation, 1:1:1, as BLIP-2, and the structure head's loss. No
    weights of its own."""

    accepts_loss_kwargs = False  # Means over the batch: the Trainer must divide them among accumulated batches.

    def __init__(self, config: Spec2MolConfig):
        super().__init__(config)
        self.model = Spec2MolModel(config)
        self.post_init()

    def forward(
        self,
        molecule_ids,
        molecule_mask,
        identity=None,
        fingerprint=None,
        element_counts=None,
        return_dict=None,
        **inputs,
    ) -> tuple | Spec2MolForPreTrainingOutput:
        """
        Args:
            molecule_ids, molecule_mask: `(batch, text)`, of `processor(molecules=...)`; row i is spectrum i's
                molecule.
            identity: `(batch,)` integers, equal for spectra of one molecule (first InChIKey block): these are
                positives of each other, never negatives. By default all molecules differ.
            fingerprint, element_counts: labels of `StructureHead`.
        """
        projector = self.model.projector
        if self.training and projector.learns_temperature:
            with torch.no_grad():
                projector.temperature.clamp_(*TEMPERATURE_RANGE)
        encoded = self.model.encode(**inputs)
        batch = len(molecule_ids)
        first = process_index() * batch  # of this process' rows in the batch of all of them
        if identity is None:
            identity = torch.arange(first, first + batch, device=molecule_ids.device)
        identity = gather_batch(identity)
        same = identity[:, None] == identity[None, :]

        query_states = projector.query_states(encoded)
        similarity = projector.similarity(
            gather_batch(projector.spectrum_features(query_states)),
            gather_batch(projector.molecule_features(molecule_ids, molecule_mask)),
        )
        logits = similarity.float() / projector.temperature
        targets = same / same.sum(1, keepdim=True)
        contrast_loss = (
            nn.functional.cross_entropy(logits, targets, label_smoothing=0.1)
            + nn.functional.cross_entropy(logits.T, targets, label_smoothing=0.1)
        ) / 2

        matching_loss = self._matching_loss(encoded, molecule_ids, molecule_mask, logits.detach(), same, first)
        next_tokens = projector.generation_logits(encoded, molecule_ids, molecule_mask)[:, :-1]
        labels = molecule_ids[:, 1:].masked_fill(molecule_mask[:, 1:] == 0, -100)
        generation_loss = nn.functional.cross_entropy(
            next_tokens.flatten(0, 1).float(), labels.flatten(), reduction="sum"
        ) / mean_over_processes((labels != -100).sum())

        loss, structure_loss = contrast_loss + matching_loss + generation_loss, None
        if self.model.structure_head is not None and fingerprint is not None:
            soft_tokens = projector.language_projection(query_states)
            structure_loss = self.model.structure_loss(soft_tokens, encoded, fingerprint, element_counts)
            loss = loss + structure_loss

        output = Spec2MolForPreTrainingOutput(
            loss=loss,
            contrast_loss=contrast_loss,
            matching_loss=matching_loss,
            generation_loss=generation_loss,
            structure_loss=structure_loss,
            similarity=similarity,
        )
        return output if return_dict in (None, True) else output.to_tuple()

    def _matching_loss(self, encoded, molecule_ids, molecule_mask, logits, same, first=0):
        """Each pair against one wrong molecule and one wrong spectrum, drawn in proportion to their similarity from
        the batches of all processes. `logits` and `same` are of all of them, the pairs are rows `first` and on."""
        states = gather_padded_batch(encoded.last_hidden_state)
        states_mask = gather_padded_batch(encoded.attention_mask)
        molecule_ids, molecule_mask = gather_padded_batch(molecule_ids), gather_padded_batch(molecule_mask)
        rows = torch.arange(first, first + len(encoded.last_hidden_state), device=logits.device)
        kept = rows[(~same[rows]).any(1)]  # A batch of one molecule has no negatives.
        weights = (logits.float().softmax(1) + 1e-6).masked_fill(same, 0)
        wrong_molecule = torch.multinomial(weights[kept], 1)[:, 0]
        weights = (logits.T.float().softmax(1) + 1e-6).masked_fill(same, 0)
        wrong_spectrum = torch.multinomial(weights[kept], 1)[:, 0]
        spectra, molecules = torch.cat([rows, kept, wrong_spectrum]), torch.cat([rows, wrong_molecule, kept])
        pairs = EncoderOutput(last_hidden_state=states[spectra], attention_mask=states_mask[spectra])
        match_logits = self.model.projector.matching_logits(pairs, molecule_ids[molecules], molecule_mask[molecules])
        labels = (torch.arange(len(spectra), device=spectra.device) < len(rows)).long()
        return nn.functional.cross_entropy(match_logits.float(), labels)


def _language_model_class(config):
    return AutoModelForSeq2SeqLM if config.is_encoder_decoder else AutoModelForCausalLM


class Spec2MolForConditionalGeneration(Spec2MolPreTrainedModel, GenerationMixin):
    """Writes molecules: soft tokens take the place of placeholders in the language model's prompt (stages 2 and 3). An
    encoder-decoder reads the prompt with its encoder, and `labels` are what its decoder writes."""

    main_input_name = "input_ids"

    def __init__(self, config: Spec2MolConfig):
        super().__init__(config)
        self.model = Spec2MolModel(config)
        self.language_model = _language_model_class(config.text_config).from_config(config.text_config)
        self.router = None
        if config.experts_config is not None:
            self.router = add_modality_experts(self.language_model, config.experts_config)
        self.generation_config = self.language_model.generation_config
        if config.soft_token_id is not None:
            self.generation_config.suppress_tokens = [config.soft_token_id]  # Only a prompt holds placeholders.
        # transformers' default of 20 tokens would cut most molecules off.
        room = getattr(config.text_config, "max_position_embeddings", 2048) - config.num_soft_tokens - 1
        self.generation_config.max_new_tokens = min(256, room)
        self.post_init()

    @classmethod
    def from_pretrained_parts(
        cls, encoder: str | None, language_model: str, **config
    ) -> "Spec2MolForConditionalGeneration":
        """A model of pre-trained parts joined by a new projector.

        Args:
            encoder: Hub name or folder of a spectrum encoder, such as one that `spec2mol convert-dreams` wrote; None
                for the language model alone.
            language_model: Hub name or folder of a causal language model or an encoder-decoder and its tokenizer, such
                as `ncfrey/ChemGPT-4.7M`. Its start, end, padding and placeholder ids are taken from the tokenizer.
            config: further fields of `Spec2MolConfig`.
        """
        decoder_config = AutoConfig.from_pretrained(language_model)
        decoder = _language_model_class(decoder_config).from_pretrained(language_model)
        tokenizer = load_tokenizer(
            language_model, soft_tokens=encoder is not None, characters="experts_config" in config
        )
        if len(tokenizer) > decoder.get_input_embeddings().num_embeddings:
            decoder.resize_token_embeddings(len(tokenizer))
        for holder in (decoder.config, decoder.generation_config):
            holder.bos_token_id = tokenizer.bos_token_id
            holder.eos_token_id = tokenizer.eos_token_id
            holder.pad_token_id = tokenizer.pad_token_id
        if "experts_config" in config:
            ids = {"modality_token_ids": character_ids(tokenizer)}
            config = config | {"experts_config": ids | config["experts_config"]}
        if encoder is None:
            encoder_model, parts = None, {"encoder_config": None, "projector_config": None, "condition_config": None}
        else:
            encoder_config = AutoConfig.from_pretrained(encoder)
            encoder_model = ENCODERS[encoder_config.model_type].from_pretrained(encoder)
            parts = {"encoder_config": encoder_model.config}
        model = cls(
            Spec2MolConfig(
                **parts | {"text_config": decoder.config, "soft_token_id": tokenizer.mask_token_id} | config
            )
        )
        model.model.encoder = encoder_model
        model.language_model = decoder
        if model.router is not None:
            partition_neurons(decoder, model.config.experts_config.num_experts)
            model.router = add_modality_experts(decoder, model.config.experts_config)
        decoder.generation_config.suppress_tokens = model.generation_config.suppress_tokens
        decoder.generation_config.max_new_tokens = model.generation_config.max_new_tokens
        model.generation_config = decoder.generation_config
        return model

    def get_input_embeddings(self):
        return self.language_model.get_input_embeddings()

    def set_input_embeddings(self, value):
        self.language_model.set_input_embeddings(value)

    def get_output_embeddings(self):
        return self.language_model.get_output_embeddings()

    def get_spectrum_features(self, **inputs) -> torch.Tensor:
        return self.model.get_spectrum_features(**inputs)

    def get_molecule_features(self, molecule_ids, molecule_mask) -> torch.Tensor:
        return self.model.get_molecule_features(molecule_ids, molecule_mask)

    def score(self, spectra, molecules) -> torch.Tensor:
        return self.model.score(spectra, molecules)

    def forward(
        self,
        input_ids=None,
        attention_mask=None,
        position_ids=None,
        past_key_values=None,
        inputs_embeds=None,
        soft_tokens=None,
        labels=None,
        fingerprint=None,
        element_counts=None,
        told_share=None,
        encoder_outputs=None,
        moe_mm_token_type_ids=None,
        logits_to_keep=0,
        **kwargs,
    ) -> tuple | CausalLMOutputWithPast | Seq2SeqLMOutput:
        """
        Args:
            input_ids: `(batch, length)`; each `config.soft_token_id` is replaced by a soft token.
            soft_tokens: `(queries, num_soft_tokens, hidden)`, by default computed from the query's tensors; in a
                batch some rows may be text alone, and the queries are those of the other rows.
            labels: `(batch, length)`, -100 = no loss; of an encoder-decoder, what its decoder writes.
            fingerprint, element_counts: labels of `StructureHead`.
            told_share: of `FingerprintTokens`.
            encoder_outputs: of an encoder-decoder, what its encoder made of the prompt.
            moe_mm_token_type_ids: `(batch, length)`, with modality experts the modality of each token, by default that
                of its id.
            kwargs: the tensors of `Spec2MolFeatureExtractor`, and what the language model takes.

        Raises:
            ValueError: placeholders and soft tokens differ in number.
        """
        inputs = {name: kwargs.pop(name) for name in self.model.input_names if name in kwargs}
        encoded = None
        if soft_tokens is None and inputs:
            encoded = self.model(**inputs, fingerprint=fingerprint, told_share=told_share)
            soft_tokens = encoded.soft_tokens
        if inputs_embeds is None and input_ids is not None:
            inputs_embeds = self.get_input_embeddings()(input_ids)
        if soft_tokens is not None:
            inputs_embeds = self._insert(soft_tokens, input_ids, inputs_embeds)
        elif input_ids is not None and past_key_values is None and self._placeholders(input_ids).any():
            raise ValueError("input_ids hold placeholders of soft tokens, but no spectrum is given")
        kwargs |= {"attention_mask": attention_mask, "past_key_values": past_key_values}
        if self.router is not None:
            given = moe_mm_token_type_ids is not None
            kwargs["moe_mm_token_type_ids"] = moe_mm_token_type_ids if given else self.router.token_types_of(input_ids)
        if self.config.is_encoder_decoder:
            output = self._encode_and_decode(inputs_embeds, labels, encoder_outputs=encoder_outputs, **kwargs)
        else:
            if position_ids is None and past_key_values is None and getattr(attention_mask, "ndim", 0) == 2:
                position_ids = (attention_mask.cumsum(-1) - 1).clamp(min=0)  # Padding on the left shifts nothing.
            kwargs |= {"position_ids": position_ids, "logits_to_keep": logits_to_keep}
            output = self.language_model(inputs_embeds=inputs_embeds, labels=labels, **kwargs)
        if fingerprint is None or encoded is None or self.model.structure_head is None:
            return output
        structure_loss = self.model.structure_loss(soft_tokens, encoded, fingerprint, element_counts)
        if (num_items := kwargs.get("num_items_in_batch")) is not None:
            # The language loss is this batch's share of the mean over all accumulated batches of all processes.
            counted = labels if self.config.is_encoder_decoder else labels[:, 1:]
            structure_loss = structure_loss * (counted != -100).sum() / num_items
        losses = {"language_loss": output.loss, "structure_loss": structure_loss}
        output_class = Spec2MolSeq2SeqLMOutput if self.config.is_encoder_decoder else Spec2MolCausalLMOutput
        return output_class(**output | losses | {"loss": output.loss + structure_loss})

    def _encode_and_decode(self, inputs_embeds, labels, num_items_in_batch=None, **kwargs) -> Seq2SeqLMOutput:
        """The loss is taken here: the encoder-decoders' own does not know `num_items_in_batch`."""
        if labels is not None and kwargs.get("decoder_input_ids") is None:
            kwargs["decoder_input_ids"] = self.language_model.prepare_decoder_input_ids_from_labels(labels=labels)
        output = self.language_model(inputs_embeds=inputs_embeds, **kwargs)
        if labels is not None:
            logits = output.logits
            loss = ForMaskedLMLoss(logits, labels, logits.shape[-1], num_items_in_batch=num_items_in_batch)
            output = Seq2SeqLMOutput(**output | {"loss": loss})
        return output

    def _insert(self, soft_tokens, input_ids, inputs_embeds):
        placeholders = self._placeholders(input_ids)
        if placeholders.sum() != soft_tokens.shape[:2].numel():
            raise ValueError(
                f"{placeholders.sum()} placeholders (id {self.config.soft_token_id}) in input_ids, but "
                f"{soft_tokens.shape[0]} x {soft_tokens.shape[1]} soft tokens"
            )
        mask = placeholders[..., None].expand_as(inputs_embeds)
        return inputs_embeds.masked_scatter(mask, soft_tokens.to(inputs_embeds.dtype))

    def _placeholders(self, input_ids):
        if self.config.soft_token_id is None:
            return torch.zeros_like(input_ids, dtype=torch.bool)
        return input_ids == self.config.soft_token_id

    @torch.no_grad()
    def generate(self, inputs=None, **kwargs):
        """As `GenerationMixin.generate`, with the tensors of `processor(spectra=...)`. Each spectrum is encoded once,
        however many beams or samples it gets."""
        query = {name: kwargs.pop(name) for name in self.model.input_names if name in kwargs}
        if query:
            kwargs["soft_tokens"] = self.model(**query).soft_tokens
        if self.config.is_encoder_decoder:
            input_ids = inputs = kwargs.pop("input_ids", inputs)
            inputs_embeds = self.get_input_embeddings()(input_ids)
            if (soft_tokens := kwargs.pop("soft_tokens", None)) is not None:
                inputs_embeds = self._insert(soft_tokens, input_ids, inputs_embeds)
            kwargs["encoder_outputs"] = self.language_model.get_encoder()(
                inputs_embeds=inputs_embeds, attention_mask=kwargs.get("attention_mask"), return_dict=True
            )
        return super().generate(inputs, **kwargs)

    def prepare_inputs_for_generation(self, input_ids, *args, is_first_iteration=False, **kwargs):
        if (types := kwargs.get("moe_mm_token_type_ids")) is not None:  # Those of the prompt; the rest was written.
            written = self.router.token_types_of(input_ids[:, types.shape[1] :])
            kwargs["moe_mm_token_type_ids"] = torch.cat([types, written], dim=1)
        inputs = super().prepare_inputs_for_generation(
            input_ids, *args, is_first_iteration=is_first_iteration, **kwargs
        )
        if not is_first_iteration and kwargs.get("use_cache", True):
            inputs.pop("soft_tokens", None)  # They are in the cache.
        return inputs


__all__ = [
    "Spec2MolForConditionalGeneration",
    "Spec2MolForPreTraining",
    "Spec2MolModel",
    "Spec2MolPreTrainedModel",
]
