import sys

import numpy as np
import pandas as pd
import pytest
from nltk.translate.bleu_score import corpus_bleu

from spec2mol.evaluation.text_metrics import (
    METRICS,
    score_actions,
    score_captions,
    score_lists,
    score_molecules,
    score_numbers,
    score_reactions,
    score_texts,
    summarise_scores,
    words,
)

TRUTHS = [
    "The molecule is a member of the class of phenols and a benzoate ester.",
    "The molecule is an amino acid that is alanine. It has a role as a human metabolite.",
    "The molecule is a steroid.",
]
ANSWERS = [
    "The molecule is a member of phenols and an ester of the class.",
    "The molecule is an amino acid that is glycine. It has a role as a metabolite.",
    "It is unknown what this molecule is about, sorry.",
]


@pytest.mark.parametrize("n", [2, 4])
def test_bleu_is_that_of_nltk_over_the_whole_set(n):
    figures = summarise_scores(score_captions(ANSWERS, TRUTHS), ["a", "b", "c"])
    pairs = [[words(truth)] for truth in TRUTHS], [words(answer) for answer in ANSWERS]
    expected = corpus_bleu(*pairs, weights=[1 / n] * n)
    assert figures[f"bleu{n}"].mean == pytest.approx(expected, abs=1e-12)
    assert figures[f"bleu{n}"].low <= expected <= figures[f"bleu{n}"].high


def test_bleu_intervals_come_from_whole_sets():
    """One molecule with many answers is drawn with all of them."""
    scores = score_captions([TRUTHS[0]] * 5 + ["no"] * 5, [TRUTHS[0]] * 10)
    together = summarise_scores(scores, ["a"] * 5 + ["b"] * 5)["bleu2"]
    assert together.low == 0 and together.high == pytest.approx(1)
    apart = summarise_scores(scores, list(range(10)))["bleu2"]
    assert apart.low > 0 and apart.high < 1


def test_captions():
    same = score_captions(TRUTHS, TRUTHS)
    meteor = next(name for name in same if name.startswith("meteor"))
    assert (same[["exact", "rouge1", "rouge2", "rougeL"]] == 1).all().all()
    assert (same[meteor] > 0.98).all()
    scores = score_captions(["the ester", ""], ["the phenol ester", "the ester"])
    # One of two words right: precision 1, recall 2/3; in order; no common pair of words.
    assert scores["rouge1"].tolist() == pytest.approx([0.8, 0])
    assert scores["rougeL"].tolist() == pytest.approx([0.8, 0])
    assert scores["rouge2"].tolist() == [0, 0]


def test_molecules():
    truth = "C[C@H](N)C(=O)O"
    answers = [truth, "OC(=O)[C@H](C)N", "C[C@@H](N)C(=O)O", "CCO", "C1CC", ""]
    scores = score_molecules(answers, [truth] * 6)
    assert scores["exact"].tolist()[2:] == [0, 0, 0, 0] and scores["exact"][0] == 1
    assert scores["exact"][1] == float(_same(answers[1], truth))
    assert scores["valid"].tolist() == [1, 1, 1, 1, 0, 0]
    assert scores["levenshtein"][0] == 0 and scores["levenshtein"][5] == len(truth)
    for name in ("maccs", "rdk", "morgan"):
        assert scores[name][0] == scores[name][2] == 1 and scores[name].tolist()[4:] == [0, 0]
        assert 0 <= scores[name][3] < 1
    figures = summarise_scores(scores, list("abcdef"))
    assert figures["valid"].mean == pytest.approx(4 / 6)  # of all answers, also empty ones


def _same(a, b):
    from rdkit import Chem

    return Chem.MolToInchi(Chem.MolFromSmiles(a)) == Chem.MolToInchi(Chem.MolFromSmiles(b))


def test_a_truth_that_cannot_be_read_is_never_met():
    assert score_molecules(["C1CC", "CC"], ["C1CC"] * 2)[["exact", "morgan"]].to_numpy().tolist() == [[0, 0], [0, 0]]


def test_spaces_that_a_tokenizer_put_in_do_not_matter():
    assert score_molecules(["C/C=C\\ C"], ["C/C=C\\C"])["exact"][0] == 1


def test_reactions_are_sets_of_molecules():
    truths = ["CCO.CC(=O)O", "CC(=O)[O-]~[K+]", "CCO"]
    assert score_reactions(["OC(C)=O.OCC", "[K+].CC(=O)[O-]", "CCO.C"], truths)["exact"].tolist() == [1, 1, 0]
    scores = score_reactions(["CCO.C1CC", "", "CCO"], truths)
    assert scores["valid"].tolist() == [0, 0, 1] and scores["exact"].tolist() == [0, 0, 1]
    assert scores["morgan"].tolist() == [0, 0, 1]
    ethanol_alone, another = score_reactions(["CCO", "CCCC"], ["OCC.CC(=O)O", "[Na+]~[Cl-]"])["morgan"]
    assert 0.3 < ethanol_alone < 1 and another == 0


def test_numbers():
    scores = score_numbers(["It is -1.5e1 Da", "none", "2"], ["-14", "3", "3 of 5"])
    assert scores["valid"].tolist() == [1, 0, 1]
    np.testing.assert_array_equal(scores["absolute_error"], [1, np.nan, 1])
    figures = summarise_scores(scores, list("abc"))
    assert figures["absolute_error"].mean == 1 and figures["valid"].mean == pytest.approx(2 / 3)
    with pytest.raises(ValueError, match="no number in the reference 'x'"):
        score_numbers(["1"], ["x"])


def test_no_number_at_all_has_no_error():
    figures = summarise_scores(score_numbers(["none", "9" * 80], ["3", "3"]), ["a", "b"])
    assert figures["valid"].mean == 0 and np.isnan(figures["absolute_error"].mean)


def test_actions_and_texts():
    scores = score_actions(["ADD water (5 mL).", "FILTER."], ["ADD water (5 mL).", "STIR."])
    assert scores["exact"].tolist() == [1, 0] and scores["similarity"][0] == 1
    assert score_texts([" An  Ester.", "acid"], ["an ester.", "ester"])["exact"].tolist() == [1, 0]


def test_lists_have_no_order():
    scores = score_lists(["a phenol, an ether and an ester.", "an ester", ""], ["an ester, an ether and a phenol"] * 3)
    assert scores["exact"].tolist() == [1, 0, 0]
    assert scores["f1"].tolist() == [1, 0.5, 0]


@pytest.mark.parametrize("name", METRICS)
def test_each_answer_has_its_line(name):
    truths = ["CCO", "C"] if name != "number" else ["1", "2"]
    scores = METRICS[name](["", ""], truths)
    assert isinstance(scores, pd.DataFrame) and len(scores) == 2
    assert set(summarise_scores(scores, ["a", "b"])) == set(scores.columns)


def test_a_missing_library_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "rapidfuzz.distance", None)
    with pytest.raises(ImportError, match=r"rapidfuzz scores texts: pip install \"spec2mol\[tasks\]\""):
        score_actions(["a"], ["a"])
