"""How likely each fragment is: a small graph network over atoms and bonds, learned from measured spectra."""

from collections.abc import Sequence

import torch
from torch import nn

from .features import (
    ADDUCT_HYDROGENS,
    HYDROGEN_MASS,
    NUM_ATOM_FEATURES,
    NUM_BOND_FEATURES,
    NUM_CONDITIONS,
    NUM_FRAGMENT_FEATURES,
    MoleculeGraph,
)
from .fragments import HYDROGEN_SHIFTS

_NUM_SHIFTS = len(HYDROGEN_SHIFTS)
VOCABULARY_SIZE = 512
VOCABULARY_TOLERANCE = 4e-4  # Da


class FragmentationModel(nn.Module):
    """Scores of all fragments of a molecule under given conditions; their softmax is the share of the intensity.

    Atoms learn of their surroundings by message passing. A fragment is the sum of its atoms, of the atoms it lost and
    of the bonds cut, each seen from the side that stays; with its composition and the conditions it gives one score
    for each hydrogen shift, by different weights for radicals and for closed shells.
    """

    def __init__(self, atom_size: int = 64, hidden_size: int = 128, num_layers: int = 4):
        super().__init__()
        self.atom_in = nn.Linear(NUM_ATOM_FEATURES, atom_size)
        self.self_layers = nn.ModuleList(nn.Linear(atom_size, atom_size) for _ in range(num_layers))
        self.neighbor_layers = nn.ModuleList(nn.Linear(4 * atom_size, atom_size, bias=False) for _ in range(num_layers))
        self.cut_in = nn.Linear(2 * atom_size + NUM_BOND_FEATURES, atom_size)
        self.cut_out = nn.Linear(atom_size, hidden_size, bias=False)
        self.kept_out = nn.Linear(atom_size, hidden_size, bias=False)
        self.lost_out = nn.Linear(atom_size, hidden_size, bias=False)
        self.fragment_in = nn.Linear(NUM_FRAGMENT_FEATURES, hidden_size)
        self.condition_in = nn.Linear(NUM_CONDITIONS, hidden_size)
        self.condition_gate = nn.Linear(NUM_CONDITIONS, hidden_size)
        self.hidden = nn.Linear(hidden_size, hidden_size)
        self.out = nn.Linear(hidden_size, 2 * _NUM_SHIFTS)
        # Masses (Da, ascending) of common neutral losses and common ions, with a score of their own each.
        self.register_buffer("losses", torch.full((VOCABULARY_SIZE,), torch.inf, dtype=torch.float64))
        self.register_buffer("ions", torch.full((VOCABULARY_SIZE,), torch.inf, dtype=torch.float64))
        self.loss_scores = nn.Embedding(VOCABULARY_SIZE + 1, 8)
        self.ion_scores = nn.Embedding(VOCABULARY_SIZE + 1, 8)
        nn.init.normal_(self.loss_scores.weight, std=0.1)
        nn.init.normal_(self.ion_scores.weight, std=0.1)
        self.loss_conditions = nn.Linear(NUM_CONDITIONS, 8)
        self.ion_conditions = nn.Linear(NUM_CONDITIONS, 8)

    def forward(self, graph: MoleculeGraph, adducts: Sequence[str], conditions: torch.Tensor) -> torch.Tensor:
        """`(spectra, fragments, shifts)` scores for one adduct a spectrum and conditions `(spectra, NUM_CONDITIONS)`."""
        atoms = torch.relu(self.atom_in(graph.atoms))
        for own, neighbors in zip(self.self_layers, self.neighbor_layers, strict=True):
            messages = (graph.adjacency @ atoms).transpose(0, 1).flatten(1)
            atoms = atoms + torch.relu(own(atoms) + neighbors(messages))
        cuts = torch.relu(self.cut_in(torch.cat([atoms[graph.inner], atoms[graph.outer], graph.bonds], -1)))
        kept, lost = self.kept_out(atoms) / 8, self.lost_out(atoms) / 8
        states = graph.members @ (kept - lost) + lost.sum(0)
        states = states + graph.cut @ self.cut_out(cuts) + self.fragment_in(graph.fragments)
        states = torch.relu(states + self.condition_in(conditions)[:, None])
        states = torch.relu(self.hidden(states) * (1 + self.condition_gate(conditions)[:, None]))
        scores = self.out(states).unflatten(-1, (2, _NUM_SHIFTS))
        odd = graph.odd.bool()[:, None]
        scores = torch.where(odd, scores[..., 1, :], scores[..., 0, :])
        masses = torch.from_numpy(graph.masses)
        ions = self.ion_scores.weight @ self.ion_conditions(conditions).T
        losses = self.loss_scores.weight @ self.loss_conditions(conditions).T
        ion = lookup(self.ions, masses)
        formula_scores = []
        for i, adduct in enumerate(adducts):
            loss = lookup(self.losses, graph.mass + ADDUCT_HYDROGENS[adduct] * HYDROGEN_MASS - masses)
            formula_scores.append(ions[:, i][ion] + losses[:, i][loss])
        return scores + torch.stack(formula_scores)


def lookup(vocabulary: torch.Tensor, masses: torch.Tensor) -> torch.Tensor:
    """1 + the index of the entry that a mass is, 0 if it is none."""
    index = torch.searchsorted(vocabulary, masses - VOCABULARY_TOLERANCE).clamp_max(len(vocabulary) - 1)
    return torch.where((vocabulary[index] - masses).abs() <= VOCABULARY_TOLERANCE, index + 1, 0)
