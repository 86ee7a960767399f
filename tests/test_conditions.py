"""What was found out about an input, beside what weights were trained for."""

import json

from unrolling.systems import find, pretrained
from unrolling.systems.conditions import (
    Condition,
    Range,
    listed,
    outside,
    range_from_card,
    range_to_card,
    summary,
    trained_for,
    with_ranges,
)

NOISE = Condition("noise", 61.0, "estimated", "of 255", Range(5, 50), "what is weaker is kept as it is")


def test_outside_its_range_a_condition_is_a_sentence():
    assert outside(NOISE) == (
        "noise 61 of 255, estimated, lies outside 5 to 50 that the weights were trained for; what is weaker is kept as "
        "it is"
    )
    for value in (5.0, 25, 50.0):
        assert outside(Condition("noise", value, "given", trained=Range(5, 50))) is None
    for value in (float("nan"), 50.1, 4.9, "strong"):
        assert outside(Condition("noise", value, "given", trained=Range(5, 50)))
    assert outside(Condition("noise", 61, "estimated")) is None  # nothing is known of the weights


def test_of_values_apart_each_is_named():
    found = Condition("sampling rate", 44_100, "read", "Hz", (8000, 16_000))
    assert outside(found) == "sampling rate 44100 Hz is not 8000 or 16000 that the weights were trained for"
    assert outside(Condition("alphabet", "qpsk", "given", trained=("qpsk", "bpsk"))) is None


def test_the_line_of_a_success_says_what_was_found_and_what_the_weights_are_for():
    assert summary([Condition("noise", 25.06, "estimated", "of 255", (25,))]) == (
        "noise 25.1 of 255, estimated, weights for 25"
    )
    assert summary([NOISE, Condition("kind", "real", "read", trained=("real",))]) == (
        "noise 61 of 255, estimated, weights for 5 to 50; kind real"
    )
    assert summary([]) == ""


def test_ranges_go_through_a_card():
    ranges = {"noise": Range(5, 50.5), "alphabet": ("qpsk", "bpsk")}
    assert range_from_card(json.loads(json.dumps(range_to_card(ranges)))) == ranges


def test_as_plain_values_with_the_sentence():
    (plain,) = json.loads(json.dumps(listed([NOISE])))
    assert plain == {
        "name": "noise",
        "value": 61.0,
        "how": "estimated",
        "unit": "of 255",
        "trained": {"low": 5, "high": 50},
        "outside": outside(NOISE),
    }


def test_the_card_is_believed_before_the_recipe():
    from dataclasses import replace

    _, recipe = find("communications/detnet").recipe("detection")
    recipe = replace(recipe, range={"streams": Range(1, 20), "noise": Range(0, 1)})
    assert recipe.ranges(None, {}) == {"streams": Range(1, 20), "noise": Range(0, 1)}
    found = recipe.ranges(None, {"range": {"streams": {"low": 2, "high": 30}}})
    assert found == {"streams": Range(2, 30), "noise": Range(0, 1)}
    by_task = replace(recipe, range=lambda task: {"streams": Range(1, task)})
    assert by_task.ranges(7) == {"streams": Range(1, 7)}


def test_a_network_with_shipped_weights_knows_their_range():
    network = pretrained("communications/detnet")
    system = find("communications/detnet")
    assert trained_for(network) == system.recipes["detection"].ranges(system.task("detection"))
    network.trained_for = {"noise": Range(0, 1)}
    (own, other) = with_ranges([Condition("noise", 2, "given"), Condition("x", 2, "given", trained=(1,))], network)
    assert (own.trained, other.trained) == (Range(0, 1), (1,))
