"""ISTA-Net+ with the matrix as data: counts of the paper, the parent, rates, what is refused."""

import pytest
import torch
from iterations import gaussian
from tiny import moved

from unrolling import solve, unroll
from unrolling.algorithms.splitting.block_projections import (
    RATES,
    BlockProjections,
    BlockSamples,
    RatedProximalGradient,
    measure_blocks,
    orthonormalised,
    rate_weights,
    spread_blocks,
)
from unrolling.algorithms.splitting.proximal_gradient import ProximalGradient
from unrolling.networks.transform_shrinkage import TransformShrinkage
from unrolling.operators.patches import BlockSensing, projections
from unrolling.prox import soft_threshold
from unrolling.systems.catalogue import find
from unrolling.systems.imaging.ista_net import LEARNED, THRESHOLD
from unrolling.tasks.images.compressive_rates import CompressiveRates, PaddedWavelet
from unrolling.testing import check_iteration


@pytest.fixture(scope="module")
def task():
    return CompressiveRates.small()


def data(batch=2, m=20, block=8, rows=2, columns=3, own=False):
    """Measurements of drawn pictures, by one matrix or one for each."""
    x = 0.5 + 0.2 * gaussian(batch, rows * block, columns * block)
    matrices = [projections(m, block**2, seed).double() for seed in range(batch if own else 1)]
    matrix = torch.stack(matrices)
    return BlockSamples(measure_blocks(x, matrix), matrix), x


def network(depth=3, block=8, channels=4):
    step = RatedProximalGradient(BlockProjections(block), TransformShrinkage(channels), 0.01, channels=channels)
    return unroll(step, depth, untied=LEARNED).double()


# Counts


def test_a_phase_has_the_published_number_of_parameters():
    plain = ProximalGradient(BlockProjections(), TransformShrinkage(32), 0.01)
    assert sum(p.numel() for p in plain.parameters()) == 37_442
    nine = unroll(plain, 9, untied=("step_size", "threshold", "prox"))
    assert sum(p.numel() for p in nine.parameters() if p.requires_grad) == 336_978


def test_the_rate_adds_a_few_numbers_to_a_phase(task):
    system = find("imaging/ista_net")
    net = system.network(system.recipes["compressive_rates"], task)
    added = len(RATES) * (1 + 2 * 32)
    assert sum(p.numel() for p in net.parameters() if p.requires_grad) == 9 * (37_442 + added)


# The parent


def test_the_untrained_network_is_the_parent_to_the_bit_at_every_rate(task):
    system = find("imaging/ista_net")
    recipe = system.recipes["compressive_rates"]
    rated = recipe.parent(task)
    torch.nn.init.normal_(rated.prox.synthesis, std=0.1, generator=torch.Generator().manual_seed(0))
    plain = ProximalGradient(rated.data_term, rated.prox, THRESHOLD)
    net = unroll(rated, 2, untied=LEARNED)
    for sample in task.test[:3]:
        expected = unroll(plain, 2)(sample.data)
        assert torch.equal(net(sample.data), expected)
        assert not torch.equal(expected, plain.start(plain.prepare(sample.data)))


def test_layers_start_with_random_numbers_of_their_own_that_have_no_say(task):
    system = find("imaging/ista_net")
    recipe = system.recipes["compressive_rates"]
    net, sample = system.network(recipe, task, 2), task.test[0]
    first, second = (layer.prox.forth[0] for layer in net.layers)
    assert not torch.equal(first, second)
    assert torch.equal(net(sample.data), unroll(recipe.parent(task), 2)(sample.data))


def test_without_the_last_convolution_a_phase_is_one_gradient_step():
    measured, _ = data()
    step = ProximalGradient(BlockProjections(8), TransformShrinkage(4), 0.01, step_size=0.5).double()
    problem = step.prepare(measured)
    x = gaussian(2, 16, 24, seed=3)
    sensing = BlockSensing(measured.matrix[0])
    expected = x - 0.5 * sensing.adjoint(sensing(x) - measured.samples)
    assert torch.allclose(step(x, problem), expected, atol=1e-14)


