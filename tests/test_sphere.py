"""Maximum likelihood: the sphere decoder and the semidefinite relaxation against enumeration."""

import os
import subprocess
import sys
from unittest import mock

import pytest
import torch
from channels import BPSK, cast, received
from hypothesis import given
from hypothesis import strategies as st
from iterations import gaussian

from unrolling.algorithms.detection import sphere
from unrolling.algorithms.detection.linear_detection import lmmse
from unrolling.algorithms.detection.mimo import Received, pam
from unrolling.algorithms.detection.semidefinite import semidefinite_relaxation
from unrolling.algorithms.detection.sphere import sphere_decode

needs_kernel = pytest.mark.skipif(not sphere._kernels(), reason="the search needs a C++ compiler")


def distances(data, x):
    return (data.y - torch.einsum("bnk,bk->bn", data.channel.expand(data.y.shape[0], -1, -1), x)).square().sum(1)


def nearest(data, levels):
    """Every vector, one after the other."""
    best, distance = None, torch.full((data.y.shape[0],), torch.inf, dtype=torch.float64)
    for point in torch.cartesian_prod(*[levels] * data.channel.shape[2]).reshape(-1, data.channel.shape[2]):
        own = distances(data, point.expand(data.y.shape[0], -1))
        best = (
            point.expand(data.y.shape[0], -1).clone()
            if best is None
            else torch.where((own < distance).unsqueeze(1), point, best)
        )
        distance = torch.minimum(own, distance)
    return best, distance


# The sphere decoder


@needs_kernel
@given(
    seed=st.integers(0, 500),
    shape=st.sampled_from([(1, 1), (4, 3), (6, 6), (3, 5), (2, 6)]),
    order=st.sampled_from([2, 4]),
    snr=st.sampled_from([-5.0, 8.0]),
)
def test_the_search_finds_what_enumeration_finds(seed, shape, order, snr):
    """Also for as many streams as antennas, and for more."""
    n, k = shape
    data, _ = received(batch=3, n=n, k=k, order=order, snr=snr, seed=seed)
    found = sphere_decode(data, pam(order))
    x, distance = nearest(data, pam(order)) if order**k <= 256 else (None, sphere._enumerate(data, pam(order)))
    if x is None:
        x, distance = distance.x, distances(data, distance.x)
    torch.testing.assert_close(distances(data, found.x), distance, rtol=1e-9, atol=1e-12)
    assert found.exact.all()
    assert torch.equal(pam(order)[found.index], found.x)
    # equal distances may be decided either way; for random data there are none
    unique = distance < distances(data, found.x) + 1
    assert torch.equal(found.x[unique], x[unique])


@needs_kernel
@pytest.mark.parametrize("order", [2, 4, 8])
def test_without_noise_the_symbols_come_back(order):
    data, x = received(batch=30, n=8, k=6, order=order, snr=200.0)
    found = sphere_decode(data, pam(order))
    torch.testing.assert_close(found.x, x)
    assert (found.nodes >= 6).all()


@needs_kernel
def test_columns_that_depend_on_each_other_are_searched_too():
    channel = gaussian(3, 5, 4)
    channel[:, :, 2] = channel[:, :, 0]
    channel[1, :, 3] = 0
    data = Received(gaussian(3, 5, seed=1), channel)
    torch.testing.assert_close(distances(data, sphere_decode(data, BPSK).x), nearest(data, BPSK)[1])


@needs_kernel
def test_single_precision_shared_channels_and_batches_change_nothing():
    data, _ = received(batch=70, n=8, k=6, snr=3.0, shared=True)
    found = sphere_decode(data, BPSK)
    assert torch.equal(sphere_decode(cast(data, torch.float32), BPSK).index, found.index)
    each = data._replace(channel=data.channel.expand(70, -1, -1))
    assert torch.equal(sphere_decode(each, BPSK).index, found.index)
    assert torch.equal(sphere_decode(each, BPSK).nodes, found.nodes)
    one = Received(data.y[33:34], data.channel)
    assert torch.equal(sphere_decode(one, BPSK).index, found.index[33:34])


