"""Report: answers to spectra as one self-contained HTML file.

Notable:
- The data are one gzipped JSON text inside the page. The browser draws a query when it is scrolled to, so that 3,000
  queries open as fast as three.
- A structure is drawn once by RDKit, however many queries it answers.
- Spectra are drawn by Observable Plot on D3 (vendor/, ISC licence). The page's own policy forbids it all network.
"""

import base64
import gzip
import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from string import Template

import numpy as np

from ..chemistry_spec2mol import ADDUCTS, canonical_smiles, inchikey, molecular_formula
from ..formulas_spec2mol import explain_peaks
from ..generation_spec2mol import Candidate, mass_error_ppm
from ..spectra import InputReader
from .library import LibraryMatch, SpectralLibrary
from .structures import draw_structure

MOST_PEAKS = 200  # drawn of a spectrum, the most intense ones

_FOLDER = Path(__file__).parent


class Report:
    """Collects answers by `add` and writes them by `write`.

    Args:
        path: the HTML file.
        model: name of the model, for the head of the page.
        library: file of annotated spectra; queries are mirrored by the most similar one.
        ppm: largest error of the precursor, and of a peak that a sub-formula explains.

    Raises:
        ValueError: the ending is not .html, or the library cannot be used.
    """

    def __init__(self, path: str | Path, model: str, library: str | Path | None = None, ppm: float = 10.0):
        self.path = Path(path)
        if self.path.suffix not in (".html", ".htm"):
            raise ValueError(f"{path}: the ending of a report must be .html")
        self.model = model
        self.ppm = ppm
        self.library = SpectralLibrary(library) if library else None
        self.queries = []
        self._molecules = {}  # SMILES -> (position, what the page shows of the molecule)

    def add(self, spectrum: Mapping, candidates: Sequence[Candidate]):
        """One query, `spectrum` as `load_spectra` or `load_inputs` gives it, with its answers, best first."""
        best = candidates[0].formula if candidates else None
        query = {
            "id": spectrum["identifier"],
            "feature": spectrum.get("feature_id"),
            "file": spectrum.get("file"),
            "name": spectrum["metadata"].get("name") or spectrum["metadata"].get("compound_name"),
            "mz": round(spectrum["precursor_mz"], 5),
            "adduct": spectrum["adduct"],
            "energy": spectrum["collision_energy"],
            "instrument": spectrum["instrument_type"],
            "formula": spectrum["formula"],
            "problem": getattr(candidates, "problem", None),  # Why there are none, where the decoder says it.
            "answers": [self._answer(candidate, spectrum) for candidate in candidates],
        }
        query |= _peaks(spectrum, best, self.ppm)
        if self.library and (match := self.library.match(spectrum, self.ppm)):
            query["match"] = self._match(match)
        self.queries.append({key: value for key, value in query.items() if value is not None})

    def write(self, reader: InputReader):
        """Writes the page. `reader` gave the spectra, and knows which ones it skipped and why."""
        data = {
            "model": Path(self.model).name if Path(self.model).is_dir() else self.model,
            "version": version("spec2mol"),
            "created": datetime.now().astimezone().strftime("%Y-%m-%d %H:%M %Z"),
            "ppm": self.ppm,
            "library": self.library and len(self.library.spectra),
            "files": [
                {
                    "name": str(part.path),
                    "read": part.count,
                    "notMs2": part.not_ms2,
                    "skipped": part.skipped,
                    "warnings": part.warnings,
                }
                for part in reader.readers
            ],
            "unusable": reader.unusable,
            "molecules": [shown for _, shown in self._molecules.values()],
            "queries": self.queries,
        }
        text = json.dumps(data, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
        vendor = [(_FOLDER / "vendor" / name).read_text("utf-8") for name in ("LICENSE", "d3.min.js", "plot.min.js")]
        page = Template((_FOLDER / "page.html").read_text("utf-8")).substitute(
            style=(_FOLDER / "page.css").read_text("utf-8"),
            licence=vendor[0],
            plotting="\n".join(vendor[1:]),
            script=(_FOLDER / "page.js").read_text("utf-8"),
            data=base64.b64encode(gzip.compress(text.encode(), mtime=0)).decode(),
        )
        self.path.write_text(page, encoding="utf-8")

    def _answer(self, candidate, spectrum):
        """[molecule, score, mass error in ppm, probability, probability of being close]; None is unknown."""
        known = candidate._asdict()
        numbers = (candidate.score, mass_error_ppm(candidate, spectrum))
        numbers += (known.get("probability"), known.get("probability_close"))
        return [self._molecule(candidate.smiles, candidate.inchikey, candidate.formula), *map(_rounded, numbers)]

    def _molecule(self, smiles, key, formula) -> int:
        """Position of the molecule in the page's list."""
        if smiles not in self._molecules:
            shown = {"smiles": smiles, "inchikey": key, "formula": formula, "svg": draw_structure(smiles)}
            self._molecules[smiles] = (len(self._molecules), shown)
        return self._molecules[smiles][0]

    def _match(self, match: LibraryMatch):
        flat = match.smiles and canonical_smiles(match.smiles)
        shown = _most_intense(match.spectrum)
        return {
            "name": match.name,
            "id": match.spectrum["identifier"],
            "cosine": round(match.cosine, 3),
            "matched": match.matched_peaks,
            "energy": match.spectrum["collision_energy"],
            "molecule": self._molecule(flat, inchikey(flat), molecular_formula(flat)) if flat else None,
            **_peak_columns(match.spectrum, shown),
        }


def _peaks(spectrum, formula, ppm):
    """Peaks in columns; of those that a sub-formula of the answer's ion explains, position, formula and error; and the
    share of the fragments' intensity that these make up."""
    shown = _most_intense(spectrum)
    columns = _peak_columns(spectrum, shown) | {"peaks": len(spectrum["mzs"])}
    if formula is None or spectrum["adduct"] not in ADDUCTS:
        return columns
    explained = explain_peaks(spectrum, formula, ppm)
    ions, errors = explained.formulas, explained.error_ppm
    mzs, intensities = np.asarray(spectrum["mzs"]), np.asarray(spectrum["intensities"])
    fragments = intensities * (np.abs(mzs - spectrum["precursor_mz"]) > ppm * 1e-6 * mzs)
    if fragments.any():
        columns["explained"] = _rounded((fragments * np.isfinite(errors)).sum() / fragments.sum())
    columns["ions"] = [[i, ions[peak], round(errors[peak], 1)] for i, peak in enumerate(shown) if ions[peak]]
    return columns


def _most_intense(spectrum):
    """Positions of the peaks to draw, ascending."""
    return np.sort(np.argsort(-np.asarray(spectrum["intensities"]), kind="stable")[:MOST_PEAKS])


def _peak_columns(spectrum, shown):
    """m/z in Da, intensities in per cent of the base peak."""
    intensities = np.asarray(spectrum["intensities"])
    return {
        "mzs": np.asarray(spectrum["mzs"])[shown].round(4).tolist(),
        "intensities": (100 * intensities[shown] / intensities.max()).round(2).tolist(),
    }


def _rounded(number):
    return None if number is None else round(float(number), 3)
