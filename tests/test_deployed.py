"""Networks that are compiled when it pays, and networks captured on a GPU, as far as a machine without one can tell."""

import copy

import pytest
import torch
from iterations import Detection, channel_data, gaussian
from tiny import bits, moved, network, recovery, same

from unrolling import deploy, unroll
from unrolling.algorithms import ISTA
from unrolling.cli.options import patience
from unrolling.evaluation.contenders import Measured
from unrolling.evaluation.measure import Contender

TRACED = "aot_eager"  # tracing and differentiation as for the default backend, without a compiler at the end


@pytest.fixture
def net():
    """A network that compiles quickly: traced, without a compiler at the end."""
    torch._dynamo.reset()
    return moved(network(recovery(), 3))


def adapted(net, after):
    return deploy(net, after=after, backend=TRACED)


def signals(batch, seed=0):
    return gaussian(batch, 8, seed=seed, dtype=torch.float32)


def test_it_is_compiled_after_the_time_that_was_given_and_never_changes_its_results(net, monkeypatch):
    now = [0.0]
    monkeypatch.setattr("time.perf_counter", lambda: now[0])
    adaptive = adapted(net, 10.0)
    plain = adaptive._plain

    def slow(*given, **options):
        now[0] += 4.0
        return plain(*given, **options)

    slow.network = plain.network
    adaptive._plain = slow
    for call in range(5):
        torch.testing.assert_close(adaptive(signals(4, call)), net(signals(4, call)))
        # 4, 8 and 12 seconds are spent; the fourth call is the first to find more than ten.
        assert (adaptive.compiled is None) == (call < 3)
    assert adaptive.compiled.graphs == 1
    assert now[0] == 12.0
    adaptive(signals(1))  # of another kind, on which no time has been spent
    assert now[0] == 16.0


def test_zero_compiles_at_once_and_infinity_never(net):
    at_once, never = adapted(net, 0.0), adapted(net, float("inf"))
    torch.testing.assert_close(at_once(signals(3)), net(signals(3)))
    torch.testing.assert_close(never(signals(3)), net(signals(3)))
    assert at_once.compiled is not None
    assert at_once.seconds > 0
    assert never.compiled is None
    assert never.seconds == 0
    for wrong in (-1.0, float("nan")):
        with pytest.raises(ValueError, match="it is a number of seconds, at least 0"):
            adapted(net, wrong)


def test_where_nothing_compiles_the_plain_network_goes_on(net):
    def fails(graph, inputs):
        raise RuntimeError("no compiler\nand much advice")

    adaptive = deploy(net, after=0.0, backend=fails)
    for _ in range(2):
        torch.testing.assert_close(adaptive(signals(3)), net(signals(3)))
    assert "no compiler" in adaptive.failure
    assert "and much advice" not in adaptive.failure
    assert "no compiler" in repr(adaptive)
    assert adaptive.compiled is None


def test_in_the_place_of_forward_it_stays_with_its_network(net):
    """A copy has the class's own `forward`, and weights of its own."""
    net.forward = deploy(net, after=float("inf"))
    wanted = net(signals(3))
    other = copy.deepcopy(net)
    assert "forward" not in vars(other)
    torch.testing.assert_close(other(signals(3)), wanted)
    assert same(bits(other), bits(net))


def test_compare_measures_the_compiled_network_where_the_test_set_takes_long_enough(net, monkeypatch):
    task, plain = recovery(), Contender("LISTA", "network", net, 3, 10)
    monkeypatch.setattr("unrolling.evaluation.contenders.deploy", lambda net, how: deploy(net, how, backend=TRACED))
    measured = Measured(task, net, "LISTA", 0, None, True, lambda text: None)
    assert measured.compiled(plain, float("inf")) == []
    (row,) = measured.compiled(plain, 0.0)
    assert (row.name, row.error, row.iterations) == ("LISTA, compiled", "", 3)
    assert "compiled in" in row.note
    torch.testing.assert_close(row.run(signals(5)), net(signals(5)))


def test_the_words_of_the_option_are_seconds():
    assert [patience(word) for word in ("auto", "always", "never")] == [60.0, 0.0, float("inf")]
    with pytest.raises(ValueError, match="--compile is maybe; it is auto, always, never"):
        patience("maybe")


def test_complex_data_are_not_left_to_a_compiler_that_has_no_code_for_them():
    iteration = ISTA(torch.randn(4, 6, dtype=torch.complex64, generator=torch.Generator().manual_seed(0)), 0.1)
    net, y = unroll(iteration, 2), torch.randn(3, 4, dtype=torch.complex64, generator=torch.Generator().manual_seed(1))
    with pytest.raises(NotImplementedError, match="no code for complex numbers"):
        deploy(net, "compiled")(y)
    adaptive = deploy(net, after=0.0)
    torch.testing.assert_close(adaptive(y), net(y))
    assert "no code for complex numbers" in adaptive.failure
    assert adaptive.seconds == 0


def test_captured_networks_off_a_gpu_are_inference():
    net = moved(network(recovery(), 3))
    captured = deploy(net, "captured")
    for batch in (4, 1, 4):
        assert torch.equal(captured(signals(batch)), deploy(net, "plain")(signals(batch)))
    assert captured.graphs == 0
    structured = unroll(Detection(), 3)
    assert torch.equal(deploy(structured, "captured")(channel_data(5)), structured(channel_data(5)))
    with pytest.raises(ValueError, match="most is 0; at least one graph is kept"):
        deploy(net, "captured", most=0)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_on_a_gpu_a_graph_is_recorded_for_each_kind_of_data():
    net = moved(network(recovery(), 3)).cuda()
    captured = deploy(net, "captured", most=2)
    for batch, graphs in ((4, 1), (4, 1), (7, 2), (1, 2), (4, 2)):
        y = signals(batch).cuda()
        torch.testing.assert_close(captured(y), net(y), rtol=1e-5, atol=1e-6)
        assert captured.graphs == graphs
    first, second = captured(signals(4, 1).cuda()), captured(signals(4, 2).cuda())
    assert not torch.equal(first, second)  # an answer keeps its values when the graph runs again
