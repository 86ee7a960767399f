"""What has no scale in mathematics has none here: inputs 10^-20 to 10^19 times as large give answers as many times as
large, in single precision.
"""

import pytest
import torch
from iterations import gaussian, unit_dictionary
from torch.func import vmap

from unrolling import algorithms as alg
from unrolling import pretrained, solve, unroll
from unrolling.core import anderson, gmres, scale
from unrolling.operators import (
    STFT,
    CircularConvolution,
    FiniteDifferences,
    Matrix,
    conjugate_gradients,
    solve_regularised,
)
from unrolling.prox import (
    AnalysisProx,
    BlockSoftThreshold,
    ExponentialDenoiser,
    IsotropicShrink,
    PiecewiseLinear,
    SoftDenoiser,
    Spline,
    TunedBernoulliGaussian,
    hard_threshold,
    k_sparse,
    nonnegative,
    soft_threshold,
    support_select,
)
from unrolling.tasks.metrics import NMSE, Samples
from unrolling.tasks.speech.speech_metrics import sdr, si_sdr
from unrolling.training.losses import LogNMSE, NegativeSISDR, RelativeMSE

SCALES = (1e-20, 1e-10, 1e10, 1e19)
M, N = 20, 40


def dictionary():
    return unit_dictionary(M, N, dtype=torch.float32)


def measured():
    x = gaussian(3, N, seed=1, dtype=torch.float32) * (gaussian(3, N, seed=2, dtype=torch.float32) > 1)
    return x @ dictionary().T


def pictures():
    return gaussian(2, 8, 8, seed=3, dtype=torch.float32)


def close(found, wanted, tolerance=1e-3):
    """In double precision, sample by sample, relative to the sample."""
    error = (found.double() - wanted.double()).flatten(1).norm(dim=1)
    size = wanted.double().flatten(1).norm(dim=1)
    assert bool((error <= tolerance * size).all()), f"off by {(error / size).tolist()}"


DENOISERS = {
    "soft": lambda: SoftDenoiser(1.3),
    "piecewise": PiecewiseLinear,
    "exponential": ExponentialDenoiser,
    "spline": Spline,
    "fitted": TunedBernoulliGaussian,
}
blur = torch.ones(1, 3, 3) / 9

# c -> the algorithm whose answer to c y is c times that of c = 1 to y: what it is told in units of x is c times as
# large.
VECTORS = {
    "ISTA": lambda c: alg.ISTA(dictionary(), 0.1 * c),
    "ISTA with a block prox": lambda c: alg.ISTA(dictionary(), 0.1 * c, prox=BlockSoftThreshold(2)),
    "GramISTA": lambda c: alg.GramISTA(dictionary(), 0.1 * c),
    "ThinISTA": lambda c: alg.ThinISTA(dictionary(), 0.1 * c),
    "FISTA": lambda c: alg.FISTA(alg.ISTA(dictionary(), 0.1 * c)),
    "CoupledISTA": lambda c: alg.CoupledISTA(dictionary(), 0.1 * c, selection=(1.2, 13)),
    "SelectiveGramISTA": lambda c: alg.SelectiveGramISTA(dictionary(), 0.1 * c, selection=(1.2, 13)),
    "CoordinateDescent": lambda c: alg.CoordinateDescent(dictionary(), 0.1 * c),
    "AugmentedISTA": lambda c: alg.AugmentedISTA(dictionary(), units=4),
    "HyperLISTA": lambda c: alg.HyperLISTA(dictionary(), 0.05),
    "IHT": lambda c: alg.IHT(dictionary(), 4),
    "GramIHT": lambda c: alg.GramIHT(dictionary(), 4),
    "GramHardISTA": lambda c: alg.GramHardISTA(dictionary(), 0.2 * c),
    **{
        f"AMP, {name}": lambda c, make=make: alg.AMP(dictionary(), make(), damping=0.3)
        for name, make in DENOISERS.items()
    },
    **{f"VAMP, {name}": lambda c, make=make: alg.VAMP(dictionary(), make()) for name, make in DENOISERS.items()},
}
IMAGES = {
    "ADMM": lambda c: alg.ADMM(
        alg.LeastSquares(CircularConvolution(blur[0])),
        [alg.Splitting(FiniteDifferences("circular"), IsotropicShrink(), 0.02 * c)],
    ),
    "ChambollePock": lambda c: alg.ChambollePock(
        alg.LeastSquares(CircularConvolution(blur[0])),
        FiniteDifferences("circular"),
        IsotropicShrink(),
        0.02 * c,
        primal_step=0.3,
    ),
    "PDHG": lambda c: alg.PDHG(
        CircularConvolution(blur[0]),
        FiniteDifferences("circular"),
        IsotropicShrink(),
        0.02 * c,
        primal_step=0.3,
        dual_step=1.0,
        transform_step=0.2,
    ),
    "HalfQuadraticSplitting": lambda c: alg.HalfQuadraticSplitting(
        alg.LeastSquares(CircularConvolution(blur[0])), FiniteDifferences("circular"), IsotropicShrink(), 0.02 * c
    ),
    "ProximalGradient": lambda c: alg.ProximalGradient(
        alg.LeastSquares(CircularConvolution(blur[0])), AnalysisProx(FiniteDifferences(), 8.0), 0.02 * c
    ),
    "PeronaMalik": lambda c: alg.PeronaMalik(alg.LeastSquares(CircularConvolution(blur[0])), 0.5 * c),
}


