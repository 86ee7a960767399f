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
    from unrolling.tasks.communications.codes import (
        bch_generator,
        bch_parity_check,
        light_words,
        overcomplete_parity_check,
        parity_check,
        progressive_edge_growth,
        reduced_parity_check,
        short_cycles,
    )
    from unrolling.tasks.communications.decoding import FER, Decoding
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
        ".codes": (
            "bch_generator bch_parity_check light_words overcomplete_parity_check parity_check progressive_edge_growth "
            "reduced_parity_check short_cycles"
        ),
        ".decoding": ("Decoding FER"),
        ".detection": ("Detection check_snr"),
        ".published": ("Published2017 Published2019"),
        ".sequence": ("SequenceDetection read_taps"),
    },
)
# fmt: off
__all__ = [
    "Decoding", "Detection", "FER", "Published2017", "Published2019", "SequenceDetection", "as_real",
    "bch_generator", "bch_parity_check", "check_snr", "detectors", "exponential_correlation",
    "fixed_channel", "iid_channels", "kronecker_channels", "light_words", "noise_variance",
    "overcomplete_parity_check", "parity_check", "progressive_edge_growth", "read_channels", "read_taps",
    "reduced_parity_check", "sequence_detectors", "short_cycles", "toeplitz_channel",
]
# fmt: on
# End of what is written.
