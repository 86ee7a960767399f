"""States of a moving system from what is measured of it, with a model that may be wrong."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from unrolling.algorithms.dynamics.kalman import (
    ExtendedKalmanFilter,
    KalmanFilter,
    SteadyKalmanFilter,
    steady_gain_of,
)
from unrolling.algorithms.dynamics.motions import Lorenz, Pendulum
from unrolling.algorithms.dynamics.smoother import RauchTungStriebel
from unrolling.algorithms.dynamics.state_space import LinearModel, Recording, StateSpace
from unrolling.core.arguments import check_count, check_range
from unrolling.files.decoding import Arrays
from unrolling.files.trajectories import read_trajectories, real_array
from unrolling.networks.recurrent import RecurrentEstimator, recurrent_units
from unrolling.tasks.base import Samples, Shift, Task
from unrolling.tasks.baselines import Baseline, Generic, Iterative, Method
from unrolling.tasks.exhibits import Exhibits, Shown, TimeSeries
from unrolling.tasks.metrics import Ratio

MODELS = ("linear", "pendulum", "lorenz")
INTERVALS = {"linear": 1.0, "pendulum": 0.05, "lorenz": 0.02}
TIME = {"linear": "moment", "pendulum": "time, s", "lorenz": "time, s"}
QUANTITIES = {"linear": ("place", "rate"), "pendulum": ("angle, rad", "rate, rad/s"), "lorenz": ("x", "y", "z")}
TUNED = tuple(10 ** (decibels / 10) for decibels in range(-30, 41, 5))  # times Q
MATRICES = ("transition", "measurement", "process_noise", "measurement_noise")
SHIFTS = (-20.0, -10.0, 0.0, 10.0)  # dB
PARTS = (0.8, 0.1)  # of the trajectories of a file, for training and for validation


class Tracking(Task):
    """x_t = f(x_(t-1)) + w_t, y_t = h(x_t) + v_t: find x_t from y_1 to y_t, for each t, with f, h and the covariances
    of w and v as they are told.

    ``linear`` has F = [[1, 1], [0, 1]] and H the identity, Q = R = I (the first model of Revach et al. 2022,
    arXiv:2107.10043, section IV-B); ``pendulum`` and ``lorenz`` are ``Pendulum`` and ``Lorenz`` with their defaults.
    Data come from these. Filters and networks are told the same model, but for two things: Q is told ``unknown``
    decibels too large, and with ``mismatch`` the model is another: F turned by so many degrees (F times a rotation), a
    rod that is so many percent longer, H turned by so many degrees about the third axis.

    Args:
        model: linear, pendulum or lorenz.
        mismatch: of the model that is told.
        unknown: in dB, of the process noise that is told; negative where it is too small.
        length: T, moments of a trajectory.
        seed: of the held-out trajectories.
        held_out: validation trajectories, and as many for tests.
        data: a ``.npz`` or ``.csv`` file with trajectories of measurements y and states x: the first eight of ten are
            for training, one of ten for validation, the others for tests. A ``.npz`` file may hold the matrices of a
            linear model, ``transition``, ``measurement``, ``process_noise`` and ``measurement_noise``, which are then
            what is told.
        fixed: tensors of a weights file: these matrices.

    Raises:
        ValueError: an unknown model, a number out of its range, a file that does not hold trajectories of the model.
    """

    name = "tracking"
    given = "measurements of a moving system, one after the other"
    sought = "its state at each moment"
    metric = Ratio("MSE", "dB", "lower", "trajectory", each=lambda estimate, samples: squared_errors(estimate, samples))
    threads = 1
    vectors = False
    references = ("revach2022kalmannet",)
    options: Mapping[str, Any] = {"model": "linear", "mismatch": 0.0, "unknown": -20.0}
    notes = (
        "MSE is 10 log10 of the mean squared error of a number of the state, in the units of the state.",
        "The network and the filters before it are told a model that is wrong as the options say; the filter with the "
        "true model is what they would be with everything known.",
    )

    def __init__(
        self,
        model: str = "linear",
        mismatch: float = 0.0,
        unknown: float = -20.0,
        length: int = 50,
        seed: int = 0,
        held_out: int = 200,
        data: str | Path | None = None,
        fixed: Mapping[str, Tensor] | None = None,
    ) -> None:
        if model not in MODELS:
            raise ValueError(f"model is {model!r}; there are {', '.join(MODELS)}")
        check_range(mismatch, "mismatch", -90.0, 90.0)
        check_range(unknown, "unknown", -60.0, 60.0)
        check_count(length, "length", 2)
        check_count(held_out, "held_out", 2)
        self.model, self.mismatch, self.unknown = model, float(mismatch), float(unknown)
        self.length, self.seed, self.held_out = length, seed, held_out
        self.matrices = {name: (fixed or {})[name] for name in MATRICES if name in (fixed or {})}
        self.recorded: Samples | None = None
        if data is not None:
            self._read(Path(data))
        elif self.matrices:
            self.truth: StateSpace | None = LinearModel(**self.matrices)
        else:
            self.truth = true_model(model)
        self.told = self._told()
        if self.recorded is None:
            self.validation, self.test = (
                [self.draw(held_out, torch.Generator().manual_seed(7_000_003 + 2 * seed + k))] for k in (0, 1)
            )
        self.timing = self.test[0]
        self.summary = (
            f"The states of {'trajectories of a file' if data else f'a {model} system'} from noisy measurements, with "
            + ("a model" if mismatch == 0 else f"a model that is off by {mismatch:g} {unit_of_mismatch(model)}")
            + f" whose process noise is told {abs(unknown):g} dB too {'small' if unknown < 0 else 'large'}."
        )

    @classmethod
    def small(cls) -> Tracking:
        return cls(length=6, held_out=6)

    @classmethod
    def tag(cls, options: Mapping[str, Any]) -> str:
        """The model, how far off it is, and the process noise that is told."""
        off = f"-off{options['mismatch']:g}" if options["mismatch"] else ""
        return f"{options['model']}{off}-told{options['unknown']:g}dB"

    @property
    def direct(self) -> bool:
        """Whether each number of the state is measured, but for noise and a mismatch."""
        return self.model != "pendulum" and not self.matrices

    def filter(self, model: StateSpace | None = None, process_scale: float = 1.0) -> ExtendedKalmanFilter:
        """The Kalman filter of a model, by default the one that is told; extended where it is not linear."""
        model = self.told if model is None else model
        if isinstance(model, LinearModel):
            return KalmanFilter(model, process_scale)
        return ExtendedKalmanFilter(model, process_scale)

    def draw(self, batch: int, generator: torch.Generator) -> Samples:
        """Trajectories from the start on; of a file, some of those for training."""
        if self.recorded is not None:
            index = torch.randint(self.recorded.target.shape[0], (batch,), generator=generator)
            values, present, _ = self.recorded.data
            held = None if present is None else present[index]
            return Samples(Recording(values[index], held), self.recorded.target[index])
        assert self.truth is not None
        x, y = self.truth.simulate(batch, self.length, generator)
        return Samples(Recording(y), x)

    def baselines(self, size: int) -> Sequence[Baseline]:
        """The filter that is told what the network is, with its process noise tuned and as it is told, the filter with
        the true model, what is measured, and a recurrent network that knows no model.
        """
        name = "Kalman filter" if isinstance(self.told, LinearModel) else "extended Kalman filter"
        steps = self.test[0].target.shape[1]
        found: list[Baseline] = [
            Iterative(
                f"{name}, tuned", lambda scale: self.filter(None, scale), TUNED, steps, setting="times Q, as told"
            ),
            Iterative(
                f"steady {name}, tuned",
                lambda scale: SteadyKalmanFilter(self.told, steady_gain_of(self.told, scale)),
                TUNED[::2],
                steps,
                setting="times Q, as told",
            ),
            Iterative(f"{name}, as told", lambda _: self.filter(), (None,), steps, setting=""),
        ]
        truth = self.truth
        if truth is not None:
            smoother = "Rauch-Tung-Striebel smoother, true model (sees the future)"
            found += [
                Iterative(f"{name}, true model", lambda _: self.filter(truth), (None,), steps, setting=""),
                Iterative(
                    smoother, lambda _: RauchTungStriebel(self.filter(truth)), (None,), 2 * steps - 1, setting=""
                ),
            ]
        if self.direct:
            found.append(Method("the measurements", lambda _: lambda data: data.values))
        units = recurrent_units(self.told.measured, self.told.size, size)
        found.append(
            Generic(
                f"recurrent network, {units} units",
                lambda: RecurrentEstimator(self.told.measured, self.told.size, units),
                batch=64,
            )
        )
        return found

    def exhibits(self, methods: Sequence[Shown]) -> Exhibits:
        """The numbers of the state of the first test trajectory over time: as they were, measured, and found by the
        network and by the first filter that the task names.
        """
        values, present, _ = self.test[0].data
        truth = self.test[0].target[0].double().numpy()
        first = {method.role: method for method in reversed(methods) if len(method.estimates)}
        shown = [first[role] for role in ("network", "parent") if role in first]
        interval, unit = (1.0, "moment") if self.matrices else (INTERVALS[self.model], TIME[self.model])
        names = QUANTITIES[self.model] if not self.matrices else [f"number {k + 1}" for k in range(truth.shape[1])]
        seen = values[0].double()
        if present is not None:
            seen = seen.masked_fill(~present[0].expand_as(seen), torch.nan)
        return Exhibits(
            time_series=[
                TimeSeries(
                    name.partition(",")[0].capitalize(),
                    name,
                    interval * np.arange(1, len(truth) + 1),
                    unit,
                    truth[:, k],
                    seen[:, k].numpy() if self.direct else None,
                    [(m.name, m.role, m.estimates[0][0, :, k].double().numpy()) for m in shown],
                )
                for k, name in enumerate(names)
            ]
        )

    def shifts(self) -> Sequence[Shift]:
        """Systems that are pushed about more and less than in training."""
        if self.truth is None or self.matrices:
            return ()

        def drawn(decibels: float) -> Samples:
            generator = torch.Generator().manual_seed(7_000_033 + 2 * self.seed)
            x, y = told_model(self.model, 0.0, 10 ** (decibels / 10)).simulate(self.held_out, self.length, generator)
            return Samples(Recording(y), x)

        words = "Test trajectories with other process noise; what is told stays as it is."
        return (Shift("process noise in dB, 0 being that of training", SHIFTS, drawn, 0.0, words),)

    def identity(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "model": self.model,
            "mismatch": self.mismatch,
            "unknown": self.unknown,
            "length": self.length,
            "seed": self.seed,
        }

    def fixed_tensors(self) -> dict[str, Tensor]:
        return dict(self.matrices)

    def _told(self) -> StateSpace:
        factor = 10 ** (self.unknown / 10)
        if self.matrices:
            own = self.matrices
            return LinearModel(**{**own, "process_noise": factor * own["process_noise"]})
        return told_model(self.model, self.mismatch, factor)

    def _read(self, path: Path) -> None:
        """Trajectories of a file, and the matrices that it holds."""
        if path.suffix.lower() == ".npz":
            arrays = Arrays(path)
            held = [name for name in MATRICES if name in arrays]
            if held and len(held) < len(MATRICES):
                raise ValueError(f"{path} holds {', '.join(held)}; a linear model is {', '.join(MATRICES)}")
            self.matrices = {name: torch.from_numpy(real_array(arrays, name)).float() for name in held} or self.matrices
        self.truth = None
        model = LinearModel(**self.matrices) if self.matrices else true_model(self.model)
        read = read_trajectories(path, None if self.matrices else INTERVALS[self.model])
        if read.x is None:
            raise ValueError(f"{path} holds no states: training needs x beside y")
        for what, found, wanted in (("y", read.y, model.measured), ("x", read.x, model.size)):
            if found.shape[2] != wanted:
                raise ValueError(
                    f"{path}: {what} has {found.shape[2]} numbers a moment, and the model {self.model} {wanted}; a "
                    f".npz file may bring a linear model of its own ({', '.join(MATRICES)})"
                )
        count = len(read.y)
        cuts = [int(PARTS[0] * count), int(PARTS[0] * count) + max(1, int(PARTS[1] * count))]
        if count < 3 or cuts[1] >= count:
            raise ValueError(
                f"{path} holds {count} trajectories; training, validation and tests need 3 or more (a column "
                "`trajectory`, or y (batch, T, m))"
            )
        parts = []
        for part in (slice(0, cuts[0]), slice(*cuts), slice(cuts[1], None)):
            present = None if read.present is None else read.present[part]
            parts.append(Samples(Recording(read.y[part].float(), present), read.x[part].float()))
        self.recorded, self.length = parts[0], read.y.shape[1]
        self.validation, self.test = [parts[1]], [parts[2]]


def unit_of_mismatch(model: str) -> str:
    """What a mismatch is counted in."""
    return "% of the rod's length" if model == "pendulum" else "degrees"


def rotation(degrees: float, size: int = 2) -> Float[Tensor, "n n"]:
    """A rotation of the first two of so many coordinates."""
    matrix, angle = torch.eye(size), torch.deg2rad(torch.tensor(float(degrees)))
    matrix[:2, :2] = torch.stack([angle.cos(), -angle.sin(), angle.sin(), angle.cos()]).view(2, 2)
    return matrix


def true_model(model: str) -> StateSpace:
    """The model that trajectories are made with."""
    return told_model(model, 0.0, 1.0)


def told_model(model: str, mismatch: float, factor: float) -> StateSpace:
    """A model that is off by a mismatch and has so many times the process noise.

    Raises:
        ValueError: an unknown model.
    """
    eye = torch.eye(2)
    if model == "linear":
        return LinearModel(torch.tensor([[1.0, 1.0], [0.0, 1.0]]) @ rotation(mismatch), eye, factor * eye, eye)
    if model == "pendulum":
        return Pendulum(length=1 + mismatch / 100, density=0.3 * factor)
    if model == "lorenz":
        return Lorenz(measurement=rotation(mismatch, 3), process_variance=0.01 * factor)
    raise ValueError(f"model is {model!r}; there are {', '.join(MODELS)}")


def squared_errors(estimate: Tensor, samples: Samples) -> Float[Tensor, "batch 2"]:
    """Per trajectory: the sum of squared errors, and how many numbers there are."""
    error = (estimate - samples.target).double().flatten(1).square()
    return torch.stack([error.sum(1), torch.full_like(error[:, 0], error.shape[1])], dim=1)
