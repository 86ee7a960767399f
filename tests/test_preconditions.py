"""What docstrings ask of arguments is asked when something is made or called: a wrong value is refused by its name."""

import pytest
import torch
from torch import nn

import unrolling.algorithms.detection as detection
import unrolling.algorithms.images as images
import unrolling.algorithms.messages as messages
import unrolling.algorithms.sound as sound
import unrolling.algorithms.sparse as sparse
import unrolling.algorithms.splitting as splitting
from unrolling import Matrix
from unrolling.algorithms.kernels.packed_steps import run_packed_steps
from unrolling.algorithms.kernels.thin_step import run_thin_steps, thin_step
from unrolling.core.arguments import check_count
from unrolling.networks import MLP, ChannelNorm, DnCNN
from unrolling.operators import (
    DCT,
    STFT,
    BlockSensing,
    FiniteDifferences,
    Identity,
    ScrambledHadamard,
    bicubic_matrix,
    check_multiple,
    conjugate_gradients,
    dct_atoms,
    dct_matrix,
    fast_size,
    hadamard,
    normalise_maps,
    projections,
    sqrt_hann,
    with_phase,
    zero_mean_atoms,
)
from unrolling.prox import (
    BlockSoftThreshold,
    IsotropicShrink,
    SoftDenoiser,
    clamp_coefficients,
    fit_radial_basis,
    hard_threshold,
    nonnegative,
    piecewise_polynomial,
    soft_threshold,
    support_select,
    surrogate_hard_threshold,
)
from unrolling.tasks.catalogue import find_task
from unrolling.tasks.images import blurs
from unrolling.tasks.sparse import dictionaries

GENERATOR = torch.Generator().manual_seed(0)
Z, IMAGE = torch.randn(4, 6, generator=GENERATOR), torch.rand(2, 8, 8, generator=GENERATOR)
A = torch.randn(5, 8, generator=GENERATOR)
A = A / torch.linalg.vector_norm(A, dim=0)
Y, CHANNEL = torch.randn(4, 5, generator=GENERATOR), torch.randn(4, 5, 3, generator=GENERATOR)
RECEIVED = detection.Received(Y, CHANNEL, torch.full((4, 1), 0.1))
UP, ASYMMETRIC = torch.tensor([-1.0, 1.0]), torch.tensor([0.0, 2.0**0.5])
DOWN, FOUR = -UP, torch.tensor([-3.0, -1.0, 1.0, 3.0]) / 5**0.5
FRAMES, FIT = STFT(16, 4), splitting.LeastSquares(Identity())
SPECTRUM = torch.rand(2, 9, 10, generator=GENERATOR)
PRIOR = messages.SparsePrior(0.1)

