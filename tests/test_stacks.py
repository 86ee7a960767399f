"""TIFF stacks: what they hold, their moments in one pass, what is refused, and Learned SPARCOM on them."""

import io
import struct
import tracemalloc

import numpy as np
import pytest
import tifffile
import torch

from unrolling.files import stacks
from unrolling.files.stacks import moments, read_stack, spread_of
from unrolling.systems.catalogue import find
from unrolling.systems.medical._stacks import OPTIONS, application, super_resolved
from unrolling.tasks.medical.emitters import simulated_movies
from unrolling.tasks.medical.microscopy import Microscopy

FRAMES = (1000 + 100 * np.random.default_rng(0).standard_normal((9, 6, 7))).astype(np.uint16)


def tiff(path, frames=FRAMES, **options):
    options = {"photometric": "minisblack"} | options
    tifffile.imwrite(path, frames, **options)
    return path


def pages(path, *frames):
    with tifffile.TiffWriter(path) as file:
        for frame in frames:
            file.write(frame, photometric="minisblack", contiguous=False)
    return path


def imagej_without_pages(path, frames=FRAMES):
    """As ImageJ writes what does not fit into 4 GB: one page that stands for all, the frames one after the other."""
    first = io.BytesIO()
    text = f"ImageJ=1.54f\nimages={len(frames)}\nslices={len(frames)}\n"
    tifffile.imwrite(first, frames[0], photometric="minisblack", description=text, metadata=None)
    content = bytearray(first.getvalue())
    with tifffile.TiffFile(io.BytesIO(bytes(content))) as file:
        begin = file.pages[0].dataoffsets[0]
    assert begin + frames[0].nbytes == len(content)
    path.write_bytes(bytes(content) + frames[1:].tobytes())
    return path


@pytest.fixture(scope="module")
def network():
    system = find("medical/sparcom")
    return system.network(system.recipe(None)[1], Microscopy()).eval()


KINDS = {
    "16 bits": {},
    "packed": {"compression": "zlib", "predictor": True},
    "big": {"bigtiff": True},
    "other order": {"byteorder": ">"},
    "ImageJ": {"imagej": True},
    "strips": {"rowsperstrip": 2},
    "tiles": {"tile": (16, 16)},
    "OME": {"ome": True},
}


@pytest.mark.parametrize("kind", KINDS)
def test_moments_are_those_of_the_whole_movie(tmp_path, monkeypatch, kind):
    monkeypatch.setattr(stacks, "PIECE", 4 * 8 * 42)  # four frames at a time
    found = moments(read_stack(tiff(tmp_path / "a.tif", **KINDS[kind])))
    values = FRAMES.astype(float)
    assert (found.stack.frames, found.stack.height, found.stack.width) == FRAMES.shape
    assert np.allclose(found.mean, values.mean(0), rtol=1e-12)
    assert np.allclose(found.variance, values.var(0), rtol=1e-10)
    centred = values - values.mean(0)
    for number, (down, right) in enumerate(stacks.LAGS):
        expected = (centred[:, : 6 - down, : 7 - right] * centred[:, down:, right:]).mean(0)
        assert np.allclose(found.neighbours[number][: 6 - down, : 7 - right], expected, atol=1e-8)


def test_one_page_may_stand_for_all(tmp_path):
    path = imagej_without_pages(tmp_path / "a.tif")
    assert np.allclose(moments(read_stack(path)).variance, FRAMES.astype(float).var(0))
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(ValueError, match="truncated: it speaks of 9 frames"):
        read_stack(path)


@pytest.mark.parametrize("dtype", ["uint8", "int16", "int32", "float32", "float64"])
def test_values_of_any_kind_are_taken(tmp_path, dtype):
    frames = (FRAMES % 100).astype(dtype)
    found = moments(read_stack(tiff(tmp_path / "a.tif", frames)))
    assert np.allclose(found.variance, frames.astype(float).var(0), rtol=1e-9)


