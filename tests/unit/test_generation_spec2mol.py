import math

import pytest
import torch

from spec2mol.generation_spec2mol import (
    Candidate,
    Query,
    encode_queries,
    mass_error_ppm,
    match_scores,
    predict_molecules,
)
from tests import builders


@pytest.fixture(scope="module")
def trained():
    """A model that knows its four spectra by heart."""
    return builders.trained(steps=150)


def test_best_candidate_is_the_molecule_the_model_knows(trained):
    answers = list(predict_molecules(*trained, builders.spectra(), top_k=3, constrain=False))
    assert [candidates[0].smiles for candidates in answers] == ["CCO", "CC(=O)[O-]", "Nc1ccccc1", "CCN(CC)CCS"]


def test_candidates_are_valid_and_distinct(trained):
    for candidates in predict_molecules(*trained, builders.spectra(), top_k=5, constrain=False):
        assert 0 < len(candidates) <= 5
        blocks = [candidate.inchikey[:14] for candidate in candidates]
        assert len(set(blocks)) == len(blocks)
        assert all(candidate.score <= 0 for candidate in candidates)


@torch.no_grad()
@pytest.mark.parametrize("top_k", [1, 3])
def test_score_is_the_log_likelihood(trained, top_k):
    model, processor = trained
    answers = predict_molecules(model, processor, builders.spectra(), top_k, constrain=False)
    for spectrum, molecule, candidates in zip(builders.spectra(), builders.MOLECULES, answers, strict=True):
        best = processor(spectra=[spectrum], molecules=[molecule], return_tensors="pt")
        symbols = (best["labels"] != -100).sum()
        assert math.isclose(candidates[0].score, -model(**best).loss * symbols, abs_tol=1e-3)


def test_batching_changes_nothing(trained):
    one = list(predict_molecules(*trained, builders.spectra(), top_k=2, batch_size=1, constrain=False))
    three = list(predict_molecules(*trained, builders.spectra(), top_k=2, batch_size=3, constrain=False))
    assert [[c.smiles for c in cs] for cs in one] == [[c.smiles for c in cs] for cs in three]


def test_streams(trained):
    taken = []

    def endless():
        while True:
            taken.append(1)
            yield builders.spectra()[0]

    answers = predict_molecules(*trained, endless(), top_k=1, batch_size=2, constrain=False)
    assert next(answers)[0].smiles == "CCO"
    assert len(taken) == 2


ETHANOL = {"mzs": [31.0178], "intensities": [1.0], "precursor_mz": 47.0491, "adduct": "[M+H]+"}


@pytest.mark.parametrize("formula", ["C2H6O", None])
def test_answers_have_the_formula_given_or_the_one_of_the_mass(trained, formula):
    (candidates,) = predict_molecules(*trained, [ETHANOL | {"formula": formula}])
    assert candidates.problem is None
    assert {candidate.formula for candidate in candidates} == {"C2H6O"}


def test_a_formula_that_contradicts_the_mass_is_a_problem_of_its_query_alone(trained):
    wrong, right = predict_molecules(*trained, [ETHANOL | {"formula": "C3H8O"}, ETHANOL | {"formula": "C2H6O"}])
    assert wrong == [] and "C3H8O" in wrong.problem and "47.0491" in wrong.problem
    assert right


@pytest.mark.parametrize("formula", ["H2O", "C2H6O.HCl"])
def test_not_the_formula_of_an_organic_molecule(trained, formula):
    (candidates,) = predict_molecules(*trained, [ETHANOL | {"formula": formula}])
    assert candidates == [] and formula in candidates.problem


CAFFEINE = Candidate("Cn1c(=O)c2c(ncn2C)n(C)c1=O", "RYYVLZVUVIJVGH-UHFFFAOYSA-N", "C8H10N4O2", -1.0)


def test_mass_error():
    assert abs(mass_error_ppm(CAFFEINE, {"precursor_mz": 195.08765, "adduct": "[M+H]+"})) < 0.1
    assert 9.9 < mass_error_ppm(CAFFEINE, {"precursor_mz": 195.08765 * (1 + 10e-6), "adduct": "[M+H]+"}) < 10.1
    assert abs(mass_error_ppm(CAFFEINE, {"precursor_mz": 193.07310, "adduct": "[M-H]-"})) < 0.1


def test_mass_error_of_an_ion_that_is_the_molecule():
    choline = Candidate("C[N+](C)(C)CCO", "", "C5H14NO", -1.0)
    assert abs(mass_error_ppm(choline, {"precursor_mz": 104.10699, "adduct": "[M]+"})) < 0.1


def test_no_mass_error_without_a_known_adduct():
    assert mass_error_ppm(CAFFEINE, {"precursor_mz": 195.1, "adduct": "[M+Xx]+"}) is None
    assert mass_error_ppm(CAFFEINE, {"precursor_mz": 195.1}) is None


def test_match_scores_are_those_of_score(trained):
    """Each candidate with the query that it comes from, in whatever batch."""
    model, processor = trained
    queries = [Query(processor.feature_extractor.record(spectrum), None, 0.0, 1) for spectrum in builders.spectra()]
    molecules, numbers = ["CCO", "CCN", "CCS", "CCCC", "Brc1ccccc1"], [0, 3, 1, 1, 2]
    with torch.no_grad():
        texts = processor(molecules=molecules[:4], return_tensors="pt")
        every = model.score(processor(spectra=builders.spectra(), return_tensors="pt"), texts)
    scores = match_scores(model, processor, encode_queries(model, processor, queries), numbers, molecules)
    expected = [float(every[row, i]) for i, row in enumerate(numbers[:4])]
    assert scores[:4] == pytest.approx(expected, abs=1e-4)
    assert scores[4] == min(scores[:4])  # The vocabulary has no bromine.


def test_without_a_text_branch_there_is_no_match():
    model, processor = builders.model(projector={"use_qformer_text_input": False}), builders.processor()
    queries = [Query(processor.feature_extractor.record(builders.spectra()[0]), None, 0.0, 1)]
    assert match_scores(model, processor, encode_queries(model, processor, queries), [0], ["CCO"]) is None
