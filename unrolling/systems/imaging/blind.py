"""What the systems for blind deblurring have in common: rivals, how they are applied to pictures."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from unrolling.algorithms.images.blind_deblurring import BlindDeblurring, differences
from unrolling.core import Unrolled
from unrolling.files import pictures as pixels
from unrolling.networks.unet import UNet, unet_width
from unrolling.systems.base import Application, Classical, Direct, Recipe, Reference, Rival, Tying
from unrolling.systems.imaging.applications import SUFFIXES, facts
from unrolling.systems.options import Option
from unrolling.tasks.images.deblurring import Deblurring
from unrolling.training.stages import Schedule

NOT_EXPORTED = {
    "onnx": "ONNX Runtime transforms sizes that are no powers of two with fewer digits than torch, and deconvolution "
    "magnifies what is lost: the estimates differ by up to 2e-4 of the largest value"
}

LARGEST = 640  # pixels along a side up to which a picture is deblurred as a whole
MARGIN = 96  # pixels around a tile, twice what the kernel and its inverse reach
ENLARGED = 8  # times, in the picture of a kernel
SHOW_KERNEL = Option("show_kernel", bool, "also write the blur kernel, as a picture beside the output")
LI = Reference(
    "Li, Y., Tofighi, M., Geng, J., Monga, V. and Eldar, Y. C.",
    "Efficient and interpretable deep blind image deblurring via algorithm unrolling",
    "IEEE Transactions on Computational Imaging 6",
    2020,
    "10.1109/TCI.2020.2964202",
)


def variation(task: Deblurring, setting: tuple[float, float]) -> BlindDeblurring:
    """Total variation, survey (7): two differences, zeta falling by a twentieth in each step."""
    weight, coupling = setting
    filters = differences() if not task.colour else differences().repeat(1, 3, 1, 1) / 3
    return BlindDeblurring(filters, weight=weight, coupling=coupling, retrieval=10.0, rate=0.95, kernel_size=45)


def classical(task: Deblurring) -> list[Classical]:
    """The parent of both forms, its weight and coupling from validation photographs; the smaller they are, the less it
    changes the image.
    """
    settings = tuple((weight, coupling) for weight in (0.0003, 0.001, 0.003) for coupling in (0.5, 2.0, 10.0))
    return [Classical("total variation, half-quadratic", lambda s: variation(task, s), settings, 300, tuning=60)]


def directs(task: Deblurring) -> list[Direct]:
    """Doing nothing."""
    return [Direct("the blurred image", lambda data: data)]


def rivals(steps: int, batch: int) -> Any:
    """A U-Net with as many parameters, at the image's own size."""

    def made(task: Deblurring, parameters: int) -> Sequence[Rival]:
        colours = 3 if task.colour else 1
        width = unet_width(parameters, inputs=colours)
        return [Rival(f"U-Net, width {width}", lambda: UNet(width, inputs=colours), steps, batch, (1e-3, 3e-3))]

    return made


