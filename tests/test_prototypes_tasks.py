"""Tasks of other kinds, each through training, comparison and page with nothing changed in the library: no truth to
compare with, classes instead of numbers, two networks that are trained in turn, a loss that runs the network again.
"""

from typing import NamedTuple

import pytest
import torch
from test_checkpoints import KilledError
from tiny import bits, same
from torch import nn
from torch.nn.functional import cross_entropy, nll_loss, pad, softplus

from unrolling import Iteration, fit, unroll
from unrolling.algorithms import ThinISTA
from unrolling.core.constraints import Positive, constrain
from unrolling.evaluation.compare import compare_network
from unrolling.report.page import render
from unrolling.tasks.base import Task, evaluate
from unrolling.tasks.metrics import NMSE, Mean, MeanIoU
from unrolling.tasks.samples import Samples
from unrolling.training.batches import Share, batches
from unrolling.training.losses import Energy
from unrolling.training.stages import Constant, Stage, Turn


def seeded(number):
    return torch.Generator().manual_seed(number)


def compared(network, task, title):
    """A finished comparison and its page."""
    found = compare_network(network, task, title=title, generic_steps=20, quiet=True, effort="quick")
    page = render(found)
    assert title in page
    assert task.metric.name in page
    return found


# No truth: the potential energy of a loaded string


class String(Iteration):
    """x <- x - t (K x - f): the shape of a string of springs K under a load f, by steepest descent on its energy."""

    def __init__(self, nodes, step_size=0.2):
        super().__init__()
        stiffness = 2 * torch.eye(nodes) - torch.diag(torch.ones(nodes - 1), 1) - torch.diag(torch.ones(nodes - 1), -1)
        self.register_buffer("stiffness", stiffness)
        self.step_size = nn.Parameter(torch.tensor(step_size))
        constrain(self, "step_size", Positive())

    def prepare(self, data):
        return data

    def start(self, problem):
        return torch.zeros_like(problem)

    def forward(self, state, problem):
        return state - self.step_size * (state @ self.stiffness - problem)

    def estimate(self, state, problem):
        return state

    def objective(self, state, problem):
        return energy(state, problem, self.stiffness)


def energy(x, load, stiffness):
    return 0.5 * (x @ stiffness * x).sum(1) - (load * x).sum(1)


class Loads(Task):
    """Nobody says what the shape is; the physics says what it costs."""

    name, summary = "string", "The shape of a string under a load."

    def __init__(self, nodes=6):
        self.nodes, self.stiffness = nodes, String(nodes).stiffness
        self.metric = Mean("energy", "J", "lower", "load", places=4, each=self.energies)
        self.validation, self.test = ([self.draw(30, seeded(k))] for k in (1, 2))
        self.timing = self.test[0]

    def energies(self, estimate, samples):
        return energy(estimate, samples.data, self.stiffness)

    def draw(self, batch, generator):
        return Samples(torch.randn(batch, self.nodes, generator=generator) / self.nodes)

    def loss(self, estimate, target, data):
        assert target is None
        return energy(estimate, data, self.stiffness).mean()


def test_a_task_without_truth_trains_on_its_energy_and_is_compared():
    task = Loads()
    net = unroll(String(6), 4, untied="step_size")
    before = task.metric.value(evaluate(net, task, task.test))
    by_loss, by_objective = (unroll(String(6), 4, untied="step_size") for _ in range(2))
    fit(by_loss, task, [Stage(60, rate=3e-2, batch=32)], quiet=True)
    fit(by_objective, task, [Stage(60, rate=3e-2, batch=32, loss=Energy())], quiet=True)
    # The task's own loss and the parent's objective are one number.
    for left, right in zip(by_loss.parameters(), by_objective.parameters(), strict=True):
        torch.testing.assert_close(left, right, rtol=1e-4, atol=1e-6)
    after = task.metric.value(evaluate(by_loss, task, task.test))
    exact = torch.linalg.solve(task.stiffness, task.test[0].data, left=False)
    least = task.metric.value(task.pieces(exact, task.test[0]))
    assert least < after < before - 0.1 * (before - least)
    found = compared(by_loss, task, "Unrolled string")
    assert found.row("network").quality.mean == pytest.approx(after)
    assert found.row("network").quality.low < after < found.row("network").quality.high
    # No truth, so no linear estimate of it and no network fitted to it: not even one that failed.
    assert {row.role for row in found.rows} == {"network", "initial", "parent"}
    assert "nan" not in found.headline


# Classes: segmentation by mean fields


class Field(NamedTuple):
    """Chances of the classes at each pixel, (batch, classes, height, width)."""

    chances: torch.Tensor


