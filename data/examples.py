"""Training examples: a parquet table of molecules, with or without their spectra, -> a `datasets.Dataset`."""

import os
from functools import lru_cache

from datasets import Dataset, load_dataset

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


def load_examples(path: str, processor, limit: int | None = None) -> Dataset:
    """Rows of a parquet file with a column `smiles` and, for spectra, the columns of a spectrum (see the README).

    Added columns: target_ids (start, SELFIES symbols, end), num_tokens of it and num_peaks that the encoder will read.
    Rows whose molecule SELFIES cannot write are dropped; the number is printed.

    Args:
        processor: `Spec2MolProcessor`.
        limit: take only so many rows.
    """
    dataset = load_dataset("parquet", data_files=str(path), split="train")
    if limit is not None:
        dataset = dataset.select(range(min(limit, len(dataset))))
    known = [name for name in (*SPECTRUM_COLUMNS, "smiles", "inchikey", "identifier") if name in dataset.column_names]
    dataset = dataset.select_columns(known)
    examples = dataset.map(
        _add_target,
        fn_kwargs={"processor": processor},
        num_proc=min(os.cpu_count(), 1 + len(dataset) // 20_000),
        desc=f"Tokenising {os.path.basename(path)}",
    ).filter(_has_target, input_columns="num_tokens")
    if dropped := len(dataset) - len(examples):
        print(f"{path}: {dropped} of {len(dataset)} rows dropped, SELFIES cannot write their molecules")
    return examples


def _add_target(row, processor):
    target = _encode(processor, row["smiles"])
    num_peaks = min(len(row.get("mzs", ())), processor.feature_extractor.num_peaks)
    return {"target_ids": target, "num_tokens": len(target), "num_peaks": num_peaks}


@lru_cache(maxsize=100_000)
def _encode(processor, smiles):
    """Many spectra share a molecule."""
    try:
        return processor.encode_molecule(smiles)
    except ValueError:
        return []


def _has_target(num_tokens):
    return num_tokens > 0
