"""``imaging/deblock`` and ``imaging/enlarge`` on files, with their initial weights."""

import numpy as np
import pytest
import skimage.data
import torch
from families import by_day
from PIL import Image

from unrolling.algorithms import SmallImage
from unrolling.operators.dct import cut_blocks, dct2
from unrolling.systems.catalogue import find
from unrolling.training.weights import save_weights


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    folder, made = tmp_path_factory.mktemp("weights"), {}
    for name, task_name in (("imaging/deblock", "deblocking_qualities"), ("imaging/enlarge", "enlarging")):
        system = find(name)
        task = type(system.task(task_name)).small()
        network = system.network(system.recipes[task_name], task, 2).eval()
        path = folder / f"{task_name}.safetensors"
        save_weights(network, path, {"system": name, "task": task.identity(), "seed": 0}, task.fixed_tensors())
        made[name] = (network, path)
    return made


@pytest.mark.parametrize("quality", by_day(5, 60, 98))
@pytest.mark.parametrize("colour", [False, True])
def test_what_a_file_says_stays_true(tmp_path, unroll, weights, quality, colour):
    picture = skimage.data.astronaut()[40:91, 180:233] if colour else skimage.data.camera()[80:131, 200:253]
    source, result = tmp_path / "a.jpg", tmp_path / "b.png"
    Image.fromarray(picture).save(source, quality=quality, subsampling=0)
    unroll("apply", "imaging/deblock", source, "-o", result, "--weights", weights["imaging/deblock"][1])
    with Image.open(source) as file:
        table = torch.tensor(list(file.quantization[0]), dtype=torch.float64).reshape(8, 8)
        file.draft("YCbCr", file.size) if colour else None
        before = np.asarray(file.convert("YCbCr") if colour else file, dtype=float)
    with Image.open(result) as file:
        assert file.size == (53, 51)
        after = np.asarray(file.convert("YCbCr") if colour else file, dtype=float)
    before, after = ((v[..., 0] if colour else v)[:48, :48] for v in (before, after))
    held = [dct2(cut_blocks(torch.from_numpy(v - 128).unsqueeze(0), 8)) for v in (before, after)]
    # Half a step from the stored coefficient; both pictures are rounded to 8 bits, the colours with it.
    assert float(((held[1] - held[0]).abs() / (0.5 * table + 16)).max()) < 1


def test_a_quality_beyond_the_weights_gives_the_file_back(tmp_path, unroll, weights):
    source, result = tmp_path / "a.jpg", tmp_path / "b.png"
    Image.fromarray(skimage.data.camera()[80:128, 200:248]).save(source, quality=100)
    unroll("apply", "imaging/deblock", source, "-o", result, "--weights", weights["imaging/deblock"][1])
    with Image.open(source) as before, Image.open(result) as after:
        assert np.array_equal(np.asarray(before), np.asarray(after))


@pytest.mark.parametrize("factor", by_day(3, 2, 4))
def test_a_file_is_enlarged_as_in_memory(tmp_path, unroll, weights, factor):
    source, result = tmp_path / "a.png", tmp_path / "b.png"
    values = skimage.data.camera()[80:110, 200:233]
    Image.fromarray(values).save(source)
    network, path = weights["imaging/enlarge"]
    unroll("apply", "imaging/enlarge", source, "-o", result, "--factor", factor, "--weights", path)
    with torch.no_grad():
        expected = network(SmallImage(torch.from_numpy(values / 255).float().unsqueeze(0), factor))[0]
    with Image.open(result) as file:
        found = np.asarray(file) / 255
    assert found.shape == (30 * factor, 33 * factor)
    assert np.abs(found - expected.clamp(0, 1).numpy()).max() < 0.51 / 255


def test_other_factors_are_refused(tmp_path, unroll, weights):
    source = tmp_path / "a.png"
    Image.fromarray(skimage.data.camera()[80:110, 200:233]).save(source)
    options = ("--factor", 5, "--weights", weights["imaging/enlarge"][1])
    code, _, error = unroll("apply", "imaging/enlarge", source, "-o", tmp_path / "b.png", *options)
    assert code == 2
    assert "2, 3 or 4" in error
