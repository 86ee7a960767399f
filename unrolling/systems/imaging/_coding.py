"""What the systems by convolutional sparse coding with a stride share: their parent's dictionary, what is learned, and
how.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from unrolling.algorithms.sparse.strided import StridedCoding, cosine_atoms
from unrolling.operators.strided import StridedDictionary
from unrolling.systems.base import Tying
from unrolling.training.optimizers import Muon, Optimizer
from unrolling.training.stages import Cosine, Schedule, Stage

ATOMS, SIZE, STRIDE, DEPTH = 175, 12, 4, 12
SHARED = ("dictionary", "encoder", "decoder", "remainder")
EACH = ("threshold", "slope", "momentum")
MUON = Muon(kernels=True)
TYING = Tying(tied=SHARED, untied=EACH)
EQUATIONS = (
    "v[t] = z[t] + beta[t] (z[t] - z[t-1]),    z[t+1] = S_theta[t](l)(v[t] + E^T (y - D v[t])),    z[0] = 0;    the "
    "mean over 16 positions of the grid of C z[T], and tau^2 / (tau^2 + l^2) of y - C z[T]\n"
    "D, E, C: 175 atoms of 12 x 12 pixels at every fourth pixel, the same in all layers; theta[t] = t_i[t] l (l / "
    "25)^b_i[t], one t and b for each atom and layer; {level}\n"
    "At the start the atoms are cosines, E = mu D, beta = b = 0: ISTA."
)


def cosines(kind: Callable[..., StridedCoding], weight: float, shifts: int = STRIDE) -> StridedCoding:
    """Overcomplete cosines of 12 x 12 pixels at every fourth pixel, scaled to |D| = 1: the step size is 1, and analysis
    and synthesis learn at the same pace.

    Args:
        kind: of coding.
        weight: lambda for atoms of norm 1.
        shifts: positions of the grid along a side.
    """
    atoms = cosine_atoms(ATOMS, SIZE).unsqueeze(1)
    side = 4 * SIZE // STRIDE
    scale = 1 / StridedDictionary(atoms, STRIDE).norm(1e-3, shape=(ATOMS, side, side))
    return kind(StridedDictionary(scale * atoms, STRIDE), scale * weight, step_size=1.0, shifts=shifts)


def schedule(
    steps: int, last: int = 300, *, optimizer: Optimizer = MUON, rate: float = 1e-2
) -> Callable[[int], Schedule]:
    """The picture as it lies, which a random crop makes a random position; then the mean over all positions, as it is
    used.

    Dictionaries learn faster at first by Muon, whose steps are a part of their norm and alike in all directions; in the
    end the denoiser is as good by Adam.
    """
    rates = {"threshold": 5e-3, "slope": 5e-3, "remainder": 1e-2, "momentum": 2e-3}
    options: dict[str, Any] = {"clip": 1.0, "optimizer": optimizer}

    def made(depth: int) -> Schedule:
        alone, all_of_them = {"shifts": 1.0}, {"shifts": float(STRIDE)}
        gentle = {name: each / 10 for name, each in rates.items()}
        return [
            Stage(steps, rate=rate, batch=16, annealing=Cosine(0.01, 1e-2), settings=alone, rates=rates, **options),
            Stage(
                last,
                rate=rate / 20,
                batch=2,
                annealing=Cosine(0.05, 1e-1),
                settings=all_of_them,
                rates=gentle,
                **options,
            ),
        ]

    return made
