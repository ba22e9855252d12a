"""How likely each fragment is: a small graph network, learned from measured spectra."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import nn

from .configuration_spec2mol import FragmentationConfig
from .fragment_graph_spec2mol import (
    NUM_ATOM_FEATURES,
    NUM_BOND_FEATURES,
    NUM_CONDITIONS,
    NUM_PIECE_FEATURES,
    FragmentGraph,
    condition_features,
)
from .fragments_spec2mol import HYDROGEN_SHIFTS

_NUM_SHIFTS = len(HYDROGEN_SHIFTS)
MASS_UNIT = 1e-6  # Da, of the vocabularies: integers stay exact when weights are stored or used in half precision
VOCABULARY_TOLERANCE = 400  # of these units
NO_MASS = 2**62
MIN_SHARE = 1e-3  # of the ion current, for peaks that no fragment explains
RANKED_FRAGMENTS = 512  # of a molecule that is compared with peaks: as good as all on val, and faster


class FragmentationModel(nn.Module):
    """Scores of all fragments of a molecule under given conditions: their softmax is the share of the ion current.

    - Atoms learn of their surroundings by message passing over the bonds.
    - A piece that a cut splits off is described by the sum of its atoms, by the bonds cut, each as seen from the side
      that stays, and by its composition. A fragment is the molecule less what it lost: a sum of two pieces.
    - The state of the fragment and the conditions give a score for each hydrogen shift, by other weights for radicals.
    - Common neutral losses (water, ammonia, ...) and common ions (tropylium, ...) have scores of their own.
    """

    def __init__(self, config: FragmentationConfig):
        super().__init__()
        self.config = config
        atom_size, hidden_size, vocabulary_rank = config.atom_size, config.hidden_size, config.vocabulary_rank
        self.atom_in = nn.Linear(NUM_ATOM_FEATURES, atom_size)
        self.atom_layers = nn.ModuleList(nn.Linear(5 * atom_size, atom_size) for _ in range(config.num_hidden_layers))
        self.cut_in = nn.Linear(2 * atom_size + NUM_BOND_FEATURES, atom_size)
        self.piece_in = nn.Linear(2 * atom_size + NUM_PIECE_FEATURES, hidden_size)
        self.piece_out = nn.Linear(hidden_size, hidden_size, bias=False)
        self.whole = nn.Linear(atom_size + NUM_PIECE_FEATURES, hidden_size)
        self.condition_in = nn.Linear(NUM_CONDITIONS, hidden_size)
        self.condition_gate = nn.Linear(NUM_CONDITIONS, hidden_size)
        self.hidden = nn.Linear(hidden_size, hidden_size)
        self.out = nn.Linear(hidden_size, 2 * _NUM_SHIFTS)
        # Masses in MASS_UNIT, ascending: of neutral losses, and of ions without their charge.
        self.register_buffer("losses", torch.full((config.vocabulary_size,), NO_MASS))
        self.register_buffer("ions", torch.full((config.vocabulary_size,), NO_MASS))
        self.loss_scores = nn.Embedding(1 + config.vocabulary_size, vocabulary_rank)
        self.ion_scores = nn.Embedding(1 + config.vocabulary_size, vocabulary_rank)
        self.loss_conditions = nn.Linear(NUM_CONDITIONS, vocabulary_rank)
        self.ion_conditions = nn.Linear(NUM_CONDITIONS, vocabulary_rank)
        nn.init.normal_(self.loss_scores.weight, std=0.1)
        nn.init.normal_(self.ion_scores.weight, std=0.1)

    def forward(self, graph: FragmentGraph, adducts: Sequence[str], conditions: torch.Tensor) -> torch.Tensor:
        """`(spectra, fragments, shifts)` scores, for an adduct and conditions `(NUM_CONDITIONS,)` of each spectrum."""
        graph, conditions = graph.to(self.out.weight), conditions.to(self.out.weight)
        states = torch.relu(self.fragment_states(graph) + self.condition_in(conditions)[:, None])
        states = torch.relu(self.hidden(states) * (1 + self.condition_gate(conditions)[:, None]))
        scores = self.out(states).unflatten(-1, (2, _NUM_SHIFTS))
        scores = torch.where(graph.is_radical[:, None], scores[..., 1, :], scores[..., 0, :])

        masses = torch.from_numpy(graph.masses).to(scores.device)
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

    @property
    def is_untrained(self) -> bool:
        return bool((self.ions == NO_MASS).all())

    @torch.no_grad()
    def scores_of_possible(
        self, graph: FragmentGraph, adduct: str, collision_energy: float | None, instrument_type: str | None
    ) -> np.ndarray:
        """`(fragments, shifts)`, of one spectrum; -inf for what is not `graph.is_possible`."""
        conditions = condition_features(graph.mass, adduct, collision_energy, instrument_type)
        scores = self(graph, [adduct], torch.from_numpy(conditions)[None])[0].float().cpu().numpy()
        scores[~graph.is_possible(adduct)] = -np.inf
        return scores

    def log_share(self, molecule, spectrum: Mapping) -> float:
        """How well a molecule explains a spectrum: the mean log share of the ion current that its fragments give to
        the peaks, each weighted by the root of its intensity. 0 is a spectrum of one peak that is certain.

        Args:
            molecule: of rdkit, one of `FragmentGraph.from_molecule`.
            spectrum: mzs (Da), intensities, adduct (one of `PRECURSOR_HYDROGENS`), and where they are known
                collision_energy (eV) and instrument_type.
        """
        mzs, weights = np.asarray(spectrum["mzs"], np.float64), np.sqrt(spectrum["intensities"])
        adduct = spectrum["adduct"]
        graph = FragmentGraph.from_molecule(molecule, RANKED_FRAGMENTS)
        known = spectrum.get("collision_energy"), spectrum.get("instrument_type")
        scores = self.scores_of_possible(graph, adduct, *known).astype(np.float64)
        shares = np.exp(scores - scores.max()).ravel()
        fragment, peak = graph.explain(mzs, adduct)
        explained = np.bincount(peak, shares[fragment], minlength=len(mzs)) / shares.sum()
        return float(np.log(explained + MIN_SHARE) @ weights / weights.sum())


def _lookup(vocabulary: torch.Tensor, masses: torch.Tensor) -> torch.Tensor:
    """1 + the index of the entry that a mass (Da) is, 0 if it is none."""
    masses = (masses / MASS_UNIT).round().long()
    index = torch.searchsorted(vocabulary, masses - VOCABULARY_TOLERANCE).clamp_max(len(vocabulary) - 1)
    return torch.where((vocabulary[index] - masses).abs() <= VOCABULARY_TOLERANCE, index + 1, 0)


__all__ = ["MASS_UNIT", "NO_MASS", "FragmentationModel"]
