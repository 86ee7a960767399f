"""Gaussian filters on pixels, mean field of a dense random field (CRF-RNN), and the Deep Parsing Network."""

from itertools import pairwise

import pytest
import torch

from unrolling import solve, unroll
from unrolling.algorithms import (
    CRFPotentials,
    DenseCRF,
    ExactFilter,
    GridFilter,
    MeanField,
    ParsingNetwork,
    ScoredPicture,
    SpatialFilter,
    WindowFilter,
    pairwise_model,
)
from unrolling.testing import check_iteration

LEARNED = ("spatial_weight", "bilateral_weight", "compatibility")


@pytest.fixture(autouse=True)
def double():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def rand(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def scored(batch=2, classes=4, height=6, width=9, channels=3):
    return ScoredPicture(4 * rand(batch, classes, height, width, seed=1), rand(batch, channels, height, width, seed=2))


def potentials(**options):
    return CRFPotentials(**{"colour_width": 60.0, "radius": 2, "spatial_width": 2.0, **options})


def randomised(field, seed=5):
    """With weights of any sign."""
    with torch.no_grad():
        for number, name in enumerate(LEARNED):
            parameter = getattr(field, name)
            parameter.copy_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(seed + number)))
    return field


def brute(picture, field, a, b, normalise):
    """K pixel by pixel."""
    batch, labels, height, width = field.shape
    places = [(r, c) for r in range(height) for c in range(width)]
    found = torch.zeros_like(field)
    for n in range(batch):
        matrix = torch.zeros(len(places), len(places))
        for i, (r, c) in enumerate(places):
            for j, (s, d) in enumerate(places):
                colour = (picture[n, :, r, c] - picture[n, :, s, d]).square().sum()
                matrix[i, j] = torch.exp(-((r - s) ** 2 + (c - d) ** 2) / (2 * a * a) - colour / (2 * b * b))
        if normalise:
            scale = matrix.sum(1).rsqrt()
            matrix = scale[:, None] * matrix * scale
        matrix.fill_diagonal_(0)
        found[n] = (field[n].flatten(1) @ matrix).view(labels, height, width)
    return found


@pytest.mark.parametrize("normalise", [True, False])
def test_matrix_and_window_of_the_whole_picture_are_sums_over_pixels(normalise):
    picture, field = rand(2, 3, 4, 9), rand(2, 3, 4, 9, seed=1)
    wanted = brute(picture, field, 2.5, 0.3, normalise)
    exact = ExactFilter(2.5, 0.3, normalise=normalise)
    window = WindowFilter(2.5, 0.3, normalise=normalise, radius=9)
    for way in (exact, window):
        torch.testing.assert_close(way.apply(way.prepare(picture), field), wanted, atol=1e-10, rtol=0)
    single = window.apply(window.prepare(picture.float()), field.float())
    torch.testing.assert_close(single.double(), wanted, atol=1e-5, rtol=0)


def test_of_a_picture_of_one_colour_both_kernels_are_one():
    picture, field = torch.full((1, 3, 11, 9), 0.4), rand(1, 2, 11, 9)
    for radius in (None, 3):
        spatial = SpatialFilter(2.0, radius=radius)
        way = ExactFilter(2.0, 0.1) if radius is None else WindowFilter(2.0, 0.1, radius=radius)
        torch.testing.assert_close(
            way.apply(way.prepare(picture), field), spatial.apply(spatial.prepare(picture), field), atol=1e-12, rtol=0
        )


