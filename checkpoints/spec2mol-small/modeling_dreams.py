"""DreaMS, the spectrum encoder: an exact port of the network of Bushuiev et al., Nature Biotechnology 2025
(https://github.com/pluskal-lab/DreaMS), whose weights `spec2mol convert-dreams` converts.

Notable:
- every peak is [embedding of (m/z / max_mz, intensity), embedding of Fourier features of the raw m/z];
- token 0 is the precursor, and its last state stands for the spectrum;
- attention logits carry the pairwise differences of the Fourier embeddings, at the cost of one number for each key;
- all padding tokens of a spectrum are one token with a multiplicity (see `DreamsModel.attention_bias`);
- m/z and phases are computed in float32 whatever the dtype of the weights.
"""

import math
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import nn
from transformers import PreTrainedModel
from transformers import initialization as init
from transformers.modeling_layers import GradientCheckpointingLayer
from transformers.modeling_outputs import ModelOutput

from .configuration_spec2mol import DreamsConfig
from .distributed_spec2mol import gather_batch, mean_over_processes


@dataclass
class DreamsModelOutput(ModelOutput):
    """
    last_hidden_state (`(batch, tokens, hidden)`): token 0 is the precursor, then the peaks.
    hidden_states (tuple of `num_hidden_layers + 1` such tensors, on request): the embeddings, then each layer's
        output, the last one after the final LayerNorm.
    attention_mask (`(batch, tokens)`): 1 = real token, 0 = padding.
    """

    last_hidden_state: torch.FloatTensor | None = None
    hidden_states: tuple[torch.FloatTensor, ...] | None = None
    attention_mask: torch.LongTensor | None = None


@dataclass
class DreamsForSpectralEmbeddingOutput(DreamsModelOutput):
    """
    loss (`()`): contrast of molecules, if labels are given.
    embeddings (`(batch, hidden)`): one vector for each spectrum, compared by cosine.
    """

    loss: torch.FloatTensor | None = None
    embeddings: torch.FloatTensor | None = None


@dataclass
class DreamsForSequenceClassificationOutput(DreamsModelOutput):
    """
    loss (`()`): of `config.problem_type`, if labels are given.
    logits (`(batch, num_labels)`).
    """

    loss: torch.FloatTensor | None = None
    logits: torch.FloatTensor | None = None


@dataclass
class DreamsForPreTrainingOutput(DreamsModelOutput):
    """
    loss (`()`): masked m/z and retention order, weighted.
    mz_logits (`(batch, tokens, bins)`): m/z classes of `mz_bin_size` Da.
    retention_order_logits (`(batch / 2,)`): positive if the first spectrum of a pair elutes before the second; None
        if the batch is odd.
    """

    loss: torch.FloatTensor | None = None
    mz_logits: torch.FloatTensor | None = None
    retention_order_logits: torch.FloatTensor | None = None


@lru_cache(maxsize=8)
def fourier_frequencies(min_wavelength: float, max_mz: float, device: torch.device) -> torch.Tensor:
    """Frequencies in 1/Da, float32, of strategy `lin_float_int`: wavelengths in even multiples of `min_wavelength`
    below 1 Da, then in whole Da below `max_mz`. Computed, not stored: `model.to(bfloat16)` would round a buffer. The
    cache outlives its first caller, whose default dtype and inference mode must not stick."""
    fine = [1 / (min_wavelength * i) for i in range(2, math.ceil(1 / min_wavelength), 2)]
    coarse = [1 / i for i in range(2, math.ceil(max_mz))]
    with torch.inference_mode(False):
        return torch.tensor(fine + coarse, dtype=torch.float32, device=device)


