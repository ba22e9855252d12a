"""What the spellings of a field mean. The rules for energies and instruments are those of the training data."""

import numpy as np
import pytest

from spec2mol.spectra.entry import Entry
from spec2mol.spectra.normalize import (
    Fields,
    normalize_entry,
    read_collision_energy,
    read_identifier,
    read_instrument_type,
    read_ion,
    read_ms_level,
    read_precursor_mz,
)

PRECURSOR_MZ = 250.0  # NCE 30 is 15 eV here


def normalize(mzs=(50.0, 60.0), intensities=(1.0, 2.0), **fields):
    fields = {"pepmass": "250.0"} | fields
    return normalize_entry(Entry(fields, mzs, intensities), Fields(fields), "x")


def energy(text, instrument_type=None, **fields):
    return read_collision_energy(Fields({"collision_energy": text, **fields}), PRECURSOR_MZ, instrument_type)


@pytest.mark.parametrize(
    "text", ["20", "20.0", "20 eV", "20eV", "20 ev", "20V", "20 V", "-20 V", "CE20", "20 electronvolt"]
)
def test_energies_in_volts(text):
    assert energy(text) == 20.0


@pytest.mark.parametrize(
    "text",
    ["30 (NCE)", "30(NCE)", "NCE 30", "30 %", "30 % (nominal)", "30  (nominal)", "30 % HCD", "HCD 30", "HCD; 30%"],
)
def test_normalised_energies_become_ev_by_precursor_mz(text):
    assert energy(text) == pytest.approx(15.0)


@pytest.mark.parametrize(
    ("text", "mean"),
    [
        ("20-40 eV", 30),
        ("Ramp 21.1-31.6 eV", 26.35),
        ("10, 20, 60", 30),
        ("[20.0, 40.0]", 30),
        ("10/20/30 V", 20),
        ("20,40,60% (stepped)", 20),
        ("35 eV (HCD, NCE 20-30-40%)", 35),
    ],
)
def test_ramps_and_steps_give_their_mean(text, mean):
    assert energy(text) == pytest.approx(mean)


@pytest.mark.parametrize(
    "text", ["", "N/A", "low", "8 keV", "20 kV", "15, 30 or 45 (nominal)", "scaled by m/z", "160-0.41mz", "9" * 400]
)
def test_energies_that_cannot_be_told(text):
    assert energy(text) is None


def test_bare_number_is_normalised_on_an_orbitrap_and_ev_elsewhere():
    assert energy("30", "Orbitrap") == pytest.approx(15.0)
    assert energy("30 eV", "Orbitrap") == 30.0
    assert energy("30", "QTOF") == 30.0


def test_normalised_energy_of_an_ion_trap_has_no_ev():
    assert energy("35 % (nominal)", "Orbitrap", fragmentation_mode="CID") is None
    assert energy("35 % (nominal)", "Orbitrap", fragmentation_mode="HCD") == pytest.approx(17.5)
    assert energy("120 %", "ITTOF") is None


@pytest.mark.parametrize(
    ("text", "instrument_type"),
    [
        ("LC-ESI-QTOF", "QTOF"),
        ("LC-ESI-qToF", "QTOF"),
        ("maXis plus UHR-ToF-MS", "QTOF"),
        ("micrOTOF-Q", "QTOF"),
        ("Micromass Q-TOF II", "QTOF"),
        ("TripleTOF 5600 SCIEX", "QTOF"),
        ("quadrupole time-of-flight", "QTOF"),
        ("LC-ESI-ITFT", "Orbitrap"),
        ("LC-ESI-QFT", "Orbitrap"),
        ("Q-Exactive Plus", "Orbitrap"),
        ("Q_Exactive", "Orbitrap"),
        ("Orbitrap ID-X", "Orbitrap"),
        ("LC-ESI-ITTOF", "ITTOF"),
        ("LCMS-IT-TOF", "ITTOF"),
        ("FT-ICR", "FT-ICR"),
        ("Bruker solariX FTICR", "FT-ICR"),
        ("LTQ FT Ultra", "FT-ICR"),
        ("LC-ESI-QQQ", None),
        ("Xevo TQ-S", None),
        ("Ion Trap", None),
        ("", None),
    ],
)
def test_instrument_types(text, instrument_type):
    assert read_instrument_type(Fields({"Source_Instrument": text})) == instrument_type


def test_instrument_type_field_decides_before_the_name():
    assert read_instrument_type(Fields({"instrument": "Q-Exactive HF", "instrument_type": "LC-ESI-QTOF"})) == "QTOF"
    assert read_instrument_type(Fields({"instrument": "APEX FT-ICR", "instrument_type": "ESI-ITFT"})) == "FT-ICR"


NO_ADDUCT = "give no adduct: {} assumed from the ion mode"


