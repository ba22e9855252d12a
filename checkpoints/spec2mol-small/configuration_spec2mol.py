"""Configuration: one composite `Spec2MolConfig` = encoder + conditions + projector + language model, each an ordinary
sub-config with its own `model_type`."""

from dataclasses import field

from huggingface_hub.dataclasses import strict
from transformers import AutoConfig, PreTrainedConfig
from transformers.configuration_utils import SubConfigSpec

# The architecture of ncfrey/ChemGPT-4.7M. Its published config keeps GPT-2's bos and eos, which lie outside its
# vocabulary, so that generation would never stop; its tokenizer's [CLS], [SEP] and [PAD] are meant.
CHEMGPT_4_7M = {
    "vocab_size": 684,
    "hidden_size": 128,
    "num_layers": 24,
    "num_heads": 16,
    "attention_types": [[["global", "local"], 12]],
    "window_size": 256,
    "max_position_embeddings": 2048,
    "bos_token_id": 2,
    "eos_token_id": 3,
    "pad_token_id": 1,
}


@strict
class DreamsConfig(PreTrainedConfig):
    r"""
    Configuration of the DreaMS spectrum encoder; the defaults are the official model's (Bushuiev et al., Nature
    Biotechnology 2025).

    peak_hidden_size (`int`): width of the embedding of [m/z / max_mz, intensity].
    fourier_hidden_size (`int`): width of the embedding of the m/z's Fourier features. `hidden_size` is the sum of
        both.
    fourier_intermediate_size, fourier_num_layers (`int`): hidden width and depth of the Fourier features' MLP.
    peak_num_layers (`int`): depth of the peak MLP.
    max_mz (`float`): largest m/z in Da; sets the scale of m/z, the longest Fourier wavelength and the m/z bins.
    min_wavelength (`float`): half of the shortest Fourier wavelength, in Da.
    mass_difference_bias (`bool`): add the pairwise differences of the Fourier embeddings to the attention logits.
    attend_to_padding (`bool`): the official behaviour: real tokens attend to the zero tokens that pad each spectrum to
        `num_peaks + 1` tokens. False hides the padding, the natural choice for a model trained here.
    num_peaks (`int`): peaks beside the precursor token; 60 in the official pre-training, 100 in its embedding model.
    num_fragment_elements (`int`): elements that explained peaks are counted in, see `FragmentEmbeddings`; 0 = peaks
        are m/z and intensity alone, as the official model's.
    mz_bin_size (`float`): width in Da of the m/z classes of masked-peak pre-training.
    focal_loss_gamma, retention_order_weight (`float`): of the pre-training loss.
    contrast_temperature (`float`): cosines are divided by it in the loss of `DreamsForSpectralEmbedding`.
    """

    model_type = "dreams"
    base_config_key = "encoder_config"
    keys_to_ignore_at_inference = ["last_hidden_state", "hidden_states", "attention_mask"]

    peak_hidden_size: int = 44
    fourier_hidden_size: int = 980
    peak_num_layers: int = 1
    fourier_intermediate_size: int = 512
    fourier_num_layers: int = 5
    num_hidden_layers: int = 7
    num_attention_heads: int = 8
    max_mz: float | int = 1000.0
    min_wavelength: float = 1e-4
    mass_difference_bias: bool = True
    attend_to_padding: bool = True
    num_peaks: int = 60
    num_fragment_elements: int = 0
    hidden_dropout_prob: float | int = 0.1
    attention_probs_dropout_prob: float | int = 0.1
    layer_norm_eps: float = 1e-5
    mz_bin_size: float | int = 0.05
    focal_loss_gamma: float | int = 5.0
    retention_order_weight: float | int = 0.2
    contrast_temperature: float | int = 0.1

    @property
    def hidden_size(self) -> int:
        return self.peak_hidden_size + self.fourier_hidden_size

    @property
    def intermediate_size(self) -> int:
        return 4 * self.hidden_size


