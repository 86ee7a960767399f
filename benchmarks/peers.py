"""Beside other libraries doing the same mathematics, both sides alternating in one process: time of theirs over ours, above one where ours is faster.

deepinv: unfolded proximal gradient descent with an l1 prior (m = 250, n = 500, 16 layers, a step size and a weight per layer) and unfolded half-quadratic
splitting for deblurring (64 x 64, 8 layers, batch 16). SPAMS and scikit-learn: the lasso of 200 samples at the same m and n, to the same objective. The results
are compared before anything is timed. A peer that cannot be imported is reported and left out. They are the dependency group ``peers``, which is installed with
``--no-deps``: what they ask for besides would replace packages that the tests are pinned to.

Bars, for the proximal gradient network: forward 2.6 at batch 1000 and 5 at batch 1, training step at batch 1000 1.9 eager and 2.5 compiled; for the splitting
1.2 for forward and training step, compiled or not.
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
from benchmarks.record import options, publish, start, waiter
from benchmarks.timing import alternate
from unrolling import Unrolled, soft_threshold, solve, unroll
from unrolling.algorithms import FISTA, ISTA, GramISTA
from unrolling.algorithms.data_terms import Linear
from unrolling.algorithms.half_quadratic import HalfQuadraticSplitting
from unrolling.operators.convolution import CircularConvolution
from unrolling.operators.spectral import Identity
from unrolling.tasks.recovery import gaussian_dictionary

WEIGHT, SIDE, IMAGES, SPLITTINGS, LASSO = 0.1, 64, 16, 8, 200
PGD_BARS = {("forward", 1000): 2.6, ("forward", 1): 5.0, ("training step", 1000): 1.9, ("training step, compiled", 1000): 2.5}
HQS_BAR = 1.2
Rows = list[dict[str, object]]


class Theirs(nn.Module):
    """A reconstructor of deepinv as a function of the data alone."""

    def __init__(self, model: nn.Module, physics: Any) -> None:
        super().__init__()
        self.model, self.physics = model, physics

    def forward(self, y: Tensor) -> Tensor:
        return self.model(y, self.physics)


def deepinv() -> Any:
    """The package. It imports torchvision, whose build for PyPI lacks two operators beside a torch without CUDA: empty schemas for them let it be imported."""
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


def splitting(package: Any, device: torch.device) -> tuple[Unrolled, Theirs]:
    """z <- S_{lambda / beta}(x), x <- (A^T A + beta I)^-1 (A^T y + beta z) from A^T y, lambda and beta learned per layer."""
    offsets = torch.arange(-4, 5, device=device)
    kernel = torch.exp(-(offsets.unsqueeze(1) ** 2 + offsets**2) / 4.5)
    kernel = kernel / kernel.sum()
    parent = HalfQuadraticSplitting(Linear(CircularConvolution(kernel)), Identity(), soft_threshold, 0.01, penalty=0.5, growth=1.0)
    ours = unroll(parent.to(device), SPLITTINGS, untied=("weight", "penalty"))
    physics = package.physics.BlurFFT(img_size=(1, SIDE, SIDE), filter=kernel[None, None], device=device)
    theirs = package.optim.HQS(
        data_fidelity=package.optim.L2(),
        prior=package.optim.L1Prior(),
        lambda_reg=[0.01] * SPLITTINGS,
        stepsize=[2.0] * SPLITTINGS,
        max_iter=SPLITTINGS,
        g_first=True,
        unfold=True,
        trainable_params=["lambda", "stepsize"],
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


def beside(title: str, ours: Unrolled, theirs: Theirs, ours_y: Tensor, theirs_y: Tensor, seconds: float, bars: Mapping[Any, float], *, compiling: bool) -> Rows:
    """Forward and training step, plain and compiled, of both."""
    batch, wait = ours_y.shape[0], waiter(ours_y.device)
    with torch.no_grad():
        wanted, got = ours(ours_y), theirs(theirs_y)
        error = float((got.reshape(wanted.shape) - wanted).abs().max() / wanted.abs().max())
    if not error < 1e-4:
        return [{"peer": title, "batch": batch, "failed": f"the two differ by {error:.2g} of the largest value: this is not the same mathematics"}]
    notes: list[str] = []
    compiled, fast = ours.compiled(), ours.inference()
    peer_compiled = _compiled(theirs, theirs_y, notes) if compiling else None
    with torch.no_grad():
        calls = {
            "ours, inference": lambda: fast(ours_y),
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
        own = copy.deepcopy(theirs)
        steps["theirs, compiled"] = training(torch.compile(own), own, theirs_y)
    learned = alternate(steps, seconds=seconds, least=10, wait=wait)
    rows: Rows = []
    sides = (("ours, eager", "theirs, eager"), ("ours, compiled", "theirs, eager"), ("ours, compiled", "theirs, compiled"))
    for kind, times, pairs in (("forward", forward, (("ours, inference", "theirs, eager"), *sides)), ("training step", learned, sides)):
        seen = set()
        for mine, other in pairs:
            if mine not in times or other not in times:
                continue
            low, middle, high = statistics.quantiles([b / a for a, b in zip(times[mine], times[other], strict=True)], n=4)
            row: dict[str, object] = {"peer": title, "batch": batch, "pass": kind, "sides": f"{mine} / {other}", "error": error}
            row |= {"ratio": middle, "low": low, "high": high, "milliseconds": 1e3 * statistics.median(times[mine]), "notes": notes}
            name = f"{kind}, compiled" if mine == "ours, compiled" else kind
            if name not in seen and (name, batch) in bars:
                row |= {"bar": bars[name, batch], "better": "high"}
            seen.add(name)
            rows.append(row)
    return rows


def _compiled(theirs: Theirs, y: Tensor, notes: list[str]) -> Callable[[Tensor], Tensor] | None:
    """Theirs compiled as far as it can be, with breaks where it must; None where that fails."""
    from torch._dynamo.utils import counters

    counters.clear()
    torch._dynamo.config.recompile_limit = 64  # it compiles once per layer, and by default torch gives up after eight
    try:
        run = torch.compile(theirs)
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            run(y)
    except Exception as error:  # a benchmark goes on without
        notes.append(f"theirs cannot be compiled: {(str(error).splitlines() or [''])[0][:120]}")
        return None
    notes.append(f"theirs compiled has {sum(counters['graph_break'].values())} graph breaks")
    return run


def unfolded(seconds: float, device: torch.device, compiling: bool) -> Rows:
    """deepinv."""
    package = deepinv()
    rows: Rows = []
    for batch in (1000, 1):
        torch._dynamo.reset()
        y = measurements(batch).to(device)
        rows += beside(f"deepinv {package.__version__}, PGD", *proximal_gradient(package, device), y, y, seconds, PGD_BARS, compiling=compiling)
    torch._dynamo.reset()
    y = torch.rand(IMAGES, SIDE, SIDE, generator=torch.Generator().manual_seed(0)).to(device)
    bars = {(kind + tail, IMAGES): HQS_BAR for kind in ("forward", "training step") for tail in ("", ", compiled")}
    return rows + beside(f"deepinv {package.__version__}, HQS", *splitting(package, device), y, y.unsqueeze(1), seconds, bars, compiling=compiling)


def lasso(name: str, encode: Callable[[Any, Any], Any]) -> Rows:
    """min 0.5 |y - A x|^2 + lambda |x|_1: ours is FISTA, stopped where its objective is within 1e-5 of the peer's; once each way round."""
    dictionary, generator = gaussian_dictionary(M, N, 0), torch.Generator().manual_seed(0)
    x = torch.randn(LASSO, N, generator=generator) * (torch.rand(LASSO, N, generator=generator) < 0.1)
    y = x @ dictionary.T

    def objective(code: Tensor) -> Tensor:
        code = code.double()
        return 0.5 * (y.double() - code @ dictionary.double().T).square().sum(1) + WEIGHT * code.abs().sum(1)

    iteration = FISTA(GramISTA(dictionary, WEIGHT))
    goal = objective(torch.as_tensor(encode(dictionary.numpy(), y.numpy())))
    for iterations in (25, 50, 100, 200, 400, 800, 1600):
        gap = float(((objective(solve(iteration, y, tolerance=0.0, max_iterations=iterations).estimate) - goal) / goal).max())
        if gap < 1e-5:
            break
    times = alternate(
        {"ours": lambda: solve(iteration, y, tolerance=0.0, max_iterations=iterations), "theirs": lambda: encode(dictionary.numpy(), y.numpy())},
        seconds=2.0,
        least=3,
    )
    low, middle, high = statistics.quantiles([b / a for a, b in zip(times["ours"], times["theirs"], strict=True)], n=4)
    return [
        {
            "peer": f"{name}, lasso",
            "batch": LASSO,
            "pass": "solve",
            "sides": f"FISTA, {iterations} iterations / theirs",
            "error": gap,
            "ratio": middle,
            "low": low,
            "high": high,
            "milliseconds": 1e3 * statistics.median(times["ours"]),
        }
    ]


