"""Sparse codes and sparse recovery."""

from typing import TYPE_CHECKING

from unrolling._lazy import lazy

# Written by `python -m tools.public_names`.
if TYPE_CHECKING:
    from unrolling.tasks.sparse.baselines import (
        components,
        hard_thresholding,
        lasso,
        message_passing,
        pursuit_counts,
        scikit_learn,
        spams,
    )
    from unrolling.tasks.sparse.codes import Codes, converged_codes, learn_dictionary
    from unrolling.tasks.sparse.dictionaries import (
        coherent_dictionary,
        conditioned_dictionary,
        drawn_dictionary,
        gaussian_dictionary,
        read_dictionary,
    )
    from unrolling.tasks.sparse.recovery import Recovery
    from unrolling.tasks.sparse.signals import SparseTask, check_law, measured
    from unrolling.tasks.sparse.spikes import Spikes, cosines, morphologies, read_signal, running_median
    from unrolling.tasks.sparse.theory import (
        coherence,
        coupling,
        examine,
        limits,
        linear_convergence,
        no_false_positives,
        predicted,
        vanishing_thresholds,
    )
    from unrolling.tasks.sparse.varying import VaryingDictionary

__getattr__, __dir__ = lazy(
    __name__,
    {
        ".baselines": ("components hard_thresholding lasso message_passing pursuit_counts scikit_learn spams"),
        ".codes": ("Codes converged_codes learn_dictionary"),
        ".dictionaries": (
            "coherent_dictionary conditioned_dictionary drawn_dictionary gaussian_dictionary read_dictionary"
        ),
        ".recovery": ("Recovery"),
        ".signals": ("SparseTask check_law measured"),
        ".spikes": ("Spikes cosines morphologies read_signal running_median"),
        ".theory": (
            "coherence coupling examine limits linear_convergence no_false_positives predicted vanishing_thresholds"
        ),
        ".varying": ("VaryingDictionary"),
    },
)
# fmt: off
__all__ = [
    "Codes", "Recovery", "SparseTask", "Spikes", "VaryingDictionary", "check_law", "coherence",
    "coherent_dictionary", "components", "conditioned_dictionary", "converged_codes", "cosines", "coupling",
    "drawn_dictionary", "examine", "gaussian_dictionary", "hard_thresholding", "lasso", "learn_dictionary",
    "limits", "linear_convergence", "measured", "message_passing", "morphologies", "no_false_positives",
    "predicted", "pursuit_counts", "read_dictionary", "read_signal", "running_median", "scikit_learn",
    "spams", "vanishing_thresholds",
]
# fmt: on
# End of what is written.
