"""Between deepinv and this library: physics and operators, reconstructors and denoisers and networks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from unrolling._extras import peer
from unrolling.core.refusals import kind_of
from unrolling.operators.linear import LinearOperator

Role = Literal["reconstructor", "denoiser"]


def from_deepinv(
    what: Any,
    shape: tuple[int, ...] | None = None,
    *,
    dtype: torch.dtype = torch.float32,
    physics: Any = None,
    channel: bool = False,
) -> Any:
    """A linear physics of deepinv as an operator, one of its models as a network.

    - A ``LinearPhysics``: images (batch, channels, height, width), A = ``physics.A``, A^H = ``physics.A_adjoint``, and
      (A^H A + rho I)^-1 where it is a ``DecomposablePhysics``.
    - A ``Reconstructor``: a network from data to estimates, ``model(data, physics)``, which ``fit``, our losses and
      ``compare`` take.
    - A ``Denoiser``: images and standard deviations of their noise to images, for
      ``DenoiserProx(from_deepinv(denoiser), told=True)``.

    Args:
        what: of the classes above; a physics' noise model is left out.
        shape: of one image, (channels, height, width); of a physics alone.
        dtype: of the images, which the shape of a physics' measurements is found with.
        physics: of a reconstructor alone: the forward model of all data, or a function from data to measurements and
            the forward model, ``data -> (y, physics)``.
        channel: of models alone: whether images and measurements are (batch, height, width) here, and get the channel
            that deepinv's have.

    Raises:
        ImportError: deepinv is missing.
        TypeError: a physics that is not linear, something else, or what does not belong to it.
    """
    deepinv = peer("deepinv")
    models = getattr(deepinv, "models", None)
    if models is not None and isinstance(what, models.Reconstructor):
        if physics is None:
            raise TypeError("physics is None; a reconstructor is called with measurements and their physics: give one")
        return _Model(what, physics, channel)
    if models is not None and isinstance(what, models.Denoiser):
        if physics is not None:
            raise TypeError("physics is given; a denoiser is called with images and their noise alone")
        return _Model(what, None, channel)
    if not isinstance(what, deepinv.physics.LinearPhysics):
        raise TypeError(
            f"{type(what).__name__} is not a deepinv.physics.LinearPhysics; only linear operators have an adjoint"
        )
    if shape is None:
        raise TypeError("shape is None; an operator knows the shape of one image, (channels, height, width)")
    decomposable = getattr(deepinv.physics, "DecomposablePhysics", ())
    return (_Decomposable if isinstance(what, decomposable) else _Deepinv)(what, shape, dtype)


def to_deepinv(
    what: LinearOperator | nn.Module,
    *,
    data: Callable[[Tensor, Any], Any] | None = None,
    role: Role = "reconstructor",
    channel: bool = False,
) -> Any:
    """An operator or a network of this library for deepinv: its solvers, losses, metrics and trainers take them.

    - A linear operator becomes a ``deepinv.physics.LinearPhysics`` with ``physics.A`` and ``physics.A_adjoint``; images
      with channels, (batch, channels, height, width), go through an operator on (batch, height, width) channel by
      channel.
    - A network from data to estimates becomes a ``deepinv.models.Reconstructor`` called as ``model(y, physics)``.
    - With ``role="denoiser"``, a network of noisy images becomes a ``deepinv.models.Denoiser`` called as
      ``model(x, sigma)``, for ``deepinv.optim.PnP``.

    Args:
        what: as above.
        data: what the network takes of measurements and their physics, ``data(y, physics)``, such as
            ``lambda y, physics: Masked(y, physics.mask)``; by default y: the network holds its own forward model. Of a
            denoiser it makes what the network takes of x and sigma, (batch,), such as ``NoisyImage``; by default the
            network is called with both.
        role: above.
        channel: of networks alone: whether they work on (batch, height, width), and leave out the one channel that
            images and measurements have in deepinv.

    Raises:
        ImportError: deepinv is missing.
        TypeError: something else, or what does not belong to an operator.
        ValueError: a role that there is not; when run with ``channel``, images of several channels.
    """
    deepinv = peer("deepinv")
    if role not in get_args(Role):
        raise ValueError(f"role is {role!r}; it is one of {', '.join(map(repr, get_args(Role)))}")
    if isinstance(what, LinearOperator):
        if data is not None or channel or role == "denoiser":
            raise TypeError("data, channel and role belong to networks; an operator becomes a physics as it is")
        return _physics(deepinv, what)
    if not isinstance(what, nn.Module):
        raise TypeError(f"a {type(what).__name__} is neither a LinearOperator nor a network (an nn.Module)")
    return (_reconstructor if role == "reconstructor" else _denoiser)(deepinv, what, data, channel)


def _physics(deepinv: Any, operator: LinearOperator) -> Any:
    size = None if None in operator.input_shape else operator.input_shape
    physics = deepinv.physics.LinearPhysics(
        A=lambda x, **_: _by_channel(operator, x, len(operator.input_shape)),
        A_adjoint=lambda y, **_: _by_channel(operator.adjoint, y, len(operator.output_shape)),
        img_size=size,
    )
    physics.operator = operator  # its parameters and buffers move and are saved with the physics
    return physics


def _by_channel(act: Callable[[Tensor], Tensor], x: Tensor, dimensions: int) -> Tensor:
    """A linear map of (batch, *shape), also of (batch, channels, *shape)."""
    return act(x) if x.ndim < dimensions + 2 else act(x.flatten(0, 1)).unflatten(0, x.shape[:2])


def _reconstructor(deepinv: Any, network: nn.Module, data: Any, channel: bool) -> Any:
    class Reconstructor(deepinv.models.Reconstructor):
        def __init__(self) -> None:
            super().__init__()
            self.network = network

        def forward(self, y: Any, physics: Any = None, **_: Any) -> Tensor:
            given = _without_channel(y) if channel else y
            found = self.network(given if data is None else data(given, physics))
            return found.unsqueeze(1) if channel else found

    return Reconstructor()


def _denoiser(deepinv: Any, network: nn.Module, data: Any, channel: bool) -> Any:
    class Denoiser(deepinv.models.Denoiser):
        def __init__(self) -> None:
            super().__init__()
            self.network = network

        def forward(self, x: Tensor, sigma: Any, **_: Any) -> Tensor:
            level = torch.as_tensor(sigma, dtype=x.dtype, device=x.device).reshape(-1).expand(len(x))
            given = _without_channel(x) if channel else x
            found = self.network(given, level) if data is None else self.network(data(given, level))
            return found.unsqueeze(1) if channel else found

    return Denoiser()


def _without_channel(x: Tensor) -> Tensor:
    if x.ndim < 3 or x.shape[1] != 1:
        raise ValueError(f"channel=True, and images and measurements have one channel; got {tuple(x.shape)}")
    return x.squeeze(1)


class _Model(nn.Module):
    """A model of deepinv, called as networks are here."""

    def __init__(self, model: nn.Module, physics: Any, channel: bool) -> None:
        super().__init__()
        self.model, self.channel = model, channel
        self.physics = physics

    def forward(self, data: Any, *more: Any) -> Tensor:
        if self.physics is None:
            y, told = data, more
        elif isinstance(self.physics, nn.Module):  # a physics, which is callable too
            y, told = data, (self.physics,)
        else:
            y, *told = self.physics(data)
        if not isinstance(y, Tensor):
            raise TypeError(f"data are {kind_of(data)}; give physics=lambda data: (y, physics) that says what y is")
        found = self.model(y.unsqueeze(1) if self.channel else y, *told)
        return _without_channel(found) if self.channel else found


class _Deepinv(LinearOperator):
    def __init__(self, physics: Any, shape: tuple[int, ...], dtype: torch.dtype) -> None:
        with torch.no_grad():
            found = physics.A(torch.zeros(1, *shape, dtype=dtype))
        if not isinstance(found, Tensor):
            raise TypeError(
                f"{type(physics).__name__} gives a {type(found).__name__}; an operator here gives one tensor"
            )
        super().__init__(shape, tuple(found.shape[1:]))
        self.physics = physics

    def forward(self, x: Tensor) -> Tensor:
        return self.physics.A(x)

    def adjoint(self, y: Tensor) -> Tensor:
        return self.physics.A_adjoint(y)


class _Decomposable(_Deepinv):
    """A = U diag(s) V^H, V unitary."""

    def solve_normal(self, b: Tensor, rho: Tensor | float) -> Tensor:
        """V ((|s|^2 + rho)^-1 V^H b)."""
        mask = torch.as_tensor(self.physics.mask, device=b.device)
        return self.physics.V(self.physics.V_adjoint(b) / (mask.abs().square() + rho))
