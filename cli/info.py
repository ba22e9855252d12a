"""`spec2mol info MODEL`: what a model is made of, what it was trained on, under which licence, how good it is."""

import torch
from huggingface_hub import ModelCard
from rich.console import Console
from rich.table import Column, Table
from transformers import AutoModelForCausalLM

from ..evaluation.report import to_rich
from ..hub.cards import (
    STAGE_COLUMNS,
    credit_lines,
    find_file,
    license_of,
    parts,
    read_metrics,
    stage_rows,
    tables_by_track,
    training_data,
)
from ..loading import DEFAULT_MODEL, load_config, read_adapter
from ..training.record import load_seen


def add_arguments(parser):
    parser.add_argument(
        "model",
        nargs="?",
        default=DEFAULT_MODEL,
        metavar="MODEL",
        help="folder, of a model or of LoRA weights, or Hub name (default: the shipped checkpoint)",
    )


def run(args) -> int:
    console = Console(highlight=False, soft_wrap=True)
    adapter = read_adapter(args.model)
    base = adapter["base_model_name_or_path"] if adapter else args.model
    console.print(f"[bold]{args.model}[/bold]")
    if adapter:
        console.print(f"LoRA weights of rank {adapter['r']} for {adapter['target_modules']} of {base}")
    print_parts(console, load_config(base), base)
    print_training(console, args.model)
    print_figures(console, args.model)
    return 0


def print_parts(console, config, name):
    if config.model_type != "spec2mol":
        raise ValueError(f"{name}: a {config.model_type} model, not a spec2mol one")
    with torch.device("meta"):  # Shapes without weights
        model = AutoModelForCausalLM.from_config(config)
    table = Table("part", "what", Column("parameters", justify="right"))
    for part, what, count in parts(model):
        table.add_row(part, what, f"{count:,}")
    table.add_section()
    table.add_row("all", "", f"{model.num_parameters():,}")
    console.print(table)


def print_training(console, name):
    record = load_seen(name)
    if record is None:
        console.print("Training: not recorded")
    else:
        for row in stage_rows(record):
            told = zip(STAGE_COLUMNS, row, strict=True)
            console.print("; ".join(f"{column}: {cell}" for column, cell in told if cell))
        console.print(f"Seen in training: {len(record.molecules):,} molecules")
        for name_of_part in record.unknown:
            console.print(f"Nothing is known of {name_of_part}, which went into it")
        for line in credit_lines(training_data(record)):
            console.print(f"  {line}")
    console.print(f"Licence of the weights: {licence(name, record)}")


def licence(name, record) -> str:
    """What the card says, else what follows from the training data."""
    if (readme := find_file(name, "README.md")) and (stated := ModelCard.load(readme).data.license):
        return stated
    try:
        return license_of(record, name)
    except ValueError:
        return "not known"


def print_figures(console, name):
    metrics = read_metrics(name)
    if metrics is None:
        console.print("Figures: none recorded; spec2mol evaluate --output makes them")
        return
    console.print(f"Figures on {metrics['spectra']:,} spectra of {metrics['data']}. {metrics['training_record']}")
    for title, tables in tables_by_track(metrics).items():
        console.rule(title)
        console.print(to_rich(tables[0]))  # answers; plausibility, retrieval and calibration are in the card
    console.print("All figures: README.md of the model")
