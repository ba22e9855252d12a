"""`spec2mol convert-unimol CKPT OUT_DIR`: a released Uni-Mol checkpoint -> a folder that `from_pretrained` loads."""

from pathlib import Path

from ..configuration_spec2mol import UniMolConfig
from ..feature_extraction_spec2mol import Spec2MolFeatureExtractor
from ..modeling_unimol import UniMolModel
from ..saving import save_for_hub
from .torch_archive import mapping, read_archive, stored_state

# Vectors here, embeddings of one row or one column there
PAIR_BIAS = {
    "pair_bias.means": "gbf.means.weight",
    "pair_bias.stds": "gbf.stds.weight",
    "pair_bias.scales": "gbf.mul.weight",
    "pair_bias.shifts": "gbf.bias.weight",
}


def add_arguments(parser):
    parser.add_argument("checkpoint", type=Path, metavar="CKPT", help="released mol_pre_no_h_220816.pt")
    parser.add_argument("output", type=Path, metavar="OUT_DIR", help="folder to write")


def run(args) -> int:
    model = convert_unimol(args.checkpoint, args.output)
    print(f"{args.output}: {type(model).__name__}, {model.num_parameters():,} parameters")
    return 0


def convert_unimol(checkpoint: Path, output: Path) -> UniMolModel:
    """Converts the molecule model without hydrogens. The heads of its pre-training are left out. Returns the model.

    Raises:
        FileNotFoundError, ValueError: no such file; not a Uni-Mol checkpoint, or one of another architecture.
    """
    content = read_archive(checkpoint)
    state = stored_state(content, "model")
    if state is None or "gbf.means.weight" not in state:
        raise ValueError(f"{checkpoint}: not a Uni-Mol checkpoint: no Uni-Mol weights under 'model'")
    num_layers = sum(key.endswith("self_attn_layer_norm.weight") for key in state)
    arguments = vars(content["args"]) if "args" in content else {}
    if arguments.get("post_ln"):
        raise ValueError(f"{checkpoint}: post_ln=True is not supported, only post_ln=False")
    with mapping(checkpoint, "Uni-Mol"):
        vocab_size, hidden_size = state["embed_tokens.weight"].size
        config = UniMolConfig(
            vocab_size=vocab_size,
            hidden_size=hidden_size,
            intermediate_size=state["encoder.layers.0.fc1.weight"].size[0],
            num_hidden_layers=num_layers,
            num_attention_heads=state["gbf_proj.linear2.weight"].size[0],
            num_gaussians=state["gbf.means.weight"].size[1],
            hidden_dropout_prob=arguments.get("dropout", 0.1),
            attention_probs_dropout_prob=arguments.get("attention_dropout", 0.1),
        )
        model = UniMolModel(config)
        weights = {new: state[old].tensor() for new, old in key_map(num_layers).items()}
        for name in PAIR_BIAS:
            weights[name] = weights[name].flatten()
        model.load_state_dict(weights)
    save_for_hub(model, Spec2MolFeatureExtractor(molecules="conformer", conditions=False), output)
    return model


def key_map(num_layers: int) -> dict[str, str]:
    """Our parameter names -> the original's, which 3D-MoLM's checkpoints have behind `graph_encoder.`."""
    layers = {"embed_norm": "encoder.emb_layer_norm", "norm": "encoder.final_layer_norm"}
    layers |= {"pair_bias.in_proj": "gbf_proj.linear1", "pair_bias.out_proj": "gbf_proj.linear2"}
    for i in range(num_layers):
        for new, old in (
            ("attention_norm", "self_attn_layer_norm"),
            ("attention.in_proj", "self_attn.in_proj"),
            ("attention.out_proj", "self_attn.out_proj"),
            ("feed_forward_norm", "final_layer_norm"),
            ("up_proj", "fc1"),
            ("down_proj", "fc2"),
        ):
            layers[f"layers.{i}.{new}"] = f"encoder.layers.{i}.{old}"
    keys = {f"{new}.{kind}": f"{old}.{kind}" for new, old in layers.items() for kind in ("weight", "bias")}
    return keys | PAIR_BIAS | {"embed_tokens.weight": "embed_tokens.weight"}
