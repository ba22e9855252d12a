"""The Q-Former projector (BLIP-2; Li et al. 2023): queries read the encoder states and become soft tokens. Its text
branch reads molecules, so that the same weights compare, match and describe spectra and molecules (stage 1)."""

import torch
from torch import nn
from transformers import Blip2QFormerModel
from transformers.models.blip_2.modeling_blip_2 import Blip2TextEmbeddings

from .configuration_spec2mol import Spec2MolConfig


class QFormerProjector(nn.Module):
    """Needs `projector_config.use_qformer_text_input` for everything but `forward`.

    Notable: attention masks are explicit and 4-D. Between Q queries and T text tokens, `attention_mask` knows
    - "bidirectional" (matching): everybody sees everybody;
    - "causal" (generation, UniLM): queries see queries, text sees the queries and earlier text.
    Contrast keeps both apart by running them separately.
    """

    reads_hidden_states = False

    def __init__(self, config: Spec2MolConfig):
        super().__init__()
        self.config = config.projector_config
        size = self.config.hidden_size
        self.num_queries = config.num_query_tokens  # PEFT may wrap the embedding and hide its size.
        self.query_tokens = nn.Embedding(self.num_queries, size)
        self.qformer = Blip2QFormerModel._from_config(self.config)
        self.language_projection = nn.Linear(size, config.text_config.hidden_size)
        self.encoder_norm = nn.LayerNorm(config.encoder_config.hidden_size) if config.normalize_encoder else None
        self.learns_temperature = self.config.use_qformer_text_input and config.contrast_temperature is None
        if self.config.use_qformer_text_input:
            self.text_embeddings = Blip2TextEmbeddings(self.config)
            self.spectrum_projection = nn.Linear(size, config.contrast_size)
            self.molecule_projection = nn.Linear(size, config.contrast_size)
            self.matching_head = nn.Linear(size, 2)
            self.generation_head = nn.Linear(size, self.config.vocab_size)
            self.temperature = config.contrast_temperature
            if self.learns_temperature:
                self.temperature = nn.Parameter(torch.tensor(0.07))

    def forward(self, encoder_output):
        """Encoder output -> soft tokens `(batch, queries, text_config.hidden_size)`."""
        return self.language_projection(self.query_states(encoder_output))

    def query_states(self, encoder_output):
        """What the queries have read, `(batch, queries, hidden)`."""
        return self._run(encoder_output, queries=self._queries(encoder_output))

    def spectrum_features(self, query_states):
        """Unit vectors `(batch, queries, contrast_size)`; a molecule is compared with the nearest of them."""
        self._check_text_branch()
        return nn.functional.normalize(self.spectrum_projection(query_states), dim=-1)

    def molecule_features(self, molecule_ids, molecule_mask):
        """Token ids `(batch, text)` -> unit vectors `(batch, contrast_size)`."""
        self._check_text_branch()
        states = self._run(text=self._text(molecule_ids), attention_mask=molecule_mask[:, None, None, :].bool())
        return nn.functional.normalize(self.molecule_projection(states[:, 0]), dim=-1)

    def similarity(self, spectrum_features, molecule_features):
        """Cosine of every spectrum with every molecule, the best over queries: `(spectra, molecules)`."""
        return torch.einsum("sqc,mc->smq", spectrum_features, molecule_features).amax(-1)

    def matching_logits(self, encoder_output, molecule_ids, molecule_mask):
        """Logits `(batch, 2)` of [other molecule, this molecule] for spectrum i with molecule i."""
        self._check_text_branch()
        states = self._joint(encoder_output, molecule_ids, molecule_mask, "bidirectional")
        return self.matching_head(states[:, : self.num_queries]).mean(1)

    def generation_logits(self, encoder_output, molecule_ids, molecule_mask):
        """Logits `(batch, text, vocabulary)` of each next token, given the queries and the tokens so far."""
        self._check_text_branch()
        states = self._joint(encoder_output, molecule_ids, molecule_mask, "causal")
        return self.generation_head(states[:, self.num_queries :])

    def attention_mask(self, kind: str, molecule_mask):
        """`(batch, 1, queries + text, queries + text)`, True = may attend; padding is hidden as a key."""
        num_queries, (batch, length) = self.num_queries, molecule_mask.shape
        allowed = torch.ones(num_queries + length, num_queries + length, dtype=torch.bool, device=molecule_mask.device)
        if kind == "causal":
            allowed = allowed.tril()
            allowed[:num_queries, :num_queries] = True
        real = torch.cat([molecule_mask.new_ones(batch, num_queries), molecule_mask], dim=1).bool()
        return allowed & real[:, None, None, :]

    def _queries(self, encoder_output):
        ids = torch.arange(self.num_queries, device=encoder_output.last_hidden_state.device)
        # Called, not read: PEFT replaces the module's forward.
        return self.query_tokens(ids).expand(len(encoder_output.last_hidden_state), -1, -1)

    def _text(self, molecule_ids):
        if molecule_ids.shape[1] > self.config.max_position_embeddings:
            raise ValueError(
                f"molecules of {molecule_ids.shape[1]} tokens, but the text branch reads at most "
                f"{self.config.max_position_embeddings} (projector_config.max_position_embeddings)"
            )
        # The positions are given because the module's own, a buffer that no file holds, are garbage after loading.
        positions = torch.arange(molecule_ids.shape[1], device=molecule_ids.device)
        return self.text_embeddings(molecule_ids, position_ids=positions[None])

    def _joint(self, encoder_output, molecule_ids, molecule_mask, kind):
        return self._run(
            encoder_output,
            queries=self._queries(encoder_output),
            text=self._text(molecule_ids),
            attention_mask=self.attention_mask(kind, molecule_mask),
        )

    def _run(self, encoder_output=None, queries=None, text=None, attention_mask=None):
        parts = [part for part in (queries, text) if part is not None]
        num_queries = 0 if queries is None else queries.shape[1]
        encoder_states = encoder_mask = None
        if encoder_output is not None:
            encoder_states = encoder_output.last_hidden_state
            if self.encoder_norm is not None:
                encoder_states = self.encoder_norm(encoder_states)
            encoder_mask = encoder_output.attention_mask[:, None, None, :].bool().expand(-1, 1, num_queries, -1)
        return self.qformer(
            query_embeds=torch.cat(parts, dim=1),
            query_length=num_queries,
            attention_mask=self._for_backend(attention_mask),
            encoder_hidden_states=encoder_states,
            encoder_attention_mask=self._for_backend(encoder_mask),
        ).last_hidden_state

    def _for_backend(self, mask):
        """SDPA takes booleans; eager attention adds the mask to its logits."""
        if mask is None or self.qformer.config._attn_implementation != "eager":
            return mask
        dtype = self.qformer.dtype
        return torch.zeros_like(mask, dtype=dtype).masked_fill(~mask, torch.finfo(dtype).min)

    def _check_text_branch(self):
        if not self.config.use_qformer_text_input:
            raise ValueError(
                "this model was made without a text branch (projector_config.use_qformer_text_input=False): "
                "it writes molecules but cannot compare or match them"
            )


__all__ = ["QFormerProjector"]
