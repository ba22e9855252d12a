import pytest

from spec2mol import predict_molecules
from spec2mol.evaluation.ablation import ablate
from tests import builders


@pytest.fixture(scope="module")
def trained():
    return builders.trained(steps=150)


@pytest.fixture(scope="module")
def queries():
    """With the formulas of their molecules, as far as these are known."""
    return [
        spectrum | {"identifier": str(i), "inchikey": smiles, "smiles": smiles, "formula": spectrum.get("formula")}
        for i, (spectrum, smiles) in enumerate(zip(builders.spectra(), builders.MOLECULES, strict=True))
    ]


@pytest.fixture(scope="module")
def steps(trained, queries):
    return ablate(*trained, queries, batch_size=3)


def test_the_last_step_is_what_predict_molecules_answers(trained, queries, steps):
    expected = [[c.smiles for c in answers] for answers in predict_molecules(*trained, queries, top_k=10)]
    assert steps["heads"]["answers"].tolist() == expected


def test_the_constraint_is_the_only_difference_between_the_second_and_the_third_step(trained, queries, steps):
    free = predict_molecules(*trained, queries, constrain=False)
    assert [set(ranked) for ranked in steps["samples"]["answers"]] == [{c.smiles for c in a} for a in free]
    told = [i for i, query in enumerate(queries) if query["formula"]]
    assert told and all(
        steps["formula"].loc[i, "formula_match@1"] == 1 for i in told if steps["formula"].loc[i, "valid@1"]
    )


def test_beam_search_finds_what_was_learned(steps):
    assert (steps["beam search"]["exact_match@1"] == 1).all()
    assert all(len(set(ranked)) == len(ranked) <= 10 for ranked in steps["beam search"]["answers"])
