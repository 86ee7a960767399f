"""Inference on graphs: exact on trees, stationary where it converges, and the same whatever the order of edges."""

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from unrolling import solve, unroll
from unrolling.algorithms.graphs.belief_propagation import BeliefPropagation, TreeReweighted
from unrolling.algorithms.graphs.edges import (
    chain_edges,
    check_edges,
    components,
    grid_edges,
    independent_sets,
    is_forest,
    random_tree_edges,
    spanning_tree_probabilities,
)
from unrolling.algorithms.graphs.mean_field import MeanField
from unrolling.algorithms.graphs.pairwise import (
    Pairwise,
    bethe_free_energy,
    disjoint_union,
    enumerate_marginals,
    forward_backward,
    pairwise_model,
    score,
    stacked,
)
from unrolling.algorithms.graphs.potentials import Featured, LinearPotentials
from unrolling.testing import check_iteration

TIGHT = {"rtol": 0, "atol": 1e-12}


def model(edges, nodes, states=2, batch=1, strength=1.0, seed=0, shared=False):
    """Random potentials in double precision."""
    generator = torch.Generator().manual_seed(seed)
    alone = torch.randn(batch, states, nodes, generator=generator, dtype=torch.float64)
    shape = (1 if shared else batch, states, states, edges.shape[1])
    return pairwise_model(alone, strength * torch.randn(shape, generator=generator, dtype=torch.float64), edges)


def swept(data, sweeps, step=None):
    step = (BeliefPropagation() if step is None else step).double()
    state, problem = step.start(data), step.prepare(data)
    for _ in range(sweeps):
        state = step(state, problem)
    return step, state


@settings(max_examples=15, deadline=None)
@given(nodes=st.integers(1, 8), states=st.integers(2, 3), batch=st.integers(1, 3), seed=st.integers(0, 999))
def test_on_a_tree_belief_propagation_is_exact(nodes, states, batch, seed):
    edges = random_tree_edges(nodes, torch.Generator().manual_seed(seed))
    data = model(edges, nodes, states, batch, seed=seed)
    alone, joint, log_partition = enumerate_marginals(data)
    step, state = swept(data, nodes)
    torch.testing.assert_close(step.estimate(state, data).exp(), alone, **TIGHT)
    torch.testing.assert_close(step.edge_marginals(state, data).exp(), joint, **TIGHT)
    free = bethe_free_energy(data, step.estimate(state, data).exp(), step.edge_marginals(state, data).exp())
    torch.testing.assert_close(-free, log_partition, rtol=0, atol=1e-11)


def test_on_a_forest_it_is_exact_component_by_component():
    edges = torch.tensor([[0, 1, 4], [1, 2, 5]])  # node 3 has no edge
    data = model(edges, 6, 3, 2)
    step, state = swept(data, 3)
    torch.testing.assert_close(step.estimate(state, data).exp(), enumerate_marginals(data)[0], **TIGHT)
    torch.testing.assert_close(step.estimate(state, data)[..., 3], torch.log_softmax(data.nodes[..., 3], 1), **TIGHT)
    assert is_forest(edges, 6)
    assert components(edges, 6).tolist() == [0, 0, 0, 1, 2, 2]


def test_on_a_chain_it_is_the_forward_backward_recursion():
    data = model(chain_edges(12), 12, 3, 4)
    step, state = swept(data, 11)
    wanted, log_partition = forward_backward(data)
    wanted = torch.log_softmax(wanted, 1)
    torch.testing.assert_close(step.estimate(state, data), wanted, rtol=0, atol=1e-11)
    free = bethe_free_energy(data, step.estimate(state, data).exp(), step.edge_marginals(state, data).exp())
    torch.testing.assert_close(-free, log_partition, rtol=0, atol=1e-10)
    with pytest.raises(ValueError, match="no chain"):
        forward_backward(model(grid_edges(2, 2), 4))


def test_on_a_grid_with_weak_couplings_it_is_nearly_exact_and_with_edge_weights_bounds_the_partition_function():
    edges = grid_edges(4, 4)
    data = model(edges, 16, strength=0.4)
    alone, _, log_partition = enumerate_marginals(data)
    plain = solve(BeliefPropagation().double(), data, tolerance=1e-10).estimate.exp()
    assert float((plain - alone).abs().max()) < 0.02
    weight = spanning_tree_probabilities(edges, 16)
    step = BeliefPropagation(edge_weight=weight, damping=0.3).double()
    step, state = swept(data, 300, step)
    free = bethe_free_energy(data, step.estimate(state, data).exp(), step.edge_marginals(state, data).exp(), weight)
    free = free.detach()
    assert float(-free) >= float(log_partition)
    assert float(-free) < float(log_partition) + 1.0


