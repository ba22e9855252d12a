from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from spec2mol import DreamsForSpectralEmbedding, Spec2MolFeatureExtractor, Spec2MolModel, load_spectra
from spec2mol.cli.convert_dreams import convert_dreams
from spec2mol.cli.main import main
from tests import builders

from .conftest import entry

FIXTURES = Path(__file__).parents[2] / "fixtures" / "dreams_tiny"


def embed(path, model, output):
    assert main(["embed", str(path), "--model", str(model), "--output", str(output)]) == 0
    table = pd.read_parquet(output) if output.suffix == ".parquet" else pd.read_json(output, lines=True)
    assert list(table) == ["query", "embedding"]
    return np.stack(table["embedding"])


@torch.no_grad()
def test_spec2mol_model_gives_the_state_of_the_precursor(model_folder, mgf, tmp_path):
    vectors = embed(mgf(), model_folder, tmp_path / "x.parquet")
    features = Spec2MolFeatureExtractor.from_pretrained(model_folder)(list(load_spectra(mgf())), return_tensors="pt")
    encoder = Spec2MolModel.from_pretrained(model_folder).eval().encoder
    expected = encoder(features["peaks"], features["peaks_mask"]).last_hidden_state[:, 0]
    np.testing.assert_allclose(vectors, expected, rtol=1e-5, atol=1e-6)


@torch.no_grad()
def test_converted_dreams_gives_its_embedding(mgf, tmp_path):
    convert_dreams(FIXTURES / "embedding_model.ckpt", tmp_path / "dreams")
    vectors = embed(mgf(), tmp_path / "dreams", tmp_path / "x.jsonl")
    features = Spec2MolFeatureExtractor.from_pretrained(tmp_path / "dreams")(
        list(load_spectra(mgf())), return_tensors="pt"
    )
    expected = DreamsForSpectralEmbedding.from_pretrained(tmp_path / "dreams").eval()(**features).embeddings
    np.testing.assert_allclose(vectors, expected, rtol=1e-5, atol=1e-6)


def test_pre_trained_dreams_gives_the_state_of_the_precursor(mgf, tmp_path):
    model = convert_dreams(FIXTURES / "ssl_model.ckpt", tmp_path / "dreams")
    assert embed(mgf(), tmp_path / "dreams", tmp_path / "x.parquet").shape == (4, model.config.hidden_size)


def test_a_formula_does_not_matter(model_folder, mgf, tmp_path):
    spectrum = entry(0, builders.spectra()[0])
    told = [spectrum.replace("CHARGE", f"FORMULA={formula}\nCHARGE") for formula in ("C2H6O", "C2H7As", "C2H6O.HCl")]
    vectors = embed(mgf(entries=[spectrum, *told]), model_folder, tmp_path / "x.parquet")
    np.testing.assert_array_equal(vectors, vectors[:1].repeat(4, 0))


def test_an_output_is_required(mgf, capsys):
    with pytest.raises(SystemExit) as stop:
        main(["embed", str(mgf())])
    assert stop.value.code == 2
    assert "--output" in capsys.readouterr().err
