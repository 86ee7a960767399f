"""``unroll apply`` on what was received: symbols out of ``.npz`` files, and how it refuses."""

import json

import numpy as np
import pytest
import torch
from iterations import gaussian

from unrolling.algorithms.detection import safeguarded
from unrolling.algorithms.detection.mimo import Received, complex_symbols, decide, gray_labels, pam, real_form
from unrolling.algorithms.detection.trellis import Observed
from unrolling.systems.catalogue import find
from unrolling.systems.communications import _vectors as files
from unrolling.tasks.communications.detection import Detection
from unrolling.tasks.communications.sequence import SequenceDetection
from unrolling.training.weights import save_weights

DETNET, OAMP_NET, MMNET, VITERBINET = (
    f"communications/{name}" for name in ("detnet", "oamp_net", "mmnet", "viterbinet")
)


@pytest.fixture
def apply(unroll):
    """Runs `unroll apply`."""
    return lambda *arguments: unroll("apply", *arguments)


@pytest.fixture
def vectors():
    """Data and symbols, 20 x 30."""
    return Detection(held_out=10).at(10.0, 50, torch.Generator().manual_seed(1))


def saved(path, **arrays):
    np.savez(
        path, **{name: value.numpy() if isinstance(value, torch.Tensor) else value for name, value in arrays.items()}
    )
    return path


def as_saved(data):
    return {"y": data.y, "channel": data.channel, "noise_variance": data.noise_variance}


@pytest.mark.parametrize("system", ["detnet", "oamp_net", "oamp_net2", "ep_net"])
def test_symbols_are_the_decisions_of_the_network(apply, vectors, tmp_path, system):
    data, x = vectors
    status, output, errors = apply(
        f"communications/{system}",
        saved(tmp_path / "received.npz", **as_saved(data)),
        "-o",
        tmp_path / "symbols.npy",
        tmp_path / "soft.npy",
    )
    assert (status, errors) == (0, "")
    first, second = output.splitlines()
    assert first.startswith(f"{tmp_path / 'symbols.npy'}: the symbols (")
    assert second == f"{tmp_path / 'soft.npy'}: the estimates before the decision"
    with torch.inference_mode():
        wanted = find(f"communications/{system}").pretrained("detection")(data)
    symbols, soft = (torch.from_numpy(np.load(tmp_path / f"{name}.npy")) for name in ("symbols", "soft"))
    torch.testing.assert_close(soft, wanted, rtol=0, atol=1e-5)
    assert torch.equal(symbols, pam(2).float()[decide(wanted, pam(2).float())])
    assert (symbols != x).float().mean() < 0.02


def test_blocks_precision_and_a_shared_channel_change_nothing(apply, vectors, tmp_path, monkeypatch):
    data, _ = vectors
    shared = Received(data.y, data.channel[:1], data.noise_variance)
    found = {}
    for name, arrays in {
        "single": as_saved(shared),
        "double": {key: value.double() for key, value in as_saved(shared).items()},
        "matrix": {**as_saved(shared), "channel": shared.channel[0], "noise_variance": np.float64(0.1)},
        "each": {**as_saved(shared), "channel": shared.channel.expand(50, -1, -1)},
    }.items():
        for block in (50, 7):
            monkeypatch.setattr(safeguarded, "BLOCK", block)
            path = saved(tmp_path / "a.npz", **arrays)
            outputs = (tmp_path / "a.npy", tmp_path / "b.npy")
            assert apply(DETNET, path, "-o", *outputs, "--overwrite", "--plain")[0] == 0
            found[name, block] = np.load(tmp_path / "b.npy")
    for other in found.values():
        np.testing.assert_allclose(other, found["single", 50], rtol=0, atol=1e-3)


def test_one_vector_alone_gives_one_vector(apply, vectors, tmp_path):
    data, _ = vectors
    path = saved(tmp_path / "a.npz", y=data.y[3], channel=data.channel[3])
    status, output, _ = apply(DETNET, path, "-o", tmp_path / "one.npy", "--json")
    assert status == 0
    found = json.loads(output)
    assert (found["vectors"], found["streams"], found["modulation"], found["dependent_channels"]) == (1, 20, "bpsk", 0)
    assert (
        apply(DETNET, saved(tmp_path / "all.npz", y=data.y, channel=data.channel), "-o", tmp_path / "all.npy")[0] == 0
    )
    assert np.array_equal(np.load(tmp_path / "one.npy"), np.load(tmp_path / "all.npy")[3])


def test_shared_weights_serve_other_numbers_of_streams_and_antennas(apply, tmp_path):
    data, x = Detection(streams=12, antennas=24, held_out=10).at(14.0, 200, torch.Generator().manual_seed(0))
    assert apply(DETNET, saved(tmp_path / "a.npz", y=data.y, channel=data.channel), "-o", tmp_path / "a.npy")[0] == 0
    assert np.mean(np.load(tmp_path / "a.npy") != x.numpy()) < 1e-3


