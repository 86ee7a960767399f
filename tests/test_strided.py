"""Convolutional sparse coding with a stride: the dictionary against plain convolutions, the shifted grids."""

import itertools

import pytest
import torch
from torch.nn import functional

from unrolling import solve, unroll
from unrolling.algorithms import FISTA, NoisyImage, StridedISTA
from unrolling.algorithms.sparse.strided import cosine_atoms
from unrolling.operators import PatchDictionary, StridedDictionary

TORCH = torch.float64


def atoms(count=10, channels=1, size=6, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return 0.2 * torch.randn(count, channels, size, size, generator=generator, dtype=TORCH)


def picture(*shape, seed=1):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=TORCH)


@pytest.mark.parametrize(("channels", "size", "stride"), [(1, 6, 2), (3, 6, 3), (2, 4, 4)])
def test_the_dictionary_is_a_strided_convolution(channels, size, stride):
    kernel = atoms(7, channels, size)
    dictionary = StridedDictionary(kernel, stride)
    y = picture(2, channels, 24, 36)
    pad = size - stride
    plain = functional.conv2d(y, kernel, stride=stride, padding=pad)
    assert torch.allclose(dictionary.adjoint(y), plain, atol=1e-12)
    z = torch.randn_like(plain)
    whole = functional.conv_transpose2d(z, kernel, stride=stride, padding=pad)
    assert torch.allclose(dictionary(z), whole, atol=1e-12)
    assert torch.equal(dictionary.atoms(), kernel)
    assert torch.allclose((dictionary(z) * y).sum(), (z * dictionary.adjoint(y)).sum())


def test_it_is_the_patch_dictionary_with_codes_first():
    kernel = atoms(5, 1, 6)
    a, b = StridedDictionary(kernel, 3), PatchDictionary(kernel[:, 0], 3)
    y = picture(2, 18, 24)
    assert torch.allclose(a.adjoint(y.unsqueeze(1)).movedim(1, -1), b.adjoint(y))


@pytest.mark.parametrize("bad", [{"stride": 4}, {"stride": 0}])
def test_a_stride_that_does_not_fit_is_refused(bad):
    with pytest.raises(ValueError, match="stride"):
        StridedDictionary(atoms(), **bad)
    with pytest.raises(ValueError, match="divide the image's sides"):
        StridedDictionary(atoms(), 3).adjoint(picture(1, 1, 7, 9))
    with pytest.raises(ValueError, match="positions at least"):
        StridedDictionary(atoms(), 3)(picture(1, 10, 1, 5))


def coding(**options):
    return StridedISTA(StridedDictionary(atoms(), 3), 0.5, **options)


def data(count=2, height=20, width=17, sigma=(0.1, 0.2)):
    return NoisyImage(picture(count, height, width), torch.tensor(sigma[:count], dtype=TORCH))


def test_the_network_is_its_parent_to_the_bit():
    iteration, given = coding(), data()
    tied, untied = ("dictionary", "encoder", "decoder", "remainder"), ("threshold", "slope", "momentum")
    network = unroll(iteration, 4, tied=tied, untied=untied)
    found = solve(iteration, given, tolerance=0.0, max_iterations=4).estimate
    assert torch.equal(network(given), found)


def test_ista_at_one_position_is_ista_on_the_strided_convolution():
    """Independent of the class: plain convolutions and soft thresholds."""
    kernel, iteration, given = atoms(), coding(shifts=1), data(height=21, width=18)
    y = given.image.unsqueeze(1) - 0.5
    norm = StridedDictionary(kernel, 3).norm(1e-2, shape=(10, 8, 8))
    mu, z = 1 / norm**2, torch.zeros(2, 10, 8, 7, dtype=TORCH)
    level = mu * 0.5 * given.sigma.reshape(-1, 1, 1, 1)
    for _ in range(5):
        left = y - functional.conv_transpose2d(z, kernel, stride=3, padding=3)
        v = z + mu * functional.conv2d(left, kernel, stride=3, padding=3)
        z = v.sign() * (v.abs() - level).clamp_min(0)
    x = functional.conv_transpose2d(z, kernel, stride=3, padding=3)[:, 0] + 0.5
    rest = (1 / 255) ** 2 / ((1 / 255) ** 2 + given.sigma.reshape(-1, 1, 1) ** 2)
    expected = x + rest * (given.image - x)
    assert torch.allclose(solve(iteration, given, tolerance=0.0, max_iterations=5).estimate, expected, atol=1e-10)


