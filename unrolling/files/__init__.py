"""Formats: what is read and written, nothing learned."""

from typing import TYPE_CHECKING

from unrolling._lazy import lazy

# Written by `python -m tools.public_names`.
if TYPE_CHECKING:
    from unrolling.files.pictures import Picture, check_output, files_of, in_tiles, pillow, turned
    from unrolling.files.png16 import Header, header
    from unrolling.files.sound import Applied, Format, Processor, Sound, apply, inspect, reach, resample, soundfile

__getattr__, __dir__ = lazy(
    __name__,
    {
        ".pictures": ("Picture check_output files_of in_tiles pillow turned"),
        ".png16": ("Header header"),
        ".sound": ("Applied Format Processor Sound apply inspect reach resample soundfile"),
    },
)
# fmt: off
__all__ = [
    "Applied", "Format", "Header", "Picture", "Processor", "Sound", "apply", "check_output", "files_of",
    "header", "in_tiles", "inspect", "pillow", "reach", "resample", "soundfile", "turned",
]
# fmt: on
# End of what is written.
