import numpy as np
import pandas as pd
from rich.console import Console

from spec2mol.evaluation.ablation import Step
from spec2mol.evaluation.calibration import Forecasts
from spec2mol.evaluation.intervals import Interval
from spec2mol.evaluation.report import (
    Table,
    ablation_tables,
    calibration_tables,
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


def test_gains_are_over_the_step_named():
    def step(tanimoto, against, seconds):
        figures = {name: tanimoto for name in ("tanimoto@1", "tanimoto@10")}
        figures |= dict.fromkeys(("exact_match@1", "exact_match@10", "formula_match@1"), [0.0, 1.0])
        return Step(pd.DataFrame({"inchikey": ["x", "y"]} | figures), against, seconds)

    steps = {"a": step([0.2, 0.4], "", 0.5), "b": step([0.1, 0.1], "a", None), "c": step([0.3, 0.5], "a", None)}
    figures, gains = ablation_tables(steps)
    assert figures.title == "Steps to the answers, 2 spectra of 2 molecules"
    assert [row[-1] for row in figures.rows] == ["0.50", "", ""] and figures.rows[2][3].mean == 0.4
    assert gains.columns[:2] == ["", "over"] and [row[:2] for row in gains.rows] == [["b", "a"], ["c", "a"]]
    assert str(gains.rows[1][4]) == "0.100 [0.100, 0.100]" and gains.rows[0][2] == (0, 0, 0)


def test_calibration_of_the_first_answer_has_its_bins():
    given = Forecasts(np.array([0.1, 0.9]), np.array([0, 0]), np.array(["x", "y"]))
    summary, bins = calibration_tables({"first answer right": given, "all answers right": given})
    assert [row[:2] for row in summary.rows] == [["first answer right", "2"], ["all answers right", "2"]]
    assert summary.rows[0][2].mean == summary.rows[0][4].mean == 0.5
    assert [row[:3] for row in bins.rows] == [["0.1 to 0.2", "1", "0.100"], ["0.9 to 1.0", "1", "0.900"]]
    assert calibration_tables({}) == []


def test_sections_are_replaced_in_place(tmp_path):
    path = tmp_path / "docs" / "results.md"
    for title, text in (("a", "first"), ("a, more", "second"), ("b", "third"), ("a", "FIRST")):
        write_section(path, title, text)
    written = path.read_text()
    assert written.startswith("# Results\n")
    assert written.endswith("\n\n## a\n\nFIRST\n\n## a, more\n\nsecond\n\n## b\n\nthird\n")
    write_section(path, "b", "THIRD")
    assert path.read_text() == written.replace("third", "THIRD")
