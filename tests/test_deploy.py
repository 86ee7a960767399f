"""What every deployed form promises: the network's own answers for data of every kind, whoever wrote the step."""

import copy

import pytest
import torch
from iterations import gaussian, unit_dictionary
from tiny import moved, network, recovery
from torch import nn

from unrolling import Equilibrium, Iteration, Matrix, Safeguarded, deploy, unroll
from unrolling.algorithms import FISTA, ISTA, CoupledISTA, GatedISTA, GramISTA, SelectiveGramISTA, ThinISTA
from unrolling.algorithms.kernels.residual_form import ResidualForm, ResidualStep
from unrolling.core.deploy import register
from unrolling.prox import nonnegative
from unrolling.systems.catalogue import find
from unrolling.tasks.sparse.recovery import Recovery
from unrolling.testing import check_deployed

A, WIDE = unit_dictionary(20, 30), unit_dictionary(10, 30)
PARENTS = {
    "ISTA": lambda a: ISTA(a, 0.1),
    "gram": lambda a: GramISTA(a, 0.1),
    "thin": lambda a: ThinISTA(a, 0.1),
    "coupled": lambda a: CoupledISTA(a, 0.3),
    "coupled, selective": lambda a: CoupledISTA(a, 0.3, selection=(5.0, 20.0)),
    "gated": lambda a: GatedISTA(a, 0.3),
    "selective gram": lambda a: SelectiveGramISTA(a, 0.3, selection=(5.0, 20.0)),
    "non-negative": lambda a: ThinISTA(a, 0.1, prox=nonnegative),
    "fista": lambda a: FISTA(GramISTA(a, 0.1)),
}


def data(m, batch=7, seed=0, dtype=torch.float64):
    return gaussian(batch, m, seed=seed, dtype=dtype)


def test_a_subclass_with_another_step_takes_its_own_step():
    """Exactly the type that a faster form was registered for, never one derived from it."""

    class Lazy(ThinISTA):
        def forward(self, state, problem, scale=1.0):
            return 0.5 * (state + super().forward(state, problem, scale))

    class Renamed(ThinISTA):
        pass

    for untied in ("threshold", ("encoder", "threshold")):
        net = moved(unroll(Lazy(WIDE, 0.1), 8, untied=untied), size=0.02)
        for batch in (1, 3, 100):
            y = data(10, batch)
            assert torch.equal(deploy(net, "plain")(y), net(y))
    assert deploy(unroll(ThinISTA(WIDE, 0.1), 2), "plain")._fused is not None
    for parent in (Lazy, Renamed):
        assert deploy(unroll(parent(WIDE, 0.1), 2), "plain")._fused is None


def test_a_form_can_be_registered_for_a_type_of_ones_own():
    class Halving(Iteration):
        def start(self, problem):
            return problem

        def forward(self, state, problem):
            return 0.5 * state

    class Thirding(Halving):
        def forward(self, state, problem):
            return state / 3

    used = []

    def layers_at_once(layers):
        def run(data, state):
            if data.ndim != 2:
                return None
            used.append(len(layers))
            return (data if state is None else state) * 0.5 ** len(layers)

        return run

    register(Halving, layers_at_once)
    y = data(4)
    halved = deploy(unroll(Halving(), 3), "plain")
    assert torch.equal(halved(y), y / 8)
    assert torch.equal(halved(y, halved(y)), y / 64)
    assert used == [3, 3, 3]
    assert torch.equal(halved(y[0]), y[0] / 8)
    torch.testing.assert_close(deploy(unroll(Thirding(), 3), "plain")(y), y / 27)
    assert used == [3, 3, 3]


def test_what_somebody_hooked_or_replaced_is_run_as_it_is():
    y, seen = data(20), []
    hooked = unroll(ThinISTA(A, 0.1), 3, untied="threshold")
    hooked.layers[1].register_forward_hook(lambda module, given, out: seen.append(1))
    assert torch.equal(deploy(hooked, "plain")(y), hooked(y))
    assert len(seen) == 2
    replaced = ThinISTA(A, 0.1)
    replaced.encoder = _Doubled(A.T.contiguous())
    net = unroll(replaced, 3)
    assert torch.equal(deploy(net, "plain")(y), net(y))


class _Doubled(Matrix):
    def forward(self, x):
        return 0.2 * super().forward(x)


def test_data_of_more_dimensions_give_what_the_network_gives():
    net = find("sparse_coding/lista_cp").network(
        find("sparse_coding/lista_cp").recipes["recovery"], Recovery(m=10, n=20, held_out=4), 3
    )
    y = data(10, 6, dtype=torch.float32).reshape(2, 3, 10)
    estimate = deploy(net, "plain")(y)
    assert estimate.shape == (2, 3, 20)
    torch.testing.assert_close(estimate, net(y))