@pytest.mark.parametrize("way", [ExactFilter(3.0, 0.3), WindowFilter(3.0, 0.3, radius=2), GridFilter(3.0, 0.3)])
def test_filters_are_symmetric_see_no_pixel_itself_and_are_differentiable_in_the_picture(way):
    picture, one, other = rand(1, 3, 5, 6), rand(1, 1, 5, 6, seed=1), rand(1, 1, 5, 6, seed=2)
    kernel = way.prepare(picture)
    assert float((way.apply(kernel, one) * other).sum()) == pytest.approx(
        float((way.apply(kernel, other) * one).sum()), rel=1e-12
    )
    spot = torch.zeros(1, 1, 5, 6)
    spot[..., 2, 3] = 1
    assert float(way.apply(kernel, spot)[..., 2, 3].abs()) < 1e-12
    small = picture[:, :, :2, :3].clone().requires_grad_(True)
    assert torch.autograd.gradcheck(lambda p: way.apply(way.prepare(p), one[:, :, :2, :3]), (small,))


def test_the_grid_comes_nearer_with_more_cells():
    smooth = torch.nn.functional.interpolate(rand(1, 3, 5, 5), (30, 30), mode="bilinear", align_corners=False)
    field = rand(1, 2, 30, 30, seed=1)
    exact = ExactFilter(4.0, 0.25)
    wanted = exact.apply(exact.prepare(smooth), field)
    off = []
    for cells in (1.0, 2.0):
        grid = GridFilter(4.0, 0.25, cells_per_width=cells)
        off.append(float((grid.apply(grid.prepare(smooth), field) - wanted).norm() / wanted.norm()))
    assert off[0] < 0.06
    assert off[1] < 0.015


@pytest.mark.parametrize("kind", ["exact", "window", "grid", "numbers", "classes", "parsing", "learned smoothing"])
def test_conformance(kind):
    data = ScoredPicture(2 * rand(3, 2, 2, 4, seed=1), rand(3, 1, 2, 4, seed=2))
    options = {"radius": 1, "back_end": kind if kind in ("exact", "grid") else "window"}
    if kind in ("parsing", "learned smoothing"):
        pixels = (2, 4) if kind == "learned smoothing" else None
        step = ParsingNetwork(2, potentials(**options), contexts=2, size=3, pixels=pixels, factor=pixels is not None)
    else:
        weighting = {"numbers": "number", "classes": "class"}.get(kind)
        step = DenseCRF(potentials(**options), classes=None if kind == "numbers" else 2, weighting=weighting)
    # Gradients of the others are checked below, by finite differences of less.
    left_out = () if kind == "learned smoothing" else ("gradients",)
    check_iteration(step, data, skip=("compile", "export", *left_out), depth=2)


def test_counts_of_numbers():
    for classes, wanted in ((21, 1323), (11, 363)):
        net = unroll(DenseCRF(classes=classes), 5, tied=LEARNED)
        assert sum(p.numel() for _, p in net.named_learned()) == wanted
    assert ParsingNetwork(21, size=9).contexts.numel() == 178_605
    assert ParsingNetwork(11, size=5).contexts.numel() == 15_125
    assert ParsingNetwork(11, size=9).contexts.numel() == 49_005
    learned = ParsingNetwork(3, potentials(), pixels=(6, 9))
    assert learned.smoothing.numel() == 25 * 54
    diagonal = DenseCRF(classes=11, weighting="class")
    assert diagonal.spatial_weight.shape == diagonal.bilateral_weight.shape == (11,)


def test_the_network_is_the_algorithm_to_the_bit_and_a_loop_written_by_hand():
    data = scored()
    field = randomised(DenseCRF(potentials(back_end="exact"), classes=4))
    net = unroll(field, 5, tied=LEARNED)
    assert torch.equal(net(data), solve(field, data, tolerance=0, max_iterations=5).estimate)
    bilateral = ExactFilter(5.0, 60 / 255).prepare(data.picture).matrix
    flat = ExactFilter(2.0, 1e6).prepare(data.picture).matrix  # of position alone
    unary = data.scores.flatten(2)
    chances = torch.softmax(unary, 1)
    for _ in range(5):
        heard = field.spatial_weight @ (chances @ flat) + field.bilateral_weight @ (chances @ bilateral)
        chances = torch.softmax(unary - field.compatibility @ heard, 1)
    torch.testing.assert_close(net(data).exp().flatten(2), chances, atol=1e-9, rtol=0)


