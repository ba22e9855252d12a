"""Fits the fragmentation model to measured spectra:

    python -m spec2mol.simulation.fit --train ../shared/data/massbank/train.parquet \\
        --val ../shared/data/massbank/val.parquet --output weights.safetensors

The loss is the cross-entropy between the intensities of a spectrum and the shares that the model gives to the fragments
of their m/z; peaks that no fragment explains are left out. Every molecule counts alike, however many spectra it has.
"""

import argparse
import random
from collections import Counter
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from rdkit import Chem
from safetensors.torch import save_file
from tqdm import tqdm

from .features import (
    ADDUCT_HYDROGENS,
    HYDROGEN_MASS,
    MoleculeGraph,
    bond_costs,
    charge_shift,
    conditions,
    molecule_graph,
    possible,
)
from .fragments import HYDROGEN_SHIFTS, MAX_ATOMS, enumerate_fragments
from .model import VOCABULARY_SIZE, VOCABULARY_TOLERANCE, FragmentationModel

TOLERANCE_PPM, TOLERANCE_DA = 10.0, 0.005  # the larger counts
SPECTRA_PER_MOLECULE = 4  # in one epoch
MOLECULES_PER_STEP = 8
UNMATCHED_FRAGMENTS = 256  # drawn to stand for all that explain no peak
MIN_INTENSITY = 0.02  # of peaks whose formulas enter the vocabularies


class Example(NamedTuple):
    """A molecule, its fragments with their masses (Da, `(fragments,)`), and its spectra."""

    molecule: Chem.Mol
    fragments: np.ndarray
    masses: np.ndarray
    spectra: list


def load(path: str, limit: int | None = None) -> list[Example]:
    spectra = pd.read_parquet(path)
    spectra = spectra[spectra["adduct"].isin(ADDUCT_HYDROGENS)]
    examples = []
    for _, rows in tqdm(list(spectra.groupby("inchikey"))[:limit], desc="Fragments", disable=None):
        molecule = Chem.MolFromSmiles(rows["smiles"].iloc[0])
        if molecule.GetNumAtoms() <= MAX_ATOMS:
            fragments = enumerate_fragments(molecule, bond_costs(molecule))
            masses = molecule_graph(molecule, fragments).masses[:, list(HYDROGEN_SHIFTS).index(0)]
            examples.append(Example(molecule, fragments, masses, list(rows.itertuples())))
    return examples


