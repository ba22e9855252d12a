import pytest

from spec2mol.cli.main import main
from tests import builders
from tests.pages import report_data

from .conftest import entry


def test_one_page_with_the_answers_and_what_was_skipped(model_folder, mgf, tmp_path, capsys):
    bad = "BEGIN IONS\nTITLE=bad\nPEPMASS=100\nCHARGE=1+\n50.0 nan\nEND IONS\n"
    path, output = mgf(entries=[*map(entry, range(4), builders.spectra()), bad]), tmp_path / "report.html"
    args = ["report", str(path), "--model", str(model_folder), "--top-k", "2", "--output", str(output), "--ppm", "5"]
    assert main(args) == 0
    data = report_data(output)
    assert [query["id"] for query in data["queries"]] == [f"query {i}" for i in range(4)]
    assert all(1 <= len(query["answers"]) <= 2 for query in data["queries"])
    assert data["ppm"] == 5
    assert data["files"][0]["skipped"] == [[4, "bad", "NaN or infinite m/z or intensity"]]
    assert "1 of 5 spectra skipped" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["--output", "x.pdf"], "the ending of a report must be .html"),
        (["--output", "x.html", "--ppm", "0"], "--ppm must be more than 0"),
        (["--output", "x.html", "--library", "none.mgf"], "none.mgf does not exist"),
        (["--output", "x.html", "--top-k", "0"], "at least 1"),
    ],
)
def test_options_that_cannot_be(options, complaint, mgf, capsys):
    assert main(["report", str(mgf()), *options]) == 2
    assert complaint in capsys.readouterr().err
