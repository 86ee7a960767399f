"""Bands in files: what is read and written, where they lie on the Earth, and pan-sharpening on the command line."""

import json

import numpy as np
import pytest
import tifffile
import torch
from command_line import refused

from unrolling.files._places import Tag, corner, finer
from unrolling.files.rasters import read_raster, write_raster
from unrolling.operators.modulation_transfer import Imagery, ModulationTransfer
from unrolling.systems.catalogue import find
from unrolling.systems.imaging._bands import filled, sharpened
from unrolling.tasks.images.pansharpening import Pansharpening
from unrolling.tasks.images.scenes import scene_by_part
from unrolling.training.weights import save_weights

NAME = "imaging/pansharpening"
SCALE, TIES, MATRIX, KEYS, NODATA = 33550, 33922, 34264, 34735, 42113
AREA, POINT = 1, 2


def place(scale=8.0, kind=AREA, x=300_000.0, y=4_500_000.0):
    keys = (1, 1, 0, 3, 1024, 0, 1, 1, 1025, 0, 1, kind, 3072, 0, 1, 32633)
    return [
        (SCALE, 12, 3, (scale, scale, 0.0), True),
        (TIES, 12, 6, (0.0, 0.0, 0.0, x, y, 0.0), True),
        (KEYS, 3, len(keys), keys, True),
    ]


def bits(bands=4, rows=12, columns=15, top=2047, seed=0):
    """Smooth bands of so many levels."""
    rng = np.random.default_rng(seed)
    coarse = rng.uniform(0.2, 0.8, (bands, rows // 3, columns // 3))
    return np.round(top * np.kron(coarse, np.ones((1, 3, 3)))).astype(np.uint8 if top < 256 else np.uint16)


def write(path, values, tags=(), **options):
    usual = {"photometric": "minisblack", "metadata": None}
    if values.ndim == 3:
        usual["planarconfig"] = "separate"
    tifffile.imwrite(path, values, extratags=tags, **{**usual, **options})
    return path


@pytest.fixture(scope="module")
def network():
    """A network whose layers add something."""
    system = find(NAME)
    made = system.network(system.recipes["pansharpening"], Pansharpening.small())
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, parameter in made.named_parameters():
            if "step_size" not in name:
                parameter.add_(0.02 * torch.randn(parameter.shape, generator=generator))
    return made.eval()


@pytest.fixture(scope="module")
def weights(network, tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "weights.safetensors"
    task = Pansharpening.small()
    save_weights(network, path, {"system": NAME, "task": task.identity(), "seed": 0}, task.fixed_tensors())
    return path


@pytest.fixture
def applied(unroll, weights):
    return lambda *arguments: unroll("apply", NAME, *arguments, "--weights", weights)


@pytest.fixture
def scene(tmp_path):
    """Bands of 8 m and a panchromatic image of 2 m of the same ground."""
    ms = write(tmp_path / "ms.tif", bits(), place())
    pan = write(tmp_path / "pan.tif", bits(1, 48, 60)[0], place(2.0))
    return ms, pan


# Files


@pytest.mark.parametrize("layout", ["separate", "contig", "pages", "rows as pages", "npy"])
def test_bands_are_read_in_whatever_order_a_file_has_them(tmp_path, layout):
    values = bits()
    path = tmp_path / ("a.npy" if layout == "npy" else "a.tif")
    if layout == "npy":
        np.save(path, values)
    elif layout == "separate":
        write(path, values)
    elif layout == "contig":
        write(path, np.moveaxis(values, 0, -1), planarconfig="contig")
    elif layout == "pages":
        tifffile.imwrite(path, values, photometric="minisblack")
    else:
        tifffile.imwrite(path, np.ascontiguousarray(np.moveaxis(values, 0, -1)), photometric="minisblack")
    assert torch.equal(read_raster(path).values, torch.from_numpy(values.astype(np.float32)))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int16, np.float32, np.float64])
@pytest.mark.parametrize("suffix", [".tif", ".npy"])
def test_what_is_written_is_read_again_in_its_kind_of_numbers(tmp_path, dtype, suffix):
    values = bits(top=200).astype(dtype)
    first, again = tmp_path / f"a{suffix}", tmp_path / f"b{suffix}"
    if suffix == ".npy":
        np.save(first, values)
    else:
        write(first, values, place())
    raster = read_raster(first)
    write_raster(again, raster)
    found = read_raster(again)
    assert found.dtype == raster.dtype == np.dtype(dtype)
    assert torch.equal(found.values, raster.values)
    assert found.tags == raster.tags


def test_numbers_are_rounded_and_cut_to_what_the_file_holds(tmp_path):
    raster = read_raster(write(tmp_path / "a.tif", bits(top=200)))
    shifted = raster.values + torch.linspace(-400, 400, raster.values.numel()).reshape(raster.values.shape)
    write_raster(tmp_path / "b.tif", raster.enlarged(shifted, raster.valid))
    assert torch.equal(read_raster(tmp_path / "b.tif").values, shifted.round().clamp(0, 255))


def test_pixels_without_data_are_known_by_number_by_nan_and_by_transparency(tmp_path):
    values = bits()
    values[:, 2, 3] = 0
    numbered = read_raster(write(tmp_path / "a.tif", values, [(NODATA, 2, None, "0", True)]))
    floating = values.astype(np.float32)
    floating[1, 2, 3] = np.nan
    clear = np.concatenate([bits(3, top=200), np.full((1, 12, 15), 255, np.uint8)])
    clear[3, 2, 3] = 0
    options = {"photometric": "rgb", "extrasamples": ["unassalpha"]}
    with pytest.warns(UserWarning, match="transparency"):
        transparent = read_raster(write(tmp_path / "c.tif", clear, **options))
    for raster in (numbered, read_raster(write(tmp_path / "b.tif", floating)), transparent):
        assert not raster.valid[2, 3]
        assert int((~raster.valid).sum()) == 1
    assert transparent.values.shape[0] == 3


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda path: path.write_bytes(b"no picture"), "cannot be read as a TIFF file"),
        (lambda path: path.write_bytes(path.read_bytes()[:-900]), "truncated"),
        (lambda path: write(path, np.full((2, 4, 4), np.nan, np.float32)), "no pixel with data"),
        (lambda path: write(path, np.zeros((2, 4, 4), np.complex64)), "complex64"),
    ],
)
def test_files_that_hold_no_bands_are_refused_by_name(tmp_path, spoil, message):
    path = write(tmp_path / "a.tif", bits())
    spoil(path)
    with pytest.raises(ValueError, match=message) as caught:
        read_raster(path)
    assert str(path) in str(caught.value)


