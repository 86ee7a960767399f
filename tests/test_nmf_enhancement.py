"""Masks of speech in noise that heed the recording around a frame, and the filter that they are compared with."""

from math import log

import pytest
import torch
from iterations import gaussian

from unrolling import unroll
from unrolling.algorithms.sound import nmf_enhancement
from unrolling.algorithms.sound.nmf_enhancement import NMFEnhancement, _around, _correlation, _evidence
from unrolling.algorithms.sound.nmf_separation import NMFSeparation
from unrolling.operators.stft import STFT
from unrolling.tasks.speech.speech_metrics import si_sdr
from unrolling.tasks.speech.wiener import DecisionDirected
from unrolling.testing import check_iteration
from unrolling.testing.iterations import CHECKS

LEARNED = ("exponent", "offset", "models", "signs")


def positive(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed)) + 0.05


def separation(kind=NMFEnhancement, **options):
    return kind(STFT(32, 8), [positive(17, 4), positive(17, 3, seed=1)], sparsity=0.2, **options)


def weighted():
    """With other than the classical values."""
    iteration = separation()
    with torch.no_grad():
        iteration.offset.copy_(0.3 * gaussian(17))
        iteration.models.copy_(torch.tensor([0.3, 0.2, -0.1, 0.4]))
        iteration.signs.copy_(0.2 * gaussian(9, 17, seed=1))
    return iteration


SLOW = ("compile", "export")
SMALL = NMFEnhancement(STFT(4, 2), [positive(3, 1), positive(3, 1, seed=1)], sparsity=0.2).double()


def test_it_is_an_iteration():
    check_iteration(SMALL, gaussian(3, 6).double(), skip=SLOW)


@pytest.mark.nightly
def test_it_is_compiled_and_exported():
    check_iteration(SMALL, gaussian(3, 6).double(), skip=set(CHECKS) - set(SLOW))


def test_before_training_it_is_the_factorisation_of_one_frame_at_a_time():
    x = gaussian(2, 700).float()
    networks = [
        unroll(separation(kind), 5, tied=names, untied="dictionary")
        for kind, names in ((NMFEnhancement, ("reconstruction", *LEARNED)), (NMFSeparation, ("reconstruction",)))
    ]
    ours, theirs = (network(x) for network in networks)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=2e-6)


def test_speech_and_noise_add_up_to_the_mixture():
    x = gaussian(2, 700).float()
    network = unroll(weighted(), 3, tied=("reconstruction", *LEARNED), untied="dictionary")
    torch.testing.assert_close(network(x).sum(1), x, rtol=0, atol=1e-5)


@pytest.mark.parametrize("scale", [1e-15, 1e-6, 1e6, 1e15])
def test_the_masks_do_not_depend_on_the_scale(scale):
    iteration = weighted()
    x = gaussian(1, 700).float()
    state = positive(1, iteration.stft.frames(700), 7, seed=4)
    one, other = (iteration.speech_mask(a * state, iteration.prepare(a * x)) for a in (1.0, scale))
    torch.testing.assert_close(one, other, rtol=0, atol=1e-4)


@pytest.mark.parametrize("count", [1, 8, 700])
def test_silence_is_silent_and_has_gradients(count):
    network = unroll(weighted(), 3, tied=("reconstruction", *LEARNED), untied="dictionary")
    found = network(torch.zeros(1, count))
    assert torch.equal(found, torch.zeros(1, 2, count))
    found.sum().backward()
    assert all(bool(torch.isfinite(p.grad).all()) for p in network.parameters() if p.grad is not None)


def test_silence_inside_a_recording_stays_silent():
    network = unroll(weighted(), 3, tied=("reconstruction", *LEARNED), untied="dictionary")
    x = gaussian(1, 4000).float()
    x[:, 1000:3000] = 0
    found = network(x)
    assert bool(torch.isfinite(found).all())
    assert float(found[..., 1040:2960].detach().abs().max()) == 0


def test_a_ratio_over_the_floor_is_that_of_the_powers():
    """A tone burst of power 100 over noise of power 1 that is always there."""
    magnitude = torch.ones(1, 600, 3)
    magnitude[:, 300:340, 1] = 10.0
    local, long, local_whole, _, *_ = _evidence(magnitude, magnitude, magnitude)
    assert float(local[0, 320, 1]) == pytest.approx(log(10), abs=1e-3)
    assert float(local[0, 100, 1]) == pytest.approx(0, abs=1e-3)
    assert float(long[0, 320, 1]) == pytest.approx(0.5 * log(1 + 40 * 99 / 251), abs=1e-3)
    assert float(local_whole[0, 320, 0]) == pytest.approx(0.5 * log(102 / 3), abs=1e-3)


def test_correlation_is_that_of_numpy():
    a, b = positive(1, 251, 1), positive(1, 251, 1, seed=1)
    b = b + 0.7 * a
    expected = torch.corrcoef(torch.cat([a.flatten()[None], b.flatten()[None]]))[0, 1]
    assert float(_correlation(a, b)[0, 125, 0]) == pytest.approx(float(expected), abs=1e-4)
    assert float(_correlation(a, torch.ones_like(a)).abs().max()) < 1e-3


def test_the_ratios_of_models_are_theirs():
    speech, noise = 4 * torch.ones(1, 300, 5), torch.ones(1, 300, 5)
    for ratio in _around(speech, noise):
        torch.testing.assert_close(ratio, torch.full_like(ratio, log(4)), rtol=0, atol=1e-5)


def test_a_mask_depends_on_no_frame_beyond_its_reach():
    iteration = weighted()
    x = gaussian(1, 8 * 600).float()
    y = x.clone()
    y[:, 8 * 400 :] *= 3
    frames = slice(0, 400 - iteration.reach - 4 - iteration.stft.size // iteration.stft.hop)
    state = positive(1, iteration.stft.frames(x.shape[1]), 7, seed=4)
    one, other = (iteration.speech_mask(state, iteration.prepare(data)) for data in (x, y))
    torch.testing.assert_close(one[..., frames], other[..., frames], rtol=0, atol=1e-5)
    assert iteration.reach > nmf_enhancement.LONG // 2


def test_two_dictionaries_are_asked_for():
    with pytest.raises(ValueError, match="two dictionaries, of speech and of noise; got 1"):
        NMFEnhancement(STFT(32, 8), [positive(17, 4)])


# The filter


def test_the_wiener_filter_takes_steady_noise_away_and_leaves_clean_sound_alone():
    stft = STFT(256, 64)
    time = torch.arange(16_000) / 8000
    speech = torch.sin(2 * torch.pi * 700 * time) * (torch.sin(2 * torch.pi * 1.5 * time) > 0)
    noise = 0.2 * gaussian(1, 16_000).float()
    speech = speech.float().unsqueeze(0)
    run = DecisionDirected(stft, 8000)
    mixture = speech + noise
    found = run(mixture)
    torch.testing.assert_close(found.sum(1), mixture, rtol=0, atol=1e-6)
    assert float(si_sdr(found[:, 0], speech)) > float(si_sdr(mixture, speech)) + 5
    assert float(si_sdr(run(speech)[:, 0], speech)) > 20


@pytest.mark.parametrize("scale", [0.0, 1e-12, 1e12])
def test_the_wiener_filter_has_no_scale(scale):
    x = gaussian(1, 4000).float()
    run = DecisionDirected(STFT(256, 64), 8000)
    torch.testing.assert_close(run(scale * x), scale * run(x), rtol=0, atol=1e-4 * max(scale, 1e-30))
