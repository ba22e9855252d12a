"""`spec2mol predict FILE`: ranked structures for each spectrum."""

import sys
from contextlib import nullcontext
from itertools import tee
from pathlib import Path

import pyarrow as pa
from rich.console import Console
from rich.table import Column, Table
from tqdm import tqdm

from ..generation_spec2mol import mass_error_ppm, predict_molecules
from ..loading import DEFAULT_MODEL, load_model
from ..spectra import load_spectra
from .output import TableWriter

SCHEMA = pa.schema(
    {
        "query": pa.string(),
        "rank": pa.int32(),
        "smiles": pa.string(),
        "inchikey": pa.string(),
        "formula": pa.string(),
        "score": pa.float32(),
        "mass_error_ppm": pa.float32(),
        "precursor_mz": pa.float64(),
        "adduct": pa.string(),
    }
)


def add_arguments(parser):
    parser.add_argument("file", type=Path, metavar="FILE", help="mgf, msp, mzML, MassBank text or json, also .gz")
    parser.add_argument("--model", default=DEFAULT_MODEL, help="folder or Hub name (default: the shipped checkpoint)")
    parser.add_argument("--top-k", type=int, default=10, help="structures for each spectrum (default: 10)")
    parser.add_argument("--output", type=Path, help="table to write, .tsv, .jsonl or .parquet (default: the screen)")
    parser.add_argument("--batch-size", type=int, default=8, help="spectra at a time (default: 8)")


def run(args) -> int:
    if args.top_k < 1 or args.batch_size < 1:
        raise ValueError("--top-k and --batch-size must be at least 1")
    writer = TableWriter(args.output, SCHEMA) if args.output else None
    reader = load_spectra(args.file)
    model, processor = load_model(args.model)
    with writer or nullcontext():
        spectra, queries = tee(reader)
        answers = predict_molecules(model, processor, queries, args.top_k, args.batch_size)
        table = []
        for spectrum, candidates in tqdm(
            zip(spectra, answers, strict=True), unit=" spectra", file=sys.stderr, disable=None
        ):
            rows = to_rows(spectrum, candidates)
            if writer is not None:
                writer.write(rows)
            else:
                table.extend(rows)
    if args.output is None:
        print_table(table)
    report_skipped(reader)
    return 0


def to_rows(spectrum, candidates) -> list[dict]:
    """Rows of `SCHEMA`, best first. A query without any valid answer has one row without structure."""
    query = {"query": spectrum["identifier"], "precursor_mz": spectrum["precursor_mz"], "adduct": spectrum["adduct"]}
    if not candidates:
        return [dict.fromkeys(SCHEMA.names) | query]
    return [
        query | candidate._asdict() | {"rank": rank, "mass_error_ppm": mass_error_ppm(candidate, spectrum)}
        for rank, candidate in enumerate(candidates, start=1)
    ]


def print_table(rows: list[dict]):
    table = Table("query", "rank", Column("SMILES", overflow="fold"), "formula", "score", "mass error, ppm")
    for row in rows:
        if row["rank"] in (None, 1) and table.row_count:
            table.add_section()
        first = row["query"] if row["rank"] in (None, 1) else ""
        if row["rank"] is None:
            table.add_row(first, "", "no valid structure")
        else:
            error = "" if row["mass_error_ppm"] is None else f"{row['mass_error_ppm']:.1f}"
            table.add_row(first, str(row["rank"]), row["smiles"], row["formula"], f"{row['score']:.2f}", error)
    Console().print(table)


def report_skipped(reader):
    """What of the file was not answered and why, on standard error."""
    if reader.skipped:
        total = reader.count + len(reader.skipped)
        print(f"{reader.path}: {len(reader.skipped)} of {total} spectra skipped", file=sys.stderr)
        for skipped in reader.skipped[:20]:
            print(f"  {skipped.index} ({skipped.identifier}): {skipped.reason}", file=sys.stderr)
        if len(reader.skipped) > 20:
            print(f"  and {len(reader.skipped) - 20} more", file=sys.stderr)
