"""load_spectra as a whole: nothing is lost without a word, and no file is too large."""

import gzip
import json
import logging
import tracemalloc

import pytest

from spec2mol.spectra import Skipped, SpectrumError, SpectrumReader, load_spectra


def mgf(feature_id="", pepmass="195.0877", peaks="138.0662 100\n110.0713 35\n", **fields):
    fields = {"FEATURE_ID": feature_id, "PEPMASS": pepmass, "ADDUCT": "[M+H]+"} | fields
    lines = "".join(f"{key}={value}\n" for key, value in fields.items())
    return f"BEGIN IONS\n{lines}{peaks}END IONS\n\n"


GOOD = mgf("good")


def identifiers(reader):
    return [spectrum["identifier"] for spectrum in reader]


def test_reader_is_an_iterator_with_its_counts_up_to_date(write):
    path = write("a.mgf", mgf("1") + mgf("2", peaks="") + mgf("3"))
    reader = load_spectra(path)
    assert isinstance(reader, SpectrumReader)
    assert reader.path == path
    assert (next(reader)["identifier"], reader.count, reader.skipped) == ("1", 1, [])
    assert (next(reader)["identifier"], reader.count) == ("3", 2)
    assert reader.skipped == [Skipped(1, "2", "no peaks")]
    assert list(reader) == []


def test_nameless_entries_are_numbered_by_their_position(write):
    reader = load_spectra(write("run.1.mgf.gz", mgf() + mgf(peaks="") + mgf()))
    assert identifiers(reader) == ["run.1:0", "run.1:2"]
    assert reader.skipped[0].identifier == "run.1:1"


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (mgf("bad", peaks=""), "no peaks"),
        (mgf("bad", peaks="138.0662\n"), "1 m/z values but 0 intensities"),
        (mgf("bad", peaks="138.0662 1OO\n"), "not a pair of numbers"),
        (mgf("bad", peaks="nan 100\n"), "NaN or infinite"),
        (mgf("bad", peaks="-138.0662 100\n"), "expected more than 0"),
        (mgf("bad", peaks="138.0662 -100\n"), "negative intensity"),
        (mgf("bad", peaks="138.0662 0\n"), "all intensities are zero"),
        (mgf("bad", pepmass=""), "no precursor m/z"),
        (mgf("bad", pepmass="20000"), "20000 Da, expected 0 to 10000"),
        (mgf("bad").replace("END IONS\n", ""), "no END IONS"),
    ],
)
def test_bad_entry_is_skipped_with_the_reason_and_the_rest_is_read(write, bad, reason):
    reader = load_spectra(write("a.mgf", GOOD + bad + GOOD))
    assert identifiers(reader) == ["good", "good"]
    ((index, identifier, found),) = reader.skipped
    assert (index, identifier) == (1, "bad")
    assert reason in found
    assert "\n" not in found


# Damaged files: everything before the damage is read, and the damage is in `skipped`.

