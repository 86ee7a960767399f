"""Networks as files: equal to a loop written here in numpy, whatever runs them; named inputs, free sizes, cards."""

import copy
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
from exported import FORMATS, QUICK, card_of, file, lista_in_numpy, run
from families import by_day
from iterations import Detection, Lasso, Shrinking, channel_data, gaussian, unit_dictionary
from tiny import moved, network, recovery, same
from torch import nn

from unrolling import Iteration, k_sparse, unroll
from unrolling import export as room
from unrolling.algorithms import GramISTA
from unrolling.export import export, load

# What a file computes


@pytest.mark.parametrize("form", FORMATS)
def test_a_file_run_by_its_runtime_alone_is_lista_as_written_in_numpy(form, tmp_path):
    task = recovery()
    net = moved(network(task, 3))
    done = export(net, file(tmp_path, form), task.timing.data, format=form)
    assert done.max_relative_error < 1e-5
    assert (done.path, done.format, done.bytes) == (file(tmp_path, form), form, done.path.stat().st_size)
    assert done.sizes == {"batch": (1, None)}
    for batch in (1, 2, 7, 300):
        y = task.draw(batch, torch.Generator().manual_seed(batch)).data
        np.testing.assert_allclose(
            run(done.path, form, data=y.numpy()), lista_in_numpy(net, y.numpy()), rtol=0, atol=1e-5
        )


@pytest.mark.parametrize("form", QUICK)
@pytest.mark.parametrize("dtype", by_day(torch.float64, torch.float32))
def test_the_precision_is_the_networks(dtype, form, tmp_path):
    net = moved(
        unroll(GramISTA(unit_dictionary(6, 9, dtype=dtype), 0.1), 2, untied=("encoder", "inhibition", "threshold"))
    )
    y = gaussian(4, 6, dtype=dtype)
    done = export(net, file(tmp_path, form), y, format=form)
    assert done.max_relative_error < 1e2 * torch.finfo(dtype).eps
    assert load(done.path, done.format)(y).dtype == dtype


@pytest.mark.parametrize("form", by_day("onnx", "torch", "aoti"))
def test_fields_of_the_data_are_inputs_by_name_and_sizes_that_must_be_equal_share_a_name(form, tmp_path):
    net = moved(unroll(Detection(), 2, tied="momentum", untied=("regularisation", "step_size")))
    done = export(net, file(tmp_path, form), channel_data(3), format=form)
    assert done.shapes == {
        "y": ("batch", "y_1"),
        "matrix": ("batch", "y_1", "matrix_2"),
        "scale": (1, "matrix_2"),
        "estimate": ("batch", "matrix_2"),
    }
    for batch, m, n in ((1, 5, 4), (4, 7, 3), (2, 3, 3), (3, 1, 1)):
        data = channel_data(batch, m, n, seed=batch)
        wanted = net(data).detach().numpy()
        named = {name: value.numpy() for name, value in data._asdict().items()}
        np.testing.assert_allclose(run(done.path, form, **named), wanted, rtol=0, atol=1e-12)
        np.testing.assert_allclose(load(done.path, done.format)(data).numpy(), wanted, rtol=0, atol=1e-12)


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.nightly
def test_complex_numbers_are_pairs_of_real_ones_where_the_runtime_has_none(form, tmp_path):
    dictionary = torch.complex(gaussian(6, 9), gaussian(6, 9, seed=1))
    net = unroll(Lasso(dictionary, 1.0), 3, untied=("encoder", "threshold"))
    y = torch.complex(gaussian(4, 6, seed=2), gaussian(4, 6, seed=3))
    done = export(net, file(tmp_path, form), y, format=form)
    # The loop in numpy, z/|z| max(|z| - t, 0) written out.
    x = np.zeros((4, 9), complex)
    for layer in net.layers:
        encoder, threshold = layer.encoder.detach().numpy(), layer.threshold.detach().numpy()
        z = x + (y.numpy() - x @ dictionary.numpy().T) @ encoder.T
        x = z / np.abs(z) * np.maximum(np.abs(z) - threshold, 0)
    assert (x == 0).any()
    np.testing.assert_allclose(load(done.path, done.format)(y).numpy(), x, rtol=0, atol=1e-12)
    card = card_of(done.path, form)
    if form == "torch":
        assert (card["inputs"][0]["dtype"], card["inputs"][0]["shape"], card["inputs"][0]["complex_as_pairs"]) == (
            "complex128",
            ["batch", 6],
            False,
        )
        np.testing.assert_allclose(run(done.path, form, data=y.numpy()), x, rtol=0, atol=1e-12)
    else:
        assert (card["inputs"][0]["dtype"], card["inputs"][0]["shape"], card["inputs"][0]["complex_as_pairs"]) == (
            "float64",
            ["batch", 6, 2],
            True,
        )
        assert (card["outputs"][0]["shape"], card["outputs"][0]["complex_as_pairs"]) == (["batch", 9, 2], True)
        got = run(done.path, form, data=torch.view_as_real(y).numpy())
        np.testing.assert_allclose(got[..., 0] + 1j * got[..., 1], x, rtol=0, atol=1e-12)


