"""Real spectral normalisation: convolutions divided by their norm as operators on images, so that a chain of them has a
Lipschitz constant that is known.
"""

from __future__ import annotations

import hashlib
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import parametrize

from unrolling.core.arguments import check_count, check_range
from unrolling.core.constraints import allow_pickling
from unrolling.core.execution import is_plain
from unrolling.core.refusals import explain_call, explained
from unrolling.networks.dncnn import DnCNN
from unrolling.operators.layers import Geometry, convolution_norm, convolved, correlated, weight_norm

SLACK = 1e-2  # by which the norm of a layer may exceed its limit: weights that were rounded, and how sharp the bound is
SMALL = 0.05  # of the usual random kernels, beside an orthogonal matrix
MOST = 256  # norms that are remembered: a network is copied, saved and loaded more often than it changes
_NORMS: dict[Any, float] = {}
# Lipschitz constant 1, of each entry for itself
STEADY = (nn.ReLU, nn.ReLU6, nn.Identity, nn.Tanh, nn.Sigmoid, nn.Softplus, nn.Hardtanh, nn.Softsign, nn.Hardsigmoid)


class RealSpectralNorm(nn.Module):
    """w limit / |W|, |W| the spectral norm of the convolution with w on images, its padding included: a parametrization
    of an ``nn.Conv2d``'s weight.

    Ryu, Liu, Wang, Chen, Wang and Yin 2019, arXiv:1905.05406, section 4. In training |W| is <u, W v> after ``steps``
    power iterations v <- W^T W v / |W^T W v| with the exact adjoint, which go on from step to step, on images of
    ``shape``; gradients take u and v for constants. Outside of training |W| is ``convolution_norm``, for images of
    every size where the padding allows that, worked out when the weight has changed by more than 1 %; gradients take it
    for a constant. A weight within its limit is given back to the bit.

    Args:
        layer: the convolution, whose padding counts.
        limit: of the norm.
        shape: (height, width) that power iterations work on.
        steps: power iterations of each pass in training.
        size_free: whether the norm outside of training is that on images of every size, or on ``shape``.

    Raises:
        ValueError: a limit that is not positive, fewer than one step; a padding that has no bound for every size where
            that is asked for; on assignment a weight whose norm exceeds the limit by more than 1 %.
    """

    written_buffers = working_buffers = ("vector", "norm")
    vector: Tensor
    norm: Tensor

    def __init__(
        self,
        layer: nn.Conv2d,
        limit: float = 1.0,
        shape: tuple[int, int] = (40, 40),
        *,
        steps: int = 1,
        size_free: bool | None = None,
    ) -> None:
        super().__init__()
        check_range(limit, "limit", 0.0, float("inf"), above=True, below=True)
        check_count(steps, "steps")
        self.limit, self.shape, self.steps = float(limit), (int(shape[0]), int(shape[1])), steps
        self.geometry = Geometry.of(layer)  # and not the layer, which has other parameters
        self.size_free = self.geometry.is_bounded if size_free is None else size_free
        start = torch.randn(1, layer.in_channels, *shape, generator=torch.Generator().manual_seed(0))
        self.register_buffer("vector", (start / torch.linalg.vector_norm(start)).to(layer.weight))
        self.register_buffer("norm", layer.weight.new_tensor(self.limit))
        self._known: tuple[int, int] | None = None

    def exact(self, weight: Tensor) -> float:
        """|W|, of the size that is asked for, or a bound for all sizes; of the last weights it is remembered."""
        numbers = weight.detach().cpu().contiguous()
        digest = hashlib.blake2b(numbers.view(torch.uint8).numpy().tobytes()).digest()
        key = digest, tuple(weight.shape), self.geometry, None if self.size_free else self.shape
        if key not in _NORMS:
            while len(_NORMS) >= MOST:
                _NORMS.pop(next(iter(_NORMS)))
            _NORMS[key] = weight_norm(self.geometry, weight, None if self.size_free else self.shape)
        return _NORMS[key]

    def forward(self, weight: Tensor) -> Tensor:
        """The normalised weight."""
        if self.training:
            norm = self._iterated(weight)
            with torch.no_grad():
                self.norm.copy_(norm.detach())
                self._known = None
            return weight * (self.limit / norm)
        if is_plain() and not weight.is_inference():
            version = id(weight), weight._version
            if version != self._known:
                self._tighten(weight)
                self._known = version
        return weight * (self.limit / self.norm)

    def _tighten(self, weight: Tensor) -> None:
        """Keeps the norm that is divided by where it serves."""
        found = self.exact(weight)
        with torch.no_grad():
            if found > (1 + SLACK) * float(self.norm) or found < (1 - 3 * SLACK) * float(self.norm):
                self.norm.fill_(max(found, torch.finfo(self.norm.dtype).tiny))

    def _iterated(self, weight: Tensor) -> Tensor:
        geometry, vector = self.geometry, self.vector
        with torch.no_grad(), torch.autocast(weight.device.type, enabled=False):
            for _ in range(self.steps):
                image = convolved(geometry, weight, vector)
                back = correlated(geometry, weight, image, self.shape)
                vector = functional.normalize(back.flatten(), dim=0).reshape(vector.shape)
            image = convolved(geometry, weight, vector)
            u = functional.normalize(image.flatten(), dim=0).reshape(image.shape)
            self.vector.copy_(vector)
        # <u, W v> as a sum over taps: one correlation of two fixed images with the weight
        with torch.autocast(weight.device.type, enabled=False):
            norm = (u * convolved(geometry, weight, vector)).sum()
        return norm.clamp_min(torch.finfo(norm.dtype).tiny)

    def right_inverse(self, value: Tensor) -> Tensor:
        found = self.exact(value)
        if found > (1 + SLACK) * self.limit:
            raise ValueError(
                f"the convolution has the norm {found:.4g} on images, more than its limit {self.limit:.4g}: divide its "
                "weight by convolution_norm(layer), as normalise_convolutions does"
            )
        with torch.no_grad():
            self.norm.fill_(self.limit)
        self._known = None
        return value.clone()

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_known": None}  # of a copy the weight is another tensor

    def extra_repr(self) -> str:
        return f"limit={self.limit:g}, shape={self.shape}, steps={self.steps}"


