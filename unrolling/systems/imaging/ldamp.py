"""Learned D-AMP and LDIT: message passing with a network for a denoiser (Metzler, Mousavi and Baraniuk 2017; survey,
reference [64]).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from unrolling.algorithms.messages.denoised_amp import DenoisedAMP
from unrolling.networks.ffdnet import FFDNet
from unrolling.prox.plug_and_play import DenoiserProx
from unrolling.prox.selected import EDGES, SelectedDenoiser
from unrolling.systems.base import Recipe, System, Tying
from unrolling.systems.imaging._plug_and_play import seeded, shipped, through
from unrolling.tasks.images.compressive_gaussian import CompressiveGaussian
from unrolling.training.denoiser import DenoiserLoss
from unrolling.training.stages import Cosine, Schedule, Stage

DEPTH = 6
LAYERS, CHANNELS = 7, 32  # of one denoiser for all levels
SMALL = (5, 16)  # of those that are many
LEVELS = (0.01, 1.6)  # of the one: of photographs the first estimate has noise of about 0.5 sqrt(n / m)
STEPS, BATCH = 10_000, 8
LAYER_STEPS = 2_000
SHIPPED_DEPTH, SHIPPED_STEPS = 8, 900
UNMEASURED = {"ratio": 0.001}  # of batches whose measurements nobody looks at
UNTIED = Tying(untied=("denoiser",))
INFLATION = 2.0  # of the level without the Onsager term, as the authors have it
TASK = "compressive_gaussian"


def one(*sizes: int) -> DenoiserProx:
    """A network that is told the level."""
    return DenoiserProx(seeded(FFDNet, *sizes), told=True)


def selected() -> DenoiserProx:
    """A small network for each range of levels."""
    return DenoiserProx(SelectedDenoiser([seeded(FFDNet, *SMALL) for _ in range(len(EDGES) + 1)]), told=True)


def parent(task: CompressiveGaussian, make: Callable[[], DenoiserProx], onsager: bool = True) -> DenoisedAMP:
    """D-AMP, or D-IT, with a network that is not trained."""
    return DenoisedAMP(task.term(), make(), onsager=onsager, inflation=1.0 if onsager else INFLATION)


def layer_by_layer(depth: int) -> Schedule:
    """One layer after the other, each starting as the one before; the layers below it do not change."""
    return [
        Stage(
            LAYER_STEPS,
            rate=2e-3,
            batch=BATCH,
            annealing=Cosine(0.02, 1e-2),
            clip=1.0,
            depth=k + 1,
            layers=(k,),
            inherit={} if k else None,
        )
        for k in range(depth)
    ]


def end_to_end(depth: int) -> Schedule:
    """All layers at once, on the error of the last."""
    return [
        Stage(
            depth * LAYER_STEPS,
            rate=1e-3,
            batch=BATCH,
            annealing=Cosine(0.02, 1e-2),
            clip=1.0,
        )
    ]


def denoiser_by_denoiser(depth: int) -> Schedule:
    """The denoiser alone, on the task's patches with noise of all levels."""
    return [
        Stage(
            STEPS,
            rate=2e-3,
            batch=BATCH // 2,
            depth=1,
            draw=UNMEASURED,
            loss=DenoiserLoss(levels=LEVELS),
            annealing=Cosine(0.02, 1e-2),
            clip=1.0,
        )
    ]


def recipe(
    tying: Tying,
    schedule: Callable[[int], Schedule],
    make: Callable[[], DenoiserProx],
    onsager: bool = True,
    depth: int = DEPTH,
) -> dict[str, Recipe]:
    """On the one task."""
    return {
        TASK: Recipe(parent=partial(parent, make=make, onsager=onsager), tying=tying, depth=depth, schedule=schedule)
    }


