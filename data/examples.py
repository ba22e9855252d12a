"""Training examples: parquet tables of molecules, with or without their spectra, -> a `datasets.Dataset`."""

import os
from collections.abc import Sequence
from functools import lru_cache
from glob import glob
from hashlib import blake2b

import numpy as np
from datasets import Dataset, concatenate_datasets, load_dataset
from rdkit import Chem
from rdkit.Chem.rdMolDescriptors import CalcExactMolWt

from ..chemistry_spec2mol import inchikey_block, molecular_formula, morgan_fingerprint, parse_formula

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


def load_examples(
    paths: str | Sequence[str],
    processor,
    limit: int | None = None,
    max_tokens: int | None = None,
    fingerprint_size: int | None = None,
) -> Dataset:
    """Rows of parquet files with a column `smiles` and, for spectra, the columns of a spectrum (see the README).

    Added columns: target_ids (start, SELFIES symbols, end) and num_tokens of it; for spectra, num_peaks that the
    encoder will read, identity (equal for spectra of one molecule) and mass of the molecule (Da); with
    `fingerprint_size`, also fingerprint (Morgan, bits packed into bytes) and element_counts. Rows whose molecule
    SELFIES cannot write are dropped; the number is printed.

    Args:
        paths: files or globs. One that is named twice counts twice.
        processor: `Spec2MolProcessor`.
        limit: take only so many rows of each.
        max_tokens: drop longer targets: a few long ones cost as much as the rest.
    """
    paths = [paths] if isinstance(paths, str | os.PathLike) else paths
    examples = [_load(str(path), processor, limit, max_tokens, fingerprint_size) for path in paths]
    return examples[0] if len(examples) == 1 else concatenate_datasets(examples)


def _load(path, processor, limit, max_tokens, fingerprint_size):
    # datasets.load_dataset takes a glob too, but its error for one that matches nothing does not say so.
    if not (files := sorted(glob(path))):
        raise FileNotFoundError(f"{path}: no such file")
    dataset = load_dataset("parquet", data_files=files, split="train")
    if limit is not None:
        dataset = dataset.select(range(min(limit, len(dataset))))
    known = [name for name in (*SPECTRUM_COLUMNS, "smiles", "inchikey", "identifier") if name in dataset.column_names]
    dataset = dataset.select_columns(known)
    examples = dataset.map(
        _add_target,
        fn_kwargs={"processor": processor, "fingerprint_size": fingerprint_size},
        num_proc=min(os.cpu_count(), 1 + len(dataset) // 20_000),
        desc=f"Tokenising {os.path.basename(path)}",
    )
    kept = examples.filter(lambda num_tokens: 0 < num_tokens <= (max_tokens or np.inf), input_columns="num_tokens")
    if dropped := len(examples) - len(kept):
        longer = f" or they are longer than {max_tokens} tokens" if max_tokens else ""
        print(f"{path}: {dropped} of {len(examples)} rows dropped, SELFIES cannot write their molecules{longer}")
    return kept


def _add_target(row, processor, fingerprint_size):
    target = _encode(processor, row["smiles"])
    added = {"target_ids": target, "num_tokens": len(target), "num_peaks": 0}
    if "mzs" in row:
        added["num_peaks"] = min(len(row["mzs"]), processor.feature_extractor.num_peaks)
        added |= molecule_columns(row)
    if fingerprint_size is not None:
        elements = tuple(processor.feature_extractor.elements)
        added |= _structure(row["smiles"] if target else "C", fingerprint_size, elements)  # without target: dropped
    return added


def molecule_columns(row) -> dict:
    """identity: an integer for the first block of the InChIKey, the same in every process and run; mass in Da, NaN for
    an unreadable structure. The InChIKey is computed where the row has none."""
    key = (row.get("inchikey") or _inchikey_block(row["smiles"]) or row["smiles"])[:14]
    digest = blake2b(key.encode(), digest_size=8).digest()
    return {"identity": int.from_bytes(digest, "big", signed=True), "mass": _mass(row["smiles"])}


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
    counts = parse_formula(molecular_formula(smiles))
    return {
        "fingerprint": np.packbits(morgan_fingerprint(smiles, fingerprint_size)),
        "element_counts": [counts.get(element, 0) for element in elements],
    }
