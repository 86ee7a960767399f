"""What measurements give, as plain data: every module of this package makes or reads some of it."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

ROLES = ("network", "initial", "parent", "classical", "library", "generic")
LEVEL = 0.01  # p below which a difference is called significant


@dataclass
class Interval:
    """A value with a 95 % bootstrap interval."""

    mean: float
    low: float
    high: float
    note: str = ""  # where it is not to be trusted


@dataclass
class Spread:
    """How far single units (signals, pictures, frames) are from the mean."""

    mean: float  # the metric of all of them together
    median: float
    percentile: float  # 99 % are better
    worst: float
    count: int  # units
    limit: float | None = None  # what is worse counts as failed; None where the task names no limit
    failures: int | None = None  # units that failed; an estimate that is not finite does


@dataclass
class Seconds:
    """Median time per sample, with quartiles."""

    batch: float
    batch_size: int
    single: float
    batch_quartiles: tuple[float, float] | None = None
    single_quartiles: tuple[float, float] | None = None


@dataclass
class Cost:
    """Per sample, measured on one."""

    # of matrix products, convolutions, Fourier transforms, factorisations, look-ups and C++ kernels; None: not counted
    multiply_adds: int | None
    peak_bytes: int | None  # most that was held at once beyond the data and the parameters
    stored_bytes: int | None  # of the learned numbers in a weights file; None where nothing is learned


@dataclass
class Paired:
    """A method's metric less the network's, on the same samples."""

    difference: float  # in the metric's unit
    low: float  # 95 % bootstrap interval
    high: float
    p: float  # of a permutation test
    adjusted: float | None = None  # p by Holm's method, over all rows of a table; None of a pair by itself

    @property
    def significant(self) -> bool:
        """Whether chance is an unlikely explanation, of this difference or of any in the table."""
        return (self.p if self.adjusted is None else self.adjusted) < LEVEL

    @property
    def told_apart(self) -> bool:
        """Whether the interval of the difference leaves out 0; a difference that is not finite does not tell."""
        return self.low > 0 or self.high < 0


@dataclass
class Row:
    """One method in the table."""

    name: str
    role: str  # one of ROLES
    quality: Interval
    iterations: int | None  # None where the word does not apply
    parameters: int | None  # learned ones
    seconds: Seconds | None
    note: str = ""
    cost: Cost | None = None
    paired: Paired | None = None  # against the network, on the same samples; None for the network itself
    training_seconds: float | None = None  # None where nothing is trained
    more: dict[str, float] = field(default_factory=dict)  # further metrics by name
    seeds: list[float] = field(default_factory=list)  # the metric of networks trained with other seeds
    spread: Spread | None = None  # of many more samples than the test set's, where those are cheap
    samples: int | None = None  # of each batch, where the method was given no more
    linear: bool = False  # a linear estimate, or the data themselves: generic networks below it stand for nothing


@dataclass
class Curve:
    """Quality after each iteration (or layer) on the test set."""

    name: str
    role: str
    iterations: list[int]
    quality: list[float]
    seconds: float | None  # per iteration and sample, in a batch


@dataclass
class Parameter:
    """One learned quantity over the layers, for the page."""

    name: str
    layers: list[int | None]
    learned: list[np.ndarray]
    classical: np.ndarray
    symbol: str = ""  # in the equations
    meaning: str = ""


@dataclass
class Criterion:
    """A line of the survey's Table III: one measurement for the iterative algorithm, the generic network and the
    unrolled network.
    """

    name: str
    measured: str  # what was measured, in words
    parent: str
    generic: str
    network: str
    best: tuple[str, ...]  # which of the three


@dataclass
class SafeguardReport:
    """The network kept from ever being worse than its parent in the parent's objective."""

    rate: float  # steps of the network that were taken
    rates: list[float]  # by layer
    never_worse: bool  # on the test set, sample by sample
    quality: Interval  # metric of the safeguarded network
    seconds: Seconds | None
    paired: Paired | None  # against the network without a safeguard


@dataclass
class CoverageRow:
    """How often half-widths held on some samples."""

    where: str  # the test set, or the name of a shift
    value: float | None  # of the shift
    trained: bool  # whether these samples are like those of training
    covered: float  # share of entries within, the mean over samples
    low: float  # of 95 %
    high: float
    width: float  # mean half-width
    samples: int
    holds: bool  # whether the promise lies below the upper end
    unlike: bool  # whether scores alone tell that these samples are unlike those of the calibration


@dataclass
class CoverageReport:
    """Half-widths calibrated on samples that the network was not trained on, and how often they hold."""

    level: float  # promised
    calibration: int  # samples
    kind: str  # of samples, in words
    score: str  # what makes half-widths differ, in words
    rows: list[CoverageRow]  # the test set first


@dataclass
class LayerReport:
    """Layer by layer, medians over samples; lists are as long as the network is deep."""

    quality: list[float]  # metric of each layer's estimate on the test set
    objective: list[float] | None  # the parent's, of each state; None where it has none
    parent_objective: list[float] | None  # of the parent's own iterates
    change: list[float]  # relative change of the estimate
    # length of the layer's step over that of the parent's from the same state: 1 is the classical step
    step: list[float]
    lipschitz: list[float]  # local, of the layer as a map of states, by power iteration
    dropped: list[float]  # metric of the network without this layer
    # depth and metric beyond the trained depth, for networks without untied parameters
    beyond: list[tuple[int, float]] = field(default_factory=list)
    samples: int | None = None  # how many ``dropped`` and ``beyond`` are of; None for all of the test set
    whole: float | None = None  # metric of the network itself on these; None for all of the test set

    @property
    def end(self) -> float:
        """What ``dropped`` and ``beyond`` are compared with."""
        return self.quality[-1] if self.whole is None else self.whole


@dataclass
class ShiftCurve:
    """One method along one shift."""

    name: str
    role: str
    quality: list[float]
    area: float  # mean of the metric over the values; NaN where the method fails at one of them
    intervals: list[Interval] = field(default_factory=list)  # of each value, 95 %


@dataclass
class ShiftReport:
    """All methods along one shift."""

    name: str
    words: str
    values: list[float]
    trained: float | None
    curves: list[ShiftCurve]
    # first value, going away from the training's, where the parent is better than the network; None where it never is
    crossing: float | None
    parent: str | None  # which row the crossing is about


@dataclass
class SizeCurve:
    """One method trained on fewer samples; the last entry is the whole training set."""

    name: str
    role: str
    samples: list[int | None]
    quality: list[float]
