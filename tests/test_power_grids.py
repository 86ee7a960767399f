"""Power grids: what meters read, power flows, prox-linear descent and Gauss-Newton, against independent formulas."""

from itertools import pairwise

import pytest
import torch
from torch import nn

from unrolling import solve, testing, unroll
from unrolling.algorithms.power import (
    DenseProxMaps,
    GaussNewton,
    Grid,
    LinearProx,
    Meters,
    PowerMeasurement,
    ProxLinear,
    StatePrior,
    admittances,
    all_meters,
    check_observable,
    metered,
    metric_of,
    outages,
    phasors,
    power_flow,
    rectangular,
    suspected_outage,
    turned,
    unseen_buses,
)
from unrolling.tasks.power.cases import case14, grid_of

LEARNED = ("step_size", "clip", "radius")


@pytest.fixture(scope="module")
def grid():
    return case14()


@pytest.fixture(scope="module")
def state(grid):
    return rectangular(power_flow(grid))


@pytest.fixture(scope="module")
def h(grid):
    return PowerMeasurement(grid, metered(grid, 2.0), torch.float64)


def some_states(grid, count=3, seed=0):
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(2, count, grid.size, generator=generator, dtype=torch.float64)
    return torch.polar(1 + 0.05 * noise[0], 0.2 * noise[1])


# Grids


def test_the_power_flow_of_the_ieee_case_is_the_published_one(grid):
    """Voltages as the archive of the University of Washington lists them, to its three and two decimals."""
    voltage = power_flow(grid)[0]
    magnitude = [1.06, 1.045, 1.01, 1.019, 1.020, 1.07, 1.062, 1.09, 1.056, 1.051, 1.057, 1.055, 1.050, 1.036]
    angle = [0, -4.98, -12.72, -10.33, -8.78, -14.22, -13.37, -13.36, -14.94, -15.10, -14.79, -15.07, -15.16, -16.04]
    assert torch.allclose(voltage.abs(), torch.tensor(magnitude).double(), atol=1.5e-3)
    assert torch.allclose(torch.rad2deg(voltage.angle()), torch.tensor(angle).double(), atol=0.03)


def test_admittances_are_kirchhoffs_laws(grid):
    """Currents worked out branch by branch, transformers with ratio and shift among them."""
    table = grid.branches.clone()
    table[8, 6:] = torch.tensor([0.95, 12.0])
    table[3, 4] = 0.02
    grid = Grid(table, grid.buses)
    whole, first, second = admittances(grid)
    voltage = some_states(grid, 1)[0]
    current = torch.complex(grid.buses[:, 2], grid.buses[:, 3]) * voltage
    for line, (a, b, r, x, g, c, ratio, shift) in enumerate(grid.branches.tolist()):
        t = ratio * complex(torch.polar(torch.tensor(1.0).double(), torch.deg2rad(torch.tensor(shift).double())))
        inner, far = voltage[int(a)] / t, voltage[int(b)]
        out = ((inner - far) / complex(r, x) + inner * complex(g, c) / 2) / t.conjugate()
        back = (far - inner) / complex(r, x) + far * complex(g, c) / 2
        assert torch.allclose((first @ voltage)[line], out, atol=1e-12)
        assert torch.allclose((second @ voltage)[line], back, atol=1e-12)
        current[int(a)] += out
        current[int(b)] += back
    assert torch.allclose(whole @ voltage, current, atol=1e-11)


def test_many_power_flows_meet_their_loads_and_hopeless_ones_are_nan(grid):
    load = torch.complex(grid.buses[:, 0], grid.buses[:, 1]) * torch.tensor([[0.5], [1.2], [1.8], [60.0]]).double()
    voltage = power_flow(grid, load)
    power = voltage * (voltage @ admittances(grid)[0].T).conj() + load
    floating = grid.buses[:, 5] == 0
    assert power[:3, floating].abs().amax() < 1e-9
    assert torch.allclose(power[:3, 1].real, grid.buses[1, 4].expand(3), atol=1e-9)
    assert bool(voltage[3].isnan().all())
    with pytest.raises(ValueError, match=r"\(batch, 14\)"):
        power_flow(grid, load[:, :3])


