from functools import partial

import numpy as np
import pytest
import torch
from transformers import LlamaConfig
from transformers.cache_utils import Cache, DynamicLayer

from spec2mol.formula_constraint_spec2mol import DEAD, Derivations, FormulaConstraint
from spec2mol.generation_spec2mol import encode_queries
from spec2mol.sampling_spec2mol import Query, RoomyLayer, write_molecules
from tests import builders

FORMULAS = [None, "C6H15NS", "C2H6O", "C8H10N2O3S"]
BEAMS, SAMPLES = 5, 8


@pytest.fixture(scope="module")
def trained():
    """A model that half knows its molecules, so that it writes all sorts of things."""
    return builders.trained(steps=25)


@pytest.fixture(scope="module")
def queries():
    return [Query(s, f, 0.0, BEAMS, SAMPLES) for s, f in zip(builders.spectra(), FORMULAS, strict=True)]


@torch.no_grad()
def one_sample(model, processor, query, soft_tokens, number):
    """Its symbols and likelihood, or None if it dies: read from the start at every step, without cache and batch."""
    tokenizer, ids, likelihood = processor.tokenizer, [], 0.0
    while len(processor.prompt) + len(ids) < 64:
        inputs = torch.tensor([[*processor.prompt, *ids]])
        log_p = model(input_ids=inputs, soft_tokens=soft_tokens[None]).logits[:, -1].log_softmax(-1)
        log_p[:, model.generation_config.suppress_tokens] = -torch.inf
        derivation = Derivations(tokenizer, [query.formula])
        for token in ids:
            derivation.advance(np.array([token]))
        if derivation.phase[0] == DEAD:
            return None
        noise = np.random.default_rng(len(ids)).gumbel(size=(SAMPLES, log_p.shape[1]))[number]
        token = (derivation.constrain(log_p)[0] + torch.from_numpy(noise).float()).argmax().item()
        likelihood += log_p[0, token].item()
        if token == tokenizer.eos_token_id:
            return tuple(ids), likelihood
        ids.append(token)
    return None


def write(trained, queries, *args, **numbers):
    model, processor = trained
    queries = [query._replace(**numbers) for query in queries]
    return write_molecules(model, processor, queries, encode_queries(model, processor, queries).soft_tokens, *args)


def test_samples_are_those_drawn_one_by_one(trained, queries):
    """Samples that die go on as others, which is another text than they have alone: the rest must be there."""
    soft_tokens = encode_queries(*trained, queries).soft_tokens
    died = 0
    for query, tokens, pool in zip(queries, soft_tokens, write(trained, queries, beams=0), strict=True):
        alone = [one_sample(*trained, query, tokens, number) for number in range(SAMPLES)]
        died += alone.count(None)
        expected, found = dict(filter(None, alone)), dict(pool)
        assert {ids: found[ids] for ids in expected} == pytest.approx(expected, abs=1e-4)
        assert len(found) <= len(expected) + alone.count(None)
    assert 0 < died < 3 * SAMPLES


@torch.no_grad()
def test_beams_are_those_of_generate(trained, queries):
    model, processor = trained
    constraint = FormulaConstraint(processor.tokenizer, FORMULAS)
    inputs = processor(spectra=builders.spectra(), return_tensors="pt")
    beams = {"num_beams": BEAMS, "num_return_sequences": BEAMS, "length_penalty": 0.0}
    ids = model.generate(**inputs, logits_processor=[constraint], max_new_tokens=40, **beams)
    end, compared = processor.tokenizer.eos_token_id, 0
    for pool, texts in zip(write(trained, queries, 40, samples=0), ids.reshape(len(queries), BEAMS, -1), strict=True):
        texts = [row[row.index(processor.tokenizer.bos_token_id) + 1 :] for row in texts.tolist()]
        texts = [row for row in texts if processor.tokenizer.unk_token_id not in row]
        expected = {tuple(row[: row.index(end)]) for row in texts if end in row}
        best = sorted(pool, key=lambda text: -text.log_likelihood)[:BEAMS]
        assert {text.ids for text in best} == expected
        compared += len(expected)
    assert compared > len(queries)


