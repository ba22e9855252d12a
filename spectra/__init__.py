"""Reading of MS/MS spectra: `load_spectra(path)` streams mgf, msp, mzML, MassBank and json files, plain or gzipped."""

from .load import Skipped, SpectrumError, SpectrumReader, load_spectra

__all__ = ["Skipped", "SpectrumError", "SpectrumReader", "load_spectra"]