def test_grids_that_are_none_are_refused(grid):
    wrong = grid.branches.clone()
    wrong[0, 1] = 14
    with pytest.raises(ValueError, match="branch 0 goes from bus 0 to bus 14; the 14 buses"):
        Grid(wrong, grid.buses)
    wrong = grid.branches.clone()
    wrong[2, 1] = wrong[2, 0]
    with pytest.raises(ValueError, match="branch 2 goes from bus 2 to itself"):
        Grid(wrong, grid.buses)
    wrong = grid.branches.clone()
    wrong[2, 2:4] = 0
    with pytest.raises(ValueError, match="r = x = 0"):
        Grid(wrong, grid.buses)
    with pytest.raises(ValueError, match="connects bus 8 to the slack bus 1: the grid is in pieces"):
        grid.without(13)
    with pytest.raises(ValueError, match="branch 20 is not there"):
        grid.without(20)
    with pytest.raises(ValueError, match="slack bus, 3,"):
        Grid(grid.branches, grid.buses, 3)
    with pytest.raises(ValueError, match="branches is"):
        Grid(grid.branches[:, :5], grid.buses)
    assert 13 not in outages(grid)
    assert len(outages(grid)) == 19


def test_an_unknown_network_is_refused():
    with pytest.raises(ValueError, match="network is 'case9'; there are case14, case57, case118"):
        grid_of("case9")


def test_pandapower_has_the_same_tables_and_flows(grid):
    pandapower = pytest.importorskip("pandapower")
    networks = pytest.importorskip("pandapower.networks")
    from unrolling.tasks.power.cases import grid_from_pandapower

    theirs = grid_from_pandapower(networks.case14(), "case14")
    assert torch.allclose(theirs.buses, grid.buses, atol=1e-9)
    assert torch.allclose(admittances(theirs)[0], admittances(grid)[0], atol=1e-9)
    for name, lines in (("case57", 80), ("case118", 186)):
        net = getattr(networks, name)()
        own = grid_from_pandapower(net, name)
        pandapower.runpp(net, calculate_voltage_angles=True, enforce_q_lims=False, numba=False)
        assert len(own.branches) == lines
        magnitude = torch.as_tensor(net.res_bus.vm_pu.to_numpy().copy())
        assert torch.allclose(power_flow(own)[0].abs(), magnitude, atol=1e-7)


# Meters


def test_what_meters_read_is_the_power_of_kirchhoffs_laws(grid):
    count = len(grid.branches)
    kinds = [(k, n) for k in range(3) for n in range(grid.size)] + [(k, n) for k in range(3, 7) for n in range(count)]
    kind, place = torch.tensor(kinds).T
    h = PowerMeasurement(grid, Meters(kind, place, torch.ones(len(kind)).double()), torch.float64)
    voltage = some_states(grid)
    whole, first, second = admittances(grid)
    power = voltage * (voltage @ whole.T).conj()
    out = voltage[:, grid.ends[:, 0]] * (voltage @ first.T).conj()
    back = voltage[:, grid.ends[:, 1]] * (voltage @ second.T).conj()
    wanted = [voltage.abs().square(), power.real, power.imag, out.real, out.imag, back.real, back.imag]
    assert torch.allclose(h(rectangular(voltage)), torch.cat(wanted, 1), atol=1e-10)


def test_readings_are_quadratic_forms_and_the_phase_is_not_seen(grid, h):
    v = rectangular(some_states(grid))
    matrices, jacobian = h.matrices(), h.jacobian(v)
    assert torch.equal(matrices, matrices.mT)
    assert torch.allclose(torch.einsum("bi,mij,bj->bm", v, matrices, v), h(v), atol=1e-10)
    assert torch.allclose((jacobian @ v.unsqueeze(2)).squeeze(2), 2 * h(v), atol=1e-12)
    turned_by_90 = rectangular(1j * phasors(v))
    assert (jacobian @ turned_by_90.unsqueeze(2)).abs().amax() < 1e-12
    assert torch.allclose(turned(rectangular(phasors(v) * 1j), 0), turned(v, 0), atol=1e-14)
    assert turned(v, 0)[:, grid.size].abs().amax() < 1e-15