class DreamsMLP(nn.Module):
    """Linear layers, ReLU after each of them, the last one too."""

    def __init__(self, in_size, hidden_size, out_size, num_layers, dropout):
        super().__init__()
        sizes = [in_size] + [hidden_size] * (num_layers - 1) + [out_size]
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in zip(sizes, sizes[1:], strict=False))
        self.dropout = nn.Dropout(dropout)

    def forward(self, x):
        for layer in self.layers[:-1]:
            x = self.dropout(layer(x)).relu_()
        return self.layers[-1](x).relu_()


class DreamsEmbeddings(nn.Module):
    """Peaks `(batch, tokens, 2)` -> embeddings `(batch, tokens, hidden)` and the Fourier part of them alone."""

    def __init__(self, config: DreamsConfig):
        super().__init__()
        self.config = config
        num_features = 2 * len(fourier_frequencies(config.min_wavelength, config.max_mz, torch.device("cpu")))
        self.peak_mlp = DreamsMLP(
            2, config.peak_hidden_size, config.peak_hidden_size, config.peak_num_layers, config.hidden_dropout_prob
        )
        self.fourier_mlp = DreamsMLP(
            num_features,
            config.fourier_intermediate_size,
            config.fourier_hidden_size,
            config.fourier_num_layers,
            config.hidden_dropout_prob,
        )

    def forward(self, peaks):
        if peaks.dtype != torch.float32:
            raise ValueError(
                f"peaks are {peaks.dtype}, not torch.float32: at m/z 500 bfloat16 resolves 4 Da and float16 0.5 Da. "
                "Cast the model, not its inputs"
            )
        dtype = self.peak_mlp.layers[0].weight.dtype
        mz, intensity = peaks.split(1, dim=-1)
        # The features of a token are 12,000 numbers. Chunks of tokens stay in a CPU's cache and bound a GPU's memory.
        chunks = mz.reshape(-1, 1).split(256 if mz.device.type == "cpu" else 16384)
        fourier = torch.cat([self.fourier_mlp(self.fourier_features(chunk).to(dtype)) for chunk in chunks])
        fourier = fourier.view(*mz.shape[:-1], -1)
        peak = self.peak_mlp(torch.cat([mz / self.config.max_mz, intensity], dim=-1).to(dtype))
        return torch.cat([peak, fourier], dim=-1), fourier

    def fourier_features(self, mz):
        """m/z `(tokens, 1)` in Da -> float32 `(tokens, 2 frequencies)`: cosines, then sines."""
        # Phases reach 3e7 rad: the order of these roundings is the original's, and anything below float32 is noise.
        phases = 2 * torch.pi * mz * fourier_frequencies(self.config.min_wavelength, self.config.max_mz, mz.device)
        return torch.cat([phases.cos(), phases.sin()], dim=-1)


class FragmentEmbeddings(nn.Module):
    """Element counts of explained peaks `(batch, tokens, elements)` -> embeddings `(batch, tokens, hidden)`, 0 where a
    peak has none. Not of the original, but of MIST (Goldman et al., Nature Machine Intelligence 2023)."""

    def __init__(self, config: DreamsConfig):
        super().__init__()
        self.in_proj = nn.Linear(2 * config.num_fragment_elements, config.hidden_size)
        self.out_proj = nn.Linear(config.hidden_size, config.hidden_size)

    def forward(self, counts):
        features = torch.cat([counts / 10, counts.log1p()], dim=-1).to(self.in_proj.weight.dtype)
        return self.out_proj(self.in_proj(features).relu()) * counts.any(-1, keepdim=True)


