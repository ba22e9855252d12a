"""Molecular formulas from a spectrum: all that the precursor's mass allows, ranked by what the fragments say.

Notable:
- Formulas of C, H, N and O up to the mass in question stand in one table sorted by mass. What else a molecule holds
  (P, S, halogens, B, Si, Se) comes in a few hundred combinations, those of known molecules and their neighbours. Each
  combination leaves a rest of the mass, and two binary searches find the rest's formulas: milliseconds for a mass.
- Four counts are packed into one integer with a free bit above each, so that one subtraction tells whether a
  fragment's atoms are among the molecule's.
- The score is a conditional logistic regression (softmax over the formulas of one spectrum), fitted by
  `python benchmarks/formula_recall.py --fit`, which prints the constants below.

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

FORMULA_ELEMENTS = ("C", "H", "N", "O", "P", "S", "F", "Cl", "Br", "I", "B", "Si", "Se")
FRAGMENT_ELEMENTS = (*FORMULA_ELEMENTS, "Li", "Na", "K")
LARGEST_MASS = 1200.0  # Da; the table grows with the fourth power of the mass.
MAX_PEAKS = 60  # that vote for a formula, the most intense ones
SHORTLIST = 300  # formulas whose fragments are looked at, the most plausible by mass and composition

_MASSES = np.array([MONOISOTOPIC_MASSES[element] for element in FRAGMENT_ELEMENTS])
_VALENCE_MINUS_2 = np.array([2, -1, 1, 0, 1, 0, -1, -1, -1, -1, 1, 2, 0, -1, -1, -1])
_HALOGENS = [FORMULA_ELEMENTS.index(element) for element in ("F", "Cl", "Br", "I")]
# Kind and Fiehn's extended ranges (BMC Bioinformatics 2007, 8:105): atoms for each carbon
_LARGEST_RATIOS = {"N": 4, "O": 3, "P": 2, "S": 3, "F": 6, "Cl": 2, "Br": 2, "Si": 1}
_SHIFTS = np.array([0, 8, 17, 24], np.uint32)  # of C, H, N, O in a packed word, of 7, 8, 6 and 6 bits
_GUARDS = np.uint32(1 << 7 | 1 << 16 | 1 << 23 | 1 << 30)  # the free bits above them

# Fitted constants, as `python benchmarks/formula_recall.py --fit` prints them

# Molecules with each combination of elements beside C, H, N and O
COMBINATIONS = """
:247246 S:70669 Cl:32814 F:25249 F3:17073 S2:15093 SCl:12992 Cl2:12815 SF:9580 F2:9420 Br:8412 SF3:6066 FCl:5376
SCl2:4168 P:4150 F4:3199 SF2:3024 F3Cl:2951 SBr:2928 S2Cl:2786 F6:2364 S3:2059 SFCl:1934 Cl3:1843 F2Cl:1527 SF4:1390
FCl2:1377 S2F:1312 I:1276 Br2:1023 ClBr:982 SF3Cl:937 S2F3:919 F5:879 FBr:846 F3Cl2:769 P2:721 S2Cl2:714 SF6:623
S2Br:609 SCl3:598 PS:586 Cl4:541 S4:503 F4Cl:496 F7:477 S2F2:418 F2Cl2:411 Si:398 B:392 SF2Cl:390 SFCl2:376 SI:367
S2FCl:352 F3Br:324 Cl2Br:320 SF5:311 SClBr:295 P3S:295 F2Br:267 S3Cl:265 SFBr:253 S2F4:243 F6Cl:237 Se:235 SF3Cl2:221
SBr2:210 P3:191 F6Cl2:190 F9:184 Br4:172 PF:169 SF3Br:162 FI:153 SF4Cl:152 ClI:149 S2F3Cl:148 S3F:140 S3F3:139
S2F2Cl:133 FCl3:130 PCl:130 SF2Cl2:128 F5Cl:120 SCl4:118 F4Cl2:118 FClBr:114 Br3:110 I2:104 S2F5:101 F3Cl3:101 PS2:97
P2S:96 S2F6:96 SF7:94 Cl5:83 PF2:80 F3I:80 SCl2Br:79 PCl2:79 S2FCl2:78 F8:78 S3Cl2:77 Cl6:77 SB:76 ClBr2:76 S2Br2:74
Si2:72 PF3:71 S2Cl3:70 S3Br:66 S3F3Cl:64 S5:64 F2Cl3:60 S3F4:60 S2I:56 F5Cl2:56 F10:54 F2I:54 PBr:54 S6:52 PSCl:51
SF9:51 F4Br:50 S2ClBr:50 Cl2I:48 SClI:48 S2F4Cl:48 SF6Cl:48 SF2Br:47 F7Cl:47 F3ClBr:47 SF3Cl3:46 P4:45 Cl3Br:44
S2Cl4:43 SFClBr:42 SF5Cl:39 I3:37 FB:36 Cl2Br2:36 SF2B:35 BrI:34 ClB:34 SF4Cl2:32 SSi:32 S2FBr:32 S4Cl2:32 PSF:32
SFCl3:30 F3Br2:29 F2B:29 S3F4Cl:28 S3F2:27 SFB:27 F12:27 Se2:27 SFI:26 PSF2:25 PS3:25 PF6:25 FBr2:24 P2Cl:24 ClSi:24
SClBr2:23 S2F3Cl2:23 F3B:23 F6Br:22 SBr4:22 SF17:22 S2F3Br:21 S3F5:21 S3FCl:21 SF8:21 F7Cl2:21 SF6Cl2:20 S8:20 Br5:19
PBr2:18 P2S2:18 FCl4:17 PCl3:17 PSF3:17 SF4Br:17 P2F4:17 FSi:17 SI2:17 FCl2Br:16 P3S2:16 S2Si:16 F9Cl:16 FClI:16
SF2I:16 S2F17:16 PFCl:16 PSBr:16 SF3I:15 I4:15 S2F2Cl2:15 SSi2:15 SF3ClBr:15 S4Cl:15 S2F5Cl:14 Br6:14 S2Cl2Br:14
SBr3:14 F2ClBr:14 Si3:14 SCl5:13 Cl4Br:13 SCl6:13 PF2Br:13 P3F:13 P2Br:13 PI:12 S2F9:12 P2F:12 B2:12 PSCl2:12 SCl3Br:12
F5Br:11 F13:11 S2B:11 F2ClB:11 S2F7:11 F8Cl:11 SFCl4:11 F3ClB:11 ClSe:11 Cl7:11 SSe:10 P2Cl2:10 F3Cl2Br:10 S3F17:10
F2Cl2Br:10 PSi:10 F3Se:10 S2I2:10 SF6Br:10 FClB:9 Cl8:9 Cl3I:9 Si4:9 PSFCl:9 SF10:9 SF4ClBr:9 S3Br2:9 SF2Cl3:9 S3Cl3:9
PF4:9 SFBr2:9 S3F9:8 F4Cl3:8 S5F3:8 F8Cl4:8 P2I:8 S3Cl4:8 S3F6:8 Cl3Br2:8 P3Cl:8 SF13:8 P3F2B:8 S4Cl4:7 SF12:7 BrSi:7
S3F2Br:7 S2F2Br:7 F11:7 ClBr4:7 S3ClBr:7 SF6Cl3:7 P3SF:7 P2F2:7 SBrI:7 SF3Br2:7 BrB:7 F9Cl2:7 SF5Cl2:6 SFCl2Br:6 P2Se:6
S4F3Cl:6 S2Se:6 Cl2B:6 P2SCl:6 F3Si:6 S2BrSi:6 SF3Cl2Br:6 F6Cl3:6 PF5:6 PS2F2:6 S3I:6 S3FBr:6 PFBr:6 ClBr3:6 S7:6
SF3B:6 S4F3:6 F4ClBr:6 F17:6 F2Cl4:5 SF7Cl:5 F6I:5 S2FCl4:5 S2FCl3:5 SFSi:5 BrSe:5 F2Br2:5 SCl2I:5 P6:5 F5Cl3:5 Cl10:5
P5:5 S3F2Cl:5 F3Cl4:5 F3ClI:5 S4F:5 F8Cl2:5 Cl3Si:5 PClBr:5 SF2ClBr:5 S4F2:5 F15:5 FI2:4 BrI2:4 F2Si:4 SCl2B:4
PS2F2Br:4 PS2Cl:4 PF13:4 S3F7:4 ISi:4 S12:4 P3I:4 P4S:4 PF2Cl2:4 P4F:4 SF5Br:4 PCl4:4 S2F8:4 SCl4Br:4 PF12:4 PSCl4:4
P2SF2:4 SF4Se:4 S2ClBr2:4 SF3Se:4 PF3Cl2:4 Cl2I2:4 F19:4 S2F3Cl3:4 PSF6:4 PSCl3:4 P8:3 F14:3 Br2I2:3 S2F6Cl:3 SClSi:3
SF5Cl3:3 S6Cl4:3 SClB:3 PSe:3 SF2Br2:3 SF4Cl3:3 P2SF4:3 PF2Cl:3 P7:3 PF3Br:3 S6Cl2:3 P3SCl2:3 S3F5Cl:3 S3Cl2Br:3 PS4:3
PSCl2Br:3 PI2:3 SF6Br2:3 Br8:3 F6ClBr:3 Cl2Se:3 S2F5Br:3 F10Cl2:3 PF17:3 S2FB:3 S2Cl3Br:3 SF3Si:3 SCl2Br2:3 P2SBr:3
S2FI:3 P2F3:3 S3Si:3 PS2F3:3 S3B:3 SF4B:3 P3SCl:3 Br2I:3 SF15:3 S4F5:3 P3Cl2:3 SFClI:3 S3F3Br:3 FClSi:2 ISi3:2 F23:2
Cl2Se2:2 P3B:2 Br2B2:2 P3SF2:2 SF16Cl:2 PF7:2 S2Cl6:2 S4F17:2 S3F2Cl2:2 S2F4Cl2:2 S2F10:2 SFClB:2 SF4Cl2Br:2 F6Br2:2
S2FClBr:2 S2ClB:2 F27:2 Cl4Br4:2 SF3Br3:2 F10Cl:2 F4I:2 S2BrB:2 SISi2:2 S4F9:2 P3Br:2 S2F4Br:2 F7Cl3:2 PS3F3Cl:2 ClI2:2
S2F17Cl:2 S4Cl6:2 PCl2Br:2 PI3:2 F5B:2 S2F6Cl2:2 SF3Cl5:2 SF21:2 SBr5:2 P3SB:2 SF8Cl:2 F24:2 PF9:2 PS2Cl2:2 P2S2Cl2:2
S4B:2 P2SF:2 PSF2Cl:2 SF7Cl3:2 SF9Cl:2 SiSe:2 F3ClBr2:2 P2F6:2 PF15:2 P2S3:2 F2Br4:2 S4Br2:2 Cl2Si:2 S10:2 S2FBr2:2
S2ClI:2 Cl9:2 S2Br4:2 FSe:2 F18:2 SB2:2 PCl6:2 Cl12:2 Cl2Br3:2 SClSe:2 S3FCl3:2 P3F2:2 Si5:2 P2SF3:2 SFSe:2 S2F18:2
SI4:2 P2Br2:2 F7Br:2 FSi2:2 S3FCl2:2 P2S4:2 SF2Cl4:2 Cl4I4:2 Si2Se:2 FClBr2:2
"""
PRIOR_WEIGHTS = np.array(
    [
        0.5033,
        1.817,
        -1.338,
        3.112,
        -1.181,
        -0.8509,
        17.4,
        -31.37,
        -18.6,
        -10.84,
        -34.04,
        1.262,
        -1.841,
        6.732,
        -18.39,
        8.447,
        -7.426,
        1.552,
        -1.416,
        0.2609,
        0.8185,
    ]
)
PEAK_WEIGHTS = np.array([1.069, -0.3293, 2.02, 4.402])


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
    adduct = _adduct(spectrum)
    mz = _precursor_mz(spectrum)
    counts, log_frequency = enumerate_formulas(mz, adduct, ppm)
    if not len(counts):
        return []
    errors = precursor_errors(counts, mz, adduct)
    plausible = prior_features(counts, log_frequency, errors) @ PRIOR_WEIGHTS
    log_norm = np.logaddexp.reduce(plausible)
    kept = np.argsort(-plausible, kind="stable")[:SHORTLIST]
    counts, errors, plausible = counts[kept], errors[kept], plausible[kept]

    evidence = peak_features(spectrum, counts, adduct, ppm)
    scores = np.column_stack([plausible, evidence]) @ PEAK_WEIGHTS
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
    adduct = _adduct(spectrum)
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
    """What the peaks say for each formula: the share of their intensity, of the roots of their intensities, and of
    their number, that sub-formulas explain, `(formulas, len(PEAK_WEIGHTS))`."""
    mzs, intensities = np.asarray(spectrum["mzs"], np.float64), np.asarray(spectrum["intensities"], np.float64)
    below = (mzs < _precursor_mz(spectrum) - 0.5) & (intensities > 0)
    mzs, intensities = mzs[below], intensities[below]
    kept = np.argsort(-intensities, kind="stable")[:MAX_PEAKS]
    mzs, intensities = mzs[kept], intensities[kept]
    if not len(mzs):
        return np.zeros((len(counts), 3))
    ions = _ion_counts(counts, adduct)
    explained = _explained(mzs, np.sign(ADDUCTS[adduct].charge), ions, ppm)
    weights = np.stack([intensities, np.sqrt(intensities), np.ones(len(mzs))], axis=1)
    return explained @ (weights / weights.sum(0))


def precursor_errors(counts, mz: float, adduct: str) -> np.ndarray:
    computed = precursor_mz(counts @ _MASSES[: counts.shape[1]], adduct)
    return (mz - computed) / computed * 1e6


def _explained(mzs, charge, ions, ppm) -> np.ndarray:
    """How well each ion's sub-formulas explain each peak, `(ions, peaks)`: 1 without error, 0 if none fits."""
    hits = _decompose_peaks(mzs, charge, ions, ppm)
    weight = np.exp(-0.5 * (hits.error_ppm / (ppm / 2)) ** 2).astype(np.float32)
    words = _pack(ions[:, :4])
    combinations, combination = np.unique(ions[:, 4:], axis=0, return_inverse=True)
    explained = np.zeros((len(ions), len(mzs)), np.float32)
    for i, row in enumerate(combinations):  # Ions of the same P, S, ... share their fragments' P, S, ...
        usable = np.flatnonzero((hits.others <= row).all(1)[hits.other])
        if not len(usable):
            continue
        members = np.flatnonzero(combination == i)
        fits = _contained(hits.words[usable], words[members]) * weight[usable, None]
        starts = np.flatnonzero(np.diff(hits.peak[usable], prepend=-1))
        best = np.maximum.reduceat(fits, starts, axis=0)
        explained[members[:, None], hits.peak[usable][starts]] = best.T
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


@lru_cache(maxsize=1)
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


def _adduct(spectrum) -> str:
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
    "explain_peaks",
    "hill_formula",
    "rank_formulas",
]
