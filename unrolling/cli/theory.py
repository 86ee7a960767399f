"""``unroll theory``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from unrolling._progress import Bar
from unrolling.cli import prepare
from unrolling.cli.options import Data, Depth, Json, Quiet, Seed, Settings, SystemName, Threads


def theory(
    system: SystemName,
    data: Data = None,
    depth: Depth = None,
    seed: Seed = 0,
    weights: Annotated[
        Path | None, typer.Option("--weights", help="use the weights of this file instead of the shipped ones")
    ] = None,
    settings: Settings = None,
    threads: Threads = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """What is proved about unrolled networks, held against a trained one: claim, assumption, whether it holds, what is
    measured.
    """
    import torch

    from unrolling.evaluation.comparison import plain
    from unrolling.systems.catalogue import find
    from unrolling.tasks.base import Task, pieces_of
    from unrolling.tasks.catalogue import find_task
    from unrolling.training.weights import load_weights

    found = find(system)
    name = next((task for task in found.recipes if find_task(task).theory is not Task.theory), None)
    if name is None:
        raise ValueError(f"nothing is proved about networks for {', '.join(found.recipes)}, the tasks of {found.name}")
    job = prepare.prepare(
        system,
        name,
        data,
        depth,
        seed,
        settings,
        threads,
        None,
        "",
        pretrained=weights is None,
        weights=weights,
        write=False,
        quiet=quiet or as_json,
    )
    assert job.weights is not None
    load_weights(job.network, job.weights, system=job.system.name)
    task, network = job.task, job.network
    with Bar("measuring the network layer by layer", quiet=quiet or as_json) as bar, torch.no_grad():
        quality = [
            task.metric.value(pieces_of(task, task.test, [estimate]))
            for estimate in network.estimates(task.test[0].data)
        ]
        bar.update(name="checking the claims")
        claims = task.theory(network, quality)
    if as_json:
        prepare.print_json(plain(list(claims)))
        return
    words = {True: "yes", False: "no", None: "not known"}
    for claim in claims:
        print(
            f"{claim.name}\n    claim       {claim.claim} ({claim.source})\n    assumption  {claim.assumption}; "
            f"holds here: {words[claim.holds]}"
        )
        agrees = {True: "; agrees", False: "; does not agree", None: ""}[claim.agrees]
        print(f"    measured    {claim.measured}{agrees}")
