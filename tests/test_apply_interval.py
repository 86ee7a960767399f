"""``unroll apply --interval``: half-widths beside the result."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from skimage import data, io

TNRD = "imaging/tnrd"


@pytest.fixture
def noisy(tmp_path):
    clean = data.camera()[100:196, 150:262] / 255
    noise = 25 / 255 * np.random.default_rng(0).standard_normal(clean.shape)
    io.imsave(tmp_path / "noisy.png", (np.clip(clean + noise, 0, 1) * 255).round().astype(np.uint8))
    return clean


def test_half_widths_lie_beside_the_picture_which_is_as_without_them(unroll, noisy, tmp_path):
    path = tmp_path / "noisy.png"
    assert unroll("apply", TNRD, path, "-o", tmp_path / "plain.png", "--sigma", 25)[0] == 0
    status, output, errors = unroll(
        "apply", TNRD, path, "-o", tmp_path / "clean.png", "--sigma", 25, "--interval", "0.9"
    )
    assert status == 0, errors
    assert "clean-halfwidth.npy: half-widths that hold for 90 %" in output
    clean, plain = (io.imread(tmp_path / name) for name in ("clean.png", "plain.png"))
    assert np.array_equal(clean, plain)
    width = np.load(tmp_path / "clean-halfwidth.npy")
    assert width.shape == noisy.shape
    assert width.dtype == np.float32
    assert (width > 0).all()
    assert (np.abs(clean / 255 - noisy) <= width + 0.5 / 255).mean() > 0.8


@pytest.mark.parametrize(
    ("system", "level", "words"),
    [
        (TNRD, "90", "--interval is 90; it is a probability between 0 and 1"),
        (TNRD, "nan", "it is a probability between 0 and 1"),
        (TNRD, "0.99", "needs 99 samples"),
        ("speech/misi", "0.9", "for systems that write pictures or arrays; this one writes one speaker"),
    ],
)
def test_what_cannot_be_promised_is_refused(unroll, noisy, tmp_path, system, level, words):
    status, _, errors = unroll("apply", system, tmp_path / "noisy.png", "--sigma", 25, "--interval", level)
    if system == TNRD:
        assert words in errors
    assert status != 0
    assert not list(tmp_path.glob("*halfwidth*"))


def test_colours_have_no_half_widths_and_say_why(unroll, tmp_path):
    io.imsave(tmp_path / "colour.png", data.astronaut()[:48, :48])
    status, _, errors = unroll("apply", TNRD, tmp_path / "colour.png", "--sigma", 25, "--interval", "0.9")
    assert status != 0
    assert "half-widths are for pictures in grey" in errors


def test_ends_of_complex_estimates_move_along_their_phase(monkeypatch, tmp_path):
    from types import SimpleNamespace

    from unrolling.cli.half_widths import write_half_widths
    from unrolling.evaluation import Constant, calibrate
    from unrolling.tasks import Samples

    x = torch.randn(30, 4, 4, dtype=torch.complex64)
    network = torch.nn.Identity()
    promise = calibrate(network, [Samples(x + 0.1 * torch.randn_like(x), x)], score=Constant(network))

    def application(network, task, content, outputs):
        np.save(outputs[0], network.forward(content).abs().numpy())
        return {}

    fake = SimpleNamespace(run=application, default_suffixes=("-image.npy",), least=1)
    job = SimpleNamespace(network=network, task=None)
    write_half_widths(job, fake, x[:1], [tmp_path / "image.npy"], {}, promise)
    width = np.load(tmp_path / "image-halfwidth.npy")
    np.testing.assert_allclose(width, float(promise.factor), rtol=1e-4)
