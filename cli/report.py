"""`spec2mol report FILE … --output report.html`: ranked structures and explained spectra on one page."""

from pathlib import Path

from ..report import Report
from ..spectra import load_inputs
from .predict import add_query_arguments, answer, report_skipped


def add_arguments(parser):
    add_query_arguments(parser)
    parser.add_argument(
        "--output", type=Path, required=True, help="HTML file to write; no network is needed to read it"
    )
    parser.add_argument("--library", type=Path, help="annotated spectra; the page shows the most similar one")
    parser.add_argument("--ppm", type=float, default=10.0, help="largest error of precursor and peaks (default: 10)")


def run(args) -> int:
    if not args.ppm > 0:
        raise ValueError("--ppm must be more than 0")
    report = Report(args.output, args.model, args.library, args.ppm)
    reader = load_inputs(args.files)
    for spectrum, candidates in answer(args, reader):
        report.add(spectrum, candidates)
    report.write(reader)
    report_skipped(reader)
    return 0
