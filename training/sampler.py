"""Batches of examples that are alike in both lengths, peaks and text: padding of either wastes the work."""

import math
from collections.abc import Sequence

import torch
from torch.utils.data import Sampler


class TwoLengthsSampler(Sampler[int]):
    """A random order, the same for the same seed and epoch, whose every `batch_size` consecutive indices have about
    the
    same number of text tokens and of peaks: a pool of shuffled examples is sorted by text, cut into shelves, each
    shelf sorted by peaks and cut into batches, and all batches are shuffled."""

    POOL_BATCHES = 64

    def __init__(self, num_tokens: Sequence[int], num_peaks: Sequence[int], batch_size: int, seed: int):
        self.num_tokens = torch.as_tensor(num_tokens)
        self.num_peaks = torch.as_tensor(num_peaks)
        self.batch_size = batch_size
        self.seed = seed
        self.epoch = 0

    def set_epoch(self, epoch: int):
        self.epoch = epoch

    def __len__(self):
        return len(self.num_tokens)

    def __iter__(self):
        generator = torch.Generator().manual_seed(self.seed + self.epoch)
        batches = []
        for pool in torch.randperm(len(self), generator=generator).split(self.POOL_BATCHES * self.batch_size):
            pool = pool[self.num_tokens[pool].argsort(stable=True)]
            for shelf in pool.split(math.isqrt(self.POOL_BATCHES) * self.batch_size):
                shelf = shelf[self.num_peaks[shelf].argsort(stable=True)]
                batches.extend(shelf.split(self.batch_size))
        # A short batch anywhere but at the end would shift all that follow.
        batches.sort(key=len, reverse=True)
        full = sum(len(batch) == self.batch_size for batch in batches)
        order = [*torch.randperm(full, generator=generator).tolist(), *range(full, len(batches))]
        for i in order:
            yield from batches[i].tolist()
