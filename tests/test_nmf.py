"""Non-negative matrix factorisation: against scikit-learn, its descent and its invariances, Deep NMF's layer, and the
split gradient.
"""

from dataclasses import replace

import pytest
import torch
from families import some
from hypothesis import given
from hypothesis import strategies as st
from iterations import gaussian

from unrolling import solve, unroll
from unrolling.algorithms.sound.nmf import (
    NMF,
    NMFActivations,
    NMFState,
    PositiveUnitNorm,
    beta_divergence,
    learn_dictionary,
    update_activations,
    update_dictionary,
)
from unrolling.algorithms.sound.nmf_separation import NMFSeparation, stack_frames
from unrolling.algorithms.sound.nmf_split import Split, SplitGradient, split_step
from unrolling.operators.stft import STFT
from unrolling.tasks.pairs import Pairs
from unrolling.testing import check_compile, check_iteration
from unrolling.training.fit import fit
from unrolling.training.multiplicative import Multiplicative
from unrolling.training.stages import Stage

BETAS = [0.0, 0.5, 1.0, 1.25, 1.5, 2.0, 3.0]


def positive(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) + 0.1


def separation(beta=1.0, context=1, **options):
    dictionaries = [positive(5 * context, 3), positive(5 * context, 2, seed=1)]
    return NMFSeparation(STFT(8, 4).double(), dictionaries, beta=beta, context=context, **options)


def loop(iteration, data, steps):
    problem = iteration.prepare(data)
    state = iteration.start(problem)
    for _ in range(steps):
        state = iteration(state, problem)
    return state


# The conformance checks


ITERATIONS = {
    "NMF": lambda: (NMF(7, 4).double(), positive(3, 7, 6)),
    "sparse NMF": lambda: (NMF(7, 4, beta=1.5, sparsity=0.1).double(), positive(3, 7, 6)),
    "activations": lambda: (NMFActivations(positive(7, 4), sparsity=0.1), positive(3, 7, 6)),
    "activations, squares": lambda: (NMFActivations(positive(7, 4), beta=2.0, constrained=False), positive(3, 7, 6)),
    "activations, beta 3": lambda: (NMFActivations(positive(7, 4), beta=3.0), positive(3, 7, 6)),
    "separation": lambda: (separation(sparsity=0.1), gaussian(3, 21)),
    "separation, context": lambda: (separation(beta=0.5, context=3), gaussian(3, 21)),
}


@pytest.mark.nightly
@pytest.mark.parametrize("name", some(ITERATIONS, "sparse NMF", "separation"))
def test_they_are_sound_iterations(name):
    check_iteration(*ITERATIONS[name](), skip="compile")


@pytest.mark.parametrize("name", some(["sparse NMF", "activations, beta 3", "separation, context"], "sparse NMF"))
def test_one_of_each_kind_is_traced_into_one_graph(name):
    check_compile(*ITERATIONS[name](), backend="aot_eager")


@pytest.mark.nightly
@pytest.mark.parametrize("name", ITERATIONS)
def test_they_compile(name):
    check_compile(*ITERATIONS[name]())


# Against scikit-learn and by definition


@pytest.mark.parametrize("beta", BETAS[1:])
@pytest.mark.parametrize("sparsity", [0.0, 0.25])
def test_it_agrees_with_scikit_learn(beta, sparsity):
    """scikit-learn factorises M^T, so that its W is our H^T and is updated first, as ours is."""
    from sklearn.decomposition import NMF as Theirs  # noqa: N811

    magnitude, W, H = positive(1, 7, 6, seed=2), positive(7, 4, seed=3), positive(6, 4, seed=4)
    ours = NMF(7, 4, beta=beta, sparsity=sparsity, normalise=False).double()
    state, problem = NMFState(W.unsqueeze(0), H.unsqueeze(0)), ours.prepare(magnitude)
    for _ in range(40):
        state = ours(state, problem)
    # Its weight of |W|_1 is alpha_W times the number of features.
    theirs = Theirs(
        4,
        init="custom",
        solver="mu",
        beta_loss=beta,
        max_iter=40,
        tol=0,
        alpha_W=sparsity / 7,
        alpha_H=0.0,
        l1_ratio=1.0,
    )
    activations = theirs.fit_transform(magnitude[0].T.numpy().copy(), W=H.numpy().copy(), H=W.T.numpy().copy())
    assert abs(state.activations[0].detach().numpy() - activations).max() < 1e-10
    assert abs(state.dictionary[0].detach().numpy() - theirs.components_.T).max() < 1e-10


