"""Writes a network as a file for another runtime, and believes it only after having run the file."""

from __future__ import annotations

import copy
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor, nn

from unrolling.core import Unrolled, frozen, tree
from unrolling.export import states
from unrolling.export.agreement import BATCHES, answer, compare
from unrolling.export.card import describe, to_json
from unrolling.export.checks import check_network
from unrolling.export.format import Format
from unrolling.export.loading import find_format, formats, load
from unrolling.export.plan import Example, plan, smallest
from unrolling.export.ports import KeywordForward, named, pairs
from unrolling.export.precision import ReducedWeights, check_precision, summary
from unrolling.export.real_pairs import RealPairs, is_complex
from unrolling.export.trace import BATCH, ExportError, Shape, SizesError, Traced, discover, settle
from unrolling.files.ending import ends_in_order
from unrolling.files.whole import write_bytes
from unrolling.operators import BlockSensing

TOLERANCE = 1e-4


class Exported(NamedTuple):
    """What was written, and how near it is to the network."""

    path: Path
    format: str
    bytes: int
    opset: int | None  # of ONNX
    shapes: dict[str, Shape]  # of inputs and outputs: sizes, and the names of those that are free
    sizes: dict[str, tuple[int, int | None]]  # free sizes: smallest and largest, None for any
    sizes_compared: dict[str, list[int]]  # those of them that were run, by name
    max_error: float  # largest |file - network| over all that was compared
    max_relative_error: float  # the same over the largest |network| of the batch
    own_rounding: float  # the largest |network - network in double precision|, likewise, where the error is above 1e-4
    compared: list[dict[str, list[int]]]  # the shapes of the inputs, batch by batch
    seconds: float
    card: dict[str, Any]


