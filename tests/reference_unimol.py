"""Uni-Mol's original forward pass (its `unimol.py` and `transformer_encoder_with_pair.py`), written down again for
tests: from weights under the original's names, a molecule at a time, in the original's order of steps."""

import numpy as np
import torch
from torch.nn.functional import gelu, layer_norm, linear, pad


@torch.no_grad()
def reference_unimol(state, num_heads: int, atom_ids, coordinates, padding: int = 0) -> torch.Tensor:
    """
    Args:
        state: `state_dict` of the original's `UniMolModel`.
        atom_ids: `(tokens,)`, no padding.
        coordinates: `(tokens, 3)` in Angstrom.
        padding: so many tokens are appended, as the collater of 3D-MoLM does.

    Returns:
        encoder_rep `(tokens + padding, hidden)`.
    """
    num_atoms, tokens, num_types = len(atom_ids), len(atom_ids) + padding, len(state["embed_tokens.weight"])

    def norm(x, name):
        return layer_norm(x, x.shape[-1:], state[f"{name}.weight"], state[f"{name}.bias"])

    def dense(x, name):
        return linear(x, state[f"{name}.weight"], state[f"{name}.bias"])

    xyz = coordinates.double().numpy()
    distances = torch.from_numpy(np.sqrt(((xyz[:, None] - xyz[None]) ** 2).sum(-1)).astype(np.float32))
    edge_type = atom_ids.view(-1, 1) * num_types + atom_ids.view(1, -1)
    distances, edge_type = (pad(x, (0, padding, 0, padding)) for x in (distances, edge_type))
    atom_ids = pad(atom_ids, (0, padding))
    x = state["gbf.mul.weight"][edge_type] * distances[..., None] + state["gbf.bias.weight"][edge_type]
    std = state["gbf.stds.weight"].view(-1).abs() + 1e-5
    x = torch.exp(-0.5 * ((x - state["gbf.means.weight"].view(-1)) / std) ** 2) / ((2 * 3.14159) ** 0.5 * std)
    bias = dense(gelu(dense(x, "gbf_proj.linear1")), "gbf_proj.linear2").permute(2, 0, 1).clone()
    bias[..., num_atoms:] = -torch.inf

    hidden = norm(state["embed_tokens.weight"][atom_ids], "encoder.emb_layer_norm")
    hidden[num_atoms:] = 0
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
