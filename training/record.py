"""What a model has seen in training, beside its weights, so that an evaluation can refuse molecules it was trained on.

`training_record.json` holds the stages that led to the weights, first to last, each with its recipe and its data files
(name, SHA-256, rows, molecules, and what `data.provenance` tells of the file), and the names of weights they started
from that have no record: of those nothing is known. `training_molecules.safetensors` holds a sorted uint64 digest of
each molecule's first InChIKey block, over all stages: 4 MB for half a million molecules, and the odds that any of a
thousand others passes for one are 1 to 4e10."""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from os import cpu_count
from pathlib import Path

import numpy as np
from datasets import Dataset
from safetensors.numpy import load_file, save_file
from tqdm import tqdm
from transformers.utils import cached_file

from ..chemistry_spec2mol import inchikey_block
from ..data.provenance import provenance

RECORD = "training_record.json"
MOLECULES = "training_molecules.safetensors"
CHUNK = 5000  # molecules a process takes at a time


@dataclass
class TrainingRecord:
    """stages: as `training_record.json` has them. unrecorded: names of weights without a record that training started
    from. molecules: sorted digests of the first InChIKey blocks, uint64."""

    stages: list[dict]
    unrecorded: list[str]
    molecules: np.ndarray

    def saw(self, inchikey_blocks: Sequence[str]) -> list[bool]:
        """Whether each molecule, by its first InChIKey block, was trained on."""
        return np.isin(digests(inchikey_blocks), self.molecules).tolist()


def digests(inchikey_blocks: Iterable[str]) -> np.ndarray:
    """The first 8 bytes of BLAKE2b of each, uint64."""
    joined = b"".join(hashlib.blake2b(block.encode(), digest_size=8).digest() for block in inchikey_blocks)
    return np.frombuffer(joined, "<u8").astype(np.uint64)


def record_stage(folder: str | Path, previous: Sequence[str], recipe: Mapping, datasets: Mapping[str, Dataset]):
    """Writes the record of a stage that has just been trained into the folder of its weights.

    Args:
        previous: folders or Hub names the weights started from; their records come first.
        recipe: what the stage was told, JSON-like.
        datasets: file -> the rows that were trained on, a `datasets.Dataset` with a column `smiles`.
    """
    stages, unrecorded, seen = [], [], [np.empty(0, np.uint64)]
    for name in previous:
        if (record := load_seen(name)) is None:
            unrecorded.append(_portable(str(name)))
        else:
            stages += record.stages
            unrecorded += record.unrecorded
            seen.append(record.molecules)

    data = []
    for path, dataset in datasets.items():
        molecules = np.unique(_molecule_digests(dataset.unique("smiles"), Path(path).name))
        data.append(
            {
                "file": Path(path).name,
                "sha256": file_sha256(path),
                "rows": len(dataset),
                "molecules": len(molecules),
            }
            | provenance(path)
        )
        seen.append(molecules)
    stages.append({"recipe": _portable(recipe), "data": data})
    content = {"stages": stages, "unrecorded": sorted(set(unrecorded))}
    Path(folder, RECORD).write_text(json.dumps(content, indent=2) + "\n")
    save_file({"inchikey_digests": np.unique(np.concatenate(seen))}, Path(folder, MOLECULES))


def load_seen(name: str | Path) -> TrainingRecord | None:
    """The record of a folder or Hub name; None if it has none."""
    try:
        path = cached_file(str(name), RECORD)
    except OSError:
        return None
    content = json.loads(Path(path).read_text())
    molecules = load_file(cached_file(str(name), MOLECULES))["inchikey_digests"]
    return TrainingRecord(content["stages"], content["unrecorded"], molecules)


def file_sha256(path: str | Path) -> str:
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(2**20):
            digest.update(block)
    return digest.hexdigest()


def _molecule_digests(molecules: Sequence[str], name: str) -> np.ndarray:
    """An InChI takes about a third of a millisecond: with many molecules, in all processes."""
    chunks = [molecules[i : i + CHUNK] for i in range(0, len(molecules), CHUNK)]
    progress = tqdm(total=len(molecules), desc=f"Recording {name}", unit=" molecules", disable=None)
    found = []
    with ProcessPoolExecutor(cpu_count()) if len(chunks) > 1 else nullcontext() as pool:
        for chunk, blocks in zip(chunks, (pool.map if pool else map)(_blocks, chunks), strict=True):
            found.append(digests(blocks))
            progress.update(len(chunk))
    progress.close()
    return np.concatenate(found)


def _blocks(molecules):
    return [block for block in map(inchikey_block, molecules) if block is not None]


def _portable(value):
    """Without the folders of this machine: of an absolute path only its last part."""
    if isinstance(value, Mapping):
        return {key: _portable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_portable(item) for item in value]
    if isinstance(value, str) and Path(value).is_absolute():
        return Path(value).name
    return value
