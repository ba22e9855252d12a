"""`spec2mol build-tokenizer STRUCTURES OUT_DIR`: a closed-vocabulary SELFIES tokenizer from a file of molecules."""

from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pandas as pd
from tqdm import tqdm

from ..chemistry_spec2mol import SELFIES_DIALECTS
from ..data.tokenizer import build_tokenizer


def add_arguments(parser):
    parser.add_argument(
        "structures",
        type=Path,
        metavar="STRUCTURES",
        help=".csv, .tsv or .parquet with a column `smiles`; anything else: one SMILES a line",
    )
    parser.add_argument("output", type=Path, metavar="OUT_DIR", help="folder to write")
    parser.add_argument(
        "--dialect", choices=SELFIES_DIALECTS, default="2.x", help="of SELFIES; ChemGPT's is 1.x (default: 2.x)"
    )


def run(args) -> int:
    structures = read_structures(args.structures)
    with ProcessPoolExecutor() as pool:

        def encode(function, smiles):
            return tqdm(pool.map(function, smiles, chunksize=1000), total=len(smiles), unit=" structures")

        tokenizer = build_tokenizer(structures, args.dialect, map=encode)
    tokenizer.save_pretrained(args.output)
    print(f"{args.output}: {len(tokenizer)} tokens, SELFIES {args.dialect}")
    return 0


def read_structures(path: Path) -> list[str]:
    """The column `smiles` of a table, or the first word of each line; missing values and empty lines are left out.

    Raises FileNotFoundError, and ValueError if there is no such column.
    """
    if not path.is_file():
        raise FileNotFoundError(f"no such file: {path}")
    if path.suffix not in (".csv", ".tsv", ".parquet"):
        return [line.split()[0] for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    if path.suffix == ".parquet":
        table = pd.read_parquet(path)
    else:
        table = pd.read_csv(path, sep="\t" if path.suffix == ".tsv" else ",")
    if "smiles" not in table:
        raise ValueError(f"{path} has no column smiles, only {', '.join(table.columns)}")
    return table["smiles"].dropna().tolist()
