import torch

from spec2mol.training.sampler import TwoLengthsSampler

TOKENS = torch.randint(10, 120, (1000,), generator=torch.Generator().manual_seed(0))
PEAKS = torch.randint(1, 60, (1000,), generator=torch.Generator().manual_seed(1))


def sampler(seed=0):
    return TwoLengthsSampler(TOKENS, PEAKS, batch_size=16, seed=seed)


def padded(order, batch_size=16):
    """Tokens and peaks that batches of this order are padded to, as multiples of what is real."""
    batches = torch.as_tensor(order).split(batch_size)
    return [
        sum(lengths[b].max().item() * len(b) for b in batches) / lengths.sum().item() for lengths in (TOKENS, PEAKS)
    ]


def test_every_example_once():
    assert sorted(sampler()) == list(range(1000))


def test_same_seed_and_epoch_same_order():
    assert list(sampler()) == list(sampler())


def test_other_epoch_or_seed_other_order():
    later = sampler()
    later.set_epoch(1)
    assert list(later) != list(sampler())
    assert list(sampler(seed=1)) != list(sampler())


def test_batches_are_alike_in_both_lengths():
    random_tokens, random_peaks = padded(torch.randperm(1000))
    tokens, peaks = padded(list(sampler()))
    assert tokens < 1.2 < 1.6 < random_tokens
    assert peaks < 1.3 < 1.7 < random_peaks


def test_batches_come_in_no_order_of_length():
    lengths = TOKENS[list(sampler())][:960].view(-1, 16).float().mean(1)
    assert 10 < (lengths.diff() > 0).sum() < len(lengths) - 10
