"""Figures as tables: on the screen, and as sections of docs/results.md."""

import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from rich import box
from rich.table import Table as RichTable

from .ablation import Step
from .calibration import Forecasts, calibration_summary, reliability
from .evaluator import summarise
from .intervals import Interval, paired_difference
from .retrieval import HITS

STRUCTURES = {
    "exact_match@1": "exact, Top-1",
    "exact_match@10": "exact, Top-10",
    "tanimoto@1": "Tanimoto, Top-1",
    "tanimoto@10": "Tanimoto, best of ten",
    "mces@1": "MCES, Top-1",
    "mces@10": "MCES, best of ten",
}
PLAUSIBILITY = {
    "valid@1": "valid, Top-1",
    "valid@10": "valid, share of ten",
    "formula_match@1": "formula right, Top-1",
    "formula_match@10": "formula right, share of ten",
    "mass_match@1": "mass within 10 ppm, Top-1",
    "loss": "loss, nats a symbol",
}
ABLATION = ("exact_match@1", "exact_match@10", "tanimoto@1", "tanimoto@10", "formula_match@1")
RETRIEVAL = {
    "formula": "likely formula",
    "structure": "likelihood of the fingerprint",
    "fragments": "explanation by fragments",
    "itc": "contrast (ITC)",
    "itm": "contrast and matching (ITC + ITM)",
    "total": "all of these, as `spec2mol rank`",
    "without_spectrum": "most like a training molecule, without the spectrum",
    "chance": "random order",
}
HEADER = """# Results

Each section is written by the command it names and replaced when that is run again. Figures are means over molecules
(the spectra of one molecule averaged first) with 95% bootstrap intervals; see [evaluation.md](evaluation.md).
"""


class Table(NamedTuple):
    """Cells are texts or `Interval`s; the first column names the row."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence]


def figure_tables(summary: Mapping[str, Mapping[str, Interval]]) -> list[Table]:
    """Two tables with a line for each system, from `summaries`."""
    tables = []
    for title, labels in (("Structures", STRUCTURES), ("Plausibility", PLAUSIBILITY)):
        shown = [figure for figure in labels if any(figure in figures for figures in summary.values())]
        rows = [[name, *(figures.get(figure, "") for figure in shown)] for name, figures in summary.items()]
        tables.append(Table(title, ["", *(labels[figure] for figure in shown)], rows))
    return tables


def retrieval_table(ranked: Mapping[str, Interval]) -> Table:
    """A line for each way of ranking that there are figures for."""
    rows = [
        [label, *(ranked[f"{name}@{k}"] for k in HITS)] for name, label in RETRIEVAL.items() if f"{name}@1" in ranked
    ]
    return Table("Retrieval, the truth among the first k candidates", ["", *(f"hit@{k}" for k in HITS)], rows)


def ablation_tables(steps: Mapping[str, Step]) -> list[Table]:
    """A line for each step of `ablate`; and what it gains over the one it is compared with, over the same spectra."""
    labels = STRUCTURES | PLAUSIBILITY
    figures, gains = [], []
    for name, (frame, against, seconds) in steps.items():
        summary = summarise(frame)
        time = "" if seconds is None else f"{seconds:.2f}"
        figures.append([name, *(summary[figure] for figure in ABLATION), time])
        if against:
            before = steps[against].frame
            gained = [paired_difference(frame[figure], before[figure], frame["inchikey"]) for figure in ABLATION]
            gains.append([name, against, *gained])
    title = f"Steps to the answers, {len(frame)} spectra of {frame['inchikey'].nunique()} molecules"
    columns = [labels[figure] for figure in ABLATION]
    return [
        Table(title, ["", *columns, "s a spectrum"], figures),
        Table("What each step gains", ["", "over", *columns], gains),
    ]


def calibration_tables(given: Mapping[str, Forecasts]) -> list[Table]:
    """What is said of the probabilities of `forecasts`, and how reliable those of first answers are."""
    lines = {name: calibration_summary(of_event) for name, of_event in given.items()}
    rows = [[name, str(len(given[name].outcomes)), *line.values()] for name, line in lines.items()]
    columns = ["", "answers", "mean probability", "came true", "expected calibration error"]
    tables = [Table("Probabilities", columns, rows)] if rows else []
    for name, of_event in given.items():
        rows = [
            [f"{b.low:.1f} to {b.high:.1f}", str(b.count), f"{b.predicted:.3f}", b.observed]
            for b in reliability(of_event)
        ]
        if name.startswith("first"):
            columns = ["probability", "answers", "mean probability", "came true"]
            tables.append(Table(f"Reliability, {name}", columns, rows))
    return tables


def to_rich(table: Table) -> RichTable:
    """For the screen, an interval below its mean."""
    shown = RichTable(*table.columns, title=table.title, title_justify="left", box=box.SIMPLE, padding=(0, 1))
    for row in table.rows:
        shown.add_row(*(str(cell).replace(" [", "\n[") for cell in row))
    return shown


def to_markdown(table: Table) -> str:
    lines = [table.columns, ["---"] * len(table.columns), *table.rows]
    body = "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)
    return f"{table.title}:\n\n{body}\n"


def write_tables(
    path: str | Path,
    title: str,
    notes: Sequence[str],
    command: Sequence,
    tables: Sequence[Table],
    pictures: Mapping[str, str] | None = None,
):
    """Puts figures into a Markdown file as a section: notes, the words of the command that gives them, tables, and
    pictures, by what they show, that lie beside the file."""
    parts = ["\n".join(notes), f"```\n{shlex.join(map(str, command))}\n```", *map(to_markdown, tables)]
    parts += [f"![{shows}]({name})" for shows, name in (pictures or {}).items()]
    write_section(path, title, "\n\n".join(parts))


def write_section(path: str | Path, title: str, content: str):
    """Puts a section of level 2 into a Markdown file, in the place of the one of the same title if there is one."""
    path = Path(path)
    text = path.read_text(encoding="utf-8") if path.exists() else HEADER
    section = f"## {title}\n\n{content.strip()}\n"
    found = re.search(rf"^## {re.escape(title)}\n.*?(?=^## |\Z)", text, flags=re.MULTILINE | re.DOTALL)
    if found is None:
        text = text.rstrip() + "\n\n" + section
    else:
        text = text[: found.start()] + section + ("\n" if text[found.end() :] else "") + text[found.end() :]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
