"""Uni-Mol's original forward pass (its `unimol.py` and `transformer_encoder_with_pair.py`), written down again for
tests: from weights under the original's names, a molecule at a time, in the original's order of steps."""

import numpy as np
import torch
from torch.nn.functional import gelu, layer_norm, linear


@torch.no_grad()
def reference_unimol(state, num_heads: int, atom_ids, coordinates) -> torch.Tensor:
    """
    Args:
        state: `state_dict` of the original's `UniMolModel`.
        atom_ids: `(tokens,)`, no padding.
        coordinates: `(tokens, 3)` in Angstrom.

    Returns:
        encoder_rep `(tokens, hidden)`.
    """
    tokens, num_types = len(atom_ids), len(state["embed_tokens.weight"])

    def norm(x, name):
        return layer_norm(x, x.shape[-1:], state[f"{name}.weight"], state[f"{name}.bias"])

    def dense(x, name):
        return linear(x, state[f"{name}.weight"], state[f"{name}.bias"])

    xyz = coordinates.double().numpy()
    distances = torch.from_numpy(np.sqrt(((xyz[:, None] - xyz[None]) ** 2).sum(-1)).astype(np.float32))
    edge_type = atom_ids.view(-1, 1) * num_types + atom_ids.view(1, -1)
    x = state["gbf.mul.weight"][edge_type] * distances[..., None] + state["gbf.bias.weight"][edge_type]
    std = state["gbf.stds.weight"].view(-1).abs() + 1e-5
    x = torch.exp(-0.5 * ((x - state["gbf.means.weight"].view(-1)) / std) ** 2) / ((2 * 3.14159) ** 0.5 * std)
    bias = dense(gelu(dense(x, "gbf_proj.linear1")), "gbf_proj.linear2").permute(2, 0, 1)

    hidden = norm(state["embed_tokens.weight"][atom_ids], "encoder.emb_layer_norm")
    for i in range(sum(key.endswith("self_attn_layer_norm.weight") for key in state)):
        layer = f"encoder.layers.{i}"
        q, k, v = dense(norm(hidden, f"{layer}.self_attn_layer_norm"), f"{layer}.self_attn.in_proj").chunk(3, dim=-1)
        q, k, v = (part.view(tokens, num_heads, -1).transpose(0, 1) for part in (q, k, v))
        bias = (q * q.shape[-1] ** -0.5) @ k.transpose(1, 2) + bias  # the next layer's as well
        attended = (bias.softmax(-1) @ v).transpose(0, 1).reshape(tokens, -1)
        hidden = hidden + dense(attended, f"{layer}.self_attn.out_proj")
        x = gelu(dense(norm(hidden, f"{layer}.final_layer_norm"), f"{layer}.fc1"))
        hidden = hidden + dense(x, f"{layer}.fc2")
    return norm(hidden, "encoder.final_layer_norm")
