"""`spec2mol evaluate-tasks --model DIR --tasks FILE`: figures of a model's written answers, beside those of the same
answers given to other rows."""

import json
from dataclasses import asdict
from pathlib import Path

import torch
from rich.console import Console

from ..data.tasks import load_tasks
from ..evaluation.report import Table, to_rich, write_tables
from ..evaluation.tasks import MODEL, SPELLINGS, evaluate_task, summarise_task
from ..loading import load_model
from ..training.record import load_seen


def add_arguments(parser):
    parser.add_argument("--model", required=True, help="folder or Hub name")
    parser.add_argument("--tasks", type=Path, required=True, help="YAML file of tasks, see tasks/")
    parser.add_argument("--task", nargs="+", metavar="NAME", help="only these (default: all that have the fold)")
    parser.add_argument("--fold", choices=("validation", "test", "train"), default="validation")
    parser.add_argument("--limit", type=int, metavar="N", help="only the first N rows of each task (default: all)")
    parser.add_argument("--spelling", choices=SPELLINGS, default="given", help="how SMILES are written in questions")
    parser.add_argument("--num-beams", type=int, default=1, metavar="N")
    parser.add_argument("--max-new-tokens", type=int, default=256, metavar="N")
    parser.add_argument("--batch-size", type=int, default=16, metavar="N")
    parser.add_argument("--output", type=Path, metavar="DIR", help="folder for metrics.json and the answers")
    parser.add_argument("--docs", type=Path, metavar="FILE", help="Markdown file to write the tables into, by section")


def run(args) -> int:
    tasks = load_tasks(args.tasks)
    if unknown := set(args.task or ()) - set(tasks):
        raise ValueError(f"{args.tasks}: no task {', '.join(sorted(unknown))}; there are {', '.join(tasks)}")
    model, processor = load_model(args.model)
    model.to("cuda" if torch.cuda.is_available() else "cpu")
    generation = {"num_beams": args.num_beams, "max_new_tokens": args.max_new_tokens, "do_sample": False}
    record = load_seen(args.model) if args.fold != "train" else None
    tables, figures = [], {}
    for name in args.task or [name for name, task in tasks.items() if getattr(task, args.fold) is not None]:
        systems = evaluate_task(
            model, processor, tasks, name, args.fold, args.limit, args.spelling, args.batch_size, **generation
        )
        molecules = systems[MODEL]["molecule"].tolist()
        summary = summarise_task(systems, None if record is None else record.saw(molecules))
        columns = list(next(iter(summary.values())))
        rows = [[system, *(of_system.get(c, "") for c in columns)] for system, of_system in summary.items()]
        tables.append(Table(f"{name}, {len(molecules)} rows", ["", *columns], rows))
        figures[name] = {s: {c: i._asdict() for c, i in of_s.items()} for s, of_s in summary.items()}
        if args.output:
            args.output.mkdir(parents=True, exist_ok=True)
            for system, lines in systems.items():
                lines.assign(system=system).to_json(
                    args.output / f"{name}_{system.split()[0]}.jsonl", orient="records", lines=True
                )
    title = f"{Path(args.model).name}, {args.tasks.stem}, {args.fold}"
    title += "" if args.spelling == "given" else f", SMILES {args.spelling}"
    console = Console(width=160)
    console.rule(title)
    for table in tables:
        console.print(to_rich(table))
    if args.output:
        about = {
            "model": args.model,
            "tasks": {name: asdict(task) for name, task in tasks.items()},
            "figures": figures,
        }
        (args.output / "metrics.json").write_text(json.dumps(about, indent=2) + "\n")
    if args.docs:
        write_tables(args.docs, title, [], command(args), tables)
    return 0


def command(args) -> list:
    """The words that give the figures again."""
    words = ["spec2mol", "evaluate-tasks", "--model", args.model, "--tasks", args.tasks]
    words += ["--task", *args.task] if args.task else []
    for option, default in (("fold", "validation"), ("limit", None), ("spelling", "given"), ("num_beams", 1)):
        if (value := getattr(args, option)) != default:
            words += [f"--{option.replace('_', '-')}", value]
    words += ["--max-new-tokens", args.max_new_tokens]
    return words
