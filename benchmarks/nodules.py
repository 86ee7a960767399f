"""Simulated nodules found in sinograms of few views: the reconstruction trained together with the detector, against the
same reconstruction left as it was, and against detectors on other images.

Every detector is trained on as many slices, at the same rates: on filtered back-projections, on total variation, on
the slices themselves (full data), on Learned Primal-Dual that stays frozen; the U-Net gives scores without a
reconstruction.
Thresholds let one false positive per image pass on validation slices; scores are those of the test slices. Intervals
resample slices, both methods' together.

The joint network is the shipped one, or that of --weights. Its state before both parts were trained together is that of
--apart (a checkpoint of ``unroll train medical/nodules --keep 500``, ``checkpoint-002-000000000.safetensors``), or is
trained again. Trainings are kept in --folder and go on where they stopped.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from unrolling.core import Unrolled
from unrolling.evaluation.measure import interval
from unrolling.evaluation.significance import paired
from unrolling.systems.catalogue import find
from unrolling.tasks.base import PSNR, Samples, first
from unrolling.tasks.medical.findings import KEPT, DetectionLoss, ImageAUC
from unrolling.tasks.medical.nodules import Nodules, OnImage, scoring_unet
from unrolling.tasks.medical.thorax import Thorax
from unrolling.tasks.metrics import Ratio
from unrolling.training import files
from unrolling.training.checkpoints import load
from unrolling.training.fit import fit
from unrolling.training.machine import Machine
from unrolling.training.stages import Schedule
from unrolling.training.weights import load_weights

POOL = 400  # slices that total variation is computed of, for training
WEIGHTS, ITERATIONS = (0.03, 0.06, 0.1), 60
FOUND = Ratio("sensitivity", "", "higher", "image", places=3)


class Given(Nodules):
    """The same slices with other data: what an image is made of is made beforehand."""

    def __init__(self, made: Callable[[Samples], Tensor], **options: Any) -> None:
        super().__init__(**options)
        self.made = made

    def fbp(self, data: Tensor) -> Tensor:
        return data

    def measure(self, target: Any, generator: torch.Generator) -> Samples:
        found = super().measure(target, generator)
        return Samples(self.made(found), found.target)


class Pool(Given):
    """Training slices from a pool, mirrored or not."""

    def fill(self, count: int) -> None:
        held = [super(Pool, self).draw(20, torch.Generator().manual_seed(9_000_003 + n)) for n in range(count // 20)]
        self.images = torch.cat([each.data for each in held])
        self.targets = [torch.cat([each.target[k] for each in held]) for k in range(2)]

    def draw(self, batch: int, generator: torch.Generator, noise: float | None = None) -> Samples:
        chosen = torch.randint(len(self.images), (batch,), generator=generator)
        image, nodules = self.images[chosen], self.targets[1][chosen].clone()
        true = self.targets[0][chosen]
        if float(torch.rand((), generator=generator)) < 0.5:
            image, true = image.flip(2), true.flip(2)
            nodules[..., 1] = torch.where(nodules[..., 2] > 0, self.size - 1 - nodules[..., 1], 0)
        return Samples(image, Thorax(true, nodules))


def of_detectors(system: Any, depth: int) -> Schedule:
    """As many slices, at the same rates, as the detector of the system sees."""
    return [
        replace(stage, parameters=None, loss=DetectionLoss(0, 1))
        for stage in system.recipes["nodules"].schedule(depth)[1:]
    ]


def variation(task: Nodules, weight: float, data: Tensor) -> Tensor:
    iteration = task.total_variation(weight)
    with torch.no_grad():
        state = iteration.start(data)
        for _ in range(ITERATIONS):
            state = iteration(state, data)
        return iteration.estimate(state, data)


def psnr(images: Tensor, batch: Samples) -> float:
    return PSNR.value(PSNR.pieces(images.clamp(0, 1), Samples(None, batch.target.image)))


class Row:
    """A method's scores: pieces on the test slices, at the threshold of the validation slices."""

    def __init__(self, name: str, network: Callable[[Any], Tensor], task: Nodules) -> None:
        self.name = name
        begin = time.process_time()
        held = [self._pieces(network, task, batch) for batch in task.validation]
        self.threshold = float(task.metric.threshold(torch.cat([pieces for pieces, _ in held])))
        tested = [self._pieces(network, task, batch) for batch in task.test]
        self.seconds = time.process_time() - begin
        self.pieces = torch.cat([pieces for pieces, _ in tested])
        self.psnr = sum(value * len(pieces) for pieces, value in tested) / len(self.pieces)
        right = (self.pieces[:, 1 + KEPT :] > self.threshold).sum(1)
        self.found = torch.stack([right.double(), self.pieces[:, 0]], 1)
        self.wrong = float((self.pieces[:, 1 : 1 + KEPT] > self.threshold).sum(1).double().mean())
        self.sensitivity, self.area = FOUND.value(self.found), ImageAUC().value(self.pieces)

    @property
    def decibels(self) -> str:
        """Nothing where nothing is reconstructed."""
        return "-" if self.psnr > 100 or self.name.startswith("U-Net") else f"{self.psnr:.2f}"

    @staticmethod
    def _pieces(network: Callable[[Any], Tensor], task: Nodules, batch: Samples) -> tuple[Tensor, float]:
        with torch.no_grad():
            estimate = network(batch.data)
        return task.pieces(estimate, batch), psnr(estimate[:, 0], batch)


