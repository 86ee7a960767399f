"""Networks, iterations, operators, solutions and deployed networks by pickle, copies and torch.save, to the bit."""

import copy
import io
import multiprocessing
import pickle

import pytest
import torch
from families import some_recipes
from iterations import gaussian, unit_dictionary
from test_conformance import parent_and_data
from torch import nn
from torch.nn.utils import parametrizations

from unrolling import Equilibrium, Implicit, Iteration, Safeguarded, deploy, solve, unroll
from unrolling.algorithms import AMP, ISTA
from unrolling.core import tree
from unrolling.operators import STFT, CircularConvolution, FiniteDifferences, Matrix
from unrolling.prox import SoftDenoiser


def saved(value):
    file = io.BytesIO()
    torch.save(value, file)
    file.seek(0)
    return torch.load(file, weights_only=False)


WAYS = {"pickle": lambda value: pickle.loads(pickle.dumps(value)), "copy": copy.deepcopy, "torch.save": saved}


def network():
    made = unroll(ISTA(unit_dictionary(6, 10), 0.1), 3, tied=("step_size",), untied=("threshold",))
    with torch.no_grad():
        for number, layer in enumerate(made.layers):
            layer.parametrizations.threshold.original.fill_(0.1 * number)
    return made


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("name", "task"), some_recipes())
def test_networks_of_every_recipe(name, task, way):
    parent, data = parent_and_data(name, task)
    made = unroll(parent, 2)
    again = WAYS[way](made)
    with torch.no_grad():
        torch.testing.assert_close(again(data), made(data), rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize("way", WAYS)
def test_what_layers_share_is_shared_again_and_trains_on(way):
    made, y = network(), gaussian(4, 6)
    again = WAYS[way](made)
    assert torch.equal(again(y), made(y))
    first, second = again.layers[0], again.layers[1]
    assert first.parametrizations.step_size.original is second.parametrizations.step_size.original
    assert first.parametrizations.threshold.original is not second.parametrizations.threshold.original
    for each in (made, again):
        optimizer = torch.optim.SGD(each.parameters(), lr=0.01)
        each(y).square().sum().backward()
        optimizer.step()
    assert torch.equal(again(y), made(y))
    assert again.learned().keys() == made.learned().keys()
    assert all(torch.equal(value, made.learned()[key]) for key, value in again.learned().items())
    assert torch.equal(WAYS[way](again)(y), made(y))  # and once more
    again.layers[0].threshold = torch.tensor(0.3, dtype=torch.float64)
    assert float(again.layers[0].threshold) == pytest.approx(0.3)


@pytest.mark.parametrize("way", WAYS)
def test_iterations_and_their_solutions(way):
    y = gaussian(4, 6)
    for iteration in (ISTA(unit_dictionary(6, 10), 0.1), AMP(unit_dictionary(6, 10), SoftDenoiser(1.3))):
        solution = solve(iteration, y, max_iterations=20)
        again = solve(WAYS[way](iteration), y, max_iterations=20)
        for found in (again, WAYS[way](solution)):
            assert type(found) is type(solution)
            assert all(map(torch.equal, tree.tensors(found), tree.tensors(solution)))


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("how", ["plain", "compiled", "captured", "auto"])
def test_deployed_networks(how, way):
    made, y = deploy(network(), how), gaussian(4, 6)
    again = WAYS[way](made)
    assert type(again) is type(made)
    if how != "compiled":  # which compiles when it is called
        assert torch.equal(again(y), made(y))


@pytest.mark.parametrize("way", WAYS)
def test_operators(way):
    for operator, shape in (
        (Matrix(gaussian(3, 4)), (2, 4)),
        (2.0 * Matrix(nn.Parameter(gaussian(3, 4))).H @ Matrix(gaussian(3, 5)), (2, 5)),
        (STFT(8, 4, window=gaussian(8), length=20), (2, 20)),
        (CircularConvolution(gaussian(3, 3)), (2, 6, 6)),
        (FiniteDifferences(), (2, 6, 6)),
    ):
        assert torch.equal(WAYS[way](operator)(gaussian(*shape)), operator(gaussian(*shape)))


@pytest.mark.parametrize("way", WAYS)
def test_networks_around_networks(way):
    y = gaussian(4, 6)
    fixed = Equilibrium(ISTA(unit_dictionary(6, 10), 0.1), learned=("threshold",), gradient=Implicit())
    for made in (Safeguarded(network()), fixed, nn.Sequential(nn.Identity(), network())):
        assert torch.equal(WAYS[way](made)(y), made(y))


class Spectral(Iteration):
    """Of a layer that torch itself parametrizes."""

    def __init__(self):
        super().__init__()
        self.map = parametrizations.spectral_norm(nn.Linear(6, 6, dtype=torch.float64))

    def start(self, problem):
        return problem

    def forward(self, state, problem):
        return problem + 0.5 * self.map(state)


@pytest.mark.parametrize("way", WAYS)
def test_parametrizations_of_torch_inside_a_network(way):
    made = unroll(Spectral(), 3, untied=("map.weight",)).eval()
    y = gaussian(4, 6)
    assert torch.equal(WAYS[way](made)(y), made(y))


def answer(made, y, queue):
    queue.put(made(y).detach().numpy())


def test_a_network_goes_into_a_process_of_its_own():
    context = multiprocessing.get_context("spawn")
    queue, made, y = context.Queue(), network(), gaussian(4, 6)
    process = context.Process(target=answer, args=(made, y, queue))
    process.start()
    found = torch.from_numpy(queue.get(timeout=120))
    process.join()
    torch.testing.assert_close(found, made(y).detach(), rtol=1e-12, atol=0)
