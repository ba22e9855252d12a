"""`spec2mol simulate STRUCTURES --output sim.parquet`: tandem mass spectra that a learned fragmenter expects."""

import os
import sys
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import torch
from tqdm import tqdm

from ..feature_extraction_spec2mol import ION_MODES
from ..fragment_graph_spec2mol import INSTRUMENT_TYPES, PRECURSOR_HYDROGENS
from ..simulation.simulate import (
    CannotCarry,
    Conditions,
    MeasuredConditions,
    load_fragmentation,
    read_molecule,
    simulate,
)
from .output import TableWriter
from .structures import add_structures_argument, read_structures

SCHEMA = pa.schema(
    {
        "identifier": pa.string(),
        "mzs": pa.list_(pa.float32()),
        "intensities": pa.list_(pa.float32()),
        "smiles": pa.string(),
        "inchikey": pa.string(),
        "formula": pa.string(),
        "precursor_mz": pa.float64(),
        "adduct": pa.string(),
        "ion_mode": pa.string(),
        "collision_energy": pa.float32(),
        "instrument_type": pa.string(),
    }
)
DEFAULT_ADDUCTS = {"positive": "[M+H]+", "negative": "[M-H]-"}
CHUNK = 100  # structures sent to a process at a time, and rows written at a time
STRUCTURES_PER_WORKER = 2000  # with fewer, starting a process costs more than it saves


def add_arguments(parser):
    add_structures_argument(parser)
    parser.add_argument("--output", type=Path, required=True, help=".parquet, columns as in docs/data.md")
    parser.add_argument("--ion-mode", choices=ION_MODES, default="positive", help="default: positive")
    parser.add_argument(
        "--adduct", choices=tuple(PRECURSOR_HYDROGENS), help="default: [M+H]+, in negative mode [M-H]-"
    )
    parser.add_argument(
        "--collision-energy", type=float, nargs="+", metavar="EV", help="eV; a spectrum for each (default: 40)"
    )
    parser.add_argument("--instrument-type", choices=INSTRUMENT_TYPES, help="default: QTOF")
    parser.add_argument(
        "--conditions",
        type=Path,
        metavar="SPECTRA",
        help="parquet file of measured spectra, instead of the four above: draw for each structure adduct, energy and "
        "instrument of one of them",
    )
    parser.add_argument("--seed", type=int, default=0, help="of the drawn conditions (default: 0)")
    parser.add_argument("--limit", type=int, help="take only so many structures")
    parser.add_argument("--workers", type=int, default=os.cpu_count(), help="processes (default: all processors)")


def run(args) -> int:
    if args.output.suffix != ".parquet":
        raise ValueError(f"--output {args.output}: the ending must be .parquet")
    settings = (measured_conditions(args) if args.conditions else given_conditions(args)), args.seed
    structures = list(enumerate(read_structures(args.structures)[: args.limit]))
    workers = max(1, min(args.workers, len(structures) // STRUCTURES_PER_WORKER))
    if workers == 1:
        _start_worker(*settings)
        return write(args.output, map(_simulate, structures), len(structures))
    context = get_context("spawn")  # PyTorch's threads do not survive a fork
    with ProcessPoolExecutor(workers, context, _start_worker, settings) as pool:
        return write(args.output, pool.map(_simulate, structures, chunksize=CHUNK), len(structures))


def given_conditions(args) -> list[Conditions]:
    adduct = args.adduct or DEFAULT_ADDUCTS[args.ion_mode]
    return [Conditions(adduct, energy, args.instrument_type or "QTOF") for energy in args.collision_energy or [40.0]]


def measured_conditions(args) -> MeasuredConditions:
    for option in ("adduct", "collision_energy", "instrument_type"):
        if getattr(args, option) is not None:
            raise ValueError(f"--{option.replace('_', '-')} and --conditions exclude each other")
    return MeasuredConditions(pd.read_parquet(args.conditions))


def write(path: Path, results, number: int) -> int:
    """results: of `_simulate`."""
    skipped, rows, spectra = Counter(), [], 0
    with TableWriter(path, SCHEMA) as writer:
        for result in tqdm(results, total=number, unit=" structures", file=sys.stderr, disable=None):
            if isinstance(result, str):
                skipped[result] += 1
                continue
            rows += result
            spectra += len(result)
            if len(rows) >= CHUNK:
                writer.write(rows)
                rows = []
        if rows:
            writer.write(rows)
    print(f"{path}: {spectra:,} spectra of {number - skipped.total():,} structures", file=sys.stderr)
    for reason, count in skipped.most_common():
        print(f"{count:,} of {number:,} structures skipped: {reason}", file=sys.stderr)
    return 0 if spectra else 2


def _start_worker(conditions, seed):
    global _model, _conditions, _seed
    torch.set_num_threads(1)
    _model, _conditions, _seed = load_fragmentation(), conditions, seed


def _simulate(structure: tuple[int, str]) -> list[dict] | str:
    """Rows for one structure, or why there are none. Neither the order nor the number of processes matters."""
    index, smiles = structure
    try:
        conditions = _conditions
        if isinstance(conditions, MeasuredConditions):
            conditions = [conditions.draw(read_molecule(smiles), np.random.default_rng((_seed, index)))]
        rows = [simulate(_model, smiles, c) for c in conditions]
    except CannotCarry:
        return "they do not form the ion"
    except ValueError:
        return "no single molecule, more than 64 heavy atoms, or an element that is not simulated"
    return [{"identifier": f"simulated-{index}-{i}", **row} for i, row in enumerate(rows)]
