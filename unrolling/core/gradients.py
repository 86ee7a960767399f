"""How to differentiate through the steps of an iteration: a value, independent of which iteration it is.

Every rule gives the same forward result, to the bit.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from unrolling.core import tree
from unrolling.core.constrained_layers import active_entries, run_with
from unrolling.core.execution import calls_of, transformed
from unrolling.core.iteration import Iteration
from unrolling.core.linear_solvers import LinearSolver, gmres

LAST = 0.4  # of a segment, for the layers that ``Checkpointed`` does not compute again


class GradientRule:
    """Runs the steps of a network so that the backward pass follows one rule."""

    def run(self, layers: Sequence[Iteration], problems: Sequence[Any], state: Any) -> Any:
        """The state after all layers."""
        raise TypeError(f"{self!r} is not a gradient rule: it has no `run`")

    def attach(self, layer: Iteration, problem: Any, state: Any) -> Any:
        """The same values as ``state``, a fixed point of ``layer``, with the gradient of the fixed point."""
        raise TypeError(
            f"{self!r} needs a finite number of layers; for a fixed point use Implicit(), OneStep() or Truncated(last)"
        )

    def check(self, untied: Sequence[str]) -> None:
        """Refuses a network that this rule cannot differentiate; ``untied`` names its untied parameters."""


def _steps(layers: Sequence[Iteration], problems: Sequence[Any], state: Any) -> Any:
    for call, problem in zip(calls_of(layers), problems, strict=True):
        state = call(state, problem)
    return state


class Backprop(GradientRule):
    """Ordinary back-propagation through every layer: exact, memory proportional to the depth."""

    def run(self, layers: Sequence[Iteration], problems: Sequence[Any], state: Any) -> Any:
        return _steps(layers, problems, state)

    def __repr__(self) -> str:
        return "Backprop()"


class Checkpointed(GradientRule):
    """Back-propagation that keeps one state in ``every`` layers and computes the rest again: exact, less memory, one
    more forward pass.

    Args:
        every: layers between two kept states; by default 1.2 times the square root of the depth. Of the last 0.4
            ``every`` layers everything is kept.
    """

    def __init__(self, every: int | None = None) -> None:
        if every is not None and every < 1:
            raise ValueError(f"every is {every}; Checkpointed keeps one state in every 1, 2, ... layers")
        self.every = every

    def run(self, layers: Sequence[Iteration], problems: Sequence[Any], state: Any) -> Any:
        if not torch.is_grad_enabled():
            return _steps(layers, problems, state)
        every = self.every or max(1, round(1.2 * len(layers) ** 0.5))
        last = max(0, len(layers) - round(LAST * every))
        for first in range(0, last, every):
            part = slice(first, min(first + every, last))
            try:
                # The backward pass must read the same values of the constrained parameters as this one.
                state = checkpoint(
                    run_with, active_entries(), _steps, layers[part], problems[part], state, use_reentrant=False
                )
            except RuntimeError as error:
                if "support saved tensor hooks" not in str(error):
                    raise
                raise RuntimeError(
                    f"{self!r} cannot run steps that call torch.func.grad; differentiate inside the step by "
                    "torch.autograd.grad under torch.enable_grad, or use Backprop()"
                ) from error
        # The backward pass begins with these, and would compute them again at once. They are few, as they are held
        # before it frees anything.
        return _steps(layers[last:], problems[last:], state)

    def __repr__(self) -> str:
        return f"Checkpointed({'' if self.every is None else self.every})"


class Truncated(GradientRule):
    """Back-propagation through the last layers only; earlier ones receive no gradient. Biased: measure before you trust
    it.

    Args:
        last: number of layers that are differentiated.
    """

    def __init__(self, last: int) -> None:
        if last < 1:
            raise ValueError(f"last is {last}; Truncated differentiates the last 1, 2, ... layers")
        self.last = last

    def run(self, layers: Sequence[Iteration], problems: Sequence[Any], state: Any) -> Any:
        split = max(0, len(layers) - self.last)
        with torch.no_grad():
            state = _steps(layers[:split], problems[:split], state)
        return _steps(layers[split:], problems[split:], state)

    def attach(self, layer: Iteration, problem: Any, state: Any) -> Any:
        plain, point = matching_state(layer, problem, state)
        moved = point
        for _ in range(self.last):
            moved = plain(moved, problem)
        _check_shapes(self, moved, point)
        return _attach(state, point, moved, None)

    def __repr__(self) -> str:
        return f"Truncated({self.last})"


class OneStep(Truncated):
    """Gradient of the last layer alone (one-step differentiation, Bolte, Pauwels and Vaiter 2023, arXiv:2305.13768):
    the cheapest, biased.
    """

    def __init__(self) -> None:
        super().__init__(last=1)

    def __repr__(self) -> str:
        return "OneStep()"


class ImplicitReport(NamedTuple):
    """How the last backward pass of an ``Implicit`` rule went."""

    residual: float  # largest relative residual of the linear system over the batch
    iterations: int  # products with the Jacobian
    converged: bool
    # largest relative |h(x) - x|, how far the state is from the fixed point that the formula assumes; NaN beats all
    fixed_point_residual: float


class Implicit(GradientRule):
    """Gradient of the fixed point x = h(x) by the implicit function theorem: u = (I - J^T)^-1 g, then one
    vector-Jacobian product with u.

    Exact at a converged state and independent of how it was reached; memory of one step. All layers must be the same.

    Args:
        solver: ``gmres``, ``anderson``, or a function with their signature, for u - J^T u = g.
        tolerance: relative residual that the solver has to reach; a warning says when it did not.
        max_iterations: largest number of products with the Jacobian.
    """

    def __init__(self, solver: LinearSolver = gmres, tolerance: float = 1e-6, max_iterations: int = 1000) -> None:
        self.solver, self.tolerance, self.max_iterations = solver, tolerance, max_iterations
        self.report: ImplicitReport | None = None

    def check(self, untied: Sequence[str]) -> None:
        if untied:
            raise ValueError(
                "Implicit differentiates the fixed point of one step, so that all layers must be the same, but "
                f"{', '.join(untied)} is untied; tie it, or use Backprop() or Checkpointed()"
            )

    def run(self, layers: Sequence[Iteration], problems: Sequence[Any], state: Any) -> Any:
        if not torch.is_grad_enabled() or transformed():  # through the steps, whose derivative tends to the same
            return _steps(layers, problems, state)
        with torch.no_grad():
            state = _steps(layers, problems, state)
        return self.attach(layers[-1], problems[-1], state)

    def attach(self, layer: Iteration, problem: Any, state: Any) -> Any:
        plain, point = matching_state(layer, problem, state)
        with torch.enable_grad():
            point = tree.apply(lambda t: t.detach().requires_grad_(tree.is_number(t)), point)
            moved = plain(point, problem)
        _check_shapes(self, moved, point)
        inputs, outputs = _differentiable_tensors(point), _differentiable_tensors(moved)
        batched = plain.batched
        return _attach(state, point, moved, lambda gradients: self.solve(inputs, outputs, gradients, batched))

    def solve(
        self, inputs: list[Tensor], outputs: list[Tensor], gradients: list[Tensor], batched: bool = True
    ) -> list[Tensor]:
        """(I - J^T)^-1 applied to the gradients, J being the Jacobian of ``outputs`` with respect to ``inputs``; one
        system per sample, or one in all where there is no batch.
        """
        result, own = list(gradients), list(range(len(outputs)))
        if batched:
            # Tensors that all samples share are no part of the systems, which are one per sample; they get the gradient
            # of one step.
            batch = tree.batch_size(outputs, "state")
            own = [i for i, t in enumerate(outputs) if t.ndim > 0 and t.shape[0] == batch]
        inputs, outputs, gradients = ([tensors[i] for i in own] for tensors in (inputs, outputs, gradients))
        real = [torch.view_as_real(g) if g.is_complex() else g for g in gradients]
        sizes = [g.shape[1:].numel() if batched else g.numel() for g in real]

        def unpack(flat: Tensor) -> list[Tensor]:
            parts = [p.reshape(g.shape) for p, g in zip(flat.split(sizes, dim=1), real, strict=True)]
            return [
                torch.view_as_complex(p.contiguous()) if g.is_complex() else p
                for p, g in zip(parts, gradients, strict=True)
            ]

        def pack(parts: Sequence[Tensor]) -> Tensor:
            numbers = [torch.view_as_real(p.resolve_conj()) if p.is_complex() else p for p in parts]
            return torch.cat([tree.rows(p) if batched else p.reshape(1, -1) for p in numbers], dim=1)

        right = pack(gradients)
        if right.numel() == 0:
            return result
        point, moved = pack([t.detach() for t in inputs]), pack([t.detach() for t in outputs])
        # A sample that is lost gets NaN and does not stop the others; a gradient is solved for on its own scale, as the
        # squares of a small one vanish.
        lost = ~(torch.isfinite(right).all(1, keepdim=True) & torch.isfinite(moved).all(1, keepdim=True))
        peak = right.abs().amax(1, keepdim=True)
        scale = torch.where(lost | (peak == 0), 1, peak)

        def transposed_jacobian(flat: Tensor) -> Tensor:
            products = torch.autograd.grad(outputs, inputs, unpack(flat), retain_graph=True, allow_unused=True)
            image = pack([torch.zeros_like(i) if p is None else p for i, p in zip(inputs, products, strict=True)])
            return image.masked_fill(lost, 0)

        linear = self.solver(
            transposed_jacobian, (right / scale).masked_fill(lost, 0), self.tolerance, self.max_iterations
        )
        solution = (linear.solution * scale).masked_fill(lost, torch.nan)
        self.report = ImplicitReport(
            float(linear.residual.max()),
            linear.iterations,
            linear.converged,
            float(tree.relative_change(moved, point).max()),
        )
        if not linear.converged:
            warnings.warn(
                f"the linear solver of {self!r} stopped at a relative residual of {self.report.residual:.2g} after "
                f"{linear.iterations} products "
                f"(asked for {self.tolerance:.2g}); the gradient is that much off. Raise max_iterations, loosen "
                "tolerance, or run more layers",
                RuntimeWarning,
                stacklevel=2,
            )
        for i, solved in zip(own, unpack(solution), strict=True):
            result[i] = solved
        return result

    def __repr__(self) -> str:
        name = getattr(self.solver, "__name__", repr(self.solver))
        return f"Implicit({name}, tolerance={self.tolerance:g})"


class _Attach(torch.autograd.Function):
    """Values of the first tensors, gradient to the second ones, after the rule's linear solver if it has one."""

    @staticmethod
    def forward(
        ctx: Any, solve: Callable[[list[Tensor]], list[Tensor]] | None, count: int, *tensors: Tensor
    ) -> tuple[Tensor, ...]:
        ctx.solve = solve
        ctx.save_for_backward(*tensors[count:])
        return tuple(t.clone() for t in tensors[:count])

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        with torch.no_grad():
            solved = list(gradients) if ctx.solve is None else ctx.solve(list(gradients))
        if torch.is_grad_enabled():  # somebody wants to differentiate what this returns
            solved = _FirstOnly.apply(len(solved), *solved, *(t for t in ctx.saved_tensors if t.requires_grad))
        return None, None, *(None for _ in gradients), *solved  # pyright: ignore


