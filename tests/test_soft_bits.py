"""Log-likelihood ratios of bits: against enumeration, against one another, and what they tell."""

from itertools import product
from math import inf, log

import pytest
import torch

from unrolling import unroll
from unrolling.algorithms.detection import breadth_first
from unrolling.algorithms.detection.bit_ratios import (
    best_factor,
    exact_llrs,
    gaussian_llrs,
    level_llrs,
    mutual_information,
)
from unrolling.algorithms.detection.breadth_first import k_best, list_llrs
from unrolling.algorithms.detection.detnet import DetNetLayer
from unrolling.algorithms.detection.mimo import Received, apply, decide, gray_labels, level_posterior, pam, wrong_bits
from unrolling.algorithms.detection.mmnet import MMNetLayer, ScaledAdjoint
from unrolling.algorithms.detection.soft_detection import linear_llrs, soft_bits
from unrolling.algorithms.detection.sphere import sphere_decode
from unrolling.algorithms.messages.expectation_propagation import ExpectationPropagation
from unrolling.algorithms.messages.oamp import OAMP
from unrolling.algorithms.sparse.lama import LAMA
from unrolling.algorithms.splitting.projected_gradient import ProjectedGradient
from unrolling.tasks import Detection


def sent(count, antennas, streams, order, variance, seed=0, dtype=torch.float64):
    """Data of independent channels, and the bits behind them."""
    draw = torch.Generator().manual_seed(seed)
    channel = torch.randn(count, antennas, streams, generator=draw, dtype=dtype) / antennas**0.5
    index = torch.randint(order, (count, streams), generator=draw)
    noise = torch.full((1, 1), variance, dtype=dtype)
    white = torch.randn(count, antennas, generator=draw, dtype=dtype)
    y = apply(channel, pam(order).to(dtype)[index]) + noise.sqrt() * white
    return Received(y, channel, noise), gray_labels(order)[index]


@pytest.mark.parametrize("order", [2, 4, 8, 16])
def test_labels_of_neighbours_differ_in_one_bit_and_all_are_different(order):
    labels = gray_labels(order)
    assert labels.shape == (order, order.bit_length() - 1)
    assert len(set(map(tuple, labels.tolist()))) == order
    assert (labels[1:] != labels[:-1]).sum(1).tolist() == [1] * (order - 1)
    assert bool((wrong_bits(order) == wrong_bits(order).mT).all())
    assert int(wrong_bits(order).diagonal().sum()) == 0


@pytest.mark.parametrize("order", [0, 1, 3, 8192])
def test_no_labels_for_what_is_no_alphabet(order):
    with pytest.raises(ValueError, match="order is"):
        gray_labels(order)


@pytest.mark.parametrize(("order", "streams"), [(2, 1), (2, 3), (4, 2), (4, 3)])
def test_exact_ratios_are_those_of_a_sum_over_all_vectors(order, streams):
    """By a loop in Python over every vector of symbols."""
    data, _ = sent(3, 4, streams, order, 0.1)
    levels, labels = pam(order), gray_labels(order)
    found = exact_llrs(data, levels)
    for b, k, bit in product(range(3), range(streams), range(labels.shape[1])):
        sums = [0.0, 0.0]
        for index in product(range(order), repeat=streams):
            left = data.y[b] - data.channel[b] @ levels[list(index)]
            sums[int(labels[index[k], bit])] += float((-left.square().sum() / 0.2).exp())
        assert float(found[b, k, bit]) == pytest.approx(log(sums[0] / sums[1]), abs=1e-9)


def test_exact_ratios_stay_finite_without_hope_of_error_and_refuse_too_many_vectors():
    data, bits = sent(4, 6, 3, 4, 1e-8)
    found = exact_llrs(data, pam(4))
    assert bool(found.isfinite().all())
    assert bool(((found < 0).long() == bits).all())
    with pytest.raises(ValueError, match="soft_bits"):
        exact_llrs(sent(1, 20, 11, 4, 0.1)[0], pam(4))
    with pytest.raises(ValueError, match="positive"):
        exact_llrs(data._replace(noise_variance=torch.zeros(1, 1, dtype=torch.float64)), pam(4))
    with pytest.raises(ValueError, match="noise"):
        exact_llrs(data._replace(noise_variance=None), pam(4))


