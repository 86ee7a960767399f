"""Ordinary arguments of public classes that no system of the catalogue is made of."""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
from torch import nn

from tools.fuzz.recorded import Call, recorded

IMAGES = (3, 8, 8)


def _rand(*shape: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0), dtype=dtype)


@cache
def examples() -> dict[type, list[Call]]:
    """Arguments by class, the catalogue's among them, with data to run an iteration on or apply an operator to."""
    found = {kind: list(calls) for kind, calls in recorded().items()}
    for made in (_operators(), _proxes(), _images(), _detection(), _sparse(), _sound(), _networks()):
        for kind, (arguments, data) in made.items():
            found.setdefault(kind, []).append(Call(arguments, data))
    return found


def _operators() -> dict[type, tuple[dict[str, Any], Any]]:
    import unrolling.operators as ops

    image, spectrum = _rand(*IMAGES), _rand(*IMAGES, dtype=torch.complex64)
    mask, maps = (_rand(8, 8) > 0).float(), _rand(2, 8, 8, dtype=torch.complex64)
    return {
        ops.Matrix: ({"matrix": _rand(5, 8)}, _rand(3, 8)),
        ops.Adjoint: ({"operator": ops.Matrix(_rand(5, 8))}, _rand(3, 5)),
        ops.Composition: ({"outer": ops.Matrix(_rand(5, 8)), "inner": ops.Matrix(_rand(8, 3))}, _rand(3, 3)),
        ops.Sum: ({"left": ops.Matrix(_rand(5, 8)), "right": ops.Matrix(_rand(5, 8))}, _rand(3, 8)),
        ops.Scaled: ({"factor": 2.0, "operator": ops.Matrix(_rand(5, 8)), "inverse": False}, _rand(3, 8)),
        ops.CentredFourier: ({"mask": mask}, spectrum),
        ops.CircularConvolution: ({"kernel": _rand(3, 3), "shape": (8, 8)}, image),
        ops.CodedDiffraction: ({"height": 8, "width": 8, "m": 20, "seed": 0}, spectrum),
        ops.DCT: ({"block": 4}, image),
        ops.Decimation: ({"kernel": _rand(3, 3), "factor": 2}, image),
        ops.FilteredBackProjection: ({"geometry": ops.ParallelBeam.even(3, 8), "window": "hann"}, _rand(3, 3, 13)),
        ops.DirectionalDifferences: ({"step": (2, -1)}, image),
        ops.FiniteDifferences: ({"boundary": "neumann"}, image),
        ops.MaskedFourier: ({"mask": mask, "image_origin": "corner", "frequency_origin": "corner"}, spectrum),
        ops.MultiCoilFourier: ({"mask": mask, "maps": maps, "image_origin": "corner"}, spectrum),
        ops.PerBlockSensing: ({"matrices": _rand(4, 4, 2, 4)}, image),
        ops.PatchDictionary: ({"atoms": _rand(3, 4, 4), "stride": 2}, _rand(3, 5, 3, 3)),
        ops.Radon: ({"geometry": ops.FanBeam.even(3, 8)}, image),
        ops.RealOutputs: ({"operator": ops.STFT(8, 2, length=24)}, _rand(3, 24)),
        ops.STFT: ({"size": 8, "hop": 2, "length": 24}, _rand(3, 24)),
        ops.ScrambledHadamard: ({"height": 8, "width": 8, "m": 20, "seed": 0}, image),
        ops.ValidConvolution: ({"kernel": _rand(3, 3), "shape": (8, 8)}, image),
        ops.CircularFilterBank: ({"filters": _rand(3, 3, 3)}, image),
        ops.FilterBank: ({"filters": _rand(3, 3, 3), "boundary": "symmetric"}, image),
        ops.BicubicReduction: ({"factor": 2}, image),
        ops.BlockSensing: ({"matrix": _rand(2, 4)}, image),
        ops.Identity: ({}, image),
    }


