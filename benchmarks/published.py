"""Published figures of the test sets, each with where it was read: benchmarks print them beside what they measure, and
``python -m tools.published_tables`` writes them into docs/guides/published.md.

Figures are PSNR in dB as the sources print them. Only those that were read in the source itself, or in tables that its
authors or others publish, are marked as checked; the others are after the paper that is cited.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

Values = tuple[float | None, ...]
CLASSICAL, KNOWN, COMPACT, BEST = "classical", "well known", "compact", "best"


class Source(NamedTuple):
    """Where figures were read."""

    paper: str
    read: str  # the table and the place; empty where the paper was not at hand


SOURCES = {
    "atd": Source(
        "Zhang et al. 2024, arXiv:2401.08209",
        "figures/classical.png, lightweight.png of LabShuHangGU/Adaptive-Token-Dictionary",
    ),
    "casnet": Source(
        "Chen and Zhang 2022, arXiv:2207.09313",
        "Table IV, figs/res.png of Guaishou74851/CASNet, which calls BSD68 CBSD68",
    ),
    "coast": Source(
        "You et al. 2021, IEEE Transactions on Image Processing, COAST",
        "Table I, Figs/Table_Results.png of jianzhangcs/COAST",
    ),
    "cpp": Source("Guo and Gan 2024 (CPP-Net)", ""),
    "cscnet": Source("Simon and Elad 2019, arXiv:1909.05742", ""),
    "dcscn": Source("Yamanaka et al. 2017, arXiv:1707.05425", "README of jiny2001/dcscn-super-resolution"),
    "dncnn": Source("Zhang et al. 2017, doi:10.1109/TIP.2017.2662206", "README of cszn/DnCNN"),
    "dpir": Source("Zhang et al. 2021, arXiv:2008.13751", "figs/grayscale_psnr.png, color_psnr.png of cszn/DPIR"),
    "drct": Source("Hsu et al. 2024, arXiv:2404.00722", "README of ming053l/DRCT"),
    "dublid": Source("Li et al. 2020, doi:10.1109/TCI.2020.2964202", ""),
    "fbcnn": Source("Jiang et al. 2021, arXiv:2109.14573", "figs/single_table.png of jiaxi-jiang/FBCNN"),
    "ffdnet": Source("Zhang et al. 2018, arXiv:1710.04026", "figs/table2.png of cszn/FFDNet"),
    "grl": Source("Li et al. 2023, arXiv:2303.00748", "Tables 4, 5 and 6, figs of ofsoundof/GRL-Image-Restoration"),
    "groupsc": Source(
        "Lecouat et al. 2020, arXiv:1912.02456",
        "README of bruno-31/groupsc, whose table of colours names no set and has CDnCNN at 33.99, 31.31 and 28.01",
    ),
    "hwformer": Source(
        "Tian et al. 2024, arXiv:2407.05709", "averages of the pictures in the README of hellloxiaotian/HWformer"
    ),
    "octuf": Source("Song et al. 2023, arXiv:2304.13986", ""),
    "rdn": Source("Zhang et al. 2018, arXiv:1802.08797", "Figs/PSNR_SSIM_BI.png of yulunzhang/RDN"),
    "scn": Source("Wang et al. 2015, arXiv:1507.08905", ""),
    "swinir": Source("Liang et al. 2021, arXiv:2108.10257", "figs of JingyunLiang/SwinIR"),
    "vdsr": Source("Kim et al. 2016, arXiv:1511.04587", "README of twtygqyy/pytorch-vdsr"),
}


class Published(NamedTuple):
    """A row: a method with its year and size, dB by column, the source of these, and what it stands for."""

    method: str
    values: Values
    source: str
    role: str = ""

    @property
    def checked(self) -> bool:
        """Whether the figures were read where the source says."""
        return bool(SOURCES[self.source].read)


class Table(NamedTuple):
    """The rows of a set, by noise level, quality, factor or rate."""

    title: str
    what: str
    columns: tuple[str, ...]
    rows: tuple[Published, ...]

    def at(self, column: str) -> Iterator[tuple[str, float]]:
        """Methods, and their figures in a column, where they have one."""
        number = self.columns.index(column)
        for row in self.rows:
            value = row.values[number]
            if value is not None:
                yield label(row), value


def label(row: Published) -> str:
    """What a row is called where it stands beside measured ones."""
    return f"{row.method}, published" if row.checked else f"{row.method}, published, not checked by us"


TNRD, DNCNN = "TNRD 7 x 7 (2017), 26,645 numbers a level", "DnCNN (2017), 556,032 numbers a level"
DRUNET, RESTORMER = "DRUNet (2021), 32.6 million numbers", "Restormer (2022), 26 million numbers"
GRL_T, GRL_B = "GRL-T (2023), 880,000 numbers", "GRL-B (2023), 20 million numbers"
NOISE, QUALITIES, FACTORS = ("15", "25", "50"), ("10", "20", "30", "40"), ("x2", "x3", "x4")
RATES = ("1 %", "4 %", "10 %", "25 %", "30 %", "40 %", "50 %")
AR_CNN, TNRD_JPEG, DNCNN_3 = "AR-CNN (2015)", "TNRD (2017), a network a quality", "DnCNN-3 (2017), one network"
DCSC, GRL_S = "DCSC (2019)", "GRL-S (2023), 3.1 million numbers"
SWINIR_JPEG, FBCNN = "SwinIR (2021), a network a quality", "FBCNN (2021), 72 million numbers"
BICUBIC, SRCNN = "bicubic interpolation", "SRCNN (2016)"
TNRD_SR, VDSR = "TNRD (2017), a network a factor", "VDSR (2016), 666,000 numbers"
IMDN, ATD_LIGHT = "IMDN (2019), 694,000 numbers", "ATD-light (2024), 753,000 numbers"
HAT, ATD, DRCT = "HAT (2023), 21 million numbers", "ATD (2024), 20 million numbers", "DRCT-L (2024), 28 million numbers"
TVAL3 = "TVAL3, total variation"
ISTA_NET = "ISTA-Net+ (2018), a network a rate and a matrix"
COAST = "COAST (2021), random matrices, 1.1 million numbers"
OPINE, CASNET = "OPINE-Net+ (2020), learned matrix", "CASNet (2022), learned matrix, 17 million numbers"

TABLES: dict[str, Table] = {
    "set12": Table(
        "Set12",
        "noise, of 255",
        NOISE,
        (
            Published("BM3D (2007)", (32.37, 29.97, 26.72), "swinir", CLASSICAL),
            Published(TNRD, (32.50, 30.06, 26.81), "hwformer"),
            Published(DNCNN, (32.86, 30.44, 27.18), "swinir", KNOWN),
            Published(GRL_T, (33.29, 30.92, 27.78), "grl", COMPACT),
            Published(DRUNET, (33.25, 30.94, 27.90), "dpir"),
            Published(RESTORMER, (33.42, 31.08, 28.00), "grl"),
            Published(GRL_B, (33.47, 31.12, 28.03), "grl", BEST),
        ),
    ),
    "bsd68": Table(
        "BSD68",
        "noise, of 255",
        NOISE,
        (
            Published("BM3D (2007)", (31.07, 28.57, 25.62), "dncnn", CLASSICAL),
            Published(TNRD, (31.42, 28.92, 25.97), "dncnn"),
            Published(DNCNN, (31.73, 29.23, 26.23), "dncnn", KNOWN),
            Published("CSCNet (2019), about 64,000 numbers", (31.57, 29.11, 26.24), "cscnet"),
            Published("GroupSC (2020), 68,000 numbers a level", (31.70, 29.19, 26.18), "groupsc"),
            Published(GRL_T, (31.90, 29.43, 26.49), "grl", COMPACT),
            Published(DRUNET, (31.91, 29.48, 26.59), "dpir"),
            Published(RESTORMER, (31.96, 29.52, 26.62), "grl"),
            Published(GRL_B, (32.00, 29.54, 26.60), "grl", BEST),
        ),
    ),
    "cbsd68": Table(
        "CBSD68",
        "noise, of 255",
        NOISE,
        (
            Published("CBM3D (2007)", (33.52, 30.71, 27.38), "ffdnet", CLASSICAL),
            Published("CDnCNN (2017), 668,000 numbers", (33.89, 31.23, 27.92), "ffdnet", KNOWN),
            Published("GroupSC (2020), 119,000 numbers a level", (34.12, 31.41, 28.08), "groupsc"),
            Published(GRL_T, (34.30, 31.66, 28.45), "grl", COMPACT),
            Published(DRUNET, (34.30, 31.69, 28.51), "dpir"),
            Published(RESTORMER, (34.40, 31.79, 28.60), "grl"),
            Published(GRL_B, (34.45, 31.82, 28.62), "grl", BEST),
        ),
    ),
    "classic5": Table(
        "Classic5",
        "quality of JPEG",
        QUALITIES,
        (
            Published("the file", (27.82, 30.12, 31.48, 32.43), "fbcnn", CLASSICAL),
            Published(AR_CNN, (29.03, 31.15, 32.51, 33.34), "dncnn"),
            Published(TNRD_JPEG, (29.28, 31.47, 32.78, None), "dncnn"),
            Published(DNCNN_3, (29.40, 31.63, 32.91, 33.77), "dncnn", KNOWN),
            Published(DCSC, (29.62, 31.81, 33.06, 33.87), "fbcnn", COMPACT),
            Published(GRL_S, (30.20, 32.49, 33.72, 34.53), "grl"),
            Published(FBCNN, (30.12, 32.31, 33.54, 34.35), "fbcnn"),
            Published(SWINIR_JPEG, (30.27, 32.52, 33.73, 34.52), "swinir", BEST),
        ),
    ),
    "live1": Table(
        "LIVE1",
        "quality of JPEG",
        QUALITIES,
        (
            Published("the file", (27.77, 30.07, 31.41, 32.35), "fbcnn", CLASSICAL),
            Published(AR_CNN, (28.96, 31.29, 32.67, 33.63), "dncnn"),
            Published(TNRD_JPEG, (29.15, 31.46, 32.84, None), "dncnn"),
            Published(DNCNN_3, (29.19, 31.59, 32.98, 33.96), "dncnn", KNOWN),
            Published(DCSC, (29.34, 31.70, 33.07, 34.02), "fbcnn", COMPACT),
            Published(FBCNN, (29.75, 32.13, 33.54, 34.53), "fbcnn"),
            Published(SWINIR_JPEG, (29.86, 32.25, 33.69, 34.67), "swinir", BEST),
        ),
    ),
    "set5": Table(
        "Set5",
        "enlarged",
        FACTORS,
        (
            Published(BICUBIC, (33.66, 30.39, 28.42), "rdn", CLASSICAL),
            Published(SRCNN, (36.66, 32.75, 30.48), "rdn", KNOWN),
            Published(TNRD_SR, (36.86, 33.18, 30.85), "dncnn"),
            Published("a cascade of SCN (2015)", (36.93, 33.10, 30.86), "scn"),
            Published(VDSR, (37.53, 33.66, 31.35), "vdsr", KNOWN),
            Published(IMDN, (38.00, 34.36, 32.21), "swinir"),
            Published(ATD_LIGHT, (38.29, 34.74, 32.63), "atd", COMPACT),
            Published(HAT, (38.63, 35.07, 33.04), "atd"),
            Published(ATD, (38.61, 35.15, 33.14), "atd", BEST),
            Published(DRCT, (None, None, 33.37), "drct"),
        ),
    ),
    "set14": Table(
        "Set14",
        "enlarged",
        FACTORS,
        (
            Published(BICUBIC, (30.24, 27.55, 26.00), "rdn", CLASSICAL),
            Published(SRCNN, (32.45, 29.30, 27.50), "rdn", KNOWN),
            Published(TNRD_SR, (32.51, 29.43, 27.66), "dncnn"),
            Published(VDSR, (33.03, 29.77, 28.01), "dcscn", KNOWN),
            Published(IMDN, (33.63, 30.32, 28.58), "swinir"),
            Published(ATD_LIGHT, (34.10, 30.68, 28.89), "atd", COMPACT),
            Published(HAT, (34.86, 31.08, 29.23), "atd"),
            Published(ATD, (34.92, 31.15, 29.25), "atd", BEST),
            Published(DRCT, (None, None, 29.54), "drct"),
        ),
    ),
    "bsd100": Table(
        "BSD100",
        "enlarged",
        FACTORS,
        (
            Published(BICUBIC, (29.56, 27.21, 25.96), "rdn", CLASSICAL),
            Published(SRCNN, (31.36, 28.41, 26.90), "rdn", KNOWN),
            Published(TNRD_SR, (31.40, 28.50, 27.00), "dncnn"),
            Published(VDSR, (31.90, 28.82, 27.29), "dcscn", KNOWN),
            Published(IMDN, (32.19, 29.09, 27.56), "swinir"),
            Published(ATD_LIGHT, (32.39, 29.32, 27.79), "atd", COMPACT),
            Published(HAT, (32.62, 29.54, 28.00), "atd"),
            Published(ATD, (32.64, 29.58, 28.02), "atd", BEST),
            Published(DRCT, (None, None, 28.16), "drct"),
        ),
    ),
    "set11": Table(
        "Set11",
        "measured",
        RATES,
        (
            Published(TVAL3, (None, None, 24.27, None, 29.81, 31.89, 33.97), "coast", CLASSICAL),
            Published("ReconNet (2016)", (17.43, 20.93, 24.38, 28.44, 29.09, 30.60, 32.25), "casnet"),
            Published(ISTA_NET, (17.48, 21.32, 26.64, 32.59, 33.68, 35.97, 38.11), "casnet", KNOWN),
            Published(COAST, (None, None, 28.69, None, 35.04, 37.13, 38.94), "coast", COMPACT),
            Published(OPINE, (20.15, 25.69, 29.81, 34.86, 35.79, 37.96, 40.19), "casnet"),
            Published(CASNET, (21.97, 26.41, 30.36, 35.67, 36.92, 39.04, 40.93), "casnet", BEST),
            Published("OCTUF (2023), learned matrix", (None, None, 30.70, 36.10, None, None, 41.34), "octuf"),
            Published("CPP-Net (2024), learned matrix", (None, None, 31.27, 36.35, None, None, 41.39), "cpp"),
        ),
    ),
    "bsd68, compressive": Table(
        "BSD68, compressive",
        "measured",
        RATES,
        (
            Published(TVAL3, (None, None, 24.29, None, 28.12, 29.91, 31.62), "coast", CLASSICAL),
            Published(ISTA_NET, (19.14, 22.17, 25.32, 29.36, 30.25, 32.30, 34.04), "casnet", KNOWN),
            Published(COAST, (None, None, 26.28, None, 31.06, 32.93, 34.74), "coast", COMPACT),
            Published(OPINE, (22.11, 25.20, 27.82, 31.51, 32.35, 34.95, 36.35), "casnet"),
            Published(CASNET, (22.49, 25.73, 28.41, 32.31, 33.40, 35.43, 37.48), "casnet", BEST),
        ),
    ),
    "bsds500, straight motions": Table(
        "BSDS500, straight motions",
        "",
        ("without noise",),
        (
            Published("Perrone and Favaro (2016), total variation", (22.23,), "dublid", CLASSICAL),
            Published("Nah et al. (2017)", (24.82,), "dublid", KNOWN),
            Published("DUBLID (2020)", (27.30,), "dublid", COMPACT),
        ),
    ),
}
