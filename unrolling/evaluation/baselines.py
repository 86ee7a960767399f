"""Methods that every network of a task should be seen beside."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn

from unrolling.evaluation.measure import Contender
from unrolling.networks.mlp import MLP, hidden_width
from unrolling.tasks.base import Task, estimates_of, first, pieces_of
from unrolling.tasks.baselines import Generic, Method
from unrolling.training.fit import fit
from unrolling.training.stages import Cosine, Stage


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
    return lambda data: task.assemble(torch.addmm(bias.to(data.device), task.rows(data), gain.to(data.device)), data)


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


class _ByRows(nn.Module):
    """A network of vectors applied to each row of a task's data."""

    def __init__(self, network: nn.Module, task: Task) -> None:
        super().__init__()
        self.network = network
        self.task = task

    def forward(self, data: Any) -> Tensor:
        return self.task.assemble(self.network(self.task.rows(data)), data)


class _Correction(nn.Module):
    """An affine estimate, learned further, and what an MLP adds to it: nothing at the start."""

    def __init__(self, affine: Affine, network: MLP) -> None:
        super().__init__()
        self.gain, self.bias = nn.Parameter(affine.gain.clone()), nn.Parameter(affine.bias.clone())
        self.network = network
        last: Any = network[-1]
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)

    def forward(self, input: Tensor) -> Tensor:
        return torch.addmm(self.bias, input, self.gain) + self.network(input)


def train_mlp(
    task: Task,
    parameters: int,
    steps: int,
    batch: int,
    *,
    seed: int = 0,
    rates: tuple[float, ...] = (1e-3, 3e-3),
    quiet: bool = True,
    choose: Literal["last", "best"] = "last",
    affine: Affine | None = None,
) -> Contender:
    """An MLP of (nearly) as many parameters, its learning rate chosen on the validation set in a twentieth of the
    steps. With an affine estimate it starts there and has these numbers besides: a generic network that
    is worse than a line is no rival.

    Args:
        task: training data and loss.
        parameters: of the network it is compared with.
        steps: optimizer steps of the final training.
        batch: samples per step.
        seed: of initial values and batches.
        rates: learning rates to choose from.
        quiet: no progress bar.
        choose: the last weights, or the best on the validation set.
        affine: where it starts; None for random values.
    """
    hidden = hidden_width(parameters, *_widths(task, seed))
    return _trained_mlp("MLP, as many parameters", task, hidden, steps, batch, seed, rates, quiet, choose, affine)


def train_working_mlp(
    task: Task,
    multiply_adds: int,
    parameters: int,
    steps: int,
    batch: int,
    *,
    seed: int = 0,
    rates: tuple[float, ...] = (1e-3, 3e-3),
    quiet: bool = True,
    affine: Affine | None = None,
) -> Contender:
    """An MLP with as many multiply-adds per sample as the network, so that it takes about as long, trained about as
    long as the one of as many parameters.

    Work instead of time, which no two runs agree on: a comparison must give the same figures again.

    Args:
        task: training data and loss.
        multiply_adds: of the network, for one sample.
        parameters: of the network, for the MLP that the training time is taken from.
        steps: optimizer steps of that MLP.
        batch: samples per step.
        seed: of initial values and batches.
        rates: learning rates to choose from.
        quiet: no progress bar.
        affine: where it starts; None for random values.
    """
    inputs, outputs = _widths(task, seed)
    rows = len(task.rows(first(task.timing, 1).data))  # of one sample, each of which the MLP takes by itself
    hidden = hidden_width(max(1, multiply_adds // rows), inputs, outputs)
    usual = hidden_width(parameters, inputs, outputs)
    cost = (inputs + hidden + outputs) * hidden / ((inputs + usual + outputs) * usual)
    return _trained_mlp(
        "MLP, as many multiply-adds",
        task,
        hidden,
        max(50, round(steps / max(1.0, cost))),
        batch,
        seed,
        rates,
        quiet,
        "last",
        affine,
    )


def _widths(task: Task, seed: int) -> tuple[int, int]:
    example = task.draw(1, torch.Generator().manual_seed(seed))
    return task.rows(example.data).shape[1], task.target_rows(example.target).shape[1]


def _trained_mlp(
    name: str,
    task: Task,
    hidden: int,
    steps: int,
    batch: int,
    seed: int,
    rates: tuple[float, ...],
    quiet: bool,
    choose: Literal["last", "best"],
    affine: Affine | None,
) -> Contender:
    inputs, outputs = _widths(task, seed)

    def make() -> nn.Module:
        network = MLP(inputs, hidden, outputs)
        return _ByRows(network if affine is None else _Correction(affine, network), task)

    words = f"two hidden layers of {hidden}, " + ("" if affine is None else "started at the best linear estimate, ")
    return _trained(name, make, task, steps, batch, seed, rates, quiet, choose, words)


def train_generic(
    task: Task, generic: Generic, steps: int, batch: int, *, seed: int = 0, quiet: bool = True
) -> Contender:
    """A generic network of the field, its learning rate chosen on the validation set in a twentieth of the steps where
    there are several.

    Args:
        task: training data and loss.
        generic: what to train.
        steps: optimizer steps, where it names none itself.
        batch: samples per step, likewise.
        seed: of initial values and batches.
        quiet: no progress bar.
    """
    return _trained(
        generic.name,
        generic.network,
        task,
        generic.steps or steps,
        generic.batch or batch,
        seed,
        generic.rates,
        quiet,
    )


def _trained(
    name: str,
    make: Callable[[], nn.Module],
    task: Task,
    steps: int,
    batch: int,
    seed: int,
    rates: tuple[float, ...],
    quiet: bool,
    choose: Literal["last", "best"] = "last",
    words: str = "",
) -> Contender:
    """A network trained at the rate that a twentieth of the steps favours."""

    def trained(rate: float, steps: int) -> tuple[nn.Module, float]:
        torch.manual_seed(seed)
        network = make()
        schedule = [Stage(steps, rate=rate, batch=batch, annealing=Cosine(0.05), clip=1.0)]
        history = fit(
            network, task, schedule, seed=seed, quiet=quiet, validations=10 if choose == "best" else 0, choose=choose
        )
        return network, history.seconds

    rate = best(task, rates, lambda rate: trained(rate, max(1, steps // 20))[0])
    network, seconds = trained(rate, steps)
    size = sum(p.numel() for p in network.parameters())
    note = f"{words}trained {seconds:.0f} s at rate {rate:g}"
    return Contender(name, "generic", network, None, size, note, network=network, training_seconds=seconds)


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
    return Contender(method.name, method.kind, method.make(setting), None, parameters, note, method.limit)
