"""Conformance checks of the steps: the network equals its parent, in the same way at every batch size."""

from __future__ import annotations

import copy
from typing import Any

from torch import nn

from unrolling.core import Iteration, solve, tree, unroll
from unrolling.core.naming import parameter_names, resolve
from unrolling.testing._common import Watch, count_prepare, first, loop, part, size
from unrolling.testing.compare import close, rounding, same_bits
from unrolling.testing.parameters import groups


def check_parent_equality(iteration: Iteration, data: Any, *, depth: int = 4) -> None:
    """The first law: the network before training equals ``depth`` steps of its parent to the bit, in each layer, at a
    batch of 1 and of all, however tied.
    """
    for samples in (first(iteration, data, 1), data):
        states = loop(iteration, samples, depth)
        problem = iteration.prepare(samples)
        for tied, untied in groups(iteration):
            net = unroll(iteration, depth, tied=tied, untied=untied)
            how = f"tied={list(tied)}, untied={list(untied)}, batch {size(iteration, samples)}"
            same_bits(net(samples), iteration.estimate(states[-1], problem), f"the estimate of the network ({how})")
            same_bits(net.run(samples), states[-1], f"the last state ({how})")
            for number, (got, wanted) in enumerate(zip(net.trajectory(samples), states, strict=True)):
                same_bits(got, wanted, f"the state after layer {number} ({how})")


def check_prepare_once(iteration: Iteration, data: Any, *, depth: int = 4) -> None:
    """``prepare`` runs once per network when it is a sub-module without untied parameters, else once per distinct
    layer.
    """
    for tied, untied in groups(iteration):
        net = unroll(iteration, depth, tied=tied, untied=untied)
        module = iteration._modules.get("prepare")
        if isinstance(module, nn.Module):
            inside = {resolve(iteration, f"prepare.{name}", "prepare")[0] for name in parameter_names(module)}
            wanted = depth if inside & set(untied) else 1
        else:
            wanted = depth if untied else 1
        calls = count_prepare([layer for layer in net.layers if isinstance(layer, Iteration)])
        net(data)
        assert len(calls) == wanted, (
            f"prepare ran {len(calls)} times in one call of a network with untied={list(untied)}; expected {wanted}"
        )


def check_solve(
    iteration: Iteration, data: Any, *, tolerance: float = 1e-3, max_iterations: int = 500, depth: int = 4
) -> None:
    """``solve`` prepares once, takes the same steps as a loop to the bit, and gives each sample what it gets alone, up
    to the tolerance.
    """
    counted = copy.deepcopy(iteration)
    calls = count_prepare([counted])
    solution = solve(counted, data, tolerance=0.0, max_iterations=depth)
    assert len(calls) == 1, f"prepare ran {len(calls)} times in one solve; it must run once"
    same_bits(solution.state, loop(iteration, data, depth)[-1], f"the state after {depth} steps of solve")
    together = solve(iteration, data, tolerance=tolerance, max_iterations=max_iterations)
    if not iteration.batched:
        return
    for sample in range(min(size(iteration, data), 4)):
        alone = solve(iteration, part(iteration, data, sample), tolerance=tolerance, max_iterations=max_iterations)
        what = f"the solution of sample {sample} among {size(iteration, data)}, compared with the one alone,"
        close(together.estimate[sample : sample + 1], alone.estimate, what, tolerance=10 * tolerance)


def check_purity(iteration: Iteration, data: Any, *, depth: int = 4) -> None:
    """Nothing writes into data, problem or state, and the same inputs give the same step twice: no state is hidden in
    the module.
    """
    data = tree.apply(lambda t: t.clone(), data)
    watch = Watch(data, "data")
    problem = iteration.prepare(data)
    watch.unchanged("prepare")
    watch_problem = Watch(problem, "problem")
    state = iteration.start(problem)
    for step in range(1, depth + 1):
        watch_state = Watch(state, "state")
        new = iteration(state, problem)
        for watched in (watch, watch_problem, watch_state):
            watched.unchanged(f"step {step}")
        same_bits(iteration(state, problem), new, f"the second result of step {step} from the same inputs")
        watch_state = Watch(new, "state")
        iteration.estimate(new, problem)
        watch_state.unchanged("estimate")
        state = new


def check_batch_independence(iteration: Iteration, data: Any, *, depth: int = 4) -> None:
    """A sample's result does not depend on its batch mates, up to rounding."""
    if not iteration.batched:
        return
    net = unroll(iteration, depth)
    together = net(data)
    assert together.shape[0] == size(iteration, data), (
        f"the estimate has leading size {together.shape[0]} and the batch is {size(iteration, data)}; estimates are "
        "batch first"
    )
    for sample in range(min(size(iteration, data), 8)):
        what = f"the estimate of sample {sample} among {size(iteration, data)}, compared with the one alone,"
        close(together[sample : sample + 1], net(part(iteration, data, sample)), what, tolerance=rounding(together))