def test_complex_vectors_give_complex_symbols_and_the_weights_know_their_channel(apply, tmp_path):
    net = find(MMNET).pretrained()
    task = find(MMNET).task("detection", held_out=10)
    channel = files.as_complex(task.fixed_tensors()["channel"])
    data, x = task.at(14.0, 100, torch.Generator().manual_seed(2))
    first, second = data.y.chunk(2, dim=1)
    y = torch.complex(first, second)
    # The noise variance of a complex entry is twice that of each of its parts.
    torch.testing.assert_close(real_form(y, channel, 2 * data.noise_variance), data)
    arrays = {"y": y, "noise_variance": 2 * data.noise_variance[:, 0]}
    found = {}
    for name, more in {"known": {}, "given": {"channel": channel[0]}}.items():
        assert (
            apply(
                MMNET,
                saved(tmp_path / "a.npz", **arrays, **more),
                "-o",
                tmp_path / f"{name}.npy",
                tmp_path / f"{name}-soft.npy",
            )[0]
            == 0
        )
        found[name] = np.load(tmp_path / f"{name}.npy")
        with torch.inference_mode():
            wanted = complex_symbols(net(data)).numpy()
        np.testing.assert_allclose(np.load(tmp_path / f"{name}-soft.npy"), wanted, rtol=0, atol=1e-4)
    assert np.array_equal(found["known"], found["given"])
    np.testing.assert_allclose(np.abs(found["known"]), 1, atol=1e-6)
    assert np.mean(np.abs(found["known"] - complex_symbols(x).numpy()) > 1e-3) < 0.05
    other = saved(tmp_path / "b.npz", **arrays, channel=channel[0] + 0.1)
    status, _, errors = apply(MMNET, other, "-o", tmp_path / "b.npy")
    assert status == 2
    assert "holds another channel than the one that these weights were trained for; --adapt trains" in errors


def test_weights_for_a_channel_of_ones_own_are_applied_to_what_came_through_it(apply, tmp_path):
    draw = torch.Generator().manual_seed(3)
    channel = torch.randn(6, 4, generator=draw, dtype=torch.complex64) / 6**0.5
    np.save(tmp_path / "channel.npy", channel.numpy())
    system = find(MMNET)
    recipe = system.recipes["detection"]
    task = system.task("detection", data=tmp_path / "channel.npy", held_out=10)
    weights = tmp_path / "own.safetensors"
    save_weights(
        system.network(recipe, task, 5),
        weights,
        {"system": MMNET, "task": task.identity(), "seed": 0},
        task.fixed_tensors(),
    )
    symbols = complex_symbols(pam(2).float()[torch.randint(2, (50, 8), generator=draw)])
    y = symbols @ channel.T + 0.1 * torch.randn(50, 6, generator=draw, dtype=torch.complex64)
    assert (
        apply(
            MMNET, saved(tmp_path / "a.npz", y=y, noise_variance=0.01), "-o", tmp_path / "a.npy", "--weights", weights
        )[0]
        == 0
    )
    np.testing.assert_allclose(np.load(tmp_path / "a.npy"), symbols.numpy(), atol=1e-6)


@pytest.mark.parametrize("suffix", [".npz", ".npy"])
def test_sequences_come_out_of_viterbinet(apply, tmp_path, suffix):
    task = SequenceDetection(held_out=1000)
    data, states = task.test[0]
    path = tmp_path / f"a{suffix}"
    np.savez(path, y=data.y.numpy()) if suffix == ".npz" else np.save(path, data.y.numpy())
    status, output, errors = apply(VITERBINET, path, "-o", tmp_path / "symbols.npy")
    assert (status, errors) == (0, "")
    assert output.startswith(f"{tmp_path / 'symbols.npy'}: the symbols (")
    symbols = np.load(tmp_path / "symbols.npy")
    with torch.inference_mode():
        wanted = task.levels[task.trellis.newest(find(VITERBINET).pretrained()(Observed(data.y)).argmax(2))]
    assert np.array_equal(symbols, wanted.numpy())
    assert np.mean(symbols != task.levels[task.trellis.newest(states)].numpy()) < 0.02
    np.save(tmp_path / "one.npy", data.y[1].numpy())
    assert apply(VITERBINET, tmp_path / "one.npy", "-o", tmp_path / "one-symbols.npy")[0] == 0
    assert np.array_equal(np.load(tmp_path / "one-symbols.npy"), symbols[1])


