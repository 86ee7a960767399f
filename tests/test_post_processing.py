"""The network of FBPConvNet, what stands before it, and how a projection is trained."""

import pytest
import torch
from torch import nn

from unrolling import Stage, fit, testing, unroll
from unrolling.algorithms import GradientProjection, LeastSquares, PostProcessing, RelaxedProjection
from unrolling.networks import BatchNormUNet, UNet
from unrolling.operators import FilteredBackProjection, Matrix, ParallelBeam, Radon
from unrolling.tasks import Pairs
from unrolling.tasks.medical import regressed_snr
from unrolling.training import ProjectionLoss, projection_schedule

SIZE, VIEWS = 20, 9
GEOMETRY = ParallelBeam.even(VIEWS, SIZE)


def rand(*shape, seed=0):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def moved(network, seed=0):
    """Weights and statistics that are nobody's default."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, tensor in network.state_dict().items():
            if tensor.is_floating_point():
                noise = torch.randn(tensor.shape, generator=generator)
                tensor.copy_(1 + 0.2 * noise.abs() if name.endswith("running_var") else tensor + 0.1 * noise)
    return network


def parameters(network):
    return sum(p.numel() for p in network.parameters())


def test_the_released_list_of_layers_has_as_many_parameters():
    """34,542,208 in convolutions, 6,913 biases, 13,824 in normalisations; and the smaller one that is shipped."""
    with torch.device("meta"):
        network, small = BatchNormUNet(64, running=True), BatchNormUNet(8)
    convolutions = [m for m in network.modules() if isinstance(m, (nn.Conv2d, nn.ConvTranspose2d))]
    assert sum(m.weight.numel() for m in convolutions) == 34_542_208
    assert sum(m.bias.numel() for m in convolutions) == 6_913
    assert sum(parameters(m) for m in network.modules() if isinstance(m, nn.BatchNorm2d)) == 13_824
    assert parameters(network) == 34_562_945
    assert parameters(small) == 542_385
    assert [m.out_channels for m in network.down.modules() if isinstance(m, nn.Conv2d)] == [
        *[64] * 3, *[128] * 2, *[256] * 2, *[512] * 2, *[1024] * 2,
    ]  # fmt: skip


def test_untrained_it_is_filtered_back_projection_to_the_bit_in_training_too():
    fbp, y = FilteredBackProjection(GEOMETRY), rand(3, *GEOMETRY.shape)
    network = unroll(PostProcessing(fbp, BatchNormUNet(2, 2)), 1, tied="network")
    assert torch.equal(network.eval()(y), fbp(y))
    assert torch.equal(network.train()(y), fbp(y))
    assert not BatchNormUNet(2, 2)(rand(2, 16, 16)).any()


def test_it_adds_its_network_to_what_it_starts_from():
    fbp, unet, y = FilteredBackProjection(GEOMETRY), moved(BatchNormUNet(2, 2)).eval(), rand(2, *GEOMETRY.shape)
    x = fbp(y)
    found = unroll(PostProcessing(fbp, unet), 1, tied="network").eval()(y)
    torch.testing.assert_close(found, x + unet(x))
    assert float((found - x).detach().abs().max()) > 1e-3


def test_an_image_moved_by_what_all_pools_share_gives_an_output_moved_as_much():
    """By 16 pixels for four halvings, away from the borders; by 8 it does not."""
    torch.manual_seed(0)
    network = moved(BatchNormUNet(2, 4, running=True)).double().eval()
    for part in network.modules():
        if isinstance(part, nn.BatchNorm2d):
            nn.init.ones_(part.bias)  # no channel is dead
    image = torch.zeros(1, 288, 288, dtype=torch.float64)
    image[:, 120:168, 120:168] = rand(1, 48, 48).double()
    middle = (slice(None), slice(128, 160), slice(128, 160))

    def difference(pixels):
        return float((network(image.roll(pixels, -1)).roll(-pixels, -1) - network(image))[middle].abs().max())

    with torch.no_grad():
        assert difference(16) < 1e-12
        assert difference(8) > 1e-6


@pytest.mark.parametrize("size", [(8, 8), (9, 13), (1, 3)])
@pytest.mark.parametrize(("inputs", "outputs"), [(1, None), (2, None), (3, 1)])
def test_images_of_any_size_and_channels(size, inputs, outputs):
    network = moved(BatchNormUNet(2, 2, inputs, outputs)).eval()
    x = rand(2, *size) if inputs == 1 else rand(2, inputs, *size)
    assert network(x).shape == ((2, *size) if inputs == 1 else (2, outputs or inputs, *size))


@pytest.mark.parametrize("wrong", [{"width": 0}, {"levels": 0}, {"inputs": 0}, {"outputs": 0}, {"width": 10**6}])
def test_sizes_that_make_no_network_are_refused(wrong):
    with pytest.raises(ValueError, match=f"^{next(iter(wrong))} is"):
        BatchNormUNet(**wrong)


def test_conformance():
    torch.manual_seed(0)
    small = ParallelBeam.even(3, 8)
    parent = PostProcessing(FilteredBackProjection(small), moved(BatchNormUNet(1, 1))).eval().double()
    kept = {"parent", "prepare", "purity", "batch", "empty_batch", "saving", "aliasing", "statistics"}
    data = rand(3, *small.shape).double()
    testing.check_iteration(parent, data, depth=1, skip=testing.CHECKS.keys() - kept)


def test_what_it_starts_from_is_an_operator_whose_data_are_checked():
    with pytest.raises(TypeError, match=r"initial is .*; it is a linear operator"):
        PostProcessing(BatchNormUNet(2, 1), BatchNormUNet(2, 1))
    network = unroll(PostProcessing(FilteredBackProjection(GEOMETRY), BatchNormUNet(2, 1)), 1, tied="network")
    with pytest.raises(ValueError, match=r"^data: FilteredBackProjection needs an input of shape"):
        network(rand(2, VIEWS, GEOMETRY.bins + 1))


def test_a_network_with_statistics_is_trained_and_its_health_told_of_what_is_learned_alone():
    small = ParallelBeam.even(3, 8)
    network = unroll(
        PostProcessing(FilteredBackProjection(small), BatchNormUNet(1, 1, running=True)), 1, tied="network"
    )
    pairs = [(y, x) for y, x in zip(rand(6, *small.shape), rand(6, 8, 8, seed=1), strict=True)]
    history = fit(network, Pairs(pairs[:4], pairs[4:5], pairs[5:]), [Stage(3, batch=2)], quiet=True)
    assert {change.key for change in history.health.changes} == {row.key for row in network.parameter_table()}
    assert any(name.endswith("running_mean") for name in network.learned())


# Its score


def test_the_regressed_snr_is_the_best_of_all_affine_fits_and_hides_scale_and_offset():
    x, estimate = rand(3, 6, 7), rand(3, 6, 7, seed=1) + 0.5 * rand(3, 6, 7)
    found = regressed_snr(estimate, x)
    for n in range(3):
        columns = torch.stack([estimate[n].flatten(), torch.ones(42)], 1).double()
        left = x[n].flatten().double() - columns @ torch.linalg.lstsq(columns, x[n].flatten().double()).solution
        assert float(found[n]) == pytest.approx(20 * float(torch.log10(x[n].double().norm() / left.norm())), abs=1e-6)
    torch.testing.assert_close(regressed_snr(3 - 40 * estimate, x), found, rtol=1e-4, atol=1e-4)
    assert float(regressed_snr(0.5 * x, x).min()) > 100
    flat = regressed_snr(torch.ones_like(x), x)
    torch.testing.assert_close(flat, regressed_snr(x.mean((1, 2), keepdim=True).expand_as(x).contiguous(), x))
    with pytest.raises(ValueError, match="they have one shape"):
        regressed_snr(x[:, 1:], x)


# Training a projection


class Halved(nn.Module):
    """F(x) = a x."""

    def __init__(self):
        super().__init__()
        self.a = nn.Parameter(torch.tensor(0.5))

    def forward(self, x):
        return self.a * x


def network_of(projector, relaxed=True):
    term = LeastSquares(Matrix(torch.eye(3)), initial=2 * Matrix(torch.eye(3)))
    step = GradientProjection(term, projector, step_size=1.0)
    return unroll(RelaxedProjection(step) if relaxed else step, 2, tied="step.projector" if relaxed else "projector")


@pytest.mark.parametrize("relaxed", [True, False])
def test_the_loss_is_what_a_projection_does_to_the_estimate_its_own_output_and_the_truth(relaxed):
    """A+ y = 2 y, F(x) = x / 2: F(A+ y) = y, F'(A+ y) = y is halved, and so is the truth x."""
    network, y, x = network_of(Halved(), relaxed), rand(4, 3), rand(4, 3, seed=1)
    first, second, third = ((e - x).square().mean() for e in (y, y / 2, x / 2))
    for options, terms in [
        ({}, [first]),
        ({"previous": True}, [first, second]),
        ({"truth": True}, [first, third]),
        ({"previous": True, "truth": True}, [first, second, third]),
    ]:
        loss = ProjectionLoss(**options)(None, x, data=y, network=network)
        torch.testing.assert_close(loss, torch.stack(terms).mean())


