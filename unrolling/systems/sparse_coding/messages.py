"""What the networks unrolled from message passing share: references, where their shrinkages begin, how they are
trained.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from unrolling.algorithms import AMP, VAMP
from unrolling.prox.bernoulli_gaussian import BernoulliGaussian
from unrolling.prox.denoisers import PiecewiseLinear
from unrolling.systems.base import Reference
from unrolling.tasks.sparse.recovery import Recovery
from unrolling.training.losses import LogNMSE
from unrolling.training.schedules import SCHEMES
from unrolling.training.stages import Schedule, Stage

BORGERDING = Reference(
    "Borgerding, M., Schniter, P. and Rangan, S.",
    "AMP-inspired deep networks for sparse linear inverse problems",
    "IEEE Transactions on Signal Processing 65(16)",
    2017,
    "10.1109/TSP.2017.2708040",
)
DONOHO = Reference(
    "Donoho, D. L., Maleki, A. and Montanari, A.",
    "Message-passing algorithms for compressed sensing",
    "Proceedings of the National Academy of Sciences 106(45)",
    2009,
    "10.1073/pnas.0909892106",
)
RANGAN = Reference(
    "Rangan, S., Schniter, P. and Fletcher, A. K.",
    "Vector approximate message passing",
    "IEEE Transactions on Information Theory 65(10)",
    2019,
    "10.1109/TIT.2019.2916359",
)

# Where the learning of the prior begins: three times as many non-zeros, of three times the variance, as the reference
# problem has. No task is looked at.
FIRST_PROBABILITY, FIRST_VARIANCE = 0.3, 3.0
NOTES = (
    "The network is told neither the prior of the signals nor the level of the noise: its shrinkages begin at the "
    "same values on every task, and the noise is "
    "what the residual shows. VAMP with a prior fitted to each signal (told nothing either, and not trained) is the "
    "classical method to look at.",
)


def bernoulli_gaussian() -> BernoulliGaussian:
    """A posterior mean whose prior is to be learned."""
    return BernoulliGaussian(FIRST_PROBABILITY, FIRST_VARIANCE)


def amp(shrinkage: Callable[[], nn.Module]) -> Callable[[Recovery], AMP]:
    """AMP with a shrinkage."""
    return lambda task: AMP(task.dictionary, shrinkage())


def vamp(shrinkage: Callable[[], nn.Module] = bernoulli_gaussian) -> Callable[[Recovery], VAMP]:
    """VAMP with a shrinkage; the noise is fitted to each sample."""
    return lambda task: VAMP(task.dictionary, shrinkage())


def piecewise_linear() -> PiecewiseLinear:
    """A soft threshold that bends back to the identity."""
    return PiecewiseLinear()


def schedule(steps: int, rate: float, rates: dict[str, float] | None = None) -> Callable[[int], Schedule]:
    """Layers added one by one, then refined together, on the logarithm of the relative error; rates are those of a new
    layer.
    """
    return lambda depth: SCHEMES["grow_then_refine"].make(
        depth, Stage(steps, rate=rate, rates=rates or {}, batch=128, loss=LogNMSE())
    )
