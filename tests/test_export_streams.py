"""Files that go on from a state: (data, state) -> (estimate, next state), whatever runs them."""

import copy
from typing import NamedTuple

import numpy as np
import pytest
import torch
from exported import FORMATS, QUICK, file
from families import by_day
from iterations import Detection, Lasso, Memory, channel_data, gaussian, unit_dictionary
from tiny import moved
from torch import Tensor, nn

from unrolling import Iteration, unroll
from unrolling.export import ExportError, admitted, export, load
from unrolling.export.loading import Loaded


def detection(depth=2):
    return moved(unroll(Detection(), depth, tied="momentum", untied=("regularisation", "step_size")))


@pytest.mark.nightly
@pytest.mark.parametrize("form", FORMATS)
def test_a_file_that_goes_on_twice_is_the_network_with_twice_the_layers(form, tmp_path):
    """Tied, so that 2 + 2 layers are 4; the counter is a number that goes in and comes out."""
    net = unroll(Detection(), 2, tied=("regularisation", "step_size", "momentum"))
    data = channel_data(3)
    loaded = load(export(net, file(tmp_path, form), data, stream=True, format=form).path, form)
    wanted, state = unroll(Detection(), 4)(data, return_state=True)
    _, half = loaded(data, net.layers[0].start(net.layers[0].prepare(data)))
    assert isinstance(half, Memory)
    assert half.steps == 2
    estimate, last = loaded(data, half)
    torch.testing.assert_close(estimate, wanted, rtol=0, atol=1e-12)
    torch.testing.assert_close(last.change, state.change, rtol=0, atol=1e-12)
    assert last.steps == 4
    assert isinstance(last.steps, int)


@pytest.mark.parametrize("form", by_day("onnx", "torch"))
def test_the_runtime_alone_takes_the_state_by_name_at_any_batch(form, tmp_path):
    net = detection()
    path = export(net, file(tmp_path, form), channel_data(3), stream=True, format=form).path
    for batch, m, n in ((1, 5, 4), (4, 7, 3)):
        data = channel_data(batch, m, n, seed=batch)
        state = Memory(gaussian(batch, n, seed=1), gaussian(batch, n, seed=2), 5)
        wanted, after = net(data, state, return_state=True)
        inputs = {**data._asdict(), "state_x": state.x, "state_change": state.change, "state_steps": torch.tensor(5)}
        if form == "onnx":
            import onnxruntime

            session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
            names = ["estimate", "next_state_x", "next_state_change", "next_state_steps"]
            assert [port.name for port in session.get_outputs()] == names
            found = session.run(names, {name: value.numpy() for name, value in inputs.items()})
        else:
            found = torch.export.load(path).module()(**inputs)
        for got, want in zip(found, (wanted, *after), strict=True):
            np.testing.assert_allclose(np.asarray(got), np.asarray(torch.as_tensor(want).detach()), atol=1e-12)


def test_the_card_says_where_the_state_goes_in_and_out_and_with_what_it_starts(tmp_path):
    net = detection()
    data = channel_data(3)
    done = export(net, file(tmp_path, "torch"), data, stream=True)
    assert done.card["state"] == [
        {"input": "state_x", "output": "next_state_x", "number": False, "start": 0.0},
        {"input": "state_change", "output": "next_state_change", "number": False, "start": 0.0},
        {"input": "state_steps", "output": "next_state_steps", "number": True, "start": 0},
    ]
    assert [port["name"] for port in done.card["outputs"]][1:] == [
        "next_state_x",
        "next_state_change",
        "next_state_steps",
    ]
    assert done.shapes["next_state_x"] == ("batch", "matrix_2")
    # So that a stream can begin without the network.
    loaded, other = load(done.path, done.format), channel_data(5, 6, 3)
    wanted, after = net(other, return_state=True)
    estimate, state = loaded(other)
    torch.testing.assert_close(estimate, wanted.detach())
    assert state["state_steps"] == 2
    torch.testing.assert_close(loaded(other, state)[0], net(other, after).detach())
    torch.testing.assert_close(loaded(**other._asdict(), **state_tensors(state))[0], net(other, after).detach())


