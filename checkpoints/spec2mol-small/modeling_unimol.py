"""Uni-Mol, the encoder of 3D conformers (Zhou et al., ICLR 2023; https://github.com/deepmodeling/Uni-Mol), as 3D-MoLM
uses it. `spec2mol convert-unimol` converts the released weights.

Notable:
- atoms have no positions but their distances, which enter as a bias of the attention logits: so nothing changes when
  a conformer is rotated, moved or reflected (mirror images look alike), and atoms may come in any order;
- each layer's logits, before the softmax, are the next layer's bias: pairs of atoms have a state of their own;
- distances and Gaussians are computed in float32 whatever the dtype of the weights;
- 3D-MoLM's Q-Former was trained on the states of padding, by a mask turned round. `reads_padding` is for its weights.
"""

from dataclasses import dataclass

import torch
from torch import nn
from transformers import PreTrainedModel
from transformers import initialization as init
from transformers.modeling_layers import GradientCheckpointingLayer
from transformers.modeling_outputs import ModelOutput

from .configuration_spec2mol import UniMolConfig

PI = 3.14159  # the original's, which the weights were trained with


@dataclass
class UniMolModelOutput(ModelOutput):
    """
    last_hidden_state (`(batch, tokens, hidden)`): start, atoms, end.
    hidden_states (tuple of `num_hidden_layers + 1` such tensors, on request): the embeddings, then each layer's
        output, the last one after the final LayerNorm.
    attention_mask (`(batch, tokens)`): 1 = real token, 0 = padding; with `reads_padding` the other way round.
    """

    last_hidden_state: torch.FloatTensor | None = None
    hidden_states: tuple[torch.FloatTensor, ...] | None = None
    attention_mask: torch.LongTensor | None = None


class GaussianPairBias(nn.Module):
    """Distances `(batch, tokens, tokens)` in Angstrom and ids of the ordered pairs of atoms, of the same shape -> bias
    `(batch, heads, tokens, tokens)`: a scale and a shift for each pair, Gaussians of the result, an MLP."""

    def __init__(self, config: UniMolConfig):
        super().__init__()
        self.means = nn.Parameter(torch.empty(config.num_gaussians))
        self.stds = nn.Parameter(torch.empty(config.num_gaussians))
        self.scales = nn.Parameter(torch.empty(config.vocab_size**2))
        self.shifts = nn.Parameter(torch.empty(config.vocab_size**2))
        self.in_proj = nn.Linear(config.num_gaussians, config.num_gaussians)
        self.out_proj = nn.Linear(config.num_gaussians, config.num_attention_heads)

    def forward(self, distances, pairs):
        x = self.scales[pairs].float() * distances + self.shifts[pairs].float()
        std = self.stds.float().abs() + 1e-5
        gaussians = (-0.5 * ((x[..., None] - self.means.float()) / std) ** 2).exp() / ((2 * PI) ** 0.5 * std)
        hidden = nn.functional.gelu(self.in_proj(gaussians.to(self.in_proj.weight.dtype)))
        return self.out_proj(hidden).permute(0, 3, 1, 2)


class UniMolAttention(nn.Module):
    def __init__(self, config: UniMolConfig):
        super().__init__()
        self.num_heads = config.num_attention_heads
        self.in_proj = nn.Linear(config.hidden_size, 3 * config.hidden_size)
        self.out_proj = nn.Linear(config.hidden_size, config.hidden_size)
        self.dropout = nn.Dropout(config.attention_probs_dropout_prob)

    def forward(self, hidden_states, pair_bias):
        """-> attended states, and the logits `(batch, heads, tokens, tokens)`, bias included."""
        batch, tokens, size = hidden_states.shape
        q, k, v = (
            x.view(batch, tokens, self.num_heads, -1).transpose(1, 2)
            for x in self.in_proj(hidden_states).chunk(3, dim=-1)
        )
        logits = q * q.shape[-1] ** -0.5 @ k.transpose(-1, -2) + pair_bias
        attended = self.dropout(logits.softmax(-1)) @ v
        return self.out_proj(attended.transpose(1, 2).reshape(batch, tokens, size)), logits


