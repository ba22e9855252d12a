"""Libraries of spectra, and the nearest to a query by the cosine of the encoder's embeddings.

Beside the table, which has all positive spectra before the negative ones, stands a FAISS index of the embeddings of
each ion mode, `positive.faiss` and `negative.faiss`. It compares a query with all of them where they are few, else
with those of the nearest inverted lists."""

import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import torch
from torch import nn
from tqdm import tqdm

from ..feature_extraction_spec2mol import ION_MODES, Spec2MolFeatureExtractor
from .store import Store, weights_digest, write_table

if sys.platform == "darwin":  # torch and faiss bring an OpenMP each, and there the second one ends the process.
    os.environ.setdefault("KMP_DUPLICATE_LIB_OK", "TRUE")
import faiss

SCHEMA = pa.schema(
    {
        "identifier": pa.string(),
        "name": pa.string(),
        "smiles": pa.string(),
        "adduct": pa.string(),
        "ion_mode": pa.string(),
        "precursor_mz": pa.float64(),
    }
)
KIND = "spectra"
EXACT_UP_TO = 10_000  # spectra of an ion mode; of more, a query is compared with a part
NEAREST = 100  # hits that the lists are good for; for more, a query is compared with all spectra
RECALL = 0.998  # of as many nearest of the library's own spectra; of ten nearest to other molecules, 0.99 and more
SAMPLE = 1000  # spectra to measure it with


class LibraryHit(NamedTuple):
    """similarity: cosine, at most 1; mz_difference: precursor m/z of the query less the library's, Da; the rest as in
    the library."""

    identifier: str
    name: str | None
    smiles: str | None
    adduct: str | None
    similarity: float
    mz_difference: float


class SpectrumStore(Store):
    def __init__(self, folder: str | Path):
        super().__init__(folder, KIND)
        try:
            self._indices = [faiss.read_index(str(path), faiss.IO_FLAG_MMAP_IFC) for path in index_files(folder)]
        except RuntimeError as error:
            reason = str(error).split("Error: ")[-1].strip()
            raise ValueError(f"{folder}: its index is missing or damaged ({reason}); build it anew") from None
        if (count := sum(index.ntotal for index in self._indices)) != len(self):
            raise ValueError(f"{folder}: {count} embeddings for {len(self)} spectra; build it anew")

    def check(self, embed: nn.Module):
        """Raises ValueError if the library's embeddings are another encoder's."""
        if self.notes["embeddings_of"] != weights_digest(embed):
            raise ValueError(f"{self.folder} holds embeddings of another model; build it anew with this --model")

    def nearest(self, embeddings: np.ndarray, ion_modes: Sequence[str], top_k: int) -> tuple[np.ndarray, np.ndarray]:
        """Rows `(queries, top_k)` of the spectra of the same ion mode with the highest cosines, the highest first, and
        these cosines, -inf where there are fewer.

        Args:
            embeddings: unit vectors `(queries, size)`, float32.
        """
        rows = np.zeros((len(embeddings), top_k), int)
        cosines = np.full((len(embeddings), top_k), -np.inf, np.float32)
        negative, first = np.array([mode == "negative" for mode in ion_modes], bool), 0
        for number, index in enumerate(self._indices):
            asked, exhaustive = np.flatnonzero(negative == number), None
            if top_k > NEAREST and isinstance(index, faiss.IndexIVF):
                exhaustive = faiss.SearchParametersIVF(nprobe=index.nlist)
            similarity, found = index.search(embeddings[asked], top_k, params=exhaustive)
            rows[asked] = first + found
            cosines[asked] = np.where(found < 0, -np.inf, similarity)
            first += index.ntotal
        return rows, cosines

    def search(self, spectra: Sequence[Mapping], embeddings: np.ndarray, top_k: int = 10) -> list[list[LibraryHit]]:
        """For each query its nearest spectra of the same ion mode, the nearest first.

        Args:
            spectra: as `load_spectra` gives them, with their `embeddings`, see `unit_embeddings`.
        """
        rows, cosines = self.nearest(embeddings, [spectrum["ion_mode"] for spectrum in spectra], top_k)
        hits = []
        for spectrum, of_query, similarities in zip(spectra, rows, cosines, strict=True):
            kept = of_query[similarities > -np.inf]
            entries = self.table.take(kept).to_pylist()
            hits.append(
                [
                    LibraryHit(
                        *(entry[name] for name in SCHEMA.names[:4]),
                        float(similarity),
                        float(spectrum["precursor_mz"]) - entry["precursor_mz"],
                    )
                    for entry, similarity in zip(entries, similarities.tolist(), strict=False)
                ]
            )
        return hits