def test_columns_that_depend_on_each_other_are_told_of(apply, vectors, tmp_path):
    data, _ = vectors
    channel = data.channel.clone()
    channel[4, :, 0] = 0.5 * channel[4, :, 1] - channel[4, :, 2]
    channel[7, :, 3] = 0
    status, output, _ = apply(
        DETNET, saved(tmp_path / "a.npz", y=data.y, channel=channel), "-o", tmp_path / "a.npy", "--json"
    )
    assert status == 0
    assert json.loads(output)["dependent_channels"] == 2
    assert json.loads(output)["warnings"] == [
        f"{tmp_path / 'a.npz'}: 2 of 50 channels have columns that depend on each other; their symbols cannot be told "
        "apart"
    ]
    assert set(np.unique(np.load(tmp_path / "a.npy"))) == {-1.0, 1.0}
    near = data.channel.clone()
    near[:, :, 0] = near[:, :, 1] + 1e-3 * near[:, :, 0]  # badly conditioned, and still a channel
    status, output, _ = apply(
        DETNET, saved(tmp_path / "a.npz", y=data.y, channel=near), "-o", tmp_path / "near.npy", "--json"
    )
    assert (status, json.loads(output)["warnings"]) == (0, [])


GOOD = {"y": gaussian(4, 6).numpy(), "channel": gaussian(4, 6, 3).numpy(), "noise_variance": np.full(4, 0.1)}
HOLED = gaussian(4, 6).numpy()
HOLED[2, 1] = np.nan


@pytest.mark.parametrize(
    ("system", "arrays", "words"),
    [
        (DETNET, {"y": GOOD["y"]}, ["holds y; this detector needs y, channel"]),
        (
            OAMP_NET,
            {"y": GOOD["y"], "channel": GOOD["channel"]},
            ["holds y, channel; this detector needs y, channel, noise_variance"],
        ),
        (DETNET, {**GOOD, "y": HOLED}, ["y holds NaN or infinite values, the first at (2, 1)"]),
        (DETNET, {**GOOD, "channel": np.full((4, 6, 3), np.inf)}, ["channel holds NaN or infinite values"]),
        (
            DETNET,
            {**GOOD, "channel": GOOD["channel"].transpose(0, 2, 1)},
            ["antennas by streams", "got (4, 6) and (4, 3, 6)"],
        ),
        (
            DETNET,
            {**GOOD, "y": GOOD["y"][:, :2], "channel": GOOD["channel"][:, :2]},
            ["has 3 streams and 2 antennas", "at least as many antennas"],
        ),
        (DETNET, {**GOOD, "channel": GOOD["channel"][:3]}, ["got (4, 6) and (3, 6, 3)"]),
        (DETNET, {**GOOD, "y": GOOD["y"][:0], "channel": GOOD["channel"][:0]}, ["got (0, 6) and (0, 6, 3)"]),
        (DETNET, {**GOOD, "y": GOOD["y"] + 1j}, ["y is complex", "real_form makes real ones"]),
        (DETNET, {**GOOD, "y": np.array([["a"] * 6] * 4)}, ["y holds <U1, and not numbers"]),
        (
            OAMP_NET,
            {**GOOD, "noise_variance": np.zeros(4)},
            ["noise_variance is E |n_i|^2 and positive; the smallest is 0"],
        ),
        (OAMP_NET, {**GOOD, "noise_variance": np.inf}, ["noise_variance holds NaN or infinite values"]),
        (
            OAMP_NET,
            {**GOOD, "noise_variance": np.ones((4, 6))},
            ["one number, or one for each of 4 vectors; got (4, 6)"],
        ),
        (OAMP_NET, {**GOOD, "noise_variance": 1j}, ["noise_variance is real"]),
        (
            MMNET,
            {"y": gaussian(4, 16).numpy(), "noise_variance": 0.1},
            ["y is real", "give y and channel as complex numbers"],
        ),
        (
            MMNET,
            {"y": gaussian(4, 12).numpy() + 1j, "noise_variance": 0.1},
            ["got (4, 12) and (1, 16, 8), that of the weights"],
        ),
        (VITERBINET, {"x": GOOD["y"]}, ["holds x; this detector needs y"]),
        (VITERBINET, {"y": GOOD["channel"]}, ["y is (batch, T), or (T,) for one sequence; got (4, 6, 3)"]),
        (VITERBINET, {"y": HOLED}, ["NaN or infinite values, the first at (2, 1)"]),
    ],
)
def test_data_that_are_none_get_one_line_and_write_nothing(apply, tmp_path, system, arrays, words):
    status, output, errors = apply(system, saved(tmp_path / "a.npz", **arrays), "-o", tmp_path / "a.npy")
    assert (status, output) == (2, "")
    assert errors.startswith("unroll: ")
    assert errors.count("\n") == 1
    for word in words:
        assert word in errors
    assert [path.name for path in tmp_path.iterdir()] == ["a.npz"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("text.npz", "-o", "a.npy"), ["text.npz cannot be read as a .npy or .npz file of arrays"]),
        (("short.npz", "-o", "a.npy"), ["short.npz cannot be read as a .npy or .npz file of arrays"]),
        (("pickle.npz", "-o", "a.npy"), ["pickle.npz: y holds objects"]),
        (("none.npz", "-o", "a.npy"), ["none.npz does not exist; the input is a .npz file with y (batch, N)"]),
        (("good.npz", "-o", "a.csv"), ["symbols are written as .npy"]),
        (("good.npz", "-o", "none/a.npy"), ["none is not a folder"]),
        (("good.npz", "-o", "a.npy", "a.npy"), ["a.npy is named twice"]),
        (("good.npz", "-o", "a.npy", "b.npy", "c.npy"), ["writes 1 to 2 files (the symbols, the estimates before"]),
    ],
)
def test_files_that_are_none_are_refused(apply, tmp_path, monkeypatch, arguments, words):
    monkeypatch.chdir(tmp_path)
    saved("good.npz", **GOOD)
    saved("pickle.npz", y=np.array([None]), channel=GOOD["channel"])
    (tmp_path / "text.npz").write_text("no arrays")
    (tmp_path / "short.npz").write_bytes((tmp_path / "good.npz").read_bytes()[:-40])
    before = sorted(path.name for path in tmp_path.iterdir())
    status, output, errors = apply(DETNET, *arguments)
    assert (status, output) == (2, "")
    assert errors.count("\n") == 1
    for word in words:
        assert word in errors
    assert sorted(path.name for path in tmp_path.iterdir()) == before


