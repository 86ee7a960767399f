"""The kernel for one sample against the formula, and the way without it."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from iterations import unit_dictionary

from unrolling import deploy, unroll
from unrolling.algorithms import ISTA, CoupledISTA, ThinISTA
from unrolling.algorithms.kernels import thin_step as module

pytestmark = pytest.mark.skipif(not module._kernels(), reason="no C++ compiler")


def draw(m, n, density, dtype, seed):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(1, n, generator=generator, dtype=dtype) * (torch.rand(1, n, generator=generator) < density)
    return (
        torch.randn(n, m, generator=generator, dtype=dtype),
        torch.randn(m, n, generator=generator, dtype=dtype),
        x,
        torch.randn(1, m, generator=generator, dtype=dtype),
    )


def run(*given):
    return module.run_thin_steps([module.thin_step(*given)])


def formula(encoder, dictionary, threshold, scale, x, y):
    moved = x + scale * (y - x @ dictionary.T) @ encoder.T
    return moved.sign() * (moved.abs() - threshold).clamp_min(0)


@given(
    st.integers(1, 70),
    st.integers(1, 70),
    st.sampled_from([0.0, 0.1, 1.0]),
    st.sampled_from([torch.float32, torch.float64]),
    st.booleans(),
    st.integers(0, 9),
)
def test_it_is_the_formula_at_every_size(m, n, density, dtype, several, seed):
    encoder, dictionary, x, y = draw(m, n, density, dtype, seed)
    threshold = torch.rand(n if several else 1, dtype=dtype, generator=torch.Generator().manual_seed(seed))
    wanted = formula(encoder, dictionary, threshold, 0.7, x, y)
    kept = y.clone()
    got = run(encoder, dictionary, threshold, 0.7)(x, y)
    assert got is x
    tolerance = {torch.float32: 1e-4, torch.float64: 1e-12}[dtype]
    torch.testing.assert_close(got, wanted, rtol=tolerance, atol=tolerance * (m + n) ** 0.5)
    assert torch.equal(y, kept)


def test_a_number_that_is_none_stays_one():
    encoder, dictionary, x, y = draw(20, 30, 0.2, torch.float64, 0)
    x[0, 3] = torch.nan
    got = run(encoder, dictionary, torch.tensor(0.1, dtype=torch.float64))(x, y)
    assert bool(got.isnan().all())


def test_what_it_is_not_made_for_is_left_to_torch():
    encoder, dictionary, _, _ = draw(5, 6, 1.0, torch.float64, 0)
    assert module.thin_step(encoder, dictionary.float(), torch.tensor(0.1)) is None
    assert module.thin_step(encoder, dictionary, torch.rand(2, 6, dtype=torch.float64)) is None
    assert module.thin_step(encoder.half(), dictionary.half(), torch.tensor(0.1).half()) is None


@pytest.mark.parametrize(
    ("make", "count"),
    [
        (lambda a: ISTA(a, 0.1), 1),
        (lambda a: ThinISTA(a, 0.1), 1),
        (lambda a: CoupledISTA(a, 0.1), 1),
        # each layer for itself, but the first, which is one product
        (lambda a: CoupledISTA(a, 0.1, selection=(5.0, 20.0)), 5),
    ],
)
def test_networks_give_the_same_with_it_and_without_it(make, count, monkeypatch):
    net = unroll(make(unit_dictionary(20, 50)), 6, untied="threshold")
    y = torch.randn(1, 20, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    calls = []
    kernels = {
        dtype: lambda *given, k=kernel: (calls.append(1), k(*given)) for dtype, kernel in module._kernels().items()
    }
    monkeypatch.setattr(module, "_kernels", lambda: kernels)
    fast = deploy(net, "plain")(y)
    assert len(calls) == count
    torch.testing.assert_close(fast, net(y), rtol=1e-10, atol=1e-12)
    monkeypatch.setattr(module, "_kernels", dict)
    torch.testing.assert_close(deploy(net, "plain")(y), net(y), rtol=1e-10, atol=1e-12)
