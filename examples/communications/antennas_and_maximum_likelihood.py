r"""
Antennas, and maximum likelihood
================================

Twenty users send bits at once, thirty antennas receive their sum, :math:`y = H x + n`. DetNet (survey, section VI)
unrolls projected gradient descent, EPNet expectation propagation with one learned number in each of five layers. The
limit is known and, at this size, cheap: the sphere decoder finds the likeliest of all :math:`2^{20}` vectors exactly.
"""

import time

import matplotlib.pyplot as plt
import torch

from unrolling import pretrained, unroll
from unrolling.algorithms import ExpectationPropagation, lmmse, sphere_decode
from unrolling.tasks import Detection

# %%
# All detectors are told the channel. All but DetNet and maximum likelihood are told the noise as well.
task = Detection(streams=20, antennas=30, held_out=10)
detectors = {
    "LMMSE, the best linear one": lambda data: lmmse(data, unbiased=True),
    "DetNet, 16 layers": pretrained("communications/detnet", task="detection"),
    "expectation propagation, 5 steps": unroll(ExpectationPropagation(task.levels), depth=5),
    "EPNet, 5 layers": pretrained("communications/ep_net"),
    "maximum likelihood": lambda data: sphere_decode(data, task.levels).x,
}

# %%
# Symbol error rates from 100,000 symbols at each signal-to-noise ratio. (A symbol is a bit here.)
levels, count = (4, 6, 8, 9, 10, 11), 5000
rates, seconds = {name: [] for name in detectors}, dict.fromkeys(detectors, 0.0)
for snr in levels:
    data, sent = task.at(float(snr), count, torch.Generator().manual_seed(snr))
    for name, detector in detectors.items():
        with torch.no_grad():
            begin = time.perf_counter()
            found = detector(data).sign()
            seconds[name] += time.perf_counter() - begin
        rates[name].append(float((found != sent).float().mean()))
for name, rate in rates.items():
    time_each = 1e6 * seconds[name] / (count * len(levels))
    print(f"{name:33}", "  ".join(f"{r:.1e}" for r in rate), f"  {time_each:4.0f} microseconds a vector")

# %%
# Above, the error rates; below, how many errors there are for one of maximum likelihood. Both networks come close, most
# of that without learning; exact search makes the fewest errors, and in less time than EPNet. A network earns its place
# where the search explodes, from about fifty users on: :doc:`the guide on communications </guides/communications>`. (At
# 4 dB it makes more: the likeliest vector is seldomest wrong as a whole, not symbol by symbol.)
figure, (above, below) = plt.subplots(2, 1, figsize=(6, 8), sharex=True, layout="constrained")
for (name, rate), style in zip(rates.items(), ("C4v-", "C0o-", "C2s--", "C5D-", "C6:"), strict=True):
    above.semilogy(levels, rate, style, label=name)
    if not name.startswith("LMMSE"):
        below.plot(levels, [r / least for r, least in zip(rate, rates["maximum likelihood"], strict=True)], style)
above.set(ylabel="symbol error rate")
above.legend()
below.set(xlabel="signal-to-noise ratio, dB", ylabel="errors for one of maximum likelihood")
plt.show()
