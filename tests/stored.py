"""A card, and what is expected of weights that do not belong."""

import pytest
from tiny import bits, same

from unrolling.training.weights import load_weights

CARD = {
    "system": "field/name",
    "task": {"name": "recovery", "snr": "inf"},
    "seed": 7,
    "metric": {"name": "NMSE", "mean": -12.5},
    "schedule": [{"steps": 3}],
}


def refused(net, path, message, **options):
    before = bits(net)
    with pytest.raises(ValueError, match=message) as caught:
        load_weights(net, path, **options)
    assert same(bits(net), before)
    assert path.name in str(caught.value)
