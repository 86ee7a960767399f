"""The C++ kernels at the edges: nothing, one, sizes around a vector register's, slices that lie anywhere in memory, and
values that are not finite. ``make sanitize`` runs these with the sanitizers.
"""

import pytest
import torch
from support_selection import needs_kernel, reference
from torch.nn.functional import conv2d

from unrolling.algorithms.detection import Received
from unrolling.algorithms.detection.sphere import sphere_decode
from unrolling.algorithms.kernels import grid_steps, movie_steps, packed_steps, radial_steps, thin_step
from unrolling.algorithms.kernels.radial_steps import RadialSteps, Shrink
from unrolling.algorithms.power import Grid, PowerMeasurement, ProxLinear, StatePrior, all_meters, metric_of
from unrolling.algorithms.splitting.corona import CORONA
from unrolling.core import deploy, unroll
from unrolling.operators.radial import RadialConvolution, radii
from unrolling.prox import tables
from unrolling.prox.garrote import MeanGarrote
from unrolling.prox.percentile import PercentileGate, SoftPositive, ranks_of_percentiles
from unrolling.prox.support import support_select

SIZES = [0, 1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 33, 64, 65]
DTYPES = [torch.float32, torch.float64]
pytestmark = needs_kernel


def drawn(*shape, dtype=torch.float32, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n", SIZES)
def test_support_selection_at_every_width(n, dtype):
    for rows in (0, 1, 3):
        z = drawn(rows, n, dtype=dtype)
        for count in sorted({0, 1, n // 2, n, n + 5}):
            assert torch.equal(support_select(z, 0.3, count), reference(z, 0.3, count))
    # Counts of each row, some beyond the width, and rows that lie apart.
    z = drawn(4, n + 3, dtype=dtype)[::2, 1 : n + 1]
    counts = torch.tensor([n + 9, n // 3])
    assert torch.equal(support_select(z, 0.3, counts), reference(z.contiguous(), 0.3, counts))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), 0.0, 1e-42])
def test_support_selection_of_values_that_are_all_the_same(value):
    z = torch.full((2, 19), value)
    torch.testing.assert_close(support_select(z, 0.3, 5), reference(z, 0.3, 5), equal_nan=True)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("cells", "terms"), [(1, 2), (1, 4), (7, 2), (63, 4)])
def test_tables_at_every_size_and_far_outside(size, cells, terms, dtype):
    table, z = drawn(2, cells, terms, dtype=dtype), drawn(3, 2, size, dtype=dtype, seed=1)
    if z.numel():
        z.view(-1)[0] = 1e30
        z.view(-1)[-1] = -1e30
    z.requires_grad_(True)
    table.requires_grad_(True)
    value = tables.piecewise_polynomial(z, table, -1.0, 2.0 / cells)
    with torch.no_grad():
        inside = z.abs() < 1e10
        torch.testing.assert_close(
            value[inside], tables._plain(z, table, -1.0, 2.0 / cells)[inside], rtol=1e-3, atol=1e-3
        )
    value.sum().backward()
    assert z.grad is not None
    assert table.grad is not None


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), 3e38])
def test_tables_of_values_that_have_no_cell(value):
    z = torch.full((1, 1, 9), value, requires_grad=True)
    table = torch.ones(1, 5, 4, requires_grad=True)
    tables.piecewise_polynomial(z, table, -1.0, 0.4).sum().backward()


def test_a_table_without_cells_is_refused():
    with pytest.raises(ValueError, match="at least one cell"):
        tables.piecewise_polynomial(torch.zeros(1, 1, 3), torch.zeros(1, 0, 2), 0.0, 1.0)


@pytest.mark.skipif(not thin_step._kernels(), reason="no C++ compiler")
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("m", [1, 3, 8, 17])
@pytest.mark.parametrize("n", [1, 7, 16, 33])
@pytest.mark.parametrize("density", [0.0, 1.0])
def test_thin_steps_at_every_width(m, n, density, dtype):
    encoder, dictionary = drawn(n, m, dtype=dtype), drawn(m, n, dtype=dtype, seed=1)
    y = drawn(1, m, dtype=dtype, seed=2)
    # Where all is shrunk to nothing no column is read, and where nothing is, all are.
    threshold = torch.full((n,), 1e3 if density == 0 else 0.0, dtype=dtype)
    steps = [thin_step.thin_step(encoder, dictionary, threshold, 0.7)] * 2
    x = y.new_zeros(1, n)
    for _ in range(2):
        moved = x + 0.7 * (y - x @ dictionary.T) @ encoder.T
        x = moved.sign() * (moved.abs() - threshold).clamp_min(0)
    tolerance = {"rtol": 1e-3, "atol": 1e-3} if dtype == torch.float32 else {"rtol": 1e-9, "atol": 1e-9}
    torch.testing.assert_close(thin_step.run_thin_steps(steps)(x.new_zeros(1, n), y), x, **tolerance)


