"""Writes weights files in today's format: ``python -m tools.convert_weights FILE...``, without a name those that ship.

A card that does not say what its network does with fixed inputs (``training.behaviour``) is told so by today's code.
What the task draws from its seed, and what the network's parent makes, become fingerprints. Every learned number stays
as it is to the bit, and so does the card; the lists of SHA-256 beside the files are brought up to date. Of the files
that ship, what several have in common goes into a file beside them.
"""

from __future__ import annotations

import argparse
import hashlib
from pathlib import Path
from typing import Any

import torch

from unrolling.core import Unrolled
from unrolling.systems.base import SUMS
from unrolling.systems.catalogue import find
from unrolling.training import files
from unrolling.training.behaviour import behaviour
from unrolling.training.fingerprints import fingerprint
from unrolling.training.weights import LARGE, PLAIN, load_weights, read_weights, remade, save_weights

SYSTEMS = Path(__file__).parents[1] / "unrolling" / "systems"


def convert(path: Path) -> bool:
    """Whether the file was of an older format."""
    learned, fixed, card = read_weights(path)
    if card["format"] >= PLAIN:
        return False
    system = find(card["system"])
    task_name = card["task"]["name"]
    recipe = system.recipes[task_name]
    usual = system.options(task_name)
    options = {key: type(value)(card["task"][key]) for key, value in usual.items() if key in card["task"]}
    task = system.task(task_name, seed=card.get("seed", 0), fixed=fixed, **options)
    network = system.network(recipe, task, card["depth"])
    network.load_learned(learned)
    held = task.fixed_tensors()
    assert all(torch.equal(held[name], fixed[name]) for name in held), path
    save_weights(network, path, card, held, remade(network, task, card["task"]))
    again, _, new = read_weights(path)
    assert all(torch.equal(again[name], learned[name]) for name in again), path
    loaded = system.network(recipe, task, card["depth"])
    load_weights(loaded, path, system=system.name)
    now = loaded.learned()
    assert now.keys() == learned.keys(), path
    assert all(torch.equal(now[name], value) for name, value in learned.items()), path
    added = {"format", "fingerprints"}
    assert {**new, **dict.fromkeys(added)} == {**card, **dict.fromkeys(added)}, path
    return True


def built(path: Path) -> tuple[Unrolled, Any]:
    """The untrained network around what a file holds that is not learned, and its task."""
    _, fixed, card = read_weights(path)
    system, name = find(card["system"]), card["task"]["name"]
    usual = system.options(name)
    options = {key: type(value)(card["task"][key]) for key, value in usual.items() if key in card["task"]}
    task = system.task(name, seed=card.get("seed", 0), fixed=fixed, **options)
    return system.network(system.recipes[name], task, card["depth"]), task


def rebuilt(path: Path) -> tuple[Unrolled, Any]:
    """The network of a file with its weights, and its task."""
    network, task = built(path)
    load_weights(network, path, system=files.read(path)[1]["system"])
    return network.eval(), task


def describe(path: Path) -> bool:
    """Whether the card lacked what its network does with fixed inputs, which it now has."""
    tensors, card = files.read(path)
    if "behaviour" in card:
        return False
    network, task = rebuilt(path)
    files.write(path, tensors, {**card, "behaviour": behaviour(network, task.example())})
    return True


def share(folder: Path) -> None:
    """Put large fixed tensors that several files of a folder have in common into files of their own."""
    holders: dict[tuple[str, str], list[Path]] = {}
    for path in sorted(folder.glob("*.safetensors")):
        for key, tensor in files.read(path)[0].items():
            if key.startswith("fixed.") and tensor.nbytes > LARGE:
                holders.setdefault((key, fingerprint(tensor)["sha256"]), []).append(path)
    for (key, digest), paths in holders.items():
        if len(paths) == 1:
            continue
        beside = folder / f"{key.removeprefix('fixed.')}-{digest[:8]}.shared"
        for path in paths:
            tensors, card = files.read(path)
            tensor = tensors.pop(key)
            files.write(beside, {key.removeprefix("fixed."): tensor}, {})
            made = {"by": "file", "file": beside.name, **fingerprint(tensor)}
            files.write(path, tensors, {**card, "fingerprints": {**card["fingerprints"], key: made}})
        print(f"{beside.name}: {', '.join(path.name for path in paths)}")


def list_hashes(folder: Path) -> None:
    """Bring the list of SHA-256 of a folder of weights up to date."""
    lines = [
        f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n"
        for path in sorted([*folder.glob("*.safetensors"), *folder.glob("*.shared")])
    ]
    files.write_bytes(folder / SUMS, "".join(lines).encode())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", nargs="*", type=Path, metavar="FILE")
    chosen = parser.parse_args().files or sorted(SYSTEMS.glob("*/weights/*.safetensors"))
    for path in chosen:
        before = path.stat().st_size
        converted = convert(path)
        if describe(path) or converted:
            print(f"{path.name}: {before:,} bytes, {path.stat().st_size:,} now")
    for folder in sorted({path.parent for path in chosen}):
        if (folder / SUMS).is_file():
            share(folder)
            list_hashes(folder)


if __name__ == "__main__":
    main()