def test_beams_and_samples_are_those_of_either_alone(trained, queries):
    both, beams, samples = (write(trained, queries, **of) for of in ({}, {"samples": 0}, {"beams": 0}))
    for pool, found, drawn in zip(both, beams, samples, strict=True):
        assert dict(pool) == pytest.approx(dict(found) | dict(drawn), abs=1e-4)
    assert any(dict(found).keys() - dict(drawn) for found, drawn in zip(beams, samples, strict=True))


def test_a_decoder_with_sdpa_writes_what_it_does_eagerly(queries):
    """GPT-Neo, which transformers runs eagerly alone, is what the other tests are about."""
    config = {name: builders.LANGUAGE_MODEL[name] for name in ("bos_token_id", "eos_token_id", "pad_token_id")}
    config |= {"vocab_size": len(builders.tokenizer()), "hidden_size": 32, "intermediate_size": 64}
    config |= {"num_hidden_layers": 2, "num_attention_heads": 4, "max_position_embeddings": 64}
    model, processor = builders.model(text_config=LlamaConfig(**config).to_dict()), builders.processor()
    pools = []
    for implementation in ("sdpa", "eager"):
        model.language_model.set_attn_implementation(implementation)
        pools.append(write((model, processor), queries))
    assert all(pools[0])
    for found, expected in zip(*pools, strict=True):
        assert dict(found) == pytest.approx(dict(expected), abs=1e-4)


def test_pools_do_not_depend_on_the_batch(trained, queries):
    for row, pool in enumerate(write(trained, queries)):
        (alone,) = write(trained, queries[row : row + 1])
        assert {text.ids for text in alone} == {text.ids for text in pool}


def test_a_query_of_few_samples_gets_the_first_of_many(trained, queries):
    free = queries[0]._replace(beams=0)
    few, many = write(trained, [free._replace(samples=3), free])
    assert {text.ids for text in few} <= {text.ids for text in many} and 0 < len(few) <= 3


def test_no_longer_than_asked_for(trained, queries):
    assert all(len(text.ids) < 5 for pool in write(trained, queries, 5) for text in pool)


def test_cache_with_room_holds_what_the_plain_one_does():
    rng, generator = np.random.default_rng(0), torch.Generator().manual_seed(0)
    roomy, plain = (Cache(layer_class_to_replicate=layer) for layer in (RoomyLayer, DynamicLayer))
    rows = 3

    def both(method, *args):
        for cache in (roomy, plain):
            getattr(cache, method)(*args)

    for step in range(150):
        states = torch.randn(2, rows, 2, 5 if step == 0 else 1, 4, generator=generator)
        for ours, theirs in zip(roomy.update(*states, 0), plain.update(*states, 0), strict=True):
            assert torch.equal(ours, theirs)
        change = rng.integers(6)
        if change == 0:
            rows = int(rng.integers(1, 12))
            both("batch_select_indices", torch.from_numpy(rng.integers(len(states[0]), size=rows)))
        elif change == 1:
            both("reorder_cache", torch.from_numpy(rng.permutation(rows)))
        elif change == 2 and rows < 6:
            both("batch_repeat_interleave", 2)
            rows *= 2
        elif change == 3:
            both("crop", -1)
        assert roomy.get_seq_length() == plain.get_seq_length()


@torch.no_grad()
def test_beam_search_with_room_is_that_without(trained):
    model, processor = trained
    inputs = processor(spectra=builders.spectra(), return_tensors="pt")
    generate = partial(model.generate, **inputs, num_beams=4, num_return_sequences=4, max_new_tokens=40)
    assert torch.equal(generate(past_key_values=Cache(layer_class_to_replicate=RoomyLayer)), generate())
