"""Spectra -> ranked, distinct molecules, of the formula that is known or that mass and fragments suggest.

Each spectrum gets a pool of texts, from beams and, where asked for, samples. Without formula, the likeliest formulas
share them, and the model is told each as if it were known. The encoder then reads the spectrum once for each formula,
since that says which peaks are explained.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice, pairwise
from typing import NamedTuple

import numpy as np
import torch

from .chemistry_spec2mol import (
    ADDUCTS,
    adduct_composition,
    flat_molecule,
    formula_mass,
    inchikey,
    molecular_formula,
    morgan_fingerprint,
    precursor_mz,
)
from .formula_constraint_spec2mol import Derivations, number_of_electrons, read_formula
from .formulas_spec2mol import assumed_adduct, rank_formulas
from .fragment_graph_spec2mol import PRECURSOR_HYDROGENS
from .ranking_spec2mol import FEATURES, pool_features, rank
from .sampling_spec2mol import Query, Text, write_molecules

FORMULA_TOLERANCE_PPM = 50.0  # between a given formula and the precursor: instruments err by less, mistakes by more
NUM_BEAMS, NUM_SAMPLES = 30, 0  # for a given time, more beams find better molecules than samples beside them
RESCUING_SAMPLES = 16  # where no beam came to an end: one that cannot end is drawn again
MAX_FORMULAS = 5  # that share them
MIN_FORMULA_PROBABILITY = 0.01  # of those beside the likeliest


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


class Pool(NamedTuple):
    """What was written for one spectrum.

    candidates: the distinct valid molecules, unranked and without probabilities.
    features: of `pool_features`, `(candidates, len(FEATURES))`.
    soft_tokens: `(queries, num_soft_tokens, hidden)`, of the likeliest formula first; no query, no row.
    problem: as of `Candidates`.
    """

    candidates: list[Candidate]
    features: np.ndarray
    soft_tokens: torch.Tensor
    problem: str | None


class EncodedQueries(NamedTuple):
    """soft_tokens `(queries, num_soft_tokens, hidden)`, and the encoder's output that they come from:
    last_hidden_state `(queries, tokens, encoder hidden)`, attention_mask `(queries, tokens)`; fingerprint_logits
    `(queries, fingerprint_size)`, which the encoder expects, else the structure head, of size 0 without either."""

    soft_tokens: torch.Tensor
    last_hidden_state: torch.Tensor
    attention_mask: torch.Tensor
    fingerprint_logits: torch.Tensor


def predict_molecules(
    model,
    processor,
    spectra: Iterable[Mapping],
    top_k: int = 10,
    batch_size: int = 16,
    num_beams: int = NUM_BEAMS,
    num_samples: int = NUM_SAMPLES,
    constrain: bool = True,
    ppm: float = 10.0,
    max_new_tokens: int = 256,
) -> Iterator[Candidates]:
    """Yields, for each spectrum in turn, up to `top_k` candidates, best first, distinct by the first InChIKey block.

    Args:
        model: `Spec2MolForConditionalGeneration`.
        spectra: what `Spec2MolFeatureExtractor` takes, also an endless stream.
        batch_size: spectra at a time.
        num_beams, num_samples: for each spectrum; the pool holds what either writes. Where no beam comes to an end,
            samples are drawn.
        constrain: candidates have the spectrum's formula, or where none is known, one of the likeliest that mass and
            fragments allow. False leaves the model free.
        ppm: largest error of precursor and peaks, where the formula is not known.
        max_new_tokens: longest SELFIES, in symbols.
    """
    pools = draw_pools(model, processor, spectra, batch_size, num_beams, num_samples, constrain, ppm, max_new_tokens)
    for pool in pools:
        yield Candidates(rank_pool(pool, model.config.ranking)[:top_k], pool.problem)


def draw_pools(
    model,
    processor,
    spectra: Iterable[Mapping],
    batch_size: int = 16,
    num_beams: int = NUM_BEAMS,
    num_samples: int = NUM_SAMPLES,
    constrain: bool = True,
    ppm: float = 10.0,
    max_new_tokens: int = 256,
) -> Iterator[Pool]:
    """The pool of each spectrum in turn; arguments as of `predict_molecules`."""
    spectra = iter(spectra)
    while batch := list(islice(spectra, batch_size)):
        plans = [plan_queries(processor, spectrum, num_beams, num_samples, constrain, ppm) for spectrum in batch]
        queries = [query for asked, _ in plans for query in asked]
        encoded, texts = EncodedQueries(*torch.empty(4, 0)), []
        if queries:
            encoded = encode_queries(model, processor, queries)
            texts = write_molecules(model, processor, queries, encoded.soft_tokens, max_new_tokens)
        ends = np.cumsum([0] + [len(asked) for asked, _ in plans]).tolist()
        owned = [slice(*pair) for pair in pairwise(ends)]
        unanswered = [i for own in owned if num_beams and not any(texts[own]) for i in range(own.start, own.stop)]
        if unanswered:
            again = [queries[i]._replace(beams=0, samples=RESCUING_SAMPLES) for i in unanswered]
            drawn = write_molecules(model, processor, again, encoded.soft_tokens[unanswered], max_new_tokens)
            for i, found in zip(unanswered, drawn, strict=True):
                texts[i] = found
        for (asked, problem), own in zip(plans, owned, strict=True):
            part = EncodedQueries(*(tensor[own] for tensor in encoded))
            candidates, features = pool_molecules(model, processor, asked, texts[own], part)
            yield Pool(candidates, features, part.soft_tokens, problem)


def rank_pool(pool: Pool, weights: dict | None) -> list[Candidate]:
    """Best first, with probabilities if `weights` are fitted ones (`config.ranking`)."""
    if not pool.candidates:
        return []
    ranking = rank(pool.features, weights)
    order = np.argsort(-ranking.scores, kind="stable")
    if ranking.probability is None:
        return [pool.candidates[i] for i in order]
    names = ("probability", "probability_close")
    pairs = np.stack([ranking.probability, ranking.probability_close], axis=1).tolist()
    return [pool.candidates[i]._replace(**dict(zip(names, pairs[i], strict=True))) for i in order]


# What to ask


def plan_queries(
    processor, spectrum, num_beams: int, num_samples: int, constrain: bool = True, ppm: float = 10.0
) -> tuple[list[Query], str | None]:
    """The spectrum with its formula, or with each of the likeliest that its mass allows; none if it is no spectrum or
    the formula cannot be the molecule's. And a line on what is wrong, or None."""
    try:
        spectrum = processor.feature_extractor.record(spectrum)
        processor.feature_extractor(spectrum | {"formula": None})
    except ValueError as error:
        return [], str(error).removeprefix("spectrum 0: ")
    free = [Query(spectrum, None, 0.0, num_beams, num_samples)]
    if not constrain:
        return free, None
    if spectrum.get("formula"):
        try:
            formula = molecule_formula(spectrum)
            Derivations(processor.tokenizer, [formula])
        except ValueError as error:
            return [], str(error)
        return [Query(spectrum, formula, 0.0, num_beams, num_samples)], None

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
            queries.append(Query(told, formula, score, num_beams, num_samples))
    if not queries:
        return free, f"answered without formula: none fits the precursor m/z within {ppm:g} ppm"
    shares = np.exp([query.formula_score for query in queries])
    shares /= shares.sum()

    def share_out(number):
        return np.maximum(np.rint(number * shares), min(number, 1)).astype(int).tolist()

    parts = zip(queries, share_out(num_beams), share_out(num_samples), strict=True)
    return [query._replace(beams=beams, samples=samples) for query, beams, samples in parts], None


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