def _proxes() -> dict[type, tuple[dict[str, Any], Any]]:
    from unrolling import prox
    from unrolling.operators import DirectionalDifferences, FiniteDifferences

    z, small = _rand(3, 8), torch.tensor(0.2)
    noisy = (z, torch.full((3, 1), 0.1))
    return {
        prox.AnalysisProx: (
            {"transform": FiniteDifferences(), "norm_square": 8.0, "iterations": 3},
            (_rand(*IMAGES), small),
        ),
        prox.Box: ({"low": 0.0, "high": 1.0}, (z, small)),
        prox.BlockSoftThreshold: ({"size": 2, "nonnegative": False}, (z, small)),
        prox.DirectionalTV: (
            {"differences": DirectionalDifferences(), "sparsity": 0.1, "nonnegative": True, "iterations": 3},
            (_rand(*IMAGES), small),
        ),
        prox.ExponentialDenoiser: ({"width": 3.0, "gain": 1.0, "depth": -1.0}, noisy),
        prox.IsotropicShrink: ({"dim": 1}, (_rand(3, 2, 8, 8), small)),
        prox.Ridge: ({}, (z, small)),
        prox.Spline: ({"width": 4.5, "gain": 1.0, "depth": -1.5}, noisy),
        prox.TunedBernoulliGaussian: ({"probability": 0.1, "steps": 3}, noisy),
        prox.BernoulliGaussian: ({"probability": 0.1, "signal_variance": 1.0}, noisy),
        prox.SoftDenoiser: ({"multiplier": 1.1, "gain": 1.0}, noisy),
        prox.PiecewiseLinear: ({"knots": (1.14, 2.28), "slopes": (0.0, 1.0, 1.0)}, noisy),
        prox.LinearSpline: ({"channels": 3, "knots": 11, "first": -1.0, "last": 1.0}, (_rand(2, 3, 8, 8),)),
        prox.RadialBasis: ({"weights": _rand(3, 11), "first": -1.0, "last": 1.0}, (_rand(2, 3, 8, 8),)),
    }


def _images() -> dict[type, tuple[dict[str, Any], Any]]:
    from unrolling import networks
    from unrolling.algorithms import images, splitting
    from unrolling.operators import CoilData, FiniteDifferences, Identity, KSpace, ParallelBeam, Radon
    from unrolling.prox import AnalysisProx, IsotropicShrink, soft_threshold

    image = torch.rand(*IMAGES, generator=torch.Generator().manual_seed(1))
    blurred = splitting.Blurred(image, torch.full((3, 3, 3), 1 / 9))
    samples = KSpace(_rand(*IMAGES, dtype=torch.complex64), torch.ones(1, 8, 8))
    coils = CoilData(
        _rand(3, 2, 8, 8, dtype=torch.complex64), torch.ones(1, 8, 8), _rand(3, 2, 8, 8, dtype=torch.complex64)
    )
    variation = AnalysisProx(FiniteDifferences(), 8.0, iterations=3)
    term = splitting.LeastSquares(Identity())
    blocks = splitting.BlockSamples(_rand(3, 2, 2, 5), _rand(1, 5, 16))
    return {
        images.PeronaMalik: ({"data_term": term, "contrast": 0.1, "step_size": 0.2, "weight": 0.1}, image),
        splitting.ChambollePock: (
            {"data_term": term, "transform": FiniteDifferences(), "prox": IsotropicShrink(), "weight": 0.1},
            image,
        ),
        images.Detected: (
            {
                "reconstruction": splitting.PDHG(Identity(), primal_step=0.9, dual_step=0.9),
                "detector": images.Blobs(0.5),
            },
            image,
        ),
        images.SIRT: ({"operator": Radon(ParallelBeam.even(3, 8)), "relaxation": 1.0}, _rand(3, 3, 13).abs()),
        splitting.PDHG: (
            {
                "operator": Identity(),
                "transform": FiniteDifferences(),
                "prox": IsotropicShrink(),
                "weight": 0.1,
                "image_prox": soft_threshold,
                "image_weight": 0.1,
                "primal_step": 0.3,
                "dual_step": 1.0,
                "transform_step": 0.2,
            },
            image,
        ),
        splitting.HalfQuadraticSplitting: (
            {
                "data_term": splitting.KnownBlur(),
                "transform": FiniteDifferences("circular"),
                "prox": IsotropicShrink(),
                "weight": 0.1,
                "penalty": 1.0,
                "growth": 1.4,
            },
            blurred,
        ),
        splitting.ProximalGradient: (
            {"data_term": splitting.KnownBlur(), "prox": variation, "weight": 0.1, "step_size": 1.0},
            blurred,
        ),
        splitting.BlockProjections: ({"block": 4}, (blocks,)),
        splitting.LearnedProjections: ({"m": 5, "block": 4, "binary": True}, (image,)),
        splitting.RatedProximalGradient: (
            {
                "data_term": splitting.BlockProjections(4),
                "prox": networks.TransformShrinkage(3),
                "weight": 0.1,
                "step_size": 1.0,
                "channels": 3,
            },
            blocks,
        ),
        splitting.ProjectedGradient: (
            {"levels": torch.tensor([-1.0, 1.0]), "step_size": 0.3, "damping": 0.2},
            _received(),
        ),
        splitting.ADMM: (
            {
                "data_term": splitting.CoilSampling(),
                "splittings": [splitting.Splitting(Identity(), soft_threshold, 0.05)],
            },
            coils,
        ),
        splitting.SampledFourier: ({}, (samples,)),
        images.Diffusion: (
            {"data_term": term, "filters": FiniteDifferences(), "influence": nn.Tanh(), "weight": 0.1},
            image,
        ),
    }


