"""The layer of DetNet: projected gradient at its start, the published sizes, and what sharing weights between streams
means.
"""

import pytest
import torch
from channels import BPSK, cast, received
from families import some
from iterations import gaussian

from unrolling import unroll
from unrolling.algorithms.detection.detnet import DetNetLayer
from unrolling.algorithms.detection.mimo import MatchedFiltering, Received, pam
from unrolling.algorithms.splitting.projected_gradient import ProjectedGradient
from unrolling.testing import CHECKS, check_compile, check_export, check_iteration

FORMS = {
    "dense": {"streams": 3, "hidden": 8, "auxiliary": 2},
    "dense, gradient": {"streams": 3, "hidden": 8, "auxiliary": 2, "input": "gradient", "head": "one_hot"},
    "shared": {"hidden": 5, "auxiliary": 2},
    "shared, gradient, one-hot": {"hidden": 5, "auxiliary": 2, "input": "gradient", "head": "one_hot"},
    "random": {"streams": 3, "hidden": 8, "auxiliary": 2, "initial": "random"},
}
DATA, _ = received(batch=4, n=5, k=3)


def layer(name, levels=BPSK, **changes):
    return DetNetLayer(levels, **{**FORMS[name], **changes})


def learned(net):
    return sum(p.numel() for p in net.parameters() if p.requires_grad)


@pytest.mark.parametrize("name", FORMS)
def test_conformance(name):
    # A step that clips and rectifies has kinks; that it does so as written is tested below. A deep one need not
    # converge.
    check_iteration(layer(name), DATA, skip=("compile", "export", "solve"))


@pytest.mark.slow
@pytest.mark.parametrize("name", some(FORMS, "shared"))
def test_export_with_a_dynamic_batch_and_tracing_in_one_graph(name):
    check_export(layer(name), DATA)
    check_compile(layer(name), DATA, backend="aot_eager")


@pytest.mark.parametrize("name", ["dense", "shared"])
def test_single_precision_keeps_the_first_law(name):
    check_iteration(layer(name).float(), cast(DATA, torch.float32), skip=set(CHECKS) - {"parent", "batch", "training"})


# At the start


@pytest.mark.parametrize("input", ["concat", "gradient"])
@pytest.mark.parametrize("head", ["soft_sign", "one_hot"])
@pytest.mark.parametrize("streams", [4, None])
@pytest.mark.parametrize("damping", [0.0, 0.5, 0.9])
def test_at_its_start_it_is_projected_gradient(input, head, streams, damping):
    data, _ = received(snr=4.0)
    parent = ProjectedGradient(BPSK, step_size=0.6, damping=damping)
    net = DetNetLayer(
        BPSK, streams, hidden=11, auxiliary=3, input=input, head=head, damping=damping, step_size=0.6, seed=4
    )
    for got, wanted in zip(unroll(net, 40).trajectory(data), unroll(parent, 40).trajectory(data), strict=True):
        torch.testing.assert_close(got.x, wanted, rtol=0, atol=1e-14)


@pytest.mark.parametrize("order", [4, 8])
@pytest.mark.parametrize("streams", [4, None])
def test_so_it_is_for_more_than_two_levels(order, streams):
    data, _ = received(order=order, snr=8.0)
    parent = ProjectedGradient(pam(order), step_size=0.4, damping=0.5)
    net = DetNetLayer(pam(order), streams, hidden=12, auxiliary=3, head="one_hot", damping=0.5, step_size=0.4)
    torch.testing.assert_close(unroll(net, 30)(data), unroll(parent, 30)(data), rtol=0, atol=1e-13)


def test_other_hidden_units_have_something_to_say_as_soon_as_they_are_heard():
    """They are random and silent: after one step of training they count."""
    data, x = received()
    net = unroll(DetNetLayer(BPSK, hidden=8, auxiliary=2), 3, untied=("hidden", "update", "slope"))
    (net(data) - x).square().sum().backward()
    gradients = net.layers[2].update.weight.grad[0]
    assert (gradients[2:] != 0).sum() >= 4


# A layer by its formulas