def test_what_all_frames_have_changes_nothing_and_windows_leave_out_what_is_slow(tmp_path):
    values = FRAMES.astype(np.float64)
    own = moments(read_stack(tiff(tmp_path / "a.tif", values)))
    median = np.median(values, axis=0)
    assert np.allclose(moments(read_stack(tiff(tmp_path / "b.tif", values - median))).variance, own.variance)
    steps = values + 1e6 * np.arange(9).reshape(9, 1, 1).clip(0, 8) // 3
    found = moments(read_stack(tiff(tmp_path / "c.tif", steps)), window=3)
    expected = np.mean([values[n : n + 3].var(0) for n in (0, 3, 6)], axis=0)
    jumps = 1e6 * np.array([0, 1, 2]) // 3  # a third of a million from frame to frame
    assert np.allclose(
        found.variance,
        np.mean([(values[n : n + 3] + jumps.reshape(3, 1, 1)).var(0) for n in (0, 3, 6)], axis=0),
        rtol=1e-6,
    )
    assert bool((expected < found.variance).all())
    with pytest.raises(ValueError, match="window is 1"):
        moments(read_stack(tmp_path / "a.tif"), window=1)


def test_memory_does_not_grow_with_the_length(tmp_path, monkeypatch):
    monkeypatch.setattr(stacks, "PIECE", 1 << 16)
    taken = []
    for count in (100, 800):
        path = tiff(tmp_path / f"{count}.tif", np.random.default_rng(1).integers(0, 99, (count, 32, 32), np.uint16))
        stack = read_stack(path)
        tracemalloc.start()
        moments(stack)
        taken.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert taken[1] < 1.3 * taken[0] < 1.5e6


@pytest.mark.parametrize("deviation", [0.9, 1.1, 1.5])
def test_the_point_spread_is_estimated_whatever_the_noise(tmp_path, deviation):
    movie = simulated_movies(1, 24, 400, 4, deviation, torch.Generator().manual_seed(1)).movie[0]
    noise = 0.3 * torch.randn(movie.shape, generator=torch.Generator().manual_seed(2))
    found = spread_of(moments(read_stack(tiff(tmp_path / "a.tif", (movie + noise).numpy()))))
    assert found == pytest.approx(deviation, rel=0.08)


def circle(path):
    content = bytearray(tiff(path).read_bytes())
    with tifffile.TiffFile(path) as file:
        last, first = file.pages[-1].offset, file.pages[0].offset
    entries = struct.unpack("<H", content[last : last + 2])[0]
    content[last + 2 + 12 * entries : last + 6 + 12 * entries] = struct.pack("<I", first)
    path.write_bytes(bytes(content))
    return path


def spoilt(path):
    frames = FRAMES.astype(np.float32)
    frames[4, 2, 3] = np.nan
    return tiff(path, frames)


def cut(path, left):
    path.write_bytes(tiff(path).read_bytes()[:left])
    return path


BAD = {
    "one frame": (lambda p: tiff(p, FRAMES[0]), "holds one frame"),
    "NaN": (spoilt, "frame 5 holds 1 values that are NaN or infinite, the first at row 2, column 3"),
    "sizes": (
        lambda p: pages(p, FRAMES[0], FRAMES[1], FRAMES[2][:5]),
        "frame 3 has 5 x 7 pixels, and the first one 6 x 7",
    ),
    "kinds": (lambda p: pages(p, FRAMES[0], FRAMES[1].astype(np.uint8)), "frame 2 holds uint8, the first one uint16"),
    "colour": (lambda p: tiff(p, np.zeros((4, 6, 7, 3), np.uint8), photometric="rgb"), "6 x 7 x 3; a frame is grey"),
    "complex": (lambda p: tiff(p, FRAMES.astype(np.complex64)), "complex64"),
    "channels": (lambda p: tiff(p, np.zeros((3, 2, 6, 7), np.uint16), imagej=True), "has 2 channels"),
    "circle": (circle, "circle"),
    "cut in a page": (lambda p: cut(p, 300), "truncated"),
    "cut near the end": (lambda p: cut(p, -300), "truncated"),
    "empty": (lambda p: (p.write_bytes(b""), p)[1], "no TIFF file"),
    "other": (lambda p: (p.write_bytes(b"\x89PNG\r\n\x1a\n" * 4), p)[1], "no TIFF file"),
    "missing": (lambda p: p, "does not exist"),
    "still": (lambda p: tiff(p, np.full((5, 6, 7), 9, np.uint16)), "nothing blinks"),
    "small": (lambda p: tiff(p, FRAMES[:, :4]), "4 x 7 pixels; 5 along a side are the least"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_stacks_are_refused_by_name(tmp_path, case):
    make, words = BAD[case]
    path = make(tmp_path / "bad.tif")
    with pytest.raises(ValueError, match=words) as caught:
        application().read(path, {})
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"psf": 3.0}, "a.tif: the point spread function is 7.1 pixels wide"),
        ({"psf": 0.0}, "--psf 0.0"),
        ({"psf": float("nan")}, "--psf nan"),
        ({"psf": float("inf")}, "more than the frame"),
        ({"window": 1}, "--window 1"),
    ],
)
def test_bad_options_are_refused(tmp_path, options, words):
    assert options.keys() <= {option.name for option in OPTIONS}
    with pytest.raises(ValueError, match=words):
        application().read(tiff(tmp_path / "a.tif"), options)


