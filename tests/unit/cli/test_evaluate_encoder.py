import pandas as pd
import pytest
import torch

from spec2mol import (
    DreamsConfig,
    DreamsForSequenceClassification,
    DreamsForSpectralEmbedding,
    Spec2MolFeatureExtractor,
)
from spec2mol.cli.evaluate_encoder import likeliest_formula
from spec2mol.cli.main import main
from spec2mol.data.examples import load_spectra_examples
from spec2mol.data.labels import LabelledSpectraCollator, fingerprint, fluorine, identity
from spec2mol.saving import save_for_hub
from tests import builders

MOLECULES = ("CCO", "CCF", "NC1=CC=CC=C1", "CCCF")
FEATURES = Spec2MolFeatureExtractor(num_peaks=8, conditions=False)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Two ions of each molecule, with peaks of their own."""
    rows = [
        builders.spectrum(7 * i + j, num_peaks=6, precursor_mz=100.0 + 40 * i + 22 * j, formula="C2H6O")
        | {"smiles": smiles, "inchikey": f"{i}" * 14, "identifier": f"{i}.{j}"}
        for i, smiles in enumerate(MOLECULES)
        for j in range(2)
    ]
    path = tmp_path_factory.mktemp("data") / "val.parquet"
    pd.DataFrame(rows).to_parquet(path)
    return path


def evaluate(head, label, data, folder, capsys, features=FEATURES, **config):
    """Learns the rows by heart; what the command prints of that."""
    torch.manual_seed(0)
    model = head(DreamsConfig(**builders.ENCODER, **config))
    rows = load_spectra_examples(data, 8, fingerprint_size=64).to_list()
    builders.train(model, LabelledSpectraCollator(features, label)(rows), steps=150, learning_rate=1e-2)
    save_for_hub(model, features, folder)
    command = ["evaluate-encoder", "--model", str(folder), "--data", str(data)]
    assert main([*command, "--threshold", "0.4", "--docs", str(folder / "results.md")]) == 0
    return " ".join(capsys.readouterr().out.split())


def test_fingerprint(data, tmp_path, capsys):
    fields = {"num_labels": 64, "problem_type": "multi_label_classification"}
    printed = evaluate(DreamsForSequenceClassification, fingerprint, data, tmp_path, capsys, **fields)
    assert "Tanimoto" in printed and "with peaks 1.000" in printed and "peaks removed" in printed
    assert "8 spectra of 4 molecules" in printed
    written = (tmp_path / "results.md").read_text()
    assert f"## {tmp_path.name}, val, encoder alone" in written
    assert f"spec2mol evaluate-encoder --model {tmp_path} --data {data} --threshold 0.4" in written
    assert "fingerprint Tanimoto, bits from 0.4" in written and "| with peaks | 1.000 [1.000, 1.000] |" in written


def test_peaks_explained_by_a_formula_that_is_told_or_not(data, tmp_path, capsys):
    fields = {"num_labels": 64, "problem_type": "multi_label_classification", "num_fragment_elements": 13}
    features = Spec2MolFeatureExtractor(num_peaks=8, conditions=False, explain_ppm=10.0)
    printed = evaluate(DreamsForSequenceClassification, fingerprint, data, tmp_path, capsys, features, **fields)
    assert "track formula" in printed and "with peaks 1.000" in printed
    assert "explained by the formula that mass and peaks suggest" in printed and "not explained" in printed


def test_the_likeliest_formula():
    caffeine = {"mzs": [110.0713, 138.0662], "intensities": [0.2, 1.0], "precursor_mz": 195.0877, "adduct": "[M+H]+"}
    assert likeliest_formula(caffeine | {"formula": None}, 10.0) == "C8H10N4O2"
    assert likeliest_formula(caffeine | {"adduct": "[M+Xe]+"}, 10.0) is None


def test_fluorine(data, tmp_path, capsys):
    labels = {"id2label": {0: "no fluorine", 1: "fluorine"}, "label2id": {"no fluorine": 0, "fluorine": 1}}
    printed = evaluate(DreamsForSequenceClassification, fluorine, data, tmp_path, capsys, **labels)
    command = ["evaluate-encoder", "--model", str(tmp_path), "--data", str(data), "--limit-per-molecule", "1"]
    assert main(command) == 0 and "4 spectra of 4 molecules" in capsys.readouterr().out
    assert "with peaks 1.000 1.000" in printed  # precision, recall
    assert "always said 0.500 1.000" in printed


def test_similarity(data, tmp_path, capsys):
    printed = evaluate(DreamsForSpectralEmbedding, identity, data, tmp_path, capsys)
    assert "embeddings 1.000 1.000" in printed  # among all spectra, among those of other ions
    assert "plain cosine" in printed and "precursor m/z alone" in printed