# Encoding


@torch.inference_mode()
def encode_queries(model, processor, queries: Sequence[Query]) -> EncodedQueries:
    inputs = processor.feature_extractor([query.spectrum for query in queries], return_tensors="pt")
    base = model.model
    output = base(**inputs.to(model.device))
    logits = output.soft_tokens.new_zeros(len(queries), 0)
    if base.fingerprint_tokens is not None and not base.fingerprint_tokens.is_untrained:
        logits = output.fingerprint_logits
    elif base.structure_head is not None and not base.structure_head.is_untrained:
        logits = base.structure_head(output.soft_tokens)[0]
    return EncodedQueries(output.soft_tokens, output.last_hidden_state, output.attention_mask, logits)


# Pooling


def pool_molecules(
    model, processor, queries: Sequence[Query], texts: Sequence[Sequence[Text]], encoded: EncodedQueries
) -> tuple[list[Candidate], np.ndarray]:
    """All distinct valid molecules among the texts of one spectrum's queries, each written in its likeliest way, and
    their features for `rank`."""
    written = [(number, text) for number, of_query in enumerate(texts) for text in of_query]
    written.sort(key=lambda pair: -pair[1].log_likelihood)
    best = {}  # first InChIKey block -> number of the query, SMILES, InChIKey, log likelihood
    molecules = processor.decode_molecules([text.ids for _, text in written])
    for (number, text), smiles in zip(written, molecules, strict=True):
        key = None if smiles is None else inchikey(smiles)
        if key is not None:
            best.setdefault(key[:14], (number, smiles, key, text.log_likelihood))
    if not best:
        return [], np.zeros((0, len(FEATURES)))
    numbers, molecules, keys, likelihoods = (list(column) for column in zip(*best.values(), strict=True))
    formulas = [molecular_formula(smiles) for smiles in molecules]
    logits = encoded.fingerprint_logits[numbers]
    features = pool_features(
        fingerprints=np.stack([morgan_fingerprint(smiles) for smiles in molecules]),
        sizes=[sum(read_formula(formula)[0].values()) for formula in formulas],
        log_likelihoods=likelihoods,
        formula_scores=[queries[number].formula_score for number in numbers],
        predicted_bits=logits.float().sigmoid().cpu().numpy() if logits.shape[1] else None,
        fragment_scores=fragment_scores(model, queries[0].spectrum, molecules),
        match_scores=match_scores(model, processor, encoded, numbers, molecules),
    )
    return [Candidate(*of_one) for of_one in zip(molecules, keys, formulas, likelihoods, strict=True)], features