@pytest.mark.nightly
def test_the_objective_falls_and_fista_ends_at_the_same_picture():
    iteration, given = coding(), data(1)
    problem = iteration.prepare(given)
    state, values = iteration.start(problem), []
    for _ in range(30):
        values.append(float(iteration.objective(state, problem).detach()))
        state = iteration(state, problem)
    assert all(b <= a + 1e-12 for a, b in itertools.pairwise(values))
    slow = solve(iteration, given, tolerance=1e-9, max_iterations=4000).estimate
    quick = solve(FISTA(iteration), given, tolerance=1e-9, max_iterations=2000).estimate
    assert torch.allclose(slow, quick, atol=1e-5)


def test_the_mean_over_positions_does_not_depend_on_where_the_picture_begins():
    """A picture moved by a pixel gives the answer moved by a pixel, away from the border."""
    image = picture(1, 42, 42)
    sigma = torch.tensor([0.1], dtype=TORCH)
    run = lambda y: solve(coding(), NoisyImage(y, sigma), tolerance=0.0, max_iterations=3).estimate  # noqa: E731
    whole, moved = run(image)[:, 1:, 1:], run(image[:, 1:, 1:])
    inside = slice(20, 22)  # three steps reach eight pixels each, from both sides
    assert torch.allclose(whole[:, inside, inside], moved[:, inside, inside], atol=1e-10)
    alone = lambda y: solve(coding(shifts=1), NoisyImage(y, sigma), tolerance=0.0, max_iterations=3).estimate  # noqa: E731
    assert not torch.allclose(alone(image)[:, 1:, 1:][:, inside, inside], alone(image[:, 1:, 1:])[:, inside, inside])


def test_without_noise_the_picture_stays():
    given = data(1, sigma=(0.0,))
    assert torch.allclose(solve(coding(), given, tolerance=0.0, max_iterations=3).estimate, given.image, atol=1e-12)


@pytest.mark.parametrize("slope", [-0.9, 0.0, 0.9])
def test_thresholds_rise_with_the_level(slope):
    iteration = coding()
    iteration.slope = torch.full_like(iteration.slope, slope * 0.999)
    levels = torch.linspace(0, 0.4, 60, dtype=TORCH).reshape(-1, 1, 1, 1, 1)
    found = iteration.thresholds(levels).flatten(1)
    assert float(found[0].abs().max()) == 0
    assert bool((found.diff(dim=0) >= 0).all())


def test_samples_of_other_levels_do_not_change_one():
    iteration, given = coding(), data()
    both = solve(iteration, given, tolerance=0.0, max_iterations=3).estimate
    for k in range(2):
        one = NoisyImage(given.image[k : k + 1], given.sigma[k : k + 1])
        assert torch.allclose(solve(iteration, one, tolerance=0.0, max_iterations=3).estimate[0], both[k], atol=1e-12)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"image": picture(2, 3, 20, 20)}, r"image is \(batch, 1, height, width\)"),
        ({"image": picture(2, 5, 20)}, "6 x 6 pixels at least"),
        ({"sigma": torch.ones(3, dtype=TORCH)}, r"sigma is \(2,\)"),
        ({"sigma": torch.tensor([0.1, -0.1], dtype=TORCH)}, "sigma is a part of white, from 0 to 1"),
        ({"sigma": torch.tensor([25.0, 25.0], dtype=TORCH)}, r"25 / 255, not 25"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(change, words):
    with pytest.raises(ValueError, match=words):
        solve(coding(), data()._replace(**change), max_iterations=1)


def test_cosines_are_of_unit_norm_and_zero_mean():
    found = cosine_atoms(30, 5).double()
    assert torch.allclose(found.flatten(1).norm(dim=1), torch.ones(30, dtype=TORCH), atol=1e-6)
    assert float(found[1:].mean((1, 2)).abs().max()) < 1e-7
    assert float(found[0].std()) < 1e-7


def test_a_level_that_is_nan_spoils_its_own_sample_alone():
    given = data()._replace(sigma=torch.tensor([0.1, torch.nan], dtype=TORCH))
    found = coding().estimate(coding()(coding().start(p := coding().prepare(given)), p), p)
    assert bool(found[0].isfinite().all())
    assert bool(found[1].isnan().all())
