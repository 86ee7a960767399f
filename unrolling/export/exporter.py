"""Writes a network as a file for another runtime, and believes it only after having run the file."""

from __future__ import annotations

import copy
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from unrolling.core import frozen, tree
from unrolling.export.card import describe, to_json
from unrolling.export.checks import check_network
from unrolling.export.format import Format
from unrolling.export.loading import Loaded, find, load
from unrolling.export.ports import Named, named, pairs
from unrolling.export.precision import ReducedWeights, check_precision, summary
from unrolling.export.real_pairs import RealPairs, is_complex
from unrolling.export.trace import BATCH, ExportError, Shape, Traced, discover, settle

TOLERANCE = 1e-4
BATCHES = (1, 2, 5)


class Exported(NamedTuple):
    """What was written, and how near it is to the network."""

    path: Path
    format: str
    bytes: int
    opset: int | None  # of ONNX
    shapes: dict[str, Shape]  # of inputs and estimate: sizes, and the names of those that are free
    sizes: dict[str, tuple[int, int | None]]  # free sizes: smallest and largest, None for any
    max_error: float  # largest |file - network| over all that was compared
    max_relative_error: float  # the same over the largest |network| of the batch
    compared: list[dict[str, list[int]]]  # the shapes of the inputs, batch by batch
    seconds: float
    card: dict[str, Any]


def export(
    network: nn.Module,
    path: str | Path,
    example: Any,
    *,
    format: str = "torch",
    card: Mapping[str, Any] | None = None,
    units: Mapping[str, str] | None = None,
    batch: int | None = None,
    free_sizes: bool = True,
    precision: str = "float32",
    draw: Callable[[int], Any] | None = None,
    tolerance: float = TOLERANCE,
) -> Exported:
    """Write a network as a file that runs without this library, run the file, and compare it with the network.

    The file's inputs are the tensors of the data by name (``data`` for a single one, the fields of a NamedTuple), its
    output is ``estimate``, and it carries a card: what ``card`` says, and format, opset, inputs and outputs with
    shapes, dtypes and units, depth, learned numbers and versions. The batch may be of any size, and so may other sizes
    that the network does not fix, such as those of an image; constraints are worked out. The file is read back and
    compared on batches of 1, 2 and 5 samples, and on data whose free sizes are doubled. Until then nothing is at
    ``path``, or what was there before.

    Args:
        network: an ``Unrolled``, or any module that maps data to an estimate, both batch first; it is not changed.
        path: a file, ``.pt2`` for the formats ``torch`` and ``aoti``, ``.onnx`` for ``onnx``.
        example: data, at least two samples; what is per sample has their number as leading size.
        format: a name from ``formats``.
        card: system, task, weights, licence and whatever else a reader should know; plain values.
        units: of the inputs and of ``estimate``, by name.
        batch: the only size of a batch, for a runtime that wants to know it; any by default.
        free_sizes: whether sizes besides the batch may vary where they can.
        precision: ``float32`` keeps the network's own, whatever it is; ``bf16`` or ``int8`` hold its matrices in fewer
            bits (``ReducedWeights``), and the file is compared with the network of these rounded weights. Whether its
            quality holds is for the caller to measure.
        draw: number of samples -> data to compare on; by default samples of the example, drawn with replacement.
        tolerance: largest relative error that is accepted.

    Raises:
        ValueError: an unknown format or precision, a path that cannot be written, a network that is not finite, data
            that do not fit.
        TypeError: what is no network.
        ImportError: a package of the format is missing; the message says what to install.
        RuntimeError: no C++ compiler for ``aoti``.
        ExportError: a network that cannot be traced or written in the format, or a file that gives other results.
    """
    begin = time.perf_counter()
    form = find(format)
    form.check()
    path = check_path(path, form)
    check_network(network)
    check_precision(precision)
    inputs, samples = named(example), tree.batch_size(example, "the example")
    if batch is None and samples < 2:
        raise ValueError(
            "the example holds one sample; with two or more it shows which tensors are per sample (or "
            "export for one batch size, batch=1)"
        )
    if batch is not None and samples != batch:
        raise ValueError(f"batch is {batch}, and the example holds {samples} samples")
    reduced = None if precision == "float32" else ReducedWeights(network, precision)
    reference = copy.deepcopy(network).eval() if reduced is None else reduced
    estimate = _estimate(reference, example)
    traced = _trace(reference, example, inputs, samples, dynamic=batch is None, free=free_sizes, form=form)
    held = {"precision": {"weights": "float32"} if reduced is None else summary(reduced)}
    own = describe(network, example, estimate, inputs, traced, form, units or {}, card or {}, held)
    text = to_json(own)
    # In a folder of its own, moved when it is whole and right: what was at the path stays until then.
    with tempfile.TemporaryDirectory(prefix=f".{path.name}.", dir=path.parent) as folder:
        written = Path(folder) / path.name
        form.write(traced, written, text)
        loaded = load(written, form.name)
        errors = [
            (_compare(reference, loaded, data), _shapes(data))
            for data in _checks(example, samples, traced, draw, reference)
        ]
        absolute, relative = (max(error[k] for error, _ in errors) for k in (0, 1))
        if not relative <= tolerance:
            raise ExportError(
                f"the {form.title} differs from the network by {relative:.2g} of its largest value, more than "
                f"{tolerance:.1g}; it was removed. "
                "A network that chooses (the largest entry, a sign) may choose otherwise where two candidates are "
                "equal up to rounding"
            )
        size = written.stat().st_size
        os.replace(written, path)
    compared = [shapes for _, shapes in errors]
    return Exported(
        path,
        form.name,
        size,
        form.opset,
        traced.shapes,
        traced.sizes,
        absolute,
        relative,
        compared,
        time.perf_counter() - begin,
        own,
    )