def trained(network: nn.Module, task: Nodules, schedule: Schedule, folder: Path, seed: int) -> float:
    """CPU seconds of a training."""
    begin = time.process_time()
    fit(network, task, schedule, folder, seed=seed, validations=0, quiet=True, machine=Machine(precision="auto"))
    return time.process_time() - begin


def joint_and_frozen(system: Any, task: Nodules, arguments: argparse.Namespace) -> tuple[Unrolled, Unrolled, float]:
    _, recipe = system.recipe("nodules")
    joint, frozen = (system.network(recipe, task) for _ in range(2))
    if arguments.weights is None:
        joint = system.pretrained("nodules")
    else:
        load_weights(joint, arguments.weights, system=system.name)
    apart = recipe.schedule(len(frozen))
    if arguments.apart is not None:
        load(frozen, files.read(arguments.apart)[0])
        spent = 0.0
    else:
        spent = trained(frozen, task, apart[:2], arguments.folder / "apart", arguments.seed)
    before = {key: value.clone() for key, value in frozen.learned().items()}
    alone = replace(apart[2], parameters=("detector",), loss=DetectionLoss(0, 1))
    spent += trained(frozen, task, [alone], arguments.folder / "frozen", arguments.seed)
    same = all(torch.equal(value, before[key]) for key, value in frozen.learned().items() if "reconstruction" in key)
    print(f"the frozen reconstruction is bit for bit what it was: {same}", flush=True)
    return joint.eval(), frozen.eval(), spent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=Path("out/nodules"))
    parser.add_argument("--weights", type=Path, help="of the joint network; by default the shipped ones")
    parser.add_argument("--apart", type=Path, help="a checkpoint from between the second and the third stage")
    parser.add_argument("--images", type=int, default=500, help="test slices")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--without", nargs="*", default=[], choices=["variation", "unet"])
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    system = find("medical/nodules")
    options: dict[str, Any] = {**system.options("nodules"), "held_out": arguments.images}
    task = Nodules(**options)
    schedule = of_detectors(system, 5)
    joint, frozen, spent = joint_and_frozen(system, task, arguments)
    size = sum(p.numel() for p in joint.parameters())
    detector: Any = joint.layers[0].detector

    def fresh(image: Callable[[Tensor], Tensor], other: nn.Module | None = None) -> OnImage:
        own = type(detector)() if other is None else other
        return OnImage(image, own)

    rows = [Row("Learned Primal-Dual and detector, together", joint, task)]
    report(rows[-1], 0.0)
    rows.append(Row("Learned Primal-Dual, frozen, and detector", frozen, task))
    report(rows[-1], spent)
    folder = arguments.folder
    others: list[tuple[str, str, Nodules, nn.Module]] = [
        ("filtered back-projection and detector", "fbp", task, fresh(task.fbp)),
    ]
    full = Given(lambda samples: samples.target.image, **options)
    others.append(("full data and detector", "full", full, fresh(full.fbp)))
    if "unet" not in arguments.without:
        torch.manual_seed(arguments.seed)
        others.append(("U-Net without a reconstruction", "unet", task, fresh(task.fbp, scoring_unet(size))))
    if "variation" not in arguments.without:
        some = first(task.validation[0], 10)
        weight = max(WEIGHTS, key=lambda w: psnr(variation(task, w, some.data), some))
        print(f"total variation: weight {weight:g} of {WEIGHTS}, {ITERATIONS} iterations", flush=True)
        pool = Pool(lambda samples: variation(task, weight, samples.data), **options)
        begin = time.process_time()
        pool.fill(POOL)
        print(f"total variation of {POOL} slices for training: {time.process_time() - begin:.0f} CPU-s", flush=True)
        others.append(("total variation and detector", "variation", pool, fresh(pool.fbp)))
    for name, short, own, network in others:
        spent = trained(network, own, schedule, folder / short, arguments.seed)
        rows.append(Row(name, network.eval(), own))
        report(rows[-1], spent)
    summary(rows)
    elsewhere(joint, rows[0].threshold, options)


