"""The libraries that score texts, an extra."""

from importlib import import_module


def library(name: str):
    """Raises ImportError, with the command that installs it."""
    try:
        return import_module(name)
    except ImportError:
        raise ImportError(f'{name.partition(".")[0]} scores texts: pip install "spec2mol[tasks]"') from None
