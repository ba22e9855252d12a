import json
from itertools import islice

import pandas as pd
import pytest
from transformers import AutoTokenizer

from spec2mol.characters_spec2mol import character_ids
from spec2mol.chemistry_spec2mol import inchikey_block
from spec2mol.cli.build_tasks import names
from spec2mol.cli.main import main
from spec2mol.data.tasks import Task, load_task_examples
from tests import builders

MOLECULES = ["CC(=O)O", "CCO", "CCCO", "OC(=O)c1ccccc1", "CCN", "Brc1ccccc1", "COC(=O)c1ccccc1"]
TEMPLATE = (
    "{% for m in messages %}{% if m.role == 'assistant' %}{% generation %}{{ m.content }}[SEP]{% endgeneration %}"
    "{% else %}{{ m.content }}{% endif %}{% endfor %}"
)


@pytest.fixture
def folder(tmp_path):
    pd.DataFrame({"smiles": MOLECULES}).to_parquet(tmp_path / "molecules.parquet")
    pd.DataFrame({"smiles": ["OCC"]}).to_parquet(tmp_path / "held_out.parquet")
    pd.DataFrame(builders.labelled_rows()).to_parquet(tmp_path / "spectra.parquet")
    command = ["build-tasks", str(tmp_path / "molecules.parquet"), str(tmp_path / "rows"), "--count", "50"]
    command += ["--exclude", str(tmp_path / "held_out.parquet")]
    assert main(command) == 0
    assert main([*command[:1], str(tmp_path / "spectra.parquet"), *command[2:], "--spectra"]) == 0
    return tmp_path


def read(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_rows_of_every_kind(folder):
    forward, retro = (read(folder / f"rows/{kind}_train.jsonl") for kind in ("forward", "retro"))
    assert forward and [(r["source"], r["target"]) for r in forward] == [(r["target"], r["source"]) for r in retro]
    assert {"Fischer esterification", "amide coupling", "saponification"} <= {row["name"] for row in forward}
    assert len(read(folder / "rows/actions_train.jsonl")) == 50
    assert len(read(folder / "rows/dialogue_train.jsonl")) == len(MOLECULES) - 1
    assert len(read(folder / "rows/name_train.jsonl")) == 50
    spectra = pd.read_parquet(folder / "rows/spectra_train.parquet").set_index("smiles")
    assert "formula" not in spectra  # It is asked for, so the encoder must not be told.
    aniline = spectra.loc["NC1=CC=CC=C1"]
    assert aniline["molecular_formula"] == "C6H7N" and aniline["num_rings"] == 1


def test_no_row_holds_an_excluded_molecule(folder):
    assert not any("CCO" in row["source"].split(".") for row in read(folder / "rows/forward_train.jsonl"))
    assert not any(row["smiles"] == "CCO" for row in read(folder / "rows/dialogue_train.jsonl"))
    others = [smiles for smiles in builders.MOLECULES if smiles != "CCO"]
    assert sorted(pd.read_parquet(folder / "rows/spectra_train.parquet")["smiles"]) == sorted(others)


def test_names_of_another_fold_are_those_of_other_molecules():
    train, validation = ([*islice(names(fold, set(), seed=0), 60)] for fold in (True, False))
    assert not {row["smiles"] for row in train} & {row["smiles"] for row in validation}
    known = {inchikey_block(row["smiles"]) for row in train[:30]}
    again = [row["smiles"] for row in islice(names(True, known, seed=0), 30)]
    assert again == [row["smiles"] for row in train[30:]]


def test_conversations_about_spectra_and_molecules_are_read_as_tasks(folder):
    question = {"role": "user", "content": "{soft_tokens} Which groups does it hold?"}
    messages = [question, {"role": "assistant", "content": "{functional_groups}"}]
    tasks = {
        "groups": Task(metric="list", train=str(folder / "rows/spectra_train.parquet"), messages=messages),
        "dialogue": Task(metric="caption", train=str(folder / "rows/dialogue_train.jsonl")),
    }
    tool = builders.processor(chat_template=TEMPLATE)
    examples = load_task_examples(tasks, "train", tool)
    assert examples["task"][:] == ["groups"] * 3 + ["dialogue"] * 6
    assert min(examples["num_peaks"][:3]) > 0 and examples["num_peaks"][3:] == [0] * 6
    assert all(tool.soft_tokens in row["messages"][0]["content"] for row in examples.select(range(3)))
    assert None not in examples["identity"][:]


def test_a_tokenizer_from_the_rows(folder):
    (folder / "tasks.yaml").write_text(
        f"forward: {{metric: reaction, train: {folder}/rows/retro_train.jsonl, "
        f'messages: [{{role: user, content: "Product: {{source}}"}}, {{role: assistant, content: "{{target}}"}}]}}'
    )
    command = ["build-tokenizer", str(folder / "tasks.yaml"), str(folder / "tokenizer"), "--size", "150"]
    assert main([*command, "--characters"]) == 0
    tokenizer = AutoTokenizer.from_pretrained(folder / "tokenizer")
    assert character_ids(tokenizer)[0][0] == 150
    ids = tokenizer("Product: CCOC(C)=O \\ and {|C|}{|\\|}")["input_ids"]
    assert tokenizer.unk_token_id not in ids and ids[-1] == tokenizer.eos_token_id
    assert tokenizer.decode(ids, skip_special_tokens=True) == "Product: CCOC(C)=O \\ and {|C|}{|\\|}"
    assert main([*command, "--smiles"]) == 0
    tokenizer = AutoTokenizer.from_pretrained(folder / "tokenizer")
    joined = [token for token in tokenizer.get_vocab() if len(token) > 1 and set("0123456789().") & set(token)]
    assert joined == []
    ids = tokenizer("Product: CC(=O)c1ccccc1.C%12", add_special_tokens=False)["input_ids"]
    assert {"1", "(", ")", ".", "2"} <= set(tokenizer.convert_ids_to_tokens(ids))
    assert tokenizer.decode(ids) == "Product: CC(=O)c1ccccc1.C%12"