@given(st.sampled_from(BETAS), st.integers(0, 50))
def test_the_divergence_is_zero_at_equality_and_positive_elsewhere(beta, seed):
    x, y = positive(2, 3, 4, seed=seed), positive(2, 3, 4, seed=seed + 1)
    assert beta_divergence(x, x, beta).abs().max() < 1e-12
    assert (beta_divergence(x, y, beta) > 0).all()


def test_the_divergences_of_other_betas_have_these_limits():
    x, y = positive(2, 3, 4), positive(2, 3, 4, seed=1)
    for beta in (0.0, 1.0):
        torch.testing.assert_close(
            beta_divergence(x, y, beta + 1e-6), beta_divergence(x, y, beta), rtol=1e-4, atol=1e-4
        )
    torch.testing.assert_close(beta_divergence(x, y, 2.0), 0.5 * (x - y).square().sum((1, 2)))
    x[0, 0, 0] = 0  # 0 log 0 = 0
    assert torch.isfinite(beta_divergence(x, y, 1.0)).all()


# What the updates promise


@given(st.sampled_from(BETAS), st.sampled_from([0.0, 0.01, 0.3, 2.0]), st.integers(0, 99))
def test_activations_never_raise_the_objective(beta, sparsity, seed):
    iteration, problem = (
        NMFActivations(positive(9, 5, seed=seed), beta=beta, sparsity=sparsity),
        positive(2, 12, 9, seed=seed + 1),
    )
    state = positive(2, 12, 5, seed=seed + 2)
    last = iteration.objective(state, problem)
    for _ in range(60):
        state = iteration(state, problem)
        value = iteration.objective(state, problem)
        assert (value <= last + 1e-10 * last.abs()).all()
        last = value
    assert (state >= 0).all()


@given(st.sampled_from(BETAS), st.integers(0, 99))
def test_without_sparsity_the_factorisation_never_raises_the_objective(beta, seed):
    iteration, problem = NMF(9, 4, beta=beta, seed=seed).double(), positive(2, 8, 9, seed=seed)
    state = iteration.start(problem)
    last = iteration.objective(state, problem)
    for _ in range(40):
        state = iteration(state, problem)
        value = iteration.objective(state, problem)
        assert (value <= last + 1e-10 * last.abs()).all()
        last = value
    torch.testing.assert_close(torch.linalg.vector_norm(state.dictionary, dim=1), torch.ones(2, 4, dtype=torch.float64))


@given(st.integers(0, 99))
def test_one_update_for_kullback_leibler_keeps_the_sum_of_each_frame(seed):
    """sum_f (W H)_ft = sum_f M_ft, for mu = 0 and any H > 0 before."""
    magnitude, dictionary, before = (
        positive(2, 6, 7, seed=seed),
        positive(7, 4, seed=seed + 1),
        positive(2, 6, 4, seed=seed + 2),
    )
    after = update_activations(magnitude, dictionary, before, 1.0, 0.0)
    torch.testing.assert_close((after @ dictionary.T).sum(2), magnitude.sum(2), rtol=1e-12, atol=0)


@given(st.sampled_from(BETAS[1:]), st.integers(0, 99))
def test_the_dictionarys_update_is_the_activations_of_the_transpose(beta, seed):
    magnitude, W, H = positive(2, 6, 7, seed=seed), positive(2, 7, 4, seed=seed + 1), positive(2, 6, 4, seed=seed + 2)
    model = (H @ W.mT).mT  # bins first
    ratio = ((magnitude.mT * model ** (beta - 2)) @ H) / (model ** (beta - 1) @ H)
    gamma = 1 / (2 - beta) if beta < 1 else 1 / (beta - 1) if beta > 2 else 1.0
    torch.testing.assert_close(update_dictionary(magnitude, W, H, beta), W * ratio**gamma)


def test_normalisation_leaves_the_product_as_it_is():
    data = positive(2, 7, 6)
    plain, normalised = (NMF(7, 3, beta=1.5, normalise=n).double() for n in (False, True))
    torch.testing.assert_close(
        *(it.estimate(loop(it, data, 15), it.prepare(data)) for it in (plain, normalised)), rtol=1e-9, atol=1e-12
    )


def test_a_product_of_small_rank_is_found():
    W, H = positive(12, 2), positive(2, 15, seed=5)
    data = (W @ H).unsqueeze(0)
    found = solve(NMF(12, 2).double(), data, tolerance=1e-9, max_iterations=4000)
    assert float((found.estimate - data).norm() / data.norm()) < 1e-3


def test_a_dictionary_is_learned_that_describes_its_examples():
    W, H = positive(10, 3), positive(3, 40, seed=1).square()
    magnitude = W @ H
    learned = learn_dictionary(magnitude, 3, iterations=600)
    torch.testing.assert_close(torch.linalg.vector_norm(learned, dim=0), torch.ones(3, dtype=torch.float64))
    fit_ = solve(NMFActivations(learned), magnitude.unsqueeze(0), tolerance=1e-8, max_iterations=3000)
    assert float((learned @ fit_.estimate[0] - magnitude).detach().norm() / magnitude.norm()) < 5e-3


