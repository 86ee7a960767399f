"""Losses of deepinv in our training, and ours in deepinv's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from unrolling._extras import peer
from unrolling.core.refusals import kind_of
from unrolling.tasks.draws import Draws
from unrolling.tasks.measurements import Measurement
from unrolling.training.losses import Loss, asked

KNOWN = ("data", "run", "measurement", "draws", "kept")  # what a loss of ours may ask for there
SEEDS = 2**31 - 1


def from_deepinv_loss(
    loss: Any, physics: Any, *, data: Callable[[Tensor, Any], Any] | None = None, channel: bool = False
) -> Loss:
    """A loss of deepinv for a ``Stage`` on a network of ours: supervised ones, ``MCLoss``, ``EILoss``, SURE,
    ``SplittingLoss``, ``R2RLoss`` and others of the form ``loss(x_net, x, y, physics, model)``.

    A loss that changes what the network sees (``adapt_model``) runs it itself. What is drawn, from torch's own
    generator or from one that the loss or its physics hold, follows from the step, so that a run that was interrupted
    ends the same. Micro-batches draw each for itself, where our losses draw what the whole batch would.

    Args:
        loss: a ``deepinv.loss.Loss``.
        physics: the forward model of all data, or a function from data to measurements and the forward model,
            ``data -> (y, physics)``.
        data: what the network takes of measurements and their physics, as for ``to_deepinv``; by default y.
        channel: whether images and measurements are (batch, height, width) here, and get the channel that deepinv's
            have.

    Raises:
        ImportError: deepinv is missing.
        TypeError: no loss of deepinv; when run, data that are no tensor and a physics that is no function.
    """
    theirs = peer("deepinv").loss.Loss
    if not isinstance(loss, theirs):
        raise TypeError(f"loss is {kind_of(loss)}; a deepinv.loss.Loss is wanted")
    return _FromDeepinv(loss, physics, data, channel)


def to_deepinv_loss(
    loss: Loss,
    measurement: Measurement | None = None,
    *,
    data: Callable[[Tensor, Any], Any] | None = None,
    physics: Callable[[Any], tuple[Tensor, Any]] | None = None,
    channel: bool = False,
) -> Any:
    """A loss of ours as a ``deepinv.loss.Loss``, for deepinv's ``Trainer`` and reconstructors.

    One that shows the network something else than the data (``Splitting``, ``Recorrupted``, ``Neighbours``) does so by
    ``adapt_model``, in training alone. Random numbers follow ``torch.manual_seed``.

    Args:
        loss: of estimate and target, or of the measurements besides.
        measurement: how data come about, for losses that ask for it.
        data: our data of measurements and their physics, such as ``lambda y, physics: Masked(y, physics.mask[:, 0])``;
            by default y.
        physics: the way back, from our data to what the model is called with, ``data -> (y, physics)``; by default
            their measurements and the physics that the model was called with.
        channel: whether images and measurements are (batch, height, width) in our data and losses.

    Raises:
        ImportError: deepinv is missing.
        TypeError: a loss that asks for the layers or states of a network, or for a measurement that is not given.
        ValueError: what the loss refuses of the measurement.
    """
    deepinv = peer("deepinv")
    names = asked(loss)
    unknown = [name for name in names if name not in KNOWN]
    if unknown:
        raise TypeError(f"{loss!r} asks for {unknown[0]}, which a model of deepinv does not have")
    if measurement is None and ("measurement" in names or hasattr(loss, "show")):
        raise TypeError(f"measurement is None, and {loss!r} asks how the data come about: give one")
    if measurement is not None and hasattr(loss, "check"):
        loss.check(measurement)  # pyright: ignore[reportFunctionMemberAccess]
    return _made(deepinv, loss, names, _Bridge(measurement, data, physics, channel))


class _FromDeepinv:
    """``from_deepinv_loss``."""

    asks = ("data", "run", "draws")

    def __init__(self, loss: Any, physics: Any, data: Callable[[Tensor, Any], Any] | None, channel: bool) -> None:
        self.loss: Any = loss
        self.physics: Any = physics
        self.model = _Called(data, channel)
        self.adapted: Any = loss.adapt_model(self.model)
        plain = {
            name: value
            for name, value in vars(loss).items()
            if isinstance(value, bool | int | float | str) and not name.startswith("_") and name != "training"
        }
        told = ", ".join(f"{name}={value!r}" for name, value in plain.items())
        self.words = f"deepinv.{type(loss).__name__}({told})"  # as it was given; some count their steps
        self.takes_estimate = self.adapted is self.model  # else it runs the network on what it chooses

    def __call__(
        self, estimate: Any, target: Any, data: Any, run: Callable[[Any], Tensor], draws: Draws | None = None
    ) -> Tensor:
        y, physics = self._told(data)
        self.model.runs(run)
        y, x = self.model.given(y), None if target is None else self.model.given(target)

        def value() -> Tensor:
            if not self.takes_estimate:
                found = self.adapted.train()(y, physics, update_parameters=True)
            elif isinstance(estimate, Tensor):
                found = self.model.given(estimate)
            else:  # an iteration that lets losses see more than its estimate
                found = self.model(y, physics)
            return self.loss(x_net=found, x=x, y=y, physics=physics, model=self.adapted).mean()

        if draws is None:
            return value()
        seed, parts = int(draws.integers(SEEDS, (1,))), (self.loss, self.adapted, physics)
        with torch.random.fork_rng():
            known = _seeded(parts, seed)
            found = value()
            if _seeded(parts, seed) != known:  # the loss made itself a generator: once more, with this seed
                found = value()
        return found

    def _told(self, data: Any) -> tuple[Tensor, Any]:
        if not isinstance(self.physics, nn.Module) and callable(self.physics):
            told: Any = self.physics(data)
            return told
        if not isinstance(data, Tensor):
            raise TypeError(f"data are {kind_of(data)}; give physics=lambda data: (y, physics) that says what y is")
        return data, self.physics

    def __repr__(self) -> str:
        return self.words


def _seeded(parts: tuple[Any, ...], seed: int) -> int:
    """Seeds torch's own generator and those that modules hold; how many these are."""
    torch.manual_seed(seed)
    modules = [module for part in parts if isinstance(part, nn.Module) for module in part.modules()]
    held = {id(each): each for module in modules for each in vars(module).values() if isinstance(each, torch.Generator)}
    for generator in held.values():
        generator.manual_seed(seed)
    return len(held)


