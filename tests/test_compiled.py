"""Compiled networks: one graph, no breaks, any batch, the same numbers and gradients; made once per network."""

import gc
import pickle
import weakref

import pytest
import torch
from families import by_day, in_turn
from iterations import Detection, Lasso, Shared, Shrinking, channel_data, gaussian, unit_dictionary
from test_systems import RECIPES, small
from tiny import moved, network, recovery
from torch._dynamo.utils import counters

from unrolling import Checkpointed, Iteration, deploy, soft_threshold, unroll
from unrolling.algorithms import FISTA, IHT, ISTA, CoordinateDescent, GramISTA, ThinISTA
from unrolling.core import Compiled
from unrolling.prox import support_select
from unrolling.systems.catalogue import find

# Tracing and differentiation as for the default backend, without a compiler at the end.
TRACED = "aot_eager"
A = unit_dictionary(6, 9)

ITERATIONS = {
    "ISTA": lambda: ISTA(A, 0.1),
    "GramISTA": lambda: GramISTA(A, 0.1),
    "ThinISTA": lambda: ThinISTA(A, 0.1),
    "FISTA": lambda: FISTA(GramISTA(A, 0.1), continuation=(4.0, 0.7)),
    "IHT": lambda: IHT(A, 3),
    "coordinate descent": lambda: CoordinateDescent(A, 0.1),
    "complex": lambda: Lasso(torch.complex(A, A.flip(0)), 0.1),
    "shared operator": lambda: Shared(A, 0.1),
    "state that shrinks": Shrinking,
}


@pytest.fixture(autouse=True)
def fresh():
    torch._dynamo.reset()
    counters.clear()


def draw(name, batch):
    y = gaussian(batch, 9 if name == "state that shrinks" else 6, seed=batch)
    return torch.complex(y, y.flip(1)) if name == "complex" else y


@pytest.mark.parametrize("name", by_day(*ITERATIONS, count=3))
def test_an_iteration_compiles_into_one_graph_without_breaks_for_every_batch(name):
    iteration = ITERATIONS[name]()
    net = unroll(iteration, 3, untied=[key for key, _ in iteration.named_parameters() if "." not in key][:1])
    compiled = deploy(net, "compiled", backend=TRACED)
    with torch.no_grad():
        for batch in (3, 5, 17):
            y = draw(name, batch)
            torch.testing.assert_close(compiled(y), net(y))
        assert compiled.graphs == 1
        torch.testing.assert_close(compiled(draw(name, 1)), net(draw(name, 1)))
        assert compiled.graphs == 2  # torch takes sizes of one for constants
    assert not counters["graph_break"]


def test_data_with_fields_compile_too_and_other_sizes_once_more():
    net = unroll(Detection(), 3, untied="step_size")
    compiled = deploy(net, "compiled", backend=TRACED)
    with torch.no_grad():
        for graphs, sizes in ((1, ((3, 5, 4), (6, 5, 4))), (2, ((4, 7, 3), (7, 8, 5), (2, 9, 6)))):
            for batch, m, n in sizes:
                data = channel_data(batch, m, n)
                torch.testing.assert_close(compiled(data), net(data))
                assert not any(name.startswith(("_dynamo", "_has_dynamo")) for tensor in data for name in vars(tensor))
            assert compiled.graphs == graphs


FIRST = [(name, next(iter(find(name).recipes))) for name in in_turn(2)]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "recipe"),
    [
        pytest.param(name, recipe, marks=() if (name, recipe) in FIRST else pytest.mark.nightly)
        for name, recipe in RECIPES
    ],
)
def test_every_system_compiles_into_one_graph(name, recipe):
    system, task = find(name), small(recipe)
    net = system.network(system.recipes[recipe], task, 2)
    compiled = deploy(net, "compiled", backend=TRACED)
    data = task.draw(4, torch.Generator().manual_seed(0)).data
    with torch.no_grad():
        torch.testing.assert_close(compiled(data), net(data), rtol=1e-4, atol=1e-5)
    assert compiled.graphs == 1
    assert not counters["graph_break"]


@pytest.mark.slow
@pytest.mark.nightly
def test_the_default_backend_gives_the_same_numbers_and_gradients():
    net = moved(network(recovery(), 3))
    compiled = Compiled(net, live=True)
    for batch in (4, 9):
        y = gaussian(batch, 8, dtype=torch.float32)
        _same_gradients(net, compiled, y, 1e-5)
    assert compiled.graphs == 1


@pytest.mark.parametrize("gradient", [None, Checkpointed(2)])
def test_training_a_compiled_network_takes_the_gradients_of_the_plain_one(gradient):
    """At any batch, from one graph: a threshold that is learned could not be differentiated with a batch of any
    size.
    """
    net = moved(
        unroll(GramISTA(A, 0.5), 3, tied="encoder", untied=("inhibition", "threshold"), gradient=gradient), size=0.02
    )
    compiled = Compiled(net, TRACED, live=True)
    for batch in (4, 9):
        _same_gradients(net, compiled, gaussian(batch, 6, seed=batch), 1e-10)
    assert compiled.graphs == 1


