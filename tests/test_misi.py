"""Phases from magnitudes: what each step keeps, its fixed points, its descent, and the masks before it."""

import math

import pytest
import torch
from families import by_day
from hypothesis import given
from hypothesis import strategies as st
from iterations import gaussian

from unrolling import solve, unroll
from unrolling.algorithms.sound.misi import MISI, GriffinLim, Magnitudes
from unrolling.algorithms.sound.relaxed_misi import RelaxedMISI
from unrolling.files.sound import Applied
from unrolling.networks.temporal import ChannelNorm, TemporalConvolutions
from unrolling.operators.stft import STFT
from unrolling.systems.speech import misi
from unrolling.systems.speech.misi import ConvexMask, MaskedMagnitudes, NegativeSDR, ReLUMask, SigmoidMask
from unrolling.tasks.speech.separation import Separation
from unrolling.tasks.speech.speech_metrics import best_order, si_sdr
from unrolling.testing import check_compile, check_iteration


def problem(sources=2, samples=37, batch=2, seed=0, size=8, hop=2):
    """Signals, their mixture and true magnitudes."""
    stft = STFT(size, hop).double()
    signals = gaussian(batch, sources, samples, seed=seed)
    spectra = stft(signals.flatten(0, 1)).unflatten(0, (batch, sources))
    return stft, signals, Magnitudes(signals.sum(1), spectra.abs())


def steps(iteration, data, count):
    state = iteration.start(iteration.prepare(data))
    for _ in range(count):
        state = iteration(state, iteration.prepare(data))
    return state


def found(iteration, data, count):
    """The state after some steps with the problem: what ``estimate`` takes."""
    return steps(iteration, data, count), iteration.prepare(data)


@pytest.mark.parametrize("consistent", [False, True])
@pytest.mark.slow
def test_it_is_a_sound_iteration(consistent):
    stft, _, data = problem(batch=3, samples=21)
    check_iteration(MISI(stft, mixture_consistent=consistent), data, skip="compile")


@pytest.mark.slow
def test_griffin_and_lims_is_a_sound_iteration():
    stft, _, data = problem(batch=3, samples=21)
    check_iteration(GriffinLim(stft, length=21), data.magnitudes[:, 0].contiguous(), skip="compile")


def test_the_steps_are_those_of_the_literature():
    stft, _, (x, A) = problem(sources=3)
    theta = torch.angle(stft(x)).unsqueeze(1).repeat(1, 3, 1, 1)
    for count in range(1, 6):
        s = stft.inverse((A * torch.exp(1j * theta)).flatten(0, 1), 37).unflatten(0, (2, 3))
        torch.testing.assert_close(
            MISI(stft).estimate(*found(MISI(stft), Magnitudes(x, A), count)), s, rtol=0, atol=1e-8
        )
        delta = x - s.sum(1)
        theta = torch.angle(stft((s + delta.unsqueeze(1) / 3).flatten(0, 1))).unflatten(0, (2, 3))


def test_one_layer_is_masking_to_the_bit():
    stft, _, (x, _) = problem()
    mask = torch.rand(2, 2, 5, stft.frames(37), dtype=torch.float64)
    X = stft(x)
    got = MISI(stft).estimate(*found(MISI(stft), Magnitudes(x, mask * X.abs().unsqueeze(1)), 1))
    torch.testing.assert_close(
        got, stft.inverse((mask * X.unsqueeze(1)).flatten(0, 1), 37).unflatten(0, (2, 2)), rtol=0, atol=1e-14
    )


@given(st.integers(1, 4), st.integers(1, 8), st.integers(0, 99))
def test_the_consistent_sources_add_up_to_the_mixture(sources, count, seed):
    stft, _, data = problem(sources, seed=seed)
    state = steps(MISI(stft), data, count)
    torch.testing.assert_close(state.consistent.sum(1), data.mixture, rtol=0, atol=1e-13)


def test_true_magnitudes_with_true_phases_are_a_fixed_point():
    stft, signals, data = problem(sources=3)
    iteration = MISI(stft)
    state = iteration.start(data)._replace(consistent=signals)
    moved = iteration(state, data)
    torch.testing.assert_close(moved.sources, signals, rtol=0, atol=1e-13)
    torch.testing.assert_close(moved.consistent, signals, rtol=0, atol=1e-13)


def test_one_source_with_its_own_magnitudes_comes_back():
    stft, signals, data = problem(sources=1)
    torch.testing.assert_close(MISI(stft).estimate(*found(MISI(stft), data, 1)), signals, rtol=0, atol=1e-13)