@needs_kernel
def test_a_search_that_is_ended_says_so_and_gives_the_best_point_so_far():
    """The first point is successive cancellation; more nodes never make it worse."""
    data, _ = received(batch=200, n=12, k=12, snr=0.0)
    full = sphere_decode(data, BPSK)
    before = torch.full((200,), torch.inf, dtype=torch.float64)
    for most in (12, 30, 100, 10**6):
        part = sphere_decode(data, BPSK, max_nodes=most)
        distance = distances(data, part.x)
        assert (distance <= before + 1e-12).all()
        assert (part.nodes[~part.exact] < most + 12).all()
        assert torch.equal(part.index[part.exact], full.index[part.exact])
        before = distance
    assert part.exact.all()
    assert not sphere_decode(data, BPSK, max_nodes=12).exact.all()
    with pytest.raises(ValueError, match="max_nodes is 11; the first point alone takes 12"):
        sphere_decode(data, BPSK, max_nodes=11)


@needs_kernel
def test_the_published_error_rates_of_maximum_likelihood():
    """20 x 30, 8 and 10 dB: the project's reference table, from another decoder; within four standard deviations of a
    count.
    """
    for snr, rate in ((8.0, 1.58e-2), (10.0, 2.54e-3)):
        data, x = received(batch=10_000, n=30, k=20, snr=snr, seed=round(snr), dtype=torch.float32)
        wrong = (sphere_decode(data, BPSK).x != x).sum().item()
        assert abs(wrong - 200_000 * rate) < 4 * (200_000 * rate * 2) ** 0.5  # errors come in pairs and more


def test_without_a_compiler_small_problems_are_enumerated_and_large_ones_refused():
    data, _ = received(batch=9, n=5, k=4, order=4, snr=2.0)
    wanted = nearest(data, pam(4))
    with mock.patch.object(sphere, "_kernels", dict):
        found = sphere_decode(data, pam(4))
        torch.testing.assert_close(found.x, wanted[0])
        shared, _ = received(batch=9, n=5, k=4, shared=True)
        torch.testing.assert_close(sphere_decode(shared, BPSK).x, nearest(shared, BPSK)[0])
        large, _ = received(batch=2, n=30, k=21)
        with pytest.raises(ValueError, match=r"2\^21 vectors are too many to be tried in turn.*C\+\+ compiler"):
            sphere_decode(large, BPSK)


def test_why_there_is_no_kernel_is_said_when_asked(tmp_path):
    program = "import torch; from unrolling.algorithms.detection import sphere; print(len(sphere._kernels()))"
    environment = os.environ | {
        "TORCH_EXTENSIONS_DIR": str(tmp_path),
        "CXX": "absent-compiler",
        "UNROLLING_VERBOSE": "1",
    }
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "0"
    assert "sphere_decode tries all vectors in turn, as its search could not be built" in done.stderr


@pytest.mark.parametrize(
    ("data", "error", "message"),
    [
        (
            Received(torch.full((2, 3), torch.nan), torch.ones(2, 3, 2)),
            ValueError,
            r"data\.y holds 6 values that are "
            r"NaN or infinite",
        ),
        (Received(torch.ones(2, 3), torch.full((2, 3, 2), torch.inf)), ValueError, r"data\.channel holds 12 values"),
        (Received(torch.ones(2, 3), torch.ones(2, 4, 2)), ValueError, r"got \(2, 3\) and \(2, 4, 2\)"),
        (
            Received(torch.ones(2, 3).half(), torch.ones(2, 3, 2).half()),
            TypeError,
            "float32 and float64; got torch.float16",
        ),
    ],
)
def test_bad_input(data, error, message):
    with pytest.raises(error, match=message):
        sphere_decode(data, BPSK)


# The semidefinite relaxation


def cost(data, x):
    """tr(C [x; 1] [x; 1]^T) from y and H."""
    gain = data.channel.square().sum((1, 2)) / data.channel.shape[2]
    return (data.y.square().sum(1) - distances(data, x)) / gain


@pytest.mark.parametrize("snr", [0.0, 8.0])
def test_the_relaxation_is_bounded_by_its_dual_from_above_and_by_maximum_likelihood_from_below(snr):
    data, _ = received(batch=20, n=6, k=5, snr=snr)
    found = semidefinite_relaxation(data, tolerance=1e-8)
    best = cost(data, nearest(data, BPSK)[0])
    assert (found.primal <= found.dual + 1e-9).all()
    assert (found.primal >= best - 1e-6 * best.abs().clip(1)).all()
    assert found.gap.max() < 1e-7
    assert (cost(data, found.x) <= best + 1e-12).all()


def test_the_matrix_is_feasible():
    data, _ = received(batch=8, n=6, k=5, snr=3.0)
    matrix = semidefinite_relaxation(data, tolerance=1e-4).matrix
    torch.testing.assert_close(
        matrix.diagonal(dim1=1, dim2=2), torch.ones(8, 6, dtype=torch.float64), rtol=0, atol=1e-9
    )
    assert torch.linalg.eigvalsh(matrix).min() > -1e-12
    torch.testing.assert_close(matrix, matrix.mT)


