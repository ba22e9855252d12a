"""The notebooks run from top to bottom on the shipped model, and what they show is stored for those who only read."""

import shutil
from pathlib import Path

import nbformat
import pytest

from examples.run_notebooks import FOLDER, run


def shown(notebook):
    """Whether each cell of code shows something."""
    return [bool(cell.outputs) for cell in notebook.cells if cell.cell_type == "code"]


@pytest.mark.parametrize("name", ["quickstart", "finetune_lora"])
def test_runs_and_shows_what_is_stored(name, tmp_path):
    shutil.copy(FOLDER / "known_compounds.mgf", tmp_path)
    stored = nbformat.read(FOLDER / f"{name}.ipynb", as_version=4)
    executed = run(FOLDER / f"{name}.ipynb", tmp_path)
    assert shown(executed) == shown(stored)
    assert [cell.execution_count for cell in stored.cells if cell.cell_type == "code"] == list(
        range(1, len(shown(stored)) + 1)
    )


@pytest.mark.parametrize("path", sorted(Path(FOLDER).glob("*.ipynb")), ids=lambda path: path.stem)
def test_no_place_of_a_machine_is_stored(path):
    text = path.read_text()
    assert "/tmp/" not in text and "/home/" not in text and "/root/" not in text
