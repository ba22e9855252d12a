"""Which parameters a stage trains."""

from collections.abc import Sequence
from fnmatch import fnmatchcase

from torch import nn
from transformers import PreTrainedModel


def set_trainable(model: nn.Module, patterns: Sequence[str]) -> None:
    """Trains the parameters whose name matches one of the globs (such as `model.projector.*`) and freezes all others,
    always the fragmentation model: no loss of a stage reaches it (simulation/fit.py).

    Raises:
        ValueError: a pattern that matches nothing.
    """
    names = [name for name, _ in model.named_parameters()]
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name in names):
            raise ValueError(f"trainable pattern {pattern!r} matches no parameter; names are such as {names[0]}")
    for name, parameter in model.named_parameters():
        is_asked_for = any(fnmatchcase(name, pattern) for pattern in patterns)
        parameter.requires_grad = is_asked_for and not name.startswith("model.fragmentation.")


def add_lora(model: PreTrainedModel, fields: dict):
    """The model with low-rank adapters (PEFT): these and `modules_to_save` are trained, all else is frozen.

    The whole model is wrapped, never only its language model: a wrapped part would be saved under names that the whole
    does not know.

    Args:
        fields: of `peft.LoraConfig`; `target_modules` best as a regular expression over the whole model's names.
    """
    try:
        from peft import LoraConfig, get_peft_model
    except ImportError:
        raise ImportError("LoRA needs peft: pip install spec2mol[lora]") from None
    return get_peft_model(model, LoraConfig(**fields))


def frozen_modules(model: nn.Module) -> list[nn.Module]:
    """Those without any trained parameter. They must stay in eval mode: dropout or batch statistics in a part that
    cannot adapt to them would only be noise."""
    return [
        module
        for module in model.modules()
        if any(True for _ in module.parameters()) and not any(p.requires_grad for p in module.parameters())
    ]
