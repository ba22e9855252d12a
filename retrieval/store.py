"""What stores of molecules and of spectra are: a folder with a table, and beside it files whose rows are those of the
table.

`table.arrow` is an Arrow file without compression; the metadata of its schema hold notes on what the store was made
from. All files are memory-mapped: opening reads their headers, a query the rows that it asks for."""

import json
from hashlib import sha256
from pathlib import Path

import pyarrow as pa
from torch import nn

TABLE = "table.arrow"
NOTES = b"spec2mol"


class Store:
    """
    Args:
        folder: written by `write_table`.
        kind: what its rows are, as noted there.

    Raises:
        ValueError: no such store in the folder, or one of an earlier version.
    """

    def __init__(self, folder: str | Path, kind: str):
        self.folder = Path(folder)
        try:
            self.table = pa.ipc.open_file(pa.memory_map(str(self.folder / TABLE))).read_all()
        except (OSError, pa.ArrowInvalid) as error:
            raise ValueError(f"{folder}: no store of {kind} ({error})") from None
        if NOTES not in (self.table.schema.metadata or {}):
            raise ValueError(f"{folder}: a store of another version of spec2mol; build it anew")
        self.notes = json.loads(self.table.schema.metadata[NOTES])
        if self.notes["kind"] != kind:
            raise ValueError(f"{folder}: a store of {self.notes['kind']}, not of {kind}")

    def __len__(self) -> int:
        return self.table.num_rows


def write_table(folder: str | Path, kind: str, table: pa.Table, **notes):
    """Makes the folder too."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    table = table.replace_schema_metadata({NOTES: json.dumps({"kind": kind} | notes)})
    with pa.ipc.new_file(folder / TABLE, table.schema) as file:
        file.write_table(table)


def weights_digest(module: nn.Module) -> str:
    """SHA-256 of a module's weights in float32, by name."""
    digest = sha256()
    for name, weight in sorted(module.state_dict().items()):
        digest.update(name.encode())
        digest.update(weight.float().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
