import math

import numpy as np
import pytest

from spec2mol.evaluation.downstream import (
    embedding_similarities,
    fingerprint_tanimoto,
    of_other_ions,
    precision_recall,
    same_molecule_hits,
)


def test_nearest_other_spectrum_of_the_same_molecule():
    embeddings = np.array([[1, 0], [2, 0.1], [0, 1], [0.9, 0.2], [0, 3]], float)
    molecules = ["a", "a", "b", "c", "b"]
    hits = same_molecule_hits(embedding_similarities(embeddings), molecules)
    assert hits[:3].tolist() == [1, 1, 1] and math.isnan(hits[3]) and hits[4] == 1


def test_a_spectrum_is_not_its_own_neighbour():
    similarities = np.array([[1, 0.2, 0.9], [0.2, 1, 0.1], [0.9, 0.1, 1]])
    assert same_molecule_hits(similarities, ["a", "a", "b"])[:2].tolist() == [0, 1]
    assert same_molecule_hits(similarities, ["a", "a", "b"], k=2)[:2].tolist() == [1, 1]


def test_cosine_of_embeddings_and_of_none():
    similarities = embedding_similarities(np.array([[3.0, 4.0], [4.0, 3.0], [0, 0]]))
    assert similarities[0].tolist() == pytest.approx([1, 0.96, 0])


def test_fingerprint_tanimoto_by_hand():
    predicted = np.array([[1, 1, 0, 0], [0, 0, 0, 0], [0, 0, 1, 1]])
    truth = np.array([[1, 0, 1, 0], [0, 0, 0, 0], [0, 0, 1, 1]])
    assert fingerprint_tanimoto(predicted, truth).tolist() == pytest.approx([1 / 3, 0, 1])


def test_spectra_of_other_ions_alone():
    similarities = np.array([[1, 0.9, 0.2, 0.5], [0.9, 1, 0.8, 0.1], [0.2, 0.8, 1, 0.3], [0.5, 0.1, 0.3, 1]])
    rows = list(of_other_ions(similarities, [100.0, 100.01, 122.0, 300.0]))
    assert rows[0].tolist() == [-np.inf, -np.inf, 0.2, 0.5]
    hits = same_molecule_hits(rows, ["a", "a", "a", "b"])
    assert hits[:3].tolist() == [0, 1, 1] and math.isnan(hits[3])


def test_precision_and_recall_by_hand():
    # Said: first three, two of them right; there are three.
    result = precision_recall([0.9, 0.5, 0.7, 0.2, 0.1], [1, 0, 1, 1, 0], threshold=0.5, molecules=list("abcde"))
    assert (result.precision.mean, result.recall.mean) == pytest.approx((2 / 3, 2 / 3))
    assert result.precision.low < 2 / 3 < result.precision.high
    nothing = precision_recall([0.1, 0.2], [0, 0], threshold=0.5, molecules=["a", "b"])
    assert math.isnan(nothing.precision.mean) and math.isnan(nothing.recall.mean)


def test_the_spectra_of_a_molecule_count_as_one():
    # The molecule with three spectra, of which one is found, counts as much as the one with one.
    result = precision_recall([0.9, 0.1, 0.1, 0.9], [1, 1, 1, 1], threshold=0.5, molecules=["a", "a", "a", "b"])
    assert result.recall.mean == pytest.approx((1 / 3 + 1) / 2)
