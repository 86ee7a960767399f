"""The network: groups of parameters, partial runs, the parameter table, saving, moving between precisions."""

import copy
import pickle

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from iterations import Detection, Lasso, Shared, Shrinking, channel_data, gaussian, unit_dictionary
from safetensors.torch import load_file, save_file
from torch import nn

from unrolling import Checkpointed, Iteration, Positive, constrain, unroll
from unrolling.algorithms import FISTA, ISTA, CoordinateDescent, GramISTA
from unrolling.core import tree
from unrolling.core.naming import parameter_names

DICTIONARY, Y = unit_dictionary(6, 9), gaussian(5, 6, seed=3)


def scaled(net, seed=0):
    """The network with every learned value multiplied by a number of its own."""
    factors = gaussian(100, seed=seed)
    net.load_learned({key: value * (1 + 0.1 * factors[i]) for i, (key, value) in enumerate(net.learned().items())})
    return net


def test_untied_layers_use_their_own_values_and_tied_ones_the_same():
    net = scaled(unroll(Lasso(DICTIONARY, 0.1), 3, tied="encoder", untied="threshold"))
    learned = net.learned()
    x = torch.zeros(5, 9, dtype=torch.float64)
    for layer in range(3):
        z = x + (Y - x @ DICTIONARY.T) @ learned["encoder"].T
        x = z.sign() * (z.abs() - learned[f"layers.{layer}.threshold"]).clamp_min(0)
        torch.testing.assert_close(net.run(Y, layers=slice(0, layer + 1)), x, rtol=0, atol=1e-14)
    assert len({float(learned[f"layers.{layer}.threshold"][0]) for layer in range(3)}) == 3


def test_a_tied_parameter_gets_the_sum_of_the_gradients_of_untied_ones():
    lasso = Lasso(DICTIONARY, 0.1)
    tied, untied = unroll(lasso, 4, tied=("encoder", "threshold")), unroll(lasso, 4, untied=("encoder", "threshold"))
    for net in (tied, untied):
        net(Y).square().sum().backward()
    for name in ("encoder", "threshold"):
        total = sum(getattr(layer, name).grad for layer in untied.layers)
        torch.testing.assert_close(getattr(tied.layers[0], name).grad, total, rtol=1e-12, atol=1e-12)
        assert getattr(lasso, name).grad is None


def test_only_learned_parameters_take_gradients():
    net = unroll(GramISTA(DICTIONARY, 0.1), 3, untied="threshold")
    assert {name for name, p in net.named_parameters() if p.requires_grad} == {
        f"layers.{i}.parametrizations.threshold.original" for i in range(3)
    }
    assert all(layer.inhibition is net.layers[0].inhibition for layer in net.layers)
    assert net.layers[0].inhibition.data_ptr() != 0
    assert all(layer.prepare is net.layers[0].prepare for layer in net.layers)


def test_names_of_sub_modules_stand_for_all_their_parameters():
    net = unroll(FISTA(GramISTA(DICTIONARY, 0.1)), 2, tied="ista.encoder", untied=("ista.inhibition", "ista.threshold"))
    assert net.tied == ("ista.encoder.matrix",)
    assert set(unroll(FISTA(GramISTA(DICTIONARY, 0.1)), 2, untied="ista").untied) == {*net.tied, *net.untied}


@pytest.mark.parametrize("argument", ["tied", "untied"])
@pytest.mark.parametrize("wrong", ["treshold", "encode", "", "dictionary", "threshold.original"])
def test_an_unknown_name_is_refused_with_the_known_ones(argument, wrong):
    with pytest.raises(
        ValueError,
        match=rf"^{argument} names '{wrong}', which Lasso does not have; it has encoder, "
        r"threshold$",
    ):
        unroll(Lasso(DICTIONARY, 0.1), 2, **{argument: ("encoder", wrong)})


def test_an_iteration_without_parameters_says_so():
    class Bare(Iteration):
        def start(self, problem):
            return problem

        def forward(self, state, problem):
            return state / 2

    with pytest.raises(ValueError, match="Bare does not have; it has no parameters"):
        unroll(Bare(), 2, tied="threshold")


