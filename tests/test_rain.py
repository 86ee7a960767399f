"""Rain removal: the spec's identities of the ADMM parent, rain kernels, directional total variation, drawn streaks, and
how scores are counted.
"""

import math

import numpy as np
import pytest
import torch
from iterations import gaussian
from pictured import small_task
from PIL import Image
from tiny import moved

from unrolling import unroll
from unrolling.algorithms.images.deraining import LearnedProx, RainADMM, RainState, across_streaks, along_streaks
from unrolling.algorithms.images.rain_kernels import LearnedMaps, RainKernels, streak_kernels
from unrolling.networks import PReNet, ResidualBlocks, prenet_channels
from unrolling.operators import DirectionalDifferences
from unrolling.prox import soft_threshold
from unrolling.prox.directional import DirectionalTV
from unrolling.prox.isotropic import Ridge
from unrolling.systems.catalogue import find
from unrolling.tasks.base import evaluate
from unrolling.tasks.images.rain import Rain, video_luma
from unrolling.tasks.images.sources import few_drawn
from unrolling.tasks.images.streaks import draw_streaks, streak
from unrolling.tasks.samples import Samples
from unrolling.testing import check_iteration, check_operator

SHAPE = (2, 3, 9, 8)
LEAN = (2, -1)
SLOW = {"compile", "export", "deployed"}


def photos(seed=0):
    return (0.5 + 0.15 * gaussian(*SHAPE, seed=seed)).clamp(0, 1)


def admm(**options):
    return RainADMM(across_streaks(iterations=5), along_streaks(iterations=5), 0.125, 0.0625, **options).double()


# Directional total variation


@pytest.mark.parametrize("step", [(1, 0), (0, 1), LEAN, (-1, 2), (20, 1)])
def test_directional_differences_are_those_of_a_loop_and_have_an_adjoint(step):
    x, wanted = gaussian(2, 9, 8), torch.zeros(2, 9, 8, dtype=torch.float64)
    operator = DirectionalDifferences(step)
    for i in range(9):
        for j in range(8):
            if 0 <= i + step[0] < 9 and 0 <= j + step[1] < 8:
                wanted[:, i, j] = x[:, i + step[0], j + step[1]] - x[:, i, j]
    torch.testing.assert_close(operator(x), wanted)
    check_operator(operator, shape=(9, 8), dtype=torch.float64)
    torch.testing.assert_close(operator(x.unsqueeze(1)).squeeze(1), wanted)


@pytest.mark.parametrize("step", [(1, 0), LEAN])
def test_the_prox_of_directional_variation_is_the_minimiser(step):
    """Nothing nearby is better, for signed and for non-negative images; what is constant along the step stays."""
    z, t = gaussian(1, 6, 5), 0.3
    for options in ({}, {"sparsity": 0.5}, {"sparsity": 0.5, "nonnegative": True}):
        prox = DirectionalTV(DirectionalDifferences(step), iterations=800, **options)

        def energy(x, prox=prox):
            return 0.5 * (x - z).square().flatten(1).sum(1) + prox.penalty(x, t)

        x = prox(z, t)
        if "nonnegative" in options:
            assert float(x.min()) >= 0
        for seed in range(40):
            other = x + 0.03 * gaussian(1, 6, 5, seed=seed)
            other = other.clamp_min(0) if "nonnegative" in options else other
            assert float(energy(x)) <= float(energy(other)) + 1e-9
    stripes = gaussian(1, 1, 5).expand(1, 6, 5)
    torch.testing.assert_close(DirectionalTV(DirectionalDifferences((1, 0)))(stripes, 0.7), stripes)


# ADMM


@pytest.mark.parametrize("fidelity", ["least squares", "equality"])
def test_the_split_of_a_pixel_is_the_dense_solution(fidelity):
    parent = admm(penalty=0.7, fidelity=fidelity)
    state = RainState(*(gaussian(*SHAPE, seed=k) for k in range(4)))
    found, o, rho = parent.split(state, photos()), photos(), 0.7
    b, r = state.background - state.background_dual, state.rain - state.rain_dual
    if fidelity == "equality":  # minimise |B - b|^2 + |R - r|^2 with a multiplier for B + R = O
        matrix = torch.tensor([[1.0, 0, 1], [0, 1, 1], [1, 1, 0]], dtype=torch.float64)
        right = torch.stack([b, r, o], -1)
    else:
        matrix = torch.tensor([[1 + rho, 1.0], [1, 1 + rho]], dtype=torch.float64)
        right = torch.stack([o + rho * b, o + rho * r], -1)
    wanted = torch.linalg.solve(matrix, right.unsqueeze(-1)).squeeze(-1)
    torch.testing.assert_close(found.background, wanted[..., 0], atol=1e-6, rtol=0)  # 0.7 as float32 holds it
    torch.testing.assert_close(found.rain, wanted[..., 1], atol=1e-6, rtol=0)


