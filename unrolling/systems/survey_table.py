"""Table II of the survey and the ratios that its section III-E states, with the stored comparisons that stand beside
them.
"""

from __future__ import annotations

from typing import NamedTuple


class Published(NamedTuple):
    """One entry of Table II."""

    paper: str  # as the survey cites it
    name: str
    seconds: float
    parameters: float | None  # None where nothing is learned


class TableRow(NamedTuple):
    """One row of Table II: a network, an iterative algorithm and a deep network."""

    system: str
    task: str
    network: Published
    iterative: Published
    deep: Published
    remark: str  # why ours differ
    methods: tuple[str, ...] = ()  # how the names of our iterative algorithms begin; any that counts iterations if none


class Claim(NamedTuple):
    """A ratio of the text: the network takes so many times less."""

    words: str
    least: float  # what is claimed
    of: str  # "time" or "parameters"
    system: str  # whose comparisons stand beside it; empty where nothing here does
    task: str
    rivals: tuple[str, ...]  # how the names of the rows begin that the network is held against
    remark: str  # why ours differ, or are not measured
    table: float | None = None  # the same ratio from the survey's own Table II


ADMM_CSNET, CORONA, DUBLID = "medical/admm_csnet", "medical/corona", "imaging/dublid"

TABLE_2 = (
    TableRow(
        ADMM_CSNET,
        "compressive",
        Published("Yang et al. [14]", "ADMM-CSNet", 2.61, 7.8e4),
        Published("Metzler et al. [64]", "BM3D-AMP", 12.59, None),
        Published("Kulkarni et al. [58]", "ReconNet", 2.83, 3.2e5),
        "Photographs in blocks of 33 x 33 by a Gaussian matrix, as theirs. BM3D-AMP is not among ours, as BM3D may not "
        "be used commercially: total variation by ADMM, the algorithm that the network is unrolled from, stands in its "
        "place. ReconNet's stands a U-Net with as many learned numbers as the network, by our rule of equal size.",
    ),
    TableRow(
        ADMM_CSNET,
        "mri",
        Published("Yang et al. [14]", "ADMM-CSNet", 2.61, 7.8e4),
        Published("Metzler et al. [64]", "BM3D-AMP", 12.59, None),
        Published("Kulkarni et al. [58]", "ReconNet", 2.83, 3.2e5),
        "The same network for magnetic resonance, which the survey's box describes; its Table II has photographs.",
    ),
    TableRow(
        CORONA,
        "clutter",
        Published("Solomon et al. [34]", "CORONA", 5.07, 1.8e3),
        Published("Beck et al. [29]", "Fast-ISTA", 15.33, None),
        Published("He et al. [54]", "ResNet", 5.36, 8.3e3),
        "Simulated movies, as recordings are not released; a residual network of three-dimensional convolutions for "
        "ResNet.",
        ("robust PCA",),
    ),
    TableRow(
        DUBLID,
        "deblurring",
        Published("Li et al. [40]", "DUBLID", 1.47, 2.3e4),
        Published("Perrone et al. [49]", "total variation", 1462.90, None),
        Published("Kupyn et al. [59]", "DeblurGAN", 10.29, 1.2e7),
        "Our total variation is half-quadratic splitting with every equation solved in the Fourier basis, which is "
        "what the network is unrolled from; theirs is alternating minimisation by small steps of descent. A U-Net "
        "with as many learned numbers stands in DeblurGAN's place.",
    ),
)

CLAIMS = (
    Claim(
        "LISTA against ISTA, at the network's error",
        20,
        "time",
        "sparse_coding/lista",
        "codes",
        ("ISTA, until",),
        "One ratio for each depth that ships. In a batch it is the survey's; alone it is less, as the products of one "
        "sample are so small that network and algorithm both wait for the interpreter.",
    ),
    Claim(
        "LISTA against accelerated ISTA, at the network's error (section II-B)",
        20,
        "time",
        "sparse_coding/lista",
        "codes",
        ("FISTA, until", "FISTA with continuation, until"),
        "The survey has the same 20 for ISTA and for FISTA. FISTA needs far fewer iterations than ISTA, and fewer "
        "still where its weight falls as it goes on.",
    ),
    Claim(
        "DUBLID against total-variation deblurring",
        1000,
        "time",
        DUBLID,
        "deblurring",
        ("total variation, half-quadratic, at convergence",),
        "Against the algorithm that it is unrolled from, with all equations solved in the Fourier basis, the network "
        "saves iterations and not their cost: it has ten, each on 16 filtered images where the algorithm has two.",
        1462.90 / 1.47,
    ),
    Claim(
        "ADMM-CSNet against BM3D-AMP",
        4,
        "time",
        ADMM_CSNET,
        "compressive",
        ("total variation, ADMM",),
        "BM3D-AMP is not measured: BM3D may not be used commercially. Beside it total variation by ADMM, whose quality "
        "the network exceeds after as many iterations as it has layers.",
        12.59 / 2.61,
    ),
    Claim(
        "ADMM-CSNet against ReconNet",
        2,
        "time",
        ADMM_CSNET,
        "compressive",
        ("U-Net",),
        "ReconNet is not measured. A convolutional network of equal size is faster on a processor than unrolled ADMM, "
        "whose every layer solves for the image and evaluates piecewise linear functions.",
        2.83 / 2.61,
    ),
    Claim(
        "CORONA against Fast-ISTA",
        50,
        "time",
        CORONA,
        "clutter",
        ("robust PCA, FISTA", "robust PCA, ISTA, at convergence"),
        "As they are called, a layer costs about what an iteration of FISTA does, so that the factor is that of their "
        "numbers: 50 for ten layers against 500 iterations. Deployed, five layers of medical/corona_released (−16.25 "
        "dB) are 45 times faster than FISTA where it stops improving, 20 times than a bare loop over its iterations "
        "(python -m benchmarks.clutter --part time). The survey's own table has 3.",
        15.33 / 5.07,
    ),
    Claim(
        "the prox-linear network [41] against Gauss-Newton",
        500,
        "time",
        "",
        "",
        (),
        "Not measured: neither is in the catalogue.",
    ),
    Claim(
        "DUBLID against SRN",
        100,
        "parameters",
        DUBLID,
        "deblurring",
        (),
        "SRN is not measured, and Table II has no count of it (DeblurGAN's is 522 times DUBLID's). Ours are held "
        "against networks of equal size, where the ratio is 1 by construction; the survey's factor says how large "
        "networks of the time were, not how large they had to be.",
    ),
    Claim(
        "DUBLID against DeblurGAN",
        2,
        "time",
        DUBLID,
        "deblurring",
        ("U-Net",),
        "DeblurGAN is not measured. A U-Net of equal size is faster than the network, which estimates the blur as "
        "well, in Fourier transforms of the whole image.",
        10.29 / 1.47,
    ),
    Claim(
        "CORONA against ResNet",
        10,
        "parameters",
        CORONA,
        "clutter",
        ("residual CNN, 3-D",),
        "An order of magnitude, in the text.",
        8.3e3 / 1.8e3,
    ),
)
