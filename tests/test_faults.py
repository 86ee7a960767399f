"""A loss, a gradient or a state that is no number: the run stops, says where, and what was good is kept."""

import json

import pytest
import torch
from test_checkpoints import SCHEDULE, Interrupted, newest
from tiny import bits, network, recovery, same
from torch import nn

from unrolling import unroll
from unrolling.algorithms import ISTA, GramISTA
from unrolling.tasks.base import evaluate
from unrolling.tasks.pairs import Pairs
from unrolling.tasks.sparse.recovery import Recovery
from unrolling.training import files
from unrolling.training.batches import like_network
from unrolling.training.checkpoints import PATTERN
from unrolling.training.fit import LOG, fit
from unrolling.training.losses import Energy
from unrolling.training.stages import Constant, Patience, Stage
from unrolling.training.supervised import Given, Supervised


@pytest.fixture(scope="module")
def uninterrupted():
    task = recovery(Interrupted)
    net = network(task)
    fit(net, task, SCHEDULE, seed=3, quiet=True)
    return bits(net)


class Poisoned(Recovery):
    """After some good steps its loss is no finite number."""

    good = 10**9
    poison = float("nan")
    grains = 1

    def draw(self, batch, generator):
        self.good -= 1
        return super().draw(batch, generator)

    def loss(self, estimate, target):
        return super().loss(estimate, target) * (1.0 if self.good >= 0 else self.poison)


@pytest.mark.parametrize("poison", [float("nan"), float("inf")])
@pytest.mark.parametrize("good", [0, 5, 9, 12])
def test_a_loss_that_is_no_number_stops_the_run_and_the_last_checkpoint_is_good(poison, good, uninterrupted, tmp_path):
    task = recovery(Poisoned)
    task.good, task.poison = good, poison
    net = network(task)
    with pytest.raises(
        ArithmeticError,
        match=rf"the loss became (nan|inf) at step {good + 1} of 17: all parameters "
        r"and states are finite.*Lower the learning",
    ):
        fit(net, task, SCHEDULE, tmp_path, seed=3, checkpoint_seconds=0, quiet=True)
    if good:
        tensors, record = files.read(newest(tmp_path))
        assert record["stage"] * 9 + record["step"] == good
        assert all(bool(tensor.isfinite().all()) for name, tensor in tensors.items() if name.startswith("network."))
        assert all(
            torch.equal(tensors[f"network.{name}"], tensor)
            for name, tensor in bits(net).items()
            if f"network.{name}" in tensors
        )
    task = recovery(Interrupted)
    net = network(task)
    fit(net, task, SCHEDULE, tmp_path, seed=3, quiet=True)
    assert same(bits(net), uninterrupted)


class NoGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx, loss):
        return loss.clone()

    @staticmethod
    def backward(ctx, grad):
        return grad * float("nan")


class Steep(Poisoned):
    """After some good steps its loss is finite and its gradient is not, as that of a square root at zero."""

    def loss(self, estimate, target):
        loss = Recovery.loss(self, estimate, target)
        return loss if self.good >= 0 else NoGradient.apply(loss)


@pytest.mark.parametrize("clip", [None, 1.0])
def test_a_gradient_that_is_no_number_names_its_layer_and_does_not_get_into_the_checkpoint(clip, tmp_path):
    task = recovery(Steep)
    task.good = 5
    net = network(task)
    with pytest.raises(
        ArithmeticError,
        match=r"(inhibition|encoder.matrix|threshold) \(layer 2\) became NaN or "
        r"infinite, and so did \d other",
    ):
        fit(net, task, [Stage(12, batch=4, clip=clip)], tmp_path, checkpoint_seconds=0, quiet=True)
    tensors, record = files.read(newest(tmp_path))
    assert record["step"] == 5
    assert all(bool(tensor.isfinite().all()) for name, tensor in tensors.items() if name.startswith("network."))
    assert all(bool(p.isfinite().all()) for p in net.parameters())


def test_a_network_ruined_by_the_last_step_is_neither_returned_nor_saved(tmp_path):
    task = recovery(Steep)
    for folder in (None, tmp_path):
        task.good = 7
        net = network(task)
        before = bits(net)
        with pytest.raises(ArithmeticError, match="the network is as it was"):
            fit(net, task, [Stage(8, batch=4)], folder, validations=0, checkpoint_seconds=1000, quiet=True)
        assert same(bits(net), before)
    assert not list(tmp_path.glob(PATTERN))


