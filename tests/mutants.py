"""Files of every format that is read, made here, and what becomes of them on bad disks and in bad hands."""

import io
import random
import struct
import warnings

import numpy as np

RATE = 8000


def _values():
    draw = np.random.default_rng(0)
    smooth = np.linspace(0, 1, 24 * 30 * 3).reshape(24, 30, 3)
    return np.clip(smooth + 0.1 * draw.standard_normal(smooth.shape), 0, 1)


def pictures():
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
        import tempfile

        with tempfile.NamedTemporaryFile(suffix=".png") as file:
            png16.write(file.name, deep)
            return file.read()

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
        "alpha16.tif": deep_tiff(deep[..., :2], photometric="minisblack", extrasamples=["unassalpha"]),
    }


def sounds():
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


def arrays():
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


def mutated(content, seed):
    """The content with bits, bytes, numbers or pieces changed, lost or doubled."""
    draw = random.Random(seed)
    changed = bytearray(content)
    for _ in range(draw.choice((1, 1, 2, 8))):
        if not changed:
            break
        # Headers matter most.
        place = draw.randrange(min(len(changed), 128) if draw.random() < 0.5 else len(changed))
        kind = draw.randrange(7)
        if kind == 0:
            changed[place] ^= 1 << draw.randrange(8)
        elif kind == 1:
            changed[place] = draw.choice((0, 1, 127, 128, 255))
        elif kind == 2:
            number = draw.choice((0, 1, 0x7FFFFFFF, 0xFFFFFFFF, 0x80000000, 65536))
            changed[place : place + 4] = struct.pack(draw.choice("<>") + "I", number)
        elif kind == 3:
            del changed[place : place + draw.randrange(1, 64)]
        elif kind == 4:
            changed[place:place] = changed[place : place + draw.randrange(1, 64)]
        elif kind == 5:
            del changed[place:]
        else:
            changed[place : place + 16] = draw.randbytes(16)
    return bytes(changed)


def quiet():
    """A context without the warnings of decoders."""
    context = warnings.catch_warnings()
    context.__enter__()
    warnings.simplefilter("ignore")
    return context
