"""Groups of similar patches, fields of experts local and non-local, inpainting: exact identities, and bad input."""

import numpy as np
import pytest
import torch
from iterations import gaussian
from pictured import scene, small_task

from unrolling import solve, unroll
from unrolling.algorithms.images.experts import FieldOfExperts, NonLocalExperts
from unrolling.algorithms.images.inpainting import KnownPixels, Masked, fill_missing
from unrolling.algorithms.splitting.data_terms import LeastSquares
from unrolling.operators import FilterBank, Identity
from unrolling.operators.filters import zero_mean_atoms
from unrolling.operators.groups import gather_groups, groups_of, match_patches, scatter_groups
from unrolling.systems.catalogue import find
from unrolling.tasks.images.inpainting import pixel_mask, stroke_mask
from unrolling.testing import check_iteration

MATCHES = 3


def grouped(matches=MATCHES, size=3, count=4, weight=0.5, data_term=None, seed=0):
    """A small field with filters on all patches of a group."""
    filters = 0.5 * gaussian(count, matches, size, size, seed=seed)
    filters = filters - filters.mean((1, 2, 3), keepdim=True)
    amplitude = torch.tensor([0.5, 1.0, 0.25, 2.0], dtype=torch.float64)[:count]
    return NonLocalExperts(
        LeastSquares(Identity()) if data_term is None else data_term,
        filters,
        amplitude=amplitude,
        weight=weight,
        scale=4.0,
        size=3,
        radius=3,
    ).double()


def noisy(batch=2, height=9, width=11, seed=0):
    return 0.5 + 0.3 * gaussian(batch, height, width, seed=seed)


def test_matches_are_those_of_a_search_written_by_hand():
    x = noisy()
    wide = np.pad(x.numpy(), ((0, 0), (1, 1), (1, 1)), mode="symmetric")
    found = match_patches(x, 4, size=3, radius=2).index
    for b in range(2):
        for i in range(9):
            for j in range(11):
                distances = [
                    (((wide[b, a : a + 3, c : c + 3] - wide[b, i : i + 3, j : j + 3]) ** 2).sum(), 11 * a + c)
                    for a in range(max(0, i - 2), min(9, i + 3))
                    for c in range(max(0, j - 2), min(11, j + 3))
                    if (a, c) != (i, j)
                ]
                assert found[b, 11 * i + j].tolist() == [11 * i + j] + [q for _, q in sorted(distances)[:3]]


def test_gather_and_scatter_are_adjoint_and_equal_plain_indexing():
    groups = match_patches(noisy(), MATCHES, size=3, radius=2)
    table, values = gaussian(2, 99, MATCHES, 5, seed=1), gaussian(2, 99, 5, seed=2)
    z = gather_groups(table, groups)
    wanted = sum(torch.stack([table[b, groups.index[b, :, m], m] for b in range(2)]) for m in range(MATCHES))
    torch.testing.assert_close(z, wanted, atol=1e-14, rtol=0)
    torch.testing.assert_close((z * values).sum(), (table * scatter_groups(values, groups)).sum(), atol=1e-11, rtol=0)
    inputs = (table[:, :, :, :1].clone().requires_grad_(), values[..., :1].clone().requires_grad_())
    assert torch.autograd.gradcheck(
        lambda t, v: (gather_groups(t, groups), scatter_groups(v, groups)), inputs, fast_mode=True
    )
    whole = (8 * table).round()  # which numbers of 16 bits hold, as their sums; those are gathered another way
    assert torch.equal(gather_groups(whole.bfloat16(), groups).double(), gather_groups(whole, groups))
    few = (2 * values).round()
    assert torch.equal(scatter_groups(few.bfloat16(), groups).double(), scatter_groups(few, groups))


