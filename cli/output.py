"""What people already open, written row by row: tables as TSV, JSON lines or parquet; annotated spectra as mgf."""

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from rich.console import Console
from rich.table import Column, Table

from ..chemistry_spec2mol import ADDUCTS
from ..generation_spec2mol import Candidate


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


class MgfWriter:
    """Context manager. Spectra with their best answer, as GNPS, MZmine, SIRIUS and matchms read annotated spectra.

    FEATURE_ID and SCANS are those of the file; SMILES, INCHIKEY and FORMULA are the answer's, whatever the file had,
    and are left out where there is no answer.
    """

    def __init__(self, path: str | Path):
        self.path = Path(path)

    def __enter__(self):
        self.file = self.path.open("w", encoding="utf-8")
        return self

    def write(self, spectrum: Mapping, candidates: list[Candidate]):
        """`spectrum` as `load_inputs` gives it."""
        fields = spectrum["metadata"]
        charge = ADDUCTS[spectrum["adduct"]].charge if spectrum["adduct"] in ADDUCTS else None
        if charge is None:
            charge = -1 if spectrum["ion_mode"] == "negative" else 1
        energy = spectrum["collision_energy"]
        lines = {
            "TITLE": spectrum["identifier"],
            "FEATURE_ID": spectrum["feature_id"],
            "SCANS": fields.get("scans"),
            "PEPMASS": f"{spectrum['precursor_mz']:.6f}",
            "RTINSECONDS": fields.get("rtinseconds"),
            "MSLEVEL": "2",
            "CHARGE": f"{abs(charge)}{'+' if charge > 0 else '-'}",
            "IONMODE": spectrum["ion_mode"],
            "ADDUCT": spectrum["adduct"],
            "COLLISION_ENERGY": None if energy is None else f"{energy:g} eV",
        }
        if candidates:
            best = candidates[0]
            lines |= {"SMILES": best.smiles, "INCHIKEY": best.inchikey, "FORMULA": best.formula}
            lines["COMMENT"] = f"structure proposed by spec2mol from the spectrum, score {best.score:.3f}"
            if best.probability is not None:
                lines["COMMENT"] += f", probability {best.probability:.3f}"
        peaks = zip(spectrum["mzs"], spectrum["intensities"], strict=True)
        self.file.write("BEGIN IONS\n")
        self.file.writelines(f"{key}={' '.join(value.split())}\n" for key, value in lines.items() if value)
        self.file.writelines(f"{mz:.6f} {intensity:g}\n" for mz, intensity in peaks)
        self.file.write("END IONS\n\n")

    def __exit__(self, *_):
        self.file.close()


def print_rows(rows: list[dict], columns: Sequence[str]):
    """Some columns of a table on the screen, a section for each query."""
    table = Table(*(Column(name.replace("_", " "), overflow="fold") for name in columns))
    for row in rows:
        if row["rank"] in (None, 1) and table.row_count:
            table.add_section()
        shown = dict(row) if row["rank"] in (None, 1) else row | {"query": ""}
        cells = (shown[name] for name in columns)
        table.add_row(
            *("" if cell is None else f"{cell:.4g}" if isinstance(cell, float) else str(cell) for cell in cells)
        )
    Console().print(table)