@given(st.integers(2, 3), st.integers(0, 99))
def test_the_distance_to_the_magnitudes_never_rises(sources, seed):
    """With a tight frame and both sides of the spectrum."""
    stft, _, data = problem(sources, seed=seed)
    # Magnitudes that no signals have, so that there is no way down to zero.
    data = data._replace(magnitudes=data.magnitudes + gaussian(*data.magnitudes.shape, seed=seed + 1).abs())
    iteration = MISI(stft)
    state = iteration.start(data)
    last = torch.full((2,), torch.inf, dtype=torch.float64)
    for _ in range(60):
        state = iteration(state, data)
        value = iteration.objective(state, data)
        assert (value <= last * (1 + 1e-10)).all()
        last = value


@given(st.integers(0, 99))
def test_griffin_and_lim_never_raises_its_objective(seed):
    stft, _, data = problem(sources=1, seed=seed)
    iteration, magnitude = GriffinLim(stft, length=37), data.magnitudes[:, 0]
    state = iteration.start(magnitude)
    last = iteration.objective(state, magnitude)
    for _ in range(60):
        state = iteration(state, magnitude)
        value = iteration.objective(state, magnitude)
        assert (value <= last * (1 + 1e-10)).all()
        last = value
    assert (iteration.objective(iteration.start(magnitude), magnitude) > 1.1 * last).all()


@pytest.mark.parametrize("factor", [1e-3, 7.0, 1e4])
def test_a_louder_mixture_has_louder_sources(factor):
    stft, _, (x, A) = problem()
    one, other = (MISI(stft).estimate(*found(MISI(stft), Magnitudes(c * x, c * A), 4)) for c in (1, factor))
    torch.testing.assert_close(other, factor * one, rtol=1e-8, atol=1e-10 * factor)


def test_the_order_of_the_sources_is_that_of_the_magnitudes():
    stft, _, (x, A) = problem(sources=3)
    order = [2, 0, 1]
    one, other = (MISI(stft).estimate(*found(MISI(stft), Magnitudes(x, a), 3)) for a in (A, A[:, order]))
    torch.testing.assert_close(other, one[:, order], rtol=0, atol=1e-12)


def test_silence_has_silent_sources_and_finite_gradients():
    stft = STFT(8, 2).double()
    x = torch.zeros(1, 20, dtype=torch.float64, requires_grad=True)
    A = torch.zeros(1, 2, 5, stft.frames(20), dtype=torch.float64)
    estimate = unroll(MISI(stft), 3)(Magnitudes(x, A))
    assert float(estimate.abs().max()) == 0
    estimate.sum().backward()
    assert torch.isfinite(x.grad).all()


def test_true_magnitudes_lead_to_the_signals():
    """Of tones that sweep past each other; what the mixture's phase gives is ten decibels worse than five
    iterations.
    """
    stft = STFT(64, 16).double()
    time = torch.arange(1500, dtype=torch.float64) / 1500
    signals = torch.stack(
        [torch.sin(2 * torch.pi * (60 + 120 * time) * time), torch.sin(2 * torch.pi * (300 - 110 * time) * time)]
    ).unsqueeze(0)
    spectra = stft(signals[0]).abs().unsqueeze(0)
    data = Magnitudes(signals.sum(1), spectra)
    estimates = [MISI(stft).estimate(*found(MISI(stft), data, k + 1)) for k in (0, 1, 2, 5)]
    scores = [float(si_sdr(estimate, signals).mean()) for estimate in estimates]
    assert scores == sorted(scores)
    assert scores[-1] > scores[0] + 5


def test_solving_stops_when_the_sources_do():
    stft, _, data = problem(samples=21)
    found = solve(MISI(stft), data, tolerance=1e-4, max_iterations=5000)
    assert bool(found.converged.all())
    assert found.estimate.shape == (2, 2, 21)


def test_magnitudes_of_another_size_are_refused():
    stft, _, (x, A) = problem()
    with pytest.raises(
        ValueError,
        match=r"mixtures of 37 samples have magnitudes of shape \(batch, sources, 5, 22\); "
        r"got \(2, 2, 5, 21\)",
    ):
        unroll(MISI(stft), 2)(Magnitudes(x, A[..., 1:]))


# Relaxed


def relaxed(stft, alpha=0.6, emphasis=0.7, **options):
    iteration = RelaxedMISI(stft, **options)
    with torch.no_grad():
        iteration.relaxation.copy_(alpha * torch.linspace(0.8, 1.2, stft.bins))
        iteration.emphasis.fill_(emphasis)
    return iteration


