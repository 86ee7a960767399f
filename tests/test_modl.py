"""MoDL: least squares in turn with a denoiser, what the network has, and how it is applied to recordings."""

import pytest
import torch

from unrolling import solve, unroll
from unrolling.algorithms import CoilSampling, DenoisedLeastSquares
from unrolling.networks import ComplexResidual
from unrolling.operators import CoilData, MultiCoilFourier, normalise_maps
from unrolling.operators.fourier import fft
from unrolling.systems.catalogue import find
from unrolling.systems.medical._coils import combine
from unrolling.systems.medical._kspace import Measured
from unrolling.tasks import Coils
from unrolling.tasks.medical import head, poisson_disc_mask, receive_coils
from unrolling.testing import check_iteration


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def multicoil(size=8, coils=2, batch=3, dtype=torch.complex64):
    data = Coils(size=size, coils=coils, acceleration=2.0).draw(batch, generator()).data
    return CoilData(data.samples.to(dtype), data.mask.to(dtype.to_real()), data.maps.to(dtype))


def dense(data):
    """E of one sample."""
    size = data.samples.shape[-1]
    operator = MultiCoilFourier(data.mask[0].expand(size, size), data.maps[0])
    columns = [
        operator(e.view(1, size, size).to(data.samples.dtype)).flatten()
        for e in torch.eye(size**2, dtype=torch.float64)
    ]
    return torch.stack(columns, 1)


def solved(**options):
    return DenoisedLeastSquares(CoilSampling(), **{"tolerance": 1e-14, "steps": 200, **options}).double()


def test_one_layer_without_a_denoiser_is_one_regularised_solve():
    data = multicoil(8, 2, 1, torch.complex128)
    matrix, samples = dense(data), data.samples.flatten()
    back = matrix.mH @ samples
    expected = torch.linalg.solve(matrix.mH @ matrix + 0.05 * torch.eye(64), back + 0.05 * back)
    iteration = solved()
    assert float(iteration.weight) == pytest.approx(0.05)
    with torch.no_grad():
        found = unroll(iteration, 1)(data)
    assert torch.allclose(found.flatten(), expected, atol=1e-6)


def test_without_a_denoiser_it_tends_to_least_squares():
    data = multicoil(8, 2, 1, torch.complex128)
    matrix = dense(data)
    found = solve(solved(weight=1e-3, steps=80), data, tolerance=0.0, max_iterations=30).estimate.flatten()
    left, back = matrix.mH @ (matrix @ found - data.samples.flatten()), matrix.mH @ data.samples.flatten()
    assert float(left.norm()) < 1e-4 * float(back.norm())


class Halved(torch.nn.Module):
    """D(x) = c x."""

    def __init__(self):
        super().__init__()
        self.factor = torch.nn.Parameter(torch.tensor(0.5))

    def forward(self, x):
        return self.factor * x


def test_the_implicit_gradient_is_that_of_unrolled_conjugate_gradients_at_convergence():
    data = multicoil(8, 2, 2, torch.complex128)

    def gradients(**options):
        iteration = solved(denoiser=Halved().double(), **options)
        network = unroll(iteration, 3, tied=("weight", "denoiser"))
        loss = (network(data) - 1).abs().square().sum()
        return torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(network.parameters()))])

    implicit, unrolled = gradients(), gradients(gradient="unrolled", steps=80)
    assert torch.allclose(implicit, unrolled, rtol=1e-6)
    assert float((gradients(steps=2) - unrolled).abs().max()) > 1e-6 * float(unrolled.abs().max())


@pytest.mark.nightly
def test_it_passes_what_is_asked_of_iterations():
    g = generator()
    samples, maps = (torch.randn(3, 2, 4, 4, dtype=torch.complex64, generator=g) for _ in range(2))
    mask = (torch.rand(3, 1, 4, generator=g) < 0.7).float()
    iteration = DenoisedLeastSquares(CoilSampling(), Halved(), weight=0.5, steps=40, tolerance=1e-12)
    data = CoilData(mask.unsqueeze(1) * samples, mask, normalise_maps(maps))
    check_iteration(iteration, data, depth=2, skip=("compile", "export", "second_derivative"))


