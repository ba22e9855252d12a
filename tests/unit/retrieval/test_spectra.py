import numpy as np
import pytest
import torch

from spec2mol import DreamsConfig, DreamsModel
from spec2mol.loading import Embedder
from spec2mol.retrieval import SpectrumStore, build_spectrum_store
from spec2mol.retrieval.spectra import unit_embeddings
from tests import builders


def embedder(seed=0):
    torch.manual_seed(seed)
    return Embedder(DreamsModel(DreamsConfig(**builders.ENCODER))).eval()


def library(number=9):
    """The first ones negative, the others positive."""
    return [
        builders.spectrum(seed, precursor_mz=120.0 + seed)
        | {
            "identifier": f"library {seed}",
            "ion_mode": "negative" if seed < 3 else "positive",
            "adduct": "[M-H]-" if seed < 3 else "[M+H]+",
            "metadata": {"name": f"compound {seed}", "smiles": "CCO" if seed % 2 else ""},
        }
        for seed in range(number)
    ]


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    folder = tmp_path_factory.mktemp("library")
    assert build_spectrum_store(library(), folder, embedder(), builders.processor().feature_extractor, 4) == 9
    return SpectrumStore(folder)


def embeddings(spectra):
    return unit_embeddings(embedder(), builders.processor().feature_extractor, spectra)


@pytest.mark.parametrize("chunk", [2, 65536])
def test_nearest_are_those_of_all_cosines(store, chunk, monkeypatch):
    monkeypatch.setattr("spec2mol.retrieval.spectra.CHUNK", chunk)
    queries = [builders.spectrum(seed) | {"ion_mode": "positive"} for seed in range(20, 23)]
    vectors, of_library = embeddings(queries), embeddings(library())[3:]
    rows, cosines = store.nearest(vectors, ["positive"] * 3, 4)
    expected = vectors @ of_library.T
    order = np.argsort(-expected, axis=1)[:, :4]
    assert (rows == order + 3).all()
    np.testing.assert_allclose(cosines, np.take_along_axis(expected, order, 1), atol=1e-6)


def test_a_spectrum_of_the_library_finds_itself(store):
    for spectrum, hits in zip(library(), store.search(library(), embeddings(library()), 2), strict=True):
        assert hits[0].identifier == spectrum["identifier"] and hits[0].mz_difference == 0
        assert hits[0].similarity == pytest.approx(1, abs=1e-5)
        assert hits[0].name == spectrum["metadata"]["name"] and hits[0].smiles in ("CCO", None)
        assert hits[1].mz_difference != 0 and hits[1].adduct == spectrum["adduct"]


def test_fewer_than_asked_for(store):
    (hits,) = store.search(library()[:1], embeddings(library()[:1]), 7)
    assert len(hits) == 3, "of the negative ones"


def test_a_formula_does_not_matter():
    spectrum = library()[3]
    np.testing.assert_array_equal(embeddings([spectrum]), embeddings([spectrum | {"formula": "C2H6O"}]))


def test_embeddings_of_another_encoder(store):
    store.check(embedder())
    with pytest.raises(ValueError, match="another model; build it anew"):
        store.check(embedder(seed=1))
