"""Tasks as data: where rows come from, how they are asked and answered, how an answer is scored. A file of tasks is
YAML, name: fields of `Task`; `tasks/` holds those of published systems."""

import string
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml
from datasets import Dataset, Features, Value, concatenate_datasets
from datasets import Sequence as ListOf

from ..characters_spec2mol import MODALITIES, to_characters
from ..chemistry_spec2mol import inchikey_block, to_selfies
from .examples import (
    CONFORMER_COLUMNS,
    SPECTRUM_COLUMNS,
    joined,
    listed,
    molecule_identity,
    only_rows,
    processes,
    read_rows,
)

SPECTRUM_FEATURES = {name: Value("string") for name in SPECTRUM_COLUMNS} | {
    "mzs": ListOf(Value("float64")),
    "intensities": ListOf(Value("float64")),
    "precursor_mz": Value("float64"),
    "collision_energy": Value("float64"),
}
FEATURES = Features(
    {
        "task": Value("string"),
        "messages": [{"role": Value("string"), "content": Value("string")}],
        "smiles": Value("string"),
        "identity": Value("int64"),
        "num_tokens": Value("int64"),
        "num_peaks": Value("int64"),
        "atoms": ListOf(Value("string")),
        "coordinates": ListOf(ListOf(Value("float64"))),
        **SPECTRUM_FEATURES,
    }
)


@dataclass
class Task:
    """
    train, validation, test: parquet or jsonl files, globs or lists of them, with any columns. `smiles` is the molecule
        that a row is about, `mzs` and the other columns of a spectrum are what a model with an encoder reads.
    metric: name in `evaluation.text_metrics.METRICS`.
    messages: a conversation, each message with role and content, in which columns of a row take the place of their
        names, and so do {soft_tokens}, {molecule}, SELFIES of `smiles`, and {molecule_characters},
        {protein_characters}, {nucleotide_characters}, of the columns `smiles`, `protein` and `nucleotide` as
        `characters_spec2mol` writes them. The last message is the target. None: each row has its own conversation, in
        a column `messages`, which may hold {soft_tokens}.
    only: values by column; other rows are no part of the task.
    reads: column of the molecule that a row is about and that an encoder of molecules reads, in place of `smiles`; in
        that of a reaction, dots join several.
    round_trip: name of the task that answers back, from {source}; its answer to an answer of this task should be the
        row's `source`.
    """

    metric: str
    train: str | list[str] | None = None
    validation: str | list[str] | None = None
    test: str | list[str] | None = None
    messages: list[dict[str, str]] | None = None
    only: dict[str, list] | None = None
    reads: str = "smiles"
    round_trip: str | None = None

    def conversation(self, row: Mapping, processor) -> list[dict[str, str]]:
        """Raises ValueError for a {molecule} that SELFIES cannot write, or a character that a sequence cannot have."""
        if self.messages is None:
            return [
                {"role": m["role"], "content": m["content"].replace("{soft_tokens}", processor.soft_tokens)}
                for m in row["messages"]
            ]
        values = dict(row, soft_tokens=processor.soft_tokens) if "soft_tokens" in self.columns else dict(row)
        if "molecule" in self.columns:
            values["molecule"] = to_selfies(row["smiles"], dialect=processor.dialect)
            if values["molecule"] is None:
                raise ValueError(f"no SELFIES for {row['smiles']!r}")
        for modality in MODALITIES:
            if f"{modality}_characters" in self.columns:
                sequence = row["smiles" if modality == "molecule" else modality]
                values[f"{modality}_characters"] = to_characters(sequence, modality)
        return [{"role": m["role"], "content": m["content"].format(**values)} for m in self.messages]

    @property
    def columns(self) -> set[str]:
        """Names in the messages."""
        parsed = (string.Formatter().parse(message["content"]) for message in self.messages or ())
        return {name for pieces in parsed for _, name, _, _ in pieces if name is not None}


def read_tasks(content: Mapping[str, Mapping]) -> dict[str, Task]:
    """Raises ValueError: unknown fields, a round trip by a task that is not there."""
    tasks = {}
    for name, fields in content.items():
        if unknown := set(fields) - set(Task.__dataclass_fields__):
            raise ValueError(f"task {name}: unknown fields {', '.join(sorted(unknown))}")
        tasks[name] = Task(**fields)
    for name, task in tasks.items():
        if task.round_trip is not None and task.round_trip not in tasks:
            raise ValueError(f"task {name}: round_trip by {task.round_trip}, which is not among the tasks")
    return tasks


def load_tasks(path: str | Path) -> dict[str, Task]:
    return read_tasks(yaml.safe_load(Path(path).read_text(encoding="utf-8")))


def task_rows(task: Task, fold: str, limit: int | None = None) -> Dataset:
    """The first rows of a fold, "train", "validation" or "test", as they are in its files.

    Raises:
        ValueError: the task has no such fold.
    """
    if getattr(task, fold) is None:
        raise ValueError(f"a task has no {fold} rows")
    rows = joined([read_rows(path) for path in listed(getattr(task, fold))])
    rows = only_rows(rows, task.only or {})
    if limit is not None:
        rows = rows.select(range(min(limit, len(rows))))
    if task.reads == "smiles":
        return rows
    return rows.map(lambda molecule: {"smiles": molecule}, input_columns=task.reads)


def load_task_examples(
    tasks: Mapping[str, Task], fold: str, processor, limit: int | None = None, max_tokens: int | None = None
) -> Dataset:
    """Rows of all tasks: task, messages, smiles and identity of the molecule (None where the row names none), the
    columns of a spectrum or a conformer (None without one), num_tokens and num_peaks, by which batches are made.

    limit: so many of the first rows of each task. max_tokens: leave out longer ones; their number is printed.
    """
    parts = []
    for name, task in tasks.items():
        rows = task_rows(task, fold, limit)
        examples = rows.map(
            _example,
            fn_kwargs={"name": name, "task": task, "processor": processor},
            remove_columns=rows.column_names,
            features=FEATURES,
            num_proc=processes(rows),
            desc=f"Reading {name}",
        )
        longest = max_tokens or float("inf")
        kept = examples.filter(lambda tokens, longest=longest: 0 < tokens <= longest, input_columns="num_tokens")
        if dropped := len(examples) - len(kept):
            print(f"{name}: {dropped} of {len(examples)} rows dropped, they cannot be written or are too long")
        parts.append(kept)
    return concatenate_datasets(parts)


def _example(row, name, task, processor):
    example = dict.fromkeys(FEATURES) | {name: row.get(name) for name in (*SPECTRUM_COLUMNS, *CONFORMER_COLUMNS)}
    example |= {"task": name, "smiles": row.get("smiles"), "num_tokens": 0, "num_peaks": 0, "messages": []}
    try:
        example["messages"] = task.conversation(row, processor)
    except ValueError:
        return example
    text = processor.conversation_text([example["messages"]])
    example["num_tokens"] = text["input_ids"].shape[1]
    if processor.is_encoder_decoder:
        example["num_tokens"] += text["labels"].shape[1]
    if row.get("mzs") is not None:
        example["num_peaks"] = min(len(row["mzs"]), processor.feature_extractor.num_peaks)
    if row.get("smiles") and (key := inchikey_block(row["smiles"])):
        example["identity"] = molecule_identity(key)
    return example


def training_files(tasks: Mapping[str, Task]) -> list[str]:
    return [path for task in tasks.values() for path in listed(task.train)]