@explain_call
class MaxMin(nn.Module):
    """Pairs of neighbouring channels in order: (batch, 2 n, ...) to n maxima and n minima, (batch, 2 n, ...).

    GroupSort with groups of two (Anil, Lucas and Grosse 2019, arXiv:1811.05381, section 4.1): what comes out is what
    came in, in another order, so that it lengthens no difference, and shortens no gradient. Chains of layers of norm
    one with rectifiers, which set half of it to zero, stay far below the slope that they may have.

    Raises:
        ValueError: an odd number of channels.
    """

    def forward(self, x: Float[Tensor, "batch channels ..."]) -> Float[Tensor, "batch channels ..."]:
        """In order."""
        if x.ndim < 2 or x.shape[1] % 2:
            raise ValueError(f"x has shape {tuple(x.shape)}; channels in pairs are wanted, (batch, 2 n, ...)")
        one, other = x[:, 0::2], x[:, 1::2]
        return torch.cat([torch.maximum(one, other), torch.minimum(one, other)], dim=1)


@explain_call
class LipschitzBatchNorm(nn.BatchNorm2d):
    """Batch normalisation with gain / max(1, max_c |gain_c| / sqrt(running variance_c + eps)) in the place of its gain:
    outside of training it lengthens no difference of images.

    The rule of Ryu et al. 2019, arXiv:1905.05406, for networks with batch normalisation.
    """

    def forward(self, input: Tensor) -> Tensor:
        """As for ``nn.BatchNorm2d``."""
        self._check_input_dim(input)
        assert self.running_mean is not None
        assert self.running_var is not None
        if self.training and self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)
        steepest = (self.weight.abs() * torch.rsqrt(self.running_var + self.eps)).amax()
        gain = self.weight / steepest.detach().clamp_min(1)
        momentum = 0.1 if self.momentum is None else self.momentum
        return functional.batch_norm(
            input, self.running_mean, self.running_var, gain, self.bias, self.training, momentum, self.eps
        )


@explained
def normalise_convolutions(
    network: nn.Module, bound: float = 1.0, shape: tuple[int, int] = (40, 40), *, steps: int = 1
) -> nn.Module:
    """Gives every convolution of a network real spectral normalisation, in place: each has the norm bound^(1 / layers)
    at the start and ever after, batch normalisations become ``LipschitzBatchNorm``.

    A chain of convolutions and rectifiers then is ``bound``-Lipschitz (``lipschitz_bound``).

    Args:
        network: changed in place; weights are scaled to their norm.
        bound: of the product of all norms.
        shape: (height, width) of the images that power iterations work on: those of training.
        steps: power iterations of each pass in training.

    Raises:
        ValueError: no convolution; a bound that is not positive.
    """
    check_range(bound, "bound", 0.0, float("inf"), above=True, below=True)
    layers = [part for part in network.modules() if isinstance(part, nn.Conv2d)]
    if not layers:
        raise ValueError(f"{type(network).__name__} has no nn.Conv2d that could be normalised")
    limit = bound ** (1 / len(layers))
    for layer in layers:
        if parametrize.is_parametrized(layer, "weight"):
            raise ValueError("a convolution's weight has a parametrization already; take it off first")
        size_free = Geometry.of(layer).is_bounded
        with torch.no_grad():
            norm = convolution_norm(layer, None if size_free else shape)
            layer.weight.mul_(limit / norm if norm > 0 else 1)
        training = layer.training
        layer.eval()  # what is registered is tried out, which in training would move it
        parametrize.register_parametrization(layer, "weight", RealSpectralNorm(layer, limit, shape, steps=steps))
        layer.train(training)
        allow_pickling(layer)
    for owner in list(network.modules()):
        for name, part in list(owner.named_children()):
            if type(part) is nn.BatchNorm2d:
                setattr(owner, name, _lipschitz(part))
    return network


