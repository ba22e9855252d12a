"""`spec2mol predict FILE …`: ranked structures for each spectrum."""

import sys
from collections.abc import Iterable
from contextlib import nullcontext
from itertools import tee
from pathlib import Path

import pyarrow as pa
from rich.console import Console
from tqdm import tqdm

from ..generation_spec2mol import Candidates, mass_error_ppm, predict_molecules
from ..loading import DEFAULT_MODEL, load_model
from ..report import Report
from ..spectra import InputReader, load_inputs
from .output import MgfWriter, TableWriter

SCHEMA = pa.schema(
    {
        "query": pa.string(),
        "name": pa.string(),
        "rank": pa.int32(),
        "smiles": pa.string(),
        "inchikey": pa.string(),
        "formula": pa.string(),
        "score": pa.float32(),
        "probability": pa.float32(),
        "probability_close": pa.float32(),
        "mass_error_ppm": pa.float32(),
        "precursor_mz": pa.float64(),
        "adduct": pa.string(),
        "feature_id": pa.string(),
        "file": pa.string(),
    }
)


def add_arguments(parser):
    add_query_arguments(parser)
    parser.add_argument(
        "--output", type=Path, help="table, .tsv, .jsonl or .parquet, or annotated spectra, .mgf (default: the screen)"
    )
    parser.add_argument(
        "--best-per-feature", action="store_true", help="one row a feature, to join to a network in Cytoscape or GNPS"
    )
    parser.add_argument("--report", type=Path, help="HTML file to look at: structures and explained spectra")
    parser.add_argument("--library", type=Path, help="annotated spectra; the report shows the most similar one")


def add_query_arguments(parser):
    """What is asked and whom: the same for `predict` and `report`."""
    parser.add_argument(
        "files",
        nargs="+",
        metavar="FILE",
        help="mgf, msp, mzML, MassBank text or json, also .gz; a folder; - is stdin",
    )
    parser.add_argument("--model", default=DEFAULT_MODEL, help="folder or Hub name (default: the shipped checkpoint)")
    parser.add_argument("--top-k", type=int, default=10, help="structures for each spectrum (default: 10)")
    parser.add_argument("--batch-size", type=int, default=16, help="spectra at a time (default: 16)")


def run(args) -> int:
    if args.library and not args.report:
        raise ValueError("--library is for the report: name one with --report")
    if args.best_per_feature and args.output and args.output.suffix == ".mgf":
        raise ValueError("--best-per-feature is for tables: --output with .tsv, .jsonl or .parquet")
    writer = None
    if args.output:
        writer = MgfWriter(args.output) if args.output.suffix == ".mgf" else TableWriter(args.output, SCHEMA)
    report = Report(args.report, args.model, args.library) if args.report else None
    reader = load_inputs(args.files)
    answers = answer(args, reader)
    table, problems = [], []
    with writer or nullcontext():
        for spectrum, candidates in answers:
            if candidates.problem is not None:
                problems.append(f"{spectrum['identifier']}: {candidates.problem}")
            if report is not None:
                report.add(spectrum, candidates)
            if isinstance(writer, MgfWriter):
                writer.write(spectrum, candidates)
            elif args.best_per_feature:
                table += to_rows(spectrum, candidates)[:1]
            elif writer is not None:
                writer.write(to_rows(spectrum, candidates))
            else:
                table += to_rows(spectrum, candidates)
        if args.best_per_feature:
            table = best_per_feature(table)
            if writer is not None:
                writer.write(table)
    if report is not None:
        report.write(reader)
    if args.output is None:
        print_table(table)
    for problem in problems:
        print(problem, file=sys.stderr)
    report_skipped(reader)
    return 0


def answer(args, reader) -> Iterable[tuple[dict, Candidates]]:
    """Each spectrum with its candidates, behind a progress bar. The model is loaded here and now."""
    if args.top_k < 1 or args.batch_size < 1:
        raise ValueError("--top-k and --batch-size must be at least 1")
    model, processor = load_model(args.model)
    spectra, queries = tee(reader)
    answers = predict_molecules(model, processor, queries, args.top_k, args.batch_size)
    return tqdm(zip(spectra, answers, strict=True), unit=" spectra", file=sys.stderr, disable=None)


def to_rows(spectrum, candidates) -> list[dict]:
    """Rows of `SCHEMA`, best first. A query without any valid answer has one row without structure."""
    query = {name: spectrum[name] for name in ("precursor_mz", "adduct", "feature_id", "file")}
    fields = spectrum["metadata"]
    query |= {"query": spectrum["identifier"], "name": fields.get("name") or fields.get("compound_name")}
    if not candidates:
        return [dict.fromkeys(SCHEMA.names) | query]
    return [
        query | candidate._asdict() | {"rank": rank, "mass_error_ppm": mass_error_ppm(candidate, spectrum)}
        for rank, candidate in enumerate(candidates, start=1)
    ]


def best_per_feature(rows: list[dict]) -> list[dict]:
    """One row for each feature of each file: over all its spectra, the answer with the highest probability, without a
    fitted ranking with the highest score."""
    best = {}
    for row in rows:
        kept = best.setdefault((row["file"], row["feature_id"]), row)
        name = "score" if row["probability"] is None else "probability"
        if row[name] is not None and (kept[name] is None or row[name] > kept[name]):
            best[row["file"], row["feature_id"]] = row
    return list(best.values())


def print_table(rows: list[dict]):
    """A block for each query. SMILES come last and no border breaks them, so that they can be copied."""
    console = Console(highlight=False, markup=False, soft_wrap=True)
    fitted = any(row["probability"] is not None for row in rows)
    confidence = {"right": "probability", "similar": "probability_close"} if fitted else {"score": "score"}
    width = max([len(row["formula"]) for row in rows if row["formula"]] + [len("formula")])
    console.print(f"rank  {'formula':{width}}  {'  '.join(f'{head:>7}' for head in confidence)}     ppm  SMILES")
    for row in rows:
        if row["rank"] in (None, 1):
            known = (row["query"], row["name"], f"m/z {row['precursor_mz']:.4f}", row["adduct"])
            console.print("\n" + ", ".join(filter(None, known)), style="bold")
        if row["rank"] is None:
            console.print("  no valid structure")
            continue
        numbers = [f"{row[name]:{'7.1%' if fitted else '7.2f'}}" for name in confidence.values()]
        error = "" if row["mass_error_ppm"] is None else f"{row['mass_error_ppm']:.1f}"
        console.print(f"{row['rank']:4}  {row['formula']:{width}}  {'  '.join(numbers)}  {error:>6}  {row['smiles']}")
    if fitted:
        print("\nright, similar: probabilities that it is the molecule, or has a Tanimoto similarity of 0.6 to it")


def report_skipped(reader: InputReader):
    """What was not answered and why, on standard error."""
    for message in reader.unusable:
        print(message, file=sys.stderr)
    for part in reader.readers:
        if not part.skipped or not part.count:
            continue
        total = part.count + len(part.skipped)
        print(f"{part.path}: {len(part.skipped)} of {total} spectra skipped", file=sys.stderr)
        for skipped in part.skipped[:20]:
            print(f"  {skipped.index} ({skipped.identifier}): {skipped.reason}", file=sys.stderr)
        if len(part.skipped) > 20:
            print(f"  and {len(part.skipped) - 20} more", file=sys.stderr)
