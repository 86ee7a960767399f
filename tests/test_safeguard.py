"""Networks that are never worse than their parent, whatever the input."""

from typing import NamedTuple

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from iterations import Lasso, gaussian, unit_dictionary
from tiny import moved

from unrolling import Iteration, Safeguarded, soft_threshold, unroll
from unrolling.algorithms import FISTA, CoordinateDescent, CoupledISTA, GramISTA, ThinISTA
from unrolling.algorithms.sparse.analytic import analytic_weights
from unrolling.core import tree

A = unit_dictionary(12, 30, dtype=torch.float32)


def networks():
    """Networks far from their parents: trained by nobody."""
    parents = {
        "thin": (ThinISTA(A, 0.1), ("encoder", "threshold")),
        "gram": (GramISTA(A, 0.1), ("encoder", "inhibition", "threshold")),
        "descent": (CoordinateDescent(A, 0.1), ("inhibition", "threshold")),
        "fista": (FISTA(ThinISTA(A, 0.1)), ("ista.encoder", "ista.threshold")),
        "coupled": (CoupledISTA(A, 0.1, selection=(2.0, 20.0), encoder=analytic_weights(A)), ("encoder", "threshold")),
    }
    return {name: moved(unroll(parent, 8, untied=names), size=0.05) for name, (parent, names) in parents.items()}


def wild(count, seed=0):
    """Inputs from tiny to a hundred times the usual, sparse, dense, constant, and along single atoms."""
    scale = 100 ** torch.linspace(-1, 1, count, dtype=torch.float64).float().unsqueeze(1)
    y = gaussian(count, 12, seed=seed).float()
    y[::5] = A.T[torch.arange(len(y[::5])) % 30]
    y[1::5] = 1.0
    y[2::5] = 0.0
    return scale * y


def objective(network, y, steps=None):
    parent = network.parent
    problem = parent.prepare(y)
    state = parent.start(problem)
    for _ in range(steps or len(network)):
        state = parent(state, problem)
    return parent.objective(state, problem)


@pytest.mark.parametrize("name", list(networks()))
def test_the_result_is_never_worse_than_the_parents(name):
    network = networks()[name]
    y = wild(10_000)
    with torch.no_grad():
        found = Safeguarded(network).run(y)
        parent = objective(network, y)
        problem = network.parent.prepare(y)
        assert bool((network.parent.objective(found.state, problem) <= parent).all())
        # The network alone breaks the promise on these inputs, so that there is something to guard against.
        assert bool((network.parent.objective(network.run(y), problem) > parent).any())
    assert torch.equal(found.parent_merit, parent)
    assert torch.equal(found.merit, network.parent.objective(found.state, problem))
    assert found.accepted.shape == (8, 10_000)
    assert found.rate == pytest.approx(float(found.accepted.float().mean()))


def test_the_lasso_at_the_estimate_is_never_worse_in_double_precision():
    a = A.double()
    network = moved(unroll(CoordinateDescent(a, 0.1), 12, untied=("inhibition", "threshold")), size=0.05)
    y = wild(500).double()

    def lasso(x):
        return 0.5 * (y - x @ a.T).square().sum(1) + 0.1 * x.abs().sum(1)

    with torch.no_grad():
        parent = network.parent
        state = parent.start(parent.prepare(y))
        for _ in range(12):
            state = parent(state, parent.prepare(y))
        guarded = lasso(Safeguarded(network)(y))
    assert bool((guarded <= lasso(parent.estimate(state, parent.prepare(y))) * (1 + 1e-12) + 1e-12).all())


def test_an_adversary_that_ascends_the_objective_is_never_accepted():
    network = unroll(ThinISTA(A, 0.1), 6, untied=("encoder",))
    with torch.no_grad():
        for layer in network.layers:
            layer.encoder.matrix.neg_()
    y = wild(200)[1:]
    found = Safeguarded(network).run(y[y.norm(dim=1) > 1])
    assert not found.accepted[:, :].any()
    torch.testing.assert_close(found.merit, objective(network, y[y.norm(dim=1) > 1]))


@pytest.mark.parametrize("poison", [float("nan"), float("inf")])
def test_values_that_are_no_numbers_are_never_accepted(poison):
    network = unroll(ThinISTA(A, 0.1), 4, untied=("encoder",))
    with torch.no_grad():
        network.layers[2].encoder.matrix.fill_(poison)
    found = Safeguarded(network).run(wild(50)[3::5])
    assert found.accepted[0].all()
    assert not found.accepted[2].any()
    assert bool(torch.isfinite(found.estimate).all())


