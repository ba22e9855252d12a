"""Saved folders that load anywhere by the Auto classes, with trust_remote_code and without spec2mol installed."""

from pathlib import Path

from safetensors import safe_open
from transformers import PreTrainedModel
from transformers.dynamic_module_utils import custom_object_save

from .feature_extraction_spec2mol import Spec2MolFeatureExtractor
from .modeling_dreams import DreamsForSpectralEmbedding
from .pipeline_spec2mol import SpectrumToMoleculePipeline
from .processing_spec2mol import Spec2MolProcessor

AUTO_MAPS = {
    "spec2mol": {
        "AutoConfig": "configuration_spec2mol.Spec2MolConfig",
        "AutoModel": "modeling_spec2mol.Spec2MolModel",
        "AutoModelForCausalLM": "modeling_spec2mol.Spec2MolForConditionalGeneration",
        "AutoModelForPreTraining": "modeling_spec2mol.Spec2MolForPreTraining",
        "AutoFeatureExtractor": "feature_extraction_spec2mol.Spec2MolFeatureExtractor",
        "AutoProcessor": "processing_spec2mol.Spec2MolProcessor",
    },
    "dreams": {
        "AutoConfig": "configuration_spec2mol.DreamsConfig",
        "AutoModel": "modeling_dreams.DreamsModel",
        "AutoModelForPreTraining": "modeling_dreams.DreamsForPreTraining",
        "AutoModelForSequenceClassification": "modeling_dreams.DreamsForSequenceClassification",
        "AutoFeatureExtractor": "feature_extraction_spec2mol.Spec2MolFeatureExtractor",
    },
    "gin": {
        "AutoConfig": "configuration_spec2mol.GinConfig",
        "AutoModel": "modeling_gin.GinModel",
        "AutoFeatureExtractor": "feature_extraction_spec2mol.Spec2MolFeatureExtractor",
    },
    "unimol": {
        "AutoConfig": "configuration_spec2mol.UniMolConfig",
        "AutoModel": "modeling_unimol.UniMolModel",
        "AutoFeatureExtractor": "feature_extraction_spec2mol.Spec2MolFeatureExtractor",
    },
}
PIPELINES = {
    "spectrum-to-molecule": {
        "impl": "pipeline_spec2mol.SpectrumToMoleculePipeline",
        "pt": ["AutoModelForCausalLM"],
    }
}


def save_for_hub(
    model: PreTrainedModel,
    processor: Spec2MolProcessor | Spec2MolFeatureExtractor,
    folder: str | Path,
    half: bool = False,
):
    """Writes weights, processor and remote code. transformers copies the code of registered classes, and notes in the
    auto map only the class it saves: hence all of them here.

    half: store the weights in float16; they still load in the model's own dtype.
    """
    auto_map = dict(AUTO_MAPS[model.config.model_type])
    if isinstance(model, DreamsForSpectralEmbedding):  # No Auto class is meant for embeddings.
        auto_map["AutoModel"] = "modeling_dreams.DreamsForSpectralEmbedding"
    if model.config.is_encoder_decoder:
        auto_map["AutoModelForSeq2SeqLM"] = auto_map["AutoModelForCausalLM"]
    classes = {name.rpartition(".")[2]: auto_class for auto_class, name in auto_map.items()}
    model.config.register_for_auto_class()
    model.register_for_auto_class(classes[type(model).__name__])
    for part in (processor, getattr(processor, "feature_extractor", processor)):
        part.register_for_auto_class(classes[type(part).__name__])
    model.config.auto_map = auto_map
    weights = None
    if half:
        halves = {}  # Tied weights stay one tensor, which is stored once.
        for weight in model.state_dict().values():
            halves.setdefault(weight.data_ptr(), weight.half() if weight.is_floating_point() else weight)
        weights = {name: halves[weight.data_ptr()] for name, weight in model.state_dict().items()}
    Path(folder).mkdir(parents=True, exist_ok=True)  # Where this is a file, save_pretrained would only log it.
    encoder = getattr(model.config, "encoder_config", None)
    if encoder is not None and encoder.model_type == "dreams":  # It reads spectra.
        model.config.custom_pipelines = PIPELINES
        custom_object_save(SpectrumToMoleculePipeline, folder)
    model.save_pretrained(folder, state_dict=weights)
    processor.save_pretrained(folder)


def is_half(folder: str | Path) -> bool:
    """Whether the weights of a saved folder are in float16, as `save_for_hub(half=True)` leaves them."""
    dtypes = set()
    for path in Path(folder).glob("model*.safetensors"):
        with safe_open(path, framework="pt") as weights:
            dtypes |= {weights.get_slice(name).get_dtype() for name in weights.keys()}
    return {dtype for dtype in dtypes if "F" in dtype} == {"F16"}
