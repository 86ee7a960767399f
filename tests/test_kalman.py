"""Kalman filters and smoothers against the joint distribution of all states and measurements."""

import numpy as np
import pytest
import torch

from unrolling import solve, unroll
from unrolling.algorithms.dynamics.kalman import (
    ExtendedKalmanFilter,
    KalmanFilter,
    SteadyKalmanFilter,
    steady_gain_of,
    track,
)
from unrolling.algorithms.dynamics.motions import Lorenz, Pendulum
from unrolling.algorithms.dynamics.smoother import RauchTungStriebel
from unrolling.algorithms.dynamics.state_space import FunctionModel, LinearModel, Recording
from unrolling.testing import check_iteration

T = 7


def covariance(size, generator):
    a = torch.randn(size, size, generator=generator, dtype=torch.float64)
    return a @ a.T / size + 0.1 * torch.eye(size, dtype=torch.float64)


def linear(n=3, m=2, seed=0):
    generator = torch.Generator().manual_seed(seed)
    f = torch.linalg.qr(torch.randn(n, n, generator=generator, dtype=torch.float64))[0] * 0.95
    h = torch.randn(m, n, generator=generator, dtype=torch.float64)
    mean = torch.randn(n, generator=generator, dtype=torch.float64)
    q, r, p = (covariance(size, generator) for size in (n, m, n))
    return LinearModel(f, h, q, r, mean, p)


def recording(model, batch=4, length=T, seed=1):
    x, y = model.simulate(batch, length, torch.Generator().manual_seed(seed))
    return Recording(y), x


def posterior(model, data, upto):
    """Mean and covariance of x_1 ... x_T given the measurements of the first moments, by conditioning the joint
    Gaussian of them all: no recursion over the measurements.
    """
    n, length = model.size, data.values.shape[1]
    # x = B (x_0, w_1, ..., w_T)
    blocks = torch.zeros(length, length + 1, n, n, dtype=torch.float64)
    for t in range(length):
        blocks[t, t + 1] = torch.eye(n)
        blocks[t, 0] = torch.linalg.matrix_power(model.transition, t + 1)
        for s in range(t):
            blocks[t, s + 1] = torch.linalg.matrix_power(model.transition, t - s)
    b = blocks.permute(0, 2, 1, 3).reshape(length * n, (length + 1) * n)
    noise = torch.block_diag(model.covariance, *[model.process_noise] * length)
    mean, spread = b[:, :n] @ model.mean, b @ noise @ b.T
    h = torch.block_diag(*[model.measurement] * length)
    r = torch.block_diag(*[model.measurement_noise] * length)
    seen = torch.ones_like(data.values, dtype=torch.bool) if data.present is None else data.present
    answers = []
    for y, there in zip(data.values, seen.expand_as(data.values), strict=True):
        rows = (there & (torch.arange(length) < upto).unsqueeze(1)).flatten()
        hs, rs = h[rows], r[rows][:, rows]
        gain = torch.linalg.solve(hs @ spread @ hs.T + rs, hs @ spread).T
        answers.append((mean + gain @ (y.flatten()[rows] - hs @ mean), spread - gain @ hs @ spread))
    means, covariances = zip(*answers, strict=True)
    return torch.stack(means).unflatten(1, (length, n)), torch.stack(covariances)


@pytest.mark.parametrize(("n", "m"), [(1, 1), (3, 2), (2, 4)])
def test_the_filter_is_the_posterior_given_what_was_measured_so_far(n, m):
    model = linear(n, m)
    data, _ = recording(model)
    found = solve(KalmanFilter(model), data)
    assert found.iterations.tolist() == [T] * 4
    assert found.converged.all()
    for t in range(T):
        means, covariances = posterior(model, data, t + 1)
        torch.testing.assert_close(found.estimate[:, t], means[:, t], rtol=0, atol=1e-10)
    torch.testing.assert_close(found.state.covariance, covariances[:, -n:, -n:], rtol=0, atol=1e-10)


@pytest.mark.parametrize(("n", "m"), [(1, 1), (3, 2), (2, 4)])
def test_the_smoother_is_the_posterior_given_all_that_was_measured(n, m):
    model = linear(n, m)
    data, _ = recording(model)
    found = solve(RauchTungStriebel(KalmanFilter(model)), data)
    means, covariances = posterior(model, data, T)
    assert found.iterations.tolist() == [2 * T - 1] * 4
    torch.testing.assert_close(found.estimate, means, rtol=0, atol=1e-10)
    for t in range(T):
        part = slice(n * t, n * (t + 1))
        torch.testing.assert_close(found.state.covariances[:, t], covariances[:, part, part], rtol=0, atol=1e-10)


