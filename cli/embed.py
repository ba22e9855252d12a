"""`spec2mol embed FILE … --output x.parquet`: one vector for each spectrum."""

import sys
from itertools import islice
from pathlib import Path

import pyarrow as pa
import torch
from tqdm import tqdm

from ..loading import DEFAULT_MODEL, load_encoder
from ..retrieval.spectra import embeddings_of
from ..spectra import load_inputs
from .output import TableWriter
from .predict import report_skipped

SCHEMA = pa.schema({"query": pa.string(), "embedding": pa.list_(pa.float32())})


def add_arguments(parser):
    parser.add_argument(
        "files",
        nargs="+",
        metavar="FILE",
        help="mgf, msp, mzML, MassBank text or json, also .gz; a folder; - is stdin",
    )
    parser.add_argument("--output", type=Path, required=True, help=", ".join(TableWriter.ENDINGS))
    parser.add_argument(
        "--model", default=DEFAULT_MODEL, help="spec2mol model or converted DreaMS (default: the shipped checkpoint)"
    )
    parser.add_argument("--batch-size", type=int, default=32, help="spectra at a time (default: 32)")


@torch.no_grad()
def run(args) -> int:
    writer = TableWriter(args.output, SCHEMA)
    reader = load_inputs(args.files)
    embed, feature_extractor = load_encoder(args.model)
    with writer, tqdm(unit=" spectra", file=sys.stderr, disable=None) as progress:
        while batch := list(islice(reader, args.batch_size)):
            vectors = embeddings_of(embed, feature_extractor, batch).numpy()
            pairs = zip(batch, vectors, strict=True)
            writer.write(
                [{"query": spectrum["identifier"], "embedding": vector.tolist()} for spectrum, vector in pairs]
            )
            progress.update(len(batch))
    report_skipped(reader)
    return 0
