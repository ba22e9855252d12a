"""Modality experts: the gated feed-forward layers of a Llama-like model, cut into clusters of neurons, of which each
token uses as many as its modality gets. As in SciMind (https://github.com/fangxintao/SciMind), with clusters as in
MoEfication (Zhang et al. 2022).

Notable:
- A cluster's score is the sum of its activations act(gate(x)) * up(x): no router is learned, no gradient passes
  through the choice, and what is not chosen gets none.
- Exactly k clusters stay, also where scores tie. The published code joins the best of both modalities, of zeros where
  a token is of the other one, so that about 14 stay for every token.
- Clusters lie side by side: `partition_neurons` reorders rows of gate and up and columns of down alike, which leaves
  the dense layer as it is, so weights need no index beside them.
- Scores need gate and up of all clusters; down is computed for the active ones alone where these are few.
"""

import torch
from torch import nn

from .configuration_spec2mol import ModalityExpertsConfig

KMEANS_STEPS = 10


class ModalityRouter:
    """Holds the modality of each token of the current forward pass of a language model for its layers."""

    def __init__(self, config: ModalityExpertsConfig):
        self.config = config
        self.token_types = None

    def token_types_of(self, input_ids: torch.LongTensor) -> torch.LongTensor:
        """The modality of each id: 0 = text."""
        types = torch.zeros_like(input_ids)
        for modality, (first, end) in enumerate(self.config.modality_token_ids, start=1):
            types = torch.where((input_ids >= first) & (input_ids < end), modality, types)
        return types

    def take(self, module, args, kwargs):
        """Before a forward pass of the language model, which does not know the argument."""
        self.token_types = kwargs.pop("moe_mm_token_type_ids", None)
        return args, kwargs


class ModalityExpertsMLP(nn.Module):
    """In the place of a gated feed-forward layer, whose projections it keeps under their names."""

    # Down projections cluster by cluster pay for so many tokens, of which so few clusters are active
    # (benchmarks/modality_experts.py).
    sparse_tokens = 64
    sparse_share = 0.25

    def __init__(self, mlp: nn.Module, router: ModalityRouter):
        super().__init__()
        self.gate_proj, self.up_proj, self.down_proj = mlp.gate_proj, mlp.up_proj, mlp.down_proj
        self.act_fn = mlp.act_fn
        self.num_experts = router.config.num_experts
        self.router = router

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        """`(batch, length, hidden)` -> the same shape.

        Raises:
            ValueError: no modalities, or of another number of tokens.
        """
        types = self.router.token_types
        if types is None or types.shape != hidden_states.shape[:-1]:
            given = None if types is None else tuple(types.shape)
            raise ValueError(f"moe_mm_token_type_ids {given} for tokens {tuple(hidden_states.shape[:-1])}")
        hidden = self.act_fn(self.gate_proj(hidden_states)) * self.up_proj(hidden_states)
        clusters = hidden.unflatten(-1, (self.num_experts, -1))
        counts = torch.tensor(self.router.config.active_experts, device=types.device)[types]
        active = self.active_clusters(clusters, counts)
        sparse = counts <= self.sparse_share * self.num_experts
        plain = type(self.down_proj) is nn.Linear  # Adapted or quantised, it is no matrix to take columns of.
        if not plain or sparse.sum() < self.sparse_tokens:
            return self.down_proj((clusters * active[..., None]).flatten(-2))
        output = clusters.new_empty(hidden_states.shape)  # in the dtype of autocast
        dense = self.down_proj((clusters[~sparse] * active[~sparse][..., None]).flatten(-2))
        output[~sparse] = dense.to(output.dtype)
        output[sparse] = self.down_active(clusters[sparse], active[sparse]).to(output.dtype)
        return output

    def active_clusters(self, clusters, counts) -> torch.BoolTensor:
        """`(..., experts)`: the `counts` (`(...)`) clusters with the highest scores; the first ones of equal ones."""
        order = clusters.detach().sum(-1).argsort(dim=-1, descending=True, stable=True)
        return order.argsort(dim=-1) < counts[..., None]

    def down_active(self, clusters, active) -> torch.Tensor:
        """`(tokens, experts, neurons)` -> `(tokens, hidden)`: products of the active clusters alone."""
        weights = self.down_proj.weight.unflatten(1, (self.num_experts, -1))
        output = clusters.new_zeros(len(clusters), len(weights))
        for expert in range(self.num_experts):
            tokens = active[:, expert].nonzero()[:, 0]
            output = output.index_add(0, tokens, clusters[tokens, expert] @ weights[:, expert].T)
        return output if self.down_proj.bias is None else output + self.down_proj.bias


