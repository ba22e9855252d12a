"""load_inputs: files, folders and standard input, keyed by feature."""

import gzip
import io
import json
import types

import pytest

from spec2mol.spectra import SpectrumError, load_inputs

PEAKS = "110.0713 35\n138.0662 100\n"


def mgf(**fields):
    fields = {"PEPMASS": "195.0877", "CHARGE": "1+"} | fields
    return "BEGIN IONS\n" + "".join(f"{key}={value}\n" for key, value in fields.items()) + PEAKS + "END IONS\n\n"


FORMATS = {
    "mgf": "# from MZmine\n" + mgf(TITLE="good"),
    "msp": f"NAME: good\nPRECURSORMZ: 195.0877\nNum Peaks: 2\n{PEAKS}\n",
    "massbank": "ACCESSION: good\nMS$FOCUSED_ION: PRECURSOR_M/Z 195.0877\nPK$NUM_PEAK: 2\nPK$PEAK: m/z int. rel.int.\n"
    "  110.0713 350 35\n  138.0662 1000 100\n//\n",
    "json": json.dumps([{"id": "good", "precursor_mz": 195.0877, "peaks": [[110.0713, 35], [138.0662, 100]]}]),
    "mzML": """<?xml version="1.0"?><mzML><run><spectrumList><spectrum id="good"><cvParam name="ms level" value="2"/>
      <cvParam name="selected ion m/z" value="195.0877"/><binaryDataArrayList>
      <binaryDataArray><cvParam name="64-bit float"/><cvParam name="m/z array"/>
      <binary>AAAAAAAAWUA=</binary></binaryDataArray>
      <binaryDataArray><cvParam name="64-bit float"/><cvParam name="intensity array"/>
      <binary>AAAAAAAAWUA=</binary></binaryDataArray></binaryDataArrayList></spectrum></spectrumList></run></mzML>""",
}


def columns(spectra, *names):
    return [tuple(spectrum[name] for name in names) for spectrum in spectra]


@pytest.fixture
def stdin(monkeypatch):
    """Sets what stands on standard input."""

    def give(content: bytes):
        monkeypatch.setattr("sys.stdin", types.SimpleNamespace(buffer=io.BufferedReader(io.BytesIO(content))))

    return give


def test_files_and_folders_in_turn(tmp_path):
    (tmp_path / "runs" / "day 1").mkdir(parents=True)
    (tmp_path / "runs" / "b.mgf").write_text(mgf(TITLE="b"))
    (tmp_path / "runs" / "day 1" / "a.msp").write_text(FORMATS["msp"])
    (tmp_path / "runs" / "notes.docx").write_text("no spectra")
    single = tmp_path / "single.mgf.gz"
    single.write_bytes(gzip.compress(mgf(TITLE="c").encode()))
    reader = load_inputs([single, str(tmp_path / "runs")])
    found = columns(reader, "identifier", "file")
    assert [(name, file.removeprefix(str(tmp_path))) for name, file in found] == [
        ("c", "/single.mgf.gz"),
        ("b", "/runs/b.mgf"),
        ("good", "/runs/day 1/a.msp"),
    ]
    assert reader.count == 3


@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzip"])
@pytest.mark.parametrize("name", FORMATS)
def test_the_format_of_standard_input_is_told_from_its_beginning(name, pack, stdin):
    stdin(pack(FORMATS[name].encode()))
    (spectrum,) = load_inputs(["-"])
    assert (spectrum["identifier"], spectrum["file"]) == ("good", "standard input")
    assert spectrum["precursor_mz"] == 195.0877


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"", "standard input is empty"),
        (b" \n", "standard input is empty"),
        (b"\x1f\x8b", "damaged"),
        (b"hello", "standard input holds no usable"),
    ],
)
def test_standard_input_without_spectra(content, complaint, stdin):
    stdin(content)
    with pytest.raises(SpectrumError, match=complaint):
        list(load_inputs(["-"]))


def test_feature_lists_of_mzmine_for_gnps(tmp_path):
    """One merged spectrum a feature; SCANS is the feature's number as well."""
    path = tmp_path / "gnps.mgf"
    path.write_text(
        "".join(mgf(FEATURE_ID=i, PEPMASS="195.0877", SCANS=i, RTINSECONDS=60.5, MSLEVEL=2) for i in (17, 4))
    )
    assert columns(load_inputs([path]), "identifier", "feature_id") == [("17", "17"), ("4", "4")]


def test_feature_lists_of_mzmine_for_sirius(tmp_path):
    """A feature has its MS1 isotope pattern and several MS2 spectra."""
    path = tmp_path / "sirius.mgf"
    feature = [mgf(FEATURE_ID=17, MSLEVEL=1, SPECTYPE="CORRELATED MS")]
    feature += [
        mgf(FEATURE_ID=17, MSLEVEL=2, SCANS=scan, COLLISION_ENERGY=energy) for scan, energy in ((90, 20), (91, 40))
    ]
    path.write_text("".join([*feature, mgf(FEATURE_ID=18, MSLEVEL=2, SCANS=97)]))
    reader = load_inputs([path])
    assert columns(reader, "identifier", "feature_id", "collision_energy") == [
        ("17", "17", 20.0),
        ("17 (2)", "17", 40.0),
        ("18", "18", None),
    ]
    assert reader.readers[0].not_ms2 == 1


def test_clusters_of_gnps_are_keyed_by_scans(tmp_path):
    path = tmp_path / "specs_ms.mgf"
    path.write_text(mgf(SCANS=3, TITLE="run.mzML scan 3") + mgf(SCANS=-1, TITLE="without"))
    assert columns(load_inputs([path]), "feature_id") == [("3",), ("without",)]


def test_identifiers_are_unique_over_all_files(tmp_path):
    for name in "ab":
        (tmp_path / f"{name}.mgf").write_text(mgf(FEATURE_ID=1) + mgf(FEATURE_ID=2))
    assert columns(load_inputs([tmp_path]), "identifier") == [("1",), ("2",), ("1 (2)",), ("2 (2)",)]


def test_a_useless_file_costs_only_itself(tmp_path):
    (tmp_path / "a.mgf").write_text(mgf(TITLE="a"))
    (tmp_path / "b.json").write_text('{"settings": 1}')
    reader = load_inputs([tmp_path])
    assert columns(reader, "identifier") == [("a",)]
    assert len(reader.unusable) == 1 and "b.json holds no usable" in reader.unusable[0]


def test_nothing_usable_is_an_error(tmp_path):
    (tmp_path / "a.mgf").write_text("nothing")
    (tmp_path / "b.json").write_text('{"settings": 1}')
    with pytest.raises(SpectrumError, match=r"none of 2 files is usable; the first: .*a\.mgf holds no usable"):
        list(load_inputs([tmp_path]))


def test_a_missing_file_stops_before_anything_is_read(tmp_path):
    (tmp_path / "a.mgf").write_text(mgf())
    with pytest.raises(SpectrumError, match="none.mgf does not exist"):
        load_inputs([tmp_path / "a.mgf", tmp_path / "none.mgf"])


def test_a_folder_without_spectra(tmp_path):
    (tmp_path / "notes.docx").touch()
    with pytest.raises(SpectrumError, match=r"holds no spectrum file: expected names ending in \.mgf"):
        load_inputs([tmp_path])
