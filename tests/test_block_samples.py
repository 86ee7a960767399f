"""Samples of blocks in files: what is read, what is refused, compressive imaging on the command line."""

import json

import numpy as np
import pytest
import torch
from command_line import refused
from PIL import Image

from unrolling import unroll as unrolled
from unrolling.algorithms.splitting.block_projections import (
    BlockProjections,
    BlockSamples,
    RatedProximalGradient,
    measure_blocks,
    orthonormalised,
)
from unrolling.core import Unrolled
from unrolling.networks.transform_shrinkage import TransformShrinkage
from unrolling.systems.base import Recipe
from unrolling.systems.catalogue import find
from unrolling.systems.imaging import _block_samples, ista_net
from unrolling.systems.imaging._block_samples import reconstructed
from unrolling.tasks.images.compressive_rates import CompressiveRates
from unrolling.tasks.images.sources import few_drawn
from unrolling.training.weights import save_weights

NAME, BLOCK, M = "imaging/ista_net", 8, 20


def small_network(task: CompressiveRates, depth: int = 2) -> Unrolled:
    step = RatedProximalGradient(BlockProjections(task.block), TransformShrinkage(4), 0.001, channels=4)
    made = unrolled(step, depth, untied=ista_net.LEARNED)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for layer in made.layers:
            layer.prox.synthesis.normal_(0, 0.1, generator=generator)
            layer.threshold_slope.normal_(0, 0.1, generator=generator)
    return made.eval()


@pytest.fixture
def applied(unroll, tmp_path, monkeypatch):
    """The command with weights of a small network."""
    small = CompressiveRates(block=BLOCK, crop=24, data=few_drawn())
    recipe = find(NAME).recipes["compressive_rates"]
    monkeypatch.setitem(
        find(NAME).recipes,  # pyright: ignore[reportArgumentType]
        "compressive_rates",
        Recipe(recipe.parent, recipe.tying, 2, recipe.schedule, build=small_network, range=recipe.range),
    )
    monkeypatch.setattr(_block_samples, "BLOCK", BLOCK)
    monkeypatch.setattr(type(find(NAME)), "task", lambda self, name, **options: small)
    path = tmp_path / "weights.safetensors"
    save_weights(small_network(small), path, {"system": NAME, "task": small.identity(), "seed": 0, "depth": 2}, {})
    return lambda *arguments: unroll("apply", NAME, *arguments, "--weights", path)


def scene(rows=3, columns=4, m=M, seed=0):
    """A smooth picture and a matrix with orthonormal rows."""
    generator = torch.Generator().manual_seed(seed)
    y, x = torch.meshgrid(torch.linspace(0, 3, rows * BLOCK), torch.linspace(0, 4, columns * BLOCK), indexing="ij")
    picture = (0.5 + 0.3 * torch.sin(y) * torch.cos(x)).unsqueeze(0)
    matrix = torch.linalg.qr(torch.randn(BLOCK**2, m, generator=generator))[0].T.contiguous().unsqueeze(0)
    return picture, matrix


def written(path, picture, matrix, **more):
    samples = measure_blocks(picture, matrix)[0].numpy()
    np.savez(path, samples=samples, matrix=matrix[0].numpy(), **more)
    return path


# Pieces


def test_a_picture_in_pieces_is_the_whole_picture():
    picture, matrix = scene(6, 5)
    data = BlockSamples(measure_blocks(picture, matrix), matrix)
    net = small_network(CompressiveRates.small())
    with torch.no_grad():
        torch.testing.assert_close(reconstructed(net, data, tile=16), net(data), rtol=1e-5, atol=1e-6)


# The command line


def test_samples_become_a_picture_of_the_size_that_the_file_says(applied, tmp_path):
    picture, matrix = scene()
    source = written(tmp_path / "a.npz", picture, matrix, height=21, width=30)
    status, output, said = applied(source, "-o", tmp_path / "out.png", "--json")
    assert status == 0, said
    found = np.asarray(Image.open(tmp_path / "out.png"), dtype=np.float32) / 255
    assert found.shape == (21, 30)
    net = small_network(CompressiveRates.small())
    with torch.no_grad():
        expected = net(BlockSamples(measure_blocks(picture, matrix), matrix))[0, :21, :30].clamp(0, 1)
    assert np.abs(found - expected.numpy()).max() < 1 / 255
    told = json.loads(output)
    assert (told["height"], told["width"], told["samples_per_block"]) == (21, 30, M)


