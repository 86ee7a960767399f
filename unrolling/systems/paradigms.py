"""What of an algorithm a network learns: the four paradigms of deep unfolding, and the labels of systems."""

from __future__ import annotations

from typing import NamedTuple


class Paradigm(NamedTuple):
    """One of the four."""

    title: str
    words: str  # what is learned


# After Shlezinger, Segarra, Zhang, Davidson, Zheng and Eldar 2025, arXiv:2512.03768, from what is closest to the
# algorithm to what is farthest. Which of them a system belongs to is decided here by what its layers learn.
PARADIGMS = {
    "hyperparameters": Paradigm(
        "learned hyperparameters",
        "numbers of the solver: step sizes, thresholds, penalties, damping, or a rule that chooses them; what is "
        "minimised, and by which operators, stays",
    ),
    "objective": Paradigm(
        "learned objective",
        "what the objective is made of: dictionaries, filters, matrices in the place of the model's, priors and the "
        "shrinkages that stand for them",
    ),
    "correction": Paradigm(
        "learned correction",
        "a term added to the step of the algorithm, which itself stays as it is",
    ),
    "inductive-bias": Paradigm(
        "DNN inductive bias",
        "neural networks in the place of parts of the step; the algorithm gives the architecture",
    ),
}


def paradigm_named(name: str) -> str:
    """The key of ``PARADIGMS`` for a name as people write it, such as ``Inductive bias`` or ``learned objective``.

    Raises:
        ValueError: no such paradigm; the message lists them.
    """
    plain = " ".join(name.replace("-", " ").replace("_", " ").lower().split())
    for key, paradigm in PARADIGMS.items():
        if plain in {key.replace("-", " "), paradigm.title.lower(), f"learned {key.replace('-', ' ')}"}:
            return key
    if plain in {"hyper parameters", "learned hyper parameters"}:
        return "hyperparameters"
    raise ValueError(f"no paradigm {name!r}; there are {', '.join(PARADIGMS)}")
