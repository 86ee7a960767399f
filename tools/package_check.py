"""Builds the wheel and the source distribution and tries them as somebody who installs them would:
``python -m tools.package_check``.

In an environment that holds the wheel and what it requires, and nothing else: what works without extras works, and what
does not names its extra in one line; without a compiler; with a home that cannot be written to. With ``--extras`` those
are installed too, and a picture and a sound are worked on; with ``--lowest`` every requirement has the lowest version
that is allowed, but for torch where ``--torch`` names another.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import struct
import subprocess
import sys
import tarfile
import tempfile
import tomllib
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LARGEST = 12_000_000  # bytes of the wheel
# Not in the source distribution: what only the repository's own services read.
OURS = (".github/", ".ci/", ".git", "packaging/")
UNWANTED = ("matplotlib", "nvidia-", "cuda", "triton", "torchvision", "scikit-", "pillow", "onnx")
EXTRAS = "data,audio,scans,export"
HINT = re.compile(r"^unroll: .* needs the package [\w-]+: pip install 'unrolling\[\w+\]'$")
# Every network that ships is built and loaded, or the packages that its task lacks are named.
SHIPPED = """
import re, torch
from unrolling.cli.prepare import prepare
from unrolling.systems.index import read_index
from unrolling.training.weights import load_weights
loaded, named = 0, 0
for entry in read_index():
    for task in entry["tasks"]:
        if not entry["weights"][task]:
            continue
        try:
            job = prepare(entry["name"], task, None, None, 0, None, 1, None, "", pretrained=True, write=False)
        except ImportError as error:
            assert re.search(r"needs the package [\\w-]+: pip install 'unrolling\\[\\w+\\]'", str(error)), error
            named += 1
            continue
        load_weights(job.network, job.weights, system=entry["name"])
        loaded += 1
print(f"{loaded} networks loaded, {named} name the extra that their task needs")
"""
# The kernels in C++ are compiled when they are needed; the same comes out where they cannot be.
KERNELS = """
import torch
from unrolling import deploy, unroll
from unrolling.algorithms import ISTA
torch.manual_seed(0)
network = unroll(ISTA(torch.randn(20, 40) / 20**0.5, weight=0.1), depth=16, untied="threshold")
y = torch.randn(1, 20)
with torch.no_grad():
    assert torch.allclose(deploy(network)(y), network(y), atol=1e-6)
"""


def build(folder: Path) -> tuple[Path, Path]:
    """The source distribution, and the wheel that is made from it."""
    command = [sys.executable, "-m", "build", "--outdir", str(folder), str(ROOT)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    (source,), (wheel,) = folder.glob("*.tar.gz"), folder.glob("*.whl")
    return source, wheel


def check_wheel(wheel: Path) -> str:
    """Its size, what it holds and what it requires; a sentence.

    Raises:
        AssertionError: of any of these.
    """
    size = wheel.stat().st_size
    assert size <= LARGEST, f"the wheel has {size:,} bytes, more than {LARGEST:,}"
    with zipfile.ZipFile(wheel) as content:
        names = content.namelist()
        metadata = next(content.read(name).decode() for name in names if name.endswith("/METADATA"))
    assert "unrolling/py.typed" in names, "the wheel lacks py.typed"
    strangers = {name.split("/")[0] for name in names if not name.startswith("unrolling")}
    assert not strangers, f"the wheel holds {strangers}"
    required = [line.split(": ")[1] for line in metadata.splitlines() if line.startswith("Requires-Dist")]
    plain = [line for line in required if "extra ==" not in line]
    bad = [line for line in plain if line.lower().startswith(UNWANTED)]
    assert not bad, f"the wheel requires {bad}"
    return f"{wheel.name}: {size / 1e6:.1f} MB, {len(names)} files, {len(plain)} requirements"


def check_source(source: Path) -> str:
    """Whether it holds every file of the repository that tests, benchmarks and the documentation need; a sentence.

    Raises:
        AssertionError: it does not.
    """
    with tarfile.open(source) as content:
        held = {name.partition("/")[2] for name in content.getnames()}
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
    missing = [name for name in listed.stdout.splitlines() if not name.startswith(OURS) and name not in held]
    assert not missing, f"the source distribution lacks {missing[:5]}"
    assert any(name.startswith("tests/") for name in held), "the source distribution lacks the tests"
    return f"{source.name}: {source.stat().st_size / 1e6:.1f} MB, {len(held)} files"


def lowest(requirements: Sequence[str]) -> list[str]:
    """``name>=version`` as ``name==version``."""
    found = []
    for each in requirements:
        name, bound, version = each.partition(">=")
        if bound:
            found.append(f"{name}=={version}")
    return found


def requirements(extras: str) -> list[str]:
    """Of the package and of some extras, as ``pyproject.toml`` has them."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    optional = project["optional-dependencies"]
    return [*project["dependencies"], *(each for extra in extras.split(",") if extra for each in optional[extra])]