@pytest.mark.nightly
@pytest.mark.slow
def test_the_relaxed_one_is_a_sound_iteration():
    stft, _, data = problem(batch=3, samples=21)
    check_iteration(relaxed(stft), data, skip="compile")


@pytest.mark.parametrize("backend", ["aot_eager", pytest.param("inductor", marks=pytest.mark.nightly)])
@pytest.mark.parametrize("kind", by_day("consistent", "MISI", "Griffin-Lim", "relaxed"))
def test_each_compiles_into_one_graph(kind, backend):
    stft, _, data = problem(batch=3, samples=21)
    iteration = {
        "MISI": lambda: MISI(stft),
        "consistent": lambda: MISI(stft, mixture_consistent=True),
        "Griffin-Lim": lambda: GriffinLim(stft, length=21),
        "relaxed": lambda: relaxed(stft),
    }[kind]()
    check_compile(iteration, data.magnitudes[:, 0].contiguous() if kind == "Griffin-Lim" else data, backend=backend)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("sources", [1, 2, 3, 5])
@pytest.mark.parametrize("consistent", [False, True])
def test_relaxed_by_nothing_it_is_misi_to_the_bit(dtype, sources, consistent):
    stft, _, (x, A) = problem(sources)
    stft, data = stft.to(dtype), Magnitudes(x.to(dtype), A.to(dtype))
    classical = unroll(MISI(stft, mixture_consistent=consistent), 4)(data)
    assert torch.equal(
        unroll(RelaxedMISI(stft, mixture_consistent=consistent), 4, untied=("relaxation", "emphasis"))(data), classical
    )


@given(st.integers(2, 3), st.integers(0, 99))
def test_a_relaxed_step_is_its_formula(sources, seed):
    stft, _, data = problem(sources, seed=seed)
    iteration = relaxed(stft)
    u = gaussian(2, sources, 37, seed=seed + 1)
    U = stft(u.flatten(0, 1)).unflatten(0, (2, sources))
    alpha, p = iteration.relaxation.detach()[:, None], 0.7
    level = (data.mixture.square().mean(1) * stft.window.square().sum()).sqrt().reshape(-1, 1, 1, 1)
    S = U + alpha * (data.magnitudes * U / torch.maximum(U.abs(), 1e-6 * level) - U)
    s = stft.inverse(S.flatten(0, 1), 37).unflatten(0, (2, sources))
    heard = (data.magnitudes**2 + (1e-3 * level) ** 2).sqrt()
    w = heard**p / (heard**p).sum(1, keepdim=True)
    E = stft(data.mixture - s.sum(1)).unsqueeze(1)
    wanted = s + stft.inverse((w * E).flatten(0, 1), 37).unflatten(0, (2, sources))
    state = iteration(iteration.start(data)._replace(consistent=u), data)
    torch.testing.assert_close(state.sources, s, rtol=0, atol=1e-10)
    torch.testing.assert_close(state.consistent, wanted, rtol=0, atol=1e-10)


@given(st.integers(1, 4), st.floats(0, 2), st.floats(-2, 4), st.integers(0, 99))
def test_whatever_is_learned_the_sources_add_up_to_the_mixture(sources, alpha, emphasis, seed):
    stft, _, data = problem(sources, seed=seed)
    state = steps(relaxed(stft, alpha, emphasis), data, 3)
    torch.testing.assert_close(state.consistent.sum(1), data.mixture, rtol=0, atol=1e-11)


def test_without_trust_in_the_magnitudes_every_source_is_its_share_of_the_mixture():
    stft, _, data = problem(3)
    found = steps(relaxed(stft, alpha=0.0, emphasis=0.0), data, 4).consistent
    torch.testing.assert_close(found, (data.mixture / 3).unsqueeze(1).expand_as(found), rtol=0, atol=1e-12)


@pytest.mark.parametrize("factor", [1e-3, 7.0, 1e4])
def test_a_louder_mixture_has_louder_relaxed_sources(factor):
    stft, _, (x, A) = problem()
    one, other = (relaxed(stft).estimate(*found(relaxed(stft), Magnitudes(c * x, c * A), 4)) for c in (1, factor))
    torch.testing.assert_close(other, factor * one, rtol=1e-8, atol=1e-10 * factor)


def test_silence_has_finite_gradients_when_relaxed():
    stft = STFT(8, 2).double()
    x = torch.zeros(1, 20, dtype=torch.float64, requires_grad=True)
    A = torch.zeros(1, 2, 5, stft.frames(20), dtype=torch.float64, requires_grad=True)
    net = unroll(relaxed(stft), 3, untied=("relaxation", "emphasis"))
    estimate = net(Magnitudes(x, A))
    assert float(estimate.detach().abs().max()) == 0
    estimate.sum().backward()
    assert all(bool(torch.isfinite(p.grad).all()) for p in (x, A, *net.parameters()))


