"""ISMRMRD files: lines of k-space with a header each (Inati et al. 2017, doi:10.1002/mrm.26089)."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from unrolling._extras import extra
from unrolling.files._hdf5_access import File, Header, geometry
from unrolling.files.decoding import check_size
from unrolling.files.scan import Contents

PIECE = 256  # lines that are read at a time


def open_ismrmrd(file: File) -> Contents:
    """Cartesian k-space: a line of each place in (slice, phase encoding), averages summed up to their mean, the first
    of several contrasts, phases, repetitions and sets. Recordings of noise give the covariance of the coils.

    Three-dimensional encodings are transformed along the slices, where all of these were measured alike.

    Raises:
        ValueError: other trajectories, a header without sizes, no lines, lines of several lengths.
    """
    path = file.path
    header = Header(path, file.text("dataset/xml"))
    if len(file.shape("dataset/data")) != 1:
        raise ValueError(f"{path}: dataset/data holds no acquisitions")
    (heads,) = file.field("dataset/data", "head")
    wanted = {"flags", "idx", "number_of_samples", "active_channels", "center_sample", "trajectory_dimensions"}
    if not wanted | {"position", "read_dir", "phase_dir", "slice_dir"} <= set(heads.dtype.names or ()):
        raise ValueError(f"{path}: dataset/data holds no acquisitions")
    trajectory = header.word("encoding/trajectory") or "cartesian"
    if trajectory.lower() != "cartesian":
        raise ValueError(f"{path} was measured along the trajectory {trajectory[:40]}; only cartesian ones are read")
    size = header.sizes("encodedSpace")
    if size is None:
        raise ValueError(f"{path}: its header has no encodedSpace/matrixSize")
    return _Lines(file, header, heads, size).contents()


class _Lines:
    """The lines of a file and where they belong."""

    def __init__(self, file: File, header: Header, heads: np.ndarray, size: tuple[int, int, int]) -> None:
        with extra("an ISMRMRD file"):
            from ismrmrd import constants
        path = file.path
        self.file, self.path, self.header, self.heads, self.size = file, path, header, heads, size

        def flagged(*flags: int) -> np.ndarray:
            bits = sum(1 << (flag - 1) for flag in flags)
            return (heads["flags"].astype(np.uint64) & np.uint64(bits)) != 0

        self.noise = flagged(constants.ACQ_IS_NOISE_MEASUREMENT)
        other = flagged(
            constants.ACQ_IS_NAVIGATION_DATA,
            constants.ACQ_IS_PHASECORR_DATA,
            constants.ACQ_IS_HPFEEDBACK_DATA,
            constants.ACQ_IS_DUMMYSCAN_DATA,
            constants.ACQ_IS_RTFEEDBACK_DATA,
            constants.ACQ_IS_SURFACECOILCORRECTIONSCAN_DATA,
        )
        calibration = flagged(constants.ACQ_IS_PARALLEL_CALIBRATION)
        imaging = ~(self.noise | other | calibration)
        if not imaging.any():
            raise ValueError(f"{path} holds {len(heads)} acquisitions, and none of them is a line of an image")
        if (imaging & flagged(constants.ACQ_IS_REVERSE)).any():
            raise ValueError(f"{path} holds lines that were read backwards (EPI), which are not corrected here")
        if calibration.any():
            warnings.warn(
                f"{path}: {int(calibration.sum())} lines were measured for calibration alone; they are left out",
                stacklevel=5,
            )
        counters = heads["idx"]
        for name in ("contrast", "phase", "repetition", "set"):
            first = counters[name][imaging].min()
            if (counters[name][imaging] != first).any():
                count = len(np.unique(counters[name][imaging]))
                warnings.warn(f"{path} holds {count} of kind {name}; the first is taken", stacklevel=5)
                imaging = imaging & (counters[name] == first)
        self.lines = np.flatnonzero(imaging)
        self._place()

    def _place(self) -> None:
        """Rows, columns and slices of the lines."""
        path, heads = self.path, self.heads[self.lines]
        samples = np.unique(heads["number_of_samples"])
        coils = np.unique(heads["active_channels"])
        if len(samples) != 1 or len(coils) != 1 or not (samples[0] and coils[0]):
            raise ValueError(
                f"{path}: its lines have {', '.join(map(str, samples[:5]))} samples of "
                f"{', '.join(map(str, coils[:5]))} coils; all of them need the same number"
            )
        if heads["trajectory_dimensions"].any() and len(np.unique(heads["trajectory_dimensions"])) > 1:
            raise ValueError(f"{path}: some of its lines have a trajectory, and others none")
        self.samples, self.coils = int(samples[0]), int(coils[0])
        x, y, z = self.size
        self.height = max(x, self.samples)
        self.columns = self._encoded(heads["idx"]["kspace_encode_step_1"], y, "kspace_encoding_step_1")
        self.partitions = self._encoded(heads["idx"]["kspace_encode_step_2"], z, "kspace_encoding_step_2")
        self.slices = heads["idx"]["slice"].astype(int)
        if z > 1 and self.slices.any():
            raise ValueError(f"{path} holds several slabs of a three-dimensional encoding; only one is read")
        self.count = z if z > 1 else int(self.slices.max()) + 1
        # The middle of the readout, which is not that of the samples in an asymmetric echo.
        centre = heads["center_sample"].astype(int)
        full = self.samples == self.height
        self.first = np.zeros(len(heads), int) if full else self.height // 2 - centre
        if (self.first < 0).any() or (self.first + self.samples > self.height).any():
            raise ValueError(f"{path}: lines of {self.samples} samples do not fit into the {self.height} encoded ones")
        taken = 8 * self.count * self.coils * self.height * y
        check_size(path, taken, path.stat().st_size, f"{self.count} slices of {self.coils} coils of {x} x {y}")

    def _encoded(self, steps: np.ndarray, size: int, name: str) -> np.ndarray:
        """Places of the encoding steps, zero frequency in the middle."""
        steps = steps.astype(int)
        centre = self.header.number(f"encoding/encodingLimits/{name}/center")
        places = steps + (0 if centre is None else size // 2 - int(centre))
        if (places < 0).any() or (places >= size).any():
            worst = int(steps[(places < 0) | (places >= size)][0])
            raise ValueError(f"{self.path}: step {worst} of {name} lies outside the {size} that are encoded")
        return places

    def contents(self) -> Contents:
        """What ``read_scan`` needs."""
        width = self.size[1]
        facts: dict[str, Any] = {"centred": True, "modality": "MR"}
        facts |= geometry(self.header, (self.height, width))
        mask = np.zeros((self.height, width), np.float32)
        for column, first in zip(self.columns, self.first, strict=True):
            mask[first : first + self.samples, column] = 1
        facts["mask"] = torch.from_numpy(mask)
        if self.size[2] > 1:
            self._check_slab(mask)
        if self.noise.any():
            facts["noise"] = self._covariance()
        affine = self._affine(facts)
        if affine is not None:
            facts["affine"] = affine
        more = {"system": self.header.word("acquisitionSystemInformation/systemVendor")}
        return Contents("ISMRMRD", self.count, self.read, "kspace", {**facts, "more": more})

    def _check_slab(self, mask: np.ndarray) -> None:
        """All partitions of a slab have to be measured alike, for them to be transformed."""
        places = set(zip(self.columns.tolist(), self.partitions.tolist(), strict=True))
        if len(places) != int(mask.any(0).sum()) * self.size[2]:
            raise ValueError(
                f"{self.path}: its three-dimensional k-space is not whole along the slices, which are therefore not "
                "separable; only such files are read"
            )

    def read(self, slices: Sequence[int]) -> np.ndarray:
        """(slices, coils, readout, phase encoding)."""
        z, width = self.size[2], self.size[1]
        wanted = list(range(z)) if z > 1 else list(slices)
        where = self.partitions if z > 1 else self.slices
        values = np.zeros((len(wanted), self.coils, self.height, width), np.complex64)
        counts = np.zeros((len(wanted), width), np.int64)
        index = {number: k for k, number in enumerate(wanted)}
        needed = np.flatnonzero(np.isin(where, wanted))
        for place, line in zip(needed, self._data(self.lines[needed]), strict=True):
            k, column, first = index[int(where[place])], self.columns[place], self.first[place]
            values[k, :, first : first + self.samples, column] += line
            counts[k, column] += 1
        values /= np.maximum(counts, 1)[:, None, None, :]
        if z > 1:
            shifted = np.fft.ifft(np.fft.ifftshift(values, 0), axis=0, norm="ortho")
            values = np.fft.fftshift(shifted, 0).astype(np.complex64)[list(slices)]
        return values

    def _data(self, lines: np.ndarray) -> Any:
        """(coils, samples) of each line, in order."""
        for begin in range(0, len(lines), PIECE):
            part = lines[begin : begin + PIECE]
            lengths, values = self.file.field("dataset/data", "data", part.tolist())
            for number, flat in zip(part, np.split(values, np.cumsum(lengths)[:-1]), strict=True):
                head = self.heads[number]
                shape = (int(head["active_channels"]), int(head["number_of_samples"]))
                if flat.size != 2 * shape[0] * shape[1]:
                    raise ValueError(
                        f"{self.path}: acquisition {number} holds {flat.size} numbers, and its header speaks of "
                        f"{shape[1]} complex samples of {shape[0]} coils"
                    )
                yield flat.view(np.complex64).reshape(shape)

    def _covariance(self) -> torch.Tensor | None:
        """E n n^H over the recordings of noise; None where there are fewer samples than coils."""
        lines = [
            line
            for line in self._data(np.flatnonzero(self.noise))
            if line.shape[0] == self.coils and np.isfinite(line).all()
        ]
        samples = np.concatenate(lines, 1).astype(np.complex128) if lines else np.zeros((self.coils, 0))
        if samples.shape[1] < 2 * self.coils:
            warnings.warn(
                f"{self.path}: its recording of noise is too short for {self.coils} coils; it is left out", stacklevel=6
            )
            return None
        return torch.from_numpy(samples @ samples.conj().T / samples.shape[1])

    def _affine(self, facts: dict[str, Any]) -> np.ndarray | None:
        """From (column, row, slice) to mm, of the image of the right size."""
        heads = self.heads[self.lines]
        spacing = facts.get("spacing")
        head = heads[np.argmin(self.slices)]
        read, phase, normal = (head[name].astype(float) for name in ("read_dir", "phase_dir", "slice_dir"))
        place = head["position"].astype(float)
        axes = np.stack([phase, read, normal], 1)
        if spacing is None or not np.isfinite(axes).all() or abs(abs(np.linalg.det(axes)) - 1) > 1e-2:
            return None
        height, width = facts.get("image_size", (self.height, self.size[1]))
        step = spacing[0]
        if self.size[2] == 1 and self.count > 1:
            last = heads[np.argmax(self.slices)]["position"].astype(float)
            apart = float((last - place) @ normal) / (self.count - 1)
            if np.isfinite(apart) and abs(apart) > 1e-3:
                step, normal = abs(apart), np.sign(apart) * normal
                facts["spacing"] = (step, *spacing[1:])
        columns = np.stack([phase * spacing[2], read * spacing[1], normal * step], 1)
        middle = np.array([width // 2, height // 2, self.count // 2 if self.size[2] > 1 else 0])
        affine = np.eye(4)
        affine[:3, :3], affine[:3, 3] = columns, place - columns @ middle
        return np.diag([-1.0, -1, 1, 1]) @ affine  # from (left, posterior, superior)