def check_path(path: str | Path, form: Format) -> Path:
    """Finds out before the work whether a file can be written; makes its folder.

    Raises:
        ValueError: it cannot, or its name does not end as the format's files do.
    """
    path = Path(path)
    if path.suffix != form.suffix:
        raise ValueError(f"a file of the format {form.name} has a name that ends in {form.suffix}; got {path.name}")
    if path.is_dir():
        raise ValueError(f"cannot write {path}: it is a folder")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{path.name}.", dir=path.parent):
            pass
    except OSError as error:
        raise ValueError(f"cannot write {path}: {error.strerror or error}") from error
    return path


@torch.no_grad()
def _estimate(network: nn.Module, data: Any) -> Tensor:
    estimate = network(data)
    if not isinstance(estimate, Tensor):
        raise TypeError(
            f"the network returns a {type(estimate).__name__}; an exported one returns a tensor, its estimate"
        )
    if not bool(torch.isfinite(estimate).all()):
        raise ValueError("the network's estimate of the example is not finite, so that nothing can be compared with it")
    return estimate


def _trace(
    network: nn.Module,
    example: Any,
    inputs: Mapping[str, Tensor],
    samples: int,
    *,
    dynamic: bool,
    free: bool,
    form: Format,
) -> Traced:
    module = Named(frozen(network), example)
    found = discover(module, inputs, samples, dynamic=dynamic, free=free)
    if form.has_complex or not is_complex(found.program):
        return settle(module, inputs, found)
    return settle(RealPairs(found.program, inputs), pairs(inputs), found)


def _checks(
    example: Any, samples: int, traced: Traced, draw: Callable[[int], Any] | None, reference: nn.Module
) -> Iterator[Any]:
    """Data to compare on."""
    generator = torch.Generator().manual_seed(0)

    def again(count: int) -> Any:
        index = torch.randint(samples, (count,), generator=generator).to(tree.tensors(example)[0].device)
        return tree.select(example, index, samples, "the example")

    draw = again if draw is None else draw
    dynamic = BATCH in traced.sizes
    for count in BATCHES if dynamic else (samples,) * len(BATCHES):
        yield draw(count)
    if traced.sizes.keys() - {BATCH} and _twice_is_allowed(example, traced):
        doubled = _doubled(again(2) if dynamic else again(samples), traced)
        try:
            _estimate(reference, doubled)
        except Exception as error:
            raise ExportError(
                f"the sizes {', '.join(traced.sizes.keys() - {BATCH})} seem free, and yet the network refuses data of "
                f"twice these ({error}); export with free_sizes=False"
            ) from error
        yield doubled


def _twice_is_allowed(data: Any, traced: Traced) -> bool:
    """Whether no free size becomes larger than the file takes when it is doubled."""
    pairs = [
        pair for name, tensor in named(data).items() for pair in zip(traced.shapes[name], tensor.shape, strict=False)
    ]
    limits = [
        (traced.sizes[name][1], size)
        for name, size in pairs
        if isinstance(name, str) and name != BATCH and name in traced.sizes
    ]
    return all(high is None or 2 * size <= high for high, size in limits)


def _doubled(data: Any, traced: Traced) -> Any:
    """Data repeated once along each free size but the batch."""
    shapes = iter(traced.shapes[name] for name in named(data))

    def repeat(tensor: Tensor) -> Tensor:
        shape = next(shapes)[: tensor.ndim]
        return (
            tensor.repeat([2 if isinstance(size, str) and size != BATCH else 1 for size in shape])
            if tensor.ndim
            else tensor
        )

    return tree.apply(repeat, data)


def _compare(reference: nn.Module, loaded: Loaded, data: Any) -> tuple[float, float]:
    """Largest error, and the same relative to the largest value."""
    wanted = _estimate(reference, data)
    got = loaded(data).to(wanted.device)
    if got.shape != wanted.shape or got.dtype != wanted.dtype:
        raise ExportError(
            f"the file's estimate is {got.dtype} {tuple(got.shape)}, and the network's {wanted.dtype} "
            f"{tuple(wanted.shape)}; it was removed"
        )
    error, size = float((got - wanted).abs().max()), float(wanted.abs().max())
    return error, error / size if size > 0 else error


def _shapes(data: Any) -> dict[str, list[int]]:
    return {name: list(tensor.shape) for name, tensor in named(data).items()}
