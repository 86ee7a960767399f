"""What the engine costs over a hand-written loop of the same torch calls: 16 layers, m = 250, n = 500.

Bars: at most 1.05 at batch 1000 and 1.25 at batch 1, forward and training step (Adam included on both sides).
"""

from __future__ import annotations

import argparse
import json
from functools import partial

import torch
from torch import Tensor, nn

from benchmarks.timing import ratio
from unrolling import Iteration, soft_threshold, unroll
from unrolling.algorithms import GramISTA
from unrolling.tasks.sparse.dictionaries import gaussian_dictionary

DEPTH, M, N = 16, 250, 500


class ThinISTA(Iteration):
    """ISTA in residual form with a learned matrix and threshold: LISTA-CP."""

    def __init__(self, dictionary: Tensor, weight: float) -> None:
        super().__init__()
        step = 1 / torch.linalg.matrix_norm(dictionary, 2) ** 2
        self.register_buffer("dictionary", dictionary)
        self.encoder = nn.Parameter((step * dictionary.T).contiguous())
        self.threshold = nn.Parameter(weight * step)

    def start(self, problem: Tensor) -> Tensor:
        return problem.new_zeros(problem.shape[0], self.dictionary.shape[1])

    def forward(self, state: Tensor, problem: Tensor) -> Tensor:
        return soft_threshold(state + (problem - state @ self.dictionary.T) @ self.encoder.T, self.threshold)


class BareThin(nn.Module):
    """The same network as a researcher would write it without a library."""

    def __init__(self, dictionary: Tensor, weight: float) -> None:
        super().__init__()
        step = 1 / torch.linalg.matrix_norm(dictionary, 2) ** 2
        self.register_buffer("dictionary", dictionary)
        self.encoders = nn.ParameterList([(step * dictionary.T).contiguous() for _ in range(DEPTH)])
        self.thresholds = nn.ParameterList([weight * step for _ in range(DEPTH)])

    def forward(self, y: Tensor) -> Tensor:
        dictionary = self.dictionary
        x = y.new_zeros(y.shape[0], dictionary.shape[1])
        for encoder, threshold in zip(self.encoders, self.thresholds, strict=True):
            x = soft_threshold(x + (y - x @ dictionary.T) @ encoder.T, threshold)
        return x


class BareGram(nn.Module):
    """LISTA with tied matrices and positive thresholds per layer and unit."""

    def __init__(self, dictionary: Tensor, weight: float) -> None:
        super().__init__()
        step = 1 / torch.linalg.matrix_norm(dictionary, 2) ** 2
        self.encoder = nn.Parameter((step * dictionary.T).contiguous())
        self.inhibition = nn.Parameter(torch.eye(dictionary.shape[1]) - self.encoder.detach() @ dictionary)
        self.start = weight * step * torch.ones(dictionary.shape[1])
        self.logs = nn.ParameterList([torch.zeros(dictionary.shape[1]) for _ in range(DEPTH)])

    def forward(self, y: Tensor) -> Tensor:
        b = y @ self.encoder.T
        x = torch.zeros_like(b)
        inhibition, start = self.inhibition, self.start
        for log in self.logs:
            x = soft_threshold(torch.addmm(b, x, inhibition.T), start * torch.exp(log))
        return x


def trainer(network: nn.Module, y: Tensor, x: Tensor):
    optimizer = torch.optim.Adam([p for p in network.parameters() if p.requires_grad], lr=1e-5)

    def step() -> None:
        optimizer.zero_grad()
        (network(y) - x).square().mean().backward()
        optimizer.step()

    return step


def measure(seconds: float) -> list[dict[str, object]]:
    """One row per network, batch size and kind of pass."""
    dictionary = gaussian_dictionary(M, N, 0)
    pairs = {
        "LISTA-CP, untied": (
            lambda: unroll(ThinISTA(dictionary, 0.1), DEPTH, untied=("encoder", "threshold")),
            lambda: BareThin(dictionary, 0.1),
        ),
        "LISTA, tied": (
            lambda: unroll(GramISTA(dictionary, 0.1), DEPTH, tied=("encoder", "inhibition"), untied="threshold"),
            lambda: BareGram(dictionary, 0.1),
        ),
    }
    rows: list[dict[str, object]] = []
    for name, (make_ours, make_bare) in pairs.items():
        for batch in (1000, 1):
            y, x = torch.randn(batch, M), torch.randn(batch, N)
            ours, bare = make_ours(), make_bare()
            torch.testing.assert_close(ours(y), bare(y), rtol=1e-4, atol=1e-4)
            with torch.no_grad():
                rows.append(
                    {
                        "network": name,
                        "batch": batch,
                        "pass": "forward",
                        **ratio(partial(ours, y), partial(bare, y), seconds=seconds),
                    }
                )
            rows.append(
                {
                    "network": name,
                    "batch": batch,
                    "pass": "training step",
                    **ratio(trainer(ours, y, x), trainer(bare, y, x), seconds=seconds),
                }
            )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=8.0, help="per row")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    rows = measure(options.seconds)
    if options.json:
        print(
            json.dumps(
                {"benchmark": "engine_overhead", "threads": options.threads, "torch": torch.__version__, "rows": rows},
                indent=1,
            )
        )
        return
    for row in rows:
        print(
            f"{row['network']:18s} batch {row['batch']:5d} {row['pass']:14s} ratio {row['ratio']:.3f} "
            f"[{row['low']:.3f}, {row['high']:.3f}]  {row['ours'] * 1e3:.3f} ms / {row['bare'] * 1e3:.3f} ms"
        )


if __name__ == "__main__":
    main()
