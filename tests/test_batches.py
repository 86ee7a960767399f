"""The same samples for any number of processes, micro-batches and workers; data that stream; what cannot be shared
out.
"""

import os
from typing import NamedTuple

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tiny import bits, network, recovery, same

from unrolling.core import tree
from unrolling.networks.mlp import MLP
from unrolling.tasks.base import Samples
from unrolling.tasks.pairs import Pairs
from unrolling.tasks.sparse.recovery import Recovery
from unrolling.training.batches import Share, batches, generator
from unrolling.training.fit import fit
from unrolling.training.machine import Machine
from unrolling.training.stages import Stage

TASK = recovery()


def drawn(share, batch=24, steps=3, seed=0, task=TASK, **options):
    found = list(batches(task, Stage(steps, batch=batch), share, seed=seed, first=10, begin=0, **options))
    return [Samples(torch.cat([p.data for p in parts]), torch.cat([p.target for p in parts])) for parts in found]


@given(st.sampled_from([1, 2, 4, 8]), st.sampled_from([1, 2, 4]), st.sampled_from([16, 24, 48]))
def test_processes_and_micro_batches_share_out_the_same_samples(processes, accumulate, batch):
    if 8 % (processes * accumulate):
        accumulate = 1
    whole = drawn(Share(), batch)
    parts = [drawn(Share(rank, processes, accumulate), batch) for rank in range(processes)]
    for step, samples in enumerate(whole):
        assert torch.equal(torch.cat([part[step].data for part in parts]), samples.data)
        assert torch.equal(torch.cat([part[step].target for part in parts]), samples.target)
        assert len(samples.data) == batch


