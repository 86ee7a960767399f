"""Exact maximum-likelihood detection by a sphere decoder."""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from unrolling.algorithms.detection.mimo import Received, check_received, check_rising
from unrolling.core import native
from unrolling.core.iteration import check_finite
from unrolling.core.refusals import explained

# Vectors that are tried in turn where there is no compiled search: about a minute for a thousand samples.
_TRIED = 2**20
_AT_ONCE = 2**22  # distances in memory
_ENDLESS = 2**62


class Decisions(NamedTuple):
    """What the search found."""

    x: Tensor  # (batch, K): the nearest point
    index: Tensor  # (batch, K) int64: its levels
    nodes: Tensor  # (batch,) int64: of the tree that were visited
    exact: Tensor  # (batch,) bool: whether the search ended; otherwise x is the best point that it has seen


@explained
def sphere_decode(data: Received, levels: Tensor, *, max_nodes: int | None = None) -> Decisions:
    """argmin of |y - H x|^2 over x with entries among the levels: what a maximum-likelihood receiver decides.

    Depth-first search through the triangular system of a sorted QR decomposition, H P = Q R (Wubben, Bohnke, Rinas,
    Kuhn and Kammeyer 2001, doi:10.1049/el:20010899), the levels of a stream in the order of their distance (Schnorr and
    Euchner 1994, doi:10.1007/BF01581144; Agrell, Eriksson, Vardy and Zeger 2002, doi:10.1109/TIT.2002.800499). The
    first point reached is that of successive cancellation; from then on only branches that stay nearer than the best
    point are followed. The number of nodes grows exponentially with K, with the number of levels and as the noise grows
    (``python -m benchmarks.detection --part sphere``). Channels of dependent columns, and more streams than antennas,
    are allowed, and cost accordingly.

    A small C++ file does it on the CPU, on torch's threads. It is compiled at the first call, once per user (see
    ``unrolling.prox.support``). Where that is not possible, all M^K vectors are tried in turn, up to 2^20 of them.
    Nothing here is differentiable.

    Args:
        data: y (batch, N), channel (batch, N, K) or (1, N, K); the noise is not needed.
        levels: (M,), rising.
        max_nodes: where to end the search of a sample; None never does.

    Raises:
        TypeError, ValueError: as for ``check_received`` and ``check_rising``; NaN or infinity; no antenna or no stream;
            max_nodes below K; no compiler for a problem that large.
    """
    check_received(data)
    check_rising(levels)
    check_finite(data)
    y, channel, _ = data
    batch, (n, k) = y.shape[0], channel.shape[1:]
    if n < 1 or k < 1:
        raise ValueError(f"the channel is {n} x {k}; there is at least one antenna and one stream")
    if max_nodes is not None and (isinstance(max_nodes, bool) or not isinstance(max_nodes, int)):
        raise TypeError(f"max_nodes is {max_nodes!r}; it is a whole number, or None")
    if max_nodes is not None and max_nodes < k:
        raise ValueError(f"max_nodes is {max_nodes}; the first point alone takes {k}, one for each stream")
    if y.dtype not in (torch.float32, torch.float64):
        raise TypeError(f"sphere_decode works in float32 and float64; got {y.dtype}")
    kernels = _kernels()
    if not kernels:
        return _enumerate(data, levels)
    y, channel = (x.detach().cpu().resolve_neg().contiguous() for x in (y, channel))
    alphabet = levels.detach().cpu().double().contiguous()
    index = torch.empty(batch, k, dtype=torch.int64)
    nodes = torch.empty(batch, dtype=torch.int64)
    stride = 0 if channel.shape[0] == 1 else n * k
    threads = min(torch.get_num_threads(), 1 + batch // 32)
    addresses = (x.data_ptr() for x in (y, channel, alphabet, index, nodes))
    kernels[y.dtype](
        *addresses,
        batch,
        n,
        k,
        len(alphabet),
        stride,
        _ENDLESS if max_nodes is None else min(max_nodes, _ENDLESS),
        threads,
        native.openmp(),
    )
    # The triangular form of each channel, and at each node of the search the interference of the symbols above it.
    native.counted(batch * n * k * k + int(nodes.abs().sum()) * (k + 1) // 2)
    index = index.to(data.y.device)
    return Decisions(levels.to(data.y)[index], index, nodes.abs().to(data.y.device), (nodes > 0).to(data.y.device))


def _enumerate(data: Received, levels: Tensor) -> Decisions:
    """All vectors, in turn."""
    y, channel, _ = data
    batch, k = y.shape[0], channel.shape[2]
    count = len(levels) ** k
    if count > _TRIED:
        raise ValueError(
            f"{len(levels)}^{k} vectors are too many to be tried in turn, and the search that avoids that needs a C++ "
            "compiler, which is not here (set CXX to its path; UNROLLING_VERBOSE=1 tells why it failed)"
        )
    levels = levels.to(y)
    indices = torch.cartesian_prod(*[torch.arange(len(levels), device=y.device)] * k).reshape(count, k)
    images = levels[indices] @ channel.mT  # (batch or 1, count, N)
    best = []
    size = max(1, _AT_ONCE // count)
    for first in range(0, batch, size):
        part = slice(first, first + size)
        distance = (y[part].unsqueeze(1) - (images if channel.shape[0] == 1 else images[part])).square().sum(-1)
        best.append(distance.argmin(1))
    index = indices[torch.cat(best)] if best else indices[:0]
    return Decisions(
        levels[index],
        index,
        torch.full((batch,), count, device=y.device),
        torch.ones(batch, dtype=torch.bool, device=y.device),
    )


@functools.cache
def _kernels() -> dict[torch.dtype, Callable[..., None]]:
    """The compiled function for each dtype; none where something fails."""
    arguments = [ctypes.c_void_p] * 5 + [ctypes.c_int64] * 6 + [ctypes.c_uint, ctypes.c_void_p]
    without = "sphere_decode tries all vectors in turn, as its search could not be built"
    return native.kernels(Path(__file__).with_suffix(".cpp"), "sphere", arguments, without)