def fragment_scores(model, spectrum: Mapping, molecules: Sequence[str]) -> np.ndarray | None:
    """How well the fragments of each molecule explain the peaks, `FragmentationModel.log_share`; None from a model
    without that part, of an ion that it does not know, or if none can be cut. A molecule that cannot be cut is as bad
    as the worst of the others."""
    fragmentation = model.model.fragmentation
    if fragmentation is None or fragmentation.is_untrained:
        return None
    try:
        spectrum = dict(spectrum) | {"adduct": assumed_adduct(spectrum)}
    except ValueError:
        return None
    if spectrum["adduct"] not in PRECURSOR_HYDROGENS or not len(spectrum["mzs"]):
        return None
    scores = np.full(len(molecules), np.nan)
    for i, smiles in enumerate(molecules):
        try:
            scores[i] = fragmentation.log_share(flat_molecule(smiles), spectrum)
        except ValueError:
            continue
    return None if np.isnan(scores).all() else np.nan_to_num(scores, nan=np.nanmin(scores))


@torch.inference_mode()
def match_scores(
    model, processor, encoded: EncodedQueries, numbers: Sequence[int], molecules: Sequence[str]
) -> np.ndarray | None:
    """How well each molecule explains the query whose number is beside it, as `Spec2MolModel.score`; None without a
    text branch. One that the text branch cannot read is as bad as the worst of the others."""
    branch = model.config.projector_config
    if not branch.use_qformer_text_input:
        return None
    ids = {}
    for i, smiles in enumerate(molecules):
        try:
            ids[i] = processor.encode_molecule(smiles)
        except ValueError:  # Its canonical form needs a symbol that the vocabulary lacks.
            continue
    readable = [i for i in ids if len(ids[i]) <= branch.max_position_embeddings]
    scores = np.zeros(len(molecules))
    if readable:
        text, mask = (torch.from_numpy(array).to(model.device) for array in processor.pad([ids[i] for i in readable]))
        found = model.model.match(encoded, [numbers[i] for i in readable], text, mask).double().cpu().numpy()
        scores += found.min()
        scores[readable] = found
    return scores


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
    "EncodedQueries",
    "Pool",
    "draw_pools",
    "encode_queries",
    "fragment_scores",
    "mass_error_ppm",
    "match_scores",
    "molecule_formula",
    "plan_queries",
    "pool_molecules",
    "predict_molecules",
    "rank_pool",
]
