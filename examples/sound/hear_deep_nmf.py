r"""
Hear Deep NMF
=============

Sparse non-negative matrix factorisation explains each frame of a spectrogram by columns of a dictionary, some of
speech, some of noise, and keeps the speech's share. Deep NMF (survey, box "Deep (Unrolled) NMF", equations (23)-(26))
unrolls its multiplicative updates and trains the dictionaries of the last layers for the separated sound.
"""

import base64
import io

import matplotlib.pyplot as plt
import numpy as np
import torch
from scipy.io import wavfile

from unrolling import pretrained, unroll
from unrolling.algorithms import NMFSeparation
from unrolling.tasks import DecisionDirected, draw_noise, draw_voice, si_sdr, speak

# %%
# Voices and noises are generated, as those were that the network was trained on: eight of each, at 8 kHz.
rng = np.random.default_rng(100)
pairs = [(speak(draw_voice(rng), 3.0, rng), draw_noise(3.0, rng)) for _ in range(8)]
speech, noise = (torch.tensor(np.stack(sounds)).float() for sounds in zip(*pairs, strict=True))
speech, noise = (sounds / sounds.square().mean(1, keepdim=True).sqrt() for sounds in (speech, noise))

# %%
# The rivals: sparse NMF with the dictionaries that Deep NMF starts from, and the decision-directed Wiener filter, which
# has learned nothing.
network = pretrained("speech/deep_nmf")
stft, dictionary = network.parent.stft, network.layers[0].dictionary.detach()
sparse = unroll(NMFSeparation(stft, [dictionary[:, :50], dictionary[:, 50:]], sparsity=0.3), depth=10)
methods = {"Deep NMF": network, "Wiener filter": DecisionDirected(stft, 8000), "sparse NMF": sparse}
ratios, gains, heard = (-6, 0, 5, 10, 15, 20, 30), {name: [] for name in methods}, {}
for ratio in ratios:
    mixture = speech + noise * 10 ** (-ratio / 20)
    level = mixture.square().mean(1, keepdim=True).sqrt()
    for name, method in methods.items():
        with torch.no_grad():
            found = method(mixture / level)[:, 0] * level
        gains[name].append(float((si_sdr(found, speech) - si_sdr(mixture, speech)).mean()))
        if ratio == 0:
            heard |= {"mixture, 0 dB": mixture[0], name: found[0], "speech alone": speech[0]}
for name, gain in gains.items():
    print(f"{name:14}", "  ".join(f"{r}: {g:+.1f} dB" for r, g in zip(ratios, gain, strict=True)))


# %%
# Listen to the first of them.
class Players:
    def _repr_html_(self):
        html = ""
        for name, samples in heard.items():
            wavfile.write(file := io.BytesIO(), 8000, (samples / samples.abs().max() * 32767).short().numpy())
            data = base64.b64encode(file.getvalue()).decode()
            html += f'<p>{name}<br><audio controls aria-label="{name}" src="data:audio/wav;base64,{data}"></audio></p>'
        return html


Players()

# %%
# On these voices Deep NMF gains most everywhere. On recordings of people, which it never heard, the Wiener filter is
# ahead from 5 to 15 dB (thin: as ``unroll apply`` runs the network; ``python -m benchmarks.speech_levels --data DIR``).
recorded = {"Deep NMF": (6.3, 4.5, 0.8, -0.1, -0.1, 0.0, 0.0), "Wiener filter": (3.2, 3.7, 3.3, 2.2, 0.6, -1.6, -8.3)}
figure, axes = plt.subplots(3, 1, figsize=(6, 9), layout="constrained", height_ratios=(1, 1, 1.6))
for axis, name in zip(axes, ("mixture, 0 dB", "Deep NMF"), strict=False):
    axis.specgram(heard[name].numpy(), NFFT=256, Fs=8000, noverlap=192, vmin=-90, vmax=-20, cmap="magma")
    axis.grid(False)
    axis.set(title=name, xlabel="time, s", ylabel="frequency, Hz")
for (name, gain), style in zip(gains.items(), ("C0o-", "C1s-", "C2^-"), strict=True):
    axes[2].plot(ratios, gain, style, label=name)
    if name in recorded:
        axes[2].plot(ratios, recorded[name], style, linewidth=1, markersize=3, label=f"{name}, recordings")
axes[2].axhline(0, color="0.5", linewidth=1)
axes[2].set(xlabel="signal-to-noise ratio of the mixture, dB", ylabel="gain in SI-SDR, dB", ylim=(-9, 9))
axes[2].legend(fontsize=9.5)
plt.show()