def test_a_pixel_that_many_groups_share_counts_as_often():
    groups = groups_of(torch.tensor([[[0, 1], [1, 1], [2, 1]]]))
    assert groups.counts().tolist() == [[1, 4, 1]]
    values = torch.tensor([[[1.0], [10.0], [100.0]]])
    assert scatter_groups(values, groups)[0, :, :, 0].tolist() == [[1, 0], [10, 111], [100, 0]]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"size": 4}, "size is 4; patches have a pixel in their middle"),
        ({"matches": 10, "radius": 2}, "matches is 10, and the window of radius 2 has 9 pixels in a corner"),
        ({"matches": 0}, "matches"),
    ],
)
def test_searches_that_cannot_be_are_refused(change, words):
    with pytest.raises(ValueError, match=words):
        match_patches(noisy(), **{"matches": 2, "radius": 2, "size": 3, **change})


@pytest.mark.parametrize("data_term", [None, KnownPixels()])
def test_the_gradient_is_that_of_the_energy(data_term):
    field = grouped(data_term=data_term)
    data = noisy() if data_term is None else Masked(noisy(), pixel_mask(2, 9, 11, 0.4, torch.Generator()).double())
    problem = field.prepare(data)
    x = noisy(seed=5).requires_grad_()
    (wanted,) = torch.autograd.grad(field.objective(x, problem).sum(), x)
    torch.testing.assert_close(field.gradient(x, problem), wanted, atol=1e-12, rtol=1e-12)


def test_responses_and_their_spread_are_adjoint():
    field = grouped()
    problem, x, z = field.prepare(noisy()), gaussian(2, 9, 11, seed=3), gaussian(2, 99, 4, seed=4)
    back = field.scale * field.spread(z, problem, x)
    torch.testing.assert_close((field.responses(x, problem) * z).sum(), (x * back).sum(), atol=1e-10, rtol=0)


def test_with_one_match_it_is_the_local_field_to_the_bit_and_that_is_the_filters_formula():
    """Also where groups of one are gathered and scattered; and the step with a bank of filters, to rounding."""
    one, y = grouped(1), noisy()
    local = FieldOfExperts(
        LeastSquares(Identity()), one.filters.detach()[:, 0], amplitude=one.amplitude.detach(), weight=0.5, scale=4.0
    ).double()
    problem = local.prepare(y)
    assert torch.equal(one(y, one.prepare(y)), local(y, problem))
    gathered = problem._replace(groups=match_patches(y, 1))
    assert torch.equal(local(y + 0.1, problem), local(y + 0.1, gathered))
    assert torch.equal(unroll(one, 3)(y), unroll(local, 3)(y))
    bank, x = FilterBank(one.filters.detach()[:, 0]), y + 0.1
    z = bank(4 * x)
    force = bank.adjoint(one.amplitude.detach().reshape(-1, 1, 1) * z / (1 + 0.5 * z**2)) / 4
    torch.testing.assert_close(local(x, problem), x - 0.1 * (0.5 * (x - y) + force), atol=1e-13, rtol=0)


def test_the_energy_never_rises_below_the_bound_on_the_step():
    for seed in range(3):
        field, y = grouped(seed=seed), noisy(height=12, width=12, seed=seed)
        problem = field.prepare(y)
        field.step_size = 1.9 / field.lipschitz(problem).detach().max()
        state = y + 0.5 * gaussian(2, 12, 12, seed=9)
        energies = [field.objective(state, problem)]
        for _ in range(25):
            state = field(state, problem)
            energies.append(field.objective(state, problem))
        assert bool((torch.stack(energies).diff(dim=0) <= 1e-12).all())


def test_matches_are_found_once_for_all_layers(monkeypatch):
    from unrolling.algorithms.images import experts

    seen = []
    kept = experts.match_patches
    monkeypatch.setattr(experts, "match_patches", lambda *a, **k: seen.append(1) or kept(*a, **k))
    network = unroll(grouped(), 4, tied=("filters", "amplitude"), untied=("step_size",))
    network(noisy())
    assert len(seen) == 1


def test_it_is_a_sound_iteration():
    check_iteration(grouped(2, size=2, count=2), noisy(3, 4, 5), skip=("compile", "export"))


