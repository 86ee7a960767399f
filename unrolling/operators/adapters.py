"""Operators of SciPy, PyLops and sigpy as operators of this library, and the other way round; each library is imported
when its adapter is called.

These libraries work on NumPy's arrays: products go through the processor, sample by sample where the library knows one
vector at a time. Differentiable in x, since the gradient of A x is A^H; not in the operator's own numbers.
"""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np
import torch
from torch import Tensor

from unrolling._extras import extra, peer
from unrolling.core.refusals import explained, kind_of
from unrolling.operators._arrays import ArrayOperator, OnArrays, Products, row_by_row
from unrolling.operators.linear import LinearOperator


@explained
def from_scipy(
    operator: Any, input_shape: tuple[int, ...] | None = None, output_shape: tuple[int, ...] | None = None
) -> LinearOperator:
    """A ``LinearOperator`` of ``scipy.sparse.linalg``, a sparse matrix or an array (m, n), on all samples at a time.

    Args:
        operator: what ``scipy.sparse.linalg.aslinearoperator`` takes.
        input_shape: of one x, of n numbers, taken row after row; by default (n,).
        output_shape: of one y, of m numbers; by default (m,).

    Raises:
        ImportError: SciPy is missing.
        TypeError: something else, or an operator without ``rmatvec``.
        ValueError: shapes of another number of entries.
    """
    with extra("an operator of SciPy"):
        from scipy.sparse.linalg import aslinearoperator
    if isinstance(operator, Tensor):
        raise TypeError("operator is a tensor; Matrix(tensor) is its operator, without SciPy")
    try:
        theirs = aslinearoperator(operator)
    except TypeError as error:
        raise TypeError(
            f"operator is {kind_of(operator)}; SciPy knows its LinearOperator, sparse matrices and arrays (m, n)"
        ) from error
    m, n = map(int, theirs.shape)
    inputs = (n,) if input_shape is None else tuple(input_shape)
    outputs = (m,) if output_shape is None else tuple(output_shape)
    for name, shape, count in (("input_shape", inputs, n), ("output_shape", outputs, m)):
        if prod(shape) != count:
            raise ValueError(f"{name} is {shape}, {prod(shape)} numbers, and the operator ({m}, {n}) has {count} there")
    try:
        theirs.rmatvec(np.zeros(m, dtype=theirs.dtype))
    except (NotImplementedError, AttributeError) as error:
        raise TypeError(
            f"this {type(operator).__name__} has no adjoint: give scipy.sparse.linalg.LinearOperator an rmatvec"
        ) from error
    products = Products(
        lambda rows: theirs.matmat(rows.reshape(len(rows), n).T).T,
        lambda rows: theirs.rmatmat(rows.reshape(len(rows), m).T).T,
    )
    return ArrayOperator(products, inputs, outputs)


@explained
def to_scipy(
    operator: LinearOperator, *, shape: tuple[int, ...] | None = None, dtype: torch.dtype | None = None
) -> Any:
    """One of our operators as a ``scipy.sparse.linalg.LinearOperator`` (m, n), for ``lsqr``, ``cg``, ``svds`` and the
    like: an x is a vector, row after row; several are one product.

    Args:
        operator: A, with the same numbers for all samples.
        shape: of one x, where the operator takes any size.
        dtype: in which products are taken; by default that of the operator's tensors. SciPy's solvers iterate in double
            precision: ``operator.double()``, or torch.float64 here where it has no tensors, lets them converge as far.

    Raises:
        ImportError: SciPy is missing.
        TypeError: no operator; one between real and complex vectors.
        ValueError: parameters for several samples; no shape where one is needed.
    """
    with extra("an operator of SciPy"):
        from scipy.sparse.linalg import LinearOperator as Theirs
    arrays = OnArrays(operator, shape, dtype)
    make: Any = Theirs  # a class of two signatures
    return make(
        arrays.shape,
        matvec=lambda x: arrays.forward(x.reshape(1, -1))[0],
        rmatvec=lambda y: arrays.adjoint(y.reshape(1, -1))[0],
        matmat=lambda x: arrays.forward(x.T).T,
        rmatmat=lambda y: arrays.adjoint(y.T).T,
        dtype=arrays.kind,
    )


