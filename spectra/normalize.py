"""From Entry to spectrum: what the many spellings of a field mean, and which entries are no usable spectrum."""

import math
import re
from collections.abc import Mapping

import numpy as np

from ..chemistry_spec2mol import ADDUCTS, normalize_adduct
from .entry import Entry

MAX_PRECURSOR_MZ = 10_000.0  # Da

_MISSING = {"", "n/a", "na", "nan", "none", "null", "unknown", "[]"}

_ION_MODES = dict.fromkeys(("pos", "p", "+"), "positive") | dict.fromkeys(("neg", "n", "-"), "negative")

# The first pattern found decides. "LTQ FT" is an ion cyclotron, "micrOTOF" none.
_INSTRUMENTS = {
    "FT-ICR": r"(\b|ft)icr|cyclotron|solarix|apex|ltq[ -]?ft",
    "ITTOF": r"it-?tof|ion trap.*(tof|time-of-flight)",
    "QTOF": r"q\+?[ -]?tof|tof-q|quad.*(tof|time-of-flight)|(triple|tims|zeno) ?tof"
    r"|maxis|impact|synapt|xevo g2|x500|qstar",
    "Orbitrap": r"orbi|exactive|exploris|lumos|astral|itft|qft",
}
_ATOMS = r"(?:[A-Z][a-z]?\d*)+"
_FORMULA = re.compile(rf"{_ATOMS}(?:\.\d*{_ATOMS})*(?:[+-]\d*)?")  # also of several parts
_UNREADABLE_ENERGY = r"\bor\b|scaled|m/?z|k(e?)v"  # alternatives, formulas over m/z, the keV of fast atom bombardment


class Fields:
    """The fields of an entry by meaning. Only letters and digits of a name count: "PRECURSOR_M/Z" is "precursormz"."""

    def __init__(self, fields: Mapping[str, str]):
        self._values = {}
        for key, value in fields.items():
            if value.strip().lower() not in _MISSING:
                self._values.setdefault(re.sub("[^a-z0-9]", "", key.lower()), value.strip())

    def all(self, *spellings: str) -> list[str]:
        """Texts of the fields that are given, in the order of `spellings`."""
        return [self._values[spelling] for spelling in spellings if spelling in self._values]

    def first(self, *spellings: str) -> str | None:
        """Text of the first field that is given, the most trusted spelling first; None if there is none."""
        return next(iter(self.all(*spellings)), None)


def read_identifier(fields: Fields) -> str | None:
    names = fields.all("featureid", "accession", "spectrumid", "db", "scans", "title", "name", "compoundname")
    names += fields.all("id", "identifier")
    return next((name for name in names if name != "-1"), None)  # GNPS writes SCANS=-1 for none


def read_ms_level(fields: Fields) -> int | None:
    text = fields.first("mslevel", "mstype", "spectrumtype") or ""
    if text.upper() == "MS":  # MassBank's word for level 1
        return 1
    if text.upper() in ("MS/MS", "MSMS"):
        return 2
    level = re.search(r"\d+", text)
    return int(level[0]) if level else None


def read_precursor_mz(fields: Fields) -> float:
    """Precursor m/z in Da, from "195.0877" as from "195.0877 1000" (m/z, intensity). Raises ValueError."""
    text = fields.first("precursormz", "pepmass", "selectedionmz", "isolationwindowtargetmz")
    if text is None:
        raise ValueError("no precursor m/z")
    try:
        precursor_mz = float(text.strip("[]() ").replace(", ", " ").split()[0])
    except (ValueError, IndexError):
        raise ValueError(f"the precursor m/z is not a number: {text!r}") from None
    if not 0 < precursor_mz <= MAX_PRECURSOR_MZ:
        raise ValueError(f"the precursor m/z is {precursor_mz:g} Da, expected 0 to {MAX_PRECURSOR_MZ:g}")
    return precursor_mz


def read_ion(fields: Fields) -> tuple[str, str, list[str]]:
    """Adduct, ion mode and what had to be assumed, from the fields for adduct, ion mode and charge."""
    remarks = []
    text = fields.first("adduct", "precursortype", "iontype", "ion") or ""
    adduct = normalize_adduct(text)
    charge = re.match(r"([+-]?)(\d+)([+-]?)", fields.first("charge", "precursorcharge", "chargestate") or "")
    mode = fields.first("ionmode", "polarity", "ionizationmode") or ""
    ion_mode = (
        _ION_MODES.get(mode[:3].lower())
        or (adduct and ADDUCTS[adduct].ion_mode)
        or (charge and _ION_MODES.get(charge[1] or charge[3]))
        or _ION_MODES.get(text[-1:])
    )
    if ion_mode is None:
        ion_mode = "positive"
        remarks.append("give no ion mode: positive assumed")

    if adduct and ADDUCTS[adduct].ion_mode != ion_mode:
        ion_mode = ADDUCTS[adduct].ion_mode
        remarks.append("give an ion mode against their adduct: the adduct is trusted")
    elif text and not adduct:
        adduct = text
        remarks.append("have an adduct unknown to spec2mol: kept as it is")
    elif not adduct:
        number, sign = int(charge[2]) if charge else 1, "-" if ion_mode == "negative" else "+"
        adduct = f"[M{sign}{number}H]{number}{sign}" if number > 1 else f"[M{sign}H]{sign}"
        remarks.append(f"give no adduct: {adduct} assumed from the ion mode")
    return adduct, ion_mode, remarks