class _FirstOnly(torch.autograd.Function):
    """The first tensors as they are; refuses to be differentiated.

    They depend on the others through the fixed point, in a way that is not recorded. Without this node the second
    derivative would leave that part out, in silence.
    """

    @staticmethod
    def forward(ctx: Any, count: int, *tensors: Tensor) -> tuple[Tensor, ...]:
        return tuple(t.clone() for t in tensors[:count])

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        raise RuntimeError(
            "Implicit(), OneStep() and Truncated() at a fixed point know first derivatives only; for a second one "
            "unroll the iteration with Backprop() or Checkpointed()"
        )


def _attach(state: Any, point: Any, moved: Any, solve: Callable[[list[Tensor]], list[Tensor]] | None) -> Any:
    """``state`` with the values of ``point`` (its own fields) and the gradient of ``moved``, a step away from it."""
    inputs = [t.detach() for t in _differentiable_tensors(point)]
    values = iter(_Attach.apply(solve, len(inputs), *inputs, *_differentiable_tensors(moved)))  # pyright: ignore
    attached = tree.apply(lambda t: next(values) if tree.is_number(t) else t, point)
    if isinstance(state, Tensor) or type(point) is type(state):
        return attached
    if not hasattr(point, "_fields") or type(point) is type(state[0]):
        return state._replace(**{state._fields[0]: attached})
    return state._replace(**attached._asdict())


def _differentiable_tensors(state: Any) -> list[Tensor]:
    return [tensor for tensor in tree.tensors(state) if tree.is_number(tensor)]


def matching_state(layer: Iteration, problem: Any, state: Any) -> tuple[Iteration, Any]:
    """The iteration whose fixed point is differentiated, and the state in its terms: fields of the same name, or the
    first one.
    """
    plain = layer.fixed_point()
    if plain is layer:
        return layer, state
    template = plain.start(problem)
    if isinstance(template, Tensor):
        return plain, state if isinstance(state, Tensor) else state[0]
    if type(template) is type(state[0]):
        return plain, state[0]
    return plain, type(template)(**{name: getattr(state, name) for name in template._fields})


def _check_shapes(rule: GradientRule, moved: Any, point: Any) -> None:
    for (name, after), before in zip(tree.named_tensors(moved, "state"), tree.tensors(point), strict=True):
        if after.shape != before.shape:
            raise ValueError(
                f"{rule!r} differentiates a fixed point, so that a step must keep the state's shape, but {name} went "
                f"from {tuple(before.shape)} to {tuple(after.shape)}; use Backprop() or Checkpointed()"
            )
