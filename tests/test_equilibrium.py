"""Networks of infinite depth: gradients of the fixed point against the lasso's optimality conditions."""

import copy
import itertools

import pytest
import torch
from iterations import Detection, Lasso, Shrinking, channel_data, gaussian, unit_dictionary

from unrolling import Backprop, Checkpointed, Equilibrium, Implicit, OneStep, Truncated, anderson, gmres, solve, unroll
from unrolling.algorithms import FISTA, ISTA, GramISTA
from unrolling.training import Stage
from unrolling.training.learnables import trained_by

DICTIONARY, Y = unit_dictionary(10, 15), gaussian(4, 10, seed=3)
WEIGHT, COST = 0.2, gaussian(4, 15, seed=8)  # the loss is <COST, x>
RULES = [Implicit(gmres, tolerance=1e-13), Implicit(anderson, tolerance=1e-13)]


def equilibrium(iteration, learned, rule):
    return Equilibrium(iteration, learned=learned, gradient=rule, tolerance=1e-14, max_iterations=100_000)


def lasso_gradients(x, encoder, threshold, y):
    """Gradients of sum <COST, x> in (encoder, threshold, y) for the fixed point of `Lasso`.

    On the active set, E_A (y - D_A x_A) = threshold_A s_A, s the signs; so x_A = M^-1 (E_A y - threshold_A s_A) with M
    = E_A D_A.
    """
    by_encoder, by_threshold, by_y = torch.zeros_like(encoder), torch.zeros_like(threshold), torch.zeros_like(y)
    for i in range(len(y)):
        active = x[i] != 0
        assert 0 < int(active.sum()) < 10
        E, D, signs = encoder[active], DICTIONARY[:, active], x[i, active].sign()
        assert torch.allclose(torch.linalg.solve(E @ D, E @ y[i] - threshold[active] * signs), x[i, active], rtol=1e-10)
        w = torch.linalg.solve((E @ D).T, COST[i, active])
        by_encoder[active] += torch.outer(w, y[i] - D @ x[i, active])
        by_threshold[active] -= signs * w
        by_y[i] = E.T @ w
    return by_encoder, by_threshold, by_y


@pytest.mark.parametrize("rule", RULES, ids=repr)
def test_implicit_gradient_is_that_of_the_lasso_in_closed_form(rule):
    net, y = equilibrium(Lasso(DICTIONARY, WEIGHT), ("encoder", "threshold"), rule), Y.clone().requires_grad_()
    x = net(y)
    (COST * x).sum().backward()
    encoder, threshold = net.layer.encoder, net.layer.threshold
    exact = lasso_gradients(x.detach(), encoder.detach(), threshold.detach(), Y)
    for got, wanted in zip((encoder.grad, threshold.grad, y.grad), exact, strict=True):
        torch.testing.assert_close(got, wanted, rtol=1e-8, atol=1e-8)
    assert rule.report.converged


