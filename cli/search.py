"""`spec2mol search FILE … --library LIB`: the spectra of a library that resemble each spectrum most."""

import sys
from contextlib import contextmanager, nullcontext
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow as pa
from tqdm import tqdm

from ..loading import load_encoder
from ..retrieval import SpectrumStore, build_spectrum_store
from ..retrieval.spectra import unit_embeddings
from ..retrieval.store import TABLE
from ..spectra import load_inputs
from .output import TableWriter, print_rows
from .predict import add_query_arguments, report_skipped

SCHEMA = pa.schema(
    {
        "query": pa.string(),
        "rank": pa.int32(),
        "identifier": pa.string(),
        "name": pa.string(),
        "smiles": pa.string(),
        "adduct": pa.string(),
        "similarity": pa.float32(),
        "mz_difference": pa.float64(),
        "feature_id": pa.string(),
        "file": pa.string(),
    }
)
SHOWN = ("query", "rank", "identifier", "name", "smiles", "similarity", "mz_difference")


def add_arguments(parser):
    add_query_arguments(parser)
    parser.add_argument(
        "--library",
        type=Path,
        required=True,
        metavar="LIB",
        help="folder that `spec2mol build-library` wrote, or a file of annotated spectra",
    )
    parser.add_argument("--output", type=Path, help="table, .tsv, .jsonl or .parquet (default: the screen)")


def run(args) -> int:
    if args.top_k < 1 or args.batch_size < 1:
        raise ValueError("--top-k and --batch-size must be at least 1")
    writer = TableWriter(args.output, SCHEMA) if args.output else None
    reader = load_inputs(args.files)
    embed, feature_extractor = load_encoder(args.model)
    table = []
    with writer or nullcontext(), open_library(args.library, embed, feature_extractor) as store:
        store.check(embed)
        with tqdm(unit=" spectra", file=sys.stderr, disable=None) as progress:
            while batch := list(islice(reader, args.batch_size)):
                hits = store.search(batch, unit_embeddings(embed, feature_extractor, batch), args.top_k)
                rows = [
                    row for spectrum, of_query in zip(batch, hits, strict=True) for row in to_rows(spectrum, of_query)
                ]
                if writer is None:
                    table += rows
                else:
                    writer.write(rows)
                progress.update(len(batch))
    if writer is None:
        print_rows(table, SHOWN)
    report_skipped(reader)
    return 0


def to_rows(spectrum, hits) -> list[dict]:
    """Rows of `SCHEMA`, the nearest first. A query without any has one row without."""
    query = {"query": spectrum["identifier"], "feature_id": spectrum["feature_id"], "file": spectrum["file"]}
    rows = [query | hit._asdict() | {"rank": rank} for rank, hit in enumerate(hits, start=1)]
    return rows or [dict.fromkeys(SCHEMA.names) | query]


@contextmanager
def open_library(path: Path, embed, feature_extractor):
    """A library, made for the while if the path is a file of spectra."""
    if (path / TABLE).is_file():
        yield SpectrumStore(path)
        return
    with TemporaryDirectory() as folder:
        library = load_inputs([path])
        build_spectrum_store(library, folder, embed, feature_extractor)
        report_skipped(library)
        yield SpectrumStore(folder)
