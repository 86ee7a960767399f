"""Grids to work on: the IEEE case of 14 buses, others through pandapower."""

from __future__ import annotations

from typing import Any

import torch

from unrolling._extras import extra
from unrolling.algorithms.power.grid import Grid

CASES = ("case14", "case57", "case118")

# IEEE 14-bus test case, American Electric Power 1962, as the archive of power system test cases of the University of
# Washington lists it: ends, r, x, b, ratio (0 of a line), in per unit of 100 MVA.
_LINES_14 = (
    (1, 2, 0.01938, 0.05917, 0.0528, 0),
    (1, 5, 0.05403, 0.22304, 0.0492, 0),
    (2, 3, 0.04699, 0.19797, 0.0438, 0),
    (2, 4, 0.05811, 0.17632, 0.0340, 0),
    (2, 5, 0.05695, 0.17388, 0.0346, 0),
    (3, 4, 0.06701, 0.17103, 0.0128, 0),
    (4, 5, 0.01335, 0.04211, 0, 0),
    (4, 7, 0, 0.20912, 0, 0.978),
    (4, 9, 0, 0.55618, 0, 0.969),
    (5, 6, 0, 0.25202, 0, 0.932),
    (6, 11, 0.09498, 0.19890, 0, 0),
    (6, 12, 0.12291, 0.25581, 0, 0),
    (6, 13, 0.06615, 0.13027, 0, 0),
    (7, 8, 0, 0.17615, 0, 0),
    (7, 9, 0, 0.11001, 0, 0),
    (9, 10, 0.03181, 0.08450, 0, 0),
    (9, 14, 0.12711, 0.27038, 0, 0),
    (10, 11, 0.08205, 0.19207, 0, 0),
    (12, 13, 0.22092, 0.19988, 0, 0),
    (13, 14, 0.17093, 0.34802, 0, 0),
)
# Load in MW and Mvar, by bus.
_LOADS_14 = {
    2: (21.7, 12.7),
    3: (94.2, 19.0),
    4: (47.8, -3.9),
    5: (7.6, 1.6),
    6: (11.2, 7.5),
    9: (29.5, 16.6),
    10: (9.0, 5.8),
    11: (3.5, 1.8),
    12: (6.1, 1.6),
    13: (13.5, 5.8),
    14: (14.9, 5.0),
}
# MW, and the magnitude that is held. The generator of the slack makes up the balance.
_GENERATORS_14 = {1: (232.4, 1.06), 2: (40.0, 1.045), 3: (0.0, 1.01), 6: (0.0, 1.07), 8: (0.0, 1.09)}
_CAPACITOR_14 = (9, 0.19)


def case14() -> Grid:
    """The IEEE 14-bus test case: 20 branches, 5 generators, 259 MW of load, slack at bus 1."""
    branches = [(a - 1, b - 1, r, x, 0.0, c, ratio or 1.0, 0.0) for a, b, r, x, c, ratio in _LINES_14]
    buses = torch.zeros(14, 6, dtype=torch.float64)
    for bus, (active, reactive) in _LOADS_14.items():
        buses[bus - 1, :2] = torch.tensor([active, reactive], dtype=torch.float64) / 100
    for bus, (active, held) in _GENERATORS_14.items():
        buses[bus - 1, 4:] = torch.tensor([active / 100, held], dtype=torch.float64)
    buses[_CAPACITOR_14[0] - 1, 3] = _CAPACITOR_14[1]
    return Grid(torch.tensor(branches, dtype=torch.float64), buses, 0, name="case14")


def grid_of(name: str) -> Grid:
    """A test case by name; all but ``case14`` need pandapower (extra ``power``).

    Raises:
        ValueError: an unknown name.
        ImportError: pandapower is missing.
    """
    if name not in CASES:
        raise ValueError(f"network is {name!r}; there are {', '.join(CASES)}")
    if name == "case14":
        return case14()
    with extra(f"the network {name}"):
        import pandapower.networks as networks
    return grid_from_pandapower(getattr(networks, name)(), name)


def grid_from_pandapower(network: Any, name: str = "") -> Grid:
    """The grid of a pandapower network, through the tables of its own power flow; buses in their order, branches lines
    first.

    Args:
        network: a ``pandapowerNet`` with one external grid, in service as a whole, without open switches, two-winding
            transformers alone.
        name: of the grid; the network's own by default.

    Raises:
        ValueError: parts that a ``Grid`` has no place for.
        ImportError: pandapower is missing.
    """
    with extra("a network of pandapower"):
        import pandapower

    if len(network.ext_grid) != 1:
        raise ValueError(f"the network has {len(network.ext_grid)} external grids; a grid has one slack bus")
    pandapower.runpp(network, calculate_voltage_angles=True, enforce_q_lims=False, numba=False)
    tables = network._ppc
    branch, bus, machine = (torch.as_tensor(tables[key].real.copy()) for key in ("branch", "bus", "gen"))
    if len(bus) != len(network.bus) or not bool((branch[:, 10] == 1).all()):
        raise ValueError(
            f"the network has {len(network.bus)} buses, and its power flow {len(bus)}: open or closed switches, "
            "three-winding transformers and what is out of service have no place here"
        )
    ratio = torch.where(branch[:, 8] == 0, 1.0, branch[:, 8])
    conductance = branch[:, 23] if branch.shape[1] > 23 else torch.zeros(len(branch))
    lines = torch.stack(
        [branch[:, 0], branch[:, 1], branch[:, 2], branch[:, 3], conductance, branch[:, 4], ratio, branch[:, 9]], 1
    )
    base = float(tables["baseMVA"])
    table = torch.zeros(len(bus), 6, dtype=torch.float64)
    table[:, :4] = bus[:, 2:6] / base
    where = machine[:, 0].long()
    table[:, 4].index_add_(0, where, machine[:, 1].double() / base)
    table[where, 5] = machine[:, 5].double()
    lookup = network._pd2ppc_lookups["bus"]
    names = dict(zip((int(lookup[index]) for index in network.bus.index), network.bus["name"].tolist(), strict=True))
    labels = tuple(str(names.get(n) if names.get(n) is not None else n + 1) for n in range(len(bus)))
    labels = labels if len(set(labels)) == len(labels) else tuple(str(n + 1) for n in range(len(bus)))
    slack = int((bus[:, 1] == 3).nonzero()[0])
    return Grid(lines, table, slack, labels, name or str(network.name or "network"), base)
