r"""
Meters that are wrong
=====================

The voltages of the IEEE case of 14 buses from 54 meters, of which 5 % are off by 20 to 100 standard deviations. Least
squares believes all of them; a network of four prox-linear steps (Zhang, Wang and Giannakis 2019) clips what does not
fit.
"""

import matplotlib.pyplot as plt

from unrolling import pretrained, solve
from unrolling.algorithms import GaussNewton
from unrolling.tasks import GridState

# %%
# Test states, what meters show, and two estimates.
task = GridState(held_out=50)
data, states = task.test[0]
least_squares = solve(GaussNewton(task.metering, task.nominal), data, max_iterations=10, tolerance=1e-5).estimate
network = pretrained("power/psse")(data).detach()
for name, found in (("least squares", least_squares), ("power/psse", network)):
    print(f"{name:15}{float((found - states).square().mean().sqrt()):.5f} p.u.")

# %%
# The errors of all numbers of all states.
_, axis = plt.subplots(figsize=(7, 4), layout="constrained")
for name, found in (("least squares", least_squares), ("power/psse", network)):
    error = (found - states).abs().flatten().sort().values
    axis.semilogx(error, [k / len(error) for k in range(len(error))], label=name)
axis.set(xlabel="error of a voltage, p.u.", ylabel="share of voltages below", xlim=(1e-5, None))
axis.legend()
plt.show()
