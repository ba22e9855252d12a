"""What needs no model: answers from the training spectra. Controls that a model has to beat.

A spectrum is a mapping with `mzs` (Da), `intensities`, `precursor_mz` (Da); those of a library have `smiles` too."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from ..chemistry_spec2mol import ADDUCTS, formula_mass, molecular_formula, neutral_mass

MERGED_DA = 0.01
PRECURSOR_MARGIN_DA = 1.6
PRECURSOR_TOLERANCE_PPM = 10.0


def cosine_similarities(
    queries: Sequence[Mapping], library: Sequence[Mapping], losses: bool = False
) -> Iterator[np.ndarray]:
    """Yields, for each query, its cosine with every spectrum of the library, `(library,)`, 0 to 1.

    Intensities enter as square roots; peaks match within 0.005 Da. Peaks nearer to each other than 0.01 Da are merged
    first, so that every match is one to one. The precursor peak, with all above precursor m/z - 1.6 Da, is left out:
    it tells the mass, not the structure (as Li et al. 2021 do).

    losses: the mean of two cosines, that of the fragments and that of the neutral losses (precursor m/z - m/z), so
        that molecules which differ by one group are found as well (the idea of analogue search).
    """
    if losses:
        for fragments, lost in zip(
            _cosines(queries, library, losses=False), _cosines(queries, library, losses=True), strict=True
        ):
            yield (fragments + lost) / 2
    else:
        yield from _cosines(queries, library, losses=False)


def _cosines(queries, library, losses) -> Iterator[np.ndarray]:
    query_spectrum, query_mz, query_intensity = _peaks(queries, losses)
    spectrum, mz, intensity = _peaks(library, losses)
    order = np.argsort(mz)
    spectrum, mz, intensity = spectrum[order], mz[order], intensity[order]
    first = np.searchsorted(mz, query_mz - MERGED_DA / 2)
    last = np.searchsorted(mz, query_mz + MERGED_DA / 2)
    bounds = np.searchsorted(query_spectrum, np.arange(len(queries) + 1))
    for start, end in zip(bounds[:-1], bounds[1:], strict=True):
        matches = [slice(first[i], last[i]) for i in range(start, end)]
        products = [intensity[match] * query_intensity[i] for i, match in enumerate(matches, start)]
        yield np.bincount(
            np.concatenate([spectrum[match] for match in matches] or [np.empty(0, int)]),
            np.concatenate(products or [np.empty(0)]),
            minlength=len(library),
        )


def _peaks(rows, losses) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """All peaks of all spectra: index of the spectrum (ascending), m/z or neutral loss, intensity scaled to a spectrum
    of length 1."""
    spectrum = np.repeat(np.arange(len(rows)), [len(row["mzs"]) for row in rows])
    mz = np.concatenate([np.asarray(row["mzs"], np.float64) for row in rows])
    intensity = np.sqrt(np.concatenate([np.asarray(row["intensities"], np.float64) for row in rows]))
    precursor = np.array([row["precursor_mz"] for row in rows], np.float64)[spectrum]

    kept = (mz <= precursor - PRECURSOR_MARGIN_DA) & (intensity > 0)
    spectrum, mz, intensity = spectrum[kept], mz[kept], intensity[kept]
    if losses:
        mz = precursor[kept] - mz
    order = np.lexsort((mz, spectrum))
    spectrum, mz, intensity = spectrum[order], mz[order], intensity[order]
    apart = (np.diff(mz, prepend=-np.inf) > MERGED_DA) | (np.diff(spectrum, prepend=-1) > 0)
    peak = np.cumsum(apart) - 1
    total = np.bincount(peak, intensity)
    mz = np.bincount(peak, mz * intensity) / total
    spectrum = spectrum[apart]
    return spectrum, mz, total / np.sqrt(np.bincount(spectrum, total**2))[spectrum]


def library_search(
    queries: Sequence[Mapping],
    library: Sequence[Mapping],
    top_k: int = 10,
    losses: bool = False,
    restricted: bool = False,
) -> list[list[str]]:
    """For each query, up to `top_k` molecules (SMILES) of the library's most similar spectra of the same ion mode,
    best first, each molecule once.

    Args:
        losses: see `cosine_similarities`.
        restricted: only molecules that could be the answer: of the query's formula where it is known, else with the
            same precursor m/z (10 ppm) and adduct. There may be none.
    """
    smiles, molecule = np.unique([row["smiles"] for row in library], return_inverse=True)
    order = np.argsort(molecule, kind="stable")
    starts = np.searchsorted(molecule[order], np.arange(len(smiles)))
    modes = np.array([row.get("ion_mode") for row in library])
    precursors = np.array([row["precursor_mz"] for row in library])
    adducts = np.array([row.get("adduct") for row in library])
    formulas = np.array([row.get("formula") for row in library])
    answers = []
    for query, similarity in zip(queries, cosine_similarities(queries, library, losses), strict=True):
        allowed = modes == query["ion_mode"]
        if restricted and query["formula"] is not None:
            allowed &= formulas == query["formula"]
        elif restricted:
            within = PRECURSOR_TOLERANCE_PPM * 1e-6 * query["precursor_mz"]
            allowed &= (np.abs(precursors - query["precursor_mz"]) <= within) & (adducts == query["adduct"])
        # The best spectrum of each molecule
        scores = np.maximum.reduceat(np.where(allowed, similarity, -1.0)[order], starts)
        ranked = np.argsort(-scores, kind="stable")[:top_k]
        answers.append([str(smiles[i]) for i in ranked if scores[i] >= 0])
    return answers


def random_molecules_of_the_same_mass(
    queries: Sequence[Mapping], library: Sequence[Mapping], top_k: int = 10, seed: int = 0
) -> list[list[str]]:
    """For each query, `top_k` random molecules of the library whose mass rounds to the same integer as the query's
    (precursor m/z less adduct); where there are too few, those of the next nearest integers. Without a known adduct,
    any molecules."""
    smiles = sorted({row["smiles"] for row in library})
    nominal = np.round([formula_mass(molecular_formula(molecule)) for molecule in smiles])
    rng = np.random.default_rng(seed)
    answers = []
    for query in queries:
        distance = np.zeros(len(smiles))
        if query["adduct"] in ADDUCTS:
            distance = np.abs(nominal - round(neutral_mass(query["precursor_mz"], query["adduct"])))
        ranked = np.lexsort((rng.random(len(smiles)), distance))[:top_k]
        answers.append([smiles[i] for i in ranked])
    return answers
