import pandas as pd
from rich.console import Console

from spec2mol.evaluation.intervals import Interval
from spec2mol.evaluation.report import (
    Table,
    ablation_table,
    calibration_table,
    figure_tables,
    retrieval_table,
    to_markdown,
    to_rich,
    write_section,
)

TABLE = Table("Title", ["", "figure"], [["model", Interval(0.5, 0.4, 0.6)], ["control", ""]])


def test_markdown():
    assert to_markdown(TABLE) == (
        "Title:\n\n|  | figure |\n| --- | --- |\n| model | 0.500 [0.400, 0.600] |\n| control |  |\n"
    )


def test_a_table_of_all_figures_fits_a_screen_of_120_columns():
    interval = Interval(0.5, 0.4, 0.6)
    names = ("exact_match", "tanimoto", "mces", "valid", "formula_match", "mass_match")
    figures = {f"{name}@{k}": interval for name in names for k in (1, 10)} | {"loss": interval}
    console = Console(width=120, record=True, file=open("/dev/null", "w"))
    for table in figure_tables({"model": figures, "random training molecule of the same mass": figures}):
        console.print(to_rich(table))
    shown = console.export_text()
    assert shown.count("[0.400, 0.600]") == 24 and "…" not in shown


def test_columns_are_the_figures_there_are():
    interval = Interval(0.5, 0.4, 0.6)
    structures, plausibility = figure_tables({"model": {"tanimoto@1": interval, "loss": interval}, "control": {}})
    assert structures.columns == ["", "Tanimoto, Top-1"] and plausibility.columns == ["", "loss, nats a symbol"]
    assert structures.rows == [["model", interval], ["control", ""]]


def test_retrieval_without_the_control_that_was_not_run():
    ranked = {f"{name}@{k}": Interval(k / 20, 0, 1) for name in ("itc", "itm", "chance") for k in (1, 5, 20)}
    assert [row[0] for row in retrieval_table(ranked).rows] == [
        "contrast (ITC)",
        "contrast and matching (ITC + ITM)",
        "random order",
    ]


def test_gain_over_the_line_above():
    steps = {
        "a": pd.DataFrame({"inchikey": ["x", "y"], "tanimoto@1": [0.2, 0.4], "formula_match@1": [0.0, 1.0]}),
        "b": pd.DataFrame({"inchikey": ["x", "y"], "tanimoto@1": [0.3, 0.5], "formula_match@1": [1.0, 1.0]}),
    }
    table = ablation_table(steps)
    assert table.columns == ["", "Tanimoto, Top-1", "formula right, Top-1", "gain, Tanimoto, Top-1"]
    assert [row[0] for row in table.rows] == ["a", "b"] and table.rows[0][-1] == ""
    assert str(table.rows[1][-1]) == "0.100 [0.100, 0.100]" and table.rows[1][1].mean == 0.4


def test_calibration_names_its_error():
    table = calibration_table([0.1, 0.9], [0, 0], "the first answer is right")
    assert "the first answer is right: expected calibration error 0.500" in table.title
    assert table.rows == [["0.1 to 0.2", "1", "0.100", "0.000"], ["0.9 to 1.0", "1", "0.900", "0.000"]]


def test_sections_are_replaced_in_place(tmp_path):
    path = tmp_path / "docs" / "results.md"
    for title, text in (("a", "first"), ("a, more", "second"), ("b", "third"), ("a", "FIRST")):
        write_section(path, title, text)
    written = path.read_text()
    assert written.startswith("# Results\n")
    assert written.endswith("\n\n## a\n\nFIRST\n\n## a, more\n\nsecond\n\n## b\n\nthird\n")
    write_section(path, "b", "THIRD")
    assert path.read_text() == written.replace("third", "THIRD")
