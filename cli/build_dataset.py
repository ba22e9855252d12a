"""`spec2mol build-dataset FILE... --output DIR`: labelled spectra -> a folder of training data, ready for the Hub."""

import hashlib
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from tqdm import tqdm

from ..data.labelled import SCHEMA, labelled_rows, molecules_in
from ..data.provenance import read_licence
from ..hub.cards import dataset_card

ROWS_PER_SHARD = 100_000  # some 50 MB
ROWS_PER_GROUP = 5_000


def add_arguments(parser):
    parser.add_argument(
        "files",
        nargs="+",
        type=Path,
        metavar="FILE",
        help="spectra with SMILES or InChI (mgf, msp, MassBank, json, also .gz), or parquet tables",
    )
    parser.add_argument("--output", type=Path, required=True, metavar="DIR", help="new folder to write")
    parser.add_argument("--name", help="of the data set, in its card (default: the folder's)")
    parser.add_argument(
        "--held-out",
        nargs="+",
        type=Path,
        default=[],
        metavar="FILE",
        help="files of molecules to leave out, by first InChIKey block: tables, lists of SMILES or labelled spectra",
    )
    parser.add_argument("--license", help="of spectra whose file names none, such as CC-BY-4.0")


def run(args) -> int:
    data = args.output / "data"
    if data.exists() and any(data.iterdir()):
        raise ValueError(f"{data} is not empty: name a new folder")
    held_out, dropped = molecules_in(args.held_out), Counter()
    with ShardWriter(data) as writer, tqdm(unit=" spectra", file=sys.stderr, disable=None) as progress:
        for path in args.files:
            for row in labelled_rows(path, held_out, dropped):
                licence = row["license"] or args.license
                if licence is None:
                    raise ValueError(f"{path}: {row['identifier']} has no licence: name it by --license")
                if not writer.add(row | {"license": read_licence(licence).name}):
                    dropped["the same spectrum of the same molecule again"] += 1
                progress.update()
        if not writer.count:
            raise ValueError(f"no labelled spectrum left: {listed(dropped)}")
    card = dataset_card(
        writer.paths,
        args.name or args.output.resolve().name,
        inputs=[path.name for path in args.files],
        dropped=listed(dropped),
        held_out=(len(held_out), [path.name for path in args.held_out]),
    )
    card.save(args.output / "README.md")
    print(f"{args.output}: {writer.count:,} spectra of {len(writer.molecules):,} molecules")
    print(f"left out: {listed(dropped)}", file=sys.stderr)
    return 0


def listed(dropped: Counter) -> str:
    return "; ".join(f"{reason}: {count:,}" for reason, count in dropped.most_common() if count) or "nothing"


class ShardWriter:
    """Context manager that writes rows of `SCHEMA`, each spectrum of a molecule once, into
    `train-00000-of-0000N.parquet`, with constant memory but for some bytes a spectrum. An error leaves nothing behind.

    Attributes:
        count: rows so far. molecules: their first InChIKey blocks. paths: of the files, at the end.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        self.count = 0
        self.molecules: set[str] = set()
        self.paths: list[Path] = []
        self._seen: set[bytes] = set()
        self._rows: list[dict] = []
        self._file: pq.ParquetWriter | None = None

    def __enter__(self):
        self.folder.mkdir(parents=True, exist_ok=True)
        return self

    def add(self, row: dict) -> bool:
        """False if it was there already."""
        if (digest := _digest(row)) in self._seen:
            return False
        self._seen.add(digest)
        self.molecules.add(row["inchikey"])
        self._rows.append(row)
        self.count += 1
        if len(self._rows) == ROWS_PER_GROUP:
            self._write()
        return True

    def _write(self):
        if self._file is None:
            self.paths.append(self.folder / f"train-{len(self.paths):05d}.parquet")
            self._file = pq.ParquetWriter(self.paths[-1], SCHEMA)
        self._file.write_table(pa.Table.from_pylist(self._rows, SCHEMA))
        self._rows = []
        if self.count % ROWS_PER_SHARD == 0:
            self._close()

    def _close(self):
        if self._file is not None:
            self._file.close()
            self._file = None

    def __exit__(self, error, *_):
        if self._rows and error is None:
            self._write()
        self._close()
        if error is not None:
            for path in self.paths:
                path.unlink()
            self.folder.rmdir()
        else:
            total = f"-of-{len(self.paths):05d}.parquet"
            self.paths = [path.rename(path.with_name(path.stem + total)) for path in self.paths]


def _digest(row) -> bytes:
    """Peaks to a mDa and a hundredth of the base peak: a spectrum comes in more than one precision."""
    peaks = np.round(np.asarray(row["mzs"], float), 3), np.round(row["intensities"], 2)
    energy = None if row["collision_energy"] is None else round(row["collision_energy"], 1)
    content = row["inchikey"], row["adduct"], energy, *(values.tolist() for values in peaks)
    return hashlib.blake2b(repr(content).encode(), digest_size=16).digest()
