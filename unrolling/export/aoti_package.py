"""Format ``aoti``: a package of AOTInductor, compiled for this kind of machine; runs from C++ without Python."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path
from typing import Any

import torch

from unrolling.export.format import Format, Run, listed, quiet
from unrolling.export.trace import ExportError, Traced, first_line

CARD = "card"


class AotiPackage(Format):
    """``torch._inductor.aoti_load_package(path)(data=y)``, or ``AOTIModelPackageLoader`` of libtorch in C++; the card
    is the metadata entry ``card``.

    The package holds machine code for the kind of processor that it was made on, which its metadata name. Complex
    tensors are real ones (..., 2), real and imaginary part. By itself it does not look at the sizes of its inputs; with
    AOTI_RUNTIME_CHECK_INPUTS=1 in the environment it does, and then refuses a batch of one, which it can run. Whoever
    loads it runs what it holds: ``load`` takes it where it is asked for by the format's name only.
    """

    name = "aoti"
    title = "AOTInductor package"
    suffix = ".pt2"

    def check(self) -> None:
        """As for every format.

        Raises:
            RuntimeError: no C++ compiler.
        """
        super().check()
        from torch._inductor.cpp_builder import get_cpp_compiler

        try:
            get_cpp_compiler()
        except Exception as error:
            raise RuntimeError(
                "format aoti compiles a network with a C++ compiler, and there is none: install g++ or clang++, or "
                "name one in the variable CXX"
            ) from error

    def write(self, traced: Traced, path: Path, card: str) -> None:
        program = traced.program
        content = io.BytesIO()  # on a disk that is full torch's writer ends the process
        # Only the shapes of the example matter, and its numbers may be private.
        program.example_inputs = ((), {name: torch.zeros_like(tensor) for name, tensor in traced.example.items()})
        content: Any = io.BytesIO()  # on a disk that is full torch's writer ends the process
        try:
            with quiet("torch._inductor"):  # operators that run through torch and not through code of their own
                torch._inductor.aoti_compile_and_package(
                    program, package_path=content, inductor_configs={"aot_inductor.metadata": {CARD: card}}
                )
        except Exception as error:  # of many kinds
            raise ExportError(f"the network cannot be compiled: {first_line(error)}") from error
        path.write_bytes(content.getbuffer())

    def open(self, path: Path) -> tuple[Run, str | None]:
        try:
            with quiet():
                package: Any = torch._inductor.aoti_load_package(str(path))
        except Exception as error:
            raise ValueError(f"{path} cannot be read as an AOTInductor package: {first_line(error)}") from error
        card = None
        with contextlib.suppress(Exception):
            card = package.get_metadata().get(CARD)
        return lambda inputs: listed(package(**inputs)), card
