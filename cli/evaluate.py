"""`spec2mol evaluate --model DIR --data val.parquet`: figures of a model on labelled spectra, beside the controls that
show what they are worth."""

import json
import os
import sys
from importlib.util import find_spec
from pathlib import Path

import pandas as pd
import torch
from rich.console import Console

from ..evaluation.ablation import ablate
from ..evaluation.calibration import calibration_summary, forecasts
from ..evaluation.evaluator import MODEL, TRACKS, add_mces, compare, for_track, load_queries, summaries, summarise
from ..evaluation.fitting import honest_weights, load_folds
from ..evaluation.leakage import check_disjoint, check_unseen
from ..evaluation.report import (
    ablation_tables,
    calibration_tables,
    figure_tables,
    retrieval_table,
    to_rich,
    write_tables,
)
from ..evaluation.retrieval import load_candidates, retrieve, without_spectrum
from ..loading import DEFAULT_MODEL, load_model
from ..training.record import file_sha256

TOLD = {
    "mass": "The model is told peaks, precursor m/z, adduct, ion mode, collision energy and instrument type; not the "
    "formula.",
    "formula": "The model is told the molecular formula, beside peaks, precursor m/z, adduct, ion mode, collision "
    "energy and instrument type.",
}


def add_arguments(parser):
    parser.add_argument("--model", default=DEFAULT_MODEL, help="folder or Hub name (default: the shipped checkpoint)")
    parser.add_argument("--data", type=Path, required=True, help="parquet file of labelled spectra")
    parser.add_argument(
        "--track", choices=TRACKS, help="is the formula given, or only the mass? (default: both in turn)"
    )
    parser.add_argument(
        "--output", type=Path, metavar="DIR", help="folder for metrics.json, queries.parquet and plots"
    )
    parser.add_argument("--train", type=Path, help="parquet file of training spectra, for the controls that need them")
    parser.add_argument("--candidates", type=Path, help="candidates_*.json.gz of the data, for retrieval")
    parser.add_argument(
        "--limit-per-molecule", type=int, metavar="N", help="at most N random spectra of each molecule (default: all)"
    )
    parser.add_argument(
        "--mces",
        type=int,
        nargs="?",
        const=os.cpu_count(),
        metavar="PROCESSES",
        help="also MCES, slow, of one spectrum of each molecule, in so many processes (default: one a core)",
    )
    parser.add_argument(
        "--ablation",
        type=int,
        nargs="?",
        const=sys.maxsize,
        metavar="MOLECULES",
        help="also the figures of each step from likelihood to ranked answers, of so many random molecules "
        "(default: all), which takes about seven times as long",
    )
    parser.add_argument("--docs", type=Path, metavar="FILE", help="Markdown file to write the tables into, by section")


