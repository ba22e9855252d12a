"""Pools of what the model writes to each query, of the formula that it asks for: its likeliest texts, found by beams,
and samples.

Notable:
- The prompt of a query is read once. Rows of the batch are texts: beams and samples that wrote the same so far share
  their row, and part where likelihood or noise tell them to.
- Texts that have ended leave the batch. Samples that the formula leads into a dead end go on with the texts of others
  of their query; the place of a beam is taken by the next best.
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
    (with the molecule's charge; None for any), the log probability of that formula, and how many beams to follow and
    samples to draw."""

    spectrum: dict
    formula: str | None
    formula_score: float
    beams: int = 0
    samples: int = 0


class Text(NamedTuple):
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
def write_molecules(
    model, processor, queries: Sequence[Query], soft_tokens: torch.Tensor, max_new_tokens: int = 256
) -> list[list[Text]]:
    """For each query the distinct texts that came to an end."""
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
    query_of = np.arange(len(queries))
    # Of each sample
    counts = [query.samples for query in queries]
    owner = np.repeat(query_of, counts)
    number = np.concatenate([np.arange(n) for n in counts])
    row = owner.copy()
    running, dead = np.ones(len(owner), bool), np.zeros(len(owner), bool)
    # Rows that are beams; of each query, how many, and the likelihoods of as many texts, the best that have ended
    widths = np.array([query.beams for query in queries])
    beams = np.flatnonzero(widths)
    ended = np.full((len(queries), widths.max()), -np.inf)

    pools = [{} for _ in queries]  # symbols -> log likelihood
    for step in range(longest):
        log_p = output.logits[:, -1].float().log_softmax(-1)
        log_p[:, forbidden] = -torch.inf
        vocabulary = log_p.shape[1]
        allowed = derivations.constrain(log_p)
        # The largest of log p plus Gumbel noise is a sample from p. That of a sample depends on its number alone.
        noise = torch.from_numpy(np.random.default_rng(step).gumbel(size=(max(counts), vocabulary))).float()
        samples = np.flatnonzero(running)
        chosen = (allowed[row[samples]] + noise[number[samples]].to(log_p.device)).argmax(-1).cpu().numpy()
        # What is written next: row and token in one number
        drawn = row[samples] * vocabulary + chosen
        found = _follow_beams(beams, allowed, likelihood, query_of, widths, ended, end_id)
        texts = np.unique(np.concatenate([drawn, found]))

        log_p = log_p.double().cpu().numpy()
        parents, tokens = np.divmod(texts, vocabulary)
        for text in parents[tokens == end_id]:
            pools[query_of[text]][tuple(ids[text, :step].tolist())] = float(likelihood[text] + log_p[text, end_id])
        running[samples] = chosen != end_id
        texts, parents, tokens = (of_text[tokens != end_id] for of_text in (texts, parents, tokens))
        if not len(texts):
            break

        place, origin = _place(parents)
        samples, drawn = samples[chosen != end_id], drawn[chosen != end_id]
        row[samples] = place[np.searchsorted(texts, drawn)]
        beams = place[np.searchsorted(texts, found[found % vocabulary != end_id])]
        read = np.empty_like(tokens)
        read[place] = tokens
        derivations, ids, query_of = derivations.select(origin), ids[origin], query_of[origin]
        derivations.advance(read)
        ids[:, step] = read
        likelihood = likelihood[origin] + log_p[origin, read]
        dead[samples] = derivations.phase[row[samples]] == DEAD
        running &= ~dead
        beams = beams[derivations.phase[beams] != DEAD]
        if not running.any() and not len(beams):
            break
        if step % REVIVAL == 0:
            _revive(running, dead, row, owner, number)
        cache.batch_select_indices(torch.from_numpy(origin).to(model.device))
        output = model(
            input_ids=torch.from_numpy(read)[:, None].to(model.device), past_key_values=cache, use_cache=True
        )
    return [[Text(*entry) for entry in pool.items()] for pool in pools]


def _follow_beams(beams, allowed, likelihood, query_of, widths, ended, end_id):
    """What beam search writes next, row and token in one number: of each query the likeliest that go on, and those
    that end among the likeliest of all, which enter `ended`; none less likely than all of these."""
    best, tokens = allowed[torch.from_numpy(beams)].topk(min(widths.max() + 1, allowed.shape[1]))
    score = (likelihood[beams, None] + best.double().cpu().numpy()).ravel()
    text = (beams[:, None] * allowed.shape[1] + tokens.cpu().numpy()).ravel()
    query = query_of[beams].repeat(best.shape[1])
    order = np.lexsort((-score, query))
    order = order[score[order] > ended[query[order], widths[query[order]] - 1]]
    ends = (text % allowed.shape[1] == end_id)[order]

    def first(order):
        """Of each query as many as it has beams."""
        asked = query[order]
        return np.arange(len(order)) - np.searchsorted(asked, asked) < widths[asked]

    ending = order[first(order) & ends]
    for i in ending:
        of_query = ended[query[i]]
        of_query[:] = np.sort(np.append(of_query, score[i]))[:0:-1]
    going = order[~ends]
    return text[np.concatenate([ending, going[first(going)]])]


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


__all__ = ["Query", "RoomyLayer", "Text", "write_molecules"]
