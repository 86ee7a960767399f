"""deepinv's unfolded networks beside ours that do the same mathematics; ``python -m benchmarks.peers`` runs it.

Both sides are timed in turn, as they are and compiled by ``torch.compile``. Their results are compared before anything
is timed.
"""

from __future__ import annotations

import contextlib
import copy
import importlib
import io
import statistics
import time
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.networks import DEPTH, M, N, measurements
from benchmarks.record import waiter
from benchmarks.timing import alternate
from unrolling import Unrolled, deploy, soft_threshold, unroll
from unrolling.algorithms import ISTA
from unrolling.algorithms.splitting.admm import ADMM, ADMMState, Splitting
from unrolling.algorithms.splitting.data_terms import LeastSquares
from unrolling.algorithms.splitting.half_quadratic import HalfQuadraticSplitting
from unrolling.core import Compiled
from unrolling.operators.convolution import CircularConvolution
from unrolling.operators.spectral import Identity
from unrolling.tasks.sparse.dictionaries import gaussian_dictionary

WEIGHT, SIDE, IMAGES, SPLITTINGS, SPARSITY = 0.1, 64, 16, 8, 0.01
PGD_BARS = {
    ("forward", 1000): 2.6,
    ("forward", 1): 5.0,
    ("training step", 1000): 1.9,
    ("training step, compiled", 1000): 2.5,
}
HQS_BARS = {(kind + tail, IMAGES): 1.2 for kind in ("forward", "training step") for tail in ("", ", compiled")}
Rows = list[dict[str, object]]


class Theirs(nn.Module):
    """A reconstructor of deepinv as a function of the data alone."""

    def __init__(self, model: nn.Module, physics: Any) -> None:
        super().__init__()
        self.model, self.physics = model, physics

    def forward(self, y: Tensor) -> Tensor:
        return self.model(y, self.physics)


def deepinv() -> Any:
    """The package. It imports torchvision, whose build for PyPI lacks two operators beside a torch without CUDA: empty
    schemas for them let it be imported.
    """
    try:
        importlib.import_module("torchvision")
    except RuntimeError:
        library = torch.library.Library("torchvision", "FRAGMENT")
        library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        library.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        deepinv.library = library  # pyright: ignore[reportFunctionMemberAccess] (it lives as long as its schemas are needed)
    with contextlib.redirect_stdout(io.StringIO()):
        return importlib.import_module("deepinv")


def proximal_gradient(package: Any, device: torch.device) -> tuple[Unrolled, Theirs]:
    """x <- S_{mu lambda}(x - mu A^T (A x - y)) from zero, mu and lambda learned per layer."""
    dictionary = gaussian_dictionary(M, N, 0).to(device)
    ours = unroll(ISTA(dictionary, WEIGHT), DEPTH, untied=("step_size", "threshold"))
    step = float(ours.layers[0].step_size)  # pyright: ignore[reportArgumentType]
    physics = package.physics.LinearPhysics(A=lambda x, **_: x @ dictionary.T, A_adjoint=lambda y, **_: y @ dictionary)

    def zero(y: Tensor, _: Any) -> dict[str, tuple[Tensor, Tensor]]:
        x = y.new_zeros(y.shape[0], N)
        return {"est": (x, x)}

    theirs = package.optim.PGD(
        data_fidelity=package.optim.L2(),
        prior=package.optim.L1Prior(),
        lambda_reg=[WEIGHT] * DEPTH,
        stepsize=[step] * DEPTH,
        max_iter=DEPTH,
        custom_init=zero,
        unfold=True,
        trainable_params=["lambda", "stepsize"],
    )
    return ours, Theirs(theirs, physics).to(device)


def blur(package: Any, device: torch.device) -> tuple[LeastSquares, Any]:
    """A Gaussian blur, periodic, as a data term of ours and as theirs."""
    offsets = torch.arange(-4, 5, device=device)
    kernel = torch.exp(-(offsets.unsqueeze(1) ** 2 + offsets**2) / 4.5)
    kernel = kernel / kernel.sum()
    return LeastSquares(CircularConvolution(kernel)), package.physics.BlurFFT(
        img_size=(1, SIDE, SIDE), filter=kernel[None, None], device=device
    )


