"""`spec2mol build-store STRUCTURES OUT_DIR`: molecules prepared for `spec2mol rank`."""

import sys
from pathlib import Path

from ..loading import load_model
from ..retrieval import MoleculeStore, build_molecule_store
from .structures import add_structures_argument, read_structures


def add_arguments(parser):
    add_structures_argument(parser)
    parser.add_argument("output", type=Path, metavar="OUT_DIR", help="folder to write")
    parser.add_argument(
        "--model", help="folder or Hub name of a model with a text branch: store its features of the molecules too"
    )
    parser.add_argument("--workers", type=int, help="processes (default: all processors)")


def run(args) -> int:
    model, processor = load_model(args.model) if args.model else (None, None)
    structures = read_structures(args.structures)
    skipped = build_molecule_store(structures, args.output, model, processor, args.workers)
    print(f"{args.output}: {len(MoleculeStore(args.output)):,} molecules")
    report_left_out(skipped, len(structures))
    return 0


def report_left_out(skipped, total: int):
    for reason, count in skipped.most_common():
        print(f"{count:,} of {total:,} structures left out: {reason}", file=sys.stderr)
