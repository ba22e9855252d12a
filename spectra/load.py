"""load_spectra: one door to every file format.

Each format is one generator of entries (see entry.py); here entries become spectra, one at a time, and nothing is lost
without a word: whatever the file holds is yielded, listed in `skipped` or counted in `not_ms2`.
"""

import gzip
import logging
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

from .entry import Entry
from .gnps_json import read_json
from .massbank import read_massbank
from .mgf import read_mgf
from .msp import read_msp
from .mzml import read_mzml
from .normalize import Fields, normalize_entry, read_identifier, read_ms_level

logger = logging.getLogger(__name__)

FORMATS: dict[str, Callable[[BinaryIO], Iterator[Entry]]] = {
    ".mgf": read_mgf,
    ".msp": read_msp,
    ".mzml": read_mzml,
    ".txt": read_massbank,
    ".massbank": read_massbank,
    ".json": read_json,
}


class SpectrumError(ValueError):
    """The file as a whole cannot be used. The message names the file and what to do."""


class Skipped(NamedTuple):
    """An entry that is no usable spectrum: its position in the file (from 0), its identifier, why in plain words."""

    index: int
    identifier: str
    reason: str


def load_spectra(path: str | Path) -> "SpectrumReader":
    """Streams the MS/MS spectra of a file, with constant memory.

    Formats by ending, each also with .gz: mgf, msp, mzML, json (GNPS and matchms), txt or massbank (MassBank records).
    A spectrum is a dict:

    - `identifier` (str): feature id, accession, scans, title, name or id of the entry, else "<file>:<position>"
    - `mzs`, `intensities`: float64 `(peaks,)`, m/z in Da, ascending, intensities as in the file
    - `precursor_mz` (float): Da
    - `adduct` (str), `ion_mode` ("positive" or "negative"); a missing adduct is [M+H]+ or [M-H]- by the ion mode
    - `collision_energy` (float or None): eV
    - `instrument_type` (str or None): QTOF, Orbitrap, ITTOF or FT-ICR
    - `formula` (str or None): molecular formula, where the file gives one
    - `metadata` (dict): all fields of the entry as text, keys in lower case

    Raises SpectrumError here if the file is missing, empty or of an unknown format, and at the end of the iteration
    if no entry was usable.

    Example:
        reader = load_spectra("spectra.mgf.gz")
        for spectrum in reader:
            print(spectrum["identifier"], spectrum["precursor_mz"])
        print(reader.count, reader.skipped)
    """
    path = Path(path)
    if not path.exists():
        raise SpectrumError(f"{path} does not exist: check the path")
    if path.is_dir():
        raise SpectrumError(f"{path} is a folder: give one of the spectrum files in it")
    ending = without_gz(path).suffix.lower()
    if ending not in FORMATS:
        raise SpectrumError(
            f"{path}: unknown format, expected a name ending in {', '.join(FORMATS)}, each also with .gz"
        )
    try:
        with _open(path) as file:
            empty = not file.read(1)
    except gzip.BadGzipFile:
        raise SpectrumError(f"{path} is not compressed with gzip: remove .gz from its name, or compress it") from None
    except (EOFError, zlib.error):
        raise SpectrumError(f"{path} is damaged before its first byte: copy or download it again") from None
    except OSError as error:
        raise SpectrumError(f"{path} cannot be read ({error.strerror}): check its permissions") from None
    if empty:
        raise SpectrumError(f"{path} is empty: copy or download it again")
    return SpectrumReader(path, FORMATS[ending], lambda: _open(path))


def without_gz(path: Path) -> Path:
    return path.with_suffix("") if path.suffix.lower() == ".gz" else path


def _open(path):
    return gzip.open(path) if path.suffix.lower() == ".gz" else open(path, "rb")


class SpectrumReader:
    """Iterator over the spectra of one file; made by `load_spectra`, and by `read_stream` for standard input.

    Attributes, up to date while iterating:
        path: the file.
        count: spectra yielded so far.
        not_ms2: entries passed over because they are scans of another MS level.
        skipped: entries that are no usable spectrum, with the reason.
        warnings: how many spectra had to be read with an assumption, by kind.
    """

    def __init__(
        self, path: Path, read_entries: Callable[[BinaryIO], Iterator[Entry]], open_file: Callable[[], BinaryIO]
    ):
        self.path = path
        self.count = 0
        self.not_ms2 = 0
        self.skipped: list[Skipped] = []
        self.warnings: Counter[str] = Counter()
        self._spectra = self._stream(read_entries, open_file)

    def __iter__(self):
        return self

    def __next__(self) -> dict:
        return next(self._spectra)

    def _stream(self, read_entries, open_file):
        stem = without_gz(self.path).stem
        index = -1
        with open_file() as file:
            try:
                for index, entry in enumerate(read_entries(file)):
                    fields = Fields(entry.fields)
                    identifier = read_identifier(fields) or f"{stem}:{index}"
                    try:
                        if read_ms_level(fields) not in (2, None):
                            self.not_ms2 += 1
                            continue
                        spectrum, remarks = normalize_entry(entry, fields, identifier)
                    except ValueError as reason:
                        self.skipped.append(Skipped(index, identifier, str(reason)))
                        continue
                    self.warnings.update(remarks)
                    self.count += 1
                    yield spectrum
            except (EOFError, OSError, ValueError, zlib.error) as error:
                index += 1
                self.skipped.append(
                    Skipped(index, f"{stem}:{index}", f"the file is truncated or damaged here: {error}")
                )
        self._report()

    def _report(self):
        """One line for each kind of remark; SpectrumError if nothing in the file was usable."""
        for remark, number in self.warnings.items():
            logger.warning("%d spectra of %s %s", number, self.path, remark)
        first = f"; the first, {self.skipped[0].identifier}: {self.skipped[0].reason}" if self.skipped else ""
        if self.count == 0:
            raise SpectrumError(
                f"{self.path} holds no usable MS/MS spectrum ({len(self.skipped)} entries skipped, {self.not_ms2} not "
                f"MS2{first}): check that its content is MS/MS spectra in the format of its name"
            )
        if self.skipped:
            logger.warning("%d entries of %s skipped%s", len(self.skipped), self.path, first)
