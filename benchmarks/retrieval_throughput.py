"""Time and memory of `spec2mol build-store` and `rank` as stores grow.

    python benchmarks/retrieval_throughput.py --molecules ../shared/data/molecules/train.parquet \\
        --spectra ../shared/data/massbank/val.parquet

- Building is timed on a sample of the molecules, in one process; it takes as many as there are cores.
- Stores to rank in hold the real masses and formulas of as many molecules, and random fingerprints: what is timed does
  not depend on the bits. Queries are spectra of `--queries` molecules, their formulas not told.
"""

import argparse
import re
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd
import pyarrow as pa
import torch
from rdkit import Chem
from rdkit.Chem.rdMolDescriptors import CalcMolFormula

from spec2mol.chemistry_spec2mol import formula_mass, neutral_mass
from spec2mol.evaluation.evaluator import for_track, load_queries
from spec2mol.loading import DEFAULT_MODEL, load_model
from spec2mol.retrieval import MoleculeStore, build_molecule_store, rank_molecules
from spec2mol.retrieval.molecules import SCHEMA, write_molecules

SIZES = (10_000, 100_000, 500_000)
PPM = 10.0


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=DEFAULT_MODEL, help="default: the shipped checkpoint")
    parser.add_argument("--molecules", type=Path, required=True, help="parquet file with a column smiles")
    parser.add_argument("--spectra", type=Path, required=True, help="parquet file of labelled spectra")
    parser.add_argument("--sample", type=int, default=5000, help="molecules to time the building on (default: 5000)")
    parser.add_argument("--queries", type=int, default=32, help="default: 32")
    args = parser.parse_args()

    rng = np.random.default_rng(0)
    smiles = pd.read_parquet(args.molecules, columns=["smiles"])["smiles"].sample(frac=1, random_state=0).tolist()
    queries = for_track(load_queries(args.spectra, 1), "mass")[: args.queries]
    print(f"{torch.get_num_threads()} threads, torch {torch.__version__}, model {Path(args.model).name}\n")
    with TemporaryDirectory() as folder:
        time_building(smiles[: args.sample], Path(folder))
        time_ranking(args.model, smiles[: max(SIZES)], queries, Path(folder), rng)


def time_building(smiles, folder: Path):
    start = time.process_time()
    build_molecule_store(smiles, folder / "built", workers=1)
    seconds = time.process_time() - start
    print(f"build-store: {seconds / len(smiles) * 1e3:.2f} ms of processor time for each molecule, ", end="")
    size = sum(path.stat().st_size for path in (folder / "built").iterdir()) / len(MoleculeStore(folder / "built"))
    print(f"{size:,.0f} bytes on disk\n")


def time_ranking(name, smiles, queries, folder: Path, rng):
    model, processor = load_model(name)
    formulas = [read_formula(text) for text in smiles]
    masses = np.array([formula_mass(formula) for formula in formulas])
    print(f"{'rank':>10}{'open, ms':>12}{'resident, MiB':>15}{'window, ms':>12}{'candidates':>12}", end="")
    print(f"{'rank, ms':>10}{'CPU, ms':>9}")
    for size in SIZES:
        order = np.argsort(masses[:size], kind="stable")
        columns = [[smiles[i] for i in order], [str(i) for i in order], [formulas[i] for i in order], masses[order]]
        # One bit in 32 is set.
        fingerprints = np.bitwise_and.reduce(rng.integers(0, 256, (5, size, 256), np.uint8))
        table, arrays = pa.table(columns, schema=SCHEMA), {"fingerprints": fingerprints}
        write_molecules(folder / "molecules", table, arrays, features_of=None)
        del table, columns, arrays, fingerprints
        before, start = resident(), time.perf_counter()
        store = MoleculeStore(folder / "molecules")
        opened = time.perf_counter() - start
        windows, found, ranked, cpu = [], [], [], []
        for query in queries:
            start = time.perf_counter()
            mass = neutral_mass(query["precursor_mz"], query["adduct"])
            found.append(len(store.window(mass, mass * PPM * 1e-6).smiles))
            windows.append(time.perf_counter() - start)
            start, start_cpu = time.perf_counter(), time.process_time()
            rank_molecules(model, processor, query, store, PPM)
            ranked.append(time.perf_counter() - start)
            cpu.append(time.process_time() - start_cpu)
        print(
            f"{size:10,}{opened * 1e3:12.1f}{resident() - before:15.1f}{np.median(windows) * 1e3:12.2f}"
            f"{np.median(found):12.0f}{np.median(ranked) * 1e3:10.1f}{np.median(cpu) * 1e3:9.1f}"
        )
    print()


def read_formula(smiles: str) -> str:
    parameters = Chem.SmilesParserParams()
    parameters.sanitize = parameters.removeHs = False  # Hydrogens can be counted without.
    molecule = Chem.MolFromSmiles(smiles, parameters)
    molecule.UpdatePropertyCache(strict=False)
    return re.sub(r"[+-]\d*$", "", CalcMolFormula(molecule))


def resident() -> float:
    """Memory of this process, MiB."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 2**20


if __name__ == "__main__":
    main()
