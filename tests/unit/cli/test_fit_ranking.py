import json
import re

import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import save_file

from spec2mol import load_model, predict_molecules
from spec2mol.chemistry_spec2mol import formula_mass, molecular_formula, precursor_mz
from spec2mol.cli.main import main
from spec2mol.evaluation.fitting import load_folds
from spec2mol.ranking_spec2mol import DEFAULT_WEIGHTS, EVIDENCE, FEATURES
from spec2mol.saving import save_for_hub
from spec2mol.simulation.simulate import fitted_molecules
from spec2mol.training.record import MOLECULES, RECORD, load_seen
from tests import builders

# So small that every isomer is among the samples
ISOMERS = ("CCO", "COC", "CCCO", "COCC", "CC(C)O", "CCN", "CNC", "CCCN")


@pytest.fixture
def folder(tmp_path):
    save_for_hub(*builders.trained(steps=20), tmp_path / "model")
    return tmp_path / "model"


@pytest.fixture
def data(tmp_path):
    rows = []
    for seed, smiles in enumerate(ISOMERS):
        formula = molecular_formula(smiles)
        known = {"formula": formula, "adduct": "[M+H]+", "smiles": smiles}
        known["precursor_mz"] = precursor_mz(formula_mass(formula), "[M+H]+")
        rows.append(known | {"mzs": [15.0 + seed, 30.0], "intensities": [0.5, 1.0]})
    pd.DataFrame(rows).to_parquet(tmp_path / "val.parquet")
    return tmp_path / "val.parquet"


def test_fitted_weights_give_probabilities_and_an_honest_evaluation(folder, data, tmp_path, capsys):
    save_file({"identities": np.array([1, 2])}, folder / MOLECULES)
    (folder / RECORD).write_text('{"stages": [], "unknown": []}')
    assert main(["fit-ranking", str(folder), "--data", str(data)]) == 0
    shown = capsys.readouterr().out
    assert "Track mass" in shown and "Track formula" in shown and "fitted on all 8" in shown
    kept = "The fitted order is kept" in shown
    assert kept != ("The order stays as it is" in shown)

    model, processor = load_model(str(folder))
    of_answers = {*EVIDENCE, "intercept"}
    assert {target: set(weights) for target, weights in model.config.ranking.items()} == {
        "order": set(FEATURES),
        "right": of_answers,
        "close": of_answers,
    }
    assert (model.config.ranking["order"] == DEFAULT_WEIGHTS) != kept
    assert not model.model.fragmentation.is_untrained  # It came with the ranking, and its molecules with it.
    assert set(load_seen(folder).molecules) == {1, 2, *fitted_molecules()}
    query = pd.read_parquet(data).iloc[0].to_dict()
    (candidates,) = predict_molecules(model, processor, [query])
    assert all(0 < c.probability <= c.probability_close < 1 for c in candidates)

    assert {m for fold in load_folds(str(folder)) for m in fold.molecules} >= {"LFQSCWFLJHTTHZ"}  # ethanol
    docs = tmp_path / "docs" / "results.md"
    args = ["--data", str(data), "--track", "formula", "--output", str(tmp_path / "out"), "--docs", str(docs)]
    assert main(["evaluate", "--model", str(folder), *args]) == 0
    assert "fitted on 8 of these molecules" in capsys.readouterr().out.replace("\n", " ")
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert 0 < metrics["calibration"]["formula"]["first answer right"]["mean probability"]["mean"] < 1
    assert (tmp_path / "out" / "reliability_formula.png").exists()
    (picture,) = re.findall(r"!\[.*\]\((.*)\)", docs.read_text())
    assert picture == f"reliability_{folder.name}_val_formula.png" and (docs.parent / picture).exists()


def test_a_dry_run_stores_nothing(folder, data):
    before = (folder / "config.json").read_text()
    assert main(["fit-ranking", str(folder), "--data", str(data), "--dry-run"]) == 0
    assert (folder / "config.json").read_text() == before and load_folds(str(folder)) == []


def test_molecules_of_its_training_are_refused(folder, data, capsys):
    builders.record_training(folder)
    assert main(["fit-ranking", str(folder), "--data", str(data)]) == 2
    assert "was trained on 1 of these 8 molecules, such as CCO" in capsys.readouterr().err


def test_a_model_that_is_no_folder(data, capsys):
    assert main(["fit-ranking", "someone/model", "--data", str(data)]) == 2
    assert "no folder of a model" in capsys.readouterr().err
