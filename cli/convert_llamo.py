"""`spec2mol convert-llamo CKPT LLAMA OUT_DIR`: a released checkpoint of LLaMo, with the language model that it was
trained upon -> a folder that `from_pretrained` loads."""

from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from ..configuration_spec2mol import GinConfig
from ..feature_extraction_spec2mol import Spec2MolFeatureExtractor
from ..modeling_gin import GinModel
from ..modeling_spec2mol import Spec2MolForConditionalGeneration
from ..processing_spec2mol import Spec2MolProcessor
from ..saving import save_for_hub
from .released import MISSING, check_all_taken, read_lightning, take, take_language_model
from .torch_archive import mapping

GRAPH = "graph_model.molecule_node_model"
ATTENTION = ("in_proj_weight", "in_proj_bias", "out_proj.weight", "out_proj.bias")
# Made and never read: the norm behind the encoder, and MoleculeSTM's head.
UNUSED = ("ln_graph_model.", "graph_model.graph_pred_linear.")


def add_arguments(parser):
    parser.add_argument("checkpoint", type=Path, metavar="CKPT", help="released checkpoint of stage 1 or 2")
    parser.add_argument("language_model", metavar="LLAMA", help="folder or Hub name of the Llama it was trained upon")
    parser.add_argument("output", type=Path, metavar="OUT_DIR", help="folder to write")


def run(args) -> int:
    model = convert_llamo(args.checkpoint, args.language_model, args.output)
    print(f"{args.output}: {type(model).__name__}, {model.num_parameters():,} parameters")
    return 0


def convert_llamo(checkpoint: Path, language_model: str, output: Path) -> Spec2MolForConditionalGeneration:
    """Returns the model. Where its levels share one attention, as published, so they do here.

    Raises:
        FileNotFoundError, ValueError: no such file; a weight is missing, has no place or another shape.
    """
    state, hyperparameters = read_lightning(checkpoint, "mllm.")
    with mapping(checkpoint, "LLaMo", MISSING):
        encoder = _encoder(state)
        levels, per_level, _ = state["abstractor.query_tokens"].size
        num_motif_queries = state["abstractor.motif_query_tokens"].size[0]
        projector_config = {
            "model_type": "spec2mol_multilevel",
            "num_level_queries": per_level,
            "num_motif_queries": num_motif_queries,
            "num_motif_features": state["abstractor.motif_weight.weight"].size[1],
            "num_mlp_layers": sum(name.startswith("abstractor.net.") and name.endswith("weight") for name in state),
        }
        weights = _projector(state, levels, projector_config)
        num_queries = num_motif_queries + levels * per_level
        with TemporaryDirectory() as folder:
            save_for_hub(encoder, Spec2MolFeatureExtractor(molecules="graph", conditions=False), folder)
            model = Spec2MolForConditionalGeneration.from_pretrained_parts(
                folder,
                language_model,
                num_query_tokens=num_queries,
                condition_config=None,
                projector_config=projector_config,
            )
            processor = Spec2MolProcessor.from_pretrained_parts(folder, language_model, num_queries)
        model.model.projector.load_state_dict(weights)
        alpha = hyperparameters.get("lora_alpha", 32)
        take_language_model(state, "language_model.", model.language_model, alpha)
    check_all_taken(checkpoint, state, UNUSED)
    save_for_hub(model, processor, output)
    return model


def _encoder(state) -> GinModel:
    """MoleculeSTM's GIN. Earlier versions of OGB counted four kinds of chirality, any other one as the last."""
    size = state[f"{GRAPH}.batch_norms.0.weight"].size[0]
    num_layers = sum(name.startswith(f"{GRAPH}.batch_norms.") and name.endswith("running_mean") for name in state)
    model = GinModel(GinConfig(hidden_size=size, num_hidden_layers=num_layers))
    names = {}
    for ours in model.state_dict():
        theirs = ours.replace("atom_embeddings.embeddings", "atom_encoder.atom_embedding_list")
        theirs = theirs.replace("layers.", "gnns.").replace(
            "bond_embeddings.embeddings", "bond_encoder.bond_embedding_list"
        )
        kind, number, *rest = theirs.split(".")
        if rest[0] == "norm":
            theirs = ".".join(["batch_norms", number, *rest[1:]])
        names[ours] = f"{GRAPH}.{theirs}"
    weights = take(state, names)
    chirality = weights["atom_embeddings.embeddings.1.weight"]
    if len(chirality) == model.config.atom_feature_sizes[1] - 1:
        weights["atom_embeddings.embeddings.1.weight"] = torch.cat([chirality, chirality[-1:]])
    model.load_state_dict(weights)
    return model


def _projector(state, levels, config) -> dict[str, torch.Tensor]:
    """Its weights; says in `config` whether the levels share one attention."""
    names = {"level_queries": "query_tokens", "motif_queries": "motif_query_tokens"}
    names |= {"motif_projection.weight": "motif_weight.weight"}
    names |= {f"motif_attention.{part}": f"motif_cross_attention.{part}" for part in ATTENTION}
    names |= {f"norm.{kind}": f"layer_norm.{kind}" for kind in ("weight", "bias")}
    for i in range(config["num_mlp_layers"]):
        names |= {f"mlp.{2 * i}.{kind}": f"net.{2 * i}.{kind}" for kind in ("weight", "bias")}
    for level in range(levels):
        names |= {f"level_attention.{level}.{part}": f"cross_attention.{level}.{part}" for part in ATTENTION}
    weights = take(state, {ours: f"abstractor.{theirs}" for ours, theirs in names.items()})
    first = {part: weights[f"level_attention.0.{part}"] for part in ATTENTION}
    copies = [f"level_attention.{level}.{part}" for level in range(1, levels) for part in ATTENTION]
    config["share_level_attention"] = all(torch.equal(weights[n], first[n.split(".", 2)[2]]) for n in copies)
    if config["share_level_attention"]:
        weights = {name: weight for name, weight in weights.items() if name not in copies}
    return weights
