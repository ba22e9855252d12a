import json

import pandas as pd
import pytest
import torch

from spec2mol.data.collator import Spec2MolCollator
from spec2mol.data.examples import load_examples, molecule_identity
from spec2mol.data.tasks import Task, load_task_examples, load_tasks, read_tasks, task_rows
from tests.builders import MOLECULES, processor, spectra

TEMPLATE = (
    "{% for message in messages %}{% if message.role == 'assistant' %}[CLS]{% generation %}{{ message.content }}"
    "[SEP]{% endgeneration %}{% else %}{{ message.content }}{% endif %}{% endfor %}"
)
USER, ASSISTANT = {"role": "user", "content": "{soft_tokens}"}, {"role": "assistant", "content": "{molecule}"}


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "spectra.parquet"
    pd.DataFrame([s | {"smiles": m} for s, m in zip(spectra(), MOLECULES, strict=True)]).to_parquet(path)
    return str(path)


@pytest.fixture
def lines(tmp_path):
    path = tmp_path / "lines.jsonl"
    rows = [{"source": f"[C]{'[C]' * i}", "target": "[O]", "fold": "ab"[i % 2]} for i in range(5)]
    path.write_text("\n".join(map(json.dumps, rows)))
    return str(path)


def test_soft_tokens_then_the_molecule_are_stage_align(table):
    task = Task(metric="molecule", train=table, messages=[USER, ASSISTANT])
    tool = processor(chat_template=TEMPLATE)
    batch = Spec2MolCollator(tool)(load_task_examples({"spectrum": task}, "train", tool).to_list())
    expected = Spec2MolCollator(processor())(load_examples(table, processor()).to_list())
    assert batch.keys() == expected.keys()
    for name, tensor in expected.items():
        assert torch.equal(batch[name], tensor), name


def test_every_answer_counts_and_no_question(table):
    ask = {"role": "user", "content": "[C][C]"}
    task = Task(metric="molecule", train=table, messages=[USER, ASSISTANT, ask, ASSISTANT])
    tool = processor(chat_template=TEMPLATE)
    batch = Spec2MolCollator(tool)(load_task_examples({"spectrum": task}, "train", tool, limit=1).to_list())
    answer = tool.encode_molecule(MOLECULES[0])[1:]
    labels, ids = batch["labels"], batch["input_ids"]
    assert labels[labels != -100].tolist() == answer * 2
    assert torch.equal(labels[labels != -100], ids[labels != -100])
    asked = tool.tokenizer.convert_tokens_to_ids(["[C]", "[C]", "[CLS]"])
    middle = slice(tool.num_query_tokens + 1 + len(answer), -len(answer))
    assert ids[0, middle].tolist() == asked and (labels[0, middle] == -100).all()


def test_a_template_without_answers_is_an_error(table):
    unmarked = processor(chat_template="{% for message in messages %}{{ message.content }}{% endfor %}")
    with pytest.raises(ValueError, match="marks no answer"):
        unmarked.conversation_text([[{"role": "user", "content": "[C]"}, {"role": "assistant", "content": "[C]"}]])


def test_tasks_with_and_without_spectra_share_batches(table, lines):
    text = [{"role": "user", "content": "{source}"}, {"role": "assistant", "content": "{target}"}]
    tasks = {
        "spectrum": Task(metric="molecule", train=table, messages=[USER, ASSISTANT]),
        "text": Task(metric="text", train=lines, messages=text),
    }
    tool = processor(chat_template=TEMPLATE)
    examples = load_task_examples(tasks, "train", tool)
    assert examples["task"][:] == ["spectrum"] * 4 + ["text"] * 5
    assert examples["num_peaks"][:] == [5, 8, 1, 3] + [0] * 5
    assert examples["identity"][:][4:] == [None] * 5
    assert examples["identity"][0] == molecule_identity("LFQSCWFLJHTTHZ")
    rows = examples.to_list()
    batch = Spec2MolCollator(tool)([rows[4], rows[1], rows[8]])
    assert len(batch["input_ids"]) == 3 and len(batch["peaks"]) == 1
    assert (batch["input_ids"] == tool.tokenizer.mask_token_id).sum(1).tolist() == [0, 4, 0]


def test_lengths_are_those_of_the_text_and_longer_ones_are_left_out(lines, capsys):
    messages = [{"role": "user", "content": "{source}"}, {"role": "assistant", "content": "{target}"}]
    tasks, tool = {"text": Task(metric="text", train=lines, messages=messages)}, processor(chat_template=TEMPLATE)
    assert load_task_examples(tasks, "train", tool)["num_tokens"][:] == [4, 5, 6, 7, 8]
    assert load_task_examples(tasks, "train", tool, max_tokens=6)["num_tokens"][:] == [4, 5, 6]
    assert "text: 2 of 5 rows dropped" in capsys.readouterr().out


