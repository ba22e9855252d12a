"""The original DreaMS forward pass, written down again as the reference of tests and benchmark.

Independent of `modeling_dreams` but for the weights, and as wasteful as the original: every spectrum is padded to
`num_peaks + 1` tokens; the pairwise bias is the sum over a materialised `(batch, tokens, tokens, fourier_hidden_size)`
tensor of differences, taken in every layer; the padding mask is applied to the rows (queries) of the attention logits,
not to the keys.
"""

import math
from typing import NamedTuple

import torch


class Reference(NamedTuple):
    hidden_states: list[torch.Tensor]
    """`num_hidden_layers + 1` tensors `(batch, num_peaks + 1, hidden)`, the last one after the final LayerNorm."""
    padding: torch.Tensor
    """`(batch, num_peaks + 1)`, True where a token is padding."""


def pad(peaks: torch.Tensor, num_tokens: int) -> torch.Tensor:
    """`(batch, tokens, 2)` -> `(batch, num_tokens, 2)`, zeros on the right."""
    return torch.nn.functional.pad(peaks, (0, 0, 0, num_tokens - peaks.shape[1]))


def frequencies(config) -> torch.Tensor:
    """`lin_float_int`: float32, in 1/Da."""
    fine = 1 / (config.min_wavelength * torch.arange(2, 1 / config.min_wavelength, 2, dtype=torch.float64))
    coarse = 1 / torch.arange(2, config.max_mz, 1, dtype=torch.float64)
    return torch.cat([fine, coarse]).float()


@torch.no_grad()
def reference_forward(model, peaks: torch.Tensor) -> Reference:
    """
    Args:
        model: a `DreamsModel` in float32; only its weights and config are read.
        peaks: `(batch, tokens, 2)`, padded by zeros to any length up to `num_peaks + 1`.
    """
    config = model.config
    weights = {name: parameter.detach() for name, parameter in model.named_parameters()}
    num_heads = config.num_attention_heads
    peaks = pad(peaks, config.num_peaks + 1)
    mz, intensity = peaks[..., 0], peaks[..., 1]
    batch, tokens = mz.shape
    padding = mz == 0

    def mlp(x, name, depth):
        for i in range(depth):
            weight, bias = (
                weights[f"embeddings.{name}.layers.{i}.weight"],
                weights[f"embeddings.{name}.layers.{i}.bias"],
            )
            x = torch.relu(x @ weight.T + bias)
        return x

    def norm(x, name):
        centred = x - x.mean(-1, keepdim=True)
        scaled = centred / (centred.square().mean(-1, keepdim=True) + config.layer_norm_eps).sqrt()
        return scaled * weights[f"{name}.weight"] + weights[f"{name}.bias"]

    def heads(x):
        return x.view(batch, tokens, num_heads, -1).transpose(1, 2)

    x = 2 * torch.pi * mz[..., None] * frequencies(config)
    fourier = mlp(torch.cat([torch.cos(x), torch.sin(x)], dim=-1), "fourier_mlp", config.fourier_num_layers)
    peak = mlp(torch.stack([mz / config.max_mz, intensity], dim=-1), "peak_mlp", config.peak_num_layers)
    hidden = torch.cat([peak, fourier], dim=-1)
    differences = fourier[:, :, None] - fourier[:, None]  # (batch, tokens, tokens, fourier_hidden_size)

    hidden_states = [hidden]
    for i in range(config.num_hidden_layers):
        x = norm(hidden, f"layers.{i}.attention_norm")
        q, k, v = (heads(x @ weights[f"layers.{i}.attention.{name}_proj.weight"].T) for name in "qkv")
        logits = q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])
        if config.mass_difference_bias:
            logits = logits + differences.sum(-1)[:, None]
        logits = logits.masked_fill(padding[:, None, :, None], -1e9)
        attended = (logits.softmax(-1) @ v).transpose(1, 2).reshape(batch, tokens, -1)
        hidden = hidden + attended @ weights[f"layers.{i}.attention.out_proj.weight"].T
        x = norm(hidden, f"layers.{i}.feed_forward_norm")
        x = torch.relu(x @ weights[f"layers.{i}.up_proj.weight"].T) @ weights[f"layers.{i}.down_proj.weight"].T
        hidden = hidden + x
        hidden_states.append(hidden)
    hidden_states[-1] = norm(hidden, "norm")
    return Reference(hidden_states, padding)
