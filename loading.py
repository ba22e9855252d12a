"""The model to use: a folder, a Hub name, or the checkpoint that ships with the package."""

from collections.abc import Callable
from pathlib import Path

from transformers import AutoConfig, PreTrainedConfig

from .feature_extraction_spec2mol import Spec2MolFeatureExtractor
from .modeling_dreams import DreamsForSpectralEmbedding, DreamsModel
from .modeling_spec2mol import Spec2MolForConditionalGeneration, Spec2MolModel
from .processing_spec2mol import Spec2MolProcessor

DEFAULT_MODEL = str(Path(__file__).parent / "checkpoints" / "spec2mol-small")


def load_model(name: str = DEFAULT_MODEL) -> tuple[Spec2MolForConditionalGeneration, Spec2MolProcessor]:
    """Model in evaluation mode, and processor.

    Raises:
        ValueError: no such folder or Hub name, or something that is no spec2mol model; one line that says what it is.
    """
    if (model_type := _config(name).model_type) != "spec2mol":
        raise ValueError(f"{name}: a {model_type} model, not a spec2mol one")
    model = _from_pretrained(Spec2MolForConditionalGeneration, name).eval()
    return model, _from_pretrained(Spec2MolProcessor, name)


def load_encoder(name: str = DEFAULT_MODEL) -> tuple[Callable, Spec2MolFeatureExtractor]:
    """A function from the feature extractor's tensors to embeddings `(batch, hidden)`, and the feature extractor: the
    official embedding head where the model has one, else the encoder's state of the precursor token.

    Raises:
        ValueError: no such folder or Hub name, or something that has no spectrum encoder.
    """
    config = _config(name)
    if config.model_type == "dreams" and "DreamsForSpectralEmbedding" in (config.architectures or ()):
        model = _from_pretrained(DreamsForSpectralEmbedding, name)
    elif config.model_type == "dreams":
        model = _from_pretrained(DreamsModel, name)
    elif config.model_type == "spec2mol":
        model = _from_pretrained(Spec2MolModel, name).encoder
    else:
        raise ValueError(f"{name}: a {config.model_type} model has no spectrum encoder")
    model.eval()

    def embed(**inputs):
        output = model(**inputs)
        return output.embeddings if "embeddings" in output else output.last_hidden_state[:, 0]

    return embed, _from_pretrained(Spec2MolFeatureExtractor, name)


def _config(name: str) -> PreTrainedConfig:
    try:
        return AutoConfig.from_pretrained(name)
    except (OSError, ValueError, KeyError) as error:
        raise ValueError(f"{name}: no model there ({_first_line(error)})") from None


def _from_pretrained(cls, name: str):
    try:
        return cls.from_pretrained(name)
    except Exception as error:  # Weights may be missing, damaged or a pickle that torch refuses to open.
        raise ValueError(f"{name}: {cls.__name__} cannot be loaded ({_first_line(error)})") from None


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
