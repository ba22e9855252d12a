import base64
import gzip
import io
import json
import os
import pickle
import types
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from spec2mol import load_model, load_spectra, predict_molecules
from spec2mol.cli.main import main
from spec2mol.cli.predict import SCHEMA
from tests import builders
from tests.pages import report_data

from .conftest import entry


def read(path):
    if path.suffix == ".tsv":
        return pd.read_csv(path, sep="\t")
    return pd.read_parquet(path) if path.suffix == ".parquet" else pd.read_json(path, lines=True)


@pytest.mark.parametrize("ending", [".tsv", ".jsonl", ".parquet"])
def test_writes_ranked_structures(ending, model_folder, mgf, tmp_path):
    output = tmp_path / f"out{ending}"
    assert main(["predict", str(mgf()), "--model", str(model_folder), "--top-k", "3", "--output", str(output)]) == 0
    table = read(output)
    assert list(table) == SCHEMA.names
    assert list(table["query"].unique()) == [f"query {i}" for i in range(4)]
    for _, answers in table.groupby("query"):
        assert list(answers["rank"]) == list(range(1, len(answers) + 1)) and len(answers) <= 3
        assert (answers["score"] <= 0).all()
        assert answers["inchikey"].str[:14].is_unique
    assert (table["adduct"] == "[M+H]+").all()


def test_equals_the_python_calls(model_folder, mgf, tmp_path):
    path, output = mgf(), tmp_path / "out.jsonl"
    main(["predict", str(path), "--model", str(model_folder), "--top-k", "2", "--output", str(output)])
    model, processor = load_model(str(model_folder))
    answers = list(predict_molecules(model, processor, load_spectra(path), top_k=2))
    rows = [json.loads(line) for line in output.read_text().splitlines()]
    assert [row["smiles"] for row in rows] == [c.smiles for candidates in answers for c in candidates]
    assert [row["score"] for row in rows] == pytest.approx([c.score for cs in answers for c in cs], abs=1e-5)


def test_batch_size_changes_nothing(model_folder, mgf, tmp_path):
    outputs = []
    for size in ("1", "4"):
        outputs.append(tmp_path / f"{size}.tsv")
        args = ["predict", str(mgf()), "--model", str(model_folder), "--top-k", "2", "--batch-size", size]
        assert main([*args, "--output", str(outputs[-1])]) == 0
    one, four = map(read, outputs)
    pd.testing.assert_frame_equal(one, four, rtol=1e-4)


def test_prints_a_table_where_no_output_is_named(model_folder, mgf, capsys):
    assert main(["predict", str(mgf()), "--model", str(model_folder), "--top-k", "2"]) == 0
    shown = capsys.readouterr().out
    assert "SMILES" in shown and "query 3" in shown


