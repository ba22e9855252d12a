import pandas as pd
import pytest

from spec2mol.data.tasks import Task
from spec2mol.evaluation.tasks import MODEL, UNSEEN, WRONG_INPUT, evaluate_task, summarise_task
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
