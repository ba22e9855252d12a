import math
import re

import pytest
import torch
from rdkit import Chem

from spec2mol import generation_spec2mol
from spec2mol.generation_spec2mol import (
    Candidate,
    Query,
    draw_pools,
    encode_queries,
    fragment_scores,
    mass_error_ppm,
    match_scores,
    predict_molecules,
)
from spec2mol.ranking_spec2mol import FEATURES
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


def test_where_no_beam_comes_to_an_end_samples_answer(monkeypatch):
    hardly_trained = builders.trained(steps=60)

    def numbers_of_answers():
        return [len(answers) for answers in predict_molecules(*hardly_trained, builders.spectra(), batch_size=3)]

    monkeypatch.setattr(generation_spec2mol, "RESCUING_SAMPLES", 0)
    of_beams = numbers_of_answers()
    monkeypatch.undo()
    assert 0 in of_beams and any(of_beams)
    rescued = numbers_of_answers()
    assert rescued.count(0) < of_beams.count(0)
    assert all(after == before for after, before in zip(rescued, of_beams, strict=True) if before)


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


PROBLEMS = {
    "another mass": ({"formula": "C3H8O"}, r"formula C3H8O: as \[M\+H\]\+ it has m/z 61.0648, .* is 47.0491"),
    "odd electrons": ({"formula": "C2H5O", "precursor_mz": 46.0413}, "formula C2H5O: an odd number of electrons"),
    "too many hydrogens": ({"formula": "C2H8O", "precursor_mz": 49.0648}, "formula C2H8O: no molecule"),
    "no carbon": ({"formula": "H2O", "precursor_mz": 19.0178}, "formula H2O: no carbon"),
    "salt": ({"formula": "C2H6O.HCl"}, "formula C2H6O.HCl: a salt; give the formula of the part"),
    "element without symbol": ({"formula": "C2H6Se", "precursor_mz": 110.9708}, "the vocabulary has no Se"),
    "no element": ({"formula": "C2H6Xx"}, "unknown element Xx in formula 'C2H6Xx'"),
    "no formula": ({"formula": "ethanol"}, "not a molecular formula: 'ethanol'"),
    "no precursor": ({"precursor_mz": None}, "no usable precursor m/z"),
    "no peaks": ({"mzs": None}, "no mzs or no intensities"),
    "broken peaks": ({"mzs": [31.0178, float("nan")], "intensities": [1.0, 1.0]}, "NaN or infinite"),
    "energy in words": ({"collision_energy": "low"}, "collision_energy is 'low', not a number"),
}


def test_what_cannot_be_answered_is_a_problem_of_its_query_alone(trained):
    queries = [ETHANOL | problem for problem, _ in PROBLEMS.values()]
    fine = ETHANOL | {"formula": "C2H6O"}
    first, *answers, last = predict_molecules(*trained, [fine, *queries, fine])
    assert first and [c.smiles for c in first] == [c.smiles for c in last]
    for candidates, (_, message) in zip(answers, PROBLEMS.values(), strict=True):
        assert candidates == [] and re.search(message, candidates.problem)


def test_mass_of_no_molecule(trained):
    (candidates,) = predict_molecules(*trained, [ETHANOL | {"precursor_mz": 47.4}])
    assert "none fits the precursor m/z within 10 ppm" in candidates.problem


@pytest.mark.parametrize("formula", ["C2H3O2", "C2H3O2-", None])
def test_a_molecule_that_is_the_ion_has_its_charge(trained, formula):
    acetate = {"mzs": [41.0033], "intensities": [1.0], "precursor_mz": 59.0139, "adduct": "[M]-", "formula": formula}
    (candidates,) = predict_molecules(*trained, [acetate])
    assert candidates.problem is None and candidates
    assert {Chem.GetFormalCharge(Chem.MolFromSmiles(c.smiles)) for c in candidates} == {-1}
    assert {candidate.formula for candidate in candidates} == {"C2H3O2"}


def test_a_radical_ion_is_read_as_its_molecule(trained):
    aniline = {"mzs": [66.0464], "intensities": [1.0], "precursor_mz": 93.0573, "adduct": "[M]+", "formula": "C6H7N"}
    (candidates,) = predict_molecules(*trained, [aniline])
    assert {candidate.formula for candidate in candidates} == {"C6H7N"}


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
    queries = [Query(processor.feature_extractor.record(spectrum), None, 0.0, 1, 1) for spectrum in builders.spectra()]
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
    queries = [Query(processor.feature_extractor.record(builders.spectra()[0]), None, 0.0, 1, 1)]
    assert match_scores(model, processor, encode_queries(model, processor, queries), [0], ["CCO"]) is None


EXPLAINED = builders.KNOWN | {  # with C2H5+ and CH3O+
    "mzs": [29.0386, 31.0178, 47.0491],
    "intensities": [1.0, 0.4, 0.1],
    "precursor_mz": 47.0491,
}


def test_fragment_scores_are_those_of_the_fragmentation_model():
    model = builders.with_fragmentation(builders.model())
    molecules = ["CCO", "C[Fe]C", "COC"]
    scores = fragment_scores(model, EXPLAINED, molecules)
    for i in (0, 2):
        expected = model.model.fragmentation.log_share(Chem.MolFromSmiles(molecules[i]), EXPLAINED)
        assert scores[i] == pytest.approx(expected, abs=1e-5)
    assert scores[0] > scores[2] == scores[1]  # Iron is no element that it knows.
    assert fragment_scores(model, EXPLAINED, ["C[Fe]C"]) is None
    assert fragment_scores(model, EXPLAINED | {"adduct": None}, molecules) == pytest.approx(scores)  # assumed: [M+H]+
    for unknown in ({"adduct": "[M+K]+"}, {"adduct": "?"}, {"mzs": [], "intensities": []}):
        assert fragment_scores(model, EXPLAINED | unknown, molecules) is None
    assert fragment_scores(builders.model(), EXPLAINED, molecules) is None


def test_what_fragments_say_counts_in_the_ranking():
    model, processor = builders.with_fragmentation(builders.trained(steps=20)[0]), builders.processor()
    (pool,) = draw_pools(model, processor, [EXPLAINED])
    column = pool.features[:, list(FEATURES).index("fragments")]
    assert column == pytest.approx(fragment_scores(model, EXPLAINED, [c.smiles for c in pool.candidates]))
    assert len(set(column)) > 1