JSON_ENTRY = json.dumps({"id": "good", "precursor_mz": 195.0877, "peaks": [[138.0662, 100.0]]})
MSP_ENTRY = "NAME: good\nPRECURSORMZ: 195.0877\nNum Peaks: 2\n110.0713 35\n138.0662 100\n\n"
MASSBANK_ENTRY = (
    "ACCESSION: good\nMS$FOCUSED_ION: PRECURSOR_M/Z 195.0877\nPK$NUM_PEAK: 2\nPK$PEAK: m/z int. rel.int.\n"
)
MASSBANK_ENTRY += "  110.0713 350 35\n  138.0662 1000 100\n//\n"
MZML_ENTRY = """<spectrum id="good"><cvParam name="ms level" value="2"/>
  <cvParam name="selected ion m/z" value="195.0877"/><binaryDataArrayList>
  <binaryDataArray><cvParam name="64-bit float"/><cvParam name="m/z array"/>
  <binary>AAAAAAAAWUA=</binary></binaryDataArray>
  <binaryDataArray><cvParam name="64-bit float"/><cvParam name="intensity array"/>
  <binary>AAAAAAAAWUA=</binary></binaryDataArray></binaryDataArrayList></spectrum>"""


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.mgf", GOOD * 2 + GOOD[:80]),
        ("a.msp", MSP_ENTRY * 2 + MSP_ENTRY[:60]),
        ("a.txt", MASSBANK_ENTRY * 2 + MASSBANK_ENTRY[:120]),
        ("a.mzML", f"<mzML><run><spectrumList>{MZML_ENTRY * 2}{MZML_ENTRY[:100]}"),
        ("a.mzML", f"<mzML><run><spectrumList>{MZML_ENTRY * 2}<spectrum id=<<"),
        ("a.json", f"[{JSON_ENTRY},{JSON_ENTRY},{JSON_ENTRY[:40]}"),
        ("a.json", f"[{JSON_ENTRY},{JSON_ENTRY},"),
    ],
)
@pytest.mark.parametrize("ending", ["", ".gz"])
def test_truncated_file_gives_what_comes_before(write, name, text, ending):
    reader = load_spectra(write(name + ending, text))
    assert identifiers(reader) == ["good", "good"]
    ((index, _, reason),) = reader.skipped
    assert index == 2
    assert "truncated" in reason


@pytest.mark.parametrize(
    ("name", "text"),
    [("a.mgf", GOOD), ("a.msp", MSP_ENTRY), ("a.txt", MASSBANK_ENTRY), ("a.json", JSON_ENTRY + "\n")],
)
def test_truncated_gzip_gives_what_comes_before(write, name, text):
    path = write(name + ".gz", text * 500)
    path.write_bytes(path.read_bytes()[:-20])
    reader = load_spectra(path)
    assert 0 < len(identifiers(reader)) < 500
    assert len(reader.skipped) == 1
    assert "the file is truncated or damaged here" in reader.skipped[0].reason