def test_the_dual_is_a_certificate():
    """Any y with Diag(y) - C >= 0 bounds tr(C X): here by the eigenvalues of C alone, which is never better than what
    the method found.
    """
    data, _ = received(batch=8, n=6, k=5, snr=3.0)
    found = semidefinite_relaxation(data, tolerance=1e-6)
    gain = (data.channel.square().sum((1, 2)) / 5).view(-1, 1, 1)
    products, matched = data.channel.mT @ data.channel / gain, data.channel.mT @ data.y.unsqueeze(2) / gain
    matrix = torch.cat(
        [torch.cat([-products, matched], 2), torch.cat([matched.mT, torch.zeros(8, 1, 1, dtype=torch.float64)], 2)], 1
    )
    assert (found.dual <= 6 * torch.linalg.eigvalsh(matrix).amax(1) + 1e-9).all()


@pytest.mark.parametrize("rounding", ["eigenvector", "last"])
def test_without_noise_the_relaxation_is_tight(rounding):
    data, x = received(batch=10, n=8, k=5, snr=250.0)
    found = semidefinite_relaxation(data, tolerance=1e-7, rounding=rounding)
    assert torch.equal(found.x, x)
    torch.testing.assert_close(found.primal, cost(data, x), rtol=1e-6, atol=1e-6)


def test_streams_may_be_turned_over_and_the_gain_does_not_matter():
    data, _ = received(batch=12, n=7, k=5, snr=4.0)
    signs = torch.tensor([1.0, -1, 1, -1, -1], dtype=torch.float64)
    turned = semidefinite_relaxation(Received(3 * data.y, 3 * data.channel * signs))
    assert torch.equal(turned.x, semidefinite_relaxation(data).x * signs)


def test_randomised_rounding_is_never_worse():
    data, _ = received(batch=200, n=8, k=8, snr=3.0)
    plain, drawn = semidefinite_relaxation(data), semidefinite_relaxation(data, draws=30)
    assert (cost(data, drawn.x) >= cost(data, plain.x) - 1e-12).all()
    assert (cost(data, drawn.x) > cost(data, plain.x) + 1e-9).any()


def test_a_smaller_tolerance_takes_more_iterations_and_single_precision_ends_at_its_rounding():
    data, _ = received(batch=30, n=20, k=12, snr=9.0)
    runs = [
        semidefinite_relaxation(cast(data, torch.float32), tolerance=tolerance) for tolerance in (1e-1, 1e-2, 1e-3, 0.0)
    ]
    for run, tolerance in zip(runs[:3], (1e-1, 1e-2, 1e-3), strict=True):
        assert run.gap.max() <= tolerance * (1 + 1e-3)
    counts = [run.iterations.double().mean().item() for run in runs]
    assert counts[0] < counts[1] < counts[2] < counts[3] <= 50
    assert runs[3].gap.abs().max() < 1e-3
    assert torch.isfinite(runs[3].matrix).all()


def test_a_sample_converges_alone_as_it_does_among_others():
    data, _ = received(batch=9, n=10, k=6, snr=5.0)
    together = semidefinite_relaxation(data)
    for b in (0, 5):
        alone = semidefinite_relaxation(Received(data.y[b : b + 1], data.channel[b : b + 1]))
        torch.testing.assert_close(alone.matrix[0], together.matrix[b])
        assert alone.iterations[0] == together.iterations[b]


def test_the_relaxation_makes_fewer_errors_than_lmmse_and_more_than_maximum_likelihood():
    data, x = received(batch=1500, n=30, k=20, snr=9.0, seed=2, dtype=torch.float32)
    rates = [
        (estimate.sign() != x).float().mean().item()
        for estimate in (sphere_decode(data, BPSK).x, semidefinite_relaxation(data).x, lmmse(data))
    ]
    assert rates[0] < rates[1] < 0.5 * rates[2]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_iterations": 0}, "max_iterations at least 1; got 0.003, 0 and 0"),
        ({"draws": -1}, "tolerance and draws are at least 0"),
        ({"tolerance": -1.0}, "tolerance and draws are at least 0"),
        ({"rounding": "best"}, "rounding is 'best'; it is 'eigenvector' or 'last'"),
    ],
)
def test_settings_of_the_relaxation_that_are_none(options, message):
    with pytest.raises(ValueError, match=message):
        semidefinite_relaxation(received()[0], **options)
