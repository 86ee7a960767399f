"""Format ``torch``: a program of ``torch.export``, read by torch without the code of this library."""

from __future__ import annotations

import io
from pathlib import Path

import torch

from unrolling.export.admitted import check_program
from unrolling.export.format import Format, Run, listed, quiet
from unrolling.export.trace import Traced, first_line

CARD = "card.json"


class TorchProgram(Format):
    """``torch.export.load(path).module()(data=y)``; the card is the extra file ``card.json`` (``extra_files`` of
    ``torch.export.load``).

    Complex numbers stay what they are. The program itself refuses other widths and sizes; a batch of none it answers
    with none.
    """

    name = "torch"
    title = "torch.export program"
    suffix = ".pt2"
    has_complex = True
    has_guards = True

    def write(self, traced: Traced, path: Path, card: str) -> None:
        # torch would store the example, which may be private.
        traced.program.example_inputs = None
        # In memory: on a disk that is full torch's writer ends the process.
        content = io.BytesIO()
        with quiet():  # on tensors of one element that stand for many
            torch.export.save(traced.program, content, extra_files={CARD: card})
        path.write_bytes(content.getbuffer())

    def open(self, path: Path) -> tuple[Run, str | None]:
        files, content = {CARD: ""}, path.read_bytes()
        try:
            check_program(content)  # torch would run what the file tells it to
        except Exception as error:  # of many kinds: nothing in it is as it should be
            reason = first_line(error)
            raise ValueError(f"{path} was not written by unrolling, or it is damaged: {reason}") from error
        try:
            with quiet():
                module = torch.export.load(io.BytesIO(content), extra_files=files).module()
        except Exception as error:
            raise ValueError(f"{path} cannot be read as a torch.export program: {first_line(error)}") from error
        return lambda inputs: listed(module(**inputs)), files[CARD] or None
