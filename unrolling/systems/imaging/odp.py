"""Unrolled optimisation with deep priors (Diamond, Sitzmann, Heide and Wetzstein 2017; survey, reference [89])."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor, nn

from unrolling.algorithms.splitting.data_terms import DataTerm, KnownBlur, LeastSquares, SampledFourier
from unrolling.algorithms.splitting.denoised_least_squares import DenoisedLeastSquares
from unrolling.algorithms.splitting.half_quadratic import HalfQuadraticSplitting
from unrolling.networks.dncnn import DnCNN
from unrolling.networks.residual_cnn import ResidualCNN
from unrolling.operators import FiniteDifferences, Identity
from unrolling.prox.isotropic import IsotropicShrink
from unrolling.systems.base import Recipe, System, Tying
from unrolling.systems.conditions import Range
from unrolling.systems.imaging._denoising import denoising
from unrolling.systems.imaging._plug_and_play import seeded
from unrolling.systems.medical._files import RANGE, application
from unrolling.tasks.baselines import Baseline, Generic, Iterative
from unrolling.tasks.images.denoising import Denoising
from unrolling.tasks.images.known_deblurring import KnownDeblurring
from unrolling.tasks.medical.mri import MRI
from unrolling.training.stages import Cosine, Schedule, Stage

DEPTH, LAYERS, CHANNELS = 3, 5, 24
ERROR, DECAY = 0.05, 1.5  # of a network's image, for images in [0, 1]; by how much alpha falls from step to step
FIDELITY = 20.0  # alpha where the data have no noise
STEPS, BATCH = 6000, 4


def prior() -> DnCNN:
    """x - R(x), R = 0 at the start."""
    network: Any = seeded(DnCNN, LAYERS, CHANNELS, normalise=False)
    for parameter in network.residual[-1].parameters():
        nn.init.zeros_(parameter)
    return network


def parent(term: DataTerm, network: nn.Module, noise: float) -> DenoisedLeastSquares:
    """Iterated Tikhonov regularisation, alpha = (error / noise)^2."""
    weight = (noise / ERROR) ** 2 if noise else 1 / FIDELITY
    return DenoisedLeastSquares(term, network, weight, start="regularised", real=isinstance(network, DnCNN))


def noisy(task: Denoising) -> DenoisedLeastSquares:
    """A = I."""
    return parent(LeastSquares(Identity()), prior(), task.sigma / 255)


def blurred(task: KnownDeblurring) -> DenoisedLeastSquares:
    """A the convolution with a kernel of its own for each picture."""
    return parent(KnownBlur(), prior(), task.noise)


def sampled(task: MRI) -> DenoisedLeastSquares:
    """A a unitary Fourier transform under a mask; the networks take complex images too."""
    return parent(SampledFourier(real=task.real), seeded(ResidualCNN, LAYERS, CHANNELS), task.noise)


def schedule(batch: int = BATCH, **options: Any) -> Callable[[int], Schedule]:
    """A tenth of the steps for each depth while the network grows, every new network starting as a copy of the last
    one, with less of the data; then all together.
    """

    def made(depth: int) -> Schedule:
        common: dict[str, Any] = {"batch": batch, "clip": 1.0, "rates": {"weight": 1e-2}, **options}
        each = STEPS // 10
        grown = [
            Stage(each, rate=2e-3, depth=k + 1, inherit={"weight": DECAY} if k else None, **common)
            for k in range(depth - 1)
        ]
        last = STEPS - each * len(grown)
        inherited = {"weight": DECAY} if depth > 1 else None
        return [*grown, Stage(last, rate=2e-3, inherit=inherited, annealing=Cosine(0.03, 0.01), **common)]

    return made


class WithoutData(nn.Module):
    """The same networks one after the other, from the same start, without the steps on the data in between."""

    def __init__(self, step: DenoisedLeastSquares, networks: Sequence[nn.Module]) -> None:
        super().__init__()
        self.step = step.requires_grad_(False)
        self.networks = nn.Sequential(*networks)

    def forward(self, data: Any) -> Tensor:
        """The estimate."""
        self.step.check(data)
        return self.networks(self.step.start(self.step.prepare(data)))


def tikhonov(
    task: Any, make: Callable[[Any], DenoisedLeastSquares], weight: float | None = None
) -> DenoisedLeastSquares:
    """The same without a network, what it is before training."""
    found = make(task)
    own = found.weight.item() if weight is None else weight
    return DenoisedLeastSquares(found.data_term, None, own, start="regularised")


def without_data(task: Any, make: Callable[[Any], DenoisedLeastSquares], depth: int = DEPTH) -> WithoutData:
    """As untrained as the network itself."""
    networks: list[Any] = [make(task).denoiser for _ in range(depth)]
    return WithoutData(tikhonov(task, make), networks)


def rivals(make: Callable[[Any], DenoisedLeastSquares]) -> Callable[[System, Any], Sequence[Baseline]]:
    """The parent, the networks without the data step; for deblurring total variation by the same splitting."""

    def found(system: System, task: Any) -> Sequence[Baseline]:
        usual = tikhonov(task, make).weight.item()
        weights = tuple(round(factor * usual, 6) for factor in (0.25, 1.0, 4.0, 16.0))
        own: list[Baseline] = [
            Iterative("Tikhonov, iterated", lambda w: tikhonov(task, make, w), weights, DEPTH),
            Generic(f"the {DEPTH} networks without data steps", lambda: without_data(task, make)),
        ]
        return [half_quadratic(task), *own] if isinstance(task, KnownDeblurring) else own

    return found


def half_quadratic(task: KnownDeblurring) -> Iterative:
    """Total variation, half-quadratic splitting, which is the parent with another prox."""

    def variation(weight: float) -> HalfQuadraticSplitting:
        return HalfQuadraticSplitting(
            KnownBlur(), FiniteDifferences("circular"), IsotropicShrink(), weight, penalty=10 * weight, largest=2.0**10
        )

    weights = tuple(round(factor * task.noise, 6) for factor in (0.03, 0.06, 0.12, 0.25))
    return Iterative("total variation, half-quadratic", variation, weights, 40)


def recipe(make: Callable[[Any], DenoisedLeastSquares], **changes: Any) -> Recipe:
    """Everything is learned in every layer."""
    return Recipe(
        parent=make, tying=Tying(untied=("weight", "denoiser")), depth=DEPTH, **{"schedule": schedule(), **changes}
    )


SYSTEM = System(
    name="imaging/odp",
    title="Unrolled optimisation with deep priors",
    paradigm="inductive-bias",
    summary="a network in turn with a closed-form step on the data, three times: denoising, deblurring with a known "
    "kernel, magnetic resonance images from part of their k-space.",
    equations=(
        "z = D_k(x),    x <- argmin alpha_k |A x - y|^2 + |x - z|^2,    x at the start that of z = y, or A^H y\n"
        "A = I: x = (alpha y + z) / (alpha + 1);    A = k *: F x = (alpha conj(F k) F y + F z) / (alpha |F k|^2 + 1);  "
        "  A = m . F: F x = (alpha m y + F z) / (alpha m + 1)\n"
        "D_k(x) = x - R_k(x), R_k five convolutions of 3 x 3 and 24 channels; R_k = 0 and alpha = (0.05 / sigma)^2 "
        "at the start, divided by 1.5 with every step that training adds; R_k and alpha_k of each of three steps, "
        "48,246 numbers (49,545 for magnetic resonance, real and imaginary part as two channels)."
    ),
    references=("diamond2017unrolled", "venkatakrishnan2013plug", "geman1995nonlinear"),
    recipes={
        "known_deblurring": recipe(blurred, options={"size": 25}),
        "denoising": recipe(noisy, range=lambda task: {"noise": Range(task.sigma / 2, 2 * task.sigma)}),
        "mri": recipe(
            sampled,
            options={"mask": "any", "rate": 0.5, "varied": 1, "size": 256},
            range=RANGE,
            schedule=schedule(1, draw={"part": 0.5}),
        ),
    },
    baselines={"known_deblurring": rivals(blurred), "denoising": rivals(noisy), "mri": rivals(sampled)},
    apply={"denoising": denoising(), "mri": application()},
)
