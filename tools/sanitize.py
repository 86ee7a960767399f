"""Runs the tests of the C++ kernels with AddressSanitizer and UndefinedBehaviorSanitizer: ``make sanitize``.

The kernels are compiled with both and loaded into the process as always; the sanitizer's library is loaded before
Python, so that it sees every tensor's memory. First a file that reads past its end, and one that overflows, must be
found out; otherwise nothing would be proved.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

TESTS = ("kernel_edges", "support", "denoisers", "thin_step", "packed_steps", "sphere")
SANITIZERS = "address,undefined"
FAULTS = {
    "heap-buffer-overflow": "double fault(const double *x, long n) { return x[n]; }",
    "signed integer overflow": "double fault(const double *x, long n) { int k = 2147483647; return k + int(n); }",
}
CALL = """
import ctypes, sys, torch
library = ctypes.CDLL(sys.argv[1])
x = torch.ones(5, dtype=torch.float64)
library.fault.argtypes = [ctypes.c_void_p, ctypes.c_long]
library.fault(x.data_ptr(), 5)
"""


def compiler() -> str:
    """The first C++ compiler there is."""
    found = next(filter(None, map(shutil.which, ("g++", "c++", "clang++"))), None)
    if found is None:
        sys.exit("make sanitize needs a C++ compiler")
    return found


def environment(folder: Path) -> dict[str, str]:
    """What a process must be started with."""
    # The C++ library too, whose exceptions the sanitizer passes on: Python itself does not load it.
    libraries = [
        subprocess.run(
            [compiler(), f"-print-file-name={name}"], capture_output=True, text=True, check=True
        ).stdout.strip()
        for name in ("libasan.so", "libstdc++.so.6")
    ]
    if not all(Path(library).is_file() for library in libraries):
        sys.exit("make sanitize needs the compiler's sanitizers (libasan)")
    return {
        **os.environ,
        "LD_PRELOAD": " ".join(libraries),
        "ASAN_OPTIONS": "detect_leaks=0,abort_on_error=0",  # Python's own memory lives to the end
        "UBSAN_OPTIONS": "print_stacktrace=1,halt_on_error=1",
        "UNROLLING_SANITIZE": SANITIZERS,
        "UNROLLING_VERBOSE": "1",
        "TORCH_EXTENSIONS_DIR": str(folder),
        "CXX": compiler(),
        "OMP_NUM_THREADS": "1",
    }


def finds_faults(folder: Path) -> None:
    """Ends the program where a fault is not found."""
    flags = [f"-fsanitize={SANITIZERS}", "-fno-sanitize-recover=all", "-g", "-O1", "-fPIC", "-shared"]
    for words, body in FAULTS.items():
        source, library = folder / "fault.cpp", folder / "fault.so"
        source.write_text(f'extern "C" {body}\n')
        subprocess.run([compiler(), *flags, str(source), "-o", str(library)], check=True)
        done = subprocess.run(
            [sys.executable, "-c", CALL, str(library)],
            env=environment(folder),
            capture_output=True,
            text=True,
            check=False,
        )
        if words not in done.stderr:
            sys.exit(f"the sanitizers did not find a {words}: {done.stderr[-500:]}")
        print(f"a {words} that was put there is found")


def main() -> None:
    folder = Path(__file__).parents[1] / "tests"
    files = [str(folder / f"test_{name}.py") for name in TESTS]
    with tempfile.TemporaryDirectory() as cache:
        finds_faults(Path(cache))
        options = ["-q", "-p", "no:cacheprovider", "--capture=sys", "-m", "not bench and not nightly", *sys.argv[1:]]
        command = [sys.executable, "-m", "pytest", *options, *files]
        sys.exit(subprocess.run(command, env=environment(Path(cache)), check=False).returncode)


if __name__ == "__main__":
    main()
