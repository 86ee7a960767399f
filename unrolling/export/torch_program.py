"""Format ``torch``: a program of ``torch.export``, read by torch without the code of this library."""

from __future__ import annotations

from pathlib import Path

import torch

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

    def write(self, traced: Traced, path: Path, card: str) -> None:
        # torch would store the example, which may be private.
        traced.program.example_inputs = None
        with quiet():  # on tensors of one element that stand for many
            torch.export.save(traced.program, path, extra_files={CARD: card})

    def open(self, path: Path) -> tuple[Run, str | None]:
        files = {CARD: ""}
        try:
            with quiet():
                module = torch.export.load(path, extra_files=files).module()
        except Exception as error:
            raise ValueError(f"{path} cannot be read as a torch.export program: {first_line(error)}") from error
        return lambda inputs: listed(module(**inputs)), files[CARD] or None
