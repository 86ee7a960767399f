"""What a person sees of a running training, and what a log keeps."""

from __future__ import annotations

import json
import sys
import time
from math import isfinite
from pathlib import Path
from types import TracebackType
from typing import TextIO

import torch
from torch import Tensor


class Reporter:
    """A progress bar with loss and time left on a terminal, plain lines otherwise, and a JSON line about every hundredth of the run.

    The loss is read from the device only when something is shown, so that reporting costs nothing on the hot path.
    """

    def __init__(self, total: int, stages: int, log: Path | None, *, quiet: bool) -> None:
        self.total, self.stages, self.log, self.quiet = total, stages, log, quiet
        self.every = max(1, total // 100)
        self.losses: list[float] = []
        self._sum: Tensor | None = None
        self._count = 0
        self._bar = None
        self._file: TextIO | None = None

    def __enter__(self) -> Reporter:
        self._start = time.monotonic()
        if self.log is not None:
            self._file = open(self.log, "a")
        if not self.quiet and sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

            self._bar = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("loss {task.fields[loss]}"),
                TimeRemainingColumn(),
                console=Console(stderr=True),
            )
            self._bar.start()
            self._task = self._bar.add_task("training", total=self.total, loss="-")
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._bar is not None:
            self._bar.stop()
        if self._file is not None:
            self._file.close()

    def step(self, stage: int, step: int, loss: Tensor) -> None:
        """One optimizer step has been taken; ``step`` counts over all stages."""
        loss = loss.detach()
        self._sum = loss if self._sum is None else self._sum + loss
        self._count += 1
        if step % self.every == 0 or step == self.total:
            self._show(stage, step)

    def _show(self, stage: int, step: int) -> None:
        assert self._sum is not None
        loss = float(self._sum) / self._count
        self._sum, self._count = None, 0
        self.losses.append(loss)
        self._last = (step, loss)
        elapsed = time.monotonic() - self._start
        if self._file is not None:
            self._file.write(json.dumps({"stage": stage, "step": step, "loss": loss if isfinite(loss) else None, "seconds": round(elapsed, 3)}) + "\n")
            self._file.flush()
        if self._bar is not None:
            self._bar.update(self._task, completed=step, loss=f"{loss:.4g}", description=f"stage {stage + 1}/{self.stages}")
        elif not self.quiet and (len(self.losses) % 10 == 0 or step == self.total):
            left = elapsed / max(1, len(self.losses) * self.every) * (self.total - step)
            print(f"stage {stage + 1}/{self.stages}  step {step}/{self.total}  loss {loss:.4g}  {left:.0f} s left", file=sys.stderr, flush=True)
        self.check_finite()

    def check_finite(self) -> None:
        """Stops a run whose loss is no longer a number.

        Raises:
            ArithmeticError: the loss is NaN or infinite.
        """
        latest = self.losses[-1] if self._sum is None and self.losses else float(self._sum if self._sum is not None else 0.0)
        if not torch.isfinite(torch.tensor(latest)):
            step = getattr(self, "_last", (0, 0.0))[0]
            raise ArithmeticError(f"the loss became {latest} around step {step} of {self.total}; lower the learning rate, or set Stage(clip=...)")
