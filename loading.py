"""The model to use: a folder, a Hub name, or the checkpoint that ships with the package."""

import json
from pathlib import Path

from huggingface_hub import HfApi, try_to_load_from_cache
from torch import nn
from transformers import AutoConfig, PreTrainedConfig

from .feature_extraction_spec2mol import Spec2MolFeatureExtractor
from .modeling_dreams import DreamsForSpectralEmbedding, DreamsModel
from .modeling_spec2mol import Spec2MolForConditionalGeneration, Spec2MolModel
from .processing_spec2mol import Spec2MolProcessor

DEFAULT_MODEL = str(Path(__file__).parent / "checkpoints" / "spec2mol-small")


def load_model(
    name: str = DEFAULT_MODEL, merge: bool = True
) -> tuple[Spec2MolForConditionalGeneration, Spec2MolProcessor]:
    """Model in evaluation mode, and processor.

    Args:
        name: a folder or a Hub name. A folder of LoRA weights, as PEFT writes them, gives the base model that it names
            with these weights, in float32.
        merge: add LoRA weights to those they adapt; else they stay beside them.

    Raises:
        ValueError: no such folder or Hub name, or something that is no spec2mol model; one line that says what it is.
    """
    if (adapter := read_adapter(name)) is not None:
        return _load_adapted(name, adapter["base_model_name_or_path"], merge)
    if (model_type := load_config(name).model_type) != "spec2mol":
        raise ValueError(f"{name}: a {model_type} model, not a spec2mol one")
    model, info = _from_pretrained(Spec2MolForConditionalGeneration, name, output_loading_info=True)
    if info["missing_keys"]:
        raise ValueError(f"{name}: no weights for {min(info['missing_keys'])}; a stage that trains it must follow")
    return model.eval(), _from_pretrained(Spec2MolProcessor, name)


def read_adapter(name: str) -> dict | None:
    """PEFT's description of the LoRA weights in a folder; None if it holds none."""
    path = Path(name, "adapter_config.json")
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None


def _load_adapted(folder: str, base: str, merge: bool) -> tuple[Spec2MolForConditionalGeneration, Spec2MolProcessor]:
    try:
        from peft import PeftModel
    except ImportError:
        raise ValueError(f'{folder} holds LoRA weights: pip install "spec2mol[lora]"') from None
    try:
        model, processor = load_model(base)
    except ValueError as error:
        raise ValueError(f"{folder}/adapter_config.json names its base model: {error}") from None
    try:
        adapted = PeftModel.from_pretrained(model.float(), folder)
    except Exception as error:  # as in _from_pretrained
        raise ValueError(f"{folder}: its LoRA weights do not fit {base} ({_first_line(error)})") from None
    model = adapted.merge_and_unload() if merge else adapted.get_base_model()
    return model.eval(), processor


class Embedder(nn.Module):
    """The feature extractor's tensors -> embeddings `(batch, hidden)`: of the official embedding head where the model
    has one, else the encoder's state of the precursor token."""

    def __init__(self, model: nn.Module):
        super().__init__()
        self.model = model

    def forward(self, **inputs):
        output = self.model(**inputs)
        return output.embeddings if "embeddings" in output else output.last_hidden_state[:, 0]


def load_encoder(name: str = DEFAULT_MODEL) -> tuple[Embedder, Spec2MolFeatureExtractor]:
    """The spectrum encoder of a model, in evaluation mode, and its feature extractor.

    Raises:
        ValueError: no such folder or Hub name, or something that has no spectrum encoder.
    """
    config = load_config(name)
    if config.model_type == "dreams" and "DreamsForSpectralEmbedding" in (config.architectures or ()):
        model = _from_pretrained(DreamsForSpectralEmbedding, name)
    elif config.model_type == "dreams":
        model = _from_pretrained(DreamsModel, name)
    elif config.model_type == "spec2mol":
        model = _from_pretrained(Spec2MolModel, name).encoder
    else:
        raise ValueError(f"{name}: a {config.model_type} model has no spectrum encoder")
    return Embedder(model).eval(), _from_pretrained(Spec2MolFeatureExtractor, name)


def load_config(name: str) -> PreTrainedConfig:
    """Raises ValueError: no such folder or Hub name, or no model in it."""
    try:
        require_model(name)
        return AutoConfig.from_pretrained(name)
    except (OSError, ValueError, KeyError) as error:
        raise ValueError(f"{name}: no model there ({_first_line(error)})") from None


def require_model(name: str):
    """Loading asks a Hub that does not answer several times for every file; this asks once.

    Raises:
        FileNotFoundError: neither a folder, nor in the cache, nor on the Hub.
    """
    if Path(name).is_dir():
        return
    try:
        if not isinstance(try_to_load_from_cache(name, "config.json"), str):
            HfApi().model_info(name, timeout=10)
    except Exception as error:  # of the name, the Hub's answer, or whatever keeps it from answering
        raise FileNotFoundError(f"{name}: no such folder, and not from the Hub ({_first_line(error)})") from None


def _from_pretrained(cls, name: str, **kwargs):
    try:
        return cls.from_pretrained(name, **kwargs)
    except Exception as error:  # Weights may be missing, damaged or a pickle that torch refuses to open.
        raise ValueError(f"{name}: {cls.__name__} cannot be loaded ({_first_line(error)})") from None


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
