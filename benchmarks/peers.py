"""Beside other libraries doing the same mathematics, both sides alternating in one process: time of theirs over ours,
above one where ours is faster.

- deepinv: unfolded proximal gradient descent with an l1 prior (m = 250, n = 500, 16 layers, a step size and a weight
  per layer), and unfolded half-quadratic splitting and ADMM for deblurring (64 x 64, 8 layers, batch 16).
- SPAMS and scikit-learn: the lasso of 200 samples at the same m and n, to the same objective. scikit-learn also:
  multiplicative updates of NMF, as many steps.
- scikit-image: total variation of 16 pictures of 128 x 128, its ``denoise_tv_chambolle`` beside ``ChambollePock``, to
  the same objective; and the filter of Wiener and Hunt, which is the first step of half-quadratic splitting from z = 0.
  Its ``richardson_lucy`` and ``unsupervised_wiener`` have no counterpart here.
- POT: none applies. Its solvers are Sinkhorn's and exact ones for optimal transport, and this library has no iteration
  for that.

The results are compared before anything is timed; ``difference`` is relative. A peer that cannot be imported is
reported and left out. They are the dependency group ``peers``, which is installed with ``--no-deps``: what they ask for
besides would replace packages that the tests are pinned to.

Bars, for the proximal gradient network: forward 2.6 at batch 1000 and 5 at batch 1, training step at batch 1000 1.9
eager and 2.5 compiled; for half-quadratic splitting 1.2 for forward and training step, compiled or not.
"""

from __future__ import annotations

import importlib
import statistics
import time
import warnings
from collections.abc import Callable, Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import torch
from torch import Tensor

from benchmarks.networks import M, N
from benchmarks.peers_unfolded import WEIGHT, Rows, unfolded
from benchmarks.record import options, publish, start
from benchmarks.timing import alternate
from unrolling import Iteration, deploy, soft_threshold, unroll
from unrolling.algorithms import FISTA, GramISTA
from unrolling.algorithms.sound.nmf import NMF
from unrolling.algorithms.splitting.data_terms import LeastSquares
from unrolling.algorithms.splitting.half_quadratic import HalfQuadraticSplitting
from unrolling.algorithms.splitting.primal_dual import ChambollePock
from unrolling.operators.convolution import CircularConvolution
from unrolling.operators.differences import FiniteDifferences
from unrolling.operators.spectral import Identity
from unrolling.prox.isotropic import IsotropicShrink
from unrolling.tasks.sparse.dictionaries import gaussian_dictionary

LASSO, PICTURES, SIDE, VARIATION, BALANCE = 200, 16, 128, 0.1, 0.05
BINS, FRAMES, RANK, UPDATES = 257, 400, 20, 50
STEPS = tuple(round(10 * 1.25**k) for k in range(24))
CLOSE = 1e-5


def row(
    peer: str,
    batch: int,
    work: str,
    sides: str,
    difference: float,
    ours: Callable[[], object],
    theirs: Callable[[], object],
) -> dict[str, object]:
    """Both sides timed in turn."""
    times = alternate({"ours": ours, "theirs": theirs}, seconds=2.0, least=3)
    low, middle, high = statistics.quantiles([b / a for a, b in zip(times["ours"], times["theirs"], strict=True)], n=4)
    named: dict[str, object] = {
        "peer": peer,
        "batch": batch,
        "pass": work,
        "sides": sides,
        "error": difference,
        "ratio": middle,
        "low": low,
        "high": high,
    }
    return named | {"milliseconds": 1e3 * statistics.median(times["ours"])}


def reached(
    iteration: Iteration, data: Tensor, objective: Callable[[Tensor], Tensor], goal: Tensor
) -> tuple[Callable[[], Tensor], int, float]:
    """Ours with as few steps as bring every sample within ``CLOSE`` of the goal, how many they are, and the largest gap
    relative to it.
    """
    run, steps, gap = repeated(iteration, STEPS[0], data), STEPS[0], float("inf")
    for steps in STEPS:
        run = repeated(iteration, steps, data)
        gap = float(((objective(run()) - goal) / goal).max())
        if gap < CLOSE:
            break
    return run, steps, gap


def repeated(iteration: Iteration, steps: int, data: Tensor) -> Callable[[], Tensor]:
    """That many steps, nothing recorded and nothing watched."""
    network = deploy(unroll(iteration, steps), "plain")
    return lambda: network(data)


