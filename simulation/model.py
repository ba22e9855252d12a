"""How likely each fragment is: a small graph network, learned from measured spectra."""

from collections.abc import Sequence

import torch
from torch import nn

from .features import NUM_ATOM_FEATURES, NUM_BOND_FEATURES, NUM_CONDITIONS, NUM_PIECE_FEATURES, FragmentGraph
from .fragments import HYDROGEN_SHIFTS

_NUM_SHIFTS = len(HYDROGEN_SHIFTS)
VOCABULARY_SIZE = 512
VOCABULARY_TOLERANCE = 4e-4  # Da


class FragmentationModel(nn.Module):
    """Scores of all fragments of a molecule under given conditions: their softmax is the share of the ion current.

    - Atoms learn of their surroundings by message passing over the bonds.
    - A piece that a cut splits off is described by the sum of its atoms, by the bonds cut, each as seen from the side
      that stays, and by its composition. A fragment is the molecule less what it lost: a sum of two pieces.
    - The state of the fragment and the conditions give a score for each hydrogen shift, by other weights for radicals.
    - Common neutral losses (water, ammonia, ...) and common ions (tropylium, ...) have scores of their own.
    """

    def __init__(self, atom_size: int = 64, hidden_size: int = 128, num_layers: int = 4, vocabulary_rank: int = 8):
        super().__init__()
        self.atom_in = nn.Linear(NUM_ATOM_FEATURES, atom_size)
        self.atom_layers = nn.ModuleList(nn.Linear(5 * atom_size, atom_size) for _ in range(num_layers))
        self.cut_in = nn.Linear(2 * atom_size + NUM_BOND_FEATURES, atom_size)
        self.piece_in = nn.Linear(2 * atom_size + NUM_PIECE_FEATURES, hidden_size)
        self.piece_out = nn.Linear(hidden_size, hidden_size, bias=False)
        self.whole = nn.Linear(atom_size + NUM_PIECE_FEATURES, hidden_size)
        self.condition_in = nn.Linear(NUM_CONDITIONS, hidden_size)
        self.condition_gate = nn.Linear(NUM_CONDITIONS, hidden_size)
        self.hidden = nn.Linear(hidden_size, hidden_size)
        self.out = nn.Linear(hidden_size, 2 * _NUM_SHIFTS)
        # Masses in Da, ascending: of neutral losses, and of ions without their charge.
        self.register_buffer("losses", torch.full((VOCABULARY_SIZE,), torch.inf, dtype=torch.float64))
        self.register_buffer("ions", torch.full((VOCABULARY_SIZE,), torch.inf, dtype=torch.float64))
        self.loss_scores = nn.Embedding(1 + VOCABULARY_SIZE, vocabulary_rank)
        self.ion_scores = nn.Embedding(1 + VOCABULARY_SIZE, vocabulary_rank)
        self.loss_conditions = nn.Linear(NUM_CONDITIONS, vocabulary_rank)
        self.ion_conditions = nn.Linear(NUM_CONDITIONS, vocabulary_rank)
        nn.init.normal_(self.loss_scores.weight, std=0.1)
        nn.init.normal_(self.ion_scores.weight, std=0.1)

    def forward(self, graph: FragmentGraph, adducts: Sequence[str], conditions: torch.Tensor) -> torch.Tensor:
        """`(spectra, fragments, shifts)` scores, for an adduct and conditions `(NUM_CONDITIONS,)` of each spectrum."""
        states = torch.relu(self.fragment_states(graph) + self.condition_in(conditions)[:, None])
        states = torch.relu(self.hidden(states) * (1 + self.condition_gate(conditions)[:, None]))
        scores = self.out(states).unflatten(-1, (2, _NUM_SHIFTS))
        scores = torch.where(graph.is_radical[:, None], scores[..., 1, :], scores[..., 0, :])

        masses = torch.from_numpy(graph.masses)
        ion_scores = self.ion_conditions(conditions) @ self.ion_scores.weight.T
        loss_scores = self.loss_conditions(conditions) @ self.loss_scores.weight.T
        ion = _lookup(self.ions, masses)
        loss = {name: _lookup(self.losses, graph.precursor_mass(name) - masses) for name in set(adducts)}
        return scores + torch.stack(
            [
                ions[ion] + losses[loss[name]]
                for ions, losses, name in zip(ion_scores, loss_scores, adducts, strict=True)
            ]
        )

    def fragment_states(self, graph: FragmentGraph) -> torch.Tensor:
        """`(fragments, hidden_size)`, whatever the conditions."""
        atoms = torch.relu(self.atom_in(graph.atoms))
        for layer in self.atom_layers:
            neighbors = (graph.adjacency @ atoms).transpose(0, 1).flatten(1)
            atoms = atoms + torch.relu(layer(torch.cat([atoms, neighbors], 1)))
        cuts = torch.relu(self.cut_in(torch.cat([atoms[graph.inner], atoms[graph.outer], graph.bonds], 1)))
        parts = torch.cat([graph.members @ atoms / 8, graph.cut @ cuts, graph.pieces], 1)
        pieces = self.piece_out(torch.relu(self.piece_in(parts[1:])))
        pieces = torch.cat([pieces.new_zeros(1, pieces.shape[1]), pieces])
        whole = self.whole(torch.cat([atoms.sum(0) / 8, graph.pieces[0]]))
        return whole + pieces[graph.lost[:, 0]] + pieces[graph.lost[:, 1]]


def _lookup(vocabulary: torch.Tensor, masses: torch.Tensor) -> torch.Tensor:
    """1 + the index of the entry that a mass is, 0 if it is none."""
    index = torch.searchsorted(vocabulary, masses - VOCABULARY_TOLERANCE).clamp_max(len(vocabulary) - 1)
    return torch.where((vocabulary[index] - masses).abs() <= VOCABULARY_TOLERANCE, index + 1, 0)
