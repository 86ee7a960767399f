"""DURR: fixed depth, rewards, gradients of a tied unit, stopping sample by sample, and bad input."""

import json

import numpy as np
import pytest
import torch
from iterations import gaussian
from pictured import scene, small_task, uint8
from PIL import Image
from tiny import moved
from torch import nn

from unrolling import DivergenceError, fit, solve
from unrolling import unroll as unrolled
from unrolling.algorithms.images.diffusion import Diffusion, EdgeStopping
from unrolling.algorithms.images.halting import HaltingRestoration
from unrolling.algorithms.splitting.data_terms import LeastSquares
from unrolling.networks.restoration_unit import RestorationUnit, StoppingPolicy
from unrolling.operators import FilterBank, Identity
from unrolling.operators.filters import zero_mean_atoms
from unrolling.systems.catalogue import find
from unrolling.tasks.images.blind_denoising import BlindDenoising
from unrolling.testing import check_iteration
from unrolling.training.halting_losses import DepthByLevel, ExpectedReward, TemporalDifference, decibels
from unrolling.training.stages import Power, Stage
from unrolling.training.weights import save_weights

NAMES = ("imaging/durr", "imaging/durr_q")


class Until(nn.Module):
    """A policy that goes on while the picture's mean is above a level; it remembers nothing."""

    features = 1

    def __init__(self, level):
        super().__init__()
        self.level = level

    def forward(self, x, memory):
        return x.mean((1, 2)) - self.level, memory


class Fading(nn.Module):
    """f(x) = -rate x."""

    def __init__(self, rate=0.25):
        super().__init__()
        self.rate = nn.Parameter(torch.tensor(rate))

    def forward(self, x):
        return -self.rate * x


def active(channels=3, blocks=1, seed=0):
    """A unit that changes something."""
    torch.manual_seed(seed)
    unit = RestorationUnit(channels, blocks)
    nn.init.normal_(unit.last.weight, std=0.05)
    return unit


def restorer(policy=None, unit=None):
    return HaltingRestoration(LeastSquares(Identity()), active() if unit is None else unit, policy)


def constant(value):
    policy = StoppingPolicy(2, 2)
    nn.init.constant_(policy.last.bias, value)
    return policy


def test_a_policy_that_is_constant_is_a_fixed_number_of_steps_to_the_bit():
    y, unit = scene(20, 23), active()
    forever, never = (unrolled(restorer(policy, unit), 4) for policy in (constant(1.0), constant(-1.0)))
    x = y
    for _ in range(4):
        x = x + unit(x)
    assert torch.equal(forever(y), x)
    assert torch.equal(unrolled(restorer(None, unit), 4)(y), x)
    assert torch.equal(never(y), y)
    assert float((x - y).detach().abs().max()) > 1e-3


def test_steps_of_the_tied_unit_are_those_of_copies_whose_gradients_are_added():
    y, unit = scene(12, 14), active()
    network = unrolled(restorer(None, unit), 3, tied=("unit",))
    network(y).square().sum().backward()
    tied = [p.grad for p in network.parameters()]
    copies = unrolled(restorer(None, unit), 3, untied=("unit",))
    copies(y).square().sum().backward()
    apart = [[p.grad for p in layer.parameters()] for layer in copies.layers]
    for whole, parts in zip(tied, zip(*apart, strict=True), strict=True):
        torch.testing.assert_close(whole, sum(parts), atol=1e-4, rtol=1e-4)


def test_minus_the_gradient_of_an_energy_is_diffusion_without_data():
    bank, influence = FilterBank(zero_mean_atoms(3, torch.float64)), EdgeStopping(0.1, 0.1).double()

    class Descent(nn.Module):
        def forward(self, x):
            return -bank.adjoint(influence(bank(x)))

    y = scene(15, 17).double()
    wanted = unrolled(Diffusion(LeastSquares(Identity()), bank, influence, 0.0), 5)(y)
    torch.testing.assert_close(unrolled(restorer(None, Descent()), 5)(y), wanted, atol=1e-12, rtol=0)


def test_each_picture_stops_by_itself_in_the_solver_as_in_the_network():
    """The mean falls by a quarter in each step and is to come below 0.3."""
    y = torch.tensor([0.2, 0.35, 0.5, 0.9]).reshape(-1, 1, 1).expand(-1, 8, 8).contiguous()
    iteration = restorer(Until(0.3), Fading())
    wanted = torch.tensor([0.2, 0.2625, 0.28125, 0.9 * 0.75**4]).reshape(-1, 1, 1).expand(-1, 8, 8)
    found = solve(iteration, y, max_iterations=20)
    torch.testing.assert_close(found.estimate, wanted)
    torch.testing.assert_close(unrolled(iteration, 8)(y), wanted)
    assert found.iterations.tolist() == [1, 1, 2, 4]
    assert bool(found.converged.all())
    short = unrolled(iteration, 2)(y)
    torch.testing.assert_close(short[3], 0.9 * 0.75**2 * torch.ones(8, 8))