def lasso(name: str, encode: Callable[[Any, Any], Any]) -> Rows:
    """min 0.5 |y - A x|^2 + lambda |x|_1: ours is FISTA, stopped where its objective is within 1e-5 of the peer's."""
    dictionary, generator = gaussian_dictionary(M, N, 0), torch.Generator().manual_seed(0)
    x = torch.randn(LASSO, N, generator=generator) * (torch.rand(LASSO, N, generator=generator) < 0.1)
    y = x @ dictionary.T

    def objective(code: Tensor) -> Tensor:
        code = code.double()
        return 0.5 * (y.double() - code @ dictionary.double().T).square().sum(1) + WEIGHT * code.abs().sum(1)

    def theirs() -> Any:
        return encode(dictionary.numpy(), y.numpy())

    ours, steps, gap = reached(FISTA(GramISTA(dictionary, WEIGHT)), y, objective, objective(torch.as_tensor(theirs())))
    return [row(f"{name}, lasso", LASSO, "solve", f"FISTA, {steps} iterations / theirs", gap, ours, theirs)]


def scikit_learn(seconds: float, device: torch.device, compiling: bool) -> Rows:
    """Coordinate descent, and multiplicative updates for the divergence of Kullback and Leibler from the same start."""
    package = importlib.import_module("sklearn")
    decomposition = importlib.import_module("sklearn.decomposition")
    name = f"scikit-learn {package.__version__}"

    def encode(a: Any, y: Any) -> Any:
        return decomposition.sparse_encode(y, a.T, algorithm="lasso_cd", alpha=WEIGHT, max_iter=2000)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return [*lasso(name, encode), *factorisation(name, decomposition.non_negative_factorization)]


def factorisation(name: str, factorise: Callable[..., Any]) -> Rows:
    """M^T = H^T W^T in as many updates."""
    generator = torch.Generator().manual_seed(0)
    parts = torch.rand(BINS, RANK, generator=generator) @ torch.rand(RANK, FRAMES, generator=generator)
    magnitude = (parts * (0.5 + torch.rand(BINS, FRAMES, generator=generator))).unsqueeze(0)
    iteration = NMF(BINS, RANK, beta=1.0, normalise=False)
    first = iteration.start(iteration.prepare(magnitude))
    transposed = magnitude[0].T.contiguous().numpy()

    ours = repeated(iteration, UPDATES, magnitude)

    def theirs() -> Any:
        begin = {
            "init": "custom",
            "W": first.activations[0].numpy().copy(),
            "H": first.dictionary[0].T.contiguous().numpy(),
        }
        return factorise(
            transposed, n_components=RANK, solver="mu", beta_loss="kullback-leibler", tol=0, max_iter=UPDATES, **begin
        )

    activations, dictionary, _ = theirs()
    wanted = torch.as_tensor(activations @ dictionary).T
    difference = float((ours()[0] - wanted).abs().max() / wanted.abs().max())
    return [row(f"{name}, NMF", 1, "solve", f"NMF, {UPDATES} updates / theirs", difference, ours, theirs)]


def spams(seconds: float, device: torch.device, compiling: bool) -> Rows:
    """Homotopy (LARS), exact."""
    package, numpy = importlib.import_module("spams"), importlib.import_module("numpy")

    def encode(a: Any, y: Any) -> Any:
        options = {"lambda1": WEIGHT, "mode": 2, "numThreads": torch.get_num_threads()}
        return package.lasso(numpy.asfortranarray(y.T), D=numpy.asfortranarray(a), **options).toarray().T

    name = next((held for held in ("spams", "spams-bin") if _held(held)), "spams")
    return lasso(f"SPAMS {version(name)}", encode)