# Places


@pytest.mark.parametrize("kind", [AREA, POINT])
@pytest.mark.parametrize("factor", [2, 3, 4])
def test_smaller_pixels_cover_the_same_ground(kind, factor):
    tags = [Tag(code, dtype, value) for code, dtype, _, value, _ in place(8.0, kind)]
    half = 4.0 if kind == POINT else 0.0
    assert corner(tags) == (300_000.0 - half, 4_500_000.0 + half, 8.0, 8.0)
    assert corner(finer(tags, factor)) == pytest.approx((300_000.0 - half, 4_500_000.0 + half, 8 / factor, 8 / factor))


@pytest.mark.parametrize("kind", [AREA, POINT])
def test_a_matrix_sends_the_middle_of_a_pixel_to_that_of_the_small_ones_it_becomes(kind):
    matrix = (6.0, 1.0, 0.0, 10.0, 2.0, -5.0, 0.0, 20.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0)
    tags = [Tag(MATRIX, 12, matrix), Tag(KEYS, 3, (1, 1, 0, 1, 1025, 0, 1, kind))]
    small = np.array(finer(tags, 4)[0].value).reshape(4, 4)
    half = 0.0 if kind == POINT else 0.5  # of a pixel, where coordinates are those of corners

    def middle(m, row, column):
        return (m @ [column + half, row + half, 0, 1])[:2]

    large = np.array(matrix).reshape(4, 4)
    for row, column in ((0, 0), (3, 5)):
        corners = [middle(small, 4 * row + r, 4 * column + c) for r in (0, 3) for c in (0, 3)]
        np.testing.assert_allclose(np.mean(corners, 0), middle(large, row, column))


# Pieces


def test_a_scene_in_pieces_is_the_whole_scene(network):
    generator = torch.Generator().manual_seed(1)
    data = Imagery(torch.rand(1, 1, 76, 6, generator=generator), torch.rand(1, 1, 304, 24, generator=generator))
    everywhere = torch.ones(76, 6, dtype=torch.bool)
    with torch.no_grad():
        whole = network(data)[0]
    torch.testing.assert_close(sharpened(network, data, everywhere, tile=64), whole, rtol=1e-4, atol=1e-4)
    assert network.layers[0].data_term.statistics is None


