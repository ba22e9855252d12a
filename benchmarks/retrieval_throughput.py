"""Time and memory of `spec2mol build-store`, `rank` and `search` as stores grow.

    python benchmarks/retrieval_throughput.py --molecules ../shared/data/molecules/train.parquet \\
        --spectra ../shared/data/massbank/val.parquet

- Building is timed on a sample of the molecules, in one process; it takes as many as there are cores.
- Stores to rank in hold the real masses and formulas of as many molecules, and random fingerprints: what is timed does
  not depend on the bits. Queries are spectra of `--queries` molecules, their formulas not told.
- Libraries to search hold embeddings of the spectra, repeated with noise up to the size. The search of the package,
  a matrix product with all, is compared with FAISS's inverted lists where faiss is installed: time, and which share of
  the ten nearest they find.
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
from spec2mol.loading import DEFAULT_MODEL, load_encoder, load_model
from spec2mol.retrieval import MoleculeStore, SpectrumStore, build_molecule_store, rank_molecules
from spec2mol.retrieval import molecules as molecule_stores
from spec2mol.retrieval import spectra as spectrum_stores
from spec2mol.retrieval.spectra import unit_embeddings
from spec2mol.retrieval.store import write_store

try:
    import faiss
except ImportError:
    faiss = None

SIZES = (10_000, 100_000, 500_000)
PPM = 10.0
NEAREST = 10
NOISE = 0.3  # length of what is added to an embedding of length 1
LISTS, PROBED = 256, 16  # FAISS's inverted lists, and how many of them a query looks into


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
        time_search(args.model, queries, Path(folder), rng)


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
        table, arrays = pa.table(columns, schema=molecule_stores.SCHEMA), {"fingerprints": fingerprints}
        write_store(folder / "molecules", molecule_stores.KIND, table, arrays, features_of=None)
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


def time_search(name, queries, folder: Path, rng):
    embed, feature_extractor = load_encoder(name)
    vectors = unit_embeddings(embed, feature_extractor, queries)
    modes = ["positive"] * len(queries)
    at_once = f"{len(queries)} at once, ms"
    print(f"{'search':>10}{'open, ms':>10}{'one at a time, ms':>20}{at_once:>18}", end="")
    print(f"{'faiss, ms':>12}{'its index, s':>14}{'its recall':>12}")
    for size in SIZES:
        library = vectors[rng.integers(len(vectors), size=size)]
        library += rng.normal(scale=NOISE / library.shape[1] ** 0.5, size=library.shape).astype(np.float32)
        library /= np.linalg.norm(library, axis=1, keepdims=True)
        rows = {name: [""] * size for name in spectrum_stores.SCHEMA.names} | {"precursor_mz": np.full(size, 100.0)}
        table = pa.table(rows, schema=spectrum_stores.SCHEMA)
        arrays = {"embeddings": library, "negative": np.zeros(size, bool)}
        write_store(folder / "library", spectrum_stores.KIND, table, arrays, embeddings_of=None)
        start = time.perf_counter()
        store = SpectrumStore(folder / "library")
        opened = time.perf_counter() - start
        start = time.perf_counter()
        exact, _ = store.nearest(vectors, modes, NEAREST)
        at_once = (time.perf_counter() - start) / len(queries)
        single = []
        for row in range(len(queries)):
            start = time.perf_counter()
            store.nearest(vectors[row : row + 1], modes[:1], NEAREST)
            single.append(time.perf_counter() - start)
        figures = f"{size:10,}{opened * 1e3:10.1f}{np.median(single) * 1e3:20.1f}{at_once * 1e3:18.1f}"
        if faiss is None:
            print(f"{figures}{'not installed':>12}")
            continue
        start = time.perf_counter()
        quantizer = faiss.IndexFlatIP(library.shape[1])
        index = faiss.IndexIVFFlat(quantizer, library.shape[1], LISTS, faiss.METRIC_INNER_PRODUCT)
        index.train(library[: 40 * LISTS])
        index.add(library)
        index.nprobe = PROBED
        built, start = time.perf_counter() - start, time.perf_counter()
        _, near = index.search(vectors, NEAREST)
        searched = (time.perf_counter() - start) / len(queries)
        recall = np.mean([len(set(a) & set(b)) / NEAREST for a, b in zip(exact, near, strict=True)])
        print(f"{figures}{searched * 1e3:12.1f}{built:14.1f}{recall:12.3f}")


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
