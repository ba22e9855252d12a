"""Which parameters a stage trains."""

from collections.abc import Sequence
from fnmatch import fnmatchcase

from torch import nn


def set_trainable(model: nn.Module, patterns: Sequence[str]) -> list[nn.Module]:
    """Trains the parameters whose name matches one of the globs (such as `model.projector.*`) and freezes all others.

    Returns:
        The frozen modules. They must stay in eval mode: dropout or batch statistics in a part that cannot adapt to
        them would only be noise.

    Raises:
        ValueError: a pattern that matches nothing.
    """
    names = [name for name, _ in model.named_parameters()]
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name in names):
            raise ValueError(f"trainable pattern {pattern!r} matches no parameter; names are such as {names[0]}")
    for name, parameter in model.named_parameters():
        parameter.requires_grad = any(fnmatchcase(name, pattern) for pattern in patterns)
    return [
        module
        for module in model.modules()
        if any(True for _ in module.parameters()) and not any(p.requires_grad for p in module.parameters())
    ]