@pytest.mark.skipif(packed_steps._products() is None, reason="no oneMKL, or no C++ compiler")
@pytest.mark.parametrize("batch", [1, 2, 63, 64, 65, 257])
@pytest.mark.parametrize(("m", "n"), [(1, 1), (3, 17), (16, 16), (33, 7)])
def test_packed_steps_at_every_batch(batch, m, n):
    encoder, dictionary, y = drawn(n, m), drawn(m, n, seed=1), drawn(batch, m, seed=2)
    threshold = torch.full((n,), 0.1)
    run = packed_steps.run_packed_steps([thin_step.thin_step(encoder, dictionary, threshold, 0.1)])
    moved = 0.1 * y @ encoder.T
    torch.testing.assert_close(run(y), moved.sign() * (moved.abs() - 0.1).clamp_min(0), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("n", "k"), [(1, 1), (3, 1), (2, 3), (8, 8), (17, 9)])
@pytest.mark.parametrize("batch", [0, 1, 3])
@pytest.mark.parametrize("levels", [[0.0, 1.0], [-3.0, -1.0, 1.0, 3.0]])
def test_sphere_decoding_at_every_size(n, k, batch, levels):
    points = torch.tensor(levels)
    x = points[torch.randint(len(levels), (batch, k), generator=torch.Generator().manual_seed(0))]
    channel = drawn(batch, n, k, seed=1)
    y = torch.einsum("bnk,bk->bn", channel, x)
    found = sphere_decode(Received(y, channel, None), points, max_nodes=10_000)
    assert found.x.shape == (batch, k)
    assert bool(((found.index >= 0) & (found.index < len(levels))).all())
    if n >= k:
        assert torch.equal(found.x, x)


@pytest.mark.skipif(radial_steps._kernel() is None, reason="no C++ compiler")
@pytest.mark.parametrize(
    "prox",
    [PercentileGate(0.4, 3.0), PercentileGate(0.4, 3.0, ranks="matlab"), SoftPositive(0.1)],
    ids=["gate", "matlab", "plain"],
)
@pytest.mark.parametrize(("height", "width"), [(2, 2), (2, 18), (10, 4), (16, 34), (34, 66), (12, 140)])
def test_radial_steps_at_every_size(height, width, prox):
    prox.requires_grad_(False)
    first, *others = (RadialConvolution(0.2 * drawn(len(radii(k)), seed=k)) for k in (3, 5, 5))
    shrink = (
        Shrink(float(prox.threshold))
        if isinstance(prox, SoftPositive)
        else Shrink(float(prox.alpha), float(prox.steepness), *ranks_of_percentiles(height * width, prox.ranks))
    )
    run = RadialSteps.of(first, others, [shrink] * 2, (height, width))
    for batch in (0, 1, 3):
        images = drawn(batch, height, width, seed=1)
        given = drawn(batch, height, width, seed=2) if batch == 3 else None
        problem = first(images)
        x = problem if given is None else given
        for each in others:
            x = problem + prox(x) - each(prox(x))
        torch.testing.assert_close(run(images, given), x, rtol=1e-4, atol=1e-4)


@pytest.mark.skipif(radial_steps._kernel() is None, reason="no C++ compiler")
@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), 3e38, 0.0])
def test_radial_steps_leave_what_is_not_finite_to_others(value):
    kernel = RadialConvolution(torch.ones(len(radii(3))))
    for shrink in (Shrink(0.5, 2.0, 3, 3), Shrink(0.5)):
        run = RadialSteps.of(kernel, [kernel], [shrink], (6, 8))
        images = torch.full((2, 6, 8), value)
        found = run(images.clone())
        assert found is not None and not found.any() if value == 0 else found is None
        assert value == 0 or run(torch.zeros(2, 6, 8), images) is None or value == 3e38