def test_a_name_in_both_groups_is_refused():
    with pytest.raises(ValueError, match="threshold is named in tied and in untied"):
        unroll(Lasso(DICTIONARY, 0.1), 2, tied="threshold", untied=("encoder", "threshold"))


@pytest.mark.parametrize("depth", [0, -3])
def test_a_depth_below_one_is_refused(depth):
    with pytest.raises(ValueError, match=rf"depth is {depth}; a network has at least one layer"):
        unroll(Lasso(DICTIONARY, 0.1), depth)


@given(st.data())
def test_running_in_two_parts_is_running_in_one(data):
    depth = data.draw(st.integers(2, 6))
    cut = data.draw(st.integers(1, depth - 1))
    iteration, y = data.draw(
        st.sampled_from(
            [(FISTA(ISTA(DICTIONARY, 0.1)), Y), (Detection(), channel_data(5)), (CoordinateDescent(DICTIONARY, 0.1), Y)]
        )
    )
    net = scaled(unroll(iteration, depth, untied=parameter_names(iteration)), seed=depth)
    half = net.run(y, layers=slice(0, cut))
    for rest in (slice(cut, None), slice(cut - depth, None)):
        assert torch.equal(net(y, half, layers=rest), net(y))
        estimate, state = net(y, half, layers=rest, return_state=True)
        assert torch.equal(estimate, net(y))
        for got, wanted in zip(tree.tensors(state), tree.tensors(net.run(y)), strict=True):
            assert torch.equal(got, wanted)
    states = list(net.trajectory(y))
    assert len(states) == len(net) == depth
    estimates = list(net.estimates(y))
    assert torch.equal(estimates[-1], net(y))
    assert torch.equal(estimates[cut - 1], net(y, layers=slice(0, cut)))
    later = list(net.estimates(y, state=half, layers=range(cut, depth)))
    assert all(torch.equal(a, b) for a, b in zip(later, estimates[cut:], strict=True))


def test_a_network_with_untied_parameters_has_no_layers_beyond_its_depth():
    net = unroll(Lasso(DICTIONARY, 0.1), 4, tied="encoder", untied="threshold")
    for run in (net.run, lambda *a, **k: list(net.trajectory(*a, **k))):
        with pytest.raises(
            ValueError,
            match=r"layer 4 does not exist: this network has 4 layers \(numbered from 0\), "
            r"each with its own threshold\. Repeating",
        ):
            run(Y, layers=slice(0, 5))


def test_a_tied_network_may_run_deeper_than_it_was_unrolled():
    lasso = Lasso(DICTIONARY, 0.1)
    net = unroll(lasso, 4, tied=("encoder", "threshold"))
    assert torch.equal(net.run(Y, layers=slice(0, 11)), unroll(lasso, 11)(Y))


@pytest.mark.parametrize("layers", [slice(2, 2), range(3, 1), slice(1, 0)])
def test_an_empty_choice_of_layers_is_refused(layers):
    with pytest.raises(ValueError, match="layers chooses none of the 4 layers"):
        unroll(Lasso(DICTIONARY, 0.1), 4).run(Y, layers=layers)


@pytest.mark.parametrize("untied", [(), ("threshold",)])
def test_a_layer_before_the_first_is_refused_by_its_number(untied):
    with pytest.raises(ValueError, match="layer -1 does not exist"):
        unroll(Lasso(DICTIONARY, 0.1), 4, untied=untied).run(Y, layers=range(-1, 2))


def test_parameter_table_lists_each_learned_quantity_beside_its_classical_value():
    ista = ISTA(DICTIONARY, 0.1)
    net = unroll(ista, 3, tied="step_size", untied="threshold")
    rows = net.parameter_table()
    assert [(row.name, row.layer, row.key) for row in rows] == [
        ("step_size", None, "step_size"),
        ("threshold", 0, "layers.0.threshold"),
        ("threshold", 1, "layers.1.threshold"),
        ("threshold", 2, "layers.2.threshold"),
    ]
    assert all(torch.equal(row.value, row.classical) for row in rows)
    before = ista.threshold.detach().clone()
    with torch.no_grad():
        net.layers[1].threshold = torch.tensor(7.0, dtype=torch.float64)
    assert [row.value.item() for row in net.parameter_table()[1:]] == [before.item(), 7.0, before.item()]
    assert all(torch.equal(row.classical, before) for row in net.parameter_table()[1:])
    assert torch.equal(ista.threshold, before)