def run(args) -> int:
    for option in ("limit_per_molecule", "ablation"):
        if (number := getattr(args, option)) is not None and number < 1:
            raise ValueError(f"--{option.replace('_', '-')} must be at least 1")
    rows = load_queries(args.data, args.limit_per_molecule)
    unseen = check_unseen(args.model, rows)
    library = load_queries(args.train) if args.train else []
    check_disjoint(rows, library)
    model, processor = load_model(args.model)
    if model.model.encoder is None:
        raise ValueError(f"{args.model}: a language model alone, without a spectrum encoder")
    model.to("cuda" if torch.cuda.is_available() else "cpu")

    weights, fitted = honest_weights(model.config.ranking, load_folds(args.model), rows)
    about = {"model": args.model, "data": args.data.name, "sha256": file_sha256(args.data), "spectra": len(rows)}
    about |= {"limit_per_molecule": args.limit_per_molecule, "training_record": unseen, "ranking": fitted}
    lines = []
    for track in [args.track] if args.track else TRACKS:
        systems, drawn = compare(model, processor, rows, library, track, weights)
        if args.mces:
            for name, frame in systems.items():
                add_mces(frame, args.mces, desc=f"MCES, {name}")
        summary = summaries(systems)
        took = f"Answers to a spectrum took {drawn.seconds:.2f} s on average ({hardware(model)})."
        tables, notes = figure_tables(summary), [describe(rows, args), TOLD[track], unseen, fitted, took]
        if args.candidates:
            candidates = load_candidates(args.candidates, rows, same_formula=track == "formula")
            hits = [retrieve(model, processor, for_track(rows, track), candidates)]
            hits += [without_spectrum(rows, candidates, [row["smiles"] for row in library])] if library else []
            summary["retrieval"] = {name: value for frame in hits for name, value in summarise(frame).items()}
            tables.append(retrieval_table(summary["retrieval"]))
        given = forecasts(systems[MODEL])
        tables += calibration_tables(given)
        of_track = {"figures": summary, "calibration": {name: calibration_summary(given[name]) for name in given}}
        if args.ablation:
            steps = ablate(model, processor, rows, track, drawn, weights, args.ablation)
            tables += ablation_tables(steps)
            of_track["ablation"] = {name: summarise(step.frame) for name, step in steps.items()}
        show(f"{Path(args.model).name}, {args.data.stem}, track {track}", notes, tables, given, args, track)
        lines += [frame.assign(track=track, system=name) for name, frame in systems.items()]
        for part, of_part in of_track.items():
            as_json = {name: {f: i._asdict() for f, i in of_name.items()} for name, of_name in of_part.items()}
            about.setdefault(part, {})[track] = as_json
        about.setdefault("seconds_per_spectrum", {})[track] = drawn.seconds
        if args.output:  # After each track, so that what is done is kept.
            args.output.mkdir(parents=True, exist_ok=True)
            (args.output / "metrics.json").write_text(json.dumps(about, indent=2) + "\n")
            pd.concat(lines, ignore_index=True).to_parquet(args.output / "queries.parquet")
            plot(args.output, track, systems, given)
    return 0


def hardware(model) -> str:
    if model.device.type == "cuda":
        return torch.cuda.get_device_name()
    threads = torch.get_num_threads()
    return f"CPU, {threads} thread{'s' * (threads > 1)}"


def describe(rows, args) -> str:
    molecules = len({row["inchikey"] for row in rows})
    limited = f", at most {args.limit_per_molecule} of each" if args.limit_per_molecule else ""
    return f"{len(rows)} spectra of {molecules} molecules{limited} ({args.data.name}); means over molecules."


def show(title, notes, tables, given, args, track):
    """On the screen and, if asked, in the Markdown file, with the reliability plot beside it."""
    console = Console(width=120)
    console.rule(title)
    for table in tables:
        console.print(to_rich(table))
    console.print("\n".join(notes), highlight=False)
    if args.docs:
        pictures = {}
        if given and can_plot():
            path = args.docs.with_name(f"reliability_{Path(args.model).name}_{args.data.stem}_{track}.png")
            path.parent.mkdir(parents=True, exist_ok=True)
            plot_reliability_of_first(path, given)
            pictures["Share of first answers that came true, over the probability given"] = path.name
        write_tables(args.docs, title, notes, command(args, track), tables, pictures)


def command(args, track) -> list:
    """The words that give the figures of a track again."""
    words = ["spec2mol", "evaluate"] + (["--model", args.model] if args.model != DEFAULT_MODEL else [])
    words += ["--data", args.data, "--track", track]
    for option in ("train", "candidates", "limit_per_molecule", "mces", "ablation"):
        if (value := getattr(args, option)) is not None:
            words += [f"--{option.replace('_', '-')}"] + ([] if value == sys.maxsize else [value])
    return words


def plot(folder, track, systems, given):
    if not can_plot():
        return
    from ..evaluation.plots import plot_tanimoto

    plot_tanimoto(folder / f"tanimoto_{track}.png", systems)
    if given:
        plot_reliability_of_first(folder / f"reliability_{track}.png", given)


def can_plot() -> bool:
    can = find_spec("matplotlib") is not None
    if not can:
        print('No plots: they need matplotlib (pip install "spec2mol[evaluation]")', file=sys.stderr)
    return can


def plot_reliability_of_first(path, given):
    from ..evaluation.plots import plot_reliability

    plot_reliability(path, {name: of_event for name, of_event in given.items() if name.startswith("first")})
