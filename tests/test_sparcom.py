"""SPARCOM and the step that Learned SPARCOM unrolls: identities of the paper, its parent, and its counts."""

import copy
import math

import pytest
import torch
from iterations import gaussian
from torch.nn.functional import conv2d

from unrolling import constrain, deploy, solve, unroll
from unrolling.algorithms.images.sparcom import Fluctuations, Sparcom, accelerated_sparcom, temporal_variance
from unrolling.operators.point_spread import PointSpread
from unrolling.operators.radial import (
    Radial,
    RadialConvolution,
    gaussian_profile,
    radial_profile,
    radial_size,
    radii,
    radius_index,
)
from unrolling.prox import soft_threshold
from unrolling.prox.percentile import PercentileGate, SoftPositive, percentiles
from unrolling.systems.catalogue import find
from unrolling.tasks.medical.microscopy import Microscopy
from unrolling.testing import check_iteration, check_operator


def movie(batch=2, frames=7, size=6):
    return gaussian(batch, frames, size, size).abs()


def radial(size, seed=0, scale=1.0):
    return RadialConvolution(scale * gaussian(len(radii(size)), seed=seed))


def learned(size, seed=0, scale=1.0):
    return RadialConvolution(torch.nn.Parameter(radial(size, seed, scale).profile))


def network(prox=PercentileGate, depth=3, scale=0.05):
    """Small kernels that are not those of any point spread function."""
    step = Sparcom(learned(3, 1), learned(5, 2, scale), prox(), prox(), factor=2).double()
    return unroll(step, depth, tied=("analysis.profile", "last", "scale"), untied=("interaction.profile", "prox"))


def test_a_kernel_has_as_many_numbers_as_distances():
    assert (len(radii(25)), len(radii(29))) == (83, 106)
    assert (radial_size(83), radial_size(106)) == (25, 29)
    with pytest.raises(ValueError, match="no radial kernel has 84 distances"):
        radial_size(84)
    with pytest.raises(ValueError, match="odd"):
        radii(4)


def test_radial_projection_is_idempotent_the_nearest_and_equal_to_the_profile_form():
    kernel, constraint = gaussian(11, 11), Radial()
    projected = constraint.project(kernel)
    assert torch.allclose(constraint.project(projected), projected, rtol=1e-14)
    assert torch.equal(projected, RadialConvolution(radial_profile(kernel)).kernel)
    for other in (gaussian(len(radii(11)), seed=n) for n in range(5)):  # what is left is orthogonal to all of them
        assert abs(float(((kernel - projected) * constraint(other)).sum())) < 1e-12


def test_the_constraint_gives_back_its_kernel_to_the_bit_and_refuses_others():
    module = torch.nn.Module()
    kernel = Radial()(gaussian(len(radii(7))))
    module.kernel = torch.nn.Parameter(kernel.clone())
    constrain(module, "kernel", Radial())
    assert torch.equal(module.kernel, kernel)
    assert [p.shape for p in module.parameters()] == [(10,)]
    with pytest.raises(ValueError, match="depends on the distance"):
        Radial().right_inverse(gaussian(7, 7))


@pytest.mark.parametrize("shape", [(9, 6), (3, 4)], ids=["", "smaller than the kernel"])
def test_radial_convolution_is_the_zero_padded_one(shape):
    operator, x = radial(5), gaussian(2, *shape)
    direct = conv2d(x.unsqueeze(1), operator.kernel.view(1, 1, 5, 5), padding=2).squeeze(1)
    assert torch.allclose(operator(x), direct, atol=1e-12)


def test_operators_conform():
    check_operator(radial(5), shape=(7, 6))
    check_operator(PointSpread((4, 3), 2, 1.1, dtype=torch.float64))


def test_the_variance_of_independent_emitters_is_what_the_squared_spread_makes_of_theirs():
    spread, squared = (PointSpread((5, 4), 2, 0.9, power, torch.float64) for power in (1, 2))
    emitters = torch.zeros(1, 8, 10, 8, dtype=torch.float64)
    signs = torch.tensor([[1, 1, 1, 1, -1, -1, -1, -1], [1, 1, -1, -1, 1, 1, -1, -1], [1, -1, 1, -1, 1, -1, 1, -1]])
    for sign, (row, column) in zip(signs, [(1, 2), (4, 4), (9, 7)], strict=True):
        emitters[0, :, row, column] = 3 + sign * row  # orthogonal over the frames: exactly uncorrelated
    seen = spread(emitters[0]).unsqueeze(0)
    assert torch.allclose(temporal_variance(seen), squared(temporal_variance(emitters)), atol=1e-12)