def test_a_picture_that_leaves_the_finite_numbers_is_named():
    y = torch.tensor([0.0, 1.0]).reshape(-1, 1, 1).expand(-1, 4, 4).contiguous()
    with pytest.raises(ArithmeticError, match="the state of sample 1 is no longer finite"):
        solve(restorer(Until(0.5), Fading(-1e30)), y)


def stages(loss, iteration, y, target, depth=5):
    """The loss of each step."""
    problem = iteration.prepare(y)
    state, found = iteration.start(problem), []
    for _ in range(depth):
        state = iteration(state, problem)
        found.append((loss(state.answer, target, state=state), state))
    return found


def test_rewards_add_up_to_the_gain():
    """Soft halting with a policy that surely goes on: minus the PSNR gained over all steps. With one that draws lots:
    the expected PSNR at the stop, written out.
    """
    target, iteration = scene(20, 20), restorer(constant(40.0))
    y = target + 0.1 * gaussian(1, 20, 20).float()
    losses = stages(ExpectedReward(), iteration, y, target)
    gain = decibels(losses[-1][1].x, target) - decibels(y, target)
    torch.testing.assert_close(-sum(loss for loss, _ in losses), gain.mean(), atol=1e-4, rtol=0)
    iteration = restorer(constant(0.5))
    losses = stages(ExpectedReward(), iteration, y, target)
    chance, states = torch.sigmoid(torch.tensor(0.5)), [state for _, state in losses]
    gains = [decibels(y, target), *(decibels(state.x, target) for state in states)]
    expected = sum((1 - chance) * chance**n * gains[n] for n in range(5)) + chance**5 * gains[5] - gains[0]
    torch.testing.assert_close(-sum(loss for loss, _ in losses), expected.mean(), atol=1e-4, rtol=0)


def test_the_true_values_have_no_temporal_difference():
    """q of each decision, from the last one back: what is gained by the best stop after it."""
    target = scene(20, 20)
    y = target + 0.1 * gaussian(1, 20, 20).float()
    losses = stages(TemporalDifference(2.0), restorer(constant(1.0)), y, target)
    states = [state for _, state in losses]
    best, true = torch.zeros(1), []
    for state in reversed(states):
        gain = 2.0 * (decibels(state.x, target) - decibels(state.before, target))
        value = gain + best.clamp_min(0)
        true.append((state._replace(asked=value, value=best), value))
        best = value
    for state, _ in true:
        assert float(TemporalDifference(2.0)(state.answer, target, state=state)) < 1e-9


def test_the_unit_is_asked_for_as_many_steps_as_there_is_noise():
    target = torch.rand(3, 40, 40)
    noise = torch.tensor([0.5, 12.0, 500.0]).reshape(-1, 1, 1) / 255
    data = target + noise * torch.where(torch.rand(target.shape) < 0.5, 1.0, -1.0)
    loss = DepthByLevel(6.0, 8)
    assert loss.steps(data, target).tolist() == [1, 2, 8]
    network = unrolled(restorer(), 8)
    states = list(network.trajectory(data))
    total = sum(loss(state.answer, target, data, state) for state in states)
    wanted = [decibels(states[n - 1].x, target)[k] for k, n in enumerate((1, 2, 8))]
    torch.testing.assert_close(total, -torch.stack(wanted).mean())
    late = DepthByLevel(6.0, 8, after=0.5)
    found = sum(late(state.answer, target, data, state) for state in states)
    after = [decibels(states[n].x, target)[k] for k, n in enumerate((1, 2))]  # there is no ninth step
    torch.testing.assert_close(found, total - 0.5 * torch.stack(after).sum() / 3)


def test_it_is_a_sound_iteration():
    check_iteration(
        restorer(constant(1.0), active(1, 0)).double(),
        scene(9, 9, channels=3).double(),
        depth=2,
        skip=("compile", "export"),
    )


