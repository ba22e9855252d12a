"""Is the true molecule among the first candidates of its mass, or of its formula? By each part of what `spec2mol rank`
ranks by and by their sum, beside controls that see no spectrum.

    python benchmarks/retrieval_recall.py --data ../shared/data/massbank/val.parquet \\
        --candidates ../shared/data/massbank/candidates_val.json.gz --train ../shared/data/massbank/train.parquet

Means over molecules, with 95% bootstrap intervals; differences are over the same spectra.
"""

import argparse
from pathlib import Path

from spec2mol.evaluation.evaluator import TRACKS, for_track, load_queries
from spec2mol.evaluation.intervals import bootstrap_over_molecules, paired_difference
from spec2mol.evaluation.leakage import check_disjoint, check_unseen
from spec2mol.evaluation.report import RETRIEVAL
from spec2mol.evaluation.retrieval import HITS, load_candidates, retrieve, without_spectrum
from spec2mol.loading import DEFAULT_MODEL, load_model


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=DEFAULT_MODEL, help="default: the shipped checkpoint")
    parser.add_argument("--data", type=Path, required=True, help="parquet file of labelled spectra")
    parser.add_argument("--candidates", type=Path, required=True, help="candidates_*.json.gz of the data")
    parser.add_argument("--train", type=Path, required=True, help="training spectra, for the control")
    parser.add_argument("--limit-per-molecule", type=int, default=1, help="spectra of each (default: 1)")
    args = parser.parse_args()

    rows, library = load_queries(args.data, args.limit_per_molecule), load_queries(args.train, 1)
    print(check_unseen(args.model, rows))
    check_disjoint(rows, library)
    model, processor = load_model(args.model)
    for track in TRACKS:
        candidates = load_candidates(args.candidates, rows, same_formula=track == "formula")
        hits = retrieve(model, processor, for_track(rows, track), candidates)
        control = without_spectrum(rows, candidates, [row["smiles"] for row in library])
        hits = hits.join(control[[f"without_spectrum@{k}" for k in HITS]])
        molecules = hits["inchikey"]
        print(f"\ntrack {track}: {len(rows):,} spectra of {molecules.nunique():,} molecules, ", end="")
        print(f"{hits['candidates'].median():,.0f} candidates in the median")
        print(f"{'':56}" + "".join(f"{f'hit@{k}':>24}" for k in HITS))
        for name, label in RETRIEVAL.items():
            if f"{name}@1" in hits:
                found = (bootstrap_over_molecules(hits[f"{name}@{k}"], molecules) for k in HITS)
                print(f"{label:56}" + "".join(f"{interval!s:>24}" for interval in found))
        gains = (paired_difference(hits[f"total@{k}"], hits[f"without_spectrum@{k}"], molecules) for k in HITS)
        print(f"{'gain of all over the one without the spectrum':56}" + "".join(f"{gain!s:>24}" for gain in gains))


if __name__ == "__main__":
    main()