def test_without_weights_the_scores_are_the_answer():
    data = scored()
    for classes in (None, 4):
        net = unroll(DenseCRF(potentials(), classes=classes, spatial_weight=0.0, bilateral_weight=0.0), 3)
        torch.testing.assert_close(net(data), torch.log_softmax(data.scores, 1), atol=1e-15, rtol=1e-14)
    parsing = ParsingNetwork(4, potentials(), weight=0.0)
    assert torch.equal(unroll(parsing, 1)(data), torch.log_softmax(data.scores, 1))


def test_a_column_added_to_the_compatibility_changes_nothing():
    data = scored()
    field = randomised(DenseCRF(potentials(), classes=4))
    before = unroll(field, 4)(data)
    with torch.no_grad():
        field.compatibility += rand(4, seed=9)
    torch.testing.assert_close(unroll(field, 4)(data), before, atol=1e-12, rtol=0)
    potts, negative = (DenseCRF(potentials(), classes=4) for _ in range(2))
    with torch.no_grad():
        negative.compatibility.copy_(-torch.eye(4))
    numbers = DenseCRF(potentials())
    for other in (negative, numbers):
        torch.testing.assert_close(unroll(other, 4)(data), unroll(potts, 4)(data), atol=1e-13, rtol=0)


@torch.no_grad()
def test_one_pixel_after_the_other_never_raises_the_free_energy_and_is_mean_field_on_the_graph():
    data = scored(1, 4, 2, 7)
    field = DenseCRF(potentials(back_end="exact"), classes=4, spatial_weight=0.7, bilateral_weight=2.5)
    problem = field.prepare(data)
    state = field.start(problem)
    energies = [float(field.objective(state, problem))]
    for _ in range(6):
        for pixel in range(14):
            row, column = divmod(pixel, 7)
            moved = field(state, problem)
            state = state.clone()
            state[..., row, column] = moved[..., row, column]
            energies.append(float(field.objective(state, problem)))
    assert all(after <= before + 1e-12 for before, after in pairwise(energies))
    assert energies[-1] < energies[0] - 0.1
    spatial = ExactFilter(2.0, 1e6).prepare(data.picture).matrix[0]
    weights = 0.7 * spatial + 2.5 * problem.bilateral.matrix[0]
    edges = torch.triu_indices(14, 14, 1)
    pairs = -(1 - torch.eye(4)).unsqueeze(2) * weights[edges[0], edges[1]]
    model = pairwise_model(data.scores[0].flatten(1), pairs, edges)._replace(sets=torch.eye(14).bool().unsqueeze(0))
    wanted = unroll(MeanField(), 6)(model)
    torch.testing.assert_close(state.flatten(2), wanted, atol=1e-6, rtol=0)


def test_the_free_energy_is_that_of_its_formula():
    data = scored(2, 3, 3, 4)
    for classes in (None, 3):
        field = DenseCRF(potentials(back_end="exact"), classes=classes, spatial_weight=0.0, bilateral_weight=1.5)
        problem = field.prepare(data)
        q = torch.softmax(rand(2, 3, 3, 4, seed=7), 1)
        flat, matrix = q.flatten(2), problem.bilateral.matrix
        pairs = torch.einsum("bup,uv,bvq,bpq->b", flat, 1.5 * (1 - torch.eye(3)), flat, matrix)
        wanted = (q * (q.log() - data.scores)).flatten(1).sum(1) + 0.5 * pairs
        torch.testing.assert_close(field.objective(q.log(), problem), wanted)


def test_classes_in_another_order():
    data, order = scored(), torch.tensor([2, 0, 3, 1])
    field, other = (randomised(DenseCRF(potentials(), classes=4)) for _ in range(2))
    with torch.no_grad():
        for name in LEARNED:
            getattr(other, name).copy_(getattr(field, name)[order][:, order])
    found = unroll(other, 3)(data._replace(scores=data.scores[:, order]))
    torch.testing.assert_close(found, unroll(field, 3)(data)[:, order], atol=1e-12, rtol=0)


