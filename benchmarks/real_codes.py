"""Signals that no textbook drew: codes of patches of photographs, measured with a Gaussian matrix (m = 200, n = 400).
Who knows the prior then?

The signals are lasso codes of whitened 10 x 10 patches over a learned dictionary of 400 atoms (the task ``codes``),
scaled so that their non-zeros have unit variance; patches of test photographs are seen by nothing that is trained or
tuned. Their non-zeros are heavy-tailed and do not come independently, so that a method that is told
"Bernoulli-Gaussian, this density, this variance" is told something false, whereas a network may be trained on such
signals: here on Bernoulli-Gaussian ones of the same density ("synthetic"), and on codes of training photographs
("codes"). NMSE in dB after 16 layers or iterations, and of classical methods at the end; weights and damping are chosen
on validation codes.
"""

from __future__ import annotations

import argparse
import json
from math import inf
from typing import Any

import torch
from torch import Tensor

from benchmarks.recovery import DEPTH, END, SHORT, path
from unrolling.systems.catalogue import find
from unrolling.tasks.base import Samples
from unrolling.tasks.baselines import Iterative
from unrolling.tasks.sparse.codes import Codes
from unrolling.tasks.sparse.recovery import Recovery
from unrolling.tasks.sparse.signals import measured
from unrolling.training.fit import fit

M, ATOMS = 200, 400
NETWORKS = ("lista_cp", "alista", "hyperlista", "na_alista", "lamp", "lvamp", "lvamp_pwl")


class RealCodes(Recovery):
    """``Recovery`` of rows of a pool instead of drawn signals.

    Args:
        source: where the codes come from.
        snr: as for ``Recovery``.
        seed: of the dictionary and the noise.
    """

    name = "real_codes"

    def __init__(self, source: Codes, snr: float, seed: int) -> None:
        training = source.draw(20_000, torch.Generator().manual_seed(seed)).target
        scale = training[training != 0].square().mean().sqrt()
        self.pool = training / scale
        super().__init__(M, ATOMS, float((self.pool != 0).float().mean()), snr, seed=seed, held_out=8)
        generator = torch.Generator().manual_seed(4_000_003 + seed)
        held = [batch[0].target[:1000] / scale for batch in (source.validation, source.test)]
        self.validation, self.test = ([Samples(measured(x, self.dictionary, snr, generator), x)] for x in held)
        self.timing = self.test[0]

    def draw(
        self, batch: int, generator: torch.Generator, *, snr: float | None = None, probability: float | None = None
    ) -> Samples:
        """Codes of training photographs, their density being what it is."""
        x = self.pool[torch.randint(len(self.pool), (batch,), generator=generator)]
        return Samples(measured(x, self.dictionary, self.snr if snr is None else snr, generator), x)


def kurtosis(x: Tensor) -> float:
    """Of the non-zeros: 3 for Gaussian ones."""
    values = x[x != 0].double()
    return float((values**4).mean() / values.square().mean() ** 2)


def classical(task: RealCodes) -> list[dict[str, Any]]:
    """Each with the setting that is best on validation codes at its end."""
    rows = []
    for method in task.baselines(0):
        if not isinstance(method, Iterative) or method.name in ("ISTA", "IHT", "coordinate descent"):
            continue
        steps = min(END.get(method.name, 100), 500)
        y, x = task.validation[0]
        runs = {weight: path(method.make(weight), [Samples(y[:300], x[:300])], steps) for weight in method.settings}
        best = min(runs, key=lambda weight: runs[weight][-1])
        values = path(method.make(best), task.test, steps)
        rows.append(
            {
                "method": method.name,
                "trained on": "",
                "layers": values[:DEPTH],
                "nmse": values[DEPTH - 1],
                "end": values[-1],
            }
        )
    return rows


def trained(name: str, task: RealCodes, on: str) -> dict[str, Any]:
    """A network, by its own schedule."""
    system = find(f"sparse_coding/{name}")
    recipe = system.recipes["recovery"]
    depth = SHORT.get(name, DEPTH) if task.snr != inf else DEPTH
    source = task if on == "codes" else Recovery(M, ATOMS, task.probability, task.snr, seed=task.seed)
    network = system.network(recipe, source, depth)
    fit(network, source, recipe.schedule(depth), validations=0, quiet=True)
    values = path(network, task.test, depth)
    return {"method": name, "trained on": on, "layers": values, "nmse": values[-1]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--snr", type=float, nargs="*", default=[inf, 30.0])
    parser.add_argument("--only", nargs="*", choices=NETWORKS, default=list(NETWORKS))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--patches", type=int, default=30_000, help="training patches")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    source = Codes(ATOMS, train_patches=options.patches, seed=options.seed)
    found = []
    for snr in options.snr:
        task = RealCodes(source, snr, options.seed)
        head = {"snr": str(snr), "density": task.probability, "kurtosis": kurtosis(task.pool)}
        if not options.json:
            print(
                f"SNR {snr:g}: {task.probability:.1%} non-zero, kurtosis of the non-zeros {head['kurtosis']:.1f} "
                "(Gaussian: 3)",
                flush=True,
            )
        makers = [lambda task=task: classical(task)]
        makers += [
            lambda task=task, name=name, on=on: [trained(name, task, on)]
            for name in options.only
            for on in ("synthetic", "codes")
        ]
        for make in makers:
            for row in make():
                found.append({**head, **row})
                if not options.json:
                    end = f", at the end {row['end']:.1f}" if "end" in row else ""
                    print(f"  {row['method']:28s}{row['trained on']:10s} {row['nmse']:7.1f}{end}", flush=True)
    if options.json:
        print(
            json.dumps(
                {"benchmark": "real_codes", "threads": options.threads, "torch": torch.__version__, "rows": found},
                indent=1,
            )
        )


if __name__ == "__main__":
    main()