def pinned(name: str) -> str:
    """The version that the tests are pinned to: ``torch==2.13.0``."""
    return next(line for line in (ROOT / "constraints.txt").read_text().splitlines() if line.startswith(f"{name}=="))


# A file as fastMRI writes them.
SCAN = """
import h5py, numpy
image = numpy.zeros((2, 32, 32)); image[:, 8:24, 10:20] = 1
with h5py.File("scan.h5", "w") as file:
    file["kspace"] = numpy.fft.fftshift(numpy.fft.fft2(numpy.fft.ifftshift(image, (1, 2))), (1, 2)).astype("complex64")
"""


class Installed:
    """An environment with the wheel in it.

    Args:
        folder: for the environment and for what commands write.
        python: the interpreter.
    """

    def __init__(self, folder: Path, python: str) -> None:
        self.home, self.work = folder / "environment", folder / "work"
        subprocess.run([python, "-m", "venv", str(self.home)], check=True)
        self.work.mkdir()
        self.bin = self.home / ("Scripts" if os.name == "nt" else "bin")

    def install(self, *words: str) -> None:
        subprocess.run([self.bin / "python", "-m", "pip", "install", "-q", *words], check=True, cwd=self.work)

    def packages(self) -> list[str]:
        """Names of what is installed."""
        command = [self.bin / "python", "-m", "pip", "list", "--format", "freeze"]
        text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        return [line.split("==")[0].lower() for line in text.splitlines()]

    def run(self, *words: str, status: int = 0, more: Mapping[str, str] | None = None) -> tuple[str, str]:
        """The command ``unroll``, or ``python`` where that is the first word; standard and error output.

        Raises:
            AssertionError: another exit status, a traceback.
        """
        program, *arguments = words if words[0] == "python" else ("unroll", *words)
        inherited = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "UNROLLING"))}
        given = {**inherited, "OMP_NUM_THREADS": "1", **(more or {})}
        command = [str(self.bin / program), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, cwd=self.work, env=given)
        told = f"{' '.join(words)[:200]}: exit status {done.returncode}\n{done.stdout[-2000:]}{done.stderr[-2000:]}"
        assert done.returncode == status, told
        assert "Traceback" not in done.stderr, told
        return done.stdout, done.stderr

    def names_an_extra(self, *words: str) -> None:
        """The command ends with one line that says what to install."""
        output, errors = self.run(*words, status=2)
        assert not output, output
        assert HINT.match(errors.rstrip("\n")), errors


def png(path: Path, side: int = 48) -> None:
    """A grey picture, written without any library: a disc on a gradient."""
    rows = b""
    for i in range(side):
        inside = [(i - side / 2) ** 2 + (j - side / 2) ** 2 < (side / 4) ** 2 for j in range(side)]
        rows += b"\0" + bytes(200 if inside[j] else 40 + 2 * j for j in range(side))

    def chunk(kind: bytes, content: bytes) -> bytes:
        body = kind + content
        return struct.pack(">I", len(content)) + body + struct.pack(">I", zlib.crc32(body))

    head = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    parts = [chunk(b"IHDR", head), chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b"")]
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts))