def test_radial_steps_are_for_small_even_images_in_single_precision():
    kernel = RadialConvolution(torch.ones(len(radii(3))))
    shrink = [Shrink(0.5)]
    for shape in ((5, 8), (8, 5), (radial_steps.LARGEST + 2, 8), (0, 8)):
        assert RadialSteps.of(kernel, [kernel], shrink, shape) is None
    assert RadialSteps.of(kernel.double(), [kernel], shrink, (6, 8)) is None
    assert RadialSteps.of(RadialConvolution(torch.ones(1)), [RadialConvolution(torch.ones(1))], [None], (6, 8)) is None


@pytest.mark.skipif(movie_steps._functions() is None, reason="no C++ compiler")
@pytest.mark.parametrize("size", [(1, 1), (3, 3), (5, 3), (7, 9)])
@pytest.mark.parametrize(("height", "width"), [(1, 1), (2, 33), (5, 32), (8, 65)])
def test_movie_convolutions_at_every_size(height, width, size, monkeypatch):
    """As torch has it, in one thread and in several, with and without the parts."""
    monkeypatch.setattr(movie_steps, "SHARE", 1)
    layer = CORONA(size=(*size, 1)).requires_grad_(False)
    for k, each in enumerate(layer.parameters()):
        each += 0.1 * drawn(each.numel(), seed=k).view_as(each)
    step = movie_steps._Step(layer)
    for frames in (1, 3):
        parts = [drawn(frames, 2, height, width, seed=k) for k in range(3)]
        for given in (parts[:1], parts):
            wanted = conv2d(torch.cat(given, 1), step.weight[:, : 2 * len(given)], step.bias, padding=step.sides)
            torch.testing.assert_close(torch.cat(step(*given), 1), wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("pixels", [1, 15, 16, 50])
def test_entries_of_movies_are_shrunk_at_every_size_with_and_without_the_kernel(pixels, monkeypatch):
    for movies in (0, 1, 2):
        given = drawn(movies, 3, 2, pixels)
        given[:1, 0, :, 0] = 0
        entries = torch.complex(given[:, :, 0], given[:, :, 1])
        wanted = torch.view_as_real(MeanGarrote()(entries, 0.7)).movedim(-1, 2) if movies else given
        with_it, without = given.clone(), given.clone()
        movie_steps.shrink_entries(with_it, 0.7)
        with monkeypatch.context() as patch:
            patch.setattr(movie_steps, "_functions", lambda: None)
            movie_steps.shrink_entries(without, 0.7)
        torch.testing.assert_close(with_it, wanted)
        torch.testing.assert_close(without, wanted)


@pytest.mark.skipif(not grid_steps._kernels(), reason="no C++ compiler")
@pytest.mark.parametrize("buses", [2, 3, 4, 7])
def test_grid_steps_at_every_size(buses, monkeypatch):
    """A chain of buses; readings that lie apart in memory, no sample, one, and several in two threads."""
    monkeypatch.setattr(grid_steps, "SHARE", 1)
    branches = torch.tensor([[k, k + 1, 0.02, 0.1, 0, 0.02, 1, 0] for k in range(buses - 1)]).double()
    table = torch.zeros(buses, 6).double()
    table[0, 5] = 1.0
    grid = Grid(branches, table)
    h = PowerMeasurement(grid, all_meters(grid), torch.float64)
    flat = torch.cat([torch.ones(1, buses), torch.zeros(1, buses)], 1).double()
    prior = StatePrior(flat, 1e-3 * torch.eye(2 * buses).double())
    parents = [
        ProxLinear(h, flat, inner=2),
        ProxLinear(h, flat, radius=3.0, metric=metric_of(h, flat, prior), prior=prior),
    ]
    z = (h(flat) + 0.05 * drawn(5, h.measured, dtype=torch.float64)).repeat(1, 2)[::2, 1 : h.measured + 1]
    threads = torch.get_num_threads()
    for parent in parents:
        net = unroll(parent, 3)
        run = deploy(net, "plain")
        for rows in (0, 1, 3):
            torch.set_num_threads(2)
            found = run(z[:rows])
            torch.set_num_threads(threads)
            torch.testing.assert_close(found, net(z[:rows]).detach(), rtol=0, atol=1e-9)
