"""Spectra -> ranked, distinct molecules, of the formula that is known or that mass and fragments suggest.

Notable:
- Each spectrum gets a pool of samples. It is encoded once, its prompt is read once, and rows that have ended leave the
  batch. Rows that the formula leads into a dead end go on as copies of others of their spectrum.
- The noise of sampling is the same for every spectrum, so that answers depend neither on the batch nor on chance.
- Without formula, the likeliest formulas share the pool, and the model is told each as if it were known.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import NamedTuple

import numpy as np
import torch

from .chemistry_spec2mol import (
    ADDUCTS,
    adduct_composition,
    formula_mass,
    inchikey,
    molecular_formula,
    morgan_fingerprint,
    precursor_mz,
)
from .formula_constraint_spec2mol import DEAD, Derivations, number_of_electrons, read_formula
from .formulas_spec2mol import rank_formulas
from .ranking_spec2mol import FEATURES, pool_features, rank

FORMULA_TOLERANCE_PPM = 50.0  # between a given formula and the precursor: instruments err by less, mistakes by more
MAX_FORMULAS = 5  # that share a pool
MIN_FORMULA_PROBABILITY = 0.01  # of those beside the likeliest

REVIVAL = 8  # tokens after which dead samples go on as copies; at fixed places, whatever else is in the batch


class Candidate(NamedTuple):
    """One proposed structure. score: log likelihood of its SELFIES given the spectrum (natural log, 0 is certain);
    probability: that it is the right one; probability_close: that its Tanimoto similarity to the right one is at least
    0.6 (None from a model whose ranking was not fitted)."""

    smiles: str
    inchikey: str
    formula: str
    score: float
    probability: float | None = None
    probability_close: float | None = None


class Candidates(list):
    """Candidates of one spectrum, best first. `problem` is a line on why there are none, or on what could not be taken
    into account; None if there is nothing to say."""

    def __init__(self, candidates: Iterable[Candidate] = (), problem: str | None = None):
        super().__init__(candidates)
        self.problem = problem


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


def predict_molecules(
    model,
    processor,
    spectra: Iterable[Mapping],
    top_k: int = 10,
    batch_size: int = 8,
    num_samples: int = 32,
    constrain: bool = True,
    ppm: float = 10.0,
    max_new_tokens: int = 256,
) -> Iterator[Candidates]:
    """Yields, for each spectrum in turn, up to `top_k` candidates, best first, distinct by the first InChIKey block.

    Args:
        model: `Spec2MolForConditionalGeneration`.
        spectra: what `Spec2MolFeatureExtractor` takes, also an endless stream.
        batch_size: spectra at a time.
        num_samples: drawn for each spectrum.
        constrain: candidates have the spectrum's formula, or where none is known, one of the likeliest that mass and
            fragments allow. False leaves the model free.
        ppm: largest error of precursor and peaks, where the formula is not known.
        max_new_tokens: longest SELFIES, in symbols.
    """
    spectra = iter(spectra)
    while batch := list(islice(spectra, batch_size)):
        plans = [plan_queries(processor, spectrum, num_samples, constrain, ppm) for spectrum in batch]
        queries = [query for asked, _ in plans for query in asked]
        soft_tokens, pools = torch.empty(0), []
        if queries:
            soft_tokens = encode_queries(model, processor, queries)
            pools = sample_molecules(model, processor, queries, soft_tokens, max_new_tokens)
        first = 0
        for asked, problem in plans:
            own = slice(first, first := first + len(asked))
            answers = rank_samples(model, processor, asked, pools[own], soft_tokens[own])
            yield Candidates(answers[:top_k], problem)


# What to ask


def plan_queries(
    processor, spectrum, num_samples: int, constrain: bool = True, ppm: float = 10.0
) -> tuple[list[Query], str | None]:
    """The spectrum with its formula, or with each of the likeliest that its mass allows; none if the formula cannot be
    the molecule's. And a line on what is wrong, or None."""
    spectrum = processor.feature_extractor.record(spectrum)
    free = [Query(spectrum, None, 0.0, num_samples)]
    if not constrain:
        return free, None
    if spectrum.get("formula"):
        try:
            formula = molecule_formula(spectrum)
            Derivations(processor.tokenizer, [formula])
        except ValueError as error:
            return [], str(error)
        return [Query(spectrum, formula, 0.0, num_samples)], None

    try:
        ranked = rank_formulas(spectrum, ppm, MAX_FORMULAS)
    except ValueError as error:
        return free, f"answered without formula: {error}"
    queries = []
    for formula, score, *_ in ranked:
        told = spectrum | {"formula": formula}
        try:
            formula = molecule_formula(told)
            Derivations(processor.tokenizer, [formula])
        except ValueError:
            continue
        if not queries or score > np.log(MIN_FORMULA_PROBABILITY):
            queries.append(Query(told, formula, score, 0))
    if not queries:
        return free, f"answered without formula: none fits the precursor m/z within {ppm:g} ppm"
    shares = np.exp([query.formula_score for query in queries])
    samples = np.maximum(np.rint(num_samples * shares / shares.sum()), 1).astype(int).tolist()
    return [query._replace(samples=n) for query, n in zip(queries, samples, strict=True)], None


