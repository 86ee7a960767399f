"""Error bars that hold as often as they promise."""

from __future__ import annotations

import warnings
from functools import partial
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from unrolling import unroll
from unrolling.algorithms import ISTA
from unrolling.evaluation import (
    Band,
    Constant,
    DropoutSpread,
    LayerSpread,
    LearnedHalfWidth,
    NoiseSpread,
    UnlikeCalibrationWarning,
    calibrate,
    coverage,
    learn_half_width,
    measure_coverage,
    symbol_sets,
)
from unrolling.operators import Matrix
from unrolling.tasks import Samples, Shift

HALF = partial(torch.mul, 0.5)


def noisy(count, seed, scale=1.0, entries=(6, 7), size=1.0):
    """Samples of which some are much harder than others."""
    g = torch.Generator().manual_seed(seed)
    x = size * torch.randn(count, *entries, generator=g)
    hard = 0.2 + 3 * torch.rand(count, *(1,) * len(entries), generator=g)
    return Samples(x + scale * size * hard * torch.randn(x.shape, generator=g), x)


@pytest.mark.parametrize("score", [Constant(HALF), NoiseSpread(HALF, 0.05, draws=3)], ids=["constant", "noise"])
@pytest.mark.parametrize("level", [0.8, 0.9])
def test_entries_lie_within_as_often_as_promised(score, level):
    found = [
        coverage(calibrate(HALF, [noisy(60, k)], level, score=score), [noisy(100, 1000 + k)]).covered for k in range(20)
    ]
    assert level - 0.01 <= sum(found) / len(found) <= level + 0.03  # conformal risk control is 1 / (n + 1) above


def test_whole_samples_lie_within_as_often_as_promised_and_no_more():
    found = [
        coverage(calibrate(HALF, [noisy(39, k)], 0.9, unit="sample"), [noisy(200, 1000 + k)]).covered for k in range(30)
    ]
    assert 0.87 <= sum(found) / len(found) <= 0.93  # at rank 36 of 40: 0.9 exactly


def test_the_factor_is_the_smallest_that_controls_the_share_of_misses():
    batch = noisy(23, 5, entries=(9,))
    found = calibrate(HALF, [batch], 0.85)
    misses = lambda q: float(((HALF(batch.data) - batch.target).abs() > q).double().mean())  # noqa: E731
    allowed = (24 * 0.15 - 1) / 23
    factor = float(found.factor)
    assert misses(factor) <= allowed + 1e-12
    assert misses(factor * (1 - 1e-6)) > allowed


def test_neither_order_nor_batches_matter_and_units_scale():
    batch = noisy(40, 7)
    whole = calibrate(HALF, [batch])
    index = torch.randperm(40, generator=torch.Generator().manual_seed(1))
    pieces = [Samples(batch.data[k], batch.target[k]) for k in index.split(7)]
    assert float(calibrate(HALF, pieces).factor) == pytest.approx(float(whole.factor), rel=1e-6)
    larger = calibrate(HALF, [Samples(1000 * batch.data, 1000 * batch.target)])
    assert float(larger.factor) == pytest.approx(1000 * float(whole.factor), rel=1e-5)
    wider = [float(calibrate(HALF, [batch], level).factor) for level in (0.5, 0.8, 0.9, 0.95)]
    assert wider == sorted(wider)


def test_an_exact_network_has_bars_of_no_length_and_complex_estimates_have_discs():
    x = torch.randn(20, 5, dtype=torch.complex64)
    band = calibrate(nn.Identity(), [Samples(x, x)])(x)
    assert float(band.half_width.max()) == 0
    assert bool(band.contains(x).all())
    off = Samples(x + 0.1 * torch.randn(x.shape, dtype=x.dtype), x)
    found = calibrate(nn.Identity(), [off])
    assert not found(x).half_width.is_complex()
    assert coverage(found, [off]).covered >= 0.9
    assert not bool(Band(torch.zeros(1), torch.ones(1)).contains(torch.tensor([float("nan")])).any())


def test_the_error_of_new_samples_stays_below_its_bound_as_often_as_promised():
    held = []
    for k in range(20):
        found = calibrate(HALF, [noisy(50, k)], score=NoiseSpread(HALF, 0.05, draws=3))
        new = noisy(100, 2000 + k)
        error = (HALF(new.data) - new.target).square().flatten(1).mean(1).sqrt()
        held.append((error <= found.error_bound(new.data)).double().mean())
        psnr = -20 * torch.log10(error)
        assert torch.equal(psnr >= found.psnr_bound(new.data).float(), error <= found.error_bound(new.data).float())
    assert 0.86 <= float(torch.stack(held).mean()) <= 0.95


def test_the_spread_over_layers_is_that_of_the_last_estimates():
    net = unroll(ISTA(Matrix(torch.randn(6, 9)), 0.1), 5)
    y = torch.randn(4, 6)
    estimate, score = LayerSpread(net, last=2)(y)
    x = torch.stack(list(net.estimates(y))).detach()
    spread = (x[2:4] - x[4]).square().mean(0).sqrt()
    torch.testing.assert_close(score, spread + spread.square().mean(1, keepdim=True).sqrt())
    torch.testing.assert_close(estimate, net(y), rtol=0, atol=0)
    with pytest.raises(ValueError, match="two layers"):
        LayerSpread(unroll(ISTA(Matrix(torch.eye(3)), 0.1), 1))


