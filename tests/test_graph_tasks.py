"""Labelling of graphs and decoding of words: data, files, what is refused, and what training through a few steps "
"gains."""

import numpy as np
import pytest
import torch

from unrolling import unroll
from unrolling.algorithms.graphs.belief_propagation import BeliefPropagation
from unrolling.algorithms.graphs.binary_matrices import binary_rank, generator_matrix, syndrome
from unrolling.algorithms.graphs.edges import chain_edges, random_tree_edges
from unrolling.algorithms.graphs.likelihoods import moment_difference, pseudo_likelihood
from unrolling.algorithms.graphs.pairwise import Pairwise, enumerate_marginals, score
from unrolling.files.labelled_graphs import read_labelled_graph
from unrolling.files.parity_check import read_parity_check, write_alist
from unrolling.systems.catalogue import find
from unrolling.tasks.base import evaluate
from unrolling.tasks.communications.codes import (
    bch_generator,
    light_words,
    overcomplete_parity_check,
    parity_check,
    progressive_edge_growth,
    reduced_parity_check,
    short_cycles,
)
from unrolling.tasks.communications.decoding import Decoding
from unrolling.tasks.graphs.labelling import Labelling, check_labels, sample_of
from unrolling.tasks.graphs.likelihoods import LongRun
from unrolling.training.fit import fit
from unrolling.training.stages import Stage

WEIGHTED = "communications/weighted_bp"
HAMMING = torch.tensor([[1, 0, 1, 0, 1, 0, 1], [0, 1, 1, 0, 0, 1, 1], [0, 0, 0, 1, 1, 1, 1]]).bool()


# Codes


@pytest.mark.parametrize(("degree", "errors", "free"), [(4, 1, 11), (4, 2, 7), (4, 3, 5), (6, 3, 45), (6, 5, 36)])
def test_a_bch_code_has_the_dimension_and_the_distance_of_the_tables(degree, errors, free):
    n = 2**degree - 1
    assert len(bch_generator(degree, errors)) - 1 == n - free
    matrix = parity_check(f"bch-{n}-{free}")
    assert binary_rank(matrix) == len(matrix) == n - free
    if n == 15:
        basis = generator_matrix(matrix).float()
        numbers = torch.arange(1, 2**free)
        words = (((numbers[:, None] >> torch.arange(free)) & 1).float() @ basis).remainder(2)
        assert int(words.sum(1).min()) == 2 * errors + 1
    shifted = generator_matrix(matrix).roll(1, 1)
    assert not bool(syndrome(shifted, matrix).any())  # cyclic


def test_generator_of_the_code_of_15_bits_that_corrects_two_errors():
    assert bch_generator(4, 2) == [1, 0, 0, 0, 1, 0, 1, 1, 1]  # x^8 + x^7 + x^6 + x^4 + 1


def test_the_reduced_matrix_is_of_the_same_code_and_has_fewer_cycles():
    standard, reduced = parity_check("bch-63-45"), parity_check("bch-63-45", "reduced")
    assert not bool(syndrome(generator_matrix(standard), reduced).any())
    assert binary_rank(reduced) == 18
    assert (int(reduced.sum(1).max()), int(standard.sum(1).max())) == (16, 24)
    assert short_cycles(reduced) < short_cycles(standard) / 8
    small = parity_check("bch-15-7")
    for made in (reduced_parity_check(small), overcomplete_parity_check(small)):
        assert binary_rank(made) == 8
        assert not bool(syndrome(generator_matrix(small), made).any())
        assert int(made.sum(1).max()) == int(light_words(small)[0].sum()) == 4


def test_a_low_density_code_is_regular_and_has_no_cycles_of_four():
    matrix = progressive_edge_growth(96, 48)
    assert set(matrix.sum(0).tolist()) == {3}
    assert matrix.sum(1).max() <= 8
    assert short_cycles(matrix) == 0
    assert torch.equal(matrix, parity_check("ldpc-96-48"))


