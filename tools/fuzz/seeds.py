"""Files of every format that is read, made here."""

from __future__ import annotations

import gzip
import io
import json
import struct
import tempfile
import warnings
import zlib
from pathlib import Path

import numpy as np

RATE = 8000


def _values():
    draw = np.random.default_rng(0)
    smooth = np.linspace(0, 1, 24 * 30 * 3).reshape(24, 30, 3)
    return np.clip(smooth + 0.1 * draw.standard_normal(smooth.shape), 0, 1)


def pictures() -> dict[str, bytes]:
    """Name -> content."""
    import tifffile
    from PIL import Image

    from unrolling.files import png16

    values = _values()
    eight, deep = (255 * values).astype(np.uint8), (65535 * values).astype(np.uint16)
    image = Image.fromarray(eight)
    exif = Image.Exif()
    exif[0x0112] = 6

    def saved(picture, form, **options):
        content = io.BytesIO()
        picture.save(content, form, **options)
        return content.getvalue()

    def deep_tiff(array, **options):
        content = io.BytesIO()
        tifffile.imwrite(content, array, **options)
        return content.getvalue()

    def deep_png():
        with tempfile.TemporaryDirectory() as folder:
            png16.write(Path(folder) / "a.png", deep)
            return (Path(folder) / "a.png").read_bytes()

    return {
        "rgb.png": saved(image, "PNG", exif=exif),
        "palette.png": saved(image.convert("P"), "PNG", transparency=3),
        "grey16.png": saved(Image.fromarray(deep[..., 0]), "PNG"),
        "rgb16.png": deep_png(),
        "rgb.jpg": saved(image, "JPEG", exif=exif),
        "progressive.jpg": saved(image, "JPEG", progressive=True),
        "cmyk.jpg": saved(image.convert("CMYK"), "JPEG"),
        "rgb.bmp": saved(image, "BMP"),
        "grey.bmp": saved(image.convert("L"), "BMP"),
        "lossy.webp": saved(image, "WEBP"),
        "lossless.webp": saved(image, "WEBP", lossless=True),
        "palette.gif": saved(image, "GIF"),
        "rgb.ppm": saved(image, "PPM"),
        "one.pbm": saved(image.convert("1"), "PPM"),
        "rgb.jp2": saved(image, "JPEG2000"),
        "rgb.avif": saved(image, "AVIF"),
        "raw.tif": saved(image, "TIFF"),
        "lzw.tif": saved(image, "TIFF", compression="tiff_lzw"),
        "jpeg.tif": saved(image, "TIFF", compression="jpeg"),
        "fax.tif": saved(image.convert("1"), "TIFF", compression="group4"),
        "rgb16.tif": deep_tiff(deep),
        "packed16.tif": deep_tiff(deep, compression="zlib"),
        "float.tif": deep_tiff(values.astype(np.float32)),
        "tiled.tif": deep_tiff(deep, tile=(16, 16)),
        "pages.tif": deep_tiff(np.stack([deep[..., 0]] * 2), photometric="minisblack"),
        "alpha.png": saved(image.convert("RGBA"), "PNG"),
        "one.png": saved(image.convert("1"), "PNG"),
        "interlaced.png": interlaced(eight[..., 0]),
        "grey.jpg": saved(image.convert("L"), "JPEG"),
        "alpha16.tif": deep_tiff(deep[..., :2], photometric="minisblack", extrasamples=["unassalpha"]),
    }


def stacks() -> dict[str, bytes]:
    """Name -> content: TIFF files whose pages are the frames of a movie."""
    import tifffile

    frames = np.random.default_rng(5).integers(0, 4000, (6, 9, 8), dtype=np.uint16)

    def saved(array, **options):
        content = io.BytesIO()
        tifffile.imwrite(content, array, photometric="minisblack", **options)
        return content.getvalue()

    # as ImageJ writes what does not fit into 4 GB: the first page stands for all
    text = f"ImageJ=1.54f\nimages={len(frames)}\n"
    whole = saved(frames[0], description=text, metadata=None) + frames[1:].tobytes()
    return {
        "stack.tif": saved(frames),
        "packed_stack.tif": saved(frames, compression="zlib", predictor=True),
        "float_stack.tif": saved(frames.astype(np.float32)),
        "imagej_stack.tif": saved(frames, imagej=True),
        "large_stack.tif": saved(frames, bigtiff=True, byteorder=">"),
        "whole_stack.tif": whole,
    }


