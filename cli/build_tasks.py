"""`spec2mol build-tasks MOLECULES OUT_DIR`: rows for the tasks of `tasks/`, made from molecules by RDKit: reactions
and their reverse, procedures and their actions, conversations about computed facts; with --spectra, about spectra."""

import json
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from ..chemistry_spec2mol import inchikey_block
from ..data.dialogues import molecule_dialogue, procedure, spectrum_dialogue
from ..data.reactions import make_reactions
from .structures import read_structures


def add_arguments(parser):
    parser.add_argument("molecules", type=Path, metavar="MOLECULES", help="file with a column `smiles`")
    parser.add_argument("output", type=Path, metavar="OUT_DIR", help="folder to write jsonl files into")
    parser.add_argument("--count", type=int, default=20_000, help="rows of each kind (default: 20000)")
    parser.add_argument(
        "--name", default="train", help="fold that the files are named for, as in forward_train.jsonl (default: train)"
    )
    parser.add_argument(
        "--exclude", type=Path, nargs="*", default=[], help="files of molecules that no row may hold, as of test folds"
    )
    parser.add_argument("--spectra", type=Path, help="parquet file of labelled spectra, for conversations about them")
    parser.add_argument("--seed", type=int, default=0)


def run(args) -> int:
    args.output.mkdir(parents=True, exist_ok=True)
    generator = np.random.default_rng(args.seed)
    excluded = {inchikey_block(smiles) for path in args.exclude for smiles in set(read_structures(path))}
    molecules = read_structures(args.molecules)
    drawn = generator.permutation(len(molecules))
    # Reactions look for groups, some of them rare, in many times as many molecules as they need.
    pool = [molecules[i] for i in drawn[: 10 * args.count]]
    made = make_reactions(pool, args.count, args.seed)
    reactions = [
        reaction
        for reaction in tqdm(made, desc="Reactions", unit=" reactions", disable=None)
        if not excluded & {inchikey_block(part) for part in (*reaction.reactants.split("."), reaction.product)}
    ]
    write(args, "forward", ({"source": r.reactants, "target": r.product, "name": r.name} for r in reactions))
    write(args, "retro", ({"source": r.product, "target": r.reactants, "name": r.name} for r in reactions))
    procedures = (procedure(tuple(f"Compound {i}" for i in pair), generator) for pair in _pairs(args.count, generator))
    write(args, "actions", ({"source": paragraph, "target": actions} for paragraph, actions in procedures))
    some = [molecules[i] for i in drawn[: args.count] if inchikey_block(molecules[i]) not in excluded]
    told = ((smiles, molecule_dialogue(smiles, generator)) for smiles in some)
    write(args, "dialogue", ({"smiles": smiles, "messages": messages} for smiles, messages in told if messages))
    if args.spectra:
        spectra = pd.read_parquet(args.spectra)
        spectra = spectra.sample(min(args.count, len(spectra)), random_state=args.seed)
        spectra = spectra.drop(columns="formula", errors="ignore")  # Conversations ask for it.
        spectra["messages"] = [spectrum_dialogue(row, generator) for row in spectra.to_dict("records")]
        path = args.output / f"spectrum_{args.name}.parquet"
        spectra = spectra.dropna(subset="messages")
        spectra.to_parquet(path)
        print(f"{path}: {len(spectra)} rows")
    return 0


def write(args, kind: str, rows: Iterable[dict]):
    path = args.output / f"{kind}_{args.name}.jsonl"
    lines = [json.dumps(row, ensure_ascii=False) for row in rows]
    path.write_text("\n".join(lines), encoding="utf-8")
    print(f"{path}: {len(lines)} rows")


def _pairs(count, generator):
    return (tuple(generator.choice(100, 2, replace=False) + 1) for _ in range(count))
