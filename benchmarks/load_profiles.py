"""Profiles of SimBench and demand of ISO New England as files that the power tasks read.

    python -m benchmarks.load_profiles DIR/simbench_2016_15min.npz loads.npz

SimBench (Meinecke et al. 2020, doi:10.3390/en13123290): active power of every profile, the mean of each hour, without
those of single devices (chargers, heat pumps), whose peak is more than four times their mean, or that give power back.
ISO New England: demand of its zones by the hour.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

PEAK = 4.0  # times the mean: more is a device, not what a bus of a transmission grid has


def read(path: Path) -> tuple[np.ndarray, np.ndarray] | None:
    """Loads (T, K) and hours (T,) of a packed file; None for files of another kind."""
    if path.suffix != ".npz":
        return None
    with np.load(path) as held:
        if "micro" in held:
            power = held["micro"] / 1e6
            power[held["fine_index"]] = held["fine"]
            active = np.char.endswith(held["columns"].astype(str), "_pload")
            hourly = power[active].reshape(int(active.sum()), -1, 4).mean(2)
            fit = (hourly.min(1) >= 0) & (hourly.max(1) <= PEAK * hourly.mean(1))
            return hourly[fit].T, np.arange(hourly.shape[1])
        zones = sorted(name for name in held if name.endswith("_values") and not name.startswith("ISO_NE"))
        if not zones:
            return None
        demand = [
            held[zone][:, held[zone.replace("_values", "_columns")].astype(str).tolist().index("DEMAND")]
            for zone in zones
        ]
        return np.stack(demand, 1), np.arange(len(demand[0]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path)
    parser.add_argument("target", type=Path)
    given = parser.parse_args()
    found = read(given.source)
    if found is None:
        parser.error(f"{given.source} holds neither profiles of SimBench nor demand of ISO New England")
    np.savez_compressed(given.target, load=found[0], time=found[1])
    print(f"{given.target}: {found[0].shape[0]} hours of {found[0].shape[1]} profiles")


if __name__ == "__main__":
    main()