class DreamsAttention(nn.Module):
    def __init__(self, config: DreamsConfig):
        super().__init__()
        self.config = config
        self.head_dim = config.hidden_size // config.num_attention_heads
        self.q_proj = nn.Linear(config.hidden_size, config.hidden_size, bias=False)
        self.k_proj = nn.Linear(config.hidden_size, config.hidden_size, bias=False)
        self.v_proj = nn.Linear(config.hidden_size, config.hidden_size, bias=False)
        self.out_proj = nn.Linear(config.hidden_size, config.hidden_size, bias=False)

    def forward(self, hidden_states, attention_bias, uniform_rows):
        """attention_bias `(batch, 1, tokens, tokens)` is added to the logits; the logits of `uniform_rows`
        `(batch, tokens, 1)` are nothing else."""
        batch, tokens, _ = hidden_states.shape
        q = self.q_proj(hidden_states).masked_fill_(uniform_rows, 0)
        q, k, v = (
            x.view(batch, tokens, -1, self.head_dim).transpose(1, 2)
            for x in (q, self.k_proj(hidden_states), self.v_proj(hidden_states))
        )
        attended = nn.functional.scaled_dot_product_attention(
            q,
            k,
            v,
            attn_mask=attention_bias.to(q.dtype),
            dropout_p=self.config.attention_probs_dropout_prob if self.training else 0.0,
        )
        return self.out_proj(attended.transpose(1, 2).reshape(batch, tokens, -1))


class DreamsLayer(GradientCheckpointingLayer):
    """Pre-norm; no biases in attention and feed-forward."""

    def __init__(self, config: DreamsConfig):
        super().__init__()
        self.attention_norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.attention = DreamsAttention(config)
        self.feed_forward_norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.up_proj = nn.Linear(config.hidden_size, config.intermediate_size, bias=False)
        self.down_proj = nn.Linear(config.intermediate_size, config.hidden_size, bias=False)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)

    def forward(self, hidden_states, attention_bias, uniform_rows):
        attended = self.attention(self.attention_norm(hidden_states), attention_bias, uniform_rows)
        hidden_states = hidden_states + self.dropout(attended)
        fed_forward = self.down_proj(self.dropout(self.up_proj(self.feed_forward_norm(hidden_states)).relu_()))
        return hidden_states + self.dropout(fed_forward)


class DreamsPreTrainedModel(PreTrainedModel):
    config: DreamsConfig
    base_model_prefix = "dreams"
    main_input_name = "peaks"
    accepts_loss_kwargs = False  # Losses are means over the batch: the Trainer must divide them when it accumulates.
    supports_gradient_checkpointing = True
    _no_split_modules = ["DreamsLayer"]
    _supports_sdpa = True
    # A head may be read without its siblings' weights: the official files carry all of them.
    _keys_to_ignore_on_load_unexpected = [
        rf"^{head}\." for head in ("mz_head", "retention_order_head", "embedding_head", "classifier")
    ]

    @torch.no_grad()
    def _init_weights(self, module):
        """The original's: normal with variance 2 / (5 hidden) in the transformer, whose linear layers are those
        without bias, and PyTorch's defaults elsewhere. Containers, such as a `DreamsLayer`, never come here."""
        if isinstance(module, nn.LayerNorm):
            init.ones_(module.weight)
            init.zeros_(module.bias)
        elif isinstance(module, nn.Linear) and module.bias is None:
            init.normal_(module.weight, std=(2 / (5 * self.config.hidden_size)) ** 0.5)
        elif isinstance(module, nn.Linear):
            bound = module.in_features**-0.5
            init.uniform_(module.weight, -bound, bound)
            init.uniform_(module.bias, -bound, bound)


