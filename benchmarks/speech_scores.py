"""Scores of separated and enhanced speech."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from unrolling.evaluation.measure import interval
from unrolling.evaluation.significance import paired
from unrolling.tasks.base import Samples
from unrolling.tasks.speech.enhancement import Enhancement
from unrolling.tasks.speech.separation import Separation
from unrolling.tasks.speech.speech_metrics import pesq, sdr, si_sdr, stoi

Row = dict[str, Any]


def joined(batches: list[Samples]) -> tuple[Tensor, Tensor]:
    """Data and targets of all of them."""
    return torch.cat([batch.data for batch in batches]), torch.cat([batch.target for batch in batches])


@torch.no_grad()
def estimates(run: Callable[[Tensor], Tensor], data: Tensor) -> Tensor:
    """In parts, so that the memory is that of a few mixtures."""
    return torch.cat([run(part) for part in data.split(20)])


class Scores:
    """Methods on one test set."""

    def __init__(self, task: Enhancement | Separation, perceptual: bool) -> None:
        self.task, self.perceptual = task, perceptual
        self.data, self.target = joined(task.test)
        self.pieces: dict[str, Tensor] = {}

    def add(self, name: str, run: Callable[[Tensor], Tensor], **facts: Any) -> Row:
        """A row, kept for comparisons."""
        found = estimates(run, self.data)
        self.pieces[name] = self.task.pieces(found, Samples(self.data, self.target))
        value = interval(self.task.metric, self.pieces[name])
        found, target = self.task.scored(found, self.target)
        row = {
            "what": self.task.name,
            "method": name,
            "SI-SDR improvement": value.mean,
            "low": value.low,
            "high": value.high,
            **facts,
        }
        row |= {"SI-SDR": float(si_sdr(found, target).mean()), "SDR": float(sdr(found, target).mean())}
        if self.perceptual:
            row |= {"STOI": float(stoi(found, target, 8000).mean()), "PESQ": float(pesq(found, target, 8000).nanmean())}
        return row

    def gain(self, name: str, over: str) -> Row:
        """How much better one method is than another, mixture by mixture."""
        found = paired(self.task.metric, self.pieces[name], self.pieces[over])
        assert found is not None
        facts = {
            "mixtures": len(self.pieces[name]),
            "gain in dB": found.difference,
            "low": found.low,
            "high": found.high,
            "p": found.p,
        }
        return {"what": self.task.name, "method": name, "over": over, **facts}
