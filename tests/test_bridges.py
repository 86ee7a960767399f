"""Operators of SciPy in both directions, and operators made of two functions."""

import copy
import sys

import numpy as np
import pytest
import torch
from iterations import gaussian
from scipy import sparse
from scipy.sparse import linalg
from torch import nn

from unrolling import Matrix, solve, unroll
from unrolling.algorithms import FISTA, ISTA
from unrolling.operators import (
    STFT,
    CircularConvolution,
    FiniteDifferences,
    MaskedFourier,
    RealOutputs,
    from_functions,
    from_scipy,
    to_pylops,
    to_scipy,
    to_sigpy,
)
from unrolling.prox import soft_threshold
from unrolling.testing import check_operator
from unrolling.testing.operators import dense

DTYPES = (torch.float32, torch.float64, torch.complex64, torch.complex128)


def sparse_matrix(m=12, n=8, imaginary=False):
    found = sparse.random(m, n, 0.4, format="csr", rng=np.random.default_rng(0))
    return found + 1j * sparse.random(m, n, 0.4, format="csr", rng=np.random.default_rng(1)) if imaginary else found


def complexes(*shape, seed=0):
    return torch.complex(gaussian(*shape, seed=seed), gaussian(*shape, seed=seed + 1))


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_sparse_matrix_passes_every_check(dtype):
    matrix = sparse_matrix(imaginary=dtype.is_complex)
    operator = from_scipy(matrix, (2, 4), (3, 4))
    check_operator(operator, dtype=dtype)
    close = torch.from_numpy(matrix.toarray()).to(dtype)
    torch.testing.assert_close(dense(operator, dtype), close)


def test_what_scipy_takes_for_an_operator():
    matrix = sparse_matrix().toarray()
    x = gaussian(5, 8)
    wanted = x @ torch.from_numpy(matrix).T
    theirs = linalg.LinearOperator(
        (12, 8), matvec=lambda x: matrix @ x, rmatvec=lambda y: matrix.T @ y, dtype=np.float64
    )
    for operator in (matrix, sparse.coo_array(matrix), theirs, linalg.aslinearoperator(matrix), theirs.H.H):
        torch.testing.assert_close(from_scipy(operator)(x), wanted)
    torch.testing.assert_close(from_scipy(theirs.H).adjoint(x), wanted)


def test_the_gradient_of_scipys_operator_is_its_adjoint_as_often_as_wanted():
    operator = from_scipy(sparse_matrix(imaginary=True))
    x = complexes(2, 8).requires_grad_()
    assert torch.autograd.gradcheck(operator, x)
    assert torch.autograd.gradgradcheck(lambda x: operator(x).abs().square(), x)
    assert torch.autograd.gradcheck(lambda y: operator.adjoint(y).abs().square(), complexes(2, 12).requires_grad_())
    real = gaussian(2, 8).requires_grad_()  # a complex operator of a real vector: the gradient is real
    assert torch.autograd.gradcheck(operator, real)
    assert torch.autograd.gradcheck(operator, real, check_forward_ad=True)


def test_precision_is_that_of_the_vectors():
    operator = from_scipy(sparse_matrix())
    for dtype in (torch.float16, torch.bfloat16, torch.float32, torch.float64):
        assert operator(gaussian(3, 8).to(dtype)).dtype == dtype
    assert operator(torch.zeros(0, 8)).shape == (0, 12)


def test_a_network_on_scipys_operator_is_the_one_on_its_matrix():
    matrix = sparse_matrix(8, 12)
    tensor = torch.from_numpy(matrix.toarray()).float()
    y = gaussian(4, 8).float()
    step = 1 / Matrix(tensor).norm() ** 2
    ours = unroll(ISTA(Matrix(tensor), 0.1, step_size=step), 5, untied="threshold")
    theirs = unroll(ISTA(from_scipy(matrix), 0.1, step_size=step), 5, untied="threshold")
    torch.testing.assert_close(theirs(y), ours(y))
    for network in (ours, theirs):
        network(y).square().sum().backward()
    for mine, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(other.grad, mine.grad)


