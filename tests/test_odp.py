"""Unrolled optimisation with deep priors: closed forms, limits, the parents that it is without a network."""

import pytest
import torch
from smoothing import MIDDLE, Y, noise
from torch import nn

from benchmarks import odp as benchmark
from unrolling import solve, unroll
from unrolling.algorithms import (
    ADMM,
    Blurred,
    DenoisedLeastSquares,
    DenoisedPrimalDual,
    HalfQuadraticSplitting,
    KnownBlur,
    LeastSquares,
    SampledFourier,
    Splitting,
)
from unrolling.operators import FiniteDifferences, Identity, KSpace
from unrolling.operators.normal_equations import conjugate_gradients
from unrolling.prox import AnalysisProx, DenoiserProx, soft_threshold
from unrolling.systems.catalogue import find
from unrolling.systems.imaging._files import reach
from unrolling.systems.imaging.odp import blurred, prior, without_data
from unrolling.tasks.catalogue import find_task
from unrolling.testing import check_iteration

KERNELS = torch.stack([MIDDLE, MIDDLE.roll(1, 0), MIDDLE.mT.contiguous()])
MASK = (noise(3, 8, 8, seed=5) > -0.3).double()
SAMPLES = MASK * torch.complex(noise(3, 8, 8, seed=6), noise(3, 8, 8, seed=7))
PROBLEMS = {
    "denoising": (LeastSquares(Identity()), Y),
    "deblurring": (KnownBlur(), Blurred(Y, KERNELS)),
    "complex k-space": (SampledFourier(), KSpace(SAMPLES, MASK)),
    "real k-space": (SampledFourier(real=True), KSpace(SAMPLES, MASK)),
}


class Halved(nn.Module):
    """D(x) = c x."""

    def __init__(self):
        super().__init__()
        self.factor = nn.Parameter(torch.tensor(0.5))

    def forward(self, x):
        return self.factor * x


def image(data_term, data):
    """Any image of a problem, unlike its start."""
    back = data_term(data).back
    found = noise(*back.shape, seed=11)
    return torch.complex(found, noise(*back.shape, seed=12)) if back.is_complex() else found


def step(data_term, denoiser=None, weight=0.3, **options):
    return DenoisedLeastSquares(data_term, denoiser, weight, **options).double()


# The step on the data


@pytest.mark.parametrize("name", PROBLEMS)
def test_each_closed_form_is_what_conjugate_gradients_find_on_the_normal_equations(name):
    term, data = PROBLEMS[name]
    iteration, x = step(term), image(term, data)
    problem = iteration.prepare(data)
    with torch.no_grad():
        found = iteration(x, problem)
        right = problem.back + 0.3 * x

        def normal(v):
            return term.adjoint(term.image(v, data), data) + iteration.weight * v

        wanted = conjugate_gradients(normal, problem.back + iteration.weight * x, tolerance=1e-13, max_iterations=400)
        torch.testing.assert_close(found, wanted, rtol=0, atol=1e-8)
        gradient = normal(found) - problem.back - iteration.weight * x  # of the objective: zero at a prox
    assert float(gradient.abs().max()) < 1e-8 * float(right.abs().max())


