"""JSON arrays of spectra, as written by GNPS (`peaks_json`, a string) and matchms (`peaks_json`, a list of pairs).

The array is cut into the texts of its objects, each decoded by itself. Unlike with one parser over the file (ijson),
an object that is no valid JSON costs only itself, and the NaN that Python writes can be named as the reason.
"""

import codecs
import json
import re
from collections.abc import Iterator
from typing import BinaryIO

from .entry import Entry, read_chunks

_MAX_OBJECT = 1 << 26  # characters: a brace that is never closed must not read the whole file into memory

# Strings hide their braces. None spans lines, so a missing quote costs one line. At a lone quote the chunk ends.
_TOKEN = re.compile(r'"(?:[^"\\\n]|\\.)*["\n]|[{}"]')


def read_json(file: BinaryIO) -> Iterator[Entry]:
    """Objects of the array as entries. Peaks: pairs in `peaks_json` or `peaks`, or lists `mzs` and `intensities`."""
    for text in _split_objects(codecs.iterdecode(read_chunks(file), "utf-8-sig", errors="replace")):
        try:
            yield _entry(json.loads(text))
        except (ValueError, RecursionError) as error:
            yield Entry({}, (), (), f"not valid JSON: {error}")


def _split_objects(chunks):
    """Texts of the outermost objects, and of whatever else stands between them."""
    buffer, start, position, depth, array_open = "", 0, 0, 0, False
    for chunk in chunks:
        buffer += chunk
        for token in _TOKEN.finditer(buffer, position):
            if token[0] == '"':
                break
            position = token.end()
            if token[0] == "{":
                if depth == 0:
                    between = buffer[start : token.start()]
                    array_open = array_open or "[" in between
                    yield from _stray(between)
                    start = token.start()
                depth += 1
            elif token[0] == "}" and depth:
                depth -= 1
                if depth == 0:
                    yield buffer[start:position]
                    start = position
        buffer, position, start = buffer[start:], position - start, 0
        if len(buffer) > _MAX_OBJECT:
            raise ValueError(f"an entry is longer than {_MAX_OBJECT} characters: a closing brace seems to be missing")
    if depth:
        raise ValueError("the file ends inside an entry")
    yield from _stray(buffer)
    if array_open and "]" not in buffer:
        raise ValueError("the array is not closed")


def _stray(between):
    text = between.strip("[], \t\r\n")
    if text:
        yield text


def _entry(item):
    if not isinstance(item, dict):
        return Entry({}, (), (), "not a JSON object")
    item = {key.lower(): value for key, value in item.items()}
    columns = item.pop("mzs", []), item.pop("intensities", [])
    problem = None if all(isinstance(column, list) for column in columns) else "mzs or intensities is not a list"
    for name in ("peaks_json", "peaks"):
        if name in item:
            peaks = item.pop(name)
            try:
                peaks = json.loads(peaks) if isinstance(peaks, str) else peaks
                columns = [pair[0] for pair in peaks], [pair[1] for pair in peaks]
            except (ValueError, TypeError, IndexError, KeyError):
                problem = f"{name} is not a list of pairs of m/z and intensity"
    fields = {
        key: value if isinstance(value, str) else json.dumps(value) for key, value in item.items() if value is not None
    }
    return Entry(fields, *columns, problem)