def check_plain(at: Installed) -> list[str]:
    """Without extras; sentences."""
    said = [at.run("--version")[0].strip()]
    assert "sparse_coding/lista" in at.run("list")[0]
    assert "LISTA" in at.run("show", "lista")[0]
    at.run("apply", "imaging/tnrd", "--help")
    png(at.work / "picture.png")
    at.names_an_extra("apply", "imaging/tnrd", "picture.png", "-o", "clean.png", "--sigma", "25")
    at.names_an_extra("compare", "sparse_coding/lista", "--pretrained")
    (at.work / "scan.h5").write_bytes(b"\x89HDF\r\n\x1a\n")
    at.names_an_extra("apply", "medical/admm_csnet", "scan.h5", "-o", "image.npy")
    at.run("train", "sparse_coding/lista", "--task", "recovery", "--steps", "2", "--out", "run", "--quiet")
    said.append(at.run("python", "-c", SHIPPED)[0].strip())
    unwanted = [name for name in at.packages() if name.startswith(("matplotlib", "scikit-", "pillow", "onnx"))]
    assert not unwanted, f"without extras, {unwanted} are there"
    return said


def check_poor(at: Installed) -> list[str]:
    """Without a compiler, and with a home that cannot be written to; sentences."""
    at.run("python", "-c", KERNELS)
    nowhere = at.work / "no-folder"
    nowhere.write_text("a home that cannot be written to, not even by the administrator")
    poor = {"PATH": str(at.bin), "HOME": str(nowhere), "TORCH_EXTENSIONS_DIR": "", "XDG_CACHE_HOME": "", "CXX": ""}
    # What was compiled before lies in the folder for temporary files, where the usual one cannot be written to.
    (at.work / "temporary").mkdir(exist_ok=True)
    poor["TMPDIR"] = str(at.work / "temporary")
    at.run("python", "-c", KERNELS, more=poor)
    at.run("list", more=poor)
    at.run("compare", "communications/ep_net", "--pretrained", "--quick", "--out", "poor", "--quiet", more=poor)
    assert (at.work / "poor" / "index.html").stat().st_size > 10_000
    return ["without a compiler and with a read-only home: kernels fall back, compare --pretrained writes its page"]


def check_extras(at: Installed) -> list[str]:
    """A picture, a sound and a scan; a file for another runtime; sentences."""
    png(at.work / "picture.png")
    at.run("apply", "imaging/tnrd", "picture.png", "-o", "clean.png", "--sigma", "25", "--overwrite")
    assert (at.work / "clean.png").read_bytes().startswith(b"\x89PNG")
    sound = "import numpy, soundfile; soundfile.write('noisy.wav', 0.1 * numpy.random.randn(16000), 16000)"
    at.run("python", "-c", sound)
    at.run("apply", "speech/deep_nmf", "noisy.wav", "-o", "clean.wav", "--overwrite")
    at.run("python", "-c", SCAN)
    at.run("apply", "medical/admm_csnet", "scan.h5", "-o", "volume.nii.gz", "slice.dcm", "--slice", "1", "--overwrite")
    assert (at.work / "volume.nii.gz").read_bytes().startswith(b"\x1f\x8b")
    line = ("export", "sparse_coding/lista", "--task", "recovery", "--format", "onnx", "--out", "lista.onnx")
    at.run(*line, "--overwrite", "--quiet")
    at.run("python", "-c", SHIPPED)
    return ["with extras: a picture, a sound, a volume of NIfTI and an ONNX model are written"]


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--python", default=sys.executable, help="the interpreter to install for")
    parser.add_argument("--torch", default=pinned("torch"), help="what pip is asked for first; '' for any")
    parser.add_argument("--extras", action="store_true", help="install them too, and work on a picture and a sound")
    parser.add_argument("--lowest", action="store_true", help="every requirement at its lowest version")
    parser.add_argument("--dist", type=Path, help="keep what is built in this folder")
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="unrolling-package-") as name:
        folder = Path(name)
        source, wheel = build(folder / "dist")
        print(check_wheel(wheel), check_source(source), sep="\n", flush=True)
        if given.dist is not None:
            shutil.copytree(folder / "dist", given.dist, dirs_exist_ok=True)
        at = Installed(folder, given.python)
        if given.torch:
            at.install(given.torch)
        limits = folder / "lowest.txt"
        own = [line for line in lowest(requirements(EXTRAS)) if not (given.torch and line.startswith("torch=="))]
        limits.write_text("\n".join(own) + "\n" if given.lowest else "")
        at.install("-c", str(limits), str(wheel))
        print(*check_plain(at), *check_poor(at), sep="\n", flush=True)
        if given.extras or given.lowest:
            at.install("-c", str(limits), f"{wheel}[{EXTRAS}]")
            print(*check_extras(at), sep="\n", flush=True)


if __name__ == "__main__":
    main()