def test_tree_reweighting_with_ones_is_belief_propagation_to_the_bit():
    data = model(grid_edges(3, 4), 12, 3, 2)
    plain, ones = BeliefPropagation().double(), BeliefPropagation(edge_weight=torch.ones(17)).double()
    for depth in (1, 5):
        assert torch.equal(
            unroll(plain, depth, untied="damping")(data), unroll(ones, depth, untied="edge_weight")(data)
        )
    tree = random_tree_edges(7, torch.Generator().manual_seed(3))
    on_tree = model(tree, 7)
    exact = solve(TreeReweighted(tree, 7).double(), on_tree, tolerance=1e-13).estimate.exp()
    torch.testing.assert_close(
        exact, enumerate_marginals(on_tree)[0], rtol=0, atol=1e-7
    )  # rho is 1 to single precision


@pytest.mark.parametrize("weighted", [False, True])
def test_a_fixed_point_is_stationary_for_the_free_energy(weighted):
    edges = grid_edges(3, 3)
    data = model(edges, 9, 3, strength=0.7)
    weight = spanning_tree_probabilities(edges, 9) if weighted else torch.ones(12, dtype=torch.float64)
    step, state = swept(data, 3000, BeliefPropagation(edge_weight=weight, damping=0.5))
    alone, joint = step.estimate(state, data).exp(), step.edge_marginals(state, data).exp()
    torch.testing.assert_close(joint.sum(2), alone[..., edges[0]], rtol=0, atol=1e-10)
    # Directions that keep the marginals consistent: of nodes, carried into their edges, and of edges alone.
    generator = torch.Generator().manual_seed(1)
    own = torch.randn(alone.shape, generator=generator, dtype=torch.float64)
    own -= own.mean(1, keepdim=True)
    inner = torch.randn(joint.shape, generator=generator, dtype=torch.float64)
    inner -= inner.mean(1, keepdim=True)
    inner -= inner.mean(2, keepdim=True)
    carried = own[..., edges[0]].unsqueeze(2) / 3 + own[..., edges[1]].unsqueeze(1) / 3
    for nodes, pairs in ((own, carried), (0 * own, inner), (own, carried + inner)):
        t = torch.zeros((), dtype=torch.float64, requires_grad=True)
        energy = bethe_free_energy(data, alone + t * nodes, joint + t * pairs, weight).sum()
        assert abs(float(torch.autograd.grad(energy, t)[0])) < 1e-8
    far = torch.zeros((), dtype=torch.float64, requires_grad=True)
    energy = bethe_free_energy(data, torch.full_like(alone, 1 / 3) + far * own, torch.full_like(joint, 1 / 9), weight)
    assert abs(float(torch.autograd.grad(energy.sum(), far)[0])) > 1e-2  # elsewhere it is not


@pytest.mark.parametrize("damping", [0.0, 0.6])
def test_the_free_energy_of_mean_field_never_rises_and_bounds_the_partition_function(damping):
    for seed, strength in itertools.product(range(4), (0.5, 4.0)):
        data = model(grid_edges(3, 4), 12, 2, 2, strength=strength, seed=seed)
        step = MeanField(damping=damping).double()
        state = step.start(data)
        energies = [step.objective(state, data)]
        for _ in range(20):
            state = step(state, data)
            energies.append(step.objective(state, data))
        found = torch.stack(energies)
        assert bool((found.diff(dim=0) <= 1e-12 * found.abs().max()).all())
        assert bool((found >= -enumerate_marginals(data)[2] - 1e-12).all())


def test_mean_field_all_at_once_can_raise_it():
    data = model(torch.tensor([[0], [1]]), 2, strength=0.0)
    coupled = data._replace(pairs=torch.tensor([[-3.0, 3.0], [3.0, -3.0]], dtype=torch.float64)[None, ..., None])
    step, energies = MeanField().double(), []
    for sets in (None, coupled.sets):
        problem = coupled._replace(sets=sets, nodes=torch.tensor([[[0.1, 0.1], [0.0, 0.0]]], dtype=torch.float64))
        state = step.start(problem)
        values = []
        for _ in range(12):
            state = step(state, problem)
            values.append(float(step.objective(state, problem)))
        energies.append(values)
    assert max(b - a for a, b in itertools.pairwise(energies[0])) > 0.01
    assert energies[1][-1] < energies[0][-1] - 1


