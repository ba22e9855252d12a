import pandas as pd

from spec2mol.cli.main import main


def search(*arguments):
    return main(["search", *map(str, arguments)])


def test_library_and_file_give_the_same_table(model_folder, mgf, tmp_path, capsys):
    spectra = mgf()
    assert main(["build-library", str(spectra), str(tmp_path / "library"), "--model", str(model_folder)]) == 0
    assert "4 spectra" in capsys.readouterr().out
    tables = []
    for library in (tmp_path / "library", spectra):
        output = tmp_path / "hits.tsv"
        assert search(spectra, "--model", model_folder, "--library", library, "--output", output, "--top-k", 2) == 0
        tables.append(pd.read_csv(output, sep="\t"))
    table = tables[0]
    assert table["rank"].tolist() == [1, 2] * 4
    best = table[table["rank"] == 1]
    assert (best["query"] == best["identifier"]).all() and (best["mz_difference"] == 0).all()
    assert (best["similarity"] > 0.9999).all() and (table["name"] == table["identifier"]).all()
    pd.testing.assert_frame_equal(*tables, atol=1e-5)


def test_on_the_screen(model_folder, mgf, capsys):
    assert search(mgf(), "--model", model_folder, "--library", mgf("library.mgf")) == 0
    assert "query 0" in capsys.readouterr().out


def test_no_library_in_the_folder(model_folder, mgf, tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    assert search(mgf(), "--model", model_folder, "--library", tmp_path / "empty") == 2
    assert "holds no spectrum file" in capsys.readouterr().err
