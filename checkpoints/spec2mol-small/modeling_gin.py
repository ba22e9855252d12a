"""GIN, the encoder of molecular graphs (Xu et al., ICLR 2019; with bonds Hu et al., ICLR 2020), as LLaMo and MolCA use
it (that of MoleculeSTM, over the features of the Open Graph Benchmark).

Notable: graphs come padded, but the atoms of a batch are packed while they are computed with, so that batch statistics
know no padding.
"""

from dataclasses import dataclass

import torch
from torch import nn
from transformers import PreTrainedModel
from transformers import initialization as init
from transformers.modeling_outputs import ModelOutput

from .configuration_spec2mol import GinConfig


@dataclass
class GinModelOutput(ModelOutput):
    """
    last_hidden_state (`(batch, atoms, hidden)`), 0 where there is padding.
    hidden_states (tuple of `num_hidden_layers + 1` such tensors, on request): the embeddings, then each layer's
        output.
    attention_mask (`(batch, atoms)`): 1 = real atom, 0 = padding.
    motif_features (`(batch, motifs, features)`), motif_mask (`(batch, motifs)`, 1 = real): as they were given.
    """

    last_hidden_state: torch.FloatTensor | None = None
    hidden_states: tuple[torch.FloatTensor, ...] | None = None
    attention_mask: torch.LongTensor | None = None
    motif_features: torch.FloatTensor | None = None
    motif_mask: torch.LongTensor | None = None


class FeatureEmbeddings(nn.Module):
    """Categories `(..., features)` -> the sum of an embedding of each, `(..., hidden)`."""

    def __init__(self, sizes, hidden_size: int):
        super().__init__()
        self.embeddings = nn.ModuleList(nn.Embedding(size, hidden_size) for size in sizes)

    def forward(self, features):
        return sum(embed(ids) for embed, ids in zip(self.embeddings, features.unbind(-1), strict=True))


class GinLayer(nn.Module):
    """An MLP of (1 + eps) atom + sum over its neighbours of ReLU(neighbour + bond); then BatchNorm, by the model."""

    def __init__(self, config: GinConfig):
        super().__init__()
        self.bond_embeddings = FeatureEmbeddings(config.bond_feature_sizes, config.hidden_size)
        self.eps = nn.Parameter(torch.zeros(1))
        self.mlp = nn.Sequential(
            nn.Linear(config.hidden_size, 2 * config.hidden_size),
            nn.BatchNorm1d(2 * config.hidden_size),
            nn.ReLU(),
            nn.Linear(2 * config.hidden_size, config.hidden_size),
        )
        self.norm = nn.BatchNorm1d(config.hidden_size)

    def forward(self, atoms, source, target, bond_features):
        """atoms `(all atoms, hidden)`; source, target `(directed bonds,)` are indices of them."""
        messages = (atoms[source] + self.bond_embeddings(bond_features)).relu()
        gathered = messages.new_zeros(atoms.shape).index_add(0, target, messages)
        return self.norm(self.mlp((1 + self.eps) * atoms + gathered))


class GinModel(PreTrainedModel):
    """Graphs -> states. Reads what `Spec2MolFeatureExtractor` with `molecules="graph"` makes."""

    config: GinConfig
    main_input_name = "atom_features"
    _no_split_modules = ["GinLayer"]

    # What the composite model hands to its encoder
    input_names = (
        "atom_features",
        "atoms_mask",
        "bonds",
        "bond_features",
        "bonds_mask",
        "motif_features",
        "motif_mask",
    )

    def __init__(self, config: GinConfig):
        super().__init__(config)
        self.atom_embeddings = FeatureEmbeddings(config.atom_feature_sizes, config.hidden_size)
        self.layers = nn.ModuleList(GinLayer(config) for _ in range(config.num_hidden_layers))
        self.dropout = nn.Dropout(config.hidden_dropout_prob)
        self.post_init()

    @torch.no_grad()
    def _init_weights(self, module):
        """The original's: Glorot for embeddings, PyTorch's defaults elsewhere."""
        super()._init_weights(module)
        if isinstance(module, nn.Embedding):
            init.xavier_uniform_(module.weight)
        elif isinstance(module, nn.Linear):
            bound = module.in_features**-0.5
            init.uniform_(module.weight, -bound, bound)
            init.uniform_(module.bias, -bound, bound)
        elif isinstance(module, GinLayer):
            init.zeros_(module.eps)

    def forward(
        self,
        atom_features,
        atoms_mask,
        bonds,
        bond_features,
        bonds_mask,
        motif_features=None,
        motif_mask=None,
        output_hidden_states=None,
        return_dict=None,
        **kwargs,
    ) -> tuple | GinModelOutput:
        """
        Args:
            atom_features: `(batch, atoms, 9)` categories of OGB.
            atoms_mask: `(batch, atoms)`, 1 = real.
            bonds: `(batch, bonds, 2)`, indices of the atoms at both ends, each bond once.
            bond_features: `(batch, bonds, 3)` categories of OGB.
            bonds_mask: `(batch, bonds)`, 1 = real.
            motif_features, motif_mask: of functional groups, for the projector.
        """
        output_hidden_states = (
            self.config.output_hidden_states if output_hidden_states is None else output_hidden_states
        )
        return_dict = self.config.return_dict if return_dict is None else return_dict
        real, real_bonds = atoms_mask.bool(), bonds_mask.bool()
        packed = (real.flatten().cumsum(0) - 1).view_as(real)  # index of each real atom among all of them
        ends = packed.gather(1, bonds.flatten(1)).view_as(bonds)[real_bonds]
        source, target = torch.cat([ends, ends.flip(1)]).unbind(1)  # both directions
        bond_features = bond_features[real_bonds].repeat(2, 1)

        atoms = self.atom_embeddings(atom_features[real])
        all_atoms = [atoms]
        for number, layer in enumerate(self.layers, start=1):
            atoms = layer(atoms, source, target, bond_features)
            atoms = self.dropout(atoms if number == len(self.layers) else atoms.relu())
            all_atoms.append(atoms)

        output = GinModelOutput(
            last_hidden_state=self._padded(atoms, real),
            hidden_states=tuple(self._padded(atoms, real) for atoms in all_atoms) if output_hidden_states else None,
            attention_mask=real.long(),
            motif_features=motif_features,
            motif_mask=motif_mask,
        )
        return output if return_dict else output.to_tuple()

    def _padded(self, atoms, real):
        padded = atoms.new_zeros(*real.shape, atoms.shape[-1])
        padded[real] = atoms
        return padded


__all__ = ["GinModel"]