@pytest.mark.parametrize("name", PARENTS)
@pytest.mark.parametrize("dictionary", [A, WIDE.float()], ids=["n < 2m", "n > 2m, single"])
def test_deployed_does_what_the_network_does_for_data_of_every_kind(name, dictionary):
    check_deployed(PARENTS[name](dictionary), data(dictionary.shape[0], 5, dtype=dictionary.dtype))


def test_the_check_finds_a_form_that_is_another_step():
    class Off(ThinISTA):
        pass

    class Stateless(ThinISTA):
        pass

    register(Off, lambda layers: lambda y, state: None if y.ndim != 2 else Off(WIDE, 0.11).start(y) + 1)
    with pytest.raises(AssertionError, match=r"the estimate of the data, deployed as 'plain'.*is off by"):
        check_deployed(Off(WIDE, 0.1), data(10, 5))
    fused = ResidualForm(
        WIDE, [ResidualStep(layer.encoder.matrix, layer.threshold) for layer in [Stateless(WIDE, 0.1)] * 4]
    )
    register(Stateless, lambda layers: lambda y, state: fused(y))
    with pytest.raises(AssertionError, match="from a state"):
        check_deployed(Stateless(WIDE, 0.1), data(10, 5))


def test_streams_go_on_from_the_last_state():
    """Two halves of a network give what the whole gives, the counter of the steps included."""
    for name in ("thin", "gram", "coupled, selective", "fista"):
        parent = PARENTS[name](A)
        whole, half = unroll(parent, 6), unroll(parent, 3)
        y = data(20)
        deployed = deploy(half, "plain")
        _, state = deployed(y, return_state=True)
        kept = copy.deepcopy(state)
        estimate, last = deployed(y, state, return_state=True)
        torch.testing.assert_close(estimate, whole(y), rtol=1e-9, atol=1e-10)
        torch.testing.assert_close(last, whole.run(y), rtol=1e-9, atol=1e-10)
        torch.testing.assert_close(state, kept, rtol=0, atol=0)


class Energy(Iteration):
    """Descent on an energy that the step differentiates itself."""

    def __init__(self, functional):
        super().__init__()
        self.step_size = nn.Parameter(torch.tensor(0.1, dtype=torch.float64))
        self.functional = functional

    def start(self, problem):
        return torch.zeros_like(problem)

    def forward(self, state, problem):
        def energy(x):
            return ((x - problem).square() + x.square().square()).sum()

        if self.functional:
            return state - self.step_size * torch.func.grad(energy)(state)
        with torch.enable_grad():
            x = state.detach().requires_grad_()
            (gradient,) = torch.autograd.grad(energy(x), x)
        return state - self.step_size * gradient


@pytest.mark.parametrize("functional", [True, False])
def test_a_step_may_differentiate_inside_itself(functional):
    iteration = Energy(functional)
    check_deployed(iteration, data(6, 5))
    for how in ("auto", "captured"):
        net = unroll(iteration, 4, untied="step_size")
        deployed = deploy(net, how)
        torch.testing.assert_close(deployed(data(6)), net(data(6)))


def test_other_networks_than_unrolled_ones():
    y, net = data(20), unroll(GramISTA(A, 0.1), 4, untied="threshold")
    for module in (
        Equilibrium(GramISTA(A, 0.3), learned="threshold", tolerance=1e-8),
        Safeguarded(net),
        nn.Sequential(net, nn.Linear(30, 2, dtype=y.dtype)),
    ):
        for deployed in (deploy(module), deploy(module, "plain")):
            assert torch.equal(deployed(y), module(y))
            assert not deployed(y).requires_grad
            torch.testing.assert_close(deployed(y, chunk=3), module(y))
            with pytest.raises(TypeError, match="takes no `state`"):
                deployed(y, torch.zeros(7, 30))


def test_an_iteration_without_a_batch():
    class Descent(Iteration):
        batched = False

        def __init__(self):
            super().__init__()
            self.step_size = nn.Parameter(torch.tensor(0.1, dtype=torch.float64))

        def start(self, problem):
            return problem.new_zeros(problem.shape[1])

        def forward(self, state, problem):
            return state - self.step_size * (problem @ state - 1) @ problem

    check_deployed(Descent(), data(4, 9))
    with pytest.raises(ValueError, match="Descent has no batch that could be divided"):
        deploy(unroll(Descent(), 2), "plain")(data(4, 9), chunk=3)


def test_pieces_are_the_whole():
    net = unroll(ThinISTA(WIDE, 0.1), 4, untied="threshold")
    y = data(10, 9)
    estimate, state = deploy(net, "plain")(y, return_state=True, chunk=4)
    torch.testing.assert_close(estimate, net(y))
    torch.testing.assert_close(state, net.run(y))
    with pytest.raises(ValueError, match="chunk is 0"):
        deploy(net, "plain")(y, chunk=0)