def test_the_prox_is_that_of_the_paper_written_out():
    prox = TransformShrinkage(6).double()
    with torch.no_grad():
        prox.synthesis.copy_(0.1 * gaussian(1, 6, 3, 3, seed=1))
    z, t, gain = gaussian(2, 9, 11, seed=2), torch.rand(6).double() * 0.1, 1 + torch.rand(6).double()

    def conv(u, weight):
        return torch.nn.functional.conv2d(u, weight, padding=1)

    u = conv(torch.relu(conv(conv(z.unsqueeze(1), prox.analysis), prox.forth[0])), prox.forth[1])
    v = gain.view(-1, 1, 1) * soft_threshold(u, t.view(-1, 1, 1))
    expected = z + conv(conv(torch.relu(conv(v, prox.back[0])), prox.back[1]), prox.synthesis).squeeze(1)
    assert torch.allclose(prox(z, t, gain), expected, atol=1e-13)
    assert torch.allclose(prox(z, 0.05), prox(z, torch.full((6,), 0.05)), atol=1e-13)


# Measurements


def test_a_matrix_for_each_picture_is_block_sensing_of_each():
    measured, x = data(own=True)
    for k in range(2):
        sensing = BlockSensing(measured.matrix[k])
        assert torch.allclose(measured.samples[k], sensing(x[k : k + 1])[0], atol=1e-13)
        assert torch.allclose(
            spread_blocks(measured.samples, measured.matrix)[k], sensing.adjoint(measured.samples[k : k + 1])[0]
        )


def test_the_start_is_the_best_linear_estimate_and_explains_the_data():
    measured, x = data(own=True)
    term = BlockProjections(8).double()
    start = term.start(term(measured))
    c, phi = term.covariance, measured.matrix[1]
    gram = phi @ c @ phi.T
    gram += 1e-5 * gram.diagonal().mean() * torch.eye(20)
    expected = BlockSensing((c @ phi.T @ torch.linalg.inv(gram)).T.contiguous()).adjoint(measured.samples[1:])
    assert torch.allclose(start[1:], expected, atol=1e-10)
    relative = (measure_blocks(start, measured.matrix) - measured.samples).norm() / measured.samples.norm()
    assert relative < 1e-2
    assert (start - x).norm() < (term(measured).back - x).norm()


def test_the_closed_form_solves_the_normal_equation():
    measured, _ = data(own=True)
    term = BlockProjections(8).double()
    assert torch.allclose(measured.matrix[1] @ measured.matrix[1].T, torch.eye(20).double(), atol=1e-6)
    b = gaussian(2, 16, 24, seed=4)
    x = term.solve(b, 0.3, term(measured))
    assert torch.allclose(term.adjoint(term.image(x, measured), measured) + 0.3 * x, b, atol=1e-5)


def test_weights_of_rates_are_those_of_a_piecewise_linear_function_of_the_logarithm():
    for k, rate in enumerate(RATES):
        expected = [0.0] * len(RATES)
        expected[k] = 1.0
        assert rate_weights(rate) == pytest.approx(expected)
    assert rate_weights((0.1 * 0.25) ** 0.5) == pytest.approx([0, 0, 0.5, 0.5, 0])
    assert rate_weights(1e-4) == rate_weights(0.01)
    assert rate_weights(1.0) == rate_weights(0.5)


def test_a_slope_at_one_rate_changes_that_rate_alone():
    net = network()
    layer = net.layers[0]
    with torch.no_grad():
        layer.prox.synthesis.copy_(0.1 * gaussian(1, 4, 3, 3, seed=1))
    low, high = (data(m=m)[0] for m in (6, 32))
    before = net(low), net(high)
    with torch.no_grad():
        layer.step_slope[4], layer.threshold_slope[:, 4], layer.gain_slope[:, 4] = 0.3, 0.5, 0.5
    assert torch.equal(net(low), before[0])
    assert not torch.allclose(net(high), before[1])


@pytest.mark.parametrize("own", [False, True])
def test_the_iteration_keeps_the_contract(own):
    step = network(1, block=4, channels=2).layers[0]
    with torch.no_grad():
        step.prox.synthesis.copy_(0.1 * gaussian(1, 2, 3, 3, seed=1))
    skipped = ("compile", "export", "objective", *(() if own else ("gradients", "second_derivative")))
    check_iteration(step, data(batch=3, m=5, block=4, own=own)[0], depth=2, skip=skipped)


