"""Projected gradient, AMP, OAMP and expectation propagation for detection, each against the loop written by hand."""

import math

import pytest
import torch
from channels import BPSK, cast, received, select
from families import some
from iterations import gaussian

from unrolling import solve, unroll
from unrolling.algorithms.detection.linear_detection import lmmse, zero_forcing
from unrolling.algorithms.detection.mimo import Received, pam, posterior
from unrolling.algorithms.detection.mmnet import FreeMatrix, MMNetLayer, ScaledAdjoint, fixed_oamp
from unrolling.algorithms.messages.expectation_propagation import ExpectationPropagation
from unrolling.algorithms.messages.oamp import OAMP
from unrolling.algorithms.sparse.lama import LAMA
from unrolling.algorithms.splitting.projected_gradient import ProjectedGradient
from unrolling.testing import CHECKS, check_compile, check_export, check_iteration

SHARED, _ = received(batch=4, n=6, k=3, shared=True)
DETECTORS = {
    "projected gradient": lambda: ProjectedGradient(BPSK, step_size=0.3, damping=0.2),
    "LAMA": lambda: LAMA(BPSK, damping=0.3),
    "LAMA, 16-QAM": lambda: LAMA(pam(4), damping=0.3),
    "OAMP": lambda: OAMP(BPSK),
    "OAMP, 64-QAM": lambda: OAMP(pam(8)),
    "expectation propagation": lambda: ExpectationPropagation(BPSK),
    "MMNet, free": lambda: MMNetLayer(BPSK, FreeMatrix(fixed_oamp(SHARED.channel[0], 0.1)), 3),
    "MMNet, free complex": lambda: MMNetLayer(BPSK, FreeMatrix(gaussian(4, 6, seed=5), complex=True), 4),
    "MMNet, H^T": lambda: MMNetLayer(BPSK, ScaledAdjoint(BPSK, 0.5), 3),
}


def data_for(name):
    if name == "MMNet, free":
        return SHARED
    return received(
        batch=4, n=6, k=4 if "complex" in name else 3, order=4 if "16" in name else 8 if "64" in name else 2, snr=6.0
    )[0]


@pytest.mark.parametrize("name", DETECTORS)
def test_conformance(name):
    # A decided symbol has no derivative to speak of, and detectors need not converge; what they find is tested below.
    check_iteration(DETECTORS[name](), data_for(name), skip=("compile", "export", "solve"))


@pytest.mark.nightly
@pytest.mark.slow
@pytest.mark.parametrize("name", some(DETECTORS, "LAMA", "MMNet, free complex"))
def test_export_with_a_dynamic_batch_and_tracing_in_one_graph(name):
    check_export(DETECTORS[name](), data_for(name))
    check_compile(DETECTORS[name](), data_for(name), backend="aot_eager")


@pytest.mark.parametrize("name", DETECTORS)
def test_single_precision_keeps_the_first_law(name):
    check_iteration(
        DETECTORS[name]().float(),
        cast(data_for(name), torch.float32),
        skip=set(CHECKS) - {"parent", "batch", "training"},
    )


