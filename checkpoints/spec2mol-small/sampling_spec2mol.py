"""Pools of samples of what the model writes, each of the formula that its query asks for.

Notable:
- The prompt of a query is read once. Rows of the batch are texts, not samples: samples that wrote the same so far
  share their row, and part where their noise tells them to.
- Texts that have ended leave the batch. Samples that the formula leads into a dead end go on with the texts of others
  of their query.
- The noise of sampling is the same for every query, so that answers depend neither on the batch nor on chance.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from transformers.cache_utils import Cache, DynamicLayer

from .formula_constraint_spec2mol import DEAD, Derivations

REVIVAL = 8  # tokens after which dead samples go on as copies; at fixed places, whatever else is in the batch
ROOM = 32  # tokens by which the cache grows


class Query(NamedTuple):
    """What the model is asked: a spectrum as the feature extractor takes it, the formula that the answers must have
    (with the molecule's charge; None for any), the log probability of that formula, and how many samples to draw."""

    spectrum: dict
    formula: str | None
    formula_score: float
    samples: int


class Sample(NamedTuple):
    """SELFIES symbols, and their log likelihood with the end behind them, without the constraint (natural log)."""

    ids: tuple[int, ...]
    log_likelihood: float


class RoomyLayer(DynamicLayer):
    """Keys and values with room for tokens and rows to come: neither a new token nor a change of some rows copies what
    stays in its place, where `DynamicLayer` copies everything."""

    def lazy_initialization(self, key_states, value_states):
        super().lazy_initialization(key_states, value_states)
        self.buffers = [states[:, :, :0] for states in (key_states, value_states)]
        self._show(len(key_states), 0)

    def _show(self, rows, length):
        self.keys, self.values = (buffer[:rows, :, :length] for buffer in self.buffers)

    def _reserve(self, rows, length):
        most_rows, _, longest, _ = self.buffers[0].shape
        if rows <= most_rows and length <= longest:
            return
        shape = rows + rows // 2 if rows > most_rows else most_rows, length + ROOM if length > longest else longest
        buffers = []
        for held, buffer in zip((self.keys, self.values), self.buffers, strict=True):
            buffers.append(buffer.new_empty(shape[0], held.shape[1], shape[1], held.shape[3]))
            buffers[-1][: len(held), :, : held.shape[2]] = held
        self.buffers = buffers

    def update(self, key_states, value_states, *args, **kwargs):
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        rows, length = len(self.keys), self.get_seq_length()
        end = length + key_states.shape[-2]
        self._reserve(rows, end)
        for buffer, states in zip(self.buffers, (key_states, value_states), strict=True):
            buffer[:rows, :, length:end] = states
        self._show(rows, end)
        return self.keys, self.values

    def batch_select_indices(self, indices: torch.Tensor):
        rows, length = len(indices), self.get_seq_length()
        self._reserve(rows, length)
        moved = (indices != torch.arange(rows, device=indices.device)).nonzero()[:, 0]
        if len(moved):
            for buffer in self.buffers:
                held = buffer[:, :, :length]
                held.index_copy_(0, moved, held.index_select(0, indices[moved]))
        self._show(rows, length)

    def reorder_cache(self, beam_idx: torch.LongTensor):
        self.batch_select_indices(beam_idx.to(self.device))

    def batch_repeat_interleave(self, repeats: int):
        self.batch_select_indices(torch.arange(len(self.keys), device=self.device).repeat_interleave(repeats))


@torch.inference_mode()
def sample_molecules(
    model, processor, queries: Sequence[Query], soft_tokens: torch.Tensor, max_new_tokens: int = 256
) -> list[list[Sample]]:
    """For each query those of its samples that came to an end."""
    tokenizer, forbidden = processor.tokenizer, model.generation_config.suppress_tokens
    end_id = tokenizer.eos_token_id
    prompt = torch.tensor(processor.prompt, device=model.device).expand(len(queries), -1)
    cache = Cache(layer_class_to_replicate=RoomyLayer)
    output = model(input_ids=prompt, soft_tokens=soft_tokens, past_key_values=cache, use_cache=True, logits_to_keep=1)
    longest = min(max_new_tokens, model.config.text_config.max_position_embeddings - prompt.shape[1])

    # Of each row
    derivations = Derivations(tokenizer, [query.formula for query in queries])
    ids = np.zeros((len(queries), longest), np.int64)
    likelihood = np.zeros(len(queries))
    # Of each sample
    counts = [query.samples for query in queries]
    owner = np.repeat(np.arange(len(queries)), counts)
    number = np.concatenate([np.arange(n) for n in counts])
    row = owner.copy()
    running, dead = np.ones(len(owner), bool), np.zeros(len(owner), bool)

    pools = [[] for _ in queries]
    for step in range(longest):
        log_p = output.logits[:, -1].float().log_softmax(-1)
        log_p[:, forbidden] = -torch.inf
        vocabulary = log_p.shape[1]
        # The largest of log p plus Gumbel noise is a sample from p. That of a sample depends on its number alone.
        noise = torch.from_numpy(np.random.default_rng(step).gumbel(size=(max(counts), vocabulary))).float()
        samples = np.flatnonzero(running)
        scores = derivations.constrain(log_p)[row[samples]] + noise[number[samples]].to(log_p.device)
        chosen = scores.argmax(-1).cpu().numpy()
        log_p = log_p.double().cpu().numpy()
        for sample in samples[chosen == end_id]:
            text = row[sample]
            log_likelihood = likelihood[text] + log_p[text, end_id]
            pools[owner[sample]].append(Sample(tuple(ids[text, :step].tolist()), float(log_likelihood)))
        running[samples] = chosen != end_id
        if not running.any():
            break

        samples, chosen = samples[chosen != end_id], chosen[chosen != end_id]
        texts, text = np.unique(row[samples] * vocabulary + chosen, return_inverse=True)
        parents, tokens = np.divmod(texts, vocabulary)
        place, origin = _place(parents)
        row[samples] = place[text]
        read = np.empty_like(tokens)
        read[place] = tokens
        derivations, ids = derivations.select(origin), ids[origin]
        derivations.advance(read)
        ids[:, step] = read
        likelihood = likelihood[origin] + log_p[origin, read]
        dead[samples] = derivations.phase[row[samples]] == DEAD
        running &= ~dead
        if not running.any():
            break
        if step % REVIVAL == 0:
            _revive(running, dead, row, owner, number)
        cache.batch_select_indices(torch.from_numpy(origin).to(model.device))
        output = model(
            input_ids=torch.from_numpy(read)[:, None].to(model.device), past_key_values=cache, use_cache=True
        )
    return pools


def _place(parents: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The row of each text, given the row (in ascending order) of the text that it continues; and for each row the one
    that it goes on from. The first that continues a text stays in its row where that is possible."""
    stays = (np.diff(parents, prepend=-1) > 0) & (parents < len(parents))
    place, origin = parents.copy(), np.arange(len(parents))
    place[~stays] = np.setdiff1d(origin, parents[stays])
    origin[place] = parents
    return place, origin


def _revive(running, dead, row, owner, number):
    """Dead samples go on with the texts of running ones of their query; where there are none they are given up."""
    for query in np.unique(owner[dead]):
        others = np.flatnonzero(running & (owner == query))
        lost = np.flatnonzero(dead & (owner == query))
        if len(others):
            row[lost] = row[others[number[lost] % len(others)]]
            running[lost] = True
    dead[:] = False


__all__ = ["Query", "RoomyLayer", "Sample", "sample_molecules"]