def movies() -> dict[str, bytes]:
    """Name -> content: movies (height, width, frames) of ultrasound, whole or frame by frame."""
    draw = np.random.default_rng(6)
    movie = (draw.standard_normal((9, 8, 5)) + 1j * draw.standard_normal((9, 8, 5))).astype(np.complex64)

    def saved(function, *given, **named):
        content = io.BytesIO()
        function(content, *given, **named)
        return content.getvalue()

    return {
        "movie.npy": saved(np.save, movie),
        "real_movie.npy": saved(np.save, movie.real.copy()),
        "fortran_movie.npy": saved(np.save, np.asfortranarray(movie.astype(np.complex128))),
        "movie.npz": saved(np.savez_compressed, movie=movie, rate=500.0),
        "frames.npz": saved(np.savez, *np.moveaxis(movie, -1, 0)),
    }


def rasters() -> dict[str, bytes]:
    """Name -> content: bands of a satellite with their place on the Earth."""
    import tifffile

    bands = np.random.default_rng(7).integers(1, 2000, (4, 9, 8), dtype=np.uint16)
    bands[:, 2, 3] = 0
    place = [
        (33550, "d", 3, (2.0, 2.0, 0.0), True),
        (33922, "d", 6, (0.0, 0.0, 0.0, 500000.0, 4100000.0, 0.0), True),
        (34735, "H", 8, (1, 1, 0, 1, 1025, 0, 1, 1), True),
        (42113, "s", 2, "0", True),  # GDAL's number for no data
    ]

    def saved(array, **options):
        content = io.BytesIO()
        tifffile.imwrite(content, array, photometric="minisblack", extratags=place, metadata=None, **options)
        return content.getvalue()

    content = io.BytesIO()
    np.save(content, bands.astype(np.float32))
    return {
        "bands.tif": saved(np.moveaxis(bands, 0, -1), planarconfig="contig"),
        "separate_bands.tif": saved(bands, planarconfig="separate", compression="zlib"),
        "float_bands.tif": saved(np.moveaxis(bands, 0, -1).astype(np.float32), planarconfig="contig", tile=(16, 16)),
        "pan.tif": saved(bands[0], bigtiff=True, byteorder=">"),
        "bands.npy": content.getvalue(),
    }


def sounds() -> dict[str, bytes]:
    """Name -> content."""
    import soundfile

    samples = 0.3 * np.random.default_rng(1).standard_normal((3000, 2))
    made = {}
    for name, form, subtype in (
        ("u8.wav", "WAV", "PCM_U8"),
        ("pcm16.wav", "WAV", "PCM_16"),
        ("pcm24.wav", "WAVEX", "PCM_24"),
        ("float.wav", "WAV", "FLOAT"),
        ("adpcm.wav", "WAV", "IMA_ADPCM"),
        ("rf64.wav", "RF64", "PCM_16"),
        ("a.w64", "W64", "PCM_16"),
        ("pcm16.aiff", "AIFF", "PCM_16"),
        ("ulaw.aiff", "AIFF", "ULAW"),
        ("a.flac", "FLAC", "PCM_16"),
        ("vorbis.ogg", "OGG", "VORBIS"),
        ("opus.ogg", "OGG", "OPUS"),
        ("a.au", "AU", "PCM_16"),
        ("a.caf", "CAF", "PCM_16"),
    ):
        content = io.BytesIO()
        soundfile.write(content, samples.clip(-0.9, 0.9), RATE, subtype, format=form)
        made[name] = content.getvalue()
    # In the other order of bytes, as big machines wrote it.
    values = (samples * 8000).astype(">i2").tobytes()
    form = struct.pack(">4sIHHIIHH", b"fmt ", 16, 1, 2, RATE, 4 * RATE, 4, 16)
    content = b"WAVE" + form + struct.pack(">4sI", b"data", len(values)) + values
    made["rifx.wav"] = struct.pack(">4sI", b"RIFX", len(content)) + content
    return made


