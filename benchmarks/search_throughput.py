"""Time and recall of `spec2mol build-library` and `search` as libraries grow: inverted lists, as the package makes
them of large libraries, beside an index that compares a query with all embeddings.

    python benchmarks/search_throughput.py --data ../shared/data/massbank/val.parquet \\
        --library ../shared/data/massbank/train.parquet

Libraries hold the embeddings of a sample of `--library`, of all of it, and of all repeated with noise. Queries are the
spectra of `--data`, of other molecules. Recall is the share of their ten nearest that is found. Times are of the
processor, of all threads together. Figures are of positive and negative spectra together.
"""

import argparse
import math
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import faiss
import numpy as np
from tqdm import tqdm

from spec2mol.evaluation.evaluator import load_queries
from spec2mol.evaluation.leakage import check_disjoint
from spec2mol.loading import DEFAULT_MODEL, load_encoder
from spec2mol.retrieval import SpectrumStore, spectra
from spec2mol.retrieval.spectra import EXACT_UP_TO, SCHEMA, index_files, unit_embeddings, write_library

SIZES = (10_000, None, 100_000, 500_000)  # None: as it is
NOISE = 0.3  # length of what is added to an embedding of length 1: then the copies are as far as real neighbours are
NEAREST = 10
BATCH = 64
AT_ONCE = 16  # queries, as `spec2mol search` takes them
WAYS = {"all": math.inf, "inverted lists": EXACT_UP_TO}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=DEFAULT_MODEL, help="default: the shipped checkpoint")
    parser.add_argument("--data", type=Path, required=True, help="parquet file of labelled spectra, the queries")
    parser.add_argument("--library", type=Path, required=True, help="the same, to search in")
    args = parser.parse_args()

    queries, library = load_queries(args.data), load_queries(args.library)
    check_disjoint(queries, library)
    vectors, of_library = embed(args.model, queries), embed(args.model, library)
    modes, library_modes = ([row["ion_mode"] for row in rows] for rows in (queries, library))
    print(f"{len(queries):,} queries, {faiss.omp_get_max_threads()} threads, faiss {faiss.__version__}")
    print(
        f"{'spectra':>8}{'compared with':>16}{'lists':>10}{'build, s':>10}{'open, ms':>10}{'one query, ms':>15}",
        end="",
    )
    print(f"{f'{AT_ONCE} at once, ms each':>22}{'recall@10':>11}")
    for size in SIZES:
        rng = np.random.default_rng(0)
        if size is None or size <= len(library):
            taken = rng.permutation(len(library))[:size]
            embeddings = of_library[taken]
        else:
            taken = rng.integers(len(library), size=size)
            noise = rng.standard_normal((size, of_library.shape[1]), np.float32)
            embeddings = of_library[taken] + noise * (NOISE / of_library.shape[1] ** 0.5)
            embeddings /= np.linalg.norm(embeddings, axis=1, keepdims=True)
        rows = [dict.fromkeys(SCHEMA.names) | {"ion_mode": library_modes[i]} for i in taken]
        exact = None
        for way, spectra.EXACT_UP_TO in WAYS.items():
            with TemporaryDirectory() as folder:
                start = time.process_time()
                write_library(folder, rows, embeddings, None)
                built, start = time.process_time() - start, time.process_time()
                store = SpectrumStore(folder)
                opened = time.process_time() - start
                cosines = store.nearest(vectors, modes, NEAREST)[1]
                exact = cosines if exact is None else exact
                recall = (cosines >= exact[:, -1:] - 1e-6).mean()
                single, several = (time_queries(store, vectors, modes, number) for number in (1, AT_ONCE))
                print(
                    f"{len(rows):8,}{way:>16}{probed(folder):>11}{built:10.1f}{opened * 1e3:10.1f}"
                    f"{single * 1e3:15.2f}{several * 1e3:22.2f}{recall:11.3f}",
                    flush=True,
                )


def embed(model: str, rows) -> np.ndarray:
    """Batches are of spectra with about as many peaks."""
    encoder, feature_extractor = load_encoder(model)
    order = sorted(range(len(rows)), key=lambda i: len(rows[i]["mzs"]))
    batches = [[rows[i] for i in order[start : start + BATCH]] for start in range(0, len(order), BATCH)]
    vectors = [unit_embeddings(encoder, feature_extractor, batch) for batch in tqdm(batches, unit=" batches")]
    return np.concatenate(vectors)[np.argsort(order)]


def time_queries(store, vectors, modes, number: int) -> float:
    """Median processor seconds for a query, if so many are asked at once."""
    seconds = []
    for first in range(0, 10 * AT_ONCE, number):
        start = time.process_time()
        store.nearest(vectors[first : first + number], modes[first : first + number], NEAREST)
        seconds.append((time.process_time() - start) / number)
    return float(np.median(seconds))


def probed(folder: str) -> str:
    """Of the lists of positive spectra, how many a query looks into."""
    index = faiss.read_index(str(index_files(folder)[0]), faiss.IO_FLAG_MMAP_IFC)
    return f"{index.nprobe} of {index.nlist}" if isinstance(index, faiss.IndexIVF) else ""


if __name__ == "__main__":
    main()