def molecule_formula(spectrum: Mapping) -> str:
    """The spectrum's formula with the molecule's charge: that of its sign, or if it has none but the adduct says that
    the molecule is itself the ion, that of the ion. "C5H14NO" with "[M]+" is "C5H14NO+1"; radical ions, which have the
    formula of a neutral molecule, are read as that molecule.

    Raises:
        ValueError: not the formula of an organic molecule, or one that contradicts precursor m/z and adduct.
    """
    formula, adduct = spectrum["formula"].strip(), spectrum.get("adduct")
    if "." in formula:
        raise ValueError(f"formula {formula}: a salt; give the formula of the part that was measured")
    heavy, hydrogens, charge = read_formula(formula)
    if "C" not in heavy:
        raise ValueError(f"formula {formula}: no carbon")
    if adduct not in ADDUCTS:
        return formula
    expected, found = precursor_mz(formula_mass(formula), adduct), spectrum.get("precursor_mz")
    error = (float(found) - expected) / expected * 1e6
    if abs(error) > FORMULA_TOLERANCE_PPM:
        raise ValueError(
            f"formula {formula}: as {adduct} it has m/z {expected:.4f}, but the precursor m/z is {float(found):.4f}"
        )
    if not charge and not adduct_composition(adduct) and number_of_electrons(heavy, hydrogens, charge) % 2:
        return f"{formula}{ADDUCTS[adduct].charge:+d}"
    return formula


# Sampling


@torch.inference_mode()
def encode_queries(model, processor, queries: Sequence[Query]) -> torch.Tensor:
    """Soft tokens `(queries, num_soft_tokens, hidden)`."""
    inputs = processor.feature_extractor([query.spectrum for query in queries], return_tensors="pt")
    return model.model(**inputs.to(model.device)).soft_tokens


@torch.inference_mode()
def sample_molecules(
    model, processor, queries: Sequence[Query], soft_tokens: torch.Tensor, max_new_tokens: int = 256
) -> list[list[Sample]]:
    """For each query those of its samples that came to an end."""
    tokenizer, forbidden = processor.tokenizer, model.generation_config.suppress_tokens
    prompt = torch.tensor(processor.prompt, device=model.device).expand(len(queries), -1)
    output = model(input_ids=prompt, soft_tokens=soft_tokens, use_cache=True, logits_to_keep=1)
    cache = output.past_key_values
    longest = min(max_new_tokens, model.config.text_config.max_position_embeddings - prompt.shape[1])

    # Rows: the query and number of each sample, its derivation, symbols and log likelihood
    counts = [query.samples for query in queries]
    owner = np.repeat(np.arange(len(queries)), counts)
    number = np.concatenate([np.arange(n) for n in counts])
    derivations = Derivations(tokenizer, [query.formula for query in queries]).select(owner)
    ids = np.zeros((len(owner), longest), np.int64)
    likelihood = np.zeros(len(owner))
    running, dead = np.ones(len(owner), bool), np.zeros(len(owner), bool)
    cache.batch_select_indices(torch.from_numpy(owner).to(model.device))
    logits = output.logits[owner, -1]

    pools = [[] for _ in queries]
    for step in range(longest):
        log_p = logits.float().log_softmax(-1)
        log_p[:, forbidden] = -torch.inf
        # The largest of log p plus Gumbel noise is a sample from p. That of a sample depends on its number alone.
        noise = torch.from_numpy(np.random.default_rng(step).gumbel(size=(max(counts), log_p.shape[1]))).float()
        chosen = (derivations.constrain(log_p) + noise[number].to(log_p.device)).argmax(-1)
        ids[:, step] = chosen.cpu().numpy()
        likelihood += log_p.gather(1, chosen[:, None])[:, 0].double().cpu().numpy()
        derivations.advance(ids[:, step])
        ended = running & (ids[:, step] == tokenizer.eos_token_id)
        for row in np.flatnonzero(ended):
            pools[owner[row]].append(Sample(tuple(ids[row, :step].tolist()), float(likelihood[row])))
        dead |= derivations.phase == DEAD
        running &= ~ended & ~dead
        if not running.any():
            break
        revives = bool(step % REVIVAL == 0 and dead.any())
        if revives or (running | dead).mean() < 0.9:  # Copying the cache costs about as much as a step.
            source = _surviving_rows(running, dead, owner, number, revives)
            rows = np.flatnonzero(source >= 0)
            source = source[rows]
            owner, number, running, dead = owner[rows], number[rows], running[source], dead[source]
            derivations, ids, likelihood = derivations.select(source), ids[source], likelihood[source]
            chosen = chosen[source]
            cache.batch_select_indices(torch.from_numpy(source).to(model.device))
        logits = model(input_ids=chosen[:, None], past_key_values=cache, use_cache=True).logits[:, -1]
    return pools