class MeanField(Iteration):
    """q <- softmax(-(y - m_c)^2 / 2 s^2 + b sum of the neighbours' q_c): a Potts model with class means m."""

    def __init__(self, means, smoothness=0.1):
        super().__init__()
        self.means = nn.Parameter(torch.as_tensor(means))
        self.smoothness = nn.Parameter(torch.tensor(smoothness))

    def prepare(self, data):
        return data

    def start(self, problem):
        return Field(torch.softmax(self.evidence(problem), 1))

    def evidence(self, data):
        return -8 * (data.unsqueeze(1) - self.means.view(1, -1, 1, 1)).square()

    def forward(self, state, problem):
        q = pad(state.chances, (1, 1, 1, 1))
        around = q[..., :-2, 1:-1] + q[..., 2:, 1:-1] + q[..., 1:-1, :-2] + q[..., 1:-1, 2:]
        return Field(torch.softmax(self.evidence(problem) + self.smoothness * around, 1))

    def estimate(self, state, problem):
        return state.chances


class Segmentation(Task):
    """Pictures of three classes in blocks, with noise."""

    name, summary, vectors = "segmentation", "Which class is each pixel of?", False

    def __init__(self):
        self.metric = MeanIoU(classes=3)
        self.validation, self.test = ([self.draw(24, seeded(k))] for k in (1, 2))
        self.timing = self.test[0]

    def draw(self, batch, generator):
        blocks = torch.randint(3, (batch, 3, 4), generator=generator)
        labels = blocks.repeat_interleave(4, 1).repeat_interleave(4, 2)
        noise = 0.25 * torch.randn(labels.shape, generator=generator)
        return Samples(torch.tensor([0.0, 0.4, 1.0])[labels] + noise, labels)

    def loss(self, estimate, target):
        return nll_loss(estimate.clamp_min(1e-6).log(), target)


def test_a_segmentation_is_trained_and_compared_by_mean_iou():
    task = Segmentation()
    net = unroll(MeanField([0.0, 0.5, 1.0]), 3, tied="means", untied="smoothness")
    before = task.metric.value(evaluate(net, task, task.test))
    history = fit(net, task, [Stage(60, rate=1e-1, batch=16)], choose="best", quiet=True)
    after = task.metric.value(evaluate(net, task, task.test))
    assert after > before + 0.05
    assert history.best == max(value for _, _, value in history.validations)
    found = compared(net, task, "Unrolled mean field")
    network, initial = found.row("network"), found.row("initial")
    assert network.quality.mean == pytest.approx(after)
    assert 0 < network.quality.low < after < network.quality.high < 1
    # Paired, on the same pictures: the untrained network is worse.
    assert initial.paired.high < 0
    assert initial.paired.significant
    assert found.to_json()["metric"]["resampled"] == "picture"


# Two networks in turn


class Rivals(nn.Module):
    """A generator of sparse signals from their measurements, and a critic of what it makes."""

    def __init__(self, matrix):
        super().__init__()
        torch.manual_seed(0)
        self.generator = unroll(ThinISTA(matrix, 0.1), 2, untied="threshold", tied="encoder")
        self.critic = nn.Sequential(nn.Linear(matrix.shape[1], 8), nn.Tanh(), nn.Linear(8, 1))

    def forward(self, data):
        return self.generator(data)


def fool(estimate, target, network):
    """Near the truth, and such that the critic takes it for true."""
    return (estimate - target).square().mean() + 0.01 * softplus(-network.critic(estimate)).mean()


def tell(estimate, target, network):
    """Told apart from the truth."""
    return softplus(-network.critic(target)).mean() + softplus(network.critic(estimate)).mean()


class Sparse(Task):
    """Sparse signals from a few measurements."""

    name, summary = "sparse", "A sparse signal from fewer measurements than it has numbers."
    metric = NMSE
    left = 10**9

    def __init__(self):
        self.matrix = torch.nn.functional.normalize(torch.randn(6, 10, generator=seeded(0)), dim=0)
        self.validation, self.test = ([self.made(40, seeded(k))] for k in (1, 2))
        self.timing = self.test[0]

    def made(self, batch, generator):
        x = torch.randn(batch, 10, generator=generator)
        x = x * (torch.rand(batch, 10, generator=generator) < 0.2)
        return Samples(x @ self.matrix.T, x)

    def draw(self, batch, generator):
        if self.left == 0:
            raise KilledError
        self.left -= 1
        return self.made(batch, generator)


TURNS = (Turn("generator", fool, rate=1e-2), Turn("critic", tell, steps=2))
IN_TURN = Stage(12, rate=3e-3, batch=16, annealing=Constant(), turns=TURNS)


def test_networks_in_turn_take_the_steps_of_a_loop_written_by_hand():
    task = Sparse()
    net, other = Rivals(task.matrix), Rivals(task.matrix)
    fit(net, task, [IN_TURN], seed=5, quiet=True)
    drawn = batches(task, IN_TURN, Share(), seed=5, first=0, begin=0)
    generator = torch.optim.Adam([p for p in other.generator.parameters() if p.requires_grad], lr=1e-2)
    critic = torch.optim.Adam(other.critic.parameters(), lr=3e-3)
    for step, (samples,) in enumerate(drawn):
        optimizer, loss = (generator, fool) if step % 3 == 0 else (critic, tell)
        other.zero_grad()
        estimate = other(samples.data)
        loss(estimate if step % 3 == 0 else estimate.detach(), samples.target, other).backward()
        optimizer.step()
    for (name, found), expected in zip(net.state_dict().items(), other.state_dict().values(), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6, msg=name)
    assert not same(bits(net), bits(Rivals(task.matrix)))


