"""What detectors of symbols are compared with."""

from __future__ import annotations

from torch import Tensor

from unrolling.algorithms.detection.linear_detection import lmmse, zero_forcing
from unrolling.algorithms.detection.mimo import Received
from unrolling.algorithms.detection.semidefinite import semidefinite_relaxation
from unrolling.algorithms.detection.sphere import sphere_decode
from unrolling.algorithms.detection.trellis import GaussianLikelihood
from unrolling.algorithms.detection.viterbi import BCJR, Viterbi
from unrolling.algorithms.messages.expectation_propagation import ExpectationPropagation
from unrolling.algorithms.messages.oamp import OAMP
from unrolling.algorithms.sparse.lama import LAMA
from unrolling.algorithms.splitting.projected_gradient import ProjectedGradient
from unrolling.tasks.baselines import Baseline, Iterative, Method

SEARCHABLE = 40  # bits in a vector that a sphere decoder is asked for, in a comparison that should end
AFFORDABLE = 30  # streams up to which the relaxation is given all samples
NODES = 200_000  # after which it gives up a vector
NOTES = (
    "SNR is that of a stream at the receiver: the noise variance of a real dimension is |H|_F^2 / (K SNR) for symbols "
    "of mean square one. Other conventions move all curves together.",
    "The last row of the classical methods is exact maximum likelihood, which no detector can beat in wrong vectors; "
    "where it is cheap, as for 20 streams of two levels, a network has little to win, and where it is not (python -m "
    "benchmarks.detection --part sphere) it is left out.",
)


def detectors(levels: Tensor, streams: int, bits: int) -> list[Baseline]:
    """Detectors of vectors of symbols.

    Args:
        levels: of the alphabet, real.
        streams: real ones.
        bits: of a symbol.
    """
    methods: list[Baseline] = [
        Iterative(
            "projected gradient",
            lambda step: ProjectedGradient(levels, step_size=step),
            (0.1, 0.2, 0.4, 0.6, 0.8),
            300,
            tuning=100,
            setting="step size",
        ),
        Iterative("AMP", lambda damping: LAMA(levels, damping=damping), (0.0, 0.2, 0.4, 0.6), 60, setting="damping"),
        Iterative("OAMP", lambda _: OAMP(levels), (None,), 30, setting=""),
        Iterative(
            "expectation propagation",
            lambda damping: ExpectationPropagation(levels, damping=damping),
            (0.3, 0.5, 0.7),
            20,
            setting="damping",
        ),
        Method("zero forcing", lambda _: zero_forcing),
        Method("LMMSE", lambda _: lambda data: lmmse(data, unbiased=True), note="told the noise variance", linear=True),
    ]
    if len(levels) == 2:
        methods.append(
            Method(
                "semidefinite relaxation",
                lambda _: lambda data: semidefinite_relaxation(data).x,
                note="interior point to a relative gap of 3e-3; rounded by the dominant eigenvector",
                limit=None if streams <= AFFORDABLE else 2000,
            )
        )
    if streams * bits <= SEARCHABLE:

        def exact(data: Received) -> Tensor:
            return sphere_decode(data, levels, max_nodes=NODES).x

        note = f"sphere decoder in C++; ends a search after {NODES:,} nodes"
        methods.append(Method("maximum likelihood", lambda _: exact, note=note))
    return methods


def sequence_detectors(levels: Tensor, memory: int) -> list[Baseline]:
    """Detectors of sequences that know the channel, or believe to."""

    def knowing(kind: type[Viterbi | BCJR], estimated: bool) -> Viterbi | BCJR:
        return kind(GaussianLikelihood(levels, memory, estimated=estimated), len(levels), memory)

    return [
        Iterative("Viterbi, true channel", lambda _: knowing(Viterbi, False), (None,), 40, setting=""),
        Iterative("Viterbi, estimated channel", lambda _: knowing(Viterbi, True), (None,), 40, setting=""),
        Iterative("BCJR, true channel", lambda _: knowing(BCJR, False), (None,), 40, setting=""),
    ]
