"""Stores of molecules, sorted by mass."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from os import cpu_count
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import torch
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file
from tqdm import tqdm

from ..chemistry_spec2mol import (
    canonical_smiles,
    formula_mass,
    inchikey_block,
    molecular_formula,
    morgan_fingerprint,
)
from .store import Store, weights_digest, write_table

SCHEMA = pa.schema({"smiles": pa.string(), "inchikey": pa.string(), "formula": pa.string(), "mass": pa.float64()})
CHUNK = 1000  # structures that a process takes at a time
STRUCTURES_PER_WORKER = 2000  # with fewer, starting a process costs more than it saves
FEATURE_BATCH = 64
KIND = "molecules"
ARRAYS = "arrays.safetensors"


class Molecule(NamedTuple):
    """smiles: canonical, flat; inchikey: first block; mass: monoisotopic, of the formula, Da; fingerprint: Morgan,
    packed bits `(256,)`."""

    smiles: str
    inchikey: str
    formula: str
    mass: float
    fingerprint: np.ndarray


class Window(NamedTuple):
    """Molecules of neighbouring masses: columns of the table; fingerprints `(molecules, 2048)` float32 of 0 and 1;
    features `(molecules, contrast_size)` float32, None from a store without."""

    smiles: list[str]
    inchikey: list[str]
    formula: list[str]
    mass: np.ndarray
    fingerprints: np.ndarray
    features: np.ndarray | None

    def take(self, rows: np.ndarray) -> "Window":
        return Window(*(_take(column, rows) for column in self))


class MoleculeStore(Store):
    """Beside the table, `arrays.safetensors`: fingerprints and, perhaps, features of the molecules."""

    def __init__(self, folder: str | Path):
        super().__init__(folder, KIND)
        try:
            self._arrays = safe_open(self.folder / ARRAYS, framework="numpy")
        except (OSError, SafetensorError) as error:
            raise ValueError(f"{folder}: no store of molecules ({error})") from None
        self._masses = self.table["mass"].combine_chunks().to_numpy(zero_copy_only=True)

    def check(self, model):
        """Raises ValueError if the store's features are another model's."""
        made_by = self.notes["features_of"]
        if made_by is not None and made_by != weights_digest(model.model.projector):
            raise ValueError(
                f"{self.folder} holds molecule features of another model; build it anew with this --model, or without"
            )

    def window(self, mass: float, tolerance: float) -> Window:
        """Molecules whose mass is within the tolerance, both in Da."""
        start = int(np.searchsorted(self._masses, mass - tolerance))
        stop = int(np.searchsorted(self._masses, mass + tolerance, side="right"))
        columns = self.table.slice(start, stop - start)
        features = None
        if self.notes["features_of"] is not None:
            features = self.rows("features", start, stop).astype(np.float32)
        fingerprints = np.unpackbits(self.rows("fingerprints", start, stop), axis=1).astype(np.float32)
        texts = (columns[name].to_pylist() for name in ("smiles", "inchikey", "formula"))
        return Window(*texts, self._masses[start:stop], fingerprints, features)

    def rows(self, name: str, start: int, stop: int) -> np.ndarray:
        """Rows of an array, as they are in the file."""
        return self._arrays.get_slice(name)[slice(start, stop) if start < stop else slice(0, 0)]


def build_molecule_store(
    structures: Sequence[str], folder: str | Path, model=None, processor=None, workers: int | None = None
) -> Counter:
    """Writes a store of the distinct molecules (first InChIKey block) among SMILES; returns why how many were left
    out. The store is the same for any number of processes.

    Args:
        model, processor: whose molecule features are stored too; molecules that they cannot write get zeros.

    Raises:
        ValueError: none is left, or the model has no text branch.
    """
    if model is not None and not model.config.projector_config.use_qformer_text_input:
        raise ValueError("this model has no text branch, so no features of molecules: leave out --model")
    found, skipped = {}, Counter()
    results = tqdm(_read_all(structures, workers), total=len(structures), unit=" structures", disable=None)
    for result in results:
        if isinstance(result, str):
            skipped[result] += 1
        elif result.inchikey in found:
            skipped["the same molecule as another one"] += 1
        else:
            found[result.inchikey] = result
    if not found:
        reasons = ", ".join(f"{count} {reason}" for reason, count in skipped.most_common())
        raise ValueError(f"none of {len(structures)} structures can be used ({reasons or 'the file is empty'})")
    molecules = sorted(found.values(), key=lambda molecule: (molecule.mass, molecule.inchikey))
    columns = [[getattr(molecule, name) for molecule in molecules] for name in SCHEMA.names]
    arrays = {"fingerprints": np.stack([molecule.fingerprint for molecule in molecules])}
    if model is not None:
        arrays["features"] = np.concatenate(list(_features(model, processor, columns[0])))
    made_by = None if model is None else weights_digest(model.model.projector)
    write_molecules(folder, pa.table(columns, schema=SCHEMA), arrays, made_by)
    return skipped


def write_molecules(folder: str | Path, table: pa.Table, arrays: Mapping[str, np.ndarray], features_of: str | None):
    write_table(folder, KIND, table, features_of=features_of)
    save_file({name: np.ascontiguousarray(array) for name, array in arrays.items()}, Path(folder, ARRAYS))


def _read_all(structures, workers) -> Iterator[Molecule | str]:
    workers = max(1, min(workers or cpu_count(), len(structures) // STRUCTURES_PER_WORKER))
    if workers == 1:
        yield from map(read_molecule, structures)
        return
    with ProcessPoolExecutor(workers) as pool:
        yield from pool.map(read_molecule, structures, chunksize=CHUNK)


def read_molecule(smiles: str) -> Molecule | str:
    """Or why it cannot be ranked."""
    if "." in smiles:
        return "salts and mixtures: give the part that is measured"
    canonical = canonical_smiles(smiles)
    if canonical is None:
        return "no structure that RDKit reads"
    key = inchikey_block(canonical)
    if key is None:
        return "no InChI"
    formula = molecular_formula(canonical)
    try:
        mass = formula_mass(formula)
    except ValueError:
        return "an element that no formula here has"
    return Molecule(canonical, key, formula, mass, np.packbits(morgan_fingerprint(canonical)))


def _take(column, rows):
    if column is None:
        return None
    return [column[row] for row in rows] if isinstance(column, list) else column[rows]


@torch.inference_mode()
def _features(model, processor, structures) -> Iterator[np.ndarray]:
    """Float16 `(batch, contrast_size)`."""
    starts = range(0, len(structures), FEATURE_BATCH)
    for start in tqdm(starts, desc="features", unit=" batches", disable=None):
        yield molecule_features(model, processor, structures[start : start + FEATURE_BATCH]).half().cpu().numpy()


def writable(model, processor, smiles: str) -> bool:
    """Whether the text branch can read it."""
    try:
        length = len(processor.encode_molecule(smiles))
    except ValueError:
        return False
    return length <= model.config.projector_config.max_position_embeddings


@torch.inference_mode()
def molecule_features(model, processor, structures: Iterable[str]) -> torch.Tensor:
    """Unit vectors `(molecules, contrast_size)`, zeros for what the text branch cannot read."""
    structures = list(structures)
    features = torch.zeros(len(structures), model.config.contrast_size, device=model.device)
    rows = [row for row, smiles in enumerate(structures) if writable(model, processor, smiles)]
    if rows:
        texts = processor(molecules=[structures[row] for row in rows], return_tensors="pt").to(model.device)
        features[rows] = model.get_molecule_features(texts["molecule_ids"], texts["molecule_mask"]).float()
    return features