EQUATIONS = (
    "r = x + A^T z,    tau = |z| / sqrt(m),    x+ = D[t](r, tau),    z+ = y - A x+{onsager}\n"
    "x = 0, z = y at the start; {denoiser}"
)
ONSAGER = " + (1/m) div D[t](r, tau) z,    div D = h^T (D(r + e h) - D(r)) / e,    h random signs, e = max |r| / 1000"
LAYERED = (
    "D[t], for each layer, FFDNet of five layers and 16 channels, 8,208 numbers: convolutions on the four images that "
    "every second row and column make and on tau."
)
TIED = (
    "D one FFDNet of seven layers and 32 channels for all layers, 48,672 numbers, trained to remove white noise of "
    "0.01 to 1.6."
)
REFERENCES = ("metzler2017learned", "metzler2016from")


def variant(name: str, title: str, summary: str, equations: str, recipes: dict[str, Recipe]) -> System:
    """A system of the same family."""
    return System(
        name=name,
        title=title,
        paradigm="inductive-bias",
        summary=summary,
        equations=equations,
        references=REFERENCES,
        recipes=recipes,
    )


SYSTEM = System(
    name="imaging/ldamp",
    title="Learned D-AMP",
    paradigm="inductive-bias",
    summary="pictures from a fifth or a quarter of their measurements through a Gaussian matrix: message passing with "
    "a network for a denoiser, trained layer by layer on what its Onsager term leaves, white Gaussian noise.",
    equations=EQUATIONS.format(onsager=ONSAGER, denoiser=LAYERED),
    references=REFERENCES,
    recipes=recipe(UNTIED, layer_by_layer, partial(one, *SMALL)),
    variants=(
        variant(
            "imaging/ldamp_tied",
            "Learned D-AMP with one denoiser",
            "as Learned D-AMP, with one denoiser for all layers and noise levels, which was trained on noisy patches "
            "alone: for any matrix with independent entries, any rate and any number of layers.",
            EQUATIONS.format(onsager=ONSAGER, denoiser=TIED),
            recipe(Tying(tied=("denoiser",)), denoiser_by_denoiser, partial(one, LAYERS, CHANNELS)),
        ),
        variant(
            "imaging/ldamp_shipped",
            "Learned D-AMP with the shipped denoiser",
            "as Learned D-AMP, with the denoiser of imaging/denoise in all layers, which is trained on through eight "
            "of them; before, it is D-AMP with that denoiser, each of its layers one step.",
            EQUATIONS.format(
                onsager=ONSAGER,
                denoiser="D the two layers of imaging/denoise, a step each, 96,242 numbers, one for all.",
            ),
            recipe(
                Tying(tied=("denoiser",)),
                through(SHIPPED_STEPS, "denoiser", BATCH // 2),
                shipped,
                depth=SHIPPED_DEPTH,
            ),
        ),
        variant(
            "imaging/ldamp_selected",
            "Learned D-AMP with a denoiser for each noise level",
            "as Learned D-AMP, with nine small denoisers of which each layer takes the one for the level that it "
            "estimates.",
            EQUATIONS.format(
                onsager=ONSAGER,
                denoiser="D one of nine small FFDNets, by tau: up to 10, 20, 40, ... 300 of 255, above.",
            ),
            recipe(Tying(tied=("denoiser",)), denoiser_by_denoiser, selected),
        ),
        variant(
            "imaging/ldamp_end",
            "Learned D-AMP, end to end",
            "as Learned D-AMP, all layers trained at once; no gradient goes through the divergence.",
            EQUATIONS.format(onsager=ONSAGER, denoiser=LAYERED),
            recipe(UNTIED, end_to_end, partial(one, *SMALL)),
        ),
        variant(
            "imaging/ldit",
            "LDIT",
            "Learned D-AMP without its Onsager term: unrolled iterative thresholding with networks, whose effective "
            "noise is not white; its denoisers are told twice the level.",
            EQUATIONS.format(onsager="", denoiser=LAYERED + " It is told 2 tau."),
            recipe(UNTIED, layer_by_layer, partial(one, *SMALL), onsager=False),
        ),
    ),
)
