"""Plug-and-play: norms of layers, how fast residuals fall, deblurring with denoisers that were not trained for it.

Parts: ``norms`` (every layer of imaging/realsn by 200 power iterations of its own, from another start, beside what a
norm of the weight as a matrix would leave), ``decay`` (residuals of PnP-FBS and PnP-DRS on problems that are strongly
convex, within the steps that plug_and_play_conditions gives, and with the DnCNN of imaging/learned_prox, which has no
such bound), ``cost`` (what that bound costs on such problems), ``deblurring`` (known kernels, noise of 1 %, total
variation beside; settings from validation photographs).

Bars: norms at most 1.02 times their limit; R^2 of the logarithm of the residual above 0.99; plug-and-play at least
0.5 dB above total variation; imaging/realsn at most 0.5 dB below imaging/learned_prox on problems that it is for.

--data names a folder with ``set12`` (pictures) and ``blur_kernels/levin09.npz``; without it the test photographs of the
task known_deblurring and its kernels serve. --weights names a folder of weights files to use before the shipped ones;
``norms`` and ``decay`` take networks that are not trained where there are none, and say so.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.image_methods import Row, Run, chosen, network, psnr, sets
from benchmarks.record import publish
from unrolling.algorithms import (
    Blurred,
    DenoisedPrimalDual,
    DouglasRachford,
    HalfQuadraticSplitting,
    KnownBlur,
    LeastSquares,
    NoisyImage,
    ProximalGradient,
    plug_and_play_conditions,
)
from unrolling.core import Iteration
from unrolling.evaluation.classical import steps_of
from unrolling.operators import CircularConvolution, Identity, LayerConvolution
from unrolling.prox import DenoiserProx
from unrolling.systems.catalogue import find
from unrolling.tasks.baselines import Iterative
from unrolling.tasks.images.known_deblurring import KnownDeblurring
from unrolling.tasks.images.pictures import timing_crops

NORM, FIT, GAIN, COST = 1.02, 0.99, 0.5, 0.5  # bars
POWER, SIZES = 200, ((40, 40), (24, 56))
STEPS, FLOOR = 60, -11.0  # of the decay; log10 below which rounding rules
NOISE, FIRST = 0.01, 49 / 255  # of the deblurring; the level that half-quadratic splitting starts from
LEVEL = 0.02  # that both denoisers were trained for
PLAIN, CONSTRAINED = "imaging/learned_prox", "imaging/realsn"
TOLD = ("imaging/cscnet", "imaging/denoise")


def denoiser(name: str, task: str, weights: Path | None) -> tuple[nn.Module, bool]:
    """The network in the prox of a system, and whether it was trained."""
    found = network(name, task, weights)
    system = find(name)
    parent: Any = system.recipes[task].parent(system.task(task)) if found is None else found.layers[0]
    return next(part.denoiser for part in parent.modules() if isinstance(part, DenoiserProx)).eval(), found is not None


def called(name: str, trained: bool) -> str:
    """For a row."""
    return name if trained else f"{name}, not trained"


@torch.no_grad()
def power(operator: LayerConvolution) -> float:
    """|A| from below, from a start of its own."""
    generator = torch.Generator().manual_seed(12345)
    x = torch.randn(1, *operator.input_shape, generator=generator, dtype=torch.float64)
    for _ in range(POWER):
        x = operator.adjoint(operator(x))
        x = x / x.norm()
    return float(operator(x).norm())


def of_norms(options: argparse.Namespace) -> list[Row]:
    """Layer by layer."""
    net, trained = denoiser(CONSTRAINED, "denoising", options.weights)
    rows: list[Row] = []
    layers = [part for part in net.modules() if isinstance(part, nn.Conv2d)]
    for number, layer in enumerate(layers):
        own = nn.Conv2d(layer.in_channels, layer.out_channels, layer.kernel_size, padding=layer.padding).double()  # pyright: ignore
        own.weight = nn.Parameter(layer.weight.detach().double())
        norms = [power(LayerConvolution(own, size)) for size in SIZES]
        as_matrix = float(torch.linalg.matrix_norm(own.weight.detach().flatten(1), 2))
        method = called(CONSTRAINED, trained)
        row = {"part": "norms", "set": f"layer {number + 1}", "method": method, "as_matrix": as_matrix}
        rows.append({**row, "value": max(norms), "bar": NORM, "better": "low"})
    return rows


def line_of(values: list[float]) -> tuple[float, float]:
    """The slope of a straight line and its R^2."""
    y = np.array([v for v in values if v > FLOOR])
    k = np.arange(len(y))
    slope, start = np.polyfit(k, y, 1)
    return float(slope), float(1 - ((y - slope * k - start) ** 2).sum() / ((y - y.mean()) ** 2).sum())


@torch.no_grad()
def residuals(iteration: Iteration, data: Any) -> list[float]:
    """log10 of the lengths of the steps, of all samples together."""
    problem = iteration.prepare(data)
    state, values = iteration.start(problem), []
    for _ in range(STEPS):
        new = iteration(state, problem)
        one, other = (s if isinstance(s, Tensor) else s.z for s in (new, state))
        values.append(float((one - other).norm().clamp_min(1e-300).log10()))
        state = new
    return values


def convex() -> list[tuple[str, CircularConvolution]]:
    """Problems that are strongly convex."""
    found = []
    for words, beside in (("denoising", 0.0), ("a weak blur", 0.02)):
        kernel = torch.zeros(3, 3, dtype=torch.float64)
        kernel[1, 1], kernel[[0, 1, 1, 2], [1, 0, 2, 1]] = 1 - 4 * beside, beside
        found.append((words, CircularConvolution(kernel)))
    return found


def of_decay(options: argparse.Namespace) -> list[Row]:
    """Two problems, two methods, two denoisers."""
    task = KnownDeblurring(noise=NOISE)
    clean = timing_crops(list(task.photographs["test"].values()), 1, 48).double()
    rows: list[Row] = []
    for words, operator in convex():
        term = LeastSquares(operator)
        generator = torch.Generator().manual_seed(1)
        data = operator(clean) + NOISE * torch.randn(clean.shape, generator=generator, dtype=torch.float64)
        for name, recipe in ((CONSTRAINED, "denoising"), (PLAIN, "known_deblurring")):
            net, trained = denoiser(name, recipe, options.weights)
            net = net.double()
            found = plug_and_play_conditions(term, data, net, clean)
            epsilon = found.epsilon or 0.0
            least = found.least_splitting_step
            prox = DenoiserProx(net, sigma=0.02)
            steps = found.gradient_steps
            step = 0.9 if steps is None else steps[0] + 0.1 * (steps[1] - steps[0])
            methods = {
                f"PnP-FBS, step {step:.3g}": ProximalGradient(term, prox, 0.0, step_size=step).double(),
                "PnP-DRS": DouglasRachford(term, prox, 0.0, step_size=1.1 * least if least else 10.0).double(),
            }
            for method, iteration in methods.items():
                slope, fit = line_of(residuals(iteration, data))
                promised = steps is not None if method.startswith("PnP-FBS") else least is not None
                row: Row = {"part": "decay", "set": words, "method": f"{method}, {called(name, trained)}"}
                row |= {"epsilon": epsilon, "rate": 10**slope, "promised": promised, "value": fit}
                if promised and method.startswith("PnP-FBS"):
                    row["bound"] = found.gradient_rate(step)
                rows.append(row | ({"bar": FIT, "better": "high"} if promised and name == CONSTRAINED else {}))
    return rows


def pairs_of(options: argparse.Namespace, task: KnownDeblurring) -> tuple[str, list[tuple[Blurred, Tensor]]]:
    """Test pictures with a kernel each."""
    found = {} if options.data is None else sets(options.data, "set12")
    kernels: list[Tensor] = []
    file = None if options.data is None else options.data / "blur_kernels" / "levin09.npz"
    if file is not None and file.is_file():
        with np.load(file) as held:
            kernels = [torch.from_numpy(held[name]).float() for name in sorted(held)]
    if not found or not kernels:
        return "photographs of the packages", [(batch.data, batch.target) for batch in task.test]
    pairs = []
    for number, picture in enumerate(found["set12"].values()):
        clean = middle(picture, options.crop)
        kernel = kernels[number % len(kernels)].unsqueeze(0)
        generator = torch.Generator().manual_seed(number)
        sample = task.blur(clean.unsqueeze(0), kernel / kernel.sum(), generator)
        pairs.append((sample.data, sample.target))
    return f"set12, middle {options.crop or 'all'}", pairs


def clean_pictures(options: argparse.Namespace) -> tuple[str, list[Tensor]]:
    """The middle pixels of Set12, or of the packages' test photographs, (1, height, width)."""
    found = {} if options.data is None else sets(options.data, "set12")
    pictures = found.get("set12") or KnownDeblurring(noise=NOISE).photographs["test"]
    where = "set12" if found else "packages"
    return f"{where}, middle", [middle(picture, options.crop).unsqueeze(0) for picture in pictures.values()]


