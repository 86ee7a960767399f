"""The four paradigms of deep unfolding on one iteration, robust principal component analysis of simulated contrast
ultrasound: learned hyperparameters, a learned objective, a learned correction, a network as inductive bias.

All are trained alike (same movies, steps, batch, layers) with several seeds and on several numbers of movies, and
scored by the NMSE of the blood on the same test movies: quality, learned numbers, movies needed, other noise, fainter
bubbles, more motion, whether error and objective fall from layer to layer, and what is left when one goes on from the
last layer to convergence. Then 1,000 random corrections are run to convergence. Runs are kept in --runs: the same
command goes on where it stopped, and trains nothing twice.

    python -m benchmarks.paradigms --runs out/paradigms --json out/paradigms.json
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from unrolling.algorithms import FISTA, RobustPCA
from unrolling.core import Convergent, Unrolled, solve, unroll
from unrolling.evaluation import FewSamples
from unrolling.evaluation.measure import environment
from unrolling.systems.catalogue import find
from unrolling.systems.medical import _paradigms
from unrolling.tasks import Clutter, Samples
from unrolling.training.fit import fit
from unrolling.training.stages import Cosine, Schedule, Stage

KINDS = {
    "hyperparameters": "medical/corona_hyperparameters",
    "objective": "medical/corona",
    "correction": "medical/corona_correction",
    "inductive-bias": "medical/corona_inductive_bias",
}
SHIFTS = {"noise": (0.2, 0.4), "bubble": (1.5,), "motion": (2.0, 4.0)}
NEAR = 0.5  # dB from what fresh movies give: so many movies are enough
DRAWS = 2000  # of a bootstrap


def task_of(size: int, frames: int, held: tuple[int, int]) -> Clutter:
    return Clutter(size=size, frames=frames, held=held)


def trained(kind: str, task: Clutter, depth: int, steps: int, samples: int, seed: int, runs: Path) -> Unrolled:
    """A network of a paradigm, from its run if that has ended; ``samples`` movies, 0 for fresh ones in every batch."""
    system = find(KINDS[kind])
    recipe = system.recipes["clutter"]
    torch.manual_seed(seed)
    network = system.network(recipe, task, depth)
    own = FewSamples(task, samples, seed) if samples else task
    folder = runs / f"{kind}-{samples or 'fresh'}-{seed}"
    fit(network, own, schedule(network, steps), folder, seed=seed, validations=1, quiet=True)
    return network.eval()


def schedule(network: Unrolled, steps: int) -> Schedule:
    """One for all paradigms: four movies a step, all layers at once, numbers of the solver at a rate of their own."""
    rates = {name: 1e-2 for name in _paradigms.NUMBERS if name in network.untied}
    return [Stage(steps, rate=3e-3, rates=rates, batch=4, annealing=Cosine(0.02, 1e-2), clip=1.0)]


@torch.no_grad()
def energies(answer: Callable[[Any], Tensor], batches: Iterable[Samples]) -> Tensor:
    """Per movie the energy of the error and of the target, (movies, 2), in double precision."""
    found = []
    for batch in batches:
        pair = (answer(batch.data) - batch.target, batch.target)
        found.append(torch.stack([x.abs().double().square().flatten(1).sum(1) for x in pair], 1))
    return torch.cat(found)


def nmse(pieces: Tensor) -> Tensor:
    """In dB, over the movies of (..., movies, 2)."""
    error, energy = pieces.sum(-2).unbind(-1)
    return 10 * torch.log10(error / energy)


def interval(pieces: Sequence[Tensor], less: Sequence[Tensor] | None = None) -> list[float]:
    """The mean over seeds of the NMSE of (movies, 2) each, or of its difference from ``less``, and the ends of its 95 %
    interval: seeds are resampled, and movies, the same ones for all seeds.
    """
    generator = torch.Generator().manual_seed(0)
    own = torch.stack(list(pieces))
    seeds, movies = own.shape[:2]
    rows = torch.randint(seeds, (DRAWS, seeds, 1), generator=generator)
    columns = torch.randint(movies, (DRAWS, 1, movies), generator=generator)

    def level(values: Tensor) -> tuple[Tensor, Tensor]:
        return nmse(values).mean(), nmse(values[rows, columns]).mean(1)

    mean, drawn = level(own)
    if less is not None:
        other, others = level(torch.stack(list(less)))
        mean, drawn = mean - other, drawn - others
    drawn = drawn.sort().values
    return [round(float(v), 3) for v in (mean, drawn[int(0.025 * DRAWS)], drawn[int(0.975 * DRAWS)])]


def plain(state: Any) -> Any:
    """The two movies of a state, whatever carries them."""
    return getattr(state, "state", state)


@torch.no_grad()
def by_layer(network: Unrolled, task: Clutter, parent: RobustPCA) -> dict[str, list[float]]:
    """NMSE, and the mean of the parent's objective, after each layer on the test movies."""
    errors: list[list[Tensor]] = [[] for _ in network.layers]
    values: list[list[Tensor]] = [[] for _ in network.layers]
    for batch in task.test:
        for number, (layer, problem, state) in enumerate(network.walk(batch.data)):
            estimate = layer.estimate(state, problem)
            errors[number].append(energies(lambda _, e=estimate: e, [batch]))
            parts = layer.supervised(state, problem)
            values[number].append(parent.objective(parts, batch.data))
    return {
        "nmse": [round(float(nmse(torch.cat(each))), 3) for each in errors],
        "objective": [round(float(torch.cat(each).mean()), 3) for each in values],
    }


