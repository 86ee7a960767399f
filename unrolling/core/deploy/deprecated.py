"""Methods of ``Unrolled`` that ``deploy`` takes the place of; they go with the next release."""

from __future__ import annotations

import warnings

from unrolling.core.deploy.adaptive import Adaptive
from unrolling.core.deploy.captured import Captured
from unrolling.core.deploy.compiled import Compiled
from unrolling.core.deploy.plain import Plain
from unrolling.core.unroll import Unrolled


def inference(self: Unrolled) -> Plain:
    """Deprecated: ``deploy(network, "plain")``."""
    _warn("inference()", 'deploy(network, "plain")')
    return Plain(self)


def compiled(self: Unrolled, backend: str = "inductor") -> Compiled:
    """Deprecated: ``deploy(network, "compiled")``, or ``Compiled(network, live=True)`` to train; the same object at
    every call.
    """
    _warn("compiled()", 'deploy(network, "compiled")')
    made = self.__dict__.setdefault("_compiled", {})
    return made.get(backend) or made.setdefault(backend, Compiled(self, backend, live=True))


def captured(self: Unrolled, most: int = 4) -> Captured:
    """Deprecated: ``deploy(network, "captured")``."""
    _warn("captured()", 'deploy(network, "captured")')
    return Captured(self, most)


def adaptive(self: Unrolled, after: float = 60.0) -> Adaptive:
    """Deprecated: ``deploy(network)``."""
    _warn("adaptive()", "deploy(network)")
    return Adaptive(self, after)


def attach() -> None:
    """Give networks these methods. They cannot stand in ``core/unroll.py``, which ``deploy`` is built on."""
    for method in (inference, compiled, captured, adaptive):
        setattr(Unrolled, method.__name__, method)


def _warn(old: str, new: str) -> None:
    warnings.warn(f"Unrolled.{old} goes with the next release; use {new}", DeprecationWarning, stacklevel=3)
