"""What a network is compared with, and how: baselines, measurements, significance, theory."""

from typing import TYPE_CHECKING

from unrolling._lazy import lazy

# Written by `python -m tools.public_names`.
if TYPE_CHECKING:
    from unrolling.evaluation.baselines import linear_mmse, scikit_learn, train_mlp, train_rival, train_working_mlp
    from unrolling.evaluation.classical import Trace, run_classical, steps_of, trace
    from unrolling.evaluation.compare import NAN, compare_network
    from unrolling.evaluation.comparison import Comparison, plain
    from unrolling.evaluation.cost import cost_of
    from unrolling.evaluation.deadline import TookTooLongError
    from unrolling.evaluation.gradient_modes import GradientRow, compare_gradients, saved_bytes, standard_rules
    from unrolling.evaluation.illustrate import codes, headline, layer_pictures, parameters, pictures
    from unrolling.evaluation.layers import examine_layers
    from unrolling.evaluation.measure import Contender, environment, interval, time_all
    from unrolling.evaluation.records import (
        Claim,
        Cost,
        Criterion,
        Curve,
        Interval,
        LayerReport,
        Paired,
        Parameter,
        Picture,
        Row,
        SafeguardReport,
        Seconds,
        ShiftCurve,
        ShiftReport,
        SizeCurve,
        Sound,
    )
    from unrolling.evaluation.shifts import Few, size_sweep, sweep
    from unrolling.evaluation.significance import bounds, few, paired, resamples
    from unrolling.evaluation.theory import (
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
        ".comparison": ("Comparison plain"),
        ".cost": ("cost_of"),
        ".deadline": ("TookTooLongError"),
        ".gradient_modes": ("GradientRow compare_gradients saved_bytes standard_rules"),
        ".illustrate": ("codes headline layer_pictures parameters pictures"),
        ".layers": ("examine_layers"),
        ".measure": ("Contender environment interval time_all"),
        ".records": (
            "Claim Cost Criterion Curve Interval LayerReport Paired Parameter Picture Row SafeguardReport Seconds "
            "ShiftCurve ShiftReport SizeCurve Sound"
        ),
        ".shifts": ("Few size_sweep sweep"),
        ".significance": ("bounds few paired resamples"),
        ".theory": (
            "coherence coupling examine limits linear_convergence no_false_positives predicted vanishing_thresholds"
        ),
    },
)
# fmt: off
__all__ = [
    "Claim", "Comparison", "Contender", "Cost", "Criterion", "Curve", "Few", "GradientRow", "Interval",
    "LayerReport", "NAN", "Paired", "Parameter", "Picture", "Row", "SafeguardReport", "Seconds",
    "ShiftCurve", "ShiftReport", "SizeCurve", "Sound", "TookTooLongError", "Trace", "bounds", "codes",
    "coherence", "compare_gradients", "compare_network", "cost_of", "coupling", "environment", "examine",
    "examine_layers", "few", "headline", "interval", "layer_pictures", "limits", "linear_convergence",
    "linear_mmse", "no_false_positives", "paired", "parameters", "pictures", "plain", "predicted",
    "resamples", "run_classical", "saved_bytes", "scikit_learn", "size_sweep", "standard_rules", "steps_of",
    "sweep", "time_all", "trace", "train_mlp", "train_rival", "train_working_mlp", "vanishing_thresholds",
]
# fmt: on
# End of what is written.
