"""CORONA: its steps, the movies it is trained on, and how it is applied to files."""

import numpy as np
import pytest
import torch
from PIL import Image

from unrolling import deploy, unroll
from unrolling.algorithms import CORONA, RobustPCA
from unrolling.algorithms.kernels import movie_steps
from unrolling.files.movies import read_movie
from unrolling.networks import ComplexVolumeResNet
from unrolling.prox import MeanGarrote
from unrolling.systems.catalogue import find
from unrolling.systems.medical._movies import take_apart
from unrolling.tasks.medical.bubbles import contrast_movies
from unrolling.tasks.medical.clutter import Clutter, converged, projection, svd_filter
from unrolling.testing import check_iteration
from unrolling.training.behaviour import without_influence
from unrolling.training.weights import save_weights

DOUBLE = torch.complex128


def random(*shape, dtype=torch.complex64, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def network(name="medical/corona", depth=10, task=None):
    system = find(name)
    return system.network(system.recipes["clutter"], Clutter.small() if task is None else task, depth)


def learned(net):
    return sum(p.numel() for p in net.parameters() if p.requires_grad)


@pytest.mark.parametrize("size", [(5, 5, 1), (3, 1, 3)])
def test_before_training_it_is_robust_pca(size):
    movie = random(2, 6, 7, 5, dtype=DOUBLE)
    net = unroll(CORONA(1.3, 0.7, size=size), 5, untied=("low_rank_kernels", "sparse_kernels"))
    net._apply(lambda t: t.double())
    wanted = unroll(RobustPCA(1.3, 0.7).double(), 5).run(movie)
    for part, other in zip(net.run(movie), wanted, strict=True):
        assert (part - other).abs().max() < 1e-10


def test_normalised_its_thresholds_count_in_units_of_the_movie():
    movie = 7 * random(2, 6, 7, 5, dtype=DOUBLE)
    level = movie.abs().square().mean((1, 2, 3), keepdim=True).sqrt()
    net = unroll(CORONA(1.3, 0.7, normalise=True), 4)._apply(lambda t: t.double())
    wanted = torch.cat([unroll(RobustPCA(1.3 * float(s), 0.7 * float(s)).double(), 4)(m[None])
                        for m, s in zip(movie, level, strict=True)])  # fmt: skip
    assert (net(movie) - wanted).abs().max() < 1e-5
    assert torch.equal(net(torch.zeros_like(movie)), torch.zeros_like(movie))


def test_the_released_form_without_biases_is_positively_homogeneous():
    movie = random(2, 6, 6, 5, dtype=DOUBLE)
    net = unroll(CORONA(form="released"), 4, untied=("low_rank_kernels", "sparse_kernels"))._apply(lambda t: t.double())
    for name, parameter in net.named_parameters():
        with torch.no_grad():
            parameter += ("kernels" in name) * 0.05 * random(*parameter.shape, dtype=torch.float64)
    assert torch.allclose(net(250 * movie), 250 * net(movie))


def test_numbers_of_the_published_networks():
    assert [learned(network(depth=depth)) for depth in (1, 5, 10)] == [314, 1186, 1796]
    assert learned(network("medical/corona_released")) == 1796
    assert learned(ComplexVolumeResNet()) == 25_378


def test_layers_with_smaller_kernels_are_the_parent_too():
    task = Clutter.small()
    net, movie = network(task=task), task.timing.data
    parent = find("medical/corona").recipes["clutter"].parent(task)
    assert torch.equal(net(movie), unroll(parent, 10)(movie))
    assert [layer.size for layer in net.layers] == 3 * [(5, 5, 1)] + 7 * [(3, 3, 1)]


@pytest.mark.parametrize("compiler", [True, False], ids=["in C++", "on torch operators"])
@pytest.mark.parametrize("name", ["medical/corona", "medical/corona_released"])
def test_deployed_it_is_the_same(name, compiler, monkeypatch):
    if not compiler:
        monkeypatch.setattr(movie_steps, "_functions", lambda: None)
    net, movie = network(name, depth=4).eval(), 5 * random(3, 9, 7, 6)
    movie[2] = 0
    with torch.no_grad():
        for parameter in net.parameters():
            parameter += 0.05 * random(*parameter.shape, dtype=torch.float32)
        wanted, state = net(movie, return_state=True)
        quick = deploy(net, "plain")
        assert "at once" in repr(quick)
        found, last = quick(movie, return_state=True)
        for part, other in zip((found, *last), (wanted, *state), strict=True):
            assert torch.allclose(part, other, atol=1e-4)
        assert torch.allclose(quick(movie, state), net(movie, state), atol=1e-4)
        movie[1, 0, 0, 0] = torch.nan
        assert quick(movie).isnan().flatten(1).any(1).tolist() == [False, True, False]


def test_a_loss_sees_the_last_tissue():
    task = Clutter.small()
    assert without_influence(network(depth=2, task=task), task.example()) == []


@pytest.mark.parametrize("form", ["survey", "released"])
def test_the_step_is_an_iteration(form):
    step = CORONA(0.5, 0.3, size=(3, 1, 1), form=form, normalise=True)
    skip = {"compile", "export", "solve", "second_derivative", *({"gradients"} if form == "released" else ())}
    check_iteration(step, random(3, 2, 2, 2), depth=2, skip=skip)


def test_garrote_in_units_of_the_mean_energy():
    z = random(2, 30, dtype=DOUBLE)
    square = z.abs().square()
    wanted = z * torch.relu(1 - 0.5 * square.mean(1, keepdim=True) / square)
    assert torch.allclose(MeanGarrote()(z, 0.5), wanted)
    assert torch.allclose(MeanGarrote()(1e-200 * z, 0.5), 1e-200 * wanted)
    assert torch.equal(MeanGarrote()(torch.zeros(2, 3), 0.5), torch.zeros(2, 3))
    z[0, 0] = torch.nan
    assert MeanGarrote()(z, 0.5).isnan().any(1).tolist() == [True, False]
    given = torch.randn(2, 4, dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: MeanGarrote()(x, 0.3), given)


def test_what_is_no_complex_movie():
    net = network(depth=2)
    with pytest.raises(TypeError, match="complex movies"):
        net(torch.randn(1, 8, 8, 5))
    with pytest.raises(ValueError, match="1 frame"):
        net(random(1, 8, 8, 1))
    with pytest.raises(ValueError, match="batch of 1"):
        net(random(8, 8, 5))
    with pytest.raises(ValueError, match="odd"):
        CORONA(size=(4, 4, 1))
    with pytest.raises(ValueError, match="form"):
        CORONA(form="paper")  # pyright: ignore
    movie = random(2, 8, 8, 5)
    movie[1, 2, 3, 4] = torch.nan
    assert net(movie).isnan().flatten(1).any(1).tolist() == [False, True]


def test_movies_are_what_they_are_said_to_be():
    tissue, blood = contrast_movies(4, 32, 32, 20, torch.Generator().manual_seed(0))
    again = contrast_movies(4, 32, 32, 20, torch.Generator().manual_seed(0))
    assert torch.equal(tissue, again.tissue)
    assert torch.allclose(tissue.abs().square().mean((1, 2, 3)), torch.ones(4), rtol=1e-4)
    values = torch.linalg.svdvals(tissue.flatten(1, 2))
    assert bool((values[:, 5] < 0.03 * values[:, 0]).all())  # tissue has nearly low rank, blood has not
    values = torch.linalg.svdvals(blood.flatten(1, 2))
    assert bool((values[:, 5] > 0.03 * values[:, 0]).all())
    still = contrast_movies(1, 8, 8, 5, torch.Generator().manual_seed(0), motion=0.0).tissue
    assert torch.allclose(still, still[..., :1].expand_as(still), atol=1e-5)
    faint = contrast_movies(1, 8, 8, 5, torch.Generator().manual_seed(0), bubble=0.0)
    assert float(faint.blood.abs().max()) == 0


def test_targets_are_the_truth_or_what_the_parent_converges_to():
    task = Clutter.small()
    sample = task.draw(2, torch.Generator().manual_seed(1))
    rest = sample.data - sample.target.low_rank - sample.target.sparse
    assert 0.05 < float(rest.abs().square().mean().sqrt()) < 0.2
    other = Clutter(size=8, frames=5, targets="converged", held=(2, 2))
    same = other.draw(2, torch.Generator().manual_seed(1))
    assert torch.equal(same.data, sample.data)
    parent = RobustPCA(8.0, 1.0)
    moved = parent(same.target, same.data)
    assert parent.residual(moved, same.target, same.data).max() < 1e-2
    assert torch.equal(converged(same.data).sparse, same.target.sparse)
    for bad in ({"frames": 1}, {"noise": -1.0}, {"targets": "both"}, {"data": "x"}):
        with pytest.raises(ValueError, match=next(iter(bad))):
            Clutter(**bad)


def test_filter_of_singular_values_and_the_picture():
    movie = random(2, 4, 5, 6)
    values = torch.linalg.svdvals(movie.flatten(1, 2))
    left = torch.linalg.svdvals(svd_filter(movie, 2).flatten(1, 2))
    assert torch.allclose(left[:, :4], values[:, 2:], atol=1e-4)
    picture = projection(torch.tensor([[[[1.0, 0.1], [0.01, 0.02], [0.0, 0.0]]]]), 40.0)
    assert torch.allclose(picture, torch.tensor([[[1.0, 0.1505, 0.0]]]), atol=1e-3)


def test_parts_of_a_movie_are_joined():
    class Half(torch.nn.Module):
        def supervised(self, movie):
            return type(converged(movie))(0.25 * movie, 0.75 * movie)

    movie = random(20, 9, 13)
    low, sparse = take_apart(Half(), movie, side=8, frames=5)
    assert torch.allclose(low, 0.25 * movie, atol=1e-6)
    assert torch.allclose(sparse, 0.75 * movie, atol=1e-6)


def save(folder, values, name="movie.npy"):
    path = folder / name
    np.save(path, values)
    return path


def test_movies_in_files_that_are_none(tmp_path):
    good = random(8, 8, 5).numpy()
    bad = good.copy()
    bad[3, 3, 2] = np.nan
    for values, message in (
        (good[..., :1], "one frame"),
        (good[..., 0], "one frame"),
        (good[..., None], "three dimensions"),
        (bad, r"NaN or infinite, in 1 of its 5 frames, the first is frame 2"),
        (np.array([good[..., 0], good[:4, :, 0]], dtype=object), "objects"),
        (np.array(["a"]), "real or complex"),
        (good[:, :0], "nothing in it"),
        (1e200 * good.astype(complex), "single precision"),
    ):
        with pytest.raises(ValueError, match=message):
            read_movie(save(tmp_path, values))
    np.savez(tmp_path / "frames.npz", a=good[..., 0], b=good[:4, :, 0])
    with pytest.raises(ValueError, match="frames of different sizes: a has 8 x 8 and b 4 x 8"):
        read_movie(tmp_path / "frames.npz")
    np.savez(tmp_path / "frames.npz", a=good[..., 0], b=good[..., 1])
    assert torch.equal(read_movie(tmp_path / "frames.npz"), torch.from_numpy(good[..., :2]))
    np.savez(tmp_path / "frames.npz", other=good[0], iq=good)
    assert torch.equal(read_movie(tmp_path / "frames.npz"), torch.from_numpy(good))


@pytest.fixture
def weights(tmp_path):
    """A file of a network of two layers that is not trained."""
    path = tmp_path / "corona.safetensors"
    card = {"system": "medical/corona", "task": Clutter().identity(), "depth": 2, "seed": 0}
    save_weights(network(depth=2), path, card, {})
    return path


def test_a_movie_is_taken_apart(unroll, tmp_path, weights):
    movie = contrast_movies(1, 24, 20, 12, torch.Generator().manual_seed(0))
    path = save(tmp_path, (movie.tissue + movie.blood)[0].numpy())
    command = ("apply", "medical/corona", path, "--weights", weights, "--json")
    blood, tissue, picture = tmp_path / "blood.npy", tmp_path / "tissue.npy", tmp_path / "blood.png"
    status, output, errors = unroll(*command, "-o", blood, picture, "--tissue", tissue)
    assert status == 0, errors
    found = [torch.from_numpy(np.load(each)) for each in (tissue, blood)]
    wanted = take_apart(network(depth=2), read_movie(path), 32, 20)
    for part, other in zip(found, wanted, strict=True):
        assert part.dtype == torch.complex64
        assert torch.allclose(part, other, atol=1e-5)
    shown = np.asarray(Image.open(picture), dtype=float) / 255
    assert np.abs(shown - projection(found[1][None])[0].numpy()).max() < 0.01
    assert '"frames"' in output
    status, _, errors = unroll(*command, "-o", blood)  # somebody's file by now
    assert status != 0
    assert "exists" in errors


def test_files_that_no_blood_is_in(unroll, tmp_path, weights):
    movie = random(8, 8, 5).numpy()
    for values, message in (
        (movie.real, "analytic signal"),
        (movie.real.astype(np.complex64), "without an imaginary part"),
        (0 * movie, "zero everywhere"),
        (movie[..., :1], "one frame"),
    ):
        command = ("apply", "medical/corona", save(tmp_path, values), "--weights", weights, "-o", tmp_path / "b.npy")
        status, _, errors = unroll(*command)
        assert status == 2
        assert message in errors
        assert not (tmp_path / "b.npy").exists()
    good = ("apply", "medical/corona", save(tmp_path, movie), "--weights", weights, "-o")
    for names, message in (
        ((tmp_path / "b.npy", "--tissue", tmp_path / "t.png"), "written as .npy"),
        ((tmp_path / "b.npy", "--tissue", tmp_path / "movie.npy"), "is the input"),
        ((tmp_path / "b.npy", "--tissue", tmp_path / "b.npy"), "is an output"),
        ((tmp_path / "b.npy", "--tile", "3"), "at least 8"),
        ((tmp_path / "b.png", "--range", "0"), "more than 0"),
    ):
        status, _, errors = unroll(*good, *names)
        assert status == 2, message
        assert message in errors
        assert not (tmp_path / "b.npy").exists()