def test_corrupt_gzip_gives_what_comes_before(write):
    path = write("a.mgf.gz", "".join(mgf(str(i), peaks=f"138.{i * 7919 % 10007} {i}\n") for i in range(4_000)))
    data = bytearray(path.read_bytes())
    data[len(data) // 2 :] = b"\xff" * (len(data) - len(data) // 2)
    path.write_bytes(data)
    reader = load_spectra(path)
    assert identifiers(reader)
    assert "the file is truncated or damaged here" in reader.skipped[-1].reason


# Unusable files


def test_missing_file_and_folder(tmp_path):
    with pytest.raises(SpectrumError, match="absent.mgf does not exist: check the path"):
        load_spectra(tmp_path / "absent.mgf")
    with pytest.raises(SpectrumError, match="is a folder: give one of the spectrum files"):
        load_spectra(tmp_path)


@pytest.mark.parametrize("name", ["a.raw", "a", "a.gz", "a.mgf.zip", "a.mzxml"])
def test_unknown_format_names_the_known_ones(write, name):
    with pytest.raises(SpectrumError, match=r"unknown format, expected .*\.mgf, \.msp, \.mzml, .* also with \.gz"):
        load_spectra(write(name, GOOD))


def test_endings_are_not_case_sensitive(write):
    assert identifiers(load_spectra(write("a.MGF", GOOD))) == ["good"]
    path = write("a.mgf.gz", GOOD)
    assert identifiers(load_spectra(path.rename(path.with_name("A.Mgf.GZ")))) == ["good"]


@pytest.mark.parametrize("content", [b"", gzip.compress(b"")], ids=["0 bytes", "gzip of nothing"])
def test_empty_file(tmp_path, content):
    path = tmp_path / "a.mgf.gz"
    path.write_bytes(content)
    with pytest.raises(SpectrumError, match="is empty"):
        load_spectra(path)


def test_empty_plain_file(write):
    with pytest.raises(SpectrumError, match="a.msp is empty"):
        load_spectra(write("a.msp", ""))


def test_gz_that_is_not_gzip(tmp_path):
    path = tmp_path / "a.mgf.gz"
    path.write_text(GOOD)
    with pytest.raises(SpectrumError, match=r"is not compressed with gzip: remove \.gz"):
        load_spectra(path)


def test_gz_cut_within_its_head(write):
    path = write("a.mgf.gz", GOOD)
    path.write_bytes(path.read_bytes()[:10])
    with pytest.raises(SpectrumError, match="damaged before its first byte"):
        load_spectra(path)


def test_no_usable_spectrum_is_an_error_at_the_end(write):
    path = write("a.mgf", mgf("1", peaks="") + mgf("2", pepmass="") + mgf("3", MSLEVEL=1))
    with pytest.raises(
        SpectrumError, match=r"no usable MS/MS spectrum \(2 entries skipped, 1 not MS2; .*1: no peaks\)"
    ):
        list(load_spectra(path))


@pytest.mark.parametrize("name", ["a.mgf", "a.msp", "a.mzml", "a.txt", "a.json"])
@pytest.mark.parametrize(
    "content", [b"\n \n", b"mz,intensity\n138.0,100\n", bytes(range(256)) * 20], ids=["blank", "csv", "binary"]
)
def test_content_of_another_kind(write, name, content):
    with pytest.raises(SpectrumError, match="no usable MS/MS spectrum"):
        list(load_spectra(write(name, content)))


# What is told


def test_assumptions_are_counted_and_logged_once_for_each_kind(write, caplog):
    entries = mgf(ADDUCT="") * 12 + mgf(ADDUCT="", IONMODE="negative") + mgf(ADDUCT="[M+Xy]+") + GOOD + mgf(peaks="")
    reader = load_spectra(write("a.mgf", entries))
    with caplog.at_level(logging.WARNING):
        assert len(list(reader)) == 15
    assert reader.warnings == {
        "give no ion mode: positive assumed": 12,
        "give no adduct: [M+H]+ assumed from the ion mode": 12,
        "give no adduct: [M-H]- assumed from the ion mode": 1,
        "have an adduct unknown to spec2mol: kept as it is": 1,
    }
    assert len(caplog.messages) == 5
    assert caplog.messages[1].startswith("12 spectra of ")
    assert caplog.messages[1].endswith("a.mgf give no adduct: [M+H]+ assumed from the ion mode")
    assert caplog.messages[4].startswith("1 entries of ")


def test_a_clean_file_says_nothing(write, caplog):
    list(load_spectra(write("a.mgf", GOOD)))
    assert caplog.messages == []


# Memory


def memory_of_reading(path):
    """Peak of the memory (bytes) taken while the spectra stream by."""
    tracemalloc.start()
    for _ in load_spectra(path):
        pass
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


@pytest.mark.parametrize(
    ("name", "start", "entry", "end"),
    [
        ("a.mgf", "", GOOD, ""),
        ("a.mgf.gz", "", GOOD, ""),
        ("a.msp", "", MSP_ENTRY, ""),
        ("a.txt", "", MASSBANK_ENTRY, ""),
        ("a.mzML", "<mzML><run><spectrumList>", MZML_ENTRY, "</spectrumList></run></mzML>"),
        ("a.json", "[", JSON_ENTRY + "," + " " * 500, "{}]"),
    ],
    ids=["mgf", "mgf.gz", "msp", "massbank", "mzML", "json"],
)
def test_memory_does_not_grow_with_the_file(write, name, start, entry, end):
    small = write(f"small.{name}", start + 200 * entry + end)
    large = write(f"large.{name}", start + 1_000 * entry + end)
    memory_of_reading(small)  # what is made once, such as compiled patterns
    peak = memory_of_reading(small)
    assert peak < 2e6
    assert memory_of_reading(large) < 1.2 * peak + 50_000
