import pandas as pd
import pytest

from spec2mol.chemistry_spec2mol import formula_mass, precursor_mz
from spec2mol.cli.main import main
from spec2mol.saving import save_for_hub
from tests import builders

ENTRY = "BEGIN IONS\nTITLE={title}\nPEPMASS={mz:.5f}\nCHARGE=1+\nIONMODE=positive\nADDUCT={adduct}\n{more}\nEND IONS\n"
PEAKS = "43.0178 5\n56.0495 8\n69.0447 10"
STRUCTURES = ["CCO", "COC", "CCN", "not a molecule"]


def entry(title, formula, adduct="[M+H]+", more=PEAKS):
    mz = precursor_mz(formula_mass(formula), adduct)
    return ENTRY.format(title=title, mz=mz, adduct=adduct, more=more)


@pytest.fixture
def structures(tmp_path):
    path = tmp_path / "structures.csv"
    pd.DataFrame({"smiles": STRUCTURES}).to_csv(path, index=False)
    return path


def rank(*arguments):
    return main(["rank", *map(str, arguments)])


def test_store_and_file_give_the_same_table(model_folder, mgf, structures, tmp_path, capsys):
    spectra = mgf(entries=[entry("ethanol", "C2H6O"), entry("nothing", "C9H20O2"), entry("amine", "C2H7N")])
    assert main(["build-store", str(structures), str(tmp_path / "store"), "--model", str(model_folder)]) == 0
    printed = capsys.readouterr()
    assert "3 molecules" in printed.out and "1 of 4 structures left out" in printed.err
    tables = []
    for candidates in (tmp_path / "store", structures):
        output = tmp_path / "ranked.tsv"
        assert rank(spectra, "--model", model_folder, "--candidates", candidates, "--output", output) == 0
        assert "nothing: no candidate has its mass" in capsys.readouterr().err
        tables.append(pd.read_csv(output, sep="\t"))
    table = tables[0]
    assert table["query"].tolist() == ["ethanol", "ethanol", "nothing", "amine"]
    assert set(table["smiles"][:2]) == {"CCO", "COC"} and table["smiles"][3] == "CCN"
    assert table["rank"].tolist()[:2] == [1, 2] and table["score"][0] >= table["score"][1]
    assert table["error_ppm"].abs().max() < 1 and table["smiles"].isna()[2]
    pd.testing.assert_frame_equal(table, tables[1], atol=0.05)  # The store's features are in half precision.


def test_on_the_screen(model_folder, mgf, structures, capsys):
    args = [mgf(entries=[entry("x", "C2H7N")]), "--model", model_folder, "--candidates", structures]
    assert rank(*args) == 0
    assert "CCN" in capsys.readouterr().out


def test_store_of_another_model(model_folder, mgf, structures, tmp_path, capsys):

    save_for_hub(builders.model(seed=1), builders.processor(), tmp_path / "other")
    assert main(["build-store", str(structures), str(tmp_path / "store"), "--model", str(tmp_path / "other")]) == 0
    args = [mgf(), "--model", model_folder, "--candidates", tmp_path / "store"]
    assert rank(*args) == 2
    assert "features of another model; build it anew" in capsys.readouterr().err


@pytest.mark.parametrize("wrong", [("--top-k", 0), ("--ppm", 0)])
def test_wrong_options(model_folder, mgf, structures, capsys, wrong):
    assert rank(mgf(), "--model", model_folder, "--candidates", structures, *wrong) == 2
    assert "must be at least 1, --ppm more than 0" in capsys.readouterr().err


def test_no_such_candidates(model_folder, mgf, tmp_path, capsys):
    assert rank(mgf(), "--model", model_folder, "--candidates", tmp_path / "nowhere.smi") == 2
    assert "no such file" in capsys.readouterr().err