def state_tensors(state):
    return {name: torch.as_tensor(value) for name, value in state.items()}


@pytest.mark.parametrize("form", QUICK)
@pytest.mark.nightly
def test_a_complex_state_stays_complex(form, tmp_path):
    net = moved(unroll(Lasso(torch.complex(unit_dictionary(6, 9), unit_dictionary(6, 9, seed=1)), 0.3), 2), size=0.01)
    y = torch.complex(gaussian(4, 6), gaussian(4, 6, seed=1))
    loaded = load(export(net, file(tmp_path, form), y, stream=True, format=form).path)
    wanted, state = net(y, return_state=True)
    estimate, got = loaded(y)
    torch.testing.assert_close(estimate, wanted.detach())
    torch.testing.assert_close(got["state"], state.detach())
    torch.testing.assert_close(loaded(y.flip(0), state.detach())[0], net(y.flip(0), state).detach())


class Memories(NamedTuple):
    """The state of `Filter`: two tensors, one of which stays."""

    value: Tensor  # (batch, n)
    rate: Tensor  # (1, n)


class Filter(nn.Module):
    """A leaky average of what comes: no `Unrolled`."""

    def __init__(self):
        super().__init__()
        self.gain = nn.Parameter(torch.tensor(0.5))

    def forward(self, data, state):
        value, rate = state[:2]
        value = rate * value + self.gain * data
        return torch.relu(value), Memories(value, rate)


@pytest.mark.parametrize("form", QUICK)
def test_any_module_may_have_a_state(form, tmp_path):
    state = Memories(torch.ones(3, 4), torch.full((1, 4), 0.9))
    path = export(Filter(), file(tmp_path, form), torch.randn(3, 4), state=state, format=form).path
    loaded, value = load(path), torch.zeros(2, 4)
    state = Memories(value, torch.full((1, 4), 0.25))
    for step in range(4):
        y = torch.randn(2, 4, generator=torch.Generator().manual_seed(step))
        value = 0.25 * value + 0.5 * y
        estimate, state = loaded(y, state)
        torch.testing.assert_close(estimate, value.clamp_min(0))
    with pytest.raises(ValueError, match="give the state: the card does not know how state_value, state_rate starts"):
        loaded(y)


class Parameters(Iteration):
    """Gradient descent on one vector for all samples: the state is that vector."""

    batched = False

    def start(self, problem):
        return problem.new_zeros(4)

    def forward(self, state, problem):
        return state - 0.1 * problem.mT @ (problem @ state - 1) / problem.shape[0]

    def estimate(self, state, problem):
        return problem @ state


@pytest.mark.parametrize("form", QUICK)
def test_a_state_without_samples_may_have_the_batchs_size(form, tmp_path):
    net = unroll(Parameters(), 3)
    loaded = load(export(net, file(tmp_path, form), torch.randn(4, 4), stream=True, format=form).path)
    y = torch.randn(7, 4)
    wanted, state = net(y, return_state=True)
    estimate, got = loaded(y)
    torch.testing.assert_close((estimate, got["state"]), (wanted, state))


def test_a_precision_of_fewer_bits_keeps_the_state(tmp_path):
    net = moved(unroll(Lasso(unit_dictionary(12, 20, dtype=torch.float32), 0.1), 2, untied="encoder"), size=0.01)
    done = export(net, file(tmp_path, "torch"), torch.randn(3, 12), stream=True, precision="bf16")
    assert list(done.shapes) == ["data", "state", "estimate", "next_state"]


class Choosing(Detection):
    """Its first step is another one."""

    def forward(self, state, problem):
        return super().forward(state, problem) if state.steps > 0 else state._replace(steps=1)