def test_the_network_has_the_published_numbers_and_is_its_parent_before_training():
    system = find("medical/modl")
    recipe, task = system.recipes["multicoil"], Coils.small()
    network = system.network(recipe, task, 3).eval()
    assert sum(p.numel() for p in network.parameters() if p.requires_grad) == 113_413
    assert not network.untied
    assert {name.split(".")[0] for name in network.tied} == {"weight", "denoiser"}
    data = task.example()
    plain = DenoisedLeastSquares(CoilSampling(), None, weight=0.05)
    with torch.no_grad():
        assert torch.equal(network(data), unroll(plain, 3)(data))
        assert torch.equal(network(data), unroll(recipe.parent(task).eval(), 3)(data))


def test_the_denoiser_is_the_identity_before_training_and_counts_channels():
    net = ComplexResidual(3, 4)
    x = torch.randn(2, 6, 5, dtype=torch.complex64, generator=generator())
    assert torch.equal(net(x), x)
    assert sum(p.numel() for p in net.parameters()) == 9 * (2 * 4 + 4 * 4 + 4 * 2) + 2 * (4 + 4 + 2)
    with pytest.raises(TypeError, match="x"):
        net(x.to(torch.complex128))
    with pytest.raises(ValueError, match="layers"):
        ComplexResidual(1)


def test_its_schedule_grows_from_one_layer_to_all_of_them():
    depths = [stage.depth for stage in find("medical/modl").recipes["multicoil"].schedule(10)]
    assert depths == [1, 5, None]


# Recordings


def recorded(height=40, width=32, coils=4, noise=0.003):
    g = generator(2)
    image = head(40, g)[:, 4:36]
    maps = receive_coils(coils, height, width, g)
    mask = torch.fft.ifftshift(poisson_disc_mask(height, width, 0.5, centre=0.4, seed=0))
    return image, mask, mask * (fft(maps * image) + noise * torch.randn(coils, height, width, dtype=torch.complex64))


def untrained():
    """MoDL before training, with a small weight: the parent."""
    return unroll(DenoisedLeastSquares(CoilSampling(), weight=0.02), 5)


def distance(found, image):
    return float((found.abs() - image).norm() / image.norm())


def test_recordings_are_combined_whichever_pixel_is_the_origin():
    image, mask, samples = recorded()
    moved = mask * fft(torch.fft.ifftshift(torch.fft.ifft2(samples, norm="ortho"), (-2, -1)))
    with torch.no_grad():
        corner = combine(untrained(), None, Measured(samples, mask))
        centre = combine(untrained(), None, Measured(moved, mask, origin="centre"))
    assert distance(corner.image, image) < 0.15
    assert distance(torch.fft.fftshift(centre.image), image) < 0.15
    assert torch.allclose(torch.fft.fftshift(centre.image).abs(), corner.image.abs(), atol=1e-2)
    values = {each.name: each.value for each in corner.conditions}
    assert values["acceleration"] == 2.0
    assert values["coils"] == 4
    assert 0.001 < values["noise"] < 0.05


def test_the_noise_of_a_recording_is_whitened_first():
    image, mask, samples = recorded(noise=0.0)
    covariance = torch.diag(torch.tensor([1e-4, 1e-4, 1e-4, 0.09])).to(torch.complex64)
    noise = covariance.sqrt().diagonal().view(-1, 1, 1) * torch.randn(
        samples.shape, dtype=torch.complex64, generator=generator(1)
    )
    noisy = samples + mask * noise
    with torch.no_grad():
        plain = combine(untrained(), None, Measured(noisy, mask)).image.abs()
        white = combine(untrained(), None, Measured(noisy, mask, covariance)).image.abs()

    def correlation(found):
        return float((found * image).sum() / found.norm() / image.norm())

    assert correlation(plain) < 0.97 < correlation(white)


def test_a_recording_without_calibration_lines_is_refused():
    _, _, samples = recorded()
    sparse = torch.zeros(40, 32)
    sparse[::3, ::3] = 1
    with pytest.raises(ValueError, match="auto-calibration"):
        combine(untrained(), None, Measured(samples * sparse, sparse))


@pytest.mark.parametrize("options", [{"weight": 0.0}, {"steps": 0}, {"gradient": "none"}, {"weight": -1.0}])
def test_wrong_options_are_refused(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        DenoisedLeastSquares(CoilSampling(), **options)
