"""Where a training runs: devices, processes, precision. The work is Lightning Fabric's."""

from __future__ import annotations

import atexit
import os
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from lightning_fabric import Fabric


@dataclass(frozen=True)
class Machine:
    """Devices, precision and how a global batch is divided; none of it changes which samples a step sees.

    Attributes:
        device: ``cpu``, ``cuda`` (or ``cuda:1``), ``mps`` or ``auto``.
        devices: how many processes, one per device; under ``torchrun`` as many as it started.
        precision: as Fabric has it: ``32-true``, ``bf16-mixed``, ``16-mixed``, ``64-true``; or ``auto``: ``bf16-mixed``
            where the device computes in bfloat16, ``32-true`` elsewhere.
        strategy: as Fabric has it; ``auto`` is one process, or ``ddp`` for several.
        accumulate: micro-batches per process and step, for a global batch that does not fit into memory.
        workers: processes that draw batches ahead; 0 draws them in the training process.
    """

    device: str = "cpu"
    devices: int | str = 1
    precision: str = "32-true"
    strategy: str = "auto"
    accumulate: int = 1
    workers: int = 0

    def __post_init__(self) -> None:
        if self.accumulate < 1:
            raise ValueError(f"accumulate is {self.accumulate}; a step has at least one micro-batch")
        if self.workers < 0:
            raise ValueError(f"workers is {self.workers}; it is a number of processes, 0 for none")
        if self.precision == "auto":
            object.__setattr__(self, "precision", "bf16-mixed" if self._has_bfloat16() else "32-true")

    def check(self) -> None:
        """Refuses a device that is not here; warns of a precision that this processor is slow in.

        Raises:
            ValueError: no CUDA device, or more of them than there are.
        """
        if self.precision.startswith("bf16") and not self._has_bfloat16():
            warnings.warn(
                f"this {self.device} device has no arithmetic in bfloat16: precision {self.precision} is slower here "
                "than 32-true, convolutions on a processor many times; auto takes it only where it is faster",
                stacklevel=3,
            )
        if not self.device.startswith("cuda"):
            return
        if not torch.cuda.is_available():
            raise ValueError(f"device {self.device}: there is no CUDA device here")
        if isinstance(self.devices, int) and self.devices > torch.cuda.device_count():
            raise ValueError(f"devices is {self.devices}; there are {torch.cuda.device_count()} CUDA devices here")

    def _has_bfloat16(self) -> bool:
        if self.device.startswith("cuda") or (self.device == "auto" and torch.cuda.is_available()):
            return not torch.cuda.is_available() or torch.cuda.is_bf16_supported(including_emulation=False)
        if self.device == "mps" or (self.device == "auto" and torch.backends.mps.is_available()):
            return True
        return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())  # AVX-512 at least, or bfloat16 of ARM

    def fabric(self, loggers: Sequence[Any] = ()) -> Fabric:
        """A Fabric that has been launched: with several processes, this one is now one of them.

        Raises:
            ValueError: an accelerator, precision or strategy that Fabric does not know or this machine does not have.
        """
        from lightning_fabric import Fabric

        kind, _, index = self.device.partition(":")
        devices: Any = [int(index)] if index else self.devices
        nodes = 1
        if "LOCAL_WORLD_SIZE" in os.environ:  # started by torchrun, which has decided
            devices = int(os.environ["LOCAL_WORLD_SIZE"])
            nodes = int(os.environ["WORLD_SIZE"]) // devices
        several = nodes > 1 or (devices > 1 if isinstance(devices, int) else isinstance(devices, str))
        # A stage may leave parameters without a gradient (truncated rules, gates that never open); plain ddp would wait
        # for them.
        strategy = "ddp_find_unused_parameters_true" if several and self.strategy in ("auto", "ddp") else self.strategy
        options: dict[str, Any] = {
            "accelerator": kind,
            "devices": devices,
            "num_nodes": nodes,
            "precision": self.precision,
            "strategy": strategy,
        }
        try:
            fabric = Fabric(loggers=list(loggers), **options)
        except Exception as error:  # Fabric's own messages, of several types
            raise ValueError(f"this machine cannot be set up as {self}: {error}") from error
        fabric.launch()
        if fabric.world_size > 1:
            atexit.register(_leave)
        return fabric


def _leave() -> None:
    """Leave the group of processes before the interpreter takes its threads away, which would abort."""
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def is_main() -> bool:
    """Whether this process is the one that writes and prints."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        return torch.distributed.get_rank() == 0
    return int(os.environ.get("RANK", os.environ.get("LOCAL_RANK", "0"))) == 0
