"""Generic networks: those that systems are compared with, and the learned parts inside hybrids."""

from typing import TYPE_CHECKING

from unrolling._lazy import lazy

# Written by `python -m tools.public_names`.
if TYPE_CHECKING:
    from unrolling.networks.batch_norm_unet import BatchNormUNet
    from unrolling.networks.channels import from_channels, to_channels
    from unrolling.networks.conv_block import ConvBlock, PReLU
    from unrolling.networks.detector import PixelDetector
    from unrolling.networks.dncnn import DnCNN, dncnn_channels
    from unrolling.networks.encoder_decoder import EncoderDecoder, normalised
    from unrolling.networks.ffdnet import FFDNet
    from unrolling.networks.fully_convolutional import FullyConvolutional, LocalHead
    from unrolling.networks.graph_convolutions import GraphConvolutions, width_of
    from unrolling.networks.joint import Joint
    from unrolling.networks.mlp import MLP, hidden_width
    from unrolling.networks.multiscale import MultiscaleResidual
    from unrolling.networks.normalised_unet import InstanceUNet, NormalisedUNet
    from unrolling.networks.pnn import PNN, pnn_width
    from unrolling.networks.recurrent import RecurrentEstimator, recurrent_units
    from unrolling.networks.recurrent_residual import PReNet, prenet_channels
    from unrolling.networks.residual import ComplexResidual
    from unrolling.networks.residual_blocks import ResidualBlocks
    from unrolling.networks.residual_cnn import ResidualCNN
    from unrolling.networks.restoration_unit import RestorationUnit, StoppingPolicy
    from unrolling.networks.shrinkage import ConvolutionalShrinkage
    from unrolling.networks.spectral_normalisation import (
        LipschitzBatchNorm,
        LipschitzDnCNN,
        MaxMin,
        RealSpectralNorm,
        lipschitz_bound,
        normalise_convolutions,
    )
    from unrolling.networks.srcnn import SRCNN, srcnn_channels
    from unrolling.networks.temporal import ChannelNorm, TemporalConvolutions
    from unrolling.networks.transform_shrinkage import TransformShrinkage
    from unrolling.networks.unet import UNet, unet_width
    from unrolling.networks.volume_resnet import ComplexConvolution, ComplexVolumeResNet

__getattr__, __dir__ = lazy(
    __name__,
    {
        ".batch_norm_unet": ("BatchNormUNet"),
        ".channels": ("from_channels to_channels"),
        ".conv_block": ("ConvBlock PReLU"),
        ".detector": ("PixelDetector"),
        ".dncnn": ("DnCNN dncnn_channels"),
        ".encoder_decoder": ("EncoderDecoder normalised"),
        ".ffdnet": ("FFDNet"),
        ".fully_convolutional": ("FullyConvolutional LocalHead"),
        ".graph_convolutions": ("GraphConvolutions width_of"),
        ".joint": ("Joint"),
        ".mlp": ("MLP hidden_width"),
        ".multiscale": ("MultiscaleResidual"),
        ".normalised_unet": ("InstanceUNet NormalisedUNet"),
        ".pnn": ("PNN pnn_width"),
        ".recurrent": ("RecurrentEstimator recurrent_units"),
        ".recurrent_residual": ("PReNet prenet_channels"),
        ".residual": ("ComplexResidual"),
        ".residual_blocks": ("ResidualBlocks"),
        ".residual_cnn": ("ResidualCNN"),
        ".restoration_unit": ("RestorationUnit StoppingPolicy"),
        ".shrinkage": ("ConvolutionalShrinkage"),
        ".spectral_normalisation": (
            "LipschitzBatchNorm LipschitzDnCNN MaxMin RealSpectralNorm lipschitz_bound normalise_convolutions"
        ),
        ".srcnn": ("SRCNN srcnn_channels"),
        ".temporal": ("ChannelNorm TemporalConvolutions"),
        ".transform_shrinkage": ("TransformShrinkage"),
        ".unet": ("UNet unet_width"),
        ".volume_resnet": ("ComplexConvolution ComplexVolumeResNet"),
    },
)
# fmt: off
__all__ = [
    "BatchNormUNet", "ChannelNorm", "ComplexConvolution", "ComplexResidual", "ComplexVolumeResNet",
    "ConvBlock", "ConvolutionalShrinkage", "DnCNN", "EncoderDecoder", "FFDNet", "FullyConvolutional",
    "GraphConvolutions", "InstanceUNet", "Joint", "LipschitzBatchNorm", "LipschitzDnCNN", "LocalHead", "MLP", "MaxMin",
    "MultiscaleResidual", "NormalisedUNet", "PNN", "PReLU", "PReNet", "PixelDetector", "RealSpectralNorm",
    "RecurrentEstimator", "ResidualBlocks", "ResidualCNN", "RestorationUnit", "SRCNN", "StoppingPolicy",
    "TemporalConvolutions", "TransformShrinkage", "UNet", "dncnn_channels", "from_channels", "hidden_width",
    "lipschitz_bound", "normalise_convolutions", "normalised", "pnn_width", "prenet_channels",
    "recurrent_units", "srcnn_channels", "to_channels", "unet_width", "width_of",
]
# fmt: on
# End of what is written.
