"""Tables that people already open, written row by row: TSV, JSON lines or parquet, by the ending of the file."""

import csv
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq


class TableWriter:
    """Context manager. `schema` names the columns and their types.

    Raises:
        ValueError: an ending that is none of `ENDINGS`.
    """

    ENDINGS = (".tsv", ".jsonl", ".parquet")

    def __init__(self, path: str | Path, schema: pa.Schema):
        self.path = Path(path)
        self.schema = schema
        if self.path.suffix not in self.ENDINGS:
            raise ValueError(f"--output {path}: the ending must be one of {', '.join(self.ENDINGS)}")

    def __enter__(self):
        if self.path.suffix == ".parquet":
            self.file = pq.ParquetWriter(self.path, self.schema)
        else:
            self.file = self.path.open("w", newline="", encoding="utf-8")
        if self.path.suffix == ".tsv":
            self.tsv = csv.DictWriter(self.file, self.schema.names, delimiter="\t", lineterminator="\n")
            self.tsv.writeheader()
        return self

    def write(self, rows: list[dict]):
        if self.path.suffix == ".parquet":
            self.file.write_table(pa.Table.from_pylist(rows, self.schema))
        elif self.path.suffix == ".tsv":
            self.tsv.writerows(rows)
        else:
            self.file.writelines(json.dumps({name: row[name] for name in self.schema.names}) + "\n" for row in rows)

    def __exit__(self, *_):
        self.file.close()
