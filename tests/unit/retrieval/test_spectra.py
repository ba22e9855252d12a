import re
import shutil
from pathlib import Path

import faiss
import numpy as np
import pyarrow as pa
import pytest
import torch

from spec2mol import DreamsConfig, DreamsModel
from spec2mol.loading import Embedder
from spec2mol.retrieval import SpectrumStore, build_spectrum_store
from spec2mol.retrieval.spectra import SCHEMA, index_files, unit_embeddings, write_library
from tests import builders

STATUS = Path("/proc/self/status")


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


def test_nearest_are_those_of_all_cosines_of_the_ion_mode(store):
    queries = [builders.spectrum(seed) for seed in range(20, 24)]
    modes = ["positive", "negative", "positive", "positive"]
    vectors, of_library = embeddings(queries), embeddings(library())
    rows, cosines = store.nearest(vectors, modes, 3)
    expected = vectors @ of_library.T
    for row, cosine, of_query, mode in zip(rows, cosines, expected, modes, strict=True):
        of_mode = [i for i, spectrum in enumerate(library()) if spectrum["ion_mode"] == mode]
        best = sorted(of_mode, key=lambda i: -of_query[i])[:3]
        assert store.table["identifier"].take(row).to_pylist() == [library()[i]["identifier"] for i in best]
        np.testing.assert_allclose(cosine, of_query[best], atol=1e-6)


def test_a_spectrum_of_the_library_finds_itself(store):
    for spectrum, hits in zip(library(), store.search(library(), embeddings(library()), 2), strict=True):
        assert hits[0].identifier == spectrum["identifier"] and hits[0].mz_difference == 0
        assert hits[0].similarity == pytest.approx(1, abs=1e-5)
        assert hits[0].name == spectrum["metadata"]["name"] and hits[0].smiles in ("CCO", None)
        assert hits[1].mz_difference != 0 and hits[1].adduct == spectrum["adduct"]


def test_fewer_than_asked_for(store):
    (hits,) = store.search(library()[:1], embeddings(library()[:1]), 7)
    assert [hit.identifier for hit in hits[:1]] == ["library 0"] and len(hits) == 3, "of the negative ones"


def clustered(number, size=16, clusters=40, seed=0):
    """Unit vectors around as many centres."""
    rng = np.random.default_rng(seed)
    vectors = np.random.default_rng(0).normal(size=(clusters, size))[rng.integers(clusters, size=number)]
    vectors += rng.normal(scale=0.5, size=(number, size))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """12,000 positive spectra, whose embeddings are in inverted lists, and 500 negative ones."""
    folder, vectors = tmp_path_factory.mktemp("large"), clustered(12_500)
    modes = ["negative" if i % 25 == 0 else "positive" for i in range(len(vectors))]
    rows = [dict.fromkeys(SCHEMA.names) | {"identifier": str(i), "ion_mode": mode} for i, mode in enumerate(modes)]
    write_library(folder, rows, vectors, None)
    return folder, vectors, np.array(modes)


def test_a_large_library_is_searched_in_part_and_finds_what_all_of_it_holds(large):
    folder, vectors, modes = large
    store, queries = SpectrumStore(folder), clustered(300, seed=1)
    positive, negative = (faiss.read_index(str(path)) for path in index_files(folder))
    assert type(negative) is faiss.IndexFlatIP and (positive.ntotal, negative.ntotal) == (12_000, 500)
    assert 1 < positive.nprobe < positive.nlist / 2
    for mode, least in (("positive", 0.99), ("negative", 1.0)):
        rows, cosines = store.nearest(queries, [mode] * len(queries), 10)
        of_mode = np.flatnonzero(modes == mode)
        exact = queries @ vectors[of_mode].T
        tenth = np.sort(exact, axis=1)[:, -10:-9]
        assert (cosines >= tenth - 1e-6).mean() >= least
        found = np.array(store.table["identifier"].take(rows.ravel()).to_pylist(), int).reshape(rows.shape)
        assert (modes[found] == mode).all() and (np.diff(cosines, axis=1) <= 0).all()
        np.testing.assert_allclose(cosines, np.take_along_axis(queries @ vectors.T, found, 1), atol=1e-6)


