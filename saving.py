"""Saved folders that load anywhere by the Auto classes, with trust_remote_code and without spec2mol installed."""

from pathlib import Path

from .configuration_spec2mol import Spec2MolConfig
from .feature_extraction_spec2mol import Spec2MolFeatureExtractor
from .modeling_spec2mol import Spec2MolForConditionalGeneration, Spec2MolForPreTraining, Spec2MolModel
from .processing_spec2mol import Spec2MolProcessor

AUTO_MAP = {
    "AutoConfig": "configuration_spec2mol.Spec2MolConfig",
    "AutoModel": "modeling_spec2mol.Spec2MolModel",
    "AutoModelForCausalLM": "modeling_spec2mol.Spec2MolForConditionalGeneration",
    "AutoModelForPreTraining": "modeling_spec2mol.Spec2MolForPreTraining",
    "AutoFeatureExtractor": "feature_extraction_spec2mol.Spec2MolFeatureExtractor",
    "AutoProcessor": "processing_spec2mol.Spec2MolProcessor",
}


def save_for_hub(model, processor: Spec2MolProcessor, folder: str | Path, half: bool = False):
    """Writes weights, processor and remote code. transformers copies the code of registered classes, and notes in the
    auto map only the class it saves: hence all of them here.

    half: store the weights in float16; they still load in the model's own dtype.
    """
    Spec2MolConfig.register_for_auto_class()
    Spec2MolModel.register_for_auto_class("AutoModel")
    Spec2MolForConditionalGeneration.register_for_auto_class("AutoModelForCausalLM")
    Spec2MolForPreTraining.register_for_auto_class("AutoModelForPreTraining")
    Spec2MolFeatureExtractor.register_for_auto_class()
    Spec2MolProcessor.register_for_auto_class()
    model.config.auto_map = dict(AUTO_MAP)  # transformers writes into it.
    weights = None
    if half:
        halves = {}  # Tied weights stay one tensor, which is stored once.
        for weight in model.state_dict().values():
            halves.setdefault(weight.data_ptr(), weight.half())
        weights = {name: halves[weight.data_ptr()] for name, weight in model.state_dict().items()}
    model.save_pretrained(folder, state_dict=weights)
    processor.save_pretrained(folder)
