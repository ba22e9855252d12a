import pytest
import torch

from spec2mol.training.sampler import SameMoleculeSampler, TwoLengthsSampler, mixed_counts

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


def spread(masses, order, batch_size=16):
    """Median over batches of the largest difference of mass in a batch, in Da."""
    batches = masses[torch.as_tensor(order)[: len(order) // batch_size * batch_size]].view(-1, batch_size)
    return (batches.amax(1) - batches.amin(1)).median().item()


class TestNearMass:
    masses = 8.0 * TOKENS + torch.randn(1000, generator=torch.Generator().manual_seed(2)) * 20  # larger is heavier

    def sampler(self, near_mass):
        return TwoLengthsSampler(TOKENS, PEAKS, 16, seed=0, masses=self.masses, near_mass=near_mass)

    def test_heavy_with_heavy(self):
        assert spread(self.masses, list(self.sampler(1.0))) < 30 < 60 < spread(self.masses, list(self.sampler(0.0)))

    def test_texts_are_still_alike(self):
        assert padded(list(self.sampler(1.0)))[0] < 1.2

    def test_without_it_nothing_changes(self):
        assert list(self.sampler(0.0)) == list(sampler())
        assert sorted(self.sampler(0.5)) == list(range(1000))


class TestSameMolecule:
    identity = torch.randint(300, (1000,), generator=torch.Generator().manual_seed(3))
    masses = torch.rand(300, generator=torch.Generator().manual_seed(4))[identity] * 900 + 100

    def sampler(self, **fields):
        return SameMoleculeSampler(self.identity, PEAKS, self.masses, **{"batch_size": 16, "seed": 0} | fields)

    def test_neighbours_are_of_one_molecule(self):
        pairs = torch.tensor(list(self.sampler())).view(-1, 2)
        assert (self.identity[pairs[:, 0]] == self.identity[pairs[:, 1]]).all()

    def test_every_spectrum_that_has_a_partner_once(self):
        order = list(self.sampler())
        assert len(order) == len(set(order)) == len(self.sampler())
        left_out = self.identity[sorted(set(range(1000)) - set(order))]
        assert len(left_out) == len(left_out.unique())  # at most one of each molecule
        assert (self.identity.bincount()[left_out] % 2 == 1).all()

    def test_other_epoch_other_pairs(self):
        later = self.sampler()
        assert list(later) == list(later)
        first = {frozenset(pair) for pair in torch.tensor(list(later)).view(-1, 2).tolist()}
        later.set_epoch(1)
        second = {frozenset(pair) for pair in torch.tensor(list(later)).view(-1, 2).tolist()}
        assert len(first & second) < len(first) / 2

    def test_near_mass(self):
        near, far = (list(self.sampler(near_mass=share)) for share in (1.0, 0.0))
        assert spread(self.masses, near) < 250 < 500 < spread(self.masses, far)
        assert padded(far)[1] < padded(near)[1]

    def test_pairs_are_never_cut(self):
        with pytest.raises(ValueError, match="15 spectra holds no whole number of pairs"):
            self.sampler(batch_size=15)


class TestMixing:
    tasks = ["long"] * 90 + ["short"] * 10

    def sampler(self, mixing):
        return TwoLengthsSampler([5] * 100, [0] * 100, 8, seed=0, tasks=self.tasks, mixing=mixing)

    @pytest.mark.parametrize(("mixing", "short"), [(1.0, 10), (0.5, 25), (0.0, 50)])
    def test_a_task_of_n_examples_comes_in_proportion_to_a_power_of_n(self, mixing, short):
        drawn = list(self.sampler(mixing))
        assert len(drawn) == 100
        assert sum(index >= 90 for index in drawn) == short

    def test_none_comes_again_before_all_have_come(self):
        drawn = list(self.sampler(0.0))
        assert {drawn.count(index) for index in range(90, 100)} == {5}
        assert max(drawn.count(index) for index in range(90)) == 1

    def test_other_epochs_draw_others(self):
        sampler = self.sampler(0.5)
        first, again = list(sampler), list(sampler)
        sampler.set_epoch(1)
        assert first == again
        assert set(sampler) & set(range(90)) != set(first) & set(range(90))

    def test_what_rounding_leaves_over_is_drawn_too(self):
        assert mixed_counts([7, 7, 6], 0.0) == [7, 7, 6]
        assert sum(mixed_counts([100, 10, 3], 0.7)) == 113
