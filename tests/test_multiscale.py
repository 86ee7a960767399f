"""Restoration with a learned multiscale prior: the network against plain convolutions, what is known of the answer."""

import pytest
import torch
from families import by_day
from torch.nn import functional

from unrolling import fit, pretrained, solve, unroll
from unrolling.algorithms import MultiscaleDeblocking, MultiscaleDenoising, MultiscaleEnlarging, NoisyImage, SmallImage
from unrolling.algorithms.images.multiscale_restoration import rounding_level
from unrolling.files import pictures as pixels
from unrolling.networks import MultiscaleResidual
from unrolling.operators import BicubicReduction
from unrolling.operators.dct import cut_blocks, dct2
from unrolling.systems.catalogue import find
from unrolling.systems.exports import real_samples
from unrolling.systems.imaging._plug_and_play import shipped
from unrolling.tasks import photograph
from unrolling.tasks.images.deblocking import compress
from unrolling.tasks.images.enlarging import EnlargingFactors
from unrolling.tasks.images.known_noise import DenoisingLevels
from unrolling.tasks.images.sources import few_drawn
from unrolling.training.stages import Stage

TORCH = torch.float64


def prior(**options):
    """All its kernels random, as after training."""
    made = MultiscaleResidual((6, 8), **options).double()
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for last in made.last:
            last.weight.copy_(0.1 * torch.randn(last.weight.shape, generator=generator))
        if made.place is not None:
            made.place.copy_(torch.randn(made.place.shape, generator=generator))
    return made


def picture(*shape, seed=1):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=TORCH)


def test_the_network_is_convolutions_of_cells():
    net, x, y, level = prior(), picture(2, 16, 24), picture(2, 16, 24, seed=2), torch.tensor([0.1, 0.2], dtype=TORCH)
    kernels = {name: value.detach() for name, value in net.named_parameters()}
    given = torch.stack([x, y], 1)
    told = level.reshape(-1, 1, 1, 1).expand(2, 1, 8, 12)

    def block(z, name):
        inner = functional.conv2d(z, kernels[f"{name}.0.inner.weight"], padding=1).clamp_min(0)
        return z + functional.conv2d(inner, kernels[f"{name}.0.outer.weight"], padding=1)

    cells = torch.cat([functional.pixel_unshuffle(given, 2), told], 1)
    z = functional.conv2d(cells, kernels["first.0.weight"], padding=1)
    z = block(z, "down")
    low = block(functional.conv2d(z, kernels["reduce.weight"], stride=2), "middle")
    z = block(z + functional.conv_transpose2d(low, kernels["enlarge.weight"], stride=2), "up")
    expected = functional.pixel_shuffle(functional.conv2d(z, kernels["last.0.weight"], padding=1), 2)[:, 0]
    assert torch.allclose(net(x, y, level), expected, atol=1e-12)


@pytest.mark.parametrize(("channels", "blocks", "numbers"), [((24, 32), (1, 1), 48_120), ((32, 48), (3, 1), 168_096)])
def test_its_numbers(channels, blocks, numbers):
    assert sum(p.numel() for p in MultiscaleResidual(channels, blocks).parameters()) == numbers


@pytest.mark.parametrize("period", [0, 4])
def test_it_goes_with_the_brightness(period):
    net, x, level = prior(period=period), picture(1, 19, 22), torch.tensor([0.1], dtype=TORCH)
    assert torch.allclose(net(7 * x, 7 * x, 7 * level), 7 * net(x, x, level), rtol=1e-10)


def test_it_changes_nothing_at_the_start():
    net = MultiscaleResidual(sides=(2, 3), period=4)
    assert not net.at(torch.rand(2, 9, 11), torch.rand(2, 9, 11), torch.full((2,), 0.1), 3).any()


def test_a_pixel_reaches_as_far_as_it_says():
    net, x, level = prior(), picture(1, 120, 120), torch.tensor([0.1], dtype=TORCH)
    moved = x.clone()
    moved[0, 60, 60] += 1
    away = (net(moved, moved, level) - net(x, x, level))[0].abs() > 0
    rows = away.any(1).nonzero().flatten()
    assert max(60 - int(rows.min()), int(rows.max()) - 60) <= 2 * net.reach + 1


