"""Damaged, truncated and oversized files of every format: read as they are, or refused by name."""

import io
import subprocess
import sys
import warnings
import zlib
from math import ceil

import numpy as np
import pytest
import torch

from tools.fuzz import mutations, seeds
from unrolling.files import pictures, png16, sound
from unrolling.files.decoding import Arrays, decoding
from unrolling.systems.imaging._files import _open_jpeg

CORPUS = {**seeds.pictures(), **seeds.sounds(), **seeds.arrays()}
# Formats whose pixels are whole without their last bytes: trailers, and what fills up a row.
TRAILERS = {"palette.gif": 3, "fax.tif": 8, "rgb.bmp": 3, "grey.bmp": 3}


def read(path):
    """All of a file, as an application would; tensors and arrays."""
    if path.suffix in pictures.SUFFIXES:
        if path.suffix == ".jpg" and "cmyk" not in path.name:
            _open_jpeg(path, {})
        return [pictures.read(path).pixels]
    if path.suffix in (".npz", ".npy"):
        return [torch.from_numpy(np.asarray(values)) for values in Arrays(path).values()]
    found = sound.opened(path)
    assert found.gain.shape == (found.form.channels, 1)
    with sound.reading(path, found.form) as reader:
        return [reader.piece(0, found.form.samples)]


def read_or_refused(path):
    """What is in a file, or None and what is said about it."""
    try:
        return read(path), ""
    except ValueError as error:
        return None, str(error)


@pytest.mark.parametrize("name", CORPUS)
def test_what_is_damaged_is_read_or_refused_by_its_name(tmp_path, name):
    path = tmp_path / name
    path.write_bytes(CORPUS[name])
    whole = read(path)
    assert all(values.numel() for values in whole)
    path = tmp_path / f"mutant-{name}"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for seed in range(15):
            path.write_bytes(mutations.mutated(CORPUS[name], seed))
            found, said = read_or_refused(path)
            assert found is not None or (str(path) in said and "\n" not in said), (seed, said)
            if found is not None and path.suffix not in (".npz", ".npy"):
                assert all(values.numel() and bool(torch.isfinite(values).all()) for values in found), seed


@pytest.mark.parametrize("name", CORPUS)
def test_what_is_truncated_is_refused_by_its_name(tmp_path, name):
    content = CORPUS[name]
    path = tmp_path / name
    lost = TRAILERS.get(name, 1)
    path.write_bytes(content)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        whole = read(path)
    for cut in {lost, lost + 1, lost + 40, *(ceil(len(content) * k / 8) for k in range(1, 8))}:
        path.write_bytes(content[:-cut])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found, said = read_or_refused(path)
        if name == "pages.tif" and found is not None:  # of several pictures the first is taken, which is whole
            assert torch.equal(found[0], whole[0])
            continue
        assert found is None, cut
        assert str(path) in said


@pytest.mark.parametrize(
    "error", [KeyError("x"), zlib.error("bad"), MemoryError(), RecursionError("deep"), EOFError(), OSError(5, "no")]
)
def test_whatever_a_decoder_raises_names_the_file(error, tmp_path):
    with (
        pytest.raises(ValueError, match=r"a\.png cannot be read as a picture: .*; really") as caught,
        decoding(tmp_path / "a.png", "a picture", "really"),
    ):
        raise error
    assert caught.value.__cause__ is error


# What unpacks to much more than it is. Each with the words it is refused with, and how it is made in a file's place.

HUGE = 4800


def packed_zeros(count):
    packer = zlib.compressobj(1)
    zeros = bytes(1 << 20)
    return b"".join(packer.compress(zeros) for _ in range(count >> 20)) + packer.flush()


def png(path, depth, channels):
    row = 1 + HUGE * channels * depth // 8
    with path.open("wb") as file:
        file.write(png16.SIGNATURE)
        colour = {1: 0, 3: 2}[channels]
        png16._write(file, b"IHDR", np.array([HUGE, HUGE], ">u4").tobytes() + bytes([depth, colour, 0, 0, 0]))
        png16._write(file, b"IDAT", packed_zeros(row * HUGE))
        png16._write(file, b"IEND", b"")


def tiff(path):
    import tifffile

    values = np.broadcast_to(np.uint16(7), (HUGE, HUGE, 3))
    tifffile.imwrite(path, values, compression="zlib", rowsperstrip=500)


def unneeded(path):
    zeros = np.broadcast_to(np.zeros(1), (1 << 25,))
    np.savez_compressed(path, y=np.ones((2, 3)), channel=np.ones((3, 3)), big=zeros)


def needed(path):
    np.savez_compressed(path, y=np.broadcast_to(np.zeros(1), ((1 << 22) + 1, 8)))


def header(path):
    content = io.BytesIO()
    np.save(content, np.zeros((2, 2)))
    path.write_bytes(content.getvalue().replace(b"(2, 2)", b"(2**0, )".replace(b"2**0, ", b"99999999999,")[:14]))


READ = """
import resource, sys
from pathlib import Path
from unrolling.files import pictures
from unrolling.files.decoding import Arrays
pictures.read(Path(sys.argv[1]) / "small.png")
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for name in sys.argv[2:]:
    path = Path(sys.argv[1]) / name
    try:
        found = Arrays(path)["y"] if path.suffix in (".npz", ".npy") else pictures.read(path)
        print(name, "read")
    except ValueError as error:
        print(" ".join(str(error).split()))
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


@pytest.mark.nightly
def test_what_is_made_to_fill_the_memory_does_not(tmp_path):
    (tmp_path / "small.png").write_bytes(CORPUS["rgb16.png"])
    wanted = "made to fill the memory"
    made = {
        "a.png": (lambda path: png(path, 8, 3), wanted),
        "b.png": (lambda path: png(path, 16, 3), wanted),
        "a.tif": (tiff, wanted),
        "a.npz": (unneeded, "read"),
        "b.npz": (needed, wanted),
        "a.npy": (header, "truncated"),
    }
    for name, (make, _) in made.items():
        make(tmp_path / name)
        assert (tmp_path / name).stat().st_size < 1 << 20
    command = [sys.executable, "-c", READ, str(tmp_path), *made]
    *said, taken = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    for (name, (_, words)), line in zip(made.items(), said, strict=True):
        assert name in line
        assert words in line
    assert int(taken) < 150  # MiB


def test_a_picture_of_many_pixels_that_are_there_is_read(tmp_path):
    """Flat pictures are small files."""
    from PIL import Image

    Image.new("RGB", (4000, 3000), (200, 10, 10)).save(tmp_path / "a.png")
    assert pictures.read(tmp_path / "a.png").pixels.shape == (3, 3000, 4000)