def test_the_table_on_the_screen_is_readable_in_80_columns(model_folder, mgf, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    path = mgf(entries=[entry(0, builders.spectra()[0]).replace("CHARGE", "NAME=Ethanol [M+H]+\nCHARGE")])
    assert main(["predict", str(path), "--model", str(model_folder), "--top-k", "2"]) == 0
    shown = capsys.readouterr().out
    lines = [line for line in shown.splitlines() if line]
    output = tmp_path / "out.tsv"
    assert main(["predict", str(path), "--model", str(model_folder), "--top-k", "2", "--output", str(output)]) == 0
    table = read(output)
    assert list(table["name"].unique()) == ["Ethanol [M+H]+"]
    assert lines[0].split()[0] == "rank" and lines[0].split()[-1] == "SMILES"
    assert lines[1] == "query 0, Ethanol [M+H]+, m/z 120.0000, [M+H]+"
    assert [line.split()[-1] for line in lines[2 : 2 + len(table)]] == list(table["smiles"])  # never folded


def test_known_compounds(model_folder, tmp_path):
    output = tmp_path / "out.tsv"
    examples = Path(__file__).parents[3] / "examples" / "known_compounds.mgf"
    assert main(["predict", str(examples), "--model", str(model_folder), "--top-k", "1", "--output", str(output)]) == 0
    assert len(read(output)) == len(list(load_spectra(examples)))


def test_several_files_and_standard_input(model_folder, mgf, tmp_path, monkeypatch):
    first, second, output = mgf("a.mgf"), mgf("b.mgf", entries=[GOOD]), tmp_path / "out.tsv"
    monkeypatch.setattr("sys.stdin", types.SimpleNamespace(buffer=second.open("rb")))
    assert (
        main(["predict", str(first), "-", "--model", str(model_folder), "--top-k", "1", "--output", str(output)]) == 0
    )
    table = read(output)
    assert list(table["query"]) == ["query 0", "query 1", "query 2", "query 3", "query 0 (2)"]
    assert list(table["file"]) == [str(first)] * 4 + ["standard input"]


def feature(number, *spectra):
    return [entry(i, s).replace(f"TITLE=query {i}", f"FEATURE_ID={number}\nSCANS={10 + i}") for i, s in spectra]


def test_a_table_by_feature_has_the_best_answer_of_all_its_spectra(model_folder, mgf, tmp_path):
    spectra = list(enumerate(builders.spectra()))
    path = mgf(entries=[*feature(17, *spectra[:2]), *feature(4, *spectra[2:])])
    args = ["predict", str(path), "--model", str(model_folder), "--top-k", "2", "--output"]
    assert main([*args, str(tmp_path / "all.tsv")]) == 0
    assert main([*args, str(tmp_path / "best.tsv"), "--best-per-feature"]) == 0
    every, best = read(tmp_path / "all.tsv"), read(tmp_path / "best.tsv")
    assert list(every["query"].unique()) == ["17", "17 (2)", "4", "4 (2)"]
    assert list(best["feature_id"]) == [17, 4]
    first = every[every["rank"] == 1]
    assert list(best["score"]) == list(first.groupby("feature_id", sort=False)["score"].max())


def test_answers_join_to_the_feature_table_of_mzmine(model_folder, tmp_path):
    """As MZmine exports for SIRIUS: MS1 and several MS2 a feature; its table of areas names features by row ID."""
    first, second = builders.spectra()[:2]
    ms1 = entry(9, first).replace("TITLE=query 9", "FEATURE_ID=101\nMSLEVEL=1\nSPECTYPE=CORRELATED MS")
    entries = [ms1, *feature(101, (0, first), (1, first)), *feature(102, (2, second))]
    empty = "BEGIN IONS\nFEATURE_ID=103\nPEPMASS=100\nEND IONS\n"
    (tmp_path / "sirius.mgf").write_text("".join([*entries, empty]))
    quantities = pd.read_csv(
        io.StringIO("row ID,row m/z,sample 1 Peak area\n101,120.0,5e5\n102,250.0,1e4\n103,100.0,7e3\n")
    )
    answers = tmp_path / "answers.tsv"
    args = ["predict", str(tmp_path / "sirius.mgf"), "--model", str(model_folder), "--best-per-feature"]
    assert main([*args, "--output", str(answers)]) == 0
    joined = quantities.merge(read(answers), how="left", left_on="row ID", right_on="feature_id", validate="1:1")
    assert list(joined["smiles"].notna()) == [True, True, False]
    assert list(joined["precursor_mz"][:2].round()) == [120, 250]


def test_annotated_mgf(model_folder, mgf, tmp_path):
    args = ["predict", str(mgf()), "--model", str(model_folder), "--top-k", "2", "--output"]
    assert main([*args, str(tmp_path / "out.tsv")]) == 0
    assert main([*args, str(tmp_path / "out.mgf")]) == 0
    table = read(tmp_path / "out.tsv")
    written = [spectrum["metadata"]["smiles"] for spectrum in load_spectra(tmp_path / "out.mgf")]
    assert written == list(table.loc[table["rank"] == 1, "smiles"])


def test_a_report_beside_the_table(model_folder, mgf, tmp_path):
    args = ["predict", str(mgf()), "--model", str(model_folder), "--top-k", "2", "--output", str(tmp_path / "out.tsv")]
    assert main([*args, "--report", str(tmp_path / "out.html")]) == 0
    assert len(report_data(tmp_path / "out.html")["queries"]) == read(tmp_path / "out.tsv")["query"].nunique()


GOOD = entry(0, builders.spectra()[0])
BAD_ENTRIES = {
    "NaN": "BEGIN IONS\nTITLE=bad\nPEPMASS=100\nCHARGE=1+\n50.0 nan\nEND IONS\n",
    "negative m/z": "BEGIN IONS\nTITLE=bad\nPEPMASS=100\nCHARGE=1+\n-50.0 1\nEND IONS\n",
    "no precursor": "BEGIN IONS\nTITLE=bad\nCHARGE=1+\n50.0 1\nEND IONS\n",
    "absurd precursor": "BEGIN IONS\nTITLE=bad\nPEPMASS=1e9\nCHARGE=1+\n50.0 1\nEND IONS\n",
    "no number": "BEGIN IONS\nTITLE=bad\nPEPMASS=100\nCHARGE=1+\nfifty 1\nEND IONS\n",
}


@pytest.mark.parametrize("bad", BAD_ENTRIES)
def test_a_bad_spectrum_is_reported_and_the_rest_answered(bad, model_folder, mgf, tmp_path, capsys):
    path, output = mgf(entries=[GOOD, BAD_ENTRIES[bad], GOOD]), tmp_path / "out.tsv"
    assert main(["predict", str(path), "--model", str(model_folder), "--top-k", "1", "--output", str(output)]) == 0
    assert list(read(output)["query"]) == ["query 0", "query 0 (2)"]
    complaint = [line for line in capsys.readouterr().err.splitlines() if "(bad)" in line]
    assert len(complaint) == 1 and complaint[0].strip().startswith("1 (bad): ")


BAD_FORMULAS = {  # formula: precursor m/z as [M+H]+, what is said of it
    "H2O": (19.0178, "no carbon"),
    "C2H6O": (120.0, "as [M+H]+ it has m/z 47.0491, but the precursor m/z is 120.0000"),
    "C2H6O.HCl": (47.0491, "a salt; give the formula of the part that was measured"),
    "C8H7O": (120.0570, "an odd number of electrons, which only radicals have"),
    "C2H7As": (106.9837, "unknown element As"),
    "C2H6Se": (110.9707, "the vocabulary has no Se"),
}


def test_formulas_that_cannot_be_are_reported_and_the_rest_answered(model_folder, mgf, tmp_path, capsys):
    bad = [
        f"BEGIN IONS\nTITLE={formula}\nPEPMASS={mz}\nADDUCT=[M+H]+\nFORMULA={formula}\n15.0 1\nEND IONS\n"
        for formula, (mz, _) in BAD_FORMULAS.items()
    ]
    path, output = mgf(entries=[GOOD, *bad, GOOD]), tmp_path / "out.tsv"
    assert main(["predict", str(path), "--model", str(model_folder), "--top-k", "1", "--output", str(output)]) == 0
    table = read(output)
    assert list(table["query"]) == ["query 0", *BAD_FORMULAS, "query 0 (2)"]
    assert list(table["smiles"].isna()) == [False, *[True] * len(bad), False]
    complaints = capsys.readouterr().err.splitlines()
    for formula, (_, reason) in BAD_FORMULAS.items():
        assert sum(line.startswith(f"{formula}: ") and reason in line for line in complaints) == 1, complaints


def test_truncated_mzml_answers_what_is_there(model_folder, tmp_path, capsys):
    spectrum = """<spectrum index="{0}" id="scan={0}" defaultArrayLength="2"><cvParam cvRef="MS" accession="MS:1000511"
      name="ms level" value="2"/><cvParam cvRef="MS" accession="MS:1000130" name="positive scan" value=""/>
      <precursorList count="1"><precursor><selectedIonList count="1"><selectedIon><cvParam cvRef="MS"
      accession="MS:1000744" name="selected ion m/z" value="150.1"/></selectedIon></selectedIonList></precursor>
      </precursorList><binaryDataArrayList count="2">{1}{2}</binaryDataArrayList></spectrum>"""
    array = """<binaryDataArray><cvParam cvRef="MS" accession="MS:1000523" name="64-bit float" value=""/><cvParam
      cvRef="MS" accession="MS:1000576" name="no compression" value=""/><cvParam cvRef="MS" accession="{}" name="{}"
      value=""/><binary>{}</binary></binaryDataArray>"""
    encode = [base64.b64encode(np.array(values).tobytes()).decode() for values in ([50.5, 70.1], [1.0, 2.0])]
    mzs = array.format("MS:1000514", "m/z array", encode[0])
    intensities = array.format("MS:1000515", "intensity array", encode[1])
    whole = "".join(spectrum.format(i, mzs, intensities) for i in range(3))
    path, output = tmp_path / "cut.mzML", tmp_path / "out.tsv"
    path.write_text(
        '<mzML xmlns="http://psi.hupo.org/ms/mzml"><run><spectrumList count="3">' + whole[: len(whole) * 5 // 6]
    )
    assert main(["predict", str(path), "--model", str(model_folder), "--top-k", "1", "--output", str(output)]) == 0
    assert len(read(output)) == 2
    assert "1 of 3 spectra skipped" in capsys.readouterr().err


def failure(capsys, *args) -> str:
    """The one line of a command that fails as a whole."""
    assert main(list(map(str, args))) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1 and lines[0].startswith("spec2mol: error: "), lines
    return lines[0]


def test_missing_file(model_folder, tmp_path, capsys):
    assert "none.mgf does not exist" in failure(capsys, "predict", tmp_path / "none.mgf", "--model", model_folder)


@pytest.mark.parametrize("name", ["empty.mgf", "empty.mgf.gz"])
def test_empty_file(name, model_folder, tmp_path, capsys):
    (tmp_path / name).touch()
    assert "is empty" in failure(capsys, "predict", tmp_path / name, "--model", model_folder)


def test_gz_of_nothing(model_folder, tmp_path, capsys):
    (tmp_path / "nothing.mgf.gz").write_bytes(gzip.compress(b""))
    assert "is empty" in failure(capsys, "predict", tmp_path / "nothing.mgf.gz", "--model", model_folder)


def test_no_usable_spectrum(model_folder, mgf, capsys):
    path = mgf(entries=[BAD_ENTRIES["no precursor"]])
    assert path.name in failure(capsys, "predict", path, "--model", model_folder)


def test_missing_model(mgf, tmp_path, capsys):
    assert "no model there" in failure(capsys, "predict", mgf(), "--model", tmp_path / "none")


def test_folder_that_is_no_model(mgf, tmp_path, capsys):
    assert "no model there" in failure(capsys, "predict", mgf(), "--model", tmp_path)


def test_model_of_another_kind(mgf, tmp_path, capsys):
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    assert "a bert model, not a spec2mol one" in failure(capsys, "predict", mgf(), "--model", tmp_path)


def test_hostile_pickle_in_place_of_weights(mgf, model_folder, tmp_path, capsys):
    class Hostile:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "executed"),)

    folder = tmp_path / "hostile"
    folder.mkdir()
    (folder / "config.json").write_text((model_folder / "config.json").read_text())
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(Hostile()))
    failure(capsys, "predict", mgf(), "--model", folder)
    assert not (tmp_path / "executed").exists()


def test_unknown_ending_of_the_output(model_folder, mgf, tmp_path, capsys):
    line = failure(capsys, "predict", mgf(), "--model", model_folder, "--output", tmp_path / "out.xlsx")
    assert ".tsv, .jsonl, .parquet" in line


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["--report", "out.pdf"], "the ending of a report must be .html"),
        (["--library", "lib.mgf"], "name one with --report"),
        (["--output", "out.mgf", "--best-per-feature"], "is for tables"),
    ],
)
def test_options_that_do_not_go_together(options, complaint, mgf, capsys):
    assert complaint in failure(capsys, "predict", mgf(), *options)


@pytest.mark.parametrize("option", ["--top-k", "--batch-size"])
def test_impossible_numbers(option, mgf, capsys):
    assert "at least 1" in failure(capsys, "predict", mgf(), option, "0")