@strict
class UniMolConfig(PreTrainedConfig):
    r"""
    Configuration of the Uni-Mol encoder of 3D conformers; the defaults are those of the released model without
    hydrogens (Zhou et al., ICLR 2023), which 3D-MoLM uses.

    vocab_size (`int`): atom ids: `molecules_spec2mol.ATOM_SYMBOLS` and the mask of the original's pre-training.
    num_gaussians (`int`): Gaussians that a distance is described by.
    reads_padding (`bool`): the projector reads a token of padding, not the atoms, as in the published 3D-MoLM; for its
        weights alone.
    """

    model_type = "unimol"
    base_config_key = "encoder_config"
    keys_to_ignore_at_inference = ["last_hidden_state", "hidden_states", "attention_mask"]

    vocab_size: int = 31
    hidden_size: int = 512
    intermediate_size: int = 2048
    num_hidden_layers: int = 15
    num_attention_heads: int = 64
    num_gaussians: int = 128
    reads_padding: bool = False
    hidden_dropout_prob: float | int = 0.1
    attention_probs_dropout_prob: float | int = 0.1
    layer_norm_eps: float = 1e-5
    initializer_range: float = 0.02
    pad_token_id: int = 0


@strict
class GinConfig(PreTrainedConfig):
    r"""
    Configuration of the GIN encoder of molecular graphs; the defaults are LLaMo's (Park et al., NeurIPS 2024), over
    the features of the Open Graph Benchmark.

    atom_feature_sizes, bond_feature_sizes (`list[int]`): categories of each feature, as `molecules_spec2mol` has them.
    """

    model_type = "gin"
    base_config_key = "encoder_config"
    keys_to_ignore_at_inference = ["last_hidden_state", "hidden_states", "attention_mask"]

    hidden_size: int = 300
    num_hidden_layers: int = 5
    hidden_dropout_prob: float | int = 0.0
    atom_feature_sizes: list[int] = field(default_factory=lambda: [119, 5, 12, 12, 10, 6, 6, 2, 2])
    bond_feature_sizes: list[int] = field(default_factory=lambda: [5, 6, 2])


@strict
class MultilevelConfig(PreTrainedConfig):
    r"""
    Configuration of the projector with queries for every level of a graph encoder, its embeddings included, and for
    functional groups; the defaults are LLaMo's. The model's `num_query_tokens` is the number of all of them.

    num_level_queries, num_motif_queries (`int`): queries for each level, and for functional groups; 0 = read none of
        these.
    num_motif_features (`int`): of a functional group, as `molecules_spec2mol` describes it.
    num_mlp_layers (`int`): depth of the MLP from what was read to soft tokens.
    share_level_attention (`bool`): one attention for all levels, as in the published weights.
    """

    model_type = "spec2mol_multilevel"
    base_config_key = "projector_config"

    num_level_queries: int = 4
    num_motif_queries: int = 4
    num_motif_features: int = 73
    num_attention_heads: int = 4
    num_mlp_layers: int = 2
    share_level_attention: bool = False


@strict
class ConditionConfig(PreTrainedConfig):
    r"""
    Configuration of the condition tokens: what a query says beside its peaks. The vocabularies themselves are the
    feature extractor's; id 0 of each means unknown.

    num_adducts, num_ion_modes, num_instrument_types (`int`): sizes of the vocabularies, unknown included, and room for
        later words.
    num_elements (`int`): elements that a formula is counted in.
    num_frequencies (`int`): Fourier frequencies for each number (m/z, energy, element count).
    """

    model_type = "spec2mol_conditions"
    base_config_key = "condition_config"

    num_adducts: int = 64
    num_ion_modes: int = 3
    num_instrument_types: int = 8
    num_elements: int = 13
    num_frequencies: int = 16