def test_networks_that_stand_for_the_proxes_give_the_algorithm_to_the_bit():
    """What the threshold multiplies is (z - prox(z, t)) / t of the prox."""

    class Taken(torch.nn.Module):
        def __init__(self, prox, threshold):
            super().__init__()
            self.prox, self.threshold = prox, threshold

        def forward(self, z):
            return z - self.prox(z, self.threshold)

    proxes = across_streaks(iterations=5), along_streaks(iterations=5)
    classical = RainADMM(*proxes, 0.125, 0.0625).double()
    learned = RainADMM(*(LearnedProx(Taken(p, t)) for p, t in zip(proxes, (0.125, 0.0625), strict=True)), 1.0, 1.0)
    wanted, found = unroll(classical, 6)(photos()), unroll(learned.double(), 6)(photos())
    torch.testing.assert_close(found, wanted, atol=1e-12, rtol=0)
    loop = classical.start(photos())
    for _ in range(6):
        loop = classical(loop, photos())
    assert torch.equal(wanted, loop.background)


@pytest.mark.parametrize("fidelity", ["least squares", "equality"])
def test_splittings_close_rain_is_never_negative_and_the_fixed_point_is_the_closed_form(fidelity):
    """With l_B / 2 |B|^2 and l_R |R|_1 the minimiser is known pixel by pixel; under equality B + R = O."""
    l_b, l_r, o = 0.5, 0.1875, photos()
    parent = RainADMM(Ridge(), soft_threshold, l_b, l_r, fidelity=fidelity).double()
    state, gaps = parent.start(o), []
    with torch.no_grad():
        for _ in range(300):
            split, new = parent.split(state, o), parent(state, o)
            assert float(new.rain.min()) >= 0
            gaps.append(float((split.background - new.background).abs().max() + (split.rain - new.rain).abs().max()))
            state = new
    assert gaps[-1] < 1e-6 < 1e-3 < max(gaps)
    rest = l_r / l_b
    if fidelity == "equality":
        background = o.clamp_max(rest)
        rain = o - background
        torch.testing.assert_close(state.background + state.rain, o, atol=1e-6, rtol=0)
    else:
        rain = (o - l_r - rest).clamp_min(0)
        background = torch.where(rain > 0, rest, o / (1 + l_b))
    assert 0.05 < float((rain > 0).double().mean()) < 0.95
    torch.testing.assert_close(state.background, background, atol=1e-5, rtol=0)
    torch.testing.assert_close(state.rain, rain, atol=1e-5, rtol=0)


# Rain kernels


def dense(kernels, height, width):
    """The matrix of C * M, from maps of one sample to its colours."""
    count, colours, side, _ = kernels.shape
    matrix = torch.zeros(colours, height, width, count, height, width, dtype=kernels.dtype)
    half = side // 2
    for i in range(height):
        for j in range(width):
            for a in range(side):
                for b in range(side):
                    p, q = i + a - half, j + b - half
                    if 0 <= p < height and 0 <= q < width:
                        matrix[:, p, q, :, i, j] = kernels[:, :, a, b].T
    return matrix.reshape(colours * height * width, count * height * width)


def test_steps_on_rain_kernels_are_proximal_gradient_steps_with_dense_matrices():
    kernels = gaussian(2, 3, 3, 3, seed=5)
    parent = RainKernels(kernels, threshold=0.0625, map_step=0.03125, background_step=0.25)
    matrix, o = dense(kernels, 9, 8), photos()
    flat = o.flatten(1)
    b, m = flat, torch.zeros(2, matrix.shape[1], dtype=torch.float64)
    state = parent.start(o)
    for _ in range(3):
        m = (m - 0.03125 * (m @ matrix.T + b - flat) @ matrix - 0.0625).clamp_min(0)
        b = 0.75 * b + 0.25 * (flat - m @ matrix.T)
        state = parent(state, o)
    torch.testing.assert_close(state.maps.flatten(1), m)
    torch.testing.assert_close(state.background.flatten(1), b)
    torch.testing.assert_close(parent.supervised(state, o).rain.flatten(1), m @ matrix.T)
    grey = RainKernels(kernels[:, :1])
    torch.testing.assert_close(grey.synthesis(state.maps)[:, 2].flatten(1), m @ dense(kernels[:, :1], 9, 8).T)
    inner = (grey.synthesis(state.maps) * o).sum()
    torch.testing.assert_close((state.maps * grey.analysis(o)).sum(), inner)