def test_a_trained_network_sees_the_whole_picture():
    """Blocks know their neighbours: a pixel depends on measurements of the next block."""
    net = moved(network(), size=0.3)
    measured, _ = data()
    changed = BlockSamples(measured.samples.clone(), measured.matrix)
    changed.samples[:, 0, 1] += 0.1
    difference = (net(changed) - net(measured)).abs()[:, :8, 5:8]
    assert difference.max() > 1e-6


# Matrices whose rows are not orthonormal


def test_orthonormalised_measurements_are_those_of_an_orthonormal_matrix_with_the_same_rows():
    x = gaussian(2, 16, 24)
    raw = gaussian(1, 20, 64, seed=5)
    found = orthonormalised(BlockSamples(measure_blocks(x, raw), raw))
    assert torch.allclose(found.matrix[0] @ found.matrix[0].T, torch.eye(20).double(), atol=1e-12)
    assert torch.allclose(found.samples, measure_blocks(x, found.matrix), atol=1e-12)


def test_a_matrix_whose_rows_depend_on_each_other_is_refused():
    raw = gaussian(1, 20, 64, seed=5)
    raw[:, 3] = raw[:, 2]
    with pytest.raises(ValueError, match="depend on each other"):
        orthonormalised(BlockSamples(torch.zeros(1, 1, 1, 20).double(), raw))


@pytest.mark.parametrize(
    ("change", "error", "said"),
    [
        (lambda d: d.samples, TypeError, r"BlockSamples\(samples, matrix\)"),
        (lambda d: d._replace(samples=d.samples[..., :-1]), ValueError, "19 numbers a block, and the matrix 20 rows"),
        (lambda d: d._replace(matrix=d.matrix[..., :-1]), ValueError, "8 x 8 = 64 pixels; got rows of 63"),
        (lambda d: d._replace(matrix=d.matrix[0]), ValueError, "batch or 1, m, pixels"),
        (lambda d: d._replace(matrix=d.matrix.expand(3, -1, -1)), ValueError, "2 or 1, 1 to 64 rows, 64"),
        (lambda d: d._replace(samples=d.samples.int()), TypeError, "samples"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(change, error, said):
    measured, _ = data()
    with pytest.raises(error, match=said):
        network()(change(measured))


# The task


def test_a_batch_has_one_rate_between_the_least_and_the_most_and_orthonormal_rows(task):
    generator = torch.Generator().manual_seed(0)
    sizes = set()
    for _ in range(20):
        drawn = task.draw(2, generator)
        matrix = drawn.data.matrix
        m = matrix.shape[1]
        sizes.add(m)
        assert torch.allclose(matrix[0] @ matrix[0].T, torch.eye(m), atol=1e-5)
        assert torch.equal(drawn.data.samples, measure_blocks(drawn.target, matrix))
    assert 1 <= min(sizes) <= 6
    assert 20 <= max(sizes) <= 32


def test_scores_are_of_every_picture_at_three_rates_with_matrices_of_their_own(task):
    pictures = task.photographs["test"]
    assert [s.data.matrix.shape[1] for s in task.test] == [6, 16, 32] * len(pictures)
    again = CompressiveRates.small()
    assert torch.equal(again.test[0].data.samples, task.test[0].data.samples)


def test_the_loss_weighs_an_error_by_what_is_usual_at_the_rate(task):
    few, many = task.test[0], task.test[2]
    losses = [float(task.loss(s.target + 0.01, s.target, s.data)) for s in (few, many)]
    assert losses[1] == pytest.approx(losses[0] * 10 ** (1.7 * (0.5**0.5 - (6 / 64) ** 0.5)))


@pytest.mark.parametrize("index", [0, 1, 2])
def test_classical_methods_explain_the_data(task, index):
    method = task.baselines(1000)[index]
    sample = task.test[1]
    found = solve(method.make(0.01), sample.data, tolerance=0.0, max_iterations=20).estimate
    relative = (measure_blocks(found, sample.data.matrix) - sample.data.samples).norm() / sample.data.samples.norm()
    assert relative < 0.1


def test_the_padded_wavelet_is_an_isometry():
    transform = PaddedWavelet()
    x = gaussian(1, 33, 50)
    assert torch.allclose(transform.adjoint(transform(x)), x, atol=1e-12)