def test_a_shared_operator_has_one_row_under_the_first_of_its_names():
    assert parameter_names(Shared(DICTIONARY, 0.1)) == ["step_size", "threshold", "analysis.matrix"]
    net = unroll(Shared(DICTIONARY, 0.1), 3, tied="synthesis")
    assert [row.key for row in net.parameter_table()] == ["analysis.matrix"]
    for layer in unroll(Shared(DICTIONARY, 0.1), 3, untied="analysis").layers:
        assert layer.synthesis.analysis is layer.analysis
        assert layer.prepare is layer.synthesis


def test_named_learned_lists_what_an_optimizer_moves_once_by_its_name():
    net = unroll(ISTA(DICTIONARY, 0.1), 3, tied="step_size", untied="threshold")
    named = net.named_learned()
    assert sorted(name for name, _ in named) == ["step_size", "threshold", "threshold", "threshold"]
    assert {id(p) for _, p in named} == {id(p) for p in net.parameters() if p.requires_grad}
    shared = unroll(Shared(DICTIONARY, 0.1), 3, tied=("analysis", "threshold")).named_learned()
    assert [name for name, _ in shared] == ["threshold", "analysis.matrix"]


def test_fixed_lists_what_is_not_learned_once():
    net = unroll(ISTA(DICTIONARY, 0.1), 3, untied="threshold")
    fixed = net.fixed_tensors()
    assert sorted(fixed) == ["dictionary.matrix", "step_size"]
    assert torch.equal(fixed["dictionary.matrix"], DICTIONARY)
    assert not fixed["step_size"].requires_grad


def test_learned_values_go_through_a_safetensors_file_to_the_bit(tmp_path):
    ista = GramISTA(DICTIONARY, 0.1)
    net = scaled(unroll(ista, 3, tied="encoder", untied=("inhibition", "threshold")))
    save_file(net.learned(), tmp_path / "weights.safetensors")
    other = unroll(ista, 3, tied="encoder", untied=("inhibition", "threshold"))
    assert not torch.equal(other(Y), net(Y))
    other.load_learned(load_file(tmp_path / "weights.safetensors"))
    assert torch.equal(other(Y), net(Y))
    assert all(value.is_contiguous() for value in net.learned().values())


def test_weights_of_another_network_are_refused_and_nothing_changes():
    net = unroll(Lasso(DICTIONARY, 0.1), 3, tied="encoder", untied="threshold")
    before = net.learned()
    deeper = unroll(Lasso(DICTIONARY, 0.2), 9, untied="threshold").learned()
    with pytest.raises(
        ValueError,
        match=r"it lacks encoder and brings layers.3.threshold, layers.4.threshold, .* and 2 more that "
        r"this one \(depth 3, tied \['encoder'\]",
    ):
        net.load_learned(deeper)
    with pytest.raises(ValueError, match=r"it lacks layers.2.threshold and brings nothing"):
        net.load_learned({key: value for key, value in before.items() if key != "layers.2.threshold"})
    # The misfit comes last, after values that would have fitted.
    with pytest.raises(ValueError, match=r"layers.2.threshold has shape \(8,\), and this network needs \(9,\)"):
        net.load_learned({**{key: 2 * value for key, value in before.items()}, "layers.2.threshold": torch.ones(8)})
    assert all(torch.equal(net.learned()[key], value) for key, value in before.items())


def test_weights_that_a_constraint_refuses_leave_the_network_as_it_was():
    net = unroll(ISTA(DICTIONARY, 0.1), 2, tied="step_size", untied="threshold")
    before = net.learned()
    with pytest.raises(ValueError, match="Positive needs values that are at least 0"):
        net.load_learned(
            {**{key: 2 * value for key, value in before.items()}, "layers.1.threshold": torch.tensor(-1.0)}
        )
    assert all(torch.equal(net.learned()[key], value) for key, value in before.items())


