"""Two processes against one with the same global batch."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from tiny import network, recovery

from unrolling.training import files
from unrolling.training.fit import fit
from unrolling.training.stages import Stage

SCRIPT = """
import sys
sys.path.insert(0, {tests!r})
import torch
torch.set_num_threads(1)
from test_distributed import STAGES, network, recovery
from unrolling.training import files
from unrolling.training.fit import fit
from unrolling.training.machine import Machine, is_main
task = recovery()
net = network(task, depth=4, tied={tied!r}, untied={untied!r})
history = fit(net, task, STAGES, {folder!r}, machine=Machine({machine}), validations=2, quiet=True)
if is_main():
    files.write({out!r}, net.learned(), {{"validations": [v for _, _, v in history.validations]}})
"""

STAGES = [Stage(40, rate=1e-2, batch=16, depth=2), Stage(60, rate=1e-2, batch=16, clip=0.5)]
TYINGS = {"untied": ((), ("encoder", "inhibition", "threshold")), "tied": (("encoder", "inhibition", "threshold"), ())}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "machine"),
    [
        pytest.param("untied", "", marks=pytest.mark.nightly),
        ("tied", ""),
        pytest.param("untied", "accumulate=2", marks=pytest.mark.nightly),
    ],
)
def test_two_processes_agree_with_one(kind, machine, tmp_path):
    tied, untied = TYINGS[kind]
    (tmp_path / "run.py").write_text(
        SCRIPT.format(
            tests=str(Path(__file__).parent),
            tied=tied,
            untied=untied,
            folder=str(tmp_path / "run"),
            machine=machine,
            out=str(tmp_path / "out"),
        )
    )
    command = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc-per-node=2",
        str(tmp_path / "run.py"),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    two, record = files.read(tmp_path / "out")
    task = recovery()
    net = network(task, depth=4, tied=tied, untied=untied)
    history = fit(net, task, STAGES, validations=2, quiet=True)
    for name, tensor in net.learned().items():
        assert float((two[name] - tensor).norm()) <= 1e-5 * float(tensor.norm()), name
    assert record["validations"] == pytest.approx([v for _, _, v in history.validations], abs=1e-4)
    assert not torch.equal(
        net.learned()[next(iter(two))], network(task, depth=4, tied=tied, untied=untied).learned()[next(iter(two))]
    )
