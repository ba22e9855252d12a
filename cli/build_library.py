"""`spec2mol build-library SPECTRA … OUT_DIR`: annotated spectra prepared for `spec2mol search`."""

from pathlib import Path

from ..loading import DEFAULT_MODEL, load_encoder
from ..retrieval import build_spectrum_store
from ..spectra import load_inputs
from .predict import report_skipped


def add_arguments(parser):
    parser.add_argument(
        "files", nargs="+", metavar="SPECTRA", help="mgf, msp, mzML, MassBank text or json, also .gz; a folder"
    )
    parser.add_argument("output", type=Path, metavar="OUT_DIR", help="folder to write")
    parser.add_argument(
        "--model", default=DEFAULT_MODEL, help="spec2mol model or converted DreaMS (default: the shipped checkpoint)"
    )


def run(args) -> int:
    reader = load_inputs(args.files)
    count = build_spectrum_store(reader, args.output, *load_encoder(args.model))
    print(f"{args.output}: {count:,} spectra")
    report_skipped(reader)
    return 0
