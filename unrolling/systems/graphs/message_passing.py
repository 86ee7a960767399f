"""Truncated message passing: potentials that are trained through the few sweeps of inference that will be used
(Stoyanov, Ropson and Eisner 2011; Domke 2011; survey, references [76] and [77]).
"""

from __future__ import annotations

from collections.abc import Callable

from unrolling.algorithms.graphs.belief_propagation import BeliefPropagation, GraphInference
from unrolling.algorithms.graphs.mean_field import MeanField
from unrolling.systems.base import Recipe, System, Tying
from unrolling.systems.graphs._labels import labelling
from unrolling.tasks.graphs.labelling import Labelling
from unrolling.training.stages import Cosine, Schedule, Stage

DEPTH = 5
STEPS = 300
COUPLING = 0.75
POTENTIALS = (
    "a_i = A (1, y_i),    b_ij = B_1 + |y_i - y_j| B_2: the same A and B for all nodes, edges and sweeps; at the "
    "start those "
    "of Gaussian noise and of neighbours that are alike\n"
)


NO_ONNX = {
    "labelling": {
        "onnx": "its shipped weights serve any number of edges, which the converter to ONNX cannot take apart"
    }
}


def schedule(depth: int) -> Schedule:
    return [Stage(STEPS, rate=3e-2, batch=16, annealing=Cosine(0.05, 1e-2), clip=1.0)]


def recipe(parent: Callable[[Labelling], GraphInference], untied: tuple[str, ...]) -> Recipe:
    """Potentials for all sweeps, and numbers for each."""
    return Recipe(parent=parent, tying=Tying(tied=("prepare",), untied=untied), depth=DEPTH, schedule=schedule)


SYSTEM = System(
    name="graphs/message_passing",
    title="Truncated message passing",
    paradigm="objective",
    summary="labels of the nodes of any graph in five sweeps of belief propagation, with potentials that are trained "
    "through them.",
    equations=POTENTIALS
    + "m_ij(x_j) = log sum over x_i of exp(b_ij(x_i, x_j) / rho[t] + a_i(x_i) + sum over neighbours k of rho[t] "
    "m_ki(x_i) - "
    "m_ji(x_i))\n"
    "m_ij <- (1 - d[t]) m_ij + d[t] m_ij before;    log q_i = a_i + sum of rho[T] m_ki, normalised;    rho = 1, d = 0 "
    "at the "
    "start: belief propagation",
    references=("domke2011parameter", "stoyanov2011empirical", "wainwright2005new", "domke2013learning"),
    recipes={
        "labelling": recipe(lambda task: BeliefPropagation(task.potentials(COUPLING)), ("damping", "edge_weight"))
    },
    apply={"labelling": labelling()},
    not_exported=NO_ONNX,
    variants=(
        System(
            name="graphs/mean_field",
            title="Truncated mean field",
            paradigm="objective",
            summary="labels of the nodes of any graph in five sweeps of mean field, with potentials that are trained "
            "through them.",
            equations=POTENTIALS
            + "log q_i = a_i + sum over neighbours j of the expectation of b_ij under q_j, normalised, one "
            "independent set of "
            "nodes after the other;    q_i <- (1 - d[t]) q_i + d[t] q_i before",
            references=("domke2013learning", "stoyanov2011empirical"),
            recipes={"labelling": recipe(lambda task: MeanField(task.potentials(COUPLING)), ("damping",))},
            apply={"labelling": labelling()},
        ),
    ),
)