@pytest.mark.parametrize("left", [1, 17, 40])
def test_networks_in_turn_resume_to_the_bit(left, tmp_path):
    task = Sparse()
    whole = Rivals(task.matrix)
    fit(whole, task, [IN_TURN], quiet=True)
    task.left = left
    with pytest.raises(KilledError):
        fit(Rivals(task.matrix), task, [IN_TURN], tmp_path, checkpoint_seconds=0, quiet=True)
    task.left = 10**9
    net = Rivals(task.matrix)
    history = fit(net, task, [IN_TURN], tmp_path, quiet=True)
    assert history.steps == 12
    assert same(bits(net), bits(whole))


def test_nothing_but_the_network_whose_turn_it_is_moves():
    task = Sparse()
    for steps, moved in ((1, "generator"), (2, "critic")):
        net = Rivals(task.matrix)
        before = bits(net)
        turns = (Turn(moved, fool if moved == "generator" else tell), Turn("critic", tell))[:steps]
        turns = turns if moved == "generator" else turns[1:]
        fit(net, task, [Stage(3, batch=8, turns=turns)], quiet=True)
        changed = {name.split(".")[0] for name, value in bits(net).items() if not torch.equal(value, before[name])}
        assert changed == {moved}
        assert all(p.requires_grad for p in net.critic.parameters())


def test_a_network_trained_in_turn_is_compared():
    task = Sparse()
    net = Rivals(task.matrix)
    before = task.metric.value(evaluate(net, task, task.test))
    turns = (Turn("generator", fool, rate=1e-2), Turn("critic", tell))
    history = fit(net, task, [Stage(200, rate=3e-3, batch=32, turns=turns)], choose="best", quiet=True)
    assert history.best < before - 1
    assert {change.key.split(".")[0] for change in history.health.changes if change.learned} == {"generator", "critic"}
    found = compared(net.generator, task, "ISTA with a critic")
    assert found.row("network").quality.mean == pytest.approx(task.metric.value(evaluate(net, task, task.test)))


@pytest.mark.parametrize(
    ("stage", "message"),
    [
        (lambda: Stage(3, turns=(Turn("judge", tell),)), "names 'judge', which is not learned; learned are"),
        (lambda: Stage(3, turns=TURNS, loss=cross_entropy), "takes losses and parameters from them"),
        (lambda: Stage(3, turns=(Turn("critic", tell, steps=0),)), "the turn of 'critic' has 0 steps"),
        (lambda: Stage(3, turns=(Turn("critic", tell, rate=-1.0),)), "the turn of 'critic' has -1.0"),
        (lambda: Stage(3, turns=(Turn("critic", Energy()),)), "trains on the energy, and Rivals has no `objective`"),
    ],
)
def test_turns_that_mean_nothing_are_refused(stage, message):
    task = Sparse()
    with pytest.raises(ValueError, match=message):
        fit(Rivals(task.matrix), task, [stage()], quiet=True)


def test_several_networks_without_an_answer_are_refused():
    task = Sparse()
    parts = nn.ModuleDict({"generator": nn.Linear(6, 10), "critic": nn.Linear(10, 1)})
    with pytest.raises(ValueError, match=r"ModuleDict has no `forward`: write a module whose forward\(data\) is"):
        fit(parts, task, [Stage(2, turns=(Turn("critic", tell),))], quiet=True)


# A loss that runs the network again


class Gain(nn.Module):
    """x' = a y."""

    def __init__(self):
        super().__init__()
        self.gain = nn.Parameter(torch.tensor(1.0))

    def forward(self, data):
        return self.gain * data


def unbiased_risk(estimate, target, data, network, noise=0.5, step=1e-3):
    """Stein's estimate of the squared error from noisy data alone, its divergence by a random probe (Ramani, Blu and
    Unser 2008).
    """
    probe = torch.randn(data.shape, generator=seeded(9))
    divergence = (probe * (network(data + step * probe) - estimate)).mean() / step
    return (estimate - data).square().mean() - noise**2 + 2 * noise**2 * divergence


class Noisy(Task):
    """Signals of variance 1 in noise of variance 1 / 4; only the scores know the signals."""

    name, summary, metric = "noisy", "A signal in noise.", NMSE

    def __init__(self):
        clean = torch.randn(200, 20, generator=seeded(1))
        self.validation = self.test = [Samples(clean + 0.5 * torch.randn(200, 20, generator=seeded(2)), clean)]
        self.timing = self.test[0]

    def draw(self, batch, generator):
        return Samples(1.25**0.5 * torch.randn(batch, 20, generator=generator))


def test_a_loss_that_needs_no_truth_finds_the_gain_of_wiener():
    net = Gain()
    fit(net, Noisy(), [Stage(150, rate=2e-2, batch=256, loss=unbiased_risk)], quiet=True)
    assert net.gain.item() == pytest.approx(1 / 1.25, abs=0.02)