def splitting(package: Any, device: torch.device) -> tuple[Unrolled, Theirs]:
    """z <- S_{lambda / beta}(x), x <- (A^T A + beta I)^-1 (A^T y + beta z) from A^T y, lambda and beta learned per
    layer.
    """
    data_term, physics = blur(package, device)
    parent = HalfQuadraticSplitting(data_term, Identity(), soft_threshold, SPARSITY, penalty=0.5, growth=1.0)
    ours = unroll(parent.to(device), SPLITTINGS, untied=("weight", "penalty"))
    theirs = package.optim.HQS(
        data_fidelity=package.optim.L2(),
        prior=package.optim.L1Prior(),
        lambda_reg=[SPARSITY] * SPLITTINGS,
        stepsize=[2.0] * SPLITTINGS,
        max_iter=SPLITTINGS,
        g_first=True,
        unfold=True,
        trainable_params=["lambda", "stepsize"],
    )
    return ours, Theirs(theirs, physics).to(device)


class SplitADMM(ADMM):
    """``ADMM`` that answers with z, as deepinv's does."""

    def estimate(self, state: ADMMState, problem: Any) -> Tensor:
        return state.z[0]


def multipliers(package: Any, device: torch.device) -> tuple[Unrolled, Theirs]:
    """z <- S_{lambda / rho}(x + alpha), alpha <- alpha + eta (x - z), x <- (A^T A + rho I)^-1 (A^T y + rho (z -
    alpha)); lambda, rho and eta per layer.

    Ours starts with the x that z = alpha = 0 lead to and ends a step with x; theirs begins one with it. Estimates are
    z, so that our last x is not needed.
    """
    data_term, physics = blur(package, device)
    parent = SplitADMM(data_term, [Splitting(Identity(), soft_threshold, SPARSITY, penalty=0.5)])
    learned = ("splittings.0.weight", "splittings.0.penalty", "splittings.0.rate")
    ours = unroll(parent.to(device), SPLITTINGS, untied=learned)

    def zero(y: Tensor, _: Any) -> dict[str, tuple[Tensor, Tensor]]:
        x = torch.zeros_like(y)
        return {"est": (x, x)}

    theirs = package.optim.ADMM(
        data_fidelity=package.optim.L2(),
        prior=package.optim.L1Prior(),
        lambda_reg=[SPARSITY] * SPLITTINGS,
        stepsize=[2.0] * SPLITTINGS,
        beta=[1.0] * SPLITTINGS,
        max_iter=SPLITTINGS,
        custom_init=zero,
        unfold=True,
        trainable_params=["lambda", "stepsize", "beta"],
    )
    return ours, Theirs(theirs, physics).to(device)


def training(run: Callable[[Tensor], Tensor], network: nn.Module, y: Tensor) -> Callable[[], None]:
    """A step of Adam at a rate that changes nothing that could be seen."""
    optimizer = torch.optim.Adam([p for p in network.parameters() if p.requires_grad], lr=1e-9)

    def step() -> None:
        optimizer.zero_grad()
        run(y).square().mean().backward()
        optimizer.step()

    return step


