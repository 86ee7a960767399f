"""Formats: what is read and written, nothing learned."""

from typing import TYPE_CHECKING

from unrolling._lazy import lazy

# Written by `python -m tools.public_names`.
if TYPE_CHECKING:
    from unrolling.files.kspace import is_centred, read_kspace, write_image
    from unrolling.files.pictures import Picture, files_of, in_tiles, pillow, turned
    from unrolling.files.png16 import Header, header
    from unrolling.files.received import (
        Vectors,
        check_outputs,
        numbers,
        read_arrays,
        read_sequences,
        read_vectors,
        write_symbols,
    )
    from unrolling.files.sound import (
        Applied,
        Processor,
        Recording,
        SoundFormat,
        apply,
        inspect,
        reach,
        resample,
        soundfile,
    )
    from unrolling.files.whole import write_bytes

__getattr__, __dir__ = lazy(
    __name__,
    {
        ".kspace": ("is_centred read_kspace write_image"),
        ".pictures": ("Picture files_of in_tiles pillow turned"),
        ".png16": ("Header header"),
        ".received": ("Vectors check_outputs numbers read_arrays read_sequences read_vectors write_symbols"),
        ".sound": ("Applied Processor Recording SoundFormat apply inspect reach resample soundfile"),
        ".whole": ("write_bytes"),
    },
)
# fmt: off
__all__ = [
    "Applied", "Header", "Picture", "Processor", "Recording", "SoundFormat", "Vectors", "apply",
    "check_outputs", "files_of", "header", "in_tiles", "inspect", "is_centred", "numbers", "pillow", "reach",
    "read_arrays", "read_kspace", "read_sequences", "read_vectors", "resample", "soundfile", "turned",
    "write_bytes", "write_image", "write_symbols",
]
# fmt: on
# End of what is written.
