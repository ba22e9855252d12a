"""`spec2mol convert-dreams CKPT OUT_DIR`: an official DreaMS checkpoint -> a folder that `from_pretrained` loads."""

from pathlib import Path
from typing import Any

import torch

from ..configuration_spec2mol import DreamsConfig
from ..feature_extraction_spec2mol import Spec2MolFeatureExtractor
from ..modeling_dreams import DreamsForPreTraining, DreamsForSpectralEmbedding, fourier_frequencies
from ..saving import save_for_hub
from .torch_archive import mapping, read_archive, stored_state

# What the port implements; the original's other switches were never published with weights.
REQUIRED_ARGUMENTS = {
    "train_objective": "mask_mz_hot",
    "ff_out_depth": 1,
    "charge_feature": False,
    "vanilla_transformer": False,
    "graphormer_parametrized": False,
    "fourier_strategy": "lin_float_int",
    "no_transformer_bias": True,
    "no_ffs_bias": False,
    "attn_mech": "dot-product",
    "pre_norm": True,
    "scnorm": False,
}


def add_arguments(parser):
    parser.add_argument(
        "checkpoint", type=Path, metavar="CKPT", help="official ssl_model.ckpt or embedding_model.ckpt"
    )
    parser.add_argument("output", type=Path, metavar="OUT_DIR", help="folder to write")
    parser.add_argument(
        "--num-peaks", type=int, help="peaks beside the precursor (default: as trained, 100 for the embedding model)"
    )


def run(args) -> int:
    model = convert_dreams(args.checkpoint, args.output, args.num_peaks)
    print(f"{args.output}: {type(model).__name__}, {model.num_parameters():,} parameters")
    return 0


def convert_dreams(checkpoint: Path, output: Path, num_peaks: int | None = None):
    """Converts `ssl_model.ckpt` to a `DreamsForPreTraining` folder and `embedding_model.ckpt` to a
    `DreamsForSpectralEmbedding` folder, each with its feature extractor and remote code. Returns the model.

    The embedding model's file does not say how many attention heads it has: `ssl_model.ckpt`, which it names, is read
    for that if it lies beside; otherwise the official size (1024) has the official 8 heads.

    Raises:
        FileNotFoundError, ValueError: no such file; not a DreaMS checkpoint, or one with parts that the port lacks.
    """
    content = read_checkpoint(checkpoint)
    state = content["state_dict"]
    is_embedding = "head.weight" in state
    if is_embedding:
        pretrained = Path(checkpoint).with_name("ssl_model.ckpt")
        content = read_checkpoint(pretrained) if pretrained.exists() else {}
        num_peaks = num_peaks or 100
    hyper_parameters = content.get("hyper_parameters") or {}
    arguments = vars(hyper_parameters["args"]) if "args" in hyper_parameters else {}
    for name, required in REQUIRED_ARGUMENTS.items():
        if arguments.get(name, required) != required:
            raise ValueError(f"{checkpoint}: {name}={arguments[name]} is not supported, only {name}={required}")
    if num_peaks is None:
        num_peaks = getattr(hyper_parameters.get("spec_preproc"), "n_highest_peaks", 60)

    state = {key.removeprefix("backbone."): value for key, value in state.items()}
    with mapping(checkpoint, "DreaMS"):
        config = _config(state, arguments, num_peaks, checkpoint)
        model = (DreamsForSpectralEmbedding if is_embedding else DreamsForPreTraining)(config)
        model.load_state_dict(_weights(state, config, is_embedding))

    save_for_hub(model, Spec2MolFeatureExtractor(num_peaks=num_peaks, conditions=False), output)
    return model