@pytest.mark.parametrize("c", SCALES)
@pytest.mark.parametrize("name", VECTORS)
def test_algorithms_on_vectors(name, c):
    make, y = VECTORS[name], measured()
    with torch.no_grad():
        close(unroll(make(c), 8)(c * y) / c, unroll(make(1.0), 8)(y))


@pytest.mark.parametrize("c", SCALES)
def test_movies_taken_apart(c):
    movies = gaussian(2, 3, 4, 5, dtype=torch.complex64)
    with torch.no_grad():
        found, wanted = (
            unroll(alg.RobustPCA(0.3 * c, 0.2 * c), 8)(c * movies),
            unroll(alg.RobustPCA(0.3, 0.2), 8)(movies),
        )
        close(torch.view_as_real(found) / c, torch.view_as_real(wanted))


@pytest.mark.parametrize("c", SCALES)
@pytest.mark.parametrize("name", IMAGES)
def test_algorithms_on_images(name, c):
    make, y = IMAGES[name], pictures()
    with torch.no_grad():
        close(unroll(make(c), 8)(c * y) / c, unroll(make(1.0), 8)(y))


@pytest.mark.parametrize("c", [1e-30, 1e-25, *SCALES])
def test_solve_converges_to_the_scaled_answer(c):
    y = measured()
    found, wanted = (solve(alg.ISTA(dictionary(), 0.1 * s), s * y, tolerance=1e-6) for s in (c, 1.0))
    assert bool(found.converged.all())
    close(found.estimate.double() / c, wanted.estimate)


@pytest.mark.parametrize("c", SCALES)
@pytest.mark.parametrize("beta", [0.0, 0.5, 1.0, 1.5, 2.0, 3.0])
def test_factorisations(beta, c):
    magnitudes = gaussian(2, 9, 6, dtype=torch.float32).abs()
    for parent in (alg.NMFActivations(gaussian(9, 4, dtype=torch.float32).abs(), beta=beta), alg.NMF(9, 4, beta=beta)):
        with torch.no_grad():
            close(unroll(parent, 8)(c * magnitudes) / c, unroll(parent, 8)(magnitudes))


@pytest.mark.parametrize("c", SCALES)
def test_sounds(c):
    stft, signal = STFT(16, 4), gaussian(2, 200, dtype=torch.float32)
    dictionaries = [gaussian(9, 3, seed=seed, dtype=torch.float32).abs() for seed in (1, 2)]
    for parent in (
        alg.MISI(stft, magnitudes=alg.EqualShares(stft, 2)),
        alg.RelaxedMISI(stft, magnitudes=alg.EqualShares(stft, 2)),
        alg.NMFSeparation(stft, dictionaries, beta=1.0),
    ):
        with torch.no_grad():
            close((unroll(parent, 4)(c * signal) / c).flatten(1), unroll(parent, 4)(signal).flatten(1))
    network = unroll(alg.GriffinLim(stft, length=200), 4)
    with torch.no_grad():
        close(network(c * stft(signal).abs()) / c, network(stft(signal).abs()))


def received(c=1.0, streams=4, seed=0):
    symbols = torch.randint(2, (50, streams), generator=torch.Generator().manual_seed(seed)) * 2.0 - 1
    channel = gaussian(50, 8, streams, seed=seed + 1, dtype=torch.float32) / 8**0.5
    noise = 0.1 * gaussian(50, 8, seed=seed + 2, dtype=torch.float32)
    y = (channel @ symbols.unsqueeze(-1)).squeeze(-1) + noise
    return alg.Received(c * y, c * channel, torch.full((1, 1), 0.01 * c * c)), symbols


