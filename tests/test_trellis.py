"""Viterbi and BCJR against enumeration of all sequences, the textbook's traceback, and what costs may be changed by."""

import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from iterations import gaussian
from torch import nn

from unrolling import solve, unroll
from unrolling.algorithms.detection.mimo import pam
from unrolling.algorithms.detection.trellis import GaussianLikelihood, Observed, Trellis, check_trellis
from unrolling.algorithms.detection.viterbi import BCJR, Viterbi, viterbi_path
from unrolling.testing import check_compile, check_export, check_iteration


def observed(batch=3, length=6, memory=3, order=2, seed=0, deviation=0.5):
    taps = gaussian(batch, memory, seed=seed)
    index = torch.randint(order, (batch, length + memory - 1), generator=torch.Generator().manual_seed(seed))
    sent = pam(order)[index]
    clean = torch.stack(
        [sum(taps[:, j] * sent[:, t + memory - 1 - j] for j in range(memory)) for t in range(length)], dim=1
    )
    y = clean + deviation * gaussian(batch, length, seed=seed + 1)
    return Observed(
        y,
        taps,
        taps + 0.1 * gaussian(batch, memory, seed=seed + 2),
        torch.full((batch, 1), deviation**2, dtype=torch.float64),
    ), index


def gaussian_likelihood(memory=3, order=2, **options):
    return GaussianLikelihood(pam(order), memory, **options)


class Given(nn.Module):
    """A likelihood that is what it is told; ``y`` only counts the samples."""

    def __init__(self, value):
        super().__init__()
        self.value = nn.Parameter(value)

    def forward(self, data):
        return self.value[: data.y.shape[0]] + 0 * data.y.unsqueeze(2)


class Affine(nn.Module):
    """A learned likelihood in its simplest form: a line in y_t for each state."""

    def __init__(self, states):
        super().__init__()
        self.slope, self.offset = nn.Parameter(gaussian(states)), nn.Parameter(gaussian(states, seed=1))

    def forward(self, data):
        return self.slope * data.y.unsqueeze(2) + self.offset


def every_sequence(data, memory, order):
    """log p(y | a) up to a constant of all order^(T + memory - 1) sequences a, and their indices, sample by sample."""
    length = data.y.shape[1]
    sequences = torch.tensor(list(itertools.product(range(order), repeat=length + memory - 1)))
    sent = pam(order)[sequences]
    scores = []
    for b in range(data.y.shape[0]):
        clean = torch.stack(
            [sum(data.taps[b, j] * sent[:, t + memory - 1 - j] for j in range(memory)) for t in range(length)], dim=1
        )
        scores.append(-((data.y[b] - clean) ** 2).sum(1) / (2 * data.noise_variance[b]))
    return torch.stack(scores), sequences


# States


