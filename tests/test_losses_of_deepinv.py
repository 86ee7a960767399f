"""Losses without truth against those of deepinv on the same input, with the same random numbers; ``pytest -m bench``
where deepinv is installed (dependency group ``benchmark``).
"""

import importlib.util
from functools import partial

import pytest
import torch
from iterations import gaussian
from torch import nn

from unrolling.algorithms import LeastSquares, SampledFourier
from unrolling.operators import KSpace, Matrix
from unrolling.operators.fourier import fft, ifft
from unrolling.tasks.draws import Draws
from unrolling.tasks.measurements import (
    Gaussian,
    Measurement,
    Poisson,
    SampledMeasurement,
    denoising_measurement,
)
from unrolling.tasks.transformations import Transformations
from unrolling.training.without_truth import (
    PAIRS,
    SURE,
    Consistency,
    Equivariance,
    Neighbours,
    Recorrupted,
    Splitting,
    pixels_of_blocks,
)

pytestmark = [
    pytest.mark.bench,
    pytest.mark.skipif(importlib.util.find_spec("deepinv") is None, reason="deepinv is not installed"),
]
SIZE, SIGMA, GAIN = 8, 0.1, 0.05
TOLERANCE = {"rtol": 1e-5, "atol": 1e-7}


@pytest.fixture(scope="module")
def deepinv():
    from benchmarks.peers_unfolded import deepinv

    return deepinv()


class Given(Draws):
    """Random numbers that another library drew."""

    def __init__(self, values):
        super().__init__([torch.Generator()])
        self.values = values

    def normal(self, like):
        return self.values.reshape(like.shape)

    signs = normal

    def binomial(self, counts, chance):
        return self.values.reshape(counts.shape)


