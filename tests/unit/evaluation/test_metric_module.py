"""The modules of metrics/, loaded as the `evaluate` library does, give what evaluation/metrics.py gives."""

from pathlib import Path

import pytest

evaluate = pytest.importorskip("evaluate")
METRICS = Path(__file__).parents[3] / "metrics"

# Ethanol with two spectra, benzene with one
PREDICTIONS = [["COC", "OCC"], ["CCO"], []]
REFERENCES = ["CCO", "CCO", "c1ccccc1"]


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_MODULES_CACHE", str(tmp_path))


@pytest.mark.parametrize(
    ("name", "top_1", "top_10"),
    [
        ("exact_match", 0.25, 0.5),
        ("validity", 0.5, 0.075),
        ("formula_match", 0.5, 0.075),
        ("mass_match", 0.5, 0.075),
    ],
)
def test_mean_over_molecules_by_hand(name, top_1, top_10):
    result = evaluate.load(str(METRICS / f"{name}.py")).compute(predictions=PREDICTIONS, references=REFERENCES)
    assert result[f"{name}@1"] == pytest.approx(top_1) and result[f"{name}@10"] == pytest.approx(top_10)
    assert result[f"{name}@1_low"] <= result[f"{name}@1"] <= result[f"{name}@1_high"]


def test_tanimoto_and_other_k():
    metric = evaluate.load(str(METRICS / "tanimoto.py"))
    result = metric.compute(predictions=[["CCCO", "CCO"]], references=["CCO"], ks=(1, 2))
    assert result["tanimoto@1"] == pytest.approx(5 / 9) and result["tanimoto@2"] == 1


def test_mces():
    pytest.importorskip("myopic_mces")
    metric = evaluate.load(str(METRICS / "mces.py"))
    result = metric.compute(predictions=[["CCN", "CC"], []], references=["CCO", "c1ccccc1"])
    assert (result["mces@1"], result["mces@10"]) == (51, 50.5)