def test_products_with_the_derivative_are_those_of_autograd(grid, h):
    v = rectangular(some_states(grid, 1))
    jacobian = torch.autograd.functional.jacobian(lambda x: h(x)[0], v)[:, 0]
    assert torch.allclose(h.jacobian(v)[0], jacobian, atol=1e-12)
    generator = torch.Generator().manual_seed(1)
    w = torch.randn(1, h.size, generator=generator, dtype=torch.float64)
    u = torch.randn(1, h.measured, generator=generator, dtype=torch.float64)
    assert torch.allclose(h.at(v).forward_product(w)[0], jacobian @ w[0], atol=1e-12)
    assert torch.allclose(h.at(v).adjoint_product(u)[0], jacobian.T @ u[0], atol=1e-12)


def test_meters_that_leave_a_bus_unseen_are_refused_with_the_bus(grid):
    every = all_meters(grid)
    assert unseen_buses(grid, every) == []
    near = (grid.ends == 7).any(1).nonzero().flatten()
    seen = ~((every.kind < 3) & ((every.place == 7) | (every.place == 6) & (every.kind > 0)))
    seen &= ~((every.kind > 2) & torch.isin(every.place, near))
    blind = Meters(*(part[seen] for part in every))
    assert unseen_buses(grid, blind) == [7]
    with pytest.raises(ValueError, match="do not determine the voltage of bus 8: the state is not observable"):
        check_observable(grid, blind)
    only_magnitudes = Meters(*(part[every.kind == 0] for part in every))
    assert len(unseen_buses(grid, only_magnitudes)) == 13  # the slack's angle is given


def test_chosen_meters_have_their_redundancy_and_see_the_state(grid):
    for redundancy in (1.5, 2.0, 3.0):
        meters = metered(grid, redundancy, seed=3)
        assert abs(len(meters.kind) - redundancy * 27) <= 1
        assert unseen_buses(grid, meters) == []
    with pytest.raises(ValueError, match="takes 13 to see the state"):
        metered(grid, 1.0)


def test_meters_that_are_not_there_are_refused(grid):
    one = torch.ones(1).double()
    with pytest.raises(ValueError, match=r"meter 0 \(Pf\) is at branch 20, and case14 has 20"):
        PowerMeasurement(grid, Meters(torch.tensor([3]), torch.tensor([20]), one))
    with pytest.raises(ValueError, match="has the kind 7"):
        PowerMeasurement(grid, Meters(torch.tensor([7]), torch.tensor([0]), one))
    with pytest.raises(ValueError, match="not positive"):
        PowerMeasurement(grid, Meters(torch.tensor([1]), torch.tensor([0]), 0 * one))
    assert Meters(torch.tensor([5]), torch.tensor([6]), one).named(grid, 0) == "P into branch 4-5 at 5"


# Estimators


def readings(h, state, gross=(), seed=0):
    generator = torch.Generator().manual_seed(seed)
    z = h(state) + h.deviation * torch.randn(len(state), h.measured, generator=generator, dtype=torch.float64)
    for meter in gross:
        z[:, meter] += 60 * h.deviation[meter]
    return z


def test_exact_readings_of_the_start_leave_it_as_it_is(h, state):
    for depth, inner in ((1, 1), (2, 3), (4, 2)):
        net = unroll(ProxLinear(h, state, inner=inner), depth, untied=LEARNED)
        assert torch.equal(net(h(state)), state)


def test_the_published_size_and_equality_with_the_parent(h, state):
    parent = ProxLinear(h, torch.ones_like(state), inner=3)
    net = unroll(parent, 2, untied=LEARNED)
    assert sum(p.numel() for _, p in net.named_learned()) == 14
    z = readings(h, state)
    for depth in (1, 2, 5):
        own = unroll(parent, depth, untied=LEARNED)
        assert torch.equal(own(z), solve(parent, z, tolerance=0.0, max_iterations=depth).estimate)


