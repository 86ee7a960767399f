"""The engine: one iteration, three ways to run it, a choice of gradients. Imports torch alone."""

from unrolling.core import tree
from unrolling.core.batch import Batch
from unrolling.core.constraints import Bounded, Positive, Simplex, UnitNorm, ZeroMean, constrain
from unrolling.core.convergent import Convergent, Corrected
from unrolling.core.deploy import Adaptive, Captured, Compiled, Deployed, Plain, deploy, frozen
from unrolling.core.drawing import Drawing, draw
from unrolling.core.drawing import networks as _networks  # noqa: F401  # what is said of each kind
from unrolling.core.equilibrium import Equilibrium
from unrolling.core.gradients import Backprop, Checkpointed, GradientRule, Implicit, ImplicitReport, OneStep, Truncated
from unrolling.core.iteration import Iteration, check_finite
from unrolling.core.learned import Learned
from unrolling.core.linear_solvers import LinearSolution, anderson, gmres
from unrolling.core.safeguard import Guarded, Safeguarded
from unrolling.core.solve import DivergenceError, Progress, Solution, Status, solve
from unrolling.core.unroll import Unrolled, unroll

__all__ = [
    "Adaptive",
    "Backprop",
    "Batch",
    "Bounded",
    "Captured",
    "Checkpointed",
    "Compiled",
    "Convergent",
    "Corrected",
    "Deployed",
    "DivergenceError",
    "Drawing",
    "Equilibrium",
    "GradientRule",
    "Guarded",
    "Implicit",
    "ImplicitReport",
    "Iteration",
    "Learned",
    "LinearSolution",
    "OneStep",
    "Plain",
    "Positive",
    "Progress",
    "Safeguarded",
    "Simplex",
    "Solution",
    "Status",
    "Truncated",
    "UnitNorm",
    "Unrolled",
    "ZeroMean",
    "anderson",
    "check_finite",
    "constrain",
    "deploy",
    "draw",
    "frozen",
    "gmres",
    "solve",
    "tree",
    "unroll",
]
