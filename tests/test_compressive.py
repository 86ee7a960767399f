"""Compressive imaging with the shipped denoiser: ADMM written out, rates, pieces, settings of parts of layers."""

import pytest
import torch
from iterations import gaussian

from unrolling import fit, unroll
from unrolling.algorithms import ADMM, BlockProjections, BlockSamples, RatedSplitting, Splitting, measure_blocks
from unrolling.algorithms.splitting.block_projections import RATES
from unrolling.operators import Identity
from unrolling.operators.patches import BlockSensing, projections
from unrolling.prox import soft_threshold
from unrolling.systems.catalogue import find
from unrolling.systems.imaging._block_samples import recovered
from unrolling.systems.imaging.compressive import DENOISER, OWN, PENALTY
from unrolling.tasks.images.compressive_learned import CompressiveLearned
from unrolling.tasks.images.compressive_rates import CompressiveRates
from unrolling.testing import check_iteration
from unrolling.training.stages import Stage, scaled

NAMES = ("imaging/compressive", "imaging/compressive_learned", "imaging/compressive_binary")


@pytest.fixture(scope="module")
def task():
    return CompressiveRates.small()


def data(m=20, block=8, rows=2, columns=3):
    x = 0.5 + 0.2 * gaussian(2, rows * block, columns * block)
    matrix = projections(m, block**2, 1).double().unsqueeze(0)
    return BlockSamples(measure_blocks(x, matrix), matrix), x


def iteration(prox=soft_threshold, kind=RatedSplitting, **options):
    return ADMM(BlockProjections(8), [kind(Identity(), prox, 0.02, penalty=0.3, rate=1.2, **options)], start="data")


def test_with_slopes_of_zero_it_is_the_splitting_to_the_bit():
    measured, _ = data()
    rated, plain = (unroll(iteration(kind=kind).double(), 3) for kind in (RatedSplitting, Splitting))
    assert torch.equal(rated(measured), plain(measured))


@pytest.mark.parametrize("k", range(len(RATES)))
def test_at_a_rate_with_numbers_of_its_own_it_is_the_splitting_with_these(k):
    m = max(1, round(RATES[k] * 64))
    measured, _ = data(m)
    rated = iteration().double()
    with torch.no_grad():
        rated.splittings[0].penalty_slope.copy_(0.3 * gaussian(5, seed=1))
        rated.splittings[0].weight_slope.copy_(0.3 * gaussian(5, seed=2))
    f = rated.data_term(measured).features[0]
    slopes = (rated.splittings[0].penalty_slope, rated.splittings[0].weight_slope)
    b, c = (float(torch.exp(f @ slope.detach())) for slope in slopes)
    plain = ADMM(
        BlockProjections(8), [Splitting(Identity(), soft_threshold, 0.02 * c, penalty=0.3 * b, rate=1.2)], start="data"
    ).double()
    assert torch.allclose(unroll(rated, 3)(measured), unroll(plain, 3)(measured), atol=1e-6)


def test_a_step_is_admm_written_out():
    measured, _ = data()
    rated = iteration().double()
    problem = rated.prepare(measured)
    state = rated(rated.start(problem), problem)
    x, sensing = rated.start(problem).x, BlockSensing(measured.matrix[0])
    z = soft_threshold(x, torch.tensor(0.02 / 0.3).double())
    a = 1.2 * (x - z)
    phi = sensing.adjoint
    # (Phi^T Phi + rho) x = Phi^T y + rho (z - a)
    right = phi(measured.samples) + 0.3 * (z - a)
    assert torch.allclose(phi(sensing(state.x)) + 0.3 * state.x, right, atol=1e-6)
    assert torch.allclose(state.dual[0], a, atol=1e-6)


def test_the_iteration_keeps_the_contract():
    measured, _ = data()
    skipped = ("compile", "export", "objective", "gradients", "second_derivative")
    check_iteration(iteration().double(), measured, depth=2, skip=skipped)


def test_data_terms_that_tell_no_rate_are_refused():
    rated = iteration()
    measured, _ = data()
    problem = rated.double().prepare(measured)._replace(features=None)
    with pytest.raises(ValueError, match="depends on 5 features of the data, and the data term gives none"):
        rated.splittings[0].at(problem)


# The systems


@pytest.mark.parametrize("name", NAMES)
def test_before_training_it_is_plug_and_play_with_the_shipped_denoiser(name, task):
    system = find(name)
    recipe = next(iter(system.recipes.values()))
    own = task if name == NAMES[0] else CompressiveLearned.small()
    net = system.network(recipe, own, 3).eval()
    sample = own.test[0]
    assert torch.equal(net(sample.data), unroll(recipe.parent(own), 3)(sample.data))
    denoiser = find("imaging/denoise").pretrained()
    denoiser.layers[-1].passes = 1.0
    prox = net.layers[0].splittings[0].prox
    x = own.test[0].target[:, :16, :16]
    level = torch.tensor(0.1)
    assert torch.allclose(prox(x, level**2), denoiser(prox.told(x, level.expand(1))), atol=1e-6)


def test_one_denoiser_serves_all_steps(task):
    net = find(NAMES[0]).network(find(NAMES[0]).recipes["compressive_rates"], task, 4)
    numbers = sum(p.numel() for p in net.parameters())
    denoiser = sum(p.numel() for p in find("imaging/denoise").pretrained().parameters())
    assert numbers == denoiser + 4 * (3 + 2 * len(RATES))
    assert {name.rsplit(".", 1)[-1] for name, _ in net.named_learned() if "prox" not in name} == set(OWN)
    assert sum(DENOISER in name for name, _ in net.named_learned()) < 60


def test_noisier_rates_are_told_a_higher_level(task):
    splitting = find(NAMES[0]).recipes["compressive_rates"].parent(task).splittings[0]
    levels = []
    for rate in RATES:
        measured = task.spoil(torch.rand(1, 24, 24), torch.Generator(), task.matrix(rate)).data
        at = splitting.at(BlockProjections(8)(measured))
        levels.append(float((at.weight / at.penalty).sqrt().detach()))
    assert levels == sorted(levels, reverse=True)
    assert float(splitting.penalty.detach()) == pytest.approx(PENALTY)


def test_in_pieces_it_is_the_whole(task):
    net = find(NAMES[0]).network(find(NAMES[0]).recipes["compressive_rates"], task, 2).eval()
    matrix = task.matrix(0.25)
    picture = torch.rand(1, 184, 136, generator=torch.Generator().manual_seed(1))
    measured = BlockSamples(measure_blocks(picture, matrix), matrix)
    with torch.no_grad():
        assert torch.allclose(recovered(net, measured, tile=32), net(measured), atol=1e-5)


def test_settings_reach_parts_of_layers_and_are_put_back(task):
    net = find(NAMES[0]).network(find(NAMES[0]).recipes["compressive_rates"], task, 2)
    seen = []
    first = net.layers[0].splittings[0].prox.denoiser.layers[0]
    first.register_forward_pre_hook(lambda *_: seen.append(first.views))
    fit(net, task, scaled(find(NAMES[0]).recipes["compressive_rates"].schedule(2), 1), quiet=True, validations=0)
    assert set(seen) == {1.0}
    assert first.views == 4.0


def test_settings_of_no_part_are_refused(task):
    net = find(NAMES[0]).network(find(NAMES[0]).recipes["compressive_rates"], task, 2)
    with pytest.raises(ValueError, match=r"sets 'splittings\.7\.views', which is no number of"):
        fit(net, task, [Stage(1, settings={"splittings.7.views": 1.0})], quiet=True)
