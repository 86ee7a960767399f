"""What a file is compared on before it is believed: the ends of the sizes that it states, and samples of every kind."""

import copy

import pytest
import torch
from exported import file
from torch import Tensor, nn

from unrolling import Iteration, unroll
from unrolling.algorithms.images.blind_deblurring import BlindDeblurring
from unrolling.algorithms.images.dublid import DUBLID
from unrolling.export import ExportError, export, load
from unrolling.export.loading import Loaded
from unrolling.operators import BlockSensing
from unrolling.operators.filters import correlate_adjoint


class Twice(nn.Module):
    """2 y, whatever the size."""

    def forward(self, y):
        return 2 * y


def changed(monkeypatch, fault):
    """Files that answer what ``fault`` makes of the data and the right answer."""
    original = Loaded.__call__

    def wrong(self, data=None, state=None, **tensors):
        return fault(data, original(self, data, state, **tensors))

    monkeypatch.setattr(Loaded, "__call__", wrong)


def is_gap(y):
    """Zeros beside other numbers, more than one of each."""
    zeros, others = (y == 0).sum(-1), (y != 0).sum(-1)
    return ((zeros > 1) & (others > 1)).unsqueeze(-1)


@pytest.mark.parametrize(
    "where",
    [
        pytest.param(is_gap, id="a gap"),
        pytest.param(lambda y: (y == y[:, :1]).all(-1, keepdim=True) & (y[:, :1] != 0), id="a constant"),
        pytest.param(lambda y: ((y != 0).sum(-1, keepdim=True) == 1) & (y[:, :1] != 0), id="an impulse"),
    ],
)
@pytest.mark.parametrize("value", [float("nan"), 0.5])
def test_a_file_that_is_wrong_somewhere_is_refused(where, value, monkeypatch, tmp_path):
    changed(monkeypatch, lambda y, found: torch.where(torch.as_tensor(where(y)), torch.full_like(found, value), found))
    with pytest.raises(ExportError, match="differs from the network"):
        export(Twice(), file(tmp_path, "torch"), torch.rand(3, 20) + 1)
    assert list(tmp_path.iterdir()) == []


def check_fixed(done, words):
    """The file takes the example's sizes and no others, and its card says why."""
    assert set(done.sizes) == {"batch"}
    assert words in done.card["sizes_fixed"]


@pytest.mark.parametrize(
    "where",
    [
        pytest.param(lambda y: y.shape[-1] % 64 == 1, id="one more than whole blocks"),
        pytest.param(lambda y: y.shape[-1] == 63, id="one less"),
        pytest.param(lambda y: y.shape[-1] == 1, id="the smallest size"),
        pytest.param(lambda y: y.shape[-1] % 2 == 1, id="odd sizes"),
    ],
)
@pytest.mark.parametrize("value", [float("nan"), 0.5])
def test_sizes_at_which_a_file_is_wrong_are_not_offered(where, value, monkeypatch, tmp_path):
    changed(monkeypatch, lambda y, found: torch.where(torch.as_tensor(where(y)), torch.full_like(found, value), found))
    check_fixed(export(Twice(), file(tmp_path, "torch"), torch.rand(3, 20) + 1), "differs from the network")


def test_sizes_that_a_file_refuses_and_the_network_takes_are_not_offered(monkeypatch, tmp_path):
    def fault(y, found):
        if y.shape[-1] > 64:
            raise RuntimeError("the grid was traced")
        return found

    changed(monkeypatch, fault)
    done = export(Twice(), file(tmp_path, "torch"), torch.randn(3, 40))
    check_fixed(done, "refuses what the network takes")
    assert "the grid was traced" in done.card["sizes_fixed"]


class AtLeastFive(Iteration):
    """Signals of five entries and more: its ``check`` says so, which no traced program runs."""

    def start(self, problem):
        return problem

    def forward(self, state, problem):
        return state + problem

    def check(self, data):
        super().check(data)
        if data.shape[-1] < 5:
            raise ValueError("five entries at least")


def test_the_smallest_size_stated_is_one_that_the_network_takes(tmp_path):
    done = export(unroll(AtLeastFive(), 2), file(tmp_path, "torch"), torch.randn(3, 70))
    assert done.sizes == {"batch": (1, None), "data_1": (5, None)}
    run = done.sizes_compared["data_1"]
    assert {5, 6, 63, 65, 70, 71, 140} <= set(run)
    assert load(done.path).card["sizes"]["data_1"] == {"smallest": 5, "largest": None, "compared": run}
    with pytest.raises(ValueError, match="data_1 is 4; the network was exported for sizes from 5"):
        load(done.path)(torch.randn(2, 4))


class Blocks(AtLeastFive):
    """Signals of whole blocks of eight, two at least."""

    def check(self, data):
        if data.shape[-1] % 8 or data.shape[-1] < 16:
            raise ValueError("two blocks of eight at least")


def test_the_smallest_size_is_found_where_blocks_must_be_whole(tmp_path):
    done = export(unroll(Blocks(), 1), file(tmp_path, "torch"), torch.randn(3, 160))
    assert done.sizes["data_1"] == (16, None)
    assert done.sizes_compared["data_1"][0] == 16


class Magnifying(nn.Module):
    """sin(1e4 y / max |y|): the rounding of the product is magnified."""

    def forward(self, y):
        return torch.sin(1e4 * scaled(y))


def scaled(y):
    return y / y.abs().amax(-1, keepdim=True).clamp_min(1e-20)


