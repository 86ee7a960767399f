"""Networks run for their answers: one function, ``deploy``, and the forms that it chooses from."""

from unrolling.core.deploy import deprecated
from unrolling.core.deploy.adaptive import PATIENCE, Adaptive
from unrolling.core.deploy.captured import Captured
from unrolling.core.deploy.compiled import Compiled
from unrolling.core.deploy.forms import FORMS, Deployed, deploy
from unrolling.core.deploy.frozen import frozen
from unrolling.core.deploy.plain import Plain
from unrolling.core.deploy.registry import FusedLayers, fused_layers, register

deprecated.attach()

__all__ = [
    "FORMS",
    "PATIENCE",
    "Adaptive",
    "Captured",
    "Compiled",
    "Deployed",
    "FusedLayers",
    "Plain",
    "deploy",
    "frozen",
    "fused_layers",
    "register",
]