def test_a_dense_layer_is_the_published_formulas():
    data, _ = received(n=5, k=3)
    torch.manual_seed(0)
    net = layer("dense", damping=0.7)
    for p in net.parameters():
        torch.nn.init.normal_(p, std=0.5)
    problem = net.prepare(data)
    x, v = gaussian(6, 3, seed=1), gaussian(6, 2, seed=2)
    state = type(net.start(problem))(x, x, v)
    got = net(state, problem)
    for b in range(6):
        h, y = data.channel[b], data.y[b]
        gain = h.square().sum() / 3
        z = torch.cat([h.T @ y / gain, x[b], h.T @ h @ x[b] / gain, v[b]])
        a = torch.relu(net.hidden.weight @ z + net.hidden.bias)
        both = net.update.weight @ a + net.update.bias
        t = net.slope
        psi = -1 + torch.relu(both[:3] + t) / t - torch.relu(both[:3] - t) / t
        torch.testing.assert_close(got.x[b], 0.7 * x[b] + 0.3 * psi)
        torch.testing.assert_close(got.auxiliary[b], 0.7 * v[b] + 0.3 * both[3:])


def test_a_gradient_layer_with_one_hot_scores_is_the_published_formulas():
    data, _ = received(n=5, k=3)
    torch.manual_seed(1)
    net = layer("dense, gradient", damping=0.9)
    for p in net.parameters():
        torch.nn.init.normal_(p, std=0.5)
    problem = net.prepare(data)
    scores, v = gaussian(6, 6, seed=1), gaussian(6, 2, seed=2)
    x = scores.view(6, 3, 2)[..., 1] - scores.view(6, 3, 2)[..., 0]
    got = net(type(net.start(problem))(x, scores, v), problem)
    for b in range(6):
        h, y = data.channel[b], data.y[b]
        gain = h.square().sum() / 3
        q = x[b] - net.step_size[0] * h.T @ y / gain + net.step_size[1] * h.T @ h @ x[b] / gain
        both = (
            net.update.weight @ torch.relu(net.hidden.weight @ torch.cat([q, v[b]]) + net.hidden.bias) + net.update.bias
        )
        wanted = 0.9 * scores[b] + 0.1 * both[:6]
        torch.testing.assert_close(got.head[b], wanted)
        torch.testing.assert_close(got.x[b], wanted[1::2] - wanted[::2])


def kron(weight, streams):
    """A (x) I: inputs and outputs numbered by feature first, stream second."""
    return torch.kron(weight, torch.eye(streams, dtype=weight.dtype))


@pytest.mark.parametrize("head", ["soft_sign", "one_hot"])
def test_a_shared_network_is_a_dense_one_whose_matrices_are_kronecker_products(head):
    data, _ = received(k=4)
    shared = DetNetLayer(BPSK, hidden=6, auxiliary=3, head=head, damping=0.3)
    torch.manual_seed(2)
    for p in shared.parameters():
        torch.nn.init.normal_(p, std=0.4)
    dense = DetNetLayer(BPSK, 4, hidden=24, auxiliary=12, head=head, damping=0.3)
    scores = 1 if head == "soft_sign" else 2
    with torch.no_grad():
        dense.hidden.weight.copy_(kron(shared.hidden.weight, 4))
        dense.hidden.bias.copy_(shared.hidden.bias.repeat_interleave(4))
        weight, bias = kron(shared.update.weight, 4), shared.update.bias.repeat_interleave(4)
        if head == "one_hot":  # dense scores are numbered by stream first, level second
            order = torch.tensor([level * 4 + stream for stream in range(4) for level in range(2)] + list(range(8, 20)))
            weight, bias = weight[order], bias[order]
        dense.update.weight.copy_(weight)
        dense.update.bias.copy_(bias)
        if head == "soft_sign":
            dense.slope = shared.slope
    assert scores * 4 + 12 == dense.update.out_features
    torch.testing.assert_close(unroll(shared, 5)(data), unroll(dense, 5)(data))


