"""The kernel for batches against the formula, at every size, and the way without it."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from iterations import unit_dictionary

from unrolling import deploy, unroll
from unrolling.algorithms import ISTA, CoupledISTA, ThinISTA
from unrolling.algorithms.kernels import packed_steps as module
from unrolling.algorithms.kernels.thin_step import thin_step

needed = pytest.mark.skipif(module._products() is None, reason="no oneMKL, or no C++ compiler")


def draw(m, n, depth, several, seed):
    generator = torch.Generator().manual_seed(seed)
    dictionary = torch.randn(m, n, generator=generator) / m**0.5
    encoders = [torch.randn(n, m, generator=generator) / n**0.5 for _ in range(depth)]
    thresholds = [torch.rand(n if several else 1, generator=generator) for _ in range(depth)]
    return dictionary, encoders, thresholds


def formula(dictionary, encoders, thresholds, scale, y):
    """In double precision."""
    x = y.new_zeros(y.shape[0], dictionary.shape[1], dtype=torch.float64)
    for encoder, threshold in zip(encoders, thresholds, strict=True):
        moved = x + scale * (y.double() - x @ dictionary.double().T) @ encoder.double().T
        x = moved.sign() * (moved.abs() - threshold.double()).clamp_min(0)
    return x


@needed
@given(st.integers(1, 60), st.integers(1, 60), st.integers(1, 4), st.integers(1, 700), st.booleans(), st.integers(0, 9))
def test_it_is_the_formula_at_every_size(m, n, depth, batch, several, seed):
    dictionary, encoders, thresholds = draw(m, n, depth, several, seed)
    y = torch.randn(batch, m, generator=torch.Generator().manual_seed(seed))
    kept = y.clone()
    run = module.run_packed_steps(
        [
            thin_step(encoder, dictionary, threshold, 0.7)
            for encoder, threshold in zip(encoders, thresholds, strict=True)
        ]
    )
    wanted = formula(dictionary, encoders, thresholds, 0.7, y)
    assert float((run(y) - wanted).abs().max()) <= 1e-5 * max(1.0, float(wanted.abs().max()))
    assert torch.equal(y, kept)


@pytest.mark.parametrize("parent", [ISTA, ThinISTA, CoupledISTA])
@pytest.mark.parametrize("batch", [module.FEWEST - 1, module.FEWEST, 333])
def test_a_network_agrees_to_a_millionth(parent, batch):
    net = unroll(parent(unit_dictionary(10, 30).float(), 0.1), 6, untied="threshold")
    y = torch.randn(batch, 10, generator=torch.Generator().manual_seed(0))
    fast = deploy(net, "plain")
    assert float((fast(y) - net(y)).abs().max()) <= 1e-6
    first = fast(y)
    fast(-y)
    assert torch.equal(first, fast(y)), "an estimate is nobody else's memory"


@needed
@pytest.mark.parametrize("threads", [1, 2, 3])
def test_more_or_fewer_samples_than_before(threads):
    """Matrices are packed anew for another number of rows."""
    dictionary, encoders, thresholds = draw(30, 50, 3, False, 0)
    run = module.run_packed_steps(
        [thin_step(encoder, dictionary, threshold) for encoder, threshold in zip(encoders, thresholds, strict=True)]
    )
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(threads)
        for batch in (700, 64, 1001, 700):
            y = torch.randn(batch, 30, generator=torch.Generator().manual_seed(batch))
            torch.testing.assert_close(
                run(y).double(), formula(dictionary, encoders, thresholds, 1.0, y), rtol=1e-4, atol=1e-5
            )
    finally:
        torch.set_num_threads(before)


@given(st.integers(1, 5000), st.integers(1, 64))
def test_rows_are_shared_out(batch, threads):
    rows = module.rows_of(batch, threads)
    assert 1 <= rows <= module.MOST
    assert -(-batch // rows) <= threads * -(-batch // (threads * module.MOST)), "no thread has a turn more than it must"


@needed
def test_a_number_that_is_none_stays_one():
    dictionary, encoders, thresholds = draw(20, 30, 3, False, 0)
    y = torch.zeros(70, 20)
    y[3, 5] = torch.nan
    got = module.run_packed_steps(
        [thin_step(encoder, dictionary, threshold) for encoder, threshold in zip(encoders, thresholds, strict=True)]
    )(y)
    assert bool(got[3].isnan().all())
    assert bool((got[:3] == 0).all() & (got[4:] == 0).all())


def test_without_it_torch_does_the_same(monkeypatch):
    net = unroll(ThinISTA(unit_dictionary(10, 30).float(), 0.1), 6, untied="threshold")
    y = torch.randn(100, 10, generator=torch.Generator().manual_seed(0))
    monkeypatch.setattr(module, "_products", lambda: None)
    torch.testing.assert_close(deploy(net, "plain")(y), net(y), rtol=1e-5, atol=1e-6)


def test_other_dtypes_are_left_to_torch():
    dictionary, encoders, thresholds = draw(20, 30, 1, False, 0)
    assert (
        module.run_packed_steps([thin_step(encoders[0].double(), dictionary.double(), thresholds[0].double())]) is None
    )