def test_inpainting_is_a_sound_iteration():
    data = Masked(noisy(3, 4, 5), pixel_mask(3, 4, 5, 0.4, torch.Generator().manual_seed(1)).bool())
    check_iteration(grouped(1, size=2, count=2, data_term=KnownPixels()), data, skip=("compile", "export"))


def test_filters_that_see_brightness_are_refused():
    with pytest.raises(ValueError, match="ZeroMean needs means of zero"):
        NonLocalExperts(LeastSquares(Identity()), torch.ones(2, 2, 3, 3))


def test_the_network_is_equal_to_its_parent_and_has_the_numbers_of_the_formula():
    for name, matches in (("imaging/nlr_mrf", 5), ("imaging/local_mrf", 1)):
        system = find(name)
        network = system.network(system.recipes["denoising"], small_task("denoising"))
        count = len(zero_mean_atoms(5))
        learned = sum(p.numel() for p in network.parameters() if p.requires_grad)
        assert learned == count * (matches * 25 + 1) + 10


def test_before_training_both_systems_are_the_same():
    y = scene(24, 26)
    networks = [
        find(name).network(find(name).recipes["denoising"], small_task("denoising"))
        for name in ("imaging/nlr_mrf", "imaging/local_mrf")
    ]
    one, two = (network(y) for network in networks)
    torch.testing.assert_close(one, two, atol=1e-6, rtol=0)


# Missing pixels


def test_known_pixels_stay_and_a_plane_is_filled_everywhere():
    image = scene(20, 23)
    mask = pixel_mask(1, 20, 23, 0.8, torch.Generator().manual_seed(0))
    filled = fill_missing(image * mask + 77 * (1 - mask), mask)
    assert torch.equal(filled[mask > 0], image[mask > 0])
    assert float(filled.max()) <= float(image.max()) + 1e-6
    torch.testing.assert_close(fill_missing(torch.full((1, 20, 23), 0.3), mask), torch.full((1, 20, 23), 0.3))
    found = solve(grouped(data_term=KnownPixels()).float(), Masked(image, mask), tolerance=0, max_iterations=5)
    assert torch.equal(found.estimate[mask > 0], image[mask > 0])


def test_what_is_missing_has_no_effect():
    image, mask = scene(20, 23), stroke_mask(1, 20, 23, 0.2, torch.Generator().manual_seed(0))
    network = unroll(grouped(data_term=KnownPixels()).float(), 3)
    other = torch.where(mask > 0, image, torch.tensor(1e6))
    assert torch.equal(network(Masked(image, mask)), network(Masked(other, mask)))


@pytest.mark.parametrize(
    ("mask", "error", "words"),
    [
        (torch.ones(1, 8, 9), ValueError, "the mask has 8 x 9 pixels and the picture 8 x 8: they are of one size"),
        (torch.zeros(1, 8, 8), ValueError, "every pixel of picture 0 is missing"),
        (torch.full((1, 8, 8), 0.5), ValueError, "this one holds 64 other values, such as 0.5"),
        (torch.full((1, 8, 8), 255.0), ValueError, "such as 255"),
        (torch.ones(1, 8, 8).to(torch.complex64), TypeError, "mask is torch.complex64; it holds zeros and ones"),
    ],
)
def test_masks_that_do_not_fit_are_refused(mask, error, words):
    network = unroll(grouped(data_term=KnownPixels()).float(), 2)
    with pytest.raises(error, match=words):
        network(Masked(torch.rand(1, 8, 8), mask))
    with pytest.raises(TypeError, match="data are Masked"):
        network(torch.rand(1, 8, 8))


def test_masks_of_strokes_cover_about_the_part_that_was_asked_for():
    for part in (0.05, 0.2):
        mask = stroke_mask(3, 80, 90, part, torch.Generator().manual_seed(2))
        covered = 1 - mask.mean((1, 2))
        assert bool((covered >= part).all())
        assert bool((covered < part + 0.12).all())
        assert set(mask.unique().tolist()) == {0.0, 1.0}
    assert float(1 - pixel_mask(1, 200, 200, 0.7, torch.Generator().manual_seed(0)).mean()) == pytest.approx(
        0.7, abs=0.02
    )
