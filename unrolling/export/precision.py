"""Weights in fewer bits: matrices as bfloat16, or as 8-bit integers with a scale per row; arithmetic stays that of the
network.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from unrolling.core import frozen

PRECISIONS = ("float32", "bf16", "int8")
# numbers that a tensor holds to be stored otherwise: thresholds and step sizes are few, and everything hangs on them
LEAST = 64


class ReducedWeights(nn.Module):
    """A network whose larger tensors of two and more dimensions are held in fewer bits, and widened when it is called.

    bf16: rounded to 8 significant bits, relative error at most 2^-8. int8: q = round(w / s) with s = max |w| / 127 over
    each row (first dimension), so that |w - s q| <= s / 2 (symmetric quantisation per channel; Jacob et al. 2018,
    arXiv:1712.05877). Tensors of fewer than 64 numbers, vectors, and those that are not real floating point stay as
    they are. Complex tensors are held as pairs of real ones.

    Constraints are worked out before: a positive number stays positive, and so does a zero zero; sums and norms that a
    constraint fixes hold to rounding.

    Args:
        network: it is not changed.
        precision: ``bf16`` or ``int8``.

    Raises:
        ValueError: another precision, a network without anything to reduce, values that are not finite.
    """

    def __init__(self, network: nn.Module, precision: str) -> None:
        super().__init__()
        if precision not in PRECISIONS[1:]:
            raise ValueError(f"precision is {precision!r}; weights are reduced to {' or '.join(PRECISIONS[1:])}")
        self.precision = precision
        self.network = frozen(network)
        owners = {id(tensor): tensor for tensor in [*self.network.parameters(), *self.network.buffers()]}
        paths: dict[int, list[str]] = {}
        # A module that has two names is named once: `functional_call` would otherwise leave the reduced tensor in it.
        for name, module in self.network.named_modules():
            for leaf, tensor in (*module._parameters.items(), *module._buffers.items()):
                if tensor is not None:
                    paths.setdefault(id(tensor), []).append(f"{name}.{leaf}" if name else leaf)
        self.paths: list[list[str]] = []  # of each reduced tensor all that it goes by
        self.dtypes: list[torch.dtype] = []
        for key, tensor in owners.items():
            if _reducible(tensor):
                for name, part in _packed(tensor, precision).items():
                    self.register_buffer(f"{name}_{len(self.paths)}", part)
                self.paths.append(paths[key])
                self.dtypes.append(tensor.dtype)
        if not self.paths:
            raise ValueError(
                f"the network has no matrix of at least {LEAST} real numbers, so that {precision} would "
                "change nothing: leave it at float32"
            )
        self._forget()

    def forward(self, *given: Any, **options: Any) -> Any:
        """What the network gives: the estimate, or the estimate and the next state."""
        return torch.func.functional_call(self.network, self.widened(), given, options, tie_weights=False)

    def widened(self) -> dict[str, Tensor]:
        """The reduced tensors in the precision of the network, by all their names."""
        found: dict[str, Tensor] = {}
        for number, (paths, dtype) in enumerate(zip(self.paths, self.dtypes, strict=True)):
            parts = {
                name: getattr(self, f"{name}_{number}")
                for name in ("values", "scale")
                if hasattr(self, f"{name}_{number}")
            }
            tensor = _unpacked(parts, dtype)
            found |= dict.fromkeys(paths, tensor)
        return found

    @torch.no_grad()
    def restored(self) -> nn.Module:
        """The network with the rounded values in its own precision: what ``forward`` computes, as fast as the network
        was.
        """
        network = copy.deepcopy(self.network)
        places: Any = dict(network.named_parameters(remove_duplicate=False)) | dict(
            network.named_buffers(remove_duplicate=False)
        )
        done: dict[int, Tensor] = {}
        for path, value in self.widened().items():
            owner, leaf = network.get_submodule(path.rpartition(".")[0]), path.rpartition(".")[2]
            kept = done.setdefault(
                id(value), nn.Parameter(value, requires_grad=False) if isinstance(places[path], nn.Parameter) else value
            )
            setattr(owner, leaf, kept)
        return network

    @property
    def bytes(self) -> int:
        """That all tensors of the network take, each once."""
        reduced = {path for paths in self.paths for path in paths}
        rest = {
            id(t): t
            for path, t in [*self.network.named_parameters(), *self.network.named_buffers()]
            if path not in reduced
        }
        own = [
            tensor
            for name, tensor in self._buffers.items()
            if tensor is not None and name.rpartition("_")[2].isdecimal()
        ]
        return sum(t.numel() * t.element_size() for t in [*rest.values(), *own])

    @torch.no_grad()
    def _forget(self) -> None:
        """The tensors that were reduced keep their shapes and give up their memory: one zero stands for all of each."""
        for paths in self.paths:
            first = (
                self.network.get_parameter(paths[0])
                if _is_parameter(self.network, paths[0])
                else self.network.get_buffer(paths[0])
            )
            small = torch.zeros([1] * first.ndim, dtype=first.dtype, device=first.device).expand(first.shape)
            empty = nn.Parameter(small, requires_grad=False) if isinstance(first, nn.Parameter) else small
            for path in paths:
                owner, leaf = self.network.get_submodule(path.rpartition(".")[0]), path.rpartition(".")[2]
                setattr(owner, leaf, empty)

    def extra_repr(self) -> str:
        return f"{self.precision}, {len(self.paths)} tensors reduced, {self.bytes:,} bytes"


def check_precision(precision: str) -> None:
    """Refuses what is none.

    Raises:
        ValueError: another word than float32, bf16 and int8.
    """
    if precision not in PRECISIONS:
        raise ValueError(f"no precision {precision!r}; there are {', '.join(PRECISIONS)}")


def summary(reduced: ReducedWeights) -> Mapping[str, Any]:
    """For a card."""
    return {
        "weights": reduced.precision,
        "tensors": len(reduced.paths),
        "bytes": reduced.bytes,
        "arithmetic": "that of the inputs",
    }


def _is_parameter(module: nn.Module, path: str) -> bool:
    return path.rpartition(".")[2] in module.get_submodule(path.rpartition(".")[0])._parameters


def _reducible(tensor: Tensor) -> bool:
    if tensor.ndim < 2 or tensor.numel() < LEAST or not (tensor.is_floating_point() or tensor.is_complex()):
        return False
    if not bool(torch.isfinite(tensor).all()):
        return False  # a wall of infinities, such as a forbidden transition, has no scale
    return bool((tensor != 0).any())


@torch.no_grad()
def _packed(tensor: Tensor, precision: str) -> dict[str, Tensor]:
    real = (torch.view_as_real(tensor.resolve_conj()) if tensor.is_complex() else tensor).detach()
    if precision == "bf16":
        return {"values": real.to(torch.bfloat16)}
    scale = real.abs().amax(tuple(range(1, real.ndim)), keepdim=True) / 127
    scale = torch.where(scale > 0, scale, 1.0)
    return {"values": torch.round(real / scale).to(torch.int8), "scale": scale}


def _unpacked(parts: Mapping[str, Tensor], dtype: torch.dtype) -> Tensor:
    real = parts["values"].to(dtype.to_real())
    real = real * parts["scale"] if "scale" in parts else real
    return torch.view_as_complex(real) if dtype.is_complex else real