def match_peaks(masses: np.ndarray, targets: np.ndarray, mzs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(index of the mass, index of the peak) of all pairs within the tolerance; `targets` are the masses sought by the
    peaks at `mzs`, all in Da."""
    order = np.argsort(masses)
    tolerance = np.maximum(mzs * TOLERANCE_PPM * 1e-6, TOLERANCE_DA)
    low = np.searchsorted(masses, targets - tolerance, sorter=order)
    high = np.searchsorted(masses, targets + tolerance, sorter=order)
    number = high - low
    peak = np.repeat(np.arange(len(mzs)), number)
    return order[np.arange(len(peak)) - np.repeat(np.cumsum(number) - number - low, number)], peak


def spectrum_loss(scores: torch.Tensor, spectrum, graph: MoleculeGraph) -> torch.Tensor | None:
    """Kullback-Leibler divergence in nats, None if no peak is explained. scores: `(fragments, shifts)`."""
    mzs = np.asarray(spectrum.mzs, np.float64)
    intensities = torch.from_numpy(np.array(spectrum.intensities, np.float32))
    allowed = possible(graph, spectrum.adduct)
    masses = np.where(allowed, graph.masses, np.inf).ravel()
    index, peak = match_peaks(masses, mzs - charge_shift(spectrum.adduct), mzs)
    if not len(index):
        return None
    shares = torch.softmax(scores.masked_fill(torch.from_numpy(~allowed), -torch.inf).flatten(), 0)
    predicted = torch.zeros(len(mzs)).index_add(0, torch.from_numpy(peak), shares[torch.from_numpy(index)])
    explained = torch.from_numpy(np.unique(peak))
    target = intensities[explained] / intensities[explained].sum()
    return (target * (target.log() - predicted[explained].clamp_min(1e-9).log())).sum()


def molecule_loss(model, graph: MoleculeGraph, spectra: list, correction: torch.Tensor | float = 0.0):
    """Mean over the spectra, None if no peak of any is explained. correction: added to the scores of the fragments."""
    inputs = [conditions(graph.mass, s.adduct, s.collision_energy, s.instrument_type) for s in spectra]
    scores = model(graph, [s.adduct for s in spectra], torch.from_numpy(np.stack(inputs))) + correction
    losses = [spectrum_loss(score, spectrum, graph) for score, spectrum in zip(scores, spectra, strict=True)]
    losses = [loss for loss in losses if loss is not None]
    return torch.stack(losses).mean() if losses else None


def sample_fragments(example: Example, spectra: list) -> tuple[np.ndarray, torch.Tensor]:
    """Fragments that explain a peak and some of the others, and what to add to the scores, `(fragments, 1)`: each of the
    others stands for several."""
    is_needed = np.zeros(len(example.masses), bool)
    is_needed[0] = True
    masses = (example.masses[:, None] + HYDROGEN_SHIFTS * HYDROGEN_MASS).ravel()
    for spectrum in spectra:
        mzs = np.asarray(spectrum.mzs, np.float64)
        index, _ = match_peaks(masses, mzs - charge_shift(spectrum.adduct), mzs)
        is_needed[index // len(HYDROGEN_SHIFTS)] = True
    others = np.flatnonzero(~is_needed)
    drawn = np.random.choice(others, min(UNMATCHED_FRAGMENTS, len(others)), replace=False)
    chosen = np.concatenate([np.flatnonzero(is_needed), drawn])
    correction = torch.zeros(len(chosen), 1)
    if len(drawn):
        correction[-len(drawn) :] = float(np.log(len(others) / len(drawn)))
    return example.fragments[chosen], correction


def vocabularies(examples: list[Example]) -> tuple[torch.Tensor, torch.Tensor]:
    """Masses (Da, ascending) of the neutral losses and of the ions that explain peaks of the most molecules."""
    losses, ions = Counter(), Counter()
    for example in tqdm(examples, desc="Vocabularies", disable=None):
        graph = molecule_graph(example.molecule, example.fragments)
        seen_losses, seen_ions = set(), set()
        for spectrum in random.sample(example.spectra, min(SPECTRA_PER_MOLECULE, len(example.spectra))):
            masses = graph.masses[possible(graph, spectrum.adduct)]
            mzs = np.asarray(spectrum.mzs, np.float64)[np.asarray(spectrum.intensities) >= MIN_INTENSITY]
            index, _ = match_peaks(masses, mzs - charge_shift(spectrum.adduct), mzs)
            precursor = graph.mass + ADDUCT_HYDROGENS[spectrum.adduct] * HYDROGEN_MASS
            seen_ions.update(np.round(masses[index], 4).tolist())
            seen_losses.update(np.round(precursor - masses[index], 4).tolist())
        losses.update(seen_losses)
        ions.update(seen_ions)
    return _most_common(losses), _most_common(ions)


def _most_common(counts: Counter) -> torch.Tensor:
    """Of masses that the lookup could not tell apart only the most frequent."""
    chosen = []
    for mass, _ in counts.most_common():
        if all(abs(mass - other) > 2 * VOCABULARY_TOLERANCE for other in chosen):
            chosen.append(mass)
        if len(chosen) == VOCABULARY_SIZE:
            break
    return torch.tensor(sorted(chosen), dtype=torch.float64)


@torch.inference_mode()
def validation_loss(model, examples: list[Example]) -> float:
    """Mean over molecules, all fragments and all spectra."""
    losses = [molecule_loss(model, molecule_graph(e.molecule, e.fragments), e.spectra) for e in examples]
    return float(np.mean([loss.item() for loss in losses if loss is not None]))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--train", required=True, help="parquet file of labelled spectra")
    parser.add_argument("--val", required=True, help="the same, to watch")
    parser.add_argument("--output", required=True, help="safetensors file")
    parser.add_argument("--epochs", type=int, default=10, help="default: 10")
    parser.add_argument("--lr", type=float, default=3e-3, help="largest learning rate (default: 0.003)")
    parser.add_argument("--limit", type=int, help="use only so many molecules")
    args = parser.parse_args()

    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)
    torch.set_num_threads(1)
    train, val = load(args.train, args.limit), load(args.val, args.limit)
    model = FragmentationModel()
    model.losses, model.ions = vocabularies(train)
    optimizer = torch.optim.AdamW(model.parameters(), lr=args.lr, weight_decay=0.01)
    steps = args.epochs * -(-len(train) // MOLECULES_PER_STEP)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, args.lr, total_steps=steps, pct_start=0.1)
    for epoch in range(args.epochs):
        random.shuffle(train)
        losses = []
        with tqdm(train, desc=f"Epoch {epoch + 1}", unit=" molecules", disable=None) as progress:
            for i, example in enumerate(progress):
                spectra = random.sample(example.spectra, min(SPECTRA_PER_MOLECULE, len(example.spectra)))
                fragments, correction = sample_fragments(example, spectra)
                loss = molecule_loss(model, molecule_graph(example.molecule, fragments), spectra, correction)
                if loss is not None:
                    losses.append(loss.item())
                    (loss / MOLECULES_PER_STEP).backward()
                if (i + 1) % MOLECULES_PER_STEP == 0 or i + 1 == len(train):
                    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
                    optimizer.step()
                    optimizer.zero_grad()
                    schedule.step()
                    progress.set_postfix(loss=f"{np.mean(losses[-500:]):.3f}")
        save_file(model.state_dict(), args.output)
        print(f"epoch {epoch + 1}: train {np.mean(losses):.3f}, val {validation_loss(model, val):.3f} nats", flush=True)


if __name__ == "__main__":
    main()