def test_only_some_rows_belong_to_a_task(lines):
    task = Task(metric="text", train=lines, messages=[], only={"fold": ["b"]})
    assert [row["source"] for row in task_rows(task, "train")] == ["[C][C]", "[C][C][C][C]"]
    assert len(task_rows(task, "train", limit=1)) == 1
    with pytest.raises(ValueError, match="no validation rows"):
        task_rows(task, "validation")


def test_rows_may_bring_their_own_conversations(tmp_path):
    conversations = [[{"role": "user", "content": "[C]"}, {"role": "assistant", "content": "[O]"}] * n for n in (1, 2)]
    (tmp_path / "own.jsonl").write_text("\n".join(json.dumps({"messages": c}) for c in conversations))
    examples = load_task_examples(
        {"dialogue": Task(metric="text", train=str(tmp_path / "own.jsonl"))},
        "train",
        processor(chat_template=TEMPLATE),
    )
    assert examples["messages"][:] == conversations


def test_molecules_that_selfies_cannot_write_are_dropped_and_counted(tmp_path, capsys):
    pd.DataFrame({"smiles": ["CCO", "C1CC"]}).to_parquet(tmp_path / "molecules.parquet")
    messages = [{"role": "user", "content": "[C]"}, ASSISTANT]
    tasks = {"write": Task(metric="molecule", train=str(tmp_path / "molecules.parquet"), messages=messages)}
    assert load_task_examples(tasks, "train", processor(chat_template=TEMPLATE))["smiles"][:] == ["CCO"]
    assert "write: 1 of 2 rows dropped" in capsys.readouterr().out


def test_mistakes_are_named():
    with pytest.raises(ValueError, match="task a: unknown fields prompt"):
        read_tasks({"a": {"metric": "text", "prompt": ""}})
    with pytest.raises(ValueError, match="task a: round_trip by b, which is not among the tasks"):
        read_tasks({"a": {"metric": "text", "round_trip": "b"}})


def test_the_prompts_of_text_chem_t5_are_the_published_ones(pytestconfig):
    tasks = load_tasks(pytestconfig.rootpath / "tasks/text_chem_t5.yaml")
    row = {name: f"<{name}>" for name in ("source", "target", "smiles", "description")}
    asked = {name: [m["content"] for m in task.conversation(row, None)] for name, task in tasks.items()}
    assert asked == {
        "forward": ["Predict the product of the following reaction: <source>", "<target>"],
        "retro": ["Predict the reaction that produces the following product: <source>", "<target>"],
        "actions": ["Which actions are described in the following paragraph: <source>", "<target>"],
        "text2smiles": ["Write in SMILES the described molecule: <description>", "<smiles>"],
        "smiles2text": ["Caption the following SMILES: <smiles>", "<description>"],
    }


def test_the_molecule_of_a_row_may_stand_in_another_column(tmp_path):
    path = tmp_path / "reactions.jsonl"
    path.write_text('{"source": "CCO.CC(=O)O", "target": "CCOC(C)=O"}\n{"source": "CO", "target": "C"}')
    messages = [{"role": "user", "content": "{soft_tokens}"}, {"role": "assistant", "content": "[C]"}]
    task = Task(metric="molecule", train=str(path), messages=messages, reads="source")
    assert task_rows(task, "train", 1)["smiles"][:] == ["CCO.CC(=O)O"]
    tool = processor(chat_template=TEMPLATE, molecules="graph")
    examples = load_task_examples({"forward": task}, "train", tool)
    batch = Spec2MolCollator(tool)(examples.to_list())
    assert batch["atoms_mask"].sum(1).tolist() == [7, 2]  # both reactants are one graph


def test_rows_of_a_file_without_the_column_are_taken_where_none_is_a_value(lines, table):
    messages = [{"role": "user", "content": "{soft_tokens}"}, {"role": "assistant", "content": "[C]"}]
    task = Task(metric="text", train=[lines, table], messages=messages, only={"fold": ["a", None]})
    assert len(task_rows(task, "train")) == 3 + len(MOLECULES)
    task.train = table
    assert len(task_rows(task, "train")) == len(MOLECULES)
    task.only = {"fold": ["a"]}
    with pytest.raises(ValueError, match="fold"):
        task_rows(task, "train")
