"""Entry: one entry of a spectrum file as it stands there, before anything is interpreted.

Every format of this folder is one generator over an open binary file, `read_<format>(file) -> Iterator[Entry]`. A bad
entry is an Entry with a `problem`, so that it never costs the rest of the file; only damage of the file itself (cut
short, broken compression or syntax) is raised, as ValueError, EOFError, OSError or zlib.error.
"""

import io
from collections.abc import Iterable, Iterator, Sequence
from typing import BinaryIO, NamedTuple


class Entry(NamedTuple):
    """Fields and peak columns of one entry, uninterpreted.

    Attributes:
        fields: the metadata of the entry, lower-case keys.
        mzs: m/z column, numbers or their text; may be of another length than `intensities` if the entry is malformed.
        intensities: intensity column, likewise.
        problem: what is wrong with the entry as a whole, in plain words; None if nothing is.
    """

    fields: dict[str, str]
    mzs: Sequence
    intensities: Sequence
    problem: str | None = None


def read_chunks(file: BinaryIO) -> Iterator[bytes]:
    """Pieces of the file as they come: unlike read(), read1() gives all that precedes the damage of a gzip file."""
    return iter(lambda: file.read1(1 << 16), b"")


def read_lines(file: BinaryIO) -> Iterator[str]:
    """Lines of a text format without surrounding blanks. Bytes that are no UTF-8 (old Latin-1 names) are replaced."""
    for line in io.TextIOWrapper(file, encoding="utf-8-sig", errors="replace"):
        yield line.strip()


def peak_columns(lines: Iterable[str]) -> tuple[list[str], list[str]]:
    """m/z and intensity columns of lines "m/z intensity …"; a line without intensity makes the second one shorter."""
    rows = [line.split(maxsplit=2) for line in lines]
    return [row[0] for row in rows], [row[1] for row in rows if len(row) > 1]


def add_field(fields: dict[str, str], key: str, value: str) -> None:
    """Sets a field; the values of a repeated one (synonyms, comments) are joined by "; "."""
    key, value = key.strip().lower(), value.strip()
    fields[key] = f"{fields[key]}; {value}" if key in fields else value
