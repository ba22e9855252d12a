"""Scores of written answers: molecules, captions, reactions, actions, numbers. One line for each answer, so that the
denominator of every figure is the whole set: an answer that cannot be read scores 0.

Sources: Edwards et al. 2022 (MolT5) for molecules and captions; L+M-24 (Edwards et al. 2024) takes the same. Of both,
Text2Mol is not here: it needs the weights of another model. The published scripts average fingerprint
similarities over the valid answers alone and cut captions into SciBERT's word pieces; here words are those of
`words`, so BLEU, ROUGE and METEOR compare only with figures of this module.
"""

import re
from collections.abc import Sequence
from functools import cache, lru_cache

import numpy as np
import pandas as pd
from rdkit import Chem, DataStructs
from rdkit.Chem.MACCSkeys import GenMACCSKeys
from rdkit.Chem.rdFingerprintGenerator import GetMorganGenerator
from rdkit.rdBase import BlockLogs

from .chemnet import chemnet_distance
from .intervals import Interval, bootstrap_over_molecules, percentile_interval, resampling_weights
from .text_libraries import library

FINGERPRINTS = {
    "maccs": GenMACCSKeys,
    "rdk": Chem.RDKFingerprint,
    "morgan": GetMorganGenerator(radius=2, fpSize=2048).GetFingerprint,
}
NUMBER = re.compile(r"[-+]?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?")


def words(text: str) -> list[str]:
    """Lower-case words and numbers, and each other sign by itself."""
    return re.findall(r"\w+|[^\w\s]", text.lower())


def score_molecules(predictions: Sequence[str], references: Sequence[str]) -> pd.DataFrame:
    """SMILES with their stereochemistry: exact (the same InChI), valid, Levenshtein distance and BLEU-4 of the
    characters, Tanimoto similarities of MACCS keys, RDKit and Morgan (radius 2) fingerprints, and what the Fréchet
    ChemNet distance of the set needs."""
    distance = library("rapidfuzz.distance").Levenshtein
    lines = []
    for predicted, truth in zip(predictions, references, strict=True):
        predicted, truth = re.sub(r"\s", "", predicted), re.sub(r"\s", "", truth)
        a, b = read_molecule(predicted), read_molecule(truth)
        lines.append(
            {
                "exact": float(None not in (a, b) and identity(a) == identity(b)),
                "valid": float(a is not None),
                "levenshtein": float(distance.distance(predicted, truth)),
                "bleu4": bleu_statistics(list(predicted), list(truth), 4),
            }
            | {name: similarity(a, b, fingerprint) for name, fingerprint in FINGERPRINTS.items()}
            | {"fcd": tuple(None if m is None else Chem.MolToSmiles(m) for m in (a, b))}
        )
    return pd.DataFrame(lines)


def score_reactions(predictions: Sequence[str], references: Sequence[str]) -> pd.DataFrame:
    """Molecules of one side of a reaction, joined by dots or tildes (which tie ions together): exact (the same set of
    molecules), valid (all can be read), Tanimoto similarity of the Morgan fingerprints of all of them together."""
    lines = []
    for texts in zip(predictions, references, strict=True):
        predicted, truth = map(molecule_set, texts)
        whole = [None if side is None else read_molecule(".".join(sorted(side))) for side in (predicted, truth)]
        lines.append(
            {
                "exact": float(predicted is not None and predicted == truth),
                "valid": float(predicted is not None),
                "morgan": similarity(*whole, FINGERPRINTS["morgan"]),
            }
        )
    return pd.DataFrame(lines)


def score_captions(predictions: Sequence[str], references: Sequence[str]) -> pd.DataFrame:
    """BLEU-2, BLEU-4, ROUGE-1, -2, -L (F measure) and METEOR of the words; without WordNet, which NLTK downloads
    apart, METEOR knows no synonyms and says so in its name."""
    rouge = library("rouge_score.rouge_scorer").RougeScorer(["rouge1", "rouge2", "rougeL"])
    wordnet = _wordnet()
    meteor = "meteor without synonyms" if isinstance(wordnet, NoSynonyms) else "meteor"
    lines = []
    for predicted, truth in zip(predictions, references, strict=True):
        pair = words(predicted), words(truth)
        overlap = rouge.score(truth, predicted)
        lines.append(
            {
                "exact": float(predicted.strip() == truth.strip()),
                "bleu2": bleu_statistics(*pair, 2),
                "bleu4": bleu_statistics(*pair, 4),
                **{name: overlap[name].fmeasure for name in overlap},
                meteor: _meteor(*pair, wordnet),
            }
        )
    return pd.DataFrame(lines)


def score_actions(predictions: Sequence[str], references: Sequence[str]) -> pd.DataFrame:
    """exact, BLEU-2 of the words and Levenshtein similarity of the texts, 0 to 1."""
    distance = library("rapidfuzz.distance").Levenshtein
    return pd.DataFrame(
        [
            {
                "exact": float(predicted.strip() == truth.strip()),
                "bleu2": bleu_statistics(words(predicted), words(truth), 2),
                "similarity": distance.normalized_similarity(predicted, truth),
            }
            for predicted, truth in zip(predictions, references, strict=True)
        ]
    )


