"""Proximal gradient descent with a combination of earlier iterates."""

import pytest
import torch
from image_problems import COMPLEX, complex_images, few_complex, kspace, mask
from iterations import gaussian

from unrolling import solve, testing, unroll
from unrolling.algorithms import FISTA
from unrolling.algorithms.splitting.data_terms import CoilSampling, SampledFourier
from unrolling.algorithms.splitting.dense_gradient import DenseProximalGradient
from unrolling.algorithms.splitting.proximal_gradient import ProximalGradient
from unrolling.networks.residual_cnn import ResidualCNN
from unrolling.operators import CoilData, KSpace
from unrolling.operators.fourier import fft, ifft, normalise_maps
from unrolling.prox import soft_threshold

ROWS, WEIGHT = 6, 0.0625


def haar(size):
    """An orthonormal Haar basis, (size, size)."""
    if size == 1:
        return torch.ones(1, 1, dtype=torch.float64)
    half = haar(size // 2)
    low = torch.kron(half, torch.tensor([[1.0, 1.0]], dtype=torch.float64))
    high = torch.kron(torch.eye(size // 2, dtype=torch.float64), torch.tensor([[1.0, -1.0]], dtype=torch.float64))
    return torch.cat([low, high]) / 2**0.5


BASIS = haar(8).to(COMPLEX)


def wavelet_shrinkage(z, threshold):
    """The prox of threshold |W z|_1, W the Haar transform of both dimensions."""
    return BASIS.mH @ soft_threshold(BASIS @ z @ BASIS.mH, threshold) @ BASIS


def measured(count=3):
    return kspace(complex_images(count, shape=(8, 8)))


def coils(count=2, seed=0):
    x = complex_images(count, seed, (8, 8))
    maps = normalise_maps(torch.complex(gaussian(count, 3, 8, 8, seed=5), gaussian(count, 3, 8, 8, seed=6)))
    m = mask(8, 8)
    return CoilData(m.unsqueeze(1) * fft(maps * x.unsqueeze(1)), m, maps)


def dense(**changes):
    given = {"prox": wavelet_shrinkage, "weight": WEIGHT} | changes
    return DenseProximalGradient(SampledFourier(), given.pop("prox"), given.pop("rows", ROWS), **given).double()


def network(images=1, seed=0):
    torch.manual_seed(seed)
    made = ResidualCNN(3, 4, images).double()
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return made


def moved(iteration, seed=1):
    """With other combinations than the identity."""
    with torch.no_grad():
        iteration.combination.copy_(0.3 * gaussian(*iteration.combination.shape, seed=seed))
    return iteration


@torch.no_grad()
def iterates(iteration, data, count):
    problem = iteration.prepare(data)
    state, found = iteration.start(problem), []
    for _ in range(count):
        state = iteration(state, problem)
        found.append(iteration.estimate(state, problem))
    return found


@pytest.mark.parametrize("history", ["none", "momentum", "dense"])
@pytest.mark.parametrize("data", [measured, coils])
def test_a_combination_that_is_the_identity_is_proximal_gradient_descent(history, data):
    term = SampledFourier() if data is measured else CoilSampling()
    new = DenseProximalGradient(term, wavelet_shrinkage, ROWS, history=history, weight=WEIGHT, step_size=0.875)
    old = ProximalGradient(term, wavelet_shrinkage, WEIGHT, step_size=0.875)
    pairs = zip(iterates(new.double(), data(), 9), iterates(old.double(), data(), 9), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)


@pytest.mark.parametrize("history", ["momentum", "dense"])
def test_rows_of_one_plus_beta_and_minus_beta_are_fista(history):
    new, data, t = dense(history=history), measured(), 1.0
    with torch.no_grad():
        for k in range(1, ROWS):
            following = (1 + (1 + 4 * t * t) ** 0.5) / 2
            beta, t = (t - 1) / following, following
            first = new._row(k)[0]
            new.combination[first : first + 2] = torch.tensor([1 + beta, -beta], dtype=torch.float64)
    old = FISTA(ProximalGradient(SampledFourier(), wavelet_shrinkage, WEIGHT)).double()
    found, wanted = iterates(new, data, ROWS), iterates(old, data, ROWS)
    assert all(float((a - b).abs().max()) < 1e-10 for a, b in zip(found, wanted, strict=True))
    plain = iterates(dense(history="none"), data, ROWS)
    assert float((plain[-1] - wanted[-1]).abs().max()) > 1e-4


@pytest.mark.parametrize("order", ["grad_prox", "prox_grad"])
def test_momentum_is_a_dense_history_with_two_diagonals(order):
    short, long, data = moved(dense(history="momentum", order=order)), dense(order=order), measured()
    with torch.no_grad():
        for k in range(ROWS):
            (a, count), (b, _) = short._row(k), long._row(k)
            long.combination[b : b + count] = short.combination[a : a + count]
            long.combination[b + count : b + k + 1] = 0
    pairs = zip(iterates(short, data, ROWS), iterates(long, data, ROWS), strict=True)
    assert all(torch.allclose(a, b, rtol=0, atol=1e-12) for a, b in pairs)


@pytest.mark.parametrize(("order", "combine"), [("grad_prox", "sum"), ("prox_grad", "sum"), ("grad_prox", "concat")])
def test_it_is_the_loop_written_by_hand(order, combine):
    data, net = coils(), network(ROWS if combine == "concat" else 1)
    new = DenseProximalGradient(CoilSampling(), net, ROWS, order=order, combine=combine, step_size=0.75).double()
    matrix = torch.eye(ROWS, dtype=torch.float64)
    if combine == "sum":
        matrix = torch.tril(gaussian(ROWS, ROWS, seed=2))
        with torch.no_grad():
            new.combination.copy_(torch.cat([matrix[k, : k + 1].flip(0) for k in range(ROWS)]))

    def descended(x):
        error = data.mask.unsqueeze(1) * fft(data.maps * x.unsqueeze(1)) - data.samples
        return x - 0.75 * (data.maps.conj() * ifft(data.mask.unsqueeze(1) * error)).sum(1)

    xs = [(data.maps.conj() * ifft(data.samples)).sum(1)]
    for k in range(ROWS):
        u = sum(matrix[k, j] * xs[j] for j in range(k + 1))
        if combine == "concat":
            others = [*reversed(xs[:-1]), *[torch.zeros_like(u)] * (ROWS - 1 - k)]
            xs.append(net(torch.stack([descended(u), *others], 1)))
        else:
            xs.append(net(descended(u)) if order == "grad_prox" else descended(net(u)))
    found = iterates(new, data, ROWS)
    assert all(torch.allclose(a, b, rtol=1e-10, atol=1e-10) for a, b in zip(found, xs[1:], strict=True))


@pytest.mark.parametrize("history", ["none", "momentum", "dense"])
def test_with_every_frequency_one_step_gives_the_image(history):
    x = complex_images(2, shape=(8, 8))
    data = KSpace(fft(x), torch.ones(1, 8, 8, dtype=torch.float64))
    iteration = dense(prox=ResidualCNN(3, 4).double(), weight=None, history=history)
    problem = iteration.prepare(data)
    begin = iteration.start(problem)._replace(x=complex_images(2, 9, (8, 8)))
    assert torch.allclose(iteration(begin, problem).x, ifft(data.samples), rtol=0, atol=1e-14)
    assert torch.allclose(iteration(begin, problem).x, x, rtol=0, atol=1e-14)


@pytest.mark.parametrize(
    ("history", "count"), [("none", 0), ("momentum", 2 * ROWS - 1), ("dense", ROWS * (ROWS + 1) // 2)]
)
def test_the_numbers_of_a_network_are_those_of_its_parts(history, count):
    body = ResidualCNN(5, 24)
    inner = 18 * 24 + 24 + 3 * (9 * 24 * 24 + 24) + 18 * 24 + 2
    iteration = DenseProximalGradient(SampledFourier(), body, ROWS, history=history)
    tied = ("prox", "combination") if count else ("prox",)
    net = unroll(iteration, ROWS, tied=tied, untied="step_size")
    assert sum(p.numel() for p in net.parameters() if p.requires_grad) == inner + count + ROWS


def test_run_to_convergence_it_is_where_proximal_gradient_descent_ends():
    data = measured(2)
    long = solve(moved(dense()), data, tolerance=1e-10)
    plain = solve(ProximalGradient(SampledFourier(), wavelet_shrinkage, WEIGHT).double(), data, tolerance=1e-10)
    assert torch.allclose(long.estimate, plain.estimate, rtol=0, atol=1e-6)
    assert long.iterations.min() > ROWS


@pytest.mark.parametrize("check", ["deployed", "empty_batch", "stream", "batch_independence", "saving"])
def test_it_is_a_sound_iteration(check):
    iteration = moved(DenseProximalGradient(SampledFourier(), network(), 3).double())
    getattr(testing, f"check_{check}")(iteration, kspace(few_complex()), depth=2)


def test_its_gradient_is_that_of_finite_differences():
    net = unroll(moved(DenseProximalGradient(SampledFourier(), network(), 3).double()), 3, tied=("prox", "combination"))
    data = kspace(few_complex()[:1])
    samples = data.samples.clone().requires_grad_()
    b = net.layers[0].combination
    assert torch.autograd.gradcheck(lambda k, _: net(KSpace(k, data.mask)), (samples, b), fast_mode=True)


def test_real_images_stay_real_and_the_network_sees_an_imaginary_part_of_zero():
    net, x = network(), gaussian(2, 5, 7)
    assert torch.equal(net(x), net(x.to(COMPLEX)).real)
    assert torch.equal(ResidualCNN(3, 4).double()(x), x)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"history": "all"}, "history is 'all'; it is one of none, momentum, dense"),
        ({"order": "prox"}, "order is 'prox'"),
        ({"combine": "product"}, "combine is 'product'"),
        ({"combine": "concat"}, "several"),
        ({"step_size": 0.0}, "step_size is 0.0"),
        ({"rows": 10**6}, "rows is 1000000; it must be at most 1000"),
        ({"weight": -1.0}, "weight"),
    ],
)
def test_what_makes_no_sense_is_refused(changes, words):
    with pytest.raises(ValueError, match=words):
        dense(**changes)


def test_data_of_another_kind_are_refused():
    with pytest.raises(TypeError, match="CoilData"):
        unroll(DenseProximalGradient(CoilSampling(), network(), 3).double(), 3)(measured())
