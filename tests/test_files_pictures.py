"""Picture files: nothing that belongs to a picture is lost, and what is none is refused."""

import struct
import warnings
import zlib

import numpy as np
import pytest
import tifffile
import torch
from pictured import scene, uint8
from PIL import Image

from unrolling.files import pictures as pixels
from unrolling.files import png16


def levels(height=11, width=13, channels=3, depth=8, seed=0):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 2**depth, (height, width, channels), dtype=np.uint16 if depth == 16 else np.uint8)


def planes(values):
    top = 65535 if values.dtype == np.uint16 else 255
    return torch.from_numpy(values.astype(np.float32) / top).movedim(-1, 0)


# Reading and writing


@pytest.mark.parametrize("suffix", [".png", ".tif", ".webp", ".bmp"])
@pytest.mark.parametrize("channels", [1, 3])
def test_a_picture_of_8_bits_comes_back_to_the_bit(tmp_path, suffix, channels):
    values = levels(channels=channels)
    pixels.write(tmp_path / f"a{suffix}", pixels.Picture(planes(values)))
    found = pixels.read(tmp_path / f"a{suffix}")
    held = uint8(found.pixels.movedim(0, -1).numpy())
    np.testing.assert_array_equal(held if held.shape == values.shape else held[..., :1], values)  # webp has no grey
    assert found.depth == 8
    assert found.alpha is None


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_a_picture_of_16_bits_with_and_without_alpha_comes_back_to_the_bit(tmp_path, suffix, channels):
    values = planes(levels(channels=channels, depth=16))
    picture = pixels.Picture(values[: 1 if channels < 3 else 3], values[-1] if channels in (2, 4) else None, 16)
    pixels.write(tmp_path / f"a{suffix}", picture)
    found = pixels.read(tmp_path / f"a{suffix}")
    assert found.depth == 16
    assert torch.equal(found.pixels, picture.pixels)
    assert (found.alpha is None) == (picture.alpha is None)
    assert picture.alpha is None or torch.equal(found.alpha, picture.alpha)


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_png_files_of_16_bits_are_read_whatever_filter_their_rows_have(tmp_path, channels):
    """Against an encoder written here, with a row of each filter in turn."""
    values = levels(10, 7, channels, 16)
    rows = values.astype(">u2").view(np.uint8).reshape(10, -1).astype(int)
    size, coded = 2 * channels, []
    for r, row in enumerate(rows):
        above = rows[r - 1] if r else np.zeros_like(row)
        left, corner = (
            np.concatenate([np.zeros(size, int), row[:-size]]),
            np.concatenate([np.zeros(size, int), above[:-size]]),
        )
        guess = left + above - corner
        distances = np.stack([abs(guess - left), abs(guess - above), abs(guess - corner)])
        paeth = np.choose(distances.argmin(0), [left, above, corner])  # the first of equals
        predicted = [np.zeros_like(row), left, above, (left + above) // 2, paeth][r % 5]
        coded.append(bytes([r % 5]) + bytes(((row - predicted) % 256).astype(np.uint8)))

    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    colour = {1: 0, 2: 4, 3: 2, 4: 6}[channels]
    stream = zlib.compress(b"".join(coded))
    path = tmp_path / "a.png"
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", 7, 10, 16, colour, 0, 0, 0))
    path.write_bytes(
        png16.SIGNATURE + head + chunk(b"IDAT", stream[:50]) + chunk(b"IDAT", stream[50:]) + chunk(b"IEND", b"")
    )
    np.testing.assert_array_equal(png16.read(path), values)


def test_what_is_written_with_16_bits_is_a_png_file_for_others(tmp_path):
    values = levels(channels=3, depth=16)
    png16.write(tmp_path / "a.png", values)
    with Image.open(tmp_path / "a.png") as file:  # which keeps the upper 8 bits
        assert np.abs(np.asarray(file).astype(int) - (values >> 8)).max() <= 1


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", [".jpg", ".tif", ".png"])
def test_pictures_are_turned_upright_as_pillow_turns_them(tmp_path, orientation, suffix):
    from PIL import ImageOps

    image = Image.fromarray(np.kron(levels(6, 4), np.ones((8, 8, 1), np.uint8)))
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = orientation, "maker"
    image.save(tmp_path / f"a{suffix}", exif=exif)
    found = pixels.read(tmp_path / f"a{suffix}")
    with Image.open(tmp_path / f"a{suffix}") as file:
        wanted = np.asarray(ImageOps.exif_transpose(file).convert("RGB"))
    np.testing.assert_array_equal(uint8(found.pixels.movedim(0, -1).numpy()), wanted)
    pixels.write(tmp_path / "b.jpg", found)
    with Image.open(tmp_path / "b.jpg") as file:  # the notes stay, and nothing is turned twice
        assert file.getexif().get(0x0112, 1) == 1
        assert suffix == ".tif" or file.getexif()[0x010F] == "maker"


def test_orientations_of_16_bits_are_those_of_8(tmp_path):
    """Through Pillow for 8 bits, and by our own hand for 16."""
    values = levels(6, 4, 1)
    for orientation in range(1, 9):
        turned = pixels.turned(values, orientation)
        image = Image.fromarray(values[..., 0])
        exif = Image.Exif()
        exif[0x0112] = orientation
        image.save(tmp_path / "a.png", exif=exif)
        np.testing.assert_array_equal(uint8(pixels.read(tmp_path / "a.png").pixels[0].numpy()), turned[..., 0])


def test_one_bit_palettes_and_inks_become_grey_and_colours(tmp_path):
    grey, colour = levels(channels=1)[..., 0], levels()
    Image.fromarray(grey).convert("1", dither=0).save(tmp_path / "bit.png")
    found = pixels.read(tmp_path / "bit.png")
    assert set(found.pixels.unique().tolist()) == {0.0, 1.0}
    assert found.pixels.shape == (1, 11, 13)
    palette = Image.fromarray(colour).quantize(8)
    palette.save(tmp_path / "palette.png")
    np.testing.assert_array_equal(
        uint8(pixels.read(tmp_path / "palette.png").pixels.movedim(0, -1).numpy()), np.asarray(palette.convert("RGB"))
    )
    palette.save(tmp_path / "clear.png", transparency=0)
    assert pixels.read(tmp_path / "clear.png").alpha is not None
    inks = Image.fromarray(colour).convert("CMYK")
    inks.save(tmp_path / "inks.tif")
    with pytest.warns(UserWarning, match="four inks"):
        found = pixels.read(tmp_path / "inks.tif")
    np.testing.assert_array_equal(uint8(found.pixels.movedim(0, -1).numpy()), np.asarray(inks.convert("RGB")))


def test_alpha_is_left_out_with_a_word_where_a_file_cannot_hold_it(tmp_path):
    picture = pixels.Picture(scene(), torch.full((40, 56), 0.5))
    with pytest.warns(UserWarning, match="hold no alpha"):
        pixels.write(tmp_path / "a.jpg", picture)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pixels.write(tmp_path / "a.png", picture)
    found = pixels.read(tmp_path / "a.png").alpha
    assert found is not None
    assert float((found - 0.5).abs().max()) < 1 / 255


def test_the_profile_of_the_colours_stays(tmp_path):
    from PIL import ImageCms

    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for depth, suffix in ((8, ".png"), (8, ".jpg"), (8, ".tif"), (16, ".png"), (16, ".tif")):
        path = tmp_path / f"{depth}{suffix}"
        pixels.write(path, pixels.Picture(scene(channels=3), depth=depth, profile=profile))
        assert pixels.read(path).profile == profile, path


# What is refused


def make_bad(folder, kind):
    path = folder / f"{kind}.png"
    if kind == "text":
        path.write_text("not a picture")
    elif kind == "empty":
        path.write_bytes(b"")
    elif kind == "truncated":
        Image.fromarray(levels(200, 200)).save(path)
        path.write_bytes(path.read_bytes()[:3000])
    elif kind == "truncated deep":
        png16.write(path, levels(depth=16))
        path.write_bytes(path.read_bytes()[:200])
    elif kind == "no pixels":
        body = struct.pack(">IIBBBBB", 0, 5, 8, 0, 0, 0, 0)
        path.write_bytes(
            png16.SIGNATURE + struct.pack(">I", 13) + b"IHDR" + body + struct.pack(">I", zlib.crc32(b"IHDR" + body))
        )
    elif kind == "floats":
        path = folder / "floats.tif"
        tifffile.imwrite(path, np.full((4, 4), np.nan, np.float32))
    elif kind == "bright floats":
        path = folder / "bright.tif"
        tifffile.imwrite(path, np.full((4, 4), 7.0, np.float32))
    return path


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("text", "is not a picture"),
        ("empty", "is not a picture"),
        ("truncated", "is truncated"),
        ("truncated deep", "truncated"),
        ("no pixels", "cannot be read|nothing to work on|not a picture|is truncated"),
        ("floats", "not all finite"),
        ("bright floats", "in \\[0, 1\\]"),
    ],
)
def test_what_is_no_picture_is_refused_by_name(tmp_path, kind, words):
    path = make_bad(tmp_path, kind)
    with pytest.raises(ValueError, match=words) as caught:
        pixels.read(path)
    assert path.name in str(caught.value)