@pytest.mark.nightly
def test_our_fista_on_scipys_operator_and_scipys_lsqr_on_ours_agree():
    """With a penalty of nothing both solve least squares; FISTA with one is a fixed point of the proximal step."""
    operator = from_scipy(sparse_matrix(), (2, 4), (4, 3))
    y = gaussian(3, 4, 3)
    found = solve(FISTA(ISTA(operator, 0.0)), y, tolerance=1e-12, max_iterations=20_000).estimate
    ours = to_scipy(CountingMatrix(torch.from_numpy(sparse_matrix().toarray())))
    for k in range(3):
        theirs = linalg.lsqr(ours, y[k].numpy().ravel(), atol=1e-14, btol=1e-14)[0]
        torch.testing.assert_close(found[k].flatten(), torch.from_numpy(theirs), rtol=1e-6, atol=1e-7)
    lasso = solve(FISTA(ISTA(operator, 0.1)), y, tolerance=1e-12, max_iterations=20_000).estimate
    step = 1 / operator.norm() ** 2
    again = soft_threshold(operator.gradient_step(lasso, y, step), 0.1 * step)
    torch.testing.assert_close(again, lasso, rtol=1e-6, atol=1e-8)


class CountingMatrix(Matrix):
    """Counts its products."""

    products = 0

    def forward(self, x):
        self.products += 1
        return super().forward(x)


def test_scipys_solvers_on_our_operators():
    matrix = gaussian(9, 6)
    ours = Matrix(matrix)
    theirs = to_scipy(ours)
    assert theirs.shape == (9, 6)
    assert theirs.dtype == np.float64
    y = gaussian(9, seed=1).numpy()
    exact = np.linalg.lstsq(matrix.numpy(), y, rcond=None)[0]
    np.testing.assert_allclose(linalg.lsqr(theirs, y, atol=1e-14, btol=1e-14)[0], exact, rtol=1e-9)
    np.testing.assert_allclose(linalg.lsmr(theirs, y, atol=1e-14, btol=1e-14)[0], exact, rtol=1e-9)
    normal = theirs.H @ theirs
    found, info = linalg.cg(normal, theirs.H @ y, rtol=1e-14)
    assert info == 0
    np.testing.assert_allclose(found, exact, rtol=1e-9)
    assert linalg.svds(theirs, k=1, return_singular_vectors=False)[0] == pytest.approx(ours.norm(), rel=1e-6)


@pytest.mark.parametrize("dtype", DTYPES)
def test_products_with_blocks_of_vectors_are_one_call(dtype):
    matrix = (complexes(5, 4) if dtype.is_complex else gaussian(5, 4)).to(dtype)
    ours = CountingMatrix(matrix)
    theirs = to_scipy(ours)
    dense_matrix = matrix.numpy()
    ours.products = 0
    np.testing.assert_allclose(theirs @ np.eye(4), dense_matrix, rtol=1e-6)
    assert ours.products == 1
    np.testing.assert_allclose(theirs.H @ np.eye(5), dense_matrix.conj().T, rtol=1e-6)
    np.testing.assert_allclose(theirs.rmatmat(np.eye(5)), dense_matrix.conj().T, rtol=1e-6)
    np.testing.assert_allclose(theirs @ np.ones((4, 1)), dense_matrix.sum(1, keepdims=True), rtol=1e-5, atol=1e-6)
    assert (theirs @ np.ones(4)).dtype == dense_matrix.dtype
    assert torch.allclose(dense(from_scipy(theirs), dtype), matrix)


def test_a_real_operator_takes_complex_vectors_of_scipy():
    matrix, x = gaussian(5, 4), complexes(4).numpy()
    np.testing.assert_allclose(to_scipy(Matrix(matrix)) @ x, matrix.numpy() @ x)
    np.testing.assert_allclose(to_scipy(Matrix(matrix)).H @ (1j * np.ones(5)), 1j * matrix.numpy().sum(0))


