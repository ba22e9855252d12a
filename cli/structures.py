"""Files of molecules, as several verbs take them."""

from pathlib import Path

import pandas as pd


def add_structures_argument(parser, also: str = ""):
    """`structures`, a path for `read_structures`. also: what else the verb takes, for its help."""
    parser.add_argument(
        "structures",
        type=Path,
        metavar="STRUCTURES",
        help=f".csv, .tsv or .parquet with a column `smiles`{also}; anything else: one SMILES a line",
    )


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
