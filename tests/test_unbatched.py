"""One state without a batch; steps that differentiate inside themselves; streams; second derivatives."""

import copy
from typing import NamedTuple

import pytest
import torch
from families import by_day
from iterations import gaussian, unit_dictionary
from torch import Tensor, nn

from unrolling import (
    Backprop,
    Checkpointed,
    Equilibrium,
    Implicit,
    Iteration,
    OneStep,
    Safeguarded,
    Truncated,
    solve,
    unroll,
)
from unrolling.algorithms import ISTA
from unrolling.core import tree
from unrolling.core.linear_solvers import anderson, gmres
from unrolling.core.solve import DivergenceError, Status

X = gaussian(20, 3)
DATA = (X, torch.sin(X.sum(1, keepdim=True)))
DECAY = 0.05  # of the weights, so that descent ends soon


class Weights(NamedTuple):
    """The state: a network of two layers."""

    inner: Tensor  # (3, 4)
    bias: Tensor  # (4,)
    outer: Tensor  # (4, 1)


class Descent(Iteration):
    """Gradient descent on the weights of a network, differentiated inside the step."""

    batched = False

    def __init__(self, how="functional", step_size=0.3):
        super().__init__()
        self.step_size = nn.Parameter(torch.tensor(step_size, dtype=torch.float64))
        self.how = how

    def start(self, problem):
        return Weights(0.5 * gaussian(3, 4, seed=1), torch.zeros(4, dtype=torch.float64), gaussian(4, 1, seed=2))

    def objective(self, state, problem):
        return (self.estimate(state, problem) - problem[1]).square().mean() + DECAY * sum(
            w.square().sum() for w in state
        )

    def forward(self, state, problem):
        if self.how == "functional":
            gradient = torch.func.grad(self.objective)(state, problem)
        else:
            recorded = torch.is_grad_enabled()
            with torch.enable_grad():
                leaves = Weights(*(t if t.requires_grad else t.detach().requires_grad_() for t in state))
                gradient = torch.autograd.grad(self.objective(leaves, problem), leaves, create_graph=recorded)
        return Weights(*(w - self.step_size * g for w, g in zip(state, gradient, strict=True)))

    def estimate(self, state, problem):
        return torch.tanh(problem[0] @ state.inner + state.bias) @ state.outer


HOWS = ("functional", "autograd")


def by_hand(step_sizes):
    """The same, written out."""
    w = [t.clone().requires_grad_() for t in Descent().start(DATA)]
    for step_size in step_sizes:
        loss = (torch.tanh(DATA[0] @ w[0] + w[1]) @ w[2] - DATA[1]).square().mean()
        loss = loss + DECAY * sum(a.square().sum() for a in w)
        w = [a - step_size * g for a, g in zip(w, torch.autograd.grad(loss, w, create_graph=True), strict=True)]
    return torch.tanh(DATA[0] @ w[0] + w[1]) @ w[2]


@pytest.mark.parametrize("how", HOWS)
def test_solve_finds_a_stationary_point_with_numbers_without_dimension(how):
    seen = []
    solution = solve(
        Descent(how), DATA, tolerance=1e-6, max_iterations=3000, callback=lambda p: seen.append(p.residual.shape)
    )
    assert solution.status.shape == solution.iterations.shape == solution.residual.shape == ()
    assert bool(solution.converged)
    assert set(seen) == {(1,)}
    gradient = torch.func.grad(Descent().objective)(solution.state, DATA)
    assert max(float(g.abs().max()) for g in gradient) < 1e-4


def test_divergence_without_a_batch():
    with pytest.raises(DivergenceError, match="Descent diverged: the state is no longer finite after iteration"):
        solve(Descent(step_size=1e300), DATA)
    solution = solve(Descent(step_size=1e300), DATA, on_divergence="mark")
    assert solution.status == Status.DIVERGED
    assert bool(solution.estimate.isnan().all())
    assert all(bool(t.isfinite().all()) for t in solution.state)


