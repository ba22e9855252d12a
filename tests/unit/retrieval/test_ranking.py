import numpy as np
import pytest
import torch

from spec2mol.chemistry_spec2mol import formula_mass, molecular_formula, morgan_fingerprint, precursor_mz
from spec2mol.formulas_spec2mol import rank_formulas
from spec2mol.generation_spec2mol import fragment_scores
from spec2mol.retrieval import MoleculeStore, build_molecule_store, rank_molecules
from spec2mol.retrieval.ranking import FRAGMENTS_WEIGHT, STRUCTURE_WEIGHT, likely_formulas, score_molecules
from tests import builders

ISOMERS = ["CCN(CC)CCS", "CCCCCCNS", "CCSCCN(C)C", "CCCCN(C)CS"]
OTHERS = ["CCO", "Nc1ccccc1"]
SPECTRUM = builders.spectrum(precursor_mz=precursor_mz(formula_mass("C6H15NS"), "[M+H]+"), adduct="[M+H]+")
STRUCTURE_HEAD = {"structure_config": {"hidden_size": 16}}


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    folder = tmp_path_factory.mktemp("store")
    build_molecule_store(ISOMERS + OTHERS, folder)
    return MoleculeStore(folder)


@pytest.fixture(scope="module")
def tools():
    return builders.model(**STRUCTURE_HEAD), builders.processor()


@pytest.mark.parametrize("told", [{"formula": "C6H15NS"}, {"formula": None}, {"formula": "C6SNH15", "adduct": None}])
def test_all_candidates_of_the_mass_best_first(tools, store, told):
    ranked = rank_molecules(*tools, SPECTRUM | told, store)
    assert {molecule.smiles for molecule in ranked} == set(ISOMERS)
    scores = [molecule.score for molecule in ranked]
    assert scores == sorted(scores, reverse=True) and len(set(scores)) == 4
    assert all(abs(molecule.error_ppm) < 0.01 for molecule in ranked)
    assert rank_molecules(*tools, SPECTRUM | told, store, top_k=2) == ranked[:2]


def test_the_score_is_the_sum_of_the_models_own_parts(tools, store):
    model, processor = tools
    spectrum = SPECTRUM | {"formula": "C6H15NS"}
    spectra = processor(spectra=[spectrum], return_tensors="pt")
    for molecule in rank_molecules(*tools, spectrum, store):
        with torch.no_grad():
            match = model.score(spectra, processor(molecules=[molecule.smiles], return_tensors="pt"))
            soft_tokens = model.model(**builders.spectrum_tensors(model.model, spectra)).soft_tokens
            bits = torch.from_numpy(morgan_fingerprint(molecule.smiles))[None]
            structure = model.model.structure_head.similarity(soft_tokens, bits)
        assert molecule.match_score == pytest.approx(match.item(), abs=1e-3)
        assert molecule.structure_score == pytest.approx(structure.item(), abs=1e-2)
        assert molecule.score == pytest.approx(molecule.match_score + STRUCTURE_WEIGHT * molecule.structure_score)


def test_stored_features_change_nothing(tools, store, tmp_path):
    build_molecule_store(ISOMERS + OTHERS, tmp_path, *tools)
    of_store = rank_molecules(*tools, SPECTRUM, MoleculeStore(tmp_path))
    assert [m.smiles for m in of_store] == [m.smiles for m in rank_molecules(*tools, SPECTRUM, store)]


def test_what_fragments_say_counts(tools, store):
    model, processor = tools
    explaining = builders.with_fragmentation(builders.model(**STRUCTURE_HEAD))
    plain = {molecule.smiles: molecule for molecule in rank_molecules(model, processor, SPECTRUM, store)}
    for molecule in rank_molecules(explaining, processor, SPECTRUM, store):
        before = plain[molecule.smiles]
        (alone,) = fragment_scores(explaining, SPECTRUM, [molecule.smiles])
        assert before.fragments_score is None and molecule.fragments_score == pytest.approx(alone)
        assert molecule.score == pytest.approx(before.score + FRAGMENTS_WEIGHT * alone, abs=1e-3)


def test_beyond_the_shortlist_nothing_is_matched_or_cut(tools):
    formulas = [molecular_formula(smiles) for smiles in ISOMERS]
    bits = np.stack([morgan_fingerprint(smiles) for smiles in ISOMERS])
    model = builders.with_fragmentation(builders.model(**STRUCTURE_HEAD))
    scores = score_molecules(model, tools[1], SPECTRUM, ISOMERS, formulas, bits, shortlist=2)
    assert np.isfinite(scores.match).sum() == 2
    assert np.isfinite(scores.fragments).tolist() == np.isfinite(scores.match).tolist()
    best = np.argsort(-(scores.formula + STRUCTURE_WEIGHT * scores.structure + scores.contrast))[:2]
    assert set(np.flatnonzero(np.isfinite(scores.match))) == set(best)


def test_each_formula_is_judged_by_the_answer_to_it(tools):
    """Without text branch and formula, two molecules of the same mass differ in formula: each has the structure score
    that it has where its formula is told."""
    model = builders.model(projector={"use_qformer_text_input": False}, **STRUCTURE_HEAD)
    structures = ["CC(=O)N", "CCO"]
    bits = np.stack([morgan_fingerprint(smiles) for smiles in structures])
    formulas = [molecular_formula(smiles) for smiles in structures]
    free = score_molecules(model, tools[1], SPECTRUM, structures, formulas, bits)
    for i, formula in enumerate(formulas):
        told = score_molecules(model, tools[1], SPECTRUM | {"formula": formula}, structures, formulas, bits)
        assert free.structure[i] == pytest.approx(told.structure[i], abs=1e-3)
        assert told.formula.tolist() == [0, 0] and told.match is None
    assert free.total == pytest.approx(free.formula + STRUCTURE_WEIGHT * free.structure)


def test_likely_formulas():
    likely = likely_formulas(SPECTRUM, ["C6H15NS", "C99H2"], 10.0)
    ranked = {candidate.formula: candidate.score for candidate in rank_formulas(SPECTRUM, top_k=None)}
    assert likely == {"C6H15NS": ranked["C6H15NS"], "C99H2": min(ranked.values())}
    assert likely_formulas(SPECTRUM | {"precursor_mz": 3000.0}, ["C6H15NS"], 10.0) == {"C6H15NS": 0.0}


def test_no_candidate_has_the_mass(tools, store):
    assert rank_molecules(*tools, SPECTRUM | {"precursor_mz": 500.0}, store) == []


def test_an_unknown_adduct(tools, store):
    with pytest.raises(ValueError, match="unknown adduct"):
        rank_molecules(*tools, SPECTRUM | {"adduct": "[M+Xx]+"}, store)
