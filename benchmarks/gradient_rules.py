"""Memory, time and error of the gradient rules over 100 layers of ISTA (m = 50, n = 100, batch 64, float64).

Bars: Checkpointed equals Backprop exactly, in at most 15 % of its memory and at most 1.4 times its time; Implicit
agrees with the closed form of the lasso gradient to 1e-8; Implicit and OneStep keep under 3 % of Backprop's memory.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.networks import lista, lista_cp, measurements
from benchmarks.record import options, publish, start, waiter
from benchmarks.timing import alternate, compared
from unrolling import Backprop, Checkpointed, Equilibrium, Implicit, OneStep, Truncated, Unrolled, solve, unroll
from unrolling.algorithms import ISTA
from unrolling.core import GradientRule
from unrolling.evaluation.cost import _Peak as Peak
from unrolling.evaluation.gradient_modes import saved_bytes
from unrolling.operators import Matrix
from unrolling.tasks.sparse.dictionaries import gaussian_dictionary

DEPTH = 100


def gradient(network: nn.Module, y: Tensor, weights: Tensor) -> Tensor:
    """Gradient of <weights, network(y)> in all learned numbers."""
    network.zero_grad()
    (network(y) * weights).sum().backward()
    return torch.cat(
        [
            torch.zeros_like(p).flatten() if p.grad is None else p.grad.flatten()
            for p in network.parameters()
            if p.requires_grad
        ]
    )


def closed_form(ista: ISTA, y: Tensor, weights: Tensor) -> Tensor:
    """d<w, x>/d dictionary of the lasso, from its optimality conditions on the active set."""
    dictionary = ista.dictionary.matrix.detach()
    x = solve(ista, y, tolerance=1e-15, max_iterations=200_000).estimate
    by_dictionary = torch.zeros_like(dictionary)
    for sample in range(len(y)):
        active = x[sample] != 0
        atoms = dictionary[:, active]
        # A_S^T (A_S x_S - y) + lambda sign(x_S) = 0 differentiated, u = (A_S^T A_S)^-1 w_S
        u = torch.linalg.solve(atoms.T @ atoms, weights[sample, active])
        residual = y[sample] - atoms @ x[sample, active]
        by_dictionary[:, active] += torch.outer(residual, u) - torch.outer(atoms @ u, x[sample, active])
    return by_dictionary


def checkpointing(seconds: float, device: torch.device, batch: int = 500) -> list[dict[str, object]]:
    """Memory and time of a training step with Checkpointed over Backprop, m = 250, n = 500, in float32.

    A step of LISTA is one product forward and two backward, so that one more forward pass makes it 4/3 of the time at
    least; of LISTA-CP, whose dictionary is fixed, two and three: 7/5. Memory is what the forward pass has made and not
    given back.
    """
    rows: list[dict[str, object]] = []
    for name, network in (("LISTA", lista(DEPTH)), ("LISTA-CP", lista_cp(DEPTH))):
        network, y = network.to(device), measurements(batch).to(device)
        rules = {"Backprop": Backprop(), "Checkpointed": Checkpointed()}
        memory: dict[str, int] = {}

        def step(rule: GradientRule, network: Unrolled = network, y: Tensor = y) -> None:
            network.gradient = rule
            network.zero_grad()
            network(y).square().sum().backward()

        for key, rule in rules.items():
            network.gradient = rule
            with Peak() as held:
                estimate = network(y)
            memory[key] = held.now
            del estimate
        times = alternate(
            {key: lambda r=rule, s=step: s(r) for key, rule in rules.items()},
            seconds=seconds,
            least=5,
            wait=waiter(device),
        )
        kept = memory["Checkpointed"] / memory["Backprop"]
        rows.append(
            {"rule": f"Checkpointed, memory of Backprop's: {name}", "value": kept, "bar": 0.15, "better": "low"}
        )
        rows.append(
            {
                "rule": f"Checkpointed, time of Backprop's: {name}",
                **compared(times, "Checkpointed", "Backprop"),
                "bar": 1.4,
                "better": "low",
            }
        )
    return rows


def measure(seconds: float, device: torch.device) -> list[dict[str, object]]:
    """All rules, the two that keep everything or compute it again, and the exact one."""
    dictionary = gaussian_dictionary(50, 100, 0).double().to(device)
    generator = torch.Generator().manual_seed(1)
    y = torch.randn(64, 50, generator=generator, dtype=torch.float64).to(device)
    weights = torch.randn(64, 100, generator=generator, dtype=torch.float64).to(device)
    ista = ISTA(Matrix(nn.Parameter(dictionary)), 0.2)
    exact = closed_form(ista, y, weights)
    rows: list[dict[str, object]] = []
    reference, wait = None, waiter(device)
    for rule in (Backprop(), Checkpointed(), Truncated(5), OneStep(), Implicit(tolerance=1e-12)):
        network = unroll(ista, DEPTH, tied=("dictionary", "threshold"), gradient=rule)
        memory = saved_bytes(network, y)
        begin = time.perf_counter()
        computed = gradient(network, y, weights)
        if wait:
            wait()
        spent = time.perf_counter() - begin
        reference = computed if reference is None else reference
        rows.append(
            {
                "rule": repr(rule),
                "saved_bytes": memory,
                "of_backprop": memory / float(rows[0]["saved_bytes"]) if rows else 1.0,  # pyright: ignore[reportArgumentType]
                "seconds": spent,
                "equals_backprop": bool(torch.equal(computed, reference)),
                "cosine_to_backprop": float(torch.nn.functional.cosine_similarity(computed, reference, dim=0)),
            }
        )
    rows += checkpointing(seconds, device)
    converged = Equilibrium(
        ista, learned="dictionary", gradient=Implicit(tolerance=1e-13), tolerance=1e-15, max_iterations=200_000
    )
    computed = gradient(converged, y, weights).view_as(exact)
    rows.append(
        {
            "rule": "Implicit at convergence, against the closed form",
            "relative_error": float((computed - exact).norm() / exact.norm()),
        }
    )
    return rows


def line(row: Mapping[str, Any]) -> str:
    return ", ".join(
        f"{key} {value:.4g}" if isinstance(value, float) else f"{key} {value}"
        for key, value in row.items()
        if key not in ("bar", "better")
    )


def main() -> None:
    given = options(__doc__, seconds=8.0).parse_args()
    publish("gradient_rules", given, measure(given.seconds, start(given)), line)


if __name__ == "__main__":
    main()
