"""Molecular formulas from a spectrum: all that the precursor's mass allows, ranked by what the fragments say.

Notable:
- Formulas of C, H, N and O up to the mass in question stand in one table sorted by mass. What else a molecule holds
  (P, S, halogens, B, Si, Se) comes in a few hundred combinations, those of known molecules and their neighbours. Each
  combination leaves a rest of the mass, and two binary searches find the rest's formulas: milliseconds for a mass.
- Four counts are packed into one integer with a free bit above each, so that one subtraction tells whether a
  fragment's atoms are among the molecule's.
- The score is the log of a softmax over the formulas of one spectrum: linear in mass and composition for the
  shortlist, a small network with the fragments for the ranking. `python -m spec2mol.training.formula_ranking` fits
  both and writes formula_weights_spec2mol.py.

Other packages for the same (msbuddy, find-mfs) are compiled, download a database or are under the GPL; this file
ships with a model and needs numpy alone.
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from itertools import product
from typing import NamedTuple

import numpy as np

from .chemistry_spec2mol import (
    ADDUCTS,
    ELECTRON_MASS,
    MONOISOTOPIC_MASSES,
    adduct_composition,
    neutral_mass,
    normalize_adduct,
    parse_formula,
    precursor_mz,
)
from .formula_weights_spec2mol import COMBINATIONS, HIDDEN_BIAS, HIDDEN_WEIGHTS, OUTPUT_WEIGHTS, PRIOR_WEIGHTS

FORMULA_ELEMENTS = ("C", "H", "N", "O", "P", "S", "F", "Cl", "Br", "I", "B", "Si", "Se")
FRAGMENT_ELEMENTS = (*FORMULA_ELEMENTS, "Li", "Na", "K")
LARGEST_MASS = 1200.0  # Da; the table grows with the fourth power of the mass.
MAX_PEAKS = 60  # that vote for a formula, the most intense ones
SHORTLIST = 300  # formulas whose fragments are looked at, the most plausible by mass and composition
ODD_ELECTRON = 0.3  # weight of a radical ion beside an even-electron one

_MASSES = np.array([MONOISOTOPIC_MASSES[element] for element in FRAGMENT_ELEMENTS])
_VALENCE_MINUS_2 = np.array([2, -1, 1, 0, 1, 0, -1, -1, -1, -1, 1, 2, 0, -1, -1, -1])
_HALOGENS = [FORMULA_ELEMENTS.index(element) for element in ("F", "Cl", "Br", "I")]
# Kind and Fiehn's extended ranges (BMC Bioinformatics 2007, 8:105): atoms for each carbon
_LARGEST_RATIOS = {"N": 4, "O": 3, "P": 2, "S": 3, "F": 6, "Cl": 2, "Br": 2, "Si": 1}
_SHIFTS = np.array([0, 8, 17, 24], np.uint32)  # of C, H, N, O in a packed word, of 7, 8, 6 and 6 bits
_GUARDS = np.uint32(1 << 7 | 1 << 16 | 1 << 23 | 1 << 30)  # the free bits above them


class FormulaCandidate(NamedTuple):
    """score: natural log of its probability among all that the mass allows; explained: share of the peaks' intensity
    that its sub-formulas explain, 0 to 1; error_ppm: (measured - computed) / computed precursor m/z."""

    formula: str
    score: float
    explained: float
    error_ppm: float


class ExplainedPeaks(NamedTuple):
    """counts `(peaks, len(FRAGMENT_ELEMENTS))`: atoms of each peak's ion, all 0 where no sub-formula fits;
    error_ppm `(peaks,)`: (measured - computed) / computed m/z, NaN where none fits."""

    counts: np.ndarray
    error_ppm: np.ndarray

    @property
    def formulas(self) -> list[str | None]:
        """Of each peak's ion in Hill order, without charge."""
        return [hill_formula(row) if row.any() else None for row in self.counts]


