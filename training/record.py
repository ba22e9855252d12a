"""What a model has seen in training, beside its weights, so that an evaluation can refuse molecules it was trained on.

`training_record.json` holds the stages that led to the weights, first to last, each with its recipe, its data files
(name, SHA-256, rows by licence, source and contributor) and the numbers of examples and molecules; and under `unknown`
what nothing is known of: weights without a record that a stage started from, spectra without structures.
`training_molecules.safetensors` holds, over all stages, the sorted identities of the molecules, integers of 64 bits
made from the first InChIKey block: 4 MB for half a million molecules, and the odds that any of a thousand others
passes for one of them are 1 to 4e10."""

import json
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from hashlib import sha256
from os import cpu_count
from pathlib import Path

import numpy as np
from datasets import Dataset
from safetensors.numpy import load_file, save_file
from tqdm import tqdm
from transformers.utils import cached_file

from ..chemistry_spec2mol import inchikey_block
from ..data.examples import data_files, molecule_identity
from ..data.provenance import provenance

RECORD = "training_record.json"
MOLECULES = "training_molecules.safetensors"
CHUNK = 5000  # molecules that a process takes at a time


@dataclass
class TrainingRecord:
    """stages, unknown: as in `training_record.json`. molecules: sorted identities, int64."""

    stages: list[dict]
    unknown: list[str]
    molecules: np.ndarray

    def saw(self, inchikey_blocks: Sequence[str]) -> list[bool]:
        """Whether each molecule, by its first InChIKey block, was trained on."""
        return np.isin([molecule_identity(block) for block in inchikey_blocks], self.molecules).tolist()


def record_stage(
    folder: str | Path, previous: Sequence[str], recipe: Mapping, files: str | Sequence[str], dataset: Dataset
):
    """Writes the record of a stage that has just been trained into the folder of its weights.

    Args:
        previous: folders or Hub names the weights started from; their records come first.
        recipe: what the stage was told, JSON-like.
        files: the data, paths or globs.
        dataset: the examples that were trained on: rows of `load_examples`, `load_spectra_examples` or
            `load_task_examples`.
    """
    stages, unknown, molecules = [], [], [_molecules(dataset)]
    for name in previous:
        record = load_seen(name)
        if record is None:
            unknown.append(_portable(str(name)))
        else:
            stages += record.stages
            unknown += record.unknown
            molecules.append(record.molecules)
    data = [{"file": Path(file).name, "sha256": file_sha256(file)} | provenance(file) for file in data_files(files)]
    if not len(molecules[0]):
        unknown += [file["file"] for file in data]
    elif "task" in dataset.column_names:
        pairs = zip(dataset["task"][:], dataset["identity"][:], strict=True)
        unknown += [f"task {name}" for name in {task for task, identity in pairs if identity is None}]
    counts = {"examples": len(dataset), "molecules": len(molecules[0])}
    stages.append({"recipe": _portable(recipe), "data": data} | counts)
    content = {"stages": stages, "unknown": sorted(set(unknown))}
    Path(folder, RECORD).write_text(json.dumps(content, indent=2) + "\n")
    save_file({"identities": np.unique(np.concatenate(molecules))}, Path(folder, MOLECULES))


def record_molecules(folder: str | Path, identities: np.ndarray):
    """Adds what a part that joined the model had seen, if the folder has a record."""
    path = Path(folder, MOLECULES)
    if path.is_file():
        save_file({"identities": np.union1d(load_file(path)["identities"], identities)}, path)


def load_seen(name: str | Path) -> TrainingRecord | None:
    """The record of a folder or Hub name; None if it has none."""
    try:
        path = cached_file(str(name), RECORD)
    except OSError:
        return None
    content = json.loads(Path(path).read_text())
    return TrainingRecord(**content, molecules=load_file(cached_file(str(name), MOLECULES))["identities"])


def file_sha256(path: str | Path) -> str:
    digest = sha256()
    with open(path, "rb") as file:
        while block := file.read(2**20):
            digest.update(block)
    return digest.hexdigest()


def _molecules(dataset: Dataset) -> np.ndarray:
    """Sorted identities; none for spectra without structures."""
    if "identity" in dataset.column_names:
        identities = [identity for identity in dataset.unique("identity") if identity is not None]
    elif "smiles" in dataset.column_names:
        identities = _identities(dataset.unique("smiles"))
    else:
        identities = []
    return np.unique(np.array(identities, np.int64))


def _identities(molecules: Sequence[str]) -> list[int]:
    """An InChIKey takes about a third of a millisecond: with many molecules, in several processes."""
    chunks = [molecules[i : i + CHUNK] for i in range(0, len(molecules), CHUNK)]
    progress = tqdm(total=len(molecules), desc="Recording", unit=" molecules", disable=None)
    found = []
    with ProcessPoolExecutor(cpu_count()) if len(chunks) > 1 else nullcontext() as pool:
        for identities in (pool.map if pool else map)(_identities_of, chunks):
            found += identities
            progress.update(len(identities))
    progress.close()
    return found


def _identities_of(molecules):
    return [molecule_identity(block) for block in map(inchikey_block, molecules) if block is not None]


def _portable(value):
    """Without the folders of this machine: of an absolute path only its last part."""
    if isinstance(value, Mapping):
        return {key: _portable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_portable(item) for item in value]
    if isinstance(value, str) and Path(value).is_absolute():
        return Path(value).name
    return value
