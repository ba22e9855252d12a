import numpy as np
import pandas as pd
import pytest

pytest.importorskip("matplotlib")
from spec2mol.evaluation.calibration import Forecasts
from spec2mol.evaluation.plots import plot_reliability, plot_tanimoto


def is_png(path) -> bool:
    return path.read_bytes()[:4] == b"\x89PNG" and path.stat().st_size > 5000


def test_pictures_are_written(tmp_path):
    frame = pd.DataFrame({"inchikey": ["a", "b"], "tanimoto@1": [0.2, 0.4], "tanimoto@10": [0.3, 1.0]})
    plot_tanimoto(tmp_path / "tanimoto.png", {"model": frame, "control": frame})
    given = Forecasts(np.array([0.1, 0.9]), np.array([0, 1]), np.array(["a", "b"]))
    plot_reliability(tmp_path / "reliability.png", {"right": given})
    assert is_png(tmp_path / "tanimoto.png") and is_png(tmp_path / "reliability.png")
