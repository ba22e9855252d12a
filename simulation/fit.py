"""Fits the fragmentation model to measured spectra:

    python -m spec2mol.simulation.fit --train ../shared/data/massbank/train.parquet \\
        --val ../shared/data/massbank/val.parquet --output weights.safetensors

The loss is the divergence of the shares that the model gives to the fragments of each peak from the intensities; peaks
that no fragment explains are left out. Every molecule counts alike, however many spectra it has.
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

from ..configuration_spec2mol import FragmentationConfig
from ..data.examples import molecule_identity
from ..fragment_graph_spec2mol import PRECURSOR_HYDROGENS, FragmentGraph, condition_features
from ..fragments_spec2mol import HYDROGEN_SHIFTS, MAX_ATOMS
from ..modeling_fragmentation import MASS_UNIT, VOCABULARY_TOLERANCE, FragmentationModel
from .simulate import MOLECULES

SPECTRA_PER_MOLECULE = 4  # in one epoch
MOLECULES_PER_STEP = 8
UNMATCHED_FRAGMENTS = 256  # drawn to stand for all that explain no peak
MIN_INTENSITY = 0.02  # of peaks whose formulas enter the vocabularies


class Example(NamedTuple):
    """A molecule and its spectra."""

    graph: FragmentGraph
    spectra: list


def load(path: str, limit: int | None = None) -> list[Example]:
    spectra = pd.read_parquet(path)
    spectra = spectra[spectra["adduct"].isin(PRECURSOR_HYDROGENS)]
    examples = []
    for _, rows in tqdm(list(spectra.groupby("inchikey"))[:limit], desc="Fragments", disable=None):
        molecule = Chem.MolFromSmiles(rows["smiles"].iloc[0])
        if molecule.GetNumAtoms() <= MAX_ATOMS:
            examples.append(Example(FragmentGraph.from_molecule(molecule), list(rows.itertuples())))
    return examples


def identities(path: str) -> torch.Tensor:
    """Of all molecules of a file, for the record of the models that the weights become a part of."""
    keys = pd.read_parquet(path, columns=["inchikey"])["inchikey"].unique()
    return torch.tensor(sorted(molecule_identity(key[:14]) for key in keys))


def explain(graph: FragmentGraph, spectrum) -> tuple[np.ndarray, np.ndarray]:
    """(fragment and shift, flat; peak) of all pairs that agree within the tolerance."""
    return graph.explain(np.asarray(spectrum.mzs, np.float64), spectrum.adduct)


def spectrum_loss(scores: torch.Tensor, graph: FragmentGraph, spectrum) -> torch.Tensor | None:
    """Kullback-Leibler divergence in nats, None if no peak is explained. scores: `(fragments, shifts)`."""
    index, peak = explain(graph, spectrum)
    if not len(index):
        return None
    is_impossible = torch.from_numpy(~graph.is_possible(spectrum.adduct))
    shares = torch.softmax(scores.masked_fill(is_impossible, -torch.inf).flatten(), 0)
    predicted = torch.zeros(len(spectrum.mzs)).index_add(0, torch.from_numpy(peak), shares[torch.from_numpy(index)])
    explained = torch.from_numpy(np.unique(peak))
    target = torch.from_numpy(np.array(spectrum.intensities, np.float32))[explained]
    target = target / target.sum()
    return (target * (target.log() - predicted[explained].clamp_min(1e-9).log())).sum()


def molecule_loss(model, graph: FragmentGraph, spectra: list, correction: torch.Tensor | float = 0.0):
    """Mean over the spectra, None if no peak of any is explained. correction: added to the scores of the fragments."""
    inputs = [condition_features(graph.mass, s.adduct, s.collision_energy, s.instrument_type) for s in spectra]
    scores = model(graph, [s.adduct for s in spectra], torch.from_numpy(np.stack(inputs))) + correction
    losses = [spectrum_loss(score, graph, spectrum) for score, spectrum in zip(scores, spectra, strict=True)]
    losses = [loss for loss in losses if loss is not None]
    return torch.stack(losses).mean() if losses else None


def sample_fragments(graph: FragmentGraph, spectra: list) -> tuple[FragmentGraph, torch.Tensor]:
    """The fragments that explain a peak and some of the others, and what to add to the scores, `(fragments, 1)`, so
    that those stand for all others."""
    is_needed = np.zeros(len(graph.masses), bool)
    for spectrum in spectra:
        is_needed[explain(graph, spectrum)[0] // len(HYDROGEN_SHIFTS)] = True
    needed, others = np.flatnonzero(is_needed), np.flatnonzero(~is_needed)
    drawn = np.random.choice(others, min(UNMATCHED_FRAGMENTS, len(others)), replace=False)
    correction = torch.zeros(len(needed) + len(drawn), 1)
    correction[len(needed) :] = float(np.log(max(len(others), 1) / max(len(drawn), 1)))
    return graph.take(np.concatenate([needed, drawn])), correction


def vocabularies(examples: list[Example], size: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Masses (in MASS_UNIT, ascending) of so many neutral losses and ions: those that explain peaks of the most
    molecules."""
    losses, ions = Counter(), Counter()
    for graph, spectra in tqdm(examples, desc="Vocabularies", disable=None):
        seen_losses, seen_ions = set(), set()
        for spectrum in random.sample(spectra, min(SPECTRA_PER_MOLECULE, len(spectra))):
            index, peak = explain(graph, spectrum)
            masses = graph.masses.ravel()[index[np.asarray(spectrum.intensities)[peak] >= MIN_INTENSITY]]
            seen_ions.update(np.round(masses, 4).tolist())
            seen_losses.update(np.round(graph.precursor_mass(spectrum.adduct) - masses, 4).tolist())
        losses.update(seen_losses)
        ions.update(seen_ions)
    return _most_common(losses, size), _most_common(ions, size)