def score_numbers(predictions: Sequence[str], references: Sequence[str]) -> pd.DataFrame:
    """The first number of each answer: valid (there is one, below 1e15: more digits are a model repeating itself),
    absolute_error (NaN without one, so it is the mean over valid answers, to be read beside their share)."""
    lines = []
    for predicted, truth in zip(predictions, references, strict=True):
        found, expected = NUMBER.search(predicted), NUMBER.search(truth)
        if expected is None:
            raise ValueError(f"no number in the reference {truth!r}")
        valid = found is not None and abs(float(found[0])) < 1e15
        error = abs(float(found[0]) - float(expected[0])) if valid else np.nan
        lines.append({"valid": float(valid), "absolute_error": error})
    return pd.DataFrame(lines)


def score_lists(predictions: Sequence[str], references: Sequence[str]) -> pd.DataFrame:
    """Enumerations, as "an ester, a phenol and an ether": exact (the same things), and the F measure of these."""
    lines = []
    for predicted, truth in zip(predictions, references, strict=True):
        named, true = (set(re.split(r", | and ", text.strip().rstrip("."))) - {""} for text in (predicted, truth))
        f1 = 2 * len(named & true) / (len(named) + len(true)) if named else 0.0
        lines.append({"exact": float(named == true), "f1": f1})
    return pd.DataFrame(lines)


def score_texts(predictions: Sequence[str], references: Sequence[str]) -> pd.DataFrame:
    """exact: the same words."""
    pairs = zip(predictions, references, strict=True)
    return pd.DataFrame({"exact": [float(words(predicted) == words(truth)) for predicted, truth in pairs]})


METRICS = {
    "molecule": score_molecules,
    "reaction": score_reactions,
    "caption": score_captions,
    "actions": score_actions,
    "number": score_numbers,
    "list": score_lists,
    "text": score_texts,
}


def summarise_scores(scores: pd.DataFrame, molecules: Sequence) -> dict[str, Interval]:
    """Mean of each column, and its 95% interval over molecules, of which each counts once; BLEU and FCD are those of
    the whole set, which are no means: their intervals come from other sets of these lines.

    molecules: what each line is about; lines about the same are drawn together.
    """
    figures = {}
    for name, column in scores.items():
        if name == "fcd":
            figures[name] = chemnet_distance(column.tolist(), molecules)
        elif isinstance(column.iloc[0], np.ndarray):
            figures[name] = corpus_bleu(np.stack(column.tolist()), molecules)
        else:
            known = column.notna().to_numpy()
            units = [unit for unit, k in zip(molecules, known, strict=True) if k]
            figures[name] = bootstrap_over_molecules(column[known], units) if units else Interval(*[np.nan] * 3)
    return figures


def bleu_statistics(predicted: Sequence[str], truth: Sequence[str], n: int) -> np.ndarray:
    """`(2n + 2,)`: matching and all n-grams of lengths 1 to n, and both lengths; summed over a set, its BLEU."""
    modified_precision = library("nltk.translate.bleu_score").modified_precision
    precisions = [modified_precision([truth], predicted, length) for length in range(1, n + 1)]
    matches, all_grams = [p.numerator for p in precisions], [p.denominator for p in precisions]
    return np.array([*matches, *all_grams, len(predicted), len(truth)], float)


def corpus_bleu(statistics: np.ndarray, molecules: Sequence) -> Interval:
    """BLEU of a set (Papineni et al. 2002), uniform weights, no smoothing, and its interval.

    statistics: `(answers, 2n + 2)`, of `bleu_statistics`.
    """
    weights = resampling_weights(molecules)
    return percentile_interval(_bleu(statistics.sum(0)[None])[0], _bleu(weights @ statistics))


def _bleu(sums):
    """`(sets, 2n + 2)` -> `(sets,)`."""
    n = sums.shape[1] // 2 - 1
    with np.errstate(divide="ignore", invalid="ignore"):
        precision = np.exp(np.log(sums[:, :n] / sums[:, n : 2 * n]).mean(1))
        brevity = np.exp(np.minimum(0, 1 - sums[:, -1] / sums[:, -2]))
    return np.nan_to_num(precision * brevity)


@lru_cache(maxsize=20_000)
def read_molecule(smiles: str):
    """An RDKit molecule with its stereochemistry, not to be changed by the caller; None if it is none."""
    with BlockLogs():
        molecule = Chem.MolFromSmiles(smiles)
    return None if molecule is None or not molecule.GetNumAtoms() else molecule


def identity(molecule) -> str:
    """InChI, or canonical SMILES of what InChI cannot name."""
    with BlockLogs():
        return Chem.MolToInchi(molecule) or Chem.MolToSmiles(molecule)


def similarity(a, b, fingerprint) -> float:
    """Tanimoto similarity of two molecules; 0 if there is only one."""
    return 0.0 if a is None or b is None else DataStructs.TanimotoSimilarity(fingerprint(a), fingerprint(b))


def molecule_set(text: str) -> frozenset | None:
    """Canonical SMILES of the molecules that dots or tildes join; None if one cannot be read."""
    molecules = [read_molecule(part) for part in re.split(r"[.~]", re.sub(r"\s", "", text))]
    return None if None in molecules else frozenset(Chem.MolToSmiles(molecule) for molecule in molecules)


class NoSynonyms:
    """In the place of WordNet."""

    @staticmethod
    def synsets(word):
        return []


@cache
def _wordnet():
    try:
        library("nltk").data.find("corpora/wordnet.zip")
    except LookupError:
        return NoSynonyms()
    return library("nltk.corpus").wordnet


def _meteor(predicted, truth, wordnet) -> float:
    meteor = library("nltk.translate.meteor_score").single_meteor_score
    return float(meteor(truth, predicted, wordnet=wordnet))
