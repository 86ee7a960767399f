"""Files of what a compressive camera measured: samples of blocks with the matrix that made them."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from torch import Tensor

from unrolling.files.decoding import Arrays
from unrolling.files.received import numbers

READS = (
    "a .npz file with samples (rows, columns, m) of blocks and matrix (m, b b), the pixels of a block row by row; "
    "there may be height and width of the picture before it was filled up to whole blocks"
)
SUFFIXES = (".npz",)


class Measured(NamedTuple):
    """Samples of the blocks of a picture, in double precision."""

    samples: Tensor  # (1, rows, columns, m)
    matrix: Tensor  # (1, m, b b)
    size: tuple[int, int]  # height and width of the picture


def read_block_samples(path: str | Path, block: int) -> Measured:
    """The samples of a ``.npz`` file, of any precision.

    Args:
        path: of the file.
        block: b, the side of the blocks that are worked on.

    Raises:
        FileNotFoundError: no such file.
        ValueError: arrays that are missing, of the wrong shape, or no finite real numbers; a matrix for blocks of
            another size, or with more rows than pixels; a picture that is no part of the blocks.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist; the input is {READS}")
    arrays = Arrays(path)
    missing = [name for name in ("samples", "matrix") if name not in arrays]
    if missing:
        held = ", ".join(arrays) if arrays.zipped else "one array"
        raise ValueError(f"{path} holds {held or 'nothing'}; what is needed are samples and matrix")
    samples, matrix = (_real(arrays, name) for name in ("samples", "matrix"))
    samples = samples.unsqueeze(0) if samples.ndim == 3 else samples
    matrix = matrix.unsqueeze(0) if matrix.ndim == 2 else matrix
    if samples.ndim != 4 or samples.shape[0] != 1 or 0 in samples.shape:
        raise ValueError(
            f"{path}: samples are (rows of blocks, columns of blocks, m) of one picture; got "
            f"{tuple(arrays['samples'].shape)}"
        )
    if matrix.ndim != 3 or matrix.shape[0] != 1 or 0 in matrix.shape:
        raise ValueError(f"{path}: the matrix is (m, pixels of a block); got {tuple(arrays['matrix'].shape)}")
    m, pixels = matrix.shape[1:]
    if pixels != block**2:
        turned = "; is it transposed?" if m == block**2 else ""
        raise ValueError(
            f"{path}: the weights are for blocks of {block} x {block} = {block**2} pixels, and a row of the matrix has "
            f"{pixels}{turned}"
        )
    if m > pixels:
        raise ValueError(f"{path}: the matrix has {m} rows, more than the {pixels} pixels of a block")
    if samples.shape[-1] != m:
        raise ValueError(f"{path}: each block has {samples.shape[-1]} samples, and the matrix {m} rows")
    rows, columns = samples.shape[1:3]
    whole = (rows * block, columns * block)
    size = (_side(arrays, "height", whole[0], block), _side(arrays, "width", whole[1], block))
    return Measured(samples, matrix, size)


def _real(arrays: Arrays, name: str) -> Tensor:
    array = arrays[name]
    if array.dtype.kind == "c":
        raise ValueError(f"{arrays.path}: {name} is complex, and light is measured in real numbers; got {array.dtype}")
    return numbers(arrays.path, name, array, "real")


def _side(arrays: Arrays, name: str, whole: int, block: int) -> int:
    if name not in arrays:
        return whole
    value = arrays[name].reshape(-1)
    if value.size != 1 or value.dtype.kind not in "iu" or not whole - block < int(value[0]) <= whole:
        raise ValueError(
            f"{arrays.path}: {name} is a whole number from {whole - block + 1} to {whole}, as the samples have "
            f"{whole // block} blocks of {block} pixels; got {value.tolist()[:4]}"
        )
    return int(value[0])
