"""What each file format gives: one caffeine spectrum, written the way the programs of the field write it."""

import base64
import json
import struct
import zlib

import numpy as np
import pytest

from spec2mol.spectra import load_spectra

MZS = [69.0447, 110.0713, 138.0662, 195.0877]
INTENSITIES = [10.0, 35.0, 100.0, 40.0]


def peaks(separator=" ", end="\n"):
    return "".join(f"{mz}{separator}{intensity}{end}" for mz, intensity in zip(MZS, INTENSITIES, strict=True))


def mgf(**fields):
    lines = "".join(f"{key}={value}\n" for key, value in fields.items())
    return f"BEGIN IONS\n{lines}{peaks()}END IONS\n\n"


def msp(peak_text=None, **fields):
    lines = "".join(f"{key.replace('_', ' ')}: {value}\n" for key, value in fields.items())
    return f"{lines}Num Peaks: 4\n{peaks(chr(9)) if peak_text is None else peak_text}\n"


def massbank(accession="MSBNK-Test-1", peak_count=4, extra=""):
    table = "".join(f"  {mz} {10 * i:.0f} {i:.0f}\n" for mz, i in zip(MZS, INTENSITIES, strict=True))
    return f"""ACCESSION: {accession}
RECORD_TITLE: Caffeine; LC-ESI-QFT; MS2
CH$NAME: Caffeine
CH$NAME: 1,3,7-Trimethylxanthine
CH$FORMULA: C8H10N4O2
CH$SMILES: Cn1cnc2c1c(=O)n(C)c(=O)n2C
CH$LINK: INCHIKEY RYYVLZVUVIJVGH-UHFFFAOYSA-N
AC$INSTRUMENT: Q Exactive Plus Orbitrap Thermo Scientific
AC$INSTRUMENT_TYPE: LC-ESI-QFT
AC$MASS_SPECTROMETRY: MS_TYPE MS2
AC$MASS_SPECTROMETRY: ION_MODE POSITIVE
AC$MASS_SPECTROMETRY: FRAGMENTATION_MODE HCD
AC$MASS_SPECTROMETRY: COLLISION_ENERGY 30 % (nominal)
MS$FOCUSED_ION: BASE_PEAK 138.0662
MS$FOCUSED_ION: PRECURSOR_M/Z 195.0877
MS$FOCUSED_ION: PRECURSOR_TYPE [M+H]+
{extra}PK$ANNOTATION: m/z tentative_formula
  138.0662 C6H8N3O+
PK$NUM_PEAK: {peak_count}
PK$PEAK: m/z int. rel.int.
{table}//
"""


def binary_array(values, name, compress=True, dtype="d"):
    data = struct.pack(f"<{len(values)}{dtype}", *values)
    text = base64.b64encode(zlib.compress(data) if compress else data).decode()
    return f"""<binaryDataArray encodedLength="{len(text)}">
      <cvParam cvRef="MS" name="{"64" if dtype == "d" else "32"}-bit float"/>
      <cvParam cvRef="MS" name="{"zlib compression" if compress else "no compression"}"/>
      <cvParam cvRef="MS" name="{name}"/><binary>{text}</binary></binaryDataArray>"""


def mzml_scan(scan=1, level=2, arrays=None, polarity="positive"):
    if arrays is None:
        arrays = binary_array(MZS, "m/z array") + binary_array(
            INTENSITIES, "intensity array", compress=False, dtype="f"
        )
    precursor = """<precursorList count="1"><precursor><selectedIonList count="1"><selectedIon>
      <cvParam cvRef="MS" name="selected ion m/z" value="195.0877"/><cvParam cvRef="MS" name="charge state" value="1"/>
      </selectedIon></selectedIonList><activation>
      <cvParam cvRef="MS" name="beam-type collision-induced dissociation"/>
      <cvParam cvRef="MS" name="collision energy" value="30.0"/></activation></precursor></precursorList>"""
    return f"""<spectrum id="scan={scan}" index="{scan - 1}" defaultArrayLength="4">
      <cvParam cvRef="MS" name="ms level" value="{level}"/><cvParam cvRef="MS" name="{polarity} scan"/>
      <scanList><scan><cvParam cvRef="MS" name="scan start time" value="1.5"/></scan></scanList>
      {precursor if level > 1 else ""}<binaryDataArrayList count="2">{arrays}</binaryDataArrayList></spectrum>"""


