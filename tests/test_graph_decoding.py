"""Decoding: belief propagation on the graph of a code, checked against enumeration and against a loop over edges."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from unrolling import unroll
from unrolling.algorithms.graphs.binary_matrices import binary_rank, generator_matrix, reduced_rows, syndrome
from unrolling.algorithms.graphs.decoding import MinSum, ParityBeliefPropagation, decode_words
from unrolling.algorithms.graphs.parity_checks import ParityChecks
from unrolling.algorithms.graphs.reprocessing import ordered_statistics
from unrolling.systems.catalogue import find
from unrolling.systems.communications._words import _for_code
from unrolling.systems.communications.weighted_bp import SoftWordErrors
from unrolling.tasks.communications.decoding import Decoding
from unrolling.testing import check_iteration

HAMMING = torch.tensor([[1, 0, 1, 0, 1, 0, 1], [0, 1, 1, 0, 0, 1, 1], [0, 0, 0, 1, 1, 1, 1]])
TREE = torch.tensor([[1, 1, 1, 0, 0, 0], [0, 0, 1, 1, 0, 0], [0, 0, 1, 0, 1, 1]])
UNTIED = ("scale", "channel_weight", "damping")


def ratios(batch, n, size=2.0, seed=0, dtype=torch.float64):
    return size * torch.randn(batch, n, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def exact(matrix, llr):
    """log p(x_v = 0 | y) / p(x_v = 1 | y) over all words of the code."""
    basis = generator_matrix(matrix).double()
    numbers = torch.arange(2 ** len(basis))
    words = (((numbers[:, None] >> torch.arange(len(basis))) & 1).double() @ basis).remainder(2)
    weights = -llr @ words.T  # log p(y | x), up to what x does not change
    zero = torch.where(words.T.bool(), -torch.inf, 0.0)  # (n, words)
    one = torch.where(words.T.bool(), 0.0, -torch.inf)
    return torch.logsumexp(weights.unsqueeze(1) + zero, 2) - torch.logsumexp(weights.unsqueeze(1) + one, 2)


def by_hand(matrix, llr, iterations):
    """Messages in a dictionary, one word, the products of hyperbolic tangents as the books write them."""
    ones = [(c, v) for c, v in matrix.nonzero().tolist()]
    told = dict.fromkeys(ones, 0.0)
    for _ in range(iterations):
        said = {(c, v): llr[v] + sum(told[d, w] for d, w in ones if w == v and d != c) for c, v in ones}
        told = {
            (c, v): 2 * math.atanh(math.prod(math.tanh(said[d, w] / 2) for d, w in ones if d == c and w != v))
            for c, v in ones
        }
    return [llr[v] + sum(told[d, w] for d, w in ones if w == v) for v in range(matrix.shape[1])]


def test_on_a_graph_without_cycles_it_is_exact():
    llr = ratios(5, 6)
    net = unroll(ParityBeliefPropagation(TREE).double(), 4, untied=UNTIED)
    torch.testing.assert_close(net(llr), exact(TREE, llr), rtol=0, atol=1e-12)


def test_it_is_the_loop_over_edges():
    llr = ratios(3, 7)
    for depth in (1, 2, 6):
        found = unroll(ParityBeliefPropagation(HAMMING).double(), depth, untied=UNTIED)(llr)
        wanted = torch.tensor([by_hand(HAMMING, row.tolist(), depth) for row in llr], dtype=torch.float64)
        torch.testing.assert_close(found, wanted, rtol=0, atol=1e-11)


@pytest.mark.parametrize("per_edge", [False, True])
def test_untrained_weighted_belief_propagation_is_belief_propagation_to_the_bit(per_edge):
    llr = ratios(20, 7, dtype=torch.float32)
    weighted = ParityBeliefPropagation(HAMMING, per_edge=per_edge)
    plain, state = ParityBeliefPropagation(HAMMING), None
    for depth in range(1, 6):
        state = plain.start(llr) if state is None else state
        state = plain(state, llr)
        assert torch.equal(unroll(weighted, depth, untied=UNTIED)(llr), plain.estimate(state, llr))
    assert weighted.scale.shape == ((12,) if per_edge else ())
    assert weighted.channel_weight.shape == ((7,) if per_edge else ())


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000), kind=st.sampled_from([ParityBeliefPropagation, MinSum]))
def test_errors_do_not_depend_on_the_word(seed, kind):
    llr = ratios(4, 7, seed=seed, dtype=torch.float32)
    basis = generator_matrix(HAMMING)
    chosen = torch.randint(2, (4, len(basis)), generator=torch.Generator().manual_seed(seed))
    signs = 1 - 2 * (chosen.float() @ basis.float()).remainder(2)
    step = kind(HAMMING, per_edge=True, damping=0.25)
    with torch.no_grad():
        step.scale.copy_(torch.rand(12, generator=torch.Generator().manual_seed(seed + 1)))
        step.channel_weight.copy_(torch.rand(7, generator=torch.Generator().manual_seed(seed + 2)))
    net = unroll(step, 4, untied="scale")
    assert torch.equal(net(llr * signs), net(llr) * signs)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("kind", [ParityBeliefPropagation, MinSum])
def test_no_ratio_overflows_and_none_is_lost(kind, dtype):
    for size in (0.0, 1e-30, 1e-8, 1.0, 30.0, 300.0, 1e4, 1e30):
        llr = (size * torch.ones(2, 7, dtype=dtype)).requires_grad_()
        with torch.no_grad():
            llr[1, 2] *= -1  # one error, which this code corrects
        found = unroll(kind(HAMMING).to(dtype), 20, tied="scale")(llr)
        assert bool(found.isfinite().all())
        (slope,) = torch.autograd.grad(found.sum(), llr)
        assert bool(slope.isfinite().all())
        if size >= 1:
            assert bool((found[0] > 0).all())
    erased = torch.full((1, 7), 5.0, dtype=dtype)
    erased[0, :2] = 0.0
    assert bool((unroll(kind(HAMMING).to(dtype), 5, tied="scale")(erased) > 0).all())


def test_decoding_stops_at_a_word_of_the_code():
    llr = torch.full((3, 7), 2.0)
    llr[1, 3] = -1.0
    llr[2, :3] = torch.tensor([-0.1, -0.1, 0.1])
    step = ParityBeliefPropagation(HAMMING)
    found = decode_words(step, llr)
    assert torch.equal(found[:1], unroll(step, 1, tied="scale")(llr[:1]))
    assert not bool(syndrome(found < 0, HAMMING).any())
    short = decode_words(step, llr, 2)
    assert torch.equal(short[1:], unroll(step, 2, tied="scale")(llr[1:])) or torch.equal(short, found)


def test_ordered_statistics_of_enough_flips_is_maximum_likelihood():
    llr = ratios(200, 7, dtype=torch.float32)
    basis = generator_matrix(HAMMING).float()
    words = ((torch.arange(16)[:, None] >> torch.arange(4)) & 1).float() @ basis % 2
    likeliest = words[(llr @ words.T).argmin(1)].bool()
    again = torch.cat([HAMMING, HAMMING[:1] ^ HAMMING[1:2]])
    for matrix in (HAMMING, again):
        assert torch.equal(ordered_statistics(llr, matrix, 2), likeliest)
    assert not bool(syndrome(ordered_statistics(llr, HAMMING, 0), HAMMING).any())
    assert float((ordered_statistics(llr, HAMMING, 0) == likeliest).all(1).float().mean()) > 0.8


def test_min_sum_takes_the_least_of_the_others():
    llr = torch.tensor([[3.0, -1.0, 2.0, 5.0]])
    found = unroll(MinSum(torch.ones(1, 4)), 1, tied="scale")(llr)
    torch.testing.assert_close(found, llr + torch.tensor([[-1.0, 2.0, -1.0, -1.0]]))
    half = unroll(MinSum(torch.ones(1, 4), scale=0.5), 1, tied="scale")(llr)
    torch.testing.assert_close(half, llr + torch.tensor([[-0.5, 1.0, -0.5, -0.5]]))


def test_the_order_of_checks_and_of_words_does_not_matter():
    llr, step = ratios(6, 7), ParityBeliefPropagation(HAMMING).double()
    wanted = unroll(step, 5, tied="scale")(llr)
    other = unroll(ParityBeliefPropagation(HAMMING[[2, 0, 1]]).double(), 5, tied="scale")(llr)
    torch.testing.assert_close(other, wanted, rtol=0, atol=1e-12)
    order = torch.tensor([3, 0, 6, 2, 5, 1, 4])
    moved = unroll(ParityBeliefPropagation(HAMMING[:, order]).double(), 5, tied="scale")(llr[:, order])
    torch.testing.assert_close(moved, wanted[:, order], rtol=0, atol=1e-12)
    torch.testing.assert_close(unroll(step, 5, tied="scale")(llr[2:3]), wanted[2:3], rtol=0, atol=1e-13)


@pytest.mark.parametrize("per_edge", [False, True])
def test_gradients_are_those_of_finite_differences(per_edge):
    step, llr = ParityBeliefPropagation(TREE, per_edge=per_edge).double(), ratios(2, 6).requires_grad_()

    def run(llr, scale, weight, damping):
        values = {"scale": scale, "channel_weight": weight, "damping": damping}
        state = step.start(llr)
        for _ in range(3):
            state = torch.func.functional_call(step, values, (state, llr))
        return step.estimate(state, llr)

    learned = [
        (value + 0.1).detach().requires_grad_() for value in (step.scale * 0.7, step.channel_weight, step.damping)
    ]
    assert torch.autograd.gradcheck(run, (llr, *learned), rtol=1e-6, atol=1e-8)


@pytest.mark.slow
@pytest.mark.parametrize("kind", [ParityBeliefPropagation, MinSum])
def test_they_are_sound_iterations(kind):
    check_iteration(
        kind(HAMMING, per_edge=kind is MinSum, damping=0.1).double(), ratios(4, 7), skip=("compile", "export")
    )


# Matrices


def test_rank_and_generator_are_those_of_arithmetic_modulo_two():
    for seed in range(5):
        matrix = torch.randint(2, (5, 9), generator=torch.Generator().manual_seed(seed))
        basis = generator_matrix(matrix)
        words = torch.arange(2**9)[:, None] >> torch.arange(9) & 1
        count = int((~syndrome(words, matrix).any(1)).sum())
        assert count == 2 ** len(basis) == 2 ** (9 - binary_rank(matrix))
        assert not bool(syndrome(basis, matrix).any())
    assert reduced_rows(torch.tensor([[1, 1], [1, 1]]))[1] == [0]


def test_dependent_rows_are_counted_and_decoded_with():
    again = torch.cat([HAMMING, HAMMING[:1] ^ HAMMING[1:2], HAMMING[:1]])
    graph = ParityChecks(again)
    assert (graph.rank, len(graph.matrix)) == (3, 5)
    found = decode_words(ParityBeliefPropagation(again), torch.tensor([[2.0, 2, -1, 2, 2, 2, 2]]))
    assert bool((found > 0).all())


def test_empty_rows_and_columns_are_told_of():
    matrix = torch.cat([HAMMING, torch.zeros(1, 7, dtype=torch.int64)])
    with pytest.warns(UserWarning, match=r"1 empty rows \(3\): they say nothing"):
        step = ParityBeliefPropagation(matrix).double()
    llr = ratios(3, 7)
    torch.testing.assert_close(
        unroll(step, 3, tied="scale")(llr), unroll(ParityBeliefPropagation(HAMMING).double(), 3, tied="scale")(llr)
    )
    matrix = torch.cat([HAMMING, torch.zeros(3, 1, dtype=torch.int64)], dim=1)
    with pytest.warns(UserWarning, match=r"1 empty columns \(7\): no check protects these bits"):
        step = ParityBeliefPropagation(matrix).double()
    llr = ratios(3, 8)
    assert torch.equal(unroll(step, 3, tied="scale")(llr)[:, 7], llr[:, 7])


@pytest.mark.parametrize(
    ("matrix", "message"),
    [
        (torch.ones(3), "has the shape"),
        (torch.full((2, 3), 2), "zeros and ones"),
        (torch.full((2, 3), 0.5), "zeros and ones"),
        (torch.zeros(2, 3), "no ones"),
    ],
)
def test_what_is_no_parity_check_matrix_is_refused(matrix, message):
    with pytest.raises(ValueError, match=message):
        ParityBeliefPropagation(matrix)


def test_ratios_of_another_length_are_refused():
    with pytest.raises(ValueError, match=r"shape \(batch, 7\), a row for each word; got \(3, 6\)"):
        unroll(ParityBeliefPropagation(HAMMING), 2, tied="scale")(torch.zeros(3, 6))
    with pytest.raises(ValueError, match="scale"):
        ParityBeliefPropagation(HAMMING, scale=0.0)


def test_soft_word_errors_count_words_where_ratios_are_large():
    sent = torch.tensor([[1.0, 1.0, -1.0], [1.0, -1.0, -1.0]]).double()
    right = 50 * sent
    wrong = right * torch.tensor([[1.0], [-1.0]])
    assert float(SoftWordErrors()(right, sent)) < 1e-20
    assert float(SoftWordErrors()(wrong, sent)) == pytest.approx(0.5)
    one = right * torch.tensor([[1.0, 1.0, 1.0], [1.0, 1.0, -1.0]])
    assert float(SoftWordErrors()(one, sent)) == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("code", "matrix", "snr", "share"), [("bch-63-45", "standard", 6.0, 0.6), ("ldpc-96-48", "standard", 3.0, 1.05)]
)
def test_weights_that_ship_go_to_other_codes_with_all_their_numbers(code, matrix, snr, share):
    learned = find("communications/weighted_bp").pretrained("decoding")
    task = Decoding(code, matrix, snr=snr, held_out=2)
    moved = _for_code(learned, task.matrix, None)
    assert {name: float(value) for name, value in moved.learned().items()} == {
        name: float(value) for name, value in learned.learned().items()
    }
    assert {name.split(".")[-1] for name in moved.learned()} == {"scale", "channel_weight", "damping"}
    words = task.at(snr, 4000, torch.Generator().manual_seed(3))
    with torch.no_grad():
        errors = [
            float(task.pieces(run(words.data), words)[:, 0].sum())
            for run in (moved, unroll(ParityBeliefPropagation(task.matrix), 5))
        ]
    assert errors[0] <= share * errors[1]