def elsewhere(network: Callable[[Any], Tensor], threshold: float, options: dict[str, Any]) -> None:
    """At other levels of noise and numbers of views, with the threshold as it is; of other views the network is built
    again around them, as ``unroll apply`` does.
    """
    from unrolling.core import unroll
    from unrolling.systems.medical.nodules import TYING, parent

    assert isinstance(network, Unrolled)
    for change in ({"noise": level} for level in (0.01, 0.02, 0.03, 0.04, 0.06)), ({"views": n} for n in (20, 45, 60)):
        for other in change:
            task = Nodules(**{**options, **other, "held_out": 200})
            held = network
            if "views" in other:
                held = unroll(parent(task), len(network), tied=TYING.tied, untied=TYING.untied)
                held.load_learned(network.learned())
            row = Row("", held, task)
            right = (row.pieces[:, 1 + KEPT :] > threshold).sum() / row.pieces[:, 0].sum()
            wrong = (row.pieces[:, 1 : 1 + KEPT] > threshold).sum(1).double().mean()
            name, value = next(iter(other.items()))
            print(
                f"{name} {value:g}: sensitivity {float(right):.3f} at {float(wrong):.2f} false positives per image, "
                f"{row.sensitivity:.3f} at a threshold of its own; AUC {row.area:.3f}, PSNR {row.psnr:.2f} dB",
                flush=True,
            )


def report(row: Row, spent: float) -> None:
    print(
        f"{row.name}: sensitivity {row.sensitivity:.3f} at {row.wrong:.2f} false positives per image (threshold "
        f"{torch.sigmoid(torch.tensor(row.threshold)):.3f}), AUC {row.area:.3f}, PSNR {row.psnr:.2f} dB; trained "
        f"{spent:.0f} CPU-s, measured {row.seconds:.0f}",
        flush=True,
    )


def summary(rows: list[Row]) -> None:
    joint = rows[0]
    bottom, top = (next(row for row in rows if row.name.startswith(name)) for name in ("filtered", "full"))
    print("\n| images | sensitivity | false positives per image | AUC | PSNR in dB |\n|---|---|---|---|---|")
    for row in sorted(rows, key=lambda row: -row.sensitivity):
        sensitive, area = interval(FOUND, row.found), interval(ImageAUC(), row.pieces)
        print(
            f"| {row.name} | {row.sensitivity:.3f} ({sensitive.low:.3f} to {sensitive.high:.3f}) | {row.wrong:.2f} | "
            f"{row.area:.3f} ({area.low:.3f} to {area.high:.3f}) | {row.decibels} |"
        )
    print(f"\n{len(joint.pieces)} test slices with {int(joint.pieces[:, 0].sum())} nodules; joint minus others:")
    for row in rows[1:]:
        for name, metric, ours, theirs in (
            ("sensitivity", FOUND, joint.found, row.found),
            ("AUC", ImageAUC(), joint.pieces, row.pieces),
        ):
            found = paired(metric, theirs, ours)
            assert found is not None
            bounds = f"({-found.high:+.3f} to {-found.low:+.3f})"
            print(f"{row.name}: {name} {-found.difference:+.3f} {bounds}, p = {found.p:.2g}")
    for name, value in (("sensitivity", lambda row: row.sensitivity), ("AUC", lambda row: row.area)):
        gap = value(top) - value(bottom)
        closed = ", ".join(f"{row.name} {(value(row) - value(bottom)) / (gap or 1):.0%}" for row in rows[:2])
        print(f"of the gap in {name} between filtered back-projection and full data, {gap:.3f}, are closed: {closed}")


if __name__ == "__main__":
    main()