def test_where_a_cell_lies_matters_to_one_that_is_told():
    x, level = picture(1, 16, 16), torch.tensor([0.1], dtype=TORCH)
    flat = torch.full_like(x, 0.5)
    told, other = (prior(period=p)(flat, flat, level)[0].detach() for p in (4, 0))
    assert not torch.allclose(told, other, atol=1e-3)
    # eight pixels on it is the same again, away from the border
    wide = torch.full((1, 96, 96), 0.5, dtype=TORCH)
    found = prior(period=4)(wide, wide, level)[0]
    assert torch.allclose(found[40:48, 40:48], found[48:56, 40:48], atol=1e-12)


def test_rectifiers_with_a_slope_pass_part_of_what_is_negative():
    block = MultiscaleResidual((2, 2), slope=0.25).down[0].double()
    x = picture(1, 2, 6, 6) - 0.5
    inner = functional.conv2d(x, block.inner.weight, padding=1)
    expected = x + functional.conv2d(torch.maximum(inner, inner / 4), block.outer.weight, padding=1)
    assert torch.allclose(block(x), expected, atol=1e-12)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"slope": 1.0}, "slope"),
        ({"sides": ()}, "sides are empty"),
        ({"period": 3}, "period is 3"),
        ({"images": 0}, "images"),
        ({"blocks": (1, -1)}, "blocks"),
    ],
)
def test_networks_that_cannot_be_are_refused(options, words):
    with pytest.raises(ValueError, match=words):
        MultiscaleResidual(**options)


def test_pictures_that_do_not_fit_are_refused():
    net = prior(images=3)
    with pytest.raises(ValueError, match=r"needs an input of shape \(batch, 3"):
        net(picture(1, 8, 8), picture(1, 8, 8), torch.ones(1))
    with pytest.raises(TypeError, match=r"x is torch.float32 and the numbers of .*use x\.to"):
        net(picture(1, 3, 8, 8).float(), picture(1, 3, 8, 8).float(), torch.ones(1))
    with pytest.raises(ValueError, match="one shape"):
        net(picture(1, 3, 8, 8), picture(1, 3, 8, 9), torch.ones(1))
    assert net(picture(0, 3, 8, 8), picture(0, 3, 8, 8), torch.ones(1)).shape == (0, 3, 8, 8)
    with pytest.raises(ValueError, match="sides of 2; got 3"):
        net.at(picture(1, 3, 8, 8), picture(1, 3, 8, 8), torch.ones(1), 3)


def noisy(count=2, height=21, width=18, sigma=(0.1, 0.2)):
    return NoisyImage(picture(count, height, width), torch.tensor(sigma[:count], dtype=TORCH))


def noisy_float():
    return NoisyImage(*(part.float() for part in noisy()))


def jpeg(quality=10):
    image = functional.avg_pool2d(picture(1, 1, 64, 80), 5, 1, 2)[:, 0].float()
    return compress(image, quality)


ENLARGED = SmallImage(picture(2, 12, 11), 3)


@pytest.mark.parametrize(
    ("iteration", "each", "data"),
    [
        (MultiscaleDenoising(prior()), ("remainder",), noisy()),
        (MultiscaleDeblocking(prior(period=4).float()), (), jpeg()),
        (MultiscaleEnlarging(prior(sides=(2, 3, 4))), ("feedback",), ENLARGED),
    ],
    ids=["noise", "jpeg", "enlarging"],
)
def test_the_network_is_its_parent_to_the_bit_and_samples_are_their_own(iteration, each, data):
    network = unroll(iteration, 3, untied=("prior", *each))
    found = network(data)
    assert torch.equal(solve(iteration, data, tolerance=0.0, max_iterations=3).estimate, found)
    one = type(data)(*(part[:1] if isinstance(part, torch.Tensor) else part for part in data))
    assert torch.allclose(network(one)[0], found[0], atol=1e-5 if found.dtype == torch.float32 else 1e-12)