def beside(
    title: str,
    ours: Unrolled,
    theirs: Theirs,
    ours_y: Tensor,
    theirs_y: Tensor,
    seconds: float,
    bars: Mapping[Any, float],
    *,
    compiling: bool,
) -> Rows:
    """Forward and training step, plain and compiled, of both."""
    batch, wait = ours_y.shape[0], waiter(ours_y.device)
    with torch.no_grad():
        wanted, got = ours(ours_y), theirs(theirs_y)
        error = float((got.reshape(wanted.shape) - wanted).abs().max() / wanted.abs().max())
    if not error < 1e-4:
        return [
            {
                "peer": title,
                "batch": batch,
                "failed": f"the two differ by {error:.2g} of the largest value: this is not the same mathematics",
            }
        ]
    compiled, fast = Compiled(ours, live=True), deploy(ours, "plain")
    own = copy.deepcopy(theirs)
    peer_compiled, notes = _compiled(own, theirs_y) if compiling else (None, [])
    with torch.no_grad():
        calls = {
            "ours, plain": lambda: fast(ours_y),
            "ours, eager": lambda: ours(ours_y),
            "ours, compiled": lambda: compiled(ours_y),
            "theirs, eager": lambda: theirs(theirs_y),
        }
        if peer_compiled is not None:
            calls["theirs, compiled"] = lambda: peer_compiled(theirs_y)
        forward = alternate(calls, seconds=seconds, least=10, wait=wait)
    steps = {
        "ours, eager": training(ours, ours, ours_y),
        "ours, compiled": training(compiled, ours, ours_y),
        "theirs, eager": training(theirs, theirs, theirs_y),
    }
    if peer_compiled is not None:
        steps["theirs, compiled"] = training(peer_compiled, own, theirs_y)
    learned = alternate(steps, seconds=seconds, least=10, wait=wait)
    rows: Rows = []
    sides = (
        ("ours, eager", "theirs, eager"),
        ("ours, compiled", "theirs, eager"),
        ("ours, compiled", "theirs, compiled"),
    )
    for kind, times, pairs in (
        ("forward", forward, (("ours, plain", "theirs, eager"), *sides)),
        ("training step", learned, sides),
    ):
        seen = set()
        for mine, other in pairs:
            if mine not in times or other not in times:
                continue
            low, middle, high = statistics.quantiles(
                [b / a for a, b in zip(times[mine], times[other], strict=True)], n=4
            )
            row: dict[str, object] = {
                "peer": title,
                "batch": batch,
                "pass": kind,
                "sides": f"{mine} / {other}",
                "error": error,
            }
            row |= {
                "ratio": middle,
                "low": low,
                "high": high,
                "milliseconds": 1e3 * statistics.median(times[mine]),
                "notes": notes,
            }
            name = f"{kind}, compiled" if mine == "ours, compiled" else kind
            if name not in seen and (name, batch) in bars:
                row |= {"bar": bars[name, batch], "better": "high"}
            seen.add(name)
            rows.append(row)
    return rows


def _compiled(theirs: Theirs, y: Tensor) -> tuple[Callable[[Tensor], Tensor] | None, list[str]]:
    """Theirs compiled as far as it can be, with breaks where it must, forward and backward, and what came of it; None
    where that fails.
    """
    from torch._dynamo.utils import counters

    counters.clear()
    torch._dynamo.config.recompile_limit = 64  # it compiles once per layer, and by default torch gives up after eight
    begin = time.perf_counter()
    try:
        run = torch.compile(theirs)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with torch.no_grad():
                run(y)
            run(y).sum().backward()
    except Exception as error:  # a benchmark goes on without
        return None, [f"theirs cannot be compiled: {(str(error).splitlines() or [''])[0][:120]}"]
    finally:
        theirs.zero_grad()
    breaks = sum(counters["graph_break"].values())
    return run, [
        f"theirs compiled, forward and backward, has {breaks} graph breaks and took "
        f"{time.perf_counter() - begin:.0f} s to compile"
    ]


def unfolded(seconds: float, device: torch.device, compiling: bool) -> Rows:
    """All of them."""
    package = deepinv()
    rows: Rows = []
    for batch in (1000, 1):
        torch._dynamo.reset()
        y = measurements(batch).to(device)
        rows += beside(
            f"deepinv {package.__version__}, PGD",
            *proximal_gradient(package, device),
            y,
            y,
            seconds,
            PGD_BARS,
            compiling=compiling,
        )
    y = torch.rand(IMAGES, SIDE, SIDE, generator=torch.Generator().manual_seed(0)).to(device)
    for name, make, bars in (("HQS", splitting, HQS_BARS), ("ADMM", multipliers, {})):
        torch._dynamo.reset()
        rows += beside(
            f"deepinv {package.__version__}, {name}",
            *make(package, device),
            y,
            y.unsqueeze(1),
            seconds,
            bars,
            compiling=compiling,
        )
    return rows