@torch.no_grad()
def going_on(
    network: Unrolled, task: Clutter, parent: RobustPCA, limit: Tensor, iterations: int
) -> dict[str, float | None]:
    """What the last layer, repeated to convergence, leads to on the first test movies: NMSE, the distance from the
    parent's limit over that limit's size (both None where it diverges), and how many movies converged.
    """
    batch = task.test[0]
    found = solve(network.layers[-1], batch.data, tolerance=1e-5, max_iterations=iterations, on_divergence="mark")
    lost = ~torch.isfinite(found.estimate.abs()).flatten(1).all(1)
    distance = (found.estimate - limit).abs().flatten(1).norm(dim=1) / limit.abs().flatten(1).norm(dim=1)
    return {
        "nmse": None if lost.any() else round(float(nmse(energies(lambda _: found.estimate, [batch]))), 3),
        "distance": None if lost.any() else float(f"{float(distance.max()):.3g}"),
        "converged": int(found.converged.sum()),
        "diverged": int(lost.sum()),
        "movies": len(batch.target),
    }


class Random(nn.Module):
    """W tanh(V [L', S', L, S, D]) for movies as vectors of real and imaginary parts, weights of its own for every
    movie, of gains from 10^-3 to 10^3.
    """

    def __init__(self, count: int, width: int, seed: int) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        gain = 10 ** torch.linspace(-3, 3, count, dtype=torch.float64).reshape(-1, 1, 1)
        self.register_buffer("inner", gain * torch.randn(count, 8, 5 * width, generator=generator).double())
        self.register_buffer("outer", gain * torch.randn(count, 2 * width, 8, generator=generator).double())

    def forward(self, stepped: Any, state: Any, problem: Tensor) -> Any:
        rows = [torch.view_as_real(x).flatten(1) for x in (*stepped, *state, problem)]
        hidden = torch.tanh((self.inner @ torch.cat(rows, 1).unsqueeze(-1)).squeeze(-1))
        made = (self.outer @ hidden.unsqueeze(-1)).squeeze(-1).chunk(2, 1)
        return type(stepped)(*(torch.view_as_complex(m.reshape(*problem.shape, 2)) for m in made))


@torch.no_grad()
def any_weights(count: int, iterations: int) -> dict[str, float]:
    """So many random corrections of the same small movie, run until nothing moves: the largest distance from the
    parent's limit, over its size, and the largest difference of the objective, over its value.
    """
    task = task_of(4, 3, (1, 1))
    movie = task.test[0].data.to(torch.complex128)
    parent = RobustPCA(*_paradigms.weights(task)).double()
    movies = movie.expand(count, *movie.shape[1:]).contiguous()
    correction = Random(count, 2 * movie[0].numel(), 0)
    wanted = solve(parent, movie, tolerance=1e-12, max_iterations=iterations)
    found = solve(Convergent(parent, correction, reach=3.0), movies, tolerance=1e-12, max_iterations=iterations)
    size = torch.stack([x.abs().square().sum() for x in wanted.state]).sum().sqrt()
    pairs = zip(found.state.state, wanted.state, strict=True)
    distance = sum((x - y).abs().square().flatten(1).sum(1) for x, y in pairs) ** 0.5 / size
    value = parent.objective(wanted.state, movie)
    others = parent.objective(found.state.state, movies)
    fifth = unroll(Convergent(parent, correction, reach=3.0), 5)(movies) - unroll(parent, 5)(movie)
    return {
        "weights": count,
        "largest distance": float(f"{float(distance.max()):.2g}"),
        "largest difference of the objective": float(f"{float(((others - value) / value).abs().max()):.2g}"),
        "median distance after five layers": float(
            f"{float((fifth.abs().square().flatten(1).sum(1) ** 0.5 / size).median()):.2g}"
        ),
    }


