"""What rows may cost, foreseen and not clocked; what that leaves out is said; work is counted or said not to be."""

import copy
import time
from typing import NamedTuple

import pytest
import torch
from tiny import FewMethods, moved, network, recovery
from torch import Tensor

from unrolling import Iteration, unroll
from unrolling.algorithms import GramISTA
from unrolling.algorithms.detection.sphere import sphere_decode
from unrolling.evaluation.budget import Allowance, foreseen, part_of, shortened
from unrolling.evaluation.classical import run_classical
from unrolling.evaluation.compare import compare_network
from unrolling.evaluation.cost import cost_of, cost_of_long
from unrolling.evaluation.generic import train_mlp
from unrolling.prox.tables import piecewise_polynomial
from unrolling.tasks.base import NMSE, Samples, Task, evaluate
from unrolling.tasks.baselines import Iterative
from unrolling.tasks.communications.detection import Detection
from unrolling.tasks.images.denoising import Denoising


def test_foreseen_work_does_not_depend_on_the_clock_and_grows_with_the_work():
    a, b = torch.randn(200, 300), torch.randn(300, 400)
    one = foreseen(lambda: a @ b)
    assert one == foreseen(lambda: a @ b)
    assert foreseen(lambda: [a @ b for _ in range(5)]) == pytest.approx(5 * one)
    assert foreseen(lambda: time.sleep(0.05)) == 0


def test_a_part_has_the_first_samples_of_every_batch_or_the_first_batches():
    many = [Samples(torch.arange(1000.0).reshape(-1, 1), torch.zeros(1000, 1))]
    part = part_of(many, 0.1)
    assert (part.samples, part.limit, part.all) == (100, 100, False)
    assert torch.equal(part.batches[0].data, many[0].data[:100])
    single = [Samples(torch.full((1, 2), float(k)), torch.zeros(1, 2)) for k in range(10)]
    assert [float(batch.data[0, 0]) for batch in part_of(single, 0.3).batches] == [0, 1, 2]
    assert part_of(many, 1.0).all
    assert part_of(single, 1e-9).samples == 2


def test_a_share_keeps_a_row_within_it_and_the_row_says_so():
    task = recovery(held_out=400)
    net = moved(network(task), size=1e-3)
    method = Iterative("ISTA", lambda w: GramISTA(task.dictionary, w), (0.003, 0.03, 0.3), 3000)
    rows, curves = run_classical(method, task, -1e3, -1e3, 3, Allowance(1e-3, net))
    assert curves[0].iterations[-1] < 3000
    equal, end = rows[0], rows[-1]
    assert "chosen on validation data (20 samples and" in equal.note
    assert "iterations" in end.note
    assert equal.scored.all
    assert not end.scored.all
    whole, _ = run_classical(method, task, -1e3, -1e3, 3, Allowance(1e6, net))
    free, _ = run_classical(method, task, -1e3, -1e3, 3)
    assert [row.name for row in whole] == [row.name for row in free]
    assert whole[-1].scored.all


def test_a_method_that_matches_the_network_has_a_row_for_its_end_too():
    task = recovery(held_out=60)
    method = Iterative("ISTA", lambda w: GramISTA(task.dictionary, w), (0.01,), 400)
    rows, curves = run_classical(method, task, -1.0, -1.0, None)
    assert rows[0].name == "ISTA, until it matches the network"
    assert rows[-1].iterations == curves[0].iterations[-1] > rows[0].iterations
    assert NMSE.value(evaluate(rows[-1].run, task, task.test)) < NMSE.value(evaluate(rows[0].run, task, task.test))


def test_pictures_of_which_two_take_too_long_are_cut_and_the_note_says_so():
    torch.manual_seed(0)
    pictures = {part: {f"{part} {k}": torch.rand(400, 300) for k in range(8)} for part in ("validation", "test")}
    task = Denoising(data={"train": {"a": torch.rand(64, 64)}, **pictures})

    def slow(data):  # 1.2e5 entries of a picture, a hundred times
        for _ in range(100):
            data = data + 1
        return data

    data = task.test[0].data
    whole = foreseen(lambda: slow(data))
    same, words = shortened(task, slow, 100 * whole)
    assert same is task
    assert words == ""
    some, words = shortened(task, slow, 3.5 * whole)
    assert [len(some.test), some.test[0].target.shape] == [4, (1, 400, 300)]
    assert "scores are those of 4 of the 8 test samples, and settings are chosen on 4 of 8 others" in words
    cut, words = shortened(task, slow, 1.5 * whole)
    assert len(cut.test) >= 6
    height, width = cut.test[0].target.shape[-2:]
    assert 6 * height * width == pytest.approx(1.5 * 400 * 300, rel=0.01)
    assert f"samples are the middle {height} x {width} pixels of each picture" in words
    top, left = (400 - height) // 2, (300 - width) // 2
    own = pictures["test"]["test 0"]
    assert torch.equal(cut.test[0].target[0], own[top : top + height, left : left + width])
    least, _ = shortened(task, slow, 1e-9)
    assert [len(least.test), least.test[0].target.shape] == [2, (1, 128, 128)]
    assert task.test[0].target.shape == (1, 400, 300)  # the task itself is as it was
    assert task.smaller(1.0) is None
    task.test = [task.spoil(torch.rand(1, 400, 300), torch.Generator().manual_seed(0)) for _ in range(8)]
    assert task.smaller(0.2) is None  # these are not the task's own pictures