class Grows(nn.Module):
    """The image times the sum of its kernel, to the hundredth power: finite where that sum is one."""

    def forward(self, given: tuple[Tensor, Tensor]) -> Tensor:
        image, kernel = given
        factor = kernel.sum((1, 2))[:, None, None]
        for _ in range(100):
            image = image * factor
        return image


def test_a_network_that_diverges_for_a_repeated_kernel_is_compared_with_one_of_the_same_sum(tmp_path):
    kernel = torch.rand(2, 5, 4) + 0.1
    kernel = kernel / kernel.sum((1, 2), keepdim=True)
    done = export(Grows(), file(tmp_path, "torch"), (torch.rand(2, 12, 11), kernel))
    wide = (torch.rand(3, 31, 40), nn.functional.pad(kernel[:1].expand(3, -1, -1), (0, 3, 2, 1)))
    torch.testing.assert_close(load(tmp_path / done.path.name)(wide), Grows()(wide))
    assert len(done.sizes) == 5


def test_a_network_that_magnifies_rounding_is_compared_in_double_precision(monkeypatch, tmp_path):
    changed(monkeypatch, lambda y, found: torch.sin(100 * (100 * scaled(y))))
    done = export(Magnifying(), file(tmp_path, "torch"), torch.rand(3, 50) + 1)
    assert 1e-4 < done.max_relative_error < 1e-2
    assert 1e-4 < done.own_rounding < 1e-2


class Waves(nn.Module):
    """sin(1e4 y), y limited to one."""

    def forward(self, y):
        return torch.sin(1e4 * y.clamp(-1, 1))


def test_a_network_that_is_exact_by_luck_is_asked_again_on_data_moved_by_a_last_digit(monkeypatch, tmp_path):
    """Powers of two are exact, and so is the network on them; a last digit of theirs is up to 1e-3 of it."""
    changed(monkeypatch, lambda y, found: torch.sin(1e4 * (y.clamp(-1, 1).double() * (1 + 5e-8))).float())
    done = export(Waves(), file(tmp_path, "torch"), 2.0 ** -torch.arange(8.0).repeat(3, 1))
    assert 1e-4 < done.max_relative_error < 3 * done.own_rounding < 1e-2


def test_what_lies_beyond_the_rounding_of_the_network_is_an_error(monkeypatch, tmp_path):
    changed(monkeypatch, lambda y, found: found + 8e-3)
    with pytest.raises(ExportError, match="differs from the network"):
        export(Magnifying(), file(tmp_path, "torch"), torch.rand(3, 50) + 1)


@pytest.mark.nightly
def test_a_grid_that_is_rounded_up_follows_the_size_of_the_data(tmp_path):
    """Sides of 60 and 61 pixels have grids of 64 and 128: files of DUBLID refused all that had not the example's."""
    net = unroll(DUBLID(2, 1, kernel_size=3), 1)
    loaded = load(export(net, file(tmp_path, "torch"), torch.rand(2, 20, 24)).path)
    for size in ((60, 20), (61, 60), (20, 61)):
        data = torch.rand(2, *size)
        torch.testing.assert_close(loaded(data), net(data).detach(), rtol=0, atol=1e-5)


class Synthesis(nn.Module):
    """The adjoint of a bank of five by five filters."""

    def __init__(self):
        super().__init__()
        self.register_buffer("filters", torch.randn(3, 5, 5, generator=torch.Generator().manual_seed(0)))

    def forward(self, y):
        return correlate_adjoint(y, self.filters, "symmetric")


def test_a_bank_of_filters_is_one_convolution_in_a_file(tmp_path):
    """Not a shifted sum for each tap, with which an ONNX model of TNRD was not written in five minutes."""
    net, y = Synthesis(), torch.randn(2, 3, 12, 14)
    program = torch.export.export(net, (y,), strict=False)
    names = [str(node.target) for node in program.graph.nodes]
    assert sum("conv2d" in name for name in names) == 1
    assert len(names) < 60
    torch.testing.assert_close(program.module()(y), net(y), rtol=1e-4, atol=1e-5)


def test_a_search_for_a_fast_size_fixes_the_sizes_of_a_file(tmp_path):
    """There is no formula for the next product of 2, 3 and 5: files that stated any size were wrong at most of them."""
    net = unroll(BlindDeblurring(torch.randn(2, 1, 3, 3), kernel_size=3), 1)
    done = export(net, file(tmp_path, "torch"), torch.rand(2, 14, 15), draw=lambda count: torch.rand(count, 30, 31))
    assert done.sizes == {"batch": (1, None)}
    assert [shapes["data"] for shapes in done.compared] == [[1, 14, 15], [2, 14, 15], [5, 14, 15]]


def test_equations_of_fixed_blocks_are_factored_before_a_file_is_written():
    sensing, b = BlockSensing(torch.randn(5, 16)), torch.randn(2, 8, 12)
    factored = copy.deepcopy(sensing)
    factored.diagonalise()
    torch.testing.assert_close(factored.solve_normal(b, 0.3), sensing.solve_normal(b, 0.3), rtol=1e-4, atol=1e-5)
    program = torch.export.export(Solved(factored), (b,), strict=False)
    assert not [node for node in program.graph.nodes if "cholesky" in str(node.target)]


class Solved(nn.Module):
    """(Phi^H Phi + 0.3)^-1 b."""

    def __init__(self, sensing):
        super().__init__()
        self.sensing = sensing

    def forward(self, b):
        return self.sensing.solve_normal(b, 0.3)
