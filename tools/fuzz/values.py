"""Arguments: ordinary ones from annotations and names, and what is wrong in their place."""

from __future__ import annotations

import inspect
import re
import types
from collections.abc import Callable
from random import Random
from typing import Any, Literal, Union, get_args, get_origin

import numpy as np
import torch
from torch import Tensor, nn

BATCH, M, N, SIDE = 3, 5, 8, 16
# Sizes of dimensions by the names that annotations give them; 4 for others.
SIZES = {
    "batch": BATCH, "m": M, "n": N, "height": SIDE, "width": SIDE, "kh": 3, "kw": 3, "fh": 3, "fw": 3, "p": 4,
    "size": 4, "M": 2, "rows": 4, "columns": 4, "samples": 200, "points": 20, "colours": 1, "sources": 2, "coils": 2,
    "channels": 3, "T": 40,
}  # fmt: skip
SHAPES = {
    "dictionary": (M, N), "matrix": (M, N), "kernel": (3, 3), "mask": (SIDE, SIDE), "levels": (2,), "taps": (1, 3),
    "x": (BATCH, SIDE, SIDE), "z": (BATCH, N), "y": (BATCH, M), "b": (BATCH, N), "r": (BATCH, N), "image": (SIDE, SIDE),
    "variance": (BATCH, 1), "noise_variance": (BATCH, 1), "threshold": (), "weight": (), "maps": (2, SIDE, SIDE),
    "channel": (BATCH, M, N), "channels": (BATCH, M, N), "filters": (4, 3, 3), "estimate": (BATCH, N),
    "target": (BATCH, N), "table": (3, 4, 4), "magnitude": (BATCH, 9, 6), "spectrum": (BATCH, 9, 6), "half": (BATCH, N),
    "centre": (BATCH, N), "signals": (BATCH, 200), "likelihood": (BATCH, 40, 8),
}  # fmt: skip
POSITIVE = ("variance", "threshold", "weight", "half", "magnitude", "mask", "noise", "deviation", "rho", "probability")
INTEGERS = {
    "seed": (0, 1), "m": (M,), "n": (N,), "height": (SIDE,), "width": (SIDE,), "size": (4, 8, 16), "hop": (4,),
    "factor": (2,), "block": (2, 4), "stride": (1, 2), "channels": (3,), "count": (4,), "pixels": (16,), "memory": (3,),
    "levels": (2,), "k": (2,), "streams": (3,), "antennas": (5,), "dim": (-1, 1), "held_out": (8,), "kernel_size": (5,),
    "iterations": (3,), "max_iterations": (5, 20), "knots": (11,), "sources": (2,), "hidden": (8,), "auxiliary": (2,),
    "layers": (2,), "depth": (2,), "order": (2, 4), "rate": (8000,), "symbols": (60,), "crop": (16,), "rank": (2,),
    "quality": (10, 50), "most": (2, 4), "to": (8,), "units": (8,), "to_size": (8,),
}  # fmt: skip
FLOATS = {
    "probability": (0.1, 0.3), "snr": (20.0, float("inf")), "correlation": (0.5,), "rate": (0.3,), "seconds": (0.2,),
    "first": (-1.0,), "last": (1.0,), "tolerance": (1e-3, 1e-6), "damping": (0.0, 0.5), "low": (5.0,), "high": (10.0,),
    "floor": (1e-6, 0.0), "condition": (5.0,), "coherence": (0.3,), "spacing": (0.5,), "beta": (1.0, 2.0, 0.5),
}  # fmt: skip
NOTHING = inspect.Parameter.empty


def ordinary(name: str, annotation: Any, rng: Random) -> Any:
    """A value that a caller might well give.

    Raises:
        LookupError: of this kind nothing is known.
    """
    text = (
        annotation if isinstance(annotation, str) else getattr(annotation, "__forward_arg__", None) or str(annotation)
    )
    if get_origin(annotation) in (Union, types.UnionType):
        return ordinary(name, rng.choice(get_args(annotation)), rng)
    if get_origin(annotation) is Literal:
        return rng.choice(get_args(annotation))
    if annotation in (type(None), None) or text == "None":
        return None
    if found := re.match(r"Literal\[(.*)\]$", text):
        return rng.choice([part.strip().strip("'\"") for part in found[1].split(",")])
    if found := re.search(r"(Float|Complex|Int|Bool)\[Tensor, ['\"]([^'\"]*)['\"]\]", text):
        return tensor(name, dimensions(found[2]), rng, found[1])
    if "Tensor" in text and "Sequence" not in text and "tuple" not in text and "Callable" not in text:
        if "float" in text and rng.random() < 0.5:
            return ordinary(name, float, rng)
        shape = SHAPES.get(name) or rng.choice([(BATCH, N), (BATCH, SIDE, SIDE), (N,), (BATCH, M), (M, N)])
        return tensor(name, shape, rng)
    if annotation is bool or text == "bool":
        return rng.random() < 0.5
    if annotation is int or text.startswith("int"):
        return rng.choice(INTEGERS.get(name, (1, 2, 3, 4)))
    if annotation in (float, complex) or text.startswith(("float", "complex")):
        return rng.choice(FLOATS.get(name, (0.1, 0.5, 1.0, 2.0)))
    if "dtype" in text:
        return rng.choice([torch.float32, torch.float64])
    if "torch.Generator" in text or name == "generator":
        return torch.Generator().manual_seed(rng.randrange(100))
    if "np.random.Generator" in text or name == "rng":
        return np.random.default_rng(rng.randrange(100))
    if text in ("Shape", "tuple[int, ...]"):
        return rng.choice([(N,), (SIDE, SIDE), (None, None)])
    raise LookupError(f"{name}: {text}")


