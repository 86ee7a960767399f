"""``unroll gradients``."""

from __future__ import annotations

import time
from typing import Annotated, Any

import typer

from unrolling.cli import prepare
from unrolling.cli.options import Data, Depth, Json, Quiet, Seed, Settings, SystemName, TaskName, Threads


def gradients(
    system: SystemName,
    task: TaskName = None,
    data: Data = None,
    depth: Depth = None,
    seed: Seed = 0,
    batch: Annotated[int, typer.Option("--batch", help="samples")] = 32,
    settings: Settings = None,
    threads: Threads = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """What each gradient rule costs and how far it is from the exact gradient, for a system's network on its task."""
    import torch

    from unrolling._progress import duration
    from unrolling.evaluation.gradient_modes import compare_gradients
    from unrolling.training.batches import generator
    from unrolling.training.losses import compute

    silent = quiet or as_json
    job = prepare.prepare(system, task, data, depth, seed, settings, threads, None, "", write=False, quiet=silent)
    samples = job.task.draw(batch, generator(seed))

    def loss(estimate: Any) -> Any:
        more = {"data": samples.data, "network": job.network}
        return compute(job.task.loss, estimate, samples.target, **more)

    begin = time.monotonic()
    rows = compare_gradients(job.network, samples.data, loss, quiet=silent)
    if as_json:
        prepare.print_json(
            {
                "system": job.system.name,
                "depth": len(job.network),
                "threads": torch.get_num_threads(),
                "rows": [row._asdict() for row in rows],
            }
        )
        return
    prepare.print_columns(
        ("rule", "relative error", "cosine", "memory", "ratio", "time", "ratio", "note"), [row.cells() for row in rows]
    )
    print(f"\nmeasured in {duration(time.monotonic() - begin)}")