def add_modality_experts(language_model: nn.Module, config: ModalityExpertsConfig) -> ModalityRouter:
    """Rewrites all gated feed-forward layers in place. From then on the language model takes `moe_mm_token_type_ids`
    (`(batch, length)`, 0 = text).

    Raises:
        ValueError: it has no such layer, or one that cannot be divided.
    """
    router = ModalityRouter(config)
    for parent, name in gated_layers(language_model, config.num_experts):
        setattr(parent, name, ModalityExpertsMLP(getattr(parent, name), router))
    language_model.register_forward_pre_hook(router.take, with_kwargs=True)
    return router


@torch.no_grad()
def partition_neurons(language_model: nn.Module, num_experts: int, seed: int = 0):
    """Reorders the neurons of all gated feed-forward layers by clusters of their rows of up, which are alike. The
    model computes what it did.

    Raises:
        ValueError: as `add_modality_experts`.
    """
    for parent, name in gated_layers(language_model, num_experts):
        mlp = getattr(parent, name)
        order = balanced_kmeans(mlp.up_proj.weight.float(), num_experts, seed).argsort(stable=True)
        for projection in (mlp.gate_proj, mlp.up_proj):
            projection.weight.copy_(projection.weight[order])
            if projection.bias is not None:
                projection.bias.copy_(projection.bias[order])
        mlp.down_proj.weight.copy_(mlp.down_proj.weight[:, order])


def balanced_kmeans(rows: torch.Tensor, num_clusters: int, seed: int = 0) -> torch.LongTensor:
    """`(rows, features)` -> the cluster of each row, all of the same size: Lloyd's steps, in which the rows that lose
    most by their second choice choose first among the clusters that have room."""
    generator = torch.Generator().manual_seed(seed)
    centres = rows[torch.randperm(len(rows), generator=generator)[:num_clusters].to(rows.device)]
    for _ in range(KMEANS_STEPS):
        distances = torch.cdist(rows, centres)
        nearest = distances.topk(2, largest=False).values
        preferred = distances.argsort(1).tolist()
        room = [len(rows) // num_clusters] * num_clusters
        labels = [0] * len(rows)
        for row in (nearest[:, 0] - nearest[:, 1]).argsort().tolist():
            labels[row] = next(cluster for cluster in preferred[row] if room[cluster])
            room[labels[row]] -= 1
        labels = torch.tensor(labels, device=rows.device)
        centres = torch.stack([rows[labels == cluster].mean(0) for cluster in range(num_clusters)])
    return labels


def gated_layers(language_model: nn.Module, num_experts: int) -> list[tuple[nn.Module, str]]:
    """Parent and name of each layer with gate_proj, up_proj, down_proj and act_fn."""
    found = []
    for parent in language_model.modules():
        for name, child in parent.named_children():
            if all(hasattr(child, part) for part in ("gate_proj", "up_proj", "down_proj", "act_fn")):
                if child.up_proj.out_features % num_experts:
                    raise ValueError(
                        f"{child.up_proj.out_features} neurons cannot be divided into {num_experts} experts"
                    )
                found.append((parent, name))
    if not found:
        raise ValueError(f"{type(language_model).__name__} has no gated feed-forward layers")
    return found


__all__ = ["ModalityExpertsMLP", "ModalityRouter", "add_modality_experts", "balanced_kmeans", "partition_neurons"]
