"""
Compare your own
================

A number by itself says nothing. ``compare_network`` puts a network of yours beside its parent, classical methods,
other libraries and generic networks of equal size, each with settings chosen on validation data, and says what may be
said: the strongest row without training, what training added, and where a difference may be chance. ``write_page``
makes the page of it (Table III of the survey, with a measurement behind every line).
"""

import tempfile
from pathlib import Path

import matplotlib.pyplot as plt

from unrolling import Stage, fit, unroll
from unrolling.algorithms import ThinISTA
from unrolling.evaluation import compare_network
from unrolling.losses import LogNMSE
from unrolling.report import write_page
from unrolling.tasks import Recovery

# %%
# A network of eight layers, trained for some seconds.
task = Recovery(m=25, n=50, probability=0.05, snr=20.0, held_out=200)
network = unroll(ThinISTA(task.dictionary, 0.03), 8, untied=("encoder", "threshold"))
history = fit(network, task, [Stage(250, rate=4e-3, rates={"threshold": 1e-2}, loss=LogNMSE())], quiet=True)

# %%
# The comparison and its headline. (``budget`` is in seconds of foreseen work; a serious comparison leaves it and the
# two words before it out.) ``found.save(place)`` writes the numbers alone.
found = compare_network(network, task, title="Mine", generic_steps=50, effort="quick", budget=4, quiet=True)
print(found.headline)
place = Path(tempfile.mkdtemp())
write_page(found, place)
print("written:", ", ".join(sorted(path.name for path in place.iterdir())))

# %%
# The rows, each with its 95 % interval. Training gained 2.7 dB over as many iterations of the algorithm; and
# every classical method that runs until it converges is ahead of a network so small, trained so shortly.
rows = [row for row in found.rows if "until" not in row.name][::-1]
colours = {"network": "C0", "initial": "C5", "parent": "C1", "classical": "C2", "library": "C2", "generic": "C3"}
_, axis = plt.subplots(figsize=(6, 6.5), layout="constrained")
for height, row in enumerate(rows):
    value = row.quality
    axis.plot((value.low, value.high), (height, height), color=colours[row.role])
    axis.plot(value.mean, height, "o", color=colours[row.role])
names = [row.name.replace(", at convergence", "").replace(", 200 iterations", "") for row in rows]
axis.set_yticks(range(len(rows)), [name.replace("scikit-learn ", "sklearn ") for name in names], fontsize=10)
axis.set(xlabel="NMSE, dB (lower is better)")
plt.show()