class Network(nn.Module):
    """Images (batch, 1, height, width), as deepinv calls it, or without the 1."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(1)
        self.filters = nn.Sequential(nn.Conv2d(1, 3, 3, padding=1), nn.Tanh(), nn.Conv2d(3, 1, 3, padding=1))

    def forward(self, y, physics=None, **kwargs):
        y = y if y.ndim == 4 else y.unsqueeze(1)
        found = 0.8 * y + 0.3 * self.filters(y)
        return found if physics is not None else found.squeeze(1)


def image(seed=0):
    return (0.5 + 0.2 * gaussian(1, SIZE, SIZE, seed=seed).float()).clamp(0, 1)


def gradient(value, network):
    learned = [p for p in network.parameters() if p.requires_grad]
    return torch.cat([g.flatten() for g in torch.autograd.grad(value, learned)])


def agree(ours, theirs, network):
    """Values and gradients."""
    theirs = theirs.mean()
    torch.testing.assert_close(ours, theirs, **TOLERANCE)
    torch.testing.assert_close(gradient(ours, network), gradient(theirs, network), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("kind", ["Gaussian", "Poisson"])
def test_sure(deepinv, kind):
    y, network = image(), Network()
    physics = deepinv.physics.Denoising()
    rng = torch.Generator().manual_seed(3)
    if kind == "Gaussian":
        noise, step = Gaussian(SIGMA), 0.01
        theirs = deepinv.loss.SureGaussianLoss(SIGMA, tau=step, rng=rng)
        probe = torch.empty(1, 1, SIZE, SIZE).normal_(generator=torch.Generator().manual_seed(3))
    else:
        noise, step = Poisson(GAIN), 0.001
        theirs = deepinv.loss.SurePoissonLoss(GAIN, tau=step, rng=rng)
        drawn = torch.empty(1, 1, SIZE, SIZE).uniform_(generator=torch.Generator().manual_seed(3))
        probe = 2.0 * (drawn > 0.5) - 1
    value = theirs(y=y[:, None], x_net=network(y[:, None], physics), physics=physics, model=network)
    relative = float(step / noise.deviation(y).flatten()[0])
    more = {"data": y, "run": network, "measurement": denoising_measurement(noise), "draws": Given(probe)}
    ours = SURE(relative)(network(y), None, **more)
    torch.testing.assert_close(ours, value.mean(), rtol=1e-5, atol=1e-5)  # differences of single numbers over the step
    torch.testing.assert_close(gradient(ours, network), gradient(value.mean(), network), rtol=1e-3, atol=1e-4)


def test_sure_behind_an_operator_in_double_precision(deepinv):
    matrix = gaussian(5, 7, seed=2)
    x, weight = gaussian(2, 7, seed=3), gaussian(7, 5, seed=4)
    physics = deepinv.physics.LinearPhysics(A=lambda x, **_: x @ matrix.T, A_adjoint=lambda y, **_: y @ matrix)
    y = x @ matrix.T
    model = lambda y, physics=None: torch.tanh(y @ weight.T)  # noqa: E731
    value = deepinv.loss.SureGaussianLoss(SIGMA, tau=0.01, rng=torch.Generator().manual_seed(3))(
        y=y, x_net=model(y), physics=physics, model=model
    )
    probe = torch.empty_like(y).normal_(generator=torch.Generator().manual_seed(3))
    measurement = Measurement(LeastSquares(Matrix(matrix)), Gaussian(SIGMA))
    ours = SURE(0.01 / SIGMA)(model(y), None, data=y, run=model, measurement=measurement, draws=Given(probe))
    torch.testing.assert_close(ours, value.mean(), rtol=1e-9, atol=1e-9)


def test_recorrupted(deepinv):
    y, network = image(), Network()
    for noise, model in (
        (Gaussian(SIGMA), deepinv.physics.GaussianNoise(SIGMA)),
        (Poisson(GAIN), deepinv.physics.PoissonNoise(GAIN)),
    ):
        counts = GAIN * (y / GAIN).round()
        data = counts if isinstance(noise, Poisson) else y
        physics = deepinv.physics.Denoising(model)
        theirs = deepinv.loss.R2RLoss(noise_model=model, alpha=0.15)
        adapted = theirs.adapt_model(network).train()
        torch.manual_seed(5)
        estimate = adapted(data[:, None], physics, update_parameters=True)
        value = theirs(x_net=estimate, y=data[:, None], physics=physics, model=adapted)
        first = adapted.get_corruption()[:, 0]
        drawn = (
            ((first - data) / SIGMA / (0.15 / 0.85) ** 0.5)
            if isinstance(noise, Gaussian)
            else ((data - 0.85 * first) / GAIN)
        )
        measurement = denoising_measurement(noise)
        seen, kept = Recorrupted(0.15).show(data, measurement, Given(drawn))
        agree(Recorrupted(0.15)(network(seen), None, measurement=measurement, kept=kept), value, network)


def test_neighbours(deepinv):
    y, network = image(), Network()
    theirs = deepinv.loss.Neighbor2Neighbor(gamma=2.0)
    physics = deepinv.physics.Denoising()
    torch.manual_seed(7)
    value = theirs(y=y[:, None], physics=physics, model=network)
    torch.manual_seed(7)
    which = torch.empty(SIZE * SIZE // 4, dtype=torch.int64)
    torch.randint(low=0, high=8, size=(SIZE * SIZE // 4,), out=which)
    pairs = torch.tensor(PAIRS)[which].reshape(1, SIZE // 2, SIZE // 2, 2)
    kept = (pairs[..., 0], pairs[..., 1])
    more = {"data": y, "run": network, "measurement": denoising_measurement(Gaussian(SIGMA)), "kept": kept}
    agree(Neighbours(2.0)(network(pixels_of_blocks(y, kept[0])), None, **more), value, network)


class Reversal(Transformations):
    """Images upside down."""

    def draw(self, x, draws):
        return lambda y: y.flip(-2)


def test_consistency_and_equivariance(deepinv):
    network, x = Network(), image()
    mask = (torch.rand(1, SIZE, SIZE, generator=torch.Generator().manual_seed(2)) < 0.5).float()
    physics = deepinv.physics.Inpainting((1, SIZE, SIZE), mask=mask)
    from unrolling.algorithms.images.inpainting import KnownPixels, Masked

    data = Masked(x * mask, mask)
    measurement = SampledMeasurement(KnownPixels(), fourier=False)
    run = lambda given: network(given.image)  # noqa: E731
    estimate = network(data.image[:, None], physics)

    class Transform(deepinv.transform.Transform):
        def _get_params(self, x):
            return {}

        def _transform(self, x, **params):
            return x.flip(-2)

    theirs = deepinv.loss.EILoss(Transform(), apply_noise=False)
    value = theirs(x_net=estimate, physics=physics, model=network)
    ours = Equivariance(Reversal(), noise=False)(
        run(data), None, data=data, run=run, measurement=measurement, draws=Given(x)
    )
    agree(ours, value, network)
    # theirs counts every pixel of the mean, ours those that are known
    value = deepinv.loss.MCLoss()(y=data.image[:, None], x_net=network(data.image[:, None], physics), physics=physics)
    agree(Consistency()(run(data), None, data, measurement), value / mask.mean(), network)


def test_splitting_of_k_space(deepinv):
    network = Network()
    x = torch.complex(image(), image(1))
    mask = (torch.rand(1, SIZE, SIZE, generator=torch.Generator().manual_seed(2)) < 0.6).float()
    data = KSpace(mask * fft(x), mask)
    measurement = SampledMeasurement(SampledFourier(), fourier=False)
    seen, kept = Splitting(0.6).show(data, measurement, Draws([torch.Generator().manual_seed(1)]))

    def centred(image):
        return torch.fft.fftshift(torch.view_as_real(image).movedim(-1, 1), (-2, -1))

    physics = deepinv.physics.MRI(torch.fft.fftshift(mask), img_size=(2, SIZE, SIZE))

    def model(given):
        image = ifft(given.samples)
        return torch.complex(network(image.real), network(image.imag))

    theirs = deepinv.loss.SplittingLoss()
    first = torch.fft.fftshift(seen.mask, (-2, -1))[:, None].expand(1, 2, SIZE, SIZE)

    class Masks:
        get_masks = partial(lambda mask: [mask], first)

    # their transform is centred: the image and its k-space have their origins in the middle
    value = theirs(x_net=centred(model(seen)), y=centred(data.samples), physics=physics, model=Masks())
    agree(Splitting(0.6)(model(seen), None, measurement, kept), value, network)


# Adapters


def masked():
    """Data with missing pixels, their physics by data and data by physics, and how they come about."""
    from unrolling.algorithms.images.inpainting import KnownPixels, Masked

    mask = (torch.rand(1, SIZE, SIZE, generator=torch.Generator().manual_seed(2)) < 0.6).float()
    clean = torch.stack([image(seed) for seed in range(4)]).squeeze(1)
    noisy = mask * (clean + SIGMA * gaussian(4, SIZE, SIZE, seed=9).float())
    data = Masked(noisy, mask.expand(4, -1, -1).contiguous())
    measurement = SampledMeasurement(KnownPixels(), Gaussian(SIGMA), fourier=False)
    return data, clean, measurement, lambda y, physics: Masked(y, physics.mask.expand(len(y), -1, -1, -1)[:, 0])


def unrolled():
    from unrolling import unroll
    from unrolling.algorithms import ProximalGradient
    from unrolling.algorithms.images.inpainting import KnownPixels
    from unrolling.prox import DenoiserProx

    step = ProximalGradient(KnownPixels(), DenoiserProx(Network(), sigma=0.1), weight=0.1)
    return unroll(step, 2, tied="prox")


def test_their_losses_train_our_networks(deepinv, tmp_path):
    """Values and gradients are those of deepinv called directly, a step is repeated to the bit, and training works."""
    from unrolling import Stage, fit
    from unrolling.operators import to_deepinv
    from unrolling.tasks import PSNR, Pairs
    from unrolling.training import from_deepinv_loss
    from unrolling.training.losses import compute, describe

    data, clean, _, back = masked()
    network = unrolled()

    def told(given):
        return given.image, deepinv.physics.Inpainting(
            (1, SIZE, SIZE), mask=given.mask.unsqueeze(1), noise_model=deepinv.physics.GaussianNoise(SIGMA)
        )

    y, physics = told(data)
    y = y.unsqueeze(1)
    model = to_deepinv(network, data=back, channel=True)
    losses = [
        deepinv.loss.SupLoss(),
        deepinv.loss.MCLoss(),
        deepinv.loss.SureGaussianLoss(SIGMA),
        deepinv.loss.EILoss(deepinv.transform.Rotate(multiples=90)),
        deepinv.loss.SplittingLoss(split_ratio=0.6),
        deepinv.loss.R2RLoss(noise_model=deepinv.physics.GaussianNoise(SIGMA)),
    ]
    for loss in losses:
        ours = from_deepinv_loss(loss, told, data=back, channel=True)
        assert ours.takes_estimate == (type(loss).__name__ not in ("SplittingLoss", "R2RLoss"))
        estimate = network(data) if ours.takes_estimate else None

        def value(loss=ours, estimate=estimate):
            draws = Draws([torch.Generator().manual_seed(4)])
            return compute(loss, estimate, clean, data=data, run=network, draws=draws)

        state = torch.get_rng_state()
        found = value()
        assert torch.equal(torch.get_rng_state(), state)  # nobody else's random numbers move
        seed = int(Draws([torch.Generator().manual_seed(4)]).integers(2**31 - 1, (1,)))
        adapted = loss.adapt_model(model)
        if isinstance(loss, deepinv.loss.SplittingLoss):
            shape = {"img_size": (1, SIZE, SIZE), "split_ratio": 0.6, "rng": torch.Generator().manual_seed(seed)}
            adapted.mask_generator = deepinv.physics.generator.BernoulliSplittingMaskGenerator(**shape)
            adapted.mask_generator.rng.manual_seed(seed)
        torch.manual_seed(seed)
        if adapted is model:
            x_net = model(y, physics)
        else:
            x_net = adapted.train()(y, physics, update_parameters=True)
        wanted = loss(x_net=x_net, x=clean.unsqueeze(1), y=y, physics=physics, model=adapted).mean()
        torch.testing.assert_close(found, wanted)
        torch.testing.assert_close(gradient(found, network), gradient(wanted, network), rtol=1e-4, atol=1e-6)
        assert torch.equal(value(), found)
    words = describe(from_deepinv_loss(losses[2], told))
    assert words.startswith("deepinv.SureGaussianLoss(sigma2=0.01")

    pairs = [(type(data)(*(field[i : i + 1] for field in data)), clean[i : i + 1]) for i in range(4)]
    pairs = [(type(data)(*(field[0] for field in d)), x[0]) for d, x in pairs]
    task = Pairs(pairs, pairs[:2], metric=PSNR)
    before = float((network(data) - clean).detach().square().mean())
    loss = from_deepinv_loss(losses[4], told, data=back, channel=True)
    fit(network, task, [Stage(150, rate=1e-2, batch=4, loss=loss, depth=2)], tmp_path / "run", quiet=True)
    assert float((network(data) - clean).detach().square().mean()) < 0.7 * before


class Theirs(nn.Module):
    """A model as deepinv calls it."""

    def __init__(self):
        super().__init__()
        self.network = Network()

    def forward(self, y, physics=None, **_):
        return self.network(y, physics=True)


def test_our_losses_as_theirs(deepinv):
    """Value and gradient with their model called directly; what is shown in training alone."""
    from unrolling.training import MSE, to_deepinv_loss
    from unrolling.training.losses import Energy

    data, clean, measurement, back = masked()
    physics = deepinv.physics.Inpainting((1, SIZE, SIZE), mask=data.mask.unsqueeze(1))
    model, y = Theirs(), data.image.unsqueeze(1)
    run = lambda given: model(given.image.unsqueeze(1)).squeeze(1)  # noqa: E731
    told = lambda given: (given.image, deepinv.physics.Inpainting((1, SIZE, SIZE), mask=given.mask[:, None]))  # noqa: E731
    seen_by = []
    hook = model.register_forward_hook(lambda module, args, out: seen_by.append(args))
    for loss in (MSE(), Consistency(), SURE(), Equivariance(Reversal()), Splitting(0.6), Recorrupted(0.15)):
        theirs = to_deepinv_loss(loss, measurement, data=back, physics=told, channel=True)
        assert isinstance(theirs, deepinv.loss.Loss)
        shows = hasattr(loss, "show")
        adapted = theirs.adapt_model(model)
        assert (adapted is model) == (not shows)
        adapted.eval()
        torch.testing.assert_close(adapted(y, physics), model(y, physics))
        adapted.train()
        torch.manual_seed(3)
        x_net = adapted(y, physics, **({"update_parameters": True} if shows else {}))
        found = theirs(x_net=x_net, x=clean.unsqueeze(1), y=y, physics=physics, model=adapted)
        torch.manual_seed(3)
        drawn = lambda: Draws([torch.Generator().manual_seed(int(torch.randint(2**31 - 1, ())))])  # noqa: E731
        given, kept = loss.show(data, measurement, drawn()) if shows else (data, None)
        more = {"data": data, "run": run, "measurement": measurement, "kept": kept}
        from unrolling.training.losses import asked

        if "draws" in asked(loss):
            more["draws"] = drawn()
        wanted = loss(run(given), clean, **{name: more[name] for name in asked(loss)})
        torch.testing.assert_close(found, wanted)
        torch.testing.assert_close(gradient(found, model), gradient(wanted, model))
    assert any(float(args[1].mask.mean()) < float(data.mask.mean()) for args in seen_by if len(args) > 1)  # split
    hook.remove()
    with pytest.raises(TypeError, match="asks for network, which a model of deepinv does not have"):
        to_deepinv_loss(Energy(), measurement)
    with pytest.raises(TypeError, match="measurement is None, and SURE"):
        to_deepinv_loss(SURE())
    with pytest.raises(ValueError, match="have no noise of a known strength"):
        to_deepinv_loss(SURE(), SampledMeasurement(measurement.term, fourier=False))


def test_what_is_no_loss_of_deepinv_is_refused(deepinv):
    from unrolling.training import MSE, from_deepinv_loss
    from unrolling.training.losses import compute

    with pytest.raises(TypeError, match=r"a deepinv.loss.Loss is wanted"):
        from_deepinv_loss(MSE(), deepinv.physics.Denoising())
    loss = from_deepinv_loss(deepinv.loss.MCLoss(), deepinv.physics.Denoising())
    data, clean, *_ = masked()
    draws = Draws([torch.Generator().manual_seed(4)])
    with pytest.raises(TypeError, match="give physics=lambda data"):
        compute(loss, clean, clean, data=data, run=None, draws=draws)
