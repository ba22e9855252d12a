"""Condition tokens: what a query says beside its peaks, as further states for the projector to attend to."""

import math

import torch
from torch import nn

from .configuration_spec2mol import ConditionConfig


class FourierFeatures(nn.Module):
    """Numbers `(..., 1)` -> cos and sin `(..., 2 * num_frequencies)` at wavelengths in geometric steps from `shortest`
    to `longest`, in the unit of the numbers; float32 whatever the dtype of the weights."""

    def __init__(self, num_frequencies: int, shortest: float, longest: float):
        super().__init__()
        ratio = (longest / shortest) ** (1 / (num_frequencies - 1))
        self.wavelengths = [shortest * ratio**i for i in range(num_frequencies)]

    def forward(self, x):
        phases = 2 * math.pi * x.float() / torch.tensor(self.wavelengths, device=x.device)
        return torch.cat([phases.cos(), phases.sin()], dim=-1)


class ConditionEmbeddings(nn.Module):
    """Six tokens: precursor m/z, collision energy, adduct, ion mode, instrument type, formula. An unknown one is
    masked, so it has no influence at all; training drops known ones at random, so that any subset serves."""

    input_names = ("condition_ids", "condition_values", "formula_counts", "condition_mask")

    def __init__(self, config: ConditionConfig, hidden_size: int):
        super().__init__()
        num_features = 2 * config.num_frequencies
        self.mz_features = FourierFeatures(config.num_frequencies, shortest=0.05, longest=3000.0)  # Da
        self.energy_features = FourierFeatures(config.num_frequencies, shortest=4.0, longest=400.0)  # eV
        self.count_features = FourierFeatures(config.num_frequencies, shortest=3.0, longest=300.0)  # atoms
        self.mz_projection = nn.Linear(num_features, hidden_size)
        self.energy_projection = nn.Linear(num_features, hidden_size)
        self.formula_projection = nn.Linear(config.num_elements * num_features, hidden_size)
        self.adducts = nn.Embedding(config.num_adducts, hidden_size)
        self.ion_modes = nn.Embedding(config.num_ion_modes, hidden_size)
        self.instrument_types = nn.Embedding(config.num_instrument_types, hidden_size)
        self.token_types = nn.Embedding(6, hidden_size)
        self.norm = nn.LayerNorm(hidden_size)

    def forward(self, condition_ids, condition_values, formula_counts, condition_mask):
        """Shapes as `Spec2MolFeatureExtractor` returns them -> states `(batch, 6, hidden)`, mask `(batch, 6)`."""
        dtype = self.mz_projection.weight.dtype
        mz, energy = condition_values.split(1, dim=-1)
        adduct, ion_mode, instrument_type = condition_ids.unbind(-1)
        tokens = [
            self.mz_projection(self.mz_features(mz).to(dtype)),
            self.energy_projection(self.energy_features(energy).to(dtype)),
            self.adducts(adduct),
            self.ion_modes(ion_mode),
            self.instrument_types(instrument_type),
            self.formula_projection(self.count_features(formula_counts[..., None]).flatten(-2).to(dtype)),
        ]
        types = self.token_types(torch.arange(len(tokens), device=mz.device))
        return self.norm(torch.stack(tokens, dim=1) + types), condition_mask


__all__ = ["ConditionEmbeddings", "FourierFeatures"]