@pytest.mark.parametrize("how", HOWS)
@pytest.mark.parametrize("learned", [{"tied": "step_size"}, {"untied": "step_size"}])
@pytest.mark.parametrize(
    "rule", [Backprop(), Checkpointed(2), Truncated(6), Truncated(2), OneStep(), Implicit(), Implicit(anderson)]
)
@pytest.mark.filterwarnings("ignore:the linear solver of Implicit:RuntimeWarning")
def test_every_gradient_rule(rule, learned, how):
    if isinstance(rule, Implicit) and "untied" in learned:
        pytest.skip("a fixed point has one set of parameters")
    net = unroll(Descent(how), 6, gradient=rule, **learned)
    if isinstance(rule, Checkpointed) and how == "functional":
        with pytest.raises(
            RuntimeError, match=r"cannot run steps that call torch.func.grad.*torch.autograd.grad under"
        ):
            net(DATA)
        return
    estimate = net(DATA)
    sizes = torch.full((6,), 0.3, dtype=torch.float64, requires_grad=True)
    wanted = by_hand(sizes)
    torch.testing.assert_close(estimate, wanted, rtol=1e-12, atol=1e-12)
    if not isinstance(rule, Implicit):
        last = getattr(rule, "last", 6)
        mask = torch.arange(6) >= 6 - last
        whole = by_hand(torch.where(mask, sizes, sizes.detach()))
        gradient = torch.autograd.grad(whole.square().sum(), sizes)[0]
        estimate.square().sum().backward()
        got = torch.stack(
            [torch.zeros((), dtype=torch.float64) if p.grad is None else p.grad for p in net.parameters()]
        )
        # What a truncated run does not record of the earlier states it takes as given.
        if last == 6:
            torch.testing.assert_close(got, gradient if "untied" in learned else gradient.sum().reshape(1))
        else:
            assert bool(got.isfinite().all())
            assert float(got.abs().max()) > 0


@pytest.mark.nightly
@pytest.mark.parametrize("how", by_day(*HOWS))
def test_implicit_gradient_of_the_weights_at_rest(how):
    """At a stationary point nothing depends on the step size, whatever the problem; the data do."""
    equilibrium = Equilibrium(Descent(how), learned="step_size", tolerance=1e-9, max_iterations=3000)
    target = DATA[1].clone().requires_grad_()
    estimate = equilibrium((X, target))
    by_size, by_target = torch.autograd.grad(estimate.sum(), [equilibrium.layer.step_size, target])
    assert abs(float(by_size)) < 1e-6
    moved = torch.zeros_like(target)
    moved[3] = 1e-4
    both = [
        solve(Descent(), (X, DATA[1] + s * moved), tolerance=1e-10, max_iterations=3000).estimate.sum() for s in (1, -1)
    ]
    assert float(by_target[3]) == pytest.approx(float(both[0] - both[1]) / 2e-4, rel=1e-3)


@pytest.mark.parametrize("how", HOWS)
def test_a_safeguard_and_training(how):
    net = unroll(Descent(how), 5, untied="step_size")
    optimizer = torch.optim.Adam(net.parameters(), 0.1)
    before = Descent().objective(net.run(DATA), DATA).detach()
    for _ in range(20):
        optimizer.zero_grad()
        Descent().objective(net.run(DATA), DATA).backward()
        optimizer.step()
    assert bool(Descent().objective(net.run(DATA), DATA) < before)
    guarded = Safeguarded(net).run(DATA)
    assert guarded.accepted.shape == (5,)
    assert bool(guarded.merit <= guarded.parent_merit)
    with torch.no_grad():
        net.layers[2].step_size.fill_(1e6)
    guarded = Safeguarded(net).run(DATA)
    assert guarded.accepted.tolist()[2] is False
    assert bool(guarded.merit <= guarded.parent_merit)


def test_pieces_of_what_has_no_batch_are_refused():
    for run in (lambda: solve(Descent(), DATA, chunk=3), lambda: unroll(Descent(), 2)(DATA, chunk=3)):
        with pytest.raises(ValueError, match="chunk is 3, and Descent has no batch"):
            run()


@pytest.mark.parametrize("how", HOWS)
def test_a_step_that_differentiates_runs_without_gradients_too(how):
    net = unroll(Descent(how), 4, untied="step_size").eval()
    wanted = net(DATA).detach()
    with torch.no_grad():
        assert torch.equal(net(DATA), wanted)
        assert torch.equal(copy.deepcopy(net)(DATA), wanted)
    if how == "functional":
        with torch.inference_mode():
            assert torch.equal(net(DATA), wanted)


