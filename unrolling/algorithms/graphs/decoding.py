"""Belief propagation for decoding linear block codes, plain and weighted."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from unrolling.algorithms.graphs.binary_matrices import syndrome
from unrolling.algorithms.graphs.parity_checks import ParityChecks
from unrolling.core import Iteration
from unrolling.core.arguments import check_numbers, check_precision, check_range


class ParityBeliefPropagation(Iteration):
    """Sum-product decoding of a word from the log-likelihood ratios l_v = log p(y_v | 0) / p(y_v | 1) of its bits.

    Bits to checks:   x_vc = b_v l_v + sum over the other checks c' of v of m_c'v
    checks to bits:   tanh(m_cv / 2) = product over the other bits v' of c of tanh(x_v'c / 2)
    m_cv <- (1 - d) w_cv m_cv + d m_cv of the iteration before;   answer l_v + sum over all checks c of v of m_cv

    with w = b = 1 and d = 0, belief propagation on the graph of the parity-check matrix H (Gallager 1962,
    doi:10.1109/TIT.1962.1057683; Tanner 1981, doi:10.1109/TIT.1981.1056404), all messages at once. Unrolled with
    ``scale`` untied it is weighted belief propagation (Nachmani, Be'ery and Burshtein 2016, arXiv:1607.04793; Nachmani,
    Marciano, Lugosch, Gross, Burshtein and Be'ery 2018, doi:10.1109/JSTSP.2017.2788405): one w for each edge, or one
    for all (Lian, Carpi, Haeger and Pfister 2019, arXiv:1901.08621). In the paper of 2016 a bit weights what it hears
    from c' anew for each c that it tells; here once, as in that of 2018.

    The products are sums of phi(x) = -log tanh(|x| / 2), which is its own inverse, over the other bits alone (nothing
    is subtracted), so that magnitudes from 1e-15 to 34 (single precision), 1e-150 to 340 (double), come through with
    full precision and finite gradients; what lies beyond is taken for these ends. Flipping the signs of the l_v where a
    word of the code is one flips the answer there and changes no magnitude, to the bit: error rates do not depend on
    the word.

    Data: l (batch, n) real; estimates alike, 0 likelier than 1 where they are positive. State: m (batch, edges).

    Parameters: ``scale`` w, () or (edges,); ``channel_weight`` b, () or (n,); ``damping`` d, not constrained, as a zero
    that is would never move.

    Args:
        matrix: H (m, n) of zeros and ones; rows may depend on each other.
        scale: w at the start, positive.
        damping: d at the start, in [0, 1).
        per_edge: one w for each edge and one b for each bit.

    Raises:
        ValueError: a matrix that holds something else, or nothing; a scale or damping out of range.
    """

    scale: Tensor
    channel_weight: Tensor
    damping: Tensor

    def __init__(self, matrix: Tensor, *, scale: float = 1.0, damping: float = 0.0, per_edge: bool = False) -> None:
        super().__init__()
        check_range(scale, "scale", 1e-6, 1e6)
        check_range(damping, "damping", 0.0, 1.0)
        self.graph = ParityChecks(matrix)
        self.scale = nn.Parameter(torch.full((self.graph.edges,) if per_edge else (), float(scale)))
        self.channel_weight = nn.Parameter(torch.ones((self.graph.length,) if per_edge else ()))
        self.damping = nn.Parameter(torch.tensor(float(damping)))

    def check(self, data: Tensor) -> None:
        """Refuses ratios of another number of bits."""
        super().check(data)
        check_numbers(data, "data", type(self).__name__, real=True)
        check_precision(data, "data", self.scale.dtype, type(self).__name__)
        if data.ndim != 2 or data.shape[1] != self.graph.length:
            raise ValueError(
                f"log-likelihood ratios have the shape (batch, {self.graph.length}), a row for each word; got "
                f"{tuple(data.shape)}"
            )

    def start(self, problem: Float[Tensor, "batch n"]) -> Tensor:
        """No check has said anything."""
        return problem.new_zeros(problem.shape[0], self.graph.edges)

    def forward(self, state: Tensor, problem: Tensor) -> Tensor:
        heard = self.graph.gather_at_bits(state).sum(2)
        said = (self.channel_weight * problem + heard).index_select(1, self.graph.bits) - state
        signs, magnitudes = self._checked(said)
        combined = self.graph.scatter_from_checks(signs * magnitudes)
        return torch.lerp(self.scale * combined, state, self.damping)

    def _checked(self, said: Tensor) -> tuple[Tensor, Tensor]:
        """What each bit of a check is told: signs and magnitudes, (batch, m, largest weight)."""
        least, most = _ends(said)
        magnitudes = self.graph.gather_at_checks(_phi(said.abs().clamp(least, most)), 0.0)
        others = _sums_of_others(magnitudes)
        return self._signs(said), _phi(others.clamp(least, most))

    def _signs(self, said: Tensor) -> Tensor:
        """Of the product of the others, +1 or -1."""
        signs = self.graph.gather_at_checks(torch.where(said < 0, -1.0, 1.0).to(said), 1.0)
        return signs.prod(2, keepdim=True) * signs

    def estimate(self, state: Tensor, problem: Tensor) -> Tensor:
        """Log-likelihood ratios of the bits, (batch, n)."""
        return problem + self.graph.gather_at_bits(state).sum(2)

    def advice(self) -> str:
        return "raise its damping"


class MinSum(ParityBeliefPropagation):
    """Belief propagation with the least magnitude of the others for their product: tanh(m / 2) becomes min |x|.

    Normalised min-sum, as ``scale`` is below one (Chen and Fossorier 2002, doi:10.1109/26.990903), which needs no
    logarithms and does not depend on the noise. Unrolled with ``scale`` for each edge it is neural normalised min-sum
    (Nachmani et al. 2018). Takes what ``ParityBeliefPropagation`` takes.
    """

    def _checked(self, said: Tensor) -> tuple[Tensor, Tensor]:
        magnitudes = self.graph.gather_at_checks(said.abs(), torch.inf)
        two = magnitudes.shape[2] > 1
        least, place = magnitudes.topk(2 if two else 1, dim=2, largest=False)
        most = _ends(said)[1]
        second = least[..., 1:] if two else torch.full_like(least, most)
        column = torch.arange(magnitudes.shape[2], device=said.device)
        return self._signs(said), torch.where(column == place[..., :1], second, least[..., :1]).clamp_max(most)


@torch.no_grad()
def decode_words(
    step: ParityBeliefPropagation, llr: Float[Tensor, "batch n"], iterations: int = 50
) -> Float[Tensor, "batch n"]:
    """Log-likelihood ratios after decoding, each word until its decisions are a word of the code, as receivers do, or
    after so many iterations.
    """
    found, left = llr.clone(), torch.arange(llr.shape[0], device=llr.device)
    problem, state = step.prepare(llr), step.start(llr)
    for _ in range(iterations):
        if len(left) == 0:
            break
        state = step(state, problem)
        found[left] = step.estimate(state, problem)
        going = syndrome(found[left] < 0, step.graph.matrix).any(1)
        left, state, problem = left[going], state[going], problem[going]
    return found


def _ends(value: Tensor) -> tuple[float, float]:
    """Magnitudes between which phi(phi(x)) = x in this precision."""
    # phi' has the square of what is least in it.
    return (1e-150, 340.0) if value.dtype is torch.float64 else (1e-15, 34.0)


def _phi(x: Tensor) -> Tensor:
    """-log tanh(x / 2) for x > 0."""
    return torch.log1p(2 / torch.expm1(x))


def _sums_of_others(values: Tensor) -> Tensor:
    """Sums over the last dimension of all but one, without subtracting."""
    before = nn.functional.pad(values.cumsum(-1)[..., :-1], (1, 0))
    after = nn.functional.pad(values.flip(-1).cumsum(-1)[..., :-1], (1, 0)).flip(-1)
    return before + after
