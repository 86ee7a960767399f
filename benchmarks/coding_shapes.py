"""Shapes of the denoiser by convolutional sparse coding: atoms, their size and stride, layers, and whether each layer
has a dictionary of its own, each trained for as many steps on the same crops, scored on one position of the grid.

--data names a folder with bsd68, of which every fourth picture is scored at sigma 25; the validation photographs in the
packages where there is none. --train names a folder of photographs to train on beside those. A shape takes 2 to 5
minutes of a core.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch

from benchmarks.image_methods import Row, psnr, sets
from benchmarks.record import options, publish, start
from unrolling import Unrolled, fit, unroll
from unrolling.algorithms.sparse.strided import NoisyImage, StridedISTA, cosine_atoms
from unrolling.operators.strided import StridedDictionary
from unrolling.systems.catalogue import find
from unrolling.training.annealing import Cosine
from unrolling.training.machine import Machine
from unrolling.training.optimizers import Muon
from unrolling.training.stages import Stage

WEIGHT, SIGMA, EVERY = 1.8, 25.0, 4
RATES = {"threshold": 5e-3, "slope": 5e-3, "remainder": 1e-2, "momentum": 2e-3}


class Shape(NamedTuple):
    """Of a network."""

    atoms: int
    size: int
    stride: int
    layers: int
    own: bool  # a dictionary of its own in each layer

    def network(self) -> Unrolled:
        """As it is before training, one position of its grid."""
        atoms, side = cosine_atoms(self.atoms, self.size).unsqueeze(1), 4 * self.size // self.stride
        scale = 1 / StridedDictionary(atoms, self.stride).norm(1e-3, shape=(self.atoms, side, side))
        dictionary = StridedDictionary(scale * atoms, self.stride)
        parent = StridedISTA(dictionary, scale * WEIGHT, step_size=1.0, shifts=1)
        dictionaries = ("dictionary", "encoder")
        each = ("threshold", "slope", "momentum", *(dictionaries if self.own else ()))
        shared = ("decoder", "remainder", *(() if self.own else dictionaries))
        return unroll(parent, self.layers, tied=shared, untied=each)

    def words(self) -> str:
        """As a row is called."""
        own = "a dictionary a layer" if self.own else "one dictionary"
        return f"{self.atoms} atoms of {self.size} x {self.size}, stride {self.stride}, {self.layers} layers, {own}"


SHAPES = (
    Shape(175, 12, 4, 12, False),
    Shape(175, 12, 4, 20, False),
    Shape(100, 8, 2, 12, False),
    Shape(100, 8, 2, 12, True),
    Shape(100, 8, 2, 7, True),
    Shape(140, 8, 2, 5, True),
    Shape(70, 8, 2, 10, True),
    Shape(64, 10, 2, 7, True),
)


def trained(shape: Shape, steps: int, photographs: Path | None) -> Row:
    """A row of one shape."""
    task = find("imaging/denoise").task("noise_levels", data=photographs, crop=96)
    network = shape.network()
    options: dict[str, Any] = {"optimizer": Muon(kernels=True), "clip": 1.0, "rates": RATES}
    stage = Stage(steps, rate=1e-2, batch=7, annealing=Cosine(0.01, 1e-2), **options)
    fit(network, task, [stage], machine=Machine(precision="auto"), validations=0, quiet=True)
    return {"shape": shape.words(), "numbers": sum(p.numel() for p in network.parameters()), "network": network}


def scored(network: Unrolled, root: Path) -> float:
    """Mean PSNR at sigma 25."""
    whole = [x for named in sets(root, "bsd68").values() for x in named.values()][::EVERY]
    pictures = whole or [b.target[0] for b in find("imaging/denoise").task("noise_levels").validation]
    level, values = torch.tensor([SIGMA / 255]), []
    with torch.no_grad():
        for number, x in enumerate(pictures):
            y = x + level * torch.randn(x.shape, generator=torch.Generator().manual_seed(number))
            values.append(psnr(network(NoisyImage(y.unsqueeze(0), level))[0], x))
    return sum(values) / len(values)


def line(row: Mapping[str, Any]) -> str:
    """A row as text."""
    return f"{row['shape']:75s} {row['numbers']:8,d} numbers, {row['steps']} steps: {row['psnr']:.2f} dB"


def main() -> None:
    parser = options(__doc__, seconds=1.0, threads=1)
    parser.add_argument("--data", type=Path, default=Path(), metavar="DIR")
    parser.add_argument("--train", type=Path, metavar="DIR")
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--shape", type=int, choices=range(len(SHAPES)), action="append", help="by number; all of them")
    given = parser.parse_args()
    start(given)
    rows = []
    for number in given.shape or range(len(SHAPES)):
        row = trained(SHAPES[number], given.steps, given.train)
        rows.append({**row, "steps": given.steps, "psnr": scored(row.pop("network"), given.data)})
    publish("coding_shapes", given, rows, line)


if __name__ == "__main__":
    main()
