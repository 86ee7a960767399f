"""Complex arithmetic as arithmetic on pairs of real tensors, for runtimes without complex numbers."""

from __future__ import annotations

import operator
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram
from torch.export.graph_signature import InputKind

from unrolling.export.complex_rules import EACH, MAKERS, RULES, Pair, each, join, split
from unrolling.export.ports import keywords
from unrolling.export.trace import ExportError


def is_complex(program: ExportedProgram) -> bool:
    """Whether some tensor of a program is complex."""
    return any(isinstance(value := node.meta.get("val"), Tensor) and value.is_complex() for node in program.graph.nodes)


class RealPairs(nn.Module):
    """A program with every complex tensor as two real ones: complex inputs are real (..., 2), real and imaginary part, and so is a complex estimate.

    The program's operators are run one by one, those on complex numbers by the rules of this file, so that tracing this module gives a real program.

    Args:
        program: with complex tensors.

    Raises:
        ExportError: (when called) an operator on complex numbers that has no rule.
    """

    def __init__(self, program: ExportedProgram) -> None:
        super().__init__()
        program = program.run_decompositions()
        self.graph = program.graph_module
        self.slots: list[tuple[str, str]] = []  # for each placeholder: what it is, and its name
        held: dict[int, str] = {}
        names = []
        for number, spec in enumerate(program.graph_signature.input_specs):
            if spec.kind is InputKind.USER_INPUT:
                self.slots.append(("input", spec.arg.name))
                names.append(spec.arg.name)
                continue
            if spec.target is None:  # the token of a check
                self.slots.append(("token", ""))
                continue
            target = spec.target
            tensor = program.state_dict[target] if target in program.state_dict else program.constants[target]
            assert isinstance(tensor, Tensor)
            if id(tensor) not in held:
                held[id(tensor)] = f"tensor_{number}"
                parts = (tensor.real, tensor.imag) if tensor.is_complex() else (tensor,)
                for part, label in zip(parts, ("", "_imaginary"), strict=False):
                    # A copy of what the program uses; a tensor of one element that only stands for many stays one.
                    self.register_buffer(held[id(tensor)] + label, part.detach() if 0 in part.stride() else part.detach().clone())
            self.slots.append(("pair" if tensor.is_complex() else "tensor", held[id(tensor)]))
        self.complex_inputs = {node.name for node in self.graph.graph.nodes if node.op == "placeholder" and node.meta["val"].is_complex()}
        self.forward = keywords(lambda **inputs: self._estimate(inputs), names)

    def _estimate(self, inputs: dict[str, Tensor]) -> Tensor:
        values: list[Any] = []
        for kind, name in self.slots:
            if kind == "input":
                values.append(split(inputs[name]) if name in self.complex_inputs else inputs[name])
            elif kind == "token":
                values.append(None)
            elif kind == "pair":
                values.append(Pair(getattr(self, name), getattr(self, f"{name}_imaginary")))
            else:
                values.append(getattr(self, name))
        estimate = _Pairwise(self.graph).run(*values)[-1]  # after the tokens of checks, which have no value
        return join(estimate) if isinstance(estimate, Pair) else estimate


class _Pairwise(torch.fx.Interpreter):
    """Runs a graph on pairs."""

    def call_function(self, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if target is torch.ops.higher_order.with_effects:  # a check that a matrix is regular: a graph has nobody to tell
            return (None,)
        if target is operator.getitem:
            return args[0][args[1]]
        packet = getattr(target, "overloadpacket", target)
        dtype = kwargs.get("dtype")
        makes = packet in MAKERS or (isinstance(dtype, torch.dtype) and dtype.is_complex)
        if not makes and not any(isinstance(part, Pair | complex) for part in _flat((*args, *kwargs.values()))):
            return super().call_function(target, args, kwargs)
        if packet in RULES:
            return RULES[packet](target, *args, **kwargs)
        if packet in EACH:
            return each(target, *args, **kwargs)
        raise ExportError(
            f"the operator {target} on complex numbers cannot be written in real ones here; format torch keeps complex numbers, "
            "or write it with sums, products, magnitudes and Fourier transforms"
        )


def _flat(items: Any) -> list[Any]:
    return [leaf for item in items for leaf in (_flat(item) if isinstance(item, tuple | list) else [item])]
