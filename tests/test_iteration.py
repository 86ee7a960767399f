"""Every iteration passes the conformance checks, and the contract refuses what breaks it."""

import pytest
import torch
from families import some
from hypothesis import given
from hypothesis import strategies as st
from iterations import Detection, Lasso, Shared, Shrinking, channel_data, gaussian, unit_dictionary
from torch import nn

from unrolling import Iteration, Matrix, solve, unroll
from unrolling.algorithms import FISTA, IHT, ISTA, CoordinateDescent, Decoded, GramISTA, SynthesisISTA, ThinISTA
from unrolling.core import tree
from unrolling.testing import check_compile, check_export, check_iteration, check_parent_equality

DICTIONARY = unit_dictionary(6, 9)


def complex_dictionary(m, n):
    dictionary = torch.complex(gaussian(m, n, seed=5), gaussian(m, n, seed=6))
    return dictionary / torch.linalg.vector_norm(dictionary, dim=0)


def measurements(batch):
    return gaussian(batch, 6, seed=3)


def complex_measurements(batch):
    return torch.complex(gaussian(batch, 6, seed=3), gaussian(batch, 6, seed=4))


SENSING = torch.linalg.qr(gaussian(8, 6, seed=7)).Q.T.contiguous()  # (6, 8), orthonormal rows


def synthesis(**options):
    frame = torch.linalg.qr(gaussian(12, 8, seed=8)).Q.T.contiguous()  # (8, 12), a tight frame
    return SynthesisISTA(Matrix(SENSING), Matrix(frame), 0.1, step_size=0.9, **options)


# name: the iteration in float64, its data for a batch, the checks that mathematics forbids
CASES = {
    "ISTA": (lambda: ISTA(DICTIONARY, 0.1), measurements, ()),
    "ISTA, complex": (lambda: ISTA(complex_dictionary(6, 9), 0.3), complex_measurements, ()),
    "GramISTA": (lambda: GramISTA(DICTIONARY, 0.1), measurements, ()),
    "ThinISTA": (lambda: ThinISTA(DICTIONARY, 0.1), measurements, ()),
    "FISTA": (lambda: FISTA(ISTA(DICTIONARY, 0.1)), measurements, ()),
    "FISTA, Gram, continuation": (lambda: FISTA(GramISTA(DICTIONARY, 0.1), continuation=(5.0, 0.7)), measurements, ()),
    "CoordinateDescent": (lambda: CoordinateDescent(DICTIONARY, 0.1), measurements, ()),
    "IHT": (lambda: IHT(DICTIONARY, 3), measurements, ()),
    "SynthesisISTA": (lambda: synthesis(), measurements, ()),
    "SynthesisISTA, from a linear estimate": (
        lambda: synthesis(initial=Matrix(SENSING.T.contiguous())),
        measurements,
        (),
    ),
    "FISTA, synthesis": (lambda: FISTA(synthesis()), measurements, ()),
    "Decoded": (lambda: Decoded(GramISTA(DICTIONARY, 0.1), Matrix(gaussian(4, 9))), measurements, ()),
    "Lasso": (lambda: Lasso(DICTIONARY, 0.1), measurements, ()),
    "Lasso, complex": (lambda: Lasso(complex_dictionary(6, 9), 0.3), complex_measurements, ()),
    "Detection": (Detection, channel_data, ()),
    "Shrinking": (Shrinking, lambda batch: gaussian(batch, 16, seed=2), ("solve",)),  # its state changes shape
    "Shared": (lambda: Shared(DICTIONARY, 0.1), measurements, ()),
}


@pytest.mark.parametrize("name", CASES)
def test_conformance(name):
    make, data, skip = CASES[name]
    check_iteration(make(), data(5), skip=(*skip, "compile", "export"))


def single(item):
    """The same in single precision."""
    return tree.apply(lambda t: t.to(torch.complex64 if t.is_complex() else torch.float32), item)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_network_is_its_parent_to_the_bit_at_batch_1_and_1000(name, precision):
    make, data, _ = CASES[name]
    iteration, batch = make(), data(1000)
    if precision == "float32":
        iteration, batch = iteration._apply(single), single(batch)
    check_parent_equality(iteration, batch, depth=3)


