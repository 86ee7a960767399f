"""Whether sound files are as long as they say; libsndfile reads what there is."""

from __future__ import annotations

import os
import struct
from pathlib import Path


def check_whole(path: Path) -> None:
    """Refuses a wav file whose data end before its header says; libsndfile would read what there is."""
    with path.open("rb") as file:
        head = file.read(12)
        if len(head) < 12 or head[:4] != b"RIFF" or head[8:] != b"WAVE":
            return
        size = path.stat().st_size
        while len(chunk := file.read(8)) == 8:
            name, length = struct.unpack("<4sI", chunk)
            if name == b"data":
                # 0 and the largest number mean that the writer, a stream, did not know.
                if length not in (0, 0xFFFFFFFF) and file.tell() + length > size:
                    raise ValueError(
                        f"{path} is truncated: its header speaks of {length} bytes of samples, and "
                        f"{size - file.tell()} are there"
                    )
                return
            file.seek(length + length % 2, os.SEEK_CUR)
    raise ValueError(f"{path} is truncated: it is a wav file without samples")