class _Called(nn.Module):
    """A network of ours as deepinv calls its own; which one changes with every call of the loss."""

    run: Callable[[Any], Tensor]

    def __init__(self, data: Callable[[Tensor, Any], Any] | None, channel: bool) -> None:
        super().__init__()
        self.data, self.channel = data, channel

    def runs(self, run: Callable[[Any], Tensor]) -> None:
        """Takes a network, which does not become a part of this module."""
        self.__dict__["run"] = run

    def given(self, x: Tensor) -> Tensor:
        """As deepinv has it."""
        return x.unsqueeze(1) if self.channel else x

    def forward(self, y: Tensor, physics: Any = None, **_: Any) -> Tensor:
        own = y.squeeze(1) if self.channel else y
        return self.given(self.run(own if self.data is None else self.data(own, physics)))


class _Bridge:
    """Data of ours from measurements and physics of deepinv, and back."""

    def __init__(self, measurement: Measurement | None, data: Any, physics: Any, channel: bool) -> None:
        self.measurement, self.data, self.physics, self.channel = measurement, data, physics, channel

    def own(self, x: Tensor) -> Tensor:
        """Without their channel."""
        return x.squeeze(1) if self.channel else x

    def ours(self, y: Tensor, physics: Any) -> Any:
        """Our data."""
        own = self.own(y)
        return own if self.data is None else self.data(own, physics)

    def run(self, model: Any, physics: Any) -> Callable[[Any], Tensor]:
        """Their model on our data."""

        def found(data: Any) -> Tensor:
            if self.physics is not None:
                y, told = self.physics(data)
            else:
                y, told = data if isinstance(data, Tensor) else data[0], physics
            return self.own(model(y.unsqueeze(1) if self.channel else y, told))

        return found


def _drawn() -> Draws:
    """A generator that follows torch's own."""
    return Draws([torch.Generator().manual_seed(int(torch.randint(SEEDS, ())))])


def _made(deepinv: Any, loss: Any, names: tuple[str, ...], bridge: _Bridge) -> Any:
    class Shown(nn.Module):
        """A model that is shown in training what the loss shows it."""

        kept: Any = None

        def __init__(self, model: nn.Module) -> None:
            super().__init__()
            self.model = model

        def forward(self, y: Tensor, physics: Any, update_parameters: bool = False, **more: Any) -> Tensor:
            if not self.training:
                return self.model(y, physics, **more)
            seen, self.kept = loss.show(bridge.ours(y, physics), bridge.measurement, _drawn())
            found = bridge.run(self.model, physics)(seen)
            return found.unsqueeze(1) if bridge.channel else found

    class Adapted(deepinv.loss.Loss):
        def adapt_model(self, model: nn.Module, **_: Any) -> nn.Module:
            return Shown(model) if hasattr(loss, "show") and not isinstance(model, Shown) else model

        def forward(
            self, x_net: Tensor, x: Any = None, y: Any = None, physics: Any = None, model: Any = None, **_: Any
        ) -> Tensor:
            plain = model.model if isinstance(model, Shown) else model
            known: dict[str, Any] = {
                "data": None if y is None else bridge.ours(y, physics),
                "run": None if plain is None else bridge.run(plain, physics),
                "measurement": bridge.measurement,
                "kept": getattr(model, "kept", None),
            }
            if "draws" in names:
                known["draws"] = _drawn()
            target = None if x is None else bridge.own(x)
            return loss(bridge.own(x_net), target, **{name: known[name] for name in names})

        def __repr__(self) -> str:
            return repr(loss)

    return Adapted()