def rank_formulas(spectrum: Mapping, ppm: float = 10.0, top_k: int = 20) -> list[FormulaCandidate]:
    """Formulas (Hill order) of the molecule, best first; of the ion itself for [M]+ and [M]-. Empty if none fits.

    Args:
        spectrum: as `Spec2MolFeatureExtractor` takes it: `precursor_mz` (Da), `mzs`, `intensities`, `adduct`. Without
            adduct, [M+H]+ or [M-H]- by the `ion_mode`, which is positive by default.
        ppm: largest error of precursor and peaks.

    Raises:
        ValueError: no usable precursor m/z, an unknown adduct, or a molecule heavier than LARGEST_MASS.
    """
    adduct = assumed_adduct(spectrum)
    mz = _precursor_mz(spectrum)
    counts, log_frequency = enumerate_formulas(mz, adduct, ppm)
    if not len(counts):
        return []
    errors = precursor_errors(counts, mz, adduct)
    features = prior_features(counts, log_frequency, errors)
    plausible = features @ PRIOR_WEIGHTS
    log_norm = np.logaddexp.reduce(plausible)
    kept = np.argsort(-plausible, kind="stable")[:SHORTLIST]
    counts, errors, plausible, features = counts[kept], errors[kept], plausible[kept], features[kept]

    evidence = peak_features(spectrum, counts, adduct, ppm)
    scores = _network(ranking_features(spectrum, counts, adduct, features, evidence))
    scores += np.logaddexp.reduce(plausible) - log_norm - np.logaddexp.reduce(scores)
    best = np.argsort(-scores, kind="stable")[:top_k]
    return [
        FormulaCandidate(hill_formula(counts[i]), float(scores[i]), float(evidence[i, 0]), float(errors[i]))
        for i in best
    ]


def explain_peaks(spectrum: Mapping, formula: str, ppm: float = 10.0) -> ExplainedPeaks:
    """For each peak the sub-formula of the ion, molecule and adduct, that it may be: the one nearest in m/z among
    those with enough valences, as a singly charged fragment.

    Args:
        spectrum: as for `rank_formulas`; the peaks may come in any order.
        formula: of the molecule, or of the ion itself for [M]+ and [M]-.

    Raises:
        ValueError: not a formula, or an unknown adduct.
    """
    mzs = np.asarray(spectrum["mzs"], np.float64)
    adduct = assumed_adduct(spectrum)
    ion = _ion_counts(_counts(formula)[None], adduct)[0]
    counts = np.zeros((len(mzs), len(FRAGMENT_ELEMENTS)), np.int64)
    errors = np.full(len(mzs), np.nan)
    if (ion < 0).any() or not len(mzs):
        return ExplainedPeaks(counts, errors)
    skeletons, masses, most_hydrogens = _skeletons(tuple(ion.tolist()))
    rest = (mzs + np.sign(ADDUCTS[adduct].charge) * ELECTRON_MASS)[:, None] - masses
    hydrogens = np.rint(rest / _MASSES[1])  # No error of a peak is as large as half a hydrogen.
    rest -= hydrogens * _MASSES[1]
    distance = np.where((hydrogens >= 0) & (hydrogens <= most_hydrogens), np.abs(rest), np.inf)
    peak, nearest = np.arange(len(mzs)), distance.argmin(1)
    fits = distance[peak, nearest] <= mzs * ppm * 1e-6
    peak, nearest = peak[fits], nearest[fits]
    counts[peak] = skeletons[nearest]
    counts[peak, 1] = hydrogens[peak, nearest]
    errors[peak] = rest[peak, nearest] / mzs[peak] * 1e6
    return ExplainedPeaks(counts, errors)


