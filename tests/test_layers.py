"""What each layer of a network does: its steps, its Lipschitz constant, its depth."""

import pytest
import torch
from tiny import moved, network, recovery

from unrolling import unroll
from unrolling.algorithms import FISTA, GramISTA, ThinISTA
from unrolling.evaluation.budget import foreseen
from unrolling.evaluation.compare import compare_network
from unrolling.evaluation.layers import examine_layers
from unrolling.report.study import layer_figures
from unrolling.tasks.base import NMSE, first


def test_the_layers_of_an_untrained_network_are_its_parents_steps():
    task = recovery(held_out=50)
    found = examine_layers(network(task, 6, (), ("threshold",)), task)
    assert found.step == pytest.approx([1.0] * 6, rel=1e-5)
    assert found.objective == pytest.approx(found.parent_objective)
    # ISTA without its first step is ISTA with one step fewer, whichever is left out.
    assert found.dropped == pytest.approx([found.quality[-2]] * 6, abs=1e-6)
    assert all(value <= 1 + 1e-4 for value in found.lipschitz)
    assert found.beyond == []


@pytest.mark.parametrize("make", [lambda a: GramISTA(a, 0.1), lambda a: FISTA(ThinISTA(a, 0.1))])
def test_the_local_lipschitz_constant_is_the_norm_of_the_jacobian(make):
    from unrolling.core import tree
    from unrolling.evaluation.layers import _jacobian_norm

    task = recovery(held_out=1)
    net = moved(
        unroll(
            make(task.dictionary.double()),
            4,
            untied=("encoder", "threshold") if isinstance(make(task.dictionary), GramISTA) else ("ista",),
        )
    )
    y = task.test[0].data.double()
    (layer, problem), *_ = net.prepared(y)
    state = layer.start(problem)
    for _ in range(2):
        state = layer(state, problem)
    tensors = [t for t in tree.tensors(state) if t.ndim and t.is_floating_point()]

    def flat(v):
        parts = iter(v.split([t.numel() for t in tensors]))
        shapes = iter([t.shape for t in tensors])
        moved_state = layer(
            tree.apply(lambda t: next(parts).view(next(shapes)) if t.ndim and t.is_floating_point() else t, state),
            problem,
        )
        return torch.cat([t.flatten() for t in tree.tensors(moved_state) if t.ndim and t.is_floating_point()])

    jacobian = torch.autograd.functional.jacobian(flat, torch.cat([t.flatten() for t in tensors]))
    assert _jacobian_norm(layer, problem, state) == pytest.approx(
        float(torch.linalg.matrix_norm(jacobian, 2)), rel=0.02
    )


def test_a_tied_network_is_run_beyond_its_depth():
    task = recovery(held_out=50)
    net = network(task, 3, ("encoder", "inhibition", "threshold"), ())
    found = examine_layers(net, task, beyond=(2, 4))
    assert [depth for depth, _ in found.beyond] == [6, 12]
    assert found.beyond[0][1] == NMSE.value(task.pieces(unroll(net.parent, 6)(task.test[0].data), task.test[0]))


def of_twenty(net, task):
    """Foreseen seconds of the runs without a layer, and with two, four and eight times three, of 20 samples."""
    return foreseen(lambda: net(task.test[0].data[:32])) / 32 * 20 * (2 + 2 + 4 + 8)


def test_what_layers_are_worth_keeps_to_a_budget_and_says_of_how_many_samples():
    task = recovery(held_out=400)
    net = moved(network(task, 3, ("encoder", "inhibition", "threshold"), ()))
    least = of_twenty(net, task)
    whole, few = examine_layers(net, task), examine_layers(net, task, budget=least / 4)
    assert whole.samples is None
    assert whole.end == whole.quality[-1]
    assert few.samples == 20  # a twentieth, at least
    part = first(task.test[0], 20)
    assert few.end == NMSE.value(task.pieces(net(part.data), part))
    assert few.quality == whole.quality
    assert len(few.dropped) == 3
    assert examine_layers(net, task, quality=[1.0, 2.0, 3.0], budget=1e6).quality == [1.0, 2.0, 3.0]
    assert examine_layers(net, task, budget=1e6) == whole
    none = examine_layers(net, task, budget=least / 10)
    assert (none.dropped, none.beyond, none.samples, none.whole) == ([], [], None, None)
    assert none.quality == whole.quality


def test_the_page_says_of_how_many_samples():
    task = recovery(held_out=400)
    net = moved(network(task, 3, ("encoder", "inhibition", "threshold"), ()))
    found = compare_network(net, task, title="NET", quiet=True, effort="quick", baselines=[], generic_steps=10)
    found.layers = examine_layers(net, task, budget=of_twenty(net, task) / 4)
    words = [figure.words for figure in layer_figures(found)]
    assert sum("On the first 20 samples of the test set." in each for each in words) == 2