@pytest.mark.parametrize("rule", RULES, ids=repr)
@pytest.mark.parametrize(
    "make",
    [lambda: ISTA(DICTIONARY, WEIGHT), lambda: FISTA(ISTA(DICTIONARY, WEIGHT))],
    ids=["ISTA", "FISTA, by its fixed point"],
)
def test_implicit_gradient_in_step_size_threshold_and_data(make, rule):
    iteration = make()
    prefix = "ista." if isinstance(iteration, FISTA) else ""
    net, y = equilibrium(iteration, (f"{prefix}step_size", f"{prefix}threshold"), rule), Y.clone().requires_grad_()
    layer = net.layer.ista if prefix else net.layer
    x = net(y)
    step_size, threshold = layer.step_size.detach(), layer.threshold.detach()
    by_encoder, by_threshold, by_y = lasso_gradients(x.detach(), step_size * DICTIONARY.T, threshold.expand(15), Y)
    free = [layer.parametrizations.step_size.original, layer.parametrizations.threshold.original, y]
    got = torch.autograd.grad((COST * x).sum(), free)
    # The constraint v = v0 exp(rho) has dv/drho = v at the start. The encoder is step_size D^T.
    wanted = ((by_encoder * DICTIONARY.T).sum() * step_size, by_threshold.sum() * threshold, by_y)
    for g, w in zip(got, wanted, strict=True):
        torch.testing.assert_close(g, w, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("rule", RULES, ids=repr)
def test_implicit_gradient_of_a_complex_lasso(rule):
    dictionary = torch.complex(gaussian(10, 15, seed=5), gaussian(10, 15, seed=6))
    dictionary = dictionary / torch.linalg.vector_norm(dictionary, dim=0)
    y = torch.complex(gaussian(4, 10, seed=3), gaussian(4, 10, seed=4)).requires_grad_()
    cost = torch.complex(gaussian(4, 15, seed=8), gaussian(4, 15, seed=9))
    net = equilibrium(Lasso(dictionary, 0.8), ("encoder", "threshold"), rule)
    x = net(y)
    (cost.conj() * x).real.sum().backward()
    encoder, threshold, point = net.layer.encoder, net.layer.threshold, x.detach()
    wanted = [torch.zeros_like(encoder), torch.zeros_like(threshold), torch.zeros_like(y)]
    for i in range(4):
        active = point[i] != 0
        assert 0 < int(active.sum()) < 10

        def optimality(real, E, t, data, active=active):
            """E_A (y - D_A x_A) - t_A x_A / |x_A|, zero at the solution, in real and imaginary parts."""
            x = torch.view_as_complex(real)
            return torch.view_as_real(E[active] @ (data - dictionary[:, active] @ x) - t[active] * x / x.abs())

        at = torch.view_as_real(point[i, active])
        parameters = [p.detach().clone().requires_grad_() for p in (encoder, threshold, y[i])]
        assert float(optimality(at, *parameters).abs().max()) < 1e-12
        size = at.numel()
        jacobian = torch.autograd.functional.jacobian(
            lambda v, p=parameters, f=optimality: f(v, *(q.detach() for q in p)), at
        ).reshape(size, size)
        w = torch.linalg.solve(jacobian.T, torch.view_as_real(cost[i, active]).reshape(size))
        for total, part in zip(
            wanted, torch.autograd.grad(optimality(at, *parameters), parameters, -w.reshape(at.shape)), strict=True
        ):
            if total.shape == y.shape:
                total[i] += part
            else:
                total += part
    for got, exact in zip((encoder.grad, threshold.grad, y.grad), wanted, strict=True):
        torch.testing.assert_close(got, exact, rtol=1e-8, atol=1e-8)


def test_implicit_gradient_of_a_namedtuple_state_with_a_matrix_for_each_sample():
    names = ("regularisation", "step_size", "momentum")
    data = channel_data(4)
    net, deep = equilibrium(Detection(), names, RULES[0]), unroll(Detection(), 3000, tied=names)
    found, wanted = (
        torch.autograd.grad(n(data).square().sum(), [p for p in n.parameters() if p.requires_grad]) for n in (net, deep)
    )
    for got, exact in zip(found, wanted, strict=True):
        torch.testing.assert_close(got, exact, rtol=1e-8, atol=1e-8)


def test_the_fixed_point_does_not_depend_on_the_step_size_and_neither_does_its_gradient_know_it():
    # x solves min 0.5 |y - D x|^2 + lambda |x|_1 whatever the step; threshold = lambda step moves along, so the two
    # gradients cancel.
    net = equilibrium(ISTA(DICTIONARY, WEIGHT), ("step_size", "threshold"), RULES[0])
    by_step, by_threshold = torch.autograd.grad((COST * net(Y)).sum(), [p for p in net.parameters() if p.requires_grad])
    assert float(by_step.abs()) > 1e-3
    assert float(by_step) == pytest.approx(-float(by_threshold), rel=1e-8)


@pytest.mark.parametrize("last", [1, 3])
def test_truncated_and_one_step_differentiate_the_last_steps_from_the_fixed_point(last):
    lasso = Lasso(DICTIONARY, WEIGHT)
    net = equilibrium(lasso, "encoder", OneStep() if last == 1 else Truncated(last))
    (COST * net(Y)).sum().backward()
    point = net.solve(Y).estimate
    chain = unroll(lasso, last, tied="encoder")
    (COST * chain.run(Y, state=point)).sum().backward()
    torch.testing.assert_close(net.layer.encoder.grad, chain.layers[0].encoder.grad, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("rule", [Implicit(), OneStep(), Truncated(2)], ids=repr)
@pytest.mark.parametrize(
    "make",
    [
        lambda: Lasso(DICTIONARY, WEIGHT),
        lambda: GramISTA(DICTIONARY, WEIGHT),
        lambda: FISTA(GramISTA(DICTIONARY, WEIGHT)),
    ],
)
def test_the_value_is_that_of_solve_to_the_bit(make, rule):
    iteration = make()
    net = Equilibrium(
        iteration,
        learned="ista.threshold" if isinstance(iteration, FISTA) else "threshold",
        gradient=rule,
        max_iterations=100_000,
    )
    wanted = solve(iteration, Y, max_iterations=100_000)
    assert torch.equal(net(Y), wanted.estimate)
    with torch.no_grad():
        assert torch.equal(net(Y), wanted.estimate)
    assert torch.equal(net.solve(Y).iterations, wanted.iterations)


def test_the_parent_is_not_changed_and_learning_lowers_the_loss():
    lasso = Lasso(DICTIONARY, WEIGHT)
    before = copy.deepcopy(lasso.state_dict())
    net = Equilibrium(lasso, learned="threshold", max_iterations=100_000)
    target = solve(Lasso(DICTIONARY, WEIGHT / 2), Y, tolerance=1e-8, max_iterations=100_000).estimate
    optimizer = torch.optim.SGD([p for p in net.parameters() if p.requires_grad], lr=1e-5)
    losses = []
    for _ in range(8):
        loss = (net(Y) - target).square().sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss))
    assert all(later < earlier for earlier, later in itertools.pairwise(losses))
    assert losses[-1] < 0.95 * losses[0]
    assert all(torch.equal(value, before[name]) for name, value in lasso.state_dict().items())
    assert lasso.threshold.grad is None
    assert net.layer.encoder.grad is None