def test_rows_that_are_not_orthonormal_are_made_so_and_that_is_said(applied, tmp_path):
    picture, _ = scene()
    raw = torch.randn(1, M, BLOCK**2, generator=torch.Generator().manual_seed(3)).double()
    source = written(tmp_path / "a.npz", picture.double(), raw)
    status, _, said = applied(source, "-o", tmp_path / "out.png")
    assert status == 0
    assert "not orthonormal" in said
    data = orthonormalised(BlockSamples(measure_blocks(picture.double(), raw), raw))
    again = tmp_path / "b.npz"
    np.savez(again, samples=data.samples[0].numpy(), matrix=data.matrix[0].numpy())
    assert applied(again, "-o", tmp_path / "again.png")[0] == 0
    one, other = (np.asarray(Image.open(tmp_path / f"{name}.png"), dtype=int) for name in ("out", "again"))
    assert np.abs(one - other).max() <= 1


def test_levels_of_eight_bits_need_their_white_named(applied, tmp_path):
    picture, matrix = scene()
    source = written(tmp_path / "a.npz", 255 * picture, matrix)
    refused(applied(source, "-o", tmp_path / "out.png"), "--white", "255 for levels of 8 bits", source)
    assert applied(source, "-o", tmp_path / "out.png", "--white", "255")[0] == 0
    refused(applied(source, "-o", tmp_path / "o.png", "--white", "-1"), "--white -1")


def test_a_rate_that_was_not_trained_for_is_said(applied, tmp_path):
    picture, matrix = scene(m=60)
    status, _, said = applied(written(tmp_path / "a.npz", picture, matrix), "-o", tmp_path / "out.png")
    assert status == 0
    assert "measured 93.8 % lies outside 1 to 50" in said


def changed(**arrays):
    """The arrays of a good file with others in their place; None leaves one out."""
    picture, matrix = scene()
    good = {"samples": measure_blocks(picture, matrix)[0].numpy(), "matrix": matrix[0].numpy()}
    return {name: value for name, value in {**good, **arrays}.items() if value is not None}


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        (changed(matrix=None), "what is needed are samples and matrix"),
        (changed(matrix=np.eye(M, 49)), "blocks of 8 x 8 = 64 pixels, and a row of the matrix has 49"),
        (changed(matrix=np.eye(64, M)), "is it transposed?"),
        (changed(matrix=np.eye(M - 1, 64)), "each block has 20 samples, and the matrix 19 rows"),
        (changed(matrix=np.ones((M, 64))), "rows of the matrix depend on each other"),
        (changed(matrix=np.zeros((M, 64))), "rows of the matrix depend on each other"),
        (changed(matrix=np.vstack([np.eye(64), np.eye(64)])), "more than the 64 pixels"),
        (changed(samples=np.zeros((3, M))), "rows of blocks, columns of blocks, m"),
        (changed(samples=np.zeros((0, 4, M))), "rows of blocks, columns of blocks, m"),
        (changed(samples=np.full((3, 4, M), np.nan)), "NaN"),
        (changed(samples=np.zeros((3, 4, M), complex)), "samples is complex"),
        (changed(samples=np.full((3, 4, M), "a")), "not numbers"),
        (changed(height=99), "height is a whole number from 17 to 24"),
        (changed(width=2.5), "width is a whole number from 25 to 32"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(applied, tmp_path, arrays, said):
    source = tmp_path / "a.npz"
    np.savez(source, **arrays)
    refused(applied(source, "-o", tmp_path / "out.png"), said, source)
    assert not (tmp_path / "out.png").exists()


def test_a_file_that_is_none_of_arrays_is_refused(applied, tmp_path):
    source = tmp_path / "a.npz"
    source.write_bytes(b"no arrays")
    refused(applied(source, "-o", tmp_path / "out.png"), source)
    np.save(tmp_path / "one.npy", np.zeros(3))
    (tmp_path / "one.npz").write_bytes((tmp_path / "one.npy").read_bytes())
    refused(applied(tmp_path / "one.npz", "-o", tmp_path / "out.png"), "one array", "samples and matrix")