def _received() -> Any:
    from unrolling.algorithms.detection import Received

    return Received(_rand(3, 6), _rand(3, 6, 4), torch.full((3, 1), 0.1))


def _detection() -> dict[type, tuple[dict[str, Any], Any]]:
    from unrolling.algorithms import LAMA, OAMP, detection

    levels, received = torch.tensor([-1.0, 1.0]), _received()
    likelihood = detection.GaussianLikelihood(levels, 3)
    observed = detection.viterbi_data(_rand(3, 40), detection.ChannelEstimate(_rand(1, 3), torch.full((1, 1), 0.1)))
    return {
        LAMA: ({"levels": levels, "damping": 0.1}, received),
        OAMP: ({"levels": levels}, received),
        detection.MatchedFiltering: ({}, (received,)),
        detection.GaussianLikelihood: ({"levels": levels, "memory": 3}, (observed,)),
        detection.Viterbi: ({"likelihood": likelihood, "levels": 2, "memory": 3}, observed),
        detection.BCJR: ({"likelihood": likelihood, "levels": 2, "memory": 3}, observed),
        detection.FreeMatrix: ({"matrix": _rand(4, 6), "complex": False}, None),
        detection.SafeguardedDetector: (
            {"network": lambda data: detection.lmmse(data), "levels": levels, "trials": 20, "seed": 0},
            (received,),
        ),
    }


def _sparse() -> dict[type, tuple[dict[str, Any], Any]]:
    from unrolling.algorithms import sparse

    A, y = _rand(5, 8), _rand(3, 5)
    A = A / torch.linalg.vector_norm(A, dim=0)
    weighted = {"dictionary": A, "weight": 0.1}
    return {
        sparse.ISTA: ({**weighted, "step_size": 0.2}, y),
        sparse.GramISTA: (weighted, y),
        sparse.ThinISTA: (weighted, y),
        sparse.IHT: ({"dictionary": A, "sparsity": 2}, y),
        sparse.FISTA: ({"ista": sparse.ISTA(A, 0.1)}, y),
        sparse.CoordinateDescent: (weighted, y),
        sparse.CoupledISTA: (weighted, y),
        sparse.GatedISTA: (weighted, y),
    }


def _sound() -> dict[type, tuple[dict[str, Any], Any]]:
    from unrolling.algorithms import sound
    from unrolling.operators import STFT

    frames = STFT(16, 4)
    magnitudes = torch.rand(3, 9, 12, generator=torch.Generator().manual_seed(2))
    return {
        sound.GriffinLim: ({"stft": frames}, magnitudes),
        sound.EqualShares: ({"stft": frames, "sources": 2}, (_rand(3, 200),)),
        sound.MISI: ({"stft": frames, "magnitudes": sound.EqualShares(frames, 2)}, _rand(3, 200)),
        sound.RelaxedMISI: ({"stft": frames, "magnitudes": sound.EqualShares(frames, 2)}, _rand(3, 200)),
        sound.NMF: ({"bins": 9, "rank": 4}, magnitudes),
        sound.NMFActivations: ({"dictionary": magnitudes[0, :, :4], "beta": 1.0, "sparsity": 0.1}, magnitudes),
    }


def _networks() -> dict[type, tuple[dict[str, Any], Any]]:
    from unrolling import networks

    return {
        networks.DnCNN: ({"layers": 3, "channels": 4, "colours": 1}, (_rand(*IMAGES),)),
        networks.PixelDetector: ({"width": 4}, (_rand(2, 16, 16),)),
        networks.UNet: ({"width": 4, "levels": 2, "inputs": 1}, (_rand(2, 16, 16),)),
        networks.PReNet: ({"stages": 2, "channels": 4, "blocks": 1}, (_rand(2, 3, 8, 8),)),
        networks.MLP: ({"inputs": 8, "hidden": 6, "outputs": 4, "layers": 2}, (_rand(3, 8),)),
        networks.Joint: ({"first": nn.Identity(), "second": nn.Identity()}, (_rand(3, 8),)),
        networks.ChannelNorm: ({"channels": 3}, (_rand(2, 3, 10),)),
        networks.TemporalConvolutions: ({"inputs": 3, "outputs": 2, "width": 4, "blocks": 2}, (_rand(2, 3, 30),)),
        networks.ConvolutionalShrinkage: ({"channels": 3, "size": 3, "knots": 11}, (_rand(*IMAGES),)),
    }
