"""What a network is compared with, and how: baselines, measurements, significance, theory."""

from typing import TYPE_CHECKING

from unrolling._lazy import lazy

# Written by `python -m tools.public_names`.
if TYPE_CHECKING:
    from unrolling.evaluation.baselines import (
        Affine,
        affine_estimate,
        best,
        linear_mmse,
        run_method,
        train_generic,
        train_mlp,
        train_working_mlp,
    )
    from unrolling.evaluation.classical import Trace, run_classical, steps_of, trace
    from unrolling.evaluation.compare import compare_network
    from unrolling.evaluation.comparison import Comparison, plain
    from unrolling.evaluation.contenders import NAN, Measured, short, training
    from unrolling.evaluation.cost import cost_of
    from unrolling.evaluation.deadline import TookTooLongError
    from unrolling.evaluation.gradient_modes import GradientRow, compare_gradients, saved_bytes, standard_rules
    from unrolling.evaluation.illustrate import atoms, headline, parameters
    from unrolling.evaluation.layers import examine_layers
    from unrolling.evaluation.measure import Contender, environment, interval, spread, time_all
    from unrolling.evaluation.records import (
        Cost,
        Criterion,
        Curve,
        Interval,
        LayerReport,
        Paired,
        Parameter,
        Row,
        SafeguardReport,
        Seconds,
        ShiftCurve,
        ShiftReport,
        SizeCurve,
        Spread,
    )
    from unrolling.evaluation.shifts import FewSamples, size_sweep, sweep
    from unrolling.evaluation.significance import bounds, few, paired, resamples

__getattr__, __dir__ = lazy(
    __name__,
    {
        ".baselines": ("Affine affine_estimate best linear_mmse run_method train_generic train_mlp train_working_mlp"),
        ".classical": ("Trace run_classical steps_of trace"),
        ".compare": ("compare_network"),
        ".comparison": ("Comparison plain"),
        ".contenders": ("Measured NAN short training"),
        ".cost": ("cost_of"),
        ".deadline": ("TookTooLongError"),
        ".gradient_modes": ("GradientRow compare_gradients saved_bytes standard_rules"),
        ".illustrate": ("atoms headline parameters"),
        ".layers": ("examine_layers"),
        ".measure": ("Contender environment interval spread time_all"),
        ".records": (
            "Cost Criterion Curve Interval LayerReport Paired Parameter Row SafeguardReport Seconds ShiftCurve "
            "ShiftReport SizeCurve Spread"
        ),
        ".shifts": ("FewSamples size_sweep sweep"),
        ".significance": ("bounds few paired resamples"),
    },
)
# fmt: off
__all__ = [
    "Affine", "Comparison", "Contender", "Cost", "Criterion", "Curve", "FewSamples", "GradientRow",
    "Interval", "LayerReport", "Measured", "NAN", "Paired", "Parameter", "Row", "SafeguardReport", "Seconds",
    "ShiftCurve", "ShiftReport", "SizeCurve", "Spread", "TookTooLongError", "Trace", "affine_estimate",
    "atoms", "best", "bounds", "compare_gradients", "compare_network", "cost_of", "environment",
    "examine_layers", "few", "headline", "interval", "linear_mmse", "paired", "parameters", "plain",
    "resamples", "run_classical", "run_method", "saved_bytes", "short", "size_sweep", "spread",
    "standard_rules", "steps_of", "sweep", "time_all", "trace", "train_generic", "train_mlp",
    "train_working_mlp", "training",
]
# fmt: on
# End of what is written.
