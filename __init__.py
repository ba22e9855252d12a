"""spec2mol: molecular structures from tandem mass spectra."""

from transformers import (
    AutoFeatureExtractor,
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForPreTraining,
    AutoModelForSeq2SeqLM,
    AutoModelForSequenceClassification,
    AutoProcessor,
)

from .chemistry_spec2mol import from_selfies, to_selfies
from .configuration_spec2mol import (
    ConditionConfig,
    DreamsConfig,
    FragmentationConfig,
    GinConfig,
    MultilevelConfig,
    Spec2MolConfig,
    UniMolConfig,
)
from .feature_extraction_spec2mol import Spec2MolFeatureExtractor
from .generation_spec2mol import Candidate, mass_error_ppm, predict_molecules
from .loading import load_model
from .modeling_dreams import (
    DreamsForPreTraining,
    DreamsForSequenceClassification,
    DreamsForSpectralEmbedding,
    DreamsModel,
)
from .modeling_gin import GinModel
from .modeling_spec2mol import Spec2MolForConditionalGeneration, Spec2MolForPreTraining, Spec2MolModel
from .modeling_unimol import UniMolModel
from .processing_spec2mol import Spec2MolProcessor
from .spectra import load_spectra

# Where the package is installed, saved folders load without trust_remote_code.
AutoModel.register(DreamsConfig, DreamsModel, exist_ok=True)
AutoModel.register(GinConfig, GinModel, exist_ok=True)
AutoModel.register(UniMolConfig, UniMolModel, exist_ok=True)
AutoModel.register(Spec2MolConfig, Spec2MolModel, exist_ok=True)
AutoModelForPreTraining.register(DreamsConfig, DreamsForPreTraining, exist_ok=True)
AutoModelForPreTraining.register(Spec2MolConfig, Spec2MolForPreTraining, exist_ok=True)
AutoModelForSequenceClassification.register(DreamsConfig, DreamsForSequenceClassification, exist_ok=True)
AutoModelForCausalLM.register(Spec2MolConfig, Spec2MolForConditionalGeneration, exist_ok=True)
AutoModelForSeq2SeqLM.register(Spec2MolConfig, Spec2MolForConditionalGeneration, exist_ok=True)
AutoFeatureExtractor.register(DreamsConfig, Spec2MolFeatureExtractor, exist_ok=True)
AutoFeatureExtractor.register(GinConfig, Spec2MolFeatureExtractor, exist_ok=True)
AutoFeatureExtractor.register(UniMolConfig, Spec2MolFeatureExtractor, exist_ok=True)
AutoFeatureExtractor.register(Spec2MolConfig, Spec2MolFeatureExtractor, exist_ok=True)
AutoProcessor.register(Spec2MolConfig, Spec2MolProcessor, exist_ok=True)

__version__ = "0.1.0"

__all__ = [
    "Candidate",
    "ConditionConfig",
    "DreamsConfig",
    "DreamsForPreTraining",
    "DreamsForSequenceClassification",
    "DreamsForSpectralEmbedding",
    "DreamsModel",
    "FragmentationConfig",
    "GinConfig",
    "GinModel",
    "MultilevelConfig",
    "Spec2MolConfig",
    "Spec2MolFeatureExtractor",
    "Spec2MolForConditionalGeneration",
    "Spec2MolForPreTraining",
    "Spec2MolModel",
    "Spec2MolProcessor",
    "UniMolConfig",
    "UniMolModel",
    "from_selfies",
    "load_model",
    "load_spectra",
    "mass_error_ppm",
    "predict_molecules",
    "to_selfies",
]
