"""Mascot generic format (mgf), as written by MZmine, GNPS, msconvert and SIRIUS.

Own lines instead of `pyteomics.mgf`, which gives up a whole spectrum for a field such as CHARGE=N/A and does not keep
the fields as written.
Format: https://www.matrixscience.com/help/data_file_help.html
"""

from collections.abc import Iterator
from typing import BinaryIO

from .entry import Entry, peak_columns, read_lines


def read_mgf(file: BinaryIO) -> Iterator[Entry]:
    """Entries between BEGIN IONS and END IONS; fields before the first one hold for all."""
    header, block, begun = None, [], False
    for line in read_lines(file):
        if line.upper() == "BEGIN IONS":
            if begun:
                yield _entry(block, header, "no END IONS: the entry is truncated or damaged")
            elif header is None:
                header = _entry(block, {}).fields
            elif block:
                yield _entry(block, header, "lines outside of BEGIN IONS and END IONS")
            block, begun = [], True
        elif line.upper() == "END IONS":
            yield _entry(block, header or {}, None if begun else "no BEGIN IONS: the entry is damaged")
            block, begun = [], False
        elif line and line[0] not in "#;!/":
            block.append(line)
    if begun:
        yield _entry(block, header, "no END IONS: the file is truncated or damaged here")
    elif block:
        yield _entry(block, header or {}, "lines outside of BEGIN IONS and END IONS")


def _entry(block, header, problem=None):
    fields, peaks = dict(header), []
    for line in block:
        key, equals, value = line.partition("=")
        if equals:
            fields[key.strip().lower()] = value.strip()
        else:
            peaks.append(line)
    return Entry(fields, *peak_columns(peaks), problem)