def mzml(*scans, model="Q Exactive"):
    return f"""<?xml version="1.0" encoding="utf-8"?>
    <mzML xmlns="http://psi.hupo.org/ms/mzml" version="1.1.0">
    <referenceableParamGroupList count="1"><referenceableParamGroup id="common">
      <cvParam cvRef="MS" name="{model}"/></referenceableParamGroup></referenceableParamGroupList>
    <instrumentConfigurationList count="1"><instrumentConfiguration id="IC1">
      <referenceableParamGroupRef ref="common"/><componentList count="1"><analyzer order="1">
      <cvParam cvRef="MS" name="quadrupole"/></analyzer></componentList></instrumentConfiguration>
    </instrumentConfigurationList>
    <run id="run" defaultInstrumentConfigurationRef="IC1"><spectrumList count="{len(scans)}">
    {"".join(scans)}</spectrumList></run></mzML>"""


def gnps(**changes):
    entry = {"spectrum_id": "CCMSLIB1", "Precursor_MZ": "195.0877", "Adduct": "M+H", "Ion_Mode": "Positive"}
    return entry | {"peaks_json": json.dumps(list(zip(MZS, INTENSITIES, strict=True)))} | changes


def one(reader):
    (spectrum,) = reader
    return spectrum


def assert_caffeine(spectrum):
    np.testing.assert_allclose(spectrum["mzs"], MZS)
    np.testing.assert_allclose(spectrum["intensities"] / spectrum["intensities"].max(), np.divide(INTENSITIES, 100))
    assert spectrum["precursor_mz"] == 195.0877
    assert (spectrum["adduct"], spectrum["ion_mode"]) == ("[M+H]+", "positive")


KEYS = ["identifier", "mzs", "intensities", "precursor_mz", "adduct", "ion_mode", "collision_energy"]
KEYS += ["instrument_type", "formula", "metadata"]
MINIMAL_FILES = {
    "a.mgf": mgf(PEPMASS="195.0877"),
    "a.msp": msp(Name="Caffeine", PrecursorMZ="195.0877"),
    "a.txt": massbank(),
    "a.massbank": massbank(),
    "a.mzML": mzml(mzml_scan()),
    "a.json": json.dumps([gnps()]),
}


@pytest.mark.parametrize("name", MINIMAL_FILES)
@pytest.mark.parametrize("ending", ["", ".gz"])
def test_every_format_gives_the_same_columns_plain_and_gzipped(write, name, ending):
    spectrum = one(load_spectra(str(write(name + ending, MINIMAL_FILES[name]))))
    assert list(spectrum) == KEYS
    assert_caffeine(spectrum)
    assert spectrum["mzs"].dtype == spectrum["intensities"].dtype == np.float64
    assert all(isinstance(text, str) for item in spectrum["metadata"].items() for text in item)


# mgf


def test_mgf_fields(write):
    fields = dict(FEATURE_ID=7, SCANS=12, PEPMASS="195.0877 1000", CHARGE="1+", IONMODE="positive", ADDUCT="M+H")
    fields |= dict(COLLISION_ENERGY="20 eV", INSTRUMENT_TYPE="LC-ESI-QTOF", FORMULA="C8H10N4O2", SMILES="CN=C")
    spectrum = one(load_spectra(write("a.mgf", mgf(**fields))))
    assert_caffeine(spectrum)
    assert spectrum["identifier"] == "7"
    assert spectrum["collision_energy"] == 20.0
    assert spectrum["instrument_type"] == "QTOF"
    assert spectrum["formula"] == "C8H10N4O2"
    assert spectrum["metadata"] == {key.lower(): str(value) for key, value in fields.items()}


def test_mgf_as_mzmine_exports_it(write):
    """MS1 and MS2 blocks of a feature share its FEATURE_ID."""
    blocks = [mgf(FEATURE_ID=i, PEPMASS=195.0877, MSLEVEL=level, CHARGE="1+") for i in (1, 2) for level in (1, 2)]
    reader = load_spectra(write("a.mgf", "".join(blocks)))
    assert [spectrum["identifier"] for spectrum in reader] == ["1", "2"]
    assert reader.not_ms2 == 2
    assert reader.skipped == []


def test_mgf_parameters_before_the_first_block_hold_for_all(write):
    text = "CHARGE=1-\nITOL=5\n" + mgf(PEPMASS=195.0877) + mgf(PEPMASS=195.0877, CHARGE="1+")
    assert [spectrum["ion_mode"] for spectrum in load_spectra(write("a.mgf", text))] == ["negative", "positive"]


def test_mgf_comments_windows_line_ends_and_latin_1_names(write):
    text = "# made by hand\n" + mgf(PEPMASS=195.0877, NAME="caféine").replace("\n", "\r\n")
    spectrum = one(load_spectra(write("a.mgf", text.encode("latin-1"))))
    assert_caffeine(spectrum)
    assert spectrum["identifier"] == "caf\ufffdine"