def test_a_shared_network_does_not_care_how_streams_are_numbered_and_a_dense_one_does():
    data, _ = received(k=4)
    order = torch.tensor([2, 0, 3, 1])
    turned = Received(data.y, data.channel[:, :, order])
    for streams, equal in ((None, True), (4, False)):
        net = DetNetLayer(BPSK, streams, hidden=10, auxiliary=3, damping=0.5)
        torch.manual_seed(3)
        for p in net.parameters():
            torch.nn.init.normal_(p, std=0.5)
        assert torch.allclose(unroll(net, 4)(turned), unroll(net, 4)(data)[:, order]) == equal


def test_turning_a_stream_over_is_not_assumed_to_turn_its_symbol_over():
    """As in the published network: there are biases, and no symmetry of the signs."""
    data, _ = received(k=4)
    signs = torch.tensor([1.0, -1, 1, 1], dtype=torch.float64)
    net = DetNetLayer(BPSK, hidden=10, auxiliary=3, damping=0.5)
    torch.manual_seed(3)
    for p in net.parameters():
        torch.nn.init.normal_(p, std=0.5)
    assert not torch.allclose(unroll(net, 4)(Received(data.y, data.channel * signs)), unroll(net, 4)(data) * signs)


def test_a_shared_network_serves_any_number_of_streams_and_antennas_at_any_gain():
    net = unroll(DetNetLayer(BPSK, hidden=6, auxiliary=3), 4)
    for n, k in ((3, 1), (9, 9), (12, 7)):
        data, _ = received(n=n, k=k)
        assert net(data).shape == (6, k)
        torch.testing.assert_close(net(Received(5 * data.y, 5 * data.channel)), net(data))
    assert MatchedFiltering()(data).matched.shape == (6, 7)


# Published sizes


def test_the_published_network_of_2017_has_2298069_numbers():
    net = unroll(DetNetLayer(BPSK.float(), 20, hidden=160, auxiliary=40), 89, untied=("hidden", "update", "slope"))
    assert learned(net) == 2_298_069
    assert learned(net) == 89 * ((3 * 20 + 40) * 160 + 160 + (160 + 1) * (20 + 40) + 1)


def test_the_published_network_of_2019_has_737820_numbers_two_of_which_do_nothing():
    """The released code makes a pair of step sizes for the layer before the first, which computes nothing."""
    form = {"hidden": 120, "auxiliary": 60, "input": "gradient", "head": "one_hot"}
    net = unroll(DetNetLayer(BPSK.float(), 30, **form), 29, untied=("hidden", "update", "step_size"))
    assert learned(net) == 29 * (25_440 + 2)
    assert learned(net) + 2 == 29 * 25_440 + 60 == 737_820


def test_published_initial_values_are_small_and_differ_from_seed_to_seed():
    one, two = (
        DetNetLayer(BPSK, 20, hidden=160, auxiliary=40, slope=0.1, initial="random", seed=seed) for seed in (0, 1)
    )
    assert one.hidden.weight.std().item() == pytest.approx(0.01, rel=0.03)
    assert one.slope.item() == pytest.approx(0.1)
    assert not torch.equal(one.hidden.weight, two.hidden.weight)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"input": "both"}, "input is 'both'; it is one of concat, gradient"),
        ({"head": "tanh"}, "head is 'tanh'; it is one of soft_sign, one_hot"),
        ({"initial": "zero"}, "initial is 'zero'; it is one of projected_gradient, random"),
        ({"damping": 1.0}, r"damping must lie in \[0, 1\)"),
        ({"hidden": 7}, "hidden is 7; projected gradient takes two units for each of 4 streams"),
        ({"auxiliary": 0}, "at least 1; got 8 and 0"),
        ({"levels": pam(4)}, "the soft sign has two levels, and the alphabet 4: use head='one_hot'"),
    ],
)
def test_settings_that_are_none_are_refused(changes, message):
    options = {"levels": BPSK, "streams": 4, "hidden": 8, "auxiliary": 2, **changes}
    with pytest.raises(ValueError, match=message):
        DetNetLayer(options.pop("levels"), **options)


def test_dense_weights_refuse_a_channel_of_other_streams():
    with pytest.raises(
        ValueError,
        match="this DetNet has weights for 5 streams, and the channel has 4 columns: the shared form serves any",
    ):
        unroll(DetNetLayer(BPSK, 5, hidden=10, auxiliary=2), 2)(received()[0])
