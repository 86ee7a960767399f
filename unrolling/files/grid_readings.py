"""Files of what the meters of a power grid show, and of the voltages that follow from it."""

from __future__ import annotations

import io
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from unrolling.algorithms.power.grid import BRANCH_COLUMNS, BUS_COLUMNS, Grid
from unrolling.algorithms.power.meters import KINDS, Meters
from unrolling.files.decoding import Arrays
from unrolling.files.gate import checked
from unrolling.files.grid_voltages import polar
from unrolling.files.trajectories import real_array
from unrolling.files.whole import check_place, write_bytes

MOST = 1e6  # p.u.: beyond any reading, however wrong a meter is


class GridReadings(NamedTuple):
    """Readings, and what the file says about meters and grid."""

    path: Path
    z: Tensor  # (batch, M) double, per unit, voltages as magnitudes
    single: bool  # whether the file held one state without a batch
    kind: Tensor | None  # (M,) int64
    place: Tensor | None  # (M,) int64
    deviation: Tensor | None  # (M,) of the readings, voltages as magnitudes
    branches: Tensor | None  # (L, 8)
    buses: Tensor | None  # (N, 6)
    out: tuple[int, ...]  # branches out of service

    def meters(self) -> Meters | None:
        """The meters of the file, for squares of voltages; None where it names none."""
        if self.kind is None or self.place is None or self.deviation is None:
            return None
        magnitude = self.kind == 0
        self._check_voltages(self.kind)
        level = self.z[:, magnitude].mean(0)
        deviation = self.deviation.clone()
        deviation[magnitude] *= 2 * level
        return Meters(self.kind, self.place, deviation)

    def check_values(self, meters: Meters, grid: Grid) -> None:
        """Refuses readings that no meter can have given.

        Raises:
            ValueError: NaN, infinite or absurdly large ones, with the meter.
        """
        bad = ~(self.z.abs() <= MOST)
        if bool(bad.any()):
            state, meter = (int(each) for each in bad.nonzero()[0])
            value, where = float(self.z[state, meter]), f"[{meter}]" if self.single else f"[{state}, {meter}]"
            why = f"no reading is beyond {MOST:g} per unit" if np.isfinite(value) else "leave such a meter out"
            raise ValueError(
                f"{self.path}: z{where}, {meters.named(grid, meter)}, is {value:g}, the first of {int(bad.sum())} such "
                f"readings; {why}" + ("" if np.isfinite(value) else ", naming the others by kind, place and deviation")
            )

    def squared(self, kind: Tensor) -> Tensor:
        """Readings with squares in the place of voltages.

        Raises:
            ValueError: a voltage that is not positive, whose square would not tell.
        """
        self._check_voltages(kind)
        return torch.where(kind == 0, self.z.square(), self.z)

    def _check_voltages(self, kind: Tensor) -> None:
        if bool((wrong := (self.z <= 0) & (kind == 0)).any()):
            state, meter = (int(each) for each in wrong.nonzero()[0])
            raise ValueError(
                f"{self.path}: z of meter {meter}, a voltage, is {float(self.z[state, meter]):g}, which is not "
                "positive; voltages are magnitudes per unit"
            )