@pytest.mark.parametrize(
    ("code", "matrix", "message"),
    [
        ("bch-63-44", "standard", "no code bch-63-44; there are bch-63-57, bch-63-51, bch-63-45"),
        ("bch-60-40", "standard", "n is 2"),
        ("turbo", "standard", "no code 'turbo'"),
        ("ldpc-96-48", "reduced", "'standard' matrix alone"),
        ("bch-63-45", "good", "no matrix 'good'"),
    ],
)
def test_a_code_that_is_none_is_refused(code, matrix, message):
    with pytest.raises(ValueError, match=message):
        Decoding(code, matrix, held_out=2)


def test_words_of_the_task_are_words_and_ratios_have_the_noise():
    task = Decoding(held_out=4000, snr=4.0)
    llr, signs = task.test[0]
    assert not bool(syndrome(signs < 0, task.matrix).any())
    mean = 4 * task.rate * 10**0.4  # 2 / sigma^2
    assert float((llr * signs).mean()) == pytest.approx(mean, rel=0.01)
    assert float((llr * signs).var()) == pytest.approx(2 * mean, rel=0.02)
    pieces = task.pieces(signs, task.test[0])
    assert task.metric.value(pieces) == 0
    wrong = signs.clone()
    wrong[:1000, 5] *= -1
    assert task.metric.value(task.pieces(wrong, task.test[0])) == pytest.approx(0.25)


def test_an_alist_file_comes_back_and_damaged_ones_are_refused(tmp_path):
    for matrix in (HAMMING, progressive_edge_growth(20, 10)):
        write_alist(tmp_path / "h.alist", matrix)
        assert torch.equal(read_parity_check(tmp_path / "h.alist"), matrix)
    write_alist(tmp_path / "h.alist", HAMMING)
    lines = (tmp_path / "h.alist").read_text().splitlines()
    for change, message in (
        (lambda t: t[:1], "begins with the numbers"),
        (lambda t: [*t[:4], "9 0 0", *t[5:]], "and there are 1 to 3"),
        (lambda t: [*t[:4], "2 0 0", *t[5:]], "other bits in its own line"),
        (lambda t: [*t[:2], "3 1 2 1 2 2 3", *t[3:]], "should be in 3 checks"),
        (lambda t: ["99999999 99999999", *t[1:]], "it says that it has"),
        (lambda t: ["seven three", *t[1:]], "cannot be read as a parity-check matrix"),
    ):
        (tmp_path / "bad.alist").write_text("\n".join(change(list(lines))))
        with pytest.raises(ValueError, match=message) as caught:
            read_parity_check(tmp_path / "bad.alist")
        assert "bad.alist" in str(caught.value)
    np.save(tmp_path / "two.npy", 2 * HAMMING.numpy().astype(int))
    with pytest.raises(ValueError, match="zeros and ones"):
        read_parity_check(tmp_path / "two.npy")


# Labels


def test_gradients_of_long_runs_are_those_of_the_likelihood_on_a_tree():
    edges = random_tree_edges(6, torch.Generator().manual_seed(0))
    generator = torch.Generator().manual_seed(1)
    alone = torch.randn(2, 3, 6, generator=generator, dtype=torch.float64).requires_grad_()
    pairs = torch.randn(2, 3, 3, 5, generator=generator, dtype=torch.float64).requires_grad_()
    labels = torch.randint(3, (2, 6), generator=generator)
    model = Pairwise(alone, pairs, edges.unsqueeze(0))
    found = torch.autograd.grad(moment_difference(model, labels, sweeps=80).sum(), (alone, pairs))
    exact = torch.autograd.grad((enumerate_marginals(model)[2] - score(model, labels)).sum(), (alone, pairs))
    for a, b in zip(found, exact, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-10)


def test_the_pseudo_likelihood_is_the_sum_of_conditionals():
    generator = torch.Generator().manual_seed(2)
    model = Pairwise(
        torch.randn(1, 2, 4, generator=generator), torch.randn(1, 2, 2, 3, generator=generator), chain_edges(4)[None]
    )
    labels = torch.tensor([[0, 1, 1, 0]])
    total = 0.0
    for node in range(4):
        flipped = labels.clone()
        flipped[0, node] = 1 - flipped[0, node]
        pair = torch.stack([score(model, labels), score(model, flipped)])
        total -= float(torch.log_softmax(pair, 0)[0])
    assert float(pseudo_likelihood(model, labels)) == pytest.approx(total, rel=1e-5)