def test_no_gradient_goes_through_the_output_that_is_projected_again():
    """d/da |F(F'(u)) - x|^2 with F' fixed at a u: 2 (a (a u) - x) . (a u)."""
    network, y, x = network_of(Halved()), rand(4, 3), rand(4, 3, seed=1)
    projector = network.layers[0].step.projector
    both = ProjectionLoss(previous=True)(None, x, data=y, network=network)
    (gradient,) = torch.autograd.grad(both, projector.a)
    u, a = 2 * y, 0.5
    alone = 2 * ((a * u - x) * u).mean(), 2 * ((a * a * u - x) * (a * u)).mean()
    torch.testing.assert_close(gradient, sum(alone) / 2)


def test_three_stages_add_one_kind_of_input_after_the_other():
    stages = projection_schedule(Stage(100, rate=1e-2, batch=2))
    assert [stage.steps for stage in stages] == [60, 30, 10]
    assert [(s.loss.previous, s.loss.truth) for s in stages] == [(False, False), (True, False), (True, True)]
    assert sum(stage.steps for stage in projection_schedule(Stage(7))) == 7
    with pytest.raises(ValueError, match="shares are positive and sum to one"):
        projection_schedule(Stage(100), (0.5, 0.5, 0.5))
    with pytest.raises(ValueError, match="steps is 2; each of the three stages"):
        projection_schedule(Stage(2))