class DreamsModel(DreamsPreTrainedModel):
    """Spectra -> states. Reads what `Spec2MolFeatureExtractor` makes."""

    # What the composite model hands to its encoder
    input_names = ("peaks", "peaks_mask", "fragment_counts")

    def __init__(self, config: DreamsConfig):
        super().__init__(config)
        self.embeddings = DreamsEmbeddings(config)
        self.fragment_embeddings = FragmentEmbeddings(config) if config.num_fragment_elements else None
        self.dropout = nn.Dropout(config.hidden_dropout_prob)
        self.layers = nn.ModuleList(DreamsLayer(config) for _ in range(config.num_hidden_layers))
        self.norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.post_init()

    def attention_bias(self, fourier, mask, multiplicity):
        """Bias of the attention logits, `(batch, 1, tokens, tokens)`, float32.

        The original adds sum(f_i - f_j) over the Fourier embedding f to logit (i, j). What depends on row i alone
        cancels in the softmax, so -sum(f_j) is all that is needed. It also masks padded *rows*, not keys: real tokens
        attend to the padding, and a padded row attends to all tokens alike. Identical tokens stay identical through
        all layers, so one padding token whose logit is raised by log(multiplicity) stands for all of them.

        Args:
            fourier: `(batch, tokens, fourier_hidden_size)`.
            mask: `(batch, tokens)`, True where a token is real.
            multiplicity: `(batch, tokens)` float32, how many tokens of the original each one stands for; 0 hides it.
        """
        key_bias = multiplicity.log()
        if not self.config.mass_difference_bias:
            return key_bias[:, None, None, :].expand(-1, 1, key_bias.shape[1], -1)
        real_row = key_bias - fourier.float().sum(-1)
        # A constant of the row, so free: bfloat16 is then finest for the keys that weigh most.
        real_row = real_row - real_row.amax(-1, keepdim=True)
        return torch.where(mask[:, None, :, None], real_row[:, None, None, :], key_bias[:, None, None, :])

    def forward(
        self, peaks, peaks_mask=None, fragment_counts=None, output_hidden_states=None, return_dict=None, **kwargs
    ) -> tuple | DreamsModelOutput:
        """
        Args:
            peaks: `(batch, tokens, 2)` float32: [precursor m/z, 1.1], then [m/z in Da, relative intensity] of each
                peak, zero-padded on the right to any common length.
            peaks_mask: `(batch, tokens)`, 1 = real; by default where m/z is not 0.
            fragment_counts: `(batch, tokens, num_fragment_elements)`, element counts of explained peaks, 0 where a
                peak has no explanation; by default none has. A model without `num_fragment_elements` ignores them.

        Raises:
            ValueError: peaks in a dtype other than float32.
        """
        output_hidden_states = (
            self.config.output_hidden_states if output_hidden_states is None else output_hidden_states
        )
        return_dict = self.config.return_dict if return_dict is None else return_dict
        mask = peaks[..., 0] != 0 if peaks_mask is None else peaks_mask.bool()
        num_tokens = peaks.shape[1]
        multiplicity = mask.float()
        if self.config.attend_to_padding:
            peaks = nn.functional.pad(peaks, (0, 0, 0, 1))
            num_padding = (self.config.num_peaks + 1 - multiplicity.sum(1, keepdim=True)).clamp(min=0)
            multiplicity = torch.cat([multiplicity, num_padding], dim=1)
            mask = nn.functional.pad(mask, (0, 1))
        hidden_states, fourier = self.embeddings(peaks)
        if self.fragment_embeddings is not None and fragment_counts is not None:
            explained = self.fragment_embeddings(fragment_counts)
            hidden_states[:, :num_tokens] = hidden_states[:, :num_tokens] + explained
        bias = self.attention_bias(fourier, mask, multiplicity)
        uniform_rows = ~mask[..., None]

        hidden_states = self.dropout(hidden_states)
        all_hidden_states = [hidden_states]
        for layer in self.layers:
            hidden_states = layer(hidden_states, bias, uniform_rows)
            all_hidden_states.append(hidden_states)
        all_hidden_states[-1] = hidden_states = self.norm(hidden_states)

        output = DreamsModelOutput(
            last_hidden_state=self._unmerge(hidden_states, uniform_rows, num_tokens),
            hidden_states=tuple(self._unmerge(states, uniform_rows, num_tokens) for states in all_hidden_states)
            if output_hidden_states
            else None,
            attention_mask=mask[:, :num_tokens].long(),
        )
        return output if return_dict else output.to_tuple()

    def _unmerge(self, hidden_states, uniform_rows, num_tokens):
        """Gives every padding position the state of the one padding token that stood for it."""
        if hidden_states.shape[1] == num_tokens:
            return hidden_states
        return torch.where(uniform_rows[:, :num_tokens], hidden_states[:, num_tokens:], hidden_states[:, :num_tokens])


