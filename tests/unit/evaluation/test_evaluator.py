import pandas as pd
import pytest

from spec2mol.cli.main import main
from spec2mol.data.examples import load_examples
from spec2mol.evaluation.evaluator import evaluate, for_track, target_losses
from spec2mol.saving import save_for_hub
from tests import builders


@pytest.fixture(scope="module")
def trained():
    return builders.trained(steps=150)


@pytest.fixture
def table(tmp_path):
    rows = zip(builders.spectra(), builders.MOLECULES, strict=True)
    path = tmp_path / "data.parquet"
    frame = pd.DataFrame(s | {"smiles": m, "inchikey": m, "identifier": str(i)} for i, (s, m) in enumerate(rows))
    frame.to_parquet(path)
    return path


def test_mass_track_hides_the_formula_and_the_control_the_peaks_only():
    rows = [builders.spectrum(**builders.KNOWN)]
    assert for_track(rows, "formula") == rows
    (mass,) = for_track(rows, "mass")
    assert mass["formula"] is None and mass["adduct"] == "[M+H]+" and len(mass["mzs"]) == 5
    (control,) = for_track(rows, "formula", peaks=False)
    assert len(control["mzs"]) == len(control["intensities"]) == 0
    assert control["formula"] == "C2H6O" and control["precursor_mz"] == rows[0]["precursor_mz"]


def test_losses_are_those_of_single_examples(trained, table):
    model, processor = trained
    rows = load_examples(table, processor).to_list()
    for row, loss in zip(rows, target_losses(model, processor, rows), strict=True):
        alone = processor(spectra=[row], molecules=[row["smiles"]], return_tensors="pt")
        assert loss == pytest.approx(model(**alone).loss.item(), abs=1e-4)


def test_every_query_is_counted(trained, table):
    model, processor = trained
    rows = load_examples(table, processor).to_list()
    result = evaluate(model, processor, rows, batch_size=3)
    assert list(result["identifier"]) == ["0", "1", "2", "3"]
    assert (result["exact_match"] == 1).all() and (result["tanimoto"] == 1).all()


def test_command_prints_the_control(trained, table, tmp_path, capsys):
    save_for_hub(*trained, tmp_path / "model")
    output = tmp_path / "queries.parquet"
    args = ["evaluate", "--model", str(tmp_path / "model"), "--data", str(table), "--output", str(output)]
    assert main(args) == 0
    shown = capsys.readouterr().out
    assert "peaks removed" in shown and "4 spectra of 4 molecules" in shown
    queries = pd.read_parquet(output)
    assert queries.groupby(["track", "peaks"]).size().tolist() == [4] * 4
    with_peaks = queries[queries["peaks"]]
    assert with_peaks["loss"].mean() < queries[~queries["peaks"]]["loss"].mean()