def _most_common(counts: Counter, size: int) -> torch.Tensor:
    """Of masses that the lookup could not tell apart only the most frequent."""
    chosen = []
    for mass, _ in counts.most_common():
        mass = round(mass / MASS_UNIT)
        if all(abs(mass - other) > 2 * VOCABULARY_TOLERANCE for other in chosen):
            chosen.append(mass)
        if len(chosen) == size:
            break
    return torch.tensor(sorted(chosen))


@torch.inference_mode()
def validation_loss(model, examples: list[Example]) -> float:
    """Mean over molecules, all fragments and all spectra."""
    losses = [molecule_loss(model, graph, spectra) for graph, spectra in examples]
    return float(np.mean([loss.item() for loss in losses if loss is not None]))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--train", required=True, help="parquet file of labelled spectra")
    parser.add_argument("--val", required=True, help="the same, to watch")
    parser.add_argument("--output", required=True, help="safetensors file")
    parser.add_argument("--epochs", type=int, default=8, help="default: 8")
    parser.add_argument("--lr", type=float, default=3e-3, help="largest learning rate (default: 0.003)")
    parser.add_argument("--limit", type=int, help="use only so many molecules")
    args = parser.parse_args()

    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)
    torch.set_num_threads(1)
    train, val = load(args.train, args.limit), load(args.val, args.limit)
    molecules = identities(args.train)
    config = FragmentationConfig()
    model = FragmentationModel(config)
    model.losses, model.ions = vocabularies(train, config.vocabulary_size)
    optimizer = torch.optim.AdamW(model.parameters(), lr=args.lr, weight_decay=0.01)
    steps = args.epochs * -(-len(train) // MOLECULES_PER_STEP)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, args.lr, total_steps=steps, pct_start=0.1)
    for epoch in range(args.epochs):
        random.shuffle(train)
        losses = []
        with tqdm(train, desc=f"Epoch {epoch + 1}", unit=" molecules", disable=None) as progress:
            for i, (graph, spectra) in enumerate(progress):
                spectra = random.sample(spectra, min(SPECTRA_PER_MOLECULE, len(spectra)))
                sample, correction = sample_fragments(graph, spectra)
                loss = molecule_loss(model, sample, spectra, correction)
                if loss is not None:
                    losses.append(loss.item())
                    (loss / MOLECULES_PER_STEP).backward()
                if (i + 1) % MOLECULES_PER_STEP == 0 or i + 1 == len(train):
                    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
                    optimizer.step()
                    optimizer.zero_grad()
                    schedule.step()
                    progress.set_postfix(loss=f"{np.mean(losses[-500:]):.3f}")
        save_file(model.state_dict() | {MOLECULES: molecules}, args.output)
        print(
            f"epoch {epoch + 1}: train {np.mean(losses):.3f}, val {validation_loss(model, val):.3f} nats", flush=True
        )


if __name__ == "__main__":
    main()
