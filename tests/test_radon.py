"""The Radon transform and filtered back-projection: conformance, and each against something independent of it."""

import copy
import itertools
import math

import numpy as np
import pytest
import torch
from iterations import gaussian

from unrolling.operators import (
    FanBeam,
    FilteredBackProjection,
    ParallelBeam,
    Radon,
    from_counts,
    from_hounsfield,
    photon_counts,
    to_hounsfield,
    with_gaussian_noise,
)
from unrolling.testing import check_operator, dense

GEOMETRIES = {
    "parallel": ParallelBeam.even(5, 7),
    "fan": FanBeam.even(6, 7),
    "other sides, lengths and angles": ParallelBeam([0.3, 2.0, -1.0], 15, (6, 9), 0.7, 1.1, shift=0.2),
    "a detector in the middle": FanBeam([0.1, 2.2, 4.2], 20, (8, 7), 9.0, 0.0, 0.5, 0.3, shift=-0.1),
}


def disc(size, radius, dtype=torch.float64):
    y, x = torch.meshgrid(*(torch.arange(size, dtype=dtype) - (size - 1) / 2,) * 2, indexing="ij")
    return torch.hypot(x, y) < radius


def blob(size):
    """Smooth, without symmetry, and 0 towards the edge."""
    y, x = torch.meshgrid(*(torch.linspace(-1, 1, size, dtype=torch.float64),) * 2, indexing="ij")
    return torch.exp(-20 * ((x - 0.2) ** 2 + (y + 0.3) ** 2)) + torch.exp(-40 * ((x + 0.3) ** 2 + (y + 0.1) ** 2))


@pytest.mark.parametrize(("name", "dtype"), [*((name, torch.float64) for name in GEOMETRIES), ("fan", torch.float32)])
def test_projections_and_their_inversion_pass_every_check(name, dtype):
    check_operator(Radon(GEOMETRIES[name]), dtype=dtype)
    check_operator(FilteredBackProjection(GEOMETRIES[name], "hann"), dtype=dtype)


@pytest.mark.parametrize("geometry", [ParallelBeam.even(3, 4), FanBeam.even(3, 4)], ids=["parallel", "fan"])
def test_gradients_once_and_twice_are_those_of_finite_differences(geometry):
    for operator in (Radon(geometry), FilteredBackProjection(geometry)):
        x = gaussian(2, *operator.input_shape, seed=1).requires_grad_()
        y = gaussian(2, *operator.output_shape, seed=2).requires_grad_()
        assert torch.autograd.gradcheck(operator, x)
        assert torch.autograd.gradcheck(operator.adjoint, y)
        assert torch.autograd.gradgradcheck(operator, x, fast_mode=True)


def test_a_matrix_element_is_the_length_of_the_ray_times_the_share_of_the_pixel():
    theta = math.radians(30)
    matrix = dense(Radon(ParallelBeam([theta], 9, (5, 5), pixel=2.0, spacing=2.0)), torch.float64).reshape(9, 5, 5)
    for j in range(9):
        for row in range(5):  # steep: one place in each row
            s, y = (j - 4) * 2.0, (2 - row) * 2.0
            place = (s - y * math.sin(theta)) / math.cos(theta) / 2 + 2
            share = [max(0.0, 1 - abs(place - column)) * 2 / math.cos(theta) for column in range(5)]
            torch.testing.assert_close(matrix[j, row], torch.tensor(share, dtype=torch.float64), atol=1e-9, rtol=0)


def test_projections_are_those_of_scikit_image():
    transform = pytest.importorskip("skimage.transform")
    degrees = np.linspace(0, 180, 15, endpoint=False)
    x = blob(65)
    y = Radon(ParallelBeam(torch.deg2rad(torch.from_numpy(degrees)), 65, 65))(x.unsqueeze(0))[0]
    other = torch.from_numpy(transform.radon((x * disc(65, 32)).numpy(), degrees, circle=True)).T
    assert (y - other).norm() < 0.005 * other.norm()
    assert (y.flip(0) - other).norm() > 0.1 * other.norm()  # which way angles run, and bins, would be seen
    assert (y.flip(1) - other).norm() > 0.1 * other.norm()


