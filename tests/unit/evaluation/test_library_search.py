import numpy as np
import pytest

from spec2mol.chemistry_spec2mol import precursor_mz
from spec2mol.evaluation.library_search import (
    cosine_similarities,
    library_search,
    random_molecules_of_the_same_mass,
)


def spectrum(mzs, intensities, precursor=200.0, smiles="C", **known) -> dict:
    unknown = dict.fromkeys(("adduct", "ion_mode", "formula"))
    return unknown | {"mzs": mzs, "intensities": intensities, "precursor_mz": precursor, "smiles": smiles} | known


def cosines(query, *library, **options) -> list[float]:
    (row,) = cosine_similarities([query], library, **options)
    return row.tolist()


QUERY = spectrum([50.0, 100.0], [4, 9])  # square roots 2 and 3


def test_cosine_of_square_roots_by_hand():
    library = [spectrum([50.0], [1]), spectrum([100.0], [7]), spectrum([100.0, 50.0], [18, 8]), spectrum([70.0], [1])]
    assert cosines(QUERY, *library) == pytest.approx([2 / 13**0.5, 3 / 13**0.5, 1, 0])


def test_peaks_match_within_5_mda():
    assert cosines(QUERY, spectrum([50.004], [1]), spectrum([50.006], [1])) == pytest.approx([2 / 13**0.5, 0])


def test_close_peaks_are_one():
    """Each alone would match, both together would give a cosine above 1."""
    assert cosines(spectrum([50.0], [1]), spectrum([49.997, 50.003], [1, 1])) == pytest.approx([1])


def test_the_precursor_peak_is_left_out():
    with_precursor = spectrum([50.0, 100.0, 199.0, 200.0], [4, 9, 100, 100])
    assert cosines(with_precursor, QUERY) == pytest.approx([1])
    assert cosines(spectrum([200.0], [1]), QUERY) == [0]
    assert cosines(spectrum([], []), QUERY) == [0]


def test_neutral_losses_find_the_same_molecule_with_one_more_group():
    """14 Da more, all on the charged side: no fragment in common, every loss."""
    heavier = spectrum([64.0, 114.0], [4, 9], precursor=214.0)
    assert cosines(QUERY, heavier) == [0]
    assert cosines(QUERY, heavier, losses=True) == pytest.approx([0.5])
    assert cosines(QUERY, QUERY, losses=True) == pytest.approx([1])


def test_search_ranks_molecules_by_their_best_spectrum_in_the_same_ion_mode():
    library = [
        spectrum([50.0], [1], smiles="CC", ion_mode="positive"),
        spectrum([70.0], [1], smiles="CCC", ion_mode="positive"),
        spectrum([100.0], [1], smiles="CCC", ion_mode="positive"),
        spectrum([50.0, 100.0], [4, 9], smiles="CCO", ion_mode="negative"),
    ]
    query = QUERY | {"ion_mode": "positive"}
    assert library_search([query], library) == [["CCC", "CC"]]
    assert library_search([query], library, top_k=1) == [["CCC"]]


def test_restricted_search_keeps_what_could_be_the_answer():
    ion = {"adduct": "[M+H]+", "ion_mode": "positive"}
    library = [
        spectrum([50.0], [1], 200.0, "CC", formula="C2H6", **ion),
        spectrum([50.0], [1], 200.001, "CCC", formula="C3H8", **ion),
        spectrum([50.0], [1], 200.003, "CCCC", formula="C4H10", **ion),
        spectrum([50.0], [1], 200.0, "CO", formula="CH4O", **ion | {"adduct": "[M+Na]+"}),
    ]
    query = QUERY | ion
    assert set(library_search([query], library, restricted=True)[0]) == {"CC", "CCC"}
    assert library_search([query | {"formula": "C4H10"}], library, restricted=True) == [["CCCC"]]
    assert library_search([query | {"formula": "CH4"}], library, restricted=True) == [[]]


def test_random_molecules_have_the_same_nominal_mass_then_the_next():
    isomers = ["CCCO", "COCC", "CC(C)O"]
    library = [spectrum([], [], smiles=smiles) for smiles in [*isomers, "CCCC", "CCN", "c1ccccc1"]]
    query = QUERY | {"precursor_mz": precursor_mz(60.0575, "[M+H]+"), "adduct": "[M+H]+"}
    (answers,) = random_molecules_of_the_same_mass([query], library, top_k=5)
    assert set(answers[:3]) == set(isomers) and answers[3] == "CCCC" and answers[4] == "CCN"
    first = [ranked[0] for ranked in random_molecules_of_the_same_mass([query] * 50, library)]
    assert set(first) == set(isomers)
    assert random_molecules_of_the_same_mass([query], library, top_k=5) == [answers]


def test_the_same_as_matchms():
    """On spectra whose peaks are further apart than the tolerance its greedy cosine is ours."""
    matchms = pytest.importorskip("matchms")
    from matchms.similarity import CosineGreedy

    rng = np.random.default_rng(0)
    grid = np.arange(50.0, 150.0, 5.0)
    rows = []
    for _ in range(6):
        mzs = np.sort(rng.choice(grid, 8, replace=False)) + rng.uniform(-0.002, 0.002, 8)
        rows.append(spectrum(mzs, rng.uniform(0.1, 1, 8)))
    theirs = [matchms.Spectrum(mz=row["mzs"], intensities=row["intensities"]) for row in rows]
    cosine = CosineGreedy(tolerance=0.005, intensity_power=0.5)
    for i, ours in enumerate(cosine_similarities(rows, rows)):
        expected = [float(cosine.pair(theirs[i], other)["score"]) for other in theirs]
        assert ours == pytest.approx(expected)