# Masks before it


def masked(**options):
    return MaskedMagnitudes(STFT(8, 2), width=6, repeats=1, **options)


@pytest.mark.parametrize(
    ("mask", "top"), [(SigmoidMask(1.0), 1), (SigmoidMask(2.0), 2), (ReLUMask(2.0), 2), (ConvexMask(), 2)]
)
def test_masks_keep_to_their_range_and_reach_its_ends(mask, top):
    z = torch.linspace(-30, 30, 61).reshape(1, 1, 61).repeat(1, mask.channels, 1)
    if mask.channels > 1:
        z[:, 0] *= -1
        z[:, 1] = -30
    values = mask(z)
    assert values.shape == (1, 61)
    assert float(values.min()) == pytest.approx(0, abs=1e-6)
    assert float(values.max()) == pytest.approx(top, abs=1e-6)


@pytest.mark.parametrize("mask", [SigmoidMask(2.0), SigmoidMask(1.0), ReLUMask()])
def test_masks_begin_at_one_half(mask):
    module = masked(mask=mask)
    with torch.no_grad():
        module.network.last.weight.zero_()
    x = gaussian(2, 40).float()
    torch.testing.assert_close(module(x).magnitudes[:, 1], 0.5 * module.stft(x).abs())


def test_the_mask_network_is_learned_through_all_layers_and_runs_once():
    net = unroll(MISI(STFT(8, 2), magnitudes=masked()), 3, tied="magnitudes")
    names = {name for name, _ in net.named_learned()}
    assert names
    assert all(name.startswith("magnitudes.network.") for name in names)
    calls = []
    net.layers[0].magnitudes.register_forward_hook(lambda *_: calls.append(1))
    net(gaussian(2, 40).float()).square().sum().backward()
    assert len(calls) == 1
    assert all(p.grad is not None for _, p in net.named_learned())


def test_the_network_along_time_has_a_finite_memory():
    x = gaussian(1, 3, 60).requires_grad_()
    # a unit that is silent hides what lies behind it, so that one network may show less than it could
    for _ in range(8):
        network = TemporalConvolutions(3, 4, width=5, blocks=3, repeats=2).double()
        assert network.memory == 2 * (1 + 2 + 4)
        network(x)[0, :, 30].abs().sum().backward()
    reached = x.grad[0].abs().sum(0).nonzero().flatten()
    assert (int(reached.min()), int(reached.max())) == (30 - 14, 30 + 14)


def test_the_norm_looks_at_one_instant():
    norm, x = ChannelNorm(4), gaussian(2, 4, 5).float()
    found = norm(x)
    torch.testing.assert_close(found, torch.nn.functional.layer_norm(x.mT, (4,)).mT, rtol=1e-4, atol=1e-5)


@given(st.integers(0, 99))
def test_the_best_order_is_found_among_all(seed):
    target = gaussian(3, 3, 20, seed=seed)
    order = torch.stack([torch.randperm(3, generator=torch.Generator().manual_seed(seed + k)) for k in range(3)])
    shuffled = torch.stack([t[o] for t, o in zip(target, order, strict=True)]) + 0.1 * gaussian(3, 3, 20, seed=seed + 1)
    found = best_order(shuffled, target)
    assert (si_sdr(found, target) > 10).all()


def test_the_loss_behind_misi_counts_a_wrong_scale():
    estimate, target = gaussian(3, 2, 50), gaussian(3, 2, 50, seed=1)
    found = NegativeSDR().each(estimate, target)
    wanted = [
        -10 * math.log10(float(x.square().sum() / (x - e).square().sum()))
        for e, x in zip(estimate, target, strict=True)
    ]
    assert found.tolist() == pytest.approx(wanted)
    assert float(NegativeSDR()(0.5 * target, target)) == pytest.approx(-20 * math.log10(2))


def test_the_difference_of_levels_that_was_found_is_a_condition():
    applied = Applied(2.0, 8000, 1, 1, 0.0, 0.0, (0.2, 0.1))
    (found,) = misi.found(applied)
    assert (found.name, found.value, found.unit) == ("difference of levels", 6.0, "dB")
    assert misi.found(applied._replace(levels=(0.0, 0.0))) == []
    limits = misi.trained_range(Separation(levels=4.0))["difference of levels"]
    assert (limits.low, limits.high) == (-4.0, 4.0)