def export(
    network: nn.Module,
    path: str | Path,
    example: Any,
    *,
    state: Any = None,
    stream: bool = False,
    format: str = "torch",
    card: Mapping[str, Any] | None = None,
    units: Mapping[str, str] | None = None,
    batch: int | None = None,
    free_sizes: bool = True,
    precision: str = "float32",
    draw: Callable[[int], Any] | None = None,
    tolerance: float = TOLERANCE,
    progress: Callable[[str], None] = lambda phase: None,
) -> Exported:
    """Write a network as a file that runs without this library, run the file, and compare it with the network.

    The file's inputs are the tensors of the data by name (``data`` for a single one, the fields of a NamedTuple), its
    output is ``estimate``, and it carries a card: what ``card`` says, and format, opset, inputs and outputs with
    shapes, dtypes and units, depth, learned numbers and versions. The batch may be of any size, and so may other sizes
    that the network does not fix, such as those of an image; constraints are worked out. The file is read back and
    compared on batches of 1, 2 and 5 samples, at the smallest sizes, at odd ones and at twice the example's, and on
    samples that are silent, silent in part, constant, impulses, a hundred times larger and smaller: a range of sizes
    that is stated was run at its ends, and what has no upper end was run up to twice the example's. Until then nothing
    is at ``path``, or what was there before.

    A stream: with a ``state`` the file maps (data, state) to (estimate, next state). The state's tensors are inputs
    ``state`` or ``state_x``, what comes out is ``next_state`` or ``next_state_x``, of the same shapes and dtypes; its
    plain numbers are tensors without dimension, with which a network may compute, but not choose by them.

    Args:
        network: an ``Unrolled``, or any module that maps data to an estimate, both batch first; with a state, (data,
            state) to (estimate, state). It is not changed.
        path: a file, ``.pt2`` for the formats ``torch`` and ``aoti``, ``.onnx`` for ``onnx``.
        example: data, at least two samples; what is per sample has their number as leading size.
        state: an example of a state, for a file that goes on from one.
        stream: take the state in which the network leaves the example for ``state``.
        format: a name from ``formats``.
        card: system, task, weights, licence and whatever else a reader should know; plain values.
        units: of the inputs and of ``estimate``, by name.
        batch: the only size of a batch, for a runtime that wants to know it; any by default.
        free_sizes: whether sizes besides the batch may vary where they can. Where the file differs from the network at
            other sizes than the example's, they are fixed all the same, and the card says why (``sizes_fixed``).
        precision: ``float32`` keeps the network's own, whatever it is; ``bf16`` or ``int8`` hold its matrices in fewer
            bits (``ReducedWeights``), and the file is compared with the network of these rounded weights. Whether its
            quality holds is for the caller to measure.
        draw: number of samples -> data to compare on; by default samples of the example, drawn with replacement.
        tolerance: largest relative error that is accepted; a larger one, up to a hundredth, where the network magnifies
            rounding so much that it is itself about as far from its value in double precision.
        progress: is told what begins: "tracing the network".

    Raises:
        ValueError: an unknown format or precision, a path that cannot be written, a network that is not finite, data
            that do not fit.
        TypeError: what is no network.
        ImportError: a package of the format is missing; the message says what to install.
        RuntimeError: no C++ compiler for ``aoti``.
        ExportError: a network that cannot be traced or written in the format, or a file that gives other results.
    """
    begin = time.perf_counter()
    form = find_format(format)
    form.check()
    path = check_path(path, form)
    check_network(network)
    check_precision(precision)
    named(example)
    samples = tree.batch_size(example, "the example")
    if batch is None and samples < 2:
        raise ValueError(
            "the example holds one sample; with two or more it shows which tensors are per sample (or "
            "export for one batch size, batch=1)"
        )
    if batch is not None and samples != batch:
        raise ValueError(f"batch is {batch}, and the example holds {samples} samples")
    reduced = None if precision == "float32" else ReducedWeights(network, precision)
    reference = copy.deepcopy(network).eval() if reduced is None else reduced
    if state is None and stream:
        state = states.last_state(network, example)
    # A tensor that stands in two places, such as the zeros of a start, would be one input of the traced program.
    example, state = tree.apply(Tensor.clone, example), tree.apply(Tensor.clone, state)
    given = Example(example, state, samples, _has_samples(network))
    outputs = answer(reference, example, state)
    progress("tracing the network")
    traced = _trace(reference, given, list(outputs), dynamic=batch is None, free=free_sizes, form=form)
    progress("looking for the smallest sizes")
    chosen = plan(reference, given, traced, form.has_guards)
    traced = traced._replace(sizes=chosen.sizes)
    compared_sizes = chosen.compared | ({BATCH: list(BATCHES)} if BATCH in traced.sizes else {})
    more: dict[str, Any] = {"precision": {"weights": "float32"} if reduced is None else summary(reduced)}
    if state is not None:
        more["state"] = _state(network, given)
    own = describe(network, example, outputs, given.inputs, traced, form, units or {}, card or {}, more, compared_sizes)
    text = to_json(own)
    # In a folder of the system's for what is temporary, which goes whatever happens; what was at the path stays until
    # the file is whole and right.
    with ends_in_order(), tempfile.TemporaryDirectory(prefix="unrolling-") as folder:
        written = Path(folder) / path.name
        progress(f"writing the {form.title}")
        form.write(traced, written, text)
        progress("reading it back, and comparing it with the network")
        loaded = load(written, form.name)
        refused, errors = "", []
        try:
            errors = compare(reference, loaded, given, traced, chosen, draw, tolerance)
        except SizesError as error:
            refused = str(error)
        if refused:
            progress("fixing the sizes, at others of which the file differs")
            return export(
                network,
                path,
                example,
                state=state,
                format=format,
                card={**(card or {}), "sizes_fixed": refused},
                units=units,
                batch=batch,
                free_sizes=False,
                precision=precision,
                draw=draw,
                tolerance=tolerance,
                progress=progress,
            )
        absolute, relative = max(e.absolute for e in errors), max(e.relative for e in errors)
        own_rounding = max(e.own for e in errors)
        worst = max((e for e in errors if not e.own), key=lambda e: e.relative, default=errors[0])
        if not (worst.own or worst.relative <= tolerance):
            raise ExportError(
                f"the {form.title} differs from the network by {worst.relative:.2g} of its largest value, more than "
                f"{tolerance:.1g}, on {worst.what}; it was removed. "
                "A network that chooses (the largest entry, a sign) may choose otherwise where two candidates are "
                "equal up to rounding"
            )
        content = written.read_bytes()
        write_bytes(path, content)
    compared = [error.shapes for error in errors if error.shapes]
    return Exported(
        path,
        form.name,
        len(content),
        form.opset,
        traced.shapes,
        traced.sizes,
        compared_sizes,
        absolute,
        relative,
        own_rounding,
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
        others = [name for name, other in formats.items() if other.suffix == path.suffix and name != form.name]
        raise ValueError(
            f"a file of the format {form.name} has a name that ends in {form.suffix}; got {path.name}"
            + (f' (give format="{others[0]}", on the command line --format {others[0]})' if others else "")
        )
    if path.is_dir():
        raise ValueError(f"cannot write {path}: it is a folder")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{path.name}.", dir=path.parent):
            pass
    except OSError as error:
        raise ValueError(f"cannot write {path}: {error.strerror or error}") from error
    return path


def _has_samples(network: nn.Module) -> bool:
    """Whether a state has samples: not where it is the parameters of a network, say."""
    layer: Any = network.layers[0] if isinstance(network, Unrolled) else None
    return layer is None or layer.batched


def _state(network: nn.Module, given: Example) -> list[dict[str, Any]]:
    """The state's ports for the card: names where it goes in and comes out, which are plain numbers, and with what it
    starts.
    """
    starts = states.starts(states.first_state(network, given.data), given.state)
    numbers = states.numbers_of(given.state)
    return [
        {"input": name, "output": states.NEXT + name, "number": name in numbers, "start": start}
        for name, start in starts.items()
    ]


def _trace(
    network: nn.Module, given: Example, outputs: list[str], *, dynamic: bool, free: bool, form: Format
) -> Traced:
    inner = frozen(network)
    for module in inner.modules():
        if isinstance(module, BlockSensing):  # its equations are factored here, once
            module.diagonalise()

    def call(tensors: dict[str, Tensor]) -> Any:
        values = iter(tensors.values())
        data = tree.apply(lambda _: next(values), given.data)
        if given.state is None:
            return inner(data)
        estimate, after = states.run(
            inner, data, tree.apply(lambda _: next(values), states.with_numbers_as_tensors(given.state))
        )
        return (estimate, *states.state_ports(after).values())

    inputs = given.inputs
    module = KeywordForward(call, inner, list(inputs))
    whole = [] if given.batched or given.state is None else list(states.state_ports(given.state))
    try:
        found = discover(module, inputs, outputs, given.samples, dynamic=dynamic, free=free, whole=whole)
    except ExportError as error:
        numbers = [] if given.state is None else states.numbers_of(given.state)
        if not numbers:
            raise
        raise ExportError(
            f"{error}. The state's {', '.join(numbers)} {'is a number' if len(numbers) == 1 else 'are numbers'}, and a "
            "file takes it as an input: a network may compute with it, and not choose by it (if, range, min); "
            "torch.where and torch.clamp can"
        ) from error
    least = smallest(network, given, found)
    if form.has_complex or not is_complex(found.program):
        return settle(module, inputs, found, least)
    return settle(RealPairs(found.program, inputs, len(outputs)), pairs(inputs), found, least, other=True)