def _surviving_rows(running, dead, owner, number, revives: bool):
    """For each row the one that it goes on from: itself, for a dead row that is revived another of its query, -1 for
    none."""
    source = np.where(running | (dead & (not revives)), np.arange(len(owner)), -1)
    for row in np.flatnonzero(dead & revives):
        others = np.flatnonzero(running & (owner == owner[row]))
        if len(others):
            source[row] = others[number[row] % len(others)]
    return source


# Ranking


def rank_samples(
    model, processor, queries: Sequence[Query], pools: Sequence[Sequence[Sample]], soft_tokens: torch.Tensor
) -> list[Candidate]:
    """All distinct valid molecules in the pools of one spectrum's queries, best first."""
    molecules, features = pool_molecules(model, processor, queries, pools, soft_tokens)
    if not molecules:
        return []
    ranking = rank(features, model.config.ranking)
    probabilities = zip(*ranking[1:], strict=True) if model.config.ranking else [()] * len(molecules)
    candidates = [Candidate(*molecule, *pair) for molecule, pair in zip(molecules, probabilities, strict=True)]
    return [candidates[i] for i in np.argsort(-ranking.scores, kind="stable")]


def pool_molecules(
    model, processor, queries, pools, soft_tokens
) -> tuple[list[tuple[str, str, str, float]], np.ndarray]:
    """(SMILES, InChIKey, formula, log likelihood) of each distinct valid molecule, written in its likeliest way, and
    their features for `rank`."""
    samples = [(number, sample) for number, pool in enumerate(pools) for sample in pool]
    times = Counter((number, sample.ids) for number, sample in samples)
    best = {}  # first InChIKey block -> [number of the query, SMILES, InChIKey, log likelihood, count]
    written = dict.fromkeys(sorted(samples, key=lambda pair: -pair[1].log_likelihood))
    smiles = processor.decode_molecules([sample.ids for _, sample in written])
    for (number, sample), text in zip(written, smiles, strict=True):
        key = None if text is None else inchikey(text)
        if key is not None:
            entry = best.setdefault(key[:14], [number, text, key, sample.log_likelihood, 0])
            entry[-1] += times[number, sample.ids]
    if not best:
        return [], np.zeros((0, len(FEATURES)))
    numbers, texts, keys, likelihoods, counts = zip(*best.values(), strict=True)
    bits = structure_bits(model, soft_tokens)
    features = pool_features(
        fingerprints=np.stack([morgan_fingerprint(text) for text in texts]),
        counts=counts,
        log_likelihoods=likelihoods,
        formula_scores=[queries[number].formula_score for number in numbers],
        predicted_bits=None if bits is None else bits[list(numbers)],
    )
    formulas = [molecular_formula(text) for text in texts]
    return list(zip(texts, keys, formulas, likelihoods, strict=True)), features


def structure_bits(model, soft_tokens: torch.Tensor) -> np.ndarray | None:
    """Probabilities `(queries, bits)` of the fingerprint's bits; None without a trained structure head."""
    head = model.model.structure_head
    if head is None or head.is_untrained:
        return None
    with torch.inference_mode():
        return head(soft_tokens)[0].float().sigmoid().cpu().numpy()


def mass_error_ppm(candidate: Candidate, spectrum: Mapping) -> float | None:
    """(measured - computed) / computed precursor m/z in ppm; None if the adduct is unknown.

    A molecule that is itself the ion ([M]+, [M]-) has the mass of its formula, charge and all.
    """
    try:
        computed = precursor_mz(formula_mass(candidate.formula), spectrum.get("adduct"))
    except ValueError:
        return None
    return (float(spectrum["precursor_mz"]) - computed) / computed * 1e6


__all__ = [
    "Candidate",
    "Candidates",
    "Query",
    "Sample",
    "encode_queries",
    "mass_error_ppm",
    "molecule_formula",
    "plan_queries",
    "pool_molecules",
    "predict_molecules",
    "rank_samples",
    "sample_molecules",
    "structure_bits",
]
