"""The training loop: runs a schedule, writes checkpoints, resumes where it stopped."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from unrolling.core import Unrolled, tree
from unrolling.tasks.base import Samples, Task
from unrolling.training import files
from unrolling.training.progress import Reporter
from unrolling.training.stages import Schedule, Stage
from unrolling.training.weights import shape

CHECKPOINT = "checkpoint.safetensors"
LOG = "training.jsonl"
Loss = Callable[[Tensor, Tensor], Tensor]


class History(NamedTuple):
    """What a training run did."""

    steps: int  # optimizer steps of the whole schedule
    seconds: float  # of training, over all resumptions
    losses: list[float]  # a smoothed loss about every hundredth of the run


class _Supervised(nn.Module):
    """The loss of a stage as one forward pass, which is what a distributed wrapper needs to see."""

    def __init__(self, network: nn.Module, loss: Loss, stage: Stage) -> None:
        super().__init__()
        self.network, self.loss, self.stage = network, loss, stage

    def forward(self, data: Any, target: Tensor) -> Tensor:
        network = self.network
        if not isinstance(network, Unrolled) or (self.stage.layers is None and self.stage.supervise is None):
            return self.loss(network(data), target)
        depth = self.stage.layers or len(network)
        if self.stage.supervise is None:
            return self.loss(network.layers[depth - 1].estimate(network.run(data, layers=slice(0, depth))), target)  # pyright: ignore[reportCallIssue]
        losses = [
            weight * self.loss(layer.estimate(state), target)  # pyright: ignore[reportCallIssue]
            for weight, layer, state in zip(self.stage.layer_weights(depth), network.layers, network.trajectory(data, layers=slice(0, depth)), strict=False)
        ]
        return torch.stack(losses).sum()


def fit(
    network: nn.Module,
    task: Task,
    schedule: Schedule,
    directory: str | Path | None = None,
    *,
    seed: int = 0,
    device: str = "cpu",
    checkpoint_seconds: float = 20.0,
    quiet: bool = False,
) -> History:
    """Train a network on a task; run again with the same arguments after an interruption, it goes on where it stopped.

    Every step draws its batch from a generator seeded by ``seed`` and the step number, so that a resumed run sees the batches an uninterrupted one would.

    Args:
        network: an ``Unrolled``, or any module from data to estimates.
        task: training data and loss.
        schedule: the stages, in order.
        directory: for the checkpoint and the log; None keeps nothing.
        seed: of the batches.
        device: as for Lightning Fabric: ``cpu``, ``cuda``, ``auto``.
        checkpoint_seconds: time between two checkpoints; one more is written at the end of each stage.
        quiet: no progress bar.

    Raises:
        ValueError: a stage that does not fit the network; a checkpoint of another run.
        ArithmeticError: the loss became NaN or infinite (the last checkpoint is still there).
    """
    from lightning_fabric import Fabric

    check_schedule(network, schedule)
    fabric = Fabric(accelerator="cuda" if device.startswith("cuda") else device, devices=1)
    run = {
        "schedule": [stage.describe() for stage in schedule],
        "seed": seed,
        "task": task.identity(),
        "network": {
            **(shape(network) if isinstance(network, Unrolled) else {}),
            "learned": {name: list(parameter.shape) for name, parameter in _named(network)},
            "parameters": sum(p.numel() for p in network.parameters()),
        },
    }
    folder = None if directory is None else Path(directory)
    position = _Position()
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        if (folder / CHECKPOINT).exists():
            position = _resume(folder / CHECKPOINT, network, run)
        else:
            (folder / LOG).unlink(missing_ok=True)
    network.to(fabric.device).train()
    total = sum(stage.steps for stage in schedule)
    with Reporter(total, len(schedule), folder and folder / LOG, quiet=quiet) as reporter:
        for number, stage in enumerate(schedule):
            if number < position.stage:
                continue
            optimizer = torch.optim.Adam(_groups(network, stage), lr=stage.rate)
            rates = [group["lr"] for group in optimizer.param_groups]
            if position.optimizer:
                _restore(optimizer, position.optimizer)
            supervised, wrapped = fabric.setup(_Supervised(network, task.loss, stage), optimizer)
            clock = time.monotonic()
            saved = clock
            before = sum(earlier.steps for earlier in schedule[:number])
            for step in range(position.step, stage.steps):
                batch = _draw(task, stage, seed, before + step, fabric.device)
                factor = stage.factor(step)
                for group, rate in zip(wrapped.param_groups, rates, strict=True):
                    group["lr"] = rate * factor
                wrapped.zero_grad()
                loss = supervised(batch.data, batch.target)
                fabric.backward(loss)
                if stage.clip is not None:
                    fabric.clip_gradients(supervised, wrapped, max_norm=stage.clip, error_if_nonfinite=False)
                wrapped.step()
                position = position._replace(step=step + 1)
                reporter.step(number, before + step + 1, loss)
                now = time.monotonic()
                if folder is not None and now - saved > checkpoint_seconds:
                    reporter.check_finite()
                    _check_weights(network, before + step + 1)
                    _save(folder / CHECKPOINT, network, optimizer, position._replace(seconds=position.seconds + now - clock), run)
                    saved = now
            reporter.check_finite()
            _check_weights(network, before + stage.steps)
            position = _Position(number + 1, 0, position.seconds + time.monotonic() - clock, {})
            if folder is not None:
                _save(folder / CHECKPOINT, network, None, position, run)
        network.eval()
        return History(total, position.seconds, reporter.losses)


def check_schedule(network: nn.Module, schedule: Schedule) -> None:
    """Refuses a schedule that does not fit the network.

    Raises:
        ValueError: no stage, a stage for more layers than there are, or a learning rate for a name that is not learned.
    """
    if not schedule:
        raise ValueError("the schedule has no stage")
    names = {name for name, _ in _named(network)}
    for number, stage in enumerate(schedule):
        if isinstance(network, Unrolled) and stage.layers is not None and not 1 <= stage.layers <= len(network):
            raise ValueError(f"stage {number} trains {stage.layers} layers, and the network has {len(network)}")
        for name in stage.rates:
            if not any(full == name or full.startswith(name + ".") for full in names):
                raise ValueError(f"stage {number} has a learning rate for {name!r}, which is not learned; learned are {', '.join(sorted(names))}")


def _check_weights(network: nn.Module, step: int) -> None:
    """Keeps ruined weights out of checkpoints: a loss may be finite whose gradient is not.

    Raises:
        ArithmeticError: a parameter holds NaN or infinity.
    """
    for name, parameter in _named(network):
        if not bool(torch.isfinite(parameter).all()):
            raise ArithmeticError(f"{name} became NaN or infinite by step {step}, the loss being finite; lower the learning rate, or set Stage(clip=...)")


class _Position(NamedTuple):
    stage: int = 0
    step: int = 0  # within the stage
    seconds: float = 0.0
    optimizer: dict[str, Tensor] = {}  # noqa: RUF012 (never written to)


def _named(network: nn.Module) -> list[tuple[str, nn.Parameter]]:
    """Learned parameters with their names in the algorithm."""
    if isinstance(network, Unrolled):
        return network.named_learned()
    return [(name, parameter) for name, parameter in network.named_parameters() if parameter.requires_grad]


def _groups(network: nn.Module, stage: Stage) -> list[dict[str, Any]]:
    """Parameters by learning rate."""
    groups: dict[float, list[nn.Parameter]] = {}
    for name, parameter in _named(network):
        rate = next((rate for key, rate in stage.rates.items() if name == key or name.startswith(key + ".")), stage.rate)
        groups.setdefault(rate, []).append(parameter)
    return [{"params": parameters, "lr": rate} for rate, parameters in groups.items()]


def _draw(task: Task, stage: Stage, seed: int, step: int, device: torch.device) -> Samples:
    generator = torch.Generator().manual_seed((seed * 1_000_003 + step) * 2_654_435_761 % 2**63)
    batch = task.draw(stage.batch, generator)
    return batch if device.type == "cpu" else Samples(tree.apply(lambda t: t.to(device), batch.data), batch.target.to(device))


def _save(path: Path, network: nn.Module, optimizer: torch.optim.Optimizer | None, position: _Position, run: dict[str, Any]) -> None:
    tensors = {f"network.{name}": tensor for name, tensor in _unique(network.state_dict()).items()}
    if optimizer is not None:
        for index, state in optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{index}.{key}": torch.as_tensor(value) for key, value in state.items()}
    files.write(path, tensors, {"stage": position.stage, "step": position.step, "seconds": position.seconds, "run": run})


def _unique(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Tensors that several layers share, once each."""
    seen: set[int] = set()
    return {name: tensor for name, tensor in state.items() if not (tensor.data_ptr() in seen or seen.add(tensor.data_ptr()))}


def _resume(path: Path, network: nn.Module, run: dict[str, Any]) -> _Position:
    tensors, record = files.read(path)
    if json.loads(json.dumps(run)) != record.get("run"):
        raise ValueError(f"{path} is the checkpoint of another run (schedule, seed, task or network differ); choose another directory or delete it")
    state = {name.removeprefix("network."): tensor for name, tensor in tensors.items() if name.startswith("network.")}
    network.load_state_dict(state, strict=False)
    optimizer = {name.removeprefix("optimizer."): tensor for name, tensor in tensors.items() if name.startswith("optimizer.")}
    return _Position(record["stage"], record["step"], record["seconds"], optimizer)


def _restore(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    state: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        index, key = name.split(".", 1)
        state.setdefault(int(index), {})[key] = tensor
    optimizer.load_state_dict({**optimizer.state_dict(), "state": state})
