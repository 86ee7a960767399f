"""Format ``onnx``: a file that onnxruntime runs, and most other runtimes."""

from __future__ import annotations

import hashlib
import operator
import re
from pathlib import Path
from typing import Any

import torch

from unrolling.export.format import Format, Run, quiet
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
                    "optimize": False,  # its rewriting takes 1e-8 for nothing, and x + 1e-8 for x
                    "custom_translation_table": _translations(),
                }
                converted = torch.onnx.export(
                    traced.program, opset_version=self.opset, output_names=traced.outputs, **options
                )
            except Exception as error:  # of many kinds, with pages of advice
                raise ExportError(f"the network cannot be written in ONNX: {_reason(error)}") from error
            assert converted is not None
            model = converted.model
            if model.opset_imports[""] != self.opset:
                raise ExportError(
                    f"the network was written in opset {model.opset_imports['']} of ONNX, not in {self.opset}"
                )
            _simplify(model)
            _share(model.graph)
            _name_ports(model.graph, traced)
            _forget_origins(model)
            model.producer_name, model.producer_version = "unrolling", __version__
            model.metadata_props[CARD] = card
            import onnx_ir

            # In memory first: the writer leaves a part of the file where the disk is full.
            content = onnx_ir.to_proto(model).SerializeToString()
        path.write_bytes(content)

    def open(self, path: Path) -> tuple[Run, str | None]:
        self.check()
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.log_severity_level = 3
        content = path.read_bytes()
        try:
            check_model(content)
            session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # a class of its own for each mishap
            raise ValueError(f"{path} cannot be read as an ONNX model: {first_line(error)}") from error
        try:
            card = session.get_modelmeta().custom_metadata_map.get(CARD)
        except UnicodeDecodeError as error:
            raise ValueError(f"{path} cannot be read as an ONNX model: its card is no text ({error})") from error
        return lambda inputs: _run(session, inputs), card


def check_model(content: bytes) -> None:
    """Looks at a model before the runtime does: it names no other file, which the runtime would open, and no operators
    but ONNX's own.

    Raises:
        ValueError: it does, or it is no model.
    """
    import onnx

    model = onnx.load_model_from_string(content)
    graphs = [model.graph]
    while graphs:
        graph = graphs.pop()
        sparse = [part for each in graph.sparse_initializer for part in (each.values, each.indices)]
        tensors = [*graph.initializer, *sparse]
        for node in graph.node:
            if node.domain not in ("", "ai.onnx"):
                raise ValueError(f"it has the operator {node.op_type[:60]!r} of {node.domain[:60]!r}")
            for attribute in node.attribute:
                tensors += [attribute.t, *attribute.tensors, attribute.sparse_tensor.values]
                graphs += [g for g in (attribute.g, *attribute.graphs) if g.ByteSize()]
        for tensor in tensors:
            if tensor.data_location == onnx.TensorProto.EXTERNAL or tensor.external_data:
                raise ValueError(f"its tensor {tensor.name[:60]!r} lies in another file")
    if model.functions or model.training_info:
        raise ValueError("it has functions of its own")


# Of a matrix, by its name in torch.
FACTORISATIONS = re.compile(r"linalg_(solve|inv|cholesky|eig|svd|qr|lu|ldl|det|slogdet|lstsq)|cholesky|triangular|svd")


def _reason(error: Exception) -> str:
    """Why a program is no ONNX model, and what to do."""
    texts, cause = [], error
    while cause is not None:
        texts.append(str(cause))
        cause = cause.__cause__
    missing = re.search(r"No ONNX function found for <OpOverload\(op='([\w.]+)'", " ".join(texts))
    if missing is None:
        node = re.search(r"translating node %\w+ : .*?target=([\w.]+)", " ".join(texts))
        told = re.sub(r"\s*See the stack trace.*", "", first_line(Exception(texts[-1])))
        return f"{f'{node[1]}: ' if node else ''}{told}; the formats torch and aoti may take it"
    name = missing[1]
    if FACTORISATIONS.search(name):
        return (
            f"ONNX has no {name}, nor any factorisation of a matrix. A matrix that does not depend on the data can be "
            "factored in __init__ and held as a buffer; one that does, and is positive definite, can be solved with by "
            "a fixed number of steps of unrolling.operators.conjugate_gradients, tolerance=0; the formats torch and "
            "aoti take it as it is"
        )
    return f"ONNX has no {name}: write it with other operators, or take the formats torch or aoti"


def _run(session: Any, inputs: Any) -> tuple[torch.Tensor, ...]:
    answer = session.run(None, {name: tensor.numpy(force=True) for name, tensor in inputs.items()})
    return tuple(torch.as_tensor(value) for value in answer)


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

    def product(a: Any, b: Any) -> Any:
        # A vector is made a matrix: onnxruntime merges a transposition into a product with a vector, wrongly.
        if b.shape is not None and len(b.shape) == 1:
            column = op.Constant(value_ints=[-1])
            return op.Squeeze(product(a, op.Unsqueeze(b, column)), column) if len(a.shape) > 1 else op.MatMul(a, b)
        if a.shape is not None and len(a.shape) == 1:
            row = op.Constant(value_ints=[-2])
            return op.Squeeze(op.MatMul(op.Unsqueeze(a, op.Constant(value_ints=[0])), b), row)
        return op.MatMul(a, b)

    def copy(target: Any, source: Any, non_blocking: bool = False) -> Any:
        # torch's translation forgets that one number may be copied to many places.
        return op.Expand(op.CastLike(source, target), op.Shape(target))

    aten = torch.ops.aten
    return {
        operator.floordiv: floor_divide,
        aten.sort.stable: stable_sort,
        aten._neg_view.default: negative,
        aten.mv.default: product,
        aten.matmul.default: product,
        aten.copy.default: copy,
    }


def _simplify(model: Any) -> None:
    """What does not depend on the inputs is worked out, what nothing needs is left out; no number changes."""
    from onnx_ir import passes
    from onnx_ir.passes import common
    from onnxscript import optimizer

    common.InlinePass()(model)
    optimizer.fold_constants(model)
    passes.Sequential(
        common.RemoveUnusedNodesPass(),
        common.RemoveUnusedFunctionsPass(),
        common.RemoveUnusedOpsetsPass(),
        common.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0),
        common.CommonSubexpressionEliminationPass(),
        common.OutputFixPass(),
        common.NameFixPass(),
    )(model)


def _share(graph: Any) -> None:
    """Equal tensors once: what layers have in common comes out of the exporter transposed for each of them."""
    kept: dict[Any, Any] = {}
    for name, value in list(graph.initializers.items()):
        array = value.const_value.numpy()
        first = kept.setdefault((array.dtype, array.shape, hashlib.sha256(array.tobytes()).digest()), value)
        if first is not value:
            value.replace_all_uses_with(first)
            del graph.initializers[name]


def _name_ports(graph: Any, traced: Traced) -> None:
    """The names of inputs and outputs, which passes change where one is the other, and of free sizes instead of torch's
    symbols; inside, shapes are left to the runtime.
    """
    names = [*traced.example, *traced.outputs]
    for node in graph:
        for value in node.outputs:
            value.shape = None
            if value.name in names:
                value.name = f"{value.name}_inside"
    for value, name in zip([*graph.inputs, *graph.outputs], names, strict=True):
        value.name = name
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
