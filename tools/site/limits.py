"""What an example may take: the build fails where one takes longer, and what it drew or seeded is forgotten before the
next one.
"""

from __future__ import annotations

import random
import signal
import time
from typing import Any

CPU, WALL = 30.0, 180  # seconds of a processor, seconds on a clock
_started = 0.0


class TooLong(Exception):  # noqa: N818
    """An example over its limit."""


def watch(gallery_conf: dict[str, Any], script: str | None, when: str) -> None:
    """Called by sphinx-gallery before and after each example."""
    global _started
    if when == "before":
        _fresh()
        if script is None:  # a folder of examples begins
            return
        _started = time.process_time()
        signal.signal(signal.SIGALRM, _stop)
        signal.alarm(WALL)
        return
    signal.alarm(0)
    taken = time.process_time() - _started
    if taken > CPU:
        raise TooLong(f"{script} took {taken:.0f} s of a processor; at most {CPU:.0f}")


def _stop(signum: int, frame: Any) -> None:
    raise TooLong(f"an example took more than {WALL} s")


def _fresh() -> None:
    """The same numbers whichever examples ran before."""
    import numpy as np
    import torch

    torch.set_num_threads(1)
    torch.manual_seed(0)
    torch.set_grad_enabled(True)
    torch.set_default_dtype(torch.float32)
    np.random.seed(0)  # noqa: NPY002
    random.seed(0)
