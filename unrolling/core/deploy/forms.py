"""The form in which a network is put to use."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, Protocol, overload

from torch import nn

from unrolling.core.deploy.adaptive import PATIENCE, Adaptive
from unrolling.core.deploy.captured import Captured
from unrolling.core.deploy.compiled import Compiled
from unrolling.core.deploy.plain import Plain


class Deployed(Protocol):
    """A network as ``deploy`` gives it; called like the network."""

    def __call__(self, data: Any, state: Any = None, *, return_state: bool = False, chunk: int | None = None) -> Any:
        """The estimate, or (estimate, state after the last layer).

        Args:
            data: (batch, ...) tensor, or a NamedTuple of such.
            state: where to start: the last state of the sample before, say, of a stream.
            return_state: give the state after the last layer too.
            chunk: work on about so many samples at a time.
        """
        ...


FORMS: dict[str, tuple[Callable[..., Deployed], tuple[str, ...]]] = {  # and the options of each
    "auto": (Adaptive, ("after", "backend")),
    "plain": (Plain, ()),
    "compiled": (Compiled, ("backend",)),
    "captured": (Captured, ("most",)),
}


@overload
def deploy(
    network: nn.Module, how: Literal["auto"] = "auto", *, after: float = PATIENCE, backend: str = "inductor"
) -> Adaptive: ...
@overload
def deploy(network: nn.Module, how: Literal["plain"]) -> Plain: ...
@overload
def deploy(network: nn.Module, how: Literal["compiled"], *, backend: str = "inductor") -> Compiled: ...
@overload
def deploy(network: nn.Module, how: Literal["captured"], *, most: int = 4) -> Captured: ...
@overload
def deploy(network: nn.Module, how: str) -> Deployed: ...
def deploy(network: nn.Module, how: str = "auto", **options: Any) -> Deployed:
    """A network ready to be used: nothing is recorded, values are those of this moment, answers are the network's to
    rounding.

    Args:
        network: an unrolled network, an equilibrium, a safeguarded network, or any other module; it is not changed.
        how: ``"plain"``: constraints worked out once, and the faster form that layers of exactly this type may have;
            ``"compiled"``: one graph by ``torch.compile``, which takes 10 to 60 seconds at the first call;
            ``"captured"``: on a GPU, the launches of the plain form recorded and replayed; ``"auto"``: plain at first,
            compiled where it pays.
        after: (auto) the seconds of plain work on one kind of data after which it compiles.
        backend: (auto, compiled) that of ``torch.compile``.
        most: (captured) how many recordings are kept.

    Returns:
        (data, state=None, return_state=False, chunk=None) -> estimate; see ``Deployed``. What it has compiled or
        recorded so far can be read from it: ``Adaptive``, ``Compiled``, ``Captured``.

    Raises:
        ValueError: another form, or an option that is out of range.
        TypeError: not a module, or an option of another form.
    """
    if how not in FORMS:
        raise ValueError(f"how is {how!r}; it is {', '.join(FORMS)}")
    if not isinstance(network, nn.Module):
        raise TypeError(f"deploy takes a network, a torch.nn.Module; got {type(network).__name__}")
    form, known = FORMS[how]
    foreign = [name for name in options if name not in known]
    if foreign:
        raise TypeError(f"how={how!r} has no option {foreign[0]}; it has {', '.join(known) or 'none'}")
    return form(network, **options)
