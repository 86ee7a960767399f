"""Measurements that are learned with the network: rows, signs, gradients, the start."""

import pytest
import torch
from iterations import gaussian

from unrolling import fit, unroll
from unrolling.algorithms.splitting.block_projections import RatedProximalGradient, measure_blocks, spread_blocks
from unrolling.algorithms.splitting.learned_projections import LearnedProjections
from unrolling.networks.transform_shrinkage import TransformShrinkage
from unrolling.systems.catalogue import find
from unrolling.systems.imaging.ista_net import MATRIX
from unrolling.tasks.images.compressive_learned import CompressiveLearned
from unrolling.testing import check_iteration
from unrolling.training.stages import scaled

VARIANTS = ("imaging/ista_net_learned", "imaging/ista_net_binary")


@pytest.fixture(scope="module")
def task():
    return CompressiveLearned.small()


def test_the_start_measures_the_first_principal_components():
    term = LearnedProjections(10, 6).double()
    values, vectors = torch.linalg.eigh(term.covariance)
    first = vectors[:, -10:]
    matrix = term.rows()[0].detach()
    assert float(values[-11]) < float(values[-10]) - 1e-9
    # Single precision is what the matrix was stored in.
    assert torch.allclose(matrix.T @ matrix, first @ first.T, atol=1e-5)


@pytest.mark.parametrize("binary", [False, True])
def test_rows_are_orthonormal_and_span_those_that_a_camera_has(binary):
    term = LearnedProjections(10, 6, binary=binary).double()
    with torch.no_grad():
        term.matrix.copy_(gaussian(10, 36))
    w, phi = term.measured_with().detach(), term.rows()[0].detach()
    assert torch.allclose(phi @ phi.T, torch.eye(10).double(), atol=1e-12)
    assert torch.allclose(w @ phi.T @ phi, w, atol=1e-12)
    if binary:
        assert torch.allclose(w.abs(), torch.full_like(w, 1 / 6))


def test_gradients_pass_through_the_signs():
    term = LearnedProjections(3, 4, binary=True).double()
    given = gaussian(3, 16)
    (found,) = torch.autograd.grad((term.measured_with() * given).sum(), term.matrix)
    assert torch.allclose(found, given / 4)


def test_the_problem_is_that_of_the_same_matrix_as_data():
    term = LearnedProjections(7, 4).double()
    x = gaussian(2, 8, 12)
    problem = term(x)
    matrix = term.rows()
    assert torch.equal(problem.data.samples, measure_blocks(x, matrix))
    assert torch.allclose(problem.back, spread_blocks(measure_blocks(x, matrix), matrix))


def test_the_iteration_keeps_the_contract():
    step = RatedProximalGradient(LearnedProjections(5, 4), TransformShrinkage(2), 0.001, channels=2).double()
    with torch.no_grad():
        step.prox.synthesis.copy_(0.1 * gaussian(1, 2, 3, 3, seed=1))
    skipped = ("compile", "export", "objective", "gradients", "second_derivative")
    check_iteration(step, 0.5 + 0.2 * gaussian(3, 8, 4), depth=2, skip=skipped)


@pytest.mark.parametrize("name", VARIANTS)
def test_training_moves_one_matrix_for_all_layers(name, task):
    system = find(name)
    recipe = system.recipes["compressive_learned"]
    network = system.network(recipe, task, 2)
    parent = recipe.parent(task)
    data = task.test[0].data
    assert torch.equal(network(data), unroll(parent, 2)(data))
    matrices = [parameter for key, parameter in network.named_learned() if key.endswith("matrix")]
    assert len(matrices) == 1
    before = matrices[0].detach().clone()
    with torch.no_grad():
        for layer in network.layers:
            layer.prox.synthesis.normal_(0, 0.1, generator=torch.Generator().manual_seed(0))
    fit(network, task, scaled(recipe.schedule(2), 2), quiet=True)
    assert not torch.equal(matrices[0], before)
    assert MATRIX in recipe.schedule(2)[0].rates


def test_principal_components_are_better_than_random_measurements(task):
    sample = task.test[0]
    errors = [float((run(sample.data) - sample.target).square().mean()) for run in (task.principal, task.random)]
    assert errors[0] < errors[1]


def test_pictures_that_are_not_of_whole_blocks_are_refused():
    step = RatedProximalGradient(LearnedProjections(5, 4), TransformShrinkage(2), 0.001, channels=2)
    with pytest.raises(ValueError, match="sides that are multiples of 4"):
        unroll(step, 1)(torch.rand(1, 8, 7))
    with pytest.raises(ValueError, match="m"):
        LearnedProjections(17, 4)
