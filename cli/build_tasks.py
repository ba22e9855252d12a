"""`spec2mol build-tasks MOLECULES OUT_DIR`: rows for the tasks of `tasks/`, made from molecules by RDKit: reactions
and their reverse, procedures and their actions, systematic names, conversations about computed facts; or with
--spectra, spectra with the facts of their molecules."""

import json
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from ..chemistry_spec2mol import inchikey_block, molecular_formula
from ..data.dialogues import molecule_dialogue, procedure
from ..data.examples import molecule_identity
from ..data.facts import molecule_facts
from ..data.names import make_names
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
    parser.add_argument(
        "--spectra", action="store_true", help="MOLECULES are labelled spectra (.parquet): rows about these alone"
    )
    parser.add_argument("--seed", type=int, default=0)


def run(args) -> int:
    args.output.mkdir(parents=True, exist_ok=True)
    generator = np.random.default_rng(args.seed)
    excluded = {inchikey_block(smiles) for path in args.exclude for smiles in set(read_structures(path))}
    if args.spectra:
        write_spectra(args, excluded)
        return 0
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
    named = islice(names(args.name == "train", excluded, args.seed), args.count)
    write(args, "name", tqdm(named, desc="Names", total=args.count, unit=" names", disable=None))
    some = [molecules[i] for i in drawn[: args.count] if inchikey_block(molecules[i]) not in excluded]
    told = ((smiles, molecule_dialogue(smiles, generator)) for smiles in some)
    write(args, "dialogue", ({"smiles": smiles, "messages": messages} for smiles, messages in told if messages))
    return 0


def names(training: bool, excluded: set[str | None], seed: int) -> Iterator[dict]:
    """A tenth of all derivatives, by a hash, is held back from training."""
    for smiles, name in make_names(seed):
        key = inchikey_block(smiles)
        if key not in excluded and (molecule_identity(key) % 10 > 0) == training:
            yield {"smiles": smiles, "name": name}


def write(args, kind: str, rows: Iterable[dict]):
    path = args.output / f"{kind}_{args.name}.jsonl"
    lines = [json.dumps(row, ensure_ascii=False) for row in rows]
    path.write_text("\n".join(lines), encoding="utf-8")
    print(f"{path}: {len(lines)} rows")


def write_spectra(args, excluded):
    """What conversations ask for must not be told: the formula is there as a fact of the molecule alone."""
    spectra = pd.read_parquet(args.molecules).drop(columns="formula", errors="ignore")
    blocks = {smiles: inchikey_block(smiles) for smiles in spectra["smiles"].unique()}
    spectra = spectra[[blocks[smiles] not in excluded | {None} for smiles in spectra["smiles"]]]
    spectra = spectra.sample(min(args.count, len(spectra)), random_state=args.seed).reset_index(drop=True)
    facts = {
        smiles: {"molecular_formula": molecular_formula(smiles)} | molecule_facts(smiles)
        for smiles in tqdm(spectra["smiles"].unique(), desc="Facts", unit=" molecules", disable=None)
    }
    path = args.output / f"spectra_{args.name}.parquet"
    spectra.join(pd.DataFrame([facts[smiles] for smiles in spectra["smiles"]])).to_parquet(path)
    print(f"{path}: {len(spectra)} rows")


def _pairs(count, generator):
    return (tuple(generator.choice(100, 2, replace=False) + 1) for _ in range(count))
