"""How similar is the molecule of the nearest library spectrum to the true one? By embeddings, as `spec2mol search`,
beside the cosine of peaks, with and without neutral losses.

    python benchmarks/library_search.py --data ../shared/data/massbank/val.parquet \\
        --library ../shared/data/massbank/train.parquet

One random spectrum of each molecule on both sides; no molecule is on both. Tanimoto similarity, means over molecules
with 95% bootstrap intervals; differences are over the same spectra.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from spec2mol.evaluation.evaluator import load_queries
from spec2mol.evaluation.intervals import bootstrap_over_molecules, paired_difference
from spec2mol.evaluation.leakage import check_disjoint
from spec2mol.evaluation.library_search import library_search
from spec2mol.evaluation.metrics import tanimoto
from spec2mol.loading import DEFAULT_MODEL, load_encoder
from spec2mol.retrieval import SpectrumStore, build_spectrum_store
from spec2mol.retrieval.spectra import unit_embeddings

KS = (1, 10)
EMBEDDINGS = "embeddings"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=DEFAULT_MODEL, help="default: the shipped checkpoint")
    parser.add_argument("--data", type=Path, required=True, help="parquet file of labelled spectra, the queries")
    parser.add_argument("--library", type=Path, required=True, help="the same, to search in")
    args = parser.parse_args()

    queries, library = load_queries(args.data, 1), load_queries(args.library, 1)
    check_disjoint(queries, library)
    answers = {
        EMBEDDINGS: list(by_embeddings(args.model, queries, library)),
        "cosine of peaks": library_search(queries, library),
        "cosine of peaks and neutral losses": library_search(queries, library, losses=True),
    }
    molecules = [query["inchikey"] for query in queries]
    figures = {name: {k: nearest(found, queries, k) for k in KS} for name, found in answers.items()}
    print(f"{len(queries):,} queries, library of {len(library):,} spectra")
    print(f"{'Tanimoto similarity':50}" + "".join(f"{f'best of {k}':>26}" for k in KS))
    for name, values in figures.items():
        print(f"{name:50}" + "".join(f"{bootstrap_over_molecules(values[k], molecules)!s:>26}" for k in KS))
    for name, values in figures.items():
        if name != EMBEDDINGS:
            gains = (paired_difference(figures[EMBEDDINGS][k], values[k], molecules) for k in KS)
            print(f"{f'embeddings less {name}':50}" + "".join(f"{gain!s:>26}" for gain in gains))


def nearest(answers, queries, k: int) -> np.ndarray:
    """Of each query's first k answers the highest similarity, 0 where there is none."""
    return np.array(
        [
            max((tanimoto(answer, query["smiles"]) for answer in of_query[:k]), default=0.0)
            for of_query, query in zip(answers, queries, strict=True)
        ]
    )


def by_embeddings(model: str, queries, library) -> Iterator[list[str]]:
    embed, feature_extractor = load_encoder(model)
    entries = [row | {"metadata": {"smiles": row["smiles"]}} for row in library]
    with TemporaryDirectory() as folder:
        build_spectrum_store(entries, folder, embed, feature_extractor)
        hits = SpectrumStore(folder).search(queries, unit_embeddings(embed, feature_extractor, queries), KS[-1])
    for of_query in hits:
        yield [hit.smiles for hit in of_query]


if __name__ == "__main__":
    main()
