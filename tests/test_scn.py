"""SCN: coupled sparse coding of patches as an iteration, its two forms, SRCNN as a special case, cascades."""

import numpy as np
import pytest
import torch
from iterations import gaussian
from pictured import scene, small_task
from torch.nn.functional import normalize

from unrolling import unroll
from unrolling.algorithms import GramISTA
from unrolling.algorithms.images.coupled_dictionary import coupled_dictionaries, patch_pairs, pursued
from unrolling.algorithms.images.coupled_patches import (
    CoupledSparseCoding,
    EnlargingCascade,
    NormalisedSparseCoding,
    mean_filter,
    patch_features,
    patch_filters,
    stages_for,
)
from unrolling.networks.srcnn import SRCNN, srcnn_channels
from unrolling.operators.resize import BicubicReduction
from unrolling.prox import nonnegative, soft_threshold
from unrolling.systems.catalogue import find
from unrolling.testing import check_iteration

F, P, ATOMS = 7, 3, 10  # pixels of features and of patches, atoms
MARGIN = F // 2 + P // 2
EXACT, NORMALISED = CoupledSparseCoding, NormalisedSparseCoding


def coding(kind=EXACT, weight=0.02, **options):
    features = patch_features(F, P)
    low = normalize(gaussian(len(features), ATOMS, seed=1), dim=0)
    return kind(features, low, gaussian(P * P, ATOMS, seed=2), weight, **options)


def images(*shape, seed=3):
    return 0.5 + 0.1 * gaussian(*shape, seed=seed)


def learned(network):
    return sum(p.numel() for p in network.parameters() if p.requires_grad)


@pytest.mark.parametrize(("name", "count"), [("scn", 42_703), ("scn_exact", 40_678)])
def test_scn_has_the_released_number_of_parameters_at_any_depth(name, count):
    system = find(f"imaging/{name}")
    recipe = system.recipes["super_resolution"]
    for depth in (1, 2, 3):
        assert learned(system.network(recipe, small_task("super_resolution"), depth)) == count


@pytest.mark.parametrize("kind", [EXACT, NORMALISED])
def test_both_forms_are_sound_iterations(kind):
    low = normalize(gaussian(3, 4, seed=1), dim=0)
    parent = kind(gaussian(3, 3, 3), low, gaussian(1, 4, seed=2), 0.02, factor=2)
    check_iteration(parent, images(2, 3, 2), skip=("compile", "export"))


@pytest.mark.parametrize("depth", [1, 2, 4])
def test_before_training_scn_is_ista_on_every_patch_to_the_bit(depth):
    """lambda and 1 / L are powers of two, so that counting codes in thresholds loses nothing."""
    parent = coding(weight=2**-3, step_size=2**-2)
    y = images(2, 9, 8)
    network = unroll(parent, depth, tied=("features", "encoder", "inhibition", "decoder", "mean", "overlap"))
    found = parent.codes(network.run(y)).detach()
    wide = parent.wide(y).unsqueeze(1)
    features = torch.nn.functional.conv2d(wide, parent.features.unsqueeze(1)).movedim(1, -1).detach()
    ista = GramISTA(parent.low, 2**-3, step_size=2**-2)
    assert torch.equal(found, unroll(ista, depth)(features.contiguous()))


