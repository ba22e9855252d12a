import json

import torch
from transformers import TrainingArguments

from spec2mol import Spec2MolForPreTraining
from spec2mol.training.trainer import SeededCollator, Spec2MolTrainer, last_checkpoint
from tests import builders

ROWS = [{"smiles": "CCO", "precursor_mz": 47.0}, {"smiles": "CCS", "precursor_mz": 63.0}]


def draw(rows):
    return torch.rand(4)


class TestSeededCollator:
    def test_same_rows_same_epoch_same_numbers_whatever_ran_before(self):
        first = SeededCollator(draw, seed=0)(ROWS)
        torch.rand(7)
        assert torch.equal(SeededCollator(draw, seed=0)(ROWS), first)

    def test_other_rows_epoch_or_seed_other_numbers(self):
        later = SeededCollator(draw, seed=0)
        later.set_epoch(1)
        drawn = [SeededCollator(draw, seed=0)(ROWS), SeededCollator(draw, seed=0)(ROWS[::-1])]
        drawn += [SeededCollator(draw, seed=1)(ROWS), later(ROWS)]
        assert len(torch.stack(drawn).unique(dim=0)) == 4

    def test_the_models_own_random_numbers_are_left_alone(self):
        torch.manual_seed(0)
        expected = torch.rand(3)
        torch.manual_seed(0)
        SeededCollator(draw, seed=0)(ROWS)
        assert torch.equal(torch.rand(3), expected)


class TestLastCheckpoint:
    def checkpoint(self, folder, step, state):
        path = folder / f"checkpoint-{step}"
        path.mkdir()
        if state is not None:
            (path / "trainer_state.json").write_text(state)
        return str(path)

    def test_the_newest_that_is_complete(self, tmp_path):
        self.checkpoint(tmp_path, 90, json.dumps({"global_step": 90}))
        expected = self.checkpoint(tmp_path, 100, json.dumps({"global_step": 100}))
        self.checkpoint(tmp_path, 110, None)  # killed before the state was written,
        self.checkpoint(tmp_path, 120, '{"global_st')  # or while
        assert last_checkpoint(tmp_path) == expected

    def test_none(self, tmp_path):
        self.checkpoint(tmp_path, 1, None)
        assert last_checkpoint(tmp_path) is None
        assert last_checkpoint(tmp_path / "nowhere") is None


def test_the_learning_rate_may_decay_by_epoch(tmp_path):
    """Nine examples, of which a step takes four: three steps an epoch."""
    arguments = TrainingArguments(
        output_dir=tmp_path,
        per_device_train_batch_size=2,
        gradient_accumulation_steps=2,
        learning_rate=1.0,
        use_cpu=True,
        report_to="none",
    )
    model = builders.model(Spec2MolForPreTraining)
    trainer = Spec2MolTrainer(model, arguments, train_dataset=[{}] * 9, eval_collator=None, epoch_decay=0.5)
    trainer.create_optimizer_and_scheduler(num_training_steps=9)
    rates = []
    for _ in range(7):
        rates.append(trainer.lr_scheduler.get_last_lr()[0])
        trainer.optimizer.step()
        trainer.lr_scheduler.step()
    assert rates == [1, 1, 1, 0.5, 0.5, 0.5, 0.25]


def test_the_steps_of_adafactor_are_in_proportion_to_parameters(tmp_path):
    arguments = {"output_dir": tmp_path, "use_cpu": True, "report_to": "none", "optim": "adafactor"}
    arguments |= {"learning_rate": 0.01, "lr_scheduler_type": "constant"}
    model = torch.nn.ModuleList([torch.nn.Linear(4, 4, bias=False) for _ in range(2)])
    with torch.no_grad():
        for layer, size in zip(model, (0.01, 1.0), strict=True):
            layer.weight.copy_(size * torch.tensor([1.0, -1.0]).repeat(4, 2))
    before = [layer.weight.detach().clone() for layer in model]
    trainer = Spec2MolTrainer(model, TrainingArguments(**arguments), train_dataset=[{}], eval_collator=None)
    trainer.create_optimizer_and_scheduler(num_training_steps=1)
    for layer in model:
        layer.weight.grad = torch.ones(4, 4)
    trainer.optimizer.step()
    for layer, old, size in zip(model, before, (0.01, 1.0), strict=True):
        torch.testing.assert_close(old - layer.weight, torch.full((4, 4), 0.01 * size), rtol=1e-4, atol=0)


def test_only_matrices_decay(tmp_path):
    model = builders.model(Spec2MolForPreTraining)
    arguments = TrainingArguments(output_dir=tmp_path, use_cpu=True, report_to="none")
    decayed = set(Spec2MolTrainer(model, arguments, eval_collator=None).get_decay_parameter_names(model))
    assert "model.projector.temperature" not in decayed
    assert "model.projector.spectrum_projection.weight" in decayed
    assert all(p.ndim > 1 for name, p in model.named_parameters() if name in decayed)
