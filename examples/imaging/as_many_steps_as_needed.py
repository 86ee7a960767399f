r"""
As many steps as a picture needs
================================

Diffusion takes noise away step by step, and has to stop before it takes the picture, too. When that is depends on the
noise, which nobody says. DURR (Zhang, Lu, Liu and Dong 2019) learns both: a small unit, :math:`x\leftarrow x+f(x)`,
that is the same in every step, and a policy that looks at the picture after every step and says whether one more pays.
"""

import matplotlib.pyplot as plt
import torch

from unrolling import pretrained
from unrolling.tasks import photograph

# %%
# One photograph that was not trained on, at five levels of 255. The network is not told which.
clean = photograph("camera")[60:220, 150:310]
levels = torch.tensor([8.0, 15.0, 25.0, 40.0, 60.0])
noise = torch.randn(clean.shape, generator=torch.Generator().manual_seed(0))
noisy = clean + levels.reshape(-1, 1, 1) / 255 * noise
network = pretrained("imaging/durr")


def psnr(pictures):
    return -10 * (pictures.clamp(0, 1) - clean).square().mean((-2, -1)).log10()


# %%
# The trajectory goes on after the stop; ``running`` says which pictures would have been let go on.
with torch.no_grad():
    trajectory = list(network.trajectory(noisy))
    restored = network(noisy)
curves = torch.stack([psnr(noisy), *(psnr(state.x) for state in trajectory)])  # (steps + 1, levels)
stops = torch.stack([state.running for state in trajectory]).long().sum(0)
for k, level in enumerate(levels.tolist()):
    best = int(curves[:, k].argmax())
    print(
        f"noise {level:2.0f}: {int(stops[k]):2d} steps, {psnr(restored)[k]:.2f} dB; "
        f"best after {best}, {curves[best, k]:.2f} dB"
    )

# %%
# More noise, more steps. After too many of them, details are lost; the dots are where the policy stopped.
figure, axes = plt.subplots(1, 4, figsize=(10, 2.9), width_ratios=(1.6, 1, 1, 1), layout="constrained")
for k, level in enumerate(levels.tolist()):
    (line,) = axes[0].plot(curves[:, k].numpy(), label=f"noise {level:g}")
    axes[0].plot(int(stops[k]), float(curves[int(stops[k]), k]), "o", color=line.get_color())
axes[0].set_xlabel("steps")
axes[0].set_ylabel("PSNR in dB")
axes[0].legend(fontsize=7)
shown = {"noisy": noisy[3], "stopped": restored[3], "after all steps": trajectory[-1].x[3]}
for axis, (name, picture) in zip(axes[1:], shown.items(), strict=True):
    axis.imshow(picture.numpy(), vmin=0, vmax=1)
    axis.set_title(f"{name}, {psnr(picture.unsqueeze(0))[0]:.1f} dB", fontsize=9)
    axis.set_axis_off()
plt.show()