def read_grid_readings(path: Path) -> GridReadings:
    """Readings of a ``.npz`` file: z (M,) or (batch, M) per unit, voltages as magnitudes; with kind (M,), of V, P, Q,
    Pf, Qf, Pt, Qt or their numbers 0 to 6, place (M,), the bus or branch counted from 0, and deviation (M,), where they
    are other meters than those of the weights; with ``out``, numbers of branches that are out of service; with branches
    (L, 8) and buses (N, 6), as ``Grid`` has them, where the grid is another.

    Raises:
        ValueError: no z; arrays of the wrong kind or shape; unknown kinds, meters with a place or a deviation that
            cannot be; a deviation, an entry of the grid that is not finite. Readings are looked at where meters are
            known (``GridReadings.check_values``).
    """
    arrays = Arrays(path)
    if "z" not in arrays:
        raise ValueError(f"{path} holds {', '.join(arrays) or 'nothing'}; readings are z, (M,) or (batch, M)")
    z = real_array(arrays, "z")
    single = z.ndim == 1
    z = z[None] if single else z
    if z.ndim != 2 or 0 in z.shape:
        raise ValueError(f"{path}: z is (M,) or (batch, M); got {arrays['z'].shape}")
    named = [name for name in ("kind", "place", "deviation") if name in arrays]
    kind = place = deviation = None
    if named:
        if len(named) < 3:
            raise ValueError(f"{path} holds {', '.join(named)}; meters are kind, place and deviation together")
        kind, place, deviation = _kinds(arrays), _whole(arrays, "place"), real_array(arrays, "deviation")
        for name, array in (("kind", kind), ("place", place), ("deviation", deviation)):
            if array.shape != z.shape[1:]:
                raise ValueError(f"{path}: {name} is ({z.shape[1]},), one for each reading; got {array.shape}")
        if (wrong := ~(np.isfinite(deviation) & (deviation > 0))).any():
            at = int(np.argmax(wrong))
            raise ValueError(
                f"{path}: deviation[{at}] is {deviation[at]:g}; the standard deviation of a meter is above 0"
            )
    out = _whole(arrays, "out").reshape(-1) if "out" in arrays else np.zeros(0, dtype=np.int64)
    tables = [torch.from_numpy(real_array(arrays, name)) if name in arrays else None for name in ("branches", "buses")]
    if (tables[0] is None) != (tables[1] is None):
        raise ValueError(
            f"{path}: a grid is branches (L, {len(BRANCH_COLUMNS)}) and buses (N, {len(BUS_COLUMNS)}) together"
        )
    kinds, places, deviations = (None if a is None else torch.from_numpy(a) for a in (kind, place, deviation))
    out = tuple(out.tolist())
    return GridReadings(path, torch.from_numpy(z), single, kinds, places, deviations, tables[0], tables[1], out)


def check_voltages_output(path: Path) -> None:
    """Finds out before the work whether voltages can be written.

    Raises:
        ValueError: they cannot.
    """
    if path.suffix.lower() != ".npz":
        raise ValueError(f"{path}: voltages are written as .npz")
    check_place(path)


def write_voltages(path: Path, states: Tensor, residuals: Tensor, grid: Grid, single: bool) -> None:
    """v (batch, 2 N), its magnitudes ``magnitude`` and angles in degrees ``angle`` (batch, N), ``residual`` (batch, M)
    in standard deviations, and ``bus``, the names. Whole or not at all.

    Raises:
        ValueError: voltages that are not finite.
    """
    v = checked(states.double(), "the voltages").numpy()
    arrays = {**polar(v), "residual": checked(residuals.double(), "the residuals").numpy()}
    named = {name: array[0] if single else array for name, array in arrays.items()}
    content = io.BytesIO()
    np.savez_compressed(content, bus=np.array(grid.labels), **named)  # pyright: ignore[reportArgumentType]
    write_bytes(path, content.getvalue())


def _kinds(arrays: Arrays) -> np.ndarray:
    given = np.asarray(arrays["kind"])
    if given.dtype.kind in "US":
        names = [str(name, "utf-8") if isinstance(name, bytes) else str(name) for name in given.reshape(-1).tolist()]
        if unknown := [name for name in names if name not in KINDS]:
            raise ValueError(f"{arrays.path}: kind holds {unknown[0]!r}; there are {', '.join(KINDS)}")
        return np.array([KINDS.index(name) for name in names], dtype=np.int64).reshape(given.shape)
    return _whole(arrays, "kind")


def _whole(arrays: Arrays, name: str) -> np.ndarray:
    given = np.asarray(arrays[name])
    if given.dtype.kind not in "iu":
        raise ValueError(f"{arrays.path}: {name} holds {given.dtype}; it is whole numbers")
    return given.astype(np.int64)