def scikit_learn(seconds: float, device: torch.device, compiling: bool) -> Rows:
    """Coordinate descent."""
    package = importlib.import_module("sklearn")
    decomposition = importlib.import_module("sklearn.decomposition")

    def encode(a: Any, y: Any) -> Any:
        return decomposition.sparse_encode(y, a.T, algorithm="lasso_cd", alpha=WEIGHT, max_iter=2000)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return lasso(f"scikit-learn {package.__version__}", encode)


def spams(seconds: float, device: torch.device, compiling: bool) -> Rows:
    """Homotopy (LARS), exact."""
    package, numpy = importlib.import_module("spams"), importlib.import_module("numpy")
    version = importlib.import_module("importlib.metadata").version

    def encode(a: Any, y: Any) -> Any:
        options = {"lambda1": WEIGHT, "mode": 2, "numThreads": torch.get_num_threads()}
        return package.lasso(numpy.asfortranarray(y.T), D=numpy.asfortranarray(a), **options).toarray().T

    name = next((held for held in ("spams", "spams-bin") if _held(held)), "spams")
    return lasso(f"SPAMS {version(name)}", encode)


def _held(name: str) -> bool:
    from importlib.metadata import PackageNotFoundError, version

    try:
        version(name)
    except PackageNotFoundError:
        return False
    return True