def middle(picture: Tensor, side: int) -> Tensor:
    """The middle pixels; all of them for 0."""
    if not side:
        return picture
    top, left = ((size - min(side, size)) // 2 for size in picture.shape[-2:])
    return picture[..., top : top + side, left : left + side].contiguous()


def plugged(options: argparse.Namespace) -> list[Iterative]:
    """A method for each denoiser that there are weights for."""
    methods: list[Iterative] = []
    for name in TOLD:
        told = network(name, "noise_levels", options.weights)
        if told is None:
            continue
        prox = DenoiserProx(told, told=NoisyImage)

        def splitting(factor: float, prox: DenoiserProx = prox) -> Iteration:
            weight, count = factor * NOISE**2, 12
            growth = (FIRST / NOISE) ** (2 / (count - 1))
            return HalfQuadraticSplitting(
                KnownBlur(), Identity(), prox, weight, penalty=weight / FIRST**2, growth=growth, largest=1e12
            )

        methods.append(Iterative(f"PnP-HQS, {name}", splitting, (0.3, 1.0, 3.0), 12))
    plain, trained = denoiser(PLAIN, "known_deblurring", options.weights)
    if trained:
        prox_plain = DenoiserProx(plain, sigma=0.02)

        def dual(fidelity: float) -> Iteration:
            return DenoisedPrimalDual(KnownBlur(), prox_plain, 4e-4, fidelity=fidelity)

        methods.append(Iterative(f"PnP-PDHG, {PLAIN}", dual, (1.0, 4.0, 16.0), 100))
        methods.append(_douglas(plain, PLAIN))
    constrained, trained = denoiser(CONSTRAINED, "denoising", options.weights)
    if trained:
        methods.append(_douglas(constrained, CONSTRAINED))
    return methods


def _douglas(net: nn.Module, name: str) -> Iterative:
    prox = DenoiserProx(net, sigma=0.02)

    def make(step: float) -> Iteration:
        return DouglasRachford(KnownBlur(), prox, 0.0, step_size=step)

    return Iterative(f"PnP-DRS, {name}", make, (1.0, 2.0, 4.0, 8.0, 16.0), 100, setting="step")


def of_deblurring(options: argparse.Namespace) -> list[Row]:
    """Total variation first; what a denoiser adds to it."""
    task = KnownDeblurring(noise=NOISE)
    small = [b._replace(target=middle(b.target, options.crop or 128)) for b in task.validation[:2]]
    generator = torch.Generator().manual_seed(7)
    task.validation = [task.spoil(b.target, generator) for b in small]  # pyright: ignore[reportAttributeAccessIssue]
    where, pairs = pairs_of(options, task)
    rows: list[Row] = []
    variation = next(b for b in task.baselines(1) if isinstance(b, Iterative))
    lowest: float | None = None
    for method in [variation, *plugged(options)]:
        iteration, setting = chosen(method, task)
        run: Run = steps_of(iteration, method.iterations)
        with torch.no_grad():
            score = float(np.mean([psnr(run(data), target) for data, target in pairs]))
        row: Row = {"part": "deblurring", "set": where, "method": f"{method.name}, {method.setting} {setting:g}"}
        row |= {"psnr": score, "images": len(pairs)}
        if lowest is None:
            lowest = score
        else:
            row |= {"value": score - lowest, "bar": GAIN, "better": "high"}
        rows.append(row)
    return rows


def of_cost(options: argparse.Namespace) -> list[Row]:
    """What the bound on the layers costs where it promises something, at the level that both denoisers were trained
    for: PnP-FBS with a step of 1 where it denoises, which is the denoiser, and of 0.722 else.
    """
    where, pictures = clean_pictures(options)
    rows: list[Row] = []
    for words, operator in convex():
        operator = operator.float()
        found = {}
        for name, recipe in ((CONSTRAINED, "denoising"), (PLAIN, "known_deblurring")):
            net, trained = denoiser(name, recipe, options.weights)
            step, count = (1.0, 1) if words == "denoising" else (0.722, 30)
            iteration = ProximalGradient(LeastSquares(operator), DenoiserProx(net, sigma=LEVEL), 0.0, step_size=step)
            run, scores = steps_of(iteration, count), []
            for number, clean in enumerate(pictures):
                noise = LEVEL * torch.randn(clean.shape, generator=torch.Generator().manual_seed(number))
                with torch.no_grad():
                    scores.append(psnr(run(operator(clean) + noise), clean))
            found[name] = float(np.mean(scores))
            method = f"PnP-FBS, step {step:g}, {called(name, trained)}"
            rows.append({"part": "cost", "set": f"{where}, {words}", "method": method, "psnr": found[name]})
        row: Row = {"part": "cost", "set": f"{where}, {words}", "method": "what the bound costs"}
        rows.append(row | {"value": found[PLAIN] - found[CONSTRAINED], "bar": COST, "better": "low"})
    return rows


PARTS: dict[str, Callable[[argparse.Namespace], list[Row]]] = {
    "norms": of_norms,
    "decay": of_decay,
    "cost": of_cost,
    "deblurring": of_deblurring,
}
SHOWN = ("value", "as_matrix", "epsilon", "rate", "bound", "psnr", "promised")


def line(row: Mapping[str, Any]) -> str:
    """A row as text."""
    words = " ".join(f"{key} {row[key]:.4g}" for key in SHOWN if key in row)
    return f"{row['part']:10s} {row['set']:28s} {row['method']:60s} {words}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, metavar="DIR")
    parser.add_argument("--weights", type=Path, metavar="DIR")
    parser.add_argument("--part", choices=PARTS, action="append", help="several may be named; all by default")
    parser.add_argument("--crop", type=int, default=128, help="middle pixels of test pictures, 0 for all")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", nargs="?", type=Path, const=Path("-"), metavar="FILE")
    options = parser.parse_args()
    options.device = "cpu"
    torch.set_num_threads(options.threads)
    rows = [row for part in options.part or PARTS for row in PARTS[part](options)]
    publish("plug_and_play", options, rows, line)


if __name__ == "__main__":
    main()
