"""Data of your own: pairs of data and target, in memory or read from a disk as they are needed."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import default_collate

from unrolling.core import tree
from unrolling.tasks.base import NMSE, Metric, Samples, Task
from unrolling.tasks.measurements import Measurement

READ = 64  # training pairs that a fingerprint reads
Source = Sequence[tuple[Any, Tensor | None]] | Any  # what has `__len__` and `__getitem__`: a list, a torch Dataset


class Pairs(Task):
    """Recover targets x from data y, given pairs (y, x).

    A training batch is drawn at random from ``training``, of which only those samples are read: a torch ``Dataset``
    that opens files streams, and with ``Machine(workers=...)`` ahead of the training.

    Args:
        training: pairs (data, target) of one sample each, without a batch dimension; data a tensor or a NamedTuple of
            tensors, target None where nobody knows it.
        validation: pairs that settings are chosen on; all are read at once.
        test: pairs that scores are computed on; without them the validation pairs are, and the summary says so: a
            setting chosen on pairs looks better on these than it is.
        metric: what ranks estimates.
        loss: (estimate, target) -> scalar, which may ask for more (``training.losses``); mean squared error by default.
        augment: (sample, generator) -> sample, applied to each training pair: crops, turns, noise.
        name: for the record of a run.
        measurement: how data come about, y = A x + noise, which losses without truth ask for.

    Raises:
        ValueError: no pair, a pair that is none, samples of different shapes.
    """

    def __init__(
        self,
        training: Source,
        validation: Source,
        test: Source | None = None,
        *,
        metric: Metric = NMSE,
        loss: Callable[..., Tensor] | None = None,
        augment: Callable[[Any, torch.Generator], Any] | None = None,
        name: str = "pairs",
        measurement: Measurement | None = None,
    ) -> None:
        for part, source in (("training", training), ("validation", validation), ("test", test)):
            if source is not None and len(source) == 0:
                raise ValueError(f"{part} holds no pair of data and target")
        self.training, self.augment, self.metric, self.name = training, augment, metric, name
        self._measurement = measurement
        self.summary = f"Recover targets from data: {len(training)} training pairs of your own."
        if test is None:
            self.summary += (
                " No test pairs were given: scores are of the validation pairs, which settings are chosen on."
            )
        if loss is not None:
            self.loss = loss
        self.validation = [_stack([validation[i] for i in range(len(validation))], range(len(validation)))]
        held = validation if test is None else test
        self.test = self.validation if test is None else [_stack([held[i] for i in range(len(held))], range(len(held)))]
        self.timing = self.test[0]

    def draw(self, batch: int, generator: torch.Generator) -> Samples:
        chosen = torch.randint(len(self.training), (batch,), generator=generator).tolist()
        pairs = [self.training[index] for index in chosen]
        return _stack(pairs if self.augment is None else [self.augment(pair, generator) for pair in pairs], chosen)

    def measurement(self) -> Measurement:
        """That of ``measurement``.

        Raises:
            ValueError: none was given.
        """
        return super().measurement() if self._measurement is None else self._measurement

    def identity(self) -> dict[str, Any]:
        """Name, number of training pairs, and a fingerprint of about ``READ`` of them; none of pairs that differ each
        time they are read.
        """
        known: dict[str, Any] = {"name": self.name, "pairs": len(self.training)}
        count = len(self.training)
        chosen = range(0, count, max(1, count // READ))
        digest, again = _digest([self.training[0]]), _digest([self.training[0]])
        return known if digest != again else {**known, "fingerprint": _digest([self.training[i] for i in chosen])}


def _digest(pairs: Sequence[Any]) -> str:
    digest = hashlib.sha256()
    for _, tensor in tree.named_tensors([tuple(pair) for pair in pairs], "pairs"):
        digest.update(str((tensor.dtype, tuple(tensor.shape))).encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:16]


def _stack(pairs: Sequence[Any], indices: Sequence[int]) -> Samples:
    """Samples of one shape as a batch."""
    for pair, index in zip(pairs, indices, strict=True):
        if not (isinstance(pair, tuple | list) and len(pair) == 2):
            raise ValueError(f"sample {index} is a {type(pair).__name__}; a sample is a pair (data, target)")
    missing = [pair[1] is None for pair in pairs]
    if any(missing) and not all(missing):
        raise ValueError(f"sample {indices[missing.index(True)]} has no target, and others have one")
    shapes = [
        {name: tuple(tensor.shape) for name, tensor in tree.named_tensors(tuple(pair), "sample")} for pair in pairs
    ]
    for shape, index in zip(shapes, indices, strict=True):
        if shape != shapes[0]:
            raise ValueError(
                f"samples {indices[0]} and {index} differ in shape, {shapes[0]} and {shape}: bring them "
                "to one size, with `augment` perhaps"
            )
    data = default_collate([pair[0] for pair in pairs])
    return Samples(data, None if missing[0] else default_collate([pair[1] for pair in pairs]))