def test_unreadable_charge_costs_nothing(write):
    assert_caffeine(one(load_spectra(write("a.mgf", mgf(PEPMASS=195.0877, CHARGE="N/A")))))


@pytest.mark.parametrize("line", ["BEGIN IONS", "END IONS"])
def test_mgf_entry_without_begin_or_end_is_skipped_and_the_next_is_read(write, line):
    broken = mgf(FEATURE_ID=1, PEPMASS=195.0877).replace(line + "\n", "")
    reader = load_spectra(write("a.mgf", mgf(FEATURE_ID=0, PEPMASS=100) + broken + mgf(FEATURE_ID=2, PEPMASS=100)))
    assert [spectrum["identifier"] for spectrum in reader] == ["0", "2"]
    ((index, identifier, reason),) = reader.skipped
    assert (index, identifier) == (1, "1")
    assert f"no {line}" in reason


# msp


def test_msp_as_mona_writes_it(write):
    text = msp(
        Name="Caffeine",
        Precursor_type="[M+H]+",
        Spectrum_type="MS2",
        PrecursorMZ="195.0877",
        Instrument_type="LC-ESI-QFT",
        Ion_mode="P",
        Collision_energy="30 (NCE)",
        Formula="C8H10N4O2",
        Comments='"SMILES=Cn1cnc2c1c(=O)n(C)c(=O)n2C" "author=A. B."',
    )
    spectrum = one(load_spectra(write("a.msp", text)))
    assert_caffeine(spectrum)
    assert spectrum["identifier"] == "Caffeine"
    assert spectrum["instrument_type"] == "Orbitrap"
    assert spectrum["collision_energy"] == pytest.approx(30 * 195.0877 / 500)
    assert spectrum["metadata"]["smiles"] == "Cn1cnc2c1c(=O)n(C)c(=O)n2C"


@pytest.mark.parametrize(
    "peak_text",
    [
        peaks(" ", "; ") + "\n",
        peaks(" ", " ") + "\n",
        peaks(":", " ") + "\n",
        peaks("\t", ' "C6H8N3O+; loss: CH3NCO"\n'),
        peaks(" ", " C6H8N3O+\n"),
    ],
    ids=["semicolons", "one line", "colons", "quoted annotations", "bare annotations"],
)
def test_msp_peak_layouts(write, peak_text):
    assert_caffeine(one(load_spectra(write("a.msp", msp(peak_text, Name="Caffeine", PrecursorMZ="195.0877")))))


def test_msp_entries_need_no_blank_line_between_them(write):
    text = msp(Name="A", PrecursorMZ="195.0877").strip() + "\n" + msp(NAME="B", PrecursorMZ="195.0877")
    assert [spectrum["identifier"] for spectrum in load_spectra(write("a.msp", text))] == ["A", "B"]


def test_msp_with_fewer_peaks_than_announced_is_skipped(write):
    good = msp(Name="A", PrecursorMZ="195.0877")
    reader = load_spectra(
        write("a.msp", good + good.replace("Name: A", "Name: B").replace("138.0662\t100.0\n", "") + good)
    )
    assert [spectrum["identifier"] for spectrum in reader] == ["A", "A"]
    assert reader.skipped[0].identifier == "B"
    assert "4 peaks announced but 3 found" in reader.skipped[0].reason


# MassBank


def test_massbank_record(write):
    spectrum = one(load_spectra(write("MSBNK-Test-1.txt", massbank())))
    assert_caffeine(spectrum)
    assert spectrum["identifier"] == "MSBNK-Test-1"
    assert spectrum["instrument_type"] == "Orbitrap"
    assert spectrum["collision_energy"] == pytest.approx(30 * 195.0877 / 500)
    assert spectrum["formula"] == "C8H10N4O2"
    expected = {"name": "Caffeine; 1,3,7-Trimethylxanthine", "ms_type": "MS2", "precursor_type": "[M+H]+"}
    assert expected.items() <= spectrum["metadata"].items()
    assert spectrum["metadata"]["inchikey"] == "RYYVLZVUVIJVGH-UHFFFAOYSA-N"


def test_massbank_many_records_of_all_levels(write):
    text = (
        massbank("A")
        + massbank("B").replace("MS_TYPE MS2", "MS_TYPE MS")
        + massbank("C", peak_count=9)
        + massbank("D")
    )
    reader = load_spectra(write("all.txt", text))
    assert [spectrum["identifier"] for spectrum in reader] == ["A", "D"]
    assert reader.not_ms2 == 1
    assert [skipped[:2] for skipped in reader.skipped] == [(2, "C")]


# mzML


