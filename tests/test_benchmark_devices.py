"""Benchmarks take ``--device``: on a machine without CUDA they say so, and the code that a GPU would run runs on the
processor.
"""

import argparse
import importlib
import re
import sys

import pytest
import torch

from benchmarks import networks, roofline, scaling
from benchmarks.record import options, start, waiter
from benchmarks.timing import alternate

CPU = torch.device("cpu")


@pytest.mark.parametrize("name", ["roofline", "scaling", "precision", "peers", "export_formats", "gradient_rules"])
def test_cuda_is_refused_where_there_is_none(name, monkeypatch):
    module = importlib.import_module(f"benchmarks.{name}")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(sys, "argv", [name, "--device", "cuda", "--threads", str(torch.get_num_threads())])
    with pytest.raises(SystemExit, match="torch sees no CUDA device here"):
        module.main()


def test_the_processor_is_the_default():
    given = options("", seconds=1.0, threads=torch.get_num_threads()).parse_args([])
    assert start(given) == CPU
    assert waiter(CPU) is None
    assert start(argparse.Namespace(device="cpu", threads=torch.get_num_threads())) == CPU


def test_a_series_of_sizes():
    rows = scaling.series(
        "batch", (1, 4), lambda size: (networks.lista_cp(2, 8, 16), networks.measurements(size, 8)), 0.01, CPU
    )
    assert [(row["what"], row["size"]) for row in rows] == [
        (f"{kind} against batch", size) for kind in ("forward", "training step") for size in (1, 4)
    ]
    assert all(row["milliseconds"] > 0 for row in rows)
    assert ["exponent" in row for row in rows] == [False, True, False, True]


def test_the_peak_counts_the_operations_of_its_products():
    for name, (call, operations) in roofline.products(7, CPU).items():
        rows, inner, _, columns = map(int, re.findall(r"\d+", name))
        assert operations == 2 * rows * inner * columns
        assert call().shape == (rows, columns)


def test_a_warm_call_is_timed_after_one_of_its_own():
    called, waited = [], []
    times = alternate(
        {"a": lambda: called.append("a"), "b": lambda: called.append("b")},
        seconds=0.0,
        least=4,
        wait=lambda: waited.append(len(called)),
        warm=True,
    )
    assert [len(own) for own in times.values()] == [4, 4]
    measured = called[6:]  # the warm-up is three rounds
    assert measured == [name for turn in range(4) for name in ("aabb" if turn % 2 else "bbaa")]
    assert waited == [6, *range(7, 23)], "the device is waited for after every call"