# Deep NMF's layer


def test_the_layer_is_written_out_here_once_more():
    """Masks of the reconstruction dictionary on the mixture's spectrum, after three updates with the other one."""
    iteration, x = separation(sparsity=0.2), gaussian(2, 21)
    with torch.no_grad():
        iteration.reconstruction = positive(5, 5, seed=8)
    stft = iteration.stft
    X = stft(x)
    W = torch.cat([positive(5, 3), positive(5, 2, seed=1)], dim=1)
    W = W / W.square().sum(0).sqrt()
    M = X.abs()
    H = (M.sum(1, keepdim=True) / W.sum() + 1e-8).repeat(1, 5, 1)
    for _ in range(3):
        H = H * (W.T @ (M / (W @ H))) / (W.sum(0).reshape(1, 5, 1) + 0.2)
    V = positive(5, 5, seed=8)
    parts = [V[:, :3] @ H[:, :3], V[:, 3:] @ H[:, 3:]]
    wanted = torch.stack([stft.inverse((part / (parts[0] + parts[1])).nan_to_num() * X, 21) for part in parts], dim=1)
    torch.testing.assert_close(
        iteration.estimate(loop(iteration, x, 3), iteration.prepare(x)).detach(), wanted, rtol=1e-6, atol=1e-7
    )


@given(st.sampled_from([1, 3]), st.sampled_from([0.5, 1.0, 2.0]), st.integers(1, 30))
def test_the_sources_add_up_to_the_mixture(context, beta, samples):
    iteration, x = separation(beta, context), gaussian(2, samples)
    estimate = iteration.estimate(loop(iteration, x, 4), iteration.prepare(x))
    assert estimate.shape == (2, 2, samples)
    torch.testing.assert_close(estimate.sum(1), x, rtol=0, atol=1e-12)


def test_silence_stays_silent():
    iteration = separation()
    silence = torch.zeros(1, 21, dtype=torch.float64)
    estimate = iteration.estimate(loop(iteration, silence, 5), iteration.prepare(silence)).detach()
    assert float(estimate.abs().max()) == 0


def test_neighbouring_frames_are_stacked_in_their_order():
    frames = torch.arange(1.0, 5).reshape(1, 4, 1)
    assert stack_frames(frames, 3)[0].tolist() == [[0, 1, 2], [1, 2, 3], [2, 3, 4], [3, 4, 0]]


def test_a_dictionary_stays_non_negative_with_unit_columns_whatever_happens_to_it():
    net = unroll(separation(sparsity=0.1), 4, tied="reconstruction", untied=("dictionary", "sparsity"))
    data, target = gaussian(4, 21), gaussian(4, 2, 21, seed=3)
    optimizer = torch.optim.Adam(net.parameters(), lr=0.3)
    for _ in range(25):
        optimizer.zero_grad()
        (net(data) - target).square().sum().backward()
        optimizer.step()
        for row in net.parameter_table():
            assert (row.value >= 0).all()
            if row.name == "dictionary":
                torch.testing.assert_close(
                    torch.linalg.vector_norm(row.value, dim=0), torch.ones(5, dtype=torch.float64), rtol=0, atol=1e-14
                )
    assert any(
        (row.value - row.classical).abs().max() > 0.05 for row in net.parameter_table() if row.name == "dictionary"
    )


def test_the_projection_is_the_nearest_non_negative_direction():
    constraint, value = PositiveUnitNorm(), torch.tensor([[3.0, -1.0, -2.0], [-1.0, -1.0, 0.0], [4.0, -1.0, 1.0]])
    torch.testing.assert_close(
        constraint.project(value), torch.tensor([[0.6, 3**-0.5, 0], [0, 3**-0.5, 0], [0.8, 3**-0.5, 1]])
    )


# The split gradient


@given(st.sampled_from([1.0, 1.25, 1.5, 2.0]), st.sampled_from([0.0, 0.2]), st.integers(0, 99))
def test_the_two_parts_are_non_negative_and_their_difference_is_the_gradient(beta, sparsity, seed):
    iteration = NMFActivations(positive(7, 4, seed=seed), beta=beta, sparsity=sparsity, constrained=False)
    names = ("dictionary", "sparsity") if sparsity else ("dictionary",)
    plain, split = unroll(iteration, 4, untied=names), unroll(iteration, 4, untied=names, gradient=SplitGradient())
    data, target = positive(3, 7, 6, seed=seed + 1), positive(3, 4, 6, seed=seed + 2)
    assert torch.equal(plain(data), split(data))
    for net in (plain, split):
        (net(data) - target).square().sum().backward()
    for (_, ours), (_, theirs) in zip(split.named_learned(), plain.named_learned(), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-8, atol=1e-10)
    for layer in split.layers[1:]:  # the first one's also goes through the start, which is no step
        parts = layer.dictionary.split_gradient
        assert (parts.positive >= 0).all()
        assert (parts.negative >= 0).all()
        torch.testing.assert_close(parts.positive - parts.negative, layer.dictionary.grad, rtol=1e-8, atol=1e-10)