def test_mzml_scan(write):
    spectrum = one(load_spectra(write("a.mzML", mzml(mzml_scan(scan=3, polarity="negative")))))
    assert spectrum["identifier"] == "scan=3"
    assert spectrum["ion_mode"] == "negative"
    assert spectrum["adduct"] == "[M-H]-"
    assert spectrum["instrument_type"] == "Orbitrap"
    assert spectrum["collision_energy"] == pytest.approx(30 * 195.0877 / 500)  # Orbitraps write NCE
    assert spectrum["metadata"]["scan start time"] == "1.5"


def test_mzml_other_levels_are_counted_not_skipped(write):
    reader = load_spectra(
        write("a.mzML", mzml(*(mzml_scan(scan, level) for scan, level in enumerate([1, 2, 3, 2], 1))))
    )
    assert [spectrum["identifier"] for spectrum in reader] == ["scan=2", "scan=4"]
    assert (reader.count, reader.not_ms2, reader.skipped) == (2, 2, [])


@pytest.mark.parametrize(
    ("arrays", "reason"),
    [
        (binary_array(MZS, "m/z array").replace("eJ", "!!"), "unreadable peak array"),
        (
            binary_array(MZS, "m/z array").replace("zlib compression", "MS-Numpress secret compression"),
            "not supported",
        ),
        (binary_array(MZS, "m/z array"), "4 m/z values but 0 intensities"),
        ("", "no peaks"),
    ],
)
def test_mzml_bad_scan_costs_only_itself(write, arrays, reason):
    reader = load_spectra(write("a.mzML", mzml(mzml_scan(1), mzml_scan(2, arrays=arrays), mzml_scan(3))))
    assert [spectrum["identifier"] for spectrum in reader] == ["scan=1", "scan=3"]
    assert reader.skipped[0].identifier == "scan=2"
    assert reason in reader.skipped[0].reason


# json


def test_json_of_gnps(write):
    spectrum = one(load_spectra(write("a.json", json.dumps([gnps(Smiles="CN=C", ms_level="2", Charge=1)], indent=1))))
    assert_caffeine(spectrum)
    assert spectrum["identifier"] == "CCMSLIB1"
    assert spectrum["metadata"]["smiles"] == "CN=C"
    assert "peaks_json" not in spectrum["metadata"]


@pytest.mark.parametrize(
    "columns",
    [
        {"peaks_json": list(zip(MZS, INTENSITIES, strict=True))},
        {"peaks": list(zip(MZS, INTENSITIES, strict=True))},
        {"mzs": MZS, "intensities": INTENSITIES},
    ],
    ids=lambda columns: "+".join(columns),
)
def test_json_peak_layouts(write, columns):
    entry = gnps()
    del entry["peaks_json"]
    assert_caffeine(one(load_spectra(write("a.json", json.dumps([entry | columns])))))


def test_json_one_spectrum_without_an_array(write):
    assert_caffeine(one(load_spectra(write("a.json", json.dumps(gnps())))))


def test_json_braces_and_quotes_inside_strings(write):
    entries = [gnps(spectrum_id=name) for name in ('a{"', "b}\\", "c]")]
    assert [s["identifier"] for s in load_spectra(write("a.json", json.dumps(entries)))] == ['a{"', "b}\\", "c]"]


def test_json_entries_longer_than_the_read_buffer(write):
    entries = [gnps(spectrum_id=str(i), comment="x{" * 50_000) for i in range(3)]
    assert [s["identifier"] for s in load_spectra(write("a.json", json.dumps(entries)))] == ["0", "1", "2"]


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        ('{"spectrum_id": oops}', "not valid JSON"),
        ('{"spectrum_id": "no end quote,\n "a": 1}', "not valid JSON"),
        ("[1, 2]", "not"),
        (json.dumps(gnps(peaks_json=[[100.0, float("nan")]])), "NaN"),
        (json.dumps(gnps(peaks_json=[[100.0]])), "not a list of pairs"),
        (json.dumps(gnps(peaks_json="[[100.0, 1.0")), "not a list of pairs"),
        (json.dumps(gnps(peaks_json=[["a", 1.0]])), "not a pair of numbers"),
        (json.dumps(gnps(peaks_json=[[{}, 1.0]])), "not a pair of numbers"),
        (json.dumps({"precursor_mz": 1, "mzs": 5, "intensities": [1]}), "not a list"),
    ],
)
def test_json_bad_entry_costs_only_itself(write, bad, reason):
    good = json.dumps(gnps())
    reader = load_spectra(write("a.json", f"[{good},\n{bad},\n{good}]"))
    assert len(list(reader)) == 2
    assert [skipped.index for skipped in reader.skipped] == [1]
    assert reason in reader.skipped[0].reason