@pytest.mark.parametrize("name", ["projected gradient", "LAMA", "OAMP", "expectation propagation", "MMNet, H^T"])
def test_one_channel_for_all_samples_is_that_channel_for_each(name):
    data, _ = received(batch=5, n=6, k=3, shared=True)
    net = unroll(DETECTORS[name](), 6)
    torch.testing.assert_close(net(data), net(select(data, torch.arange(5))), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("name", ["projected gradient", "LAMA", "OAMP", "expectation propagation"])
def test_streams_may_be_numbered_and_turned_over_at_will_and_the_gain_does_not_matter(name):
    data, _ = received(batch=5, n=6, k=3, snr=4.0)
    net = unroll(DETECTORS[name](), 6)
    order, signs = torch.tensor([2, 0, 1]), torch.tensor([1.0, -1, -1], dtype=torch.float64)
    turned = Received(3 * data.y, 3 * data.channel[:, :, order] * signs, 9 * data.noise_variance)
    torch.testing.assert_close(net(turned), net(data)[:, order] * signs, rtol=1e-8, atol=1e-9)


# Projected gradient


@pytest.mark.parametrize("damping", [0.0, 0.6])
def test_projected_gradient_is_the_loop_written_by_hand(damping):
    data, _ = received(order=4)
    x = torch.zeros(6, 4, dtype=torch.float64)
    top = 3 / math.sqrt(5)
    for state in unroll(ProjectedGradient(pam(4), step_size=0.3, damping=damping), 12).trajectory(data):
        for b in range(6):
            channel = data.channel[b]
            gain = channel.square().sum() / 4
            moved = (x[b] + 0.3 / gain * channel.T @ (data.y[b] - channel @ x[b])).clip(-top, top)
            x[b] = damping * x[b] + (1 - damping) * moved
        torch.testing.assert_close(state, x, rtol=0, atol=1e-13)


def test_projected_gradient_converges_to_the_minimiser_over_the_box():
    """There the gradient is zero inside, and points outwards on the boundary."""
    data, _ = received(snr=2.0)
    iteration = ProjectedGradient(BPSK, step_size=0.3)
    x = solve(iteration, data, tolerance=1e-13).estimate
    gradient = torch.einsum("bnk,bn->bk", data.channel, torch.einsum("bnk,bk->bn", data.channel, x) - data.y)
    inside = x.abs() < 1 - 1e-9
    assert gradient[inside].abs().max() < 1e-9
    assert (gradient * x)[~inside].max() < 0
    assert inside.any()
    assert (~inside).any()


def test_projected_gradient_never_raises_its_objective_and_knows_it():
    data, _ = received()
    iteration = ProjectedGradient(BPSK, step_size=0.3)
    problem = iteration.prepare(data)
    states = list(unroll(iteration, 20).trajectory(data))
    values = torch.stack([iteration.objective(state, problem) for state in states])
    assert (values.diff(dim=0) <= 1e-12).all()
    gain = data.channel.square().sum((1, 2)) / 4
    distance = [
        (data.y - torch.einsum("bnk,bk->bn", data.channel, x)).square().sum(1) / 2 / gain
        for x in (states[0], states[-1])
    ]
    torch.testing.assert_close(values[0] - values[-1], distance[0] - distance[1])


# AMP


def test_lama_is_amp_written_by_hand():
    """Residuals of N entries and their Onsager term, instead of H^T r."""
    data, _ = received(batch=3, n=40, k=20, order=4)
    gain = (data.channel.square().sum((1, 2)) / 20).view(3, 1)
    channel, y, noise = data.channel / gain.sqrt().unsqueeze(2), data.y / gain.sqrt(), data.noise_variance / gain
    x, residual, variance = torch.zeros(3, 20, dtype=torch.float64), y, torch.ones(3, 1, dtype=torch.float64)
    levels = pam(4)
    for state in unroll(LAMA(levels), 8).trajectory(data):
        tau = noise + 0.5 * variance
        z = x + torch.einsum("bnk,bn->bk", channel, residual)
        density = torch.exp(-((z.unsqueeze(2) - levels) ** 2) / (2 * tau.unsqueeze(2)))
        density = density / density.sum(2, keepdim=True)
        x = density @ levels
        variance = ((density * levels**2).sum(2) - x**2).mean(1, keepdim=True)
        residual = y - torch.einsum("bnk,bk->bn", channel, x) + 0.5 * variance / tau * residual
        torch.testing.assert_close(state.x, x, rtol=0, atol=1e-10)


def test_large_systems_follow_state_evolution():
    """tau^2 <- sigma^2 + (K / N) E (E[s | s + tau w] - s)^2, by quadrature; Jeon et al. 2015."""
    n, k, batch, noise = 1000, 500, 12, 10**-0.7
    channel = gaussian(batch, n, k) / math.sqrt(n)
    x = BPSK[torch.randint(2, (batch, k), generator=torch.Generator().manual_seed(3))]
    y = torch.einsum("bnk,bk->bn", channel, x) + math.sqrt(noise) * gaussian(batch, n, seed=4)
    grid = torch.linspace(-9, 9, 4001, dtype=torch.float64)
    weight = torch.softmax(-(grid**2) / 2, dim=0)
    tau = noise + k / n
    for state in unroll(LAMA(BPSK), 3).trajectory(Received(y, channel, torch.full((1, 1), noise, dtype=torch.float64))):
        error = (weight * (torch.tanh((1 + math.sqrt(tau) * grid) / tau) - 1) ** 2).sum().item()
        assert (state.x - x).square().mean().item() == pytest.approx(error, rel=0.1)
        assert state.variance.mean().item() == pytest.approx(error, rel=0.1)
        tau = noise + k / n * error


# OAMP


def direct_oamp(data, levels, depth, gamma=1.0, theta=1.0, phi=1.0, xi=0.0):
    """With the matrix W itself, in the receiver's space."""
    batch, n, k = data.channel.shape
    x = torch.zeros(batch, k, dtype=torch.float64)
    outputs, matrices = [], []
    for _ in range(depth):
        new = torch.empty_like(x)
        for b in range(batch):
            h, s2 = data.channel[b], data.noise_variance[b, 0]
            r = data.y[b] - h @ x[b]
            v2 = max((r @ r - n * s2) / h.square().sum(), torch.tensor(1e-9, dtype=torch.float64))
            what = v2 * h.T @ torch.linalg.inv(v2 * h @ h.T + s2 * torch.eye(n, dtype=torch.float64))
            w = k / (what @ h).trace() * what
            z = x[b] + gamma * w @ r
            remaining = torch.eye(k, dtype=torch.float64) - theta * w @ h
            tau = (v2 * remaining.square().sum() + theta**2 * s2 * w.square().sum()) / k
            new[b] = phi * (posterior(z, tau, levels).mean - xi * z)
            matrices.append((w, h))
        x = new
        outputs.append(x)
    return outputs, matrices


@pytest.mark.parametrize("order", [2, 4])
def test_oamp_in_the_eigenvectors_is_oamp_with_its_matrices(order):
    data, _ = received(n=7, k=4, order=order, snr=9.0)
    wanted, matrices = direct_oamp(data, pam(order), 6)
    for state, x in zip(unroll(OAMP(pam(order)), 6).trajectory(data), wanted, strict=True):
        torch.testing.assert_close(state, x, rtol=0, atol=1e-7)
    for w, h in matrices:  # de-correlated: the trace of I - W H is zero
        assert abs((torch.eye(4, dtype=torch.float64) - w @ h).trace().item()) < 1e-12


def test_oamp_net_is_oamp_with_other_numbers():
    data, _ = received(snr=7.0)
    net = unroll(OAMP(BPSK), 4, untied=("step_size", "variance_scale", "gain", "divergence"))
    values = {"step_size": 0.8, "variance_scale": 1.3, "gain": 1.1, "divergence": 0.05}
    net.load_learned({row.key: torch.tensor(values[row.name], dtype=torch.float64) for row in net.parameter_table()})
    torch.testing.assert_close(net(data), direct_oamp(data, BPSK, 4, 0.8, 1.3, 1.1, 0.05)[0][-1], rtol=0, atol=1e-8)
    assert sum(p.numel() for p in net.parameters() if p.requires_grad) == 16


def test_the_first_linear_step_of_oamp_is_proportional_to_an_lmmse_estimate():
    """Of variance ratio sigma^2 / v^2: seen through a denoiser so soft that it is linear."""
    data, _ = received(snr=5.0)
    energy = data.y.square().sum(1, keepdim=True)
    error = (energy - 7 * data.noise_variance) / data.channel.square().sum((1, 2)).unsqueeze(1)
    estimate = lmmse(data._replace(noise_variance=data.noise_variance / error))
    net = OAMP(BPSK)
    with torch.no_grad():
        net.divergence.fill_(-1e9)  # x = posterior mean + 1e9 z
    z = unroll(net, 1)(data) / 1e9
    ratio = z / estimate
    torch.testing.assert_close(ratio, ratio[:, :1].expand_as(ratio), rtol=1e-7, atol=0)


def test_for_orthonormal_columns_oamp_decides_as_the_matched_filter_in_one_step():
    basis = torch.linalg.qr(gaussian(5, 7, 4))[0]
    x = BPSK[torch.randint(2, (5, 4), generator=torch.Generator().manual_seed(0))]
    noise = torch.full((5, 1), 0.5, dtype=torch.float64)
    data = Received(torch.einsum("bnk,bk->bn", basis, x) + noise.sqrt() * gaussian(5, 7, seed=9), basis, noise)
    one, many = unroll(OAMP(BPSK), 1)(data), unroll(OAMP(BPSK), 9)(data)
    wanted = torch.einsum("bnk,bn->bk", basis, data.y)
    assert torch.equal(one.sign(), wanted.sign())
    # W = H^T whatever v^2 is, I - W H = 0 and so tau^2 = sigma^2: every step is the same.
    torch.testing.assert_close(one, torch.tanh(wanted / 0.5))
    torch.testing.assert_close(many, one)


def test_oamp_takes_a_channel_of_dependent_columns_and_one_with_more_streams_than_antennas():
    data, _ = received(n=3, k=5)
    assert torch.isfinite(unroll(OAMP(BPSK), 10)(data)).all()
    channel = received(n=6, k=4)[0].channel.clone()
    channel[:, :, 3] = channel[:, :, 0]
    for dtype in (torch.float32, torch.float64):
        singular = cast(received(n=6, k=4)[0]._replace(channel=channel), dtype)
        assert torch.isfinite(unroll(OAMP(BPSK.to(dtype)), 10)(singular)).all()


@pytest.mark.parametrize("name", ["LAMA", "OAMP", "expectation propagation"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_with_next_to_no_noise_the_symbols_are_found_and_stay_finite(name, dtype):
    data, x = received(batch=20, n=40, k=10, snr=90.0, seed=5)
    estimate = unroll(DETECTORS[name]().to(dtype), 30)(cast(data, dtype))
    assert torch.equal(estimate.sign(), x.to(dtype))


# MMNet


def test_mmnet_with_the_matrices_of_oamp_is_oamp():
    data, _ = received(batch=1, n=7, k=4, snr=8.0)
    wanted, matrices = direct_oamp(data, BPSK, 3)
    net = unroll(
        MMNetLayer(BPSK, FreeMatrix(torch.zeros(4, 7, dtype=torch.float64)), 4), 3, untied=("linear", "precision")
    )
    values = {f"layers.{t}.linear.real": matrices[t][0] for t in range(3)}
    net.load_learned(values, partial=True)
    torch.testing.assert_close(net(data), wanted[-1], rtol=0, atol=1e-10)


def test_mmnet_starts_at_the_matrix_of_oamps_first_step():
    data, _ = received(batch=1, n=7, k=4)
    h, s2 = data.channel[0], 0.2
    what = h.T @ torch.linalg.inv(h @ h.T + s2 * torch.eye(7, dtype=torch.float64))
    torch.testing.assert_close(fixed_oamp(h, s2), 4 / (what @ h).trace() * what)


def test_mmnet_without_a_matrix_says_nothing():
    data, _ = received(order=4)
    net = MMNetLayer(pam(4), FreeMatrix(torch.zeros(4, 7, dtype=torch.float64)), 4)
    torch.testing.assert_close(unroll(net, 3)(data), torch.zeros(6, 4, dtype=torch.float64), rtol=0, atol=1e-14)


def test_the_iid_form_of_mmnet_is_a_matched_filter_iteration():
    data, _ = received(snr=6.0)
    h = data.channel
    x = torch.zeros(6, 4, dtype=torch.float64)
    identity = torch.eye(4, dtype=torch.float64)
    for state in unroll(MMNetLayer(BPSK, ScaledAdjoint(BPSK, 0.7), 4), 5).trajectory(data):
        r = data.y - torch.einsum("bnk,bk->bn", h, x)
        v2 = ((r.square().sum(1) - 7 * data.noise_variance[:, 0]) / h.square().sum((1, 2))).clip(1e-9)
        tau = (
            v2 * (identity - 0.7 * h.mT @ h).square().sum((1, 2))
            + data.noise_variance[:, 0] * 0.49 * h.square().sum((1, 2))
        ) / 4
        x = torch.tanh((x + 0.7 * torch.einsum("bnk,bn->bk", h, r)) / tau.unsqueeze(1))
        torch.testing.assert_close(state, x, rtol=0, atol=1e-12)


def test_a_free_complex_matrix_keeps_its_form_and_counts_as_published():
    """T (2 K N + 2 K) numbers for K x N complex."""
    upper = gaussian(3, 5)
    lower = gaussian(3, 5, seed=1)
    real = torch.cat([torch.cat([upper, -lower], 1), torch.cat([lower, upper], 1)])
    matrix = FreeMatrix(real, complex=True)
    torch.testing.assert_close(matrix(torch.zeros(1, 10, 6))[0], real, rtol=0, atol=0)
    net = unroll(MMNetLayer(BPSK, matrix, 6), 4, untied=("linear", "precision"))
    assert sum(p.numel() for p in net.parameters() if p.requires_grad) == 4 * (2 * 3 * 5 + 2 * 3)
    iid = unroll(MMNetLayer(BPSK, ScaledAdjoint(BPSK), 6), 4, untied=("linear", "precision"))
    assert sum(p.numel() for p in iid.parameters() if p.requires_grad) == 4 * (1 + 2 * 3)


def test_an_mmnet_refuses_a_channel_of_other_streams():
    with pytest.raises(ValueError, match="this MMNet is for 5 real streams, and the channel has 4 columns"):
        MMNetLayer(BPSK, ScaledAdjoint(BPSK), 5).check(received()[0])


# Quality, on one fixed draw of 20 x 30


def test_the_order_of_the_detectors():
    """Error rates at 8 dB, 4,000 vectors: published orders of magnitude, and the order that theory gives."""
    data, x = received(batch=4000, n=30, k=20, snr=8.0, seed=11, dtype=torch.float32)
    levels = BPSK.float()

    def ber(estimate):
        return ((estimate > 0) != (x > 0)).float().mean().item()

    rates = {
        "ep": ber(unroll(ExpectationPropagation(levels), 10)(data)),
        "oamp": ber(unroll(OAMP(levels), 10)(data)),
        "lama": ber(unroll(LAMA(levels), 20)(data)),
        "lmmse": ber(lmmse(data)),
        "zf": ber(zero_forcing(data)),
    }
    assert rates["lmmse"] == pytest.approx(4.21e-2, rel=0.06)  # the project's reference table
    assert rates["ep"] < 0.8 * rates["oamp"] < 0.8 * rates["lmmse"]
    assert rates["lama"] < 0.7 * rates["lmmse"]
    assert rates["lmmse"] < 0.7 * rates["zf"]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ProjectedGradient(BPSK, step_size=0.0), "step_size must be positive and finite; got 0.0"),
        (lambda: ProjectedGradient(BPSK, damping=1.0), r"damping must lie in \[0, 1\)"),
        (lambda: LAMA(BPSK, damping=1.0), r"damping must lie in \[0, 1\)"),
        (lambda: ExpectationPropagation(BPSK, damping=1.5), "damping is 1.5; it must be at least 0 and at most 1"),
    ],
)
def test_settings_out_of_range_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
