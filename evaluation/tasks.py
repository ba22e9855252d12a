"""Answers of a model to tasks, and their figures beside controls that have not seen its input."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

import pandas as pd
import torch
from rdkit import Chem
from rdkit.rdBase import BlockLogs
from tqdm import tqdm

from ..characters_spec2mol import MODALITIES
from ..chemistry_spec2mol import canonical_smiles, from_selfies, inchikey_block
from ..data.tasks import Task, task_rows
from .intervals import Interval, paired_difference
from .text_metrics import METRICS, read_molecule, score_reactions, summarise_scores

MODEL, UNSEEN, WRONG_INPUT = "model", "model, unseen molecules", "its answers to other rows"
SHUFFLED = "reading another row's input"
DIFFERENCES = {WRONG_INPUT: "difference", SHUFFLED: "difference, shuffled input"}
SPELLINGS = ("given", "canonical", "random", "hydrogens")


def evaluate_task(
    model,
    processor,
    tasks: Mapping[str, Task],
    name: str,
    fold: str = "validation",
    limit: int | None = None,
    spelling: str = "given",
    batch_size: int = 16,
    **generation,
) -> dict[str, pd.DataFrame]:
    """One line for each row of a task, none left out: question, truth, answer, molecule (what the row is about) and
    the figures of its metric; with `round_trip`, also whether the answer leads back. For two systems: the model, and
    the model's answers each given to another row, so that what they owe to the input shows. For a third one, where an
    encoder reads and questions differ: the model's answers when the encoder reads what belongs to another row. (Where
    all rows are asked the same, these are its answers to other rows.)

    Args:
        limit: only so many of the first rows.
        spelling: how `smiles` is written, see `respell`.
        generation: of `generate`.
    """
    task, rows = tasks[name], task_rows(tasks[name], fold, limit).to_list()
    if task.metric not in METRICS:
        raise ValueError(f"task {name}: no metric {task.metric}; there are {', '.join(METRICS)}")
    truths, molecules = [_truth(task, row) for row in rows], [_molecule(row, i) for i, row in enumerate(rows)]
    rows = [row | {"smiles": respell(row["smiles"], spelling)} if row.get("smiles") else row for row in rows]
    conversations = [_conversation(task, row, processor) for row in rows]
    questions = ["\n".join(m["content"] for m in messages[:-1]) for messages in conversations]
    lines = pd.DataFrame({"question": questions, "truth": truths, "molecule": molecules})

    def answers_to(rows, desc):
        texts = answer(model, processor, conversations, rows, batch_size, desc=desc, **generation)
        if task.messages is not None and "{molecule}" in task.messages[-1]["content"]:
            return [from_selfies(text, processor.dialect) or "" for text in texts]
        return texts

    answers = answers_to(rows, name)
    others = _others(task, conversations)
    of_systems = {MODEL: answers, WRONG_INPUT: [answers[i] for i in others]}
    queries = [i for i, messages in enumerate(conversations) if processor.is_query(rows[i] | {"messages": messages})]
    if len({questions[i] for i in queries}) > 1:
        read = dict(enumerate(rows)) | {i: rows[j] for i, j in zip(queries, _swapped(queries), strict=True)}
        of_systems[SHUFFLED] = answers_to(list(read.values()), f"{name}, shuffled")
    asked = [(rows[i], conversations[i]) for i in others]
    losses = {MODEL: answer_losses(model, processor, conversations, rows, conversations, batch_size)}
    losses[WRONG_INPUT] = answer_losses(model, processor, conversations, *zip(*asked, strict=True), batch_size)
    systems = {}
    for system, given in of_systems.items():
        scores = METRICS[task.metric](given, truths)
        if system in losses:
            scores["loss"] = losses[system]
        systems[system] = pd.concat([lines.assign(answer=given), scores], axis=1)
    if task.round_trip is not None:
        back = tasks[task.round_trip]
        pairs = zip(rows, answers, strict=True)
        asked = [back.conversation(row | {"source": given, "target": ""}, processor) for row, given in pairs]
        returned = answer(model, processor, asked, rows, batch_size, desc=f"{name}, back", **generation)
        sources = [row["source"] for row in rows]
        systems[MODEL]["round trip"] = score_reactions(returned, sources)["exact"]
        systems[WRONG_INPUT]["round trip"] = score_reactions([returned[i] for i in others], sources)["exact"]
    return systems


def answer(
    model, processor, conversations: Sequence, rows: Sequence[Mapping], batch_size: int, desc: str = "", **generation
) -> list[str]:
    """What the model says in place of the last message of each conversation; nothing to an empty one. `rows` hold what
    it reads, if any. Works through them in order of length, which pads least."""
    order = sorted(range(len(rows)), key=lambda i: sum(len(m["content"]) for m in conversations[i][:-1]))
    answers, order = [""] * len(rows), [i for i in order if conversations[i]]
    for start in tqdm(range(0, len(order), batch_size), desc=desc, unit=" batches", disable=None):
        chosen = order[start : start + batch_size]
        inputs = processor.conversation_prompt([conversations[i] for i in chosen])
        inputs = {name: torch.from_numpy(array) for name, array in inputs.items()}
        asked = [rows[i] | {"messages": conversations[i]} for i in chosen]
        queries = [row for row in asked if processor.is_query(row)]
        if queries:
            inputs |= processor.feature_extractor(queries, return_tensors="pt")
        ids = model.generate(**{name: tensor.to(model.device) for name, tensor in inputs.items()}, **generation)
        written = ids if model.config.is_encoder_decoder else ids[:, inputs["input_ids"].shape[1] :]
        for i, text in zip(chosen, processor.decode_text(written), strict=True):
            answers[i] = text
    return answers


@torch.no_grad()
def answer_losses(
    model, processor, conversations: Sequence, rows: Sequence[Mapping], asked: Sequence, batch_size: int
) -> list[float]:
    """Mean negative log likelihood of the last message of each conversation, nats a token, as the answer to the
    questions of another one (`asked`) about what its row has to read; NaN for an empty one."""
    losses, chosen = [float("nan")] * len(rows), [i for i in range(len(rows)) if conversations[i] and asked[i]]
    for start in range(0, len(chosen), batch_size):
        batch = chosen[start : start + batch_size]
        told = [[*asked[i][:-1], conversations[i][-1]] for i in batch]
        inputs = {name: torch.from_numpy(array) for name, array in processor.conversation_text(told).items()}
        labels = inputs["labels"]
        queries = [rows[i] | {"messages": messages} for i, messages in zip(batch, told, strict=True)]
        if queries := [query for query in queries if processor.is_query(query)]:
            inputs |= processor.feature_extractor(queries, return_tensors="pt")
        logits = model(**{name: tensor.to(model.device) for name, tensor in inputs.items()}).logits.float().cpu()
        if not model.config.is_encoder_decoder:
            logits, labels = logits[:, :-1], labels[:, 1:]
            # Of the answers in a conversation the last: what follows the last token that is no answer.
            places = torch.arange(labels.shape[1]).expand_as(labels)
            ends = torch.where(labels != -100, places, -1).amax(1, keepdim=True)
            before = torch.where((labels == -100) & (places < ends), places, -1).amax(1, keepdim=True)
            labels = labels.masked_fill(places < before, -100)
        loss = torch.nn.functional.cross_entropy(logits.transpose(1, 2), labels, reduction="none")
        means = loss.sum(1) / (labels != -100).sum(1)
        for i, mean in zip(batch, means.tolist(), strict=True):
            losses[i] = mean
    return losses


def summarise_task(
    systems: Mapping[str, pd.DataFrame], seen: Sequence[bool] | None = None
) -> dict[str, dict[str, Interval]]:
    """Figures of all systems, and the mean difference between the model and each control over the same rows.

    seen: rows about molecules that the model was trained on; without them, its figures are given again.
    """
    figures = {system: _figures(lines) for system, lines in systems.items()}
    if seen is not None and 0 < sum(seen) < len(seen):
        figures[UNSEEN] = _figures(systems[MODEL][[not s for s in seen]])
    for control in list(systems)[1:]:
        figures[DIFFERENCES[control]] = _differences(systems[MODEL], systems[control])
    return figures


def _differences(model, control):
    """Of BLEU and FCD, which are no means over rows, there is none."""
    differences = {}
    for name in control.columns:
        if isinstance(model[name].iloc[0], float):
            known = model[name].notna() & control[name].notna()
            if known.any():
                pair = model.loc[known, name], control.loc[known, name]
                differences[name] = paired_difference(*pair, model.loc[known, "molecule"])
    return differences


def _figures(lines):
    scores = lines.drop(columns=["question", "truth", "molecule", "answer"])
    return summarise_scores(scores, lines["molecule"].tolist())


def respell(smiles: str, spelling: str) -> str:
    """The same molecule, stereochemistry included, written otherwise: "canonical", from a "random" atom on (the same
    one each time), or with explicit "hydrogens"; "given" and what RDKit cannot read stay as they are.

    Raises:
        ValueError: no such spelling.
    """
    if spelling not in SPELLINGS:
        raise ValueError(f"spelling {spelling!r}; there are {', '.join(SPELLINGS)}")
    molecule = read_molecule(smiles)
    if spelling == "given" or molecule is None:
        return smiles
    if spelling == "canonical":
        return Chem.MolToSmiles(molecule)
    with BlockLogs():
        if spelling == "hydrogens":
            return Chem.MolToSmiles(molecule, allHsExplicit=True)
        return Chem.MolToRandomSmilesVect(molecule, 1, randomSeed=1)[0]


def _conversation(task, row, processor) -> list[dict[str, str]]:
    """Empty where the row cannot be written for this model: its answer is none, and counts."""
    try:
        return task.conversation(row, processor)
    except ValueError:
        return []


def _truth(task, row) -> str:
    """The last message, with molecules as SMILES: flat, where the model writes SELFIES."""
    if task.messages is None:
        return row["messages"][-1]["content"]
    plain = {f"{modality}_characters": row.get(modality) for modality in MODALITIES}
    if row.get("smiles"):
        plain |= {"molecule": canonical_smiles(row["smiles"]), "molecule_characters": row["smiles"]}
    return task.messages[-1]["content"].format(**row | plain)


def _others(task, conversations) -> list[int]:
    """For each row another one, far away: neighbours may be about one molecule. Where rows bring their own questions,
    one that asks the same, so that the answers differ by what they are about alone."""
    asked = [messages[-2]["content"] if task.messages is None else "" for messages in conversations]
    times = Counter(asked)
    alike = defaultdict(list)
    for i, question in enumerate(asked):
        alike[question if times[question] > 1 else ""].append(i)
    others = [0] * len(asked)
    for rows in alike.values():
        for i, other in zip(rows, _swapped(rows), strict=True):
            others[i] = other
    return others


def _swapped(rows):
    return rows[len(rows) // 2 :] + rows[: len(rows) // 2]


def _molecule(row, index) -> str:
    """Rows about one molecule have the same; a row that names none is by itself."""
    key = inchikey_block(row["smiles"]) if row.get("smiles") else None
    return key or f"row {index}"