def read_instrument_type(fields: Fields) -> str | None:
    """QTOF, Orbitrap, ITTOF, FT-ICR, or None; from the type before the name, as in "LC-ESI-QTOF" and "Q Exactive"."""
    texts = fields.all("instrumenttype", "sourceinstrument", "instrument", "instrumentname")
    texts = [text.lower().replace("_", " ") for text in texts]
    if any(re.search(_INSTRUMENTS["FT-ICR"], text) for text in texts):  # the type LC-ESI-ITFT is for both FT analyzers
        return "FT-ICR"
    for text in texts:
        for instrument_type, pattern in _INSTRUMENTS.items():
            if re.search(pattern, text):
                return instrument_type
    return None


def read_collision_energy(fields: Fields, precursor_mz: float, instrument_type: str | None) -> float | None:
    """Collision energy in eV, the mean of a ramp or of steps; None if there is none or it cannot be told.

    A normalised energy (%, NCE, nominal, HCD, or any bare number of an Orbitrap) is NCE · m/z / 500. That of a trap
    (ITTOF, FT-ICR, CID in an Orbitrap instrument) has no equivalent in eV.
    """
    text = fields.first("collisionenergy")
    if text is None and (text := fields.first("normalizedcollisionenergy")):
        text += " NCE"
    text = (text or "").lower()
    energies = re.findall(r"\d+(?:\.\d+)?", text)
    if not energies or re.search(_UNREADABLE_ENERGY, text):
        return None
    in_volts = re.findall(r"(\d+(?:\.\d+)?)\s*(?:e?v|electronvolt)", text)
    normalised = re.search(r"%|nce|nominal|normali|hcd", text) is not None
    if in_volts and normalised:  # "35 eV (HCD, NCE 20 %)"
        energies = in_volts
    energy = sum(float(energy) for energy in energies) / len(energies)
    if not in_volts and (normalised or instrument_type == "Orbitrap"):
        fragmentation = (fields.first("fragmentationmode", "fragmentationmethod", "activation") or text).lower()
        if instrument_type in ("ITTOF", "FT-ICR") or (instrument_type == "Orbitrap" and "cid" in fragmentation):
            return None
        energy *= precursor_mz / 500
    return energy if math.isfinite(energy) else None


def read_formula(fields: Fields) -> tuple[str | None, list[str]]:
    """As it stands there, also of a salt or of elements that spec2mol does not know: whoever asks for it must be told.
    None, with a remark, for what is no formula."""
    text = fields.first("formula", "molecularformula")
    if text is None:
        return None, []
    text = re.sub("[·•*]", ".", text)
    return (text, []) if _FORMULA.fullmatch(text) else (None, ["give a formula that cannot be read: ignored"])


def read_peaks(entry: Entry) -> tuple[np.ndarray, np.ndarray]:
    """m/z (Da, ascending) and intensities, float64 `(peaks,)` each. Raises ValueError if they are no spectrum."""
    if len(entry.mzs) != len(entry.intensities):
        raise ValueError(f"{len(entry.mzs)} m/z values but {len(entry.intensities)} intensities: truncated or damaged")
    if len(entry.mzs) == 0:
        raise ValueError("no peaks")
    try:
        mzs, intensities = (np.array(column, dtype=np.float64) for column in (entry.mzs, entry.intensities))
    except (ValueError, TypeError, OverflowError) as error:
        raise ValueError(f"a peak is not a pair of numbers: {error}") from None
    if mzs.ndim != 1 or intensities.ndim != 1:
        raise ValueError("a peak is not a pair of numbers")
    if not (np.isfinite(mzs).all() and np.isfinite(intensities).all()):
        raise ValueError("NaN or infinite m/z or intensity")
    if mzs.min() <= 0:
        raise ValueError(f"m/z of {mzs.min():g}, expected more than 0")
    if intensities.min() < 0:
        raise ValueError(f"negative intensity {intensities.min():g}")
    if intensities.max() == 0:
        raise ValueError("all intensities are zero")
    order = np.argsort(mzs, kind="stable")
    return mzs[order], intensities[order]


def normalize_entry(entry: Entry, fields: Fields, identifier: str) -> tuple[dict, list[str]]:
    """The spectrum as a dict (see `load_spectra`) and remarks on what had to be assumed. Raises ValueError with the
    reason, in plain words, if the entry is no usable spectrum."""
    if entry.problem:
        raise ValueError(entry.problem)
    mzs, intensities = read_peaks(entry)
    precursor_mz = read_precursor_mz(fields)
    adduct, ion_mode, remarks = read_ion(fields)
    formula, of_formula = read_formula(fields)
    instrument_type = read_instrument_type(fields)
    spectrum = {
        "identifier": identifier,
        "mzs": mzs,
        "intensities": intensities,
        "precursor_mz": precursor_mz,
        "adduct": adduct,
        "ion_mode": ion_mode,
        "collision_energy": read_collision_energy(fields, precursor_mz, instrument_type),
        "instrument_type": instrument_type,
        "formula": formula,
        "metadata": dict(entry.fields),
    }
    return spectrum, remarks + of_formula