def test_images_are_vectors_row_after_row_and_any_size_is_said():
    kernel, image = gaussian(3, 3), gaussian(5, 6)
    blur = CircularConvolution(kernel)
    with pytest.raises(ValueError, match=r"CircularConvolution takes inputs of any size; say which, shape="):
        to_scipy(blur)
    found = to_scipy(blur, shape=(5, 6)) @ image.numpy().ravel()
    np.testing.assert_allclose(found.reshape(5, 6), blur(image[None])[0].numpy())
    differences = to_scipy(FiniteDifferences(), shape=(4, 5), dtype=torch.float64)
    assert differences.shape[1] == 20
    assert differences.dtype == np.float64
    u, v = gaussian(20).numpy(), gaussian(differences.shape[0], seed=1).numpy()
    assert v @ (differences @ u) == pytest.approx(u @ (differences.H @ v))


def test_a_fourier_transform_with_a_real_mask_is_complex_in_scipy():
    mask = (gaussian(4, 6) > 0).double()
    theirs = to_scipy(MaskedFourier(mask))
    assert theirs.dtype == np.complex128
    x, y = complexes(24).numpy(), complexes(24, seed=5).numpy()
    assert np.vdot(y, theirs @ x) == pytest.approx(np.vdot(theirs.H @ y, x))


def test_what_libraries_of_arrays_do_not_know_is_refused():
    short_time = STFT(8, 2)
    with pytest.raises(
        TypeError, match=r"STFT maps torch.float32 to torch.complex64 and back .* give RealOutputs\(A\)"
    ):
        to_scipy(short_time, shape=(32,))
    theirs = to_scipy(RealOutputs(short_time), shape=(32,))
    u, v = gaussian(32).numpy(), gaussian(theirs.shape[0], seed=1).numpy()
    assert v @ (theirs @ u) == pytest.approx(u @ (theirs.H @ v), rel=1e-4)
    with pytest.raises(ValueError, match="parameters for 3 samples"):
        to_scipy(CircularConvolution(gaussian(3, 3, 3)), shape=(8, 8))
    one = to_scipy(CircularConvolution(gaussian(1, 3, 3)), shape=(4, 4))
    np.testing.assert_allclose((one @ np.eye(16))[:, 3], one @ np.eye(16)[3])
    with pytest.raises(TypeError, match="dtype is 'float64'; it is one of torch"):
        to_scipy(Matrix(gaussian(2, 2)), dtype="float64")
    with pytest.raises(TypeError, match="operator is a NumPy array of float64; it is a LinearOperator"):
        to_scipy(np.eye(3))


def test_what_is_no_operator_of_scipy_is_refused():
    with pytest.raises(TypeError, match=r"operator is a tensor; Matrix\(tensor\) is its operator"):
        from_scipy(gaussian(3, 4))
    with pytest.raises(TypeError, match="operator is a str; SciPy knows"):
        from_scipy("matrix")
    with pytest.raises(
        ValueError, match=r"input_shape is \(3, 4\), 12 numbers, and the operator \(12, 8\) has 8 there"
    ):
        from_scipy(sparse_matrix(), (3, 4))
    with pytest.raises(ValueError, match="output_shape is"):
        from_scipy(sparse_matrix(), None, (3, 5))
    lonely = linalg.LinearOperator((3, 3), matvec=lambda x: x, dtype=np.float64)
    with pytest.raises(TypeError, match=r"has no adjoint: give scipy\.sparse\.linalg\.LinearOperator an rmatvec"):
        from_scipy(lonely)
    operator = from_scipy(sparse_matrix())
    with pytest.raises(ValueError, match=r"needs an input of shape \(batch, 8\), and got \(8,\)"):
        operator(gaussian(8))
    with pytest.raises(ValueError, match=r"needs an output of shape \(batch, 12\), and got \(2, 8\)"):
        operator.adjoint(gaussian(2, 8))


