"""The checkpoints of a run: the newest few and the best, each a whole file or none."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from unrolling.files import records
from unrolling.files.whole import PREFIX
from unrolling.training import files
from unrolling.training.identity import alike
from unrolling.training.optimizers import pack

FORMAT = 2  # 1 had no checksum
BEST = "best.safetensors"
PATTERN = "checkpoint-*.safetensors"
ASIDE = ".damaged"  # what a damaged checkpoint's name then ends in
_RECORD = {
    "run": records.mapping(),
    "prints": records.mapping(records.mapping()),
    "stage": records.whole(),
    "step": records.whole(),
    "seconds": records.number,
    "taken": records.whole(),
    "validations": records.listed(records.listed(records.anything, 3)),
    "report": records.mapping(),
    "optimizers": records.listed(records.anything),
}


_SUMMARY = records.record({"shape": records.listed(records.whole(), 64), "numbers": records.listed(records.number, 64)})


class AnotherRunError(ValueError):
    """A whole checkpoint, which this run must not go on from."""


@dataclass
class Position:
    """How far a run has come, and what it must know to go on as if it had not stopped."""

    stage: int = 0
    step: int = 0  # within the stage
    seconds: float = 0.0  # of training
    taken: int = 0  # optimizer steps, over all stages
    validations: list[tuple[int, int, float]] = field(default_factory=list)  # stage, step within it, metric
    report: dict[str, Any] = field(default_factory=dict)  # the reporter's: log offset, sums
    optimizers: list[Any] = field(default_factory=list)  # plain part of their states; empty between stages
    tensors: dict[str, Tensor] = field(default_factory=dict)  # tensors of the optimizers, states of the generators


class Checkpoints:
    """The files of one run in one folder.

    Args:
        folder: where.
        keep: how many of the newest to keep.
        run: what makes the run: schedule, seed, task, network, as plain values; a checkpoint of another run is refused.
        prints: summaries of tensors that the run depends on (``identity``), by the key of ``run`` that they belong to;
            a checkpoint of a run with others is refused.
    """

    def __init__(
        self, folder: Path, keep: int, run: dict[str, Any], prints: Mapping[str, dict[str, Any]] | None = None
    ) -> None:
        if keep < 1:
            raise ValueError(f"keep is {keep}; at least the newest checkpoint is kept")
        self.folder, self.keep, self.run = folder, keep, json.loads(json.dumps(run))
        self.prints = dict(prints or {})

    def save(self, network: nn.Module, optimizers: Sequence[torch.optim.Optimizer], position: Position) -> None:
        """Write the newest, then remove what is one too many.

        Raises:
            OSError: the disk is full; the older ones are still there.
        """
        tensors, states = pack(optimizers)
        record = {
            "checkpoint": FORMAT,
            "version": _version(),
            "run": self.run,
            "prints": self.prints,
            "stage": position.stage,
            "step": position.step,
            "seconds": position.seconds,
            "taken": position.taken,
            "validations": position.validations,
            "report": position.report,
            "optimizers": states,
        }
        tensors |= {f"network.{name}": tensor for name, tensor in unique(network.state_dict()).items()} | _generators()
        files.write(self.folder / _name(position.stage, position.step), tensors, record)
        for old in self.files()[: -self.keep]:
            if old.is_file():
                old.unlink(missing_ok=True)

    def save_best(self, network: nn.Module, value: float, position: Position) -> None:
        """Keep these weights as the best so far on the validation set."""
        tensors = {f"network.{name}": tensor for name, tensor in unique(network.state_dict()).items()}
        record = {
            "checkpoint": FORMAT,
            "version": _version(),
            "run": self.run,
            "prints": self.prints,
            "stage": position.stage,
            "step": position.step,
            "metric": value,
        }
        files.write(self.folder / BEST, tensors, record)

    def files(self) -> list[Path]:
        """From the oldest to the newest."""
        return sorted(self.folder.glob(PATTERN))

    def resume(self, network: nn.Module) -> Position | None:
        """Load the newest checkpoint that can be read into the network; None when there is none.

        Raises:
            ValueError: all are damaged, one is of another run, or of a newer version of the library.
        """
        for stray in self.folder.glob(f"{PREFIX}*.safetensors"):  # of a process that was killed while it wrote
            stray.unlink(missing_ok=True)
        damaged: list[tuple[Path, str]] = []
        for path in reversed(self.files()):
            try:
                tensors, record = files.read(path, unchecked=_is_old)
                self._check(path, record)
                records.verify(path, record, _RECORD)
                if path.name != _name(record["stage"], record["step"]):
                    raise ValueError(f"{path} is the checkpoint of another moment, {record['stage']}-{record['step']}")
                fits(network, network_part(tensors), path)
            except AnotherRunError:
                raise
            except (ValueError, OSError) as error:  # also a folder of that name, or one that may not be read
                damaged.append((path, str(error)))
                continue
            for other, message in damaged:
                warnings.warn(f"{message}; going on from {path.name}", RuntimeWarning, stacklevel=3)
                # Out of the way, or it would count as one of the newest, and the name could not be written again.
                other.rename(other.with_name(other.name + ASIDE))
            load(network, tensors)
            validations = [(stage, step, value) for stage, step, value in record["validations"]]
            rest = {name: tensor for name, tensor in tensors.items() if not name.startswith("network.")}
            numbers = (record["stage"], record["step"], record["seconds"], record["taken"])
            return Position(*numbers, validations, record["report"], record["optimizers"], rest)
        if damaged:
            raise ValueError(f"{damaged[0][1]}; no other checkpoint is left in {self.folder}: delete it to begin anew")
        return None

    def load_best(self, network: nn.Module) -> None:
        """Put the best weights into the network."""
        tensors, record = files.read(self.folder / BEST, unchecked=_is_old)
        self._check(self.folder / BEST, record)
        load(network, tensors)

    def ended(self, stages: int) -> bool:
        """Whether the newest is the one that a run of so many stages ends with."""
        return self.files()[-1:] == [self.folder / _name(stages, 0)]

    def remove(self) -> None:
        """Delete every checkpoint of the folder."""
        for path in (*self.files(), *self.folder.glob(PATTERN + ASIDE), self.folder / BEST):
            if path.is_file():
                path.unlink()

    def _check(self, path: Path, record: Any) -> None:
        if isinstance(record, dict) and isinstance(record.get("checkpoint"), int) and record["checkpoint"] > FORMAT:
            raise AnotherRunError(
                f"{path} was written by a newer version of unrolling ({record.get('version')}, format "
                f"{record['checkpoint']}; this one is {_version()} and reads up to {FORMAT}): update unrolling"
            )
        found = record.get("run") if isinstance(record, dict) else None
        different = [key for key in self.run if not isinstance(found, dict) or found.get(key) != self.run[key]]
        if not different:
            prints = record.get("prints", {})
            records.verify(
                path, prints, {}, dict.fromkeys(self.prints, records.mapping(_SUMMARY)), "what the run depends on"
            )
            different = [key for key, own in self.prints.items() if not alike(prints.get(key, {}), own)]
        if different:
            raise AnotherRunError(
                f"{path} is the checkpoint of another run ({', '.join(different)} differ); choose "
                "another directory or delete it"
            )


def _name(stage: int, step: int) -> str:
    return f"checkpoint-{stage:03d}-{step:09d}.safetensors"


def _is_old(record: Any) -> bool:
    """Whether a record is of a version that wrote no checksums."""
    return isinstance(record, dict) and record.get("checkpoint") == 1


def load(network: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Put the network's part of a checkpoint into it; tensors that layers share are there once."""
    put(network, network_part(tensors))