def test_where_the_parent_itself_is_lost_the_network_is_taken():
    parent = ThinISTA(A, 0.1, step_size=1e30)
    network = unroll(parent, 6, untied=("encoder", "threshold"))
    good = ThinISTA(A, 0.1)
    with torch.no_grad():
        for layer in network.layers:
            layer.encoder.matrix.copy_(good.encoder.matrix)
            layer.threshold = good.threshold.detach()
    found = Safeguarded(network, merit=lambda x, y: (y - x @ A.T).square().sum(1)).run(wild(30)[3::5])
    assert found.accepted[-1].all()
    assert bool(torch.isfinite(found.estimate).all())


def test_a_good_network_is_taken_as_it_is():
    """Twice the steps in half the layers: what an untrained network cannot do, and a merit accepts."""
    parent = ThinISTA(A, 0.1)

    class Twice(Iteration):
        def __init__(self):
            super().__init__()
            self.inner = parent

        def start(self, problem):
            return parent.start(problem)

        def forward(self, state, problem):
            return parent(parent(state, problem), problem)

    network = unroll(Twice(), 5)
    network.__dict__["parent"] = parent
    y = wild(60)
    found = Safeguarded(network).run(y)
    assert found.accepted.all()
    assert torch.equal(found.estimate, unroll(parent, 10)(y))
    assert bool((found.merit <= found.parent_merit).all())


def test_untrained_it_is_the_parent_and_everything_is_accepted():
    network = unroll(GramISTA(A, 0.1), 7, untied="threshold")
    found = Safeguarded(network).run(wild(40))
    assert found.accepted.all()
    assert found.rate == 1
    assert torch.equal(found.estimate, network(wild(40)))


def test_a_merit_of_ones_own_is_what_the_promise_is_about():
    network = networks()["gram"]
    y = wild(400)

    def residual(x, problem):
        return (y - x @ A.T).square().sum(1)

    found = Safeguarded(network, residual).run(y)
    parent = unroll(network.parent, 8)(y)
    assert bool((residual(found.estimate, None) <= residual(parent, None)).all())
    with pytest.raises(ValueError, match=r"a merit is one number per sample, \(400,\); this one has shape \(\)"):
        Safeguarded(network, lambda x, problem: residual(x, problem).mean()).run(y)
    with pytest.raises(TypeError, match="Lasso has no `objective` that could be the merit"):
        Safeguarded(unroll(Lasso(A, 0.1), 2))


def test_it_is_differentiable_where_it_chose_the_network():
    network = moved(unroll(ThinISTA(A, 0.1), 2, untied=("encoder", "threshold")), size=1e-3)
    y = wild(40)
    guarded = Safeguarded(network)
    found = guarded.run(y)
    sample = int((found.accepted.all(0) & (found.estimate != 0).any(1)).nonzero()[-1])
    learned = [p for _, p in network.named_learned()]
    one, other = (torch.autograd.grad(run(y)[sample].square().sum(), learned) for run in (guarded, network))
    assert any(bool(g.any()) for g in other)
    torch.testing.assert_close(one, other)


# Choosing between trees


class State(NamedTuple):
    x: torch.Tensor
    shared: torch.Tensor
    steps: int


@given(st.lists(st.booleans(), min_size=1, max_size=6))
def test_trees_are_chosen_sample_by_sample(mask):
    mask = torch.tensor(mask)
    n = len(mask)
    one, other = State(torch.ones(n, 2, 3), torch.zeros(1 if n > 1 else (), 4) if n > 1 else torch.tensor(2.0), 3), None
    other = one._replace(x=torch.zeros(n, 2, 3))
    found = tree.where(mask, one, other, "state")
    assert torch.equal(found.x[:, 0, 0].bool(), mask)
    assert found.steps == 3


def test_trees_that_cannot_be_mixed_are_refused():
    mask = torch.tensor([True, False])
    one = State(torch.ones(2, 3), torch.zeros(1, 4), 3)
    with pytest.raises(ValueError, match=r"state.shared is shared by all samples and differs"):
        tree.where(mask, one, one._replace(shared=torch.ones(1, 4)), "state")
    with pytest.raises(ValueError, match=r"state.x has shape \(2, 3\) in one and \(2, 5\) in the other"):
        tree.where(mask, one, one._replace(x=torch.ones(2, 5)), "state")


def test_a_soft_threshold_alone_is_enough_of_an_iteration():
    class Shrink(Iteration):
        def __init__(self):
            super().__init__()
            self.threshold = torch.nn.Parameter(torch.tensor(0.1))

        def start(self, problem):
            return problem

        def forward(self, state, problem):
            return soft_threshold(state, self.threshold)

        def objective(self, state, problem):
            return state.abs().sum(1)

    network = unroll(Shrink(), 3, untied="threshold")
    with torch.no_grad():
        network.layers[1].threshold.fill_(0.0)
    found = Safeguarded(network).run(100 * wild(20)[3::5])
    assert found.accepted[0].all()
    assert not found.accepted[1].any()
