"""What the sparse-coding algorithms ask of a dictionary, checked when they are built."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from unrolling.core.arguments import check_numbers
from unrolling.operators import LinearOperator, Matrix


def check_dictionary(dictionary: Tensor, *, unit_columns: bool = False) -> Tensor:
    """The dictionary A (m, n), once it is known to be usable.

    Raises:
        TypeError: not floating point.
        ValueError: not two-dimensional, not finite, a zero column, or (``unit_columns``) a column whose norm is not
            one.
    """
    if dictionary.ndim != 2:
        raise ValueError(
            f"a dictionary is a matrix (m, n) with one atom per column; got shape {tuple(dictionary.shape)}"
        )
    if not (dictionary.is_floating_point() or dictionary.is_complex()):
        raise TypeError(f"a dictionary is floating point or complex; got {dictionary.dtype}")
    if not bool(torch.isfinite(dictionary).all()):
        raise ValueError("the dictionary holds NaN or infinite values")
    norms = torch.linalg.vector_norm(dictionary.detach(), dim=0)
    zero = (norms == 0).nonzero().flatten().tolist()
    if zero:
        raise ValueError(
            f"column{'s' if len(zero) > 1 else ''} {', '.join(map(str, zero[:5]))} of the dictionary "
            f"{'are' if len(zero) > 1 else 'is'} zero: remove such atoms"
        )
    if unit_columns and not bool(torch.isclose(norms, torch.ones_like(norms), atol=1e-3).all()):
        raise ValueError(
            f"the dictionary's columns must have norm 1, and theirs go from {float(norms.min()):.4g} to "
            f"{float(norms.max()):.4g}: divide by torch.linalg.vector_norm(dictionary, dim=0)"
        )
    return dictionary


def check_width(data: Tensor, dictionary: Tensor) -> None:
    """Refuses data (batch, ..., m) whose last dimension is not the number of rows of a dictionary (m, n).

    Raises:
        TypeError: no floating-point tensor; complex data for a real dictionary.
        ValueError: another width.
    """
    check_numbers(data, "data", "an algorithm with a real dictionary", real=not dictionary.is_complex())
    if data.ndim < 2 or data.shape[-1] != dictionary.shape[0]:
        raise ValueError(
            f"data must have shape (batch, ..., {dictionary.shape[0]}), the dictionary being "
            f"{tuple(dictionary.shape)}; got {tuple(data.shape)}"
        )


def as_operator(dictionary: Tensor | LinearOperator) -> LinearOperator:
    """A checked dictionary as an operator."""
    return dictionary if isinstance(dictionary, LinearOperator) else Matrix(check_dictionary(dictionary))


def lipschitz(dictionary: Tensor | LinearOperator) -> float:
    """L = |A|_2^2, the Lipschitz constant of x -> A^H (A x - y): exact for a matrix, by power iteration for an
    operator.
    """
    if isinstance(dictionary, Matrix):
        dictionary = dictionary.matrix
    if isinstance(dictionary, Tensor):
        return (
            float(
                torch.linalg.matrix_norm(
                    dictionary.detach().to(torch.promote_types(dictionary.dtype, torch.float64)), 2
                )
            )
            ** 2
        )
    return dictionary.norm() ** 2


def scalar_parameter(value: float | Tensor, like: Tensor) -> nn.Parameter:
    """A learnable copy of a number or tensor, real, in the precision of ``like``."""
    return nn.Parameter(torch.as_tensor(value, dtype=like.real.dtype, device=like.device).detach().clone())


def check_weight(weight: float | Tensor) -> Tensor:
    """The weight of a penalty, at least 0; a number in double precision, so that it is rounded once, to that of the
    parameter.

    Raises:
        ValueError: it is negative or not finite.
    """
    smallest = float(torch.as_tensor(weight).min())
    if not (smallest >= 0 and bool(torch.isfinite(torch.as_tensor(weight)).all())):
        raise ValueError(f"weight must be finite and at least 0; got {smallest:.4g}")
    return weight if isinstance(weight, Tensor) else torch.tensor(weight, dtype=torch.float64)


def each_weight(weight: float | Tensor, atoms: int) -> Tensor:
    """The weight of a penalty for each of so many atoms, (n,).

    Raises:
        ValueError: as for ``check_weight``; more than one number, and not one for each.
    """
    checked = check_weight(weight)
    if checked.shape not in ((), (1,), (atoms,)):
        raise ValueError(f"weight is a number or ({atoms},), one for each atom; got shape {tuple(checked.shape)}")
    return checked.expand(atoms)


def check_step_size(step_size: float | None, dictionary: Tensor | LinearOperator) -> float:
    """The step size, by default the safe 1 / L.

    Raises:
        ValueError: it is not positive.
    """
    if step_size is None:
        return 1 / lipschitz(dictionary)
    if not step_size > 0:
        raise ValueError(f"step_size must be positive; got {step_size}")
    return step_size


def step_advice(step_size: float, dictionary: Tensor | LinearOperator) -> str:
    """What a diverging gradient step should hear."""
    bound = lipschitz(dictionary)
    return (
        f"its step size {step_size:.4g} must stay below 2/L = {2 / bound:.4g}, L = |A|^2 = {bound:.4g}; 1/L = "
        f"{1 / bound:.4g} is safe"
    )