def _deblur(
    network: Unrolled, task: Deblurring, source: Path, outputs: Sequence[Path], show_kernel: bool = False
) -> Mapping[str, Any]:
    picture = pixels.read(source)
    planes = picture.pixels
    together = bool(task.colour)
    layer: Any = network.layers[0]
    size = layer.kernel_size
    height, width = planes.shape[-2:]
    if min(height, width) < size:
        raise ValueError(
            f"{source}: the kernel has {size} x {size} pixels, more than the picture, which has {height} x {width}"
        )
    if together and planes.shape[0] == 1:
        planes = planes.repeat(3, 1, 1)
    luma = planes if together else planes.mean(0)
    kernels = _kernels(network, _middle(luma).unsqueeze(0))
    whole = max(height, width) <= LARGEST

    def run(piece: Tensor) -> Tensor:
        # What a network for grey does for the colours of a picture: each by itself, all with the kernels that their
        # mean has led to. Networks are trained on pictures surrounded by zeros, which darken the border; a mirrored one
        # lies between them and what is kept.
        margin = size // 2
        wide = torch.nn.functional.pad(piece, (margin,) * 4, mode="reflect")
        found = (
            _with_kernels(network, wide.unsqueeze(0), kernels)[0] if together else _with_kernels(network, wide, kernels)
        )
        return found[..., margin:-margin, margin:-margin]

    with torch.no_grad():
        sharp = run(planes) if whole else pixels.in_tiles(run, planes, margin=MARGIN, tile=LARGEST - 2 * MARGIN)
    sharp = sharp[: picture.pixels.shape[0]]
    pixels.write(outputs[0], picture.replaced(sharp))
    found: dict[str, Any] = {**facts(picture), "kernel_pixels": int((kernels[-1] > 0.01 * kernels[-1].max()).sum())}
    if show_kernel:
        path = outputs[0].with_name(f"{outputs[0].stem}-kernel.png")
        pixels.check_output(path)
        enlarged = (kernels[-1] / kernels[-1].max()).repeat_interleave(ENLARGED, 1).repeat_interleave(ENLARGED, 2)
        pixels.write(path, pixels.Picture(enlarged))
        found["more"] = {str(path): f"the blur kernel, {ENLARGED} times its size"}
    return found


def _middle(luma: Tensor) -> Tensor:
    """The part of a large image that the kernels are found from."""
    height, width = luma.shape[-2:]
    top, left = (max(0, (side - LARGEST) // 2) for side in (height, width))
    return luma[..., top : top + LARGEST, left : left + LARGEST]


@torch.no_grad()
def _kernels(network: Unrolled, image: Tensor) -> list[Tensor]:
    """The kernel after each layer."""
    return [state.kernel for state in network.trajectory(image)]


def _with_kernels(network: Unrolled, images: Tensor, kernels: Sequence[Tensor]) -> Tensor:
    """The estimate where the kernel after each layer is given: pieces of one picture share its kernel."""
    state: Any = None
    last: Any = None
    problem: Any = None
    for number, ((layer, problem), kernel) in enumerate(zip(network.prepared(images), kernels, strict=True)):
        state = layer.start(problem) if number == 0 else state
        state = layer(state, problem)._replace(kernel=kernel.expand(images.shape[0], -1, -1))
        last = layer
    return last.estimate(state, problem)


def application() -> Application:
    """Of blurred pictures, grey and colour."""
    return Application(
        pixels.READS,
        ("the sharp picture",),
        _deblur,
        options=(SHOW_KERNEL,),
        suffixes=SUFFIXES,
        default_suffix="-sharp.png",
        check=pixels.check_output,
    )


def tag(options: Mapping[str, Any]) -> str:
    """What is unlike the usual."""
    parts = [options["kind"]]
    parts += ["rgb"] if options["colour"] else []
    parts += [
        f"{key}{options[key]:g}"
        for key, usual in (("shortest", 5.0), ("longest", 31.0), ("noise", 0.01))
        if options[key] != usual
    ]
    return "-".join(parts)


def recipe(parent: Any, tying: Tying, schedule: Callable[[int], Schedule], *, steps: int, batch: int) -> Recipe:
    """Deblurring in ten layers, beside total variation and a U-Net that trains for as many steps."""
    return Recipe(
        task=Deblurring,
        parent=parent,
        depth=10,
        tying=lambda task: tying,
        schedule=schedule,
        classical=classical,
        direct=directs,
        rivals=rivals(steps, batch),
        parent_name="total variation, half-quadratic",
        generic_steps=steps,
        generic_batch=batch,
        vectors=False,
        not_exported=NOT_EXPORTED,
        threads=1,
        notes=(
            "Image and kernel are known up to a shift: scores take the best one within 12 pixels, of the blurred "
            "image too, 12 pixels from the border.",
        ),
        apply=application(),
        options={"kind": "linear", "shortest": 5.0, "longest": 31.0, "noise": 0.01, "colour": 0},
        tag=tag,
    )