def test_streak_kernels_have_a_norm_of_at_most_one_so_that_steps_of_one_descend():
    kernels = streak_kernels(6, 5).double()
    parent = RainKernels(kernels)
    assert float(torch.linalg.matrix_norm(dense(kernels, 9, 8), 2)) <= 1
    assert kernels.shape == (6, 3, 5, 5)
    with pytest.raises(ValueError, match="4 pixels along a side; an odd side has a middle"):
        RainKernels(gaussian(2, 3, 4, 4))
    with pytest.raises(ValueError, match=r"data have 1 colours, and these kernels rain of 3"):
        parent.check(photos()[:, :1])


# Networks and systems


@pytest.mark.parametrize("name", ["imaging/derain", "imaging/rcdnet"])
def test_before_training_a_network_is_its_parent_and_afterwards_its_rain_is_not_negative(name):
    system, task = find(name), small_task("rain")
    recipe = system.recipes["rain"]
    network = system.network(recipe, task, 3)
    data = task.example()[:1, :, :20, :24]
    parent = recipe.parent(task)
    state = parent.start(data)
    for _ in range(3):
        state = parent(state, data)
    assert torch.equal(network(data), parent.estimate(state, data))
    torch.testing.assert_close(network(data), data)
    trained = moved(network, size=0.02)
    state = list(trained.trajectory(data))[-1]
    assert bool(((state.rain if name == "imaging/derain" else state.maps) >= 0).all())
    assert float((trained(data) - data).detach().abs().max()) > 1e-3


@pytest.mark.parametrize(("name", "count"), [("imaging/derain", 65_805), ("imaging/rcdnet", 67_415)])
def test_the_networks_have_the_parameters_that_their_pages_say(name, count):
    system = find(name)
    network = system.network(system.recipes["rain"], small_task("rain"))
    assert sum(p.numel() for p in network.parameters()) == count


def test_prenet_has_the_published_number_of_parameters_and_begins_with_the_photograph():
    network = PReNet()
    assert sum(p.numel() for p in network.parameters()) == 168_963
    assert prenet_channels(168_963) == 32
    few = sum(p.numel() for p in PReNet(channels=prenet_channels(30_000)).parameters())
    assert abs(few - 30_000) < 3_000
    photo = photos().float()
    torch.testing.assert_close(PReNet(2, 4, 1)(photo), photo)


def test_small_iterations_conform():
    """Gradients of both are those of finite differences, and what else every iteration keeps."""
    data = (0.5 + 0.2 * gaussian(2, 1, 4, 5)).clamp(0, 1)
    parent = RainADMM(across_streaks(iterations=2), along_streaks(iterations=2), 0.125, 0.0625).double()
    check_iteration(parent, data, depth=2, skip=SLOW)
    maps, background = (ResidualBlocks(2, 1, seed=k).double() for k in (1, 2))
    kernels = torch.nn.Parameter(streak_kernels(2, 3, 1).double())
    learned = RainKernels(kernels, LearnedMaps(maps), background, memory=1, colours=1, threshold=0.0078125)
    # the first step of rain lies on the kink of max(., 0)
    check_iteration(learned, data, depth=2, skip={*SLOW, "gradients", "second_derivative"})


# Task


def test_streaks_have_their_angle_length_and_brightness():
    drawn = streak(31, 0.8, 60.0).double()
    place = torch.arange(61, dtype=torch.float64) - 30
    y, x = torch.meshgrid(place, place, indexing="ij")
    share = drawn / drawn.sum()
    covariance = [[float((share * a * b).sum()) for b in (x, -y)] for a in (x, -y)]
    values, vectors = np.linalg.eigh(covariance)
    assert math.degrees(math.atan2(abs(vectors[1, 1]), vectors[0, 1] * np.sign(vectors[1, 1]))) == pytest.approx(60, 1)
    assert values[1] > 20 * values[0]
    layers = draw_streaks(3, 40, 50, torch.Generator().manual_seed(0), brightness=0.4)
    assert layers.shape == (3, 40, 50)
    assert 0 <= float(layers.min()) <= float(layers.max()) <= 0.4 + 1e-6
    dense_rain, light = (
        draw_streaks(4, 60, 60, torch.Generator().manual_seed(1), coverage=c, brightness=0.5).mean()
        for c in (0.5, 0.02)
    )
    assert float(dense_rain) > 5 * float(light) > 0


