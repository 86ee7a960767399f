"""The contract: one step of an iterative algorithm, written once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from unrolling.core import tree


class Iteration(nn.Module):
    """One step h of an iterative algorithm (Fig. 1 and 4 of the survey); its parameters hold their classical values.

    A subclass writes ``start`` and ``forward``; the rest has defaults. Run to convergence by ``solve`` it is the
    classical algorithm, run a fixed number of times by ``unroll`` it is the network, run to its fixed point by
    ``Equilibrium`` it is the implicit model.

    - ``prepare(data) -> problem``: what depends on data and parameters, not on the state (W_e y, a factorisation, an
      FFT). A method, or a sub-module assigned in ``__init__``; the identity when a subclass brings none. A sub-module
      without untied parameters runs once per network.
    - ``start(problem) -> state``: the state before the first step. A tensor, or a NamedTuple of tensors and plain
      numbers.
    - ``forward(state, problem) -> state``: h itself; pure: it writes into neither of its inputs.
    - ``estimate(state) -> Tensor``: the answer that a state holds; by default the state, or its first field.
    - ``objective(state, problem) -> Tensor (batch,)``: optional; what the algorithm minimises.
    - ``fixed_point() -> Iteration``: optional; a plain iteration with the same fixed point and the same problem, for
      implicit gradients.
    - ``stationary(state) -> bool``: optional; false while h itself still changes (a continuation), so that ``solve``
      does not take a pause for convergence.
    - ``check(data)``: optional; refuses data that do not fit, from shapes and dtypes alone.
    - ``advice() -> str``: optional; what to do when the iteration diverges, such as a safe step size.
    - ``inference(shared) -> Way | None``: optional; a cheaper way to take the same step when nothing is recorded
      (``core.inference``).

    Every tensor of data, problem and state is batch first, or has no dimension, or has a leading size of 1 and is
    shared by all samples.
    """

    prepare: Callable[[Any], Any]
    start: Callable[[Any], Any]

    def __init__(self) -> None:
        super().__init__()
        cls = type(self)
        for method, signature in (("start", "start(self, problem)"), ("forward", "forward(self, state, problem)")):
            if getattr(cls, method, None) in (None, nn.Module.forward):
                raise TypeError(
                    f"{cls.__name__} is an Iteration without `{method}`; write `def {signature}` that returns a state"
                )
        if not hasattr(cls, "prepare"):
            self.prepare = nn.Identity()

    def estimate(self, state: Any) -> Tensor:
        """The answer that a state holds."""
        return state if isinstance(state, Tensor) else state[0]

    def fixed_point(self) -> Iteration:
        """A plain iteration with the same fixed point and problem; its state has fields of this one's, by name, or is
        the first of them.
        """
        return self

    def stationary(self, state: Any) -> bool:
        """Whether the steps from here on are all the same map."""
        return True

    def check(self, data: Any) -> None:
        """Refuses data whose dtype no iteration can work on; looks at no values, so that it is free and compiles
        away.
        """
        for name, tensor in tree.named_tensors(data, "data"):
            if not (tensor.is_floating_point() or tensor.is_complex() or tensor.dtype is torch.bool):
                raise TypeError(
                    f"{name} is {tensor.dtype}; an iteration works on floating-point or complex tensors: "
                    f"use {name}.float()"
                )

    def advice(self) -> str:
        """What to try when this iteration diverges."""
        return "use a smaller step size"


def check_finite(data: Any) -> None:
    """Refuses NaN and infinity, naming the tensor and the first bad sample.

    Raises:
        ValueError: some value is not finite.
    """
    for name, tensor in tree.named_tensors(data, "data"):
        bad = ~torch.isfinite(tensor)
        if bad.any():
            where = tuple(int(i) for i in bad.nonzero()[0])
            raise ValueError(
                f"{name} holds {int(bad.sum())} values that are NaN or infinite, the first at index {where}"
            )