def test_a_state_that_overflows_names_its_layer():
    task = recovery()
    net = network(task)
    with torch.no_grad():
        for layer in net.layers[1:]:
            layer.inhibition.mul_(1e25)
    with pytest.raises(
        ArithmeticError,
        match=r"the loss became (inf|nan) at step 1 of 3: state is no longer finite "
        r"after layer 2, all parameters",
    ):
        fit(net, task, [Stage(3, batch=8)], quiet=True)


def test_the_log_stays_json_when_the_loss_is_no_number(tmp_path):
    task = recovery(Poisoned)
    task.good = 3
    with pytest.raises(ArithmeticError):
        fit(network(task), task, [Stage(5, batch=2)], tmp_path, quiet=True)
    for line in (tmp_path / LOG).read_text().splitlines():
        json.loads(line, parse_constant=pytest.fail)


# What a run depends on


def test_a_run_around_another_dictionary_of_the_same_shape_is_refused_and_no_tensor_of_the_callers_is_written(tmp_path):
    task = recovery()
    other = task.dictionary.roll(1, 1).contiguous()
    kept = other.clone()
    fit(unroll(GramISTA(task.dictionary, 0.1), 2, untied="threshold"), task, [Stage(3, batch=4)], tmp_path, quiet=True)
    net = unroll(GramISTA(other, 0.1), 2, untied="threshold")
    with pytest.raises(ValueError, match=r"is the checkpoint of another run \(network differ\)"):
        fit(net, task, [Stage(3, batch=4)], tmp_path, quiet=True)
    assert torch.equal(other, kept)
    again = unroll(GramISTA(task.dictionary, 0.1), 2, untied="threshold")
    fit(again, task, [Stage(3, batch=4)], tmp_path, quiet=True)
    assert torch.equal(again.parent.encoder.matrix, GramISTA(task.dictionary, 0.1).encoder.matrix)


class Around(nn.Module):
    """A plain module that holds its caller's own tensor."""

    def __init__(self, matrix):
        super().__init__()
        self.register_buffer("matrix", matrix)
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, data):
        return self.scale * data @ self.matrix


def test_a_plain_module_around_another_matrix_is_refused_too(tmp_path):
    task = recovery()
    own, other = task.dictionary.clone(), -task.dictionary
    fit(Around(own), task, [Stage(2, batch=4)], tmp_path, quiet=True)
    assert torch.equal(own, task.dictionary)
    with pytest.raises(ValueError, match=r"another run \(network differ\)"):
        fit(Around(other), task, [Stage(2, batch=4)], tmp_path, quiet=True)
    assert torch.equal(other, -task.dictionary)


def pairs(seed, count=12):
    given = torch.Generator().manual_seed(seed)
    return [(torch.randn(8, generator=given), torch.randn(8, generator=given)) for _ in range(count)]


@pytest.mark.parametrize("changed", ["training", "validation"])
def test_a_run_with_other_pairs_of_the_same_number_is_refused(changed, tmp_path):
    parts = {"training": pairs(0), "validation": pairs(1, 6)}
    fit(nn.Linear(8, 8), Pairs(**parts), [Stage(2, batch=4)], tmp_path, quiet=True)
    parts[changed] = pairs(2, len(parts[changed]))
    with pytest.raises(ValueError, match=r"another run \(task differ\)"):
        fit(nn.Linear(8, 8), Pairs(**parts), [Stage(2, batch=4)], tmp_path, quiet=True)


class Augmented(list):
    """Pairs that differ each time they are read."""

    def __getitem__(self, index):
        data, target = super().__getitem__(index)
        return data + torch.randn(8), target


def test_pairs_that_differ_each_time_they_are_read_have_no_fingerprint():
    assert Pairs(Augmented(pairs(0)), pairs(1)).identity() == {"name": "pairs", "pairs": 12}
    assert Pairs(pairs(0), pairs(1)).identity() != Pairs(pairs(3), pairs(1)).identity()


def test_pairs_without_a_test_set_say_so():
    assert "No test pairs were given: scores are of the validation pairs" in Pairs(pairs(0), pairs(1)).summary
    assert "No test pairs" not in Pairs(pairs(0), pairs(1), pairs(2)).summary