@pytest.mark.parametrize("shape", ["grid", "chain", "tree"])
def test_batches_are_of_graphs_of_several_sizes_and_the_untrained_network_is_its_parent(shape):
    task = Labelling(shape, held_out=6)
    assert len({batch.target.shape[1] for batch in task.test}) == 3
    system = find("graphs/message_passing")
    net = system.network(system.recipe("labelling")[1], task)
    parent = unroll(BeliefPropagation(task.potentials(0.75)), 5, tied=("prepare",))
    for batch in task.test:
        assert torch.equal(net(batch.data), parent(batch.data))
    assert task.metric.value(evaluate(net, task, task.test)) < 0.5


def test_labels_out_of_range_are_refused():
    with pytest.raises(
        ValueError, match=r"labels go from 0 to 1, or are -1 where nobody knows; got 2 at index \(0, 3\)"
    ):
        check_labels(torch.tensor([[0, 1, -1, 2]]), 2)
    task = Labelling.small()
    data, labels = task.test[0]
    with pytest.raises(ValueError, match="labels go from 0 to 1"):
        task.metric.pieces(torch.zeros(len(labels), 2, labels.shape[1]), task.test[0]._replace(target=labels + 5))
    unknown = labels.clone()
    unknown[:, ::2] = -1
    net = unroll(BeliefPropagation(task.potentials()), 2, tied=("prepare",))
    kept = task.test[0]._replace(target=unknown)
    wanted = torch.nn.functional.nll_loss(net(data)[..., 1::2], labels[:, 1::2])
    torch.testing.assert_close(task.loss(net(data), unknown), wanted)
    assert task.metric.value(task.pieces(net(data), kept)) == pytest.approx(float(wanted.detach()), rel=1e-5)


@pytest.mark.slow
def test_training_through_the_sweeps_beats_the_likelihood_with_as_many():
    task = Labelling(held_out=60)
    losses = []
    for loss in (None, LongRun(20)):
        net = unroll(BeliefPropagation(task.potentials(0.75)), 3, tied=("prepare",))
        fit(net, task, [Stage(40, rate=5e-2, batch=8, loss=loss)], validations=0, quiet=True)
        losses.append(task.metric.value(evaluate(net, task, task.test)))
    assert losses[0] < losses[1]


def graph_file(path, **changes):
    values = np.array([0.1, 0.9, 1.2, -0.3, 0.5], dtype=np.float32)
    arrays = {"values": values, "edges": np.array([[0, 1, 3], [1, 2, 4]]), "labels": np.array([0, 1, 1, 0, -1])}
    np.savez(path, **{**arrays, **changes})
    return path


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"labels": np.array([0, 1, 2, 0, 1])}, "labels are 0 or 1"),
        ({"labels": np.array([0, 1])}, "one for each of 5 nodes"),
        ({"edges": np.array([[0], [7]])}, "joins the nodes 0 and 7, and there are 5"),
        ({"edges": np.array([[0.0], [1.0]])}, "integers"),
        ({"edges": np.array([[2], [2]])}, "to itself"),
        ({"values": np.array([0.1, np.nan, 0, 0, 0])}, "finite real numbers"),
    ],
)
def test_a_file_that_is_no_labelled_graph_is_refused(tmp_path, changes, message):
    with pytest.raises(ValueError, match=message) as caught:
        read_labelled_graph(graph_file(tmp_path / "bad.npz", **changes))
    assert "bad.npz" in str(caught.value)


def test_graphs_of_ones_own_are_trained_on_as_disjoint_unions(tmp_path):
    for k in range(4):
        graph_file(tmp_path / f"{k}.npz")
    task = Labelling(data=tmp_path)
    drawn = task.draw(3, torch.Generator().manual_seed(0))
    assert drawn.data.nodes.shape == (1, 2, 15)
    assert drawn.data.edges.shape == (1, 2, 9)
    net = unroll(BeliefPropagation(task.potentials()), 3, tied=("prepare",))
    one = net(sample_of(task.own[0]).data)
    torch.testing.assert_close(net(drawn.data), one.repeat(1, 1, 3))
    with pytest.raises(ValueError, match="training, validation and test"):
        Labelling(data=tmp_path / "nowhere")