def test_outputs_that_cannot_be_written_are_found_before_the_work(tmp_path):
    for path, words in (
        (tmp_path / "a.gif", "pictures are written as"),
        (tmp_path / "a", "no suffix"),
        (tmp_path / "missing" / "a.png", "is not a folder"),
    ):
        with pytest.raises(ValueError, match=words):
            pixels.check_output(path)
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(ValueError, match="is a folder"):
        pixels.check_output(tmp_path / "folder.png")


def test_a_picture_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "a.png"
    pixels.write(path, pixels.Picture(scene()))
    before = path.read_bytes()

    def fail(*_, **__):
        raise OSError("no space left on device")

    monkeypatch.setattr(Image.Image, "save", fail)
    with pytest.raises(OSError, match="no space"):
        pixels.write(path, pixels.Picture(1 - scene()))
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["a.png"]


# Tiles


@pytest.mark.parametrize(("tile", "align"), [(16, 1), (7, 1), (16, 8), (30, 8)])
def test_tiles_give_what_the_whole_gives(tile, align):
    """For a map that sees three pixels in each direction."""
    weight = torch.ones(1, 1, 7, 7) / 49

    def run(piece):
        padded = torch.nn.functional.pad(piece.unsqueeze(1), (3, 3, 3, 3), mode="reflect")
        return torch.nn.functional.conv2d(padded, weight).squeeze(1)

    image = scene(67, 90, channels=3)
    torch.testing.assert_close(
        pixels.in_tiles(run, image, margin=3, tile=tile, align=align), run(image), atol=1e-6, rtol=0
    )


def test_tiles_of_a_map_that_enlarges_lie_in_their_places():
    image = scene(33, 41, channels=2)
    found = pixels.in_tiles(
        lambda x: x.repeat_interleave(3, 1).repeat_interleave(3, 2), image, margin=2, tile=10, scale=3
    )
    assert torch.equal(found, image.repeat_interleave(3, 1).repeat_interleave(3, 2))


def test_no_piece_is_larger_than_a_tile_with_its_margins():
    sizes = []

    def run(piece):
        sizes.append(max(piece.shape[-2:]))
        return piece

    pixels.in_tiles(run, torch.zeros(1, 300, 200), margin=5, tile=40)
    assert max(sizes) <= 50