def rising(values: Sequence[float]) -> int:
    """In how many layers a value rises."""
    return sum(after > before for before, after in pairwise(values))


def measured(options: argparse.Namespace, say: Callable[[str], None]) -> dict[str, Any]:
    """Everything."""
    task = task_of(options.size, options.frames, (8, options.movies))
    parent = RobustPCA(*_paradigms.weights(task))
    limits = [solve(parent, b.data, tolerance=1e-5, max_iterations=options.iterations).estimate for b in task.test]
    steps = unroll(parent, options.depth)
    fista = FISTA(parent)
    found: dict[str, Any] = {
        "settings": {name: getattr(options, name) for name in ("size", "frames", "depth", "steps", "seeds", "samples")},
        "environment": environment(0),
        "classical": {
            "ISTA, as many iterations": interval([energies(steps, task.test)]),
            "FISTA, as many iterations": interval(
                [
                    energies(
                        lambda data: solve(fista, data, tolerance=0.0, max_iterations=options.depth).estimate, task.test
                    )
                ]
            ),
            "at convergence": interval(
                [torch.cat([energies(lambda _, x=x: x, [b]) for x, b in zip(limits, task.test, strict=True)])]
            ),
        },
        "paradigms": {},
    }
    moved = {(key, value): [task._scored(8, 6_000_011, **{key: value})] for key in SHIFTS for value in SHIFTS[key]}
    pieces: dict[tuple[str, int], list[Tensor]] = {}
    ready: dict[str, list[Unrolled]] = {}
    for samples in sorted(options.samples):
        for kind in KINDS:
            for seed in options.seeds:
                network = trained(kind, task, options.depth, options.steps, samples, seed, options.runs)
                own = energies(network, task.test)
                pieces.setdefault((kind, samples), []).append(own)
                if samples == 0:
                    ready.setdefault(kind, []).append(network)
                say(f"{kind}, {samples or 'fresh'} movies, seed {seed}: {float(nmse(own)):.2f} dB")
    for kind, networks in ready.items():
        fresh = pieces[kind, 0]
        few = [n for n in sorted(options.samples) if n]
        enough = [n for n in few if interval(pieces[kind, n], fresh)[0] < NEAR]
        layers = [by_layer(network, task, parent) for network in networks]
        found["paradigms"][kind] = {
            "system": KINDS[kind],
            "parameters": sum(p.numel() for p in networks[0].parameters() if p.requires_grad),
            "nmse": interval(fresh),
            "by seed": [round(float(nmse(each)), 3) for each in fresh],
            "by samples": {str(n or "fresh"): interval(pieces[kind, n]) for n in (*few, 0)},
            "movies needed": enough[0] if enough else f"over {max(few)}" if few else "not measured",
            "shifts": {
                f"{key} {value:g}": {
                    "nmse": interval([energies(network, batches) for network in networks]),
                    "parent": round(float(nmse(energies(steps, batches))), 3),
                }
                for (key, value), batches in moved.items()
            },
            "layers": layers,
            "rises of the error": [rising(each["nmse"]) for each in layers],
            "rises of the objective": [rising(each["objective"]) for each in layers],
            "going on": [going_on(network, task, parent, limits[0], options.iterations) for network in networks],
        }
    found["any weights"] = any_weights(options.weights, 10_000)
    return found


def table(found: Mapping[str, Any]) -> str:
    """As Markdown."""
    heads = "paradigm | learned numbers | NMSE of the blood, dB [95 %] | {} | noise x 4 | bubbles at half | motion x 4"
    fewer = [key for key in next(iter(found["paradigms"].values()))["by samples"] if key != "fresh"]
    rows = [
        f"| {heads.format(' | '.join(f'from {n} movies' for n in fewer) or 'from few movies')} |",
        "|---" + "|---:" * (5 + max(len(fewer), 1)) + "|",
    ]
    for name, level in found["classical"].items():
        rows.append(f"| robust PCA, {name} | 0 | {_interval(level)} " + "| " * (3 + max(len(fewer), 1)) + "|")
    for kind, each in found["paradigms"].items():
        cells = [kind, f"{each['parameters']:,}", _interval(each["nmse"])]
        cells += [_interval(each["by samples"][n]) for n in fewer] or [""]
        cells += [_interval(each["shifts"][key]["nmse"]) for key in ("noise 0.4", "bubble 1.5", "motion 4")]
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows)


