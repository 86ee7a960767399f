"""Pan-sharpening: the sensor's operator, scores, classical methods, parents, the task and its scenes."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from iterations import gaussian

from unrolling import solve, unroll
from unrolling.algorithms.images.component_substitution import brovey, gram_schmidt_adaptive, mtf_glp
from unrolling.algorithms.images.pan_sharpening import (
    BandVariation,
    GuidedProjection,
    LearnedProjection,
    MultispectralFit,
    solved,
    statistics_of,
)
from unrolling.networks import PNN
from unrolling.networks.conv_block import ConvBlock
from unrolling.networks.pnn import pnn_width
from unrolling.operators.modulation_transfer import Imagery, ModulationTransfer, gaussian_taps, ratio_of
from unrolling.tasks.images.fusion_metrics import ERGAS, ergas, spectral_angle, universal_quality
from unrolling.tasks.images.pansharpening import Pansharpening, mixed
from unrolling.tasks.samples import Samples
from unrolling.testing import check_iteration, check_operator

DOUBLE = torch.float64


def scenes(batch=2, bands=3, side=16, seed=0):
    """Bands of smooth shapes with fine texture that they share, above 0."""
    rough = gaussian(batch, bands, side // 4, side // 4, seed=seed)
    smooth = torch.nn.functional.interpolate(rough, (side, side), mode="bilinear")
    texture = gaussian(batch, 1, side, side, seed=seed + 1)
    strength = torch.linspace(0.5, 1.5, bands, dtype=DOUBLE).reshape(1, -1, 1, 1)
    return 4 + 0.5 * smooth + 0.2 * strength * texture


def imagery(x, operator=None, pan=None):
    operator = ModulationTransfer() if operator is None else operator
    return Imagery(operator(x), x.mean(1, keepdim=True) if pan is None else pan)


# The operator


@pytest.mark.parametrize("factor", [1, 2, 3, 4, 5])
def test_the_sensors_operator_is_linear_with_its_exact_adjoint_for_any_ratio(factor):
    operator = ModulationTransfer(factor, 0.3)
    check_operator(operator, shape=(2, 2 * factor, 3 * factor), dtype=DOUBLE)
    x, y = gaussian(2, 3, 4 * factor, 6 * factor), gaussian(2, 3, 4, 6, seed=1)
    torch.testing.assert_close((operator(x) * y).sum(), (x * operator.adjoint(y)).sum(), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("factor", "taps"), [(4, 16), (2, 8), (3, 13), (4, 12)])
@pytest.mark.parametrize("gain", [0.15, 0.25, 0.4])
def test_the_kernel_lets_the_stated_part_of_the_nyquist_frequency_through(factor, taps, gain):
    kernel = torch.tensor(gaussian_taps(gain, factor, taps), dtype=DOUBLE)
    places = torch.arange(taps, dtype=DOUBLE) - (taps - 1) / 2
    assert len(kernel) == taps
    torch.testing.assert_close(kernel.sum(), torch.ones((), dtype=DOUBLE))
    torch.testing.assert_close((kernel * torch.cos(torch.pi * places / factor)).sum(), torch.tensor(gain, dtype=DOUBLE))
    assert torch.equal(kernel, kernel.flip(0))


@pytest.mark.parametrize("factor", [2, 3, 4])
def test_small_pixels_lie_in_the_middle_of_the_large_ones_that_they_cover(factor):
    operator = ModulationTransfer(factor)
    assert operator.taps % 2 == factor % 2
    ramp = torch.arange(12.0 * factor, dtype=DOUBLE).expand(1, 1, 12 * factor, -1)
    inside = slice(4, 8)
    middle = factor * torch.arange(12, dtype=DOUBLE) + (factor - 1) / 2
    torch.testing.assert_close(operator(ramp)[0, 0, 5, inside], middle[inside])
    middle_columns = slice(5 * factor, 7 * factor)
    again = operator.enlarge(operator(ramp))[0, 0, 20]
    torch.testing.assert_close(again[middle_columns], ramp[0, 0, 0, middle_columns])


def test_a_gain_for_each_band_is_that_bands_own_blur():
    x = scenes()
    each = ModulationTransfer(4, (0.2, 0.3, 0.4))(x)
    for band, gain in enumerate((0.2, 0.3, 0.4)):
        assert torch.equal(each[:, band : band + 1], ModulationTransfer(4, gain)(x[:, band : band + 1]))


def test_the_norm_is_that_of_averaging():
    norm = ModulationTransfer(4).norm(1e-6, shape=(1, 24, 24), dtype=DOUBLE)
    assert norm == pytest.approx(0.25, rel=1e-3)


def test_an_operator_under_autocast_keeps_single_precision():
    x = scenes().float()
    operator = ModulationTransfer()
    with torch.autocast("cpu", torch.bfloat16):
        found = operator(x)
        assert torch.equal(operator.adjoint(found), operator.adjoint(operator(x)))
    assert found.dtype is torch.float32
    assert torch.equal(found, operator(x))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ModulationTransfer(4, 0.25, 15), "15 taps has its middle on pixels.*shift by half a pixel; take 16"),
        (lambda: ModulationTransfer(3, 0.25, 12), "12 taps has its middle between pixels.*take 13"),
        (lambda: ModulationTransfer(4, 1.0), "gain is 1.0; it must be above 0 and below 1"),
        (lambda: ModulationTransfer(4, ()), "gain is empty"),
        (lambda: ModulationTransfer(2, 0.9), "gain is 0.9; a Gaussian of 8 taps lets between"),
        (lambda: ModulationTransfer(0), "factor is 0; it must be at least 1"),
        (lambda: ModulationTransfer(4)(scenes()[..., :15]), "multiples"),
        (lambda: ModulationTransfer(4, (0.2, 0.3))(scenes()), "shape"),
    ],
)
def test_what_is_no_sensor_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


# Scores


def test_ergas_of_the_truth_is_zero_and_of_errors_what_is_defined():
    x = scenes()
    assert torch.equal(ergas(x, x), torch.zeros(2, dtype=DOUBLE))
    means = x.mean((-2, -1), keepdim=True)
    torch.testing.assert_close(ergas(x + 0.1 * means, x), torch.full((2,), 2.5, dtype=DOUBLE))
    torch.testing.assert_close(ergas(x + 0.1 * means, x, 2), torch.full((2,), 5.0, dtype=DOUBLE))
    torch.testing.assert_close(ergas(2047 * (x + 0.1), 2047 * x), ergas(x + 0.1, x))


def test_scores_agree_with_torchmetrics():
    from torchmetrics.functional.image import spectral_angle_mapper

    x, t = scenes(), scenes(seed=3)
    theirs = spectral_angle_mapper(x, t, reduction="none").flatten(1).mean(1)
    torch.testing.assert_close(spectral_angle(x, t), torch.rad2deg(theirs))


def test_the_spectral_angle_does_not_see_a_factor_at_a_pixel_and_is_exact_where_it_is_small():
    x = scenes()
    factor = 0.1 + gaussian(2, 1, 16, 16, seed=5).abs()
    assert spectral_angle(factor * x, x).max() < 1e-10
    flat = torch.tensor([1.0, 0.0], dtype=DOUBLE).reshape(1, 2, 1, 1)
    turned = torch.tensor([1.0, 1e-9], dtype=DOUBLE).reshape(1, 2, 1, 1)
    assert float(spectral_angle(flat, turned)) == pytest.approx(np.degrees(1e-9), rel=1e-6)
    assert float(spectral_angle(0 * flat, flat)) == pytest.approx(90)
    assert float(spectral_angle(0 * flat, 0 * flat)) == 0


def test_the_quality_index_is_one_for_the_truth_and_falls_with_contrast_and_level():
    x = scenes(side=40)
    one = torch.ones(2, dtype=DOUBLE)
    torch.testing.assert_close(universal_quality(x, x), one)
    torch.testing.assert_close(universal_quality(2 * x, x), 0.64 * one)  # 4/5 of the contrast, 4/5 of the level
    flat = torch.ones(1, 1, 40, 40, dtype=DOUBLE)
    assert float(universal_quality(flat, flat)) == 1
    assert float(universal_quality(3 * flat, flat)) == pytest.approx(0.6)


def test_nan_is_the_worst_score():
    x = scenes()
    broken = x.clone()
    broken[0, 0, 0, 0] = float("nan")
    for score in (ergas, spectral_angle, universal_quality):
        assert torch.equal(score(broken, x).isnan(), torch.tensor([True, False]))
    metric = ERGAS()
    assert metric.rank(metric.value(metric.pieces(broken, Samples(None, x)))) == float("inf")


# Classical methods


def test_brovey_keeps_the_spectral_angle_of_the_enlarged_bands():
    x = scenes(side=32)
    operator, data = ModulationTransfer(), imagery(scenes(side=32))
    enlarged = operator.enlarge(data.multispectral)
    torch.testing.assert_close(spectral_angle(brovey(data, operator), x), spectral_angle(enlarged, x))
    assert (ergas(brovey(data, operator), x) < ergas(enlarged, x)).all()


@pytest.mark.parametrize("method", [gram_schmidt_adaptive, mtf_glp])
def test_details_of_the_panchromatic_image_bring_bands_nearer(method):
    x = scenes(side=32)
    operator, data = ModulationTransfer(), imagery(x)
    assert (ergas(method(data, operator), x) < 0.8 * ergas(operator.enlarge(data.multispectral), x)).all()
    again = method(Imagery(3 * data.multispectral, 7 * data.panchromatic - 2), operator)
    torch.testing.assert_close(again, 3 * method(data, operator))  # units of the two have no say


def test_equal_bands_and_a_constant_scene_have_an_answer():
    operator = ModulationTransfer()
    x = scenes(bands=1).expand(-1, 3, -1, -1)
    for method in (brovey, gram_schmidt_adaptive, mtf_glp):
        assert bool(torch.isfinite(method(imagery(x), operator)).all())
        torch.testing.assert_close(method(imagery(torch.ones_like(x)), operator), torch.ones_like(x))


# The parent and the network


def learned(mixture=True):
    inputs = 4 if mixture else 3
    network = LearnedProjection(ConvBlock(inputs, 1, 4, 2, linear=torch.zeros(1, inputs)), mixture=mixture)
    return GuidedProjection(MultispectralFit(ModulationTransfer()), network.double())


def test_the_step_is_what_an_iteration_has_to_be():
    step = GuidedProjection(MultispectralFit(ModulationTransfer())).double()
    slow = ("compile", "export", "gradients", "second_derivative")  # the catalogue's tests have them
    check_iteration(step, imagery(scenes(3, 1, 8)), skip=slow)


@torch.no_grad()
def solve_states(step, problem, state, count):
    """So many states of an iteration."""
    states = [state]
    for _ in range(count):
        states.append(step(states[-1], problem))
    return states


@torch.no_grad()
def test_the_untrained_network_is_gradient_descent_and_falls_below_twice_the_inverse_of_the_largest_eigenvalue():
    x = scenes()
    operator, data = ModulationTransfer(), imagery(scenes())
    plain = GuidedProjection(MultispectralFit(operator)).double()
    network = unroll(learned(), 4, untied=("step_size", "projector"))
    estimate = operator.enlarge(data.multispectral)
    for found in network.estimates(data):
        estimate = estimate - 16 * operator.adjoint(operator(estimate) - data.multispectral)
        torch.testing.assert_close(found, estimate, rtol=1e-10, atol=1e-10)
    assert torch.equal(network(data), unroll(plain, 4)(data))
    problem = plain.prepare(data)
    largest = operator.norm(1e-9, shape=tuple(x.shape[1:]), dtype=DOUBLE) ** 2
    for share, falls in ((1.99, True), (2.05, False)):
        step = GuidedProjection(MultispectralFit(operator), step_size=share / largest).double()
        states = solve_states(step, problem, gaussian(*x.shape, seed=9), 250)
        values = [float(step.objective(state, problem).sum()) for state in states]
        assert all(later <= before * (1 + 1e-12) for before, later in pairwise(values)) == falls


@pytest.mark.parametrize("factor", [2, 3, 5, 8])
@torch.no_grad()
def test_a_step_size_serves_every_ratio(factor):
    operator = ModulationTransfer(factor)
    data = imagery(scenes(1, 2, 80 if factor == 5 else 48), operator)
    for step_size, falls in ((31.0, True), (33.0, False)):
        step = GuidedProjection(MultispectralFit(operator), step_size=step_size).double()
        problem = step.prepare(data)
        states = solve_states(step, problem, gaussian(*problem.enlarged.shape, seed=9) + 9, 150)
        values = [float(step.objective(state, problem)) for state in states]
        assert (values[-1] < values[0]) == falls


@pytest.mark.parametrize("guided", [False, True])
@torch.no_grad()
def test_total_variation_falls_to_a_minimum_and_the_a_run_of_it_is_the_network(guided):
    x = scenes()
    step = GuidedProjection(MultispectralFit(ModulationTransfer()), BandVariation(0.05, guided=guided, iterations=30))
    step, data = step.double(), imagery(x)
    states = list(unroll(step, 12).trajectory(data))
    values = [float(step.objective(state, step.prepare(data)).sum()) for state in states]
    assert all(later <= before * (1 + 1e-6) for before, later in pairwise(values))
    assert torch.equal(solve(step, data, tolerance=0.0, max_iterations=12).estimate, states[-1])


def test_a_guide_that_is_the_scene_is_followed():
    x = scenes(bands=1)
    data = imagery(3 * x + 1, pan=x)  # the band is a multiple of the panchromatic image, but for an offset
    step = GuidedProjection(MultispectralFit(ModulationTransfer()), BandVariation(0.1, guided=True)).double()
    found = solve(step, data, tolerance=0.0, max_iterations=100).estimate
    plain = solve(GuidedProjection(step.data_term).double(), data, tolerance=0.0, max_iterations=100).estimate
    assert (ergas(found, 3 * x + 1) < 0.2 * ergas(plain, 3 * x + 1)).all()


def trained(mixture=True, seed=0):
    """A network whose last convolutions are not zero."""
    network = unroll(learned(mixture), 3, untied=("step_size", "projector"))
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator, dtype=DOUBLE))
    return network


@pytest.mark.parametrize("mixture", [False, True])
def test_one_network_serves_any_number_of_bands_in_any_order(mixture):
    network, x = trained(mixture), scenes(bands=4)
    data = imagery(x)
    whole = network(data)
    order = [2, 0, 3, 1]
    torch.testing.assert_close(network(Imagery(data.multispectral[:, order], data.panchromatic)), whole[:, order])
    with torch.no_grad():
        torch.testing.assert_close(network(data), whole)  # band by band
    alone = network(Imagery(data.multispectral[:, :1], data.panchromatic))
    assert torch.allclose(alone, whole[:, :1]) != mixture  # by themselves, or together
    for count in (1, 8):
        few = imagery(scenes(bands=count))
        assert network(few).shape == (2, count, 16, 16)


def test_the_network_knows_no_units():
    network, data = trained(), imagery(scenes())
    other = Imagery(2047 * data.multispectral + 30, 255 * data.panchromatic - 9)  # 11 bits beside 8
    torch.testing.assert_close(network(other), 2047 * network(data) + 30)


def test_the_regression_of_the_panchromatic_image_finds_the_mixture_that_it_is():
    x = scenes(bands=3, side=32)
    weights = torch.tensor([0.2, 0.5, 0.3], dtype=DOUBLE).reshape(1, 3, 1, 1)
    pan = (weights * x).sum(1, keepdim=True)
    found = statistics_of(x, pan)
    left = pan - found.pan_mean - (found.weights * (x - found.mean)).sum(1, keepdim=True)
    assert float(left.square().mean().sqrt()) < 0.02 * float(found.pan_deviation.min())
    matrix = x[0].flatten(1) @ x[0].flatten(1).T + torch.eye(3, dtype=DOUBLE)
    right = gaussian(1, 3, 1, seed=3)
    torch.testing.assert_close(solved(matrix[None], right), torch.linalg.solve(matrix[None], right))


def test_constant_bands_and_a_constant_panchromatic_image_stay():
    x = torch.full((1, 2, 16, 16), 3.0, dtype=DOUBLE)
    network = unroll(learned(), 2, untied=("step_size", "projector"))
    torch.testing.assert_close(network(imagery(x)), x)


# Bad input


@pytest.mark.parametrize(
    ("bands", "pan", "message"),
    [
        ((1, 3, 4, 4), (1, 1, 18, 18), "18 x 18 pixels, which is no whole multiple of the bands' 4 x 4"),
        ((1, 3, 4, 4), (1, 1, 16, 12), "16 x 12 pixels, which is no whole multiple"),
        ((1, 4, 4, 3), (1, 1, 16, 16), "bands come before rows and columns"),
        ((1, 3, 4, 4), (1, 3, 16, 16), r"the panchromatic image \(batch, 1, r h, r w\)"),
        ((2, 3, 4, 4), (3, 1, 16, 16), "bands of 2 scenes and panchromatic images of 3"),
        ((1, 3, 4, 4), (1, 1, 8, 8), "2 times the bands' pixels along a side, and this is for 4 times"),
    ],
)
def test_images_that_do_not_fit_are_refused_before_any_step(bands, pan, message):
    step = GuidedProjection(MultispectralFit(ModulationTransfer()))
    with pytest.raises(ValueError, match=message):
        unroll(step, 2)(Imagery(torch.rand(bands), torch.rand(pan)))


def test_what_is_no_imagery_is_refused():
    with pytest.raises(TypeError, match="data are Imagery"):
        ratio_of(torch.rand(1, 3, 4, 4))


def test_a_network_for_three_bands_refuses_four_and_begins_as_interpolation():
    task = Pansharpening.small()
    network, data = task.pnn(4, 3), imagery(scenes(bands=3).float())
    torch.testing.assert_close(network(data), ModulationTransfer().enlarge(data.multispectral))
    with pytest.raises(
        ValueError, match=r"PNN needs an input of shape \(batch, 4, any, any\), and got \(2, 5, 16, 16\)"
    ):
        network(imagery(scenes(bands=4).float()))
    width = pnn_width(32_000, 3)
    sizes = [sum(p.numel() for p in PNN(3, (w, w // 2)).parameters()) for w in (width - 2, width, width + 2)]
    assert min(sizes, key=lambda size: abs(size - 32_000)) == sizes[1]


# The task


@pytest.fixture(scope="module")
def task():
    return Pansharpening.small()


def test_a_batch_follows_the_generator_and_its_bands_are_those_of_the_target(task):
    one, other = (task.draw(2, torch.Generator().manual_seed(4)) for _ in range(2))
    assert torch.equal(one.data.multispectral, other.data.multispectral)
    torch.testing.assert_close(one.data.multispectral, ModulationTransfer()(one.target))
    assert one.data.panchromatic.shape == (2, 1, 32, 32)


def test_a_held_out_photograph_is_mixed_in_fixed_parts(task):
    samples = task.test[0]
    torch.testing.assert_close(samples.data.panchromatic, mixed(samples.target, torch.tensor([[0.25, 0.5, 0.25]])))


def test_more_gives_angle_and_quality(task):
    samples = task.test[0]
    assert task.more([samples.target], [samples]) == pytest.approx({"SAM (degrees)": 0, "Q": 1}, abs=1e-6)


def test_the_loss_is_relative_to_each_bands_energy(task):
    x = scenes().float()
    torch.testing.assert_close(task.loss(1.1 * x, x), torch.tensor(1.0), rtol=1e-4, atol=0)
    assert torch.isfinite(task.loss(x, 0 * x))
