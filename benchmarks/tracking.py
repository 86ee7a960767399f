"""KalmanNet beside Kalman filters with true, tuned and wrong models and noises, on the same 200 test trajectories.

For each model (linear, pendulum, lorenz) and each model that is told: the filter as told, the filter whose process
noise was tuned on validation trajectories, the filter with the true model, the smoother with it (which sees the
future), what is measured, and both forms of KalmanNet: from shipped weights where there are some, else, with
``--train``, trained here. Differences from KalmanNet are paired, with 95 % intervals by resampling trajectories.

Bars: on the linear model with unknown process noise within 0.3 dB of the filter with the true model; under a model
turned by 10 degrees at least 3 dB better than the filter as told, the whole interval counting.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from unrolling import fit, solve
from unrolling.algorithms.dynamics.kalman import track
from unrolling.algorithms.dynamics.state_space import Recording
from unrolling.core import Unrolled
from unrolling.evaluation.significance import paired
from unrolling.systems.catalogue import find
from unrolling.tasks.base import Samples, evaluate
from unrolling.tasks.baselines import Iterative, Method
from unrolling.tasks.tracking.trajectories import Tracking
from unrolling.training.weights import load_weights

SETTINGS = (
    {"model": "linear"},
    {"model": "linear", "mismatch": 10.0},
    {"model": "pendulum"},
    {"model": "pendulum", "mismatch": 10.0},
    {"model": "lorenz"},
    {"model": "lorenz", "mismatch": 10.0},
)
NETWORKS = ("tracking/kalmannet", "tracking/kalmannet_alone")
LONG = 500  # moments: ten times those of training


def classical(task: Tracking) -> dict[str, Callable[[Any], Tensor]]:
    """The methods of the task that need no training, tuned on validation trajectories."""
    found: dict[str, Callable[[Any], Tensor]] = {}
    for method in task.baselines(1000):
        if isinstance(method, Iterative):

            def run(data: Recording, setting: Any, method: Iterative = method) -> Tensor:
                return solve(method.make(setting), data, max_iterations=2 * data.values.shape[1]).estimate

            scores = {
                setting: task.metric.value(evaluate(lambda data, s=setting: run(data, s), task, task.validation))
                for setting in method.settings
            }
            best = min(scores, key=lambda setting: task.metric.rank(scores[setting]))
            label = method.name if len(scores) == 1 else f"{method.name} ({best:.3g} times Q)"
            found[label] = lambda data, best=best, run=run: run(data, best)
        elif isinstance(method, Method):
            found[method.name] = method.make(None)
    return found


def network_of(
    name: str, task: Tracking, options: dict[str, Any], weights: Path | None, train: bool
) -> Unrolled | None:
    """A network with its shipped weights, those of a folder, or trained here; None where there are none."""
    system = find(name)
    recipe = system.recipes["tracking"]
    net = system.network(recipe, task)
    tag = f"{name.rsplit('/', 1)[-1]}-{options['model']}-{options.get('mismatch', 0):g}"
    if weights is not None and (path := weights / tag / "weights.safetensors").is_file():
        load_weights(net, path, system=name)
        return net.eval()
    try:
        return system.pretrained("tracking", **options)
    except ValueError:
        if not train:
            return None
    fit(net, task, recipe.schedule(recipe.depth), quiet=True)
    return net.eval()


@torch.no_grad()
def rows(options: dict[str, Any], given: argparse.Namespace) -> list[dict[str, Any]]:
    """One setting."""
    task = Tracking(**options, held_out=given.count)
    methods = classical(task)
    pieces = {name: evaluate(run, task, task.test) for name, run in methods.items()}
    with torch.enable_grad():
        found = {name: network_of(name, task, options, given.weights, given.train) for name in NETWORKS}
    found = {name: net for name, net in found.items() if net is not None}
    pieces |= {name: evaluate(net, task, task.test) for name, net in found.items()}
    title = f"{options['model']}, told {options.get('mismatch', 0):g} off"
    print(f"\n{title}, process noise told {task.unknown:g} dB off, {given.count} trajectories of {task.length} moments")
    table = []
    for name, own in pieces.items():
        row: dict[str, Any] = {"setting": title, "method": name, "mse_db": task.metric.value(own)}
        text = f"  {name:62}{row['mse_db']:8.2f} dB"
        if NETWORKS[0] in pieces and name != NETWORKS[0]:
            difference = paired(task.metric, pieces[NETWORKS[0]], own)
            assert difference is not None
            row |= {"kalmannet_minus_this": difference.difference, "low": difference.low, "high": difference.high}
            text += f"   KalmanNet {difference.difference:+.2f} [{difference.low:+.2f}, {difference.high:+.2f}]"
        print(text, flush=True)
        table.append(row)
    table += longer(task, found, title, given.count) if task.truth is not None else []
    return table


def longer(task: Tracking, networks: dict[str, Unrolled], title: str, count: int) -> list[dict[str, Any]]:
    """The same networks on trajectories ten times as long."""
    assert task.truth is not None
    x, y = task.truth.simulate(min(count, 50), LONG, torch.Generator().manual_seed(11))
    runs = {f"filter, true model, {LONG} moments": task.filter(task.truth)}
    runs |= {f"{name}, {LONG} moments": net for name, net in networks.items()}  # pyright: ignore
    table = []
    for name, run in runs.items():
        estimate, _ = track(run, Recording(y))
        value = task.metric.value(task.metric.pieces(estimate, Samples(None, x)))
        print(f"  {name:62}{value:8.2f} dB", flush=True)
        table.append({"setting": title, "method": name, "mse_db": value})
    return table


def bars(table: list[dict[str, Any]]) -> None:
    """Whether they are met."""

    def row(setting: str, ending: str) -> dict[str, Any] | None:
        return next((r for r in table if r["setting"] == setting and r["method"].endswith(ending) and "low" in r), None)

    near, far = row("linear, told 0 off", "true model"), row("linear, told 10 off", "as told")
    for words, found, limit in (("within 0.3 dB of the true model", near, 0.3), ("3 dB better when turned", far, -3.0)):
        if found is not None:
            print(f"{words}: at most {found['high']:+.2f} dB, {'met' if found['high'] <= limit else 'missed'}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=200, help="test trajectories, and as many for validation")
    parser.add_argument("--train", action="store_true", help="train networks that ship no weights")
    parser.add_argument("--weights", type=Path, help="folders of runs, named kalmannet-linear-10 and so on")
    parser.add_argument("--data", type=Path, help="a file of trajectories (.npz, .csv) with y and x, instead")
    parser.add_argument("--only", help="of the settings, those whose name begins so")
    parser.add_argument("--out", type=Path, help="write the rows as JSON")
    given = parser.parse_args()
    torch.set_num_threads(1)
    if given.data is not None:
        recorded(given)
        return
    chosen = [s for s in SETTINGS if f"{s['model']}, told {s.get('mismatch', 0):g}".startswith(given.only or "")]
    table = [row for options in chosen for row in rows(options, given)]
    bars(table)
    if given.out is not None:
        given.out.write_text(json.dumps(table, indent=1) + "\n")


def recorded(given: argparse.Namespace) -> None:
    """Filters and a network trained on the trajectories of a file."""
    task = Tracking(data=given.data)
    scores = {name: evaluate(run, task, task.test) for name, run in classical(task).items()}
    system = find(NETWORKS[0])
    net = system.network(system.recipes["tracking"], task, task.length)
    fit(net, task, system.recipes["tracking"].schedule(task.length), quiet=True)
    scores[NETWORKS[0]] = evaluate(net.eval(), task, task.test)
    for name, own in scores.items():
        difference = paired(task.metric, scores[NETWORKS[0]], own)
        assert difference is not None
        print(
            f"{name:62}{task.metric.value(own):8.2f} dB   KalmanNet {difference.difference:+.2f} "
            f"[{difference.low:+.2f}, {difference.high:+.2f}]"
        )


if __name__ == "__main__":
    main()