def test_projections_are_those_of_astra():
    astra = pytest.importorskip("astra")
    size, angles = 24, np.linspace(0, math.pi, 7, endpoint=False) + 0.1
    volume = astra.create_vol_geom(size, size)
    wanted = astra.create_proj_geom("parallel", 1.0, 41, angles)
    matrix = astra.matrix.get(astra.projector.matrix(astra.create_projector("linear", wanted, volume)))
    ours = dense(Radon(ParallelBeam(angles, 41, size)), torch.float64)
    torch.testing.assert_close(ours, torch.from_numpy(matrix.todense()).double(), atol=1e-4, rtol=0)
    wanted = astra.create_proj_geom("fanflat", 1.5, 61, angles, 60.0, 30.0)
    matrix = astra.matrix.get(astra.projector.matrix(astra.create_projector("line_fanflat", wanted, volume)))
    x = blob(size)
    y = Radon(FanBeam(angles, 61, size, 60.0, 30.0, spacing=1.5))(x.unsqueeze(0))[0].flatten()
    other = torch.from_numpy(matrix @ x.flatten().numpy())
    assert (y - other).norm() < 0.05 * other.norm()  # lengths within pixels there, interpolation here


def test_a_fan_from_afar_is_a_parallel_beam():
    x = blob(32).unsqueeze(0)
    angles = [0.2, 1.1, 2.9]
    far = FanBeam(angles, 47, 32, source=1e7, detector=0.0)
    torch.testing.assert_close(Radon(far)(x), Radon(ParallelBeam(angles, 47, 32))(x), atol=1e-3, rtol=0)


def test_the_projections_of_a_disc_are_its_chords_in_millimetres():
    radius, pixel = 20.0, 0.5  # mm
    x = disc(128, radius / pixel).double().unsqueeze(0) * 0.02  # 1/mm
    for geometry in (ParallelBeam.even(4, 128, pixel), FanBeam.even(4, 128, pixel=pixel)):
        y = Radon(geometry)(x)[0]
        middle = geometry.bins // 2
        torch.testing.assert_close(y[:, middle], torch.full((4,), 0.8, dtype=torch.float64), rtol=0.02, atol=0)
        assert (y[:, 0] == 0).all()


WINDOWS = ["ramp", "shepp-logan", "cosine", "hamming", "hann"]


@pytest.mark.parametrize(
    "geometry",
    [
        ParallelBeam.even(90, 64, pixel=0.5),
        ParallelBeam(torch.rand(90, generator=torch.Generator().manual_seed(0)) * math.pi, 91, 64),
        ParallelBeam([math.pi * k / 60 for k in range(120)], 91, 64),  # each view twice
        ParallelBeam([math.pi * k / 90 for k in range(90)], 47, 64, spacing=2.0),
        FanBeam.even(120, 64),
        FanBeam([2 * math.pi * k / 120 for k in range(120)], 190, 64, 70.0, 50.0, spacing=1.2, shift=0.3),
    ],
    ids=["parallel", "uneven", "full circle", "coarse bins", "fan", "near, shifted fan"],
)
@pytest.mark.parametrize("window", ["ramp", "hann"])
def test_a_disc_comes_back_with_its_value(geometry, window):
    size = geometry.image[0]
    x = disc(size, 0.4 * size).double() * 0.7
    found = FilteredBackProjection(geometry, window)(Radon(geometry)(x.unsqueeze(0)))[0]
    inside = disc(size, 0.3 * size)
    assert abs(float(found[inside].mean()) / 0.7 - 1) < 0.01


