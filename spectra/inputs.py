"""What a command is given to read: files, folders and standard input, as one stream of spectra."""

import gzip
import io
import re
import sys
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from .load import FORMATS, SpectrumError, SpectrumReader, load_spectra, without_gz

# How the first entry of each format begins; anything else is taken for mgf, which may begin with any field.
_BEGINNINGS = {".mzml": "<", ".json": r"[\[{]", ".massbank": "ACCESSION:", ".msp": r"[\w /-]+:"}


def load_inputs(inputs: Sequence[str | Path]) -> "InputReader":
    """Streams the spectra of several inputs as `load_spectra` does those of one file, with constant memory for each.

    An input is a file, a folder (all spectrum files below it, by name) or "-", standard input, whose format is told
    from its beginning. Two more keys than those of `load_spectra`:

    - `file` (str): where the spectrum comes from
    - `feature_id` (str): the key that feature tables and molecular networks join by: FEATURE_ID of the entry, else
      SCANS, else the identifier as the file gives it

    and `identifier` is unique: the second spectrum of feature 17 is "17 (2)".

    Raises SpectrumError here if a named file cannot be used or a folder holds none, and at the end of the iteration if
    no entry of any of them was usable.
    """
    readers = []
    for name in inputs:
        if str(name) == "-":
            readers.append(read_stream(sys.stdin.buffer, "standard input"))
        elif Path(name).is_dir():
            readers += [load_spectra(path) for path in _files_below(Path(name))]
        else:
            readers.append(load_spectra(name))
    return InputReader(readers)


def read_stream(file: BinaryIO, name: str) -> SpectrumReader:
    """Spectra of an open file of any of the formats, also gzipped. Raises SpectrumError if it is empty."""
    file = io.BufferedReader(file) if not hasattr(file, "peek") else file
    try:
        if file.peek(2)[:2] == b"\x1f\x8b":
            file = io.BufferedReader(gzip.GzipFile(fileobj=file))
        beginning = file.peek(1024)[:1024].decode(errors="replace").lstrip("\ufeff \r\n\t")
    except (EOFError, OSError, zlib.error):
        raise SpectrumError(f"{name} is damaged before its first byte") from None
    if not beginning:
        raise SpectrumError(f"{name} is empty: give it a file of spectra")
    ending = next((ending for ending, begins in _BEGINNINGS.items() if re.match(begins, beginning, re.I)), ".mgf")
    return SpectrumReader(Path(name), FORMATS[ending], lambda: file)


class InputReader:
    """Iterator over the spectra of several files; made by `load_inputs`.

    Attributes, up to date while iterating:
        readers: one `SpectrumReader` for each file, with what it skipped and why.
        unusable: message of each file that held no usable spectrum at all.
    """

    def __init__(self, readers: list[SpectrumReader]):
        self.readers = readers
        self.unusable: list[str] = []
        self._spectra = self._stream()

    @property
    def count(self) -> int:
        """Spectra yielded so far."""
        return sum(reader.count for reader in self.readers)

    def __iter__(self):
        return self

    def __next__(self) -> dict:
        return next(self._spectra)

    def _stream(self) -> Iterator[dict]:
        seen = Counter()
        for reader in self.readers:
            try:
                for spectrum in reader:
                    identifier = spectrum["identifier"]
                    seen[identifier] += 1
                    spectrum["feature_id"] = _feature_id(spectrum)
                    spectrum["file"] = str(reader.path)
                    if seen[identifier] > 1:
                        spectrum["identifier"] = f"{identifier} ({seen[identifier]})"
                    yield spectrum
            except SpectrumError as error:
                if len(self.readers) == 1:
                    raise
                self.unusable.append(str(error))
        if len(self.unusable) == len(self.readers):
            raise SpectrumError(f"none of {len(self.readers)} files is usable; the first: {self.unusable[0]}")


def _feature_id(spectrum):
    fields = spectrum["metadata"]
    names = (fields.get(key, "").strip() for key in ("feature_id", "scans"))
    return next((name for name in names if name not in ("", "-1")), spectrum["identifier"])


def _files_below(folder):
    paths = sorted(path for path in folder.rglob("*") if without_gz(path).suffix.lower() in FORMATS and path.is_file())
    if not paths:
        raise SpectrumError(f"{folder} holds no spectrum file: expected names ending in {', '.join(FORMATS)}")
    return paths
