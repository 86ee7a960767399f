"""Detection of symbols."""

from typing import TYPE_CHECKING

from unrolling._lazy import lazy

# Written by `python -m tools.public_names`.
if TYPE_CHECKING:
    from unrolling.tasks.communications.baselines import detectors, sequence_detectors
    from unrolling.tasks.communications.channels import (
        as_real,
        exponential_correlation,
        fixed_channel,
        iid_channels,
        kronecker_channels,
        noise_variance,
        read_channels,
        toeplitz_channel,
    )
    from unrolling.tasks.communications.detection import Detection, check_snr
    from unrolling.tasks.communications.published import Published2017, Published2019
    from unrolling.tasks.communications.sequence import SequenceDetection, read_taps

__getattr__, __dir__ = lazy(
    __name__,
    {
        ".baselines": ("detectors sequence_detectors"),
        ".channels": (
            "as_real exponential_correlation fixed_channel iid_channels kronecker_channels noise_variance "
            "read_channels toeplitz_channel"
        ),
        ".detection": ("Detection check_snr"),
        ".published": ("Published2017 Published2019"),
        ".sequence": ("SequenceDetection read_taps"),
    },
)
# fmt: off
__all__ = [
    "Detection", "Published2017", "Published2019", "SequenceDetection", "as_real", "check_snr", "detectors",
    "exponential_correlation", "fixed_channel", "iid_channels", "kronecker_channels", "noise_variance",
    "read_channels", "read_taps", "sequence_detectors", "toeplitz_channel",
]
# fmt: on
# End of what is written.
