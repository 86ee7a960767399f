r"""
Phases through MISI
===================

A mask gives the magnitudes of two speakers in a mixture, and nobody their phases. Multiple-input spectrogram inversion
(MISI; survey, section III-D) finds them: each step takes the phases of signals that add up to the mixture, and puts the
magnitudes back. With true magnitudes it climbs as long as one lets it; the better the masks, the more phases matter.
"""

import matplotlib.pyplot as plt
import numpy as np
import torch

from unrolling import pretrained, unroll
from unrolling.algorithms import MISI, Magnitudes
from unrolling.operators import STFT
from unrolling.tasks import best_order, draw_voice, si_sdr, speak

# %%
# Eight mixtures of two generated voices, at 8 kHz.
rng = np.random.default_rng(5)
voices = torch.tensor(np.stack([[speak(draw_voice(rng), 3.0, rng) for _ in range(2)] for _ in range(8)])).float()
voices = voices / voices.square().mean(2, keepdim=True).sqrt()
voices = voices / voices.sum(1, keepdim=True).square().mean(2, keepdim=True).sqrt()  # mixtures of unit level
mixture = voices.sum(1)

# %%
# Four kinds of magnitudes: the true ones; the mixture's, shared out by the true ratio; those of a mask network that was
# trained alone, and those of one that was trained through three more steps. A layer is a step, and has nothing to learn
# but the magnitudes it is given.
stft = STFT(256, 64)
true = stft(voices.flatten(0, 1)).abs().unflatten(0, (8, 2))
shared = stft(mixture).abs().unsqueeze(1) * true / true.sum(1, keepdim=True).clamp_min(1e-9)
alone, through = (pretrained("speech/misi", depth=depth).layers[0].magnitudes for depth in (1, 4))
with torch.no_grad():
    kinds = {
        "true magnitudes": Magnitudes(mixture, true),
        "true ratio": Magnitudes(mixture, shared),
        "masks, trained through MISI": through(mixture),
        "masks, trained alone": alone(mixture),
    }

# %%
# Behind masks of a small network MISI makes things worse, since their magnitudes are further from the truth than the
# phases of the mixture are. Training through the iterations takes back a part of that, and not all.
misi = unroll(MISI(stft), depth=10)
scores, states = {}, {}
for name, data in kinds.items():
    states[name] = [best_order(state.consistent, voices) for state in misi.trajectory(data)]
    scores[name] = [float(si_sdr(sources, voices).mean()) for sources in states[name]]
    print(f"{name:28}{scores[name][0]:6.2f} dB, after 5 iterations {scores[name][5]:6.2f} dB")


# %%
# Above, the error of the phases of the first voice where it is audible, with the mixture's phases and after nine
# iterations with true magnitudes.
def phase_error(sources):
    true_spectrum, spectrum = stft(voices[0, :1])[0], stft(sources[0, :1])[0]
    error = (spectrum * true_spectrum.conj()).angle().abs() * 180 / torch.pi
    return error.where(true_spectrum.abs() > 0.005 * true_spectrum.abs().max(), torch.nan).numpy()


figure, axes = plt.subplots(3, 1, figsize=(6, 9), layout="constrained", height_ratios=(1, 1.4, 1.6))
for axis, (name, iteration) in zip(axes, (("the mixture's phases", 0), ("after 9 iterations", 9)), strict=False):
    picture = phase_error(states["true magnitudes"][iteration])
    shown = axis.imshow(picture, origin="lower", aspect="auto", extent=(0, 3, 0, 4), vmin=0, vmax=60, cmap="cividis")
    axis.grid(False)
    axis.set(title=name, xlabel="time, s", ylabel="frequency, kHz")
figure.colorbar(shown, ax=axes[1], location="bottom", label="error of the phase, degrees", aspect=40, extend="max")
for (name, score), style in zip(scores.items(), ("C6^-", "C1s-", "C0o-", "C5D--"), strict=True):
    axes[2].plot(range(10), score, style, label=name)
axes[2].set(xlabel="iterations (0: the mixture's phases)", ylabel="SI-SDR, dB", ylim=(0, 40))
axes[2].legend(fontsize=9.5)
plt.show()