def arrays() -> dict[str, bytes]:
    """Name -> content."""
    draw = np.random.default_rng(2)
    y, channel = draw.standard_normal((5, 6)), draw.standard_normal((5, 6, 3))

    def saved(function, *given, **named):
        content = io.BytesIO()
        function(content, *given, **named)
        return content.getvalue()

    return {
        "received.npz": saved(np.savez, y=y, channel=channel, noise_variance=0.1),
        "packed.npz": saved(np.savez_compressed, y=y, channel=channel),
        "sequences.npy": saved(np.save, y),
        "kspace.npy": saved(np.save, (draw.standard_normal((8, 8)) + 1j).astype(np.complex64)),
        "fortran.npy": saved(np.save, np.asfortranarray(y)),
    }


def scans() -> dict[str, bytes]:
    """Name -> content: what scanners and their software write."""
    import nibabel
    import pydicom
    import scipy.io
    from pydicom.uid import DeflatedExplicitVRLittleEndian, RLELossless

    draw = np.random.default_rng(4)
    samples = (draw.standard_normal((2, 3, 8, 6)) + 1j * draw.standard_normal((2, 3, 8, 6))).astype(np.complex64)
    values = draw.integers(-1000, 1000, (6, 8, 3)).astype(np.int16)
    made = {"fastmri.h5": _hdf5(kspace=samples, mask=np.r_[1, 1, 0, 1, 0, 1], ismrmrd_header=HEADER)}
    made["packed.h5"] = _hdf5({"compression": "gzip", "shuffle": True}, kspace=samples[:, 0])
    made["ismrmrd.h5"] = _ismrmrd(draw)
    undated = b"MATLAB 5.0 MAT-file".ljust(116)
    made["matlab.mat"] = undated + saved_by(scipy.io.savemat, {"kspace": samples[0].transpose(1, 2, 0)})[116:]
    held = {"image": values, "spacing": 2.0}
    made["packed.mat"] = undated + saved_by(scipy.io.savemat, held, do_compression=True)[116:]
    pairs = np.zeros((3, 6, 8), [("real", "f8"), ("imag", "f8")])
    pairs["real"], pairs["imag"] = samples[0].real.swapaxes(1, 2), samples[0].imag.swapaxes(1, 2)
    made["seven.mat"] = b"MATLAB 7.3 MAT-file".ljust(512) + _hdf5({}, 512, kspace=pairs)[512:]
    for name, kind in (("volume.nii", nibabel.Nifti1Image), ("second.nii", nibabel.Nifti2Image)):
        made[name] = kind(values, np.diag([1, 2, 3, 1])).to_bytes()
    made["packed.nii.gz"] = gzip.compress(made["volume.nii"], mtime=0)
    data = pydicom.dcmread(pydicom.data.get_testdata_file("CT_small.dcm", download=False))
    data.PixelData, data.Rows, data.Columns = values[..., 0].tobytes(), 6, 8
    data.remove_private_tags()  # most of the file, with its padding
    del data.DataSetTrailingPadding
    made["ct.dcm"] = saved_by(lambda file: data.save_as(file))
    data.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    made["deflated.dcm"] = saved_by(lambda file: data.save_as(file))
    data.compress(RLELossless, generate_instance_uid=False)
    made["rle.dcm"] = saved_by(lambda file: data.save_as(file))
    return made


SPACE = "<matrixSize><x>8</x><y>6</y><z>1</z></matrixSize><fieldOfView_mm><x>16</x><y>12</y><z>5</z></fieldOfView_mm>"
HEADER = (
    '<?xml version="1.0"?><ismrmrdHeader xmlns="http://www.ismrm.org/ISMRMRD"><encoding><encodedSpace>'
    f"{SPACE}</encodedSpace><reconSpace>{SPACE}</reconSpace><encodingLimits/><trajectory>cartesian</trajectory>"
    "</encoding></ismrmrdHeader>"
)


def saved_by(function, *given, **named) -> bytes:
    """What a function writes into a file that it is given first."""
    content = io.BytesIO()
    function(content, *given, **named)
    return content.getvalue()


def _hdf5(options: dict | None = None, userblock: int = 0, **arrays) -> bytes:
    import h5py

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.h5"
        with h5py.File(path, "w", userblock_size=userblock) as file:
            for name, values in arrays.items():
                file.create_dataset(name, data=values, **(options or {}))
        return path.read_bytes()


