"""Simulated against measured spectra of the same molecules under the same conditions:

    python -m spec2mol.simulation.evaluate --data ../shared/data/massbank/val.parquet

Two controls stand beside the model: the precursor ion as the only peak, and all fragments that the model could choose
from, each as intense as the other. Figures are means with 95% bootstrap intervals over molecules.
"""

import argparse
import time

import numpy as np
import pandas as pd
import torch
from rdkit import Chem
from rich.console import Console
from rich.table import Table
from tqdm import tqdm

from ..chemistry_spec2mol import precursor_mz
from ..evaluation.intervals import bootstrap_over_molecules, paired_difference
from ..fragment_graph_spec2mol import PRECURSOR_HYDROGENS, FragmentGraph, charge_shift
from ..fragments_spec2mol import MAX_ATOMS
from .fit import explain
from .similarity import cosine, entropy_similarity
from .simulate import WEIGHTS, Conditions, Peaks, load_fragmentation, simulate, simulate_peaks

SIMILARITIES = {"cosine": cosine, "entropy": entropy_similarity}
TIMED = 200  # molecules


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="parquet file of labelled spectra")
    parser.add_argument("--weights", default=WEIGHTS, help="safetensors file (default: those of the package)")
    parser.add_argument("--output", help="parquet file for the figures of the single spectra")
    args = parser.parse_args()
    torch.set_num_threads(1)
    model = load_fragmentation(args.weights)
    spectra = pd.read_parquet(args.data)
    simulated = spectra[spectra["adduct"].isin(PRECURSOR_HYDROGENS)]
    results = pd.DataFrame(
        row
        for _, rows in tqdm(simulated.groupby("inchikey"), unit=" molecules", disable=None)
        for row in evaluate_molecule(model, rows)
    )
    if args.output is not None:
        results.to_parquet(args.output)
    print_report(results, len(spectra))
    molecules = simulated[simulated["adduct"] == "[M+H]+"].drop_duplicates("inchikey")["smiles"].head(TIMED)
    speed = structures_per_second(model, molecules)
    print(f"{speed:.0f} structures/s of one core's time, from SMILES to spectrum and InChIKey")


def evaluate_molecule(model, rows: pd.DataFrame) -> list[dict]:
    """Similarities of each spectrum of one molecule to the simulation and to the controls; none if it is too large."""
    molecule = Chem.MolFromSmiles(rows["smiles"].iloc[0])
    if molecule.GetNumAtoms() > MAX_ATOMS:
        return []
    graph = FragmentGraph.from_molecule(molecule)
    results = []
    for spectrum in rows.itertuples():
        measured = Peaks(np.array(spectrum.mzs, np.float64), np.array(spectrum.intensities, np.float64))
        conditions = Conditions(spectrum.adduct, spectrum.collision_energy, spectrum.instrument_type)
        predictions = {
            "model": simulate_peaks(model, graph, conditions),
            "precursor only": Peaks(np.array([precursor_mz(graph.mass, spectrum.adduct)]), np.ones(1)),
            "uniform": uniform(graph, spectrum.adduct),
        }
        result = {name: getattr(spectrum, name) for name in ("identifier", "inchikey", "adduct", "collision_energy")}
        result["explained"] = explained_intensity(graph, spectrum)
        for name, peaks in {"measured": measured, **predictions}.items():
            result[f"peaks {name}"] = len(peaks.mzs)
            result[f"strong peaks {name}"] = (peaks.intensities > 0.1).sum()
        for similarity, function in SIMILARITIES.items():
            for name, peaks in predictions.items():
                result[f"{similarity} {name}"] = function(measured, peaks)
        results.append(result)
    return results


def uniform(graph: FragmentGraph, adduct: str) -> Peaks:
    """Every fragment formula, equally intense."""
    mzs = np.unique(np.round(graph.masses[graph.is_possible(adduct)], 4)) + charge_shift(adduct)
    return Peaks(mzs, np.ones(len(mzs)))


def explained_intensity(graph: FragmentGraph, spectrum) -> float:
    """Share of the intensity in peaks that some fragment explains."""
    intensities = np.array(spectrum.intensities)
    return intensities[np.unique(explain(graph, spectrum)[1])].sum() / intensities.sum()


def print_report(results: pd.DataFrame, number: int):
    console = Console(width=120)
    table = Table("similarity", "of", "over spectra", "over molecules", "model less this")
    for similarity in SIMILARITIES:
        for name in ("model", "precursor only", "uniform"):
            values, of_model = results[f"{similarity} {name}"], results[f"{similarity} model"]
            interval = bootstrap_over_molecules(values, results["inchikey"])
            difference = paired_difference(of_model, values, results["inchikey"]) if name != "model" else ""
            table.add_row(similarity, name, f"{values.mean():.3f}", str(interval), str(difference))
    console.print(table)
    table = Table("adduct", "spectra", "molecules", "explained intensity", "cosine", "entropy")
    for adduct, rows in results.groupby("adduct"):
        names = "explained", "cosine model", "entropy model"
        means = (f"{rows.groupby('inchikey')[name].mean().mean():.3f}" for name in names)
        table.add_row(adduct, str(len(rows)), str(rows["inchikey"].nunique()), *means)
    console.print(table)
    for kind in ("peaks", "strong peaks"):
        measured, simulated = (results[f"{kind} {name}"] for name in ("measured", "model"))
        console.print(
            f"{kind}: measured {measured.mean():.1f} (median {measured.median():.0f}), "
            f"simulated {simulated.mean():.1f} (median {simulated.median():.0f})"
        )
    console.print("strong peaks: above a tenth of the base peak")
    molecules = results["inchikey"].nunique()
    console.print(
        f"{len(results)} of {number} spectra, {molecules} molecules; the others: adduct or size not simulated"
    )


def structures_per_second(model, molecules) -> float:
    start = time.process_time()  # what else runs on the machine does not count
    for smiles in molecules:
        simulate(model, smiles, Conditions(collision_energy=40.0, instrument_type="QTOF"))
    return len(molecules) / (time.process_time() - start)


if __name__ == "__main__":
    main()