class UniMolLayer(GradientCheckpointingLayer):
    """Pre-norm."""

    def __init__(self, config: UniMolConfig):
        super().__init__()
        self.attention_norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.attention = UniMolAttention(config)
        self.feed_forward_norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.up_proj = nn.Linear(config.hidden_size, config.intermediate_size)
        self.down_proj = nn.Linear(config.intermediate_size, config.hidden_size)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)

    def forward(self, hidden_states, pair_bias):
        attended, pair_bias = self.attention(self.attention_norm(hidden_states), pair_bias)
        hidden_states = hidden_states + self.dropout(attended)
        fed_forward = self.down_proj(nn.functional.gelu(self.up_proj(self.feed_forward_norm(hidden_states))))
        return hidden_states + self.dropout(fed_forward), pair_bias


class UniMolModel(PreTrainedModel):
    """Conformers -> states. Reads what `Spec2MolFeatureExtractor` with `molecules="conformer"` makes."""

    config: UniMolConfig
    main_input_name = "atom_ids"
    supports_gradient_checkpointing = True
    _no_split_modules = ["UniMolLayer"]

    # What the composite model hands to its encoder
    input_names = ("atom_ids", "coordinates", "atoms_mask")

    def __init__(self, config: UniMolConfig):
        super().__init__(config)
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size, padding_idx=config.pad_token_id)
        self.embed_norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.pair_bias = GaussianPairBias(config)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)
        self.layers = nn.ModuleList(UniMolLayer(config) for _ in range(config.num_hidden_layers))
        self.norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.post_init()

    @torch.no_grad()
    def _init_weights(self, module):
        """BERT's; the Gaussians as Uni-Mol means them (its code overwrites them with BERT's as well)."""
        super()._init_weights(module)
        if isinstance(module, GaussianPairBias):
            init.uniform_(module.means, 0, 3)
            init.uniform_(module.stds, 0, 3)
            init.ones_(module.scales)
            init.zeros_(module.shifts)

    def forward(
        self, atom_ids, coordinates, atoms_mask=None, output_hidden_states=None, return_dict=None, **kwargs
    ) -> tuple | UniMolModelOutput:
        """
        Args:
            atom_ids: `(batch, tokens)`: start, the atoms without hydrogens, end, padding.
            coordinates: `(batch, tokens, 3)` float32 in Angstrom, centred; start and end lie in the origin.
            atoms_mask: `(batch, tokens)`, 1 = real; by default where atom_ids are not padding.

        Raises:
            ValueError: coordinates in a dtype other than float32.
        """
        if coordinates.dtype != torch.float32:
            raise ValueError(f"coordinates are {coordinates.dtype}, not torch.float32. Cast the model, not its inputs")
        output_hidden_states = (
            self.config.output_hidden_states if output_hidden_states is None else output_hidden_states
        )
        return_dict = self.config.return_dict if return_dict is None else return_dict
        mask = (atom_ids != self.config.pad_token_id) if atoms_mask is None else atoms_mask.bool()
        if self.config.reads_padding:  # There is some, and all of a molecule's is alike, however much.
            atom_ids, mask = nn.functional.pad(atom_ids, (0, 1)), nn.functional.pad(mask, (0, 1))
            coordinates = nn.functional.pad(coordinates, (0, 0, 0, 1))
        distances = torch.cdist(coordinates, coordinates, compute_mode="donot_use_mm_for_euclid_dist")
        pairs = atom_ids[:, :, None] * self.config.vocab_size + atom_ids[:, None, :]
        known = mask[:, :, None] & mask[:, None, :]  # The original's padding lies nowhere, next to everything.
        pair_bias = self.pair_bias(distances * known, pairs * known).masked_fill(~mask[:, None, None, :], -torch.inf)

        hidden_states = self.dropout(self.embed_norm(self.embed_tokens(atom_ids))) * mask[..., None]
        all_hidden_states = [hidden_states]
        for layer in self.layers:
            hidden_states, pair_bias = layer(hidden_states, pair_bias)
            all_hidden_states.append(hidden_states)
        all_hidden_states[-1] = hidden_states = self.norm(hidden_states)

        output = UniMolModelOutput(
            last_hidden_state=hidden_states,
            hidden_states=tuple(all_hidden_states) if output_hidden_states else None,
            attention_mask=(~mask if self.config.reads_padding else mask).long(),
        )
        return output if return_dict else output.to_tuple()


__all__ = ["UniMolModel"]