@pytest.mark.parametrize(
    "make", [lambda: ISTA(DICTIONARY, 0.1), lambda: GramISTA(DICTIONARY, 0.1), lambda: Shared(DICTIONARY, 0.1)]
)
def test_changing_precision_keeps_shared_tensors_shared_and_the_parent_as_it_is(make):
    parent = make()
    net = unroll(parent, 3, untied="threshold").to(torch.float32)
    assert net(Y.float()).dtype is torch.float32
    for name, tensor in [*net.layers[0].named_parameters(), *net.layers[0].named_buffers()]:
        assert tensor.dtype is torch.float32
        others = [dict([*layer.named_parameters(), *layer.named_buffers()])[name].data_ptr() for layer in net.layers]
        assert len(set(others)) == (3 if "threshold" in name else 1), name
    assert all(t.dtype is torch.float64 for t in parent.state_dict().values())
    back = net.to(torch.float64)
    torch.testing.assert_close(back(Y), unroll(parent, 3)(Y), rtol=1e-5, atol=1e-5)


def test_a_deep_copy_and_a_pickle_are_networks_of_their_own():
    net = scaled(unroll(ISTA(DICTIONARY, 0.1), 3, tied="step_size", untied="threshold"))
    wanted = net(Y)
    other = copy.deepcopy(net)
    assert other.layers[0].dictionary is other.layers[2].dictionary
    scaled(other, seed=5)
    assert not torch.equal(other(Y), wanted)
    assert torch.equal(net(Y), wanted)
    read = pickle.loads(pickle.dumps(net))
    assert torch.equal(read(Y), wanted)
    assert read.layers[0].dictionary is read.layers[2].dictionary
    scaled(read, seed=5)
    assert not torch.equal(read(Y), wanted)
    assert torch.equal(net(Y), wanted)


def test_state_dict_holds_a_trained_network_to_the_bit():
    lasso = Lasso(DICTIONARY, 0.1)
    net = unroll(lasso, 3, tied="encoder", untied="threshold")
    optimizer = torch.optim.SGD([p for p in net.parameters() if p.requires_grad], lr=1e-3)
    for _ in range(3):
        optimizer.zero_grad()
        (net(Y) - 1).square().sum().backward()
        optimizer.step()
    other = unroll(lasso, 3, tied="encoder", untied="threshold")
    other.load_state_dict(net.state_dict())
    assert torch.equal(other(Y), net(Y))
    assert not torch.equal(other(Y), unroll(lasso, 3)(Y))


def test_a_printed_network_says_what_it_is():
    text = repr(unroll(ISTA(DICTIONARY, 0.1), 3, tied="step_size", untied="threshold", gradient=Checkpointed(2)))
    assert "3 layers of ISTA, tied=['step_size'], untied=['threshold'], gradient=Checkpointed(2)" in text


def test_states_that_change_their_shape_can_be_unrolled():
    net = unroll(Shrinking(), 3, untied="kernel")
    assert [tuple(s.shape) for s in net.trajectory(gaussian(2, 12))] == [(2, 10), (2, 8), (2, 6)]


class Constrained(nn.Module):
    def __init__(self):
        super().__init__()
        self.gain = nn.Parameter(torch.tensor(0.5))
        constrain(self, "gain", Positive())

    def forward(self, x):
        return self.gain * x


class Nested(Iteration):
    """A constrained parameter inside a sub-module that is both `prepare` and part of the step."""

    def __init__(self):
        super().__init__()
        self.prepare = self.block = Constrained()

    def start(self, problem):
        return problem

    def forward(self, state, problem):
        return self.block(state) + problem


def test_constrained_parameters_of_sub_modules_have_plain_names():
    net = unroll(Nested(), 2, untied="block")
    assert net.untied == ("block.gain",)
    net.load_learned({"layers.0.block.gain": torch.tensor(0.25), "layers.1.block.gain": torch.tensor(3.0)})
    # Each layer prepares with its own gain: state 0.25; 0.25 * 0.25 + 0.25; 3 * that + 3.
    assert net(torch.ones(1, 1)).item() == 3 * (0.25 * 0.25 + 0.25) + 3