@strict
class StructureConfig(PreTrainedConfig):
    r"""
    Configuration of what is predicted of the structure before any of it is written. The structure head predicts
    fingerprint and element counts from the soft tokens: auxiliary losses in training, and a fast score of candidates.
    Fingerprint tokens tell the language model the fingerprint that the encoder by itself expects.

    fingerprint_size (`int`): bits of the Morgan fingerprint, radius 2.
    num_elements (`int`): elements that are counted, in the feature extractor's order.
    hidden_size (`int`): width of the structure head's hidden layer.
    num_tokens (`int`): fingerprint tokens; 0 = none.
    """

    model_type = "spec2mol_structure"
    base_config_key = "structure_config"

    fingerprint_size: int = 2048
    num_elements: int = 13
    hidden_size: int = 512
    num_tokens: int = 0


@strict
class FragmentationConfig(PreTrainedConfig):
    r"""
    Configuration of the model that says how a molecule breaks in the instrument, see `modeling_fragmentation`.

    atom_size (`int`): width of the atoms' states.
    hidden_size (`int`): width of the fragments' states.
    num_hidden_layers (`int`): rounds of messages among the atoms.
    vocabulary_size, vocabulary_rank (`int`): common neutral losses and common ions, so many of each, and the rank of
        their scores' dependence on the conditions.
    """

    model_type = "spec2mol_fragmentation"
    base_config_key = "fragmentation_config"

    atom_size: int = 64
    hidden_size: int = 128
    num_hidden_layers: int = 4
    vocabulary_size: int = 512
    vocabulary_rank: int = 8


@strict
class ModalityExpertsConfig(PreTrainedConfig):
    r"""
    Configuration of modality experts, see `modeling_modality_experts`.

    num_experts (`int`): clusters of neurons in each feed-forward layer.
    active_experts (`list`): of these, how many a token uses: one of text, then of each further modality.
    modality_token_ids (`list`): first id and the one behind the last of the tokens of each further modality; all
        others are text.
    """

    model_type = "spec2mol_modality_experts"
    base_config_key = "experts_config"

    num_experts: int = 16
    active_experts: list[int] = field(default_factory=lambda: [14, 2, 2, 2])
    modality_token_ids: list[list[int]] = field(default_factory=list)

    def __post_init__(self, **kwargs):
        super().__post_init__(**kwargs)
        if len(self.modality_token_ids) >= len(self.active_experts):
            raise ValueError(
                f"{len(self.modality_token_ids)} modalities beside text, active_experts {self.active_experts}"
            )
        if not all(0 < k <= self.num_experts for k in self.active_experts):
            raise ValueError(f"active_experts {self.active_experts} of {self.num_experts}")