def test_rain_brightens_only_and_the_same_seed_draws_the_same():
    task = small_task("rain")
    first, second = (task.draw(6, torch.Generator().manual_seed(4)) for _ in range(2))
    assert torch.equal(first.data, second.data)
    assert float((first.data - first.target).min()) >= -1e-6
    assert float(first.data.max()) <= 1


def test_scores_are_of_the_luma_from_16_to_235():
    """The PSNR of an estimate by NumPy, as MATLAB's rgb2ycbcr counts, and the SSIM by scikit-image."""
    from skimage.metrics import structural_similarity

    task = small_task("rain")
    target, noise = torch.rand(1, 3, 40, 50, generator=torch.Generator().manual_seed(0)), 0.05 * gaussian(1, 3, 40, 50)
    estimate, samples = target + noise.float(), Samples(target, target)
    planes = [np.asarray(255 * e.clamp(0, 1)[0].double()) for e in (estimate, target)]
    lumas = [16 + (65.481 * r + 128.553 * g + 24.966 * b) / 255 for r, g, b in planes]
    wanted = 10 * np.log10(255**2 / np.mean((lumas[0] - lumas[1]) ** 2))
    assert task.metric.value(task.pieces(estimate, samples)) == pytest.approx(wanted, abs=1e-3)
    similar = structural_similarity(
        *lumas, data_range=255, gaussian_weights=True, sigma=1.5, use_sample_covariance=False
    )
    assert task.more([estimate], [samples])["SSIM"] == pytest.approx(similar, abs=2e-3)


def write_pairs(root, names=("rain", "norain"), sizes=((30, 40), (30, 40))):
    for folder, size in zip(names, sizes, strict=True):
        (root / folder).mkdir()
        values = np.random.default_rng(0).integers(0, 200, (*size, 3), dtype=np.uint8)
        Image.fromarray(values + (50 if folder == names[0] else 0)).save(root / folder / "one.png")


def test_pairs_in_a_folder_are_the_test_pictures(tmp_path):
    write_pairs(tmp_path)
    task = Rain(data=tmp_path)
    assert task.test[0].data.shape == (1, 3, 30, 40)
    # the same 50 levels in all colours are 50 x 219 / 255 of luma
    assert float(task.metric.value(evaluate(lambda data: data, task, task.test))) == pytest.approx(
        20 * math.log10(255 / (50 * 219 / 255)), abs=1e-3
    )
    torch.testing.assert_close(video_luma(torch.ones(1, 3, 1, 1)), torch.full((1, 1, 1), 235 / 255))


def test_pairs_that_do_not_fit_are_refused(tmp_path):
    write_pairs(tmp_path, sizes=((30, 40), (40, 30)))
    with pytest.raises(ValueError, match=r"one\.png has 30 x 40 and 40 x 30 pixels with and without rain"):
        Rain(data=tmp_path)
    (tmp_path / "norain" / "one.png").rename(tmp_path / "norain" / "two.png")
    with pytest.raises(ValueError, match=r"one\.png is in one of .* only; pairs have the same file name"):
        Rain(data=tmp_path)


def test_grey_photographs_become_three_equal_colours():
    task = Rain(crop=24, data=few_drawn(), each=1)
    target = task.test[0].target
    assert target.shape[1] == 3
    assert torch.equal(target[:, 0], target[:, 2])


@pytest.mark.parametrize(
    ("data", "error", "words"),
    [
        (torch.rand(2, 8, 8), ValueError, "works on pictures .batch, colours, height, width.: of grey ones give"),
        (torch.rand(2, 3, 8, 8).to(torch.complex64), TypeError, "data is torch.complex64"),
        (torch.ones(2, 3, 8, 8, dtype=torch.int64), TypeError, "data is torch.int64"),
    ],
)
def test_what_is_no_picture_in_the_rain_is_refused(data, error, words):
    for name in ("imaging/derain", "imaging/rcdnet"):
        system = find(name)
        with pytest.raises(error, match=words):
            system.network(system.recipes["rain"], small_task("rain"), 2)(data)
