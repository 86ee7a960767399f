"""The layer of DetNet: projected gradient whose step goes through a small network."""

from __future__ import annotations

from math import sqrt
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from unrolling.algorithms.detection.mimo import Detector, MatchedFilter, MatchedFiltering, Received, adjoint
from unrolling.algorithms.sparse.dictionary import scalar_parameter
from unrolling.core import Positive, constrain, tree
from unrolling.core.arguments import check_count

INPUTS = ("concat", "gradient")
HEADS = ("soft_sign", "one_hot")
RAREST = 1e-4  # probability that a score stands for


class DetNetState(NamedTuple):
    """The state of DetNet; in the shared form the last dimension counts the streams."""

    x: Tensor  # (batch, K)
    head: Tensor  # what x is read from: x itself, or one-hot scores (batch, K M) or (batch, M, K)
    auxiliary: Tensor  # v (batch, V), or (batch, V, K)


class DetNetLayer(Detector):
    """a = relu(W_1 z + b_1), [u; v'] = W_2 a + b_2, x' = psi_t(u), x <- alpha x + (1 - alpha) x', v <- alpha v + (1 -
    alpha) v'.

    With b = H^T y / g, G = H^T H / g, g = tr(H^T H) / K, the input is z = [b; x; G x; v] (``concat``: Samuel, Diskin
    and Wiesel 2017, doi:10.1109/SPAWC.2017.8227772) or z = [x - delta_1 b + delta_2 G x; v] (``gradient``: the same
    authors 2019, doi:10.1109/TSP.2019.2899805, arXiv:1805.07631). psi_t(u) = clip(u / t, -1, 1), t > 0, which for t > 0
    is the published -1 + relu(u + t) / |t| - relu(u - t) / |t|; the head ``one_hot`` puts out a score o_m for each
    level s_m of each stream, is linear, and reads x = sum_m s_m o_m. Published networks leave out g.

    At the start it is projected gradient, x' = Pi(x + delta (b - G x)), in some of its hidden units; the others are
    random, and what they say does not reach x yet. ``initial="random"`` draws all weights from N(0, 0.01^2), as
    published.

    In the ``shared`` form all streams have one set of weights, z being [b_k; x_k; (G x)_k; v_k] for stream k: W_1 is A
    (x) I instead of dense, and so on. Streams of a channel with independent entries are exchangeable, which a dense
    network has to learn and this one knows; it has some thousand numbers instead of hundreds of thousands, and serves
    any K and N.

    Parameters: ``hidden`` (W_1, b_1), ``update`` (W_2, b_2), which are two matrices in the papers; ``slope`` t,
    positive, of the soft sign; ``step_size`` (delta_1, delta_2) of the gradient input.

    Args:
        levels: (M,) of a real dimension; two of them for the soft sign.
        streams: K; None for the shared form.
        hidden: width of a; in the shared form per stream.
        auxiliary: width V of v; in the shared form per stream.
        input: ``concat`` or ``gradient``.
        head: ``soft_sign`` or ``one_hot``.
        damping: alpha in [0, 1), the fraction of the old head and memory that stays.
        slope: t at the start.
        step_size: delta of the projected gradient at the start.
        initial: ``projected_gradient`` or ``random``.
        seed: of the random weights.

    Raises:
        ValueError: an unknown input, head or initial, a damping outside [0, 1), a soft sign for more than two levels,
            too few hidden units to hold the projected gradient.
    """

    algorithm = "ProjectedGradient"

    def __init__(
        self,
        levels: Float[Tensor, " M"],
        streams: int | None = None,
        *,
        hidden: int,
        auxiliary: int,
        input: str = "concat",
        head: str = "soft_sign",
        damping: float = 0.9,
        slope: float = 0.5,
        step_size: float = 0.5,
        initial: str = "projected_gradient",
        seed: int = 0,
    ) -> None:
        super().__init__(levels, needs_noise=False)
        for name, value, known in (
            ("input", input, INPUTS),
            ("head", head, HEADS),
            ("initial", initial, ("projected_gradient", "random")),
        ):
            if value not in known:
                raise ValueError(f"{name} is {value!r}; it is one of {', '.join(known)}")
        if not 0 <= damping < 1:
            raise ValueError(f"damping must lie in [0, 1), 0 for none; got {damping}")
        if head == "soft_sign" and len(levels) != 2:
            raise ValueError(f"the soft sign has two levels, and the alphabet {len(levels)}: use head='one_hot'")
        if streams is not None:
            check_count(streams, "streams")
        self.streams, self.head, self.input, self.damping = streams, head, input, damping
        width = streams or 1  # of what stands for one number per stream
        scores = width * (len(levels) if head == "one_hot" else 1)
        inputs = (3 if input == "concat" else 1) * width + auxiliary
        if initial == "projected_gradient" and hidden < 2 * width:
            raise ValueError(f"hidden is {hidden}; projected gradient takes two units for each of {width} streams")
        if auxiliary < 1 or hidden < 1:
            raise ValueError(f"hidden and auxiliary are widths, at least 1; got {hidden} and {auxiliary}")
        self.prepare = MatchedFiltering()
        self.hidden = nn.Linear(inputs, hidden, dtype=levels.dtype)
        self.update = nn.Linear(hidden, scores + auxiliary, dtype=levels.dtype)
        self.widths = (scores, auxiliary)
        if head == "soft_sign":
            self.slope = scalar_parameter(slope, levels)
            constrain(self, "slope", Positive())
        if input == "gradient":
            self.step_size = nn.Parameter(
                torch.full((2,), 0.0 if initial == "random" else -step_size, dtype=levels.dtype)
            )
        self._initialise(width, slope, step_size, initial, torch.Generator().manual_seed(seed))

    @torch.no_grad()
    def _initialise(self, width: int, slope: float, step_size: float, initial: str, generator: torch.Generator) -> None:
        def normal(shape: torch.Size, deviation: float) -> Tensor:
            return deviation * torch.randn(shape, generator=generator, dtype=torch.float64)

        if initial == "random":
            for part in (self.hidden, self.update):
                part.weight.copy_(normal(part.weight.shape, 0.01))
                part.bias.copy_(normal(part.bias.shape, 0.01))
            return
        identity = torch.eye(width, dtype=torch.float64)
        inputs, hidden = self.hidden.weight.shape[1], self.hidden.weight.shape[0]
        weight = normal(self.hidden.weight.shape, 1 / sqrt(inputs / width))
        # c = x + delta b - delta G x and -c, or what Pi(c) + top is the difference of: c + top and c - top.
        moved = (
            torch.cat([step_size * identity, identity, -step_size * identity], dim=1)
            if self.input == "concat"
            else identity
        )
        second = -1.0 if self.head == "soft_sign" else 1.0
        weight[: 2 * width] = 0.0
        weight[:width, : moved.shape[1]], weight[width : 2 * width, : moved.shape[1]] = moved, second * moved
        bias = normal(self.hidden.bias.shape, 0.5)
        scores = self.widths[0]
        update, offset = (
            normal(self.update.weight.shape, 0.5 / sqrt(hidden / width)),
            torch.zeros(self.update.bias.shape, dtype=torch.float64),
        )
        update[:scores] = 0.0
        if self.head == "soft_sign":
            bias[: 2 * width] = 0.0
            update[:scores, :width], update[:scores, width : 2 * width] = slope * identity, -slope * identity
        else:
            # Scores (1 + s_m Pi(c)) / M: x = sum_m s_m o_m is then Pi(c), as levels have mean zero and mean square one.
            levels = self.levels.double()
            top, count = float(levels[-1]), len(levels)
            bias[:width], bias[width : 2 * width] = top, -top
            share = torch.kron(identity, levels.unsqueeze(1)) / count
            update[:scores, :width], update[:scores, width : 2 * width] = share, -share
            offset[:scores] = ((1 - levels * top) / count).repeat(width)
        self.hidden.weight.copy_(weight)
        self.hidden.bias.copy_(bias)
        self.update.weight.copy_(update)
        self.update.bias.copy_(offset)

    def start(self, problem: MatchedFilter) -> DetNetState:
        """x = 0, v = 0, and scores of zero."""
        batch, streams = problem.matched.shape
        scores, auxiliary = self.widths
        x = problem.matched.new_zeros(batch, streams)
        each = (streams,) if self.streams is None else ()
        return DetNetState(
            x,
            x if self.head == "soft_sign" else x.new_zeros(batch, scores, *each),
            x.new_zeros(batch, auxiliary, *each),
        )

    def forward(self, state: DetNetState, problem: MatchedFilter) -> DetNetState:
        """One layer."""
        image = adjoint(problem.gram, state.x)
        if self.input == "concat":
            known = [problem.matched, state.x, image]
        else:
            known = [state.x - self.step_size[0] * problem.matched + self.step_size[1] * image]
        score, auxiliary = (self._per_stream if self.streams is None else self._dense)(known, state.auxiliary)
        if self.head == "soft_sign":
            score = torch.clamp(score * (1 / self.slope), -1, 1)
        head = torch.lerp(score, state.head, self.damping)
        return DetNetState(self._read(head), head, torch.lerp(auxiliary, state.auxiliary, self.damping))

    def _dense(self, known: list[Tensor], auxiliary: Tensor) -> tuple[Tensor, Tensor]:
        """u and v'."""
        score, following = self.update(torch.relu(self.hidden(torch.cat([*known, auxiliary], dim=1)))).split(
            self.widths, dim=1
        )
        return score, following

    def _per_stream(self, known: list[Tensor], auxiliary: Tensor) -> tuple[Tensor, Tensor]:
        """u and v' of all streams by one set of weights.

        Batch first to the eye, in memory the features come first: each product is then one of a small matrix with a
        wide one.
        """
        batch, streams = known[0].shape
        features = torch.cat([*(each.unsqueeze(0) for each in known), auxiliary.transpose(0, 1)])
        active = torch.relu_(torch.addmm(self.hidden.bias.unsqueeze(1), self.hidden.weight, features.flatten(1)))
        following = (self.update.weight @ active).add_(self.update.bias.unsqueeze(1)).unflatten(1, (batch, streams))
        score, following = (part.transpose(0, 1) for part in following.split(self.widths))
        return score.squeeze(1) if self.head == "soft_sign" else score, following

    def _read(self, head: Tensor) -> Tensor:
        """x."""
        if self.head == "soft_sign":
            return head
        if self.streams:
            return head.unflatten(1, (self.streams, len(self.levels))) @ self.levels
        return torch.einsum("bmk,m->bk", head, self.levels)

    def level_logs(self, state: DetNetState, problem: MatchedFilter) -> Tensor:
        """Of the layer's answer as the probabilities that a network of least square error has: scores are theirs, and a
        soft sign is the mean of a symbol, p(+) - p(-). Those below 1e-4, and negative ones, are 1e-4.
        """
        head = self(state, problem).head
        if self.head == "soft_sign":
            scores = torch.stack([1 - head, 1 + head], -1) / 2
        elif self.streams:
            scores = head.unflatten(1, (self.streams, len(self.levels)))
        else:
            scores = head.mT
        return scores.clamp_min(RAREST).log()

    def residual(self, new: DetNetState, old: DetNetState, problem: MatchedFilter) -> Tensor:
        """Of x; the rest is memory."""
        return tree.relative_change(new.x, old.x)

    def check(self, data: Received) -> None:
        super().check(data)
        if self.streams and data.channel.shape[2] != self.streams:
            raise ValueError(
                f"this DetNet has weights for {self.streams} streams, and the channel has {data.channel.shape[2]} "
                "columns: the shared form serves any"
            )
