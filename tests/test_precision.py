"""Weights in fewer bits: how far they may be off, what stays, and the files."""

import pytest
import torch
from exported import card_of, file
from families import by_day
from hypothesis import given
from hypothesis import strategies as st
from iterations import Lasso, gaussian, unit_dictionary
from tiny import bits, moved, network, recovery, same

from unrolling import unroll
from unrolling.algorithms import GramISTA
from unrolling.export import ReducedWeights, export, load
from unrolling.export.precision import _packed, _unpacked

A = unit_dictionary(20, 30, dtype=torch.float32)


def trained():
    return moved(unroll(GramISTA(A, 0.1), 3, tied="encoder", untied=("inhibition", "threshold")))


@given(st.integers(0, 99), st.floats(1e-6, 1e6))
def test_int8_is_off_by_half_a_step_of_its_row_and_bf16_by_a_256th(seed, size):
    w = (
        size
        * gaussian(6, 40, seed=seed, dtype=torch.float64)
        * torch.logspace(-3, 3, 6, dtype=torch.float64).unsqueeze(1)
    )
    coarse = _unpacked(_packed(w, "int8"), w.dtype)
    assert bool(((coarse - w).abs() <= w.abs().amax(1, keepdim=True) / 254 * (1 + 1e-9)).all())
    rounded = _unpacked(_packed(w, "bf16"), w.dtype)
    assert bool(((rounded - w).abs() <= w.abs() / 256).all())


def test_what_has_few_bits_already_is_kept_exactly():
    """Whole numbers up to 127 in int8 where a row holds 127; sums of two powers of two in bf16; a row of zeros."""
    whole = torch.arange(-127, 128).float().reshape(1, -1).repeat(3, 1)
    whole[1] = 0
    assert torch.equal(_unpacked(_packed(whole, "int8"), torch.float32), whole)
    assert torch.equal(_unpacked(_packed(whole, "bf16"), torch.float32), whole)


@pytest.mark.parametrize("precision", ["bf16", "int8"])
def test_matrices_are_reduced_and_the_rest_stays_to_the_bit(precision):
    net, y = trained(), gaussian(5, 20, dtype=torch.float32)
    before = bits(net)
    reduced = ReducedWeights(net, precision)
    assert same(bits(net), before)
    restored = reduced.restored()
    assert torch.equal(restored(y), reduced(y))
    for own, other in zip(net.layers, restored.layers, strict=True):
        assert torch.equal(own.threshold, other.threshold)
        assert not torch.equal(own.inhibition, other.inhibition)
    assert restored.layers[0].encoder is restored.layers[2].encoder
    matrices = (20 * 30) * 2 + 3 * 30 * 30  # the dictionary and the encoder once, three inhibitions
    scales = {"bf16": 0, "int8": 20 + 30 + 3 * 30}[precision]
    assert reduced.bytes == matrices * {"bf16": 2, "int8": 1}[precision] + 4 * scales + 3 * 30 * 4
    size = {"bf16": 2**-8, "int8": 1 / 127}[precision]
    assert 0 < float((reduced(y) - net(y)).abs().max() / net(y).abs().max()) < 20 * size


def test_complex_matrices_are_pairs():
    net = unroll(Lasso(torch.complex(A, A.flip(0)).to(torch.complex128), 0.1), 2)
    y = torch.complex(gaussian(3, 20), gaussian(3, 20, seed=1))
    error = (ReducedWeights(net, "bf16")(y) - net(y)).abs().max() / net(y).abs().max()
    assert 1e-6 < float(error) < 0.05


@pytest.mark.parametrize("form", by_day("torch", "onnx"))
@pytest.mark.parametrize("precision", ["bf16", "int8"])
def test_a_file_is_smaller_and_says_so(form, precision, tmp_path):
    big = unit_dictionary(100, 150, dtype=torch.float32)  # what a file holds besides weights is some thousand bytes
    net, y = (
        moved(unroll(GramISTA(big, 0.1), 2, untied=("inhibition", "threshold")), size=0.01),
        gaussian(4, 100, dtype=torch.float32),
    )
    full = export(net, file(tmp_path, form, "full"), y, format=form)
    done = export(net, file(tmp_path, form), y, format=form, precision=precision)
    weights = 2 * 150 * 150 * 4
    saved = {"bf16": 0.5, "int8": 0.75}[precision] * weights
    assert full.bytes - done.bytes > 0.8 * saved
    torch.testing.assert_close(load(done.path)(y), ReducedWeights(net, precision)(y), rtol=1e-4, atol=1e-5)
    card = card_of(done.path, form)
    assert card["precision"]["weights"] == precision
    assert card["learned_numbers"] == full.card["learned_numbers"] > 0
    assert full.card["precision"] == {"weights": "float32"}


def test_what_cannot_be_reduced_is_refused(tmp_path):
    with pytest.raises(ValueError, match="no precision 'int4'; there are float32, bf16, int8"):
        export(network(recovery(), 1), tmp_path / "a.pt2", recovery().timing.data, precision="int4")
    with pytest.raises(ValueError, match="precision is 'float32'"):
        ReducedWeights(trained(), "float32")
    with pytest.raises(ValueError, match="leave it at float32"):
        ReducedWeights(torch.nn.Linear(2, 2), "int8")
