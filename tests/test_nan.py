"""NaN in gives NaN out: nowhere does a comparison take it for something small, large or zero."""

import math

import pytest
import torch
from families import some_recipes
from iterations import gaussian, unit_dictionary
from test_conformance import parent_and_data

from unrolling import deploy, unroll
from unrolling.algorithms import ISTA
from unrolling.algorithms.detection import decide, pam
from unrolling.algorithms.dynamics.state_space import Recording
from unrolling.algorithms.power.forecast import Window
from unrolling.core import tree
from unrolling.core.constraints import Bounded, Positive, Simplex, UnitNorm
from unrolling.operators import FiniteDifferences, normalise_maps
from unrolling.prox import (
    AnalysisProx,
    BlockSoftThreshold,
    IsotropicShrink,
    LinearSpline,
    Ridge,
    clamp_coefficients,
    hard_threshold,
    k_sparse,
    nonnegative,
    soft_threshold,
    support_select,
    surrogate_hard_threshold,
)

NAN = math.nan
ELEMENTWISE = {
    "soft": soft_threshold,
    "hard": hard_threshold,
    "surrogate": lambda z, t: surrogate_hard_threshold(z, t, 1.0),
    "nonnegative": nonnegative,
    "ridge": Ridge(),
    "support": lambda z, t: support_select(z, t, 1),
    "no support": lambda z, t: support_select(z, t, 0),
    "box": lambda z, t: clamp_coefficients(z, torch.zeros(()), torch.as_tensor(t)),
}
COMPLEX = ("soft", "hard", "ridge", "support", "no support")
THRESHOLDS = {
    "number": lambda t: t,
    "tensor": torch.tensor,
    "learned": lambda t: torch.tensor(t, requires_grad=True),
    "each": lambda t: torch.full((4,), t),
}


@pytest.mark.parametrize("kind", THRESHOLDS)
@pytest.mark.parametrize("name", ELEMENTWISE)
def test_a_prox_gives_nan_where_it_is_given_nan_and_nowhere_else(name, kind):
    prox = ELEMENTWISE[name]
    for dtype in (torch.float32, torch.float64, torch.complex64)[: 3 if name in COMPLEX else 2]:
        z = torch.tensor([[NAN, 1.0, 0.0, -3.0]], dtype=dtype)
        assert prox(z, THRESHOLDS[kind](0.5)).isnan().tolist() == [[True, False, False, False]]
        finite = torch.tensor([[0.1, 1.0, 0.2, -3.0]], dtype=dtype)
        if name != "support":  # what is selected does not look at its threshold
            assert bool(prox(finite, THRESHOLDS[kind](NAN)).isnan().all())


def test_of_several_nan_none_is_dropped():
    z = torch.tensor([NAN, 1.0, NAN, 5.0, 0.0])
    assert k_sparse(z, 1).isnan().tolist() == [True, False, True, False, False]


@pytest.mark.parametrize(
    "prox", [IsotropicShrink(), BlockSoftThreshold(2), BlockSoftThreshold(2, nonnegative=True)], ids=str
)
def test_a_vector_with_nan_in_it_has_no_length(prox):
    z = torch.ones(2, 2, 2)
    z[0, 0, 0] = NAN
    found = prox(z, 0.5).isnan()
    mates = found[0, :, 0] if isinstance(prox, IsotropicShrink) else found[0, 0]
    assert bool(mates.all())
    assert int(found.sum()) == 2
    assert bool(prox(torch.ones(2, 2, 2), torch.tensor(NAN)).isnan().all())


def test_nan_in_an_image_or_a_threshold_comes_through_the_prox_of_total_variation():
    image = torch.rand(2, 6, 6)
    for dim in (1, None):
        prox = AnalysisProx(FiniteDifferences(), 8.0, iterations=3, dim=dim)
        spoilt = image.clone()
        spoilt[0, 2, 3] = NAN
        found = prox(spoilt, 0.1)
        assert bool(found[0, 2, 3].isnan())
        assert torch.equal(found[1], prox(image, 0.1)[1])
        assert bool(prox(image, torch.tensor(NAN)).isnan().any())


def test_a_function_by_table_and_its_gradient_keep_nan():
    spline = LinearSpline(1, knots=5)
    u = torch.tensor([[[NAN, 0.3]]])
    assert spline(u).isnan().tolist() == [[[True, False]]]
    with torch.no_grad():
        assert spline(u).isnan().tolist() == [[[True, False]]]


def test_nan_is_near_no_level():
    for order in (2, 4):
        assert decide(torch.tensor([NAN, 5.0, -5.0]), pam(order)).tolist() == [-1, order - 1, 0]


@pytest.mark.parametrize("constraint", [UnitNorm(0), Positive(), Simplex(0), Bounded(0.0, 1.0)], ids=str)
def test_the_nearest_point_to_nan_is_nan(constraint):
    value = torch.tensor([[0.3, NAN], [0.4, 0.2]])
    found = constraint.project(value).isnan()
    assert bool(found[0, 1])
    assert not bool(found[:, 0].any())


def test_a_coil_map_with_nan_is_not_taken_for_one_that_sees_nothing():
    maps = torch.ones(2, 3, 3, dtype=torch.complex64)
    maps[0, 1, 1] = NAN
    assert int(normalise_maps(maps).isnan().any(0).sum()) >= 1


@pytest.mark.parametrize(("name", "task"), some_recipes())
def test_a_sample_with_nan_gives_nan_and_leaves_the_others_alone(name, task):
    """Two steps of the parent of every recipe; of a filter or a forecast those to the end of the recording."""
    parent, data = parent_and_data(name, task)
    spoilt, done = _spoil(data)
    assert done
    moments = data[0].shape[1] if isinstance(data, Recording | Window) else 2
    network = unroll(parent, moments).eval()
    with torch.no_grad():
        before, after = network(data), network(spoilt)
    assert bool(after[0].isnan().any()), f"{name}: NaN in the data was taken for a number"
    assert torch.equal(after[1:].isnan(), before[1:].isnan())
    torch.testing.assert_close(after[1:], before[1:], rtol=1e-4, atol=1e-5, equal_nan=True)


def _spoil(data):
    """NaN in the first number of the first sample."""
    first = [True]

    def write(tensor):
        if not first or not tree.is_number(tensor) or tensor.ndim < 2:
            return tensor
        first.clear()
        tensor = tensor.clone()
        tensor[(0, *[size // 2 for size in tensor.shape[1:]])] = NAN
        return tensor

    return tree.apply(write, data), not first


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("batch", [1, 40])
def test_deployed_steps_keep_nan_in_data_and_thresholds(batch, dtype):
    dictionary = unit_dictionary(20, 40, dtype=dtype)
    network = unroll(ISTA(dictionary, torch.full((40,), 0.1, dtype=dtype)), 3, untied=("threshold",))
    y = gaussian(batch, 20, dtype=dtype)
    spoilt = y.clone()
    spoilt[0, 3] = NAN
    assert bool(deploy(network)(spoilt)[0].isnan().all())
    assert not bool(deploy(network)(spoilt)[1:].isnan().any())
    network.layers[2].parametrizations.threshold.original.data[5] = NAN
    found = deploy(network)(y).isnan()
    assert bool(found[:, 5].all())
    assert int(found.sum()) == batch
