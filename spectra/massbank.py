"""MassBank record text, one record or many, each closed by "//".

Format: https://github.com/MassBank/MassBank-web/blob/main/Documentation/MassBankRecordFormat.md
"""

from collections.abc import Iterator
from typing import BinaryIO

from .entry import Entry, add_field, peak_columns, read_lines

# Tags whose value begins with a subtag: "AC$MASS_SPECTROMETRY: COLLISION_ENERGY 30 eV"
_WITH_SUBTAG = ("AC$MASS_SPECTROMETRY", "AC$CHROMATOGRAPHY", "AC$GENERAL", "MS$FOCUSED_ION", "MS$DATA_PROCESSING")
_WITH_SUBTAG += ("CH$LINK", "SP$LINK")


def read_massbank(file: BinaryIO) -> Iterator[Entry]:
    """Records as entries. CH$NAME becomes the field "name", AC$MASS_SPECTROMETRY: ION_MODE the field "ion_mode"."""
    block = []
    for line in read_lines(file):
        if line.startswith("//"):
            yield _entry(block)
            block = []
        elif line:
            block.append(line)
    if block:
        yield _entry(block)


def _entry(block):
    fields, peaks, table = {}, [], None
    for line in block:
        tag, colon, value = line.partition(": ")
        if line.startswith(("PK$PEAK:", "PK$ANNOTATION:")):  # the rest of the line names the columns
            table = tag.rstrip(":")
        elif colon and tag.replace("$", "_").isidentifier():
            table = None
            if tag in _WITH_SUBTAG:
                tag, _, value = value.partition(" ")
            add_field(fields, tag.partition("$")[2] or tag, value)
        elif table == "PK$PEAK":
            peaks.append(line)
    announced = fields.get("num_peak", "")
    problem = None if announced or peaks else "no peaks: the record is truncated or damaged"
    if announced.isdigit() and int(announced) != len(peaks):
        problem = f"{announced} peaks announced but {len(peaks)} found: the record is truncated or damaged"
    return Entry(fields, *peak_columns(peaks), problem)
