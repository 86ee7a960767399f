"""Calls of what is public, with ordinary arguments and with one that is wrong."""

from __future__ import annotations

import contextlib
import copy
import inspect
import random
import warnings
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any
from unittest import mock

import numpy as np
import torch
from torch import Tensor, nn

from tools.fuzz.examples import examples
from tools.fuzz.recorded import Call, public
from tools.fuzz.values import BATCH, NOTHING, SIDE, dimensions, ordinary, spoiled, tensor
from tools.fuzz.watch import MEMORY, TIMES, Find, HangError, Peak, arrays, is_named, not_finite, within, words
from unrolling.core import Iteration, solve, tree, unroll
from unrolling.core.refusals import is_told
from unrolling.operators import LinearOperator
from unrolling.tasks import Task

# What is asked for is beyond this machine: that is an answer.
BEYOND = ("can't allocate memory", "not enough memory", "DefaultCPUAllocator", "Unable to allocate", "Storage size")
BASES = {"SparseTask", "Pictures", "Mixtures", "Pairs"}  # parts of tasks
# Functions that are detectors and proxes, which name what they refuse as classes do. Of the others, which classes are
# made of and hand what they have checked, only the process, the time, the memory and the values are looked at.
# fmt: off
NAMED = {
    "clamp_coefficients", "decide", "fit_radial_basis", "fit_to_taps", "hard_threshold", "k_sparse",
    "least_squares_taps", "level_posterior", "lmmse", "matched_filter", "nonnegative", "piecewise_polynomial",
    "posterior", "semidefinite_relaxation", "soft_threshold", "sphere_decode", "support_select",
    "surrogate_hard_threshold", "viterbi_path", "zero_forcing",
}
# fmt: on
# Values that an ordinary call may give that are not finite: where the docstring says so.
NOT_FINITE = {"tasks.si_sdr", "tasks.sdr"}


def targets() -> list[str]:
    """What is called, by name: classes with examples, and functions whose arguments can be drawn."""
    return _targets()


@cache
def _targets() -> list[str]:
    found = []
    for name, item in public().items():
        if inspect.isclass(item):
            task = issubclass(item, Task) and item is not Task and hasattr(item, "small")
            if (item in examples() or task) and item.__name__ not in BASES:
                found.append(name)
        elif not name.startswith("tasks.") and _drawable(item):
            found.append(name)
    return found


def _drawable(function: Callable[..., Any]) -> bool:
    try:
        _drawn(function, random.Random(0), every=True)
    except LookupError:
        return False
    return True


def _drawn(function: Callable[..., Any], rng: random.Random, every: bool = False) -> dict[str, Any]:
    """Ordinary arguments by name; those with defaults one time in two."""
    found = {}
    for name, parameter in inspect.signature(function).parameters.items():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        if parameter.default is not NOTHING and (every or rng.random() < 0.5):
            continue
        found[name] = ordinary(name, parameter.annotation, rng)
    return found


def check_call(seed: int, number: int, peak: Peak) -> tuple[str, Find | None, int]:
    """One call.

    Returns:
        What became of it (done or refused), what was found, and the memory that it took.
    """
    rng = random.Random(f"{seed} {number} call")
    name = targets()[number % len(targets())] if rng.random() < 0.5 else rng.choice(targets())
    return judge(name, rng, peak)


