"""How filters are applied to files of measurements."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from unrolling.algorithms.dynamics.kalman import track
from unrolling.algorithms.dynamics.state_space import Recording
from unrolling.core import Unrolled
from unrolling.files.trajectories import SUFFIXES, check_states_output, read_trajectories, write_states
from unrolling.systems.base import Application
from unrolling.systems.conditions import Condition, Range
from unrolling.tasks.tracking.trajectories import INTERVALS, Tracking

LIKELY = 2.0  # dB: how far the energy of the innovations may be from that of training data


def ranges(task: Tracking) -> dict[str, Any]:
    """What weights trained on a task are good for: the size of the steps between measurements tells how fast the system
    moves and how noisy it is.
    """
    level = step_level(task.validation[0].data)
    return {
        "steps between measurements": Range(round(level - LIKELY, 1), round(level + LIKELY, 1)),
        "gaps": Range(0, 0),
    }


def step_level(recording: Recording) -> float:
    """The mean square of the differences of two measurements in a row that are both there, in dB."""
    steps = recording.values.double().diff(dim=1).square()
    if recording.present is None:
        return 10 * float(steps.mean().clamp_min(1e-300).log10())
    both = (recording.present[:, 1:] & recording.present[:, :-1]).expand_as(steps)
    return 10 * float((steps * both).sum().clamp_min(1e-300).log10() - both.sum().clamp_min(1).log10())


@torch.no_grad()
def _apply(network: Unrolled, task: Tracking, content: Path, outputs: Sequence[Path], **_: Any) -> Mapping[str, Any]:
    path = content
    read = read_trajectories(path, None if task.matrices else INTERVALS[task.model])
    wanted = task.told.measured
    if read.y.shape[2] != wanted:
        raise ValueError(
            f"{path}: y has {read.y.shape[2]} numbers a moment, and the model of these weights ({task.model}) measures "
            f"{wanted}; other weights are chosen by --set model=..."
        )
    if not bool(torch.isfinite(read.y.float()).all()):
        raise ValueError(f"{path}: y holds values that are too large for single precision (3.4e38)")
    recording = Recording(read.y.float(), read.present)
    states, _state = track(network, recording)
    write_states(outputs[0], states[:, read.rows], read.time, read.single)
    conditions = [Condition("gaps", round(read.gaps, 4), "read", "of the measurements", effect="forecasts fill them")]
    if recording.values.shape[1] > 1:
        level = round(step_level(recording), 1)
        effect = "the system moves otherwise, or is measured otherwise, than in training"
        conditions.insert(0, Condition("steps between measurements", level, "estimated", "dB", effect=effect))
    return {
        "trajectories": read.y.shape[0],
        "moments": read.y.shape[1],
        "model": task.model,
        "missing": round(read.gaps, 4),
        "conditions": conditions,
    }


TRACKING = Application(
    "a .csv file with columns y1, y2, ... and, if known, time and trajectory, a .npz file with y (batch, T, m) or (T, "
    "m) and time (T,), or y alone as .npy; NaN and empty fields are gaps",
    ("the states",),
    lambda path, options: path,
    _apply,
    suffixes=SUFFIXES,
    default_suffixes=("-states.npz",),
    check=check_states_output,
)
