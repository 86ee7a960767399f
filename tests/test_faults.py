"""A loss, a gradient or a state that is no number: the run stops, says where, and what was good is kept."""

import json

import pytest
import torch
from test_checkpoints import SCHEDULE, Interrupted, newest
from tiny import bits, network, recovery, same

from unrolling.tasks.sparse.recovery import Recovery
from unrolling.training import files
from unrolling.training.checkpoints import PATTERN
from unrolling.training.fit import LOG, fit
from unrolling.training.stages import Stage


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