def judge(name: str, rng: random.Random, peak: Peak) -> tuple[str, Find | None, int]:
    """A call of something public, by its name."""
    item = public()[name]
    torch.manual_seed(0)
    wrong = rng.random() < 0.75
    said = [name]
    exempt = not inspect.isclass(item) and item.__name__ not in NAMED
    peak.begin()
    fate, find = "done", None
    result: Any = None
    try:
        with within(), _unspoken(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            result = _call(item, rng, wrong, said)
    except HangError as error:
        find = Find("hang", " ".join(said), str(error)[-300:])
    except Exception as error:
        fate = "refused"
        if not exempt and not is_named(error) and not _is_beyond(error) and not _is_an_answer(error):
            find = Find("exception", " ".join(said), words(error))
    else:
        if not wrong and not exempt and name not in NOT_FINITE and (bad := not_finite(result)):
            find = Find("values", " ".join(said), bad)
    taken = peak.end()
    if find is None and fate == "done" and taken > MEMORY + TIMES * sum(each.nbytes for each in arrays(result)):
        find = Find("memory", " ".join(said), f"{taken >> 20} MiB")
    return fate, find, taken


@contextlib.contextmanager
def _unspoken() -> Iterator[None]:
    """Noise in the place of generated voices, which take seconds."""
    from unrolling.tasks.speech import recordings, voices

    def hiss(voice: Any, seconds: float, rng: np.random.Generator, rate: int = 8000) -> np.ndarray:
        return rng.standard_normal(int(seconds * rate)).astype(np.float32)

    def rush(seconds: float, rng: np.random.Generator, rate: int = 8000) -> np.ndarray:
        return hiss(None, seconds, rng, rate)

    with mock.patch.object(voices, "speak", hiss), mock.patch.object(recordings, "draw_noise", rush):
        yield


def _is_beyond(error: Exception) -> bool:
    return isinstance(error, MemoryError) or any(part in str(error) for part in BEYOND)


def _is_an_answer(error: Exception) -> bool:
    """Errors of their own names that say what happened: divergence, a norm that is not known."""
    return isinstance(error, ArithmeticError) and is_told(error)


class ShapeError(Exception):
    """A result of a shape that is not the documented one."""


def _call(item: Any, rng: random.Random, wrong: bool, said: list[str]) -> Any:
    if not inspect.isclass(item):
        arguments = _drawn(item, rng)
        if wrong:
            _spoil(arguments, rng, said)
        result = item(**arguments)
        if not wrong:
            _check_annotated(item, arguments, result)
        return result
    if issubclass(item, Task):
        return _task(item, rng, wrong, said)
    call = rng.choice(examples()[item])
    arguments = copy.deepcopy(call.arguments)
    at_making = wrong and rng.random() < 0.5 and bool(arguments)
    if at_making:
        _spoil(arguments, rng, said)
    made = item(**arguments)
    return _used(made, call, rng, wrong and not at_making, said)


def _spoil(arguments: dict[str, Any], rng: random.Random, said: list[str]) -> None:
    if arguments:
        name = rng.choice(sorted(arguments))
        arguments[name], what = spoiled(arguments[name], rng)
        said.append(f"{name}={what}")


def _task(item: Any, rng: random.Random, wrong: bool, said: list[str]) -> Any:
    arguments = dict(_small(item))
    options = [
        (name, parameter)
        for name, parameter in inspect.signature(item).parameters.items()
        if parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
        and name not in ("data", "fixed", "draw")
    ]
    for name, parameter in rng.sample(options, min(len(options), 1)):
        value = arguments.get(name, parameter.default)
        if wrong:
            arguments[name], what = spoiled(value, rng)
            said.append(f"{name}={what}")
        elif name == "seed":
            arguments[name] = rng.randrange(5)
    task = item(**arguments)
    return [batch.data for batch in (task.test if isinstance(task.test, list) else [])]


@cache
def _small(item: Any) -> dict[str, Any]:
    """What the small version of a task is made with."""
    seen: list[dict[str, Any]] = []
    before = item.__init__

    def noting(self: Any, *given: Any, **named: Any) -> None:
        if not seen:
            bound = inspect.signature(before).bind(self, *given, **named)
            seen.append({k: v for k, v in bound.arguments.items() if k != "self"})
        before(self, *given, **named)

    item.__init__ = noting
    try:
        item.small()
    finally:
        item.__init__ = before
    for name, parameter in inspect.signature(before).parameters.items():
        if parameter.kind is parameter.VAR_KEYWORD and seen:
            seen[0] |= seen[0].pop(name, {})
    return seen[0] if seen else {}


def _used(made: Any, call: Call, rng: random.Random, wrong: bool, said: list[str]) -> Any:
    """What has been made, put to use."""
    data = copy.deepcopy(call.data)
    if isinstance(made, Iteration):
        if data is None:
            return None
        data = _with_spoiled(data, rng, said) if wrong else data
        if rng.random() < 0.5:
            said.append("in solve")
            found = solve(made, data, tolerance=1e-3, max_iterations=3, on_divergence="raise").estimate
        else:
            said.append("in unroll")
            with torch.no_grad():
                found = unroll(made, 2)(data)
        if not wrong and isinstance(found, Tensor) and found.shape[0] != tree.batch_size(data, "data"):
            raise ShapeError(f"{tuple(found.shape)} of {tree.batch_size(data, 'data')} samples")
        return found
    if isinstance(made, LinearOperator):
        return _applied(made, data, rng, wrong, said)
    if isinstance(made, nn.Module) and data is not None:
        given = list(data) if isinstance(data, tuple) and not hasattr(data, "_fields") else [data]
        if wrong:
            place = rng.randrange(len(given))
            given[place] = _with_spoiled(given[place], rng, said)
        with torch.no_grad():
            return made(*given)
    return None


def _with_spoiled(data: Any, rng: random.Random, said: list[str]) -> Any:
    """Data with one of their parts spoiled."""
    if isinstance(data, tuple) and hasattr(data, "_fields") and rng.random() < 0.9:
        name = rng.choice(data._fields)
        value, what = spoiled(getattr(data, name), rng)
        said.append(f"data.{name}={what}")
        return data._replace(**{name: value})
    value, what = spoiled(data, rng)
    said.append(f"data={what}")
    return value


def _applied(operator: LinearOperator, data: Any, rng: random.Random, wrong: bool, said: list[str]) -> Any:
    method = rng.choice(("forward", "adjoint", "gradient_step", "solve_normal", "norm"))
    said.append(f".{method}")
    shape = tuple(SIDE if size is None else size for size in operator.input_shape)
    x = data if isinstance(data, Tensor) else tensor("x", (operator.batch_size or BATCH, *shape), rng)
    if method == "norm":
        options: dict[str, Any] = {
            "tolerance": 1e-3,
            "max_iterations": 200,
            "shape": tuple(x.shape[1:]),
            "dtype": x.dtype,
        }
        if wrong:
            _spoil(options, rng, said)
        return torch.tensor(operator.norm(**options))
    given: list[Any] = [x]
    if method in ("adjoint", "gradient_step"):
        y = operator(x)
        given = [y] if method == "adjoint" else [x, y, 0.1]
    elif method == "solve_normal":
        given = [x, 0.5]
    if wrong:
        place = rng.randrange(len(given))
        given[place], what = spoiled(given[place], rng)
        said.append(f"argument {place}={what}")
    found = getattr(operator, method)(*given)
    if not wrong:
        wanted = operator.output_shape if method == "forward" else operator.input_shape
        sizes = tuple(found.shape[found.ndim - len(wanted) :])
        if any(size not in (None, got) for size, got in zip(wanted, sizes, strict=True)) or (
            method != "forward" and None not in operator.input_shape and tuple(found.shape) != tuple(x.shape)
        ):
            raise ShapeError(f"{tuple(found.shape)}")
    return found


def _check_annotated(item: Any, arguments: dict[str, Any], result: Any) -> None:
    """Refuses a result whose named dimensions are not those of the arguments."""
    signature = inspect.signature(item)
    named: dict[str, int] = {}
    for name, value in arguments.items():
        text = str(signature.parameters[name].annotation)
        if isinstance(value, Tensor) and "Tensor, '" in text and "..." not in text:
            parts = text.split("'")[1].split()
            if len(parts) == value.ndim:
                named |= dict(zip(parts, value.shape, strict=True))
    text = str(signature.return_annotation)
    if isinstance(result, Tensor) and "Tensor, '" in text and "..." not in text:
        parts = text.split("'")[1].split()
        if len(parts) != result.ndim or any(named.get(p, s) != s for p, s in zip(parts, result.shape, strict=True)):
            raise ShapeError(f"{tuple(result.shape)} is not {text}: {named} {dimensions('')}")
