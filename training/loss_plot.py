"""The learning curve as a picture beside the checkpoints."""

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from transformers import TrainerCallback

FILE_NAME = "loss.png"


class LossPlotCallback(TrainerCallback):
    """Draws `loss.png` in the output folder at every checkpoint and at the end. Needs matplotlib (extra `train`)."""

    def on_save(self, args, state, control, **kwargs):
        if state.is_world_process_zero:
            plot_losses(state.log_history, Path(args.output_dir) / FILE_NAME)

    on_train_end = on_save


def loss_curves(history: Sequence[dict]) -> dict[str, dict[str, list[tuple[int, float]]]]:
    """The Trainer's log -> for each loss, its points (step, value) in "training" and "validation"."""
    curves = defaultdict(lambda: defaultdict(list))
    for entry in history:
        for name, value in entry.items():
            if (
                name == "loss" or name.endswith("_loss") and name != "train_loss"
            ):  # The latter is the whole run's mean.
                fold = "validation" if name.startswith("eval_") else "training"
                curves[name.removeprefix("eval_")][fold].append((entry["step"], value))
    return curves


def plot_losses(history: Sequence[dict], path: Path) -> None:
    """One panel a loss; nothing where the log has none."""
    # Imported late: only training needs it. A Figure of its own leaves the user's backend alone.
    from matplotlib.figure import Figure

    if not (curves := loss_curves(history)):
        return
    figure = Figure(figsize=(4 * len(curves), 3.2), layout="constrained")
    for axes, (name, folds) in zip(figure.subplots(1, len(curves), squeeze=False)[0], curves.items(), strict=True):
        for fold, points in folds.items():
            axes.plot(*zip(*points, strict=True), label=fold, marker="." if fold == "validation" else "")
        axes.set(title=name.replace("_", " "), xlabel="step")
        axes.legend(frameon=False)
    figure.savefig(path, dpi=120)