def _config(state, arguments, num_peaks, checkpoint) -> DreamsConfig:
    """Sizes are read off the weights, the rest off the training arguments."""

    def depth(prefix):
        return sum(key.startswith(prefix) and key.endswith(".weight") for key in state)

    fourier_last = f"ff_fourier.ff.{3 * (depth('ff_fourier.ff.') - 1)}.weight"
    frequencies = state["fourier_enc.b"].tensor().flatten()
    hidden_size = state["transformer_encoder.scales.0.weight"].size[0]
    if "n_heads" not in arguments and hidden_size != 1024:
        raise ValueError(
            f"{checkpoint}: hidden size {hidden_size} is not the official 1024, so the number of attention heads is "
            "unknown: put the ssl_model.ckpt it was trained from beside it"
        )
    max_mz = round(1 / frequencies[-1].item()) + 1
    num_bins = state["ff_out.ff.0.weight"].size[0]
    config = DreamsConfig(
        peak_hidden_size=state["ff_peak.ff.0.weight"].size[0],
        peak_num_layers=depth("ff_peak.ff."),
        fourier_hidden_size=state[fourier_last].size[0],
        fourier_intermediate_size=state["ff_fourier.ff.0.weight"].size[0],
        fourier_num_layers=depth("ff_fourier.ff."),
        num_hidden_layers=depth("transformer_encoder.ffs.") // 2,
        num_attention_heads=arguments.get("n_heads", 8),
        max_mz=float(max_mz),
        min_wavelength=float(f"{1 / (2 * frequencies[0].item()):.3g}"),
        mass_difference_bias=arguments.get("graphormer_mz_diffs", True),
        num_peaks=num_peaks,
        hidden_dropout_prob=arguments.get("dropout", 0.1),
        attention_probs_dropout_prob=arguments.get("att_dropout", 0.1),
        mz_bin_size=max_mz / num_bins,
        focal_loss_gamma=arguments.get("focal_loss_gamma", 5.0),
        retention_order_weight=arguments.get("ret_order_loss_w", 0.2),
    )
    ours = fourier_frequencies(config.min_wavelength, config.max_mz, torch.device("cpu"))
    if not torch.equal(ours, frequencies):
        raise ValueError(f"{checkpoint}: its Fourier frequencies are not those of strategy 'lin_float_int'")
    return config


def _weights(state, config: DreamsConfig, is_embedding: bool) -> dict[str, torch.Tensor]:
    weights = {new: state[old].tensor() for new, old in _key_map(config, is_embedding).items()}
    for i in range(config.num_hidden_layers):  # The original stacks q, k, v and o in one matrix.
        stacked = state[f"transformer_encoder.atts.{i}.weights"].tensor().chunk(4)
        for name, weight in zip(("q_proj", "k_proj", "v_proj", "out_proj"), stacked, strict=True):
            weights[f"dreams.layers.{i}.attention.{name}.weight"] = weight
    return weights


def _key_map(config: DreamsConfig, is_embedding: bool) -> dict[str, str]:
    """Our parameter names -> the original's, but for the attention."""
    keys = {}
    for i in range(config.fourier_num_layers):
        keys[f"dreams.embeddings.fourier_mlp.layers.{i}"] = f"ff_fourier.ff.{3 * i}"
    for i in range(config.peak_num_layers):
        keys[f"dreams.embeddings.peak_mlp.layers.{i}"] = f"ff_peak.ff.{3 * i}"
    for i in range(config.num_hidden_layers):
        keys[f"dreams.layers.{i}.attention_norm"] = f"transformer_encoder.scales.{2 * i}"
        keys[f"dreams.layers.{i}.feed_forward_norm"] = f"transformer_encoder.scales.{2 * i + 1}"
    keys["dreams.norm"] = f"transformer_encoder.scales.{2 * config.num_hidden_layers}"
    keys |= {"embedding_head": "head"} if is_embedding else {"mz_head": "ff_out.ff.0"}
    keys = {f"{new}.{kind}": f"{old}.{kind}" for new, old in keys.items() for kind in ("weight", "bias")}
    for i in range(config.num_hidden_layers):
        keys[f"dreams.layers.{i}.up_proj.weight"] = f"transformer_encoder.ffs.{i}.in_proj.weight"
        keys[f"dreams.layers.{i}.down_proj.weight"] = f"transformer_encoder.ffs.{i}.out_proj.weight"
    if not is_embedding:
        keys["retention_order_head.weight"] = "ro_out.weight"
    return keys


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Content of a DreaMS checkpoint, tensors as `StoredTensor`, executing nothing that it holds.

    Raises:
        FileNotFoundError, ValueError: no such file; not a readable torch archive; no DreaMS weights in it.
    """
    content = read_archive(path)
    state = stored_state(content, "state_dict")
    if state is None or not any("transformer_encoder.atts." in key for key in state):
        raise ValueError(f"{path}: not a DreaMS checkpoint: no DreaMS weights under 'state_dict'")
    return content
