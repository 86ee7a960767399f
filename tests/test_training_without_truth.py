"""Training without truth: the same with targets that are NaN, after an interruption, in micro-batches; refusals."""

import math

import pytest
import torch
from iterations import gaussian
from tiny import bits, same
from torch import nn

from unrolling import Stage, fit, unroll
from unrolling.algorithms import LeastSquares
from unrolling.operators import CoilData, Matrix
from unrolling.systems.catalogue import find
from unrolling.tasks import (
    MRI,
    Coils,
    CompressiveRates,
    Deblocking,
    Demosaicking,
    Denoising,
    DenoisingLevels,
    Detection,
    Inpainting,
    KnownDeblurring,
    Pairs,
    Recovery,
    Samples,
    SuperResolution,
    Tomography,
    VaryingDictionary,
)
from unrolling.tasks.draws import Draws
from unrolling.tasks.measurements import Gaussian, Measurement, Poisson
from unrolling.training import Machine
from unrolling.training.batches import generator
from unrolling.training.losses_by_name import find_loss, supported, with_loss
from unrolling.training.without_truth import SURE, Consistency, Recorrupted, Splitting, Sum


def draws(*seeds):
    return Draws([torch.Generator().manual_seed(seed) for seed in seeds or (0,)])


def small_denoising(blind=False):
    task = Denoising.small()
    if blind:
        draw = task.draw
        task.draw = lambda batch, generator: Samples(
            draw(batch, generator).data, torch.full((batch, task.crop, task.crop), math.nan)
        )
    return task


