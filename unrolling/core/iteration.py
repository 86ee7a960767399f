"""The contract: one step of an iterative algorithm, written once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from unrolling.core import tree
from unrolling.core.refusals import explain


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
    - ``estimate(state, problem) -> Tensor``: the answer that a state holds; by default the state, or its first field.
      It sees the problem, so that no state need carry data along.
    - ``objective(state, problem) -> Tensor (batch,)``: optional; what the algorithm minimises.
    - ``residual(new, old, problem) -> Tensor (batch,)``: how far a step was from standing still, for ``solve``; by
      default the relative change of the field of the state that changed most, each on its own scale. Override it to
      leave out fields that only accompany the unknowns (a momentum, a variance, a spectrum), and give infinity while h
      itself still changes (a continuation), so that a pause is not taken for convergence.
    - ``supervised(state, problem)``: optional; what a loss may see besides the estimate, such as a kernel.
    - ``fixed_point() -> Iteration``: optional; a plain iteration with the same fixed point and the same problem, for
      implicit gradients.
    - ``check(data)``: optional; refuses data that do not fit, from shapes and dtypes alone.
    - ``advice() -> str``: optional; what to do when the iteration diverges, such as a safe step size.

    A tensor of data, problem and state is per sample where its leading size is the batch. It is shared by all samples
    where it has no dimension, a leading size of 1, or is a parameter or buffer of the iteration (or a view of one).
    Integer tensors are welcome in data: edges, labels, indices.

    A constructor of this library that is given an ``nn.Parameter`` (or another tensor that asks for a gradient) keeps
    it, so that it is learned, or refuses it.

    Attributes:
        batched: whether states have samples. Where the state is the parameters of a network, say, there is one state
            and no batch: write ``batched = False``; ``objective`` and ``residual`` then have no dimension.
        algorithm: the classical algorithm that this is a form of, by the name of its class; empty where it is one
            itself. A comparison finds the parent of a network among the task's classical methods by it.
        unused_at_start: parameters that the first step does not use, as what they multiply is zero there. A network
            still has them in its first layer, and counts them, as the published ones do; reports name them.
    """

    batched: bool = True
    algorithm: str = ""
    unused_at_start: tuple[str, ...] = ()
    prepare: Callable[[Any], Any]
    start: Callable[[Any], Any]

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        explain(cls, kept=True)

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

    def estimate(self, state: Any, problem: Any) -> Tensor:
        """The answer that a state holds."""
        return state if isinstance(state, Tensor) else state[0]

    def supervised(self, state: Any, problem: Any) -> Any:
        """What a loss sees of a state."""
        return self.estimate(state, problem)

    def residual(self, new: Any, old: Any, problem: Any) -> Tensor:
        """max over the fields of |new - old| / max(|new|, |old|), (batch,), or () where there is no batch: free of
        scale, NaN where a field is.

        Fields of integers count where there are no others, by the share of their entries that differ.
        """
        pairs = list(zip(tree.tensors(new), tree.tensors(old), strict=True))
        if self.batched:
            batch = tree.batch_size(new, "state")
            pairs = [(after, before) for after, before in pairs if after.ndim > 0 and after.shape[0] == batch]
        else:
            pairs = [(after.unsqueeze(0), before.unsqueeze(0)) for after, before in pairs]
        changes = [tree.relative_change(after, before) for after, before in pairs if tree.is_number(after)]
        if not changes:
            changes = [tree.rows(after != before).float().mean(1) for after, before in pairs]
        worst = changes[0] if len(changes) == 1 else torch.stack(changes).amax(0)
        return worst if self.batched else worst.squeeze(0)

    def fixed_point(self) -> Iteration:
        """A plain iteration with the same fixed point and problem; its state has fields of this one's, by name, or is
        the first of them.
        """
        return self

    def check(self, data: Any) -> None:
        """Refuses a bare tensor of integers, which hardly any iteration can work on; looks at no values, so that it is
        free and compiles away. Integers among other data are welcome; an iteration on nothing else overrides this.
        """
        if isinstance(data, Tensor) and not (tree.is_number(data) or data.dtype is torch.bool):
            raise TypeError(
                f"data is {data.dtype}; an iteration works on floating-point or complex tensors: use data.float()"
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
