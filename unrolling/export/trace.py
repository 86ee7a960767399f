"""From a network to a ``torch.export`` program whose batch, and whatever other size the mathematics leaves free, may be
of any size.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

Shape = tuple[int | str, ...]  # sizes, and the names of those that are free; of an estimate also formulas of names
BATCH = "batch"


class ExportError(RuntimeError):
    """A network that cannot be exported, or whose exported form gives other results."""


class SizesError(ExportError):
    """A file gives what the network gives at the example's sizes, and something else at others."""


class Traced(NamedTuple):
    """A program, and what may vary in its inputs."""

    program: ExportedProgram
    example: Mapping[str, Tensor]  # inputs that it was traced with
    shapes: dict[str, Shape]  # of the inputs, in order, and of the outputs
    sizes: dict[str, tuple[int, int | None]]  # free sizes by name: smallest and largest, None for any

    @property
    def outputs(self) -> list[str]:
        """The names of what comes out: the estimate, then the parts of the next state."""
        return [name for name in self.shapes if name not in self.example]


def discover(
    module: nn.Module,
    inputs: Mapping[str, Tensor],
    outputs: Sequence[str],
    batch: int,
    *,
    dynamic: bool = True,
    free: bool = True,
    whole: Collection[str] = (),
) -> Traced:
    """A first program, which tells which sizes are free: it is traced with all of them free, and those that the module
    fixes become numbers.

    Two sizes that must be equal have one name. Sizes found here are at least two; ``settle`` makes a program for those
    of one too.

    Args:
        module: keywords -> estimate (batch, ...).
        inputs: examples; their batch is first, or their leading size is 1.
        outputs: names of what the module returns.
        batch: of the examples, at least 2 where it is dynamic.
        dynamic: whether the batch may be of any size, or only of this one.
        free: whether other sizes may vary where they can.
        whole: names of inputs that have no samples, whatever their leading size.

    Raises:
        ExportError: the module cannot be traced, or fixes the batch.
    """
    spec = {name: _dimensions(tensor, 0 if name in whole else batch, dynamic, free) for name, tensor in inputs.items()}
    found = _traced(_export(module, inputs, spec), inputs, outputs)
    if dynamic and BATCH not in found.sizes:
        raise ExportError(
            f"the network fixes the batch at the {batch} of the example: take sizes from y.shape[0], never len(y) or "
            f"a number; or export with batch={batch}"
        )
    return found


def settle(
    module: nn.Module,
    inputs: Mapping[str, Tensor],
    found: Traced,
    least: Mapping[str, int] | None = None,
    *,
    other: bool = False,
) -> Traced:
    """The program to be written: free sizes from the smallest on, and without the tensors that the first program does
    not use.

    Args:
        module: what ``discover`` traced, or the same written otherwise.
        inputs: for it.
        found: what ``discover`` found.
        least: the smallest sizes by name; by default one.
        other: whether the module is another one than ``discover`` traced.

    Raises:
        ExportError: the module cannot be traced.
    """
    shrunk = _shrink_unused(module, found.program)
    smallest = {name: 1 if low <= 2 else low for name, (low, _) in found.sizes.items()} | dict(least or {})
    dims = {name: Dim(name, min=smallest[name], max=high) for name, (_, high) in found.sizes.items()}
    shapes = {name: (*found.shapes[name], *tensor.shape[len(found.shapes[name]) :]) for name, tensor in inputs.items()}
    named = {
        name: {axis: dims.get(str(size), Dim.STATIC) for axis, size in enumerate(shape)}
        for name, shape in shapes.items()
    }
    try:
        # The first program takes what is two and more: where nothing is smaller, it is the one.
        enough = not (shrunk or other) and all(low > 1 for name, low in smallest.items() if name != BATCH)
        program = found.program if enough else _export(module, inputs, named)
    except ExportError:  # sizes that obey more than a range, such as being even: torch then finds out again by itself
        plain = {
            name: {
                axis: dims[BATCH] if size == BATCH else Dim.AUTO if isinstance(size, str) else Dim.STATIC
                for axis, size in enumerate(shape)
            }
            for name, shape in shapes.items()
        }
        program = _export(module, inputs, plain)
    # where lines of code came from: folders of this machine, which are nobody's business
    for node in program.graph.nodes:
        for key in ("stack_trace", "nn_module_stack", "source_fn_stack", "torch_fn", "from_node"):
            node.meta.pop(key, None)
    return _traced(program, inputs, found.outputs)


def _traced(program: ExportedProgram, inputs: Mapping[str, Tensor], outputs: Sequence[str]) -> Traced:
    names, shapes = _names(program, inputs, outputs)
    return Traced(program, inputs, shapes, _ranges(program, names))