def _lipschitz(part: nn.BatchNorm2d) -> LipschitzBatchNorm:
    made = LipschitzBatchNorm(part.num_features, part.eps, part.momentum)
    made.load_state_dict(part.state_dict())
    return made.to(part.weight).train(part.training)


@explained
def lipschitz_bound(chain: nn.Module, shape: tuple[int, int] | None = None) -> float:
    """A Lipschitz constant of a chain of layers in evaluation: the product of the norms of its convolutions
    (``convolution_norm``: on images of every size, or of one ``shape``) and of the gains of its batch normalisations.

    Rectifiers, ``MaxMin`` and other functions without slope above one count 1.

    Args:
        chain: an ``nn.Sequential`` or a single layer.
        shape: (height, width), where a padding has no bound for every size; convolutions that change the size end it.

    Raises:
        TypeError: a layer whose constant is not known.
    """
    if isinstance(chain, nn.Sequential):
        product = 1.0
        for part in chain:
            product *= lipschitz_bound(part, shape)
        return product
    if isinstance(chain, nn.Conv2d):
        return convolution_norm(chain, shape)
    if isinstance(chain, LipschitzBatchNorm | nn.BatchNorm2d):
        assert chain.running_var is not None
        gain = float((chain.weight.detach().abs() * torch.rsqrt(chain.running_var + chain.eps)).amax())
        return min(gain, 1.0) if isinstance(chain, LipschitzBatchNorm) else gain
    if isinstance(chain, nn.LeakyReLU):
        return max(1.0, abs(chain.negative_slope))
    if isinstance(chain, nn.PReLU):
        return max(1.0, float(chain.weight.detach().abs().amax()))
    if isinstance(chain, (*STEADY, MaxMin)):
        return 1.0
    raise TypeError(
        f"{type(chain).__name__} has no Lipschitz constant that is known here; the chain may hold convolutions, batch "
        "normalisations and functions of single entries"
    )


@torch.no_grad()
def _near_isometry(layer: nn.Conv2d) -> nn.Conv2d:
    """A small part of the usual start, and an orthogonal matrix in the middle."""
    middle = torch.empty(layer.out_channels, layer.in_channels)
    nn.init.orthogonal_(middle)
    layer.weight.mul_(SMALL)
    layer.weight[..., layer.kernel_size[0] // 2, layer.kernel_size[1] // 2] += middle.to(layer.weight)
    if layer.bias is not None:
        layer.bias.zero_()
    return layer


@explain_call
class LipschitzDnCNN(DnCNN):
    """x = y - R(y), R a ``DnCNN``'s convolutions with real spectral normalisation: |R(y) - R(y')| <= epsilon |y - y'|
    for images of every size, whatever was learned.

    Ryu, Liu, Wang, Chen, Wang and Yin 2019, arXiv:1905.05406: what plug-and-play methods need for convergence is that
    of x(y) - y. In evaluation the constant is exact (``residual_bound``); in training a power iteration follows it.

    Args:
        layers: of convolution, at least 2; 4 with 64 channels and no normalisation is the paper's SimpleCNN.
        channels: between them.
        colours: 1 for grey images without a dimension for them.
        normalise: batch normalisation in the inner layers (``LipschitzBatchNorm``).
        epsilon: of R; each layer has the norm epsilon^(1 / layers).
        shape: (height, width) that power iterations work on: the size of training images.
        activation: ``relu``, or ``sort`` for ``MaxMin``, with which kernels begin near isometries: an orthogonal matrix
            in the middle.

    Raises:
        ValueError: as for ``DnCNN``; an epsilon that is not positive; an odd number of channels to sort.
    """

    def __init__(
        self,
        layers: int = 17,
        channels: int = 64,
        colours: int = 1,
        *,
        normalise: bool = False,
        epsilon: float = 1.0,
        shape: tuple[int, int] = (40, 40),
        activation: Literal["relu", "sort"] = "relu",
    ) -> None:
        if activation not in ("relu", "sort"):
            raise ValueError(f"activation is {activation!r}; there are 'relu' and 'sort'")
        super().__init__(layers, channels, colours, normalise=normalise)
        if activation == "sort":
            if channels % 2:
                raise ValueError(f"channels is {channels}; to be sorted in pairs, their number has to be even")
            parts = (_near_isometry(part) if isinstance(part, nn.Conv2d) else part for part in self.residual)
            self.residual = nn.Sequential(*(MaxMin() if isinstance(part, nn.ReLU) else part for part in parts))
        normalise_convolutions(self.residual, epsilon, shape)

    def residual_bound(self) -> float:
        """epsilon, as the layers are now."""
        return lipschitz_bound(self.residual)

    def forward(self, y: Float[Tensor, "batch ... height width"]) -> Float[Tensor, "batch ... height width"]:
        """The image less the residual."""
        return super().forward(y)
