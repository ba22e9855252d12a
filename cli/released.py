"""What the checkpoints of molecule-language systems have in common: PyTorch Lightning's archive of a state dict, a
language model of Hugging Face, perhaps with LoRA."""

import re
from collections.abc import Mapping
from pathlib import Path

import torch

from .torch_archive import StoredTensor, read_archive, stored_state

MISSING = "{} is missing, there or in the language model"
LORA = re.compile(r"(.+)\.lora_(A|B)\.default\.weight")


def read_lightning(checkpoint: Path, prefix: str) -> tuple[dict[str, StoredTensor], Mapping]:
    """The weights, without the prefix of all names, and the hyperparameters. Nothing of the file is executed.

    Raises:
        FileNotFoundError, ValueError: no such file, or not such a checkpoint.
    """
    content = read_archive(checkpoint)
    state = stored_state(content, "state_dict")
    if state is None or not all(name.startswith(prefix) for name in state):
        raise ValueError(f"{checkpoint}: not such a checkpoint: no weights under 'state_dict', all named {prefix}…")
    hyperparameters = content.get("hyper_parameters")
    return {name.removeprefix(prefix): stored for name, stored in state.items()}, dict(hyperparameters or {})


def take(state: dict[str, StoredTensor], names: Mapping[str, str]) -> dict[str, torch.Tensor]:
    """The weights by our names, given theirs; they leave `state`. Raises KeyError: one is missing."""
    return {ours: state.pop(theirs).tensor() for ours, theirs in names.items()}


def take_language_model(state: dict[str, StoredTensor], prefix: str, model, alpha: float) -> None:
    """Loads what is named `prefix…` into a language model, over what it has: whole weights, and LoRA by W + alpha / r
    B A. They leave `state`. Of embeddings, only the rows that the model has: further tokens mark places alone.

    Raises:
        KeyError, ValueError: a name, or a shape, that the model lacks; half of a LoRA.
    """
    weights, whole, adapters = model.state_dict(), {}, {}
    for theirs in [name for name in state if name.startswith(prefix)]:
        tensor = state.pop(theirs).tensor().float()
        name = theirs.removeprefix(prefix).removeprefix("base_model.model.").replace(".base_layer.", ".")
        if found := LORA.fullmatch(name):
            adapters.setdefault(f"{found[1]}.weight", {})[found[2]] = tensor
        elif "rotary_emb" not in name:  # a buffer of earlier versions of transformers
            whole[name] = tensor
    for name, tensor in whole.items():
        rows = min(len(weights[name]), len(tensor))
        embeds = "embed_tokens" in name or "lm_head" in name
        if weights[name].shape[1:] != tensor.shape[1:] or (not embeds and len(weights[name]) != len(tensor)):
            raise ValueError(f"{name}: {tuple(tensor.shape)}, not {tuple(weights[name].shape)}")
        weights[name][:rows] = tensor[:rows]
    for name, pair in adapters.items():
        if pair.keys() != {"A", "B"}:
            raise ValueError(f"{name}: half of a LoRA")
        change = alpha / len(pair["A"]) * pair["B"] @ pair["A"]
        if change.shape != weights[name].shape:
            raise ValueError(f"{name}: LoRA of {tuple(change.shape)}, not {tuple(weights[name].shape)}")
        weights[name] += change.to(weights[name].dtype)  # in place: these are the model's own


def check_all_taken(checkpoint: Path, state: Mapping, unused: tuple[str, ...] = ()):
    """unused: starts of names that the published code makes and never reads. Raises ValueError."""
    if left := sorted(name for name in state if not name.startswith(unused)):
        raise ValueError(f"{checkpoint}: {len(left)} weights have no place, such as {left[0]}")
