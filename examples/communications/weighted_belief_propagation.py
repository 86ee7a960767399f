r"""
Weighted belief propagation
===========================

Belief propagation decodes codes with sparse graphs nearly as well as can be. The graph of a BCH code is dense: messages
come back to where they started after four steps, and are believed again. A weight for each iteration, learned, believes
them less (Nachmani, Be'ery and Burshtein 2016). Before training the network is belief propagation, to the bit.
"""

import matplotlib.pyplot as plt
import torch

from unrolling import Stage, fit, unroll
from unrolling.algorithms import ParityBeliefPropagation, ordered_statistics
from unrolling.tasks import Decoding
from unrolling.training import Power

# %%
# 45 bits in words of 63, sent as signs in Gaussian noise. The matrix is that of the textbook, with 24 bits in a check.
task = Decoding("bch-63-45", "standard", held_out=10)
parent = ParityBeliefPropagation(task.matrix)
plain = unroll(parent, depth=5, untied=("scale", "channel_weight"))
weighted = unroll(parent, depth=5, untied=("scale", "channel_weight"))
assert torch.equal(weighted(task.test[0].data), plain(task.test[0].data))
fit(weighted, task, [Stage(120, rate=4e-2, batch=64, supervision=Power(1.0))], validations=0, quiet=True)
for k, layer in enumerate(weighted.layers):
    print(
        f"iteration {k + 1}: {layer.scale.item():.2f} of what checks say, {layer.channel_weight.item():.2f} of the "
        f"channel"
    )

# %%
# Words in error, beside a search among a thousand words for each, which is nearly maximum likelihood.
methods = {
    "bit by bit": lambda llr: llr,
    "belief propagation, 5 iterations": plain,
    "weighted": weighted,
    "ordered statistics": lambda llr: 1 - 2 * ordered_statistics(llr[:300], task.matrix, 2).float(),
}
snrs, rates = (3.0, 4.0, 5.0, 6.0), {name: [] for name in methods}
for snr in snrs:
    llr, sent = task.at(snr, 3000, torch.Generator().manual_seed(int(snr)))
    for name, method in methods.items():
        with torch.no_grad():
            found = method(llr)
        rates[name].append(float(((found < 0) != (sent[: len(found)] < 0)).any(1).float().mean()))
for (name, rate), style in zip(rates.items(), ("C7:", "C1s-", "C0o-", "C2--"), strict=True):
    print(f"{name:35}", "  ".join(f"{r:.1e}" for r in rate))
    plt.semilogy(snrs, [max(r, 1e-4) for r in rate], style, label=name)
plt.xlabel("signal-to-noise ratio of a free bit, dB")
plt.ylabel("errors per word")
plt.legend()
plt.show()