def test_each_picture_by_itself():
    data = scored(3, 4, 9, 10)
    for step in (randomised(DenseCRF(potentials(), classes=4)), ParsingNetwork(4, potentials())):
        net = unroll(step, 2)
        alone = torch.cat([net(ScoredPicture(*(t[k : k + 1] for t in data))) for k in range(3)])
        torch.testing.assert_close(net(data), alone, atol=1e-12, rtol=0)


@pytest.mark.parametrize("back_end", ["exact", "window", "grid"])
def test_gradients(back_end):
    data = scored(1, 2, 2, 3)
    field = randomised(DenseCRF(potentials(back_end=back_end), classes=2))

    def run(scores, *learned):
        values = dict(zip(LEARNED, learned, strict=True))
        problem = field.prepare(data._replace(scores=scores))
        state = field.start(problem)
        for _ in range(2):
            state = torch.func.functional_call(field, values, (state, problem))
        return state

    given = [data.scores, *(getattr(field, name) for name in LEARNED)]
    assert torch.autograd.gradcheck(run, [t.detach().clone().requires_grad_(True) for t in given])


def test_one_context_of_one_pixel_is_a_step_of_the_crf():
    data = scored()
    field = DenseCRF(potentials(), classes=4, spatial_weight=0.0, bilateral_weight=1.7)
    parsing = ParsingNetwork(4, potentials(), contexts=1, size=5, weight=1.7)
    assert torch.allclose(unroll(parsing, 1)(data), unroll(field, 1)(data), atol=1e-13)
    with torch.no_grad():  # also with any learned numbers, W_b and mu in the middle of the convolution
        randomised(field).spatial_weight.zero_()
        parsing.contexts.zero_()
        parsing.contexts[:, :, 2, 2] = field.compatibility @ field.bilateral_weight
    assert torch.allclose(unroll(parsing, 1)(data), unroll(field, 1)(data), atol=1e-12)


def test_contexts_that_are_alike_are_one():
    data = scored()
    one, five = ParsingNetwork(4, potentials(), contexts=1), ParsingNetwork(4, potentials(), contexts=5)
    with torch.no_grad():
        one.contexts.copy_(torch.randn(4, 4, 5, 5, generator=torch.Generator().manual_seed(3)))
        five.contexts.copy_(one.contexts.repeat(5, 1, 1, 1))
    assert torch.allclose(unroll(five, 1)(data), unroll(one, 1)(data), atol=1e-13)
    with torch.no_grad():  # a context that costs nothing wins everywhere: the smallest penalty counts
        one.contexts.abs_()
        five.contexts.abs_()
        five.contexts[8:12] = 0
    assert torch.allclose(unroll(five, 1)(data), torch.log_softmax(data.scores, 1), atol=1e-15)


def test_the_layers_move_with_the_picture():
    data = scored(1, 3, 20, 24)
    step = ParsingNetwork(3, potentials(radius=1), size=3)
    moved = ScoredPicture(*(torch.roll(t, (1, 3), (2, 3)) for t in data))
    here, there = unroll(step, 1)(data), torch.roll(unroll(step, 1)(moved), (-1, -3), (2, 3))
    torch.testing.assert_close(there[..., 5:15, 5:18], here[..., 5:15, 5:18], atol=1e-12, rtol=0)


