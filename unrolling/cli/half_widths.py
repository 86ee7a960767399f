"""Half-widths beside what ``unroll apply`` writes."""

from __future__ import annotations

import io
import tempfile
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from unrolling.evaluation.bands import calibration_of
from unrolling.evaluation.conformal import RARE, Calibrated, least
from unrolling.files import pictures
from unrolling.files.whole import write_bytes

SECONDS = 30.0  # foreseen, of a calibration
SUFFIX = "-halfwidth.npy"


def path_beside(output: Path) -> Path:
    """``clean-halfwidth.npy`` of ``clean.png``."""
    return output.with_name(output.stem + SUFFIX)


def check_level(level: float, application: Any) -> None:
    """Refuses, before any work, what cannot be promised or written.

    Raises:
        ValueError: a level outside (0, 1); a system whose files are neither pictures nor arrays.
    """
    if not 0 < level < 1:
        raise ValueError(f"--interval is {level:g}; it is a probability between 0 and 1, such as 0.9")
    if _array(application) is None and Path(f"x{application.default_suffixes[0]}").suffix not in pictures.WRITTEN:
        raise ValueError(
            f"--interval is for systems that write pictures or arrays; this one writes {application.writes[0]}"
        )


def check_content(content: Any) -> None:
    """Refuses, before any work, a picture in colour.

    Raises:
        ValueError: it is one.
    """
    for part in content if isinstance(content, tuple) else (content,):
        if isinstance(part, pictures.Picture) and part.pixels.shape[0] > 1:
            raise ValueError(
                "half-widths are for pictures in grey: colours are mixed after the network, and what each of them owes "
                "to which half-width is not known. Convert the picture to grey, or leave out --interval"
            )


def calibrated(job: Any, level: float) -> Calibrated:
    """Half-widths of a job's network, from samples of its task.

    Raises:
        ValueError: too few samples, or no targets that could be compared.
    """
    found = calibration_of(job.network, job.task, level, SECONDS)
    if found is None:
        raise ValueError(
            f"--interval {level:g} needs {least(level)} samples with targets of the estimate's shape, and the task "
            f"{job.task.name} has not as many"
        )
    return found


def write_half_widths(
    job: Any, application: Any, content: Any, outputs: Sequence[Path], options: Mapping[str, Any], promise: Calibrated
) -> dict[str, str]:
    """Runs the application with the upper and with the lower ends of the network's estimates, and writes the larger
    distance of what comes out from what comes out with the estimates, as an array of float32.

    What follows the network may scale, shift, cut off and put together tiles, entry by entry; it may not mix channels.

    Returns:
        What the file holds, by its path.

    Raises:
        ValueError: a result with several channels.
    """
    sizes: list[Tensor] = []
    network, forward = job.network, job.network.forward

    def ends(sign: float) -> Callable[..., Tensor]:
        # Of complex estimates along their phase, so that magnitudes move by the half-width.
        def moved(data: Any, *rest: Any, **named: Any) -> Tensor:
            network.forward = forward
            try:
                if sign == 0 or rest or named:
                    return forward(data, *rest, **named)
                estimate, score = promise.score(data)
            finally:
                network.forward = moved
            sizes.append(score.double().square().flatten(1).mean(1).sqrt())
            width = promise.factor.to(score.dtype) * score
            direction = torch.where(estimate.abs() > 0, estimate.sgn(), 1) if estimate.is_complex() else 1
            return estimate + sign * width * direction

        return moved

    results = []
    try:
        for sign in (0.0, 1.0, -1.0):
            network.forward = ends(sign)
            results.append(_result(job, application, content, options))
    finally:
        network.forward = forward
    middle, upper, lower = results
    if middle.shape != upper.shape or middle.shape != lower.shape:
        raise ValueError("the result has another shape with the ends of the estimates; it has no half-widths")
    width = np.maximum(np.abs(upper - middle), np.abs(middle - lower)).astype(np.float32)
    rare = promise.places(torch.cat(sizes)) < RARE
    if 2 * int(rare.sum()) > len(rare):
        warnings.warn(
            f"this input is unlike the {promise.samples} samples of the calibration: its half-widths do not promise "
            f"{100 * promise.level:g} %",
            stacklevel=2,
        )
    path = path_beside(outputs[0])
    buffer = io.BytesIO()
    np.save(buffer, width)
    write_bytes(path, buffer.getvalue())
    return {
        str(path): f"half-widths that hold for {100 * promise.level:g} % of the entries of inputs like the "
        f"{promise.samples} of the calibration; mean {float(width.mean()):.3g}"
    }


def _array(application: Any) -> int | None:
    """Which of the outputs is an array of the network's own numbers, the last one if several are."""
    found = [k for k, suffix in enumerate(application.default_suffixes) if suffix.endswith(".npy")]
    return found[-1] if found else None


def _result(job: Any, application: Any, content: Any, options: Mapping[str, Any]) -> np.ndarray:
    """What the application would write, as numbers."""
    number = _array(application)
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # they were said of the result itself
        outputs = [Path(folder) / f"result{k}{suffix}" for k, suffix in enumerate(application.default_suffixes)]
        if number is not None:
            application.run(job.network, job.task, content, outputs[: number + 1], **options)
            return np.load(outputs[number])
        with pictures.kept_back() as kept:
            application.run(job.network, job.task, content, outputs[: application.least], **options)
        (pixels,) = kept[:1] or [None]
    if pixels is None:
        raise ValueError("the application wrote no picture; there is nothing to give half-widths of")
    if pixels.ndim == 3 and pixels.shape[0] > 1:
        raise ValueError("the application made a picture in colour, which has no half-widths")
    return pixels.reshape(pixels.shape[-2:]).numpy()
