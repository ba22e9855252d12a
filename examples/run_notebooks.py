"""Runs the notebooks of this folder and stores what they print, without progress bars and timings.

python examples/run_notebooks.py
"""

from pathlib import Path

import nbformat
from nbclient import NotebookClient

FOLDER = Path(__file__).parent


def run(path: Path, folder: Path = FOLDER) -> nbformat.NotebookNode:
    """The executed notebook. A cell that fails raises `nbclient.exceptions.CellExecutionError`.

    Args:
        folder: working directory of the notebook.
    """
    notebook = nbformat.read(path, as_version=4)
    NotebookClient(notebook, resources={"metadata": {"path": folder}}, record_timing=False).execute()
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if output.get("name") != "stderr"]
    notebook.metadata.language_info = {"name": "python"}  # Without the version of this machine's Python
    return notebook


if __name__ == "__main__":
    for path in sorted(FOLDER.glob("*.ipynb")):
        print(path.name)
        nbformat.write(run(path), path)
