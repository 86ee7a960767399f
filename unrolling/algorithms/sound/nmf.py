"""Non-negative matrix factorisation by multiplicative updates: of a spectrogram, and of its activations alone."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from unrolling.core import Iteration, Positive, constrain, scale
from unrolling.core.arguments import check_count, check_numbers, check_range
from unrolling.core.execution import is_plain

FLOOR = 1e-8  # of W H where it is divided by, relative to the level of the sample's magnitudes


def beta_divergence(
    x: Float[Tensor, "batch ..."], y: Float[Tensor, "batch ..."], beta: float
) -> Float[Tensor, " batch"]:
    """D_beta(x | y), summed over all entries of a sample: (x^beta + (beta - 1) y^beta - beta x y^(beta - 1)) / (beta
    (beta - 1)), (batch,).

    Its limits are x log(x / y) - x + y for beta = 1 (Kullback-Leibler) and x / y - log(x / y) - 1 for beta = 0
    (Itakura-Saito); beta = 2 is half the squared error. Févotte and Idier 2011, doi:10.1162/NECO_a_00168.

    Args:
        x: non-negative; positive for beta <= 0.
        y: positive for beta < 2, where it is divided by.
        beta: any real number.
    """
    if is_plain() and bool((x < 0).any() | (y < 0).any()):
        raise ValueError("x and y are at least 0; a divergence of negative numbers is none")
    if beta == 1:
        # Not xlogy, whose derivative at 0 is 0/0.
        each = x * torch.log(torch.where(x == 0, 1, x / y)) - x + y
    elif beta == 0:
        each = x / y - torch.log(x / y) - 1
    else:
        # A power below one has no derivative at zero.
        power = torch.where(x == 0, 0, torch.where(x == 0, 1, x) ** beta) if 0 < beta < 1 else x**beta
        each = (power + (beta - 1) * y**beta - beta * x * y ** (beta - 1)) / (beta * (beta - 1))
    return each.flatten(1).sum(1)


def exponent(beta: float) -> float:
    """The power of the ratio that makes a multiplicative update a majorisation-minimisation step: 1/(2 - beta), 1,
    1/(beta - 1) for beta < 1, <= 2, > 2.
    """
    check_range(beta, "beta")
    return 1 / (2 - beta) if beta < 1 else 1.0 if beta <= 2 else 1 / (beta - 1)


def update_activations(
    magnitude: Float[Tensor, "batch frames bins"],
    dictionary: Float[Tensor, "... bins rank"],
    activations: Float[Tensor, "batch frames rank"],
    beta: float,
    sparsity: Tensor | float,
    floor: float = FLOOR,
) -> Float[Tensor, "batch frames rank"]:
    """H . ((W^T (M . (W H)^(beta - 2))) / (W^T (W H)^(beta - 1) + mu))^gamma: survey (24), which lowers D_beta(M | W H)
    + mu |H|_1 for W fixed.

    gamma is ``exponent(beta)``; the survey prints the case 1 <= beta <= 2, where it is one. Frames come first here, so
    that all of them are one product. Other powers than these are taken of M and W H divided by the sample's level,
    which changes nothing but that none of them leaves the precision; M is floored as W H is where beta <= 0, since
    D_beta(0 | .) is infinite there.
    """
    if beta == 1:
        model = torch.maximum(activations @ dictionary.mT, floor * level_of(magnitude))
        numerator, denominator = (magnitude / model) @ dictionary, dictionary.sum(-2).unsqueeze(-2)
    else:
        level = level_of(magnitude)
        magnitude, model = magnitude / level, _floored((activations / level) @ dictionary.mT, beta, floor)
        if beta <= 0:
            magnitude = _floored(magnitude, beta, floor)
        if beta == 2:
            numerator, denominator = magnitude @ dictionary, model @ dictionary
        else:
            numerator, denominator = (magnitude * model ** (beta - 2)) @ dictionary, model ** (beta - 1) @ dictionary
        sparsity = scaled_sparsity(sparsity, level, beta)
    # A frame of zeros has the ratio zero, where a power below one has no derivative.
    ratio = scale.divide(numerator, denominator + sparsity)
    gamma = exponent(beta)
    if gamma == 1:
        return activations * ratio
    zero = ratio == 0
    return activations * torch.where(zero, 0, torch.where(zero, 1, ratio) ** gamma)


def update_dictionary(
    magnitude: Float[Tensor, "batch frames bins"],
    dictionary: Float[Tensor, "batch bins rank"],
    activations: Float[Tensor, "batch frames rank"],
    beta: float,
    floor: float = FLOOR,
) -> Float[Tensor, "batch bins rank"]:
    """W . (([M . (W H)^(beta - 2)] H^T) / ((W H)^(beta - 1) H^T))^gamma: survey (25), whose print lacks the transposes;
    (24) of M^T = H^T W^T, mu = 0.
    """
    return update_activations(magnitude.mT, activations, dictionary, beta, 0.0, floor)


class PositiveUnitNorm(nn.Module):
    """w = v |w0| / |v|, v = w0 exp(rho): non-negative columns of unit norm, survey (26) inside the graph; w = w0 to the
    bit at rho = 0. A zero stays zero.
    """

    initial: Tensor
    norm: Tensor

    def forward(self, rho: Tensor) -> Tensor:
        value = self.initial * torch.exp(rho)
        return value * (self.norm / torch.linalg.vector_norm(value, dim=0, keepdim=True))

    def project(self, value: Tensor) -> Tensor:
        """max(v, 0) / |max(v, 0)|; of a column without positive entries, the one with equal entries."""
        kept = value.clamp_min(0)
        return scale.divide(kept, scale.norm(kept, 0, keepdim=True), value.shape[0] ** -0.5)

    def right_inverse(self, value: Tensor) -> Tensor:
        norm = torch.linalg.vector_norm(value.detach(), dim=0, keepdim=True)
        if not bool((value >= 0).all()) or not bool(torch.isclose(norm, torch.ones_like(norm), atol=1e-4).all()):
            raise ValueError(
                f"a dictionary has non-negative columns of unit norm; the smallest entry is {float(value.min()):.4g}, "
                f"the norms go from {float(norm.min()):.4g} to {float(norm.max()):.4g}"
            )
        self.register_buffer("initial", value.detach().clone())
        self.register_buffer("norm", norm)
        return torch.zeros_like(value)


class NMFState(NamedTuple):
    """The state of ``NMF``."""

    dictionary: Tensor  # (batch, bins, rank): W >= 0
    activations: Tensor  # (batch, frames, rank): the transpose of H >= 0


class NMF(Iteration):
    """H by (24), W by (25), columns of W to unit norm with H scaled accordingly (26): min over W, H >= 0 of D_beta(M |
    W H) + mu |H|_1, survey (21)-(26).

    Each sample has a dictionary of its own. Lee and Seung 1999 (doi:10.1038/44565); sparse: Eggert and Körner 2004
    (doi:10.1109/IJCNN.2004.1381036). Without mu the objective never rises. With it, (26) changes |H|_1 and may raise
    it; (24) alone never does.

    Parameters: ``sparsity`` mu where it is positive; a mu of zero stays. Estimate: W H, (batch, bins, frames).

    Args:
        rank: columns of W.
        bins: rows of W.
        beta: of the divergence.
        sparsity: mu.
        normalise: whether (26) is done; without it the steps are those of scikit-learn's ``NMF(solver="mu")`` for M^T.
        seed: of the initial dictionary, uniform in (0, 1]; activations are equal at first, so that W H has the sum of
            M.

    Raises:
        ValueError: a rank below one, a negative weight; at the first step, a negative magnitude.
    """

    initial: Tensor
    sparsity: Tensor

    def __init__(
        self, bins: int, rank: int, *, beta: float = 1.0, sparsity: float = 0.0, normalise: bool = True, seed: int = 0
    ) -> None:
        super().__init__()
        if bins < 1 or rank < 1:
            raise ValueError(f"a factorisation has at least one bin and one column; got bins {bins}, rank {rank}")
        self.beta, self.normalise = float(beta), normalise
        initial = 1 - torch.rand(bins, rank, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        self.register_buffer(
            "initial", (initial / torch.linalg.vector_norm(initial, dim=0)).to(torch.get_default_dtype())
        )
        set_sparsity(self, sparsity, self.initial)

    def prepare(self, data: Float[Tensor, "batch bins frames"]) -> Float[Tensor, "batch frames bins"]:
        """The magnitudes, frames first, once they are known to be non-negative."""
        return check_nonnegative(data).mT.contiguous()

    def start(self, problem: Float[Tensor, "batch frames bins"]) -> NMFState:
        """The random dictionary, equal activations."""
        level = problem.flatten(1).mean(1) * problem.shape[2] / self.initial.sum()
        ones = problem.new_ones(problem.shape[0], problem.shape[1], self.initial.shape[1])
        return NMFState(self.initial.expand(problem.shape[0], -1, -1).clone(), level.reshape(-1, 1, 1) * ones)

    def forward(self, state: NMFState, problem: Float[Tensor, "batch frames bins"]) -> NMFState:
        activations = update_activations(problem, state.dictionary, state.activations, self.beta, self.sparsity)
        dictionary = update_dictionary(problem, state.dictionary, activations, self.beta)
        if not self.normalise:
            return NMFState(dictionary, activations)
        norms = scale.norm(dictionary, 1, keepdim=True)
        return NMFState(scale.divide(dictionary, norms), activations * norms)

    def estimate(self, state: NMFState, problem: Tensor) -> Float[Tensor, "batch bins frames"]:
        """W H."""
        return state.dictionary @ state.activations.mT

    def objective(self, state: NMFState, problem: Float[Tensor, "batch frames bins"]) -> Float[Tensor, " batch"]:
        """D_beta(M | W H) + mu |H|_1, (batch,)."""
        found = divergence_of(problem, state.dictionary, state.activations, self.beta)
        return found + self.sparsity * state.activations.flatten(1).sum(1)

    def check(self, data: Tensor) -> None:
        super().check(data)
        _check_spectrogram(data, self.initial.shape[0])


class NMFActivations(Iteration):
    """H <- H . ((W^T (M . (W H)^(beta - 2))) / (W^T (W H)^(beta - 1) + mu))^gamma, W fixed: survey (24), the step that
    Deep NMF unrolls.

    Minimises D_beta(M | W H) + mu |H|_1 over H >= 0 and never raises it, for any beta and mu >= 0 (Févotte and Idier
    2011, doi:10.1162/NECO_a_00168).

    Parameters: ``dictionary`` W (bins, rank), non-negative with unit columns whatever an optimizer does; ``sparsity``
    mu where it is positive.

    Args:
        dictionary: W >= 0; its columns are brought to unit norm. A zero in it stays zero for ever.
        beta: of the divergence.
        sparsity: mu.
        constrained: whether the constraints are built into the parametrisation; without, an optimizer must keep them
            (``training.multiplicative``).

    Raises:
        ValueError: a negative entry or a zero column of W, a negative weight; at the first step, a negative magnitude.
    """

    sparsity: Tensor

    def __init__(
        self,
        dictionary: Float[Tensor, "bins rank"],
        *,
        beta: float = 1.0,
        sparsity: float = 0.0,
        constrained: bool = True,
    ) -> None:
        super().__init__()
        check_range(beta, "beta")
        self.beta = float(beta)
        self.dictionary = nn.Parameter(unit_columns(dictionary))
        set_sparsity(self, sparsity, self.dictionary)
        if constrained:
            constrain(self, "dictionary", PositiveUnitNorm())

    def prepare(self, data: Float[Tensor, "batch bins frames"]) -> Float[Tensor, "batch frames bins"]:
        """The magnitudes, frames first, once they are known to be non-negative."""
        return check_nonnegative(data).mT.contiguous()

    def start(self, problem: Float[Tensor, "batch frames bins"]) -> Float[Tensor, "batch frames rank"]:
        """Equal activations in every frame, such that W H has its sum."""
        return equal_activations(problem, self.dictionary)

    def forward(
        self, state: Float[Tensor, "batch frames rank"], problem: Float[Tensor, "batch frames bins"]
    ) -> Float[Tensor, "batch frames rank"]:
        return update_activations(problem, self.dictionary, state, self.beta, self.sparsity)

    def estimate(
        self, state: Float[Tensor, "batch frames rank"], problem: Tensor
    ) -> Float[Tensor, "batch rank frames"]:
        """H."""
        return state.mT

    def objective(
        self, state: Float[Tensor, "batch frames rank"], problem: Float[Tensor, "batch frames bins"]
    ) -> Float[Tensor, " batch"]:
        """D_beta(M | W H) + mu |H|_1, (batch,)."""
        found = divergence_of(problem, self.dictionary, state, self.beta)
        return found + self.sparsity * state.flatten(1).sum(1)

    def check(self, data: Tensor) -> None:
        super().check(data)
        _check_spectrogram(data, self.dictionary.shape[0])


def learn_dictionary(
    magnitude: Float[Tensor, "bins frames"],
    rank: int,
    *,
    beta: float = 1.0,
    sparsity: float = 0.0,
    iterations: int = 100,
    seed: int = 0,
) -> Float[Tensor, "bins rank"]:
    """W of ``NMF`` after so many iterations, unit columns: the dictionary of a kind of sounds from examples (survey
    (23)-(26)).
    """
    check_count(iterations, "iterations")
    nmf = NMF(magnitude.shape[0], rank, beta=beta, sparsity=sparsity, seed=seed).to(magnitude.dtype)
    data = magnitude.unsqueeze(0)
    nmf.check(data)
    with torch.no_grad():
        problem = nmf.prepare(data)
        state = nmf.start(problem)
        for _ in range(iterations):
            state = nmf(state, problem)
    return state.dictionary[0].contiguous()


def equal_activations(
    magnitude: Float[Tensor, "batch frames bins"], dictionary: Float[Tensor, "bins rank"]
) -> Float[Tensor, "batch frames rank"]:
    """In every frame the number h with sum_f (W h)_f = sum_f M_f, the same for all columns."""
    level = magnitude.sum(2, keepdim=True) / dictionary.sum() + FLOOR * level_of(magnitude)
    return level.expand(-1, -1, dictionary.shape[1]).contiguous()


def unit_columns(dictionary: Float[Tensor, "bins rank"]) -> Float[Tensor, "bins rank"]:
    """The columns divided by their Euclidean norms.

    Raises:
        ValueError: not a matrix of non-negative numbers, or a column of zeros.
    """
    dictionary = dictionary.detach()
    if dictionary.ndim != 2 or not bool(torch.isfinite(dictionary).all()) or not bool((dictionary >= 0).all()):
        raise ValueError(
            "a dictionary is a matrix (bins, rank) of finite numbers that are at least 0; got shape "
            f"{tuple(dictionary.shape)}"
        )
    norms = scale.norm(dictionary, 0)
    if not bool((norms > 0).all()):
        raise ValueError(f"column {int((norms == 0).nonzero()[0])} of the dictionary is zero; leave it out")
    return dictionary / norms


def check_nonnegative(magnitude: Tensor) -> Tensor:
    """Refuses a negative entry, which no product of non-negative factors comes near; compiled code does not look.

    Raises:
        ValueError: the first of them.
    """
    if not torch.compiler.is_compiling() and bool((magnitude < 0).any()):
        where = tuple(int(i) for i in (magnitude < 0).nonzero()[0])
        raise ValueError(
            f"magnitudes are at least 0; the one at {where} is {float(magnitude[where]):.4g}: take the "
            "absolute value of the spectrum"
        )
    return magnitude


def level_of(magnitude: Float[Tensor, "batch rows columns"]) -> Float[Tensor, "batch 1 1"]:
    """The power of two at or below the largest magnitude of each sample, none of them negative; one in silence."""
    return scale.power_of_two(magnitude.detach().amax((-2, -1), keepdim=True))


def divergence_of(
    magnitude: Float[Tensor, "batch frames bins"], dictionary: Tensor, activations: Tensor, beta: float
) -> Float[Tensor, " batch"]:
    """D_beta(M | W H), (batch,), both kept from zero where that would make it infinite."""
    level = level_of(magnitude)
    model = _floored(activations @ dictionary.mT / level, beta, FLOOR)
    magnitude = magnitude / level
    found = beta_divergence(_floored(magnitude, beta, FLOOR) if beta <= 0 else magnitude, model, beta)
    return found * level.flatten() ** beta


def _floored(product: Tensor, beta: float, floor: float) -> Tensor:
    """Kept from zero where a power of it, or of its derivative, would be infinite; at a distance such that the power
    beta - 3 is a number still.
    """
    if beta == 2 or beta >= 3:
        return product
    return product.clamp_min(max(floor, (8 * torch.finfo(product.dtype).tiny ** 0.75) ** (1 / (3 - beta))))


def scaled_sparsity(sparsity: Tensor | float, level: Tensor, beta: float) -> Tensor | float:
    """mu L^(1 - beta); zero for a mu of zero, whatever the power."""
    if beta == 1:
        return sparsity
    sparsity = torch.as_tensor(sparsity, dtype=level.dtype, device=level.device)
    return torch.where(sparsity == 0, 0, sparsity * level ** (1 - beta))


def set_sparsity(iteration: nn.Module, sparsity: float, like: Tensor) -> None:
    """mu as a positive parameter; a mu of zero, which would stay zero, is fixed."""
    if not sparsity >= 0:
        raise ValueError(f"sparsity must be at least 0; got {sparsity}")
    value = torch.tensor(float(sparsity), dtype=like.dtype)
    if sparsity == 0:
        iteration.register_buffer("sparsity", value)
    else:
        iteration.register_parameter("sparsity", nn.Parameter(value))
        constrain(iteration, "sparsity", Positive())


def _check_spectrogram(data: Tensor, bins: int) -> None:
    check_numbers(data, "data", "non-negative matrix factorisation", real=True)
    if data.is_complex() or data.ndim != 3 or data.shape[1] != bins:
        raise ValueError(f"data are magnitudes of shape (batch, {bins}, frames); got {tuple(data.shape)}, {data.dtype}")