def test_colours_have_networks_of_their_own():
    iteration = MultiscaleDenoising(prior(images=3))
    data = NoisyImage(picture(2, 3, 14, 13), torch.tensor([0.1, 0.2], dtype=TORCH))
    assert solve(iteration, data, tolerance=0.0, max_iterations=2).estimate.shape == (2, 3, 14, 13)
    with pytest.raises(ValueError, match=r"image is \(batch, 3, height, width\); got"):
        solve(iteration, noisy(), max_iterations=1)


def test_without_noise_the_picture_stays_and_noise_is_weighed_by_its_variance():
    iteration, given = MultiscaleDenoising(prior(), remainder=0.05, views=1), noisy(2, sigma=(0.0, 0.2))
    found = solve(iteration, given, tolerance=0.0, max_iterations=2).estimate
    assert torch.allclose(found[0], given.image[0], atol=1e-12)
    one = solve(iteration, given, tolerance=0.0, max_iterations=1).estimate[1]
    guess = given.image[1] + iteration.prior(given.image, given.image, given.sigma)[1].detach()
    # two measurements of the same numbers, weighed by the inverse of their variances
    of_data, of_guess = 1 / 0.2**2, 1 / 0.05**2
    assert torch.allclose(one, (of_data * given.image[1] + of_guess * guess) / (of_data + of_guess), atol=1e-6)


@pytest.mark.parametrize("axes", [(-1,), (-2,), (-2, -1)])
def test_a_mirrored_picture_has_the_mirrored_answer(axes):
    def run(y, views):
        iteration = MultiscaleDenoising(prior(), views=views)
        return solve(iteration, noisy()._replace(image=y), tolerance=0.0, max_iterations=2).estimate

    y = noisy(height=24, width=20).image
    assert torch.allclose(run(y.flip(axes), 4), run(y, 4).flip(axes), atol=1e-12)
    assert not torch.allclose(run(y.flip(axes), 1), run(y, 1).flip(axes), atol=1e-3)
    mean = sum(run(y.flip(a), 1).flip(a) for a in ((-1,), (-2,), (-2, -1))) + run(y, 1)
    assert torch.allclose(run(y, 4), mean / 4, atol=1e-12)


def test_a_stage_trains_on_the_picture_as_it_lies_and_the_network_has_all_views_after_it():
    task = DenoisingLevels.small()
    network = unroll(MultiscaleDenoising(MultiscaleResidual((4, 4))), 2, untied=("prior", "remainder"))
    seen = []
    network.layers[1].register_forward_pre_hook(lambda layer, inputs: seen.append(inputs[0].shape[1]))
    fit(network, task, [Stage(2, batch=3, settings={"views": 1.0})], quiet=True, validations=0)
    assert set(seen) == {1}
    assert {layer.views for layer in network.layers} == {4.0}
    assert network.run(noisy_float()).shape == (2, 4, 21, 18)
    with pytest.raises(ValueError, match="views is 3"):
        MultiscaleDenoising(prior(), views=3)


def test_a_layer_with_two_passes_is_two_layers_with_one_network():
    network = unroll(MultiscaleDenoising(prior(), remainder=0.05), 3, untied=("prior", "remainder"))
    first, second, third = network.layers
    with torch.no_grad():
        for made in (first, second):
            for kernel in made.prior.parameters():
                kernel.add_(0.01 * torch.randn(kernel.shape, generator=torch.Generator().manual_seed(kernel.numel())))
        second.remainder.mul_(4)
    third.load_state_dict(second.state_dict())
    expected = network(noisy())
    second.passes = 2.0
    found = network.run(noisy(), layers=slice(0, 2))
    assert torch.equal(second.estimate(found, second.prepare(noisy())), expected)
    second.passes = 1.0
    assert not torch.allclose(network.run(noisy(), layers=slice(0, 2)), found)
    with pytest.raises(ValueError, match="passes"):
        MultiscaleDenoising(prior(), passes=0)