def network_part(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of a checkpoint that are the network's, by its names."""
    return {name.removeprefix("network."): t for name, t in tensors.items() if name.startswith("network.")}


def fits(network: nn.Module, tensors: Mapping[str, Tensor], path: Path) -> None:
    """Raises ValueError where tensors of a checkpoint have other names or shapes than the network's."""
    own = network.state_dict()
    wrong = [*(unique(own).keys() - tensors.keys()), *(tensors.keys() - own.keys())]
    wrong += [name for name, tensor in tensors.items() if name in own and own[name].shape != tensor.shape]
    if wrong:
        raise ValueError(f"{path} is damaged or was changed: {', '.join(sorted(wrong)[:5])} is not as the network's")


@torch.no_grad()
def put(network: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Give a network the values that ``copied`` took. What has them already is not written: fixed tensors may be the
    caller's own.

    Raises:
        ValueError: (nothing has been written) names or shapes that are not the network's.
    """
    own = network.state_dict()
    missing = unique(own).keys() - tensors.keys()
    unknown = [name for name, tensor in tensors.items() if name not in own or own[name].shape != tensor.shape]
    if missing or unknown:
        raise ValueError(f"these values are of another network: {', '.join([*sorted(missing), *unknown][:5])} differ")
    for name, tensor in tensors.items():
        value = tensor.to(own[name])
        if not torch.equal(own[name], value):
            own[name].copy_(value)


def copied(network: nn.Module) -> dict[str, Tensor]:
    """Everything a network holds; tensors that layers share are there once."""
    return {name: tensor.detach().clone() for name, tensor in unique(network.state_dict()).items()}


def unique(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Tensors that several layers share, once each."""
    seen: set[Any] = set()
    found = {}
    for name, tensor in state.items():
        mark = (tensor.data_ptr(), tensor.shape, tensor.stride())
        if tensor.numel() == 0 or mark not in seen:
            seen.add(mark)
            found[name] = tensor
    return found


def _generators() -> dict[str, Tensor]:
    """States of torch's global generators, for networks that draw random numbers."""
    states = {"generator.cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        states |= {f"generator.cuda.{number}": state for number, state in enumerate(torch.cuda.get_rng_state_all())}
    return states


def set_generators(tensors: dict[str, Tensor]) -> None:
    """Put back what a checkpoint kept of the global generators."""
    if "generator.cpu" in tensors:
        torch.set_rng_state(tensors["generator.cpu"])
    for number in range(torch.cuda.device_count()):
        if f"generator.cuda.{number}" in tensors:
            torch.cuda.set_rng_state(tensors[f"generator.cuda.{number}"], number)


def _version() -> str:
    from unrolling._version import __version__

    return __version__
