"""Networks that know nothing of a problem, trained on it: what a network of the field has to be better than."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor, nn

from unrolling.evaluation.baselines import Affine, best
from unrolling.evaluation.budget import foreseen, on_part, part_of
from unrolling.evaluation.measure import Contender
from unrolling.networks.mlp import MLP, hidden_width
from unrolling.tasks.base import Task, count, estimates_of, first, pieces_of
from unrolling.tasks.baselines import Generic
from unrolling.training.annealing import Patience
from unrolling.training.fit import History, fit
from unrolling.training.stages import Cosine, Stage

LOOKS, FEWEST_LOOKS = 20, 4  # at the validation set in a training
LOOKING = 0.5  # of what a training may cost, for looking
FEWEST = 2  # samples of a step
LEAST_TRAINING = 100  # steps, whatever they may cost


class _ByRows(nn.Module):
    """A network of vectors applied to each row of a task's data."""

    def __init__(self, network: nn.Module, task: Task) -> None:
        super().__init__()
        self.network = network
        self.task = task

    def forward(self, data: Any) -> Any:
        return self.task.assemble(self.network(self.task.rows(data)), data)


class _Beside(_ByRows):
    """What an MLP adds to the task's own linear estimate: nothing at the start."""

    def __init__(self, network: MLP, task: Task) -> None:
        super().__init__(network, task)
        _silenced(network)

    def forward(self, data: Any) -> Any:
        with torch.no_grad():
            base = self.task.target_rows(self.task.linear(data))
        return self.task.assemble(base + self.network(self.task.rows(data)), data)


def _silenced(network: MLP) -> None:
    """The last layer at zero."""
    last: Any = network[-1]
    nn.init.zeros_(last.weight)
    nn.init.zeros_(last.bias)


