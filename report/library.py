"""The most similar annotated spectrum, for mirror plots."""

from bisect import bisect_left, bisect_right
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from ..spectra import load_spectra

FRAGMENT_TOLERANCE = 0.02  # Da, as in GNPS library search
SMALLEST_COSINE = 0.5


class LibraryMatch(NamedTuple):
    """spectrum: as `load_spectra` gives it; cosine: 0 to 1; matched_peaks: how many peaks both spectra have."""

    spectrum: dict
    cosine: float
    matched_peaks: int

    @property
    def smiles(self) -> str | None:
        """Structure that the library names, as written there."""
        return self.spectrum["metadata"].get("smiles") or None

    @property
    def name(self) -> str:
        fields = self.spectrum["metadata"]
        return fields.get("name") or fields.get("compound_name") or fields.get("title") or self.spectrum["identifier"]


class SpectralLibrary:
    """A file of annotated spectra, searched by the cosine of matchms among those with the same precursor.

    Raises:
        ValueError: matchms is not installed.
        SpectrumError: the file cannot be used.
    """

    def __init__(self, path: str | Path):
        try:
            from matchms import Spectrum
            from matchms.similarity import CosineGreedy
        except ImportError:
            raise ValueError("a library search needs matchms: pip install 'spec2mol[report]'") from None
        self._spectrum = Spectrum
        self._cosine = CosineGreedy(tolerance=FRAGMENT_TOLERANCE, intensity_power=0.5)
        self.spectra = sorted(load_spectra(path), key=lambda spectrum: spectrum["precursor_mz"])
        self._precursors = [spectrum["precursor_mz"] for spectrum in self.spectra]

    def match(self, spectrum: Mapping, ppm: float = 10.0) -> LibraryMatch | None:
        """The most similar spectrum of the same ion mode with the same precursor m/z within `ppm`; None if none has a
        cosine of `SMALLEST_COSINE` or more."""
        mz = spectrum["precursor_mz"]
        first = bisect_left(self._precursors, mz * (1 - ppm * 1e-6))
        last = bisect_right(self._precursors, mz * (1 + ppm * 1e-6))
        query, best = self._peaks(spectrum), None
        for entry in self.spectra[first:last]:
            if entry["ion_mode"] != spectrum["ion_mode"]:
                continue
            score = self._cosine.pair(self._peaks(entry), query)
            cosine, matched = float(score["score"]), int(score["matches"])
            if cosine >= SMALLEST_COSINE and (best is None or cosine > best.cosine):
                best = LibraryMatch(entry, cosine, matched)
        return best

    def _peaks(self, spectrum):
        return self._spectrum(spectrum["mzs"], spectrum["intensities"], {"precursor_mz": spectrum["precursor_mz"]})