def test_a_missing_scipy_is_named_with_its_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "scipy.sparse.linalg", None)
    monkeypatch.setitem(sys.modules, "scipy", None)
    for adapter in (from_scipy, to_scipy):
        with pytest.raises(ImportError, match=r"needs the package scipy: pip install 'unrolling\[data\]'"):
            adapter(Matrix(gaussian(2, 2)))


@pytest.mark.parametrize(("adapter", "package"), [(to_pylops, "pylops"), (to_sigpy, "sigpy")])
def test_a_missing_library_is_named(monkeypatch, adapter, package):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ImportError, match=f"needs the package {package}: pip install {package}"):
        adapter(Matrix(gaussian(2, 2)))


MATRIX = gaussian(6, 4)
COMPLEX = complexes(6, 4)


@pytest.mark.parametrize("on", ["batches", "samples", "arrays"])
@pytest.mark.parametrize("matrix", [MATRIX, COMPLEX], ids=["real", "complex"])
def test_two_functions_are_an_operator(on, matrix):
    array = matrix.numpy()
    forward, adjoint = {
        "batches": (lambda x: x @ matrix.T, lambda y: y @ matrix.conj()),
        "samples": (lambda x: matrix @ x, lambda y: matrix.mH @ y),
        "arrays": (lambda x: array @ x, lambda y: array.conj().T @ y),
    }[on]
    operator = from_functions(forward, adjoint, (4,), on=on, dtype=matrix.dtype)
    assert operator.output_shape == (6,)
    check_operator(operator, dtype=matrix.dtype)
    torch.testing.assert_close(dense(operator, matrix.dtype), matrix)
    x = (complexes(2, 4) if matrix.is_complex() else gaussian(2, 4)).requires_grad_()
    assert torch.autograd.gradcheck(operator, x)
    assert operator(x[:0]).shape == (0, 6)
    torch.testing.assert_close(torch.vmap(operator)(x[:, None]), operator(x)[:, None])


@pytest.mark.parametrize("matrix", [MATRIX, COMPLEX], ids=["real", "complex"])
def test_the_adjoint_is_found_by_differentiation(matrix):
    for on, forward in (("batches", lambda x: x @ matrix.T), ("samples", lambda x: matrix @ x)):
        operator = from_functions(forward, None, (4,), (6,), on=on, dtype=matrix.dtype)
        check_operator(operator, dtype=matrix.dtype)
        y = (complexes(2, 6) if matrix.is_complex() else gaussian(2, 6)).requires_grad_()
        assert torch.autograd.gradcheck(operator.adjoint, y)
        with torch.inference_mode():
            torch.testing.assert_close(operator.adjoint(y.detach()), y.detach() @ matrix.conj())


def test_a_found_adjoint_between_real_and_complex_vectors():
    operator = from_functions(torch.fft.rfft, None, (8,), dtype=torch.float64)
    check_operator(operator, dtype=torch.float64)
    assert operator.adjoint(complexes(2, 5)).dtype == torch.float64


def test_parameters_of_functions_are_trained():
    weight = nn.Linear(4, 6, bias=False).double()
    given = from_functions(weight, lambda y: y @ weight.weight, (4,), dtype=torch.float64)
    found = from_functions(weight, None, (4,), dtype=torch.float64)
    y = gaussian(3, 6, seed=4)
    for operator in (given, found):
        assert [name for name, _ in operator.named_parameters()] == ["owners.0.weight"]
        operator.adjoint(operator(operator.adjoint(y))).square().sum().backward()
    # both give the same gradient, so that the second doubled the first's
    twice = weight.weight.grad.clone()
    weight.zero_grad()
    given.adjoint(given(given.adjoint(y))).square().sum().backward()
    torch.testing.assert_close(twice, 2 * weight.weight.grad)
    other = copy.deepcopy(found)
    with torch.no_grad():
        weight.weight.zero_()
    assert other(gaussian(1, 4)).abs().max() > 0
    assert found(gaussian(1, 4)).abs().max() == 0


