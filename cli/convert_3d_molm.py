"""`spec2mol convert-3d-molm CKPT UNIMOL LLAMA OUT_DIR`: a released checkpoint of 3D-MoLM (stages 2 and 3), which holds
Q-Former and LoRA, with the models that it was trained upon -> a folder that `from_pretrained` loads."""

from pathlib import Path

from ..modeling_spec2mol import Spec2MolForConditionalGeneration
from ..processing_spec2mol import Spec2MolProcessor
from ..saving import save_for_hub
from .convert_unimol import PAIR_BIAS, key_map
from .released import MISSING, check_all_taken, read_lightning, take, take_language_model
from .torch_archive import mapping

# The prompt of its inference.ipynb; a message reads "QUESTION\nInput molecule: SMILES {soft_tokens}.".
CHAT_TEMPLATE = (
    "</s>{% for message in messages %}{% if message.role == 'assistant' %}"
    "{% generation %}{{ message.content }}</s>{% endgeneration %}{% else %}"
    "Below is an instruction that describes a task, paired with an input molecule. "
    "Write a response that appropriately completes the request.\n"
    "Instruction: {{ message.content }}\nResponse: {% endif %}{% endfor %}"
)


def add_arguments(parser):
    parser.add_argument("checkpoint", type=Path, metavar="CKPT", help="released generalist.ckpt or another one")
    parser.add_argument("unimol", metavar="UNIMOL", help="folder that convert-unimol wrote")
    parser.add_argument("language_model", metavar="LLAMA", help="folder or Hub name of Llama-2-7b-hf")
    parser.add_argument("output", type=Path, metavar="OUT_DIR", help="folder to write")


def run(args) -> int:
    model = convert_3d_molm(args.checkpoint, args.unimol, args.language_model, args.output)
    print(f"{args.output}: {type(model).__name__}, {model.num_parameters():,} parameters")
    return 0


def convert_3d_molm(checkpoint: Path, unimol: str, language_model: str, output: Path):
    """Returns the model. Its Q-Former reads padding, see `UniMolConfig.reads_padding`.

    Raises:
        FileNotFoundError, ValueError: no such file; a weight is missing, has no place or another shape.
    """
    state, hyperparameters = read_lightning(checkpoint, "blip2opt.")
    with mapping(checkpoint, "3D-MoLM", MISSING):
        _, num_queries, hidden_size = state["query_tokens"].size
        num_layers = 1 + max(
            int(name.split(".")[4]) for name in state if name.startswith("Qformer.bert.encoder.layer.")
        )
        crossing = [i for i in range(num_layers) if f"{_layer(i)}.crossattention.self.query.weight" in state]
        model = Spec2MolForConditionalGeneration.from_pretrained_parts(
            unimol,
            language_model,
            num_query_tokens=num_queries,
            normalize_encoder=True,
            condition_config=None,
            projector_config={
                "use_qformer_text_input": False,
                "hidden_size": hidden_size,
                "num_hidden_layers": num_layers,
                "num_attention_heads": hidden_size // 64,  # as BERT's
                "intermediate_size": state[f"{_layer(0)}.intermediate_query.dense.weight"].size[0],
                "cross_attention_frequency": crossing[1] - crossing[0] if len(crossing) > 1 else num_layers,
            },
        )
        model.config.encoder_config.reads_padding = model.model.encoder.config.reads_padding = True
        projector = model.model.projector
        names = {"query_tokens.weight": "query_tokens"}
        for ours, theirs in (("language_projection", "llm_proj"), ("encoder_norm", "ln_graph")):
            names |= {f"{ours}.{kind}": f"{theirs}.{kind}" for kind in ("weight", "bias")}
        names |= {f"qformer.{ours}": _in_qformer(ours) for ours, _ in projector.qformer.named_parameters()}
        weights = take(state, names)
        weights["query_tokens.weight"] = weights["query_tokens.weight"][0]
        projector.load_state_dict(weights)
        if any(name.startswith("graph_encoder.") for name in state):  # It was trained as well.
            names = key_map(model.config.encoder_config.num_hidden_layers)
            weights = take(state, {ours: f"graph_encoder.{theirs}" for ours, theirs in names.items()})
            model.model.encoder.load_state_dict(
                {name: w.flatten() if name in PAIR_BIAS else w for name, w in weights.items()}
            )
        alpha = hyperparameters.get("lora_alpha", 32)
        take_language_model(state, "llm_model.", model.language_model, alpha)
    check_all_taken(checkpoint, state)
    processor = Spec2MolProcessor.from_pretrained_parts(unimol, language_model, num_queries)
    processor.chat_template = CHAT_TEMPLATE
    save_for_hub(model, processor, output)
    return model


def _layer(number: int) -> str:
    return f"Qformer.bert.encoder.layer.{number}"


def _in_qformer(name: str) -> str:
    """Name in LAVIS' Q-Former of a parameter of transformers'."""
    if name.startswith("layernorm."):
        return f"Qformer.bert.embeddings.LayerNorm.{name.removeprefix('layernorm.')}"
    return f"Qformer.bert.{name.replace('attention.attention.', 'attention.self.')}"
