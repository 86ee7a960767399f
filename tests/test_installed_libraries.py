"""Operators of PyLops and sigpy in both directions, where these are installed (dependency group ``peers``)."""

import numpy as np
import pytest
import torch
from iterations import gaussian

from unrolling import Matrix, solve, unroll
from unrolling.algorithms import FISTA, ISTA
from unrolling.operators import (
    STFT,
    CircularConvolution,
    MaskedFourier,
    from_pylops,
    from_sigpy,
    to_pylops,
    to_scipy,
    to_sigpy,
)
from unrolling.testing import check_operator
from unrolling.testing.operators import dense

MATRIX = gaussian(9, 6)


@pytest.fixture(scope="module")
def pylops():
    return pytest.importorskip("pylops")


@pytest.fixture(scope="module")
def sigpy():
    pytest.importorskip("sigpy.linop")
    import sigpy.app

    return sigpy


def complexes(*shape, seed=0):
    return torch.complex(gaussian(*shape, seed=seed), gaussian(*shape, seed=seed + 1))


def test_operators_of_pylops_pass_every_check(pylops):
    matrix = complexes(5, 4).numpy()
    for operator, dtype in (
        (pylops.Gradient((5, 7), dtype="float64"), torch.float64),
        (pylops.signalprocessing.Convolve2D((5, 6), h=gaussian(3, 3).numpy(), offset=(1, 1)), torch.float64),
        (pylops.MatrixMult(MATRIX.numpy()) * pylops.FirstDerivative(6), torch.float32),
        (pylops.signalprocessing.FFT2D((4, 6)), torch.complex128),
        (pylops.MatrixMult(matrix, dtype="complex128"), torch.complex128),
        (pylops.MatrixMult(matrix, dtype="complex128").H, torch.complex64),
    ):
        check_operator(from_pylops(operator), dtype=dtype)
    x = complexes(2, 4).requires_grad_()
    assert torch.autograd.gradcheck(from_pylops(pylops.MatrixMult(matrix, dtype="complex128")), x)


