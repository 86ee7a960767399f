"""Generic networks refuse data that do not fit, by the argument's name, before any work; one guard for all of them."""

import inspect

import pytest
import torch
from torch import nn

from unrolling import networks
from unrolling.networks import (
    MLP,
    PNN,
    SRCNN,
    BatchNormUNet,
    ChannelNorm,
    ComplexConvolution,
    ComplexResidual,
    ComplexVolumeResNet,
    ConvBlock,
    ConvolutionalShrinkage,
    DnCNN,
    EncoderDecoder,
    FFDNet,
    FullyConvolutional,
    GraphConvolutions,
    InstanceUNet,
    Joint,
    LipschitzBatchNorm,
    LipschitzDnCNN,
    LocalHead,
    MaxMin,
    MultiscaleResidual,
    NormalisedUNet,
    PixelDetector,
    PReLU,
    PReNet,
    RealSpectralNorm,
    RecurrentEstimator,
    ResidualBlocks,
    ResidualCNN,
    RestorationUnit,
    StoppingPolicy,
    TemporalConvolutions,
    TransformShrinkage,
    UNet,
)

# The network, its argument, and the shape of its data.
CASES = {
    "MLP": (MLP(6, 4, 3), "input", (2, 6)),
    "DnCNN": (DnCNN(3, 4), "y", (2, 8, 9)),
    "LipschitzDnCNN": (LipschitzDnCNN(3, 4, normalise=True), "y", (2, 8, 9)),
    "DnCNN of colours": (DnCNN(3, 4, 3), "y", (2, 3, 8, 9)),
    "UNet": (UNet(4, 1), "y", (2, 8, 9)),
    "UNet of channels": (UNet(4, 1, 3), "y", (2, 3, 8, 9)),
    "BatchNormUNet": (BatchNormUNet(4, 1), "x", (2, 8, 9)),
    "BatchNormUNet of channels": (BatchNormUNet(4, 1, 3), "x", (2, 3, 8, 9)),
    "FullyConvolutional": (FullyConvolutional(4, 4), "x", (2, 3, 8, 9)),
    "PixelDetector": (PixelDetector(4), "image", (2, 8, 9)),
    "ComplexResidual": (ComplexResidual(2, 4), "x", (2, 8, 9)),
    "ConvBlock": (ConvBlock(2, 4), "x", (2, 2, 8, 9)),
    "EncoderDecoder": (EncoderDecoder(2), "y", (2, 8, 9)),
    "ComplexConvolution": (ComplexConvolution(1, 2), "x", (2, 2, 5, 6, 4)),
    "ComplexVolumeResNet": (ComplexVolumeResNet(2, 2), "data", (2, 5, 6, 4)),
    "InstanceUNet": (InstanceUNet(4, 1), "x", (2, 2, 8, 8)),
    "NormalisedUNet": (NormalisedUNet(4, 1), "x", (2, 8, 9)),
    "PNN": (PNN(3, (4, 2)), "x", (2, 4, 8, 9)),
    "PReNet": (PReNet(2, 4, 1), "photo", (2, 3, 8, 9)),
    "ResidualBlocks": (ResidualBlocks(4, 1), "x", (2, 4, 8, 9)),
    "ResidualCNN": (ResidualCNN(2, 4), "z", (2, 8, 9)),
    "ResidualCNN of images": (ResidualCNN(2, 4, 3), "z", (2, 3, 8, 9)),
    "RestorationUnit": (RestorationUnit(4, 1), "x", (2, 8, 9)),
    "SRCNN": (SRCNN(4, 4, (3, 1, 3)), "y", (2, 8, 9)),
    "TransformShrinkage": (TransformShrinkage(4), "z", (2, 8, 9)),
    "ConvolutionalShrinkage": (ConvolutionalShrinkage(4), "u", (2, 8, 9)),
    "ChannelNorm": (ChannelNorm(3), "x", (2, 3, 9)),
    "TemporalConvolutions": (TemporalConvolutions(3, 2, width=4, blocks=2), "input", (2, 3, 9)),
    "RecurrentEstimator": (RecurrentEstimator(3, 2, 4), "data", (2, 9, 3)),
    "Joint": (Joint(first=MLP(6, 4, 6), second=MLP(6, 4, 3)), "input", (2, 6)),
}
COMPLEX = {
    "ComplexResidual",
    "ComplexVolumeResNet",
    "ConvolutionalShrinkage",
    "NormalisedUNet",
    "ResidualCNN",
    "ResidualCNN of images",
}


def data(name):
    network, argument, shape = CASES[name]
    x = torch.rand(shape, generator=torch.Generator().manual_seed(0))
    return (
        network.eval(),
        argument,
        torch.complex(x, x) if isinstance(network, (ComplexResidual, ComplexVolumeResNet)) else x,
    )


def test_the_cases_are_all_networks():
    found = {getattr(networks, name) for name in networks.__all__} - {
        PReLU,
        StoppingPolicy,
        RealSpectralNorm,
        LipschitzBatchNorm,
        FFDNet,
        GraphConvolutions,
        LocalHead,
        MultiscaleResidual,
        MaxMin,
    }  # a function of numbers; those that take their memory, a level, a graph or a picture besides
    assert {item for item in found if inspect.isclass(item) and issubclass(item, nn.Module)} == {
        type(network) for network, _, _ in CASES.values()
    }


@pytest.mark.parametrize("name", CASES)
def test_what_fits_is_taken_and_an_empty_batch_too(name):
    network, _, x = data(name)
    for given in (x, x[:0]):
        found = network(given)
        for estimate in found.values() if isinstance(found, dict) else (found,):
            assert len(estimate) == len(given)
            assert bool(estimate.isfinite().all())


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_another_precision_is_refused_with_the_way_out(name, dtype):
    network, argument, x = data(name)
    with pytest.raises(
        TypeError, match=rf"^{argument} is {dtype} and the numbers of .*use {argument}\.to\(torch\.float32"
    ):
        network(x.real.to(dtype))


@pytest.mark.parametrize("name", CASES)
def test_what_is_no_tensor_of_such_numbers_is_refused(name):
    network, argument, x = data(name)
    for wrong in (x.tolist(), x.numpy(), None, 3.0):
        with pytest.raises(TypeError, match=rf"^{argument} is "):
            network(wrong)
    with pytest.raises(TypeError, match=rf"^{argument} is torch.int64; .* use {argument}\.float\(\)"):
        network(x.real.long())
    if name not in COMPLEX:
        with pytest.raises(TypeError, match=rf"^{argument} is torch.complex64; .* works on real tensors"):
            network(x.to(torch.complex64))


@pytest.mark.parametrize("name", CASES)
def test_another_shape_is_refused_and_nothing_is_broadcast(name):
    network, argument, x = data(name)
    wrong = [torch.cat([x, x], 1)] if x.shape[1] in (3, 6) else []
    wrong += [] if name in ("MLP", "Joint") else [x[0], x.unsqueeze(1), x.unsqueeze(-1)]
    wrong += [x[..., :1]] if name in ("MLP", "Joint") else []
    for given in wrong:
        with pytest.raises(ValueError, match=rf"^{argument}: .* needs an input of shape \(batch, .*\), and got"):
            network(given)
