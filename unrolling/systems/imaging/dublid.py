"""DUBLID: blind deblurring by half-quadratic splitting with learned filters (Li et al. 2020; survey, box "DUBLID"), in
the form its authors released, and as the survey writes it: (10) and (11), with filters of their own in every layer and
a ridge in the kernel's step.
"""

from __future__ import annotations

from unrolling.algorithms.images.blind_deblurring import BlindDeblurring
from unrolling.algorithms.images.dublid import DUBLID
from unrolling.algorithms.images.dublid_levels import DUBLIDLevels
from unrolling.operators.filters import zero_mean_atoms
from unrolling.systems.base import Recipe, System, Tying
from unrolling.systems.conditions import Range
from unrolling.systems.imaging._blind import application
from unrolling.systems.imaging._camera import camera_application
from unrolling.tasks.images.camera_blur import CameraBlur
from unrolling.tasks.images.deblurring import Deblurring
from unrolling.training.stages import Cosine, Schedule, Stage

ONCE = ("cascade", "initial_threshold", "final_threshold", "retrieval")
EACH = ("threshold", "coupling", "kernel_step", "kernel_threshold")
LEVELS_ONCE = ("initial_slope", "final_slope", "retrieval_slope", "keeping")
LEVELS_EACH = ("threshold_slope", "coupling_slope", "kernel_step_slope", "kernel_threshold_slope")
DEPTH = 10
RANGE = {"noise": Range(2, 3.3)}  # of 255, about the 1 % of the task
SIZE = 7  # of the filters in the survey's form
NO_ONNX = (
    "ONNX Runtime transforms sizes that are no powers of two with fewer digits than torch, and deconvolution magnifies "
    "what is lost: the estimates differ by up to 2e-4 of the largest value"
)
NOT_EXPORTED = {"deblurring": {"onnx": NO_ONNX}}


def parent(task: Deblurring, *, channels: int = 16, layers: int = DEPTH) -> DUBLID:
    """Half-quadratic splitting with the patterns of the cosine transform as filters, ever more blurred ones in the
    earlier steps.
    """
    return DUBLID(channels, layers, colours=3 if task.colour else 1, start="derivatives")


def camera_parent(task: CameraBlur) -> DUBLIDLevels:
    """The same, told the noise, and keeping a picture whose kernel is no blur."""
    return DUBLIDLevels(16, DEPTH, start="derivatives")


def survey_parent(task: Deblurring) -> BlindDeblurring:
    """Half-quadratic splitting with the sixteen lowest zero-mean patterns of the cosine transform."""
    atoms = zero_mean_atoms(SIZE).reshape(-1, SIZE, SIZE)
    frequency = sorted(range(len(atoms)), key=lambda i: ((i + 1) // SIZE) ** 2 + ((i + 1) % SIZE) ** 2)
    filters = atoms[frequency[:16]].unsqueeze(1)
    return BlindDeblurring(filters.repeat(1, 3, 1, 1) / 3 if task.colour else filters, weight=0.003, retrieval=0.05)


def trained(steps: int, rate: float, rates: dict[str, float]) -> Schedule:
    """All layers at once, on the image and the kernel."""
    return [Stage(steps, rate=rate, rates=rates, batch=2, annealing=Cosine(0.02, 1e-2), clip=1.0)]


def camera_schedule(steps: int) -> Schedule:
    """All layers at once, a crop at a time: every one is another blur at another level, and many small steps average
    them better than few of many crops in the same time.
    """
    rates: dict[str, float] = dict.fromkeys((*ONCE[1:], *EACH, *LEVELS_ONCE, *LEVELS_EACH), 1e-2)
    return [Stage(steps, rate=1e-3, rates=rates, batch=1, annealing=Cosine(0.02, 1e-2), clip=1.0)]


SYSTEM = System(
    name="imaging/dublid",
    title="DUBLID",
    paradigm="objective",
    summary="photographs sharp again after an unknown motion of the camera, and the motion: ten layers of "
    "half-quadratic splitting with learned filters.",
    equations=(
        "g_i = F^-1[(zeta_i conj(k) f_i y + z_i) / (zeta_i |k|^2 + 1)],    z_i <- S_b[l](g_i),    y_i = f_i[l] * y, l "
        "= 0 ... L-1 (products in frequency)\nk' = F^-1[(tau sum_i conj(z_i) y_i + k) / (tau sum_i |z_i|^2 + 1)],    "
        "k <- [k' - 0.01 a max k']_+ / sum\nx = argmin 0.5 |y - k * x|^2 + sum_i (eta_i / 2) |f_i[L] * x - g_i|^2\n"
        "f[l]: L - l filters of 3 x 3 in a row, shared by the layers; at the start the cosine patterns, blurred. "
        "Zeta, b, tau, a in each layer."
    ),
    references=("li2020efficient",),
    recipes={
        "deblurring": Recipe(
            parent=parent,
            tying=Tying(tied=ONCE, untied=EACH),
            depth=DEPTH,
            schedule=lambda depth: trained(4000, 2e-3, dict.fromkeys((*ONCE[1:], *EACH), 2e-2)),
            range=RANGE,
        ),
        "camera_blur": Recipe(
            parent=camera_parent,
            tying=Tying(tied=(*ONCE, *LEVELS_ONCE), untied=(*EACH, *LEVELS_EACH)),
            depth=DEPTH,
            schedule=lambda depth: camera_schedule(6000),
            range=lambda task: {"noise": Range(0, 255 * task.most)},
        ),
    },
    apply={"deblurring": application(), "camera_blur": camera_application()},
    applied_first="camera_blur",
    not_exported=NOT_EXPORTED | {"camera_blur": {"onnx": NO_ONNX}},
    variants=(
        System(
            name="imaging/dublid_survey",
            title="DUBLID, the survey's equations",
            paradigm="objective",
            summary="as imaging/dublid, but exactly (10) and (11) of the survey: filters of each layer's own, a ridge "
            "in the kernel's step.",
            equations=(
                "g_i = F^-1[(zeta_i conj(k) f_i y + z_i) / (zeta_i |k|^2 + 1)],    z_i <- S_{lambda_i zeta_i}(g_i)   "
                "(products in frequency)\n"
                "k <- N_1 [F^-1(sum_i conj(z_i) f_i y / (sum_i |z_i|^2 + eps))]_+,    x = argmin 0.5 |y - k * x|^2 + "
                "sum_i (eta_i / 2) |f_i[L] * x - g_i|^2\n"
                "f, lambda, zeta in each layer; at the start the sixteen lowest zero-mean patterns of the 7 x 7 cosine "
                "transform."
            ),
            references=("li2020efficient",),
            recipes={
                "deblurring": Recipe(
                    parent=survey_parent,
                    tying=Tying(tied=("retrieval",), untied=("filters", "weight", "coupling")),
                    depth=DEPTH,
                    schedule=lambda depth: trained(2000, 1e-3, {"weight": 1e-2, "coupling": 1e-2, "retrieval": 1e-2}),
                    range=RANGE,
                )
            },
            apply={"deblurring": application()},
            not_exported=NOT_EXPORTED,
        ),
    ),
)