@pytest.mark.parametrize("factor", [1e30, 1e4])
def test_a_channel_on_another_scale_than_what_was_received_is_refused_or_made_up_for(apply, vectors, tmp_path, factor):
    data, x = vectors
    path = saved(tmp_path / "a.npz", **{**as_saved(data), "channel": factor * data.channel.double()})
    status, output, errors = apply(DETNET, path, "--plain")
    if status:
        assert (status, output) == (2, "")
        assert "on different scales" in errors or "the symbols are not bpsk" in errors
        assert [path.name for path in tmp_path.iterdir()] == ["a.npz"]
    else:
        assert (torch.from_numpy(np.load(tmp_path / "a-symbols.npy")) != x).float().mean() < 0.02


@pytest.mark.parametrize("plain", [False, True])
def test_soft_bits_are_written_in_the_place_of_symbols(apply, vectors, tmp_path, plain):
    data, x = vectors
    status, output, _ = apply(
        "communications/ep_net",
        saved(tmp_path / "received.npz", **as_saved(data)),
        *("-o", tmp_path / "bits.npy", "--soft", "--json"),
        *(["--plain"] if plain else []),
    )
    assert status == 0
    assert ("the ratios of the list tell more" in output) == ('"source": "list"' in output)
    (said,) = json.loads(output)["results"] if "results" in json.loads(output) else [json.loads(output)]
    assert said["soft_bits"]["source"] in (("network",) if plain else ("network", "list"))
    assert ("bits told by list" in said["soft_bits"]) == (not plain)
    bits = np.load(tmp_path / "bits.npy")
    assert bits.shape == (*x.shape, 1)
    # The label of the lower level is 0: symbols above zero are ones, of negative ratio.
    assert ((bits[..., 0] < 0) == (x.numpy() > 0)).mean() > 0.98


def test_soft_bits_of_complex_symbols_are_a_row_for_each_stream(apply, tmp_path):
    """First the bits of the real part, then those of the imaginary."""
    task = Detection(streams=2, antennas=4, modulation="16qam", held_out=10)
    system = find("communications/ep_net")
    network = system.network(system.recipes["detection"], task, 5)
    card = {"system": system.name, "task": task.identity(), "seed": 0}
    save_weights(network, tmp_path / "w.safetensors", card, task.fixed_tensors())
    data, x = task.at(25.0, 40, torch.Generator().manual_seed(0))
    real, imaginary = data.channel.chunk(2, 2)[0].chunk(2, 1)
    channel = 2**0.5 * torch.complex(real, imaginary)
    y = torch.complex(*data.y.chunk(2, 1))
    source = saved(tmp_path / "r.npz", y=y, channel=channel, noise_variance=2 * data.noise_variance)
    status, output, errors = apply(
        "communications/ep_net", source, "-o", tmp_path / "b.npy", "--soft", "--weights", tmp_path / "w.safetensors"
    )
    assert status == 0, errors
    assert "log p(0) / p(1) of the bits" in output
    bits = np.load(tmp_path / "b.npy")
    assert bits.shape == (40, 2, 4)
    labels = gray_labels(4)[decide(x, task.levels)]
    wanted = torch.cat(labels.chunk(2, 1), 2).numpy()
    assert ((bits < 0) == wanted).mean() > 0.95