@pytest.mark.parametrize("step", [BeliefPropagation(damping=0.2), MeanField()], ids=["bp", "mean field"])
def test_neither_the_order_nor_the_direction_of_edges_matters_nor_other_samples(step):
    step = step.double()
    edges, nodes = grid_edges(3, 4), 12
    data = model(edges, nodes, 3, 3)
    net = unroll(step, 5, tied="damping")
    wanted = net(data)
    order = torch.randperm(17, generator=torch.Generator().manual_seed(0))
    turned = torch.arange(17) % 2 == 0
    other = torch.where(turned, edges.flip(0), edges)[:, order]
    pairs = torch.where(turned, data.pairs.transpose(1, 2), data.pairs)[..., order]
    torch.testing.assert_close(net(data._replace(pairs=pairs, edges=other.unsqueeze(0))), wanted, **TIGHT)
    for k in range(3):
        one = data._replace(nodes=data.nodes[k : k + 1], pairs=data.pairs[k : k + 1])
        torch.testing.assert_close(net(one), wanted[k : k + 1], **TIGHT)
    own = data._replace(edges=data.edges.expand(3, -1, -1), sets=data.sets.expand(3, -1, -1))
    torch.testing.assert_close(net(own), wanted, **TIGHT)
    renamed = torch.randperm(nodes, generator=torch.Generator().manual_seed(2))
    place = renamed.argsort()  # node renamed[k] is now k
    moved = pairwise_model(data.nodes[..., renamed], data.pairs, place[edges])
    if isinstance(step, BeliefPropagation):  # mean field goes through its sets in another order then
        torch.testing.assert_close(net(moved), wanted[..., renamed], **TIGHT)


@pytest.mark.parametrize("step", [BeliefPropagation(), MeanField()], ids=["bp", "mean field"])
def test_graphs_of_different_size_run_together_as_a_union_and_filled_up(step):
    step = step.double()
    graphs = [
        (grid_edges(2, 3), 6),
        (chain_edges(4), 4),
        (torch.zeros(2, 0, dtype=torch.int64), 1),
        (grid_edges(3, 3), 9),
    ]
    models = [model(edges, nodes, seed=k) for k, (edges, nodes) in enumerate(graphs)]
    net = unroll(step, 6, tied="damping")
    wanted = [net(each) for each in models]
    together = net(disjoint_union(models)).split([nodes for _, nodes in graphs], dim=2)
    batch = net(stacked(models))
    for k, each in enumerate(wanted):
        torch.testing.assert_close(together[k], each, **TIGHT)
        torch.testing.assert_close(batch[k : k + 1, :, : each.shape[2]], each, **TIGHT)
    with pytest.raises(ValueError, match="at least one model"):
        disjoint_union([])
    with pytest.raises(ValueError, match="numbers of states differ"):
        stacked([models[0], model(chain_edges(3), 3, states=3)])


def test_messages_do_not_overflow_where_potentials_are_large():
    data = model(grid_edges(3, 3), 9, strength=1e4)
    assert bool(unroll(BeliefPropagation().double(), 20, tied="damping")(data).isfinite().all())
    certain = pairwise_model(torch.tensor([[3e4] * 3, [0.0] * 3]), torch.zeros(2, 2), chain_edges(3))
    assert unroll(BeliefPropagation(), 3, tied="damping")(certain)[0, 0].tolist() == [0.0, 0.0, 0.0]


def test_gradients_are_those_of_finite_differences():
    edges = grid_edges(2, 3)

    def run(alone, coupling, features, pairs, damping, weight):
        step = BeliefPropagation(LinearPotentials(alone, coupling)).double()
        overwritten = {"damping": damping, "parametrizations.edge_weight.original": weight}
        given = {"prepare.alone": alone, "prepare.coupling": coupling}
        problem = torch.func.functional_call(
            step.prepare, {"alone": alone, "coupling": coupling}, _featured(features, pairs)
        )
        state = step.start(problem)
        for _ in range(3):
            state = torch.func.functional_call(step, overwritten | given, (state, problem))
        return step.estimate(state, problem)

    def _featured(features, pairs):
        return (Featured(features, pairs, edges.unsqueeze(0)),)

    generator = torch.Generator().manual_seed(0)

    def draw(*shape):
        return torch.randn(shape, generator=generator, dtype=torch.float64).requires_grad_()

    small = torch.tensor(0.2, dtype=torch.float64, requires_grad=True)
    inputs = (draw(2, 3), draw(2, 2, 2), draw(2, 3, 6), draw(2, 2, 7), small, draw())
    assert torch.autograd.gradcheck(run, inputs, rtol=1e-6, atol=1e-8)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["bp", "weighted", "mean field", "learned"])
def test_they_are_sound_iterations(kind):
    data = model(grid_edges(2, 3), 6, batch=4, strength=0.5)
    if kind == "learned":
        potentials = LinearPotentials(torch.randn(2, 2).double(), 0.3 * torch.eye(2).expand(2, 2, 2).double())
        generator = torch.Generator().manual_seed(0)
        features = [torch.randn(4, 2, n, generator=generator, dtype=torch.float64) for n in (6, 7)]
        check_iteration(
            BeliefPropagation(potentials).double(), Featured(*features, data.edges, data.sets), skip=("compile",)
        )
    else:
        weight = spanning_tree_probabilities(grid_edges(2, 3), 6)
        step = {"bp": BeliefPropagation(damping=0.1), "mean field": MeanField(damping=0.1)}
        chosen = step.get(kind) or BeliefPropagation(edge_weight=weight)
        check_iteration(chosen.double(), data, skip=("compile", "export"))


