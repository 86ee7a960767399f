"""Format ``onnx``: a file that onnxruntime runs, and most other runtimes."""

from __future__ import annotations

import hashlib
import operator
import re
from pathlib import Path
from typing import Any

import torch

from unrolling.export.format import Format, Run, quiet
from unrolling.export.ports import ESTIMATE
from unrolling.export.trace import ExportError, Traced, first_line

CARD = "card"


class OnnxModel(Format):
    """``onnxruntime.InferenceSession(path).run(None, {"data": y})[0]``; the card is the metadata property ``card``.

    Complex tensors are real ones (..., 2), real and imaginary part. The runtime refuses other widths; a batch of none
    it answers with none.
    """

    name = "onnx"
    title = "ONNX model"
    suffix = ".onnx"
    packages = ("onnx", "onnxscript", "onnxruntime")
    opset = 20  # the first with a Fourier transform along any dimension

    def write(self, traced: Traced, path: Path, card: str) -> None:
        from unrolling._version import __version__

        # packages that no network here needs, what is not simplified
        with quiet("torch.onnx", "onnxscript", "onnx_ir"):
            try:
                options: dict[str, Any] = {
                    "dynamo": True,
                    "verbose": False,
                    "external_data": False,
                    "custom_translation_table": _translations(),
                }
                converted = torch.onnx.export(
                    traced.program, opset_version=self.opset, output_names=[ESTIMATE], **options
                )
            except Exception as error:  # of many kinds, with pages of advice
                missing = re.search(
                    r"No ONNX function found for <OpOverload\(op='([\w.]+)'", str(error) + str(error.__cause__)
                )
                reason = f"ONNX has no {missing[1]}" if missing else first_line(error.__cause__ or error)
                raise ExportError(f"the network cannot be written in ONNX: {reason}") from error
            assert converted is not None
            model = converted.model
            if model.opset_imports[""] != self.opset:
                raise ExportError(
                    f"the network was written in opset {model.opset_imports['']} of ONNX, not in {self.opset}"
                )
            _share(model.graph)
            _name_sizes(model.graph, traced)
            _forget_origins(model)
            model.producer_name, model.producer_version = "unrolling", __version__
            model.metadata_props[CARD] = card
            converted.save(path)

    def open(self, path: Path) -> tuple[Run, str | None]:
        self.check()
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.log_severity_level = 3
        try:
            session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # a class of its own for each mishap
            raise ValueError(f"{path} cannot be read as an ONNX model: {first_line(error)}") from error
        return lambda inputs: _run(session, inputs), session.get_modelmeta().custom_metadata_map.get(CARD)


def _run(session: Any, inputs: Any) -> torch.Tensor:
    (estimate,) = session.run(None, {name: tensor.numpy(force=True) for name, tensor in inputs.items()})
    return torch.from_numpy(estimate)


def _translations() -> dict[Any, Any]:
    """Operators that torch does not translate, or otherwise than what they are."""
    from onnxscript import opset20

    op: Any = opset20

    def floor_divide(a: Any, b: Any) -> Any:
        # Division in ONNX cuts towards zero, and -(-n // k) is how sizes are rounded up.
        return op.Div(op.Sub(a, op.Mod(a, b)), b)

    def stable_sort(z: Any, stable: bool | None = None, dim: int = -1, descending: bool = False) -> Any:
        # Of equal values TopK, too, takes the one that comes first.
        size = op.Gather(op.Shape(z), op.Constant(value_ints=[dim]), axis=0)
        return op.TopK(z, size, axis=dim, largest=int(descending), sorted=1)

    def negative(z: Any) -> Any:
        return op.Neg(z)

    def copy(target: Any, source: Any, non_blocking: bool = False) -> Any:
        # torch's translation forgets that one number may be copied to many places.
        return op.Expand(op.CastLike(source, target), op.Shape(target))

    aten = torch.ops.aten
    return {
        operator.floordiv: floor_divide,
        aten.sort.stable: stable_sort,
        aten._neg_view.default: negative,
        aten.copy.default: copy,
    }


def _share(graph: Any) -> None:
    """Equal tensors once: what layers have in common comes out of the exporter transposed for each of them."""
    kept: dict[Any, Any] = {}
    for name, value in list(graph.initializers.items()):
        array = value.const_value.numpy()
        first = kept.setdefault((array.dtype, array.shape, hashlib.sha256(array.tobytes()).digest()), value)
        if first is not value:
            value.replace_all_uses_with(first)
            del graph.initializers[name]


def _name_sizes(graph: Any, traced: Traced) -> None:
    """The names of the free sizes, in the inputs and the estimate, instead of torch's symbols; inside, shapes are left
    to the runtime.
    """
    for node in graph:
        for value in node.outputs:
            value.shape = None
    for value in [*graph.inputs, *graph.outputs]:
        value.shape = _shape(traced.shapes[value.name])


def _shape(sizes: tuple[int | str, ...]) -> Any:
    import onnx_ir

    return onnx_ir.Shape(sizes)


def _forget_origins(model: Any) -> None:
    """Without the lines of code that nodes came from: they name folders of this machine."""
    for graph in (model.graph, *model.functions.values()):
        for node in graph:
            node.metadata_props.clear()
            node.doc_string = None
            for value in node.outputs:
                value.metadata_props.clear()
        for value in (*graph.inputs, *graph.outputs):
            value.metadata_props.clear()
        graph.metadata_props.clear()
    for value in model.graph.initializers.values():
        value.metadata_props.clear()
    model.metadata_props.clear()
