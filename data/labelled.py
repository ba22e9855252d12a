"""Labelled spectra, from spectrum files and tables alike, as rows of training data."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from rdkit import Chem
from rdkit.rdBase import BlockLogs

from ..chemistry_spec2mol import canonical_smiles, formula_mass, inchikey_block, molecular_formula, precursor_mz
from ..spectra import load_spectra
from ..spectra.normalize import Fields
from .examples import SPECTRUM_COLUMNS

SCHEMA = pa.schema(
    {
        "identifier": pa.string(),
        "mzs": pa.list_(pa.float32()),
        "intensities": pa.list_(pa.float32()),
        "precursor_mz": pa.float64(),
        "adduct": pa.string(),
        "ion_mode": pa.string(),
        "collision_energy": pa.float32(),
        "instrument_type": pa.string(),
        "formula": pa.string(),
        "smiles": pa.string(),
        "inchikey": pa.string(),
        "source": pa.string(),
        "license": pa.string(),
        "contributor": pa.string(),
        "authors": pa.string(),
    }
)
MAX_PRECURSOR_ERROR = 0.5  # Da; more is a wrong structure or adduct, not an error of the mass axis


class Molecule(NamedTuple):
    """Flat canonical SMILES, first InChIKey block, formula."""

    smiles: str
    inchikey: str
    formula: str


def labelled_rows(path: str | Path, held_out: frozenset[str], dropped: Counter) -> Iterator[dict]:
    """Rows of `SCHEMA` of a file: a table (.parquet with `smiles`, `mzs`, `intensities`, `precursor_mz`), or spectra
    in any format of `load_spectra` whose entries have a SMILES or InChI. `license` is None where the file gives none.

    Args:
        held_out: first InChIKey blocks of molecules to leave out.
        dropped: counts, by reason, what is left out.

    Raises:
        ValueError: a file that cannot be used at all.
    """
    for row in _table_rows(path) if Path(path).suffix == ".parquet" else _spectrum_rows(path, dropped):
        try:
            molecule = identify(row.get("smiles"), row.pop("inchi", None))
            if molecule.inchikey in held_out:
                raise ValueError("molecule held out")
            intensities = relative(row)
            check_precursor(row, molecule)
        except ValueError as reason:
            dropped[str(reason)] += 1
            continue
        massbank = re.match(r"MSBNK-(.+?)-", row.get("identifier") or "")
        origin = {"source": "massbank", "contributor": massbank[1]} if massbank else {"source": _stem(path)}
        known = {name: value for name, value in row.items() if value is not None}
        yield dict.fromkeys(SCHEMA.names) | origin | known | molecule._asdict() | {"intensities": intensities}


def molecules_in(paths: Iterable[str | Path]) -> frozenset[str]:
    """First InChIKey blocks of the molecules in files: tables (.parquet, .csv, .tsv) with a column `inchikey` or
    `smiles`, lists (.smi, .txt) with a SMILES at the beginning of each line, or labelled spectra.

    Raises:
        ValueError, OSError: a file that cannot be read, or one without any molecule: nothing would be held out.
    """
    found = set()
    for path in map(Path, paths):
        blocks = set(_blocks(path))
        if not blocks:
            raise ValueError(f"{path}: no molecule in it")
        found |= blocks
    return frozenset(found)


def _blocks(path) -> Iterator[str]:
    if path.suffix in (".smi", ".txt"):
        structures = [line.split()[0] for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    elif path.suffix in (".parquet", ".csv", ".tsv"):
        if path.suffix == ".parquet":
            present = pq.read_schema(path).names
            table = pd.read_parquet(path, columns=[name for name in ("inchikey", "smiles") if name in present])
        else:
            table = pd.read_csv(path, sep="\t" if path.suffix == ".tsv" else ",")
        if "inchikey" in table:
            yield from {key[:14] for key in table["inchikey"].dropna()}
        if "smiles" not in table and "inchikey" not in table:
            raise ValueError(f"{path} has no column inchikey or smiles, only {', '.join(table.columns)}")
        structures = table["smiles"].dropna().unique() if "smiles" in table else []
    else:
        yield from {row["inchikey"] for row in labelled_rows(path, frozenset(), Counter())}
        return
    yield from filter(None, map(inchikey_block, structures))


@lru_cache(maxsize=100_000)
def identify(smiles: str | None, inchi: str | None = None) -> Molecule:
    """The molecule that a label names. Raises ValueError with a reason in plain words."""
    if not smiles and not inchi:
        raise ValueError("no structure given")
    flat = canonical_smiles(smiles) if smiles else None
    if flat is None and inchi:
        with BlockLogs():
            molecule = Chem.MolFromInchi(inchi)
        flat = None if molecule is None else canonical_smiles(Chem.MolToSmiles(molecule))
    block = None if flat is None else inchikey_block(flat)
    if block is None:
        raise ValueError("structure cannot be read")
    return Molecule(flat, block, molecular_formula(flat))


def relative(row: dict) -> np.ndarray:
    """Intensities, base peak = 1. Raises ValueError without any."""
    intensities = np.asarray([] if row["intensities"] is None else row["intensities"], float)
    if not len(intensities) or not intensities.max() > 0:
        raise ValueError("no peaks")
    return intensities / intensities.max()


def check_precursor(row: dict, molecule: Molecule):
    """Raises ValueError if there is no precursor m/z, or another than structure and adduct say."""
    if row["precursor_mz"] is None:
        raise ValueError("no precursor m/z")
    try:
        expected = precursor_mz(formula_mass(molecule.formula), row.get("adduct"))
    except ValueError:  # An adduct or element that spec2mol does not know: nothing to compare with.
        return
    if abs(row["precursor_mz"] - expected) > MAX_PRECURSOR_ERROR:
        raise ValueError("precursor m/z is not that of structure and adduct")


def _table_rows(path):
    file = pq.ParquetFile(path)
    if missing := {"smiles", "mzs", "intensities", "precursor_mz"} - set(file.schema_arrow.names):
        raise ValueError(f"{path}: no column {', '.join(sorted(missing))}")
    columns = [name for name in SCHEMA.names if name in file.schema_arrow.names]
    for batch in file.iter_batches(columns=columns):
        yield from batch.to_pylist()


def _spectrum_rows(path, dropped):
    reader = load_spectra(path)
    for spectrum in reader:
        fields = Fields(spectrum["metadata"])
        yield {name: spectrum[name] for name in ("identifier", *SPECTRUM_COLUMNS)} | {
            "smiles": fields.first("smiles", "computedsmiles"),
            "inchi": fields.first("inchi"),
            "license": fields.first("license", "licence"),
            "authors": fields.first("authors", "author"),
        }
    dropped["not a usable spectrum"] += len(reader.skipped)


def _stem(path):
    return Path(path).name.split(".")[0]