def test_a_trained_projector_brings_slices_closer_and_leaves_true_ones_alone():
    """Slices of two values within a disc, from few views."""
    torch.manual_seed(0)
    small = ParallelBeam.even(4, 12)
    radon, fbp = Radon(small), FilteredBackProjection(small)
    grid = torch.arange(12) - 5.5
    inside = (grid**2 + grid.unsqueeze(1) ** 2 < 20).float()
    slices = [inside * (0.3 + 0.7 * (grid > shift)) for shift in torch.linspace(-3, 3, 16)]
    pairs = [(radon(x.unsqueeze(0))[0], x) for x in slices]
    step = GradientProjection(LeastSquares(radon, initial=fbp), UNet(6, 1), step_size=1 / radon.norm(1e-2) ** 2)
    network = unroll(RelaxedProjection(step, contraction=0.8), 2, tied="step.projector")
    task = Pairs(pairs[::2], pairs[1::4], pairs[3::4], name="discs")
    fit(network, task, projection_schedule(Stage(40, rate=1e-2, batch=8)), quiet=True, validations=0)
    projector, truth = network.layers[0].step.projector, torch.stack(slices[3::4])
    with torch.no_grad():
        starts = fbp(radon(truth))
        found, kept = projector(starts), projector(truth)
    errors = [float((each - truth).square().mean()) for each in (starts, found, kept)]
    assert errors[1] < errors[0]
    assert errors[2] < 0.5 * errors[1]


def test_a_network_without_a_projector_is_told():
    network = unroll(PostProcessing(FilteredBackProjection(GEOMETRY), BatchNormUNet(2, 1)), 1, tied="network")
    with pytest.raises(ValueError, match=r"trains the projector of a GradientProjection; .*PostProcessing has none"):
        ProjectionLoss()(None, rand(1, SIZE, SIZE), data=rand(1, *GEOMETRY.shape), network=network)


def test_a_homogeneous_one_knows_no_brightness():
    """N(c y) = c N(y) for c > 0, whatever the network is; without, it is not so; and nothing stays nothing."""
    fbp, unet, y = FilteredBackProjection(GEOMETRY), moved(BatchNormUNet(2, 2)).eval(), rand(2, *GEOMETRY.shape)
    network = PostProcessing(fbp, unet, homogeneous=True)
    with torch.no_grad():
        for factor in (1e-12, 5.0, 1e12):
            x = fbp(factor * y)
            torch.testing.assert_close(network(x, x) / factor, network(fbp(y), fbp(y)))
        plain = PostProcessing(fbp, unet)
        assert not torch.allclose(plain(fbp(5 * y), fbp(5 * y)), 5 * plain(fbp(y), fbp(y)))
        assert not network(torch.zeros(1, SIZE, SIZE), torch.zeros(1, SIZE, SIZE)).any()


def test_an_image_has_its_output_whatever_else_is_in_the_batch():
    """In training and in evaluation the same; with running statistics it is not."""
    x, found = rand(3, 16, 16), {}
    for running in (False, True):
        network = moved(BatchNormUNet(2, 2, running=running))
        with torch.no_grad():
            found[running] = [network.train(mode)(x[:count])[:1] for mode in (False, True) for count in (1, 3)]
    alone = found[False][0]
    for other in found[False][1:]:
        torch.testing.assert_close(other, alone)
    assert not torch.allclose(found[True][2], found[True][3])
    assert not torch.allclose(found[True][0], found[True][2])