def test_forms_and_options_that_do_not_exist_are_refused():
    net = unroll(GramISTA(A, 0.1), 2)
    with pytest.raises(ValueError, match="how is 'fast'; it is auto, plain, compiled, captured"):
        deploy(net, "fast")
    with pytest.raises(TypeError, match="how='plain' has no option after; it has none"):
        deploy(net, "plain", after=1.0)
    with pytest.raises(TypeError, match=r"deploy takes a network, a torch.nn.Module; got function"):
        deploy(lambda y: y)


def test_the_old_methods_say_what_replaces_them():
    net, y = unroll(GramISTA(A, 0.1), 2, untied="threshold"), data(20)
    for old, new in (
        ("inference", r'deploy\(network, "plain"\)'),
        ("captured", r'deploy\(network, "captured"\)'),
        ("adaptive", r"deploy\(network\)"),
    ):
        with pytest.warns(DeprecationWarning, match=rf"Unrolled.{old}\(\) goes with the next release; use {new}"):
            deployed = getattr(net, old)()
        torch.testing.assert_close(deployed(y), net(y))
    with pytest.warns(DeprecationWarning, match=r'use deploy\(network, "compiled"\)'):
        compiled = net.compiled("eager")
    torch.testing.assert_close(compiled(y), net(y))
    with pytest.warns(DeprecationWarning, match=r"Unrolled.compiled\(\) goes"):
        assert net.compiled("eager") is compiled


def test_answers_may_be_used_where_gradients_are_recorded():
    """They are ordinary tensors, so that a network may be trained on what another one estimates."""
    net, weight = unroll(ThinISTA(A, 0.1), 2), torch.ones(30, dtype=torch.float64, requires_grad=True)
    (deploy(net, "plain")(data(20)) * weight).sum().backward()
    assert weight.grad is not None


def test_bad_data_change_nothing():
    """A wrong width, another dtype or NaN get what the network gives them, and the next call is as before."""
    torch._dynamo.reset()
    net = moved(network(recovery(), 3))
    for after in (0.0, float("inf")):
        deployed = deploy(net, after=after, backend="aot_eager")
        good = data(8, 3, dtype=torch.float32)
        for bad in (good[:, :5], good.double(), good.long(), good[0], torch.complex(good, good)):
            for _ in range(2):
                with pytest.raises(Exception) as wanted:
                    net(bad)
                with pytest.raises(type(wanted.value)) as raised:
                    deployed(bad)
                assert str(raised.value) == str(wanted.value)
            assert deployed.failure == ""
        spoiled = good.clone()
        spoiled[1, 2] = torch.nan
        torch.testing.assert_close(deployed(spoiled), net(spoiled), equal_nan=True)
        torch.testing.assert_close(deployed(good), net(good))
        assert deployed.failure == ""
        assert (deployed.compiled is None) == (after > 0)
        assert deployed(good[:0]).shape == (0, 16)


def test_one_kind_of_data_that_does_not_compile_leaves_the_others_compiled():
    net = unroll(Picky(), 2)
    torch._dynamo.reset()
    deployed = deploy(net, after=0.0, backend="aot_eager")
    for _ in range(2):
        assert torch.equal(deployed(data(4).unsqueeze(1)), net(data(4).unsqueeze(1)))
        assert deployed.failure
        torch.testing.assert_close(deployed(data(4)), net(data(4)))
        assert deployed.compiled is not None
        assert deployed.compiled.graphs == 1


class Picky(Iteration):
    """Of three dimensions it looks at values, which breaks a graph."""

    def start(self, problem):
        return problem

    def forward(self, state, problem):
        if state.ndim > 2 and float(state.sum()) > 0:
            return 0.5 * state
        return 0.25 * state


@pytest.mark.parametrize("name", ["thin", "coupled"])
def test_compiled_it_does_what_the_network_does(name):
    """Streams, pieces and empty batches included."""
    torch._dynamo.reset()
    net = moved(unroll(PARENTS[name](WIDE), 3, untied="threshold"), size=0.02)
    compiled, y = deploy(net, "compiled", backend="eager"), data(10, 5)
    estimate, state = compiled(y, return_state=True)
    torch.testing.assert_close(estimate, net(y))
    torch.testing.assert_close(compiled(y, state), net(y, net.run(y)))
    torch.testing.assert_close(compiled(y, chunk=2), net(y))
    assert compiled(y[:0]).shape == (0, 30)
    with pytest.raises(ValueError, match="data must have shape"):
        compiled(y[:, :4])
    torch.testing.assert_close(compiled(y), net(y))
