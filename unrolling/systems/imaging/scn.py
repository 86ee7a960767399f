"""SCN: sparse coding with two dictionaries, unrolled, for super-resolution (Wang, Liu, Yang, Han and Huang 2015;
survey, section IV-A).
"""

from __future__ import annotations

from collections.abc import Sequence

from unrolling.systems.base import Recipe, System, Tying
from unrolling.systems.imaging._coupled import LEARNED, RANGE, application, classical, exact, normalised
from unrolling.tasks.baselines import Baseline
from unrolling.tasks.images.super_resolution import SuperResolution
from unrolling.training.stages import Cosine, Schedule, Stage

DEPTH = 2  # one recurrence
STEPS = 16_000
REFERENCES = ("wang2015deep", "yang2010image", "dong2016image")


# Filters, whose numbers are small, learn more slowly.
RATES = {"features": 3e-4, "decoder": 1e-4, "mean": 3e-5, "overlap": 1e-4}


def exact_schedule(depth: int) -> Schedule:
    """All parameters at once."""
    return [Stage(STEPS, rate=1e-3, rates=RATES, batch=4, annealing=Cosine(0.02, 1e-2), clip=1.0)]


def schedule(depth: int) -> Schedule:
    """The same with the filters of contrast."""
    rates = {**RATES, "contrast": 1e-4}
    return [Stage(STEPS, rate=1e-3, rates=rates, batch=4, annealing=Cosine(0.02, 1e-2), clip=1.0)]


def normalised_rivals(system: System, task: SuperResolution) -> Sequence[Baseline]:
    """The parent, with the same dictionary, run to convergence, and SRCNN."""
    return classical(task, normalised)


def exact_rivals(system: System, task: SuperResolution) -> Sequence[Baseline]:
    """The same of the exact form."""
    return classical(task, exact)


SYSTEM = System(
    name="imaging/scn",
    title="SCN",
    paradigm="objective",
    summary="photographs of two to four times the size: every patch has a sparse code, which means a sharp patch.",
    equations=(
        "c = F y / |F y|,    z[t+1] = S_1(S z[t] + W c),    z[0] = 0,    u = 1.1 (D z / |D z|) |M y|,    "
        "x = m(y) + sum over patches of g u\n"
        "y: the bicubic enlargement. F: 100 features of 9 x 9 pixels (at the start first and second differences), M y "
        "the 5 x 5 pixels in their middle less the mean, m(y) the mean over 13 x 13, g 1 / 25.\n"
        "At the start W = D_y^T / lambda, S = I - D_y^T D_y / L, D = D_x lambda / L: ISTA with a dictionary D_y of "
        "features whose codes mean sharp patches under D_x. Norms below 1e-12 count as 1e-12."
    ),
    references=REFERENCES,
    recipes={
        "super_resolution": Recipe(
            parent=normalised,
            tying=Tying(tied=(*LEARNED, "contrast")),
            depth=DEPTH,
            schedule=schedule,
            options={"factor": 2},
            range=RANGE,
        )
    },
    baselines={"super_resolution": normalised_rivals},
    apply={"super_resolution": application()},
    variants=(
        System(
            name="imaging/scn_exact",
            title="SCN, exact",
            paradigm="objective",
            summary="as imaging/scn without bringing patches to one contrast, so that before training it is ISTA to "
            "the bit.",
            equations=(
                "z[t+1] = S_1(S z[t] + W F y),    z[0] = 0,    x = m(y) + sum over patches of g D z\n"
                "y, F, m, g and the start as in imaging/scn: z is lambda / L of the code that ISTA finds for "
                "0.5 |D_y a - F y|^2 + lambda |a|_1."
            ),
            references=REFERENCES,
            recipes={
                "super_resolution": Recipe(
                    parent=exact,
                    tying=Tying(tied=LEARNED),
                    depth=DEPTH,
                    schedule=exact_schedule,
                    options={"factor": 2},
                    range=RANGE,
                )
            },
            baselines={"super_resolution": exact_rivals},
            apply={"super_resolution": application()},
        ),
    ),
)