def test_the_closed_forms_are_those_of_the_paper():
    alpha, transform = 1 / 0.3, torch.fft.fft2
    x = image(*PROBLEMS["denoising"])
    wanted = (alpha * Y + x) / (alpha + 1)
    iteration = step(LeastSquares(Identity()))
    torch.testing.assert_close(iteration(x, iteration.prepare(Y)), wanted, rtol=1e-7, atol=1e-7)

    term, data = PROBLEMS["deblurring"]
    kernel = torch.zeros(3, 8, 8, dtype=torch.float64)
    height, width = KERNELS.shape[-2:]
    kernel[:, :height, :width] = KERNELS
    kernel = transform(kernel.roll((-(height // 2), -(width // 2)), (-2, -1)))
    wanted = (alpha * kernel.conj() * transform(Y) + transform(x)) / (alpha * kernel.abs().square() + 1)
    iteration = step(term)
    found = iteration(x, iteration.prepare(data))
    torch.testing.assert_close(found, torch.fft.ifft2(wanted).real, rtol=1e-7, atol=1e-7)

    term, data = PROBLEMS["complex k-space"]
    x = image(term, data)
    wanted = (alpha * MASK * SAMPLES + torch.fft.fft2(x, norm="ortho")) / (alpha * MASK + 1)
    iteration = step(term)
    found = torch.fft.fft2(iteration(x, iteration.prepare(data)), norm="ortho")
    torch.testing.assert_close(found, wanted, rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize("name", PROBLEMS)
def test_no_weight_on_the_data_gives_the_networks_image_and_all_of_it_what_was_measured(name):
    term, data = PROBLEMS[name]
    x = image(term, data)
    nothing, all_of_it = step(term, Halved(), 1e14), step(term, Halved(), 1e-14)
    problem = nothing.prepare(data)
    torch.testing.assert_close(nothing(x, problem), 0.5 * x, rtol=0, atol=1e-12)
    if name == "denoising":
        torch.testing.assert_close(all_of_it(x, problem), Y, rtol=0, atol=1e-9)
    if name == "complex k-space":  # what was measured is kept, the rest is the network's
        found = torch.fft.fft2(all_of_it(x, problem), norm="ortho")
        wanted = torch.where(MASK > 0, SAMPLES, 0.5 * torch.fft.fft2(x, norm="ortho"))
        torch.testing.assert_close(found, wanted, rtol=0, atol=1e-8)


def test_an_invertible_blur_is_inverted_where_the_data_count_alone():
    kernel = torch.zeros(1, 3, 3, dtype=torch.float64)
    kernel[0, 1, 1], kernel[0, 0, 1] = 0.7, 0.3
    seen = Blurred(KnownBlur().image(Y, Blurred(Y, kernel)), kernel)
    iteration = step(KnownBlur(), Halved(), 1e-14)
    torch.testing.assert_close(iteration(noise(3, 8, 8), iteration.prepare(seen)), Y, rtol=0, atol=1e-9)


@pytest.mark.parametrize("name", PROBLEMS)
def test_without_a_network_it_is_the_proximal_point_method(name):
    """x+ minimises f(x) + (lambda / 2) |x - x_before|^2: f falls, faster than any other x of that distance would."""
    term, data = PROBLEMS[name]
    iteration = step(term, None, 0.3)
    problem = iteration.prepare(data)
    x = image(term, data)
    with torch.no_grad():
        following = iteration(x, problem)
        least = term.value(following, problem) + 0.15 * (following - x).abs().square().flatten(1).sum(1)
        for k in range(12):
            other = following + 10 ** (-k / 3) * noise(3, 8, 8, seed=k)
            value = term.value(other, problem) + 0.15 * (other - x).abs().square().flatten(1).sum(1)
            assert bool((value > least).all())
    found = solve(iteration, data, tolerance=1e-12, max_iterations=5000)
    left = term.gradient(found.estimate, problem)
    assert float(left.abs().max()) < 1e-6


@pytest.mark.parametrize("name", PROBLEMS)
def test_a_start_is_the_step_from_the_data_terms_own(name):
    term, data = PROBLEMS[name]
    iteration = step(term, Halved(), start="regularised")
    problem = iteration.prepare(data)
    plain = step(term)
    torch.testing.assert_close(iteration.start(problem), plain(term.start(problem), problem), rtol=1e-12, atol=1e-12)
    assert torch.equal(step(term).start(problem), problem.back)
    if name in ("denoising", "complex k-space"):  # A A^H y = y where it was measured: the start is A^H y already
        torch.testing.assert_close(iteration.start(problem), problem.back, rtol=0, atol=1e-12)


# Parents and variants

PROXES = {
    "soft threshold": (soft_threshold, 0.05),
    "total variation": (AnalysisProx(FiniteDifferences(), 8.0, iterations=5), 0.05),
}


@pytest.mark.parametrize("name", ["denoising", "deblurring", "real k-space"])
@pytest.mark.parametrize("prox", PROXES)
def test_with_a_prox_as_network_it_is_half_quadratic_splitting(name, prox):
    term, data = PROBLEMS[name]
    shrink, weight = PROXES[prox]
    parent = HalfQuadraticSplitting(term, Identity(), shrink, weight, penalty=0.3, growth=1.0).double()
    own = step(term, lambda x: shrink(x, parent.weight / parent.penalty))
    x = term.start(own.prepare(data))
    wanted = unroll(parent, 5)(data)
    problem = own.prepare(data)
    with torch.no_grad():
        for _ in range(5):
            x = own(x, problem)
    torch.testing.assert_close(x, wanted.detach(), rtol=1e-10, atol=1e-10)


def test_with_a_network_as_prox_admm_and_the_linearised_form_are_those_of_the_paper():
    """Loops written by hand: ADMM, and its linearised form, primal-dual, in which nothing is solved."""
    torch.manual_seed(0)
    term, data = PROBLEMS["deblurring"]
    network = prior().double()
    nn.init.normal_(network.residual[-1].weight, std=0.02)
    plugged = DenoiserProx(network, sigma=0.1)
    admm = ADMM(term, [Splitting(Identity(), plugged, 0.0, penalty=0.3)]).double()
    problem = term(data)
    x, u = term.solve(problem.back, 0.3, problem), torch.zeros_like(Y)
    with torch.no_grad():
        for _ in range(4):
            z = network(x + u)
            u = u + x - z
            x = term.solve(problem.back + 0.3 * (z - u), 0.3, problem)
        torch.testing.assert_close(unroll(admm, 4)(data), x, rtol=1e-6, atol=1e-7)

        linearised = DenoisedPrimalDual(term, plugged, 0.0, fidelity=1.0, primal_step=0.8, dual_step=1.1).double()
        x = ahead = term.start(problem)
        dual = torch.zeros_like(Y)
        for _ in range(4):
            dual = (dual + 1.1 * (term.image(ahead, data) - Y)) / 2.1
            following = network(x - 0.8 * term.adjoint(dual, data))
            x, ahead = following, 2 * following - x
        torch.testing.assert_close(unroll(linearised, 4)(data), x, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("name", PROBLEMS)
def test_it_is_a_sound_iteration(name):
    term, data = PROBLEMS[name]
    small = [t[..., :4, :4].contiguous() if t.shape[-1] == 8 else t for t in ([data] if name == "denoising" else data)]
    data = small[0] if name == "denoising" else type(data)(*small)
    iteration = step(term, Halved(), 0.4, start="regularised")
    check_iteration(iteration, data, depth=2, skip=("compile", "export", "second_derivative"))


def test_gradients_of_alpha_and_of_the_network_are_those_of_finite_differences():
    term, data = PROBLEMS["deblurring"]
    data = Blurred(Y[:1, :6, :6].contiguous(), KERNELS[:1])
    torch.manual_seed(0)
    network = unroll(step(term, nn.Sequential(Wide(), nn.Conv2d(1, 1, 3, padding=1), Narrow())), 2, untied=("weight",))
    values = [p for p in network.parameters() if p.requires_grad]

    def run(*given):
        with torch.no_grad():
            for p, value in zip(values, given, strict=True):
                p.copy_(value)
        return network(data)

    for parameter in values:
        loss = network(data).square().sum()
        (gradient,) = torch.autograd.grad(loss, parameter)
        with torch.no_grad():
            ends = []
            for sign in (1, -1):
                parameter.view(-1)[0] += sign * 1e-5
                ends.append(float(network(data).square().sum()))
                parameter.view(-1)[0] -= sign * 1e-5
        assert (ends[0] - ends[1]) / 2e-5 == pytest.approx(float(gradient.view(-1)[0]), rel=1e-6, abs=1e-8)


class Wide(nn.Module):
    """A dimension for the one channel."""

    def forward(self, x):
        return x.unsqueeze(1)


class Narrow(nn.Module):
    """And away with it."""

    def forward(self, x):
        return x.squeeze(1)


# The system


@pytest.mark.parametrize(("name", "count"), [("known_deblurring", 48_246), ("denoising", 48_246), ("mri", 49_545)])
def test_the_network_has_the_numbers_of_its_description_and_is_its_parent_before_training(name, count):
    system = find("imaging/odp")
    recipe = system.recipes[name]
    task = find_task(name).small()
    network = system.network(recipe, task).eval()
    assert sum(p.numel() for p in network.parameters() if p.requires_grad) == count
    data = task.example()
    plain = DenoisedLeastSquares(
        recipe.parent(task).data_term, None, recipe.parent(task).weight.item(), start="regularised"
    )
    with torch.no_grad():
        wanted = solve(plain, data, tolerance=0.0, max_iterations=3).estimate
        assert torch.equal(network(data), wanted)
        assert torch.equal(solve(recipe.parent(task).eval(), data, tolerance=0.0, max_iterations=3).estimate, wanted)


def test_alpha_weighs_the_noise_as_the_variances_do_and_falls_as_training_adds_steps():
    recipe = find("imaging/odp").recipes["denoising"]
    quiet, loud = (recipe.parent(find_task("denoising")(sigma=sigma)).weight.item() for sigma in (10.0, 30.0))
    assert loud == pytest.approx(9 * quiet)
    assert quiet == pytest.approx((10 / 255 / 0.05) ** 2)
    assert [stage.inherit for stage in recipe.schedule(3)] == [None, {"weight": 1.5}, {"weight": 1.5}]
    assert [stage.depth for stage in recipe.schedule(3)] == [1, 2, None]
    assert recipe.schedule(1)[0].inherit is None


def test_the_rival_is_the_same_networks_from_the_same_start():
    task = find_task("known_deblurring").small()
    rival, data = without_data(task, blurred), task.example()
    assert sum(p.numel() for p in rival.parameters() if p.requires_grad) == 48_246 - 3
    parent = blurred(task)
    with torch.no_grad():
        assert torch.equal(rival(data), parent.start(parent.prepare(data)))
    with pytest.raises(TypeError, match="data are Blurred"):
        rival(data.image)


def test_pixels_depend_on_no_more_than_the_convolutions_reach():
    network = unroll(step(LeastSquares(Identity()), prior()).float(), 2, untied=("denoiser",)).eval()
    for layer in network.layers:
        nn.init.normal_(layer.denoiser.residual[-1].weight, std=0.1)
    assert reach(network) == 2 * 5
    x = noise(1, 40, 40).float()
    changed = x.clone()
    changed[0, 20, 20] += 1
    moved = (network(changed) - network(x))[0].abs() > 1e-7
    rows, columns = torch.nonzero(moved, as_tuple=True)
    assert int((rows - 20).abs().max()) == int((columns - 20).abs().max()) == 10


def test_wrong_options_are_refused():
    with pytest.raises(ValueError, match="start is 'zero'; it is 'adjoint' or 'regularised'"):
        DenoisedLeastSquares(KnownBlur(), start="zero")
    with pytest.raises(TypeError, match="data are Blurred"):
        unroll(step(KnownBlur()), 1)(Y)


# The benchmark


def test_the_benchmark_sets_its_bars_between_methods_on_the_same_pictures():
    target = torch.full((1, 8, 8), 0.5)
    near, far = (lambda data, d=d: data + d for d in (0.01, 0.1))
    methods = {benchmark.WIENER: far, benchmark.SPLIT: far, benchmark.RIVAL: near, benchmark.NAME: near}
    rows = benchmark.rows_of("held_out", "one", methods, [(target, target)])
    bars = {row["method"]: (row["value"], row["bar"]) for row in rows if "bar" in row}
    assert bars[f"{benchmark.NAME} over {benchmark.WIENER}"] == (pytest.approx(20, abs=1e-3), 0.0)
    assert bars[f"{benchmark.NAME} over {benchmark.RIVAL}"] == (pytest.approx(0, abs=1e-3), 0.5)
    assert [row["psnr"] for row in rows if row["method"] == benchmark.SPLIT] == [pytest.approx(20, abs=1e-3)]
