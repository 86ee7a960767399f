"""The schedules of the literature, by name. Each turns one stage, which says how much and how fast, into the stages of
a scheme.

``SCHEMES["greedy"](depth, Stage(6000, rate=1e-3))`` trains 6,000 steps in all; ``unroll schedules`` lists them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from unrolling.training.losses import Energy, LogNMSE
from unrolling.training.stages import Constant, Cosine, Logarithmic, Patience, Power, Ramp, Schedule, Stage, scaled


@dataclass(frozen=True)
class Scheme:
    """A schedule of the literature with what a person should know of it."""

    make: Callable[[int, Stage], Schedule]
    summary: str
    reference: str


def end_to_end(depth: int, like: Stage) -> Schedule:
    """All layers at once, the loss on the last."""
    return [like]


def greedy(depth: int, like: Stage) -> Schedule:
    """Layer after layer, those before it frozen; each starts from the values of the one before it."""
    return _shared(depth, like, [replace(like, depth=k + 1, layers=(k,), inherit={}) for k in range(depth)])


def greedy_then_joint(depth: int, like: Stage) -> Schedule:
    """Half of the steps layer after layer, the other half all layers together."""
    alone = greedy(depth, replace(like, steps=max(depth, like.steps // 2)))
    return [*alone, replace(like, steps=max(1, like.steps - sum(stage.steps for stage in alone)))]


def grow(depth: int, like: Stage) -> Schedule:
    """One layer, then two, up to all, each time all of them together; a new layer starts from the values of the one
    before it.
    """
    return _shared(depth, like, [replace(like, depth=k + 1, inherit={}) for k in range(depth)])


def grow_then_refine(depth: int, like: Stage) -> Schedule:
    """For each depth in turn the new layer alone (its threshold starting at 0.8 of the one before), then all layers at
    a quarter of the rate; with half of the steps left, all layers together at a quarter of the rate, layer k of K
    counting as (k / K)^2, so that none gets worse for the sake of the last."""
    stages: Schedule = []
    slow = replace(like, rate=like.rate / 4, rates=_times(like.rates, 0.25))
    for k in range(depth):
        stages.append(
            replace(
                like, depth=k + 1, layers=(k,), inherit=_existing(like, {"threshold": 0.8}), annealing=Cosine(final=0.3)
            )
        )
        stages.append(replace(slow, depth=k + 1))
    grown = scaled(stages, max(len(stages), like.steps // 2))
    rest = max(1, like.steps - sum(stage.steps for stage in grown))
    return [*grown, replace(slow, steps=rest, supervision=Power(2.0), annealing=Cosine(0.05))]


def deep_supervision(depth: int, like: Stage) -> Schedule:
    """All layers at once, the estimate of layer k of K counting as (k / K)^2."""
    return [replace(like, supervision=Power(2.0))]


def detnet(depth: int, like: Stage) -> Schedule:
    """All layers at once, the estimate of layer k counting as log k."""
    return [replace(like, supervision=Logarithmic())]


def energy(depth: int, like: Stage) -> Schedule:
    """All layers at once on the parent's objective: no targets are used."""
    return [replace(like, loss=Energy())]


def lista_cpss(depth: int, like: Stage) -> Schedule:
    """For each depth in turn: the new layer alone at the full rate, then all layers at 0.2 and at 0.02 of it, layer k
    of K at a further 0.3^(K - k).

    A stage ends after 4,000 steps without gain on the validation set, or at its share of the steps.
    """
    base = replace(like, annealing=Constant(), stop=Patience(4000, every=200))
    stages: Schedule = []
    for k in range(depth):
        stages.append(replace(base, depth=k + 1, layers=(k,)))
        stages += [
            replace(base, depth=k + 1, rate=part * like.rate, rates=_times(like.rates, part), layer_decay=0.3)
            for part in (0.2, 0.02)
        ]
    return _shared(len(stages), like, stages)


def logarithmic_loss(depth: int, like: Stage) -> Schedule:
    """All layers at once on the logarithm of the relative error, whose gradient does not fade as the error does."""
    return [replace(like, loss=LogNMSE())]


