"""What a person sees of a running training, and what a log keeps."""

from __future__ import annotations

import json
import time
from math import isfinite
from pathlib import Path
from types import TracebackType
from typing import Any, TextIO

from torch import Tensor

from unrolling._progress import Bar
from unrolling.tasks.base import Metric

PARTS = 100  # of a run, after each of which the loss is shown and logged
HEALTH = 20  # of a run, after each of which gradients and activations are looked at
LEAST = 50  # steps between two such looks, which cost a forward pass


class Reporter:
    """A progress bar with stage, loss, metric and time left on a terminal, and a JSON line about every hundredth of the
    run.

    The loss is read from the device only when something is shown or logged, so that reporting costs nothing on the hot
    path.

    Args:
        total: optimizer steps of the whole schedule.
        stages: how many.
        log: the JSON lines file; None keeps none.
        metric: of the validation set.
        quiet: show nothing.
        name: what is trained.
    """

    def __init__(
        self, total: int, stages: int, log: Path | None, metric: Metric, *, quiet: bool, name: str = "the network"
    ) -> None:
        self.total, self.stages, self.log, self.metric, self.name = total, stages, log, metric, name
        self.every = max(1, total // PARTS)
        self.health_every = max(LEAST, self.every * max(1, PARTS // HEALTH))
        self.losses: list[float] = []
        self.norms: dict[str, list[float]] = {}
        self._sum: Tensor | float | None = None
        self._count = 0
        self._value: float | None = None
        self._extra: dict[str, Any] = {}
        self._bar = Bar(f"training {name}", total, quiet=quiet)
        self._file: TextIO | None = None

    def state(self) -> dict[str, Any]:
        """What a resumed run needs for its log to go on where this one's stopped."""
        offset = 0
        if self._file is not None:
            self._file.flush()
            offset = self._file.tell()
        total = None if self._sum is None else float(self._sum)
        return {
            "offset": offset,
            "losses": self.losses,
            "norms": self.norms,
            "sum": total,
            "count": self._count,
            "value": self._value,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Take up a run: lines that were written after its checkpoint are cut off, since their steps are taken
        again.
        """
        self.losses, self.norms, self._value = list(state["losses"]), dict(state["norms"]), state["value"]
        self._sum, self._count = state["sum"], state["count"]
        if self.log is not None and self.log.exists():
            with open(self.log, "r+b") as file:
                file.truncate(min(state["offset"], self.log.stat().st_size))

    def __enter__(self) -> Reporter:
        self._start = time.monotonic()
        if self.log is not None:
            self._file = open(self.log, "a")
        self._bar.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.__exit__(kind, error, trace)
        if self._file is not None:
            self._file.close()

    def due(self, step: int) -> bool:
        """Whether something is shown after a step, counted over all stages."""
        return step % self.every == 0 or step == self.total

    def health_due(self, step: int) -> bool:
        """Whether gradients and activations are looked at in a step."""
        return step % self.health_every == 0 or step == self.total

    def examined(self, norms: dict[str, float], activations: list[dict[str, float]]) -> None:
        """Gradient norms and activations of the step that is being taken."""
        for where, norm in norms.items():
            if isfinite(norm):
                self.norms.setdefault(where, []).append(norm)
        self._extra = {"gradients": {where: _finite(norm) for where, norm in norms.items()}, "activations": activations}

    def validated(self, stage: int, step: int, value: float) -> None:
        """The metric on the validation set after a step."""
        self._value = value
        self._write({"stage": stage, "step": step, "metric": _finite(value)})

    def step(self, stage: int, step: int, loss: Tensor, rate: float) -> dict[str, float] | None:
        """One optimizer step has been taken; ``step`` counts over all stages. What is logged, when something is."""
        loss = loss.detach()
        self._sum = loss if self._sum is None else self._sum + loss
        self._count += 1
        self._bar.begins(step - 1)
        return self._show(stage, step, rate) if self.due(step) else None

    def _show(self, stage: int, step: int, rate: float) -> dict[str, float]:
        assert self._sum is not None
        loss = float(self._sum) / self._count
        self._sum, self._count = None, 0
        self.losses.append(loss)
        elapsed = time.monotonic() - self._start
        self._write(
            {
                "stage": stage,
                "step": step,
                "loss": _finite(loss),
                "rate": rate,
                "seconds": round(elapsed, 3),
                **self._extra,
            }
        )
        self._extra = {}
        stages = "" if self.stages == 1 else f", stage {stage + 1} of {self.stages}"
        metric = "" if self._value is None else f", {self.metric.name} {self.metric.text(self._value)}"
        self._bar.update(step, name=f"training {self.name}{stages}", note=f"loss {loss:.3g}{metric}")
        return {"loss": loss, "rate": rate}

    def _write(self, record: dict[str, Any]) -> None:
        if self._file is not None:
            self._file.write(json.dumps(record) + "\n")
            self._file.flush()


def _finite(value: float) -> float | None:
    return value if isfinite(value) else None