@pytest.mark.parametrize(
    ("fields", "adduct", "ion_mode", "remarks"),
    [
        ({"adduct": "[M+H]+", "ionmode": "positive"}, "[M+H]+", "positive", []),
        ({"PRECURSORTYPE": "M-H"}, "[M-H]-", "negative", []),
        ({"Precursor_type": "[M+FA-H]-"}, "[M+HCOO]-", "negative", []),
        ({"ION": "[M+Na]1+"}, "[M+Na]+", "positive", []),
        ({"ionmode": "Positive"}, "[M+H]+", "positive", [NO_ADDUCT.format("[M+H]+")]),
        ({"Ion_mode": "N"}, "[M-H]-", "negative", [NO_ADDUCT.format("[M-H]-")]),
        ({"ion mode": "negative", "adduct": "N/A"}, "[M-H]-", "negative", [NO_ADDUCT.format("[M-H]-")]),
        ({"charge": "1-"}, "[M-H]-", "negative", [NO_ADDUCT.format("[M-H]-")]),
        ({"charge": "-1"}, "[M-H]-", "negative", [NO_ADDUCT.format("[M-H]-")]),
        ({"charge": "1+"}, "[M+H]+", "positive", [NO_ADDUCT.format("[M+H]+")]),
        ({"charge": "2+"}, "[M+2H]2+", "positive", [NO_ADDUCT.format("[M+2H]2+")]),
        ({"charge": "1"}, "[M+H]+", "positive", ["give no ion mode: positive assumed", NO_ADDUCT.format("[M+H]+")]),
        ({}, "[M+H]+", "positive", ["give no ion mode: positive assumed", NO_ADDUCT.format("[M+H]+")]),
        ({"adduct": " [M+Xy]- "}, "[M+Xy]-", "negative", ["have an adduct unknown to spec2mol: kept as it is"]),
        (
            {"adduct": "[M+H]+", "ionmode": "negative"},
            "[M+H]+",
            "positive",
            ["give an ion mode against their adduct: the adduct is trusted"],
        ),
    ],
)
def test_adduct_and_ion_mode(fields, adduct, ion_mode, remarks):
    assert read_ion(Fields(fields)) == (adduct, ion_mode, remarks)


@pytest.mark.parametrize(
    "key", ["PEPMASS", "PRECURSOR_MZ", "PRECURSORMZ", "PrecursorMZ", "precursor_m/z", "selected ion m/z"]
)
@pytest.mark.parametrize("text", ["195.0877", "195.0877 1000", "(195.0877, None)", "1.950877e2"])
def test_precursor_mz(key, text):
    assert read_precursor_mz(Fields({key: text})) == pytest.approx(195.0877)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "no precursor m/z"),
        ("nan", "no precursor m/z"),
        ("0", "the precursor m/z is 0 Da"),
        ("-195.1", "the precursor m/z is -195.1 Da"),
        ("10001", "the precursor m/z is 10001 Da"),
        ("inf", "the precursor m/z is inf Da"),
        ("+nan", "the precursor m/z is nan Da"),
        ("195,0877", "not a number: '195,0877'"),
        ("()", "not a number"),
    ],
)
def test_absurd_precursor_mz(text, reason):
    with pytest.raises(ValueError, match=reason):
        read_precursor_mz(Fields({"pepmass": text}))


@pytest.mark.parametrize(
    ("text", "level"), [("1", 1), ("2", 2), ("MS", 1), ("MS2", 2), ("MS3", 3), ("MS/MS", 2), ("Centroid", None)]
)
def test_ms_level(text, level):
    assert read_ms_level(Fields({"Spectrum_type": text})) == level


def test_identifier_is_the_most_specific_name():
    fields = {"name": "Caffeine", "title": "run.5", "scans": "12", "feature_id": "7"}
    for expected in ("7", "12", "run.5", "Caffeine"):
        assert read_identifier(Fields(fields)) == expected
        fields.popitem()
    assert read_identifier(Fields({"SCANS": "-1"})) is None


@pytest.mark.parametrize(
    ("text", "formula"),
    [
        ("C8H10N4O2", "C8H10N4O2"),
        (" C2H6O ", "C2H6O"),
        ("C5H14NO+", "C5H14NO+"),
        ("CH5AsO3", "CH5AsO3"),
        ("C8H10N4O2.HCl", "C8H10N4O2.HCl"),
        ("C8H10N4O2·2H2O", "C8H10N4O2.2H2O"),
        ("N/A", None),
    ],
)
def test_formula(text, formula):
    spectrum, remarks = normalize(formula=text, adduct="[M+H]+")
    assert spectrum["formula"] == formula and not remarks


@pytest.mark.parametrize("text", ["coffee", "Caffeine", "C8H10N4O2.", "[13C]C7H10", "C" * 60 + "!"])
def test_what_is_no_formula_is_ignored_and_said_to_be(text):
    spectrum, remarks = normalize(formula=text, adduct="[M+H]+")
    assert spectrum["formula"] is None and remarks == ["give a formula that cannot be read: ignored"]


def test_peaks_are_sorted_by_mz_together():
    spectrum, _ = normalize(("60.5", "50.5", "55"), ("1", "2e3", "0"))
    np.testing.assert_array_equal(spectrum["mzs"], [50.5, 55.0, 60.5])
    np.testing.assert_array_equal(spectrum["intensities"], [2000.0, 0.0, 1.0])


@pytest.mark.parametrize(
    ("mzs", "intensities", "reason"),
    [
        ([], [], "no peaks"),
        ([50.0, 60.0], [1.0], "2 m/z values but 1 intensities"),
        (["50.0", "6o.0"], ["1", "2"], "not a pair of numbers.*6o.0"),
        ([50.0, [1.0]], [1.0, 1.0], "not a pair of numbers"),
        (["nan"], ["1"], "NaN or infinite"),
        (["50"], ["inf"], "NaN or infinite"),
        ([50.0, -1.0], [1.0, 1.0], "m/z of -1, expected more than 0"),
        ([0.0], [1.0], "m/z of 0, expected more than 0"),
        ([50.0, 60.0], [1.0, -3.0], "negative intensity -3"),
        ([50.0, 60.0], [0.0, 0.0], "all intensities are zero"),
    ],
)
def test_unusable_peaks_are_named(mzs, intensities, reason):
    with pytest.raises(ValueError, match=reason):
        normalize(mzs, intensities)
