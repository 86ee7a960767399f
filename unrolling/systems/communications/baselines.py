"""What detection systems have in common: the recipe's task, and the detectors that every one of them is compared
with.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from unrolling.algorithms.detection.linear_detection import lmmse, zero_forcing
from unrolling.algorithms.detection.mimo import Received
from unrolling.algorithms.detection.semidefinite import semidefinite_relaxation
from unrolling.algorithms.detection.sphere import sphere_decode
from unrolling.algorithms.messages.expectation_propagation import ExpectationPropagation
from unrolling.algorithms.messages.oamp import OAMP
from unrolling.algorithms.sparse.lama import LAMA
from unrolling.algorithms.splitting.projected_gradient import ProjectedGradient
from unrolling.systems.base import Classical, Direct, Recipe, Reference
from unrolling.systems.communications import files
from unrolling.tasks.communications.detection import Detection

SEARCHABLE = 40  # bits in a vector that a sphere decoder is asked for, in a comparison that should end
AFFORDABLE = 30  # streams up to which the relaxation is given all samples
NODES = 200_000  # after which it gives up a vector

OPTIONS: Mapping[str, Any] = {
    "streams": 20,
    "antennas": 30,
    "modulation": "bpsk",
    "channel": "iid",
    "correlation": 0.55,
    "snr": 10.0,
    "low": 7.0,
    "high": 14.0,
}

SAMUEL_2017 = Reference(
    "Samuel, N., Diskin, T. and Wiesel, A.", "Deep MIMO detection", "IEEE SPAWC", 2017, "10.1109/SPAWC.2017.8227772"
)
MA_PING = Reference("Ma, J. and Ping, L.", "Orthogonal AMP", "IEEE Access 5", 2017, "10.1109/ACCESS.2017.2653119")
HE_2020 = Reference(
    "He, H., Wen, C.-K., Jin, S. and Li, G. Y.",
    "Model-driven deep learning for MIMO detection",
    "IEEE Trans. Signal Processing 68",
    2020,
    "10.1109/TSP.2020.2976585",
)

CONVENTION = (
    "SNR is that of a stream at the receiver: the noise variance of a real dimension is |H|_F^2 / (K SNR) for symbols "
    "of mean square one. Other conventions move all curves together."
)
MAXIMUM_LIKELIHOOD = (
    "The last row of the classical methods is exact maximum likelihood, which no detector can beat in wrong vectors; "
    "where it is cheap, as for 20 streams of "
    "two levels, a network has little to win, and where it is not (python -m benchmarks.detection --part sphere) it "
    "is left out."
)


def detection_recipe(notes: tuple[str, ...] = (), options: Mapping[str, Any] | None = None, **own: Any) -> Recipe:
    """A recipe for ``Detection``; the system brings parent, depth, tying, schedule and the generic network's budget."""
    return Recipe(
        **{"task": Detection, **own},
        classical=iterations,
        direct=detectors,
        affine=False,
        threads=1,
        notes=(*notes, CONVENTION, MAXIMUM_LIKELIHOOD),
        options={**OPTIONS, **(options or {})},
        tag=detection_tag,
        apply=files.detection(),
    )


def iterations(task: Detection) -> list[Classical]:
    """Detectors that go step by step, their settings chosen on validation data."""
    levels = task.levels
    return [
        Classical(
            "projected gradient",
            lambda step: ProjectedGradient(levels, step_size=step),
            (0.1, 0.2, 0.4, 0.6, 0.8),
            300,
            100,
            "step size",
        ),
        Classical("AMP", lambda damping: LAMA(levels, damping=damping), (0.0, 0.2, 0.4, 0.6), 60, None, "damping"),
        Classical("OAMP", lambda _: OAMP(levels), (0.0,), 30, None, ""),
        Classical(
            "expectation propagation",
            lambda damping: ExpectationPropagation(levels, damping=damping),
            (0.3, 0.5, 0.7),
            20,
            None,
            "damping",
        ),
    ]


def detectors(task: Detection) -> list[Direct]:
    """Detectors that do not; the exact one where it can be afforded."""
    found = [
        Direct("zero forcing", zero_forcing),
        Direct("LMMSE", lambda data: lmmse(data, unbiased=True), "told the noise variance"),
    ]
    if len(task.levels) == 2:
        limit = None if task.streams <= AFFORDABLE else 2000
        found.append(
            Direct(
                "semidefinite relaxation",
                relaxed,
                "interior point to a relative gap of 3e-3; rounded by the dominant eigenvector",
                limit,
            )
        )
    streams = task.streams * (2 if task.modulation.complex else 1)
    if streams * task.modulation.bits <= SEARCHABLE:

        def exact(data: Received) -> Tensor:
            return sphere_decode(data, task.levels, max_nodes=NODES).x

        found.append(Direct("maximum likelihood", exact, f"sphere decoder in C++; ends a search after {NODES:,} nodes"))
    return found


def relaxed(data: Received) -> Tensor:
    """Symbols from the semidefinite relaxation."""
    return semidefinite_relaxation(data).x


def detection_tag(options: Mapping[str, Any]) -> str:
    """Sizes, alphabet and channel; the SNR is the test's, and the same weights serve for all."""
    channel = options["channel"] + ("" if options["channel"] == "iid" else f"{options['correlation']:g}")
    return f"{options['streams']}x{options['antennas']}-{options['modulation']}-{channel}"
