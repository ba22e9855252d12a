"""The HF Trainer with what spec2mol adds to it: batches by two lengths, frozen parts in eval mode, and each part of a
loss in the logs."""

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
    """

    def __init__(self, *args, eval_collator: Callable, frozen: Sequence[nn.Module] = (), **kwargs):
        super().__init__(*args, **kwargs)
        self.eval_collator = eval_collator
        self.frozen = frozen
        self._parts = defaultdict(list)

    def _get_train_sampler(self, train_dataset=None):
        dataset = self.train_dataset if train_dataset is None else train_dataset
        return TwoLengthsSampler(
            dataset["num_tokens"][:],
            dataset["num_peaks"][:],
            self.args.train_batch_size,
            self.args.data_seed or self.args.seed,
        )

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
            logs[name] = torch.stack(self._parts.pop(name)).mean().item()
        super().log(logs, *args, **kwargs)