@pytest.mark.nightly
def test_the_same_budget_gives_the_same_figures_and_the_page_names_it():
    task = FewMethods(m=8, n=16, probability=0.2, held_out=120)
    net = moved(network(task), size=1e-3)
    options = {"title": "NET", "quiet": True, "effort": "quick", "generic_steps": 30, "budget": 0.05}
    found, again = (compare_network(net, task, **options) for _ in range(2))
    assert [(row.name, row.quality, row.paired) for row in found.rows] == [
        (row.name, row.quality, row.paired) for row in again.rows
    ]
    assert any("share a budget of 0.05 foreseen seconds" in note for note in found.notes)
    limited = [row for row in found.rows if row.samples is not None]
    assert limited
    assert all(row.note.startswith(f"on the first {row.samples} samples") for row in limited)
    assert all(row.paired is not None for row in found.rows[1:])


# Data that are no single tensor


class Scaled(NamedTuple):
    y: Tensor
    scale: Tensor  # of each sample
    shared: Tensor  # (1, 3): of all


class ScaledIteration(Iteration):
    """Landweber's on y / scale."""

    def __init__(self, dictionary):
        super().__init__()
        self.dictionary = dictionary
        self.step = torch.nn.Parameter(torch.tensor(0.3))

    def prepare(self, data):
        return data.y / data.scale

    def start(self, problem):
        return torch.zeros(len(problem), self.dictionary.shape[1])

    def forward(self, state, problem):
        return state + self.step * (problem - state @ self.dictionary.T) @ self.dictionary

    def estimate(self, state, problem):
        return state.reshape(-1, 4, 4)


class ScaledTask(Task):
    name, summary, metric = "scaled", "Vectors on a scale that comes with each.", NMSE

    def __init__(self):
        self.inner = recovery(held_out=40)
        self.validation, self.test = ([self.draw(40, torch.Generator().manual_seed(k))] for k in (1, 2))
        self.timing = self.test[0]

    def draw(self, batch, generator):
        y, x = self.inner.draw(batch, generator)
        scale = 1 + torch.rand(batch, 1, generator=generator)
        return Samples(Scaled(scale * y, scale, torch.ones(1, 3)), x.reshape(batch, 4, 4))

    def pieces(self, estimate, samples):
        return self.metric.pieces(estimate.reshape(-1, 16), Samples(None, samples.target.reshape(-1, 16)))


def test_data_of_several_tensors_keep_every_generic_row_and_no_headline_says_nan():
    task = ScaledTask()
    net = unroll(ScaledIteration(task.inner.dictionary), 3, untied="step")
    rows = task.rows(task.test[0].data)
    assert rows.shape == (40, 8 + 1)
    target = task.test[0].target
    assert torch.equal(task.assemble(task.target_rows(target), task.test[0].data), target)

    found = compare_network(net, task, title="NET", quiet=True, effort="quick", generic_steps=30)
    generic = [row for row in found.rows if row.role == "generic"]
    assert [row.name for row in generic] == ["linear MMSE", "MLP, as many parameters"]
    assert not any(row.note.startswith("failed") for row in generic)
    assert "nan" not in found.headline
    assert not any("weight 0" in row.note for row in found.rows)


def test_rows_of_complex_numbers_are_real_and_come_back():
    task = recovery()
    z = torch.randn(5, 2, 3, dtype=torch.complex64)
    task.test = [Samples(z, z)]
    whole = Task.target_rows(task, z)
    assert whole.shape == (5, 12)
    assert torch.equal(Task.assemble(task, whole, z), z)


