"""All layers of a prox-linear network for the state of a power grid, from readings to the last state."""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from unrolling.algorithms.kernels.shrinkage import own_copy, suits
from unrolling.core import native

SHARE = 1 << 20  # multiply-adds of a thread at least


class GridSteps:
    """Layers of ``ProxLinear`` one after another, each sample by itself, in a C++ kernel.

    A row of admittances has a number for each bus next to the meter's, and the kernel reads those alone; ``of`` finds
    them. Equal to the layers as written to rounding.

    Args:
        layers: of a frozen network, of one grid, meters, metric and prior.
        kernel: the compiled function of their dtype.
    """

    def __init__(self, layers: Sequence[Any], kernel: Callable[..., None]) -> None:
        first, h = layers[0], layers[0].measurement
        self.nominal, self.measured, self.size, self._kernel = first.nominal, h.measured, h.size, kernel
        real = first.nominal.dtype
        conductance, susceptance = (part.contiguous() for part in h.rows.T.chunk(2))
        meter, column = ((conductance != 0) | (susceptance != 0)).nonzero().unbind(1)
        begin = torch.searchsorted(meter.contiguous(), torch.arange(h.measured + 1))
        whole, byte = torch.int32, torch.uint8
        tensors = [
            begin.to(whole),
            column.to(whole),
            conductance[meter, column],
            susceptance[meter, column],
            h.bus.to(whole),
            h.imaginary.to(byte),
            h.deviation,
            first.metric,
            first.returning,
            first.center,
        ]
        held = [None if each is None else each.detach().contiguous() for each in tensors]
        number = ctypes.c_float if real is torch.float32 else ctypes.c_double
        grid, layer = _structures(number)
        self._grid = grid(*(None if t is None else t.data_ptr() for t in held), self.measured, self.size // 2)
        made = []
        for each in layers:
            step, clip = each.step_size.detach().contiguous(), each.clip.detach().contiguous()
            pull = 0.0 if first.returning is None else float(each.pull.detach())
            held += [step, clip]
            made.append(layer(step.data_ptr(), clip.data_ptr(), len(step), float(each.radius.detach()), pull))
        self._layers, self._depth, self._held = (layer * len(layers))(*made), len(layers), held
        steps = sum(each.step_size.shape[0] + 1 for each in layers)
        self._work = steps * (self.size**2 + 8 * len(column))

    @classmethod
    def of(cls, layers: Sequence[Any]) -> GridSteps | None:
        """For these layers; None where the kernel cannot be had, and for layers that are not on the processor."""
        nominal = layers[0].nominal
        kernel = _kernels().get(nominal.dtype) if nominal.is_cpu else None
        return None if kernel is None else cls(layers, kernel)

    def __call__(self, readings: Any, state: Any = None) -> tuple[Tensor, Tensor] | None:
        """Voltages (batch, 2 N) and duals (batch, M) after all layers; None for data or a state of another kind.

        Args:
            readings: (batch, M).
            state: voltages to start from, (batch, 2 N); the nominal ones by default. It is not written into.
        """
        if not suits(readings, self.nominal) or readings.shape[1] != self.measured:
            return None
        voltage = self.nominal.repeat(readings.shape[0], 1) if state is None else own_copy(state, readings, self.size)
        if voltage is None:
            return None
        readings, batch, parallel = readings.detach().contiguous(), readings.shape[0], native.openmp()
        dual = torch.empty_like(readings)
        threads = 1 if parallel is None else max(1, min(torch.get_num_threads(), batch, batch * self._work // SHARE))
        scratch = readings.new_empty(threads * (5 * self.measured + 3 * self.size))
        where = (each.data_ptr() for each in (readings, voltage, dual, scratch))
        layers = ctypes.addressof(self._layers)
        self._kernel(ctypes.addressof(self._grid), layers, *where, self._depth, batch, threads, parallel)
        native.counted(batch * self._work)
        return voltage, dual


@functools.cache
def _structures(number: Any) -> tuple[Any, Any]:
    """Of C, for numbers of this kind: a grid, and a layer."""
    names = ("begin", "column", "conductance", "susceptance", "bus", "imaginary", "deviation")
    names += ("metric", "returning", "center")
    sizes = [(name, ctypes.c_int64) for name in ("meters", "buses")]
    pointers = [(name, ctypes.c_void_p) for name in names]
    grid = type("Grid", (ctypes.Structure,), {"_fields_": pointers + sizes})
    fields = [("step", ctypes.c_void_p), ("clip", ctypes.c_void_p), ("inner", ctypes.c_int64)]
    return grid, type("Layer", (ctypes.Structure,), {"_fields_": [*fields, ("radius", number), ("pull", number)]})


@functools.cache
def _kernels() -> dict[torch.dtype, Callable[..., None]]:
    """The compiled function for each dtype; none where something fails."""
    arguments = [ctypes.c_void_p] * 6 + [ctypes.c_int64] * 3 + [ctypes.c_void_p]
    without = "prox-linear networks run on torch operators, which take longer, as the kernel could not be built"
    return native.kernels(Path(__file__).with_suffix(".cpp"), "grid_steps", arguments, without)