def test_gradient_of_the_correlation_form_is_that_of_all_covariances():
    term = Fluctuations((4, 3), 2, 0.8, form="correlation").double()
    y, x = movie(1, 9)[..., :4, :3], gaussian(1, 8, 6).abs().requires_grad_()
    term.rows, term.columns = (matrix.T @ matrix for matrix in (term.spread.rows, term.spread.columns))
    term.rows, term.columns = term.rows.square(), term.columns.square()
    dense = torch.stack([term.spread(e.view(1, 8, 6)).flatten() for e in torch.eye(48, dtype=torch.float64)], 1)
    centred = (y - y.mean(1, keepdim=True)).flatten(2)[0]
    covariance = centred.T @ centred / 9
    value = 0.5 * (covariance - dense @ torch.diag(x.flatten()) @ dense.T).square().sum()
    (gradient,) = torch.autograd.grad(value, x)
    problem = term(y)
    assert torch.allclose(term.gradient(x, problem), gradient, atol=1e-10)
    assert torch.allclose(term.value(x, problem), value - 0.5 * covariance.square().sum(), atol=1e-10)


@pytest.mark.parametrize("form", ["variance", "correlation"])
def test_sparcom_reaches_a_minimum(form):
    term = Fluctuations((6, 6), 2, 0.7, form=form)
    data, weight = movie().float(), 0.05
    found = solve(accelerated_sparcom(term, weight), data, tolerance=1e-5, max_iterations=1500).estimate
    slope = term.gradient(found, term(data)) + weight  # zero where x > 0, positive where x = 0
    assert bool((found >= 0).all())
    assert float(torch.where(found > 0, slope.abs(), -slope).max()) < 2e-3


def test_with_the_plain_prox_it_is_ista():
    """For A the full convolution with a kernel of 5 x 5, g zero outside the image, where A^T A is one with 9 x 9."""
    kernel, mu, weight, steps = radial(5, scale=0.3).kernel, 0.05, 0.4, 6
    square = conv2d(kernel.view(1, 1, 5, 5), kernel.view(1, 1, 5, 5), padding=4)[0, 0]
    analysis, interaction = (RadialConvolution(mu * radial_profile(k)) for k in (kernel, square))
    assert torch.allclose(interaction.kernel, mu * square, atol=1e-14)  # up to 9 x 9 the symmetries make it radial
    prox = SoftPositive(mu * weight).double()
    step = Sparcom(analysis, interaction, prox, prox, factor=1).double()
    data = movie(2, 5, 12)
    state = step.start(step.prepare(data))
    for _ in range(steps):
        state = step(state, step.prepare(data))
    g = torch.nn.functional.pad(temporal_variance(data), (2, 2, 2, 2)).unsqueeze(1)
    weights = kernel.view(1, 1, 5, 5)
    x = torch.zeros(2, 1, 12, 12, dtype=torch.float64)
    for _ in range(steps + 1):
        residual = g - torch.nn.functional.conv_transpose2d(x, weights)
        x = torch.relu(x + mu * conv2d(residual, weights) - mu * weight)
    assert torch.allclose(step.estimate(state, None), x.squeeze(1), rtol=1e-10, atol=1e-12)
    assert torch.equal(prox(data), torch.relu(soft_threshold(data, prox.threshold)))


def test_it_follows_the_scale_of_the_data_while_thresholds_exceed_1e_14():
    net, data = network(), movie()
    expected = net(data)
    for c in (1e-3, 7.0, 1e5):  # of g: movies are multiplied by its root
        assert torch.allclose(net(math.sqrt(c) * data), c * expected, rtol=1e-9)
    tiny = gaussian(1, 5, 5).abs() * 1e-16
    gate = PercentileGate(0.5, 3.0).double()
    assert torch.allclose(gate(tiny), tiny / (1 + torch.exp(-3 * tiny)), rtol=1e-12)


@pytest.mark.parametrize("prox", [PercentileGate, lambda: SoftPositive(0.1)], ids=["gate", "plain"])
def test_it_commutes_with_quarter_turns_and_flips(prox):
    net, data = network(prox), movie()
    with torch.no_grad():
        expected = net(data)
        assert torch.allclose(net(data.rot90(1, (-2, -1))), expected.rot90(1, (-2, -1)), atol=1e-10)
        assert torch.allclose(net(data.flip(-1)), expected.flip(-1), atol=1e-10)
        assert torch.allclose(net(data.transpose(-2, -1)), expected.transpose(-2, -1), atol=1e-10)


@pytest.mark.parametrize("count", [1, 2, 49, 50, 99, 100, 101, 150, 4096])
def test_percentiles_have_the_ranks_of_both_programs(count):
    z = gaussian(2, count)
    falling = z.sort(1, descending=True).values
    low, high = percentiles(z.view(2, 1, count))
    assert torch.equal(low, falling[:, min(int(0.99 * count + 1e-9), count - 1)])
    assert torch.equal(high, falling[:, int(0.01 * count + 1e-9)])
    low, high = percentiles(z.view(2, 1, count), "matlab")
    rounded = [max(math.floor(share * count + 0.5 + 1e-9), 1) - 1 for share in (0.99, 0.01)]  # MATLAB rounds halves up
    assert torch.equal(low, falling[:, rounded[0]])
    assert torch.equal(high, falling[:, rounded[1]])


def test_an_image_taken_from_all_frames_changes_nothing():
    net, data = network(), movie()
    background = data.median(1, keepdim=True).values
    with torch.no_grad():
        assert torch.allclose(net(data - background), net(data), atol=1e-12)


