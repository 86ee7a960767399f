"""Deployed in the plain form: the same values, the network untouched, memory of its own."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from iterations import Detection, channel_data, unit_dictionary
from tiny import bits, moved, same

from unrolling import deploy, unroll
from unrolling.algorithms import AMP, FISTA, VAMP, CoordinateDescent, CoupledISTA, GramISTA, SelectiveGramISTA, ThinISTA
from unrolling.algorithms.kernels.shrinkage import Scratch
from unrolling.core import frozen
from unrolling.prox import nonnegative
from unrolling.prox.bernoulli_gaussian import BernoulliGaussian
from unrolling.testing import groups

A = unit_dictionary(20, 30)
WIDE = unit_dictionary(10, 30)
PARENTS = {
    "gram": lambda a: GramISTA(a, 0.1),
    "gram, one threshold": lambda a: GramISTA(a, 0.1),
    "thin": lambda a: ThinISTA(a, 0.1),
    "coupled": lambda a: CoupledISTA(a, 0.3),
    "coupled, selective": lambda a: CoupledISTA(a, 0.3, selection=(5.0, 20.0)),
    "selective gram": lambda a: SelectiveGramISTA(a, 0.3, selection=(5.0, 20.0)),
    "non-negative": lambda a: ThinISTA(a, 0.1, prox=nonnegative),
    "fista": lambda a: FISTA(GramISTA(a, 0.1)),
    "descent": lambda a: CoordinateDescent(a, 0.1),
    "amp": lambda a: AMP(a, BernoulliGaussian(0.1)),
    "vamp": lambda a: VAMP(a, BernoulliGaussian(0.1)),
}


def data(m, batch=7, seed=0, dtype=torch.float64):
    return torch.randn(batch, m, generator=torch.Generator().manual_seed(seed), dtype=dtype)


@pytest.mark.parametrize("name", PARENTS)
@pytest.mark.parametrize("dictionary", [A, WIDE], ids=["n < 2m", "n > 2m"])
def test_every_way_of_sharing_gives_the_same_values(name, dictionary):
    parent = PARENTS[name](dictionary)
    y = data(dictionary.shape[0])
    for tied, untied in groups(parent):
        net = moved(unroll(parent, 5, tied=tied, untied=untied), size=0.02)
        before = bits(net)
        fast = deploy(net, "plain")
        torch.testing.assert_close(fast(y), net(y), rtol=1e-9, atol=1e-10)
        torch.testing.assert_close(fast(y[:1]), net(y[:1]), rtol=1e-9, atol=1e-10)
        assert same(bits(net), before)


@pytest.mark.parametrize("name", ["gram", "thin", "coupled", "coupled, selective"])
def test_single_precision_agrees_to_a_millionth(name):
    parent = PARENTS[name](A.float())
    net = moved(unroll(parent, 8, untied=("encoder", "threshold")), size=0.01)
    y = data(20, 200, dtype=torch.float32)
    plain = net(y).detach()
    assert float((deploy(net, "plain")(y) - plain).abs().max()) <= 1e-6 * max(1.0, float(plain.abs().max())) * 4


@given(st.lists(st.integers(1, 9), min_size=2, max_size=5), st.sampled_from(["gram", "thin", "coupled"]))
def test_results_keep_their_values_when_memory_is_used_again(sizes, name):
    net = unroll(PARENTS[name](A), 4, untied="threshold")
    fast = deploy(net, "plain")
    inputs = [data(20, size, seed=k) for k, size in enumerate(sizes)]
    outputs = [fast(y) for y in inputs]
    for y, output in zip(inputs, outputs, strict=True):
        torch.testing.assert_close(output, net(y), rtol=1e-9, atol=1e-10)


def test_the_data_are_not_written_into():
    for name in ("gram", "thin", "coupled"):
        y = data(20)
        kept = y.clone()
        deploy(unroll(PARENTS[name](A), 3), "plain")(y)
        assert torch.equal(y, kept)


def test_one_layer_and_more_than_one_dimension_of_samples():
    for name in ("gram", "thin", "coupled"):
        net = unroll(PARENTS[name](A), 1)
        torch.testing.assert_close(deploy(net, "plain")(data(20)), net(data(20)))
    y = data(20, 6).reshape(2, 3, 20)
    for name in ("gram", "thin"):
        net = unroll(PARENTS[name](A), 4, untied="threshold")
        torch.testing.assert_close(deploy(net, "plain")(y), net(y))


def test_structured_data_run_as_they_are():
    y = channel_data(5)
    net = unroll(Detection(), 4)
    assert torch.equal(deploy(net, "plain")(y), net(y))


def test_the_products_are_as_few_as_they_can_be():
    """Thin: 1 + 2 (K - 1) products of m n; coupled and shared with n < 2 m: one of m n, then K - 1 of n^2; Gram: the
    same.
    """
    from torch.utils.flop_counter import FlopCounterMode

    m, n, depth = 20, 30, 6

    def products(net):
        fast, y = deploy(net, "plain"), data(m, 2)  # of one sample the counter does not see the products
        # Products in place are products too, which the counter does not know by itself.
        in_place = {torch.ops.aten.addmm_: lambda own, left, right, *rest, **options: 2 * left[0] * left[1] * right[1]}
        counter = FlopCounterMode(display=False, custom_mapping=in_place)
        with counter:
            fast(y)
        return counter.get_total_flops() // 4

    assert products(unroll(ThinISTA(A, 0.1), depth, untied=("encoder", "threshold"))) == m * n * (1 + 2 * (depth - 1))
    assert products(unroll(CoupledISTA(A, 0.1), depth, untied=("encoder",))) == m * n * (1 + 2 * (depth - 1))
    assert products(unroll(CoupledISTA(A, 0.1), depth, untied=("threshold",))) == m * n + (depth - 1) * n * n
    assert products(unroll(GramISTA(A, 0.1), depth, untied=("threshold",))) == m * n + (depth - 1) * n * n


def test_no_gradient_is_recorded_and_bad_data_are_refused_as_by_the_network():
    net = unroll(GramISTA(A, 0.1), 3, untied="threshold")
    assert not deploy(net, "plain")(data(20)).requires_grad
    with pytest.raises(ValueError, match="data must have shape"):
        deploy(net, "plain")(data(7))
    assert repr(deploy(net, "plain")) == "Plain(Unrolled, all layers at once)"


def test_frozen_networks_hold_the_values_without_their_constraints():
    net = moved(unroll(GramISTA(A, 0.1), 3, tied="encoder", untied="threshold"))
    plain = frozen(net)
    assert torch.equal(plain(data(20)), net(data(20)))
    assert not any(p.requires_grad for p in plain.parameters())
    assert not any("parametrizations" in name for name, _ in plain.named_parameters())
    assert plain.layers[0].encoder is plain.layers[2].encoder


def test_scratch_never_gives_the_memory_of_the_state_before():
    scratch, like = Scratch(), torch.zeros(4, 2)
    old = None
    for _ in range(6):
        new = scratch.next(like, 3, old, False)
        assert old is None or new.data_ptr() != old.data_ptr()
        old = new
    fresh = scratch.next(like, 3, old, True)
    assert fresh.data_ptr() not in {old.data_ptr(), scratch.next(like, 3, old, False).data_ptr()}
