"""`spec2mol build-facts STRUCTURES OUT`: molecules with what can be computed of each, for tasks about them."""

import math
import os
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import pandas as pd
from tqdm import tqdm

from ..data.facts import conformer_facts, describe, molecule_facts
from ..molecules_spec2mol import read_molecule


def add_arguments(parser):
    parser.add_argument(
        "structures", type=Path, metavar="STRUCTURES", help=".parquet with a column smiles; the others stay"
    )
    parser.add_argument("output", type=Path, metavar="OUT", help=".parquet to write")
    parser.add_argument("--limit", type=int, help="only so many molecules, drawn at random")
    parser.add_argument("--seed", type=int, default=0, help="of the draw and of the conformers (default: 0)")
    parser.add_argument("--conformers", action="store_true", help="also a conformer of each, and what only it tells")
    parser.add_argument("--max-atoms", type=int, metavar="N", help="leave out molecules of more heavy atoms")
    parser.add_argument("--processes", type=int, default=os.cpu_count(), help="(default: one for each core)")


def run(args) -> int:
    if not args.structures.is_file():
        raise FileNotFoundError(f"no such file: {args.structures}")
    table = pd.read_parquet(args.structures)
    if "smiles" not in table:
        raise ValueError(f"{args.structures} has no column smiles, only {', '.join(table.columns)}")
    if args.limit is not None:
        table = table.sample(min(args.limit, len(table)), random_state=args.seed)
    compute = partial(_facts, conformers=args.conformers, seed=args.seed, max_atoms=args.max_atoms or math.inf)
    with ProcessPoolExecutor(args.processes) as pool:
        answers = pool.map(compute, table["smiles"], chunksize=20)
        facts = list(tqdm(answers, total=len(table), unit=" molecules", disable=None))
    problems = Counter(fact for fact in facts if isinstance(fact, str))
    kept = [isinstance(fact, dict) for fact in facts]
    table = table[kept].reset_index(drop=True)
    added = pd.DataFrame([fact for fact in facts if isinstance(fact, dict)])
    table = pd.concat([table.drop(columns=added.columns, errors="ignore"), added], axis=1)
    if "description" not in table and len(table):
        table["description"] = [describe(row["smiles"], row) for row in table.to_dict("records")]
    args.output.parent.mkdir(parents=True, exist_ok=True)
    table.to_parquet(args.output)
    print(f"{args.output}: {len(table)} molecules")
    for problem, count in problems.most_common():
        print(f"left out, {problem}: {count}")
    return 0


def _facts(smiles, conformers, seed, max_atoms) -> dict | str:
    """A word on why there are none."""
    try:
        if read_molecule(smiles).GetNumHeavyAtoms() > max_atoms:
            return f"more than {max_atoms} atoms"
        facts = molecule_facts(smiles)
    except ValueError:
        return "RDKit cannot read them"
    try:
        return facts | (conformer_facts(smiles, seed) if conformers else {})
    except ValueError:
        return "no conformer of them can be embedded"
