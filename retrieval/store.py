"""What stores of molecules and of spectra are: a folder with a table, and arrays whose rows are those of the table.

`table.arrow` is an Arrow file without compression, `arrays.safetensors` holds the arrays and, in its header, notes on
what they were made from. Both are memory-mapped: opening reads their headers, a query the rows that it asks for."""

import json
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path

import numpy as np
import pyarrow as pa
from safetensors import safe_open
from safetensors.numpy import save_file
from torch import nn

TABLE, ARRAYS = "table.arrow", "arrays.safetensors"


class Store:
    """
    Args:
        folder: written by `write_store`.
        kind: what its rows are, as noted there.

    Raises:
        ValueError: no such store in the folder.
    """

    def __init__(self, folder: str | Path, kind: str):
        self.folder = Path(folder)
        try:
            self.table = pa.ipc.open_file(pa.memory_map(str(self.folder / TABLE))).read_all()
            self.arrays = safe_open(self.folder / ARRAYS, framework="numpy")
            self.notes = json.loads(self.arrays.metadata()["spec2mol"])
        except (OSError, pa.ArrowInvalid, TypeError, KeyError) as error:
            raise ValueError(f"{folder}: no store of {kind} ({error})") from None
        if self.notes["kind"] != kind:
            raise ValueError(f"{folder}: a store of {self.notes['kind']}, not of {kind}")

    def __len__(self) -> int:
        return self.table.num_rows

    def rows(self, name: str, start: int, stop: int) -> np.ndarray:
        """Rows of an array, as they are in the file."""
        return self.arrays.get_slice(name)[slice(start, stop) if start < stop else slice(0, 0)]


def write_store(folder: str | Path, kind: str, table: pa.Table, arrays: Mapping[str, np.ndarray], **notes):
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    with pa.ipc.new_file(folder / TABLE, table.schema) as file:
        file.write_table(table)
    metadata = {"spec2mol": json.dumps({"kind": kind} | notes)}
    save_file({name: np.ascontiguousarray(array) for name, array in arrays.items()}, folder / ARRAYS, metadata)


def weights_digest(module: nn.Module) -> str:
    """SHA-256 of a module's weights in float32, by name."""
    digest = sha256()
    for name, weight in sorted(module.state_dict().items()):
        digest.update(name.encode())
        digest.update(weight.float().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