def test_the_spread_under_noise_of_a_linear_network_is_known_and_no_sample_depends_on_another():
    matrix = torch.randn(5, 8)
    y = torch.randn(3, 8)
    score = NoiseSpread(nn.Linear(8, 5, bias=False), size=0.1, draws=4000)
    score.network.weight.data = matrix
    expected = 0.1 * y.square().mean(1, keepdim=True).sqrt() * matrix.norm(dim=1)
    expected = expected + expected.square().mean(1, keepdim=True).sqrt()
    with torch.no_grad():
        torch.testing.assert_close(score(y)[1], expected, rtol=0.05, atol=0)
        few = NoiseSpread(HALF, draws=3)
        torch.testing.assert_close(few(y)[1][1:], few(y[1:])[1], rtol=0, atol=0)


def test_dropout_is_put_back_and_the_generator_is_untouched():
    net = nn.Sequential(nn.Linear(4, 32), nn.Dropout(0.5), nn.Linear(32, 2)).eval()
    y = torch.randn(6, 4)
    score = DropoutSpread(net, draws=5)
    state = torch.random.get_rng_state()
    estimate, spread = score(y)
    assert torch.equal(state, torch.random.get_rng_state())
    assert not net[1].training
    torch.testing.assert_close(estimate, net(y), rtol=0, atol=0)
    torch.testing.assert_close(score(y)[1], spread, rtol=0, atol=0)
    with pytest.raises(ValueError, match="no dropout"):
        DropoutSpread(nn.Linear(2, 2))


def test_a_learned_half_width_is_narrower_where_errors_differ_and_holds_as_often():
    def draw(generator):  # large estimates are wrong by much
        x = torch.randn(64, 12, generator=generator)
        return x, x + 0.02 * (1 + 10 * x.abs()) * torch.randn(x.shape, generator=generator)

    samples = [Samples(*draw(torch.Generator().manual_seed(k))) for k in range(4)]
    learned = LearnedHalfWidth(Constant(nn.Identity()))
    torch.manual_seed(0)
    losses = learn_half_width(learned, draw, 150, rate=1e-2)
    assert sum(losses[-10:]) < sum(losses[:10])
    plain, better = (calibrate(nn.Identity(), samples[:2], score=s) for s in (Constant(nn.Identity()), learned))
    one, two = coverage(plain, samples[2:]), coverage(better, samples[2:])
    assert min(one.covered, two.covered) > 0.88
    assert two.width < 0.9 * one.width


def test_samples_unlike_those_of_the_calibration_are_told():
    found = calibrate(HALF, [noisy(300, 3)], score=NoiseSpread(HALF, 0.05))
    with warnings.catch_warnings():
        warnings.simplefilter("error", UnlikeCalibrationWarning)
        found(noisy(5, 4).data)
    with pytest.warns(UnlikeCalibrationWarning, match="2 of 2 samples are unlike the 300"):
        found(noisy(2, 5, size=30.0).data)
    assert not coverage(calibrate(HALF, [noisy(60, 1)]), [noisy(60, 2, size=10.0)]).holds


def test_a_batch_is_told_by_the_distribution_of_its_scores_where_no_sample_is_odd():
    found = calibrate(HALF, [noisy(300, 3)], score=NoiseSpread(HALF, 0.05))
    alarms = sum(found.unlike(found.score(noisy(40, 100 + k).data)[1].square().flatten(1).mean(1)) for k in range(40))
    size = lambda data: found.score(data)[1].square().flatten(1).mean(1).sqrt()  # noqa: E731
    assert sum(found.unlike(size(noisy(40, 100 + k).data)) for k in range(40)) <= 1
    wide = size(noisy(40, 7, scale=2.0).data)
    assert found.unlike(wide)
    assert alarms == 40  # squares of the scores
    assert not found.unlike(wide[:2])


def test_sets_of_symbols_hold_what_lies_within_and_the_nearest_one():
    band = Band(torch.tensor([[0.9, -0.1, 2.9]]), torch.tensor([[0.2, 1.5, 0.01]]))
    sets = symbol_sets(band, torch.tensor([-3.0, -1.0, 1.0, 3.0]))
    assert sets[0].tolist() == [[False, False, True, False], [False, True, True, False], [False, False, False, True]]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"level": 1.0}, "between 0 and 1"),
        ({"level": 0.99}, "99 samples at least; 20"),
        ({"unit": "pixel"}, "'entry' or of a whole 'sample'"),
        ({"score": Constant(torch.zeros_like)}, None),
        ({"score": NoiseSpread(torch.zeros_like)}, None),
        ({"samples": [Samples(torch.ones(20, 3))]}, "none"),
        ({"samples": [Samples(torch.ones(20, 3), torch.ones(20, 4))]}, "one shape"),
        ({"samples": [Samples(torch.ones(20, 3), torch.full((20, 3), float("nan")))]}, "not finite"),
        ({"samples": []}, "0 were given"),
    ],
)
def test_bad_calibrations_are_refused(change, words):
    arguments = {"samples": [noisy(20, 0)], "level": 0.9, **change}
    samples, level = arguments.pop("samples"), arguments.pop("level")
    if words is None:
        assert float(calibrate(HALF, samples, level, **arguments).factor) > 0
        return
    with pytest.raises(ValueError, match=words):
        calibrate(HALF, samples, level, **arguments)


def test_a_comparison_counts_on_the_test_set_and_under_shifts():
    def rows(seed, bias=0.0):
        data, target = noisy(60, seed)
        return Samples(data.flatten(0, 1), target.flatten(0, 1) + bias)

    task = SimpleNamespace(validation=[rows(0)], test=[rows(1)])
    shift = Shift("bias", (0.0, 8.0), lambda v: rows(2, v), 0.0, "")
    net = unroll(ISTA(Matrix(torch.eye(7)), 0.3, step_size=0.5), 3)
    report = measure_coverage(net, task, [shift])
    assert report.rows[0].holds
    assert [row.value for row in report.rows] == [None, 0.0, 8.0]
    assert report.rows[1].trained
    assert report.rows[2].covered < 0.5
    assert not report.rows[2].holds
