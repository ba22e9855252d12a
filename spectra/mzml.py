"""mzML, the open format of the Proteomics Standards Initiative.

The XML is streamed with the standard library, pyteomics decodes the binary arrays. `pyteomics.mzml` itself downloads
an ontology at every opening, keeps the emptied elements, and ends at the first broken spectrum.
Format: https://www.psidev.info/mzML
"""

import xml.etree.ElementTree as ET
import zlib
from collections.abc import Iterator
from typing import BinaryIO

import numpy as np
from pyteomics.auxiliary.utils import BinaryDataArrayTransformer

from .entry import Entry, read_chunks

_DTYPES = {
    "32-bit float": np.float32,
    "64-bit float": np.float64,
    "32-bit integer": np.int32,
    "64-bit integer": np.int64,
}
_DECODER = BinaryDataArrayTransformer()


def read_mzml(file: BinaryIO) -> Iterator[Entry]:
    """Spectra of all MS levels as entries; peaks are decoded for MS2 only.

    Fields are the names of the cvParams ("selected ion m/z", "scan start time" …), besides `ion_mode`,
    `fragmentation_mode` and `instrument_type` (the names of the analyzers), put in the words of the other formats.
    """
    groups, instruments, default_instrument = {}, {}, None
    spectrum_list = None
    for event, element in _parse(file):
        tag = _tag(element)
        if event == "start":
            if tag == "run":
                default_instrument = element.get("defaultInstrumentConfigurationRef")
            elif tag == "spectrumList":
                spectrum_list = element
        elif tag == "referenceableParamGroup":
            groups[element.get("id")] = _params(element, {})
        elif tag == "instrumentConfiguration":
            instruments[element.get("id")] = " ".join(_params(element, groups))
        elif tag == "spectrum":
            yield _entry(element, groups, instruments, default_instrument)
            if spectrum_list is not None:
                spectrum_list.clear()  # drops the spectra read so far: memory stays constant
        elif tag == "chromatogram":
            element.clear()


def _parse(file):
    """Starts and ends of the elements, as in ET.iterparse, up to the first damage."""
    parser = ET.XMLPullParser(("start", "end"))
    try:
        for chunk in read_chunks(file):
            parser.feed(chunk)
            yield from parser.read_events()
        parser.close()
    except ET.ParseError as error:
        raise ValueError(f"broken XML: {error}") from None


def _tag(element):
    return element.tag.rpartition("}")[2]  # without the namespace


def _params(element, groups):
    """Names and values of all cvParams and userParams below `element`, the groups it refers to included."""
    params = {}
    for child in element.iter():
        if _tag(child) in ("cvParam", "userParam"):
            params.setdefault(child.get("name", "").lower(), child.get("value", ""))
        elif _tag(child) == "referenceableParamGroupRef":
            params = groups.get(child.get("ref"), {}) | params
    return params


def _entry(spectrum, groups, instruments, default_instrument):
    fields, arrays = {"id": spectrum.get("id", "")}, []
    instrument = default_instrument
    for child in spectrum:
        if _tag(child) == "binaryDataArrayList":
            arrays = list(child)
            continue
        fields = _params(child, groups) | fields
        for scan in child.iter():
            instrument = scan.get("instrumentConfigurationRef", instrument)
    fields["instrument_type"] = instruments.get(instrument, "")
    for mode in ("positive", "negative"):
        if f"{mode} scan" in fields:
            fields["ion_mode"] = mode
    if "beam-type collision-induced dissociation" in fields:
        fields["fragmentation_mode"] = "HCD"
    elif "collision-induced dissociation" in fields:
        fields["fragmentation_mode"] = "CID"
    if fields.get("ms level", "2") != "2":
        return Entry(fields, (), ())

    columns = {"m/z array": (), "intensity array": ()}
    try:
        for array in arrays:
            params = _params(array, groups)
            for name in columns.keys() & params:
                columns[name] = _decode(array, params)
        problem = None
    except (ValueError, zlib.error) as error:
        problem = f"unreadable peak array: {error}"
    return Entry(fields, *columns.values(), problem)


def _decode(array, params):
    text = "".join(child.text or "" for child in array if _tag(child) == "binary").strip()
    if not text:
        return ()
    dtype = next((_DTYPES[name] for name in params if name in _DTYPES), None)
    names = {name.lower(): name for name in _DECODER.compression_type_map}
    compression = next((name for name in params if "compression" in name), "no compression")
    if dtype is None or compression not in names:
        raise ValueError(f"number type or compression not supported ({', '.join(params)})")
    return _DECODER.decode_data_array(text, names[compression], dtype)