def test_holes_are_filled_from_the_nearest_pixels():
    values = torch.arange(12.0).reshape(1, 3, 4)
    valid = torch.ones(3, 4, dtype=torch.bool)
    valid[1, 0] = valid[0, 0] = False
    found = filled(values.masked_fill(~valid, float("nan")), valid)
    assert bool(torch.isfinite(found).all())
    assert float(found[0, 1, 0]) in (5.0, 8.0)
    assert torch.equal(found[:, valid], values[:, valid])


# The command line


def test_bands_get_the_pixels_of_the_panchromatic_image_and_its_ground(applied, scene, tmp_path):
    status, output, said = applied(scene[0], "--pan", scene[1], "-o", tmp_path / "out.tif", "--json")
    assert status == 0, said
    found = read_raster(tmp_path / "out.tif")
    assert found.values.shape == (4, 48, 60)
    assert found.dtype == np.uint16
    assert corner(found.tags) == (300_000.0, 4_500_000.0, 2.0, 2.0)
    told = json.loads(output)
    assert (told["ratio"], told["bands"], told["without_data"]) == (4, 4, 0.0)


@pytest.mark.parametrize("count", [1, 3, 4, 8])
def test_any_number_of_bands_will_do(applied, scene, tmp_path, count):
    bands = write(tmp_path / "bands.tif", bits(count) if count > 1 else bits(1)[0])
    assert applied(bands, "--pan", scene[1], "-o", tmp_path / "out.tif")[0] == 0
    assert read_raster(tmp_path / "out.tif").values.shape == (count, 48, 60)


