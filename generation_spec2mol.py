"""Spectra -> ranked, distinct molecules."""

from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import NamedTuple

import torch

from .chemistry_spec2mol import formula_mass, inchikey, molecular_formula, precursor_mz


class Candidate(NamedTuple):
    """One proposed structure. score: log likelihood of its SELFIES given the spectrum (natural log, 0 is certain)."""

    smiles: str
    inchikey: str
    formula: str
    score: float


def predict_molecules(
    model, processor, spectra: Iterable[Mapping], top_k: int = 10, batch_size: int = 8, max_new_tokens: int = 256
) -> Iterator[list[Candidate]]:
    """Yields, for each spectrum in turn, up to `top_k` candidates, best first, distinct by the first InChIKey block.

    Beam search with twice as many beams as candidates, since several SELFIES write one molecule; for `top_k=1`,
    greedy.

    Args:
        model: `Spec2MolForConditionalGeneration`.
        spectra: what `Spec2MolFeatureExtractor` takes, also an endless stream.
        batch_size: spectra at a time.
        max_new_tokens: longest SELFIES, in symbols.
    """
    beams = 2 * top_k if top_k > 1 else 1
    spectra = iter(spectra)
    while batch := list(islice(spectra, batch_size)):
        inputs = processor(spectra=batch, return_tensors="pt").to(model.device)
        output = model.generate(
            **inputs,
            num_beams=beams,
            num_return_sequences=beams,
            max_new_tokens=max_new_tokens,
            do_sample=False,
            length_penalty=0.0,  # Rank by likelihood, not by likelihood per symbol.
            output_scores=True,
            return_dict_in_generate=True,
        )
        molecules = processor.decode_molecules(output.sequences)
        scores = _log_likelihoods(model, output).tolist()
        for i in range(len(batch)):
            chosen = slice(i * beams, (i + 1) * beams)
            yield _distinct(molecules[chosen], scores[chosen])[:top_k]


def mass_error_ppm(candidate: Candidate, spectrum: Mapping) -> float | None:
    """(measured - computed) / computed precursor m/z in ppm; None if the adduct is unknown.

    A molecule that is itself the ion ([M]+, [M]-) has the mass of its formula, charge and all.
    """
    try:
        computed = precursor_mz(formula_mass(candidate.formula), spectrum.get("adduct"))
    except ValueError:
        return None
    return (float(spectrum["precursor_mz"]) - computed) / computed * 1e6


def _log_likelihoods(model, output) -> torch.Tensor:
    if "sequences_scores" in output:
        return output.sequences_scores
    steps = model.compute_transition_scores(output.sequences, output.scores, normalize_logits=True)
    padding = output.sequences[:, -steps.shape[1] :] == model.generation_config.pad_token_id
    return steps.masked_fill(padding, 0).sum(1)


def _distinct(molecules: list[str | None], scores: list[float]) -> list[Candidate]:
    """Valid molecules, one for each first InChIKey block: the likeliest way of writing it."""
    best = {}
    for smiles, score in sorted(zip(molecules, scores, strict=True), key=lambda pair: -pair[1]):
        key = None if smiles is None else inchikey(smiles)
        if key is not None and key[:14] not in best:
            best[key[:14]] = Candidate(smiles, key, molecular_formula(smiles), score)
    return list(best.values())


__all__ = ["Candidate", "mass_error_ppm", "predict_molecules"]
