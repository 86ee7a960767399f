"""Iterative hard thresholding with free matrices, in its two forms: so many entries stay, or those above a
threshold.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from unrolling.algorithms.sparse.dictionary import check_dictionary, check_step_size, check_width, step_advice
from unrolling.algorithms.sparse.ista import GramISTA
from unrolling.core import Iteration, tree
from unrolling.operators.linear import RowMatrix
from unrolling.prox import k_sparse
from unrolling.prox.hard import surrogate_hard_threshold


class GramIHT(Iteration):
    """x <- H_k(W_e y + W_t x), W_e = mu A^H, W_t = I - mu A^H A, H_k keeping the k largest magnitudes: the layer of
    survey (32).

    Xin, Wang, Gao, Wipf and Wang 2016, arXiv:1605.01636. At these values it is ``IHT`` in another form. What k entries
    pass carries no gradient. With k = n the map is affine. (For dictionaries with unit columns mu = 1, which the
    paper's code begins with, diverges unless |A|^2 < 2.)

    Parameters: ``encoder`` W_e (n, m), ``inhibition`` W_t (n, n).

    Args:
        dictionary: A (m, n).
        sparsity: k, the number of non-zeros.
        step_size: mu; by default 1/L with L = |A|^2.

    Raises:
        ValueError: a zero column, k outside 1..n, a step size that is not positive.
    """

    algorithm = "IHT"
    unused_at_start = ("inhibition",)  # x = 0

    dictionary: Tensor

    def __init__(self, dictionary: Float[Tensor, "m n"], sparsity: int, *, step_size: float | None = None) -> None:
        super().__init__()
        self.register_buffer("dictionary", check_dictionary(dictionary.detach()))
        n = dictionary.shape[1]
        if not 1 <= sparsity <= n:
            raise ValueError(f"sparsity must be between 1 and the number of atoms, {n}; got {sparsity}")
        self.sparsity = sparsity
        self.step_size = check_step_size(step_size, dictionary)
        self.encoder = self.prepare = RowMatrix(nn.Parameter((self.step_size * self.dictionary.mH).contiguous()))
        self.inhibition = nn.Parameter(
            torch.eye(n, dtype=dictionary.dtype, device=dictionary.device)
            - self.encoder.matrix.detach() @ self.dictionary
        )

    def start(self, problem: Float[Tensor, "batch ... n"]) -> Float[Tensor, "batch ... n"]:
        """x = 0."""
        return torch.zeros_like(problem)

    def forward(
        self, state: Float[Tensor, "batch ... n"], problem: Float[Tensor, "batch ... n"]
    ) -> Float[Tensor, "batch ... n"]:
        """One step."""
        return k_sparse(problem + state @ self.inhibition.T, self.sparsity)

    def check(self, data: Tensor) -> None:
        super().check(data)
        check_width(data, self.dictionary)

    def advice(self) -> str:
        return step_advice(self.step_size, self.dictionary)


class GramHardISTA(GramISTA):
    """x <- H_theta(W_e y + W_t x), entries of magnitude above theta staying as they are: the layer of the public LIHT
    code, where (32) has H_k.

    At W_e = mu A^H, W_t = I - mu A^H A it is proximal gradient descent on 0.5 |y - A x|^2 + lambda |x|_0 with theta =
    sqrt(2 lambda mu); Blumensath and Davies 2008, doi:10.1007/s00041-008-9035-z. H_theta passes no gradient to theta;
    ``surrogate_hard_threshold`` gives it one.

    Parameters: as ``GramISTA``.

    Args:
        dictionary: A (m, n), real.
        threshold: theta >= 0, a number or (n,), in units of x.
        step_size: mu; by default 1/L with L = |A|^2.
        surrogate_width: of the ramp whose gradient is taken, relative to theta, in (0, 2];
            ``Stage(settings={"surrogate_width": Ramp(1.0, 0.2)})`` narrows it.

    Raises:
        TypeError: a complex dictionary.
        ValueError: as ``GramISTA``; a width outside (0, 2].
    """

    algorithm = "IHT"

    def __init__(
        self,
        dictionary: Float[Tensor, "m n"],
        threshold: float | Tensor,
        *,
        step_size: float | None = None,
        surrogate_width: float = 1.0,
    ) -> None:
        if dictionary.is_complex():
            raise TypeError("GramHardISTA is for real dictionaries")
        if not 0 < surrogate_width <= 2:
            raise ValueError(f"surrogate_width must lie in (0, 2]; got {surrogate_width}")
        step = check_step_size(step_size, dictionary)
        super().__init__(dictionary, torch.as_tensor(threshold, dtype=torch.float64) / step, step_size=step)
        self.surrogate_width = surrogate_width

    def forward(
        self, state: Float[Tensor, "batch ... n"], problem: Float[Tensor, "batch ... n"], scale: float = 1.0
    ) -> Float[Tensor, "batch ... n"]:
        """One step; ``scale`` multiplies the threshold."""
        return surrogate_hard_threshold(self.mix(state, problem), self._scaled_threshold(scale), self.surrogate_width)

    def _penalty(self, state: Tensor) -> Tensor:
        """sum_i lambda_i [x_i != 0], lambda = theta^2 / (2 mu)."""
        return tree.rows(self.threshold.square() / (2 * self.step_size) * (state != 0)).sum(1)
