"""Tasks on graphs: a label for each node."""

from typing import TYPE_CHECKING

from unrolling._lazy import lazy

# Written by `python -m tools.public_names`.
if TYPE_CHECKING:
    from unrolling.tasks.graphs.labelling import (
        MARGINAL_LOSS,
        Labelling,
        binary_pictures,
        check_labels,
        featured,
        sample_of,
    )
    from unrolling.tasks.graphs.likelihoods import LongRun, PseudoLikelihood

__getattr__, __dir__ = lazy(
    __name__,
    {
        ".labelling": ("Labelling MARGINAL_LOSS binary_pictures check_labels featured sample_of"),
        ".likelihoods": ("LongRun PseudoLikelihood"),
    },
)
# fmt: off
__all__ = [
    "Labelling", "LongRun", "MARGINAL_LOSS", "PseudoLikelihood", "binary_pictures", "check_labels",
    "featured", "sample_of",
]
# fmt: on
# End of what is written.