def test_parts_join_to_the_whole_where_they_are_one(network):
    variance = torch.rand(12, 9, generator=torch.Generator().manual_seed(0))
    whole = super_resolved(network, variance, 1.1, tile=0)
    movie = torch.stack([variance.sqrt(), -variance.sqrt()]).unsqueeze(0)
    with torch.no_grad():
        assert torch.allclose(whole, variance.max() * network(movie / variance.max().sqrt())[0], rtol=1e-4, atol=1e-7)
    assert torch.allclose(super_resolved(network, variance, 1.1, tile=12), whole, rtol=1e-5, atol=1e-8)
    with pytest.raises(ValueError, match="--tile 4"):
        super_resolved(network, variance, 1.1, tile=4)


def test_parts_cover_every_pixel_and_follow_the_scale(network):
    variance = 0.1 + torch.rand(21, 33, generator=torch.Generator().manual_seed(0))
    found = super_resolved(network, variance, 1.1, tile=8)
    assert found.shape == (84, 132)
    assert bool(torch.isfinite(found).all())
    assert torch.allclose(super_resolved(network, 1e6 * variance, 1.1, tile=8), 1e6 * found, rtol=1e-3, atol=1.0)


def test_a_wider_spread_is_brought_to_that_of_the_weights(network):
    """A point at twice the width, on a field of twice the size, is the same image twice as large."""
    grid = torch.arange(32.0)
    point = torch.exp(-((grid - 15.5) ** 2) / 2.2**2)
    wide = point.unsqueeze(1) * point
    found = super_resolved(network, wide, 1.1, psf=2.2, tile=0)
    assert found.shape == (128, 128)
    point = torch.exp(-((torch.arange(16.0) - 7.5) ** 2) / 1.1**2)
    expected = super_resolved(network, point.unsqueeze(1) * point, 1.1, tile=0)
    halves = found.view(64, 2, 64, 2).sum((1, 3))
    assert float((halves - expected).abs().max()) < 0.1 * float(expected.max())


@pytest.mark.parametrize("psf", [0.8, 1.5])
def test_another_grid_keeps_the_light(network, psf):
    variance = torch.zeros(20, 20)
    grid = torch.arange(20.0)
    for row, column in ((6, 7), (12, 13)):
        variance += torch.exp(-((grid - row) ** 2).unsqueeze(1) / psf**2 - (grid - column) ** 2 / psf**2)
    told = super_resolved(network, variance, 1.1, psf=psf, tile=0)
    assert told.shape == (80, 80)
    for row, column in ((6, 7), (12, 13)):
        near = (slice(4 * row - 6, 4 * row + 10), slice(4 * column - 6, 4 * column + 10))
        assert float(told[near].sum()) == pytest.approx(float(told.sum()) / 2, rel=0.1)


@pytest.mark.parametrize("suffix", [".tif", ".npy", ".png"])
def test_images_are_written_with_the_finer_resolution(tmp_path, network, suffix):
    source = tiff(tmp_path / "a.tif", resolution=(100, 50), resolutionunit=3)
    content = application().read(source, {})
    path = tmp_path / f"b{suffix}"
    facts = application().run(network, Microscopy(), content, [path])
    assert (facts["height"], facts["width"], facts["frames"]) == (24, 28, 9)
    if suffix == ".tif":
        with tifffile.TiffFile(path) as file:
            page = file.pages[0]
            assert page.dtype == np.float32
            assert page.tags["XResolution"].value == (400, 1)
            assert page.tags["YResolution"].value == (200, 1)
            assert float(page.asarray().max()) == pytest.approx(facts["brightest"])
    with pytest.raises(ValueError, match=r"\.jpg is none of them"):
        application().check(tmp_path / "c.jpg")
