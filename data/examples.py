"""Training examples: parquet tables of molecules, with or without their spectra, -> a `datasets.Dataset`."""

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from functools import lru_cache
from glob import glob
from hashlib import blake2b

import numpy as np
import torch
from datasets import Dataset, Features, Value, concatenate_datasets, load_dataset
from rdkit import Chem
from rdkit.Chem.rdMolDescriptors import CalcExactMolWt

from ..chemistry_spec2mol import flat_molecule, inchikey_block, morgan_fingerprint

SPECTRUM_COLUMNS = (
    "mzs",
    "intensities",
    "precursor_mz",
    "adduct",
    "ion_mode",
    "collision_energy",
    "instrument_type",
    "formula",
)
CONFORMER_COLUMNS = ("atoms", "coordinates")


def load_examples(
    paths: str | Sequence[str],
    processor,
    limit: int | None = None,
    max_tokens: int | None = None,
    fingerprint_size: int | None = None,
    weights: Mapping[str, int] | None = None,
    text: str | Sequence[str] | None = None,
    only: Mapping[str, Sequence] | None = None,
) -> Dataset:
    """Rows of parquet files with a column `smiles` and, for spectra, the columns of a spectrum (see the README); for
    an encoder of conformers perhaps `atoms` and `coordinates`, as `molecules_spec2mol` reads them.

    Added columns: target_ids (start, SELFIES symbols, end) and num_tokens of it; for spectra, num_peaks that the
    encoder will read; for what an encoder reads, identity (equal for one molecule) and mass of the molecule (Da); with
    `fingerprint_size`, also fingerprint (Morgan, bits packed into bytes) and element_counts. Rows whose molecule
    SELFIES cannot write are dropped; the number is printed.

    Args:
        paths: files or globs. One that is named twice counts twice.
        processor: `Spec2MolProcessor`.
        limit: take only so many rows of each.
        max_tokens: drop longer targets: a few long ones cost as much as the rest.
        weights: how many times a row counts, by globs of its column `source`; the first glob that matches decides, and
            a row that none matches counts once.
        text: a column whose text is the target, in place of the molecule; of several, the first that a file has.
        only: values by column; other rows are left out.
    """
    parts = [_load(path, processor, limit, max_tokens, fingerprint_size, text, only or {}) for path in listed(paths)]
    examples = joined(parts)
    return examples if weights is None else _repeated(examples, weights)


def joined(parts: Sequence[Dataset]) -> Dataset:
    """Tables that different programs wrote hold the same text and numbers in different types."""

    def common(feature):
        dtype = getattr(feature, "dtype", "")
        if dtype == "large_string":
            return Value("string")
        return Value("float64") if dtype.startswith(("float", "double")) else feature

    return concatenate_datasets(
        [part.cast(Features({k: common(v) for k, v in part.features.items()})) for part in parts]
    )


def _repeated(examples, weights):
    if "source" not in examples.column_names:
        raise ValueError("weights need a column `source` in the training data")

    def weight(source):
        return next((factor for pattern, factor in weights.items() if fnmatchcase(source, pattern)), 1)

    sources, index = np.unique(examples["source"][:], return_inverse=True)
    for pattern in weights:
        if not any(fnmatchcase(source, pattern) for source in sources):
            raise ValueError(f"weight of {pattern!r}: no such source; there are {', '.join(sources)}")
    return examples.select(np.repeat(np.arange(len(examples)), np.array([weight(name) for name in sources])[index]))


def load_spectra_examples(
    paths: str | Sequence[str], num_peaks: int, limit: int | None = None, fingerprint_size: int | None = None
) -> Dataset:
    """Rows of parquet files with the columns of a spectrum, for an encoder alone; `smiles` is needed only by tasks
    with labels, `run` and `retention_time` only by retention order.

    Added columns: num_peaks that the encoder will read; where there is `smiles`, identity and mass as in
    `load_examples`, and with `fingerprint_size` the fingerprint. Rows whose structure cannot be read are dropped; the
    number is printed.
    """
    columns = (*SPECTRUM_COLUMNS, "smiles", "inchikey", "run", "retention_time")
    parts = []
    for path in listed(paths):
        rows = _read(path, limit, columns, {})
        if "mzs" not in rows.column_names:
            raise ValueError(f"{path}: no spectra in it (columns {', '.join(rows.column_names) or 'unknown'})")
        examples = rows.map(
            _add_spectrum_columns,
            fn_kwargs={"num_peaks": num_peaks, "fingerprint_size": fingerprint_size},
            num_proc=processes(rows),
            desc=f"Reading {os.path.basename(path)}",
        )
        if "mass" in examples.column_names:
            kept = examples.filter(lambda mass: mass == mass, input_columns="mass")  # NaN is not
            if dropped := len(examples) - len(kept):
                print(f"{path}: {dropped} of {len(examples)} rows dropped, their structures cannot be read")
            examples = kept
        parts.append(examples)
    return joined(parts)


def _add_spectrum_columns(row, num_peaks, fingerprint_size):
    added = {"num_tokens": 0, "num_peaks": min(len(row["mzs"]), num_peaks)}
    if row.get("smiles"):
        added |= molecule_columns(row)
        if fingerprint_size is not None and not np.isnan(added["mass"]):
            added["fingerprint"] = _packed_fingerprint(row["smiles"], fingerprint_size)
    return added