@torch.inference_mode()
def embeddings_of(
    embed: nn.Module, feature_extractor: Spec2MolFeatureExtractor, spectra: Sequence[Mapping]
) -> torch.Tensor:
    """Float32 `(spectra, size)`. A formula that is known of one spectrum may not be of another, so none is used."""
    nameless = [dict(spectrum) | {"formula": None} for spectrum in spectra]
    return embed(**feature_extractor(nameless, return_tensors="pt")).float()


def unit_embeddings(
    embed: nn.Module, feature_extractor: Spec2MolFeatureExtractor, spectra: Sequence[Mapping]
) -> np.ndarray:
    """`embeddings_of` length 1."""
    return nn.functional.normalize(embeddings_of(embed, feature_extractor, spectra), dim=-1).cpu().numpy()


def build_spectrum_store(
    spectra: Iterable[Mapping],
    folder: str | Path,
    embed: nn.Module,
    feature_extractor: Spec2MolFeatureExtractor,
    batch_size: int = 32,
) -> int:
    """Writes a library of spectra as `load_spectra` gives them; returns how many."""
    spectra = iter(spectra)
    rows, embeddings = [], []
    with tqdm(unit=" spectra", desc="library", disable=None) as progress:
        while batch := list(islice(spectra, batch_size)):
            rows += [_entry(spectrum) for spectrum in batch]
            embeddings.append(unit_embeddings(embed, feature_extractor, batch))
            progress.update(len(batch))
    write_library(folder, rows, np.concatenate(embeddings), weights_digest(embed))
    return len(rows)


def write_library(folder: str | Path, rows: Sequence[Mapping], embeddings: np.ndarray, embeddings_of: str | None):
    """
    Args:
        rows: of `SCHEMA`.
        embeddings: unit vectors `(rows, size)`, float32.
        embeddings_of: `weights_digest` of their encoder.
    """
    negative = np.array([row["ion_mode"] == "negative" for row in rows])
    order = np.argsort(negative, kind="stable")
    table = pa.Table.from_pylist([rows[i] for i in order], SCHEMA)
    write_table(folder, KIND, table, embeddings_of=embeddings_of)
    for path, of_mode in zip(index_files(folder), (embeddings[~negative], embeddings[negative]), strict=True):
        faiss.write_index(build_index(of_mode), str(path))


def index_files(folder: str | Path) -> list[Path]:
    return [Path(folder, f"{mode}.faiss") for mode in ION_MODES]


def build_index(embeddings: np.ndarray) -> faiss.Index:
    """Of unit vectors `(spectra, size)`, float32, by inner product."""
    if len(embeddings) <= EXACT_UP_TO:
        index = faiss.IndexFlatIP(embeddings.shape[1])
        index.add(embeddings)
        return index
    lists = round(len(embeddings) ** 0.5)
    index = faiss.index_factory(embeddings.shape[1], f"IVF{lists},Flat", faiss.METRIC_INNER_PRODUCT)
    index.train(embeddings)
    index.add(embeddings)
    # How many lists hold the nearest depends on the encoder and on the library, so it is measured.
    queries = embeddings[np.random.default_rng(0).choice(len(embeddings), SAMPLE, replace=False)]
    exact, _ = faiss.knn(queries, embeddings, NEAREST + 1, metric=faiss.METRIC_INNER_PRODUCT)
    while index.nprobe < lists and recall(index, queries, exact) < RECALL:
        index.nprobe += 1 + index.nprobe // 4
    return index


def recall(index: faiss.Index, queries: np.ndarray, exact: np.ndarray) -> float:
    """Share of the nearest, beyond the first, which is the query itself, that the index finds; `exact` are their
    cosines `(queries, 1 + nearest)`. As near as the last of them is near enough."""
    found, _ = index.search(queries, exact.shape[1])
    near = (found >= exact[:, -1:] - 1e-6).sum(1)
    return float((near - 1).mean() / (exact.shape[1] - 1))


def _entry(spectrum) -> dict:
    fields = spectrum["metadata"]
    name = next((fields[key] for key in ("name", "compound_name", "title") if fields.get(key)), None)
    return {key: spectrum.get(key) for key in SCHEMA.names} | {"name": name, "smiles": fields.get("smiles") or None}