# Files


def applied(name, task, path, outputs, **options):
    """An application with an untrained network, from a file to files."""
    system = find(name)
    recipe = system.recipe(None)[1]
    application = system.apply[task.name]
    network = system.network(recipe, task).eval()
    return application.run(network, task, application.read(path, options), outputs, **options)


def test_a_file_of_ratios_is_decoded_with_the_code_of_a_file(tmp_path):
    llr = np.full((3, 7), 2.0, dtype=np.float32)
    llr[1, 2], llr[2, 6] = -1.0, -0.5
    np.save(tmp_path / "llr.npy", llr)
    write_alist(tmp_path / "hamming.alist", HAMMING)
    task, bits = Decoding.small(), tmp_path / "bits.npy"
    found = applied(WEIGHTED, task, tmp_path / "llr.npy", [bits], parity_check=tmp_path / "hamming.alist")
    assert (found["words"], found["free_bits"], found["words_of_the_code"]) == (3, 4, 3)
    assert not np.load(bits).any()
    np.save(tmp_path / "one.npy", llr[0])
    applied(WEIGHTED, task, tmp_path / "one.npy", [bits], parity_check=tmp_path / "hamming.alist")
    assert np.load(bits).shape == (7,)
    with pytest.raises(ValueError, match="words of 7 bits, and the code has 15"):
        applied(WEIGHTED, task, tmp_path / "llr.npy", [bits])
    with pytest.raises(ValueError, match="a number for each of its edges"):
        applied(f"{WEIGHTED}_edges", task, tmp_path / "llr.npy", [bits], parity_check=tmp_path / "hamming.alist")
    np.save(tmp_path / "dependent.npy", torch.cat([HAMMING, HAMMING[:1] ^ HAMMING[1:2]]).numpy())
    with pytest.warns(UserWarning, match="1 of the 4 rows of the parity-check matrix depend on the others"):
        found = applied(WEIGHTED, task, tmp_path / "llr.npy", [bits], parity_check=tmp_path / "dependent.npy")
    assert found["free_bits"] == 4
    np.save(tmp_path / "bad.npy", llr * np.nan)
    with pytest.raises(ValueError, match=r"bad\.npy"):
        applied(WEIGHTED, task, tmp_path / "bad.npy", [bits], parity_check=tmp_path / "hamming.alist")


def test_belief_propagation_decides_where_the_network_finds_no_word(tmp_path):
    task = Decoding.small()
    samples = task.at(4.0, 200, torch.Generator().manual_seed(0))
    np.save(tmp_path / "llr.npy", samples.data.numpy())
    system = find(WEIGHTED)
    network = system.network(system.recipe(None)[1], task)
    with torch.no_grad():
        for layer in network.layers:
            layer.scale.fill_(-1.0)  # believes the contrary
    application = system.apply["decoding"]
    content = application.read(tmp_path / "llr.npy", {})
    safe = application.run(network, task, content, [tmp_path / "bits.npy"])
    assert safe["decided_by_belief_propagation"] > 20
    plain = application.run(network, task, content, [tmp_path / "bits.npy"], plain=True)
    assert plain["words_of_the_code"] < safe["words_of_the_code"]


def test_a_file_of_a_graph_is_labelled_component_by_component(tmp_path):
    path, task = graph_file(tmp_path / "graph.npz"), Labelling.small()
    found = applied("graphs/message_passing", task, path, [tmp_path / "p.npy", tmp_path / "labels.npy"])
    assert (found["nodes"], found["edges"], found["components"]) == (5, 3, 2)
    chances = np.load(tmp_path / "p.npy")
    assert np.array_equal(np.load(tmp_path / "labels.npy"), chances > 0.5)
    edges, values = np.array([[0], [1]]), np.array([-0.3, 0.5], dtype=np.float32)
    graph_file(tmp_path / "part.npz", values=values, edges=edges)
    applied("graphs/message_passing", task, tmp_path / "part.npz", [tmp_path / "q.npy"])
    np.testing.assert_allclose(np.load(tmp_path / "q.npy"), chances[3:], atol=1e-6)