BPSK = torch.tensor([-1.0, 1.0])
DETECTORS = {
    "OAMP": lambda: alg.OAMP(BPSK),
    "LAMA": lambda: alg.LAMA(BPSK),
    "EP": lambda: alg.ExpectationPropagation(BPSK),
    "projected gradient": lambda: alg.ProjectedGradient(BPSK),
    "DetNet": lambda: alg.DetNetLayer(BPSK, hidden=8, auxiliary=2),
}
DIRECT = {
    "LMMSE": alg.lmmse,
    "zero forcing": alg.zero_forcing,
    "matched filter": alg.matched_filter,
    "sphere": lambda data: alg.sphere_decode(data, BPSK).x,
    "semidefinite": lambda data: alg.semidefinite_relaxation(data).x,
}
GAINS = (1e-15, 1e-10, 2.0**-40, 2.0**40, 1e15)


@pytest.mark.parametrize("c", GAINS)
@pytest.mark.parametrize("name", DETECTORS)
def test_a_gain_before_the_receiver_changes_no_symbol(name, c):
    """Of y and H, sigma^2 going with its square; a power of two changes not a bit."""
    network = unroll(DETECTORS[name](), 8)
    with torch.no_grad():
        found, wanted = network(received(c)[0]), network(received()[0])
    torch.testing.assert_close(found, wanted, rtol=1e-3, atol=1e-3)
    if c in (2.0**-40, 2.0**40) and name != "OAMP":  # a decomposition into eigenvectors may round otherwise
        assert torch.equal(found, wanted)


