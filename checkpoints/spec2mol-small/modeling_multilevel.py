"""LLaMo's projector (Park et al., NeurIPS 2024; https://github.com/mlvlab/LLaMo): queries for every level of a graph
encoder, and for functional groups, become soft tokens."""

import torch
from torch import nn

from .configuration_spec2mol import Spec2MolConfig


class MultilevelProjector(nn.Module):
    """Soft tokens are, in this order, those of the motif queries and of the queries of levels 0 (the embeddings), 1, …

    Notable: the published code builds its levels by `[MultiheadAttention] * 6`, so one attention serves all of them.
    Here each has its own, and `share_level_attention` is for weights of that code.
    """

    reads_hidden_states = True

    def __init__(self, config: Spec2MolConfig):
        super().__init__()
        self.config = config.projector_config
        size, num_heads = config.encoder_config.hidden_size, self.config.num_attention_heads
        num_levels = config.encoder_config.num_hidden_layers + 1
        num_tokens = self.config.num_motif_queries + num_levels * self.config.num_level_queries
        if num_tokens != config.num_query_tokens:
            raise ValueError(
                f"num_query_tokens is {config.num_query_tokens}, but there are {self.config.num_motif_queries} motif "
                f"queries and {num_levels} x {self.config.num_level_queries} of the levels: {num_tokens}"
            )
        if config.condition_config is not None:
            raise ValueError("a multilevel projector reads the encoder's own states: condition_config must be None")

        def attention():
            return nn.MultiheadAttention(size, num_heads, batch_first=True)

        self.level_queries = nn.Parameter(torch.randn(num_levels, self.config.num_level_queries, size))
        num_attentions = 1 if self.config.share_level_attention else num_levels
        self.level_attention = nn.ModuleList(attention() for _ in range(num_attentions))
        if self.config.num_motif_queries:
            self.motif_queries = nn.Parameter(torch.randn(self.config.num_motif_queries, size))
            self.motif_projection = nn.Linear(self.config.num_motif_features, size, bias=False)
            self.motif_attention = attention()
        self.norm = nn.LayerNorm(size)
        out_size, layers = config.text_config.hidden_size, []
        for depth in range(self.config.num_mlp_layers):
            layers += [nn.SiLU(), nn.Linear(out_size, out_size)] if depth else [nn.Linear(size, out_size)]
        self.mlp = nn.Sequential(*layers)

    def forward(self, encoder_output):
        """Encoder output with hidden_states and motifs -> soft tokens `(batch, tokens, text_config.hidden_size)`."""
        return self.mlp(self.query_states(encoder_output))

    def query_states(self, encoder_output):
        """What the queries have read, `(batch, tokens, hidden)`."""
        tokens = [self._read_levels(encoder_output.hidden_states, encoder_output.attention_mask.bool())]
        if self.config.num_motif_queries:
            tokens.insert(0, self._read_motifs(encoder_output.motif_features, encoder_output.motif_mask.bool()))
        return self.norm(torch.cat(tokens, dim=1))

    def _read_levels(self, levels, mask):
        tokens = []
        for number, (queries, states) in enumerate(zip(self.level_queries, levels, strict=True)):
            attention = self.level_attention[number % len(self.level_attention)]
            queries = queries.expand(len(mask), -1, -1)
            tokens.append(attention(queries, states, states, key_padding_mask=~mask, need_weights=False)[0])
        return torch.cat(tokens, dim=1)

    def _read_motifs(self, features, mask):
        """A molecule without any, as methane, leaves its queries as they are."""
        queries = self.motif_queries.expand(len(mask), -1, -1)
        none = ~mask.any(1, keepdim=True)
        # There must be something to attend to, whatever it is.
        keys = nn.functional.pad(self.motif_projection(features.to(queries.dtype)), (0, 0, 0, 1))
        hidden = ~torch.cat([mask, none], dim=1)
        read = self.motif_attention(queries, keys, keys, key_padding_mask=hidden, need_weights=False)[0]
        return torch.where(none[..., None], queries, read)


__all__ = ["MultilevelProjector"]