class Halves(Iteration):
    """Its data must be of even length, and its state is half as long."""

    def start(self, problem):
        return problem.unflatten(1, (-1, 2)).sum(2)

    def forward(self, state, problem):
        return state + problem.unflatten(1, (-1, 2))[..., 0]


@pytest.mark.parametrize("form", QUICK)
def test_a_size_may_be_free_and_yet_obey_a_rule(form, tmp_path):
    net = unroll(Halves(), 2)
    done = export(net, file(tmp_path, form), torch.randn(3, 6), format=form)
    for n in (done.sizes["data_1"][0], 6, 14):
        y = torch.randn(2, n)
        torch.testing.assert_close(load(done.path, done.format)(y), y.unflatten(1, (-1, 2)).sum(2) + 2 * y[:, ::2])
    with pytest.raises(Exception, match=r"7|5|reshape|Reshape|[Gg]uard"):
        load(done.path, done.format)(torch.randn(2, 5))


class Ceiling(Iteration):
    """Frames of four samples, the last one filled up with zeros: their number is rounded up as -(-n // 4)."""

    def start(self, problem):
        n = problem.shape[1]
        return nn.functional.pad(problem, (0, 4 * -(-n // 4) - n)).unflatten(1, (-1, 4)).sum(2)

    def forward(self, state, problem):
        return 2 * state


def test_onnx_rounds_sizes_up_as_python_does(tmp_path):
    """torch's own translation of // cuts towards zero: the last frame would be lost."""
    done = export(unroll(Ceiling(), 1), file(tmp_path, "onnx"), torch.randn(3, 10), format="onnx")
    for n in (3, 4, 5, 10, 17):
        y = torch.randn(2, n)
        frames = 2 * np.stack([y.numpy()[:, k : k + 4].sum(1) for k in range(0, n, 4)], 1)
        np.testing.assert_allclose(run(done.path, "onnx", data=y.numpy()), frames, rtol=0, atol=1e-6)


class Strongest(Iteration):
    """The two entries of largest magnitude, of equal ones the first, twice as large each time."""

    def start(self, problem):
        return problem

    def forward(self, state, problem):
        return 2 * k_sparse(state, 2)


def test_onnx_ranks_equal_entries_as_torch_does(tmp_path):
    done = export(unroll(Strongest(), 1), file(tmp_path, "onnx"), torch.randn(3, 5), format="onnx")
    y = np.array([[1, -1, 1, 0.5, 0], [0, 0, 0, 0, 0], [-2, 2, 2, -2, 3], [1, 2, 3, 3, 3]], np.float32)
    wanted = [[2, -2, 0, 0, 0], [0, 0, 0, 0, 0], [-4, 0, 0, 0, 6], [0, 0, 6, 6, 0]]
    assert run(done.path, "onnx", data=y).tolist() == wanted


@pytest.mark.parametrize("form", by_day(*QUICK))
def test_the_largest_of_the_sizes_it_takes_are_known(form, tmp_path):
    """Three steps of Shrinking take two entries each."""
    done = export(unroll(Shrinking(), 3, untied="kernel"), file(tmp_path, form), gaussian(3, 11), format=form)
    assert done.shapes == {"data": ("batch", "data_1"), "estimate": ("batch", "data_1 - 6")}
    low = done.sizes["data_1"][0]
    assert low in (7, 8)
    assert low in done.sizes_compared["data_1"]
    assert load(done.path, done.format)(gaussian(3, low)).shape == (3, low - 6)
    with pytest.raises(ValueError, match="data_1 is 5; the network was exported for sizes from"):
        load(done.path, done.format)(gaussian(3, 5))


@pytest.mark.parametrize("form", FORMATS)
def test_sizes_may_be_fixed(form, tmp_path):
    net, data = unroll(Detection(), 1), channel_data(4)
    done = export(net, file(tmp_path, form), data, format=form, batch=4, free_sizes=False)
    assert done.sizes == {}
    assert done.shapes == {"y": (4, 5), "matrix": (4, 5, 4), "scale": (1, 4), "estimate": (4, 4)}
    assert [shapes["y"] for shapes in done.compared] == [[4, 5]] * 3
    assert torch.allclose(load(done.path, done.format)(data), net(data))
    with pytest.raises(ValueError, match=r"y has shape \(2, 5\); the network was exported for \(4, 5\)"):
        load(done.path, done.format)(channel_data(2))


def test_the_comparison_covers_three_batches_and_doubled_sizes(tmp_path):
    done = export(unroll(Detection(), 1), file(tmp_path, "torch"), channel_data(3))
    assert [shapes["matrix"] for shapes in done.compared] == [[1, 5, 4], [2, 5, 4], [5, 5, 4], [2, 10, 8]]
    drawn = []

    def draw(batch):
        drawn.append(batch)
        return channel_data(batch, seed=batch)

    export(unroll(Detection(), 1), file(tmp_path, "torch"), channel_data(3), draw=draw)
    assert drawn == [1, 2, 5]


class Inner(NamedTuple):
    """Part of `Nested`."""

    noise: torch.Tensor
    order: int


class Nested(NamedTuple):
    """Tensors inside, and a number."""

    y: torch.Tensor
    model: Inner


class Whitened(Iteration):
    """y / noise^order."""

    def start(self, problem):
        return problem.y

    def forward(self, state, problem):
        return state / problem.model.noise**problem.model.order


def test_tensors_inside_are_named_by_their_path_and_numbers_are_constants(tmp_path):
    data = Nested(torch.randn(3, 5), Inner(torch.rand(3, 5) + 1, 2))
    done = export(unroll(Whitened(), 2), file(tmp_path, "torch"), data)
    assert list(done.shapes) == ["y", "model_noise", "estimate"]
    assert done.card["constants"] == {"model_order": 2}
    loaded, wanted = load(done.path, done.format), data.y / data.model.noise**4
    assert torch.allclose(loaded(data), wanted)
    assert torch.allclose(loaded(y=data.y, model_noise=data.model.noise), wanted)
    with pytest.raises(ValueError, match="model_order is 3; the network was exported for 2"):
        load(done.path, done.format)(Nested(data.y, Inner(data.model.noise, 3)))


def test_any_module_may_be_exported_and_is_exported_for_evaluation(tmp_path):
    net = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Dropout(0.5))
    net(torch.randn(20, 4))
    done = export(net, file(tmp_path, "torch"), torch.randn(3, 4))
    assert net.training
    y = torch.randn(6, 4)
    assert torch.equal(load(done.path, done.format)(y), net.eval()(y))
    assert done.card["network"] == "Sequential"


def test_exporting_leaves_the_network_as_it_was(tmp_path):
    task = recovery()
    net = moved(network(task, 2)).train()
    before, kind, wanted = (
        {k: v.clone() for k, v in net.state_dict().items()},
        type(net.layers[0]),
        net(task.timing.data),
    )
    gradient = net.gradient
    export(net, file(tmp_path, "torch"), task.timing.data)
    assert same(net.state_dict(), before)
    assert torch.equal(net(task.timing.data), wanted)
    assert (type(net.layers[0]), net.gradient, net.training) == (kind, gradient, True)
    assert all(p.requires_grad for p in net.parameters())
    copy.deepcopy(net)(task.timing.data).sum().backward()


def test_constraints_are_worked_out_and_nothing_is_kept_that_nothing_needs(tmp_path):
    """No exp of the positive thresholds; the dictionary, which GramISTA does not read, and further copies of tied
    tensors are not in the file.
    """
    net = moved(
        unroll(
            GramISTA(unit_dictionary(40, 90, dtype=torch.float32), 0.1),
            8,
            tied=("encoder", "inhibition"),
            untied="threshold",
        )
    )
    needed = 4 * (40 * 90 + 90 * 90 + 8 * 90)
    operators = {str(node.target) for node in torch.export.load(_written(net, tmp_path, "torch")).graph.nodes}
    assert "aten.exp.default" not in operators
    assert needed < _written(net, tmp_path, "torch").stat().st_size < 1.1 * needed + 60_000


def test_onnx_keeps_nothing_that_nothing_needs_either(tmp_path):
    onnx = pytest.importorskip("onnx")
    net = moved(
        unroll(
            GramISTA(unit_dictionary(40, 90, dtype=torch.float32), 0.1),
            8,
            tied=("encoder", "inhibition"),
            untied="threshold",
        )
    )
    model = onnx.load(_written(net, tmp_path, "onnx"))
    onnx.checker.check_model(model, full_check=True)
    assert "Exp" not in {node.op_type for node in model.graph.node}
    assert {imported.domain: imported.version for imported in model.opset_import} == {"": 20}
    assert [
        [d.dim_param or d.dim_value for d in value.type.tensor_type.shape.dim]
        for value in (*model.graph.input, *model.graph.output)
    ] == [
        ["batch", 40],
        ["batch", 90],
    ]
    assert model.ByteSize() < 1.1 * 4 * (40 * 90 + 90 * 90 + 8 * 90) + 30_000


def _written(net, tmp_path, form):
    return export(net, file(tmp_path, form), torch.randn(4, 40), format=form).path


@pytest.mark.parametrize("form", QUICK)
def test_a_file_tells_nothing_about_the_machine_or_the_example(form, tmp_path):
    net, y = unroll(Lasso(unit_dictionary(6, 9, dtype=torch.float32), 0.1), 2, untied="encoder"), torch.randn(3, 6)
    content = export(net, file(tmp_path, form), y, format=form).path.read_bytes()
    assert str(Path(room.__file__).parents[2]).encode() not in content
    assert str(Path(torch.__file__).parent).encode() not in content
    assert y.numpy().tobytes()[:24] not in content


# The card


@pytest.mark.parametrize("form", FORMATS)
def test_each_file_carries_its_card(form, tmp_path):
    task = recovery()
    net = moved(network(task, 3, tied="inhibition", untied=("encoder", "threshold")))
    own = {
        "system": "field/name",
        "task": task.identity(),
        "weights": {"metric": {"mean": float("-inf")}},
        "licence": "BSD-3-Clause",
    }
    done = export(
        net, file(tmp_path, form), task.timing.data, format=form, card=own, units={"data": "V", "estimate": "mA"}
    )
    card = card_of(done.path, form)
    assert card == done.card == load(done.path, done.format).card
    assert (card["system"], card["task"]["m"], card["licence"], card["weights"]["metric"]["mean"]) == (
        "field/name",
        8,
        "BSD-3-Clause",
        "-inf",
    )
    assert (card["format"], card["opset"]) == (form, 20 if form == "onnx" else None)
    assert (card["iteration"], card["depth"], card["tied"], card["untied"]) == (
        "GramISTA",
        3,
        ["inhibition"],
        ["encoder.matrix", "threshold"],
    )
    assert card["learned_numbers"] == 16 * 16 + 3 * (8 * 16 + 16)
    assert card["inputs"] == [
        {"name": "data", "shape": ["batch", 8], "dtype": "float32", "unit": "V", "complex_as_pairs": False}
    ]
    assert card["outputs"] == [
        {"name": "estimate", "shape": ["batch", 16], "dtype": "float32", "unit": "mA", "complex_as_pairs": False}
    ]
    assert card["sizes"] == {"batch": {"smallest": 1, "largest": None, "compared": [1, 2, 5]}}
    assert card["versions"]["torch"] == torch.__version__
    assert ("onnxruntime" in card["versions"]) == (form == "onnx")


def test_what_was_not_said_is_not_claimed(tmp_path):
    card = export(unroll(Shrinking(), 1), file(tmp_path, "torch"), gaussian(3, 9)).card
    assert (card["licence"], card["inputs"][0]["unit"]) == ("not stated", "not stated")


def test_a_card_cannot_contradict_the_network(tmp_path):
    with pytest.raises(ValueError, match="the card's depth cannot be given: it is found from the network"):
        export(unroll(Shrinking(), 1), file(tmp_path, "torch"), gaussian(3, 9), card={"depth": 4})
    with pytest.raises(TypeError, match="a card holds plain values"):
        export(unroll(Shrinking(), 1), file(tmp_path, "torch"), gaussian(3, 9), card={"weights": torch.ones(2)})