class Shear(nn.Module):
    """A pair of methods."""

    def __init__(self):
        super().__init__()
        self.by = nn.Parameter(torch.tensor(0.5, dtype=torch.float64))

    def there(self, x):
        return torch.stack([x[:, 0] + self.by * x[:, 1], x[:, 1]], 1)

    def back(self, y):
        return torch.stack([y[:, 0], y[:, 1] + self.by * y[:, 0]], 1)


def test_methods_of_a_module_bring_it_along():
    shear = Shear()
    operator = from_functions(shear.there, shear.back, (2,), dtype=torch.float64)
    assert len(list(operator.parameters())) == 1
    check_operator(operator, dtype=torch.float64)
    network = unroll(ISTA(operator, 0.1, step_size=0.5), 3, untied=("step_size",), tied=("dictionary",))
    network(gaussian(5, 2)).sum().backward()
    (name,) = (name for name, p in network.named_parameters() if name.endswith("by"))
    assert float(dict(network.named_parameters())[name].grad.abs()) > 0


def test_sizes_that_are_left_open():
    flip = lambda x: x.flip(-1)  # noqa: E731
    operator = from_functions(flip, flip, (None,), (None,))
    assert operator(torch.ones(2, 3)).shape == (2, 3)
    assert operator.norm(shape=(5,)) == pytest.approx(1)
    check_operator(operator, shape=(5,), dtype=torch.float64)
    with pytest.raises(ValueError, match="leaves sizes open: give output_shape too"):
        from_functions(flip, flip, (None,))
    with pytest.raises(TypeError, match="nobody knows how large"):
        from_functions(flip, None, (None,), (None,)).adjoint(torch.ones(2, 3))


WRONG = {
    "<A x, y> is .* adjoint is not the adjoint of forward, or forward is not linear": (
        (lambda x: x @ MATRIX.T.float(), lambda y: 1.01 * (y @ MATRIX.float()), (4,)),
        (lambda x: x @ MATRIX.T.float() + 1, lambda y: y @ MATRIX.float(), (4,)),
        (lambda x: x.square(), None, (4,)),
    ),
    r"forward makes \(6,\) of \(4,\)": ((lambda x: x @ MATRIX.T.float(), None, (4,), (5,)),),
    "A function on single samples is told by on='samples'": ((lambda x: x.sum(0), None, (4,)),),
    r"adjoint makes \(2, 6\) of \(2, 6\), and not \(2, 4\)": ((lambda x: x @ MATRIX.T.float(), lambda y: y, (4,)),),
}


@pytest.mark.parametrize("message", WRONG)
def test_functions_that_do_not_fit_are_refused(message):
    for arguments in WRONG[message]:
        with pytest.raises(ValueError, match=message):
            from_functions(*arguments)


def test_arguments_of_other_kinds_are_refused():
    same = lambda x: x  # noqa: E731
    with pytest.raises(TypeError, match="forward is an int; it is a function"):
        from_functions(3, same, (4,))
    with pytest.raises(TypeError, match="adjoint is a str; it is a function"):
        from_functions(same, "same", (4,))
    with pytest.raises(TypeError, match="functions on arrays are not differentiated"):
        from_functions(same, None, (4,), on="arrays")
    with pytest.raises(ValueError, match="on is 'rows'; it is one of 'batches', 'samples', 'arrays'"):
        from_functions(same, same, (4,), on="rows")
    with pytest.raises(TypeError, match="forward gives a float; it has to give an array"):
        from_functions(lambda x: 1.0, same, (4,), on="arrays")
    with pytest.raises(TypeError, match="input_shape is 4; from_functions takes Shape"):
        from_functions(same, same, 4)
    with pytest.raises(TypeError, match="to_scipy does not work with operator a CircularConvolution, shape 8"):
        to_scipy(CircularConvolution(gaussian(3, 3)), shape=8)
    with pytest.raises(ZeroDivisionError):  # the caller's own errors stay as they are
        from_functions(lambda x: 1 / 0, same, (4,))
    unchecked = from_functions(same, lambda y: 2 * y, (4,), check=False)
    assert torch.equal(unchecked.adjoint(torch.ones(1, 4)), 2 * torch.ones(1, 4))
