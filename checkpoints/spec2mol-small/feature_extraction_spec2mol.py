"""Spectra, or molecules -> padded tensors: the one feature extractor of the package."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from transformers import BatchFeature, FeatureExtractionMixin
from transformers.utils import logging

from .chemistry_spec2mol import ADDUCTS, parse_formula
from .formulas_spec2mol import FRAGMENT_ELEMENTS, explain_peaks
from .molecules_spec2mol import FEATURIZERS

logger = logging.get_logger(__name__)

CONDITIONS = ("precursor_mz", "collision_energy", "adduct", "ion_mode", "instrument_type", "formula")
ION_MODES = ("positive", "negative")
INSTRUMENT_TYPES = ("QTOF", "Orbitrap", "ITTOF", "FT-ICR")
FLOAT32_MAX = float(np.finfo(np.float32).max)
ELEMENTS = ("C", "H", "N", "O", "S", "P", "F", "Cl", "Br", "I", "Si", "B", "Se")


class Spec2MolFeatureExtractor(FeatureExtractionMixin):
    """
    Turns tandem mass spectra into the inputs of `DreamsModel` and of the composite model.

    A spectrum is one of
    - a mapping with `mzs`, `intensities`, `precursor_mz` and optionally `adduct`, `ion_mode`, `collision_energy` (eV),
      `instrument_type`, `formula`; what is missing, None or NaN is unknown;
    - a matchms `Spectrum` with the same names in its metadata;
    - an array `(peaks, 2)` of [m/z in Da, intensity], with `precursor_mz` given to the call.

    The steps are DreaMS's: keep the `num_peaks` most intense peaks, divide intensities by the largest, prepend the
    precursor as [precursor m/z, 1.1]. The original leaves these undefined; here
    - unsorted peaks are sorted by m/z;
    - peaks of zero intensity are dropped;
    - of equally intense peaks at the cut, those of higher m/z stay;
    - peaks of the same m/z, and peaks above the precursor, stay as they are;
    - a spectrum without peaks is its precursor alone.

    Args:
        num_peaks: peaks kept beside the precursor.
        precursor_intensity: the intensity that marks the precursor token.
        explain_ppm: where the formula is known, also return the element counts of the sub-formula that lies nearest to
            each peak within so many ppm; None = do not. For encoders with `num_fragment_elements`.
        conditions: also return the condition tensors that `Spec2MolModel` reads.
        adducts, instrument_types, elements: vocabularies of the conditions; id 0 is unknown. They travel with a saved
            model, so that later versions may extend the defaults.
        molecules: for an encoder that reads molecules instead of spectra, how: one of the `FEATURIZERS` of
            `molecules_spec2mol`; all other arguments are then without meaning.
    """

    model_input_names = ["peaks", "peaks_mask", "fragment_counts"]
    model_input_names += ["condition_ids", "condition_values", "formula_counts", "condition_mask"]
    model_input_names += ["atom_ids", "coordinates", "atoms_mask"]
    model_input_names += ["atom_features", "bonds", "bond_features", "bonds_mask", "motif_features", "motif_mask"]

    def __init__(
        self,
        num_peaks: int = 60,
        precursor_intensity: float = 1.1,
        explain_ppm: float | None = None,
        conditions: bool = True,
        adducts: Sequence[str] = tuple(ADDUCTS),
        instrument_types: Sequence[str] = INSTRUMENT_TYPES,
        elements: Sequence[str] = ELEMENTS,
        molecules: str | None = None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        if molecules is not None and molecules not in FEATURIZERS:
            raise ValueError(f"molecules={molecules!r}, expected one of {', '.join(FEATURIZERS)}")
        self.num_peaks = num_peaks
        self.precursor_intensity = precursor_intensity
        self.explain_ppm = explain_ppm
        self.conditions = conditions
        self.adducts = list(adducts)
        self.instrument_types = list(instrument_types)
        self.elements = list(elements)
        self.molecules = molecules

    def __call__(
        self, spectra, precursor_mz: float | Sequence[float] | None = None, return_tensors: str | None = None, **kwargs
    ) -> BatchFeature:
        """
        Args:
            spectra: one spectrum or a list of them; with `molecules`, molecules as `molecules_spec2mol` reads them.
            precursor_mz: in Da, one for each spectrum; only for spectra given as arrays.

        Returns:
            - peaks `(batch, tokens, 2)` float32 and peaks_mask `(batch, tokens)`, padded to the longest spectrum;
            - with `explain_ppm`, fragment_counts `(batch, tokens, elements)` float32, all 0 for a peak without
              explanation;
            - condition_ids `(batch, 3)`: adduct, ion mode, instrument type;
            - condition_values `(batch, 2)` float32: precursor m/z in Da, collision energy in eV;
            - formula_counts `(batch, elements)` float32;
            - condition_mask `(batch, 6)`, 1 = known, in the order of `CONDITIONS`;
            with `molecules`, what the featurizer says.

        Raises:
            ValueError: a spectrum without precursor m/z, or with m/z or intensities that cannot be; names its index.
        """
        if self.molecules is not None:
            molecules = spectra if isinstance(spectra, Sequence) and not isinstance(spectra, str) else [spectra]
            return BatchFeature(FEATURIZERS[self.molecules](molecules), tensor_type=return_tensors)
        if isinstance(spectra, Mapping) or hasattr(spectra, "metadata") or getattr(spectra, "ndim", 0) == 2:
            spectra = [spectra]
        if np.ndim(precursor_mz) == 0:
            precursor_mz = [precursor_mz] * len(spectra)
        if len(precursor_mz) != len(spectra):
            raise ValueError(f"{len(spectra)} spectra but {len(precursor_mz)} precursor m/z")
        records = [self.record(*pair, index) for index, pair in enumerate(zip(spectra, precursor_mz, strict=True))]

        tokens = [self._tokens(record, index) for index, record in enumerate(records)]
        longest = max((len(t) for t in tokens), default=0)
        peaks = np.zeros((len(tokens), longest, 2), np.float32)
        peaks_mask = np.zeros((len(tokens), longest), np.int64)
        for row, t in enumerate(tokens):
            peaks[row, : len(t)], peaks_mask[row, : len(t)] = t, 1
        features = {"peaks": peaks, "peaks_mask": peaks_mask}
        if self.explain_ppm is not None:
            features["fragment_counts"] = np.zeros((*peaks_mask.shape, len(self.elements)), np.float32)
            for row, (record, t) in enumerate(zip(records, tokens, strict=True)):
                features["fragment_counts"][row, : len(t)] = self._fragment_counts(record, t[:, 0], row)
        if self.conditions:
            features |= self._conditions(records)
        return BatchFeature(features, tensor_type=return_tensors)

    def record(self, spectrum, precursor_mz: float | None = None, index: int = 0) -> dict[str, Any]:
        """What is known of one spectrum, by the names above; the arguments are those of a call. Raises ValueError for
        an array of another shape."""
        if isinstance(spectrum, Mapping):
            record = dict(spectrum)
        elif hasattr(spectrum, "metadata"):
            peaks = {"mzs": spectrum.peaks.mz, "intensities": spectrum.peaks.intensities}
            record = {"ion_mode": spectrum.get("ionmode"), **spectrum.metadata, **peaks}  # matchms renames ion_mode.
        else:
            array = np.asarray(spectrum, np.float64)
            if array.ndim != 2 or array.shape[1] != 2:
                raise ValueError(f"spectrum {index}: expected an array (peaks, 2), got shape {array.shape}")
            record = {"mzs": array[:, 0], "intensities": array[:, 1], "precursor_mz": precursor_mz}
        return {key: value for key, value in record.items() if not _is_missing(value)}

    def _tokens(self, record, index: int) -> np.ndarray:
        """`(tokens, 2)`: the precursor, then the peaks."""
        precursor_mz = _number(record, "precursor_mz", index)
        if not (0 < precursor_mz < FLOAT32_MAX):
            raise ValueError(f"spectrum {index}: no usable precursor m/z (got {record.get('precursor_mz')})")
        if not {"mzs", "intensities"} <= record.keys():
            raise ValueError(f"spectrum {index}: no mzs or no intensities")
        mzs = np.asarray(record["mzs"], np.float64)
        intensities = np.asarray(record["intensities"], np.float64)
        if mzs.shape != intensities.shape:
            raise ValueError(f"spectrum {index}: {mzs.size} m/z but {intensities.size} intensities")
        if not ((mzs < FLOAT32_MAX).all() and np.isfinite(intensities).all()):
            raise ValueError(f"spectrum {index}: m/z or intensities are NaN or infinite")
        if (mzs <= 0).any() or (intensities < 0).any():
            raise ValueError(f"spectrum {index}: m/z must be positive and intensities must not be negative")

        order = np.argsort(mzs, kind="stable")
        order = order[intensities[order] > 0]
        most_intense = np.argsort(intensities[order], kind="stable")[::-1][: self.num_peaks]
        order = order[np.sort(most_intense)]
        peaks = np.stack([mzs[order], intensities[order]], axis=1)
        if len(peaks):
            peaks[:, 1] /= peaks[:, 1].max()
        return np.concatenate([[[precursor_mz, self.precursor_intensity]], peaks]).astype(np.float32)

    def _fragment_counts(self, record, mzs, index: int) -> np.ndarray | float:
        """`(tokens, elements)`, or 0 if nothing can be explained."""
        if not any(self._formula_counts(record, index)):
            return 0.0
        adduct = record.get("adduct") if record.get("adduct") in self.adducts else None
        counts = explain_peaks(record | {"mzs": mzs, "adduct": adduct}, record["formula"], self.explain_ppm).counts
        return counts[:, [FRAGMENT_ELEMENTS.index(element) for element in self.elements]]

    def _conditions(self, records) -> dict[str, np.ndarray]:
        vocabularies = {"adduct": self.adducts, "ion_mode": ION_MODES, "instrument_type": self.instrument_types}
        ids = np.array(
            [[_index(record.get(name), words) for name, words in vocabularies.items()] for record in records]
        ).reshape(-1, len(vocabularies))
        numbers = ("precursor_mz", "collision_energy")
        values = np.array(
            [[_number(record, name, index) for name in numbers] for index, record in enumerate(records)], np.float32
        ).reshape(-1, len(numbers))
        counts = np.array([self._formula_counts(record, index) for index, record in enumerate(records)], np.float32)
        counts = counts.reshape(-1, len(self.elements))
        known = np.concatenate([np.isfinite(values), ids > 0, counts.any(1, keepdims=True)], axis=1)
        return {
            "condition_ids": ids.astype(np.int64),
            "condition_values": np.nan_to_num(values, posinf=0, neginf=0),
            "formula_counts": counts,
            "condition_mask": known.astype(np.int64),
        }

    def _formula_counts(self, record, index: int) -> list[int]:
        formula = record.get("formula")
        try:
            counts = parse_formula(formula) if formula else {}
        except ValueError as error:
            raise ValueError(f"spectrum {index}: {error}") from None
        if outside := set(counts) - set(self.elements):
            logger.warning_once(f"formula {formula} ignored: the model knows no {', '.join(sorted(outside))}")
            counts = {}
        return [counts.get(element, 0) for element in self.elements]


def _is_missing(value) -> bool:
    return value is None or (isinstance(value, float | np.floating) and np.isnan(value))


def _number(record, name: str, index: int) -> float:
    """NaN if there is none."""
    try:
        return float(record.get(name, np.nan))
    except (TypeError, ValueError):
        raise ValueError(f"spectrum {index}: {name} is {record[name]!r}, not a number") from None


def _index(word: str | None, words: Sequence[str]) -> int:
    """Id of a word in a vocabulary whose id 0 is unknown."""
    return words.index(word) + 1 if word in words else 0


__all__ = ["CONDITIONS", "ELEMENTS", "INSTRUMENT_TYPES", "ION_MODES", "Spec2MolFeatureExtractor"]
