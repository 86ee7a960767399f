"""ViterbiNet's likelihood from pilots, beside a channel that they estimate by least squares."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from unrolling.algorithms.detection.taps import ChannelEstimate, fitted, least_squares_taps, viterbi_data
from unrolling.algorithms.detection.trellis import GaussianLikelihood, Observed, Trellis

STEPS, RATE, DECAY = 400, 1e-2, 1e-3
KEPT = 0.2  # of the pilots, on which the two are compared


@dataclass(frozen=True)
class Learned:
    """What pilots taught.

    Attributes:
        channel: taps and noise variance by least squares from all pilots.
        count: pilots whose last L symbols are known.
        network: cross-entropy of the states given y_t by the network, on a fifth of the pilots it has not seen.
        gaussian: the same by the taps, from the other pilots alone.
        error: standard error of their difference.
    """

    channel: ChannelEstimate
    count: int
    network: float
    gaussian: float
    error: float

    @property
    def network_is_better(self) -> bool:
        """By more than one standard error, on pilots that neither has seen: a channel with taps is what least squares
        are made for.
        """
        return self.network < self.gaussian - self.error


def learn(likelihood: nn.Module, y: Tensor, symbols: Tensor, levels: Tensor, memory: int, *, seed: int = 0) -> Learned:
    """Trains a likelihood as a classifier of states from pilots, as Shlezinger, Farsad, Eldar and Goldsmith 2020 do,
    with Adam on all of them at once, and compares it with the taps that the same pilots give.

    Their mixture density of p(y) does not depend on the state, and so changes no path.

    Args:
        likelihood: Observed -> scores of the M^L states; it starts as it is and is changed.
        y: (batch, T), what was received.
        symbols: (batch, T), what was sent.
        levels: (M,).
        memory: L.
        seed: of the pilots that are kept for the comparison.

    Raises:
        ValueError: symbols that are no levels, too few pilots.
    """
    y, index = y.float(), indices(symbols, levels)
    trellis = Trellis(len(levels), memory)
    known = y[:, memory - 1 :].reshape(-1, 1)
    states = trellis.of(index).flatten()
    if len(states) < 5 * memory:
        raise ValueError(f"{len(states)} pilots are too few for {memory} taps; a few hundred are what is needed")
    order = torch.randperm(len(states), generator=torch.Generator().manual_seed(seed))
    kept, seen = order.split([max(1, round(KEPT * len(order))), len(order) - max(1, round(KEPT * len(order)))])
    start = {name: value.clone() for name, value in likelihood.state_dict().items()}
    _train(likelihood, known[seen], states[seen])
    with torch.no_grad():
        network = cross_entropy(likelihood(Observed(known[kept])).squeeze(1), states[kept], reduction="none")
    values = levels.double()[trellis.symbols()[states]]  # (pilots, L), newest first
    part = fitted(values[seen], known[seen, 0].double())
    scores = GaussianLikelihood(levels, memory)(viterbi_data(known[kept], part)).squeeze(1)
    gaussian = cross_entropy(scores, states[kept], reduction="none")
    error = float((network - gaussian).std()) / len(kept) ** 0.5 if len(kept) > 1 else float("inf")
    likelihood.load_state_dict(start)
    _train(likelihood, known, states)
    return Learned(
        least_squares_taps(y, symbols, memory), len(states), float(network.mean()), float(gaussian.mean()), error
    )


def indices(symbols: Tensor, levels: Tensor) -> Tensor:
    """The levels' indices of symbols that were sent.

    Raises:
        ValueError: a value that is none of the levels.
    """
    distance = (symbols.double().unsqueeze(-1) - levels.double()).abs()
    nearest = distance.min(-1)
    if float(nearest.values.max()) > 1e-3:
        first = symbols.flatten()[int(nearest.values.flatten().argmax())]
        raise ValueError(
            f"the pilots' symbols are among {[round(v, 4) for v in levels.tolist()]}; got {float(first):g}"
        )
    return nearest.indices


def _train(likelihood: nn.Module, y: Tensor, states: Tensor) -> None:
    """Adam on all pilots at once, its rate along a cosine."""
    optimizer = torch.optim.AdamW(likelihood.parameters(), lr=RATE, weight_decay=DECAY)
    for step in range(STEPS):
        for group in optimizer.param_groups:
            group["lr"] = RATE * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * step / STEPS)))
        optimizer.zero_grad()
        cross_entropy(likelihood(Observed(y)).squeeze(1), states).backward()
        optimizer.step()