def test_the_smoother_is_the_least_squares_solution_of_all_equations_at_once():
    """|x_0 - mean|^2 in P^-1, |x_t - F x_(t-1)|^2 in Q^-1 and |y_t - H x_t|^2 in R^-1, as one system by lstsq."""
    model = linear()
    data, _ = recording(model, 1)
    n = model.size

    def white(matrix):
        return torch.linalg.inv(torch.linalg.cholesky(matrix))

    rows, right = [], []
    p, q, r = white(model.covariance), white(model.process_noise), white(model.measurement_noise)

    def place(parts, size):
        row = torch.zeros(size, (T + 1) * n, dtype=torch.float64)
        for t, block in parts:
            row[:, n * t : n * (t + 1)] = block
        return row

    rows.append(place([(0, p)], n))
    right.append(p @ model.mean)
    for t in range(T):
        rows += [place([(t + 1, q), (t, -q @ model.transition)], n), place([(t + 1, r @ model.measurement)], 2)]
        right += [torch.zeros(n, dtype=torch.float64), r @ data.values[0, t]]
    solution = torch.linalg.lstsq(torch.cat(rows), torch.cat(right).unsqueeze(1)).solution.view(T + 1, n)
    found = solve(RauchTungStriebel(KalmanFilter(model)), data).estimate[0]
    torch.testing.assert_close(found, solution[1:], rtol=0, atol=1e-10)


def test_gaps_are_measurements_that_were_not_made():
    model = linear()
    data, _ = recording(model)
    present = torch.rand(data.values.shape, generator=torch.Generator().manual_seed(3)) < 0.6
    present[:, 2] = False  # a whole moment
    holes = data._replace(present=present)
    found = solve(KalmanFilter(model), holes).estimate
    smooth = solve(RauchTungStriebel(KalmanFilter(model)), holes).estimate
    for t in range(T):
        torch.testing.assert_close(found[:, t], posterior(model, holes, t + 1)[0][:, t], rtol=0, atol=1e-10)
    torch.testing.assert_close(smooth, posterior(model, holes, T)[0], rtol=0, atol=1e-10)
    # What stands where nothing was measured plays no part, and a mask that misses nothing changes no bit.
    other = holes._replace(values=torch.where(present, data.values, 1e6))
    assert torch.equal(solve(KalmanFilter(model), other).estimate, found)
    full = data._replace(present=torch.ones(1, *present.shape[1:], dtype=torch.bool))
    assert torch.equal(solve(KalmanFilter(model), full).estimate, solve(KalmanFilter(model), data).estimate)


def test_the_extended_filter_of_a_linear_model_is_the_linear_filter_to_the_bit():
    model = linear()
    data, _ = recording(model)
    functions = FunctionModel(
        lambda x: x @ model.transition.mT,
        lambda x: x @ model.measurement.mT,
        model.process_noise,
        model.measurement_noise,
        model.mean,
        model.covariance,
    )
    for kind in (lambda f: f, RauchTungStriebel):
        wanted = solve(kind(KalmanFilter(model)), data).estimate
        assert torch.equal(solve(kind(ExtendedKalmanFilter(functions)), data).estimate, wanted)