def second_table(found: Mapping[str, Any]) -> str:
    """Movies needed, and what happens from layer to layer and after the last one, as Markdown."""
    depth = found["settings"]["depth"]
    rows = [
        f"| paradigm | movies needed (within {NEAR} dB of fresh ones) | layers in which the error rises | layers in "
        "which the parent's objective rises | last layer repeated: distance from the parent's limit |",
        "|---|---:|---:|---:|---:|",
    ]
    for kind, each in found["paradigms"].items():
        risen = [_range(each[key], depth - 1) for key in ("rises of the error", "rises of the objective")]
        rows.append(f"| {' | '.join([kind, str(each['movies needed']), *risen, _limit(each['going on'])])} |")
    return "\n".join(rows)


def _range(counts: Sequence[int], most: int) -> str:
    low, high = min(counts), max(counts)
    return f"{low if low == high else f'{low} to {high}'} of {most}"


def _limit(ends: Sequence[Mapping[str, Any]]) -> str:
    lost = sum(int(e["diverged"]) for e in ends)
    if lost:
        return f"diverges on {lost} of {sum(int(e['movies']) for e in ends)} movies"
    return f"at most {max(e['distance'] for e in ends):.2g}".replace("-", "−")


def sentences(found: Mapping[str, Any]) -> str:
    """What the numbers say, in words."""
    own = found["paradigms"]
    best = min(own, key=lambda kind: own[kind]["nmse"][0])
    few = next((n for n in own[best]["by samples"] if n != "fresh"), None)
    said = [f"The lowest error is that of {best}, {_interval(own[best]['nmse'])} dB."]
    if few is not None:
        frugal = min(own, key=lambda kind: own[kind]["by samples"][few][0])
        said.append(f"From {few} movies it is {frugal}, {_interval(own[frugal]['by samples'][few])} dB.")
    for key, words in (("noise 0.4", "four times the noise"), ("bubble 1.5", "bubbles half as bright")):
        least = min(own, key=lambda kind: own[kind]["shifts"][key]["nmse"][0])
        level = own[least]["shifts"][key]
        said.append(
            f"With {words} it is {least}, {_interval(level['nmse'])} dB, and {level['parent']:.2f} dB of the algorithm "
            "itself.".replace("-", "−")
        )
    every = found["any weights"]
    said.append(
        f"{every['weights']:,} random corrections, of gains from 10^-3 to 10^3, end within "
        f"{every['largest distance']:.1g} of the parent's limit, of its size; after five layers "
        f"they were {every['median distance after five layers']:.2g} apart from it (median)."
    )
    return " ".join(said)


def _interval(values: Sequence[float]) -> str:
    mean, low, high = values
    return f"{mean:.2f} [{low:.2f}, {high:.2f}]".replace("-", "−")


def page(found: Mapping[str, Any]) -> str:
    """Both tables and what they say, as Markdown."""
    how = found["settings"]
    words = (
        f"Movies of {how['size']} x {how['size']} pixels and {how['frames']} frames, {how['depth']} layers, "
        f"{how['steps']} steps of 4 movies, seeds {', '.join(map(str, how['seeds']))}. Intervals are 95 %, over seeds "
        "and movies."
    )
    return f"{words}\n\n{table(found)}\n\n{second_table(found)}\n\n{sentences(found)}\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=Path, default=Path("out/paradigms"))
    parser.add_argument("--seeds", nargs="*", type=int, default=[0, 1, 2])
    parser.add_argument("--samples", nargs="*", type=int, default=[4, 16, 0], help="movies to train on; 0: fresh ones")
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--depth", type=int, default=8)
    parser.add_argument("--size", type=int, default=16)
    parser.add_argument("--frames", type=int, default=8)
    parser.add_argument("--movies", type=int, default=32, help="to test on")
    parser.add_argument("--iterations", type=int, default=600, help="at most, to convergence")
    parser.add_argument("--weights", type=int, default=1000, help="random corrections")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    if 0 not in options.samples:
        sys.exit("--samples lacks 0, fresh movies, which the others are held against")
    torch.set_num_threads(options.threads)
    found = measured(options, lambda words: print(words, flush=True))
    print(f"\n{page(found)}")
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