@strict
class Spec2MolConfig(PreTrainedConfig):
    r"""
    The whole system. Without arguments it is the full one: official DreaMS (7 layers x 1024), a Q-Former of 12 layers
    x 768 with 32 queries and cross-attention in every second layer, and ChemGPT-4.7M.

    encoder_config: the encoder of spectra or of molecules, or None for a language model alone.
    condition_config: the condition tokens beside the encoder states, or None for peaks alone.
    projector_config: maps encoder states to `num_query_tokens` soft tokens, or None with `encoder_config=None`.
    text_config: any causal language model, or any encoder-decoder: then the text encoder reads the soft tokens.
    experts_config: cuts the language model's feed-forward layers into experts by modality, or None.
    structure_config: the structure head and the fingerprint tokens, or None.
    fragmentation_config: the fragmentation model, which compares molecules with peaks, or None.
    ranking (`dict`): weights of what speaks for a candidate, as `spec2mol fit-ranking` fits them, or None.
    num_query_tokens (`int`): soft tokens that the projector makes of each input.
    soft_token_id (`int`): id of the placeholder in `input_ids` that soft tokens replace; None for text alone.
    contrast_size (`int`): width of the shared space of spectra and molecules in which they are compared.
    contrast_temperature (`float`): cosines are divided by it when a Q-Former compares; None = it is learned. 3D-MoLM
        has 0.1.
    normalize_encoder (`bool`): a LayerNorm between the encoder and a Q-Former, as BLIP-2 and 3D-MoLM have it.
    """

    model_type = "spec2mol"
    sub_configs_defaults = {
        "encoder_config": SubConfigSpec(config_class=AutoConfig, model_type="dreams", optional=True),
        "condition_config": SubConfigSpec(config_class=ConditionConfig, optional=True),
        "projector_config": SubConfigSpec(config_class=AutoConfig, model_type="blip_2_qformer", optional=True),
        "text_config": SubConfigSpec(config_class=AutoConfig, model_type="gpt_neo", init_kwargs=CHEMGPT_4_7M),
        "experts_config": SubConfigSpec(config_class=ModalityExpertsConfig, optional=True),
        "structure_config": SubConfigSpec(config_class=StructureConfig, optional=True),
        "fragmentation_config": SubConfigSpec(config_class=FragmentationConfig, optional=True),
    }

    encoder_config: dict | PreTrainedConfig | None = field(default_factory=dict)
    condition_config: dict | PreTrainedConfig | None = field(default_factory=dict)
    projector_config: dict | PreTrainedConfig | None = field(default_factory=dict)
    text_config: dict | PreTrainedConfig | None = None
    experts_config: dict | PreTrainedConfig | None = None
    structure_config: dict | PreTrainedConfig | None = None
    fragmentation_config: dict | PreTrainedConfig | None = None
    ranking: dict | None = None
    num_query_tokens: int = 32
    soft_token_id: int | None = 4
    contrast_size: int = 256
    contrast_temperature: float | int | None = None
    normalize_encoder: bool = False
    initializer_range: float = 0.02

    def __post_init__(self, **kwargs):
        if isinstance(self.projector_config, dict):
            self.projector_config = {"model_type": "blip_2_qformer"} | self.projector_config
            if self.projector_config["model_type"] == "blip_2_qformer":
                self.projector_config = {"use_qformer_text_input": True} | self.projector_config
        super().__post_init__(**kwargs)
        self.is_encoder_decoder = self.text_config.is_encoder_decoder
        if self.encoder_config is None and (self.projector_config, self.condition_config) != (None, None):
            raise ValueError("without encoder_config, projector_config and condition_config must be None as well")
        if self.encoder_config is not None and self.projector_config is None:
            raise ValueError("encoder_config needs a projector_config")
        if self.projector_config is not None and self.projector_config.model_type == "blip_2_qformer":
            self.projector_config.encoder_hidden_size = self.encoder_config.hidden_size
            self.projector_config.vocab_size = self.text_config.vocab_size
            self.projector_config.pad_token_id = self.text_config.pad_token_id

    @property
    def num_soft_tokens(self) -> int:
        """The projector's, and the fingerprint tokens."""
        return self.num_query_tokens + (self.structure_config.num_tokens if self.structure_config else 0)


AutoConfig.register("dreams", DreamsConfig, exist_ok=True)
AutoConfig.register("gin", GinConfig, exist_ok=True)
AutoConfig.register("spec2mol_multilevel", MultilevelConfig, exist_ok=True)
AutoConfig.register("unimol", UniMolConfig, exist_ok=True)
AutoConfig.register("spec2mol_conditions", ConditionConfig, exist_ok=True)
AutoConfig.register("spec2mol_modality_experts", ModalityExpertsConfig, exist_ok=True)
AutoConfig.register("spec2mol_fragmentation", FragmentationConfig, exist_ok=True)
AutoConfig.register("spec2mol_structure", StructureConfig, exist_ok=True)
AutoConfig.register("spec2mol", Spec2MolConfig, exist_ok=True)

__all__ = [
    "CHEMGPT_4_7M",
    "ConditionConfig",
    "DreamsConfig",
    "FragmentationConfig",
    "GinConfig",
    "ModalityExpertsConfig",
    "MultilevelConfig",
    "Spec2MolConfig",
    "StructureConfig",
    "UniMolConfig",
]