def _dimensions(tensor: Tensor, batch: int, dynamic: bool, free: bool) -> dict[int, Any]:
    per_sample = tensor.ndim > 0 and tensor.shape[0] == batch
    return {
        axis: Dim(BATCH, min=1)
        if dynamic and per_sample and axis == 0
        else Dim.AUTO
        if free and axis > 0 and size > 1
        else Dim.STATIC
        for axis, size in enumerate(tensor.shape)
    }


def _export(module: nn.Module, inputs: Mapping[str, Tensor], spec: Mapping[str, Any]) -> ExportedProgram:
    try:
        with warnings.catch_warnings(), torch.no_grad(), _without_lines():
            warnings.simplefilter("ignore")
            program = torch.export.export(module, (), dict(inputs), dynamic_shapes=dict(spec), strict=False)
    except Exception as error:  # of many kinds, with pages of advice on torch
        raise ExportError(f"the network cannot be traced: {first_line(error)}") from error
    # Sizes that are a multiple of others have ranges that follow from theirs.
    for size in [size for size in program.range_constraints if not size.is_symbol]:
        del program.range_constraints[size]
    # What torch.func.grad works on ends up as constants without values, and torch says nothing.
    wrapped = torch._C._functorch.is_functorch_wrapped_tensor  # pyright: ignore[reportAttributeAccessIssue]
    if any(isinstance(value, Tensor) and wrapped(value) for value in program.constants.values()):
        raise ExportError(
            "the network cannot be traced: its step differentiates by torch.func.grad, which torch.export does not "
            "follow; write the gradient out"
        )
    return program


@contextlib.contextmanager
def _without_lines() -> Iterator[None]:
    """torch does not look up the lines of code that every operator comes from, which takes long and is not written."""
    from torch.fx import config

    before = getattr(config, "do_not_emit_stack_traces", False)
    config.do_not_emit_stack_traces = True
    try:
        yield
    finally:
        config.do_not_emit_stack_traces = before


def first_line(error: BaseException) -> str:
    """What an error says, without the advice that follows."""
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)


def _names(
    program: ExportedProgram, inputs: Mapping[str, Tensor], outputs: Sequence[str]
) -> tuple[dict[str, str], dict[str, Shape]]:
    """Names for torch's symbols, and all shapes in terms of them."""
    nodes = {node.name: node for node in program.graph.nodes}
    ports = (*program.graph_signature.user_inputs, *program.graph_signature.user_outputs)
    values = {name: nodes[str(port)].meta["val"] for name, port in zip([*inputs, *outputs], ports, strict=True)}
    names: dict[str, str] = {}
    for name in inputs:
        for axis, size in enumerate(values[name].shape):
            if isinstance(size, torch.SymInt) and size.node.expr.is_symbol:
                names.setdefault(str(size), BATCH if axis == 0 else f"{name}_{axis}")
    return names, {name: tuple(_size(size, names) for size in value.shape) for name, value in values.items()}


def _size(size: int | torch.SymInt, names: Mapping[str, str]) -> int | str:
    if isinstance(size, int):
        return size
    expression = size.node.expr
    if expression.is_number:
        return int(expression)
    return str(
        expression.xreplace(
            {symbol: type(symbol)(names[str(symbol)]) for symbol in expression.free_symbols if str(symbol) in names}
        )
    )


def _ranges(program: ExportedProgram, names: Mapping[str, str]) -> dict[str, tuple[int, int | None]]:
    limits = {str(symbol): limit for symbol, limit in program.range_constraints.items()}
    found = {}
    for symbol, name in names.items():
        low, high = int(limits[symbol].lower), limits[symbol].upper
        found[name] = (low, int(high) if bool(high < 2**31) else None)
    return found


def _shrink_unused(module: nn.Module, program: ExportedProgram) -> bool:
    """Give tensors that the program does not use one element, which stands for all of them, so that no file holds the
    rest; whether there were any.
    """
    held = dict(module.named_parameters(remove_duplicate=False)) | dict(module.named_buffers(remove_duplicate=False))
    places = {**program.graph_signature.inputs_to_parameters, **program.graph_signature.inputs_to_buffers}
    paths = {
        places[node.name]
        for node in program.graph.nodes
        if node.op == "placeholder" and node.users and node.name in places
    }
    used = {id(held[path]) for path in paths if path in held}
    if not used:  # the module is another one than the program's
        return False
    unused = {path: tensor for path, tensor in held.items() if id(tensor) not in used and tensor.numel() > 1}
    for path, tensor in unused.items():
        owner, leaf = module.get_submodule(path.rpartition(".")[0]), path.rpartition(".")[2]
        small = tensor.detach().flatten()[:1].clone().view([1] * tensor.ndim).expand(tensor.shape)
        if isinstance(tensor, nn.Parameter):
            owner._parameters[leaf] = nn.Parameter(small, requires_grad=False)
        else:
            owner._buffers[leaf] = small
    return bool(unused)