@pytest.mark.parametrize("name", NAMES)
def test_before_training_nothing_changes_and_the_policy_learns_alone(name):
    system, task = find(name), small_task("blind_denoising")
    recipe = system.recipes["blind_denoising"]
    network = system.network(recipe, task, 3)
    y = task.draw(2, torch.Generator().manual_seed(0)).data
    assert torch.equal(network(y), y)
    assert sum(p.numel() for p in network.parameters()) == 42_049
    unit, policy, *again = recipe.schedule(3)
    assert [stage.parameters for stage in again] == [("policy",)]
    short = [Stage(**{**vars(stage), "steps": 2, "batch": 2}) for stage in (unit, policy)]
    before = {key: value.clone() for key, value in network.learned().items()}
    fit(network, task, short[:1], validations=0, quiet=True)
    middle = {key: value.clone() for key, value in network.learned().items()}
    fit(network, task, short[1:], validations=0, quiet=True)
    after = network.learned()
    moved = [
        {key for key in one if not torch.equal(one[key], two[key])} for one, two in ((before, middle), (middle, after))
    ]
    assert {key.split(".")[0] for key in moved[0]} == {"unit"}
    assert {key.split(".")[0] for key in moved[1]} == {"policy"}


def test_losses_of_layers_are_taken_of_all_steps():
    assert Power(0).weights(4) == [0.25] * 4


@pytest.mark.parametrize(("least", "most"), [(0.0, 5.0), (20.0, 10.0), (1.0, float("inf"))])
def test_levels_out_of_order_are_refused(least, most):
    with pytest.raises(ValueError, match="levels are above 0, of 255, the smaller first"):
        BlindDenoising(least, most)


def test_what_is_no_picture_is_refused():
    network = unrolled(restorer(constant(1.0)), 2)
    with pytest.raises(TypeError, match=r"torch\.complex64"):
        network(torch.rand(1, 8, 8).to(torch.complex64))
    with pytest.raises((ValueError, TypeError)):
        network(torch.rand(8, 8))


@pytest.fixture
def held(tmp_path):
    """A network whose unit does something and whose policy goes on, with its weights file."""
    system, task = find("imaging/durr"), small_task("blind_denoising")
    network = moved(system.network(system.recipes["blind_denoising"], task, 4), size=0.02).eval()
    network.load_learned({**network.learned(), "policy.last.bias": torch.tensor([5.0])})
    path = tmp_path / "durr.safetensors"
    save_weights(network, path, {"system": "imaging/durr", "task": task.identity(), "seed": 0}, task.fixed_tensors())
    return network, path


@pytest.mark.parametrize(("channels", "size"), [(1, (41, 38)), (3, (30, 33)), (3, (2, 5))])
def test_files_are_restored_colour_by_colour_as_the_network_does_it(unroll, held, tmp_path, channels, size):
    values = uint8(scene(*size, channels=channels).movedim(0, -1).numpy())
    source, output = tmp_path / "photo.png", tmp_path / "restored.png"
    Image.fromarray(values[..., 0] if channels == 1 else values).save(source)
    status, out, error = unroll("apply", "imaging/durr", source, "-o", output, "--weights", held[1], "--json")
    assert status == 0, error
    assert json.loads(out)["steps"] == [4] * channels
    planes = torch.from_numpy(values.astype(np.float32) / 255).movedim(-1, 0)
    if min(size) >= 8:
        with torch.no_grad():
            wanted = uint8(held[0](planes).numpy())
        got = np.asarray(Image.open(output)).reshape(*size, channels).transpose(2, 0, 1)
        assert int(np.abs(got.astype(int) - wanted.astype(int)).max()) <= 1


def test_a_policy_that_stops_at_once_gives_the_file_back(unroll, held, tmp_path):
    network, path = held
    values = network.learned()
    values["policy.last.bias"] = torch.tensor([-5.0])
    network.load_learned(values)
    task = small_task("blind_denoising")
    save_weights(network, path, {"system": "imaging/durr", "task": task.identity(), "seed": 0}, task.fixed_tensors())
    source, output = tmp_path / "photo.png", tmp_path / "restored.png"
    Image.fromarray(uint8(scene(30, 31)[0].numpy())).save(source)
    status, out, _ = unroll("apply", "imaging/durr", source, "-o", output, "--weights", path)
    assert status == 0
    assert "the policy took no step" in out
    assert output.read_bytes() == source.read_bytes()


def test_a_policy_that_cannot_decide_gives_no_answer_and_leaves_the_other_picture_alone():
    class Undecided(torch.nn.Module):
        features = 1

        def forward(self, x, memory):
            value = torch.ones(len(x), dtype=x.dtype)
            value[:1] = torch.nan
            return value, memory

    step = HaltingRestoration(LeastSquares(Identity()), RestorationUnit(2, 0), Undecided())
    y = torch.rand(2, 16, 16, generator=torch.Generator().manual_seed(0))
    found = unrolled(step, 2, tied="unit")(y)
    assert bool(found[0].isnan().all())
    assert torch.equal(found[1], y[1])
    with pytest.raises(DivergenceError, match="sample 0"):
        solve(step, y, max_iterations=3)
