"""
At the limit of Bayes
=====================

How well can sparse signals be recovered at all? For a large random dictionary and a known prior, state evolution
answers by two integrals: it predicts the error of approximate message passing (AMP) after each iteration, and the
last value is one that no method is known to beat in reasonable time. AMP attains it when it is told the prior. LAMP and
LVAMP, unrolled from message passing, are told nothing. They learn the prior from examples, 24 numbers in LVAMP, and end
at the same limit; LVAMP is there after seven layers.
"""

import matplotlib.pyplot as plt
import torch

from unrolling import pretrained, unroll
from unrolling.algorithms import AMP, SparsePrior, measurement_noise, oracle_nmse
from unrolling.algorithms.messages.state_evolution import state_evolution
from unrolling.prox import BernoulliGaussian
from unrolling.tasks import Recovery

# %%
# A tenth of 500 entries not zero, 250 measurements at an SNR of 30 dB; signals that the networks have not seen.
task = Recovery(snr=30.0, held_out=1000)
y, x = task.test[0]
prior = SparsePrior(probability=0.1)
posterior_mean = BernoulliGaussian(*prior)


@torch.no_grad()
def errors(layers):
    return [task.metric.value(task.pieces(estimate, task.test[0])) for estimate in layers.estimates(y)]


# %%
# Twelve layers, or iterations, of each.
found = {
    "LVAMP, learned": errors(pretrained("sparse_coding/lvamp", snr=30.0, depth=12)),
    "LAMP, learned": errors(pretrained("sparse_coding/lamp", snr=30.0, depth=12)),
    "AMP, told the prior": errors(unroll(AMP(task.dictionary, posterior_mean), 12)),
}
noise = measurement_noise(30.0, prior, 0.5)
limit = state_evolution(posterior_mean, prior, noise, undersampling=0.5, iterations=12).nmse
oracle = oracle_nmse(y, task.dictionary, x)
for name, values in found.items():
    print(f"{name:20} {values[-1]:.1f} dB")
print(f"state evolution {limit[-1]:.1f} dB; least squares on the true support {oracle:.1f} dB")

# %%
# The last curve is no method: nobody knows the support.
_, axes = plt.subplots(layout="constrained")
layers = range(1, 13)
for (name, values), style in zip(found.items(), ("o-", "s-", "--"), strict=True):
    axes.plot(layers, values, style, label=name)
axes.plot(layers, limit, color="black", linestyle=":", label="state evolution")
axes.axhline(oracle, color="grey", linestyle="-.", label="the support told")
axes.set(xlabel="layers or iterations", ylabel="NMSE in dB (lower is better)")
axes.legend()
plt.show()
