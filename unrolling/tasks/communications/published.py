"""Detection in the settings of DetNet's two papers."""

from __future__ import annotations

from unrolling.tasks.communications.baselines import NOTES
from unrolling.tasks.communications.detection import Detection


class Published2017(Detection):
    """The setting of the first paper: 20 x 30, BPSK, independent entries."""

    name = "published-2017"
    notes = (
        "The released code counts 90 layers, the first of which is the start: 89 compute something, with 2,298,069 "
        "numbers.",
        *NOTES,
    )


class Published2019(Detection):
    """The setting of the second paper's released network: 30 x 60, BPSK, independent entries."""

    name = "published-2019"
    notes = (
        "The released code counts 30 layers, the first of which is the start, and makes step sizes for all 30: 29 "
        "layers compute something, with 737,818 of its 737,820 numbers.",
        *NOTES,
    )