def _same_gradients(net, compiled, y, tolerance):
    learned = [p for p in net.parameters() if p.requires_grad]
    estimate, wanted = compiled(y), net(y)
    torch.testing.assert_close(estimate, wanted, rtol=tolerance, atol=tolerance)
    assert bool((wanted == 0).any())
    assert bool((wanted != 0).any())
    pairs = (torch.autograd.grad(out.square().sum(), learned) for out in (estimate, wanted))
    for got, want in zip(*pairs, strict=True):
        torch.testing.assert_close(got, want, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("shape", [(), (5,), (1, 5)])
@pytest.mark.parametrize("function", [soft_threshold, lambda z, t: support_select(z, t, 2)], ids=["soft", "support"])
def test_a_compiled_threshold_has_the_gradient_of_the_plain_one_at_any_batch(function, shape):
    compiled = torch.compile(function, fullgraph=True, dynamic=True, backend=TRACED)
    for batch in (3, 8):
        z = gaussian(batch, 5, seed=batch)
        z[0, 0], z[1, 1] = 0.0, 0.3  # on the threshold's edge, and in the middle
        upstream = gaussian(batch, 5, seed=9)
        both = []
        for way in (compiled, function):
            inputs = z.clone().requires_grad_(), torch.full(shape, 0.3, dtype=z.dtype).requires_grad_()
            both.append(torch.autograd.grad(way(*inputs), inputs, upstream))
        torch.testing.assert_close(both[0], both[1], rtol=0, atol=1e-14)


@pytest.mark.nightly
def test_more_networks_compile_than_torch_allows_graphs_per_function():
    """torch.compile refuses the ninth graph of one function, and all networks have one."""
    with torch.no_grad():
        for depth in range(1, 6):
            net = network(recovery(), depth)
            for batch in (1, 3):
                y = gaussian(batch, 8, dtype=torch.float32)
                torch.testing.assert_close(deploy(net, "compiled", backend="eager")(y), net(y))


def test_a_deployed_network_tells_what_compiling_cost():
    compiled, y = deploy(network(recovery(), 2), "compiled", backend=TRACED), gaussian(3, 8, dtype=torch.float32)
    assert (compiled.graphs, compiled.seconds) == (0, 0.0)
    compiled(y)
    cost = compiled.seconds
    assert cost > 0
    compiled(y)
    compiled(gaussian(7, 8, dtype=torch.float32))
    assert (compiled.graphs, compiled.seconds) == (1, cost)
    assert repr(compiled) == f"Compiled(aot_eager, 1 graphs in {cost:.1f} s)"


def test_a_compiled_network_goes_on_with_values_that_were_learned_or_loaded():
    net, other = network(recovery(), 2), moved(network(recovery(), 2), seed=3)
    compiled, y = Compiled(net, TRACED, live=True), gaussian(3, 8, dtype=torch.float32)
    with torch.no_grad():
        before = compiled(y)
        moved(net, seed=1)
        torch.testing.assert_close(compiled(y), net(y))
        assert not torch.allclose(compiled(y), before)
        net.load_learned(other.learned())
        torch.testing.assert_close(compiled(y), other(y))


def test_a_deployed_network_keeps_the_values_of_the_moment_it_was_made():
    net = network(recovery(), 2)
    compiled, y = deploy(net, "compiled", backend=TRACED), gaussian(3, 8, dtype=torch.float32, seed=5)
    before = net(y)
    moved(net, seed=1)
    y.requires_grad_()
    torch.testing.assert_close(compiled(y), before)
    assert not compiled(y).requires_grad


def test_copies_and_files_take_nothing_compiled_along():
    linear = unroll(Shrinking(), 2)
    with pytest.warns(DeprecationWarning, match="use deploy"), torch.no_grad():
        linear.compiled("eager")(gaussian(3, 9))
    assert torch.equal(pickle.loads(pickle.dumps(linear))(gaussian(3, 9)), linear(gaussian(3, 9)))


def test_a_network_that_nobody_holds_is_freed_with_what_was_compiled():
    net = network(recovery(), 2)
    with torch.no_grad():
        Compiled(net, TRACED, live=True)(gaussian(3, 8, dtype=torch.float32))
    gone = weakref.ref(net)
    del net
    gc.collect()
    assert gone() is None


class Branching(Iteration):
    """Goes by the values of its data."""

    def start(self, problem):
        return problem

    def forward(self, state, problem):
        return 2 * state if bool(state.sum() > 0) else state


def test_a_layer_that_would_break_the_graph_is_refused():
    with pytest.raises(RuntimeError, match=r"[Dd]ata-dependent"):
        deploy(unroll(Branching(), 2), "compiled", backend=TRACED)(gaussian(3, 4))


def test_an_unknown_backend_is_refused_before_anything_is_compiled():
    with pytest.raises(RuntimeError, match="nonesuch"):
        deploy(network(recovery(), 1), "compiled", backend="nonesuch")
