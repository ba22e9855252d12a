"""`spec2mol rank FILE … --candidates STORE`: known molecules of each spectrum's mass, the likeliest first."""

import sys
from contextlib import contextmanager, nullcontext
from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow as pa
from tqdm import tqdm

from ..loading import load_model
from ..retrieval import MoleculeStore, build_molecule_store, rank_molecules
from ..spectra import load_inputs
from .build_store import report_left_out
from .output import TableWriter, print_rows
from .predict import add_query_arguments, report_skipped
from .structures import read_structures

SCHEMA = pa.schema(
    {
        "query": pa.string(),
        "rank": pa.int32(),
        "smiles": pa.string(),
        "inchikey": pa.string(),
        "formula": pa.string(),
        "score": pa.float32(),
        "formula_score": pa.float32(),
        "structure_score": pa.float32(),
        "fragments_score": pa.float32(),
        "match_score": pa.float32(),
        "error_ppm": pa.float32(),
        "precursor_mz": pa.float64(),
        "adduct": pa.string(),
        "feature_id": pa.string(),
        "file": pa.string(),
    }
)
SHOWN = ("query", "rank", "smiles", "formula", "score", "error_ppm")


def add_arguments(parser):
    add_query_arguments(parser)
    parser.add_argument(
        "--candidates",
        type=Path,
        required=True,
        metavar="STORE",
        help="folder that `spec2mol build-store` wrote, or a file of structures as it takes them",
    )
    parser.add_argument("--ppm", type=float, default=10.0, help="largest mass error (default: 10)")
    parser.add_argument("--output", type=Path, help="table, .tsv, .jsonl or .parquet (default: the screen)")


def run(args) -> int:
    if args.top_k < 1 or not args.ppm > 0:
        raise ValueError("--top-k must be at least 1, --ppm more than 0")
    writer = TableWriter(args.output, SCHEMA) if args.output else None
    reader = load_inputs(args.files)
    model, processor = load_model(args.model)
    if model.model.encoder is None:
        raise ValueError(f"{args.model}: a language model alone, without a spectrum encoder")
    table, problems = [], []
    with writer or nullcontext(), open_candidates(args.candidates) as store:
        store.check(model)
        for spectrum in tqdm(reader, unit=" spectra", file=sys.stderr, disable=None):
            try:
                ranked = rank_molecules(model, processor, spectrum, store, args.ppm, args.top_k)
                problem = "no candidate has its mass" + (" and formula" if spectrum["formula"] else "")
            except ValueError as error:
                ranked, problem = [], str(error)
            if not ranked:
                problems.append(f"{spectrum['identifier']}: {problem}")
            rows = to_rows(spectrum, ranked)
            if writer is None:
                table += rows
            else:
                writer.write(rows)
    if writer is None:
        print_rows(table, SHOWN)
    for problem in problems:
        print(problem, file=sys.stderr)
    report_skipped(reader)
    return 0


def to_rows(spectrum, ranked) -> list[dict]:
    """Rows of `SCHEMA`, best first. A query without any candidate has one row without structure."""
    query = {name: spectrum[name] for name in ("precursor_mz", "adduct", "feature_id", "file")}
    query["query"] = spectrum["identifier"]
    rows = [query | molecule._asdict() | {"rank": rank} for rank, molecule in enumerate(ranked, start=1)]
    return rows or [dict.fromkeys(SCHEMA.names) | query]


@contextmanager
def open_candidates(path: Path):
    """A store, made for the while if the path is a file of structures."""
    if path.is_dir():
        yield MoleculeStore(path)
        return
    structures = read_structures(path)
    with TemporaryDirectory() as folder:
        report_left_out(build_molecule_store(structures, folder), len(structures))
        yield MoleculeStore(folder)