def test_windows_damp_noise_in_their_order():
    geometry = ParallelBeam.even(20, 32)
    noise = gaussian(3, *geometry.shape, seed=3)
    sizes = [float(FilteredBackProjection(geometry, window)(noise).norm()) for window in WINDOWS]
    assert sizes == sorted(sizes, reverse=True)


def test_matrices_are_shared_by_geometry_and_no_part_of_the_state():
    geometry = ParallelBeam.even(5, 16)
    one, other = Radon(geometry), Radon(ParallelBeam.even(5, 16))
    one.adjoint(one(torch.ones(1, 16, 16)))
    assert copy.deepcopy(one).memory == other.memory == one.memory > 0
    assert not one.state_dict()
    entries = int((dense(one) != 0).sum())
    wanted = 2 * (8 * entries) + 4 * (math.prod(geometry.shape) + 1 + 16 * 16 + 1)
    assert one.memory == wanted


def test_exported_and_compiled_products_are_the_same():
    geometry = FanBeam.even(5, 12)

    class Step(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.radon, self.fbp = Radon(geometry), FilteredBackProjection(geometry)

        def forward(self, y):
            x = self.fbp(y)
            return x - 0.01 * self.radon.adjoint(self.radon(x) - y)

    y = gaussian(2, *geometry.shape).float()
    program = torch.export.export(Step(), (y,), dynamic_shapes={"y": {0: torch.export.Dim("batch")}})
    y = gaussian(3, *geometry.shape, seed=1).float()
    torch.testing.assert_close(program.module()(y), Step()(y), rtol=1e-4, atol=1e-5)
    mapped = torch.func.vmap(lambda one: Step()(one.unsqueeze(0))[0])(y)
    torch.testing.assert_close(mapped, Step()(y), rtol=1e-4, atol=1e-5)


def test_products_with_matrices_that_are_not_stored_are_the_same():
    for kind, how in itertools.product((Radon, FilteredBackProjection), (False, "one")):
        geometry = FanBeam.even(7 + (how == "one"), 21)  # of its own, as matrices are shared
        streamed, stored = kind(geometry, stored=how), kind(geometry)
        x = gaussian(2, *stored.input_shape, seed=1).requires_grad_()
        y = gaussian(2, *stored.output_shape, seed=2)
        found, back = streamed(x), streamed.adjoint(y)
        (slope,) = torch.autograd.grad((found * y).sum(), x)
        assert (streamed.memory > 0) == (how == "one")
        torch.testing.assert_close(found, stored(x))
        torch.testing.assert_close(back, stored.adjoint(y))
        torch.testing.assert_close(slope, back)


@pytest.mark.parametrize("geometry", [ParallelBeam.even(20, 64), FanBeam.even(20, 64)], ids=["parallel", "fan"])
def test_memory_is_known_before(geometry):
    radon = Radon(geometry)
    radon.adjoint(radon(torch.zeros(1, 64, 64)))
    assert abs(radon.expected_memory / radon.memory - 1) < 0.1


def test_half_precision_and_leading_dimensions():
    radon = Radon(ParallelBeam.even(5, 12))
    x = gaussian(2, 3, 12, 12).float()
    torch.testing.assert_close(radon(x)[:, 1], radon(x[:, 1]))
    assert radon(x.bfloat16()).dtype == torch.bfloat16
    assert radon(x[:0]).shape == (0, 3, *radon.output_shape)


SMALL = Radon(ParallelBeam.even(5, 8))


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda: ParallelBeam([0.0, math.nan], 99, 64), ValueError, "angles holds NaN"),
        (lambda: ParallelBeam([], 99, 64), ValueError, "one angle for each view"),
        (lambda: ParallelBeam(range(0, 180, 3), 99, 64), ValueError, "radians"),
        (lambda: ParallelBeam([0.0], 63, 64), ValueError, "bins: the detector.*shorter than the slice"),
        (lambda: ParallelBeam([0.0], 128, 64, spacing=0.4), ValueError, "shorter than the slice"),
        (lambda: ParallelBeam([0.0], 66, 64, shift=2.0), ValueError, "shorter than the slice"),
        (lambda: FanBeam([0.0], 66, 64, 200.0, 200.0, spacing=1.0), ValueError, "shorter than the slice"),
        (lambda: FanBeam([0.0], 300, 64, 40.0, 40.0), ValueError, "source is 40 mm.*within the slice"),
        (lambda: ParallelBeam([0.0], 99, 64, pixel=0.0), ValueError, "pixel is 0"),
        (lambda: ParallelBeam([0.0], 99, 64, spacing=-1.0), ValueError, "spacing is -1"),
        (lambda: ParallelBeam([0.0], 0, 64), ValueError, "bins is 0"),
        (lambda: ParallelBeam([0.0], 99, (64, 64, 1)), TypeError, "image is"),
        (lambda: Radon("parallel"), TypeError, "geometry is 'parallel'"),
        (lambda: FilteredBackProjection(ParallelBeam.even(3, 8), "hat"), ValueError, "window is 'hat'"),
        (
            lambda: FilteredBackProjection(FanBeam([math.radians(d) for d in range(0, 220, 2)], 99, 64, 300.0, 0.0)),
            ValueError,
            "angles leave 142 degrees",
        ),
        (lambda: SMALL(torch.zeros(1, 8, 9)), ValueError, "x: Radon needs an input"),
        (lambda: SMALL.adjoint(torch.zeros(1, 6, 13)), ValueError, "y: Radon needs an output"),
        (lambda: SMALL(torch.zeros(1, 8, 8, dtype=torch.cfloat)), TypeError, "x is torch.complex64"),
        (lambda: from_counts(torch.tensor([[[3.0, -1.0]]]), 10.0), ValueError, "counts holds 1 negative"),
        (lambda: from_counts(torch.ones(1, 1, 2), 0.0), ValueError, "photons is 0"),
        (lambda: photon_counts(torch.ones(1, 1, 2), -5.0), ValueError, "photons is -5"),
        (lambda: with_gaussian_noise(torch.ones(1, 1, 2), -0.1), ValueError, "level is -0.1"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused_by_name(make, error, words):
    with pytest.raises(error, match=words):
        make()


def test_attenuation_and_counts_go_both_ways():
    mu = torch.tensor([0.0, 0.02, 0.03])
    torch.testing.assert_close(to_hounsfield(mu), torch.tensor([-1000.0, 0.0, 500.0]))
    torch.testing.assert_close(from_hounsfield(to_hounsfield(mu)), mu)
    assert float(from_hounsfield(torch.tensor(-2000.0))) == 0
    y = torch.full((1, 200, 200), 1.5, dtype=torch.float64)
    found = from_counts(photon_counts(y, 1000.0, torch.Generator().manual_seed(0)), 1000.0)
    assert abs(float(found.mean()) - 1.5) < 0.005  # of standard deviation exp(y / 2) / sqrt(I_0)
    assert abs(float(found.std()) / (math.exp(0.75) / 1000**0.5) - 1) < 0.03
    noisy = with_gaussian_noise(y * torch.tensor([1.0, 4.0]).reshape(2, 1, 1), 0.05, torch.Generator().manual_seed(0))
    spread = (noisy - y * torch.tensor([1.0, 4.0]).reshape(2, 1, 1)).std((1, 2))
    torch.testing.assert_close(spread, torch.tensor([0.075, 0.3], dtype=torch.float64), rtol=0.02, atol=0)


def test_angles_may_come_one_by_one_and_are_at_least_one():
    views = [math.pi * view / 5 for view in range(5)]
    assert ParallelBeam((angle for angle in views), 13, 8) == ParallelBeam(views, 13, 8)
    for none in ([], torch.zeros(0), torch.zeros(2, 2), torch.zeros(2, 2).numpy()):
        with pytest.raises(ValueError, match="one angle for each view"):
            ParallelBeam(none, 13, 8)
