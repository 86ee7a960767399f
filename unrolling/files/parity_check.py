"""Files of parity-check matrices: alist, and arrays of NumPy."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from unrolling.files.decoding import LARGE, Arrays, decoding
from unrolling.files.whole import write_bytes


def read_parity_check(path: str | Path) -> Tensor:
    """A parity-check matrix (checks, bits) bool from an ``.alist`` file, or from a ``.npy`` file of zeros and ones.

    An alist file (MacKay) has numbers in lines: bits and checks; the largest weights; the weight of each bit; of each
    check; the checks of each bit, counted from 1, filled up with zeros; the bits of each check, which may be left out.

    Raises:
        ValueError: no such file, another format, numbers that contradict each other, no zeros and ones.
    """
    path = Path(path)
    with decoding(path, "a parity-check matrix", "it is an alist file, or a .npy file of zeros and ones"):
        found = _array(path) if path.suffix in (".npy", ".npz") else _alist(path.read_text(encoding="ascii"))
    if found.ndim != 2 or 0 in found.shape:
        raise ValueError(f"{path} has the shape {found.shape}; a parity-check matrix has (checks, bits)")
    if not bool(((found == 0) | (found == 1)).all()):
        raise ValueError(f"{path} holds something else than zeros and ones")
    if not bool(found.any()):
        raise ValueError(f"{path} holds no ones")
    return torch.from_numpy(found.astype(bool))


def write_alist(path: str | Path, matrix: Tensor) -> None:
    """Write H (checks, bits) as an alist file, whole or not at all."""
    ones = matrix.bool()
    rows, columns = ([line.nonzero().flatten().tolist() for line in side] for side in (ones, ones.T))
    widest = [max(map(len, side)) for side in (columns, rows)]
    lines = [[ones.shape[1], ones.shape[0]], widest, [len(each) for each in columns], [len(each) for each in rows]]
    for side, width in zip((columns, rows), widest, strict=True):
        lines += [[place + 1 for place in each] + [0] * (width - len(each)) for each in side]
    text = "".join(" ".join(map(str, line)) + "\n" for line in lines)
    write_bytes(Path(path), text.encode("ascii"))


def _array(path: Path) -> np.ndarray:
    content = np.asarray(Arrays(path).only)
    if content.dtype.kind not in "biuf":
        raise ValueError(f"it holds {content.dtype}")
    return content


def _alist(text: str) -> np.ndarray:
    lines = [[int(word) for word in line.split()] for line in text.splitlines() if line.strip()]
    if len(lines) < 4 or len(lines[0]) != 2:
        raise ValueError("an alist file begins with the numbers of bits and of checks")
    bits, checks = lines[0]
    if bits < 1 or checks < 1 or bits * checks > LARGE:
        raise ValueError(f"it says that it has {bits} bits and {checks} checks")
    if len(lines[2]) != bits or len(lines[3]) != checks or len(lines) < 4 + bits:
        raise ValueError(
            f"it has {len(lines)} lines, and not the weights and places of {bits} bits and {checks} checks"
        )
    matrix = np.zeros((checks, bits), dtype=bool)
    for bit, places in enumerate(lines[4 : 4 + bits]):
        used = [place for place in places if place]
        if any(not 1 <= place <= checks for place in used):
            raise ValueError(f"bit {bit + 1} is in the checks {used}, and there are 1 to {checks}")
        if len(used) != lines[2][bit] or len(set(used)) != len(used):
            raise ValueError(f"bit {bit + 1} should be in {lines[2][bit]} checks; the file lists {used}")
        matrix[[place - 1 for place in used], bit] = True
    for check, places in enumerate(lines[4 + bits : 4 + bits + checks]):
        if sorted(place for place in places if place) != (matrix[check].nonzero()[0] + 1).tolist():
            raise ValueError(f"check {check + 1} has other bits in its own line than in those of the bits")
    if matrix.sum(1).tolist() != lines[3]:
        raise ValueError("the weights of the checks are others than the lists say")
    return matrix