def test_what_is_no_stream_is_refused(tmp_path):
    path = file(tmp_path, "torch")
    with pytest.raises(ExportError, match=r"The state's state_steps is a number, .* not choose by it"):
        export(unroll(Choosing(), 1), path, channel_data(3), stream=True)
    with pytest.raises(TypeError, match="stream=True takes the state from an Unrolled; for a Filter give an example"):
        export(Filter(), path, torch.randn(3, 4), stream=True)
    with pytest.raises(ValueError, match=r"state_value goes in as .*\(3, 1\) and comes out as .*\(3, 4\)"):
        export(Filter(), path, torch.randn(3, 4), state=Memories(torch.ones(3, 1), torch.ones(1, 4)))
    with pytest.raises(TypeError, match="holds tensors and numbers, in tuples and NamedTuples; got a str"):
        export(Filter(), path, torch.randn(3, 4), state=(torch.ones(3, 4), torch.ones(1, 4), "a"))
    with pytest.raises(TypeError, match="exported without a state"):
        load(export(nn.Identity(), path, torch.randn(3, 4)).path)(torch.randn(3, 4), torch.zeros(3, 4))


# What a comparison sees


class Floor(nn.Module):
    """y / (|y| + 1e-8), which is finite at zero."""

    def forward(self, y):
        return y / (y.abs() + 1e-8)


def test_a_small_constant_stays_in_onnx(tmp_path):
    """The simplifications of torch's exporter take 1e-8 for zero, so that silence gave NaN."""
    loaded = load(export(Floor(), file(tmp_path, "onnx"), torch.randn(3, 4), format="onnx").path)
    assert torch.equal(loaded(torch.zeros(2, 4)), torch.zeros(2, 4))
    torch.testing.assert_close(loaded(torch.full((1, 4), 1e-8)), torch.full((1, 4), 0.5))


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(lambda y: y / y.abs(), id="NaN at silence"),
        pytest.param(lambda y: torch.where(y == 0, torch.full_like(y, 0.5), y.sign()), id="another value at silence"),
        pytest.param(lambda y: y.sign() * (y.abs() < 20), id="another value where it is loud"),
    ],
)
def test_a_file_that_differs_where_samples_are_silent_or_loud_is_refused(fault, monkeypatch, tmp_path):
    path, original = file(tmp_path, "torch"), Loaded.__call__

    def wrong(self, data=None, state=None, **tensors):
        original(self, data, state, **tensors)
        return fault(data)

    monkeypatch.setattr(Loaded, "__call__", wrong)
    with pytest.raises(ExportError, match=r"differs from the network"):
        export(Signs(), path, torch.randn(3, 6))
    assert list(tmp_path.iterdir()) == []


class Signs(nn.Module):
    """0 at 0."""

    def forward(self, y):
        return y.sign()


def test_a_nan_in_the_last_batch_alone_is_refused(monkeypatch, tmp_path):
    """A maximum over batches would pass it."""
    original, calls = Loaded.__call__, []

    def wrong(self, data=None, state=None, **tensors):
        calls.append(len(data))
        found = original(self, data, state, **tensors)
        return found * float("nan") if len(data) > 2 else found

    monkeypatch.setattr(Loaded, "__call__", wrong)
    with pytest.raises(ExportError, match="its estimate is NaN or infinite where the network's is finite"):
        export(copy.deepcopy(Signs()), file(tmp_path, "torch"), torch.randn(3, 6))
    assert calls == [1, 2, 5]


class Mixing(nn.Module):
    """A product that only a formula of letters says."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(gaussian(3, 4).float())

    def forward(self, data):
        return torch.einsum("of,bfn->bon", self.weight, data)


def test_a_network_with_einsum_comes_back_and_no_other_text_does(tmp_path):
    net, data = Mixing(), torch.randn(2, 4, 5)
    loaded = load(export(net, file(tmp_path, "torch"), data).path)
    torch.testing.assert_close(loaded(data), net(data).detach())
    for text in ("ab,bc->ac", "...ij,...j->...i", "ii->"):
        admitted._check_text(text, "as_string")
    for text in ("os.mkdir('x')->", "a,b->c;d", "a" * 70 + ",b->a", "__import__,os->x"):
        with pytest.raises(ValueError, match="its as_string is"):
            admitted._check_text(text, "as_string")
    with pytest.raises(ValueError, match="its name is"):
        admitted._check_text("ab,bc->ac", "name")
