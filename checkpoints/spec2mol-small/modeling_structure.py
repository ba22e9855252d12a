"""What is predicted of the molecule's structure before a language model writes it: by the encoder alone, told to the
language model as fingerprint tokens, and from the projector's soft tokens, by the structure head."""

import torch
from torch import nn

from .configuration_spec2mol import Spec2MolConfig
from .distributed_spec2mol import mean_over_processes


class FingerprintTokens(nn.Module):
    """The Morgan fingerprint that the encoder expects, as further soft tokens.

    A language model can learn to write molecules from fingerprints on any structures, measured or not; then a spectrum
    needs only say which bits are likely (as in DiffMS, Bohde et al. 2025). So training may tell a part of the truth in
    place of the encoder's expectation.
    """

    def __init__(self, config: Spec2MolConfig):
        super().__init__()
        self.num_tokens = config.structure_config.num_tokens
        size, hidden_size = config.structure_config.fingerprint_size, config.text_config.hidden_size
        self.classifier = nn.Linear(config.encoder_config.hidden_size, size)  # `DreamsForSequenceClassification`'s
        self.embeddings = nn.Linear(size, self.num_tokens * hidden_size)
        self.norm = nn.LayerNorm(hidden_size)

    def forward(self, logits, fingerprint=None, told_share=None):
        """
        Args:
            logits: of `classifier`, `(batch, fingerprint_size)`.
            fingerprint: the true one, `(batch, fingerprint_size)`, 0 or 1, with
            told_share: of the truth in what the tokens tell, `(batch,)`; the rest is the encoder's expectation.

        Returns:
            `(batch, num_tokens, hidden)`.
        """
        bits = logits.sigmoid()
        if told_share is not None:
            bits = torch.lerp(bits, fingerprint.to(bits.dtype), told_share[:, None].to(bits.dtype))
        return self.norm(self.embeddings(bits).unflatten(1, (self.num_tokens, -1)))

    @torch.no_grad()
    def start_from(self, frequencies):
        """Untrained, expect the bits' frequencies `(fingerprint_size,)`."""
        self.classifier.bias.copy_(frequencies.clamp(1e-4, 1 - 1e-4).logit())

    @property
    def is_untrained(self) -> bool:
        return not self.classifier.bias.any()


class StructureHead(nn.Module):
    """The projector's soft tokens -> Morgan fingerprint and element counts of the molecule.

    Its loss tells every part before the language model, at every spectrum, which substructures the peaks show: a dense
    signal, where the language model's own loss is for the most part about how molecules are written.
    """

    def __init__(self, config: Spec2MolConfig):
        super().__init__()
        sizes = config.structure_config
        self.num_queries = config.num_query_tokens
        self.hidden = nn.Linear(config.text_config.hidden_size, sizes.hidden_size)
        self.fingerprint = nn.Linear(sizes.hidden_size, sizes.fingerprint_size)
        self.elements = nn.Linear(sizes.hidden_size, sizes.num_elements)

    def forward(self, soft_tokens):
        """`(batch, tokens, hidden)`, the projector's first -> logits of the fingerprint's bits
        `(batch, fingerprint_size)` and square roots of element counts `(batch, num_elements)`."""
        states = self.hidden(soft_tokens[:, : self.num_queries]).relu().mean(1)
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
        counts_loss = nn.functional.mse_loss(roots.float(), element_counts.float().sqrt())
        return fingerprint_loss(bits, fingerprint) + counts_loss

    def similarity(self, soft_tokens, fingerprints):
        """Log likelihoods of molecules' fingerprints `(molecules, fingerprint_size)`, in nats:
        `(spectra, molecules)`."""
        bits = self(soft_tokens)[0].float()
        return bits @ fingerprints.float().T - nn.functional.softplus(bits).sum(1, keepdim=True)


def fingerprint_loss(logits, fingerprint):
    """Cross-entropy of the bits, both `(batch, fingerprint_size)`, in nats per set bit."""
    fingerprint = fingerprint.float()
    loss = nn.functional.binary_cross_entropy_with_logits(logits.float(), fingerprint, reduction="sum")
    return loss / mean_over_processes(fingerprint.sum()).clamp(min=1)


__all__ = ["FingerprintTokens", "StructureHead", "fingerprint_loss"]
