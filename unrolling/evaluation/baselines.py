"""Methods that every network of a task should be seen beside."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from unrolling.evaluation.measure import Contender
from unrolling.tasks.base import Task, estimates_of, pieces_of
from unrolling.tasks.baselines import Method


class Affine(NamedTuple):
    """x = y gain + bias, of rows."""

    gain: Tensor  # (m, k)
    bias: Tensor  # (k,)
    ridge: float
    rows: int  # training rows that the moments are taken from


def affine_estimate(task: Task, *, rows: int = 60_000, seed: int = 0) -> Affine:
    """The best affine estimate: x = E x + C_xy (C_yy + r I)^-1 (y - E y), moments from training draws, r from the
    validation set.

    Args:
        task: where samples come from.
        rows: about how many training rows.
        seed: of the draws.
    """
    inputs, targets = _training_rows(task, rows, seed)
    mean_y, mean_x = inputs.mean(0), targets.mean(0)
    y, x = inputs - mean_y, targets - mean_x
    covariance, cross = y.T @ y / len(y), x.T @ y / len(y)
    scale = covariance.diagonal().mean()
    identity = torch.eye(len(covariance), dtype=covariance.dtype)

    def with_ridge(ridge: float) -> Affine:
        gain = torch.linalg.solve(covariance + ridge * scale * identity, cross.T).float()
        return Affine(gain, (mean_x - mean_y @ gain.double()).float(), ridge, len(inputs))

    ridges = (1e-8, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1)
    return with_ridge(best(task, ridges, lambda ridge: _estimator(task, with_ridge(ridge))))


def _estimator(task: Task, affine: Affine) -> Callable[[Any], Tensor]:
    gain, bias = affine.gain, affine.bias

    def run(data: Any) -> Any:
        rows = task.rows(data)
        return task.assemble(torch.addmm(bias.to(rows.device), rows, gain.to(rows.device)), data)

    return run


def linear_mmse(task: Task, *, rows: int = 60_000, seed: int = 0, affine: Affine | None = None) -> Contender:
    """The best affine estimate as a method.

    Args:
        task: where samples come from.
        rows: about how many training rows.
        seed: of the draws.
        affine: where it is known already.
    """
    affine = affine_estimate(task, rows=rows, seed=seed) if affine is None else affine
    return Contender(
        "linear MMSE",
        "generic",
        _estimator(task, affine),
        None,
        affine.gain.numel() + affine.bias.numel(),
        f"best affine estimate from {affine.rows:,} training vectors, ridge {affine.ridge:g} chosen on validation data",
        linear=True,
    )


def _training_rows(task: Task, rows: int, seed: int) -> tuple[Tensor, Tensor]:
    inputs: list[Tensor] = []
    targets: list[Tensor] = []
    generator = torch.Generator().manual_seed(seed)
    while sum(map(len, inputs)) < rows:
        batch = task.draw(256, generator)
        inputs.append(task.rows(batch.data))
        targets.append(task.target_rows(batch.target))
    return torch.cat(inputs)[:rows].double(), torch.cat(targets)[:rows].double()


def best(
    task: Task, settings: Sequence[Any], make: Callable[[Any], Callable[[Any], Tensor]], limit: int | None = None
) -> Any:
    """The setting whose method has the best metric on the validation set; the only one without a try.

    Args:
        task: validation data and metric.
        settings: candidates.
        make: the method for a setting.
        limit: largest number of samples of a batch that it is given.
    """
    if len(settings) == 1:
        return settings[0]

    def score(setting: Any) -> float:
        estimates = estimates_of(make(setting), task.validation, limit)
        return task.metric.rank(task.metric.value(pieces_of(task, task.validation, estimates)))

    return min(settings, key=score)


def run_method(task: Task, method: Method) -> Contender:
    """A method that does not go step by step, its setting chosen on validation data.

    Args:
        task: validation data and metric.
        method: with the settings to choose from.
    """
    setting = best(task, method.settings, method.make, method.limit)
    note = method.note.format(setting=setting)
    if len(method.settings) > 1:
        note += f"{'; ' if note else ''}chosen on validation data"
    parameters = None if method.kind == "library" else 0
    return Contender(
        method.name, method.kind, method.make(setting), None, parameters, note, method.limit, linear=method.linear
    )
