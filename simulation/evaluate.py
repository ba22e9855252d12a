"""Simulated against measured spectra:

python -m spec2mol.simulation.evaluate --data ../shared/data/massbank/val.parquet
"""

import argparse
import time

import numpy as np
import pandas as pd
from rdkit import Chem
from tqdm import tqdm

from ..evaluation.metrics import bootstrap_over_molecules
from .features import PRECURSOR_HYDROGENS, FragmentGraph, charge_shift
from .fragments import MAX_ATOMS
from .simulate import WEIGHTS, Peaks, load_weights, simulate

TOLERANCE = 0.01  # Da


def align(a: Peaks, b: Peaks):
    """Intensities of both on common peaks: each pair within the tolerance is matched at most once, the nearest first."""
    delta = np.abs(a.mzs[:, None] - b.mzs)
    first, second = np.nonzero(delta <= TOLERANCE)
    left, right = list(a.intensities), [0.0] * len(a.mzs)
    used_a, used_b = set(), set()
    for k in np.argsort(delta[first, second], kind="stable"):
        i, j = first[k], second[k]
        if i not in used_a and j not in used_b:
            used_a.add(i)
            used_b.add(j)
            right[i] = b.intensities[j]
    rest = [j for j in range(len(b.mzs)) if j not in used_b]
    return np.array(left + [0.0] * len(rest)), np.array(right + list(b.intensities[rest]))


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    return float(a @ b / np.sqrt((a @ a) * (b @ b)))


def _entropy(p):
    p = p[p > 0]
    return -(p * np.log(p)).sum()


def _weighted(p):
    p = p / p.sum()
    entropy = _entropy(p)
    if entropy < 3:
        p = p ** (0.25 + 0.25 * entropy)
        p = p / p.sum()
    return p


def entropy_similarity(a: np.ndarray, b: np.ndarray) -> float:
    """Li et al. 2021, with their weighting of spectra of low entropy."""
    a, b = _weighted(a), _weighted(b)
    return float(1 - (2 * _entropy((a + b) / 2) - _entropy(a) - _entropy(b)) / np.log(4))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True)
    parser.add_argument("--weights", default=WEIGHTS)
    args = parser.parse_args()
    model = load_weights(args.weights)
    spectra = pd.read_parquet(args.data)
    spectra = spectra[spectra["adduct"].isin(PRECURSOR_HYDROGENS)]
    rows, seconds, sims, counts = [], 0.0, 0, []
    for name, group in tqdm(spectra.groupby("inchikey"), disable=None):
        molecule = Chem.MolFromSmiles(group["smiles"].iloc[0])
        if molecule.GetNumAtoms() > MAX_ATOMS:
            continue
        graph = FragmentGraph.from_molecule(molecule)
        for spectrum in group.itertuples():
            measured = Peaks(np.asarray(spectrum.mzs, np.float64), np.asarray(spectrum.intensities, np.float64))
            start = time.perf_counter()
            simulated = simulate(
                model, molecule, spectrum.adduct, spectrum.collision_energy, spectrum.instrument_type, graph
            )
            seconds += time.perf_counter() - start
            sims += 1
            allowed = graph.is_possible(spectrum.adduct)
            mzs = graph.masses[allowed] + charge_shift(spectrum.adduct)
            uniform = np.unique(np.round(mzs, 4))
            others = {
                "simulated": simulated,
                "precursor": Peaks(np.array([spectrum.precursor_mz]), np.ones(1)),
                "uniform": Peaks(uniform, np.ones(len(uniform))),
            }
            counts.append(
                (
                    len(measured.mzs),
                    len(simulated.mzs),
                    (measured.intensities >= 0.02).sum(),
                    (simulated.intensities >= 0.02).sum(),
                )
            )
            row = {"inchikey": name, "ion_mode": spectrum.ion_mode, "adduct": spectrum.adduct}
            for label, other in others.items():
                pair = align(measured, other)
                row[f"cosine {label}"], row[f"entropy {label}"] = cosine(*pair), entropy_similarity(*pair)
            rows.append(row)
    frame = pd.DataFrame(rows)
    print(sims / seconds, "structures/s")
    print("peaks measured, simulated", np.mean(counts, 0), np.median(counts, 0))
    for column in frame.columns[3:]:
        print(
            column,
            f"{frame[column].mean():.3f}",
            bootstrap_over_molecules(frame[column], frame["inchikey"]),
            frame.groupby("adduct")[column].mean().round(3).to_dict(),
        )


if __name__ == "__main__":
    main()
