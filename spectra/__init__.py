"""Reading of MS/MS spectra: `load_spectra(path)` streams mgf, msp, mzML, MassBank and json files, plain or gzipped;
`load_inputs(paths)` several files, folders and standard input."""

from .inputs import InputReader, load_inputs, read_stream
from .load import Skipped, SpectrumError, SpectrumReader, load_spectra

__all__ = [
    "InputReader",
    "Skipped",
    "SpectrumError",
    "SpectrumReader",
    "load_inputs",
    "load_spectra",
    "read_stream",
]
