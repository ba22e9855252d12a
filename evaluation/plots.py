"""Pictures of an evaluation, as PNG."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from .calibration import Forecasts, expected_calibration_error, reliability


def plot_tanimoto(path: Path, systems: Mapping[str, pd.DataFrame]):
    """For each system, the share of molecules whose answers reach a Tanimoto similarity: Top-1 and best of ten."""
    figure = Figure(figsize=(9, 4), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    for panel, (column, title) in zip(
        panels, {"tanimoto@1": "Top-1", "tanimoto@10": "best of ten"}.items(), strict=True
    ):
        for name, frame in systems.items():
            means = np.sort(frame.groupby("inchikey")[column].mean())
            reached = np.linspace(1, 0, len(means), endpoint=False)
            panel.step([0, *means, 1], [1, *reached, 0], where="pre", label=name)
        panel.set(title=title, xlabel="Tanimoto similarity to the true molecule", xlim=(0, 1), ylim=(0, 1))
        panel.grid(alpha=0.3)
    panels[0].set_ylabel("share of molecules that reach it")
    panels[1].legend(fontsize="small")
    figure.savefig(path, dpi=150)


def plot_reliability(path: Path, given: Mapping[str, Forecasts]):
    """For each event: how often what was given a probability came true, with 95% intervals over molecules. The area of
    a point is that of its number of answers."""
    figure = Figure(figsize=(5, 5), layout="constrained")
    panel = figure.subplots()
    panel.plot([0, 1], [0, 1], color="grey", linestyle=":", label="perfect")
    for name, of_event in given.items():
        bins = reliability(of_event)
        predicted, counts = (np.array([getattr(b, field) for b in bins]) for field in ("predicted", "count"))
        observed = np.array([b.observed for b in bins])
        reach = np.abs(observed[:, 1:] - observed[:, :1]).T
        label = f"{name}: expected calibration error {expected_calibration_error(of_event).mean:.3f}"
        points = panel.scatter(predicted, observed[:, 0], 300 * counts / counts.sum(), label=label, alpha=0.7)
        panel.errorbar(predicted, observed[:, 0], reach, linestyle="none", color=points.get_facecolor()[0], capsize=3)
    panel.set(xlabel="probability", ylabel="share that came true", xlim=(0, 1), ylim=(0, 1))
    panel.grid(alpha=0.3)
    panel.legend(fontsize="x-small")
    figure.savefig(path, dpi=150)