def test_pairs_without_targets_are_drawn_and_mixed_ones_refused():
    blind = [(data, None) for data, _ in pairs(0)]
    drawn = Pairs(blind, blind).draw(5, torch.Generator())
    assert drawn.target is None
    assert drawn.data.shape == (5, 8)
    with pytest.raises(ValueError, match="sample 1 has no target, and others have one"):
        Pairs(pairs(0), [pairs(0)[0], blind[1]])
    with pytest.raises(ValueError, match="the samples of pairs have no target"):
        fit(nn.Linear(8, 8), Pairs(blind, pairs(1)), [Stage(2, batch=4)], quiet=True)


# The best weights


class Planned(Recovery):
    """Its validations have the values that a list says, one after the other; the metric is lower the better."""

    def pieces(self, estimate, samples):
        value = self.values.pop(0)
        return torch.tensor([[10 ** (value / 10), 1.0]], dtype=torch.float64)


def planned(values):
    task = recovery(Planned)
    task.values = list(values)
    return task


def test_the_best_is_chosen_among_networks_of_one_depth_and_is_the_network_that_is_returned():
    task = recovery(held_out=100)
    net = network(task)
    # One layer trained well, then three layers ruined.
    schedule = [Stage(200, depth=1, rate=1e-2, batch=64), Stage(20, rate=3.0, batch=8, annealing=Constant())]
    history = fit(net, task, schedule, choose="best", validations=44, quiet=True)
    assert min(value for stage, _, value in history.validations if stage == 0) < history.best
    assert task.metric.value(evaluate(net, task, task.validation)) == pytest.approx(history.best, abs=1e-5)


def test_a_validation_that_is_nan_is_neither_the_best_nor_the_end_of_patience(tmp_path):
    nan = float("nan")
    stop = Patience(20, every=10)
    schedule = [Stage(60, rate=1e-3, batch=2, stop=stop)]
    history = fit(network(recovery()), planned([nan, -1, -2, -3, -4, -5]), schedule, validations=0, quiet=True)
    assert (history.steps, history.best) == (60, pytest.approx(-5))
    values = [-1, nan, nan, nan]
    stopped = fit(network(recovery()), planned(values), schedule, tmp_path, validations=1, choose="best", quiet=True)
    assert (stopped.steps, stopped.best) == (30, pytest.approx(-1))
    resumed = fit(network(recovery()), planned([]), schedule, tmp_path, validations=1, choose="best", quiet=True)
    assert resumed.best == stopped.best


# Precision


def test_the_energy_of_a_complex_network_has_its_own_gradient():
    generator = torch.Generator().manual_seed(0)
    matrix = torch.randn(8, 12, dtype=torch.complex128, generator=generator) / 4
    y = torch.randn(5, 8, dtype=torch.complex128, generator=generator)
    parent = ISTA(matrix, 0.1)
    net = unroll(parent, 3, untied="threshold")
    loss = Supervised(net, recovery(), Stage(1, loss=Energy()))(Given(y, None))
    problem = parent.prepare(y)
    assert loss.dtype == torch.float64
    assert loss.item() == pytest.approx(parent.objective(net.run(y), problem).mean().item(), rel=1e-12)
    real = parent.objective(net.run(y).real.to(y.dtype), problem).mean()
    assert abs(loss.item() - real.item()) > 1e-3 * abs(real.item())


class Mixed(nn.Module):
    """Two precisions in one module."""

    def __init__(self):
        super().__init__()
        self.coarse = nn.Linear(2, 2)
        self.fine = nn.Linear(2, 2).double()


def test_no_precision_is_forced_on_data_of_a_module_with_several():
    data = (torch.zeros(1, 2, dtype=torch.float64), torch.zeros(1, 2), torch.zeros(1, dtype=torch.int64))
    assert [t.dtype for t in like_network(data, Mixed())] == [torch.float64, torch.float32, torch.int64]
    assert [t.dtype for t in like_network(data, nn.Linear(2, 2))] == [torch.float32, torch.float32, torch.int64]
    real = nn.Linear(2, 2, dtype=torch.complex128)
    assert like_network(torch.zeros(1, 2), real).dtype == torch.float64