class Filters(nn.Module):
    """A small network on images of any size."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.filters = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.Tanh(), nn.Conv2d(4, 1, 3, padding=1))

    def forward(self, data):
        return data - self.filters(data.unsqueeze(1)).squeeze(1)


@pytest.mark.parametrize("name", ["sure", "recorrupted", "neighbours"])
def test_training_goes_the_same_way_with_targets_that_are_nan(name):
    ends = []
    for blind in (False, True):
        task, network = small_denoising(blind), Filters()
        loss = find_loss(name, task)
        fit(network, task, with_loss([Stage(3, rate=1e-2, batch=4)], loss), validations=0, quiet=True)
        ends.append(bits(network))
    assert same(*ends)
    assert not same(ends[0], bits(Filters()))


@pytest.mark.parametrize("name", ["split", "equivariant"])
def test_unrolled_networks_learn_from_measurements_alone(name):
    ends = []
    for blind in (False, True):
        task = MRI(size=16)
        if blind:
            measure = task.measure
            task.measure = lambda *args, m=measure: (s := m(*args))._replace(target=torch.full_like(s.target, math.nan))
        network = find("medical/admm_csnet").network(find("medical/admm_csnet").recipe("mri")[1], task, 2)
        schedule = with_loss([Stage(2, rate=1e-3, batch=2, depth=1), Stage(2, batch=2)], find_loss(name, task))
        fit(network, task, schedule, validations=0, quiet=True)
        ends.append(bits(network))
    assert same(*ends)


def test_a_run_that_was_interrupted_ends_the_same_to_the_bit(tmp_path):
    task = Denoising.small()
    schedule = [Stage(6, rate=1e-2, batch=4, loss=SURE())]

    class StoppedError(Exception):
        pass

    whole, parts = Filters(), Filters()
    fit(whole, task, schedule, validations=0, quiet=True)
    draw, count = task.draw, [0]

    def stopping(batch, generator):
        count[0] += 1
        if count[0] == 7:
            raise StoppedError
        return draw(batch, generator)

    task.draw = stopping
    with pytest.raises(StoppedError):
        fit(parts, task, schedule, tmp_path, validations=0, checkpoint_seconds=0, quiet=True)
    task.draw = draw
    again = Filters()
    fit(again, task, schedule, tmp_path, validations=0, checkpoint_seconds=0, quiet=True)
    assert same(bits(again), bits(whole))


def test_micro_batches_draw_what_the_batch_would():
    task, ends = Denoising.small(), []
    for accumulate in (1, 2):
        network = Filters()
        fit(
            network,
            task,
            [Stage(2, rate=1e-2, batch=4, loss=SURE())],
            machine=Machine(accumulate=accumulate),
            validations=0,
            quiet=True,
        )
        ends.append(torch.cat([p.flatten() for p in network.parameters()]))
    torch.testing.assert_close(*ends, atol=1e-5, rtol=1e-4)


def test_each_task_supports_what_its_operator_and_noise_allow():
    expected = {
        "denoising": (Denoising, {"sure", "recorrupted", "neighbours"}),
        "noise_levels": (DenoisingLevels, {"sure", "recorrupted", "neighbours"}),
        "mri": (MRI, {"split", "equivariant"}),
        "multicoil": (Coils, {"split", "equivariant", "sure", "recorrupted"}),
        "inpainting": (Inpainting, {"split", "equivariant"}),
        "compressive_rates": (CompressiveRates, {"split", "equivariant"}),
        "tomography": (Tomography, {"equivariant", "sure", "recorrupted"}),
        "super_resolution": (SuperResolution, {"equivariant"}),
        "recovery": (Recovery, {"equivariant"}),
        "varying_dictionary": (VaryingDictionary, {"equivariant"}),
        "detection": (Detection, {"equivariant", "sure", "recorrupted"}),
        "known_deblurring": (KnownDeblurring, {"equivariant", "sure", "recorrupted"}),
        "demosaicking": (Demosaicking, {"equivariant"}),
        "deblocking": (Deblocking, set()),
    }
    for kind, names in expected.values():
        task = kind.small()
        assert set(supported(task)) == names, kind.__name__
        if not names:
            continue
        samples, measurement = task.draw(2, torch.Generator().manual_seed(0)), task.measurement()
        y = measurement.measured(samples.data)
        torch.testing.assert_close(measurement.image(samples.target, samples.data).shape, y.shape)
        x = measurement.adjoint(y, samples.data)
        assert x.shape == samples.target.shape
        again = measurement.sample(samples.target, samples.data, draws(1, 2))
        if not measurement.noisy and kind is not SuperResolution:  # which rounds to 8 bits
            torch.testing.assert_close(measurement.measured(again), y, atol=1e-5, rtol=1e-5)
        elif measurement.noisy:
            noise = measurement.noise(samples.data)
            error = (measurement.image(samples.target, samples.data) - y).abs().square().flatten(1)
            scale = noise.deviation(y).square().flatten() * (2 if y.is_complex() else 1)
            where = measurement.where(samples.data)
            share = 1.0 if where is None else where.expand(y.shape).mean().item()
            ratio = (error.mean(1) / scale / share).mean().item()
            assert 0.5 < ratio < 1.6, (kind.__name__, ratio)


def test_what_is_not_supported_is_refused_before_the_first_step_with_what_is():
    with pytest.raises(ValueError, match=r"denoising.*cannot be split.*supports sure, recorrupted, neighbours"):
        find_loss("split", Denoising.small())
    with pytest.raises(ValueError, match=r"no loss without truth 'sur'; .*did you mean sure\?"):
        find_loss("sur", Denoising.small())
    with pytest.raises(ValueError, match=r"deblocking does not say how its data come about.*supports none of them"):
        find_loss("equivariant", Deblocking.small())
    with pytest.raises(ValueError, match="has no `objective`"):
        find_loss("energy", Denoising.small(), Filters())
    with pytest.raises(ValueError, match=r"SURE.*no noise of a known strength"):
        fit(nn.Linear(3, 3), MRI(size=16), [Stage(1, loss=SURE())], quiet=True)
    own = Pairs([(torch.zeros(3), None)] * 4, [(torch.zeros(3), torch.zeros(3))] * 2)
    with pytest.raises(ValueError, match="pairs does not say how its data come about"):
        fit(nn.Linear(3, 3), own, [Stage(1, loss=Consistency())], quiet=True)
    for wrong in (lambda: Splitting(1.0), lambda: Recorrupted(0.0), lambda: SURE(-1.0), lambda: Poisson(0.0)):
        with pytest.raises(ValueError, match="must be"):
            wrong()
    with pytest.raises(ValueError, match="show the network different data"):
        Sum((1.0, Splitting()), (1.0, Recorrupted()))


def test_pairs_of_data_alone_are_enough_where_the_operator_is_known():
    matrix = gaussian(6, 6, seed=4).float()
    x = gaussian(64, 6).float()
    y = x @ matrix.T + 2.0 * torch.randn(64, 6, generator=torch.Generator().manual_seed(0))
    measurement = Measurement(LeastSquares(Matrix(matrix)), Gaussian(2.0))
    own = Pairs([(each, None) for each in y], [(each, None) for each in y], measurement=measurement)
    network = nn.Linear(6, 6, bias=False)
    inverse = torch.linalg.inv(matrix)
    with torch.no_grad():
        network.weight.copy_(inverse)  # of all noise that there is
    fit(network, own, [Stage(150, rate=3e-3, batch=64, loss=SURE())], validations=0, quiet=True)
    errors = [(y @ weight.T - x).square().mean().item() for weight in (inverse, network.weight.detach())]
    assert errors[1] < 0.7 * errors[0]


def test_a_sum_asks_for_what_its_terms_ask_for():
    task = MRI(size=16)
    both = Sum((1.0, Splitting(0.7)), (0.5, Consistency()))
    assert set(both.asks) == {"measurement", "kept", "data"}
    assert repr(both) == "1 Splitting(part=0.7, relative=False, weighted=False) + 0.5 Consistency(relative=False)"
    data, measurement = task.draw(2, generator(0)).data, task.measurement()
    _, kept = both.show(data, measurement, draws(0))
    x = gaussian(2, 16, 16).float()
    more = {"data": data, "measurement": measurement, "kept": kept}
    expected = Splitting(0.7)(x, None, measurement, kept) + 0.5 * Consistency()(x, None, data, measurement)
    torch.testing.assert_close(both(x, None, **more), expected)
    assert isinstance(find_loss("equivariant", Coils.small()).terms[0][1], SURE)


def test_layers_before_the_last_are_held_to_their_own_estimates():
    """With a loss on every layer, what a loss runs again is as deep as the estimate."""
    from unrolling.algorithms import ISTA
    from unrolling.training.supervised import Given, Supervised
    from unrolling.training.supervision import Weighted

    task = Recovery(m=8, n=16, snr=20.0, held_out=4)
    network = unroll(ISTA(task.dictionary, 0.1), 3, untied="threshold")
    data = task.draw(4, generator(0)).data
    for depth, weights in ((1, (1.0, 0.0, 0.0)), (2, (0.0, 1.0, 0.0))):
        deep = Supervised(network, task, Stage(1, loss=SURE(), supervision=Weighted(weights)))
        cut = Supervised(network, task, Stage(1, loss=SURE(), depth=depth))
        torch.testing.assert_close(*(each(Given(data, None, draws(0, 1))) for each in (deep, cut)))


def test_matrix_measurements_know_the_operator():
    task = Recovery(m=8, n=16, snr=20.0, held_out=4)
    assert isinstance(task.measurement().term.operator, Matrix)
    assert isinstance(Coils.small().draw(1, generator(0)).data, CoilData)