def _load(path, processor, limit, max_tokens, fingerprint_size, text, only):
    columns = (*SPECTRUM_COLUMNS, *CONFORMER_COLUMNS, "smiles", "inchikey", "identifier", "source")
    dataset = _read(path, limit, (*columns, *listed(text or ())), only)
    if text is not None:
        if not (found := [name for name in listed(text) if name in dataset.column_names]):
            raise ValueError(f"{path}: no column {' or '.join(listed(text))}")
        text = found[0]
    examples = dataset.map(
        _add_target,
        fn_kwargs={"processor": processor, "fingerprint_size": fingerprint_size, "text": text},
        num_proc=processes(dataset),
        desc=f"Tokenising {os.path.basename(path)}",
    )
    kept = examples.filter(lambda num_tokens: 0 < num_tokens <= (max_tokens or np.inf), input_columns="num_tokens")
    if dropped := len(examples) - len(kept):
        longer = f" or they are longer than {max_tokens} tokens" if max_tokens else ""
        cannot = "they have no text or no molecule" if text else "SELFIES cannot write their molecules"
        print(f"{path}: {dropped} of {len(examples)} rows dropped, {cannot}{longer}")
    return kept


def structure_statistics(examples: Dataset, sample: int = 10_000) -> tuple[torch.Tensor, torch.Tensor]:
    """Of a random sample of examples with fingerprints: frequencies of the bits, and mean roots of element counts."""
    some = examples.shuffle(seed=0).select(range(min(sample, len(examples)))).with_format("numpy")
    frequencies = np.unpackbits(np.asarray(some["fingerprint"][:], np.uint8), axis=1).mean(0)
    roots = np.sqrt(np.asarray(some["element_counts"][:])).mean(0)
    return torch.from_numpy(frequencies).float(), torch.from_numpy(roots).float()


def data_files(paths: str | Sequence[str]) -> list[str]:
    """The files that paths or globs name."""
    return [file for path in listed(paths) for file in sorted(glob(path))]


def listed(paths: str | os.PathLike | Sequence[str]) -> list[str]:
    return [str(path) for path in ([paths] if isinstance(paths, str | os.PathLike) else paths)]


def read_rows(path: str) -> Dataset:
    """All of the parquet or jsonl files that match a glob."""
    # datasets.load_dataset takes a glob too, but its error for one that matches nothing does not say so.
    if not (files := sorted(glob(path))):
        raise FileNotFoundError(f"{path}: no such file")
    return load_dataset("json" if path.endswith("jsonl") else "parquet", data_files=files, split="train")


def only_rows(dataset: Dataset, only: Mapping[str, Sequence]) -> Dataset:
    """Those that have in each column one of the values given for it; without the column they have None."""
    for column, values in only.items():
        if column not in dataset.column_names and None in values:
            continue
        dataset = dataset.filter(lambda value, kept=frozenset(values): value in kept, input_columns=column)
    return dataset


def _read(path, limit, columns, only) -> Dataset:
    """The named columns, as far as they exist, of the first rows of the files that match a glob."""
    dataset = only_rows(read_rows(path), only)
    if limit is not None:
        dataset = dataset.select(range(min(limit, len(dataset))))
    return dataset.select_columns([name for name in columns if name in dataset.column_names])


def processes(dataset) -> int:
    return min(os.cpu_count(), 1 + len(dataset) // 20_000)


def _add_target(row, processor, fingerprint_size, text):
    is_query, target = processor.is_query(row), []
    if text is None:
        target = _encode(processor, row["smiles"])
    elif row[text] and not (is_query and flat_molecule(row["smiles"]) is None):
        target = processor.encode_text(row[text])
    added = {"target_ids": target, "num_tokens": len(target), "num_peaks": 0}
    if "mzs" in row:
        added["num_peaks"] = min(len(row["mzs"]), processor.feature_extractor.num_peaks)
    if is_query:
        added |= molecule_columns(row)
    if fingerprint_size is not None:
        elements = tuple(processor.feature_extractor.elements)
        added |= _structure(row["smiles"] if target else "C", fingerprint_size, elements)  # without target: dropped
    return added


def molecule_columns(row) -> dict:
    """identity: `molecule_identity`; mass in Da, NaN for an unreadable structure. The InChIKey is computed where the
    row has none."""
    key = row.get("inchikey") or _inchikey_block(row["smiles"]) or row["smiles"]
    return {"identity": molecule_identity(key[:14]), "mass": _mass(row["smiles"])}


def molecule_identity(inchikey_block: str) -> int:
    """An integer (64 bits, signed) for the first block of an InChIKey, the same in every process and run."""
    return int.from_bytes(blake2b(inchikey_block.encode(), digest_size=8).digest(), "big", signed=True)


@lru_cache(maxsize=100_000)
def _inchikey_block(smiles):
    return inchikey_block(smiles)


@lru_cache(maxsize=100_000)
def _mass(smiles):
    molecule = Chem.MolFromSmiles(smiles)
    return np.nan if molecule is None else CalcExactMolWt(molecule)


# Many spectra share a molecule.
@lru_cache(maxsize=100_000)
def _encode(processor, smiles):
    try:
        return processor.encode_molecule(smiles)
    except ValueError:
        return []


@lru_cache(maxsize=100_000)
def _structure(smiles, fingerprint_size, elements):
    counts = Counter(atom.GetSymbol() for atom in Chem.AddHs(flat_molecule(smiles)).GetAtoms())
    return {
        "fingerprint": _packed_fingerprint(smiles, fingerprint_size),
        "element_counts": [counts[element] for element in elements],
    }


@lru_cache(maxsize=100_000)
def _packed_fingerprint(smiles, size):
    return np.packbits(morgan_fingerprint(smiles, size))