def test_neither_batches_nor_building_it_anew_change_what_is_found(large, tmp_path):
    folder, vectors, _ = large
    store, queries = SpectrumStore(folder), clustered(30, seed=2)
    rows, cosines = store.nearest(queries, ["positive"] * 30, 10)
    for i in range(30):
        row, cosine = store.nearest(queries[i : i + 1], ["positive"], 10)
        assert (row == rows[i]).all()
        np.testing.assert_allclose(cosine[0], cosines[i], atol=1e-6)
    write_library(tmp_path, store.table.to_pylist(), vectors[np.array(store.table["identifier"], int)], None)
    for again, path in zip(index_files(tmp_path), index_files(folder), strict=True):
        assert again.read_bytes() == path.read_bytes()


def test_very_many_are_those_of_all_cosines(large):
    folder, vectors, modes = large
    queries, of_mode = clustered(5, seed=3), np.flatnonzero(modes == "positive")
    _, cosines = SpectrumStore(folder).nearest(queries, ["positive"] * 5, 2000)
    exact = -np.sort(-queries @ vectors[of_mode].T, axis=1)[:, :2000]
    np.testing.assert_allclose(cosines, exact, atol=1e-6)


@pytest.mark.skipif(not STATUS.exists(), reason="memory is read from /proc")
@pytest.mark.parametrize("exact_up_to", [4096, 2000])
def test_opening_a_library_takes_no_memory_for_its_embeddings(exact_up_to, tmp_path, monkeypatch):
    """Which are 16 MiB."""
    monkeypatch.setattr("spec2mol.retrieval.spectra.EXACT_UP_TO", exact_up_to)
    rows = [dict.fromkeys(SCHEMA.names) | {"identifier": "", "ion_mode": "positive"}] * 4096
    write_library(tmp_path, rows, clustered(4096, size=1024), None)

    def held():
        return int(re.search(r"RssAnon:\s*(\d+)", STATUS.read_text())[1]) / 1024  # MiB

    before = held()
    store = SpectrumStore(tmp_path)
    assert np.isfinite(store.nearest(clustered(1, size=1024), ["positive"], 3)[1]).all()
    assert held() - before < 4


def damaged(path: Path, content: bytes | None):
    if content is None:
        path.unlink()
    else:
        path.write_bytes(content)


@pytest.mark.parametrize("content", [None, b"", b"no index", "half"])
def test_a_missing_or_damaged_index_is_said_to_be(content, large, tmp_path):
    folder = shutil.copytree(large[0], tmp_path / "library")
    path = folder / "positive.faiss"
    damaged(path, path.read_bytes()[: path.stat().st_size // 2] if content == "half" else content)
    with pytest.raises(ValueError, match="index is missing or damaged.*build it anew"):
        SpectrumStore(folder)


def test_an_index_of_other_spectra(large, store, tmp_path):
    folder = shutil.copytree(large[0], tmp_path / "library")
    shutil.copy(store.folder / "negative.faiss", folder)
    with pytest.raises(ValueError, match="12003 embeddings for 12500 spectra; build it anew"):
        SpectrumStore(folder)


def test_a_library_of_an_earlier_version(store, tmp_path):
    """Its notes were with its arrays."""
    with pa.ipc.new_file(tmp_path / "table.arrow", SCHEMA) as file:
        file.write_table(store.table.replace_schema_metadata(None))
    (tmp_path / "arrays.safetensors").write_bytes(b"")
    with pytest.raises(ValueError, match="another version of spec2mol; build it anew"):
        SpectrumStore(tmp_path)


def test_a_formula_does_not_matter():
    spectrum = library()[3]
    np.testing.assert_array_equal(embeddings([spectrum]), embeddings([spectrum | {"formula": "C2H6O"}]))


def test_embeddings_of_another_encoder(store):
    store.check(embedder())
    with pytest.raises(ValueError, match="another model; build it anew"):
        store.check(embedder(seed=1))
