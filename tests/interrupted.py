"""Runs that stop in the middle, and the one that does not."""

import functools

from tiny import bits, network, recovery

from unrolling.tasks.sparse.recovery import Recovery
from unrolling.training.checkpoints import PATTERN
from unrolling.training.fit import fit
from unrolling.training.stages import Cosine, Power, Stage

SCHEDULE = [
    Stage(9, rate=1e-2, rates={"threshold": 3e-2}, batch=6, depth=2, annealing=Cosine(0.3), clip=1.0),
    Stage(8, rate=5e-3, batch=6, supervision=Power(1.0), annealing=Cosine(final=0.1), inherit={"threshold": 0.9}),
]
STEPS = 17


class KilledError(Exception):
    """What stops a run in these tests."""


class Interrupted(Recovery):
    """Stops the run when its training data are asked for the (k + 1)-th time."""

    left = 10**9
    grains = 1

    def draw(self, batch, generator):
        if self.left == 0:
            raise KilledError
        self.left -= 1
        return super().draw(batch, generator)


def newest(folder):
    return max(folder.glob(PATTERN))


@functools.cache
def uninterrupted():
    """The weights that the schedule ends with."""
    task = recovery(Interrupted)
    net = network(task)
    fit(net, task, SCHEDULE, seed=3, quiet=True)
    return bits(net)
