"""Splittings that follow what was measured, masks of all kinds, images varied."""

import pytest
import torch
from pictured import small_task

from unrolling import unroll
from unrolling.algorithms.splitting.admm import ADMM, Splitting
from unrolling.algorithms.splitting.conditioned import ConditionedSplitting, sampling_features
from unrolling.algorithms.splitting.data_terms import CoilSampling, SampledFourier
from unrolling.networks.shrinkage import ConvolutionalShrinkage
from unrolling.operators import CircularFilterBank, Identity
from unrolling.operators.filters import zero_mean_atoms
from unrolling.operators.fourier import CoilData, KSpace, fft, ifft
from unrolling.prox.influence import LinearSpline
from unrolling.systems.catalogue import find
from unrolling.tasks.medical import sampling
from unrolling.tasks.medical.augment import varied
from unrolling.tasks.medical.mri import MRI
from unrolling.testing import check_iteration
from unrolling.training.weights import load_weights

SIZE = 16


def network(kind=ConditionedSplitting, real=True, knots=21):
    atoms = zero_mean_atoms(3, torch.float64)
    each = torch.ones(8, 1, 1, dtype=torch.float64)
    at = torch.linspace(-0.5, 0.5, knots)
    shrinkage = LinearSpline(8, knots, -0.5, 0.5, values=0.6 * at + 0.3 * at.square())
    splitting = kind(CircularFilterBank(atoms), shrinkage.double(), penalty=0.2 * each, rate=each)
    return ADMM(SampledFourier(real=real, features=sampling_features), [splitting])


def masked(batch=3, rates=(0.2, 0.6), size=SIZE):
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(batch, size, size, generator=generator, dtype=torch.float64)
    masks = torch.stack([sampling.drawn_mask(size, size, rates, generator) for _ in range(batch)]).double()
    mask = torch.fft.ifftshift(masks, (-2, -1))
    return KSpace(mask * fft(x), mask)


def moved(iteration):
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, value in iteration.named_parameters():
            if name.endswith("slope"):
                value.copy_(0.2 * torch.randn(value.shape, generator=generator, dtype=value.dtype))
    return iteration


def test_a_conditioned_splitting_starts_as_a_splitting_and_then_follows_the_features():
    data = masked()
    same = unroll(network(), 4)(data)
    assert torch.equal(same, unroll(network(Splitting), 4)(data))
    assert float((unroll(moved(network()), 4)(data) - same).abs().max()) > 1e-3


@pytest.mark.nightly
def test_it_is_an_iteration_like_others():
    check_iteration(moved(network(knots=4)), masked(3, size=6), skip="compile")


def test_each_image_of_a_batch_has_its_own_penalty_and_scale():
    data, iteration = masked(), moved(network())
    together = unroll(iteration, 3)(data)
    alone = [unroll(iteration, 3)(KSpace(s[None], m[None]))[0] for s, m in zip(*data, strict=True)]
    torch.testing.assert_close(together, torch.stack(alone), atol=1e-12, rtol=0)


def test_of_one_coil_with_a_map_of_ones_it_is_the_network_of_complex_images():
    data, iteration = masked(), moved(network(real=False))
    ones = torch.ones(1, 1, SIZE, SIZE, dtype=torch.complex128)
    coils = ADMM(CoilSampling(features=sampling_features), list(iteration.splittings), inner=(1e-13, 300))
    found = unroll(coils, 3)(CoilData(data.samples.unsqueeze(1), data.mask, ones))
    torch.testing.assert_close(found, unroll(iteration, 3)(data), atol=1e-9, rtol=0)


def test_features_tell_the_rate_lines_and_the_strength_of_aliases():
    size = 64
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(1, size, size, generator=generator)
    found = {}
    for name, mask in {
        "lines": sampling.cartesian_mask(size, size, 0.3),
        "radial": sampling.radial_mask(size, 0.3),
        "points": sampling.scattered_mask(size, size, 0.3),
        "all": torch.ones(size, size),
    }.items():
        m = torch.fft.ifftshift(mask)[None]
        found[name] = sampling_features(m * fft(x), m)[0]
        twice = sampling_features(2 * m * fft(x), m)[0]
        if name != "all":
            torch.testing.assert_close(twice[2] - found[name][2], torch.tensor(2.0).log(), atol=1e-4, rtol=0)
            # white noise: what was left out has as much energy as its share of the whole
            left = ((1 - m) * fft(x - x.mean())).abs().square().mean().sqrt()
            assert float(found[name][2].exp() * 0.03) == pytest.approx(float(left), rel=0.1)
    assert float(found["lines"][1]) == pytest.approx(1.0, abs=1e-3)
    assert max(float(found[name][1]) for name in ("radial", "points")) < 0.3
    assert float(found["all"][0]) == pytest.approx(torch.tensor(5.0).log().item())
    assert float(found["all"][2]) == -3  # nothing is missing


def test_features_of_lines_that_are_stored_once_are_those_of_the_whole_mask():
    x = torch.rand(1, 12, 10)
    line = torch.fft.ifftshift(sampling.cartesian_mask(12, 10, 0.4))[:1][None]
    whole = line.expand(1, 12, 10)
    torch.testing.assert_close(sampling_features(line * fft(x), line), sampling_features(whole * fft(x), whole))


def test_a_mask_that_all_images_share_is_each_ones():
    data, iteration = masked(), moved(network())
    shared = KSpace(data.mask[:1] * data.samples, data.mask[:1])
    repeated = KSpace(shared.samples, shared.mask.expand(3, SIZE, SIZE))
    torch.testing.assert_close(unroll(iteration, 2)(shared), unroll(iteration, 2)(repeated), atol=1e-12, rtol=0)


