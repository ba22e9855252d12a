"""Libraries of spectra, and the nearest to a query by the cosine of the encoder's embeddings.

The search is exact: a matrix product with all embeddings, chunk by chunk of the memory-mapped file."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import torch
from torch import nn
from tqdm import tqdm

from ..feature_extraction_spec2mol import Spec2MolFeatureExtractor
from .store import Store, weights_digest, write_store

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
CHUNK = 65536  # embeddings in memory at a time
KIND = "spectra"


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

    def check(self, embed: nn.Module):
        """Raises ValueError if the library's embeddings are another encoder's."""
        if self.notes["embeddings_of"] != weights_digest(embed):
            raise ValueError(f"{self.folder} holds embeddings of another model; build it anew with this --model")

    def nearest(self, embeddings: np.ndarray, ion_modes: Sequence[str], top_k: int) -> tuple[np.ndarray, np.ndarray]:
        """Rows `(queries, top_k)` of the spectra of the same ion mode with the highest cosines, the highest first, and
        these cosines, -inf where there are fewer.

        Args:
            embeddings: unit vectors `(queries, size)`.
        """
        negative = np.array([mode == "negative" for mode in ion_modes])
        rows = np.zeros((len(embeddings), 0), int)
        cosines = np.zeros((len(embeddings), 0), np.float32)
        for start in range(0, len(self), CHUNK):
            stop = min(start + CHUNK, len(self))
            found = embeddings @ self.rows("embeddings", start, stop).T
            found[negative[:, None] != self.rows("negative", start, stop)] = -np.inf
            best = np.argpartition(-found, min(top_k, found.shape[1] - 1), axis=1)[:, :top_k]
            rows = np.concatenate([rows, best + start], axis=1)
            cosines = np.concatenate([cosines, np.take_along_axis(found, best, axis=1)], axis=1)
            order = np.argsort(-cosines, axis=1, kind="stable")[:, :top_k]
            rows, cosines = np.take_along_axis(rows, order, axis=1), np.take_along_axis(cosines, order, axis=1)
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
def unit_embeddings(
    embed: nn.Module, feature_extractor: Spec2MolFeatureExtractor, spectra: Sequence[Mapping]
) -> np.ndarray:
    """Float32 `(spectra, size)`. A formula that is known of one spectrum may not be of another, so none is used."""
    nameless = [dict(spectrum) | {"formula": None} for spectrum in spectra]
    embeddings = embed(**feature_extractor(nameless, return_tensors="pt")).float()
    return nn.functional.normalize(embeddings, dim=-1).cpu().numpy()


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
    negative = np.array([row["ion_mode"] == "negative" for row in rows])
    arrays = {"embeddings": np.concatenate(embeddings), "negative": negative}
    write_store(folder, KIND, pa.Table.from_pylist(rows, SCHEMA), arrays, embeddings_of=weights_digest(embed))
    return len(rows)


def _entry(spectrum) -> dict:
    fields = spectrum["metadata"]
    name = next((fields[key] for key in ("name", "compound_name", "title") if fields.get(key)), None)
    return {key: spectrum.get(key) for key in SCHEMA.names} | {"name": name, "smiles": fields.get("smiles") or None}
