r"""
ViterbiNet
==========

The Viterbi algorithm needs the likelihood :math:`p(y_t \mid s)` of every state of a channel with memory. ViterbiNet
(survey, section VI) keeps the search and learns the likelihood alone, from known symbols (pilots), by a network that
classifies the state from one received number. Where the channel is what one thinks it is, least squares find as much
in the pilots, and more surely. Where it is not, ViterbiNet comes close to the algorithm that is told the law.
"""

import matplotlib.pyplot as plt
import torch
from torch import nn

from unrolling import unroll
from unrolling.algorithms import Observed, Trellis, Viterbi, least_squares_taps

# %%
# Symbols of -1 and 1 over four taps, and behind them an amplifier: linear, or with a distortion of second order.
levels, memory, taps = torch.tensor([-1.0, 1.0]), 4, torch.exp(-0.5 * torch.arange(4.0))
trellis = Trellis(2, memory)
symbols = levels[trellis.symbols()]  # of the 16 states, newest first
amplifiers = {"linear": lambda u: u, "distorting": lambda u: u + 0.15 * u**2}


def send(amplifier, snr, count, seed):
    generator = torch.Generator().manual_seed(seed)
    index = torch.randint(2, (count // 500, 500 + memory - 1), generator=generator)
    states = trellis.of(index)
    noise = 10 ** (-snr / 20) * torch.randn(states.shape, generator=generator)
    return amplifier(symbols @ taps)[states] + noise, states, levels[index[:, memory - 1 :]]


# %%
# Likelihoods: around the true outputs of the states, or those of taps fitted to the pilots; and learned from these.
class Likelihood(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, data):
        return self.function(data.y.unsqueeze(2))


def gaussian(outputs):  # up to a factor, which moves no maximum
    return Likelihood(lambda y: -(y - outputs).square())


def learn(y, states, steps=400):
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(1, 100), nn.Sigmoid(), nn.Linear(100, 50), nn.ReLU(), nn.Linear(50, 16))
    optimizer = torch.optim.Adam(network.parameters(), lr=3e-3)
    for _ in range(steps):
        optimizer.zero_grad()
        nn.functional.cross_entropy(network(y.reshape(-1, 1)), states.flatten()).backward()
        optimizer.step()
    return Likelihood(network)


# %%
# At each signal-to-noise ratio 1,000 pilots and 50,000 symbols to detect, twenty steps of the Viterbi algorithm.
snrs, styles = (3, 5, 7, 9), {"told the law": "C6:", "least-squares taps": "C1s-", "ViterbiNet": "C0o-"}
_, axes = plt.subplots(2, 1, figsize=(6, 8), sharey=True, layout="constrained")
for axis, (kind, amplifier) in zip(axes, amplifiers.items(), strict=True):
    rates = {name: [] for name in styles}
    for snr in snrs:
        y, states, pilots = send(amplifier, snr, 1_000, seed=snr)
        true = gaussian(amplifier(symbols @ taps))
        fitted = gaussian(symbols @ least_squares_taps(y, pilots, memory).taps[0])
        received, sent, _ = send(amplifier, snr, 50_000, seed=100 + snr)
        for name, likelihood in zip(styles, (true, fitted, learn(y, states)), strict=True):
            with torch.no_grad():
                found = unroll(Viterbi(likelihood, 2, memory), depth=20)(Observed(received)).argmax(2)
            rates[name].append(float((trellis.newest(found) != trellis.newest(sent)).float().mean()))
    for name, rate in rates.items():
        print(f"{kind:11}{name:19}", "  ".join(f"{snr} dB: {r:.1e}" for snr, r in zip(snrs, rate, strict=True)))
        axis.semilogy(snrs, rate, styles[name], label=name)
    axis.set(title=f"{kind} amplifier", xlabel="signal-to-noise ratio, dB", ylabel="symbol error rate")
    axis.legend()
plt.show()