def by_patches(parent, y, depth, normalised):
    """The picture from every patch by itself, in NumPy loops; thresholds are those of ISTA, lambda / L."""
    low, high = parent.low.numpy(), (parent.decoder / parent.scale).detach().numpy()
    filters = parent.features.detach().numpy().reshape(-1, F * F)
    step, theta = parent.step_size, parent.scale.numpy()
    wide = np.pad(y, MARGIN, mode="symmetric")
    total = np.zeros_like(wide)
    for r in range(wide.shape[0] - F + 1):
        for c in range(wide.shape[1] - F + 1):
            patch = wide[r : r + F, c : c + F]
            feature = filters @ patch.ravel()
            if normalised:
                feature = feature / np.linalg.norm(feature)
            code = np.zeros(ATOMS)
            for _ in range(depth):
                moved = code - step * low.T @ (low @ code - feature)
                code = np.sign(moved) * np.maximum(np.abs(moved) - theta, 0)
            sharp = high @ code
            if normalised:
                middle = patch[(F - P) // 2 : (F + P) // 2, (F - P) // 2 : (F + P) // 2]
                sharp = 1.1 * sharp / max(np.linalg.norm(sharp), 1e-12) * np.linalg.norm(middle - patch.mean())
            top, left = r + (F - P) // 2, c + (F - P) // 2
            total[top : top + P, left : left + P] += patch.mean() + sharp.reshape(P, P)
    return total[MARGIN:-MARGIN, MARGIN:-MARGIN] / P**2


@pytest.mark.parametrize("kind", [EXACT, NORMALISED])
def test_the_convolutional_form_is_that_of_single_patches(kind):
    """With a weight for each atom: the thresholds that were folded into the matrices come out again."""
    weights = 0.01 + 0.02 * torch.rand(ATOMS, generator=torch.Generator().manual_seed(4)).double()
    parent = coding(kind, weights)
    y = images(1, 9, 7)
    for depth in (1, 3):
        wanted = by_patches(parent, y[0].numpy(), depth, kind is NORMALISED)
        np.testing.assert_allclose(unroll(parent, depth)(y)[0].detach().numpy(), wanted, atol=1e-10, rtol=0)


def test_a_threshold_is_a_scale_around_a_threshold_of_one():
    a, theta = gaussian(50), 0.1 + torch.rand(50, generator=torch.Generator().manual_seed(0)).double()
    torch.testing.assert_close(soft_threshold(a, theta), theta * soft_threshold(a / theta, 1.0), atol=1e-14, rtol=0)


def test_without_recurrences_scn_is_one_thresholded_linear_map():
    parent = coding(NORMALISED)
    problem = parent.prepare(images(2, 8, 8))
    assert torch.equal(unroll(parent, 1).run(images(2, 8, 8)), soft_threshold(problem.encoded, 1.0))


@pytest.mark.parametrize("value", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("kind", [EXACT, NORMALISED])
def test_flat_pictures_stay_flat_and_their_gradients_finite(kind, value):
    network = unroll(coding(kind, factor=2), 2, tied=("features", "encoder", "decoder", "inhibition"))
    x = torch.full((1, 6, 6), value, dtype=torch.float64, requires_grad=True)
    found = network(x)
    torch.testing.assert_close(found, torch.full((1, 12, 12), value, dtype=torch.float64), atol=1e-9, rtol=0)
    found.square().sum().backward()
    assert all(bool(torch.isfinite(p.grad).all()) for p in (x, *network.parameters()) if p.grad is not None)


def test_codes_of_zero_do_not_divide_by_zero():
    """A weight so large that no feature passes: what is left is the mean over the surroundings."""
    parent = coding(NORMALISED, 100.0)
    y = images(1, 9, 9)
    wide = torch.from_numpy(np.pad(y[0].numpy(), MARGIN, mode="symmetric"))[None, None]
    wanted = torch.nn.functional.conv2d(wide, mean_filter(F, P)[None, None])[0]
    torch.testing.assert_close(unroll(parent, 2)(y), wanted, atol=1e-12, rtol=0)


def test_the_normalised_form_follows_contrast_and_brightness():
    """x(a y + b) = a x(y) + b for a > 0; the exact one, whose threshold is absolute, does not."""
    y = images(1, 9, 9)
    for kind, holds in ((NORMALISED, True), (EXACT, False)):
        network = unroll(coding(kind), 2)
        assert torch.allclose(network(0.3 * y + 0.2), 0.3 * network(y) + 0.2, atol=1e-10) is holds


def test_filters_take_means_and_patches():
    patch = gaussian(F, F)
    inner = patch[(F - P) // 2 : (F + P) // 2, (F - P) // 2 : (F + P) // 2]
    torch.testing.assert_close((patch_filters(F, P) * patch).sum((1, 2)), (inner - patch.mean()).flatten())
    ramp = torch.arange(F, dtype=torch.float64).repeat(F, 1)
    found = (patch_features(F, P) * ramp).sum((1, 2)).reshape(4, -1)
    assert torch.equal(found, torch.tensor([[2.0], [0.0], [0.0], [0.0]], dtype=torch.float64).expand(-1, P * P))
    assert float(mean_filter(F, P).sum()) == pytest.approx(1)
    assert mean_filter().shape == (13, 13)
    assert patch_features().shape == (100, 9, 9)


# SRCNN


@pytest.mark.parametrize(("sizes", "count"), [((9, 1, 5), 8_032), ((9, 5, 5), 57_184)])
def test_srcnn_has_the_published_number_of_weights(sizes, count):
    assert sum(p.numel() for p in SRCNN(64, 32, sizes).parameters() if p.ndim == 4) == count


@pytest.mark.parametrize("size", [1, 8_032, 42_703])
def test_srcnn_can_have_as_many_parameters_as_asked_for(size):
    channels = srcnn_channels(size)
    assert sum(p.numel() for p in SRCNN(channels, channels).parameters()) == pytest.approx(size, rel=0.02, abs=120)


def test_an_untrained_srcnn_gives_its_input():
    y = torch.rand(2, 9, 8, generator=torch.Generator().manual_seed(5))
    assert torch.equal(SRCNN(4, 3)(y), y)


def test_srcnn_is_sparse_coding_with_non_negative_codes_and_no_recurrence():
    """As Dong et al. read it: features of patches and their mean, a step of ISTA, sharp patches added up where they
    lie. Features that may be negative pass a ReLU as pairs, c = max(c, 0) - max(-c, 0).
    """
    parent = coding(prox=nonnegative)
    count = len(parent.features)
    network = SRCNN(2 * count + 1, ATOMS + 1, (F, 1, P)).double()
    first, second, third = network.convolutions
    with torch.no_grad():
        mean = torch.full((1, F, F), 1 / F**2, dtype=torch.float64)
        first.weight.copy_(torch.cat([parent.features, -parent.features, mean]).unsqueeze(1))
        second.weight.zero_()
        second.weight[:ATOMS, : 2 * count, 0, 0] = torch.cat([parent.encoder, -parent.encoder], 1)
        second.weight[ATOMS, 2 * count] = 1
        second.bias[:ATOMS] = -1
        # a correlation, so that patches are turned
        third.weight[0, :ATOMS] = (parent.decoder / P**2).T.reshape(ATOMS, P, P).flip(1, 2)
        third.weight[0, ATOMS] = 1 / P**2
    y = torch.rand(2, 9, 8, generator=torch.Generator().manual_seed(5)).double()
    torch.testing.assert_close(network(y), unroll(parent, 1)(y), atol=1e-10, rtol=0)


# The dictionary, and pursuit


def test_a_coupled_dictionary_is_the_least_squares_of_sharp_patches_on_codes():
    sharp = scene(60, 70)[0]
    reduction = BicubicReduction(2)
    blurred = reduction.enlarge(reduction(sharp.unsqueeze(0)))[0]
    low, high = patch_pairs([(blurred, sharp)], 400, f=F, p=P)
    torch.testing.assert_close(torch.linalg.vector_norm(low, dim=1), torch.ones(len(low), dtype=torch.float64))
    one, two = coupled_dictionaries(low, high, ATOMS, 0.05, epochs=1)
    torch.testing.assert_close(torch.linalg.vector_norm(one, dim=0), torch.ones(ATOMS, dtype=torch.float64))
    from sklearn.decomposition import sparse_encode

    codes = torch.from_numpy(sparse_encode(low.numpy(), one.T.numpy(), algorithm="lasso_cd", alpha=0.05, max_iter=5000))
    fitted = torch.linalg.lstsq(codes, high).solution.T
    assert float((high - codes @ two.T).square().mean()) < 1.05 * float((high - codes @ fitted.T).square().mean())


def test_pursuit_of_all_atoms_of_an_orthonormal_dictionary_gives_inner_products():
    features = patch_features(F, P)
    low, high = torch.linalg.qr(gaussian(len(features), ATOMS))[0], gaussian(P * P, ATOMS, seed=2)
    parent, y = CoupledSparseCoding(features, low, high, 0.1, factor=2), images(1, 5, 6)
    problem = parent.prepare(y)
    wanted = parent.estimate(problem.encoded * parent.weight / parent.scale, problem)
    torch.testing.assert_close(pursued(parent, y, ATOMS, every=1), wanted, atol=1e-9, rtol=0)


# Cascades


def test_a_cascade_doubles_until_it_is_large_enough():
    class Double(torch.nn.Module):
        def forward(self, x):
            return BicubicReduction(2).enlarge(x)

    assert [stages_for(factor) for factor in (1, 2, 3, 4, 5)] == [0, 1, 2, 2, 3]
    small = images(2, 5, 6)
    assert torch.equal(EnlargingCascade([Double(), Double()], 4)(small), Double()(Double()(small)))
    four = Double()(Double()(small))
    three = EnlargingCascade([Double(), Double()], 3)(small)
    assert three.shape == (2, 15, 18)
    torch.testing.assert_close(three.mean(), four.mean(), atol=1e-3, rtol=0)
    with pytest.raises(ValueError, match="2 stages that enlarge 2 times reach 3 times; got 1"):
        EnlargingCascade([Double()], 3)


# Bad input


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"features": torch.zeros(4, 6, 6)}, r"odd f; got shape \(4, 6, 6\)"),
        ({"low": torch.ones(5, ATOMS)}, r"a row for each of the 36 features; got shape \(5, 10\)"),
        ({"high": torch.ones(8, ATOMS)}, r"D_x is \(p p, 10\), p odd and at most 7; got shape \(8, 10\)"),
        ({"high": torch.ones(9, 4)}, r"got shape \(9, 4\)"),
        ({"weight": 0.0}, "weight must be positive"),
        ({"weight": -1.0}, "at least 0; got -1"),
        ({"low": torch.zeros(36, ATOMS)}, "zero"),
        ({"step_size": 0.0}, "step_size is 0.0; it must be above 0"),
        ({"factor": 0}, "factor is 0; it must be at least 1"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(changes, message):
    usual = {
        "features": patch_features(F, P).float(),
        "low": torch.ones(36, ATOMS),
        "high": torch.ones(9, ATOMS),
        "weight": 0.1,
    }
    with pytest.raises(ValueError, match=message):
        CoupledSparseCoding(**{**usual, **changes})


def test_pictures_that_are_too_small_or_have_colours_are_refused():
    network = unroll(coding(factor=2), 1)
    with pytest.raises(ValueError, match=r"at least 2 x 2 pixels.*got 1 x 5"):
        network(images(1, 1, 5))
    with pytest.raises(ValueError, match=r"\(batch, height, width\); got shape \(1, 3, 8, 8\)"):
        network(images(1, 3, 8, 8))
    assert network(images(1, 2, 2)).shape == (1, 4, 4)
    with pytest.raises(ValueError, match="no patch has any contrast"):
        patch_pairs([(torch.ones(20, 20), torch.ones(20, 20))], 10, f=F, p=P)