class Proximal(Iteration):
    """The same with samples: descent on a smooth penalty, its gradient by differentiation."""

    def __init__(self):
        super().__init__()
        self.step_size = nn.Parameter(torch.tensor(0.2, dtype=torch.float64))

    def start(self, problem):
        return torch.zeros_like(problem)

    def forward(self, state, problem):
        def energy(x):
            return (0.5 * (x - problem).square() + torch.log(torch.cosh(x))).sum()

        return state - self.step_size * torch.func.grad(energy)(state)


def test_a_step_that_differentiates_with_samples():
    y = gaussian(5, 3)
    solution = solve(Proximal(), y, tolerance=1e-12)
    torch.testing.assert_close(
        solution.estimate - y + torch.tanh(solution.estimate), torch.zeros_like(y), atol=1e-9, rtol=0
    )
    net = unroll(Proximal(), 4, tied="step_size")
    assert torch.autograd.gradcheck(lambda y, _: net(y), (y[:2].clone().requires_grad_(), net.layers[0].step_size))


# Streams


class Recursive(NamedTuple):
    """The state of recursive least squares."""

    weights: Tensor  # (batch, n)
    covariance: Tensor  # (batch, n, n)


class Measured(NamedTuple):
    row: Tensor  # (batch, n)
    value: Tensor  # (batch,)


class LeastSquares(Iteration):
    """One step of recursive least squares for the measurement of this moment."""

    def __init__(self):
        super().__init__()
        self.forgetting = nn.Parameter(torch.tensor(0.95, dtype=torch.float64))

    def start(self, problem):
        eye = torch.eye(problem.row.shape[1], dtype=problem.row.dtype)
        return Recursive(torch.zeros_like(problem.row), 100 * eye.expand(len(problem.row), -1, -1))

    def forward(self, state, problem):
        projected = (state.covariance @ problem.row.unsqueeze(2)).squeeze(2)
        gain = projected / (self.forgetting + (problem.row * projected).sum(1, keepdim=True))
        error = problem.value - (problem.row * state.weights).sum(1)
        covariance = (state.covariance - gain.unsqueeze(2) * projected.unsqueeze(1)) / self.forgetting
        return Recursive(state.weights + gain * error.unsqueeze(1), covariance)


def test_a_stream_of_calls_is_one_long_run():
    truth, rows = gaussian(4, 3), gaussian(30, 4, 3, seed=1)
    values = (rows * truth).sum(2)
    net, state = unroll(LeastSquares(), 1, tied="forgetting"), None
    for row, value in zip(rows, values, strict=True):
        estimate, state = net(Measured(row, value), state, return_state=True)
    torch.testing.assert_close(estimate, truth, rtol=0, atol=1e-2)
    # Weighted least squares in closed form, the start counting as a measurement of its own.
    weights = 0.95 ** torch.arange(29, -1, -1, dtype=torch.float64)
    gram = torch.einsum("t,tbi,tbj->bij", weights, rows, rows) + 0.95**30 / 100 * torch.eye(3)
    right = torch.einsum("t,tbi,tb->bi", weights, rows, values)
    torch.testing.assert_close(estimate, torch.linalg.solve(gram, right), rtol=1e-9, atol=1e-9)
    estimate.square().sum().backward()
    assert bool(net.layers[0].forgetting.grad.isfinite())


@pytest.mark.parametrize("learned", [{"tied": "threshold"}, {"untied": "threshold"}])
@pytest.mark.parametrize("cut", [1, 3, 5])
def test_a_run_in_two_parts_with_the_state_between_them_is_one_run_to_the_bit(cut, learned):
    net, y = unroll(ISTA(unit_dictionary(6, 9), 0.1), 6, **learned), gaussian(4, 6)
    wanted, last = net(y, return_state=True)
    _, between = net(y, layers=slice(0, cut), return_state=True)
    got, end = net(y, between, layers=slice(cut, 6), return_state=True)
    assert torch.equal(got, wanted)
    assert torch.equal(end, last)
    pieces, joined = net(y, between, layers=slice(cut, 6), return_state=True, chunk=2)
    torch.testing.assert_close(pieces, wanted)
    torch.testing.assert_close(joined, last)