def test_eight_bits_beside_eleven_change_nothing(applied, scene, tmp_path):
    write(tmp_path / "dim.tif", (tifffile.imread(scene[1]) // 8).astype(np.uint8), place(2.0))
    write(tmp_path / "eleven.tif", 8 * (tifffile.imread(scene[1]) // 8).astype(np.uint16), place(2.0))
    for name in ("dim", "eleven"):
        applied(scene[0], "--pan", tmp_path / f"{name}.tif", "-o", tmp_path / f"{name}-out.tif")
    one, other = (read_raster(tmp_path / f"{name}-out.tif").values for name in ("dim", "eleven"))
    assert float((one - other).abs().max()) <= 1


def test_pixels_without_data_stay_so_and_spoil_no_others(applied, scene, tmp_path):
    values = bits().astype(np.float32)
    whole = write(tmp_path / "whole.tif", values, place())
    values[:, :3, :3] = np.nan
    holed = write(tmp_path / "holed.tif", values, place())
    for source in (whole, holed):
        assert applied(source, "--pan", scene[1], "-o", tmp_path / f"{source.stem}-out.tif")[0] == 0
    found, full = (read_raster(tmp_path / f"{name}-out.tif") for name in ("holed", "whole"))
    assert not found.valid[:12, :12].any()
    assert bool(found.valid[12:].all())
    far = slice(-12, None)
    assert float((found.values - full.values)[:, far, far].abs().max()) < 0.2 * float(full.values.max())


def test_another_ratio_is_worked_on_and_said(applied, tmp_path):
    ms = write(tmp_path / "ms.tif", bits())
    pan = write(tmp_path / "pan.tif", bits(1, 24, 30)[0])
    status, _, said = applied(ms, "--pan", pan, "-o", tmp_path / "out.tif", "--set", "factor=2")
    assert status == 0, said
    assert read_raster(tmp_path / "out.tif").values.shape == (4, 24, 30)
    assert "ratio 2 is not 4 that the weights were trained for" in said
    refused(applied(ms, "--pan", pan, "-o", tmp_path / "b.tif"), "factor is 2", "--set factor=2")


def test_images_of_different_scenes_are_noticed(applied, tmp_path):
    rng = np.random.default_rng(3)
    ms = write(tmp_path / "ms.tif", bits(seed=1))
    pan = write(tmp_path / "pan.tif", rng.integers(0, 2047, (48, 60)).astype(np.uint16))
    _, _, said = applied(ms, "--pan", pan, "-o", tmp_path / "out.tif")
    assert "may not show the same scene" in said


def test_a_folder_of_bands_has_a_folder_of_panchromatic_images(applied, tmp_path):
    for folder in ("ms", "pan", "out"):
        (tmp_path / folder).mkdir()
    for name in ("a", "b"):
        write(tmp_path / "ms" / f"{name}.tif", bits())
        write(tmp_path / "pan" / f"{name}.tif", bits(1, 48, 60)[0])
    status, _, said = applied(tmp_path / "ms", "--pan", tmp_path / "pan", "-o", tmp_path / "out")
    assert status == 0, said
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a.tif", "b.tif"]


def test_what_does_not_fit_is_refused_in_one_line_and_nothing_is_written(applied, scene, tmp_path):
    ms, pan = scene
    out = ("-o", tmp_path / "out.tif")
    odd = write(tmp_path / "odd.tif", bits(1, 48, 63)[0])
    away = write(tmp_path / "away.tif", bits(1, 48, 60)[0], place(2.0, x=300_010.0))
    wider = write(tmp_path / "wider.tif", bits(1, 48, 60)[0], place(2.5))
    same = write(tmp_path / "same.tif", bits(1)[0])
    refused(applied(ms, *out), ms, "--pan FILE")
    refused(applied(ms, "--pan", odd, *out), "48 x 63 pixels, which is no whole multiple of the 12 x 15")
    refused(applied(ms, "--pan", ms, *out), "has 4 bands, and a panchromatic image has one")
    refused(applied(pan, "--pan", ms, *out), "are the two files in the other order?")
    refused(applied(ms, "--pan", same, *out), "nothing to sharpen")
    refused(applied(ms, "--pan", away, *out), "begins 5 of its pixels away")
    refused(applied(ms, "--pan", wider, *out), "they show different pieces of ground")
    refused(applied(ms, "--pan", tmp_path / "none.tif", *out), "none.tif does not exist")
    refused(applied(ms, "--pan", pan, "-o", tmp_path / "out.jpg"), "bands are written as .tif, .tiff, .npy")
    refused(applied(ms, "--pan", pan, *out, "--gain", "1.5"), "gain is 1.5")
    refused(applied(ms, "--pan", pan, *out, "--gain", "0.3"), "built for 0.25: --set gain=0.3")
    assert not (tmp_path / "out.tif").exists()


# Scenes


def write_scene(path, bands=4, rows=48, columns=120, ratio=4):
    from scipy.io import savemat

    rng = np.random.default_rng(0)
    ms = rng.integers(1, 2047, (rows, columns, bands)).astype(np.uint16)
    pan = rng.integers(1, 2047, (ratio * rows, ratio * columns)).astype(np.uint16)
    savemat(path, {"I_MS": ms, "I_PAN": pan})
    return ms, pan


def test_a_scene_is_divided_by_columns_with_a_gap(tmp_path):
    ms, pan = write_scene(tmp_path / "scene.mat")
    parts = scene_by_part(tmp_path / "scene.mat", ModulationTransfer())
    whole = torch.from_numpy(ms.astype(np.float32)).movedim(-1, 0) / 2048
    assert torch.equal(parts["train"]["scene"][:-1], whole[..., :56])
    assert torch.equal(parts["validation"]["scene"][:-1], whole[..., 56:72])
    assert torch.equal(parts["test"]["scene"][:-1], whole[..., 84:])
    reduced = ModulationTransfer()(torch.from_numpy(pan.astype(np.float32))[None, None] / 2048)[0, 0]
    torch.testing.assert_close(parts["test"]["scene"][-1], reduced[:, 84:])
    own = Pansharpening(data=tmp_path / "scene.mat", crop=16)
    assert own.bands == 4
    assert own.test[0].target.shape == (1, 4, 48, 36)


def test_scenes_that_cannot_be_divided_are_refused(tmp_path):
    write_scene(tmp_path / "a.mat", ratio=2)
    with pytest.raises(ValueError, match="2 times the bands' pixels along a side, and factor is 4; set factor=2"):
        Pansharpening(data=tmp_path / "a.mat")
    write_scene(tmp_path / "b.mat", columns=40)
    with pytest.raises(ValueError, match="40 columns; at least 100"):
        Pansharpening(data=tmp_path / "b.mat")


@pytest.mark.parametrize(("name", "inputs"), [("pansharpening", 3), ("pansharpening_mixture", 4)])
def test_the_networks_of_the_catalogue_have_their_number_of_parameters(name, inputs):
    system = find(f"imaging/{name}")
    network = system.network(system.recipes["pansharpening"], Pansharpening.small())
    assert sum(p.numel() for p in network.parameters()) == 4 * (28 * (9 * inputs + 1) + 28 * 253 + 253 + 56 + 1)
