"""State estimation and forecasts of power grids: prox-linear networks beside Gauss-Newton and a network of equal size.

With `--network case118` (extra `power`) the bars are: with 5 % gross errors at redundancy 2 the RMSE of power/psse at
most 0.5 of weighted least squares and at most 0.9 of a ReLU network of eight hidden layers of width M, as large as
power/psse_free; time for one state at most a twentieth of Gauss-Newton's; RMSE of forecasts at most 0.85 of
persistence.

    python -m benchmarks.power --network case118 --only estimation --keep FOLDER   # goes on where it was ended
    python -m benchmarks.power --network case118 --only forecasts --data loads.csv # load profiles, by the hour
    python -m benchmarks.power --only outages                                      # which branch is out, one by one

All networks are trained here unless weights are shipped; `--steps` scales their schedules, and `--data` also takes the
files that `benchmarks.load_profiles` reads. Networks run as `deploy` gives them, Gauss-Newton as `solve` does. Columns:
RMSE, median time of the processor for one state, RMSE where each group of test states has a branch out of service,
nobody being told, and everybody being told who can make use of it; of what iterates, how many steps it takes to the
RMSE of power/psse, and until its steps change less than 1e-5.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.load_profiles import read
from unrolling import deploy, fit, solve
from unrolling.algorithms.power.gauss_newton import GaussNewton
from unrolling.algorithms.power.grid import outages
from unrolling.algorithms.power.meters import PowerMeasurement
from unrolling.algorithms.power.topology import suspected_outage
from unrolling.core import Iteration
from unrolling.networks import MLP
from unrolling.systems.catalogue import find
from unrolling.systems.power._files import rebuilt
from unrolling.tasks.base import Samples, evaluate
from unrolling.tasks.baselines import Iterative
from unrolling.tasks.power.estimation import GridState
from unrolling.tasks.power.forecasting import GridForecast

TOLERANCE = 1e-5


def trained(name: str, task: GridState | GridForecast, given: argparse.Namespace) -> Any:
    """A network with its shipped weights, or trained here."""
    system = find(name)
    key, recipe = system.recipe(None)
    options = {option: getattr(task, option) for option in task.options}
    if given.steps == 1 and task.source is None:
        try:
            return system.pretrained(key, **options)
        except ValueError:
            pass
    net = system.network(recipe, task)  # pyright: ignore[reportArgumentType]
    stages = [replace(stage, steps=max(1, round(given.steps * stage.steps))) for stage in recipe.schedule(recipe.depth)]
    kept(given, name.replace("/", "-"), net, lambda: fit(net, task, stages, quiet=True))
    return net.eval()


def kept(given: argparse.Namespace, name: str, network: nn.Module, train: Callable[[], Any]) -> None:
    """Trains a network, or takes what an earlier run kept."""
    told = "" if given.data is None else f"-{Path(given.data).stem}"
    kind = f"{given.network}-x{given.redundancy:g}-gross{100 * given.gross:g}-{given.steps:g}{told}"
    path = None if given.keep is None else Path(given.keep) / f"{name}-{kind}.pt"
    if path is not None and path.is_file():
        network.load_state_dict(torch.load(path, weights_only=True))
        return
    began = time.process_time()
    train()
    print(f"# {name}: trained {time.process_time() - began:.0f} CPU-s", flush=True)
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.save(network.state_dict(), path)


def milliseconds(run: Callable[[Any], Any], data: Any, seconds: float = 2.0) -> float:
    """The median time of the processor for a call, ms, on the one thread: whatever else runs on the machine."""
    times, begun = [], time.thread_time()
    while time.thread_time() - begun < seconds or len(times) < 5:
        start = time.thread_time_ns()
        run(data)
        times.append(1e-6 * (time.thread_time_ns() - start))
    return sorted(times)[len(times) // 2]


class SparseGaussNewton:
    """Gauss-Newton for one state, with the sparse matrices of SciPy and a sparse LU factor: what a control centre runs
    is of this kind. From a flat start, without a prior, until a step changes less than ``TOLERANCE``.
    """

    def __init__(self, task: GridState) -> None:
        import scipy.sparse

        h, self.slack = task.metering, task.grid.slack
        conductance, susceptance = (part.double().numpy() for part in h.rows.T.chunk(2))
        self.admittance: Any = scipy.sparse.csr_matrix(conductance + 1j * susceptance)
        meters, size = conductance.shape
        self.bus, self.odd, self.sigma = h.bus.numpy(), h.imaginary.numpy(), h.deviation.double().numpy()
        self.own: Any = scipy.sparse.csr_matrix((np.ones(meters), (np.arange(meters), self.bus)), (meters, size))
        self.free = np.array([n for n in range(2 * size) if n != size + self.slack])

    def __call__(self, readings: Tensor) -> Tensor:
        import scipy.sparse
        from scipy.sparse.linalg import splu

        z, size = readings[0].double().numpy(), self.own.shape[1]
        diagonal, voltage = scipy.sparse.diags_array, np.ones(size, dtype=complex)
        for _ in range(20):
            current, at = self.admittance @ voltage, voltage[self.bus]
            power: Any = at * current.conj()
            # V_a conj(I): its change by Re V is conj(I) dV_a + V_a conj(y), by Im V j conj(I) dV_a - j V_a conj(y)
            one, two = diagonal(current.conj()) @ self.own, diagonal(at) @ self.admittance.conj()
            by = scipy.sparse.hstack([one + two, 1j * (one - two)]).tocsc()[:, self.free]
            keep = diagonal(np.where(self.odd, 0, 1 / self.sigma)), diagonal(np.where(self.odd, 1 / self.sigma, 0))
            rows = keep[0] @ by.real + keep[1] @ by.imag
            r = (z - np.where(self.odd, power.imag, power.real)) / self.sigma
            step = np.zeros(2 * size)
            step[self.free] = splu((rows.T @ rows).tocsc()).solve(rows.T @ r)
            voltage = voltage + step[:size] + 1j * step[size:]
            if np.linalg.norm(step) < TOLERANCE * np.linalg.norm(voltage):
                break
        return torch.from_numpy(np.concatenate([np.real(voltage), np.imag(voltage)]))[None].to(readings)


def estimation(given: argparse.Namespace) -> None:
    """The table of estimators."""
    task = GridState(given.network, given.redundancy, given.gross, held_out=given.count, data=given.data)
    m, one = task.metering.measured, task.test[0].data[:1]
    stage = find("power/psse_free").recipes["grid_state"].schedule(1)[0]
    rival = MLP(m, m, task.metering.size, layers=8)
    networks: dict[str, Any] = {
        name: trained(name, task, given) for name in ("power/psse", "power/psse_frozen", "power/psse_free")
    }
    stages = [replace(stage, steps=max(1, round(given.steps * stage.steps)))]
    kept(given, "relu", rival, lambda: fit(rival, task, stages, quiet=True))
    networks["ReLU network, eight hidden layers"] = rival.eval()
    groups = task.groups_with_outage()
    print(
        f"{given.network}, {m} meters, redundancy {task.redundancy:g}, {100 * task.gross:g} % gross errors, "
        f"{given.count} states"
    )
    print(f"{'':46}{'RMSE':>9}{'ms, one':>9}{'not told':>10}{'told':>9}{'steps to it':>13}{'to the end':>12}")

    def score(run: Callable[[Tensor], Tensor], batches: list[Samples]) -> float:
        with torch.no_grad():
            return task.metric.value(evaluate(run, task, batches))

    def line(name: str, run: Any, told: Callable[[PowerMeasurement], Any] | None, steps: tuple[str, str]) -> float:
        found, secret = score(run, task.test), score(run, [samples for _, samples in groups])
        text = "-"
        if told is not None:
            pieces = [evaluate(told(task.metering.to_grid(grid)), task, [samples]).detach() for grid, samples in groups]
            text = f"{task.metric.value(torch.cat(pieces)):.5f}".replace("nan", "unseen")  # a meter less, and no prior
        with torch.no_grad():
            spent = milliseconds(run, one)
        print(f"{name:46}{found:9.5f}{spent:9.2f}{secret:10.5f}{text:>9}{steps[0]:>13}{steps[1]:>12}", flush=True)
        return found

    net = networks["power/psse"]
    goal = line("power/psse", deploy(net, "plain"), lambda h: rebuilt(net, h, task), ("", ""))
    for name, network in networks.items():
        if network is not net:
            line(name, deploy(network, "plain"), None, ("", ""))
    for method in task.baselines(1000):
        assert isinstance(method, Iterative)
        for setting in method.settings:
            step, most = method.make(setting), method.iterations
            steps = steps_of(step, task, goal, most)
            name = method.name + ("" if setting is None else f", {setting:g}")

            def told(h: PowerMeasurement, step: Any = step, most: int = most) -> Any:
                other = GaussNewton(h, step.nominal, huber=step.huber)
                other.register_buffer("precision", step.precision)
                other.register_buffer("center", step.center)
                return solver(other, most)

            line(name, solver(step, most), told if isinstance(step, GaussNewton) else None, steps)
            if steps[0] != "never":
                near = solver(step, int(steps[0]), 0.0)
                print(f"  {'until as near as power/psse':44}{'':9}{milliseconds(near, one):9.2f}", flush=True)
    sparse = SparseGaussNewton(task)
    estimates = torch.cat([sparse(each[None]) for each in task.test[0].data])
    found = task.metric.value(task.metric.pieces(estimates, task.test[0]))
    print(
        f"{'Gauss-Newton, flat start, sparse LU of SciPy':46}{found:9.5f}{milliseconds(sparse, one):9.2f}", flush=True
    )


def solver(step: Iteration, most: int, tolerance: float = TOLERANCE) -> Callable[[Tensor], Tensor]:
    """Its estimate when steps change less than the tolerance, or after the most steps."""

    def run(data: Tensor) -> Tensor:
        return solve(step, data, tolerance=tolerance, max_iterations=most, on_divergence="mark").estimate

    return run


@torch.no_grad()
def steps_of(step: Iteration, task: GridState, goal: float, most: int) -> tuple[str, str]:
    """Steps until the RMSE is that of the network, and the median until they change nothing."""
    sample, near = task.test[0], "never"
    state = step.start(sample.data)
    for k in range(most):
        state = step(state, sample.data)
        if task.metric.value(task.metric.pieces(step.estimate(state, sample.data), sample)) <= goal:
            near = str(k + 1)
            break
    ended = solve(step, sample.data, tolerance=TOLERANCE, max_iterations=most, on_divergence="mark").iterations
    return near, f"{int(ended.median())}"


def forecasts(given: argparse.Namespace) -> None:
    """The table of forecasts."""
    task = GridForecast(given.network, data=given.data)
    print(f"{given.network}, an hour ahead from {task.past} hours, {len(task.test[0].target)} hours")

    def line(name: str, run: Any) -> None:
        with torch.no_grad():
            found = task.metric.value(evaluate(run, task, task.test))
        print(f"{name:46}{found:10.5f}", flush=True)

    for method in task.baselines(1000):
        scores = {}
        for setting in method.settings:
            made = method.make(setting)
            run = solver(made, task.past) if isinstance(method, Iterative) else made
            scores[task.metric.value(evaluate(run, task, task.validation))] = run
        line(method.name, scores[min(scores)])
    line("power/forecast", deploy(trained("power/forecast", task, given), "plain"))


def outage_search(given: argparse.Namespace) -> None:
    """Every branch that can be out, one at a time: how often it is found out."""
    task = GridState(given.network, given.redundancy, given.gross, held_out=given.count, data=given.data)
    exact = PowerMeasurement(task.grid, task.metering.meters, torch.float64)
    for states in (1, 5):
        named = among = silent = tries = sizes = 0
        for branch in outages(task.grid):
            try:
                grid = task.grid.without(branch)
                voltages = task.states(states * given.tries, torch.Generator().manual_seed(branch), 2, grid)
            except ValueError:  # without this branch the loads have no power flow
                continue
            readings = task.read(voltages, torch.Generator().manual_seed(branch), None, exact.to_grid(grid)).float()
            for group in readings.split(states):
                found = suspected_outage(task.metering, group, task.prior)
                tries += 1
                named += found.branch == branch
                among += branch in found.candidates
                silent += found.branch is None
                sizes += len(found.candidates)
        false = [
            suspected_outage(task.metering, group, task.prior).branch is not None
            for group in task.test[0].data.split(states)
        ]
        print(
            f"{given.network}, {states} states at a time: {tries} outages, the branch itself named first in "
            f"{100 * named / tries:.0f} %, among those named in {100 * among / tries:.0f} % ({sizes / tries:.1f} names "
            f"on average), none named in {100 * silent / tries:.0f} %; with all branches in service one is named in "
            f"{100 * sum(false) / len(false):.0f} % of {len(false)}",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", default="case14", help="case14, case57 or case118")
    parser.add_argument("--count", type=int, default=200, help="test states")
    parser.add_argument("--steps", type=float, default=1.0, help="part of the training schedules")
    parser.add_argument("--only", choices=("estimation", "forecasts", "outages"))
    parser.add_argument("--redundancy", type=float, default=2.0, help="meters over unknown numbers")
    parser.add_argument("--gross", type=float, default=0.05, help="share of meters with a gross error")
    parser.add_argument("--data", help="a file of load profiles")
    parser.add_argument("--keep", help="a folder for trained networks, taken up again")
    parser.add_argument("--tries", type=int, default=5, help="groups of states for each branch that is out")
    given = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        source = None if given.data is None else Path(given.data)
        packed = None if source is None else read(source)
        if source is not None and packed is not None:  # what the tasks read is profiles by the hour
            given.data = str(Path(folder) / f"{source.stem}.npz")
            np.savez(given.data, load=packed[0], time=packed[1])
        run(given)


def run(given: argparse.Namespace) -> None:
    """The parts that were asked for."""
    parts = {"estimation": estimation, "forecasts": forecasts, "outages": outage_search}
    for name, part in parts.items():
        if given.only in (None, name):
            part(given)


if __name__ == "__main__":
    main()