# Second derivatives


def second(iteration, net, y):
    (first,) = torch.autograd.grad(net(y).square().sum(), net.layers[0].threshold, create_graph=True)
    return torch.autograd.grad(first.sum(), net.layers[0].threshold)[0]


@pytest.mark.parametrize("rule", [Implicit(), Implicit(anderson), OneStep(), Truncated(3)])
def test_second_derivatives_at_a_fixed_point_are_refused_not_wrong(rule):
    y = gaussian(3, 6)
    equilibrium = Equilibrium(
        ISTA(unit_dictionary(6, 9), 0.1),
        learned=("threshold", "step_size"),
        gradient=rule,
        tolerance=1e-10,
        max_iterations=100_000,
    )
    for parameter in equilibrium.parameters():
        if not parameter.requires_grad:
            continue
        (first,) = torch.autograd.grad(equilibrium(y).square().sum(), parameter, create_graph=True)
        with pytest.raises(RuntimeError, match="know first derivatives only; for a second one unroll"):
            torch.autograd.grad(first.sum(), parameter)
    data = y.clone().requires_grad_()
    (first,) = torch.autograd.grad(equilibrium(data).square().sum(), data, create_graph=True)
    with pytest.raises(RuntimeError, match="know first derivatives only"):
        torch.autograd.grad(first.sum(), data)


@pytest.mark.parametrize("rule", [Backprop(), Checkpointed(2), Truncated(6)])
def test_second_derivatives_through_layers_agree_with_finite_differences(rule):
    net, y = unroll(Proximal(), 6, tied="step_size", gradient=rule), gaussian(3, 3)
    if isinstance(rule, Checkpointed):
        net = unroll(Smooth(), 6, tied="step_size", gradient=rule)
    size = net.layers[0].step_size
    assert torch.autograd.gradgradcheck(lambda y, _: net(y), (y.requires_grad_(), size), atol=1e-4)


class Smooth(Iteration):
    def __init__(self):
        super().__init__()
        self.step_size = nn.Parameter(torch.tensor(0.2, dtype=torch.float64))

    def start(self, problem):
        return torch.zeros_like(problem)

    def forward(self, state, problem):
        return state - self.step_size * (state - problem + torch.tanh(state))


# Implicit gradients of hard samples


@pytest.mark.parametrize("solver", [gmres, anderson])
@pytest.mark.parametrize("power", [-100, 60])
def test_implicit_gradients_have_no_scale(solver, power):
    """Squares of gradients of 1e-30 vanish in float32."""
    y, factor = gaussian(3, 4, dtype=torch.float32), 2.0**power
    equilibrium = Equilibrium(Smooth().float(), gradient=Implicit(solver), tolerance=1e-6)
    both = []
    for scale in (1.0, factor):
        data = y.clone().requires_grad_()
        both.append(torch.autograd.grad((scale * equilibrium(data)).sum(), data)[0] / scale)
    torch.testing.assert_close(both[1], both[0], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("solver", [gmres, anderson])
@pytest.mark.filterwarnings("ignore:the linear solver of Implicit:RuntimeWarning")
def test_a_sample_with_nan_leaves_the_others_their_gradient(solver):
    y = gaussian(4, 3)
    equilibrium = Equilibrium(Smooth(), gradient=Implicit(solver), tolerance=1e-10)
    data = y.clone().requires_grad_()
    wanted = torch.autograd.grad(equilibrium(data).sum(), data)[0]
    loss = equilibrium(data).sum(1) * torch.tensor([1.0, torch.nan, 1.0, 1.0])
    got = torch.autograd.grad(loss.sum(), data)[0]
    torch.testing.assert_close(got[[0, 2, 3]], wanted[[0, 2, 3]])
    assert bool(got[1].isnan().all())


def test_an_empty_batch_has_an_empty_implicit_gradient():
    data = torch.zeros(0, 3, dtype=torch.float64, requires_grad=True)
    equilibrium = Equilibrium(Smooth(), learned="step_size")
    equilibrium(data).sum().backward()
    assert data.grad.shape == (0, 3)
    assert float(equilibrium.layer.step_size.grad) == 0
    assert tree.tensors(equilibrium.solve(data).state)[0].shape == (0, 3)
