"""Operators of other libraries, with stand-ins that have the interface of the library."""

import sys
import types

import numpy as np
import pytest
import torch
from iterations import gaussian

from unrolling import Matrix, unroll
from unrolling.algorithms import ISTA
from unrolling.operators import CircularConvolution, from_deepinv, from_pylops, to_deepinv
from unrolling.testing import check_adjoint, check_operator


def random(*shape, dtype, seed=0):
    real = gaussian(*shape, seed=seed)
    return (torch.complex(real, gaussian(*shape, seed=seed + 1)) if dtype.is_complex else real).to(dtype)


def test_an_operator_of_pylops_passes_every_check(monkeypatch):
    class TheirOperator:
        def __init__(self, matrix, dims, dimsd):
            self.matrix, self.dims, self.dimsd = matrix.numpy(), dims, dimsd

        def matvec(self, x):
            return self.matrix @ x

        def rmatvec(self, y):
            return self.matrix.conj().T @ y

    monkeypatch.setitem(sys.modules, "pylops", types.SimpleNamespace(LinearOperator=TheirOperator))
    for dtype in (torch.float64, torch.complex128, torch.float32, torch.complex64):
        operator = from_pylops(TheirOperator(random(6, 12, dtype=dtype), (np.int64(3), np.int64(4)), (2, 3)))
        assert operator.input_shape == (3, 4)
        check_operator(operator, dtype=dtype)
    with pytest.raises(TypeError, match=r"Linear is not a pylops\.LinearOperator"):
        from_pylops(torch.nn.Linear(2, 2))


def test_a_physics_of_deepinv_passes_every_check(monkeypatch):
    class LinearPhysics(torch.nn.Module):
        def A(self, x):  # noqa: N802
            return x.roll(1, -1)[:, :1] * 2

        def A_adjoint(self, y):  # noqa: N802
            return torch.cat([2 * y, torch.zeros_like(y)], 1).roll(-1, -1)

    monkeypatch.setitem(
        sys.modules, "deepinv", types.SimpleNamespace(physics=types.SimpleNamespace(LinearPhysics=LinearPhysics))
    )
    operator = from_deepinv(LinearPhysics(), (2, 3, 4), dtype=torch.float64)
    assert operator.output_shape == (1, 3, 4)
    check_operator(operator, dtype=torch.float64)
    check_adjoint(operator, dtype=torch.complex128)
    with pytest.raises(TypeError, match=r"is not a deepinv\.physics\.LinearPhysics"):
        from_deepinv(torch.nn.Identity(), (1, 3, 3))


class TheirPhysics(torch.nn.Module):
    def __init__(self, A, A_adjoint, img_size):
        super().__init__()
        self.forward_map, self.adjoint_map, self.img_size = A, A_adjoint, img_size

    def A(self, x):  # noqa: N802
        return self.forward_map(x)

    def A_adjoint(self, y):  # noqa: N802
        return self.adjoint_map(y, anything=None)


def test_an_operator_goes_to_deepinv_and_back_with_its_parameters(monkeypatch):
    theirs = types.SimpleNamespace(physics=types.SimpleNamespace(LinearPhysics=TheirPhysics))
    monkeypatch.setitem(sys.modules, "deepinv", theirs)
    ours = Matrix(torch.nn.Parameter(random(6, 12, dtype=torch.float64)))
    physics = to_deepinv(ours)
    assert physics.img_size == (12,)
    assert [tuple(p.shape) for p in physics.parameters()] == [(6, 12)]
    again = from_deepinv(physics, (12,), dtype=torch.float64)
    check_operator(again, dtype=torch.float64)
    x = random(3, 12, dtype=torch.float64)
    assert torch.equal(again(x), ours(x))
    blur = CircularConvolution(random(3, 3, dtype=torch.float64))
    coloured = from_deepinv(to_deepinv(blur), (2, 5, 6), dtype=torch.float64)
    check_operator(coloured, dtype=torch.float64)
    picture = random(3, 2, 5, 6, dtype=torch.float64)
    assert torch.equal(coloured(picture)[:, 1], blur(picture[:, 1]))


def test_a_network_is_a_reconstructor_of_deepinv_that_holds_its_own_forward_model(monkeypatch):
    theirs = types.SimpleNamespace(models=types.SimpleNamespace(Reconstructor=torch.nn.Module))
    monkeypatch.setitem(sys.modules, "deepinv", theirs)
    network = unroll(ISTA(random(4, 8, dtype=torch.float32), 0.1), 3, untied="threshold")
    model = to_deepinv(network)
    y = random(5, 4, dtype=torch.float32)
    assert torch.equal(model(y, object()), network(y))
    assert sum(p.requires_grad for p in model.parameters()) == 3
    with pytest.raises(TypeError, match="neither a LinearOperator nor a network"):
        to_deepinv(lambda y: y)


@pytest.mark.parametrize(
    ("adapter", "package"),
    [(from_pylops, "pylops"), (lambda x: from_deepinv(x, (1,)), "deepinv"), (to_deepinv, "deepinv")],
)
def test_a_missing_library_is_named(monkeypatch, adapter, package):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ImportError, match=f"needs the package {package}: pip install {package}"):
        adapter(None)
