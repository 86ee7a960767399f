"""Learned proximal operators, and the tasks that they are for: mosaics of colours, and motion that is known."""

import pytest
import torch
from torch import nn

from unrolling import solve, unroll
from unrolling.algorithms import PDHG, Blurred, DenoisedPrimalDual, KnownBlur, LeastSquares
from unrolling.operators import (
    BayerInterpolation,
    BayerMosaic,
    CircularConvolution,
    FiniteDifferences,
    Identity,
    bayer_mask,
)
from unrolling.prox import AnalysisProx, DenoiserProx, OpponentProx, soft_threshold
from unrolling.systems.catalogue import find
from unrolling.tasks.catalogue import find_task
from unrolling.testing import check_iteration, check_operator
from unrolling.training.denoiser import DenoiserLoss

KERNEL = torch.tensor([[0.0, 0.1, 0.0], [0.2, 0.4, 0.1], [0.0, 0.1, 0.1]], dtype=torch.float64)


def noise(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


# Mosaics


@pytest.mark.parametrize("pattern", ["RGGB", "BGGR", "GRBG", "GBRG"])
def test_a_mosaic_takes_of_each_pixel_the_colour_that_its_pattern_says(pattern):
    x, operator = noise(2, 3, 5, 4), BayerMosaic(pattern)
    y = operator(x)
    for i in range(5):
        for j in range(4):
            colour = "RGB".index(pattern[2 * (i % 2) + j % 2])
            assert torch.equal(y[:, i, j], x[:, colour, i, j])
    assert torch.equal(operator(operator.adjoint(y)), y)
    assert operator.norm(shape=(3, 5, 4)) == pytest.approx(1)
    check_operator(operator, shape=(3, 5, 4))
    check_operator(BayerInterpolation(pattern), shape=(5, 4))


def test_interpolation_keeps_what_was_seen_and_gives_ramps_back():
    rows, columns = torch.meshgrid(torch.arange(8.0), torch.arange(9.0), indexing="ij")
    x = torch.stack([rows, 2 * columns, rows - columns]).unsqueeze(0)
    operator, mosaic = BayerInterpolation(), BayerMosaic()
    found = operator(mosaic(x))
    torch.testing.assert_close(found[..., 1:-1, 1:-1], x[..., 1:-1, 1:-1])
    torch.testing.assert_close(mosaic(found), mosaic(x))
    torch.testing.assert_close(operator(torch.full((1, 3, 4), 0.7)), torch.full((1, 3, 3, 4), 0.7))
    with pytest.raises(ValueError, match="pattern is 'RGB'; it is one of RGGB, BGGR, GRBG, GBRG"):
        BayerMosaic("RGB")
    assert float(bayer_mask(4, 6).sum()) == 24


# Colours by a grey prox


def test_the_prox_on_opponent_colours_is_the_minimiser_and_turns_nothing():
    x = 2 * noise(2, 3, 4, 5)
    torch.testing.assert_close(OpponentProx(lambda z, t: z)(x, 0.3), x, rtol=1e-6, atol=1e-6)
    smooth = OpponentProx(AnalysisProx(FiniteDifferences(), 8.0, iterations=400), chroma=2.0).double()
    found, t = smooth(x, 0.3), torch.tensor(0.3, dtype=torch.float64)

    def objective(z):
        return 0.5 * (z - x).square().flatten(1).sum(1) + smooth.penalty(z, t)

    least = objective(found)
    for k in range(20):
        assert bool((objective(found + 10 ** (-k / 5) * noise(2, 3, 4, 5, seed=k)) >= least - 1e-6).all())
    grey = noise(2, 1, 4, 5).expand(2, 3, 4, 5)
    own = AnalysisProx(FiniteDifferences(), 8.0, iterations=400)(grey[:, 0], 0.1)
    torch.testing.assert_close(smooth(grey, 0.3), own.unsqueeze(1).expand_as(grey), rtol=1e-4, atol=1e-4)
    with pytest.raises(ValueError, match=r"three colours \(batch, 3, height, width\); got \(2, 4, 5\)"):
        smooth(x[:, 0], 0.3)
    assert OpponentProx(DenoiserProx(nn.Identity(), sigma=0.1)).penalty is None


# The iteration


def test_with_one_operator_and_a_fidelity_of_one_its_iterates_are_those_of_pdhg():
    y, operator = noise(3, 6, 7), CircularConvolution(KERNEL)
    steps = {"primal_step": 0.7, "dual_step": 1.2}
    for term, data, initial in (
        (LeastSquares(operator), y, operator.H),
        (KnownBlur(), Blurred(y, KERNEL.expand(3, 3, 3)), Identity()),
    ):
        found = DenoisedPrimalDual(term, soft_threshold, 0.1, **steps).double()
        wanted = PDHG(operator, image_prox=soft_threshold, image_weight=0.1, initial=initial, **steps).double()
        torch.testing.assert_close(unroll(found, 6)(data), unroll(wanted, 6)(y), rtol=1e-6, atol=1e-7)


def test_its_fidelity_weighs_the_data_and_it_is_a_sound_iteration():
    y = noise(3, 6, 7)
    weighed = DenoisedPrimalDual(LeastSquares(Identity()), soft_threshold, 0.5, fidelity=4.0).double()
    found = solve(weighed, y, max_iterations=3000, tolerance=1e-12).estimate
    torch.testing.assert_close(found, soft_threshold(y, 0.125), rtol=1e-7, atol=1e-7)
    assert float(weighed.objective(weighed.start(weighed.prepare(y)), weighed.prepare(y))[0].detach()) > 0
    small = DenoisedPrimalDual(KnownBlur(), soft_threshold, 0.1).double()
    data = Blurred(y[:, :4, :4], KERNEL.expand(3, 3, 3).contiguous())
    check_iteration(small, data, skip=("compile", "export", "solve", "second_derivative"))


# Tasks


def test_the_known_blur_is_the_one_that_is_told():
    task = find_task("known_deblurring")(size=5, noise=0.01, data=find_task("known_deblurring").small()._data, crop=24)
    held = task.test[0]
    image, kernel = held.data
    torch.testing.assert_close(kernel.sum((-2, -1)), torch.ones(1))
    again = KnownBlur().image(held.target, held.data)
    assert float((image - again).std()) == pytest.approx(0.01, rel=0.05)
    drawn = task.draw(3, torch.Generator().manual_seed(0))
    assert drawn.data.kernel.shape == (3, 5, 5)
    assert not torch.equal(drawn.data.kernel[0], drawn.data.kernel[1])
    mistakes = (({"kind": "bent"}, "kind is 'bent'"), ({"size": 4}, "size is 4"), ({"noise": 0.0}, "noise is 0"))
    for wrong, words in mistakes:
        with pytest.raises(ValueError, match=words):
            find_task("known_deblurring")(**wrong)


def test_data_of_demosaicking_are_the_mosaic():
    task = find_task("demosaicking").small()
    held = task.test[0]
    assert torch.equal(held.data, BayerMosaic()(held.target))
    with pytest.raises(ValueError, match="noise is -1"):
        find_task("demosaicking")(noise=-1)


# One denoiser


def test_one_denoiser_serves_both_tasks_and_is_trained_without_them():
    system = find("imaging/learned_prox")
    parents = [system.recipes[name].parent(find_task(name).small()) for name in ("known_deblurring", "demosaicking")]
    held = [dict(parent.named_parameters()) for parent in parents]
    first = {name.split("denoiser.")[1]: value for name, value in held[0].items() if "denoiser" in name}
    second = {name.split("denoiser.")[1]: value for name, value in held[1].items() if "denoiser" in name}
    assert first.keys() == second.keys()
    assert all(torch.equal(value, second[name]) for name, value in first.items())

    class Doubles(nn.Module):
        def __init__(self):
            super().__init__()
            self.gain = nn.Parameter(torch.tensor(2.0))

        def forward(self, x):
            return self.gain * x

    step = DenoisedPrimalDual(LeastSquares(Identity()), DenoiserProx(Doubles(), sigma=0.1))
    network = unroll(step, 2, tied="prox")
    clean = noise(4, 3, 20, 20).float()
    torch.manual_seed(0)
    e = 0.1 * torch.randn(12, 20, 20)
    torch.manual_seed(0)
    value = DenoiserLoss()(None, clean, network)
    torch.testing.assert_close(value, 100 * (2 * (clean.flatten(0, 1) + e) - clean.flatten(0, 1)).square().mean())
    value.backward()
    assert float(next(p for name, p in network.named_parameters() if "gain" in name).grad) > 0
    with pytest.raises(ValueError, match="DenoiserLoss trains the denoiser of a DenoiserProx; DenoisedPrimalDual has"):
        DenoiserLoss()(None, clean, unroll(DenoisedPrimalDual(LeastSquares(Identity()), soft_threshold), 1))


def test_plug_and_play_for_denoising_is_the_denoiser():
    task = find_task("denoising").small()
    system = find("imaging/realsn")
    network = system.network(system.recipes["denoising"], task).eval()
    y = task.test[0].data
    denoiser = network.layers[0].prox.denoiser
    torch.testing.assert_close(network(y), denoiser(y), rtol=1e-4, atol=1e-5)
    assert denoiser.residual_bound() <= 1.02**7