@given(
    m=st.integers(1, 12),
    n=st.integers(1, 12),
    batch=st.integers(1, 20),
    depth=st.integers(1, 6),
    double=st.booleans(),
    kind=st.sampled_from(["residual", "gram", "cod"]),
)
def test_network_is_its_parent_to_the_bit_for_any_shape(m, n, batch, depth, double, kind):
    dtype = torch.float64 if double else torch.float32
    dictionary = unit_dictionary(m, n, seed=m, dtype=dtype)
    iteration = {"residual": ISTA, "gram": GramISTA, "cod": CoordinateDescent}[kind](dictionary, 0.05)
    check_parent_equality(iteration, gaussian(batch, m, seed=n, dtype=dtype), depth=depth)


@pytest.mark.nightly
@pytest.mark.slow
@pytest.mark.parametrize(
    "name", some(["FISTA, Gram, continuation", "CoordinateDescent", "Detection"], "FISTA, Gram, continuation")
)
def test_compiles_as_one_graph(name):
    make, data, _ = CASES[name]
    check_compile(make(), data(5))


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", some(CASES, "ISTA, complex", "FISTA, Gram, continuation", "CoordinateDescent", "IHT", "Detection", "Shared")
)
def test_exports_with_a_dynamic_batch(name):
    make, data, _ = CASES[name]
    check_export(make(), data(5))


def test_unrolling_one_sample_at_a_time_is_a_loop_written_by_hand():
    lasso, y = Lasso(DICTIONARY, 0.1), measurements(3)
    x = torch.zeros(3, 9, dtype=torch.float64)
    step = 1 / float(torch.linalg.matrix_norm(DICTIONARY, 2)) ** 2
    for _ in range(7):
        z = x + step * (y - x @ DICTIONARY.T) @ DICTIONARY
        x = torch.sign(z) * (z.abs() - 0.1 * step).clamp_min(0)
    torch.testing.assert_close(unroll(lasso, 7)(y), x, rtol=0, atol=1e-14)


class NoStart(Iteration):
    def forward(self, state, problem):
        return state


class NoForward(Iteration):
    def start(self, problem):
        return problem


@pytest.mark.parametrize(("cls", "method"), [(NoStart, "start"), (NoForward, "forward")])
def test_an_iteration_without_a_method_says_which_and_how_to_write_it(cls, method):
    with pytest.raises(
        TypeError,
        match=rf"{cls.__name__} is an Iteration without `{method}`; write `def "
        rf"{method}\(self, ",
    ):
        cls()


class Halving(Iteration):
    """The least that an iteration is."""

    def start(self, problem):
        return problem

    def forward(self, state, problem):
        return state / 2


def test_defaults_of_the_contract():
    halving, y = Halving(), measurements(2)
    assert isinstance(halving.prepare, nn.Identity)
    assert halving.fixed_point() is halving
    assert torch.equal(halving.residual(y, y, y), torch.zeros(2, dtype=y.dtype))
    assert torch.equal(halving.supervised(y, y), y)
    assert torch.equal(halving.estimate(y, y), y)
    assert "smaller step size" in halving.advice()


@pytest.mark.parametrize("dtype", [torch.int64, torch.uint8, torch.int32])
def test_integer_data_are_refused_by_name_everywhere(dtype):
    y = torch.ones(3, 6, dtype=dtype)
    for run in (unroll(Halving(), 2), unroll(Halving(), 2).run, lambda y: solve(Halving(), y)):
        with pytest.raises(TypeError, match=rf"data is {dtype}; .* use data.float\(\)"):
            run(y)


@pytest.mark.parametrize(
    "name", ["ISTA", "GramISTA", "ThinISTA", "FISTA", "FISTA, Gram, continuation", "CoordinateDescent", "IHT"]
)
def test_data_of_the_wrong_width_are_refused_with_both_shapes(name):
    iteration = CASES[name][0]()
    for run in (unroll(iteration, 2), lambda y: solve(iteration, y)):
        with pytest.raises(ValueError, match=r"(\(batch, 6\), and|\(batch, \.\.\., 6\), .*;) got \(3, 7\)"):
            run(torch.zeros(3, 7, dtype=torch.float64))
