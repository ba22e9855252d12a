import runpy

import numpy as np
import pandas as pd
import torch

from spec2mol import formula_weights_spec2mol as shipped
from spec2mol.chemistry_spec2mol import formula_mass, molecular_formula, precursor_mz
from spec2mol.formulas_spec2mol import rank_formulas
from spec2mol.training.formula_ranking import Standardised, as_text, fit_softmax, main, read_combinations


def test_softmax_finds_what_tells_the_truth():
    """The first of two features decides, with a weight of 2; the other is noise."""
    rng = np.random.default_rng(0)
    examples = []
    for _ in range(200):
        features = rng.normal(size=(5, 2)).astype(np.float32)
        probability = np.exp(2 * features[:, 0])
        first = rng.choice(5, p=probability / probability.sum())
        examples.append((np.roll(features, -first, axis=0), np.zeros(5)))
    model = Standardised(np.concatenate([features for features, _ in examples]), torch.nn.Linear(2, 1))
    chance = np.log(5)
    assert fit_softmax(model, examples, 50) < 0.8 * chance
    weights, _ = model.first_layer()
    assert abs(weights[0, 0] - 2) < 0.5 and abs(weights[1, 0]) < 0.3


def test_first_layer_is_that_of_the_inputs_as_they_are():
    torch.manual_seed(0)
    features = np.random.default_rng(0).normal(3, 5, (7, 4))
    model = Standardised(features, torch.nn.Linear(4, 2))
    weights, bias = model.first_layer()
    expected = model(torch.from_numpy(features.astype(np.float32))).detach().numpy()
    np.testing.assert_allclose(features @ weights + bias, expected, atol=1e-5)


def test_combinations_of_at_least_two_molecules(tmp_path):
    path = tmp_path / "molecules.parquet"
    pd.DataFrame({"smiles": ["CCO", "c1ccccc1", "CCCl", "ClCCN", "OCCBr", "C[S+](C)C", "CSC"]}).to_parquet(path)
    assert read_combinations(path) == {"": 2, "Cl": 2, "S": 2}


def test_what_the_command_writes_ranks_formulas(tmp_path, monkeypatch):
    molecules = ["CCO", "CC(=O)O", "CC(=O)N", "Nc1ccccc1", "OC(=O)c1ccccc1", "CN(C)C=O", "Oc1ccccc1", "CCOC(C)=O"]
    rows = [
        {
            "smiles": smiles,
            "inchikey": smiles,
            "formula": molecular_formula(smiles),
            "mzs": np.array([29.0022, 43.0178]),
            "intensities": np.array([1.0, 0.5]),
            "precursor_mz": precursor_mz(formula_mass(molecular_formula(smiles)), "[M+H]+"),
            "adduct": "[M+H]+",
        }
        for smiles in molecules
    ]
    data, output = tmp_path / "data.parquet", tmp_path / "weights.py"
    pd.DataFrame(rows).to_parquet(data)
    arguments = ["formula_ranking", "--spectra", data, "--molecules", data, "--output", output]
    monkeypatch.setattr("sys.argv", [str(argument) for argument in arguments])
    main()
    written = runpy.run_path(str(output))
    for name in ("PRIOR_WEIGHTS", "HIDDEN_WEIGHTS", "HIDDEN_BIAS", "OUTPUT_WEIGHTS"):
        assert written[name].shape == getattr(shipped, name).shape and np.isfinite(written[name]).all()
        monkeypatch.setattr(f"spec2mol.formulas_spec2mol.{name}", written[name])
    assert written["COMBINATIONS"].split() == [":8"]
    assert sum(rank_formulas(row)[0].formula == row["formula"] for row in rows) >= 6, "learned by heart"


def test_numbers_as_text():
    values = np.random.default_rng(0).normal(size=100).astype(np.float32)
    text = as_text(values)
    assert max(map(len, text.splitlines())) <= 115 and len(text.splitlines()) > 1