class DreamsForSpectralEmbedding(DreamsPreTrainedModel):
    """The official embedding model: a linear head on the precursor token, whose vectors are compared by cosine. The
    original was trained by a triplet margin; here every other spectrum of a batch takes part (Khosla et al. 2020)."""

    def __init__(self, config: DreamsConfig):
        super().__init__(config)
        self.dreams = DreamsModel(config)
        self.embedding_head = nn.Linear(config.hidden_size, config.hidden_size)
        self.post_init()

    def forward(
        self, peaks, peaks_mask=None, labels=None, output_hidden_states=None, return_dict=None, **kwargs
    ) -> tuple | DreamsForSpectralEmbeddingOutput:
        """Arguments as `DreamsModel.forward`, and

        labels: `(batch,)` integers, equal for spectra of one molecule (first InChIKey block).
        """
        return_dict = self.config.return_dict if return_dict is None else return_dict
        states = self.dreams(peaks, peaks_mask, output_hidden_states=output_hidden_states, return_dict=True)
        embeddings = self.embedding_head(states.last_hidden_state[:, 0])
        output = DreamsForSpectralEmbeddingOutput(
            loss=None if labels is None else self.contrastive_loss(embeddings, labels),
            embeddings=embeddings,
            **states,
        )
        return output if return_dict else output.to_tuple()

    def contrastive_loss(self, embeddings, labels):
        """For each spectrum, how surely its cosines tell the other spectra of its molecule from those of other
        molecules, in the batches of all processes; mean over the spectra whose molecule has another one there, 0 if
        there are none."""
        unit = gather_batch(nn.functional.normalize(embeddings.float(), dim=-1))
        labels = gather_batch(labels)
        itself = torch.eye(len(unit), dtype=torch.bool, device=unit.device)
        with torch.autocast(unit.device.type, enabled=False):  # bfloat16 would round cosines to 0.004
            cosines = unit @ unit.T
        lowest = torch.finfo(cosines.dtype).min  # -inf would make NaN of a batch of one
        logits = (cosines / self.config.contrast_temperature).masked_fill(itself, lowest)
        positive = (labels[:, None] == labels[None, :]) & ~itself
        num_positives = positive.sum(1)
        log_p = logits.log_softmax(1).masked_fill(~positive, 0.0).sum(1) / num_positives.clamp(min=1)
        return -log_p.sum() / (num_positives > 0).sum().clamp(min=1)


class DreamsForSequenceClassification(DreamsPreTrainedModel):
    """Properties of the molecule from its spectrum: a linear head on the precursor token. `config.problem_type` and
    `config.num_labels` say what it learns, as everywhere in transformers: the bits of a fingerprint are
    `multi_label_classification`, fluorine or not is `single_label_classification`."""

    def __init__(self, config: DreamsConfig):
        super().__init__(config)
        self.dreams = DreamsModel(config)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)
        self.classifier = nn.Linear(config.hidden_size, config.num_labels)
        self.post_init()

    def forward(
        self,
        peaks,
        peaks_mask=None,
        fragment_counts=None,
        labels=None,
        output_hidden_states=None,
        return_dict=None,
        **kwargs,
    ) -> tuple | DreamsForSequenceClassificationOutput:
        """Arguments as `DreamsModel.forward`, and

        labels: `(batch,)` class ids, or `(batch, num_labels)` float32 zeros and ones for several labels at once.
        """
        return_dict = self.config.return_dict if return_dict is None else return_dict
        states = self.dreams(
            peaks, peaks_mask, fragment_counts, output_hidden_states=output_hidden_states, return_dict=True
        )
        logits = self.classifier(self.dropout(states.last_hidden_state[:, 0]))
        loss = None
        if labels is not None:
            loss = self.loss_function(labels=labels, pooled_logits=logits.float(), config=self.config)
        output = DreamsForSequenceClassificationOutput(loss=loss, logits=logits, **states)
        return output if return_dict else output.to_tuple()


