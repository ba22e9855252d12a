"""Structure head: what the soft tokens say of the molecule before any language model reads them."""

import torch
from torch import nn

from .configuration_spec2mol import Spec2MolConfig
from .distributed_spec2mol import mean_over_processes


class StructureHead(nn.Module):
    """Soft tokens -> Morgan fingerprint and element counts of the molecule.

    Its loss tells every part before the language model, at every spectrum, which substructures the peaks show: a dense
    signal, where the language model's own loss is for the most part about how molecules are written.
    """

    def __init__(self, config: Spec2MolConfig):
        super().__init__()
        sizes = config.structure_config
        self.hidden = nn.Linear(config.text_config.hidden_size, sizes.hidden_size)
        self.fingerprint = nn.Linear(sizes.hidden_size, sizes.fingerprint_size)
        self.elements = nn.Linear(sizes.hidden_size, sizes.num_elements)

    def forward(self, soft_tokens):
        """`(batch, queries, hidden)` -> logits of the fingerprint's bits `(batch, fingerprint_size)` and square roots
        of element counts `(batch, num_elements)`."""
        states = self.hidden(soft_tokens).relu().mean(1)
        return self.fingerprint(states), self.elements(states)

    @torch.no_grad()
    def start_from(self, frequencies, roots):
        """Untrained, predict what is so of molecules in general: the bits' frequencies `(fingerprint_size,)` and the
        mean roots of element counts `(num_elements,)`. Gradient steps would take hundreds of batches to get there."""
        self.fingerprint.bias.copy_(frequencies.clamp(1e-4, 1 - 1e-4).logit())
        self.elements.bias.copy_(roots)

    @property
    def is_untrained(self) -> bool:
        return not self.fingerprint.bias.any()

    def loss(self, soft_tokens, fingerprint, element_counts):
        """Cross-entropy of the bits in nats per set bit, plus the squared error of the roots of the counts.

        Args:
            fingerprint: `(batch, fingerprint_size)`, 0 or 1.
            element_counts: `(batch, num_elements)`, in the order of the feature extractor's `elements`.
        """
        bits, roots = self(soft_tokens)
        fingerprint = fingerprint.float()
        bits_loss = nn.functional.binary_cross_entropy_with_logits(bits.float(), fingerprint, reduction="sum")
        counts_loss = nn.functional.mse_loss(roots.float(), element_counts.float().sqrt())
        return bits_loss / mean_over_processes(fingerprint.sum()).clamp(min=1) + counts_loss

    def similarity(self, soft_tokens, fingerprints):
        """Log likelihoods of molecules' fingerprints `(molecules, fingerprint_size)`, in nats:
        `(spectra, molecules)`."""
        bits = self(soft_tokens)[0].float()
        return bits @ fingerprints.float().T - nn.functional.softplus(bits).sum(1, keepdim=True)


__all__ = ["StructureHead"]