@given(st.integers(1, 200), st.integers(1, 12))
def test_grains_divide_a_batch_into_equal_parts_of_two_or_more(batch, most):
    count = Share().grains(batch, most)
    assert batch % count == 0
    assert 1 <= count <= most
    assert count == 1 or batch // count >= 2
    assert not any(batch % k == 0 and batch // k >= 2 for k in range(count + 1, most + 1))


def test_a_batch_that_cannot_be_shared_out_is_refused():
    with pytest.raises(
        ValueError, match="a batch of 10 cannot be shared evenly among 3 processes with 2 micro-batches each"
    ):
        Share(0, 3, 2).grains(10, 8)
    with pytest.raises(
        ValueError, match="a batch of 10 cannot be shared evenly among 1 processes with 4 micro-batches each"
    ):
        fit(network(TASK), TASK, [Stage(1, batch=10)], machine=Machine(accumulate=4), quiet=True)


def test_batches_differ_between_steps_seeds_and_grains_and_not_between_calls():
    first, again, other = drawn(Share()), drawn(Share()), drawn(Share(), seed=1)
    assert all(torch.equal(a.data, b.data) for a, b in zip(first, again, strict=True))
    rows = torch.cat([samples.data for samples in (*first, *other)])
    rows = rows[rows.abs().sum(1) > 0]
    assert len(rows.unique(dim=0)) == len(rows) > 100


@given(st.lists(st.integers(0, 10**6), min_size=3, max_size=3), st.integers(0, 2), st.integers(1, 5))
def test_neighbouring_numbers_seed_generators_that_have_nothing_in_common(numbers, place, step):
    other = list(numbers)
    other[place] += step
    one, two = (torch.rand(4, generator=generator(*n)) for n in (numbers, other))
    assert not torch.isclose(one, two).any()


def test_a_run_resumes_in_the_middle_of_the_stream():
    whole = list(batches(TASK, Stage(6, batch=4), Share(), seed=0, first=0, begin=0))
    rest = list(batches(TASK, Stage(6, batch=4), Share(), seed=0, first=0, begin=4))
    assert all(torch.equal(a[0].data, b[0].data) for a, b in zip(whole[4:], rest, strict=True))


# Data of a structure


class Operator(NamedTuple):
    y: torch.Tensor  # (batch, m)
    scale: torch.Tensor  # (1, m), of all samples
    level: torch.Tensor  # a number


class Structured(Recovery):
    changing = False

    def draw(self, batch, generator):
        samples = super().draw(batch, generator)
        scale = torch.rand(1, 8, generator=generator) if self.changing else torch.full((1, 8), 2.0)
        return Samples(Operator(samples.data, scale, torch.tensor(3.0)), samples.target)


def test_structured_data_are_put_together_field_by_field():
    task = recovery(Structured, held_out=2)
    ((samples,),) = batches(task, Stage(1, batch=16), Share(), seed=0, first=0, begin=0)
    assert (samples.data.y.shape, samples.data.scale.shape, samples.data.level.shape) == ((16, 8), (1, 8), ())


def test_what_samples_share_must_be_the_same_in_all_draws_or_drawn_at_once():
    task = recovery(Structured, held_out=2)
    task.changing = True
    with pytest.raises(
        ValueError,
        match=r"data.scale is shared by all samples of a batch and differs between two "
        r"draws.*`grains` to 1",
    ):
        list(batches(task, Stage(1, batch=16), Share(), seed=0, first=0, begin=0))
    task.grains = 1
    ((samples,),) = batches(task, Stage(1, batch=16), Share(), seed=0, first=0, begin=0)
    assert samples.data.y.shape == (16, 8)


@given(st.lists(st.integers(2, 5), min_size=1, max_size=4))
def test_trees_are_joined_along_the_batch(sizes):
    trees = [
        Operator(torch.full((size, 3), float(k)), torch.ones(1, 2), torch.tensor(1.0)) for k, size in enumerate(sizes)
    ]
    joined = tree.concatenate(trees, "data")
    assert joined.y[:, 0].tolist() == [float(k) for k, size in enumerate(sizes) for _ in range(size)]
    assert joined.scale.shape == (1, 2)


# Accumulation


@pytest.mark.parametrize("accumulate", [2, 4])
def test_micro_batches_add_up_to_the_global_batch(accumulate):
    task = recovery()
    nets = [network(task), network(task)]
    for net, count in zip(nets, (1, accumulate), strict=True):
        fit(net, task, [Stage(20, rate=1e-2, batch=16, clip=0.5)], machine=Machine(accumulate=count), quiet=True)
    for name, tensor in bits(nets[0]).items():
        torch.testing.assert_close(bits(nets[1])[name], tensor, rtol=1e-4, atol=1e-5)


# Workers and streams


@pytest.mark.slow
def test_workers_change_no_bit():
    task = recovery()
    nets = [network(task), network(task)]
    for net, workers in zip(nets, (0, 2), strict=True):
        fit(net, task, [Stage(6, batch=16), Stage(4, batch=8)], machine=Machine(workers=workers), quiet=True)
    assert same(bits(nets[0]), bits(nets[1]))


class Mortal(Recovery):
    def draw(self, batch, generator):
        if torch.utils.data.get_worker_info() is not None:
            os._exit(1)
        return super().draw(batch, generator)


@pytest.mark.slow
def test_a_worker_that_dies_is_named_and_the_run_can_be_taken_up(tmp_path):
    task = recovery(Mortal)
    with pytest.raises(
        RuntimeError,
        match=r"a worker that draws batches died.*use fewer workers or none.*goes on "
        r"from the last checkpoint",
    ):
        fit(network(task), task, [Stage(6, batch=16)], tmp_path, machine=Machine(workers=1), quiet=True)
    net, other = network(task), network(task)
    fit(net, task, [Stage(6, batch=16)], tmp_path, quiet=True)
    fit(other, task, [Stage(6, batch=16)], quiet=True)
    assert same(bits(net), bits(other))


class OnDisk(torch.utils.data.Dataset):
    """Counts what is read."""

    def __init__(self, count):
        self.count, self.read = count, []

    def __len__(self):
        return self.count

    def __getitem__(self, index):
        self.read.append(index)
        x = torch.randn(4, generator=torch.Generator().manual_seed(index))
        return x + 0.1, 2 * x


def test_pairs_are_read_as_they_are_needed_and_train():
    source = OnDisk(10_000)
    held = [OnDisk(50)[i] for i in range(50)]
    task = Pairs(source, held)
    assert source.read == []
    torch.manual_seed(0)
    net = MLP(4, 16, 4)
    history = fit(net, task, [Stage(200, rate=1e-2, batch=16)], quiet=True)
    assert len(source.read) == 200 * 16
    assert len(set(source.read)) > 2000
    assert history.best < -15
    assert task.identity().items() >= {"name": "pairs", "pairs": 10_000}.items()


def test_pairs_may_be_augmented_and_have_a_loss_of_their_own():
    pairs = [(torch.full((2,), float(k)), torch.full((2,), float(k))) for k in range(5)]
    task = Pairs(
        pairs,
        pairs,
        augment=lambda pair, generator: (pair[0] + torch.rand(2, generator=generator), pair[1]),
        loss=lambda a, b: (a - b).abs().max(),
    )
    samples = task.draw(6, generator(0))
    assert bool(((samples.data - samples.target) > 0).all())
    assert torch.equal(task.draw(6, generator(0)).data, samples.data)
    assert task.loss(torch.ones(1, 2), torch.tensor([[1.0, 3.0]])).item() == 2


@pytest.mark.parametrize(
    ("pairs", "message"),
    [
        ([], "training holds no pair"),
        ([torch.ones(3)], "sample 0 is a Tensor; a sample is a pair"),
        (
            [(torch.ones(8, 8), torch.ones(8, 8)), (torch.ones(8, 9), torch.ones(8, 9))],
            "differ in shape.*bring them to one size, with `augment`",
        ),
    ],
)
def test_pairs_that_are_none_or_of_mixed_size_are_refused(pairs, message):
    good = [(torch.ones(8, 8), torch.ones(8, 8))]
    with pytest.raises(ValueError, match=message):
        Pairs(pairs, good).draw(40, generator(0))
    with pytest.raises(ValueError, match=message.replace("training", "validation")):
        Pairs(good, pairs)