SCHEMES: Mapping[str, Scheme] = {
    "end_to_end": Scheme(
        end_to_end, "all layers at once, the loss on the last", "Gregor and LeCun 2010, doi:10.5555/3104322.3104374"
    ),
    "greedy": Scheme(
        greedy,
        "layer after layer, those before frozen",
        "Bengio, Lamblin, Popovici and Larochelle 2007, doi:10.7551/mitpress/7503.003.0024",
    ),
    "greedy_then_joint": Scheme(
        greedy_then_joint, "layer after layer, then all together", "Chen and Pock 2017, arXiv:1508.02848"
    ),
    "grow": Scheme(
        grow,
        "one layer, then two, up to all, each time all of them together",
        "Long, Lu, Ma and Dong 2018 (PDE-Net), arXiv:1710.09668",
    ),
    "grow_then_refine": Scheme(
        grow_then_refine,
        "layers added one by one, then all refined",
        "Liu, Chen, Wang and Yin 2019 (ALISTA), openreview:B1lnzn0ctQ",
    ),
    "lista_cpss": Scheme(
        lista_cpss,
        "as grow_then_refine, in three rates, earlier layers slower",
        "Chen, Liu, Wang and Yin 2018, arXiv:1808.10038",
    ),
    "deep_supervision": Scheme(
        deep_supervision,
        "the estimate of layer k of K counts as (k / K)^2",
        "Lee, Xie, Gallagher, Zhang and Tu 2015, arXiv:1409.5185",
    ),
    "detnet": Scheme(
        detnet, "the estimate of layer k counts as log k", "Samuel, Diskin and Wiesel 2019, arXiv:1805.07631"
    ),
    "energy": Scheme(
        energy,
        "on the parent's objective, without targets",
        "Sprechmann, Bronstein and Sapiro 2015, doi:10.1109/TPAMI.2015.2392779",
    ),
    "log_nmse": Scheme(
        logarithmic_loss,
        "on the logarithm of the relative error",
        "Liu, Chen, Wang and Yin 2019 report this metric; the loss is ours",
    ),
}


def find_scheme(name: str) -> Scheme:
    """The scheme of a name; ``-`` and ``_`` are the same.

    Raises:
        ValueError: no such scheme; the message lists them.
    """
    key = name.replace("-", "_").lower()
    if key not in SCHEMES:
        raise ValueError(f"no schedule {name!r}; there are {', '.join(SCHEMES)}")
    return SCHEMES[key]


def by_name(name: str, depth: int, like: Schedule) -> Schedule:
    """A scheme with the steps of a schedule in all, and the rates, batch and loss of its last stage.

    Args:
        name: from ``SCHEMES``.
        depth: of the network.
        like: such as the schedule that a system comes with.
    """
    last = replace(
        like[-1], steps=sum(stage.steps for stage in like), depth=None, layers=None, parameters=None, inherit=None
    )
    return find_scheme(name).make(depth, last)


def with_curriculum(schedule: Schedule, **draw: float | Ramp) -> Schedule:
    """The same stages, drawing their batches with these values: ``with_curriculum(schedule, snr=Ramp(60, 20))`` begins
    with little noise.
    """
    return [replace(stage, draw={**stage.draw, **draw}) for stage in schedule]


def joint_fine_tuning(names: tuple[str, ...], like: Stage) -> Schedule:
    """For ``networks.Joint``: each network by itself in turn, then all together at a tenth of the rate (Wu et al. 2018,
    doi:10.1007/978-3-030-00919-9_5).

    Args:
        names: of the networks, in their order.
        like: steps in all, half of which go to the joint part.
    """
    alone = max(1, like.steps // (2 * len(names)))
    first = [replace(like, steps=alone, parameters=(name,)) for name in names]
    rest = max(1, like.steps - alone * len(names))
    return [*first, replace(like, steps=rest, rate=like.rate / 10, rates=_times(like.rates, 0.1), annealing=Cosine())]


def _shared(count: int, like: Stage, stages: Schedule) -> Schedule:
    """The stages with the steps of ``like`` in all."""
    return scaled(stages, max(count, like.steps))


def _times(rates: Mapping[str, float], factor: float) -> dict[str, float]:
    return {name: rate * factor for name, rate in rates.items()}


def _existing(like: Stage, factors: Mapping[str, float]) -> Mapping[str, float]:
    """Warm-start factors of parameters that the stage knows by name; others are copied."""
    return {name: factor for name, factor in factors.items() if name in like.rates}
