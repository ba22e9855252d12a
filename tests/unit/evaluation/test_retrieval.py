import gzip
import json

import numpy as np
import pytest
import torch

from spec2mol.chemistry_spec2mol import morgan_fingerprint
from spec2mol.evaluation.evaluator import load_queries, summarise
from spec2mol.evaluation.retrieval import load_candidates, rank_of_truth, retrieve, without_spectrum
from spec2mol.retrieval.ranking import STRUCTURE_WEIGHT
from tests import builders


def rows():
    return [
        spectrum | {"identifier": str(i), "inchikey": smiles, "smiles": smiles}
        for i, (spectrum, smiles) in enumerate(zip(builders.spectra(), builders.MOLECULES, strict=True))
    ]


def candidate_file(tmp_path, content):
    path = tmp_path / "candidates.json.gz"
    with gzip.open(path, "wt") as file:
        json.dump(content, file)
    return path


def test_candidates_of_the_mass_and_of_the_formula(tmp_path):
    content = {"CCO": {"candidates": ["CCO", "COC", "CCN"], "same_formula": [1, 1, 0]}}
    path = candidate_file(tmp_path, content)
    assert load_candidates(path, [{"smiles": "CCO"}]) == {"CCO": ["CCO", "COC", "CCN"]}
    assert load_candidates(path, [{"smiles": "CCO"}], same_formula=True) == {"CCO": ["CCO", "COC"]}
    with pytest.raises(ValueError, match="no candidates for CCC"):
        load_candidates(path, [{"smiles": "CCC"}])


def test_the_truth_must_be_a_candidate(tmp_path):
    path = candidate_file(tmp_path, {"CCO": {"candidates": ["COC"], "same_formula": [1]}})
    with pytest.raises(ValueError, match="CCO is not among its own candidates"):
        load_candidates(path, [{"smiles": "CCO"}])


def test_rank_by_hand():
    assert rank_of_truth(np.array([0.3, 0.9, 0.1]), 0) == 2
    assert rank_of_truth(np.array([0.5, 0.5, 0.1]), 0) == 2, "a tie is no merit"
    assert rank_of_truth(np.array([0.3, np.nan, np.nan]), 1) == 3, "what cannot be written is last"


@torch.no_grad()
def test_ranks_are_those_of_the_models_own_scores():
    model, processor = builders.model(structure_config={"hidden_size": 16}), builders.processor()
    listed = [*builders.MOLECULES, "CCN", "CCCCN", "OCCS"]
    told = [row | {"formula": "C2H6O"} for row in rows()]
    hits = retrieve(model, processor, told, dict.fromkeys(builders.MOLECULES, listed))
    spectra = processor(spectra=told, return_tensors="pt")
    molecules = processor(molecules=listed, return_tensors="pt")
    scores = model.score(spectra, molecules)
    features = model.get_spectrum_features(**builders.spectrum_tensors(model.model, spectra))
    cosine = model.model.projector.similarity(features, model.get_molecule_features(**molecules))
    likelihood = model.model.structure_head.similarity(
        model.model(**builders.spectrum_tensors(model.model, spectra)).soft_tokens,
        torch.from_numpy(np.array([morgan_fingerprint(smiles) for smiles in listed])),
    )
    total = scores + STRUCTURE_WEIGHT * likelihood
    for i in range(4):
        for name, values in (("itc", cosine), ("itm", scores), ("structure", likelihood), ("total", total)):
            rank = (values[i] > values[i, i]).sum().item() + 1
            assert [hits.loc[i, f"{name}@{k}"] for k in (1, 5, 20)] == [rank <= 1, rank <= 5, True]
    assert hits["chance@5"].tolist() == pytest.approx([5 / 7] * 4) and set(hits["candidates"]) == {7}
    assert not hits["formula@5"].any(), "a formula that is told tells nothing"


def test_a_truth_that_the_model_cannot_write_is_missed_but_counted():
    row = rows()[0] | {"smiles": "[Xe]", "inchikey": "xenon"}
    hits = retrieve(builders.model(), builders.processor(), [row], {"[Xe]": ["CCO", "[Xe]"]})
    assert hits["itc@1"].tolist() == hits["itm@1"].tolist() == [0]


def test_what_fragments_say_nothing_of_is_missed_by_them_but_counted():
    model, processor = builders.with_fragmentation(builders.model()), builders.processor()
    told = [row | {"adduct": adduct} for row, adduct in zip(rows(), ["[M+H]+", "[M+K]+"], strict=False)]
    hits = retrieve(model, processor, told, dict.fromkeys(builders.MOLECULES, list(builders.MOLECULES)))
    assert hits["fragments@5"].tolist() == [1, 0] and hits["total@5"].tolist() == [1, 1]


def test_a_model_without_text_branch_ranks_by_the_rest():
    model = builders.model(projector={"use_qformer_text_input": False}, structure_config={"hidden_size": 16})
    hits = retrieve(model, builders.processor(), rows()[:1], {"CCO": ["CCO", "CCN"]})
    assert {"structure@1", "total@1", "formula@1"} <= set(hits) and "itc@1" not in hits


def test_control_without_spectrum_takes_what_resembles_training():
    control = without_spectrum(
        [{"smiles": "CCO", "identifier": "0", "inchikey": "e"}], {"CCO": ["CCO", "c1ccccc1"]}, ["CCCO"]
    )
    assert control["without_spectrum@1"].tolist() == [1]


def test_control_without_spectrum_is_that_of_the_data_readme(shared):
    """massbank/README.md: Top-1 without the spectrum 0.180, by chance 0.147."""
    folder = shared / "data" / "massbank"
    val = load_queries(folder / "val.parquet", per_molecule=1)
    training = [row["smiles"] for row in load_queries(folder / "train.parquet", per_molecule=1)]
    candidates = load_candidates(folder / "candidates_val.json.gz", val)
    assert summarise(without_spectrum(val, candidates, training))["without_spectrum@1"].mean == pytest.approx(
        0.180, abs=5e-4
    )
    assert np.mean([1 / len(listed) for listed in candidates.values()]) == pytest.approx(0.147, abs=5e-4)