def test_the_factor_and_smoothing_that_is_learned():
    data = scored()
    plain, factor = (ParsingNetwork(4, potentials(), contexts=1, size=1, factor=f) for f in (False, True))
    problem = plain.prepare(data)
    chances = plain.start(problem).exp()
    smooth = plain.smoothed(chances, problem)
    wanted = torch.einsum("uv,bvhw->buhw", plain.contexts[:, :, 0, 0], smooth * chances)
    torch.testing.assert_close(factor.penalty(chances, problem), wanted)
    learned = ParsingNetwork(4, potentials(), contexts=1, size=1, pixels=(6, 9))
    assert torch.equal(learned.smoothed(chances, problem), smooth)
    with torch.no_grad():
        learned.smoothing[2 * 5 + 3, 4, 5] = 0.5  # of pixel (4, 5), its right neighbour
    change = learned.smoothed(chances, problem) - smooth
    kernel = ExactFilter(5.0, 60 / 255, normalise=False).prepare(data.picture).matrix[:, 4 * 9 + 5, 4 * 9 + 6]
    scale = problem.bilateral.scale[:, 0]
    expected = kernel * scale[:, 4, 5] * scale[:, 4, 6] * (torch.tensor(0.5).exp() - 1)
    torch.testing.assert_close(change[..., 4, 5], expected.unsqueeze(1) * chances[..., 4, 6])
    change[..., 4, 5] = 0
    assert float(change.abs().max()) == 0


def test_bad_input_is_refused():
    data = scored()
    with pytest.raises(ValueError, match="scores are of 6 x 8 pixels, and the picture has 6 x 9"):
        unroll(DenseCRF(), 1)(data._replace(scores=data.scores[..., :8]))
    for other in (255 * data.picture, torch.cat([data.picture[:1] * torch.nan, 255 * data.picture[1:]])):
        with pytest.raises(ValueError, match=r"is in \[0, 1\]: divide by 255"):
            unroll(DenseCRF(), 1)(data._replace(picture=other))
    with pytest.raises(ValueError, match="scores are of 4 classes; these weights are of 3"):
        unroll(DenseCRF(classes=3), 1)(data)
    with pytest.raises(TypeError, match="without a network they are ScoredPicture"):
        unroll(DenseCRF(), 1)(data.picture)
    with pytest.raises(ValueError, match=r"picture is \(batch, channels, height, width\)"):
        unroll(DenseCRF(), 1)(data._replace(picture=data.picture[:, 0]))
    with pytest.raises(TypeError, match=r"use picture.float\(\)"):
        unroll(DenseCRF(), 1)(data._replace(picture=(255 * data.picture).long()))
    with pytest.raises(ValueError, match="more than 4096; take the window or the grid"):
        unroll(DenseCRF(CRFPotentials(back_end="exact")), 1)(scored(1, 2, 65, 64))
    with pytest.raises(ValueError, match="colour_width is 1 of 255"):
        unroll(DenseCRF(CRFPotentials(back_end="grid", colour_width=1.0)), 1)(data)
    with pytest.raises(ValueError, match="one of exact, window, grid"):
        CRFPotentials(back_end="lattice")  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match="weighting by matrix needs the number of classes"):
        DenseCRF(weighting="matrix")
    with pytest.raises(ValueError, match="take an odd size"):
        ParsingNetwork(3, size=4)
    with pytest.raises(ValueError, match="layer b12 is a window"):
        ParsingNetwork(3, CRFPotentials(back_end="grid"))
    with pytest.raises(ValueError, match="6 x 9 pixels, and smoothing was learned for each of 6 x 8"):
        unroll(ParsingNetwork(4, potentials(), pixels=(6, 8)), 1)(data)


def test_a_score_that_is_no_number_spoils_its_picture_alone():
    data = scored(2, 3)
    spoilt = data._replace(scores=data.scores.clone())
    spoilt.scores[0, 1, 2, 3] = float("nan")
    for step in (DenseCRF(potentials()), ParsingNetwork(3, potentials()), DenseCRF(potentials(back_end="grid"))):
        found = unroll(step, 2)(spoilt)
        assert bool(found[0, :, 2, 3].isnan().all())
        assert torch.allclose(found[1], unroll(step, 2)(data)[1], atol=1e-12)