def test_our_operators_in_pylops(pylops):
    theirs = to_pylops(Matrix(MATRIX))
    assert pylops.utils.dottest(theirs, rtol=1e-10)
    np.testing.assert_allclose(theirs.todense(), MATRIX.numpy())
    y = gaussian(9, seed=1).numpy()
    exact = np.linalg.lstsq(MATRIX.numpy(), y, rcond=None)[0]
    np.testing.assert_allclose(theirs / y, exact, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(pylops.optimization.basic.cgls(theirs, y, niter=50)[0], exact, rtol=1e-8)
    stacked = pylops.VStack([theirs, 0.5 * pylops.Identity(6)])
    np.testing.assert_allclose(stacked.todense()[:9], MATRIX.numpy())
    image, mask = complexes(4, 6).numpy(), (gaussian(4, 6) > 0).double()
    fourier = to_pylops(MaskedFourier(mask))
    assert fourier.dims == (4, 6)
    assert fourier.dtype == np.complex128
    np.testing.assert_allclose(fourier @ image, mask.numpy() * np.fft.fft2(image, norm="ortho"), rtol=1e-10, atol=1e-12)
    assert pylops.utils.dottest(fourier, complexflag=3)
    torch.testing.assert_close(
        dense(from_pylops(fourier), torch.complex128), dense(MaskedFourier(mask), torch.complex128)
    )


def test_their_fista_on_ours_and_our_fista_on_theirs(pylops):
    y = gaussian(9, seed=2)
    ours, theirs = Matrix(MATRIX), pylops.MatrixMult(MATRIX.numpy())
    wanted = solve(FISTA(ISTA(ours, 0.1)), y[None], tolerance=1e-12, max_iterations=10_000).estimate[0]
    here = solve(FISTA(ISTA(from_pylops(theirs), 0.1)), y[None], tolerance=1e-12, max_iterations=10_000).estimate[0]
    # PyLops halves neither term: |A x - y|^2 + eps |x|_1 in its step of 1 / |A|^2 times eps / 2
    there = pylops.optimization.sparsity.fista(to_pylops(ours), y.numpy(), niter=5000, eps=0.2, tol=1e-14)[0]
    torch.testing.assert_close(here, wanted, rtol=1e-6, atol=1e-8)
    torch.testing.assert_close(torch.from_numpy(there), wanted, rtol=1e-5, atol=1e-7)


def test_operators_of_sigpy_pass_every_check(sigpy):
    linop = sigpy.linop
    for operator, dtype in (
        (linop.FFT((4, 6)), torch.complex64),
        (linop.FFT((4, 6)), torch.complex128),
        (linop.MatMul((6, 2), MATRIX.numpy()), torch.float64),
        (linop.MatMul((4, 1), complexes(5, 4).numpy()), torch.complex128),
        (linop.FiniteDifference((5, 6)), torch.float64),
        (linop.Resize((6, 5), (4, 7)) * linop.Circshift((4, 7), (1,), (0,)), torch.float32),
        (linop.NUFFT((8, 8), 3 * gaussian(20, 2).clamp(-1, 1).numpy()), torch.complex128),
    ):
        check_operator(from_sigpy(operator), dtype=dtype)
    x = complexes(2, 4, 6).requires_grad_()
    assert torch.autograd.gradcheck(from_sigpy(linop.FFT((4, 6))), x)


def test_our_operators_in_sigpy(sigpy):
    theirs = to_sigpy(Matrix(MATRIX))
    y = gaussian(9, seed=1).numpy()
    exact = np.linalg.lstsq(MATRIX.numpy(), y, rcond=None)[0]
    found = sigpy.app.LinearLeastSquares(theirs, y, max_iter=200, show_pbar=False).run()
    np.testing.assert_allclose(found, exact, rtol=1e-6)
    assert float(sigpy.app.MaxEig(theirs.N, dtype=np.float64, show_pbar=False, max_iter=500).run()) == pytest.approx(
        Matrix(MATRIX).norm() ** 2, rel=1e-4
    )
    mask, image = (gaussian(4, 6) > 0).double(), complexes(4, 6).numpy()
    fourier = to_sigpy(MaskedFourier(mask))
    wanted = mask.numpy() * np.fft.fft2(image, norm="ortho")
    np.testing.assert_allclose(fourier(image), wanted, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose((2 * fourier.H * fourier)(image), 2 * np.fft.ifft2(wanted, norm="ortho"), atol=1e-12)
    assert fourier.H.H(image).dtype == np.complex128
    with pytest.raises(RuntimeError, match="Exceptions from"):
        fourier(image[:3])


def test_their_solver_on_ours_and_our_network_on_theirs(sigpy):
    y = gaussian(9, seed=2)
    wanted = solve(FISTA(ISTA(Matrix(MATRIX), 0.1)), y[None], tolerance=1e-12, max_iterations=10_000).estimate[0]
    app = sigpy.app.LinearLeastSquares(
        to_sigpy(Matrix(MATRIX)),
        y.numpy(),
        proxg=sigpy.prox.L1Reg([6], 0.1),
        solver="GradientMethod",
        max_iter=5000,
        show_pbar=False,
    )
    np.testing.assert_allclose(app.run(), wanted.numpy(), rtol=1e-5, atol=1e-7)
    theirs = from_sigpy(sigpy.linop.Reshape((9,), (9, 1)) * sigpy.linop.MatMul((6, 1), MATRIX.numpy()))
    # its vectors are columns
    network = unroll(ISTA(theirs, 0.1), 4, untied="threshold")
    ours = unroll(ISTA(Matrix(MATRIX), 0.1), 4, untied="threshold")
    torch.testing.assert_close(network(y[None].float()).squeeze(-1), ours(y[None]).float(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["pylops", "sigpy", "scipy"])
def test_what_they_do_not_know_is_refused_alike(name):
    if name != "scipy":
        pytest.importorskip(name)
    adapter = {"pylops": to_pylops, "sigpy": to_sigpy, "scipy": to_scipy}[name]
    with pytest.raises(TypeError, match="give RealOutputs"):
        adapter(STFT(8, 2), shape=(32,))
    with pytest.raises(ValueError, match="say which, shape="):
        adapter(CircularConvolution(gaussian(3, 3)))
    with pytest.raises(TypeError, match="it is a LinearOperator"):
        adapter(torch.nn.Linear(2, 2))


def test_what_is_no_operator_of_sigpy_is_refused(sigpy):
    with pytest.raises(TypeError, match=r"ndarray is not a sigpy\.linop\.Linop"):
        from_sigpy(np.eye(3))
    with pytest.raises(ValueError, match=r"needs an input of shape \(batch, 4, 6\), and got \(4, 6\)"):
        from_sigpy(sigpy.linop.FFT((4, 6)))(complexes(4, 6))
