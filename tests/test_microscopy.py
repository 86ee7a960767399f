"""The task of super-resolution microscopy: its simulator, its metrics and what it is compared with."""

import pytest
import torch

from unrolling.networks.encoder_decoder import EncoderDecoder
from unrolling.operators.point_spread import PointSpread
from unrolling.tasks.base import Samples, first
from unrolling.tasks.medical.emitters import Emitters, curve, draw_emitters, record, simulated_movies
from unrolling.tasks.medical.microscopy import Microscopy, check_spread, richardson_lucy
from unrolling.tasks.medical.structures import fitted_psnr, jaccard, matches, precision, recall, support


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def test_curves_pass_the_field_in_equal_steps_and_bend_smoothly():
    for seed in range(5):
        row, column = curve(16, generator(seed))
        assert torch.allclose(torch.hypot(row.diff(), column.diff()), torch.tensor(0.1), atol=1e-3)
        angle = torch.atan2(row.diff(), column.diff()).diff()
        turn = torch.remainder(angle + torch.pi, 2 * torch.pi) - torch.pi
        assert float(turn.abs().max()) < 0.15
        assert bool((torch.maximum((row - 7.5).abs(), (column - 7.5).abs()) <= 8).any())


def test_an_emitter_in_the_middle_of_a_fine_pixel_is_seen_through_the_point_spread():
    photons = torch.tensor([0.0, 10.0, 0.0, 30.0]).unsqueeze(1)
    place = torch.tensor([(9 + 0.5) / 4 - 0.5]), torch.tensor([(14 + 0.5) / 4 - 0.5])
    found = record(Emitters(*place, photons), 6, 4, 1.1, generator(), background=0.0, read_noise=0.0)
    assert torch.equal(found.variance.nonzero(), torch.tensor([[0, 9, 14]]))
    clean = PointSpread((6, 6), 4, 1.1)(found.variance)[0] / found.variance.amax()
    lit = found.movie[0, 3] / 30  # with shot noise
    assert float((lit - clean).abs().mean()) < 0.1
    assert bool((found.movie[0, [0, 2]] == 0).all())


def test_the_variance_over_time_is_that_of_the_emitters_and_of_the_noise():
    emitters = draw_emitters(8, 4000, generator(3))
    found = record(emitters, 8, 4, 1.1, generator(4), background=5.0, read_noise=1.0)
    inside = PointSpread((8, 8), 4, 1.1, 2)(found.variance)[0]
    noise = found.movie[0].mean(0) + 1
    middle = slice(2, -2)  # light from outside the field reaches the border
    off = found.movie[0].var(0) - inside - noise
    assert float(off[middle, middle].abs().mean()) < 0.15 * float(inside.max())


def test_movies_are_drawn_again_by_their_seed_and_scaled():
    one, two = (simulated_movies(2, 8, 12, 4, 1.1, generator(5)) for _ in range(2))
    assert torch.equal(one.movie, two.movie)
    assert torch.allclose(one.movie.var(1, unbiased=False).amax((1, 2)), torch.ones(2), atol=1e-4)


def test_support_is_the_smallest_set_with_the_light_whatever_the_scale():
    image = torch.tensor([[[0.0, 90.0, 5.0], [4.0, 1.0, -7.0]]])
    expected = torch.tensor([[[False, True, True], [False, False, False]]])
    for scale in (1e-20, 1.0, 1e20):
        assert torch.equal(support(scale * image, 0.95), expected)
    assert not bool(support(torch.zeros(1, 2, 3)).any())


def test_counts_of_pixels_by_hand():
    target, estimate = torch.zeros(2, 9, 9), torch.zeros(2, 9, 9)
    target[0, 2, 2] = target[0, 2, 3] = target[0, 7, 7] = 1.0
    estimate[0, 3, 3] = estimate[0, 5, 2] = 1.0  # next to two pixels; far from all
    assert matches(estimate, target)[0].tolist() == [2, 1, 1]
    samples = Samples(None, target)
    assert [float(f(estimate, samples)[0]) for f in (jaccard, recall, precision)] == pytest.approx(
        [1 / 2, 2 / 3, 2 / 3]
    )
    assert float(jaccard(estimate, samples)[1]) == 1.0
    estimate[1, 0, 0] = float("nan")
    assert bool(jaccard(estimate, samples)[1].isnan())


def test_the_psnr_is_that_of_the_nearest_multiple():
    target = torch.rand(2, 5, 5, generator=generator())
    estimate = target + 0.1 * torch.rand(2, 5, 5, generator=generator(1))
    samples = Samples(None, target)
    assert torch.allclose(fitted_psnr(1e-3 * estimate, samples), fitted_psnr(estimate, samples), rtol=1e-5)
    assert bool(
        (
            fitted_psnr(estimate, samples)
            >= -10 * torch.log10((estimate - target).square().mean((1, 2)) / target.amax((1, 2)).square()) - 1e-6
        ).all()
    )


@pytest.mark.parametrize("image", ["mean", "variance"])
def test_richardson_lucy_puts_light_where_it_came_from(image):
    photons = torch.tensor([0.0, 400.0] * 20).unsqueeze(1)
    found = record(Emitters(torch.tensor([4.1]), torch.tensor([3.4]), photons), 9, 4, 1.1, generator(), background=1.0)
    blurred = richardson_lucy(found.movie, 1.1, image, 1)
    sharp = richardson_lucy(found.movie, 1.1, image, 50)
    row, column = (int(i) for i in found.variance[0].nonzero()[0])
    near = (slice(row - 3, row + 4), slice(column - 3, column + 4))
    parts = [float(each[0][near].sum() / each[0].sum()) for each in (blurred, sharp)]
    assert parts[1] > 2 * parts[0]


def test_the_encoder_decoder_takes_any_size_and_sees_all_of_it():
    net = EncoderDecoder(2).eval()
    image = torch.rand(1, 13, 21, generator=generator()).requires_grad_()
    found = net(image)
    assert found.shape == image.shape
    assert sum(p.numel() for p in EncoderDecoder().parameters()) == 1_366_465


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"psf": 8.0, "size": 16}, "18.8 pixels wide .a standard deviation of 8., more than the frame"),
        ({"psf": 0.0}, "psf"),
        ({"psf": float("nan")}, "psf"),
        ({"frames": 1}, "frames"),
        ({"size": 4}, "size"),
        ({"data": "stack.tif"}, "takes no data"),
    ],
)
def test_wrong_options_are_refused(options, words):
    with pytest.raises(ValueError, match=words):
        Microscopy(**options)


def test_a_spread_as_wide_as_the_frame_is_the_limit():
    check_spread(8 / 2.3549, 8, 20)
    with pytest.raises(ValueError, match="8 x 20"):
        check_spread(8 / 2.3547, 8, 20)


def test_all_baselines_run_on_the_small_task():
    task = Microscopy.small()
    samples = first(task.timing, 2)
    for baseline in task.baselines(1166):
        made = baseline.make(baseline.settings[0])
        if hasattr(made, "prepare"):
            problem = made.prepare(samples.data)
            found = made.estimate(made(made.start(problem), problem), problem)
        else:
            found = made(samples.data)
        assert found.shape == samples.target.shape
        assert bool(torch.isfinite(found).all())