def _ismrmrd(draw) -> bytes:
    """Six lines of two coils, and a recording of noise, by the package of the format."""
    import ismrmrd

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.h5"
        held = ismrmrd.Dataset(str(path), "dataset", create_if_needed=True)
        held.write_xml_header(HEADER.encode())
        for line in range(7):
            values = (draw.standard_normal((2, 8)) + 1j * draw.standard_normal((2, 8))).astype(np.complex64)
            acquisition = ismrmrd.Acquisition.from_array(values)
            acquisition.idx.kspace_encode_step_1 = line % 6
            acquisition.center_sample = 4
            acquisition.read_dir[:], acquisition.phase_dir[:], acquisition.slice_dir[:] = np.eye(3, dtype=np.float32)
            if line == 6:
                acquisition.set_flag(ismrmrd.ACQ_IS_NOISE_MEASUREMENT)
            held.append_acquisition(acquisition)
        held.close()
        return path.read_bytes()


def interlaced(values: np.ndarray) -> bytes:
    """A grey PNG in the seven passes of Adam7."""
    rows = b""
    for top, left, down, right in (
        (0, 0, 8, 8),
        (0, 4, 8, 8),
        (4, 0, 8, 4),
        (0, 2, 4, 4),
        (2, 0, 4, 2),
        (0, 1, 2, 2),
        (1, 0, 2, 1),
    ):
        for row in values[top::down, left::right]:
            rows += b"\0" + row.tobytes()
    parts = {
        b"IHDR": struct.pack(">IIBBBBB", values.shape[1], values.shape[0], 8, 0, 0, 0, 1),
        b"IDAT": zlib.compress(rows),
        b"IEND": b"",
    }
    content = b"\x89PNG\r\n\x1a\n"
    for kind, body in parts.items():
        content += struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
    return content


def others() -> dict[str, bytes]:
    """Masks, channels, taps, pilots, weights, programs and comparisons by name; the part of a name before the first dot
    says what it is.
    """
    draw = np.random.default_rng(3)

    def saved(values: np.ndarray) -> bytes:
        content = io.BytesIO()
        np.save(content, values)
        return content.getvalue()

    pilots = io.BytesIO()
    np.savez(pilots, y=draw.standard_normal((1, 300)), symbols=draw.choice([-1.0, 1.0], (1, 300)))
    return {
        "mask.npy": saved((draw.random((8, 8)) < 0.5).astype(float)),
        "channels.npy": saved(draw.standard_normal((2, 5, 3))),
        "taps.npy": saved(np.array([1.0, 0.6, 0.36, 0.2])),
        "dictionary.npy": saved(draw.standard_normal((5, 8))),
        "pilots.npz": pilots.getvalue(),
        "weights.safetensors": _weights(),
        "comparison.json": _comparison(),
    }


def programs() -> dict[str, bytes]:
    """Exported networks, which take seconds to make."""
    import torch

    from unrolling.algorithms import ISTA
    from unrolling.core import unroll
    from unrolling.export import export

    made = {}
    generator = torch.Generator().manual_seed(0)
    network = unroll(ISTA(torch.randn(5, 8, generator=generator), 0.1), 2)
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for suffix in ("pt2", "onnx"):
            path = Path(folder) / f"program.{suffix}"
            export(network, path, torch.randn(3, 5, generator=generator), format={"pt2": "torch"}.get(suffix, suffix))
            made[path.name] = path.read_bytes()
    return made


def _weights() -> bytes:
    from unrolling.systems.catalogue import find

    return find("communications/ep_net").weights_files()[0].read_bytes()


def _comparison() -> bytes:
    from unrolling.evaluation.comparison import Comparison
    from unrolling.evaluation.records import Curve, Interval, Row
    from unrolling.tasks.metrics import NMSE

    rows = [
        Row(name, role, Interval(mean, mean - 1, mean + 1), iterations, parameters, None)
        for name, role, mean, iterations, parameters in (
            ("LISTA", "network", -20.0, 16, 1000),
            ("ISTA", "parent", -10.0, 100, None),
        )
    ]
    curves = [Curve("ISTA", "parent", [1, 2, 3], [-1.0, -2.0, -3.0], [0.1, 0.2, 0.3])]
    return json.dumps(
        Comparison("a/b", "B", "task", "summary", NMSE, rows, {"torch": "2"}, curves=curves).to_json()
    ).encode()
