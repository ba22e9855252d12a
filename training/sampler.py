"""Which examples share a batch. Both orders are random, and the same for the same seed and epoch."""

import math
from collections.abc import Iterator, Sequence

import torch
from torch.utils.data import Sampler

POOL_BATCHES = 64
SHELF_BATCHES = math.isqrt(POOL_BATCHES)


class TwoLengthsSampler(Sampler[int]):
    """Every `batch_size` consecutive indices have about the same number of text tokens and of peaks, for padding of
    either wastes the work: a pool of shuffled examples is sorted by text, cut into shelves, each shelf sorted by peaks
    and cut into batches, and all batches are shuffled.

    Args:
        masses: of the molecules, in Da. With `near_mass`, that share of the shelves is sorted by mass instead of
            peaks: their batches hold isomers and molecules of about the same mass, the hard negatives of contrast and
            matching.
        tasks: the task that each example is of. With `mixing` a, an epoch holds as many examples as there are, but of
            a task of n examples a share in proportion to n^a: 1 = each example once, 0 = as many of each task.
    """

    def __init__(
        self,
        num_tokens: Sequence[int],
        num_peaks: Sequence[int],
        batch_size: int,
        seed: int,
        masses: Sequence[float] | None = None,
        near_mass: float = 0.0,
        tasks: Sequence[str] | None = None,
        mixing: float = 1.0,
    ):
        self.num_tokens = torch.as_tensor(num_tokens)
        self.num_peaks = torch.as_tensor(num_peaks)
        self.masses = None if masses is None else torch.as_tensor(masses)
        self.members = [torch.arange(len(self.num_tokens))] if tasks is None else task_members(tasks)
        self.mixing = mixing
        self.batch_size = batch_size
        self.near_mass = near_mass
        self.seed = seed
        self.epoch = 0

    @classmethod
    def from_examples(
        cls, dataset, batch_size: int, seed: int, near_mass: float = 0.0, mixing: float = 1.0
    ) -> "TwoLengthsSampler":
        masses = dataset["mass"][:] if near_mass else None
        tasks = dataset["task"][:] if mixing != 1 else None
        lengths = dataset["num_tokens"][:], dataset["num_peaks"][:]
        return cls(*lengths, batch_size, seed, masses, near_mass, tasks, mixing)

    def set_epoch(self, epoch: int):
        self.epoch = epoch

    def __len__(self):
        return len(self.num_tokens)

    def __iter__(self) -> Iterator[int]:
        generator = torch.Generator().manual_seed(self.seed + self.epoch)
        batches = []
        for pool in self._drawn(generator).split(POOL_BATCHES * self.batch_size):
            pool = pool[self.num_tokens[pool].argsort(stable=True)]
            for shelf in pool.split(SHELF_BATCHES * self.batch_size):
                by_mass = self.near_mass > 0 and torch.rand((), generator=generator) < self.near_mass
                key = self.masses if by_mass else self.num_peaks
                batches.extend(shelf[key[shelf].argsort(stable=True)].split(self.batch_size))
        for batch in _shuffled(batches, self.batch_size, generator):
            yield from batch.tolist()

    def _drawn(self, generator):
        """Examples of an epoch in random order. None of a task comes again before all of it have come."""
        drawn = []
        counts = mixed_counts([len(members) for members in self.members], self.mixing)
        for members, count in zip(self.members, counts, strict=True):
            rounds = [torch.randperm(len(members), generator=generator) for _ in range(-(-count // len(members)))]
            drawn.append(members[torch.cat(rounds)[:count]] if rounds else members[:0])
        drawn = torch.cat(drawn)
        return drawn[torch.randperm(len(drawn), generator=generator)] if len(self.members) > 1 else drawn


def task_members(tasks: Sequence[str]) -> list[torch.Tensor]:
    """Indices of the examples of each task, tasks in the order of their first example."""
    members = {}
    for index, task in enumerate(tasks):
        members.setdefault(task, []).append(index)
    return [torch.tensor(indices) for indices in members.values()]


def mixed_counts(sizes: Sequence[int], mixing: float) -> list[int]:
    """Examples of each task in an epoch: in proportion to size^mixing, as many in all as there are. What rounding
    leaves over goes to the largest remainders."""
    weights = torch.tensor(sizes, dtype=torch.float64) ** mixing
    exact = weights / weights.sum() * sum(sizes)
    counts = exact.floor().long()
    left = sum(sizes) - int(counts.sum())
    counts[(exact - counts).argsort(descending=True, stable=True)[:left]] += 1
    return counts.tolist()


class SameMoleculeSampler(Sampler[int]):
    """Consecutive indices 2i and 2i + 1 are two spectra of one molecule, drawn anew in each epoch; a spectrum whose
    molecule has no other one left is left out. Of the batches, the share `near_mass` holds molecules of about the same
    mass, the others molecules whose spectra have about the same number of peaks.

    Args:
        identity: integers, equal for spectra of one molecule.
        masses: in Da.
    """

    def __init__(
        self,
        identity: Sequence[int],
        num_peaks: Sequence[int],
        masses: Sequence[float],
        batch_size: int,
        seed: int,
        near_mass: float = 0.5,
    ):
        if batch_size % 2:
            raise ValueError(f"a batch of {batch_size} spectra holds no whole number of pairs")
        self.identity = torch.as_tensor(identity)
        self.num_peaks = torch.as_tensor(num_peaks)
        self.masses = torch.as_tensor(masses)
        self.pairs_per_batch = batch_size // 2
        self.near_mass = near_mass
        self.seed = seed
        self.epoch = 0
        self.length = int((self.identity.unique(return_counts=True)[1] // 2 * 2).sum())

    @classmethod
    def from_examples(cls, dataset, batch_size: int, seed: int, near_mass: float = 0.5) -> "SameMoleculeSampler":
        columns = (dataset[name][:] for name in ("identity", "num_peaks", "mass"))
        return cls(*columns, batch_size, seed, near_mass)

    def set_epoch(self, epoch: int):
        self.epoch = epoch

    def __len__(self):
        return self.length

    def __iter__(self) -> Iterator[int]:
        generator = torch.Generator().manual_seed(self.seed + self.epoch)
        pairs = self._pairs(generator)
        batches = []
        for pool in torch.randperm(len(pairs), generator=generator).split(SHELF_BATCHES * self.pairs_per_batch):
            by_mass = torch.rand((), generator=generator) < self.near_mass
            key = self.masses[pairs[pool, 0]] if by_mass else self.num_peaks[pairs[pool]].amax(1)
            batches.extend(pool[key.argsort(stable=True)].split(self.pairs_per_batch))
        for batch in _shuffled(batches, self.pairs_per_batch, generator):
            yield from pairs[batch].flatten().tolist()

    def _pairs(self, generator):
        """`(pairs, 2)` indices. Randomly ordered, then sorted by molecule: its spectra follow one another;
        the last one of an odd number is dropped."""
        order = torch.randperm(len(self.identity), generator=generator)
        order = order[self.identity[order].argsort(stable=True)]
        counts = self.identity[order].unique_consecutive(return_counts=True)[1]
        place = torch.cat([torch.arange(count) for count in counts.tolist()])
        return order[place < counts.repeat_interleave(counts) // 2 * 2].view(-1, 2)


def _shuffled(batches, batch_size, generator):
    """A short batch anywhere but at the end would shift all that follow."""
    full = [batch for batch in batches if len(batch) == batch_size]
    short = [batch for batch in batches if len(batch) < batch_size]
    return [full[i] for i in torch.randperm(len(full), generator=generator).tolist()] + short