PEERS = {"deepinv": unfolded, "scikit-learn": scikit_learn, "spams": spams}


def measure(seconds: float, device: torch.device, only: str | None, compiling: bool) -> Rows:
    """All peers; one that is missing or fails says so in its row."""
    rows: Rows = []
    for name, run in PEERS.items():
        if only in (None, name):
            begin = time.perf_counter()
            try:
                rows += run(seconds, device, compiling)
            except Exception as error:  # somebody else's package must not take the others down
                rows.append({"peer": name, "failed": f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}", "seconds": time.perf_counter() - begin})
    return rows


def line(row: Mapping[str, Any]) -> str:
    if "failed" in row:
        return f"{row['peer']}: not measured: {row['failed']}"
    head = f"{row['peer']:22s} batch {row['batch']:5d} {row['pass']:14s} {row['sides']:38s} theirs"
    return f"{head} {row['ratio']:.2f} times ours [{row['low']:.2f}, {row['high']:.2f}], ours {row['milliseconds']:.2f} ms, difference {row['error']:.1e}"


def main() -> None:
    parser = options(__doc__, seconds=6.0)
    parser.add_argument("--only", choices=tuple(PEERS), help="one peer")
    parser.add_argument("--eager", action="store_true", help="do not compile theirs, which takes minutes")
    given = parser.parse_args()
    publish("peers", given, measure(given.seconds, start(given), given.only, not given.eager), line)


if __name__ == "__main__":
    main()