def test_the_released_network_has_the_published_number_of_parameters():
    with torch.device("meta"):
        maps = DenseProxMaps(700, 236)
    assert sum(p.numel() for p in maps.parameters()) == 4_091_036
    layers = [nn.Linear(700, 700, device="meta") for _ in range(8)]
    rival = sum(p.numel() for layer in layers for p in layer.parameters()) + 236 * 701
    assert rival == 4_091_036  # eight hidden layers of ReLU


def test_the_dual_steps_solve_the_convex_subproblem(h, state):
    """min_w |r - A w|_1 + w^T C^-1 w / 2 rho by another way: its optimality conditions."""
    flat = turned(state * 1.01, 0)
    chosen, rho = metric_of(h, flat), 3.0
    step = ProxLinear(h, flat, inner=1500, radius=rho, metric=chosen)
    z = readings(h, state, gross=(3, 30))
    with torch.no_grad():
        after = step(step.start(z), z)
    w, u = after.voltage - flat, after.dual
    rows = h.jacobian(flat)[0] / h.deviation.unsqueeze(1)
    left = (z - h(flat))[0] / h.deviation - rows @ w[0]
    assert torch.allclose(w[0], rho * chosen @ (rows.T @ u[0]), atol=1e-10)  # stationary in w, exactly
    inside = u[0].abs() < 1 - 1e-9
    assert left[inside].abs().amax() < 1e-3 * left.abs().amax()  # u is a subgradient of |.|_1 there
    assert torch.equal(left[~inside].sign(), u[0][~inside].sign())
    gap = left.abs().sum() - u[0] @ left
    assert gap < 1e-3 * left.abs().sum()


@torch.no_grad()
def test_the_objective_never_rises_with_a_safe_radius(h, state):
    step = ProxLinear(h, torch.ones_like(state), inner=60)
    z = readings(h, state, gross=(1, 20, 40))
    at = step.start(z)
    values = [float(step.objective(at, z))]
    for _ in range(8):
        at = step(at, z)
        values.append(float(step.objective(at, z)))
    assert all(after <= before + 1e-9 for before, after in pairwise(values))
    assert values[-1] < values[0]


def test_gradients_of_the_learned_numbers(h, state):
    net = unroll(ProxLinear(h, state * 1.02, inner=2, radius=3.0, metric=metric_of(h, state)), 2, untied=LEARNED)
    z = readings(h, state)
    parameters = dict(net.named_parameters())
    names, values = zip(
        *((n, p.detach().requires_grad_()) for n, p in parameters.items() if p.requires_grad), strict=True
    )

    def run(*given):
        return torch.func.functional_call(net, dict(zip(names, given, strict=True)), (z,))

    assert len(values) == 6
    assert torch.autograd.gradcheck(run, values, atol=1e-6)


def test_frozen_layers_are_the_same_steps_where_readings_are_linear(h, state):
    """With squares of voltages and A at the start, one step from the start is that of the physical form."""
    parent = ProxLinear(h, state * 1.01, inner=3, radius=3.0, metric=metric_of(h, state))
    z = readings(h, state, gross=(5,))
    frozen = LinearProx(parent)
    one, other = (unroll(each, 1)(z) for each in (parent, frozen))
    assert torch.allclose(one, other, atol=1e-9)
    count = sum(p.numel() for p in frozen.parameters())
    m, n = h.measured, h.size
    assert count == 3 * m * m + 2 * m * n + m + 3 + n * n + n


def test_least_squares_and_least_absolute_values_find_the_state(h, state):
    flat = rectangular(torch.ones(1, 14, dtype=torch.complex128))
    exact = h(state)
    assert torch.allclose(solve(GaussNewton(h, flat), exact, max_iterations=20).estimate, state, atol=1e-10)
    lav = ProxLinear(h, flat, inner=3, radius=10.0, metric=metric_of(h, flat))
    found = solve(lav, exact, tolerance=1e-9, max_iterations=2000).estimate
    assert torch.allclose(found, state, atol=1e-6)