def test_edges_have_the_probabilities_of_spanning_trees():
    tree = random_tree_edges(9, torch.Generator().manual_seed(1))
    torch.testing.assert_close(spanning_tree_probabilities(tree, 9), torch.ones(8, dtype=torch.float64), **TIGHT)
    cycle = torch.stack([torch.arange(5), (torch.arange(5) + 1) % 5])
    torch.testing.assert_close(spanning_tree_probabilities(cycle, 5), torch.full((5,), 0.8).double(), rtol=0, atol=1e-7)
    complete = torch.combinations(torch.arange(6)).T
    torch.testing.assert_close(
        spanning_tree_probabilities(complete, 6), torch.full((15,), 1 / 3).double(), rtol=0, atol=1e-7
    )
    both = torch.cat([cycle, grid_edges(2, 2) + 5], dim=1)  # and node 9 alone: three components
    assert float(spanning_tree_probabilities(both, 10).sum()) == pytest.approx(10 - 3, abs=1e-10)


def test_sets_are_independent():
    for edges, nodes, most in ((grid_edges(4, 5), 20, 2), (torch.combinations(torch.arange(5)).T, 5, 5)):
        sets = independent_sets(edges, nodes)
        assert len(sets) == most
        assert bool((sets.sum(0) == 1).all())
        assert not bool((sets[:, edges[0]] & sets[:, edges[1]]).any())


def test_a_score_is_the_sum_of_its_potentials():
    data = model(chain_edges(3), 3, 3, 2)
    labels = torch.tensor([[0, 2, 1], [1, 1, 0]])
    wanted = [
        sum(data.nodes[k, labels[k, i], i] for i in range(3))
        + sum(data.pairs[k, labels[k, i], labels[k, i + 1], i] for i in range(2))
        for k in range(2)
    ]
    torch.testing.assert_close(score(data, labels), torch.stack(wanted), **TIGHT)


@pytest.mark.parametrize(
    ("edges", "message"),
    [
        (
            torch.tensor([[0, 1], [1, 6]]),
            "edge 1 of edges joins the nodes 1 and 6, and there are 4, numbered from 0 to 3",
        ),
        (torch.tensor([[0, -1], [1, 2]]), "joins the nodes -1 and 2"),
        (torch.tensor([[0, 2], [1, 2]]), "edge 1 of edges goes from node 2 to itself"),
        (torch.tensor([[0, 1], [1, 0]]), "hold the edge between 0 and 1 2 times"),
        (torch.tensor([0, 1]), "have the shape"),
    ],
)
def test_a_list_of_edges_that_is_none_is_refused(edges, message):
    with pytest.raises(ValueError, match=message):
        check_edges(edges, 4)
    with pytest.raises(ValueError):
        pairwise_model(torch.zeros(2, 4), torch.zeros(2, 2), edges)


def test_a_network_refuses_an_edge_to_a_node_that_is_not_there():
    data = Pairwise(torch.zeros(3, 2, 4), torch.zeros(1, 2, 2, 2), torch.tensor([[[0, 1], [1, 9]]]))
    for step in (BeliefPropagation(), MeanField()):
        with pytest.raises(ValueError, match="joins the nodes 1 and 9, and there are 4"):
            unroll(step, 2, tied="damping")(data)
        with pytest.raises(ValueError, match="joins the nodes 1 and 9"):
            solve(step, data)


def test_other_mistakes_are_named():
    with pytest.raises(TypeError, match="integers"):
        check_edges(torch.zeros(2, 3), 4)
    with pytest.raises(ValueError, match="must be finite"):
        pairwise_model(torch.tensor([[0.0, -torch.inf], [0.0, 0.0]]), torch.zeros(2, 2), chain_edges(2))
    with pytest.raises(ValueError, match="potentials of edges have the shape"):
        pairwise_model(torch.zeros(2, 3), torch.zeros(3, 3), chain_edges(3))
    with pytest.raises(ValueError, match="edge_weight is positive"):
        BeliefPropagation(edge_weight=0.0)
    with pytest.raises(ValueError, match="too many configurations"):
        enumerate_marginals(model(grid_edges(6, 6), 36))
    with pytest.raises(ValueError, match="features of nodes have the shape"):
        LinearPotentials(torch.zeros(2, 3), torch.zeros(1, 2, 2))(
            Featured(torch.zeros(1, 2, 4), torch.zeros(1, 1, 3), chain_edges(4).unsqueeze(0))
        )
    with pytest.raises(ValueError, match="alone is"):
        LinearPotentials(torch.zeros(2, 3), torch.zeros(1, 3, 3))