class DreamsForPreTraining(DreamsPreTrainedModel):
    """Self-supervision: the m/z of masked peaks (focal loss over bins) and the retention order of two spectra."""

    def __init__(self, config: DreamsConfig):
        super().__init__(config)
        self.dreams = DreamsModel(config)
        self.mz_head = nn.Linear(config.hidden_size, round(config.max_mz / config.mz_bin_size))
        self.retention_order_head = nn.Linear(2 * config.hidden_size, 1, bias=False)
        self.post_init()

    def forward(
        self,
        peaks,
        peaks_mask=None,
        mz_labels=None,
        retention_order_labels=None,
        output_hidden_states=None,
        return_dict=None,
        **kwargs,
    ) -> tuple | DreamsForPreTrainingOutput:
        """
        Args:
            peaks, peaks_mask: as `DreamsModel.forward`; the m/z of masked peaks is -1.
            mz_labels: `(batch, tokens)` float32, true m/z in Da of masked peaks and -100 elsewhere.
            retention_order_labels: `(batch / 2,)`: 1 if spectrum 2i elutes before spectrum 2i + 1, else 0, and -100
                where they cannot be compared.

        Raises:
            ValueError: as `DreamsModel.forward`; retention orders that are not one for each two spectra.
        """
        return_dict = self.config.return_dict if return_dict is None else return_dict
        states = self.dreams(peaks, peaks_mask, output_hidden_states=output_hidden_states, return_dict=True)
        mz_logits = self.mz_head(states.last_hidden_state)
        pairs = states.last_hidden_state[:, 0]
        order_logits = (
            self.retention_order_head(pairs.reshape(len(pairs) // 2, -1))[:, 0] if len(pairs) % 2 == 0 else None
        )
        if retention_order_labels is not None and 2 * len(retention_order_labels) != len(pairs):
            raise ValueError(
                f"{len(retention_order_labels)} retention_order_labels for {len(pairs)} spectra, not half as many"
            )

        loss = None
        if mz_labels is not None:
            loss = self.masked_mz_loss(mz_logits, mz_labels)
            if retention_order_labels is not None:
                weight = self.config.retention_order_weight
                loss = (1 - weight) * loss + weight * self.retention_order_loss(order_logits, retention_order_labels)
        output = DreamsForPreTrainingOutput(
            loss=loss, mz_logits=mz_logits, retention_order_logits=order_logits, **states
        )
        return output if return_dict else output.to_tuple()

    def masked_mz_loss(self, mz_logits, mz_labels):
        """Focal loss (Lin et al. 2017) over m/z bins, mean over the masked peaks; 0 if there are none."""
        masked = mz_labels != -100
        num_bins = mz_logits.shape[-1]
        bins = (mz_labels[masked] / self.config.mz_bin_size).round().long().clamp(max=num_bins - 1)
        log_p = mz_logits[masked].float().log_softmax(-1).gather(-1, bins[:, None])[:, 0]
        focal = (1 - log_p.exp()) ** self.config.focal_loss_gamma * log_p
        return -focal.sum() / mean_over_processes(masked.sum()).clamp(min=1e-6)

    def retention_order_loss(self, logits, labels):
        """Binary cross-entropy, mean over the pairs that can be compared."""
        comparable = labels != -100
        losses = nn.functional.binary_cross_entropy_with_logits(
            logits[comparable].float(), labels[comparable].float(), reduction="sum"
        )
        return losses / mean_over_processes(comparable.sum()).clamp(min=1e-6)


__all__ = [
    "DreamsForPreTraining",
    "DreamsForSequenceClassification",
    "DreamsForSpectralEmbedding",
    "DreamsModel",
    "DreamsPreTrainedModel",
]