def test_gauss_newton_is_at_a_stationary_point_of_its_objective(h, state):
    prior = StatePrior(state, 1e-4 * torch.eye(28).double())
    z = readings(h, state, gross=(7,))
    for method in (GaussNewton(h, state), GaussNewton(h, state, prior=prior), GaussNewton(h, state, huber=1.5)):
        found = solve(method, z, tolerance=1e-13, max_iterations=400)
        v = found.state.voltage.detach().requires_grad_()
        (slope,) = torch.autograd.grad(method.objective(found.state._replace(voltage=v), z).sum(), v)
        slope[:, 14] = 0  # the slack's angle is given
        assert slope.abs().amax() < 1e-6 * 200


@pytest.mark.parametrize("check", ["parent_equality", "purity", "batch_independence", "saving"])
def test_gauss_newton_is_a_sound_iteration(h, state, check):
    """As the catalogue asks of the parents of its systems."""
    z = readings(h, state.repeat(3, 1))
    getattr(testing, f"check_{check}")(GaussNewton(h, torch.ones_like(state), huber=2.0), z)


def test_a_branch_that_is_out_is_named_and_one_that_is_in_is_not(grid, state):
    h = PowerMeasurement(grid, metered(grid, 2.5), torch.float64)
    prior = StatePrior(state, 1e-3 * torch.eye(28).double())
    assert suspected_outage(h, readings(h, state, gross=(20, 41)), prior).branch is None
    for line in (2, 10):
        changed = grid.without(line)
        v = rectangular(power_flow(changed))
        found = suspected_outage(h, readings(h.to_grid(changed), v, gross=(25,)), prior)
        assert found.branch == line
        assert found.candidates[0] == line
        assert found.gain > 16
    changed = grid.without(6)  # 4-5, which no meter of this choice touches: no reading tells
    found = suspected_outage(h, readings(h.to_grid(changed), rectangular(power_flow(changed))), prior)
    assert found.branch is None
    assert found.candidates == ()


def test_what_does_not_fit_is_refused(h, state):
    with pytest.raises(ValueError, match="nominal has 4 numbers; a state has 28"):
        ProxLinear(h, torch.ones(4).double())
    with pytest.raises(ValueError, match="radius is -1"):
        ProxLinear(h, state, radius=-1.0)
    with pytest.raises(ValueError, match="a metric is"):
        ProxLinear(h, state, metric=torch.eye(3))
    with pytest.raises(ValueError, match="needs an input of shape"):
        unroll(ProxLinear(h, state), 1)(torch.zeros(2, 5).double())
    few = Meters(torch.zeros(14, dtype=torch.int64), torch.arange(14), torch.ones(14).double())
    blind = PowerMeasurement(h.grid, few, torch.float64)
    with pytest.raises(ValueError, match="do not determine the state"):
        metric_of(blind, state)


def test_branches_that_readings_do_not_tell_apart_are_named_together(grid, state):
    """Two equal lines side by side without a meter on either: with one out, it may as well be the other."""
    twin = torch.cat([grid.branches, grid.branches[2:3]])
    twin[[2, 20], 3] *= 2
    twin[[2, 20], 2] *= 2
    twin[[2, 20], 5] /= 2
    pair = Grid(twin, grid.buses)
    every = all_meters(pair)
    kept = ~((every.kind > 2) & torch.isin(every.place, torch.tensor([2, 20])))
    h = PowerMeasurement(pair, Meters(*(part[kept] for part in every)), torch.float64)
    prior = StatePrior(state, 1e-3 * torch.eye(28).double())
    changed = pair.without(20)
    found = suspected_outage(h, readings(h.to_grid(changed), rectangular(power_flow(changed))), prior)
    assert set(found.candidates) == {2, 20}
    assert found.branch in found.candidates
