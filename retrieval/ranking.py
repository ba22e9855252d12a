"""Molecules of a store that may be a spectrum's, best first: those of its mass, by what the model expects of them."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch

from ..chemistry_spec2mol import neutral_mass, parse_formula
from ..formulas_spec2mol import assumed_adduct, rank_formulas
from ..generation_spec2mol import Query, encode_queries, fragment_scores, match_scores
from .molecules import MoleculeStore, molecule_features

MAX_FORMULAS = 5  # that the model is told in turn where the formula is not known
SHORTLIST = 300  # molecules that are cut into fragments and that the matching head looks at, the best by all else
# The bits of a fingerprint are not independent, so that their likelihood says too much. Chosen on val among 0.01 to 1.
STRUCTURE_WEIGHT = 0.03
FRAGMENTS_WEIGHT = 2.0  # Chosen on val among 0.5 to 8


class MoleculeScores(NamedTuple):
    """What speaks for each molecule, `(molecules,)` each. formula: log probability of its formula given mass and
    fragments, 0 where the formula is known; structure: log likelihood of its fingerprint to the model, None from a
    model that expects none; fragments: of `fragment_scores`, None from a model without that part; contrast: cosine /
    temperature, and match: the same with the matching head's log odds (`model.score`), None without a text branch.
    Beyond the shortlist fragments and match are -inf."""

    formula: np.ndarray
    structure: np.ndarray | None
    fragments: np.ndarray | None
    contrast: np.ndarray | None
    match: np.ndarray | None

    @property
    def total(self) -> np.ndarray:
        total = self.formula.copy()
        if self.structure is not None:
            total += STRUCTURE_WEIGHT * self.structure
        if self.fragments is not None:
            total += FRAGMENTS_WEIGHT * self.fragments
        if self.match is not None:
            total += self.match
        return total


class RankedMolecule(NamedTuple):
    """score: `MoleculeScores.total`; formula_score, structure_score, fragments_score, match_score: its parts;
    error_ppm: (measured - computed) / computed neutral mass."""

    smiles: str
    inchikey: str
    formula: str
    score: float
    formula_score: float
    structure_score: float | None
    fragments_score: float | None
    match_score: float | None
    error_ppm: float


def rank_molecules(
    model, processor, spectrum: Mapping, store: MoleculeStore, ppm: float = 10.0, top_k: int = 10
) -> list[RankedMolecule]:
    """Up to `top_k` molecules of the store that have the spectrum's mass and, where it is known, its formula.

    Args:
        ppm: largest error of the neutral mass, and of peaks where formulas are ranked.

    Raises:
        ValueError: an unknown adduct, or a formula that is none.
    """
    spectrum = processor.feature_extractor.record(spectrum)
    mass = neutral_mass(float(spectrum["precursor_mz"]), assumed_adduct(spectrum))
    window = store.window(mass, mass * ppm * 1e-6)
    if spectrum.get("formula"):
        window = window.take(np.flatnonzero([_same(formula, spectrum["formula"]) for formula in window.formula]))
    if not window.smiles:
        return []
    scores = score_molecules(
        model, processor, spectrum, window.smiles, window.formula, window.fingerprints, window.features, ppm
    )
    total = scores.total
    ranked = []
    for i in np.argsort(-total, kind="stable")[:top_k]:
        parts = (scores.formula, scores.structure, scores.fragments, scores.match)
        parts = (None if part is None else float(part[i]) for part in parts)
        error = (mass - window.mass[i]) / window.mass[i] * 1e6
        ranked.append(
            RankedMolecule(
                window.smiles[i], window.inchikey[i], window.formula[i], float(total[i]), *parts, float(error)
            )
        )
    return ranked


@torch.inference_mode()
def score_molecules(
    model,
    processor,
    spectrum: Mapping,
    smiles: Sequence[str],
    formulas: Sequence[str],
    fingerprints: np.ndarray,
    features: np.ndarray | None = None,
    ppm: float = 10.0,
    shortlist: int = SHORTLIST,
) -> MoleculeScores:
    """
    Args:
        formulas: of the molecules. Where the spectrum's is not known, the model is told each of the likeliest in turn,
            as `predict_molecules` does, and judges the molecules of that formula by its answer.
        fingerprints: Morgan, `(molecules, bits)`.
        features: `molecule_features`, computed here if they are not given.
    """
    queries = [Query(spectrum, spectrum.get("formula"), 0.0)]
    numbers, formula_scores = np.zeros(len(smiles), int), np.zeros(len(smiles))
    if not spectrum.get("formula"):
        likely = likely_formulas(spectrum, formulas, ppm)
        told = sorted(likely, key=lambda formula: -likely[formula])[:MAX_FORMULAS]
        queries += [Query(dict(spectrum) | {"formula": formula}, formula, likely[formula]) for formula in told]
        numbers = np.array([told.index(formula) + 1 if formula in told else 0 for formula in formulas])
        formula_scores = np.array([likely[formula] for formula in formulas])
    encoded = encode_queries(model, processor, queries)

    structure = fragments = contrast = match = None
    if encoded.fingerprint_logits.shape[1]:
        logits = encoded.fingerprint_logits.float()
        bits = torch.from_numpy(np.asarray(fingerprints, np.float32)).to(logits.device)
        nothing = torch.nn.functional.softplus(logits).sum(1)  # - log likelihood of no bits
        of_queries = bits @ logits.T - nothing
        structure = of_queries.double().cpu().numpy()[np.arange(len(smiles)), numbers]
    scores = MoleculeScores(formula_scores, structure, None, None, None)
    expected = scores.total
    if model.config.projector_config.use_qformer_text_input:
        projector = model.model.projector
        if features is None:
            features = molecule_features(model, processor, smiles).cpu().numpy()
        of_molecules = torch.from_numpy(np.asarray(features, np.float32)).to(model.device)
        of_spectra = projector.spectrum_features(projector.query_states(encoded)).float()
        contrast = projector.similarity(of_spectra, of_molecules) / projector.temperature
        contrast = contrast.double().cpu().numpy()[numbers, np.arange(len(smiles))]
        expected = expected + contrast
    best = np.argsort(-expected, kind="stable")[:shortlist]
    molecules = [smiles[i] for i in best]
    if contrast is not None:
        match = np.full(len(smiles), -np.inf)
        match[best] = match_scores(model, processor, encoded, numbers[best].tolist(), molecules)
    if (explained := fragment_scores(model, spectrum, molecules)) is not None:
        fragments = np.full(len(smiles), -np.inf)
        fragments[best] = explained
    return scores._replace(fragments=fragments, contrast=contrast, match=match)


def likely_formulas(spectrum: Mapping, formulas: Sequence[str], ppm: float) -> dict[str, float]:
    """Log probability of each distinct one of `formulas`; one that mass and fragments rule out is as unlikely as the
    least likely that they allow. All are 0 where they cannot be ranked."""
    try:
        ranked = {candidate.formula: candidate.score for candidate in rank_formulas(spectrum, ppm, top_k=None)}
    except ValueError:  # too heavy
        ranked = {}
    least = min(ranked.values(), default=0.0)
    return {formula: ranked.get(formula, least) for formula in dict.fromkeys(formulas)}


def _same(a: str, b: str) -> bool:
    return parse_formula(a) == parse_formula(b)