def test_the_last_layer_of_what_ships_takes_two_steps_and_within_pnp_one():
    """The first stages of its schedule train with one."""
    system = find("imaging/denoise")
    network = system.network(system.recipe("noise_levels")[1], DenoisingLevels.small(), 2)
    assert [layer.passes for layer in network.layers] == [1.0, 2.0]
    assert [stage.settings.get("passes") for stage in system.recipe("noise_levels")[1].schedule(2)] == [1.0, 1.0, None]
    assert [layer.passes for layer in shipped().denoiser.layers] == [1.0, 1.0]


@pytest.mark.parametrize("quality", by_day(10, 60, 95))
def test_what_a_jpeg_file_says_stays_true(quality):
    given = jpeg(quality)
    found = solve(MultiscaleDeblocking(prior(period=4).float()), given, tolerance=0.0, max_iterations=2).estimate
    held = dct2(cut_blocks(found - 128 / 255, 8))
    away = (held - cut_blocks(given.coefficients, 8)).abs() / given.steps.reshape(1, 1, 1, 8, 8)
    assert float(away.max()) <= 0.5 + 1e-3
    assert not torch.allclose(found, given.image, atol=1e-4)


def test_the_level_of_rounding_falls_with_the_quality():
    levels = [float(rounding_level(jpeg(quality).steps)) for quality in (5, 10, 30, 60, 90)]
    assert levels == sorted(levels, reverse=True)
    assert float(rounding_level(torch.full((1, 8, 8), 12**0.5))) == pytest.approx(1.0)


@pytest.mark.parametrize("factor", by_day(2, 3, 4))
def test_without_a_prior_it_is_iterative_back_projection(factor):
    small = picture(1, 9, 10)
    reduction = BicubicReduction(factor)
    x = reduction.enlarge(small)
    for _ in range(3 * MultiscaleEnlarging.rounds):
        x = x + reduction.enlarge(small - reduction(x))
    iteration = MultiscaleEnlarging(MultiscaleResidual((4, 4), sides=(factor,)).double())
    found = solve(iteration, SmallImage(small, factor), tolerance=0.0, max_iterations=3).estimate
    assert torch.allclose(found, x, atol=1e-12)
    assert found.shape == (1, 9 * factor, 10 * factor)


@pytest.mark.parametrize("factor", by_day(3, 2, 4))
def test_what_was_enlarged_reduces_to_the_small_picture(factor):
    small = functional.avg_pool2d(picture(1, 1, 16, 18), 5, 1, 2)[:, 0]
    iteration = MultiscaleEnlarging(prior(sides=(2, 3, 4)))
    found = solve(iteration, SmallImage(small, factor), tolerance=0.0, max_iterations=1).estimate
    problem = iteration.prepare(SmallImage(small, factor))
    added = problem.image + iteration.prior.at(problem.image, problem.image, problem.level, factor).detach()
    left, first = ((BicubicReduction(factor)(x) - small).square().mean().sqrt() for x in (found, added))
    assert float(left) < 0.5 * float(first)


