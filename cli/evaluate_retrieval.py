"""`spec2mol evaluate-retrieval --model DIR --tasks FILE --task NAME`: which text belongs to a molecule, and which
molecule to a text, by the text branch of a Q-Former."""

from pathlib import Path

import torch
from rich.console import Console

from ..chemistry_spec2mol import inchikey_block
from ..data.tasks import load_tasks, task_rows
from ..evaluation.report import to_rich, write_tables
from ..evaluation.text_retrieval import retrieval_tables, retrieve_texts
from ..loading import load_model


def add_arguments(parser):
    parser.add_argument("--model", required=True, help="folder or Hub name")
    parser.add_argument("--tasks", type=Path, required=True, help="YAML file of tasks, see tasks/")
    parser.add_argument("--task", required=True, metavar="NAME", help="whose answers are the texts")
    parser.add_argument("--limit", type=int, metavar="N", help="only the first N rows of validation (default: all)")
    parser.add_argument("--batch", type=int, default=64, metavar="N", help="rows to find one among (default: 64)")
    parser.add_argument(
        "--shortlist", type=int, default=32, metavar="N", help="so many of the best are ranked again (default: 32)"
    )
    parser.add_argument("--docs", type=Path, metavar="FILE", help="Markdown file to write the tables into, by section")


def run(args) -> int:
    tasks = load_tasks(args.tasks)
    if args.task not in tasks:
        raise ValueError(f"{args.tasks}: no task {args.task}; there are {', '.join(tasks)}")
    model, processor = load_model(args.model)
    model.to("cuda" if torch.cuda.is_available() else "cpu")
    task = tasks[args.task]
    rows = task_rows(task, "validation", args.limit).to_list()
    texts = [task.conversation(row, processor)[-1]["content"] for row in rows]
    lines = retrieve_texts(model, processor, rows, texts, args.batch, args.shortlist)
    tables = retrieval_tables(lines, [inchikey_block(row["smiles"]) for row in rows])
    title = f"{Path(args.model).name}, retrieval of {args.task}, validation"
    console = Console(width=160)
    console.rule(title)
    for table in tables:
        console.print(to_rich(table))
    if args.docs:
        words = ["spec2mol", "evaluate-retrieval", "--model", args.model, "--tasks", args.tasks, "--task", args.task]
        for option, default in (("limit", None), ("batch", 64), ("shortlist", 32)):
            if (value := getattr(args, option)) != default:
                words += [f"--{option}", value]
        write_tables(args.docs, title, [], words, tables)
    return 0
