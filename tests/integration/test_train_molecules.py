"""3D-MoLM's three stages and LLaMo's two, chained by train.py on tiny models, behind a language model that knows the
words: each starts from the last, and its loss falls."""

import json

import pandas as pd
import pytest
import torch
import yaml
from safetensors.torch import load_file

from spec2mol import load_model
from spec2mol.data.facts import conformer_facts, molecule_facts
from spec2mol.data.tasks import read_tasks
from spec2mol.data.text_tokenizer import build_text_tokenizer
from spec2mol.evaluation.tasks import MODEL, evaluate_task
from spec2mol.train import main
from tests import builders

NAMES = {
    "CCO": "ethanol",
    "CC(=O)O": "acetic acid",
    "c1ccccc1": "benzene",
    "CCN": "ethylamine",
    "CC#N": "acetonitrile",
    "OCCO": "ethylene glycol",
    "CC(C)=O": "acetone",
    "Oc1ccccc1": "phenol",
}
CHAT_TEMPLATE = (
    "{% for message in messages %}{% if message.role == 'assistant' %}"
    "{% generation %}{{ message.content }}</s>{% endgeneration %}"
    "{% else %}{{ message.content }}</s>{% endif %}{% endfor %}"
)
LORA = {"r": 4, "lora_alpha": 8, "target_modules": r".*language_model.*\.(q_proj|v_proj)"}
LORA["modules_to_save"] = ["projector"]
CAPTION = [
    {"role": "user", "content": "{soft_tokens} Describe this molecule."},
    {"role": "assistant", "content": "{description}"},
]
SPAN = [
    {"role": "user", "content": "{soft_tokens} How long is it?"},
    {"role": "assistant", "content": "{span:.1f} angstroms"},
    {"role": "user", "content": "How heavy is it?"},
    {"role": "assistant", "content": "{molecular_weight:.0f} Da"},
]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Folder with a table of molecules and a tokenizer of its texts."""
    folder = tmp_path_factory.mktemp("data")
    rows = []
    for smiles, name in NAMES.items():
        facts = molecule_facts(smiles) | conformer_facts(smiles)
        rows.append({"smiles": smiles, "description": f"The molecule is {name}.", "fold": "train"} | facts)
    pd.DataFrame([*rows, rows[0] | {"description": "Not for training.", "fold": "test"}]).to_parquet(
        folder / "molecules.parquet"
    )
    texts = [message["content"].format(soft_tokens="", **row) for row in rows for message in CAPTION + SPAN]
    build_text_tokenizer(texts, vocab_size=250).save_pretrained(folder / "tokenizer")
    # What the language model has read before: the answers, but not which molecule they are about.
    read = [
        {"smiles": row["smiles"], "text": "</s>".join(m["content"].format(soft_tokens="", **row) for m in messages)}
        for row in rows
        for messages in (CAPTION, SPAN)
    ]
    pd.DataFrame(read).to_parquet(folder / "texts.parquet")
    texts = {name: str(folder / "texts.parquet") for name in ("train", "validation")} | {"text": "text"}
    text_config = builders.LANGUAGE_MODEL | {"max_position_embeddings": 128, "hidden_size": 64}
    config = dict.fromkeys(("encoder_config", "projector_config", "condition_config"))
    config["text_config"] = {name: value for name, value in text_config.items() if "token_id" not in name}
    losses = run(folder, "align", {"tokenizer": str(folder / "tokenizer"), "config": config}, 150, data=texts)
    assert falls(losses)
    return folder


def run(folder, stage, model, steps, **fields):
    """Trains a stage; the losses of its steps."""
    recipe = {
        "stage": stage,
        "model": model,
        "arguments": {
            "max_steps": steps,
            "per_device_train_batch_size": 8,
            "learning_rate": 5e-3,
            "logging_steps": 1,
            "save_strategy": "steps",
            "save_steps": steps,
            "report_to": "none",
            "disable_tqdm": True,
            "seed": 0,
        },
    } | fields
    path = folder / f"{stage}.yaml"
    path.write_text(yaml.safe_dump(recipe))
    main([str(path), "--output", str(folder / stage)])
    history = json.loads((folder / stage / f"checkpoint-{steps}" / "trainer_state.json").read_text())["log_history"]
    return [entry["loss"] for entry in history if "loss" in entry]


def falls(losses):
    return sum(losses[-5:]) < 0.7 * sum(losses[:5])


def same_weights(before, after, prefix):
    before, after = (load_file(folder / "model.safetensors") for folder in (before, after))
    names = [name for name in before if name.startswith(prefix)]
    assert names
    return all(torch.equal(before[name], after[name]) for name in names)


def test_3d_molm(data, tmp_path):
    molecules = {name: str(data / "molecules.parquet") for name in ("train", "validation")}
    columns = molecules | {"text": "description", "only": {"fold": ["train"]}}
    config = {"encoder_config": builders.UNIMOL, "projector_config": builders.PROJECTOR | {"initializer_range": 0.2}}
    config |= {"num_query_tokens": 8, "contrast_size": 16, "contrast_temperature": 0.1, "normalize_encoder": True}
    new = {"from": str(data / "align"), "config": config, "feature_extractor": {"molecules": "conformer"}}
    losses = run(tmp_path, "represent", new, 40, data=columns)
    assert falls(losses)
    align = run(tmp_path, "align", {"from": str(tmp_path / "represent")}, 60, data=columns, lora=LORA)
    assert falls(align)
    tasks = {
        name: {"messages": messages, "metric": metric, "only": {"fold": ["train"]}} | molecules
        for name, messages, metric in (("caption", CAPTION, "caption"), ("span", SPAN, "number"))
    }
    fields = {"tasks": tasks, "chat_template": CHAT_TEMPLATE, "data": {}, "lora": LORA}
    instruct = run(tmp_path, "instruct", {"from": str(tmp_path / "align")}, 100, **fields)
    assert falls(instruct)

    for earlier, later in (("represent", "align"), ("align", "instruct")):
        assert same_weights(tmp_path / earlier, tmp_path / later, "model.encoder.")  # adapters leave it as it was
        assert not same_weights(tmp_path / earlier, tmp_path / later, "language_model.")
        assert not same_weights(tmp_path / earlier, tmp_path / later, "model.projector.")

    model, processor = load_model(str(tmp_path / "instruct"))
    assert model.config.contrast_temperature == 0.1 and processor.feature_extractor.molecules == "conformer"
    systems = evaluate_task(model, processor, read_tasks(tasks), "caption", max_new_tokens=20)
    assert len(systems[MODEL]) == 8 and systems[MODEL]["answer"].str.contains("molecule").all()


def test_llamo(data, tmp_path):
    molecules = {name: str(data / "molecules.parquet") for name in ("train", "validation")}
    columns = molecules | {"text": "description", "only": {"fold": ["train"]}}
    config = {"encoder_config": builders.GIN, "projector_config": {"model_type": "spec2mol_multilevel"}}
    config["num_query_tokens"] = 28
    new = {"from": str(data / "align"), "config": config, "feature_extractor": {"molecules": "graph"}}
    losses = run(tmp_path, "align", new, 60, data=columns, trainable=["model.*"])  # the language model waits
    assert falls(losses)
    tasks = {"dialogue": {"messages": SPAN, "metric": "number", "only": {"fold": ["train"]}} | molecules}
    fields = {"tasks": tasks, "chat_template": CHAT_TEMPLATE, "data": {}, "lora": LORA}
    instruct = run(tmp_path, "instruct", {"from": str(tmp_path / "align")}, 60, **fields)
    assert falls(instruct)
    assert same_weights(tmp_path / "align", tmp_path / "instruct", "model.encoder.")
    assert not same_weights(tmp_path / "align", tmp_path / "instruct", "model.projector.")
    assert load_model(str(tmp_path / "instruct"))[1].feature_extractor.molecules == "graph"
