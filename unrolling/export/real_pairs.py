"""Complex arithmetic as arithmetic on pairs of real tensors, for runtimes without complex numbers."""

from __future__ import annotations

import operator
import warnings
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram
from torch.export.graph_signature import InputKind

from unrolling.export.complex_rules import EACH, MAKERS, RULES, Pair, each, join, split
from unrolling.export.ports import keywords, to_pair
from unrolling.export.trace import ExportError


def is_complex(program: ExportedProgram) -> bool:
    """Whether some tensor of a program is complex."""
    return any(isinstance(value := node.meta.get("val"), Tensor) and value.is_complex() for node in program.graph.nodes)


class RealPairs(nn.Module):
    """A program with every complex tensor as two real ones: complex inputs are real (..., 2), real and imaginary part,
    and so is a complex estimate.

    The program's operators are run one by one, those on complex numbers by the rules of this file, so that tracing this
    module gives a real program.

    Args:
        program: with complex tensors.
        names: of its inputs, in order.
        outputs: how many it has.

    Raises:
        ExportError: (when called) an operator on complex numbers that has no rule.
    """

    def __init__(self, program: ExportedProgram, names: Iterable[str], outputs: int = 1) -> None:
        super().__init__()
        self.outputs = outputs
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            program = program.run_decompositions()
        self.graph = program.graph_module
        places = [node for node in program.graph.nodes if node.op == "placeholder"]
        self.slots: list[tuple[str, str]] = []  # for each placeholder: what it is, and its name
        inputs = list(names)
        given = iter(inputs)
        for number, (spec, place) in enumerate(zip(program.graph_signature.input_specs, places, strict=True)):
            if spec.kind is InputKind.USER_INPUT:
                self.slots.append(("pair" if place.meta["val"].is_complex() else "real", next(given)))
            elif spec.target is None or not place.users:  # the token of a check, or a tensor that nothing needs
                self.slots.append(("none", ""))
            else:
                tensor = (
                    program.state_dict[spec.target]
                    if spec.target in program.state_dict
                    else program.constants[spec.target]
                )
                assert isinstance(tensor, Tensor)
                name = f"tensor_{number}"
                self.register_buffer(name, to_pair(tensor.detach()).clone())
                self.slots.append(("pair" if tensor.is_complex() else "real", name))
        self.forward = keywords(lambda **tensors: self._answer(tensors), inputs)

    def _answer(self, inputs: dict[str, Tensor]) -> Any:
        values: list[Any] = []
        for kind, name in self.slots:
            tensor = inputs[name] if name in inputs else getattr(self, name) if name else None
            values.append(split(tensor) if kind == "pair" and tensor is not None else tensor)
        found = _Pairwise(self.graph).run(*values)[-self.outputs :]  # after the tokens of checks, which have no value
        joined = tuple(join(value) if isinstance(value, Pair) else value for value in found)
        return joined[0] if self.outputs == 1 else joined


class _Pairwise(torch.fx.Interpreter):
    """Runs a graph on pairs."""

    def call_function(self, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        # a check that a matrix is regular: a graph has nobody to tell
        if target is torch.ops.higher_order.with_effects:
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
            f"the operator {target} on complex numbers cannot be written in real ones here; format torch keeps "
            "complex numbers, or write it with sums, products, magnitudes and Fourier transforms"
        )


def _flat(items: Any) -> list[Any]:
    return [leaf for item in items for leaf in (_flat(item) if isinstance(item, tuple | list) else [item])]