@lru_cache(maxsize=1024)
def _skeletons(ion) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Sub-formulas of an ion but for their hydrogens `(skeletons, elements)`, their masses (Da), and the most
    hydrogens that each may bind: one more than its valences in an even-electron cation."""
    rest = (ion[0], 0, *ion[2:])
    counts = np.array(list(product(*(range(n + 1) for n in rest))), np.int64)
    free = counts @ _VALENCE_MINUS_2
    return counts, counts @ _MASSES, np.minimum(ion[1], free + 3)


def hill_formula(counts: Sequence[int]) -> str:
    """Counts of FORMULA_ELEMENTS or FRAGMENT_ELEMENTS -> "C8H10N4O2"; without carbon all is alphabetic."""
    present = {element: int(n) for element, n in zip(FRAGMENT_ELEMENTS, counts, strict=False) if n}
    order = sorted(
        present, key=lambda element: (element != "C", element != "H", element) if "C" in present else element
    )
    return "".join(element + (str(present[element]) if present[element] > 1 else "") for element in order)


def enumerate_formulas(mz: float, adduct: str, ppm: float = 10.0) -> tuple[np.ndarray, np.ndarray]:
    """Counts `(formulas, len(FORMULA_ELEMENTS))` of all molecules whose ion `adduct` has this m/z within `ppm`, and
    `(formulas,)` the log frequency among molecules of what they hold beside C, H, N and O.

    They hold carbon, their elements occur together in known molecules or in neighbours of these, they keep Kind and
    Fiehn's ratios, and a closed-shell molecule of that valence sum exists (Senior). Raises ValueError as
    `rank_formulas`.
    """
    mass, tolerance = neutral_mass(mz, adduct), mz * ppm * 1e-6 * abs(ADDUCTS[adduct].charge)
    if not mass < LARGEST_MASS:
        raise ValueError(f"a molecule of {mass:.4f} Da is too heavy for a formula, at most {LARGEST_MASS:.0f} Da")
    others, log_frequency = _combinations()
    rest = mass - others @ _MASSES[4 : len(FORMULA_ELEMENTS)]
    combination, words, _ = _decompose(rest, np.full(len(rest), tolerance), mass)
    counts = np.concatenate([_unpack(words), others[combination]], axis=1)
    good = _is_molecule(counts, adduct)
    return counts[good], log_frequency[combination[good]]


def _is_molecule(counts, adduct) -> np.ndarray:
    carbon = counts[:, 0]
    # Twice the rings and double bonds; an ion that is itself the molecule has gained or lost half a bond.
    unsaturation = counts @ _VALENCE_MINUS_2[: len(FORMULA_ELEMENTS)] + 2
    is_ion = not adduct_composition(adduct)
    good = (carbon > 0) & (unsaturation >= -is_ion) & (unsaturation % 2 == is_ion)
    good &= counts[:, 1] + counts[:, _HALOGENS].sum(1) >= 0.1 * carbon
    for element, ratio in _LARGEST_RATIOS.items():
        good &= counts[:, FORMULA_ELEMENTS.index(element)] <= ratio * carbon
    return good & (_ion_counts(counts, adduct) >= 0).all(1)


def prior_features(counts, log_frequency, errors) -> np.ndarray:
    """What mass and composition say for each formula, `(formulas, len(PRIOR_WEIGHTS))`."""
    carbon, hydrogen, nitrogen, oxygen = counts[:, :4].T
    halogens = counts[:, _HALOGENS].sum(1)
    heavy = counts.sum(1) - hydrogen
    unsaturation = (counts @ _VALENCE_MINUS_2[: len(FORMULA_ELEMENTS)] + 2) / 2
    n, o, h, u = nitrogen / heavy, oxygen / heavy, (hydrogen + halogens) / heavy, unsaturation / heavy
    columns = (
        log_frequency,
        -((errors / 5) ** 2),
        np.log1p(nitrogen),
        np.log1p(oxygen),
        np.log1p(counts[:, 4:].sum(1)),
        np.log1p(counts).sum(1),  # log of the number of sub-formulas
        n,
        n**2,
        o,
        o**2,
        n * o,
        h,
        h**2,
        u,
        u**2,
        h * o,
        h * n,
        carbon / heavy,
        (nitrogen == 0),
        (oxygen == 0),
        (nitrogen % 2),
    )
    return np.stack(columns, axis=1)


def peak_features(spectrum: Mapping, counts, adduct: str, ppm: float) -> np.ndarray:
    """What the peaks say for each formula, `(formulas, 15)`. Sub-formulas explain a peak in three ways: any of them,
    even-electron ones, and likely ones, near in mass and without more rings and double bonds than the ion. For each:
    the share of the peaks' intensity that is explained, of the roots of their intensities, of their number, of the
    roots times m/z, and how many are not explained."""
    mzs, intensities = np.asarray(spectrum["mzs"], np.float64), np.asarray(spectrum["intensities"], np.float64)
    below = (mzs < _precursor_mz(spectrum) - 0.5) & (intensities > 0)
    mzs, intensities = mzs[below], intensities[below]
    kept = np.argsort(-intensities, kind="stable")[:MAX_PEAKS]
    mzs, intensities = mzs[kept], intensities[kept]
    if not len(mzs):
        return np.zeros((len(counts), 15))
    ions = _ion_counts(counts, adduct)
    explained = _explained(mzs, np.sign(ADDUCTS[adduct].charge), ions, ppm)
    roots = np.sqrt(intensities)
    weights = np.stack([intensities, roots, np.ones(len(mzs)), roots * mzs], axis=1)
    shares = explained @ (weights / weights.sum(0))
    missing = (1 - explained).sum(-1, keepdims=True)
    return np.concatenate([shares, missing], axis=-1).transpose(1, 0, 2).reshape(len(counts), 15)


def ranking_features(spectrum: Mapping, counts, adduct: str, prior, evidence) -> np.ndarray:
    """What the network reads for each formula, `(formulas, len(HIDDEN_WEIGHTS))`: `prior_features`, the counts,
    `peak_features`, and of the query the log of the number of peaks, m/z, ion mode, and whether the molecule is itself
    the ion."""
    query = (
        np.log1p(len(spectrum["mzs"])),
        _precursor_mz(spectrum) / 500,
        ADDUCTS[adduct].charge < 0,
        not adduct_composition(adduct),
    )
    return np.column_stack([prior, counts, evidence, np.tile(np.array(query, np.float64), (len(counts), 1))])


def _network(features) -> np.ndarray:
    hidden = features @ HIDDEN_WEIGHTS + HIDDEN_BIAS
    return hidden / (1 + np.exp(-hidden)) @ OUTPUT_WEIGHTS


def precursor_errors(counts, mz: float, adduct: str) -> np.ndarray:
    computed = precursor_mz(counts @ _MASSES[: counts.shape[1]], adduct)
    return (mz - computed) / computed * 1e6


def _explained(mzs, charge, ions, ppm) -> np.ndarray:
    """How well each ion's sub-formulas explain each peak, `(3, ions, peaks)`: 1 without error, 0 if none fits; for any
    sub-formula, even-electron ones, likely ones."""
    hits = _decompose_peaks(mzs, charge, ions, ppm)
    near, nearest = (np.exp(-0.5 * (hits.error_ppm / (ppm / width)) ** 2) for width in (2, 5))
    # Of a fragment, twice its rings and double bonds; an even-electron ion has an odd number.
    unsaturation = _unpack(hits.words) @ _VALENCE_MINUS_2[:4] + hits.others[hits.other] @ _VALENCE_MINUS_2[4:] + 2
    possible = unsaturation >= -1
    even = possible & (unsaturation % 2 == 1)
    weights = np.stack([near, near * even, nearest * np.where(even, 1, ODD_ELECTRON * possible)]).astype(np.float32)
    most_unsaturated = ions @ _VALENCE_MINUS_2 + 5  # The neutral loss is no more saturated than H2.

    words = _pack(ions[:, :4])
    combinations, combination = np.unique(ions[:, 4:], axis=0, return_inverse=True)
    explained = np.zeros((3, len(ions), len(mzs)), np.float32)
    for i, row in enumerate(combinations):  # Ions of the same P, S, ... share their fragments' P, S, ...
        usable = np.flatnonzero((hits.others <= row).all(1)[hits.other])
        if not len(usable):
            continue
        members = np.flatnonzero(combination == i)
        contained = _contained(hits.words[usable], words[members])
        fits = contained * weights[:, usable, None]
        fits[2] *= unsaturation[usable, None] <= most_unsaturated[members]
        starts = np.flatnonzero(np.diff(hits.peak[usable], prepend=-1))
        best = np.maximum.reduceat(fits, starts, axis=1)
        explained[:, members[:, None], hits.peak[usable][starts]] = best.transpose(0, 2, 1)
    return explained


class _PeakHits(NamedTuple):
    """Formulas of peaks, sorted by peak: index of the peak, packed C, H, N, O, row of `others`, error."""

    peak: np.ndarray
    words: np.ndarray
    other: np.ndarray
    others: np.ndarray
    error_ppm: np.ndarray


def _decompose_peaks(mzs, charge, ions, ppm) -> _PeakHits:
    """All formulas of singly charged peaks whose elements beyond C, H, N and O are among some ion's."""
    rows = np.unique(ions[:, 4:], axis=0)
    others = np.unique(np.concatenate([_sub_combinations(tuple(row)) for row in rows.tolist()]), axis=0)
    masses = mzs + charge * ELECTRON_MASS
    rest = masses[:, None] - others @ _MASSES[4:]
    query, words, error = _decompose(rest.ravel(), np.repeat(mzs * ppm * 1e-6, len(others)), masses.max(initial=0))
    peak, other = np.divmod(query, len(others))
    return _PeakHits(peak, words, other, others, error / mzs[peak] * 1e6)


