"""What a network is compared with, and how: baselines, measurements, significance, theory."""

from typing import TYPE_CHECKING

from unrolling._lazy import lazy

# Written by `python -m tools.public_names`.
if TYPE_CHECKING:
    from unrolling.evaluation.baselines import linear_mmse, scikit_learn, train_mlp, train_rival, train_working_mlp
    from unrolling.evaluation.classical import Trace, run_classical, steps_of, trace
    from unrolling.evaluation.compare import NAN, compare_network
    from unrolling.evaluation.comparison import (
        Comparison,
        Criterion,
        Curve,
        Interval,
        Parameter,
        Picture,
        Row,
        SafeguardReport,
        Seconds,
        plain,
    )
    from unrolling.evaluation.cost import Cost, cost_of
    from unrolling.evaluation.deadline import TookTooLongError
    from unrolling.evaluation.gradient_modes import GradientRow, compare_gradients, saved_bytes, standard_rules
    from unrolling.evaluation.illustrate import codes, headline, layer_pictures, parameters, pictures
    from unrolling.evaluation.layers import LayerReport, examine_layers
    from unrolling.evaluation.measure import Contender, environment, interval, time_all
    from unrolling.evaluation.shifts import Few, ShiftCurve, ShiftReport, SizeCurve, size_sweep, sweep
    from unrolling.evaluation.significance import Paired, paired, resampling_weights
    from unrolling.evaluation.sounds import Sound
    from unrolling.evaluation.theory import (
        Claim,
        coherence,
        coupling,
        examine,
        limits,
        linear_convergence,
        no_false_positives,
        predicted,
        vanishing_thresholds,
    )

__getattr__, __dir__ = lazy(
    __name__,
    {
        ".baselines": ("linear_mmse scikit_learn train_mlp train_rival train_working_mlp"),
        ".classical": ("Trace run_classical steps_of trace"),
        ".compare": ("NAN compare_network"),
        ".comparison": ("Comparison Criterion Curve Interval Parameter Picture Row SafeguardReport Seconds plain"),
        ".cost": ("Cost cost_of"),
        ".deadline": ("TookTooLongError"),
        ".gradient_modes": ("GradientRow compare_gradients saved_bytes standard_rules"),
        ".illustrate": ("codes headline layer_pictures parameters pictures"),
        ".layers": ("LayerReport examine_layers"),
        ".measure": ("Contender environment interval time_all"),
        ".shifts": ("Few ShiftCurve ShiftReport SizeCurve size_sweep sweep"),
        ".significance": ("Paired paired resampling_weights"),
        ".sounds": ("Sound"),
        ".theory": (
            "Claim coherence coupling examine limits linear_convergence no_false_positives predicted "
            "vanishing_thresholds"
        ),
    },
)
# fmt: off
__all__ = [
    "Claim", "Comparison", "Contender", "Cost", "Criterion", "Curve", "Few", "GradientRow", "Interval",
    "LayerReport", "NAN", "Paired", "Parameter", "Picture", "Row", "SafeguardReport", "Seconds",
    "ShiftCurve", "ShiftReport", "SizeCurve", "Sound", "TookTooLongError", "Trace", "codes", "coherence",
    "compare_gradients", "compare_network", "cost_of", "coupling", "environment", "examine",
    "examine_layers", "headline", "interval", "layer_pictures", "limits", "linear_convergence",
    "linear_mmse", "no_false_positives", "paired", "parameters", "pictures", "plain", "predicted",
    "resampling_weights", "run_classical", "saved_bytes", "scikit_learn", "size_sweep", "standard_rules",
    "steps_of", "sweep", "time_all", "trace", "train_mlp", "train_rival", "train_working_mlp",
    "vanishing_thresholds",
]
# fmt: on
# End of what is written.