def dimensions(text: str) -> tuple[int, ...]:
    """The sizes of an annotation's dimensions."""
    return tuple(SIZES.get(part, 4) for part in text.split() if part != "...")


def tensor(name: str, shape: tuple[int, ...], rng: Random, kind: str = "Float") -> Tensor:
    """Normal numbers; positive ones where the name says so, rising levels."""
    generator = torch.Generator().manual_seed(rng.randrange(1 << 30))
    if name == "levels":
        return torch.linspace(-1, 1, shape[0])
    if kind == "Int":
        return torch.randint(0, 2, shape, generator=generator)
    if kind == "Bool":
        return torch.rand(shape, generator=generator) < 0.5
    values = torch.randn(shape, generator=generator)
    if name == "mask":
        return (values > 0).float()
    if any(word in name for word in POSITIVE):
        values = values.abs() + 0.01
    if kind == "Complex" or name in ("spectrum", "maps"):
        values = torch.complex(values, torch.randn(shape, generator=generator))
    return values


def spoiled(value: Any, rng: Random) -> tuple[Any, str]:
    """Something wrong in a value's place, and what it is."""
    if isinstance(value, Tensor) and rng.random() < 0.8:
        return _spoiled_tensor(value, rng)
    choices: list[tuple[Any, str]] = [
        (None, "None"), ("x", "a string"), ([], "an empty list"), ([1.0, 2.0], "a list"), ({}, "a dict"),
        (float("nan"), "NaN"), (float("inf"), "infinity"), (-1, "-1"), (-0.5, "-0.5"), (0, "0"), (1.5, "1.5"),
        (True, "True"), (np.ones(3), "an array"), (torch.ones(2, 3), "(2, 3)"), (torch.tensor([]), "an empty tensor"),
        (object(), "an object"), (1 << 40, "2^40"), (1e30, "1e30"), (1e-30, "1e-30"), (1j, "1j"), ((), "()"),
    ]  # fmt: skip
    return rng.choice(choices)


def _spoiled_tensor(value: Tensor, rng: Random) -> tuple[Any, str]:
    number = value.is_floating_point() or value.is_complex()
    ways: dict[str, Callable[[], Any]] = {
        "another shape": lambda: value.mT if value.ndim > 1 else value.new_ones(value.numel() + 1),
        "a dimension more": lambda: value.unsqueeze(0),
        "a dimension behind": lambda: value.unsqueeze(-1),
        "a dimension less": lambda: value[0] if value.ndim and value.shape[0] else value.new_ones(2, 2),
        "one fewer": lambda: value[..., :-1] if value.ndim else value.new_ones(3),
        "none of it": lambda: value[:0] if value.ndim else value.new_ones(0),
        "integers": lambda: (
            value.real.mul(3).int() if value.is_complex() else value.mul(3).int() if number else value.float()
        ),
        "Booleans": lambda: value != 0,
        "half": lambda: value.half() if value.is_floating_point() else value.to(torch.float64),
        "double": lambda: value.to(torch.complex128 if value.is_complex() else torch.float64),
        "complex": lambda: value + 1j if number else value.to(torch.complex64),
        "NaN": lambda: torch.full_like(value, float("nan")) if number else value.new_zeros(value.shape),
        "infinite": lambda: torch.full_like(value, float("inf")) if number else value.new_ones(value.shape),
        "zeros": lambda: torch.zeros_like(value),
        "large": lambda: 1e30 * value if number else value,
        "small": lambda: 1e-30 * value if number else value,
        "negative": lambda: -value if number else value,
        "an array": lambda: value.detach().numpy(),
        "a list": lambda: value.tolist(),
    }
    name = rng.choice(sorted(ways))
    return ways[name](), name


class Scale(nn.Module):
    """A network that any argument of kind nn.Module may be."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(0.5))

    def forward(self, x: Any, *others: Any) -> Any:
        return self.weight * x
