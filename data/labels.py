"""Labelled spectra for DreaMS's downstream tasks: rows of `load_spectra_examples` -> tensors of a DreaMS head."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch

from ..chemistry_spec2mol import molecular_formula, parse_formula
from ..feature_extraction_spec2mol import Spec2MolFeatureExtractor
from .augmentation import Augmentation


def fingerprint(row: Mapping) -> np.ndarray:
    """Morgan fingerprint `(bits,)` float32, for `multi_label_classification`."""
    return np.unpackbits(np.asarray(row["fingerprint"], np.uint8)).astype(np.float32)


def fluorine(row: Mapping) -> int:
    """1 if the molecule contains fluorine, else 0."""
    return int("F" in parse_formula(molecular_formula(row["smiles"])))


def identity(row: Mapping) -> int:
    """Equal for spectra of one molecule."""
    return row["identity"]


class LabelledSpectraCollator:
    """
    Args:
        feature_extractor: without conditions.
        label: a function of this module.
        augmentation: of the peaks.
    """

    def __init__(
        self,
        feature_extractor: Spec2MolFeatureExtractor,
        label: Callable[[Mapping], int | np.ndarray],
        augmentation: Augmentation | None = None,
    ):
        self.feature_extractor = feature_extractor
        self.label = label
        self.augmentation = augmentation

    def __call__(self, rows: Sequence[Mapping]) -> dict[str, torch.Tensor]:
        labels = torch.from_numpy(np.array([self.label(row) for row in rows]))
        if self.augmentation is not None:
            rows = [self.augmentation(row) for row in rows]
        return {**self.feature_extractor(rows, return_tensors="pt"), "labels": labels}