def test_a_data_term_that_tells_no_features_is_refused_by_name():
    iteration = network()
    iteration.data_term.features = None
    with pytest.raises(ValueError, match="depends on 3 features of the data, and the data term gives none"):
        unroll(iteration, 1)(masked())


@pytest.mark.parametrize("shape", [(40, 40), (24, 40)])
def test_random_masks_are_of_three_kinds_and_keep_to_their_rates(shape):
    generator = torch.Generator().manual_seed(3)
    masks = [sampling.drawn_mask(*shape, (0.2, 0.5), generator) for _ in range(60)]
    rates = torch.stack(masks).mean((1, 2))
    assert 0.15 < float(rates.min()) < 0.25
    assert 0.4 < float(rates.max()) < 0.55
    lines = [bool((m == m[:1]).all() or (m == m[:, :1]).all()) for m in masks]
    assert 10 < sum(lines) < 55
    assert all(bool(m[shape[0] // 2, shape[1] // 2]) for m in masks)


def test_scattered_points_are_as_many_as_asked_for_and_denser_in_the_middle():
    mask = sampling.scattered_mask(64, 64, 0.2, decay=4)
    assert int(mask.sum()) == round(0.2 * 64 * 64)
    assert float(mask[24:40, 24:40].mean()) > 2.5 * float(mask.mean())


@pytest.mark.parametrize("kind", [torch.float32, torch.complex64])
def test_varied_images_stay_within_their_range(kind):
    image = torch.rand(20, 20, generator=torch.Generator().manual_seed(0)).to(kind)
    generator = torch.Generator().manual_seed(0)
    found = [varied(image, generator, 12) for _ in range(20)]
    assert {each.shape for each in found} == {(12, 12)}
    assert {each.dtype for each in found} == {kind}
    assert max(float(each.abs().max()) for each in found) <= 1.2
    assert len({float(each.abs().sum()) for each in found}) == 20


def test_with_any_mask_held_out_images_take_turns_and_training_draws_one_for_each():
    task = MRI(mask="any", rate=0.5, size=32, varied=1)
    rates = [float(batch.data.mask.mean()) for batch in task.test[:5]]
    assert rates == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.5], abs=0.04)
    drawn = task.draw(4, torch.Generator().manual_seed(0), part=0.5)
    assert drawn.data.mask.shape == drawn.target.shape == (4, 16, 16)
    assert len(set(drawn.data.mask.mean((1, 2)).tolist())) == 4
    torch.testing.assert_close(ifft(drawn.data.samples), ifft(drawn.data.mask * fft(drawn.target)))
    assert task.fixed_tensors() == {}


def test_a_lowest_rate_above_the_rate_is_refused():
    with pytest.raises(ValueError, match=r"lowest rate is 0.6; it is at most the rate, 0.5"):
        MRI(mask="any", rate=0.5, lowest=0.6)


def test_one_file_of_weights_serves_every_mask_of_real_images():
    system = find("medical/admm_csnet")
    path = system.shipped("mri", 14, {})
    for options in ({"mask": "radial", "rate": 0.1}, {"mask": "cartesian", "rate": 0.5}, {"mask": "own.npy"}):
        assert system.shipped("mri", 14, options) == path
    with pytest.raises(ValueError, match="no weights are shipped for medical/admm_csnet, task mri, 14 layers, real 0"):
        system.shipped("mri", 14, {"real": 0})


def test_weights_from_before_the_conditions_are_those_without():
    system = find("medical/admm_csnet")
    network = system.network(system.recipes["mri"], small_task("mri"), 14)
    load_weights(network, system.home / "weights" / "start_of_admm_csnet-mri-radial20-14.safetensors")
    assert not any(bool(row.value.any()) for row in network.parameter_table() if row.name.endswith("_slope"))
    slopes = [row for row in network.parameter_table() if row.name.endswith("_slope")]
    assert len(slopes) == 28


def learned(network):
    return sum(p.numel() for p in network.parameters() if p.requires_grad)


@pytest.mark.parametrize(("stages", "count"), [(9, 8_640), (16, 15_304), (17, 16_256)])
def test_admm_net_has_the_number_of_parameters_of_the_released_files(stages, count):
    """As many blocks, and one more equation for x: 952 each, and 72. How penalties and shrinkages follow the mask takes
    three numbers more for each of them.
    """
    system = find("medical/admm_csnet")
    for task in ("mri", "multicoil"):
        network = system.network(system.recipes[task], small_task(task), stages)
        following = sum(p.numel() for name, p in network.named_parameters() if name.endswith("_slope"))
        assert following == stages * 2 * 8 * 3
        assert learned(network) - following == count


@pytest.mark.parametrize(("stages", "count"), [(10, 194_590), (11, 214_049)])
def test_generic_admm_csnet_has_the_number_of_parameters_of_the_released_files(stages, count):
    """19,459 per stage; the released files have one more, the penalty of a last equation for x, which here is that of
    the last stage.
    """
    splitting = Splitting(Identity(), ConvolutionalShrinkage(128), penalty=0.1, rate=1.0)
    assert learned(unroll(ADMM(SampledFourier(), [splitting]), stages, untied=("splittings",))) == count
    assert learned(unroll(ADMM(SampledFourier(), [splitting]), stages, tied=("splittings",))) == 19_459
