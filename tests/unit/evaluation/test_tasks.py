import pandas as pd
import pytest
import torch

from spec2mol.data.tasks import Task
from spec2mol.evaluation.tasks import MODEL, SHUFFLED, UNSEEN, WRONG_INPUT, evaluate_task, summarise_task
from tests import builders

TEMPLATE = (
    "{% for m in messages %}{% if m.role == 'assistant' %}{% generation %}{{ m.content }}[SEP]{% endgeneration %}"
    "{% else %}{{ m.content }}[CLS]{% endif %}{% endfor %}"
)


@pytest.fixture(scope="module")
def parts():
    model = builders.model(encoder=None, projector=None, condition_config=None)
    return model, builders.processor(chat_template=TEMPLATE)


def task(tmp_path, smiles):
    """Tells the molecule and asks for it."""
    pd.DataFrame({"smiles": smiles}).to_parquet(tmp_path / "rows.parquet")
    messages = [{"role": "user", "content": "{molecule}"}, {"role": "assistant", "content": "{molecule}"}]
    return {"copy": Task(metric="molecule", validation=str(tmp_path / "rows.parquet"), messages=messages)}


def test_no_row_is_left_out(parts, tmp_path):
    """SELFIES cannot write hypervalent iodine: the model is not asked, and that counts."""
    smiles = ["CCO", "CC(=O)O[I](OC(C)=O)c1ccccc1", "C/C=C\\C"]
    lines = evaluate_task(*parts, task(tmp_path, smiles), "copy", max_new_tokens=8)[MODEL]
    assert lines["truth"].tolist() == ["CCO", "CC(=O)OI(OC(C)=O)c1ccccc1", "CC=CC"]  # as SELFIES have it, flat
    assert lines["answer"][1] == "" and lines["valid"][1] == 0
    assert lines["question"].tolist()[0] == "[C][C][O]" and len(lines) == 3


def test_the_control_has_the_same_answers_to_other_questions(parts, tmp_path):
    systems = evaluate_task(*parts, task(tmp_path, list(builders.MOLECULES)), "copy", max_new_tokens=8)
    answers, others = (systems[name]["answer"].tolist() for name in (MODEL, WRONG_INPUT))
    assert others == answers[2:] + answers[:2]
    assert systems[WRONG_INPUT]["truth"].tolist() == systems[MODEL]["truth"].tolist()


def test_losses_are_the_models_own_for_each_row_and_for_the_question_of_another(parts, tmp_path):
    model, processor = parts
    rows = [
        [("user", "CC"), ("assistant", "C"), ("user", "O"), ("assistant", "CCO")],
        [("user", "CCCCO"), ("assistant", "OCC"), ("user", "O"), ("assistant", "C")],
    ]
    spelled = [[{"role": role, "content": "".join(f"[{c}]" for c in text)} for role, text in row] for row in rows]
    pd.DataFrame({"messages": spelled}).to_json(tmp_path / "rows.jsonl", orient="records", lines=True)
    tasks = {"talk": Task(metric="text", validation=str(tmp_path / "rows.jsonl"))}
    systems = evaluate_task(model, processor, tasks, "talk", max_new_tokens=4)
    for system, asked in ((MODEL, spelled), (WRONG_INPUT, spelled[::-1])):
        for question, answer, loss in zip(asked, spelled, systems[system]["loss"], strict=True):
            text = processor.conversation_text([[*question[:-1], answer[-1]]])
            inputs = {name: torch.from_numpy(array) for name, array in text.items()}
            length = answer[-1]["content"].count("[") + 1  # and the end
            inputs["labels"][:, :-length] = -100
            assert loss == pytest.approx(model(**inputs).loss.item(), abs=1e-5)


def test_where_rows_bring_their_questions_the_control_answers_the_same_one(parts, tmp_path):
    asked = ["weight?", "rings?", "weight?", "once?", "rings?", "never again?"]
    rows = [
        {"messages": [{"role": "user", "content": question}, {"role": "assistant", "content": str(i)}]}
        for i, question in enumerate(asked)
    ]
    pd.DataFrame(rows).to_json(tmp_path / "rows.jsonl", orient="records", lines=True)
    tasks = {"talk": Task(metric="text", validation=str(tmp_path / "rows.jsonl"))}
    systems = evaluate_task(*parts, tasks, "talk", max_new_tokens=8)
    answers, others = (systems[name]["answer"].tolist() for name in (MODEL, WRONG_INPUT))
    assert others == [answers[i] for i in (2, 4, 0, 5, 1, 3)]


def test_figures_of_molecules_that_were_not_trained_on_stand_apart():
    lines = pd.DataFrame(
        {"question": "", "truth": "", "answer": "", "molecule": list("abcd"), "exact": [1.0, 1, 0, 0]}
    )
    systems = {MODEL: lines, WRONG_INPUT: lines.assign(exact=0.0)}
    figures = summarise_task(systems, [True, True, False, False])
    assert figures[MODEL]["exact"].mean == 0.5 and figures[UNSEEN]["exact"].mean == 0
    assert figures["difference"]["exact"].mean == 0.5
    for seen in (None, [False] * 4):
        assert UNSEEN not in summarise_task(systems, seen)


def test_where_questions_differ_the_control_reads_another_rows_molecule(tmp_path):
    """Rows 0 and 2 have one graph and one question, and so have 1 and 3: each control answers the others' question
    about its own graph, or its own question about the others'."""
    config = builders.graph_config()
    model = builders.randomized(type(builders.model())(config))
    processor = builders.processor(molecules="graph", chat_template=TEMPLATE)
    processor.num_query_tokens = config.num_query_tokens
    rows = {"source": ["CCO", "NC1=CC=CC=C1"] * 2, "ask": ["[C]", "[N][N]"] * 2, "target": ["CCO"] * 4}
    pd.DataFrame(rows).to_parquet(tmp_path / "rows.parquet")
    messages = [{"role": "user", "content": "{soft_tokens}{ask}"}, {"role": "assistant", "content": "{target}"}]
    fields = {"metric": "molecule", "validation": str(tmp_path / "rows.parquet"), "reads": "source"}
    tasks = {
        "differing": Task(messages=messages, **fields),
        "alike": Task(messages=[messages[0] | {"content": "{soft_tokens}"}, messages[1]], **fields),
        "text": Task(messages=[messages[0] | {"content": "{ask}"}, messages[1]], **fields),
    }
    of_rows = evaluate_task(model, processor, tasks, "differing", max_new_tokens=8)
    own, swapped = (of_rows[name]["answer"].tolist() for name in (MODEL, SHUFFLED))
    assert own[0] == own[2] != own[1] == own[3]
    assert swapped == own  # two rows on, there is the same
    odd = evaluate_task(model, processor, tasks, "differing", limit=2, max_new_tokens=8)
    assert odd[SHUFFLED]["answer"].tolist() != odd[MODEL]["answer"].tolist()
    assert odd[SHUFFLED]["question"].tolist() == odd[MODEL]["question"].tolist()
    assert "difference, shuffled input" in summarise_task(odd)
    for name in ("alike", "text"):
        assert SHUFFLED not in evaluate_task(model, processor, tasks, name, limit=2, max_new_tokens=2)
    assert of_rows[MODEL]["molecule"].tolist()[0] == "LFQSCWFLJHTTHZ"
