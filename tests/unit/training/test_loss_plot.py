import pytest
from transformers import TrainerControl, TrainerState, TrainingArguments

from spec2mol.training.loss_plot import LossPlotCallback, loss_curves, plot_losses

pytest.importorskip("matplotlib")
PNG = b"\x89PNG"
HISTORY = [
    {"step": 5, "loss": 3.0, "contrast_loss": 2.0, "learning_rate": 1e-3},
    {"step": 10, "loss": 2.5, "contrast_loss": 1.5},
    {"step": 10, "eval_loss": 2.6, "eval_contrast_loss": 1.7, "eval_runtime": 3.0},
    {"step": 10, "train_loss": 2.75, "train_runtime": 9.0},
]


def test_curves_are_losses_by_fold():
    assert loss_curves(HISTORY) == {
        "loss": {"training": [(5, 3.0), (10, 2.5)], "validation": [(10, 2.6)]},
        "contrast_loss": {"training": [(5, 2.0), (10, 1.5)], "validation": [(10, 1.7)]},
    }


def test_a_picture(tmp_path):
    plot_losses(HISTORY, tmp_path / "loss.png")
    assert (tmp_path / "loss.png").read_bytes().startswith(PNG)


def test_nothing_to_draw(tmp_path):
    plot_losses([{"step": 1, "learning_rate": 1.0}], tmp_path / "loss.png")
    assert not (tmp_path / "loss.png").exists()


def test_only_the_first_process_draws(tmp_path):
    arguments = TrainingArguments(output_dir=tmp_path, use_cpu=True)
    for first in (False, True):
        state = TrainerState(log_history=HISTORY, is_world_process_zero=first)
        LossPlotCallback().on_train_end(arguments, state, TrainerControl())
        assert (tmp_path / "loss.png").exists() == first