def test_swapping_the_parts_of_the_gradient_swaps_the_parts_that_come_out():
    magnitude, W, H = positive(2, 6, 7), positive(7, 4, seed=1), positive(2, 6, 4, seed=2)
    up = Split(positive(2, 6, 4, seed=3), positive(2, 6, 4, seed=4))
    there = split_step(magnitude, W, H, 1.5, 0.1, up)
    back = split_step(magnitude, W, H, 1.5, 0.1, Split(up.negative, up.positive))
    for a, b in zip(there, back, strict=True):
        torch.testing.assert_close(a.positive, b.negative)
        torch.testing.assert_close(a.negative, b.positive)


def test_multiplicative_updates_train_and_keep_the_constraints():
    iteration = separation(constrained=False)
    net = unroll(iteration, 4, untied="dictionary", gradient=SplitGradient()).float()
    sources = gaussian(24, 2, 21).float()
    pairs = [(each.sum(0), each) for each in sources]
    task = Pairs(pairs, pairs)
    before = task.loss(net(task.validation[0].data), task.validation[0].target).item()
    stage = Stage(
        60, rate=0.3, batch=12, layers=(2, 3), optimizer=Multiplicative(), project={"dictionary": PositiveUnitNorm()}
    )
    fit(net, task, [stage], quiet=True, validations=0)
    assert task.loss(net(task.validation[0].data), task.validation[0].target).item() < 0.97 * before
    for number, layer in enumerate(net.layers):
        assert (layer.dictionary >= 0).all()
        torch.testing.assert_close(torch.linalg.vector_norm(layer.dictionary, dim=0), torch.ones(5))
        assert torch.equal(layer.dictionary, iteration.dictionary.float()) is (number < 2)
    with pytest.raises(RuntimeError, match="unroll with gradient=SplitGradient"):
        fit(
            unroll(iteration, 4, untied="dictionary").float(),
            task,
            [replace(stage, steps=1)],
            quiet=True,
            validations=0,
        )


def test_a_rule_for_multiplicative_updates_refuses_other_layers():
    net = unroll(NMFActivations(positive(7, 4)), 2, untied="dictionary", gradient=SplitGradient())
    with pytest.raises(TypeError, match="with constrained=False and 1 <= beta <= 2; got ParametrizedNMFActivations"):
        net(positive(1, 7, 6))
    with pytest.raises(TypeError, match="1 <= beta <= 2"):
        unroll(
            NMFActivations(positive(7, 4), beta=3.0, constrained=False),
            2,
            untied="dictionary",
            gradient=SplitGradient(),
        )(positive(1, 7, 6))


# Refusals


def test_negative_magnitudes_are_refused_with_their_place():
    data = positive(2, 7, 6)
    data[1, 2, 3] = -0.5
    for iteration in (NMF(7, 4).double(), NMFActivations(positive(7, 4))):
        with pytest.raises(
            ValueError, match=r"the one at \(1, 2, 3\) is -0\.5: take the absolute value of the spectrum"
        ):
            solve(iteration, data)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: NMF(7, 0), "rank 0"),
        (lambda: NMF(7, 3, sparsity=-1.0), "sparsity must be at least 0; got -1"),
        (lambda: NMFActivations(-positive(7, 4)), "finite numbers that are at least 0"),
        (lambda: NMFActivations(torch.zeros(7, 4)), "column 0 of the dictionary is zero"),
        (lambda: separation(context=2), "context is 2; it is an odd number"),
        (lambda: NMFSeparation(STFT(8, 4), [positive(4, 2)]), r"dictionaries have 5 rows .* got \[\(4, 2\)\]"),
        (lambda: NMFSeparation(STFT(8, 4), []), "got none"),
    ],
)
def test_what_makes_no_factorisation_is_refused(make, words):
    with pytest.raises(ValueError, match=words):
        make()


def test_spectra_of_another_size_are_refused():
    with pytest.raises(ValueError, match=r"shape \(batch, 7, frames\); got \(2, 6, 7\)"):
        solve(NMFActivations(positive(7, 4)), positive(2, 6, 7))
