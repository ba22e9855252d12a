"""Where data come from and what their licences ask for: from the columns `license`, `contributor` and `source`."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq


class Licence(NamedTuple):
    """name: as people write it. hub: its identifier on the Hugging Face Hub, "other" if it has none. url: its text."""

    name: str
    hub: str
    url: str | None = None


class Source(NamedTuple):
    """A data base: its name, its licence (None if each record has its own), whom to cite, where it is."""

    name: str
    licence: str | None
    credit: str
    url: str


# By the beginning of a row's `source`.
SOURCES = {
    # Its fragmenter learned from records of MassBank, share-alike ones among them; structures have their own terms.
    "simulated": Source(
        "simulated by spec2mol",
        "CC BY-SA 4.0",
        "MassBank, from which the fragmenter learned, and the sources of the structures",
        "https://github.com/MassBank/MassBank-data",
    ),
    "massbank": Source("MassBank", None, "the authors of its records", "https://github.com/MassBank/MassBank-data"),
    "coconut": Source("COCONUT", "CC BY 4.0", "Sorokina et al. 2021", "https://doi.org/10.1186/s13321-020-00478-9"),
    "mibig": Source("MIBiG", "CC BY 4.0", "Kautsar et al. 2020", "https://doi.org/10.1093/nar/gkz882"),
    "chebi": Source("ChEBI", "CC BY 4.0", "Hastings et al. 2016", "https://doi.org/10.1093/nar/gkv1031"),
    "toxcast": Source("ToxCast", "public domain", "US EPA", "https://www.epa.gov/comptox-tools"),
    "tox21": Source("Tox21", "public domain", "US NIH", "https://tripod.nih.gov/tox21"),
    "nci_hiv": Source("NCI HIV screen", "public domain", "US NCI", "https://wiki.nci.nih.gov/display/NCIDTPdata"),
    "chembl": Source("ChEMBL", "CC BY-SA 3.0", "Zdrazil et al. 2024", "https://doi.org/10.1093/nar/gkad1004"),
}
# The beginning of a row's `identifier`, where nothing else tells its source.
IDENTIFIERS = {"MSBNK-": "massbank", "simulated-": "simulated"}


def read_licence(text: str) -> Licence:
    """ "CC BY-SA", "cc-by-sa-4.0" and "Creative Commons BY-SA 4.0" are one licence; Creative Commons without a version
    is 4.0. What is not known is kept as it is written."""
    plain = re.sub(r"[\s_-]+", "-", text.strip().lower()).replace("creative-commons", "cc")
    if plain in ("cc0", "cc-0", "cc0-1.0", "public-domain"):
        name = "CC0 1.0" if plain.startswith("cc") else "public domain"
        return Licence(name, "cc0-1.0", "https://creativecommons.org/publicdomain/zero/1.0/")
    if match := re.fullmatch(r"cc-(by(?:-(?:nc|sa|nd))*)(?:-(\d\.\d))?", plain):
        terms, version = match[1], match[2] or "4.0"
        url = f"https://creativecommons.org/licenses/{terms}/{version}/"
        return Licence(f"CC {terms.upper()} {version}", f"cc-{terms}-{version}", url)
    if plain.startswith("dl-de/by"):
        return Licence("dl-de/by-2-0", "other", "https://www.govdata.de/dl-de/by-2-0")
    return Licence(text.strip(), "other")


def strictest(licences: Iterable[str]) -> Licence:
    """The licence that satisfies all of them. Attribution alone (dl-de/by too) becomes CC BY 4.0, any share-alike term
    CC BY-SA 4.0, and so on.

    Raises ValueError for a licence whose terms are not known, or without any licence.
    """
    terms = set()
    for licence in map(read_licence, licences):
        if licence.name == "dl-de/by-2-0":
            terms.add("by")
        elif licence.hub == "other":
            raise ValueError(f"the terms of licence {licence.name!r} are not known")
        else:
            terms |= {"cc0"} | (set(licence.hub.split("-")) & {"by", "nc", "sa", "nd"})
    if not terms:
        raise ValueError("no licence is stated")
    if {"sa", "nd"} <= terms:
        raise ValueError("share-alike and no-derivatives licences cannot be joined")
    joined = [term for term in ("by", "nc", "sa", "nd") if term in terms]
    return read_licence("-".join(["cc", *joined]) if joined else "cc0")


def provenance(*paths: str | Path) -> dict[str, dict[str, int]]:
    """Rows of parquet files by `licenses`, `sources` and `contributors`, those that they tell; most rows first.

    Identifiers of MassBank and of `spec2mol simulate` tell their source, and sources with one licence for all tell the
    licence.
    """
    sources, licences = count_values(paths, "source"), count_values(paths, "license")
    if not sources and (identifiers := _read(paths, "identifier")) is not None:
        counts = {name: pc.sum(pc.starts_with(identifiers, start)).as_py() for start, name in IDENTIFIERS.items()}
        sources = {name: count for name, count in counts.items() if count}
    if not licences:
        counted = Counter()
        for source, count in sources.items():
            if (known := find_source(source)) and known.licence:
                counted[known.licence] += count
        licences = dict(counted)
    parts = {"licenses": licences, "sources": sources, "contributors": count_values(paths, "contributor")}
    return {name: counts for name, counts in parts.items() if counts}


def find_source(name: str) -> Source | None:
    return next((source for prefix, source in SOURCES.items() if name.startswith(prefix)), None)


def count_values(paths: Sequence[str | Path], column: str) -> dict[str, int]:
    """Rows for each value of a column, most first; empty if a file lacks the column."""
    if (values := _read(paths, column)) is None:
        return {}
    counts = pc.value_counts(values.drop_null()).to_pylist()
    return {pair["values"]: pair["counts"] for pair in sorted(counts, key=lambda pair: -pair["counts"])}


def _read(paths, column) -> pa.ChunkedArray | None:
    if not all(str(path).endswith(".parquet") for path in paths):  # jsonl holds tasks, which say nothing of this.
        return None
    files = [pq.ParquetFile(path) for path in paths]
    if any(column not in file.schema_arrow.names for file in files):
        return None
    return pa.chunked_array([chunk for file in files for chunk in file.read([column])[column].cast("string").chunks])
