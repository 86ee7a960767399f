"""State estimation and forecasts of power grids: prox-linear networks beside Gauss-Newton and a network of equal size.

With `--network case118` (extra `power`) the bars are: with 5 % gross errors at redundancy 2 the RMSE of power/psse at
most 0.5 of weighted least squares and at most 0.9 of a ReLU network of eight hidden layers of width M, as large as
power/psse_free; time for one state at most a twentieth of Gauss-Newton's; RMSE of forecasts at most 0.85 of
persistence. All networks are trained here unless weights are shipped; `--steps` scales their schedules. The last
columns are test states of which each group has a branch out of service that nobody is told.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from time import perf_counter

import torch

from unrolling import fit, solve
from unrolling.networks import MLP
from unrolling.systems.catalogue import find
from unrolling.tasks.base import Samples, evaluate
from unrolling.tasks.baselines import Iterative
from unrolling.tasks.power.estimation import GridState
from unrolling.tasks.power.forecasting import GridForecast


def trained(name: str, task: GridState | GridForecast, scale: float) -> torch.nn.Module:
    """A network with its shipped weights, or trained here."""
    system = find(name)
    key, recipe = system.recipe(None)
    options = {option: getattr(task, option) for option in task.options}
    if scale == 1:
        try:
            return system.pretrained(key, **options)
        except ValueError:
            pass
    net = system.network(recipe, task)  # pyright: ignore[reportArgumentType]
    stages = [replace(stage, steps=max(1, round(scale * stage.steps))) for stage in recipe.schedule(recipe.depth)]
    fit(net, task, stages, quiet=True)  # pyright: ignore[reportArgumentType]
    return net.eval()


def milliseconds(run, data, seconds: float = 2.0) -> float:
    """The median time of a call, ms."""
    times, begun = [], perf_counter()
    while perf_counter() - begun < seconds or len(times) < 5:
        start = perf_counter()
        run(data)
        times.append(1e3 * (perf_counter() - start))
    return sorted(times)[len(times) // 2]


def estimation(given: argparse.Namespace) -> None:
    """The table of estimators."""
    task = GridState(given.network, held_out=given.count)
    methods = {}
    for method in task.baselines(1000):
        assert isinstance(method, Iterative)
        for setting in method.settings:
            step = method.make(setting)

            def run(data, step=step, most=method.iterations):
                return solve(step, data, tolerance=1e-5, max_iterations=most, on_divergence="mark").estimate

            methods[method.name + ("" if setting is None else f", {setting:g}")] = run
    for name in ("power/psse", "power/psse_frozen", "power/psse_free"):
        methods[name] = trained(name, task, given.steps)
    m = task.metering.measured
    rival = MLP(m, m, task.metering.size, layers=8)
    stage = find("power/psse_free").recipes["grid_state"].schedule(1)[0]
    fit(rival, task, [replace(stage, steps=max(1, round(given.steps * stage.steps)))], quiet=True)
    methods["ReLU network, eight hidden layers"] = rival.eval()
    changed, one = task.changed(), task.test[0].data[:1]
    print(f"{given.network}, {m} meters, {100 * task.gross:g} % gross errors, {given.count} states")
    print(f"{'':46}{'RMSE':>10}{'ms, one':>10}{'branch out':>12}")
    for name, run in methods.items():
        with torch.no_grad():
            score = task.metric.value(evaluate(run, task, task.test))
            other = task.metric.value(evaluate(run, task, [Samples(changed.data, changed.target)]))
            print(f"{name:46}{score:10.5f}{milliseconds(run, one):10.2f}{other:12.5f}", flush=True)


def forecasts(given: argparse.Namespace) -> None:
    """The table of forecasts."""
    task = GridForecast(given.network)
    print(f"{given.network}, an hour ahead from {task.past} hours, {len(task.test[0].target)} hours")
    for method in task.baselines(1000):
        scores = {}
        for setting in method.settings:
            made = method.make(setting)
            run = (
                (lambda data, step=made: solve(step, data, max_iterations=task.past).estimate)
                if isinstance(method, Iterative)
                else made
            )
            scores[task.metric.value(evaluate(run, task, task.validation))] = run
        best = scores[min(scores)]
        print(f"{method.name:46}{task.metric.value(evaluate(best, task, task.test)):10.5f}", flush=True)
    net = trained("power/forecast", task, given.steps)
    with torch.no_grad():
        print(f"{'power/forecast':46}{task.metric.value(evaluate(net, task, task.test)):10.5f}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", default="case14", help="case14, case57 or case118")
    parser.add_argument("--count", type=int, default=200, help="test states")
    parser.add_argument("--steps", type=float, default=1.0, help="part of the training schedules")
    parser.add_argument("--only", choices=("estimation", "forecasts"))
    given = parser.parse_args()
    torch.set_num_threads(1)
    if given.only != "forecasts":
        estimation(given)
    if given.only != "estimation":
        forecasts(given)


if __name__ == "__main__":
    main()