def test_one_stream_over_orthogonal_channels_is_the_scalar_ratio():
    """With orthogonal columns each symbol is alone: the exact ratio is that of its own observation."""
    draw = torch.Generator().manual_seed(2)
    basis = torch.linalg.qr(torch.randn(5, 6, 3, generator=draw, dtype=torch.float64))[0]
    y = torch.randn(5, 6, generator=draw, dtype=torch.float64)
    noise = torch.full((5, 1), 0.3, dtype=torch.float64)
    scalar = gaussian_llrs(apply(basis.mT, y), noise.expand(5, 3), pam(4))
    torch.testing.assert_close(exact_llrs(Received(y, basis, noise), pam(4)), scalar, atol=1e-9, rtol=1e-9)


def test_two_levels_are_a_product_and_a_posterior_mean_is_its_tanh():
    z, variance = torch.linspace(-3, 3, 13, dtype=torch.float64), torch.full((13,), 0.4, dtype=torch.float64)
    found = gaussian_llrs(z, variance, pam(2)).squeeze(-1)
    torch.testing.assert_close(found, -2 * z / variance)
    mean = level_posterior(z, variance, pam(2)).mean
    torch.testing.assert_close(mean, -torch.tanh(found / 2))


def test_ratios_of_levels_ignore_what_all_share_and_turn_round_with_the_alphabet():
    logs = torch.randn(7, 8, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    torch.testing.assert_close(level_llrs(logs + 1e3), level_llrs(logs), atol=1e-9, rtol=1e-9)
    # In the reflected code turning the alphabet round changes the first bit and no other.
    turned = level_llrs(logs.flip(-1))
    torch.testing.assert_close(turned[:, 0], -level_llrs(logs)[:, 0])
    torch.testing.assert_close(turned[:, 1:], level_llrs(logs)[:, 1:])
    with pytest.raises(ValueError, match="order is 3"):
        level_llrs(logs[:, :3])
    assert bool(level_llrs(torch.tensor([0.0, -inf])).isfinite().all())


def detectors(order, streams, antennas):
    """A network of each kind that has soft bits, in single precision."""
    levels = pam(order).float()
    return {
        "OAMP": unroll(OAMP(levels), 6, untied=("step_size", "variance_scale")),
        "EP": unroll(ExpectationPropagation(levels), 6, untied=("damping",)),
        "AMP": unroll(LAMA(levels), 6, untied=("noise_scale",)),
        "MMNet": unroll(MMNetLayer(levels, ScaledAdjoint(levels), streams), 6, untied=("precision",)),
        "DetNet": unroll(
            DetNetLayer(
                levels,
                hidden=16,
                auxiliary=4,
                head="soft_sign" if order == 2 else "one_hot",
                damping=0.5,
                initial="projected_gradient",
            ),
            6,
            untied=("hidden", "update"),
        ),
    }


@pytest.mark.parametrize("order", [2, 4])
@pytest.mark.parametrize("name", ["OAMP", "EP", "AMP", "MMNet", "DetNet"])
def test_every_detector_gives_ratios_that_tell_less_than_the_exact_ones_and_more_than_none(name, order):
    data, bits = sent(400, 12, 4, order, 0.02, dtype=torch.float32)
    network = detectors(order, 4, 12)[name]
    found = soft_bits(network, data)
    assert found.llrs.shape == bits.shape
    told, exact = mutual_information(found.llrs, bits), mutual_information(exact_llrs(data, pam(order)), bits)
    assert 0.3 < told < exact + 0.02
    # And what is drawn says before what they will tell.
    assert told == pytest.approx(found.information[found.source], abs=0.06)
    assert found.information[found.source] >= max(found.information.values()) - 1e-3


@pytest.mark.parametrize("name", ["OAMP", "EP", "AMP", "MMNet"])
def test_the_posterior_of_what_the_last_layer_observed_is_its_answer(name):
    data, _ = sent(50, 8, 3, 4, 0.05, dtype=torch.float32)
    network = detectors(4, 3, 8)[name]
    *before, _ = network.trajectory(data)
    layer, problem = network.prepared(data)[-1]
    seen = layer.observed(before[-1], problem)
    mean = level_posterior(seen.z, seen.variance, layer.levels).mean
    assert bool((mean == network(data)).all())


def test_ratios_do_not_depend_on_scale_or_company():
    data, _ = sent(60, 8, 3, 4, 0.05, dtype=torch.float32)
    network = detectors(4, 3, 8)["EP"]
    whole = soft_bits(network, data, trials=0).llrs
    assert whole.isfinite().all()
    assert data.noise_variance is not None
    louder = Received(1024 * data.y, 1024 * data.channel, 2.0**20 * data.noise_variance)
    assert bool((soft_bits(network, louder, trials=0).llrs == whole).all())
    few = Received(data.y[:7], data.channel[:7], data.noise_variance)
    torch.testing.assert_close(soft_bits(network, few, trials=0).llrs, whole[:7], rtol=1e-4, atol=1e-3)


def test_overconfident_ratios_are_scaled_back_and_misleading_ones_give_way():
    data, bits = sent(1000, 8, 4, 2, 0.3, dtype=torch.float32)
    network = detectors(2, 4, 8)["OAMP"]
    with torch.no_grad():
        network.get_parameter("layers.5.variance_scale").fill_(0.3)
    own = soft_bits(network, data, trials=0)
    assert mutual_information(soft_bits(network, data).llrs, bits) >= mutual_information(own.llrs, bits)
    with torch.no_grad():
        network.get_parameter("layers.5.step_size").fill_(-3.0)
    found = soft_bits(network, data)
    assert found.source != "network"
    assert mutual_information(found.llrs, bits) >= mutual_information(linear_llrs(data, pam(2)), bits)
    assert soft_bits(network, data, seed=0).llrs.equal(found.llrs)


def test_the_best_factor_is_the_one_that_tells_most():
    draw = torch.Generator().manual_seed(4)
    bits = torch.randint(2, (20_000,), generator=draw)
    z = (1 - 2 * bits) + torch.randn(20_000, generator=draw, dtype=torch.float64)
    right = 2 * z  # of noise of variance one
    assert best_factor(3 * right, bits) == pytest.approx(1 / 3, rel=0.05)
    factor = best_factor(right, bits)
    most = mutual_information(factor * right, bits)
    assert all(mutual_information(factor * each * right, bits) < most for each in (0.9, 1.1))
    assert best_factor(right.abs() * (1 - 2 * bits), bits) < 100  # without an error: certain, but not endlessly
    assert most == pytest.approx(0.4859, abs=0.02)  # capacity of two levels at 0 dB, by quadrature


def test_what_is_asked_of_no_detector_is_refused():
    data, _ = sent(5, 6, 3, 2, 0.1, dtype=torch.float32)
    gradient = unroll(ProjectedGradient(pam(2).float()), 3)
    with pytest.raises(TypeError, match="no probabilities"):
        soft_bits(gradient, data)
    with pytest.raises(TypeError, match="unrolled detector"):
        soft_bits(torch.nn.Linear(2, 2), data)  # pyright: ignore[reportArgumentType]
    network = detectors(2, 3, 6)["OAMP"]
    with pytest.raises(ValueError, match="trials"):
        soft_bits(network, data, trials=-1)
    with pytest.raises(ValueError, match="noise"):
        soft_bits(network, data._replace(noise_variance=None))
    with pytest.raises(ValueError, match="one ratio for each bit"):
        mutual_information(torch.zeros(3), torch.zeros(4))
    with pytest.raises(ValueError, match="0 or 1"):
        best_factor(torch.zeros(3), 2 * torch.ones(3))


def test_the_task_draws_what_soft_bits_take():
    task = Detection(streams=2, antennas=4, modulation="16qam", snr=12.0, held_out=50)
    data, _ = task.at(14.0, 200, torch.Generator().manual_seed(0))
    network = unroll(ExpectationPropagation(task.levels), 6)
    assert soft_bits(network, data).llrs.shape == (200, 4, 2)


@pytest.mark.parametrize(("order", "streams"), [(2, 4), (4, 3)])
def test_a_list_of_all_vectors_is_exact(order, streams):
    data, _ = sent(20, 5, streams, order, 0.1)
    index, logs = k_best(data, pam(order), order**streams)
    assert len(set(map(tuple, index[3].tolist()))) == order**streams
    left = data.y[3] - pam(order)[index[3]] @ data.channel[3].mT
    torch.testing.assert_close(logs[3], -left.square().sum(1) / 0.2)
    assert bool((logs.diff(dim=1) <= 0).all())
    exact = exact_llrs(data, pam(order))
    torch.testing.assert_close(list_llrs(data, pam(order), order**streams), exact, atol=1e-8, rtol=1e-8)


def test_the_first_of_a_list_is_the_likeliest_vector_and_a_short_list_tells_nearly_all():
    """Against the sphere decoder, on square channels of 16-QAM, where linear detectors lose much."""
    task = Detection(streams=3, antennas=3, modulation="16qam", snr=18.0, held_out=10)
    data, x = task.at(18.0, 200, torch.Generator().manual_seed(0))
    first = task.levels[k_best(data, task.levels, 64).index[:, 0]]
    likeliest = sphere_decode(data, task.levels).x
    assert float((first == likeliest).all(1).double().mean()) > 0.97
    bits = gray_labels(4)[decide(x, task.levels)]
    exact = mutual_information(exact_llrs(data, task.levels), bits)
    told = [mutual_information(list_llrs(data, task.levels, size), bits) for size in (4, 16, 128)]
    assert told[0] < told[1] < told[2] + 1e-3
    assert told[2] == pytest.approx(exact, rel=0.01)


def test_lists_of_hard_channels_are_finite():
    data, _ = sent(10, 4, 3, 4, 1e-9, dtype=torch.float32)
    same = data.channel[:, :, :1].expand(-1, -1, 3)  # columns that nothing can tell apart
    for channel, noise in ((same, data.noise_variance), (data.channel, torch.zeros(1, 1)), (0 * same, None)):
        given = Received(data.y, channel, data.noise_variance if noise is None else noise)
        assert bool(list_llrs(given, pam(4), 16).isfinite().all())
    with pytest.raises(ValueError, match="size"):
        k_best(data, pam(4), 0)


def test_without_a_channel_and_without_noise_nothing_is_told():
    nothing = Received(torch.zeros(2, 4), torch.zeros(2, 4, 2), torch.zeros(2, 1))
    assert torch.equal(list_llrs(nothing, pam(4), 16), torch.zeros(2, 2, 2, dtype=torch.float64))


def test_no_vectors_have_no_ratios_and_many_are_taken_in_pieces(monkeypatch):
    data, _ = sent(50, 6, 3, 4, 0.05, dtype=torch.float32)
    network, levels = detectors(4, 3, 6)["EP"], pam(4)
    none = Received(data.y[:0], data.channel[:0], data.noise_variance)
    for llrs in (soft_bits(network, none).llrs, exact_llrs(none, levels), list_llrs(none, levels)):
        assert llrs.shape == (0, 3, 2)
    whole = list_llrs(data, levels, 16)
    monkeypatch.setattr(breadth_first, "ENTRIES", 16 * 3 * 4 * 7)
    torch.testing.assert_close(list_llrs(data, levels, 16), whole)


def test_a_vector_that_is_no_number_stays_alone_and_late_vectors_are_drawn_for_too():
    data, _ = sent(60, 6, 3, 4, 0.05, dtype=torch.float32)
    network = detectors(4, 3, 6)["EP"]
    before = soft_bits(network, data)
    data.y[7, 2], data.channel[9, 1, 1] = torch.nan, torch.nan
    after = soft_bits(network, data)
    assert after.llrs[[7, 9]].isnan().any(2).any(1).all()
    rest = [k for k in range(60) if k not in (7, 9)]
    assert bool(after.llrs[rest].isfinite().all())
    assert after.information[after.source] == pytest.approx(before.information[before.source], abs=0.05)
    # The first half of the vectors is without noise to speak of: what the ratios tell is what they tell of both halves.
    noise = torch.cat([torch.full((600, 1), 1e-4), torch.full((600, 1), 3.0)])
    channel = torch.randn(1200, 6, 3, generator=torch.Generator().manual_seed(0)) / 6**0.5
    mixed = soft_bits(network, Received(apply(channel, torch.ones(1200, 3)), channel, noise))
    assert mixed.information[mixed.source] < 0.7
    with pytest.raises(ValueError, match="finite numbers to draw with"):
        soft_bits(network, Received(data.y[9:10], data.channel[9:10], data.noise_variance))