@lru_cache(maxsize=1024)
def _sub_combinations(row) -> np.ndarray:
    return np.array(list(product(*(range(n + 1) for n in row))), np.int64)


def _decompose(masses, tolerances, largest) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """All formulas of C, H, N and O for each of many masses: index of the mass, packed formula, measured - computed
    mass (Da)."""
    table, words = _chno_table(250 * (1 + int(largest // 250)))
    first = np.searchsorted(table, masses - tolerances)
    number = np.searchsorted(table, masses + tolerances, side="right") - first
    query = np.repeat(np.arange(len(masses)), number)
    row = np.arange(len(query)) + np.repeat(first - (np.cumsum(number) - number), number)
    return query, words[row], masses[query] - table[row]


@lru_cache(maxsize=8)
def _chno_table(limit: int) -> tuple[np.ndarray, np.ndarray]:
    """Masses (Da, ascending, up to `limit`) and packed counts of C, H, N and O, also in fragments without carbon."""
    masses, words = [], []
    _, h_mass, n_mass, o_mass = _MASSES[:4]
    for carbon in range(int(limit // 12) + 1):
        nitrogen, oxygen = np.arange(min(1.3 * carbon + 7, 64)), np.arange(min(1.2 * carbon + 9, 64))
        nitrogen, oxygen = (axis.ravel() for axis in np.meshgrid(nitrogen, oxygen))
        heavy = 12.0 * carbon + n_mass * nitrogen + o_mass * oxygen
        kept = heavy <= limit
        nitrogen, oxygen, heavy = nitrogen[kept], oxygen[kept], heavy[kept]
        number = np.minimum(2 * carbon + nitrogen + 8, (limit - heavy) // h_mass).astype(np.int64) + 1
        parent = np.repeat(np.arange(len(heavy)), number)
        hydrogen = np.arange(len(parent)) - np.repeat(np.cumsum(number) - number, number)
        masses.append(heavy[parent] + h_mass * hydrogen)
        counts = (np.full(len(parent), carbon), hydrogen, nitrogen[parent], oxygen[parent])
        words.append(_pack(np.stack(counts, axis=1)))
    masses, words = np.concatenate(masses), np.concatenate(words)
    order = np.argsort(masses)
    return masses[order], words[order]


def _pack(counts) -> np.ndarray:
    """Counts of C, H, N and O `(formulas, 4)` in one word each."""
    return (counts.astype(np.uint32) << _SHIFTS).sum(1, dtype=np.uint32)


def _unpack(words) -> np.ndarray:
    return (words[:, None] >> _SHIFTS & np.array([127, 255, 63, 63], np.uint32)).astype(np.int64)


def _contained(fragments, ions) -> np.ndarray:
    """`(fragments, ions)`: no guard bit is borrowed where the ion has enough of all four elements."""
    return ((ions | _GUARDS) - fragments[:, None]) & _GUARDS == _GUARDS


@lru_cache(maxsize=1)
def _combinations() -> tuple[np.ndarray, np.ndarray]:
    """Counts of the elements beside C, H, N and O `(combinations, elements)`, and the log of their frequency. What
    differs from a known combination by one atom may occur as well, as half a molecule."""
    known = {}
    for text in COMBINATIONS.split():
        formula, _, number = text.rpartition(":")
        known[tuple(_counts(formula)[4:].tolist() if formula else [0] * 9)] = float(number)
    frequency = dict(known)
    for row in known:
        for i in range(len(row)):
            for step in (-1, 1):
                neighbour = (*row[:i], row[i] + step, *row[i + 1 :])
                if neighbour[i] >= 0:
                    frequency.setdefault(neighbour, 0.5)
    return np.array(list(frequency)), np.log(list(frequency.values())) - np.log(sum(frequency.values()))


def _counts(formula) -> np.ndarray:
    counts = parse_formula(formula)
    if outside := set(counts) - set(FORMULA_ELEMENTS):
        raise ValueError(f"formula {formula}: {', '.join(sorted(outside))} is none of {', '.join(FORMULA_ELEMENTS)}")
    return np.array([counts.get(element, 0) for element in FORMULA_ELEMENTS])


def _ion_counts(counts, adduct) -> np.ndarray:
    """`(formulas, len(FRAGMENT_ELEMENTS))`: the molecule's atoms with those that ionisation adds or takes."""
    change = adduct_composition(adduct)
    counts = np.pad(counts, ((0, 0), (0, len(FRAGMENT_ELEMENTS) - counts.shape[1])))
    return counts + np.array([change.get(element, 0) for element in FRAGMENT_ELEMENTS])


def assumed_adduct(spectrum: Mapping) -> str:
    """The spectrum's adduct as ADDUCTS names it; where there is none, [M+H]+ or, in negative mode, [M-H]-. Raises
    ValueError: an unknown adduct."""
    text = spectrum.get("adduct")
    if text is None:
        return "[M-H]-" if spectrum.get("ion_mode") == "negative" else "[M+H]+"
    if (adduct := normalize_adduct(text)) is None:
        raise ValueError(f"unknown adduct {text!r}, expected one of {', '.join(ADDUCTS)}")
    return adduct


def _precursor_mz(spectrum) -> float:
    mz = float(spectrum["precursor_mz"])
    if not 0 < mz < np.inf:
        raise ValueError(f"no usable precursor m/z (got {mz})")
    return mz


__all__ = [
    "FORMULA_ELEMENTS",
    "FRAGMENT_ELEMENTS",
    "LARGEST_MASS",
    "ExplainedPeaks",
    "FormulaCandidate",
    "assumed_adduct",
    "explain_peaks",
    "hill_formula",
    "rank_formulas",
]
