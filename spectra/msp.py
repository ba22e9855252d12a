"""NIST text format (msp), as written by NIST, MoNA, MS-DIAL and matchms.

Own lines instead of `matchms.importing.load_from_msp`, which silently drops minus signs and words from peak lines and
cannot go on after a bad entry.
"""

import re
from collections.abc import Iterator
from typing import BinaryIO

from .entry import Entry, add_field, peak_columns, read_lines

# MoNA keeps what has no field of its own in one line: Comments: "SMILES=CCO" "collision energy=20 eV"
_COMMENT_FIELD = re.compile(r'"([^"=]+)=([^"]*)"')


def read_msp(file: BinaryIO) -> Iterator[Entry]:
    """Entries end at a blank line, or where a second name or a name after peaks begins the next one."""
    block = []
    for line in read_lines(file):
        next_begins = line[:5].lower() == "name:" and any(
            _is_peaks(old) or old[:5].lower() == "name:" for old in block
        )
        if block and (not line or next_begins):
            yield _entry(block)
            block = []
        if line:
            block.append(line)
    if block:
        yield _entry(block)


def _is_peaks(line):
    return ":" not in line or line[0].isdigit()  # some programs write peaks as "85:3"


def _entry(block):
    fields, peaks = {}, []
    for line in block:
        if _is_peaks(line):
            # An annotation follows in quotes; semicolons separate peaks that share a line.
            peaks += [peak.replace(":", " ") for peak in line.partition('"')[0].split(";") if peak.strip()]
        else:
            add_field(fields, *line.split(":", 1))
    for key, value in _COMMENT_FIELD.findall(fields.get("comments", "")):
        fields.setdefault(key.strip().lower(), value.strip())

    announced = fields.get("num peaks", fields.get("num_peaks", ""))
    if not announced.isdigit():
        return Entry(fields, *peak_columns(peaks), None if peaks else "no peaks: the entry is truncated or damaged")
    if int(announced) == len(peaks):
        return Entry(fields, *peak_columns(peaks))
    values = " ".join(peaks).split()  # several peaks on a line without semicolons
    if len(values) == 2 * int(announced):
        return Entry(fields, values[0::2], values[1::2])
    problem = f"{announced} peaks announced but {len(peaks)} found: the entry is truncated or damaged"
    return Entry(fields, *peak_columns(peaks), problem)