REFUSED = {
    # proxes
    "soft": (lambda: soft_threshold(Z, -1.0), "threshold is -1; it must be at least 0"),
    "hard": (lambda: hard_threshold(Z, -1.0), "threshold is -1"),
    "nonnegative": (lambda: nonnegative(Z, -1.0), "threshold is -1"),
    "support": (lambda: support_select(Z, -1.0, 2), "threshold is -1"),
    "surrogate": (lambda: surrogate_hard_threshold(Z, -1.0, 1.0), "threshold is -1"),
    "groups": (lambda: BlockSoftThreshold(2)(Z, -0.1), "threshold is -0.1"),
    "isotropic": (lambda: IsotropicShrink(1)(Z, -0.1), "threshold is -0.1"),
    "box": (lambda: clamp_coefficients(Z, Z, -torch.ones(4, 6)), "half is a half quantisation step, at least 0"),
    "basis order": (lambda: fit_radial_basis(Z[0], Z[0], 4, 1.0, 0.0), "last is 0.0; it must be above 1"),
    "basis count": (lambda: fit_radial_basis(Z[0], Z[0], 1, 0.0, 1.0), "centres is 1"),
    # operators
    "phase": (lambda: with_phase(SPECTRUM, torch.complex(SPECTRUM, SPECTRUM), -1.0), "floor is -1.0"),
    "hadamard": (lambda: hadamard(Z), "power of two; the last dimension of x has 6"),
    "dct": (lambda: dct_matrix(0), "size is 0"),
    "atoms": (lambda: dct_atoms(0), "size is 0"),
    "zero-mean atoms": (lambda: zero_mean_atoms(1), "size is 1"),
    "hann": (lambda: sqrt_hann(0), "size is 0"),
    "bicubic": (lambda: bicubic_matrix(4, 0), "to is 0"),
    "multiple": (lambda: check_multiple(IMAGE, 0), "factor is 0"),
    "fast size": (lambda: fast_size(0), "size is 0"),  # once a loop without an end
    "projections": (lambda: projections(9, 4, 0), "m is 9; it must be at least 1 and at most 4"),
    "gradients": (lambda: conjugate_gradients(lambda x: x, Z, max_iterations=0), "max_iterations is 0"),
    "tolerance": (lambda: conjugate_gradients(lambda x: x, Z, tolerance=-1.0), "tolerance is -1.0"),
    "rho": (lambda: DCT().solve_normal(IMAGE, -2.0), "rho is -2.0"),
    "rho of rows": (lambda: ScrambledHadamard(8, 8, 20).solve_normal(IMAGE, 0.0), "rho is 0.0; it must be above 0"),
    "norm": (lambda: Matrix(A).norm(tolerance=-1.0), "tolerance is -1.0"),
    "maps": (lambda: normalise_maps(torch.ones(3, 8, 8, dtype=torch.complex64), -1.0), "floor is -1.0"),
    # networks
    "dncnn": (lambda: DnCNN(3, 0), "channels is 0"),
    "mlp": (lambda: MLP(3, 0, 2), "hidden is 0"),
    "mlp layers": (lambda: MLP(3, 3, 2, 0), "layers is 0"),
    "norm of channels": (lambda: ChannelNorm(0), "channels is 0"),
    # detection
    "sphere falling": (lambda: detection.sphere_decode(RECEIVED, FOUR.flip(0)), "levels must rise"),
    "sphere equal": (lambda: detection.sphere_decode(RECEIVED, torch.tensor([-1.0, 1.0, 1.0])), "levels must rise"),
    "sphere NaN": (lambda: detection.sphere_decode(RECEIVED, torch.tensor([-1.0, torch.nan])), "levels must rise"),
    "sphere empty": (lambda: detection.sphere_decode(RECEIVED, torch.tensor([])), "levels is a vector of at least one"),
    "sphere table": (lambda: detection.sphere_decode(RECEIVED, UP.unsqueeze(0)), "levels is a vector"),
    "sphere list": (lambda: detection.sphere_decode(RECEIVED, [-1.0, 1.0]), "levels is a list"),
    "sphere complex": (lambda: detection.sphere_decode(RECEIVED, 1j * UP), "levels are torch.complex64"),
    "sphere streams": (
        lambda: detection.sphere_decode(detection.Received(Y, CHANNEL[:, :, :0]), UP),
        "the channel is 5 x 0; there is at least one",
    ),
    "sphere antennas": (
        lambda: detection.sphere_decode(detection.Received(Y[:, :0], CHANNEL[:, :0]), UP),
        "the channel is 0 x 3",
    ),
    "sphere nodes": (lambda: detection.sphere_decode(RECEIVED, UP, max_nodes=10.5), "max_nodes is 10.5"),
    "decide": (lambda: detection.decide(Y, DOWN), "levels must rise"),
    "posterior": (lambda: detection.posterior(Y, torch.ones(4, 1), ASYMMETRIC), "symmetric about zero"),
    "bits": (lambda: detection.wrong_bits(3), "order is 3"),
    "lmmse": (
        lambda: detection.lmmse(RECEIVED._replace(noise_variance=-RECEIVED.noise_variance)),
        "noise_variance is at least 0",
    ),
    "likelihood": (lambda: detection.GaussianLikelihood(DOWN, 2), "levels must rise"),
    "trellis": (lambda: detection.Viterbi(nn.Identity(), 2, 0), "memory of at least 1"),
    "path": (
        lambda: detection.viterbi_path(torch.ones(2, 5, 3), detection.Trellis(2, 2)),
        r"likelihood is \(batch, T, 4\); got shape \(2, 5, 3\)",
    ),
    "free matrix": (lambda: detection.FreeMatrix(torch.ones(3, 5), complex=True), "matrix is"),
    "fixed": (lambda: detection.fixed_oamp(torch.ones(5, 3), -1.0), "noise_variance is -1.0"),
    "streams": (lambda: detection.DetNetLayer(UP, 0, hidden=8, auxiliary=2), "streams is 0"),
    "damping": (lambda: messages.ExpectationPropagation(UP, damping=1.5), "damping is 1.5"),
    "support kind": (lambda: messages.oracle_least_squares(Y, A, torch.ones(4, 8)), "support is torch.float32"),
    # sparse coding
    "weights": (lambda: sparse.GramISTA(A, torch.ones(7)), r"weight is a number or \(8,\)"),
    "weight": (lambda: sparse.ISTA(A, torch.ones(7)), r"weight broadcasts to x, \(8,\)"),
    "coordinates": (lambda: sparse.CoordinateDescent(A, torch.ones(7)), r"weight is a number or \(8,\)"),
    "sensing": (
        lambda: sparse.SynthesisISTA(BlockSensing(torch.ones(2, 4)), Matrix(A), 0.1),
        "sensing takes",
    ),
    "analytic": (lambda: sparse.projected_gradient_weights(A, step_size=-1.0), "step_size is -1.0"),
    "columns": (lambda: sparse.minimal_coherence_weights(A, [9]), r"columns names \[9\]"),
    "coherence": (lambda: sparse.mutual_coherence(A, A), "weights are"),
    # sound and images
    "beta": (lambda: sound.NMFActivations(torch.ones(5, 2), beta=float("nan")), "beta is nan"),
    "divergence": (lambda: sound.beta_divergence(-torch.ones(2, 3), torch.ones(2, 3), 1.0), "at least 0"),
    "iterations": (lambda: sound.learn_dictionary(SPECTRUM[0], 2, iterations=0), "iterations is 0"),
    "sources": (lambda: sound.EqualShares(FRAMES, 0), "sources is 0"),
    "context": (lambda: sound.stack_frames(SPECTRUM, 2), "context is 2"),
    "length": (lambda: sound.GriffinLim(FRAMES, length=-1), "length is -1"),
    "diffusion": (lambda: images.PeronaMalik(FIT, 1.0, step_size=0.5), "step_size is 0.5"),
    "kernel": (lambda: images.normalise_kernel(torch.rand(1, 3, 3), -1.0), "least is -1.0"),
    "inner": (
        lambda: splitting.ADMM(FIT, [splitting.Splitting(FiniteDifferences(), soft_threshold, 0.1)], inner=(0.1, 0)),
        "inner's iterations is 0",
    ),
    # tasks
    "condition": (lambda: dictionaries.conditioned_dictionary(5, 8, 0.5, 0), "condition is 0.5"),
    "coherent": (lambda: dictionaries.coherent_dictionary(5, 8, 2, 1.5, 0), "coherence is 1.5"),
    "block": (lambda: dictionaries.coherent_dictionary(5, 8, 3, 0.5, 0), "block is 3"),
    "motion": (lambda: blurs.linear_motion(3.0, 0.0, 4), "size is 4; the side of a kernel is odd"),
    "shake": (lambda: blurs.shake(4, GENERATOR), "size is 4"),
    "phantoms": (lambda: find_task("mri")(size=0), "size is 0"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_wrong_value_is_refused_by_its_name(name):
    make, words = REFUSED[name]
    with pytest.raises((TypeError, ValueError), match=words):
        make()


def test_levels_that_are_right_are_taken_in_any_kind_of_memory():
    whole = torch.complex(Y, Y).conj().imag  # a view that negates
    straight = detection.sphere_decode(RECEIVED._replace(y=-Y), FOUR)
    torch.testing.assert_close(detection.sphere_decode(RECEIVED._replace(y=whole), FOUR).x, straight.x)
    nearest = torch.cartesian_prod(FOUR, FOUR, FOUR)
    distance = (-Y.unsqueeze(1) - nearest @ CHANNEL.mT).square().sum(-1)
    torch.testing.assert_close(straight.x, nearest[distance.argmin(1)])
    assert detection.sphere_decode(RECEIVED, FOUR, max_nodes=2**70).exact.all()


def test_a_posterior_for_a_multiplier_of_zero_is_none():
    with pytest.raises(ValueError, match="multiplier"):
        SoftDenoiser(-1.0)


def test_kernels_are_given_nothing_that_they_would_read_beyond():
    with pytest.raises(ValueError, match="encoder is"):
        thin_step(torch.ones(8, 5), torch.ones(5, 7), torch.ones(1))
    with pytest.raises(ValueError, match="encoder is"):
        thin_step(torch.ones(0, 5), torch.ones(5, 0), torch.ones(1))
    with pytest.raises(ValueError, match="at least one cell"):
        piecewise_polynomial(torch.ones(1, 2, 3), torch.ones(2, 0, 4), 0.0, 1.0)
    steps = [thin_step(A.T.contiguous(), A, torch.tensor([0.1])), thin_step(A[:, :4].T, A[:, :4], torch.tensor([0.1]))]
    if None in steps:
        pytest.skip("there is no compiler here")
    with pytest.raises(ValueError, match="all of one size"):
        run_thin_steps(steps)
    with pytest.raises(ValueError, match="at least one"):
        run_thin_steps([])
    run = run_thin_steps(steps[:1])
    for x, y in (
        (torch.zeros(1, 8), torch.zeros(1, 4)),
        (torch.zeros(1, 7), torch.zeros(1, 5)),
        (torch.zeros(1, 8).double(), torch.zeros(1, 5)),
        (torch.zeros(2, 8)[:, ::2], torch.zeros(1, 5)),
    ):
        with pytest.raises(ValueError, match=r"x is \(1, 8\) and y \(1, 5\)"):
            run(x, y)
    packed = run_packed_steps(steps[:1])
    if packed is not None:
        for y in (torch.zeros(70, 4), torch.zeros(0, 5), torch.zeros(5), torch.zeros(70, 5).double()):
            with pytest.raises(ValueError, match=r"y is \(batch, 5\)"):
                packed(y)


def test_counts_end_where_nothing_counts_to_and_seeds_do_not():
    check_count(2**31 - 1, "iterations")
    check_count(2**40, "seed", 0, 2**63 - 1)
    with pytest.raises(ValueError, match=r"iterations is 1099511627776; it must be at most 2147483647"):
        check_count(2**40, "iterations")