@pytest.mark.parametrize("model", [Pendulum(), Lorenz(order=2), Lorenz(order=5)])
def test_derivatives_are_those_of_automatic_differentiation(model):
    model = model.double()
    x = torch.randn(5, model.size, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 3
    for given, by_torch in (
        (model.move_jacobian, super(type(model), model).move_jacobian),
        (model.measure_jacobian, super(type(model), model).measure_jacobian),
    ):
        torch.testing.assert_close(given(x), by_torch(x), rtol=1e-12, atol=1e-12)


def test_a_step_of_the_lorenz_attractor_is_the_matrix_exponential_as_its_order_grows():
    x = torch.tensor([[1.0, -2.0, 25.0]], dtype=torch.float64)
    matrix = torch.tensor([[-10, 10, 0], [28, -1, -x[0, 0]], [0, x[0, 0], -8 / 3]], dtype=torch.float64)
    wanted = torch.linalg.matrix_exp(0.02 * matrix) @ x[0]
    gaps = [float((Lorenz(order=j).double().move(x)[0] - wanted).abs().max()) for j in (1, 3, 5, 12)]
    assert gaps == sorted(gaps, reverse=True)
    assert gaps[-1] < 1e-5  # the matrices of the model are in single precision


@pytest.mark.parametrize("seed", [0, 1])
def test_the_steady_gain_is_that_of_the_discrete_algebraic_riccati_equation(seed):
    scipy = pytest.importorskip("scipy.linalg")
    model = linear(4, 2, seed)
    f, h, q, r = (
        t.numpy() for t in (model.transition, model.measurement, model.process_noise, model.measurement_noise)
    )
    p = scipy.solve_discrete_are(f.T, h.T, q, r)
    wanted = p @ h.T @ np.linalg.inv(h @ p @ h.T + r)
    np.testing.assert_allclose(steady_gain_of(model).numpy(), wanted, rtol=0, atol=1e-10)
    # ... and what the filter's own gain comes to, so that the steady filter is as good in the end.
    data, _ = recording(model, 2, 150)
    apart = solve(KalmanFilter(model), data).estimate - solve(SteadyKalmanFilter(model), data).estimate
    assert float(apart[:, -1].abs().max()) < 1e-9 < float(apart[:, 0].abs().max())


def test_a_gain_without_limit_is_refused():
    free = LinearModel(3.0 * torch.eye(2), torch.tensor([[1.0, 0.0]]), torch.eye(2), torch.eye(1))
    with pytest.raises(ValueError, match="the gain of this LinearModel has no limit within 100,000 moments"):
        steady_gain_of(free)


FILTERS = {
    "linear": lambda: (KalmanFilter(linear()), linear()),
    "steady": lambda: (SteadyKalmanFilter(linear()), linear()),
    "pendulum": lambda: (ExtendedKalmanFilter(Pendulum().double()), Pendulum().double()),
    "lorenz": lambda: (ExtendedKalmanFilter(Lorenz().double()), Lorenz().double()),
}


@pytest.mark.parametrize("name", FILTERS)
def test_the_future_changes_nothing(name):
    filter, model = FILTERS[name]()
    data, _ = recording(model)
    other = data._replace(values=torch.cat([data.values[:, :4], 100 + data.values[:, 4:]], 1))
    one, two = solve(filter, data).estimate, solve(filter, other).estimate
    assert torch.equal(one[:, :4], two[:, :4])
    assert not torch.isclose(one[:, 4:], two[:, 4:]).any()


@pytest.mark.parametrize("name", FILTERS)
@pytest.mark.parametrize("length", [1, 3, 5])
def test_a_stream_in_pieces_is_the_whole_to_the_bit(name, length):
    filter, model = FILTERS[name]()
    data, _ = recording(model)
    whole = unroll(filter, T)(data)
    net, state, parts = unroll(filter, length), None, []
    for piece in data.pieces(length):
        estimate, state = net(piece, state, layers=range(piece.values.shape[1]), return_state=True)
        parts.append(estimate)
    assert torch.equal(torch.cat(parts, 1), whole)
    state, parts = None, []
    for first in (0, 2, 6):
        piece = Recording(data.values[:, first : {0: 2, 2: 6, 6: 7}[first]])
        estimate, state = track(filter if first else net, piece, state)  # `track` takes the place from the state
        parts.append(estimate)
    assert torch.equal(torch.cat(parts, 1), whole)
    # Longer recordings begin as shorter ones do, whatever the depth that a network was unrolled to.
    assert torch.equal(track(net, data)[0][:, :4], track(net, Recording(data.values[:, :4]))[0])


def test_samples_do_not_see_each_other():
    filter, model = FILTERS["pendulum"]()
    data, _ = recording(model)
    whole = solve(filter, data).estimate
    for i in range(4):
        torch.testing.assert_close(solve(filter, Recording(data.values[i : i + 1])).estimate[0], whole[i])


@pytest.mark.parametrize("model", [Pendulum(), Lorenz()])
def test_the_extended_filter_and_its_smoother_come_nearer_to_the_truth(model):
    data, x = recording(model, 50, 40)
    forecast = model.mean.expand(50, -1)
    errors = []
    for t in range(40):
        forecast = model.move(forecast)
        errors.append((forecast - x[:, t]).square().mean())
    blind = float(torch.stack(errors).mean())
    filtered = float((solve(ExtendedKalmanFilter(model), data).estimate - x).square().mean())
    smoothed = float((solve(RauchTungStriebel(ExtendedKalmanFilter(model)), data).estimate - x).square().mean())
    assert smoothed < 0.8 * filtered < 0.4 * blind


def test_covariances_stay_covariances_over_a_long_stream():
    model = LinearModel(
        torch.tensor([[1.0, 1.0], [0.0, 1.0]]), torch.tensor([[1.0, 0.0]]), 1e-6 * torch.eye(2), torch.eye(1)
    )
    data, _ = recording(model, 1, 2000)
    state = track(KalmanFilter(model), data)[1]
    assert float((state.covariance - state.covariance.mT).abs().max()) < 1e-6 * float(state.covariance.abs().max())
    assert bool((torch.linalg.eigvalsh(state.covariance) > 0).all())


@pytest.mark.parametrize("kind", [KalmanFilter, SteadyKalmanFilter, lambda m: RauchTungStriebel(KalmanFilter(m))])
def test_filters_are_sound_iterations(kind):
    model = linear()
    data, _ = recording(model, 3, 5)
    check_iteration(kind(model), data, skip=("compile", "export", "second_derivative"))


def test_to_learn_the_scale_of_the_process_noise_is_to_tune_the_filter():
    model = linear()
    data, x = recording(model, 200, 15)
    told = LinearModel(
        model.transition, model.measurement, model.process_noise / 100, model.measurement_noise, model.mean
    )
    net = unroll(KalmanFilter(told), 15, tied="process_scale")
    optimizer = torch.optim.Adam(net.parameters(), 0.5)
    before = float((net(data) - x).square().mean())
    for _ in range(20):
        optimizer.zero_grad()
        loss = (net(data) - x).square().mean()
        loss.backward()
        optimizer.step()
    best = float((solve(KalmanFilter(model), data).estimate - x).square().mean())
    assert float(loss) - best < 0.2 * (before - best)


def refused(error, words, call):
    with pytest.raises(error, match=words):
        call()


def test_what_does_not_fit_is_refused_with_what_would():
    model = linear()
    data, _ = recording(model)
    filter = KalmanFilter(model)
    eye = torch.eye(3, dtype=torch.float64)
    refused(
        ValueError,
        "values hold 3 numbers a moment, and the model measures 2",
        lambda: solve(filter, Recording(eye[None])),
    )
    refused(ValueError, r"values are \(batch, T, m\)", lambda: solve(filter, Recording(data.values[0])))
    refused(TypeError, "a filter takes a Recording", lambda: solve(filter, data.values))
    refused(
        TypeError,
        "present says what was measured, a tensor of bool",
        lambda: filter.check(data._replace(present=data[0])),
    )
    refused(ValueError, "present is as values", lambda: filter.check(data._replace(present=torch.ones(4, 1, 2).bool())))
    refused(ValueError, "holds 1 values that are NaN", lambda: solve(filter, Recording(spoilt(data.values))))
    refused(
        ValueError,
        r"7 moments, and all of them are done: .* layers=range\(7\), or by `track`; .* begin=7",
        lambda: unroll(filter, T + 1)(data),
    )
    _, state = track(filter, data)
    refused(ValueError, "Recording\\(values, begin=7\\)", lambda: unroll(filter, 1)(data, state))
    refused(
        ValueError,
        "the state has seen 7 moments, and the recording holds 7 from 9 on",
        lambda: unroll(filter, 1)(data._replace(begin=9), state),
    )
    refused(ValueError, r"F is \(n, n\) and H \(m, n\)", lambda: LinearModel(eye[:2], eye, eye, eye))
    refused(ValueError, r"so that Q is \(3, 3\) and R \(3, 3\)", lambda: LinearModel(eye, eye, eye, eye[:2, :2]))
    refused(ValueError, "process_noise is a covariance, positive semi", lambda: LinearModel(eye, eye, -eye, eye))
    refused(ValueError, "measurement_noise is a covariance, positive def", lambda: LinearModel(eye, eye, eye, 0 * eye))
    refused(
        ValueError,
        "it differs from its transpose",
        lambda: LinearModel(eye, eye, eye + torch.triu(eye.roll(1, 1)), eye),
    )
    refused(TypeError, "a KalmanFilter is for a LinearModel, and this is a Pendulum", lambda: KalmanFilter(Pendulum()))
    refused(ValueError, "process_scale is 0", lambda: KalmanFilter(model, 0.0))
    refused(ValueError, r"a gain is \(n, m\), here \(3, 2\)", lambda: SteadyKalmanFilter(model, eye))
    smoother = RauchTungStriebel(filter)
    refused(ValueError, "a smoother is done after 13 steps", lambda: unroll(smoother, 14)(data))


def spoilt(values):
    values = values.clone()
    values[0, 3, 1] = torch.nan
    return values
