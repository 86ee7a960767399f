"""One thread, the same examples on every run; the command line as a function."""

import sys

import hypothesis
import pytest
import torch

torch.set_num_threads(1)
hypothesis.settings.register_profile("unrolling", derandomize=True, deadline=None, max_examples=20, database=None)
hypothesis.settings.load_profile("unrolling")


@pytest.fixture(autouse=True)
def same_start():
    """Modules that draw their first values from torch's generator draw the same ones, whichever tests came before."""
    torch.manual_seed(0)


@pytest.fixture
def unroll(monkeypatch, capsys):
    """Runs the command in this process: arguments -> (exit status, standard output, error output)."""
    from unrolling.cli.main import main

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["unroll", *map(str, arguments)])
        capsys.readouterr()
        status = 0
        try:
            main()
        except SystemExit as end:
            status = end.code or 0
        return status, *capsys.readouterr()

    return run