def test_where_the_channel_comes_with_the_data_the_generic_network_starts_at_lmmse():
    """With few learned numbers it has two hidden layers of one unit, and is no worse for it."""
    task = Detection(streams=4, antennas=8, held_out=300)
    found = train_mlp(task, 5, 40, 32)
    assert "started at the best linear estimate" in found.note
    errors = [task.metric.value(evaluate(run, task, task.validation)) for run in (found.run, task.linear)]
    assert errors[0] <= errors[1] < 0.2


# Work


def test_factorisations_look_ups_and_products_with_vectors_are_counted():
    a = torch.randn(8, 8) + 8 * torch.eye(8)
    x = torch.randn(1, 8)
    assert cost_of(lambda x: a @ x[0], x).multiply_adds == 64
    assert cost_of(lambda x: torch.linalg.solve(a, x[0]), x).multiply_adds == pytest.approx(8**3 / 3 + 64, abs=1)
    assert cost_of(lambda x: torch.linalg.cholesky(a @ a.T), x).multiply_adds == pytest.approx(8**3 + 8**3 / 6, abs=1)
    table = torch.randn(100)
    assert cost_of(lambda x: table[(50 + x.long()).clamp(0, 99)], x).multiply_adds == 8


def test_the_kernels_in_c_are_counted_too():
    z = torch.rand(1, 2, 50)
    assert cost_of(lambda z: piecewise_polynomial(z, torch.rand(2, 10, 4), 0.0, 0.1), z).multiply_adds == 100 * 4
    task = Detection(streams=4, antennas=8, held_out=20)
    data = task.test[0].data
    found = cost_of(lambda data: sphere_decode(data, task.levels).x, data)
    assert found.multiply_adds >= 20 * 8 * 4 * 4


def test_a_long_run_costs_what_its_parts_do():
    task = recovery()
    y, parent = task.test[0].data[:1], GramISTA(task.dictionary, 0.1)
    m, n = task.dictionary.shape

    def begun(y):
        problem = parent.prepare(y)
        return parent.start(problem), problem

    def advanced(begun):
        state, problem = begun
        for _ in range(5):
            state = parent(state, problem)

    assert cost_of_long(begun, advanced, 20.0, y).multiply_adds == m * n + 100 * n * n


def test_what_is_not_torchs_own_is_not_counted():
    name = "unrolling_test::doubled"
    if not hasattr(torch.ops, "unrolling_test") or not hasattr(torch.ops.unrolling_test, "doubled"):
        torch.library.custom_op(name, mutates_args=())(_doubled)
    a, x = torch.randn(4, 4), torch.randn(1, 4)
    assert cost_of(lambda x: x @ a, x).multiply_adds == 16
    assert cost_of(lambda x: torch.ops.unrolling_test.doubled(x @ a), x).multiply_adds is None


def _doubled(x: torch.Tensor) -> torch.Tensor:
    return 2 * x


def test_a_network_that_takes_long_is_scored_on_fewer_samples_and_the_comparison_says_so():
    task = recovery()
    net = network(task)
    whole = foreseen(lambda: net(task.test[0].data)) * len(task.test)
    assert shortened(task, net, 100 * whole) == (task, "")
    fewer, words = shortened(task, net, 0.3 * whole)
    assert fewer.test[0].data.shape[0] < task.test[0].data.shape[0]
    assert torch.equal(fewer.test[0].data, task.test[0].data[: fewer.test[0].data.shape[0]])
    assert f"{fewer.test[0].data.shape[0]} of the {task.test[0].data.shape[0]} test samples" in words


def test_a_task_whose_samples_cannot_be_replaced_is_compared_whole():
    task = recovery()

    class WorkedOut(type(task)):
        test = property(lambda self: self.__dict__["test"])

    task.__class__ = WorkedOut
    assert shortened(task, network(task), 1e-9) == (task, "")


def test_a_training_whose_validation_would_take_its_budget_looks_at_fewer_samples():
    """Looking 20 times at 400 samples would take far more than the hundred steps of two samples that are trained."""
    task = recovery(held_out=400)

    def looked_at(allowed):
        counts = []
        inner = task.metric.pieces

        class Counted(type(task)):
            def pieces(self, estimate, samples):
                counts.append(len(samples.target))
                return inner(estimate, samples)

        own = copy.copy(task)
        own.__class__ = Counted
        note = train_mlp(own, 50, 200, 4, allowed=allowed).note
        return sum(counts), note

    (few, words), (many, whole) = looked_at(1e-3), looked_at(1e3)
    assert many >= 20 * 400
    assert few <= 0.1 * many
    assert "looked at on 20 of 400 validation samples" in words
    assert "looked at" not in whole