def test_samples_that_did_not_converge_are_counted_in_a_warning():
    net = Equilibrium(Lasso(DICTIONARY, WEIGHT), learned="threshold", tolerance=1e-12, max_iterations=5)
    with pytest.warns(
        RuntimeWarning,
        match=r"4 of 4 samples did not converge to 1e-12 in 5 iterations \(worst "
        r"residual .*\); gradients assume that they did",
    ):
        net(Y)


@pytest.mark.parametrize("rule", [Backprop(), Checkpointed()], ids=repr)
def test_rules_that_need_a_depth_are_refused(rule):
    with pytest.raises(
        TypeError,
        match=r"needs a finite number of layers; for a fixed point use Implicit\(\), "
        r"OneStep\(\) or Truncated\(last\)",
    ):
        Equilibrium(Lasso(DICTIONARY, WEIGHT), gradient=rule)


def test_an_unknown_learned_name_is_refused_with_the_known_ones():
    with pytest.raises(
        ValueError, match="learned names 'treshold', which Lasso does not have; it has encoder, threshold"
    ):
        Equilibrium(Lasso(DICTIONARY, WEIGHT), learned="treshold")


@pytest.mark.parametrize("rule", [Implicit(), OneStep()], ids=repr)
def test_a_state_that_changes_its_shape_is_refused_by_name(rule):
    with pytest.raises(ValueError, match=r"state went from \(2, 9\) to \(2, 7\)"):
        Equilibrium(Shrinking(), learned="kernel", gradient=rule)(gaussian(2, 9))


def test_a_stage_names_what_an_equilibrium_learns_as_the_algorithm_does():
    network = Equilibrium(GramISTA(DICTIONARY, WEIGHT), learned=("encoder", "threshold"))
    stage = Stage(1, rates={"threshold": 1e-2}, parameters=("encoder", "threshold"))
    assert {item.name: item.tensor.shape for item in trained_by(stage, network)} == {
        "encoder.matrix": DICTIONARY.T.shape,
        "threshold": DICTIONARY.shape[1:],
    }
    with pytest.raises(ValueError, match="names 'inhibition'"):
        trained_by(Stage(1, parameters=("inhibition",)), network)