@pytest.mark.parametrize("factor", [1, 2.5, True, 5])
def test_a_factor_that_is_none_is_refused(factor):
    iteration = MultiscaleEnlarging(prior(sides=(2, 3, 4)))
    with pytest.raises((ValueError, TypeError), match=r"factor|sides of 2, 3, 4"):
        solve(iteration, SmallImage(picture(1, 16, 18), factor), max_iterations=1)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"image": picture(2, 3, 20, 20)}, r"image is \(batch, 1, height, width\)"),
        ({"image": picture(2, 0, 20)}, "a pixel at least"),
        ({"sigma": torch.ones(3, dtype=TORCH)}, r"sigma is \(2,\)"),
        ({"sigma": torch.tensor([25.0, 25.0], dtype=TORCH)}, r"25 / 255, not 25"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(change, words):
    with pytest.raises(ValueError, match=words):
        solve(MultiscaleDenoising(prior()), noisy()._replace(**change), max_iterations=1)


def test_data_of_another_kind_are_refused():
    with pytest.raises(TypeError, match="Compressed"):
        solve(MultiscaleDeblocking(prior(period=4)), picture(1, 16, 16), max_iterations=1)


def test_a_level_that_is_nan_spoils_its_own_sample_alone():
    iteration = MultiscaleDenoising(prior())
    problem = iteration.prepare(noisy()._replace(sigma=torch.tensor([0.1, torch.nan], dtype=TORCH)))
    found = iteration(iteration.start(problem), problem)
    assert bool(found[0].isfinite().all())
    assert bool(found[1].isnan().all())


def test_the_answer_to_a_mirrored_file_is_mirrored():
    image = functional.avg_pool2d(picture(1, 1, 64, 80), 5, 1, 2)[:, 0].float()
    iteration = MultiscaleDeblocking(prior(period=4).float())
    found, mirrored = (
        solve(iteration, compress(x, 10), tolerance=0.0, max_iterations=2).estimate for x in (image, image.flip(-1))
    )
    assert torch.allclose(found, mirrored.flip(-1), atol=0.02)  # the encoder rounds as it likes
    assert float((found - mirrored.flip(-1)).abs().mean()) < 2e-4


@pytest.mark.parametrize("views", [1, 4])
def test_pieces_of_a_picture_of_any_size_are_the_whole(views):
    """Mirrored views have the cells of the picture, not of its piece."""
    iteration, image = MultiscaleDenoising(prior(), views=views), picture(1, 61, 203)
    level = torch.tensor([0.1], dtype=TORCH)

    def run(piece):
        return solve(iteration, NoisyImage(piece, level), tolerance=0.0, max_iterations=2).estimate.detach()

    pieces = pixels.in_tiles(run, image, margin=48, tile=64, align=4)
    assert torch.allclose(pieces, run(image), atol=1e-10)


@pytest.mark.parametrize("factor", by_day(3, 2, 4))
def test_pieces_that_are_enlarged_are_the_whole(factor):
    network, small = pretrained("imaging/enlarge"), photograph("camera")[80:131, 100:203].unsqueeze(0)
    with torch.no_grad():
        whole, pieces = (
            pixels.in_tiles(
                lambda piece: network(SmallImage(piece, factor)), small, margin=24, tile=tile, align=2, scale=factor
            )
            for tile in (1000, 32)
        )
    assert 255 * float((whole - pieces).abs().max()) < 0.1


def test_a_task_of_one_factor_has_that_alone_and_takes_the_weights_of_all():
    with pytest.raises(ValueError, match="factor is 5"):
        EnlargingFactors(5, data=few_drawn())
    task, every = EnlargingFactors(3, crop=48, data=few_drawn()), EnlargingFactors.small()
    assert {samples.data.factor for samples in task.test} == {3}
    assert {task.draw(1, torch.Generator().manual_seed(seed)).data.factor for seed in range(9)} == {3}
    assert {every.draw(1, torch.Generator().manual_seed(seed)).data.factor for seed in range(9)} == {2, 3, 4}
    assert torch.equal(*(next(pretrained("imaging/enlarge", factor=f).parameters()) for f in (0, 3)))


def test_files_are_compared_on_samples_of_the_factor_that_they_are_for():
    every, given = EnlargingFactors.small(), SmallImage(torch.rand(2, 12, 12), 3)
    draw = real_samples(every, given)
    assert {draw(2).factor for _ in range(6)} == {3}
    assert real_samples(every, given._replace(factor=5)) is None


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (3, 2)])
def test_pictures_of_any_size_and_batches_of_none(size):
    level = torch.tensor([0.1], dtype=TORCH)
    for count in (0, 1):
        image = picture(count, *size)
        found = solve(MultiscaleDenoising(prior()), NoisyImage(image, level[:count]), max_iterations=2).estimate
        assert found.shape == image.shape
    large = solve(MultiscaleEnlarging(prior(sides=(3,))), SmallImage(picture(1, *size), 3), max_iterations=2).estimate
    assert large.shape == (1, 3 * size[0], 3 * size[1])


@pytest.mark.parametrize("level", [torch.ones(3), torch.ones(2, 1), torch.tensor(0.1)])
def test_a_level_that_is_not_one_for_each_is_refused(level):
    with pytest.raises(ValueError, match="level is a number for each"):
        prior()(picture(2, 8, 8), picture(2, 8, 8), level)
