"""What a comparison plays: the first test mixtures, their sources, and what methods make of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from unrolling.evaluation.measure import Contender
from unrolling.evaluation.records import Sound
from unrolling.tasks.samples import count


def sounds(task: Any, contenders: Sequence[Contender], estimates: Sequence[list[Tensor]], most: int = 2) -> list[Sound]:
    """The first mixtures, the sources in them, and the estimates of the network, its parent and a generic network.

    Args:
        task: with ``rate``, ``sources`` and ``scored``, as the tasks on speech have them.
        contenders: of the comparison.
        estimates: theirs, by batch.
        most: mixtures.
    """
    batch = task.test[0]
    chosen = [
        next((n for n, c in enumerate(contenders) if c.role == role), None) for role in ("network", "parent", "generic")
    ]
    found: list[Sound] = []
    for number in range(min(most, count(batch))):
        group, target = f"mixture {number + 1}", batch.target[number : number + 1]
        found.append(Sound(group, "mixture", batch.data[number].cpu().numpy(), task.rate))
        _, true = task.scored(target, target)
        names = task.sources[: len(true)]
        found += [
            Sound(group, f"{name}, as it was", each.cpu().numpy(), task.rate)
            for name, each in zip(names, true, strict=True)
        ]
        for index in chosen:
            if index is not None and len(estimates[index]) and len(estimates[index][0]) > number:
                heard, _ = task.scored(estimates[index][0][number : number + 1], target)
                found += [
                    Sound(group, f"{name}: {contenders[index].name}", each.detach().cpu().numpy(), task.rate)
                    for name, each in zip(names, heard, strict=True)
                ]
    return found
