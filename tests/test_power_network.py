"""Prox-linear networks with a prior of past states: their formula, their kernel, their training states."""

from itertools import pairwise

import pytest
import torch

from unrolling import deploy, solve, unroll
from unrolling.algorithms.kernels import grid_steps
from unrolling.algorithms.power import (
    LinearProx,
    PowerMeasurement,
    ProxLinear,
    StatePrior,
    metered,
    metric_of,
    power_flow,
    rectangular,
    whole_precision,
)
from unrolling.tasks.power.cases import case14
from unrolling.tasks.power.estimation import GridState

LEARNED = ("step_size", "clip", "radius", "pull")


@pytest.fixture(scope="module")
def state():
    return rectangular(power_flow(case14()))


@pytest.fixture(scope="module")
def h():
    return PowerMeasurement(case14(), metered(case14(), 2.0), torch.float64)


@pytest.fixture(scope="module")
def prior(state):
    spread = torch.randn(28, 28, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    return StatePrior(state, 1e-4 * (spread @ spread.T / 28 + torch.eye(28).double()))


@pytest.fixture
def parent(h, state, prior):
    given = {"metric": metric_of(h, state, prior), "prior": prior}
    return ProxLinear(h, state * 1.01, inner=3, radius=4.0, step_size=0.25, pull=0.25, **given)


def readings(h, state, count=3):
    generator = torch.Generator().manual_seed(0)
    z = h(state) + h.deviation * torch.randn(count, h.measured, generator=generator, dtype=torch.float64)
    z[:, 7] += 60 * h.deviation[7]
    return z


def test_one_dual_step_written_out(h, state, prior):
    """With rho = 1 / eta = 1 / kappa: v + C (A^T clip(r - A w, -rho, rho) + P^-1 (m - v)), w = C P^-1 (m - v)."""
    at = prior.mean * 1.01
    at[:, 14] = 0
    step = ProxLinear(h, at, inner=1, radius=2.0, step_size=0.5, pull=0.5, metric=metric_of(h, at, prior), prior=prior)
    z = readings(h, state)
    free = [n for n in range(28) if n != 14]
    rows = (h.jacobian(at)[0] / h.deviation.unsqueeze(1))[:, free]
    precision = whole_precision(prior, 0)[free][:, free]
    normal = rows.T @ rows + precision
    toward = torch.linalg.solve(normal, precision @ (prior.mean - at)[0, free])
    clipped = ((z - h(at)) / h.deviation - rows @ toward).clamp(-2, 2)
    wanted = toward + torch.linalg.solve(normal, rows.T @ clipped.T).T
    found = step(step.start(z), z).voltage - at
    assert torch.allclose(found[:, free], wanted, atol=1e-9)
    assert not found[:, 14].any()


def test_many_dual_steps_solve_the_convex_subproblem_with_a_prior(h, state, prior):
    at, z = state * 1.01, readings(h, state, 1)
    step = ProxLinear(h, at, inner=1500, radius=3.0, pull=0.3, metric=metric_of(h, at, prior), prior=prior)
    with torch.no_grad():
        after = step(step.start(z), z)
    w, u = (after.voltage - at)[0], after.dual[0]
    rows = h.jacobian(at)[0] / h.deviation.unsqueeze(1)
    side = rows.T @ u + 0.3 * whole_precision(prior, 0) @ (prior.mean - at)[0]
    assert torch.allclose(w, 3.0 * metric_of(h, at, prior) @ side, atol=1e-9)  # stationary in w
    left = (z - h(at))[0] / h.deviation - rows @ w
    inside = u.abs() < 1 - 1e-9
    assert left[inside].abs().amax() < 1e-3 * left.abs().amax()  # u is a subgradient of |.|_1 there
    assert torch.equal(left[~inside].sign(), u[~inside].sign())


@torch.no_grad()
def test_the_objective_with_a_prior_never_rises_where_subproblems_are_solved(h, state, prior):
    step = ProxLinear(h, state * 1.02, inner=100, radius=1.0, metric=metric_of(h, state, prior), prior=prior)
    default = ProxLinear(h, state * 1.02, metric=metric_of(h, state, prior), prior=prior)
    assert float(step.radius) < float(default.radius)
    assert float(step.pull) == 0.5  # 1 / (2 rho)
    z = readings(h, state)
    at = step.start(z)
    values = [step.objective(at, z)]
    for _ in range(8):
        at = step(at, z)
        values.append(step.objective(at, z))
    assert all(bool((after <= before + 1e-9).all()) for before, after in pairwise(values))
    assert bool((values[-1] < values[0]).all())


def test_untrained_it_is_its_parent_to_the_bit_and_has_its_numbers(h, state, parent):
    z = readings(h, state)
    for depth in (1, 4):
        net = unroll(parent, depth, untied=LEARNED)
        assert sum(p.numel() for _, p in net.named_learned()) == depth * 8
        assert torch.equal(net(z), solve(parent, z, tolerance=0.0, max_iterations=depth).estimate)


def test_gradients_of_step_sizes_clips_radii_and_pulls(h, state, parent):
    net = unroll(parent, 2, untied=LEARNED)
    z = readings(h, state, 1)
    names, values = zip(
        *((n, p.detach().requires_grad_()) for n, p in net.named_parameters() if p.requires_grad), strict=True
    )

    def run(*given):
        return torch.func.functional_call(net, dict(zip(names, given, strict=True)), (z,))

    assert len(values) == 8
    assert torch.autograd.gradcheck(run, values, atol=1e-6)


def test_dense_layers_begin_as_the_same_step_with_a_prior(h, state, parent):
    z = readings(h, state)
    one, other = (unroll(each, 1)(z) for each in (parent, LinearProx(parent)))
    assert torch.allclose(one, other, atol=1e-9)


def test_a_prior_takes_a_metric_and_a_pull_takes_a_prior(h, state, prior):
    with pytest.raises(ValueError, match="a prior takes a metric"):
        ProxLinear(h, state, prior=prior)
    with pytest.raises(ValueError, match="pull is the weight of a prior"):
        ProxLinear(h, state, radius=1.0, pull=1.0)
    with pytest.raises(ValueError, match="pull is -1"):
        ProxLinear(h, state, radius=1.0, metric=torch.eye(28), prior=prior, pull=-1.0)
    with pytest.raises(ValueError, match="a prior has a mean and a covariance of 28 numbers"):
        ProxLinear(h, state, metric=torch.eye(28), prior=StatePrior(state[:, :4], torch.eye(4)))


@pytest.mark.skipif(not grid_steps._kernels(), reason="no C++ compiler")
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("form", ["published", "metric", "prior"])
def test_deployed_it_runs_in_a_kernel_and_is_equal_to_the_layers(h, state, parent, prior, dtype, form):
    """Without a metric, with one, and with a prior; from the nominal state, and from another."""
    if form != "prior":
        metric = metric_of(h, state, prior) if form == "metric" else None
        parent = ProxLinear(h, state * 1.01, inner=2, radius=None if metric is None else 3.0, metric=metric)
    learned = LEARNED if form == "prior" else LEARNED[:3]
    net = unroll(parent, 3, untied=learned).to(dtype)
    with torch.no_grad():
        for number, each in enumerate(net.parameters()):
            each += 0.1 * torch.sin(torch.arange(each.numel()) + number).view_as(each)
    deployed = deploy(net, "plain")
    assert "all layers at once" in repr(deployed)
    close = {"atol": 2e-5 if dtype is torch.float32 else 1e-11, "rtol": 0}
    z = readings(h, state, 5).to(dtype)
    z[2] = float("nan")
    with torch.no_grad():
        wanted, after = net(z, return_state=True)
        again = net(z, state=after)
    found, ended = deployed(z, return_state=True)
    assert bool(found[2].isnan().all())
    torch.testing.assert_close(found, wanted, equal_nan=True, **close)
    torch.testing.assert_close(ended.voltage, after.voltage, equal_nan=True, **close)
    good = [0, 1, 3, 4]
    torch.testing.assert_close(ended.dual[good], after.dual[good], atol=200 * close["atol"], rtol=1e-4)
    before = ended.voltage.clone()
    torch.testing.assert_close(deployed(z, state=ended), again, equal_nan=True, **close)
    torch.testing.assert_close(ended.voltage, before, equal_nan=True, rtol=0, atol=0)  # not written into
    alone = torch.cat([deployed(each[None]) for each in z])
    assert torch.equal(alone.nan_to_num(), found.nan_to_num())


@pytest.mark.skipif(not grid_steps._kernels(), reason="no C++ compiler")
def test_the_kernel_shares_samples_among_threads(h, state, parent, monkeypatch):
    monkeypatch.setattr(grid_steps, "SHARE", 1)
    deployed = deploy(unroll(parent, 2), "plain")
    z = readings(h, state, 7)
    one = deployed(z)
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        assert torch.equal(deployed(z), one)
    finally:
        torch.set_num_threads(threads)


def test_without_a_compiler_it_runs_as_written(h, state, parent, monkeypatch):
    monkeypatch.setattr(grid_steps, "_kernels", dict)
    net = unroll(parent, 2)
    deployed = deploy(net, "plain")
    assert "as written" in repr(deployed)
    assert torch.equal(deployed(readings(h, state)), net(readings(h, state)))


def test_a_subclass_has_no_kernel_of_its_parent(h, state, parent):
    class Other(ProxLinear):
        pass

    other = Other(h, state, radius=1.0)
    assert "as written" in repr(deploy(unroll(other, 2), "plain"))


def test_training_draws_new_readings_of_states_that_are_drawn_once(monkeypatch):
    task = GridState.small()
    one, other = (task.draw(400, torch.Generator().manual_seed(seed)) for seed in (1, 2))
    assert len(torch.unique(one.target, dim=0)) <= task.pooled
    known = {tuple(v) for v in task.pool.float().tolist()}
    assert all(tuple(v) in known for v in other.target.tolist())
    first = task.pool[0].float()
    same = [each.data[(each.target == first).all(1)] for each in (one, other)]
    seen = torch.cat(same)
    assert len(torch.unique(seen, dim=0)) == len(seen)  # noise and gross errors anew each time
    again = task.draw(400, torch.Generator().manual_seed(1))
    assert torch.equal(again.data, one.data)
    monkeypatch.setattr(GridState, "states", None)  # no power flow any more
    task.draw(3, torch.Generator().manual_seed(3))


def test_states_with_an_outage_are_those_of_their_grids():
    task = GridState.small()
    groups = task.groups_with_outage()
    assert [len(grid.out()) for grid, _ in groups] == [1] * len(groups)
    assert len({grid.out()[0] for grid, _ in groups}) == len(groups)
    changed = task.changed()
    assert torch.equal(changed.target, torch.cat([samples.target for _, samples in groups]))
    for grid, samples in groups:
        h = PowerMeasurement(grid, task.metering.meters, torch.float64)
        left = ((samples.data - h(samples.target.double())) / h.deviation).abs()
        assert float(left.median()) < 2
