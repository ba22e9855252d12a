"""The HF Trainer with what spec2mol adds to it: batches of alike examples, frozen parts in eval mode, and each part of
a loss in the logs."""

from collections import defaultdict
from collections.abc import Callable, Sequence

import torch
from torch import nn
from transformers import Trainer

from .sampler import TwoLengthsSampler


class Spec2MolTrainer(Trainer):
    """
    Args:
        eval_collator: collator without augmentation, for evaluation.
        frozen: modules to keep in eval mode, from `set_trainable`.
        near_mass: share of the training batches that hold molecules of about the same mass.
    """

    def __init__(
        self, *args, eval_collator: Callable, frozen: Sequence[nn.Module] = (), near_mass: float = 0.0, **kwargs
    ):
        super().__init__(*args, **kwargs)
        self.eval_collator = eval_collator
        self.frozen = frozen
        self.near_mass = near_mass
        self._parts = defaultdict(list)

    def _get_train_sampler(self, train_dataset=None):
        dataset = self.train_dataset if train_dataset is None else train_dataset
        return TwoLengthsSampler(
            dataset["num_tokens"][:],
            dataset["num_peaks"][:],
            # What one optimizer step sees, so that the batch is the same however it is divided.
            self.args.train_batch_size * self.args.world_size * self.args.gradient_accumulation_steps,
            self.args.seed if self.args.data_seed is None else self.args.data_seed,
            masses=dataset["mass"][:] if self.near_mass else None,
            near_mass=self.near_mass,
        )

    def get_decay_parameter_names(self, model):
        """Matrices alone decay: decay would pull the temperature of contrast to 0."""
        names = set(super().get_decay_parameter_names(model))
        return [name for name, parameter in model.named_parameters() if name in names and parameter.ndim > 1]

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
