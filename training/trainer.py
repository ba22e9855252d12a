"""The HF Trainer with what spec2mol adds to it: batches of alike examples, frozen parts in eval mode, each part of a
loss in the logs, and resumed runs that go on exactly as they would have."""

import json
import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from zlib import crc32

import torch
from torch import nn
from torch.optim.lr_scheduler import LambdaLR
from transformers import Trainer, TrainerCallback

from .sampler import TwoLengthsSampler


class SeededCollator:
    """A collator that draws the same random numbers for the same rows in the same epoch, whatever ran before. So a
    resumed run, which has skipped batches, augments the others as an uninterrupted one does."""

    def __init__(self, collator: Callable, seed: int):
        self.collator = collator
        self.seed = seed
        self.epoch = 0

    def set_epoch(self, epoch: int):
        self.epoch = epoch

    def __call__(self, rows):
        names = [(row.get("smiles"), row.get("precursor_mz")) for row in rows]
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(crc32(repr((self.seed, self.epoch, names)).encode()))
            return self.collator(rows)


class EpochCallback(TrainerCallback):
    """Tells the epoch to the training sampler and collator: accelerate does not reach a sampler behind its shards."""

    def __init__(self, trainer: "Spec2MolTrainer"):
        self.trainer = trainer

    def on_epoch_begin(self, args, state, control, **kwargs):
        self.trainer.train_sampler.set_epoch(int(state.epoch))
        self.trainer.data_collator.set_epoch(int(state.epoch))


def last_checkpoint(folder: str | Path) -> str | None:
    """The newest checkpoint that was written to its end, which the Trainer's own state is: a killed run may leave one
    that was not. None if there is none."""
    steps = sorted((int(path.name.rpartition("-")[2]), path) for path in Path(folder).glob("checkpoint-*"))
    for _, path in reversed(steps):
        try:
            json.loads((path / "trainer_state.json").read_text())
            return str(path)
        except (OSError, ValueError):
            continue
    return None


class Spec2MolTrainer(Trainer):
    """
    Args:
        eval_collator: collator without augmentation, for evaluation.
        frozen: modules to keep in eval mode, from `set_trainable`.
        make_sampler: (training examples, batch size, seed) -> the order of an epoch.
        epoch_decay: the learning rate is multiplied by it after every epoch; 1 leaves it to the arguments' scheduler.
    """

    def __init__(
        self,
        *args,
        eval_collator: Callable,
        frozen: Sequence[nn.Module] = (),
        make_sampler: Callable = TwoLengthsSampler.from_examples,
        epoch_decay: float = 1.0,
        **kwargs,
    ):
        super().__init__(*args, **kwargs)
        self.data_collator = SeededCollator(self.data_collator, self._data_seed)
        self.add_callback(EpochCallback(self))
        self.eval_collator = eval_collator
        self.frozen = frozen
        self.make_sampler = make_sampler
        self.epoch_decay = epoch_decay
        self._parts = defaultdict(list)

    @property
    def _data_seed(self):
        return self.args.seed if self.args.data_seed is None else self.args.data_seed

    def _get_train_sampler(self, train_dataset=None):
        dataset = self.train_dataset if train_dataset is None else train_dataset
        # What one optimizer step sees, so that the batch is the same however it is divided.
        batch_size = self.args.train_batch_size * self.args.world_size * self.args.gradient_accumulation_steps
        self.train_sampler = self.make_sampler(dataset, batch_size, self._data_seed)
        return self.train_sampler

    def get_decay_parameter_names(self, model):
        """Matrices alone decay: decay would pull the temperature of contrast to 0."""
        names = set(super().get_decay_parameter_names(model))
        return [name for name, parameter in model.named_parameters() if name in names and parameter.ndim > 1]

    @staticmethod
    def get_optimizer_cls_and_kwargs(args, model=None):
        """As the Trainer's, but `optim: adafactor` takes steps in proportion to the size of each parameter, as T5 was
        trained: its embeddings start many times as large as its queries, so that equal steps are too small for the
        ones or too large for the others."""
        optimizer, kwargs = Trainer.get_optimizer_cls_and_kwargs(args, model)
        return optimizer, kwargs | {"scale_parameter": True} if args.optim == "adafactor" else kwargs

    def create_scheduler(self, num_training_steps, optimizer=None):
        if self.epoch_decay == 1:
            return super().create_scheduler(num_training_steps, optimizer)
        step_size = self.args.train_batch_size * self.args.world_size * self.args.gradient_accumulation_steps
        steps = math.ceil(len(self.train_dataset) / step_size)
        optimizer = self.optimizer if optimizer is None else optimizer
        self.lr_scheduler = LambdaLR(optimizer, lambda step: self.epoch_decay ** (step // steps))
        return self.lr_scheduler

    def get_eval_dataloader(self, eval_dataset=None):
        train_collator, self.data_collator = self.data_collator, self.eval_collator
        try:
            return super().get_eval_dataloader(eval_dataset)
        finally:
            self.data_collator = train_collator

    def compute_loss(self, model, inputs, return_outputs=False, **kwargs):
        for module in self.frozen:  # The Trainer puts the whole model into train mode at every step.
            module.eval()
        loss, outputs = super().compute_loss(model, inputs, return_outputs=True, **kwargs)
        prefix = "" if model.training else "eval_"
        for name, value in outputs.items():
            if name.endswith("_loss") and value is not None:
                self._parts[prefix + name].append(value.detach())
        return (loss, outputs) if return_outputs else loss

    def log(self, logs, *args, **kwargs):
        prefix = "eval_" if "eval_loss" in logs else ""
        for name in [name for name in self._parts if name.startswith("eval_") == bool(prefix)]:
            mean = torch.stack(self._parts.pop(name)).float().mean()
            logs[name] = self.accelerator.gather(mean).mean().item()
        super().log(logs, *args, **kwargs)
