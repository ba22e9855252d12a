"""Names of made derivatives (`data/names.py`), read back by OPSIN (Lowe et al. 2011), which shares no code with them.

    pip install py2opsin  # and Java
    python benchmarks/names_read_back.py

Prints how many come back as the molecule they were made for, and the first that do not.
"""

import argparse
from itertools import islice

from py2opsin import py2opsin
from rdkit import Chem

from spec2mol.data.names import make_names

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--count", type=int, default=5000)
parser.add_argument("--seed", type=int, default=0)
args = parser.parse_args()

smiles, names = zip(*islice(make_names(args.seed), args.count), strict=True)
wrong = [
    (given, name, read)
    for given, name, read in zip(smiles, names, py2opsin(list(names)), strict=True)
    if not read or Chem.CanonSmiles(read) != given
]
print(f"{len(names)} names, {len(names) - len(wrong)} read back as the molecule they were made for")
for given, name, read in wrong[:20]:
    print(f"{given}: {name} was read as {read or 'nothing'}")