def test_the_step_conforms():
    step = Sparcom(learned(3, 1), learned(3, 2, 0.05), PercentileGate(0.3), SoftPositive(0.1), factor=2).double()
    check_iteration(step, movie(3, 4, 3), depth=2, skip=("compile", "export"))


@pytest.mark.parametrize(("name", "count"), [("medical/sparcom", 1166), ("medical/sparcom_plain", 1155)])
def test_before_training_the_systems_are_their_parents_to_the_bit_and_have_the_published_counts(name, count):
    recipe, task = find(name).recipe(None)[1], Microscopy.small()
    net, parent, data = find(name).network(recipe, task), recipe.parent(task), task.timing.data
    assert sum(p.numel() for p in net.parameters() if p.requires_grad) == count
    raw = sum(k.size**2 for layer in net.layers for k in [layer.interaction]) + net.layers[0].analysis.size ** 2
    assert raw + count - 83 - 10 * 106 == count + 7892
    with torch.no_grad():
        problem = parent.prepare(data)
        state = parent.start(problem)
        for _ in range(10):
            state = parent(state, problem)
        assert torch.equal(net(data), parent.estimate(state, problem))


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (torch.rand(2, 1, 8, 8), "1 frame; what fluctuates is seen from two frames on"),
        (torch.rand(2, 8, 8), "movies .batch, frames, height, width"),
        (torch.rand(2, 3, 8, 8, dtype=torch.complex64), "complex"),
        (torch.ones(2, 3, 8, 8, dtype=torch.int32), "int32"),
    ],
)
def test_what_is_no_movie_is_refused(data, words):
    task = Microscopy.small()
    for iteration in (
        find("medical/sparcom").recipe(None)[1].parent(task),
        accelerated_sparcom(task.fluctuations(), 0.1),
    ):
        with pytest.raises((ValueError, TypeError), match=words):
            unroll(iteration, 2)(data)


def test_nan_stays():
    data = movie()
    data[0, 2, 3, 3] = math.nan
    found = network()(data)
    assert bool(found[0].isnan().any())
    assert not bool(found[1].isnan().any())


def test_the_kernels_at_the_start_are_those_of_the_squared_spread():
    step = find("medical/sparcom").recipe(None)[1].parent(Microscopy())
    kernel = step.analysis.kernel.detach().double()
    square = conv2d(kernel.view(1, 1, 25, 25), kernel.view(1, 1, 25, 25), padding=14 + 12)[0, 0]
    middle = square[12:-12, 12:-12]
    assert float((step.interaction.kernel.detach() - middle).abs().max()) < 0.02 * float(middle.max())
    assert math.isclose(float(kernel.sum()), 1.0, rel_tol=1e-5)
    wide = gaussian_profile(25, 4 * 1.1 / math.sqrt(2))[radius_index(25)]
    assert torch.allclose(kernel, wide / wide.sum(), atol=1e-7)


@pytest.mark.parametrize("prox", [PercentileGate, lambda: SoftPositive(0.1)], ids=["gate", "plain"])
def test_deployed_in_single_precision_it_is_the_same_network(prox):
    net = network(prox)
    single = copy.deepcopy(net).float()
    run = deploy(single, "plain")
    with torch.no_grad():
        for size, batch in ((6, 2), (9, 3), (20, 1)):
            data = movie(batch, 5, size)
            expected, state = net(data, return_state=True)
            tolerance = {"atol": 1e-5 * float(expected.abs().max()), "rtol": 1e-4}
            torch.testing.assert_close(run(data.float()), expected.float(), **tolerance)
            torch.testing.assert_close(run(data.float(), state.float()), net(data, state).float(), **tolerance)
        data[0, 2, 3, 3] = math.nan
        assert bool(run(data.float()).isnan().any())


@pytest.mark.parametrize("prox", [PercentileGate, lambda: SoftPositive(0.1)], ids=["gate", "plain"])
def test_deployed_it_is_the_same_network(prox):
    net = network(prox)
    run = deploy(net, "plain")
    assert "all layers at once" in repr(run)
    with torch.no_grad():
        for size, batch in ((6, 2), (6, 1), (9, 3)):
            data = movie(batch, 5, size)
            expected, state = net(data, return_state=True)
            assert torch.allclose(run(data), expected, atol=1e-12)
            assert torch.allclose(run(data, state), net(data, state), atol=1e-12)
        assert run(movie(0, 5, 6)).shape == (0, 12, 12)
    with pytest.raises((ValueError, TypeError)):
        run(movie(2, 1, 6))


def test_variances_of_several_movies_are_those_of_each_to_the_bit():
    data = movie(3, 40, 8).float()
    with torch.no_grad():
        assert torch.equal(temporal_variance(data), torch.cat([temporal_variance(each) for each in data.split(1)]))
        assert temporal_variance(data[:0]).shape == (0, 8, 8)
    learned = data.requires_grad_(True)
    assert torch.equal(temporal_variance(learned), temporal_variance(data.detach()))
