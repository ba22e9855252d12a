"""`spec2mol evaluate --model DIR --data val.parquet`: does the model read its spectra? With and without peaks."""

from pathlib import Path

import pandas as pd
from rich.console import Console
from rich.table import Table

from ..data.examples import load_examples
from ..evaluation.evaluator import TRACKS, evaluate, for_track
from ..evaluation.metrics import bootstrap_over_molecules, paired_difference
from ..loading import DEFAULT_MODEL, load_model

METRICS = {"loss": "loss, nats a symbol", "tanimoto": "Top-1 Tanimoto", "exact_match": "Top-1 exact match"}


def add_arguments(parser):
    parser.add_argument("--model", default=DEFAULT_MODEL, help="folder or Hub name (default: the shipped checkpoint)")
    parser.add_argument("--data", required=True, help="parquet file of labelled spectra")
    parser.add_argument("--limit", type=int, help="take only so many spectra")
    parser.add_argument("--output", type=Path, help="parquet file for the single queries")


def run(args) -> int:
    model, processor = load_model(args.model)
    rows = load_examples(args.data, processor, args.limit).to_list()
    results = []
    for track in TRACKS:
        for peaks in (True, False):
            name = "with peaks" if peaks else "peaks removed"
            result = evaluate(model, processor, for_track(rows, track, peaks), desc=f"{track}, {name}")
            results.append(result.assign(track=track, peaks=peaks))
    results = pd.concat(results, ignore_index=True)
    if args.output is not None:
        results.to_parquet(args.output)

    print_report(results)
    return 0


def print_report(results: pd.DataFrame):
    """Figures of each track, beside those of the control and the difference over the same spectra."""
    table = Table("track", "figure", "with peaks", "peaks removed", "difference")
    for track in TRACKS:
        of_track = results[results["track"] == track]
        with_peaks, removed = of_track[of_track["peaks"]], of_track[~of_track["peaks"]]
        molecules = with_peaks["inchikey"].to_numpy()
        for metric, label in METRICS.items():
            a, b = with_peaks[metric].to_numpy(), removed[metric].to_numpy()
            means = [str(bootstrap_over_molecules(values, molecules)) for values in (a, b)]
            table.add_row(track, label, *means, str(paired_difference(a, b, molecules)))
    console = Console(width=120)
    console.print(table)
    console.print(
        f"{len(with_peaks)} spectra of {len(set(molecules))} molecules; means over molecules with 95% bootstrap "
        "intervals; greedy decoding; peaks removed keeps all metadata"
    )
