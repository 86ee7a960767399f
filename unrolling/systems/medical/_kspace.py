"""How networks are applied to files of k-space, slice by slice: what all of them share."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from warnings import warn

import torch
from torch import Tensor

from unrolling._progress import Bar
from unrolling.files.kspace import READS, SUFFIXES, is_centred
from unrolling.files.kspace import image_origin as find_origin
from unrolling.files.scan import Scan
from unrolling.files.scans import PICTURES, check_scan_output, read_scan, scan_files, write_scan
from unrolling.operators.fourier import Origin, check_origins, from_corner, ifft
from unrolling.systems.base import Application
from unrolling.systems.conditions import Condition
from unrolling.systems.options import Option
from unrolling.tasks.medical.mri import read_mask

MASK = Option("mask", Path, "a .npy file with what was measured of k-space, zero frequency in its middle")
ORIGIN = Option(
    "image_origin",
    str,
    "corner or centre, the pixel that the transform counts from: centre in fftshift(fft2(ifftshift(image)))",
    default="what the file or the borders of the image say",
)
SLICE = Option(
    "slice", int, "the number of one slice, counted from 0", default="all of them, in a picture the middle one"
)
KNOWN: dict[str, Any] = {"given": "given", "read": "read", "found": "estimated", "assumed": "estimated"}


@dataclass(frozen=True)
class Measured:
    """A slice of k-space, both origins at (0, 0).

    Attributes:
        samples: (coils, height, width) complex64, zero where nothing was measured.
        mask: (height, width), 1 where something was.
        noise: (coils, coils), the covariance of the coils' noise, where the file holds it.
        origin: of the image, ``centre`` where what ``ifft`` makes of the samples lies in four corners.
    """

    samples: Tensor
    mask: Tensor
    noise: Tensor | None = None
    origin: Origin = "corner"


@dataclass(frozen=True)
class Reconstructed:
    """What became of a slice.

    Attributes:
        image: (height, width), real or complex, its origin at (0, 0).
        facts: plain values by name.
        conditions: what was found out about the slice.
    """

    image: Tensor
    facts: Mapping[str, Any] = field(default_factory=dict)
    conditions: Sequence[Condition] = ()


def application(
    reconstruct: Callable[..., Reconstructed], options: Sequence[Option] = (), what: str = "the image"
) -> Application:
    """Of k-space in files.

    Args:
        reconstruct: (network, task, ``Measured``) -> ``Reconstructed``; options that were given come as keyword
            arguments. The network is in inference mode, without gradients.
        options: that it takes.
        what: the outputs hold.
    """

    def run(network: Any, task: Any, scan: Scan, outputs: Sequence[Path], **given: Any) -> Mapping[str, Any]:
        return _run(reconstruct, network, task, scan, outputs, **given)

    return Application(
        READS,
        (what, *["another form of it"] * 2),
        _read,
        run,
        suffixes=SUFFIXES,
        default_suffixes=("-image.png", "-image.nii", "-image.npy"),
        least=1,
        options=(MASK, ORIGIN, SLICE, *options),
        check=check_scan_output,
    )


def _read(path: Path, options: Mapping[str, Any]) -> Scan:
    """All but the samples, which are read slice by slice."""
    return read_scan(path, "kspace", slices=())


def _run(
    reconstruct: Callable[..., Reconstructed],
    network: Any,
    task: Any,
    scan: Scan,
    outputs: Sequence[Path],
    *,
    mask: Path | None = None,
    image_origin: str | None = None,
    slice: int | None = None,
    **given: Any,
) -> Mapping[str, Any]:
    if image_origin is not None:
        check_origins(image_origin=image_origin)
    numbers = _chosen(scan, outputs, slice)
    drawn = None if mask is None else read_mask(mask, (int(scan.values.shape[-2]), int(scan.values.shape[-1])))
    middle = numbers[len(numbers) // 2]
    first = _measured(scan, middle, drawn, mask)
    if first is None:
        raise ValueError(f"{scan.path} is zero everywhere{_where(scan, middle)}: nothing was measured")
    sample, centred = first
    origin, how = _origin(scan, sample, centred, image_origin)
    images: list[Tensor] = []
    held: Reconstructed | None = None
    # Not one after the other as they are wanted: the one in the middle says what the others are.
    with torch.no_grad(), Bar.inside("slices", len(numbers)) as bar:
        for number in numbers:
            found = first if number == middle else _measured(scan, number, drawn, mask, centred)
            if found is None:
                warn(f"{scan.path}{_where(scan, number)} is zero everywhere; so is its image", stacklevel=2)
                images.append(scan.cropped(torch.zeros(scan.values.shape[-2:])))
            else:
                made = reconstruct(network, task, replace(found[0], origin=origin), **given)
                held = made if number == middle else held
                images.append(scan.cropped(from_corner(made.image, origin)))
            bar.advance()
    assert held is not None
    kind = torch.complex64 if any(image.is_complex() for image in images) else torch.float32
    volume = torch.stack([image.to(kind) for image in images])
    like = replace(scan, numbers=tuple(numbers))
    written = {}
    for path in outputs:
        # Arrays hold all that is known; other files hold what is looked at.
        values = volume if path.suffix.lower() in (".npy", ".npz") else volume.abs()
        files = write_scan(path, values[0] if len(values) == 1 else values, like)
        if files != [path]:
            written[str(path)] = list(map(str, files))
    rate = float(sample.mask.mean())
    place = "in the middle" if origin == "centre" else "at (0, 0)"
    return {
        "height": int(volume.shape[-2]),
        "width": int(volume.shape[-1]),
        "coils": len(sample.samples),
        **({"slices": len(numbers), "slice": middle} if scan.count > 1 else {}),
        "measured": round(rate, 4),
        "zero_frequency": "in the middle" if centred else "at (0, 0)",
        **held.facts,
        "image_origin": f"{place}, {how}",
        **({"files": written} if written else {}),
        "conditions": [Condition("image origin", place, KNOWN[how]), *held.conditions],
    }


def _chosen(scan: Scan, outputs: Sequence[Path], number: int | None) -> list[int]:
    """The slices that are worked on: all of them, where a file is written that holds more than one."""
    if number is not None:
        if not 0 <= number < scan.count:
            raise ValueError(f"{scan.path} has no slice {number}; it has {scan.count}, counted from 0")
        return [number]
    if all(path.suffix.lower() in PICTURES for path in outputs):
        return [scan.count // 2]
    for path in outputs:
        for place in scan_files(path, scan.count):
            if place != path:
                check_scan_output(place)
    return list(range(scan.count))


def _where(scan: Scan, number: int) -> str:
    return "" if scan.count == 1 else f", slice {number}"


def _measured(
    scan: Scan, number: int, drawn: Tensor | None, mask: Path | None, centred: bool | None = None
) -> tuple[Measured, bool] | None:
    """A slice, and whether its zero frequency was in the middle; None where nothing was measured.

    Raises:
        ValueError: a mask that leaves nothing.
    """
    samples = scan.part([number]).values[0]
    if not bool(samples.any()):
        return None
    if centred is None:
        centred = is_centred(samples) if scan.centred is None else scan.centred
    if centred:
        samples = torch.fft.ifftshift(samples, (-2, -1))
    sampled = (samples != 0).any(0).float()
    if drawn is not None:
        shifted = torch.fft.ifftshift(drawn)
        # Masks are drawn with the zero frequency in the middle; of one that is not, the measured energy would lie
        # outside.
        energy = samples.abs().square().sum(0)
        sampled = shifted if float((energy * shifted).sum()) >= float((energy * drawn).sum()) else drawn
    elif scan.mask is not None:
        sampled = torch.fft.ifftshift(scan.mask) if centred else scan.mask
    samples = sampled * samples
    if not bool(samples.any()):
        where = f"the mask {mask}" if drawn is not None else f"the mask in {scan.path}"
        raise ValueError(f"{where} leaves nothing of the k-space")
    return Measured(samples, sampled, scan.noise), centred


def _origin(scan: Scan, sample: Measured, centred: bool, given: str | None) -> tuple[Any, str]:
    """Where the image's origin is, and how that is known."""
    if given is not None:
        return given, "given"
    if scan.centred is not None:
        return "centre" if scan.centred else "corner", "read"
    found = find_origin(ifft(sample.samples))
    # Who puts the zero frequency into the middle mostly puts the image's origin there too.
    return (found, "found") if found is not None else ("centre" if centred else "corner", "assumed")
