import numpy as np
import pandas as pd
import pytest
import torch

from spec2mol import Spec2MolForPreTraining
from spec2mol.cli.main import main
from spec2mol.evaluation.text_retrieval import CONTRAST, DIRECTIONS, MATCHING, MODEL, SHUFFLED, retrieve_texts
from spec2mol.saving import save_for_hub
from tests import builders

SMILES = ("CCO", "CC(=O)O", "NC1=CC=CC=C1", "CCN(CC)CCS", "CCC", "CS", "NCCO")
TEXTS = ("[C][C][O]", "[C][O][N]", "[N][C][C]", "[S][C][N]", "[C][C][C]", "[S][O]", "[N][N][S][C]")


@pytest.fixture(scope="module")
def parts():
    """A model that learned which text belongs to which molecule."""
    model = builders.model()
    model = builders.randomized(type(model)(builders.conformer_config(contrast_temperature=0.1)))
    processor = builders.processor(molecules="conformer")
    ids, mask = processor.pad([processor.encode_text(text) for text in TEXTS])
    learner = Spec2MolForPreTraining(model.config)
    learner.model = model.model
    inputs = processor.feature_extractor(list(SMILES), return_tensors="pt")
    inputs |= {"molecule_ids": torch.from_numpy(ids), "molecule_mask": torch.from_numpy(mask)}
    builders.train(learner, inputs, 120)
    return model.eval(), processor


def mean(lines, figure="accuracy", **chosen):
    return lines[np.logical_and.reduce([lines[name] == value for name, value in chosen.items()])][figure].mean()


def test_what_was_learned_is_found_and_another_rows_molecule_finds_it_not(parts):
    rows = [{"smiles": smiles} for smiles in SMILES]
    lines = retrieve_texts(*parts, rows, TEXTS, batch=4, shortlist=5)
    assert len(lines) == 7 * 2 * 2 * 2 * 2  # rows, directions, scopes, rankings, systems
    for direction in DIRECTIONS:
        for scope in ("in batches", "in the whole set"):
            where = {"direction": direction, "scope": scope}
            for ranking in (CONTRAST, MATCHING):
                assert mean(lines, ranking=ranking, system=MODEL, **where) > 0.8
                assert mean(lines, ranking=ranking, system=SHUFFLED, **where) < 0.3
    assert mean(lines, "r@20", system=SHUFFLED) == 1  # seven rows, all among the first 20


def test_ranking_again_is_the_models_own_score(parts):
    """Where all are ranked again, the first one is the best by `score`."""
    model, processor = parts
    rows = [{"smiles": smiles} for smiles in SMILES]
    lines = retrieve_texts(model, processor, rows, TEXTS, shortlist=7, batch_size=3)
    ids, mask = map(torch.from_numpy, processor.pad([processor.encode_text(text) for text in TEXTS]))
    inputs = processor.feature_extractor(list(SMILES), return_tensors="pt")
    scores = model.score(inputs, {"molecule_ids": ids, "molecule_mask": mask}).detach().numpy()
    right = [float(scores[i].argmax() == i) for i in range(7)], [float(scores[:, i].argmax() == i) for i in range(7)]
    for direction, expected in zip(DIRECTIONS, right, strict=True):
        chosen = lines[(lines["ranking"] == MATCHING) & (lines["system"] == MODEL) & (lines["direction"] == direction)]
        for _, of_scope in chosen.groupby("scope"):
            assert of_scope["accuracy"].tolist() == expected


def test_without_a_text_branch_there_is_nothing_to_compare():
    model = builders.randomized(type(builders.model())(builders.graph_config()))
    with pytest.raises(ValueError, match="no text branch"):
        retrieve_texts(model, builders.processor(molecules="graph"), [{"smiles": "CCO"}], ["[C]"])


def test_the_command(parts, tmp_path, capsys):
    save_for_hub(*parts, tmp_path / "model")
    pd.DataFrame({"smiles": SMILES, "text": TEXTS}).to_parquet(tmp_path / "rows.parquet")
    tasks = tmp_path / "tasks.yaml"
    messages = '[{role: user, content: "{soft_tokens}"}, {role: assistant, content: "{text}"}]'
    tasks.write_text(f"caption:\n  metric: caption\n  messages: {messages}\n  validation: {tmp_path}/rows.parquet\n")
    arguments = ["evaluate-retrieval", "--model", str(tmp_path / "model"), "--tasks", str(tasks), "--task"]
    assert main([*arguments, "caption", "--batch", "4", "--docs", str(tmp_path / "results.md")]) == 0
    written = (tmp_path / "results.md").read_text()
    assert "## model, retrieval of caption, validation" in written and "--batch 4" in written
    assert written.count("contrast and matching, another row's molecule") == 2
    assert main([*arguments, "none"]) == 2 and "there are caption" in capsys.readouterr().err
