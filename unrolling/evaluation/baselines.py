"""Methods that every network of a task should be seen beside."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor, nn

from unrolling.evaluation.measure import Contender
from unrolling.networks.mlp import MLP, hidden_width
from unrolling.systems.base import Rival
from unrolling.tasks.base import Task, evaluate, first
from unrolling.training.fit import fit
from unrolling.training.stages import Cosine, Stage


def linear_mmse(task: Task, *, rows: int = 60_000, seed: int = 0) -> Contender:
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

    def estimator(ridge: float) -> Callable[[Any], Tensor]:
        gain = torch.linalg.solve(covariance + ridge * scale * identity, cross.T).float()
        bias = (mean_x - mean_y @ gain.double()).float()
        return lambda data: task.assemble(
            torch.addmm(bias.to(data.device), task.rows(data), gain.to(data.device)), data
        )

    scores = {
        ridge: task.metric.value(evaluate(estimator(ridge), task, task.validation))
        for ridge in (1e-8, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1)
    }
    ridge = min(scores, key=lambda value: task.metric.rank(scores[value]))
    size = cross.numel() + len(mean_x)
    return Contender(
        "linear MMSE",
        "generic",
        estimator(ridge),
        None,
        size,
        f"best affine estimate from {len(inputs):,} training vectors, ridge {ridge:g} chosen on validation data",
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
) -> Contender:
    """An MLP of (nearly) as many parameters, its learning rate chosen on the validation set in a twentieth of the
    steps.

    Args:
        task: training data and loss.
        parameters: of the network it is compared with.
        steps: optimizer steps of the final training.
        batch: samples per step.
        seed: of initial values and batches.
        rates: learning rates to choose from.
        quiet: no progress bar.
        choose: the last weights, or the best on the validation set.
    """
    hidden = hidden_width(parameters, *_widths(task, seed))
    return _trained_mlp("MLP, as many parameters", task, hidden, steps, batch, seed, rates, quiet, choose)


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
) -> Contender:
    inputs, outputs = _widths(task, seed)

    def trained(rate: float, steps: int) -> tuple[nn.Module, float]:
        torch.manual_seed(seed)
        network = _ByRows(MLP(inputs, hidden, outputs), task)
        schedule = [Stage(steps, rate=rate, batch=batch, annealing=Cosine(0.05), clip=1.0)]
        history = fit(
            network, task, schedule, seed=seed, quiet=quiet, validations=10 if choose == "best" else 0, choose=choose
        )
        return network, history.seconds

    def score(rate: float) -> float:
        network, _ = trained(rate, max(1, steps // 20))
        return task.metric.rank(task.metric.value(evaluate(network, task, task.validation)))

    rate = rates[0] if len(rates) == 1 else min(rates, key=score)
    network, seconds = trained(rate, steps)
    size = sum(p.numel() for p in network.parameters())
    words = f"two hidden layers of {hidden}, trained {seconds:.0f} s at rate {rate:g}"
    return Contender(name, "generic", network, None, size, words, network=network, training_seconds=seconds)


def train_rival(task: Task, rival: Rival, *, seed: int = 0, quiet: bool = True) -> Contender:
    """A generic network of the field, its learning rate chosen on the validation set in a twentieth of the steps where
    there are several.

    Args:
        task: training data and loss.
        rival: what to train and how long.
        seed: of initial values and batches.
        quiet: no progress bar.
    """

    def trained(rate: float, steps: int) -> tuple[nn.Module, float]:
        torch.manual_seed(seed)
        network = rival.make()
        history = fit(
            network,
            task,
            [Stage(steps, rate=rate, batch=rival.batch, annealing=Cosine(0.05), clip=1.0)],
            seed=seed,
            quiet=quiet,
            validations=0,
        )
        return network, history.seconds

    def score(rate: float) -> float:
        network, _ = trained(rate, max(1, rival.steps // 20))
        return task.metric.rank(task.metric.value(evaluate(network, task, task.validation)))

    rate = rival.rates[0] if len(rival.rates) == 1 else min(rival.rates, key=score)
    network, seconds = trained(rate, rival.steps)
    size = sum(p.numel() for p in network.parameters())
    words = f"trained {seconds:.0f} s at rate {rate:g}"
    return Contender(rival.name, "generic", network, None, size, words, network=network, training_seconds=seconds)


def scikit_learn(
    task: Task,
    dictionary: Tensor,
    algorithm: str,
    decode: Callable[[Tensor], Tensor],
    *,
    limit: int,
    label: str,
    **options: Any,
) -> Contender:
    """A solver of scikit-learn's ``sparse_encode``, one core.

    Args:
        task: how data become rows.
        dictionary: A (m, n) with one atom per column.
        algorithm: ``lasso_cd``, ``lasso_lars`` or ``omp``.
        decode: (rows, n) codes to (rows, k) estimates.
        limit: largest number of samples to run it on.
        label: for the table.
        options: ``alpha``, ``n_nonzero_coefs``, ``max_iter``, as scikit-learn has them.
    """
    from sklearn.decomposition import sparse_encode

    atoms = dictionary.T.double().contiguous().numpy()

    def run(data: Any) -> Tensor:
        import warnings

        from sklearn.exceptions import ConvergenceWarning

        with warnings.catch_warnings():
            # its accuracy is measured; a pursuit that ends early has found all it can
            for category in (ConvergenceWarning, RuntimeWarning):
                warnings.simplefilter("ignore", category)
            codes = sparse_encode(task.rows(data).double().numpy(), atoms, algorithm=algorithm, n_jobs=1, **options)
        return task.assemble(decode(torch.from_numpy(codes).float()), data)

    settings = ", ".join(f"{key} {value:g}" for key, value in options.items())
    return Contender(f"scikit-learn {label}", "peer", run, None, None, f"{settings}; double precision, one core", limit)