class _Correction(nn.Module):
    """An affine estimate, learned further, and what an MLP adds to it: nothing at the start."""

    def __init__(self, affine: Affine, network: MLP) -> None:
        super().__init__()
        self.gain, self.bias = nn.Parameter(affine.gain.clone()), nn.Parameter(affine.bias.clone())
        self.network = network
        _silenced(network)

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
    choose: Literal["last", "best"] = "best",
    affine: Affine | None = None,
    allowed: float | None = None,
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
        affine: where it starts; None for the task's own linear estimate, or random values where it has none.
        allowed: foreseen seconds of training, which end it where validation has not.
    """
    hidden = hidden_width(parameters, *_widths(task, seed))
    return _trained_mlp(
        "MLP, as many parameters", task, hidden, steps, batch, seed, rates, quiet, choose, affine, allowed
    )


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
    allowed: float | None = None,
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
        affine: where it starts; None for the task's own linear estimate, or random values where it has none.
        allowed: foreseen seconds of training, which end it where validation has not.
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
        "best",
        affine,
        allowed,
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
    allowed: float | None,
) -> Contender:
    inputs, outputs = _widths(task, seed)

    known = affine is None and task.linear(task.timing.data) is not None

    def make() -> nn.Module:
        network = MLP(inputs, hidden, outputs)
        if known:
            return _Beside(network, task)
        return _ByRows(network if affine is None else _Correction(affine, network), task)

    begun = affine is not None or known
    words = f"two hidden layers of {hidden}, " + ("started at the best linear estimate, " if begun else "")
    return _trained(name, make, task, steps, batch, seed, rates, quiet, choose, words, allowed)


def train_generic(
    task: Task,
    generic: Generic,
    steps: int,
    batch: int,
    *,
    seed: int = 0,
    quiet: bool = True,
    allowed: float | None = None,
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
        allowed: foreseen seconds of training, which end it where validation has not.
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
        allowed=allowed,
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
    choose: Literal["last", "best"] = "best",
    words: str = "",
    allowed: float | None = None,
) -> Contender:
    """A network trained at the rate that a twentieth of the steps favours, until validation has not improved for half
    of the steps. It then has the best weights on validation data, those of its start among them.
    """

    def begun() -> nn.Module:
        torch.manual_seed(seed)
        return make()

    most, looks = steps, LOOKS
    if allowed is not None:
        step, look = _foreseen(begun(), task, batch)
        whole = sum(map(count, task.validation))
        task, looks, look = _looking(task, look, allowed)
        if (known := sum(map(count, task.validation))) < whole:
            words += f"looked at on {known} of {whole} validation samples, "
        allowed = max(0.0, allowed - (looks + 2) * look)
        part = allowed / (LEAST_TRAINING * step)
        if part < 1 and batch > FEWEST:  # fewer samples a step rather than so few steps
            fewer = max(FEWEST, int(batch * part))
            words, step, batch = f"{words}{fewer} samples a step, ", step * fewer / batch, fewer
        spent = len(rates) * max(1, steps // 20) if len(rates) > 1 else 0
        most = max(1, min(steps, int(allowed / step) - spent))
        most = max(most, min(steps, LEAST_TRAINING))
    every = max(1, most // looks)

    def trained(rate: float, steps: int, patient: bool) -> tuple[nn.Module, History]:
        network = begun()
        stop = Patience(max(every, steps // 2), every) if patient else None
        schedule = [Stage(steps, rate=rate, batch=batch, annealing=Cosine(0.05), clip=1.0, stop=stop)]
        kept = choose if patient else "last"
        validations = looks if patient and kept == "best" else 0
        shown: dict[str, Any] = {"quiet": quiet, "name": f"{name}, rate {rate:g}"}
        return network, fit(network, task, schedule, seed=seed, validations=validations, choose=kept, **shown)

    rate = best(task, rates, lambda rate: trained(rate, max(1, most // 20), False)[0])
    network, history = trained(rate, most, choose == "best")
    at_start = begun()
    if choose == "best":

        def score(each: Callable[[Any], Any]) -> float:
            return task.metric.rank(
                task.metric.value(pieces_of(task, task.validation, estimates_of(each, task.validation)))
            )

        if score(at_start) < score(network):
            network, words = at_start, f"{words}which training did not improve on validation data, "
    size = sum(p.numel() for p in network.parameters())
    note = f"{words}trained {history.seconds:.0f} s at rate {rate:g}, {_end(history, most, steps)}"
    return Contender(name, "generic", network, None, size, note, network=network, training_seconds=history.seconds)


def _end(history: History, most: int, asked: int) -> str:
    """Why a training ended."""
    taken = history.steps
    if taken < most:
        return f"until validation stopped improving ({taken} steps)"
    return f"{taken} steps{', all that its share of the budget allows' if most < asked else ''}"


def _looking(task: Task, look: float, allowed: float) -> tuple[Task, int, float]:
    """The task with as many validation samples, and as many looks at them, as half of what is allowed goes; the
    foreseen seconds of one.

    Args:
        task: whose validation set it is.
        look: foreseen seconds of a look at all of it.
        allowed: foreseen seconds of the training with its looks.
    """
    whole = allowed * LOOKING / max(look, 1e-12)  # looks at the whole set
    if whole >= LOOKS + 2:
        return task, LOOKS, look
    part = part_of(task.validation, whole / (LOOKS + 2))
    shorter = on_part(task, validation=part.batches)
    if shorter is None:
        return task, FEWEST_LOOKS, look
    share = part.samples / sum(map(count, task.validation))
    return shorter, min(LOOKS, max(FEWEST_LOOKS, int(whole / share) - 2)), look * share


def _foreseen(network: nn.Module, task: Task, batch: int) -> tuple[float, float]:
    """Seconds of a training step, three times that of the estimates, and of a look at the validation set."""
    samples = task.draw(batch, torch.Generator().manual_seed(0))
    size, known = count(samples), sum(map(count, task.validation))
    once = foreseen(lambda: network(samples.data))
    drawn = foreseen(lambda: task.draw(batch, torch.Generator().manual_seed(0)))
    held = first(task.validation[0], size)
    return 3 * once + drawn, foreseen(lambda: network(held.data)) * known / count(held)
