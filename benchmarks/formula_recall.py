"""Recall of the true formula by `rank_formulas`, against ranking by mass error alone, and time for each query.

    python benchmarks/formula_recall.py --data ../shared/data/massbank/val.parquet --limit-per-molecule 2

The formulas compared are the same, all that precursor m/z and adduct allow within 10 ppm. MassBank's precursor m/z are
for the most part computed from the formula and not measured, which flatters every ranking and that by mass above all:
`--error-ppm` adds a normally distributed error of that size, as an instrument's would be, the same in every run.

Means are over molecules, with 95% bootstrap intervals; differences are over the same spectra.
"""

import argparse
import time
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from spec2mol.evaluation.calibration import Forecasts, expected_calibration_error, reliability
from spec2mol.evaluation.intervals import bootstrap_over_molecules, paired_difference
from spec2mol.formulas_spec2mol import enumerate_formulas, hill_formula, precursor_errors, rank_formulas

PPM = 10.0
HITS = (1, 5, 20)
RANKINGS = {
    "mass alone": "by mass error alone",
    "no peaks": "mass and composition",
    "all": "mass, composition and fragments",
}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="parquet file of labelled spectra")
    parser.add_argument("--limit-per-molecule", type=int, help="at most so many random spectra of each (default: all)")
    parser.add_argument("--error-ppm", type=float, default=0.0, help="added to precursor m/z, ppm (default: none)")
    args = parser.parse_args()

    spectra = pd.read_parquet(args.data)
    if args.limit_per_molecule:
        spectra = spectra.sample(frac=1, random_state=0).groupby("inchikey").head(args.limit_per_molecule)
    errors = np.random.default_rng(0).normal(size=len(spectra)) * args.error_ppm * 1e-6
    spectra["precursor_mz"] *= 1 + errors
    rank_formulas(spectra.iloc[spectra["precursor_mz"].argmax()].to_dict())  # Makes the tables that others use too.
    progress = tqdm(spectra.to_dict("records"), unit=" spectra", disable=None)
    results = pd.DataFrame([query(spectrum) for spectrum in progress])

    molecules = spectra["inchikey"].nunique()
    print(f"{len(spectra):,} spectra of {molecules:,} molecules of {args.data.name}, precursor within {PPM:g} ppm")
    print(f"error added to precursor m/z: {args.error_ppm:g} ppm")
    print(f"{results['formulas'].median():,.0f} formulas in the median, {results['formulas'].max():,} at the most")
    print_recall(results)
    print(f"\n{RANKINGS['all']:52}" + "".join(f"{f'recall@{k}':>24}" for k in HITS))
    for column in ("ion_mode", "adduct"):
        for name, group in results.groupby(column):
            size = f"{len(group):,} spectra of {group['inchikey'].nunique():,} molecules"
            found = (bootstrap_over_molecules(group[f"all@{k}"], group["inchikey"]) for k in HITS)
            print(f"{name:16}{size:36}" + "".join(f"{interval!s:>24}" for interval in found))
    print_calibration(results)
    seconds = results["seconds"] * 1000
    print(f"\nprocessor time, ms a query: median {seconds.median():.1f}, mean {seconds.mean():.1f}, ", end="")
    print(f"95% below {seconds.quantile(0.95):.1f}, largest {seconds.max():.1f}")


def query(spectrum: dict) -> dict:
    start = time.process_time()
    ranked = rank_formulas(spectrum, PPM, top_k=HITS[-1])
    seconds = time.process_time() - start
    counts, _ = enumerate_formulas(spectrum["precursor_mz"], spectrum["adduct"], PPM)
    nearest = np.argsort(np.abs(precursor_errors(counts, spectrum["precursor_mz"], spectrum["adduct"])), kind="stable")
    answers = {
        "mass alone": [hill_formula(counts[i]) for i in nearest[: HITS[-1]]],
        "no peaks": [c.formula for c in rank_formulas(spectrum | {"mzs": [], "intensities": []}, PPM, HITS[-1])],
        "all": [c.formula for c in ranked],
    }
    row = {name: spectrum[name] for name in ("inchikey", "ion_mode", "adduct")}
    row |= {"formulas": len(counts), "seconds": seconds, "probability": np.exp(ranked[0].score) if ranked else 0.0}
    for name, formulas in answers.items():
        row |= {f"{name}@{k}": float(spectrum["formula"] in formulas[:k]) for k in HITS}
    return row


def print_recall(results: pd.DataFrame):
    molecules = results["inchikey"]
    print(f"{'':36}" + "".join(f"{f'recall@{k}':>24}" for k in HITS))
    lines = {
        label: [bootstrap_over_molecules(results[f"{name}@{k}"], molecules) for k in HITS]
        for name, label in RANKINGS.items()
    }
    for base in ("mass alone", "no peaks"):
        pairs = [(results[f"all@{k}"], results[f"{base}@{k}"]) for k in HITS]
        lines[f"gain over {RANKINGS[base]}"] = [paired_difference(*pair, molecules) for pair in pairs]
    for label, intervals in lines.items():
        print(f"{label:36}" + "".join(f"{interval!s:>24}" for interval in intervals))


def print_calibration(results: pd.DataFrame):
    given = Forecasts(*(results[name].to_numpy() for name in ("probability", "all@1", "inchikey")))
    print("\nprobability of the first formula, and the share that is right")
    for b in reliability(given):
        print(f"{b.low:.1f} to {b.high:.1f}: {b.count:5,} spectra, stated {b.predicted:.3f}, right {b.observed}")
    print(f"expected calibration error: {expected_calibration_error(given)!s}")


if __name__ == "__main__":
    main()
