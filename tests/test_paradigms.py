"""The four paradigms on robust principal component analysis: what each learns, and what a correction cannot change."""

import json

import pytest
import torch
from iterations import gaussian

from benchmarks import paradigms as benchmark
from unrolling import Convergent, solve, testing, unroll
from unrolling.algorithms import RobustPCA, Separated
from unrolling.networks._movie_filters import MovieCorrection, MovieFilter, MovieShrink
from unrolling.systems.catalogue import find
from unrolling.systems.medical import _paradigms
from unrolling.tasks import Clutter

KINDS = benchmark.KINDS


def movies(*shape, seed=0):
    return torch.complex(gaussian(*shape, seed=seed), gaussian(*shape, seed=seed + 1))


def doubled(network):
    return network._apply(lambda t: t.to(torch.promote_types(t.dtype, torch.float64)) if t.is_floating_point() else t)


def learned(network):
    return sum(p.numel() for p in network.parameters() if p.requires_grad)


def test_each_paradigm_has_its_label_and_its_numbers():
    assert {kind: find(name).paradigm for kind, name in KINDS.items()} == {kind: kind for kind in KINDS}
    task = Clutter.small()
    counts = {kind: learned(find(name).network(find(name).recipes["clutter"], task)) for kind, name in KINDS.items()}
    first, last = 6 * 8 * 27 + 8, 8 * 4 * 27 + 4  # of a correction: three movies to two, by eight channels
    assert counts == {
        "hyperparameters": 10 * 3,
        "objective": 1796,
        "correction": 10 * (first + last),
        "inductive-bias": 10 * (2 + 2 * 8 * 27 + 8 + 8 * 2 * 27 + 2),
    }


@pytest.mark.nightly
def test_a_thousand_random_corrections_lead_to_the_limit_of_robust_pca():
    found = benchmark.any_weights(1000, 10_000)
    assert found["largest distance"] < 1e-9
    assert found["largest difference of the objective"] < 1e-12
    assert found["median distance after five layers"] > 0.1


@pytest.mark.parametrize("seed", [0, 1])
def test_layers_of_the_network_have_the_limit_of_the_parent_too(seed):
    """Also where another correction was learned in every layer: the steps go on with those of the last."""
    task = Clutter(size=5, frames=4, held=(1, 1))
    system = find("medical/corona_correction")
    network = system.network(system.recipes["clutter"], task, 4)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.requires_grad:
                parameter.copy_(torch.randn(parameter.shape, generator=generator))
    network, movie = doubled(network), movies(2, 5, 5, 4, seed=seed)
    parent = doubled(unroll(_paradigms.classical(task), 1)).layers[0]
    wanted = solve(parent, movie, tolerance=1e-11, max_iterations=20_000)
    after = solve(network.layers[-1], movie, state=network.run(movie), tolerance=1e-11, max_iterations=20_000)
    torch.testing.assert_close(after.estimate, wanted.estimate, rtol=0, atol=1e-7)
    assert float((network(movie) - wanted.estimate).detach().abs().max()) > 0.01


def test_untrained_the_correction_is_robust_pca_to_the_bit():
    task = Clutter.small()
    system = find("medical/corona_correction")
    movie = task.test[0].data
    network = system.network(system.recipes["clutter"], task, 6)
    assert torch.equal(network(movie), unroll(_paradigms.classical(task), 6)(movie))


def test_weights_of_the_parent_follow_the_size_of_the_movies():
    """As the singular values of noise do: sqrt(pixels) + sqrt(frames), and as the rows' norms: sqrt(frames)."""
    small, large = (_paradigms.weights(Clutter(size=size, frames=9, held=(1, 1))) for size in (7, 17))
    assert large[0] / small[0] == pytest.approx(2)
    assert large[1] == small[1]


def test_filters_of_movies():
    x = (movies(2, 5, 4, 3).to(torch.complex64), movies(2, 5, 4, 3, seed=5).to(torch.complex64))
    filters = MovieFilter(2, 1, width=3, size=(3, 3, 1))
    assert float(filters(x)[0].detach().abs().max()) == 0
    with torch.no_grad():
        filters.last.weight[0, :, 1, 1, 0] = 1  # the real part: the sum of the channels
    (made,) = filters(x)
    parts = torch.stack([part for movie in x for part in (movie.real, movie.imag)], 1)
    hidden = torch.relu(torch.nn.functional.conv3d(parts, filters.first.weight, filters.first.bias, padding=(1, 1, 0)))
    torch.testing.assert_close(made, torch.complex(hidden.sum(1), torch.zeros(2, 5, 4, 3)))
    with pytest.raises(ValueError, match="odd sizes"):
        MovieFilter(1, 1, size=(2, 3, 3))
    with pytest.raises(TypeError, match=r"movies are torch\.float32"):
        filters((x[0].real, x[1].real))
    z = x[0]
    assert torch.equal(MovieShrink()(z, 0.5), z)
    assert all(float(part.abs().max()) == 0 for part in MovieCorrection()(Separated(z, z), Separated(z, z), z))


def test_the_step_of_each_kind_passes_what_is_asked_of_iterations():
    torch.manual_seed(0)
    correction = MovieCorrection(width=2, size=(3, 3, 1))
    torch.nn.init.normal_(correction.filter.last.weight, std=0.1)
    iteration = doubled(unroll(Convergent(RobustPCA(0.5, 0.2), correction), 1)).layers[0]
    skip = ("compile", "export", "second_derivative", "gradients", "solve", "deployed")
    testing.check_iteration(iteration, movies(3, 3, 3, 3), depth=3, skip=skip)


def test_the_benchmark_goes_on_where_it_stopped_and_says_what_it_found(tmp_path, capsys, monkeypatch):
    words = "--steps 1 --depth 2 --samples 2 0 --seeds 0 --movies 2 --iterations 3 --weights 3 --size 6 --frames 3"
    arguments = ["paradigms", "--runs", str(tmp_path / "runs"), "--json", str(tmp_path / "found.json"), *words.split()]
    monkeypatch.setattr("sys.argv", arguments)
    benchmark.main()
    first = json.loads((tmp_path / "found.json").read_text())
    assert capsys.readouterr().out.count("| inductive-bias |") == 2
    benchmark.main()
    assert json.loads((tmp_path / "found.json").read_text())["paradigms"] == first["paradigms"]
    assert first["paradigms"]["correction"]["nmse"][0] < 10
