"""
Train it, and be killed
=======================

A training run dies: the machine restarts, memory runs out, somebody needs the processor. The same call to ``fit`` goes
on from the newest checkpoint, sees the batches that it would have seen, and ends with the weights that the run without
interruption has, equal to the bit (on one process of a CPU). Here a process is killed in the middle by a signal that
nothing can catch.
"""

import json
import runpy
import subprocess
import sys
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import torch

# %%
# A script as anybody would write it, and an accident at the batch whose number it is given. There is a checkpoint every
# 20 seconds, and at the end of each of its three stages.
SCRIPT = """
import os, signal, sys
from unrolling import Stage, fit, unroll
from unrolling.algorithms import ThinISTA
from unrolling.tasks import Recovery

class Doomed(Recovery):
    grains, left = 1, int(sys.argv[2]) if len(sys.argv) > 2 else -1

    def draw(self, batch, generator):
        self.left -= 1
        if self.left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().draw(batch, generator)

def train(folder):
    task = Doomed(m=50, n=100, probability=0.05, snr=20.0, held_out=100)
    network = unroll(ThinISTA(task.dictionary, 0.03), depth=6, untied=("encoder", "threshold"))
    schedule = [Stage(60, rate=rate, batch=64) for rate in (4e-3, 2e-3, 1e-3)]
    fit(network, task, schedule, folder, validations=30, quiet=True)
    return network

if __name__ == "__main__":
    train(sys.argv[1])
"""
place = Path(tempfile.mkdtemp())
script = place / "train.py"
_ = script.write_text(SCRIPT)

# %%
# The process ends without a word. What it leaves is a log and its newest checkpoints.
child = subprocess.run([sys.executable, str(script), str(place / "killed"), "150"], check=False)
print("the process ended with status", child.returncode)
print("it left", ", ".join(sorted(path.name for path in (place / "killed").iterdir())))


def validations(folder):
    lines = map(json.loads, (place / folder / "training.jsonl").read_text().splitlines())
    return [(line["step"], line["metric"]) for line in lines if "metric" in line]


before = validations("killed")
# %%
# The same call, in another process (this one), and a run that nobody disturbed.
train = runpy.run_path(str(script))["train"]
resumed, whole = train(place / "killed").learned(), train(place / "whole").learned()
print("equal to the bit:", all(torch.equal(resumed[name], whole[name]) for name in whole), f"({len(whole)} tensors)")

# %%
# The log of the run that was killed has every step once.
_, axis = plt.subplots(layout="constrained")
axis.plot(*zip(*validations("whole"), strict=True), "C5-", linewidth=7, label="without interruption")
axis.plot(*zip(*before, strict=True), "C1-", label="until it was killed")
axis.plot(*zip(*validations("killed")[len(before) :], strict=True), "C6--", label="resumed")
axis.set(xlabel="step", ylabel="NMSE on validation, dB (lower is better)")
axis.legend()
plt.show()