def scikit_image(seconds: float, device: torch.device, compiling: bool) -> Rows:
    """Total variation by Chambolle's dual projection, and the filter of Wiener and Hunt."""
    package, restoration = importlib.import_module("skimage"), importlib.import_module("skimage.restoration")
    name = f"scikit-image {package.__version__}"
    generator = torch.Generator().manual_seed(0)
    blocks = (
        torch.rand(PICTURES, 8, 8, generator=generator).repeat_interleave(SIDE // 8, 1).repeat_interleave(SIDE // 8, 2)
    )
    pictures = blocks + 0.1 * torch.randn(blocks.shape, generator=generator)
    return [variation(name, restoration.denoise_tv_chambolle, pictures), wiener(name, restoration.wiener, pictures)]


def variation(name: str, denoise: Callable[..., Any], pictures: Tensor) -> dict[str, object]:
    """min 0.5 |x - y|^2 + lambda sum_p |(D x)_p|: theirs stops where its objective hardly falls, ours where it is
    within 1e-5 of theirs.
    """
    iteration = ChambollePock(
        LeastSquares(Identity()), FiniteDifferences(), IsotropicShrink(), VARIATION, primal_step=0.1
    )
    given = pictures.numpy()

    def objective(x: Tensor) -> Tensor:
        lengths = torch.linalg.vector_norm(FiniteDifferences()(x.double()), dim=1)
        return 0.5 * (x.double() - pictures.double()).square().sum((1, 2)) + VARIATION * lengths.sum((1, 2))

    def theirs() -> list[Any]:
        return [denoise(picture, weight=VARIATION, eps=1e-6, max_num_iter=2000) for picture in given]

    ours, steps, gap = reached(
        iteration, pictures, objective, objective(torch.stack([torch.as_tensor(found) for found in theirs()]))
    )
    return row(
        f"{name}, total variation", PICTURES, "solve", f"ChambollePock, {steps} iterations / theirs", gap, ours, theirs
    )


def wiener(name: str, restore: Callable[..., Any], pictures: Tensor) -> dict[str, object]:
    """(A^T A + beta D^T D)^-1 A^T y, D the discrete Laplacian, periodic."""
    offsets = torch.arange(-4, 5)
    kernel = torch.exp(-(offsets.unsqueeze(1) ** 2 + offsets**2) / 4.5)
    kernel = kernel / kernel.sum()
    laplacian = torch.tensor([[0.0, -1.0, 0.0], [-1.0, 4.0, -1.0], [0.0, -1.0, 0.0]])
    term, transform = LeastSquares(CircularConvolution(kernel)), CircularConvolution(laplacian)
    blurred = CircularConvolution(kernel)(pictures)
    given, point_spread = blurred.numpy(), kernel.numpy()
    # A threshold that no entry reaches makes z zero, and the step the filter.
    iteration = HalfQuadraticSplitting(term, transform, soft_threshold, 1e6, penalty=BALANCE, growth=1.0)

    @torch.no_grad()
    def ours() -> Tensor:
        problem = iteration.prepare(blurred)
        return iteration(iteration.start(problem), problem).x

    def theirs() -> list[Any]:
        return [restore(picture, point_spread, BALANCE, clip=False) for picture in given]

    wanted = torch.stack([torch.as_tensor(found) for found in theirs()])
    difference = float((ours() - wanted).abs().max() / wanted.abs().max())
    return row(f"{name}, Wiener", PICTURES, "one step", "HalfQuadraticSplitting / theirs", difference, ours, theirs)


def _held(name: str) -> bool:
    try:
        version(name)
    except PackageNotFoundError:
        return False
    return True


PEERS = {"deepinv": unfolded, "scikit-learn": scikit_learn, "spams": spams, "scikit-image": scikit_image}


def measure(seconds: float, device: torch.device, only: str | None, compiling: bool) -> Rows:
    """All peers; one that is missing or fails says so in its row."""
    rows: Rows = []
    for name, run in PEERS.items():
        if only in (None, name):
            begin = time.perf_counter()
            try:
                rows += run(seconds, device, compiling)
            except Exception as error:  # somebody else's package must not take the others down
                rows.append(
                    {
                        "peer": name,
                        "failed": f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}",
                        "seconds": time.perf_counter() - begin,
                    }
                )
    return rows


def line(row: Mapping[str, Any]) -> str:
    if "failed" in row:
        return f"{row['peer']}: not measured: {row['failed']}"
    head = f"{row['peer']:35s} batch {row['batch']:5d} {row['pass']:14s} {row['sides']:38s} theirs"
    text = (
        f"{head} {row['ratio']:.2f} times ours [{row['low']:.2f}, {row['high']:.2f}], ours "
        f"{row['milliseconds']:.2f} ms, difference {row['error']:.1e}"
    )
    return "; ".join([text, *row.get("notes", ())])


def main() -> None:
    parser = options(__doc__, seconds=6.0)
    parser.add_argument("--only", choices=tuple(PEERS), help="one peer")
    parser.add_argument("--eager", action="store_true", help="do not compile theirs, which takes minutes")
    given = parser.parse_args()
    publish("peers", given, measure(given.seconds, start(given), given.only, not given.eager), line)


if __name__ == "__main__":
    main()