@given(levels=st.integers(2, 4), memory=st.integers(1, 4), seed=st.integers(0, 100))
def test_a_state_holds_the_last_symbols_and_follows_from_the_one_before(levels, memory, seed):
    trellis = Trellis(levels, memory)
    index = torch.randint(levels, (2, 9 + memory - 1), generator=torch.Generator().manual_seed(seed))
    states = trellis.of(index)
    assert states.shape == (2, 9)
    symbols = trellis.symbols()[states]
    for t in range(9):
        assert torch.equal(symbols[:, t], index[:, t : t + memory].flip(1))
    assert torch.equal(trellis.newest(states), index[:, memory - 1 :])
    assert torch.equal(states[:, 1:], index[:, memory:] * levels ** (memory - 1) + states[:, :-1] // levels)


def test_the_gaussian_likelihood_is_that_of_the_clean_output():
    data, _ = observed(order=4, memory=2)
    got = gaussian_likelihood(2, 4)(data)
    levels = pam(4)
    for state, (newest, oldest) in enumerate(itertools.product(range(4), repeat=2)):
        clean = data.taps[:, 0] * levels[newest] + data.taps[:, 1] * levels[oldest]
        wanted = torch.distributions.Normal(clean.unsqueeze(1), 0.5).log_prob(data.y)
        constant = torch.distributions.Normal(0.0, 0.5).log_prob(torch.tensor(0.0))
        torch.testing.assert_close(got[:, :, state], wanted - constant)


# Viterbi


@pytest.mark.parametrize(("memory", "order", "length"), [(1, 2, 6), (2, 2, 7), (3, 2, 6), (4, 2, 5), (2, 3, 4)])
def test_viterbi_finds_the_likeliest_of_all_sequences(memory, order, length):
    levels = torch.linspace(-1, 1, order, dtype=torch.float64)
    levels = levels / levels.square().mean().sqrt()
    data, _ = observed(batch=4, length=length, memory=memory, seed=memory, order=2)
    likelihood = GaussianLikelihood(levels, memory)
    states = unroll(Viterbi(likelihood, order, memory), length)(data).argmax(2)
    trellis = Trellis(order, memory)
    sequences = torch.tensor(list(itertools.product(range(order), repeat=length + memory - 1)))
    every = trellis.of(sequences)
    table = likelihood(data)
    for b in range(4):
        score = table[b].gather(1, every.T).sum(0)
        assert torch.equal(states[b], every[score.argmax()])
        best = unroll(Viterbi(likelihood, order, memory), length).run(data).score[b]
        # and the score of a state is that of the best path through it, up to a number for each time
        for t in range(length):
            through = torch.stack([score[every[:, t] == s].max() for s in range(order**memory)])
            torch.testing.assert_close(best[t] - best[t].max(), through - through.max(), rtol=0, atol=1e-10)


@given(seed=st.integers(0, 200), memory=st.integers(1, 4))
def test_the_textbook_s_traceback_finds_the_same_path(seed, memory):
    data, _ = observed(batch=2, length=15, memory=memory, seed=seed)
    likelihood = gaussian_likelihood(memory)
    path = viterbi_path(likelihood(data), Trellis(2, memory))
    assert torch.equal(unroll(Viterbi(likelihood, 2, memory), 15)(data).argmax(2), path)


def test_solve_stands_still_after_as_many_steps_as_there_are_symbols():
    data, _ = observed(length=12)
    found = solve(Viterbi(gaussian_likelihood(), 2, 3), data, tolerance=1e-12)
    assert found.converged.all()
    assert found.iterations.max() <= 13
    assert torch.equal(found.estimate.argmax(2), viterbi_path(gaussian_likelihood()(data), Trellis(2, 3)))


def test_each_step_hears_from_one_more_symbol_on_either_side():
    data, _ = observed(length=21, batch=1)
    other = data._replace(y=data.y.clone())
    other.y[0, 10] += 1.0
    for depth in (1, 3, 6):
        net = unroll(Viterbi(gaussian_likelihood(), 2, 3), depth)
        changed = ((net(data) - net(other)).abs() > 1e-9).any(2)[0].nonzero().flatten().tolist()
        assert set(changed) <= set(range(10 - depth + 1, 10 + depth))
        assert 10 in changed


def test_the_first_step_decides_each_symbol_from_its_own_observation():
    data, _ = observed(length=8)
    likelihood = gaussian_likelihood()
    torch.testing.assert_close(
        unroll(Viterbi(likelihood, 2, 3), 1)(data).log_softmax(2), likelihood(data).log_softmax(2)
    )


def test_without_memory_every_step_decides_symbol_by_symbol():
    data, _ = observed(memory=1, order=4, length=9)
    likelihood = gaussian_likelihood(1, 4)
    nearest = (data.y.unsqueeze(2) - data.taps.unsqueeze(1) * pam(4)).abs().argmin(2)
    for depth in (1, 9):
        assert torch.equal(unroll(Viterbi(likelihood, 4, 1), depth)(data).argmax(2), nearest)


def test_a_number_added_at_each_time_changes_no_path_and_neither_does_a_positive_scale():
    """So that p(y_t) need not be known; the symbols of BCJR stand the first and not the second."""
    table = gaussian(2, 10, 8)
    data = Observed(torch.zeros(2, 10, dtype=torch.float64))

    def states(iteration):
        return unroll(iteration, 10)(data).argmax(2)

    path = states(Viterbi(Given(table), 2, 3))
    added = table + 5 * gaussian(2, 10, 1, seed=3)
    assert torch.equal(states(Viterbi(Given(added), 2, 3)), path)
    assert torch.equal(states(Viterbi(Given(0.01 * table), 2, 3)), path)
    torch.testing.assert_close(unroll(BCJR(Given(added), 2, 3), 10)(data), unroll(BCJR(Given(table), 2, 3), 10)(data))
    assert not torch.allclose(
        unroll(BCJR(Given(0.01 * table), 2, 3), 10)(data), unroll(BCJR(Given(table), 2, 3), 10)(data)
    )


# BCJR


@pytest.mark.parametrize(("memory", "order", "length"), [(1, 4, 5), (2, 2, 7), (3, 2, 6), (2, 4, 3)])
def test_bcjr_is_the_posterior_of_each_symbol(memory, order, length):
    data, _ = observed(batch=3, length=length, memory=memory, order=order, seed=5)
    estimate = unroll(BCJR(gaussian_likelihood(memory, order), order, memory), length)(data)
    score, sequences = every_sequence(data, memory, order)
    weight = score.softmax(1)
    newest = Trellis(order, memory).newest(torch.arange(order**memory))
    for b in range(3):
        for t in range(length):
            for level in range(order):
                wanted = weight[b, sequences[:, t + memory - 1] == level].sum().log()
                torch.testing.assert_close(
                    estimate[b, t, newest == level], wanted.expand(order ** (memory - 1)), rtol=0, atol=1e-10
                )


def test_bcjr_makes_no_more_symbol_errors_than_viterbi_where_noise_is_large():
    data, index = observed(batch=400, length=40, memory=3, seed=3, deviation=1.2)
    trellis, sent = Trellis(2, 3), index[:, 2:]
    rates = [
        (trellis.newest(unroll(kind(gaussian_likelihood(), 2, 3), 25)(data).argmax(2)) != sent).double().mean().item()
        for kind in (BCJR, Viterbi)
    ]
    assert rates[0] <= rates[1]
    assert 0.05 < rates[0] < 0.4


# As iterations


@pytest.mark.parametrize("kind", [Viterbi, BCJR])
def test_conformance(kind):
    data, _ = observed(length=5)
    check_iteration(kind(Affine(8), 2, 3), data, skip=("compile", "export"))


@pytest.mark.slow
@pytest.mark.parametrize("kind", [Viterbi, BCJR])
def test_export_with_a_dynamic_batch_and_tracing_in_one_graph(kind):
    data, _ = observed(length=5)
    iteration = kind(gaussian_likelihood(), 2, 3)
    check_export(iteration, data)
    check_compile(iteration, data, backend="aot_eager")


def test_the_likelihood_runs_once_whatever_the_depth():
    calls = []
    likelihood = gaussian_likelihood()
    likelihood.register_forward_hook(lambda *_: calls.append(1))
    unroll(Viterbi(likelihood, 2, 3), 12)(observed()[0])
    assert len(calls) == 1


# Bad input


@pytest.mark.parametrize(
    ("data", "error", "message"),
    [
        (torch.zeros(2, 5), TypeError, "a sequence detector takes an Observed"),
        (Observed(torch.zeros(5)), ValueError, r"y is \(batch, T\)"),
        (Observed(torch.zeros(2, 0)), ValueError, r"at least one symbol long; got \(2, 0\)"),
        (
            Observed(torch.zeros(2, 5, dtype=torch.complex64)),
            TypeError,
            "y is torch.complex64; a sequence detector works on real tensors",
        ),
        (
            Observed(torch.zeros(2, 5), torch.zeros(2, 4)),
            ValueError,
            r"taps is \(batch, 3\), or \(1, 3\) for all "
            r"sequences of 2; got \(2, 4\)",
        ),
        (Observed(torch.zeros(2, 5), None, torch.zeros(3, 3)), ValueError, r"estimated_taps is .*got \(3, 3\)"),
        (
            Observed(torch.zeros(2, 5), None, None, torch.zeros(2)),
            ValueError,
            r"noise_variance is \(batch, 1\).*got "
            r"\(2,\)",
        ),
    ],
)
def test_data_that_do_not_belong_together_are_refused(data, error, message):
    with pytest.raises(error, match=message):
        Viterbi(gaussian_likelihood(), 2, 3).check(data)


@pytest.mark.parametrize(("estimated", "missing"), [(False, "taps"), (True, "estimated_taps")])
def test_a_likelihood_that_lacks_its_channel_says_which(estimated, missing):
    data, _ = observed()
    with pytest.raises(ValueError, match=f"give Observed its {missing} and its noise_variance"):
        gaussian_likelihood(estimated=estimated)(data._replace(**{missing: None}))


@pytest.mark.parametrize(
    ("levels", "memory", "message"),
    [(1, 2, "at least 2 levels"), (2, 0, "memory of at least 1"), (8, 5, "make 32,768 states; at most 4,096")],
)
def test_trellises_that_cannot_be_searched_are_refused(levels, memory, message):
    with pytest.raises(ValueError, match=message):
        check_trellis(levels, memory)