def from_pylops(operator: Any) -> LinearOperator:
    """A linear operator of PyLops: (batch, *dims) -> (batch, *dimsd).

    Args:
        operator: a ``pylops.LinearOperator``.

    Raises:
        ImportError: PyLops is missing.
        TypeError: something else.
    """
    pylops = peer("pylops")
    if not isinstance(operator, pylops.LinearOperator):
        raise TypeError(f"{type(operator).__name__} is not a pylops.LinearOperator")
    products = Products(
        row_by_row(lambda row: operator.matvec(row.ravel())), row_by_row(lambda row: operator.rmatvec(row.ravel()))
    )
    return ArrayOperator(products, operator.dims, operator.dimsd)


@explained
def to_pylops(
    operator: LinearOperator, *, shape: tuple[int, ...] | None = None, dtype: torch.dtype | None = None
) -> Any:
    """One of our operators as a ``pylops.LinearOperator`` with ``dims`` and ``dimsd``, for its solvers and its algebra.

    Args:
        operator, shape, dtype: as for ``to_scipy``.

    Raises:
        ImportError: PyLops is missing.
        TypeError, ValueError: as for ``to_scipy``.
    """
    pylops = peer("pylops")
    arrays = OnArrays(operator, shape, dtype)

    class Operator(pylops.LinearOperator):
        def __init__(self) -> None:
            super().__init__(dtype=arrays.kind, dims=arrays.input_shape, dimsd=arrays.output_shape, clinear=True)

        def _matvec(self, x: np.ndarray) -> np.ndarray:
            return arrays.forward(x.reshape(1, -1))[0]

        def _rmatvec(self, x: np.ndarray) -> np.ndarray:
            return arrays.adjoint(x.reshape(1, -1))[0]

    return Operator()


def from_sigpy(operator: Any) -> LinearOperator:
    """A linear operator of sigpy: (batch, *ishape) -> (batch, *oshape).

    Args:
        operator: a ``sigpy.linop.Linop``.

    Raises:
        ImportError: sigpy is missing.
        TypeError: something else.
    """
    sigpy = peer("sigpy")
    if not isinstance(operator, sigpy.linop.Linop):
        raise TypeError(f"{type(operator).__name__} is not a sigpy.linop.Linop")
    adjoint = operator.H
    return ArrayOperator(
        Products(row_by_row(operator), row_by_row(adjoint)), tuple(operator.ishape), tuple(operator.oshape)
    )


@explained
def to_sigpy(
    operator: LinearOperator, *, shape: tuple[int, ...] | None = None, dtype: torch.dtype | None = None
) -> Any:
    """One of our operators as a ``sigpy.linop.Linop`` on NumPy's arrays, for its apps and its algebra.

    Args:
        operator, shape, dtype: as for ``to_scipy``.

    Raises:
        ImportError: sigpy is missing.
        TypeError, ValueError: as for ``to_scipy``.
    """
    sigpy = peer("sigpy")
    arrays = OnArrays(operator, shape, dtype)

    class Operator(sigpy.linop.Linop):
        def __init__(self, adjoint: bool = False) -> None:
            self.adjoint = adjoint
            outputs, inputs = arrays.output_shape, arrays.input_shape
            if adjoint:
                outputs, inputs = inputs, outputs
            super().__init__(outputs, inputs, repr_str=type(operator).__name__ + ".H" * adjoint)

        def _apply(self, input: Any) -> np.ndarray:
            if not isinstance(input, np.ndarray):
                raise TypeError(f"input is {kind_of(input)}; this operator works on NumPy's arrays")
            act = arrays.adjoint if self.adjoint else arrays.forward
            return act(input[None]).reshape(self.oshape)

        def _adjoint_linop(self) -> Any:
            return Operator(not self.adjoint)

    return Operator()
