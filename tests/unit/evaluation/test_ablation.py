import pytest

from spec2mol import predict_molecules
from spec2mol.evaluation.ablation import ablate
from spec2mol.evaluation.evaluator import draw
from tests import builders


@pytest.fixture(scope="module")
def trained():
    return builders.trained(steps=150)


@pytest.fixture(scope="module")
def rows():
    """With the formulas of their molecules, as far as these are known."""
    return [
        spectrum | {"identifier": str(i), "inchikey": smiles, "smiles": smiles, "formula": spectrum.get("formula")}
        for i, (spectrum, smiles) in enumerate(zip(builders.spectra(), builders.MOLECULES, strict=True))
    ]


@pytest.fixture(scope="module")
def steps(trained, rows):
    return ablate(*trained, rows, "formula", draw(*trained, rows, batch_size=3), [None] * len(rows))


def test_the_ranked_pool_is_what_predict_molecules_answers(trained, rows, steps):
    assert list(steps) == [
        "beams, free",
        "samples, free",
        "samples, of the formula",
        "beams, of the formula",
        "+ consensus",
        "the same, 10 beams",
        "the same, 10 beams and 16 samples",
        "the same, 16 samples beside",
        "the same, four times the beams",
    ]
    for step, options in (
        ("beams, of the formula", {}),
        ("the same, 10 beams and 16 samples", {"num_beams": 10, "num_samples": 16}),
    ):
        expected = [[c.smiles for c in answers] for answers in predict_molecules(*trained, rows, top_k=10, **options)]
        assert steps[step].frame["answers"].tolist() == expected
    assert {step.against for step in steps.values()} <= {"", *steps}


def test_the_constraint_is_the_only_difference_between_free_samples_and_those_of_the_formula(trained, rows, steps):
    free = predict_molecules(*trained, rows, num_beams=0, num_samples=30, constrain=False)
    assert [set(ranked) for ranked in steps["samples, free"].frame["answers"]] == [{c.smiles for c in a} for a in free]
    told = [i for i, query in enumerate(rows) if query["formula"]]
    for step in ("samples, of the formula", "beams, of the formula"):
        frame = steps[step].frame
        assert told and all(frame.loc[i, "formula_match@1"] == 1 for i in told if frame.loc[i, "valid@1"])


def test_of_some_molecules_alone(trained, rows):
    drawn = draw(*trained, rows)
    steps = ablate(*trained, rows, "mass", drawn, [None] * len(rows), molecules=2)
    assert {tuple(step.frame["inchikey"]) for step in steps.values()} == {
        tuple(steps["beams, free"].frame["inchikey"])
    }
    assert len(steps["beams, free"].frame) == 2


def test_beam_search_finds_what_was_learned(steps):
    frame, _, seconds = steps["beams, free"]
    assert (frame["exact_match@1"] == 1).all() and seconds > 0
    assert all(len(set(ranked)) == len(ranked) <= 10 for ranked in frame["answers"])