@pytest.mark.parametrize("c", GAINS)
@pytest.mark.parametrize("name", DIRECT)
def test_a_gain_changes_no_decision_of_direct_methods(name, c):
    found, wanted = DIRECT[name](received(c)[0]), DIRECT[name](received()[0])
    torch.testing.assert_close(found, wanted, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("c", GAINS)
def test_mmnet_with_a_matrix_of_the_channel(c):
    def network(gain):
        channel = received(gain)[0].channel[0]
        return unroll(alg.MMNetLayer(BPSK, alg.FreeMatrix(alg.fixed_oamp(channel, 0.01 * gain**2)), 4), 4)

    with torch.no_grad():
        data, scaled = received()[0], received(c)[0]
        torch.testing.assert_close(
            network(c)(scaled._replace(channel=scaled.channel[:1])),
            network(1.0)(data._replace(channel=data.channel[:1])),
            rtol=1e-3,
            atol=1e-3,
        )


PROXES = {
    "soft": soft_threshold,
    "hard": hard_threshold,
    "nonnegative": nonnegative,
    "k-sparse": lambda z, t: k_sparse(z, 3),
    "support": lambda z, t: support_select(z, t, 2),
    "groups": BlockSoftThreshold(2),
    "isotropic": IsotropicShrink(),
    "isotropic, first dimension": IsotropicShrink(0),
    "total variation": AnalysisProx(FiniteDifferences(), 8.0),
}


@pytest.mark.parametrize("c", [1e-30, *SCALES, 1e30])
@pytest.mark.parametrize("name", PROXES)
def test_proxes(name, c):
    z = gaussian(4, 6, 8, dtype=torch.float32)
    close(PROXES[name](c * z, 0.5 * c) / c, PROXES[name](z, 0.5), 1e-5)


@pytest.mark.parametrize("c", [1e-30, *SCALES, 1e30])
def test_linear_solvers(c):
    A = gaussian(6, 6, dtype=torch.float32)
    spd, b = A.T @ A + torch.eye(6), gaussian(3, 6, seed=1, dtype=torch.float32)
    close(conjugate_gradients(lambda x: x @ spd, c * b) / c, conjugate_gradients(lambda x: x @ spd, b))
    close(solve_regularised(Matrix(A), c * b, 0.5) / c, solve_regularised(Matrix(A), b, 0.5))
    contraction = A / (2 * torch.linalg.matrix_norm(A, 2))
    for solver in (gmres, anderson):
        found, wanted = (solver(lambda x: x @ contraction, s * b, 1e-5, 100) for s in (c, 1.0))
        assert found.converged
        close(found.solution / c, wanted.solution)


@pytest.mark.parametrize("c", SCALES)
def test_the_gradient_through_a_solution(c):
    A, b = gaussian(6, 6, dtype=torch.float32), gaussian(3, 6, seed=1, dtype=torch.float32)
    for s in (c, 1.0):
        given = b.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(solve_regularised(Matrix(A), s * given, 0.5), given, s * torch.ones_like(b))
        if s == c:
            found = gradient.double() / c / c
    close(found, gradient)


@pytest.mark.parametrize("c", SCALES)
def test_metrics_and_losses(c):
    target = gaussian(3, 50, dtype=torch.float32)
    estimate = target + 0.1 * gaussian(3, 50, seed=1, dtype=torch.float32)
    for metric in (si_sdr, sdr):
        torch.testing.assert_close(metric(c * estimate, c * target), metric(estimate, target), rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(
            metric((c * estimate).double(), (c * target).double()).float(),
            metric(estimate, target),
            rtol=1e-4,
            atol=1e-4,
        )
    torch.testing.assert_close(si_sdr(c * estimate, target), si_sdr(estimate, target), rtol=1e-4, atol=1e-4)
    for loss in (RelativeMSE(), LogNMSE(), NegativeSISDR()):
        torch.testing.assert_close(loss(c * estimate, c * target), loss(estimate, target), rtol=1e-4, atol=1e-5)
    pieces = [NMSE.pieces(s * estimate, Samples(s * target, s * target)) for s in (c, 1.0)]
    assert float(NMSE.values(pieces[0])) == pytest.approx(float(NMSE.values(pieces[1])), abs=1e-4)


def test_silence_has_the_worst_ratio_and_a_perfect_estimate_the_best():
    target, silence = gaussian(1, 50, dtype=torch.float32), torch.zeros(1, 50)
    assert float(si_sdr(silence, target)) == pytest.approx(-120)
    assert float(si_sdr(target, silence)) == pytest.approx(-120)
    assert float(si_sdr(1e-15 * target, target)) > 100
    for metric in (si_sdr, sdr):
        given = silence.clone().requires_grad_()
        metric(given, target).sum().backward()
        assert bool(given.grad.isfinite().all())
    assert float(sdr(target, target)) == pytest.approx(120)


def test_the_unit_is_the_power_of_two_below_the_largest_entry_and_says_nothing_of_nan():
    power = torch.randint(-120, 120, (500, 1), generator=torch.Generator().manual_seed(0))
    x = gaussian(500, 5, dtype=torch.float32) * torch.exp2(power.float())
    quotient = x.abs().amax(1, keepdim=True) / scale.unit(x)
    assert bool(((quotient >= 1) & (quotient < 2)).all())
    assert torch.equal(scale.unit(x) * x.sign(), x.sign() * vmap(scale.unit)(x))  # another path, the same numbers
    assert bool((scale.unit(torch.tensor([[torch.nan, 1], [torch.inf, 1], [0, 0]])) == 1).all())


@pytest.mark.parametrize("c", [1e-30, 1.0, 1e30])
def test_norms_quotients_and_their_gradients(c):
    x = torch.tensor([3.0, 4.0]) * c
    assert float(scale.norm(x)) == pytest.approx(5 * c)
    assert float(scale.energy_ratio(x, 2 * x)) == pytest.approx(0.25)
    (gradient,) = torch.autograd.grad(scale.norm(x.requires_grad_()), x)
    assert gradient.tolist() == pytest.approx([0.6, 0.8])
    zero = torch.zeros(2, requires_grad=True)
    for value in (scale.norm(zero), scale.lengths(zero, 0).sum(), scale.divide(zero, zero).sum()):
        assert torch.autograd.grad(value, zero)[0].tolist() == [0, 0]


@pytest.mark.parametrize("system", ["oamp_net", "ep_net", "detnet"])
def test_shipped_detectors_decide_alike_at_every_gain(system):
    """The file's task has BPSK; real channels of 20 streams at 30 antennas, as many errors at each gain."""
    network = pretrained(f"communications/{system}").eval()
    symbols = torch.randint(2, (200, 20), generator=torch.Generator().manual_seed(0)) * 2.0 - 1
    channel = gaussian(200, 30, 20, seed=1, dtype=torch.float32)
    y = (channel @ symbols.unsqueeze(-1)).squeeze(-1) + gaussian(200, 30, seed=2, dtype=torch.float32)
    with torch.no_grad():
        wanted = network(alg.Received(y, channel, torch.ones(1, 1)))
        assert float((wanted.sign() != symbols).float().mean()) < 0.03
        for c in GAINS:
            found = network(alg.Received(c * y, c * channel, torch.full((1, 1), c * c)))
            torch.testing.assert_close(found, wanted, rtol=0, atol=1e-2)
            assert float((found.sign() != wanted.sign()).float().mean()) < 1e-3


@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128, torch.complex64])
def test_a_relative_change_below_the_least_normal_number(dtype):
    small = torch.finfo(dtype).tiny / 8
    new, old = torch.full((1, 3), 2 * small, dtype=dtype), torch.full((1, 3), small, dtype=dtype)
    assert float(scale.relative_change(new, old)) == pytest.approx(0.5)
