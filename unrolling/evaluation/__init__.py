"""What a network is compared with, and how: baselines, measurements, significance, theory."""

from typing import TYPE_CHECKING

from unrolling._lazy import lazy

# Written by `python -m tools.public_names`.
if TYPE_CHECKING:
    from unrolling.evaluation.bands import calibration_of, measure_coverage
    from unrolling.evaluation.baselines import Affine, affine_estimate, best, linear_mmse, run_method
    from unrolling.evaluation.budget import (
        Allowance,
        Part,
        foreseen,
        left_out,
        of_a_sample,
        on_part,
        part_of,
        shortened,
    )
    from unrolling.evaluation.classical import Trace, run_classical, stepped, steps_of, trace
    from unrolling.evaluation.compare import compare_network
    from unrolling.evaluation.comparison import Comparison, plain
    from unrolling.evaluation.conformal import (
        Band,
        Calibrated,
        Coverage,
        UnlikeCalibrationWarning,
        calibrate,
        coverage,
        least,
        symbol_sets,
    )
    from unrolling.evaluation.contenders import NAN, Measured, short, training
    from unrolling.evaluation.cost import cost_of, cost_of_long
    from unrolling.evaluation.deadline import TookTooLongError
    from unrolling.evaluation.generic import train_generic, train_mlp, train_working_mlp
    from unrolling.evaluation.gradient_modes import GradientRow, compare_gradients, saved_bytes, standard_rules
    from unrolling.evaluation.half_widths import (
        Constant,
        DropoutSpread,
        LayerSpread,
        LearnedHalfWidth,
        NoiseSpread,
        learn_half_width,
        usual_score,
    )
    from unrolling.evaluation.headlines import headline, is_classical, standing, stands, strongest
    from unrolling.evaluation.illustrate import atoms, parameters
    from unrolling.evaluation.layers import examine_layers, quality_of_layers
    from unrolling.evaluation.measure import Contender, environment, interval, scored_batches, spread, time_all
    from unrolling.evaluation.records import (
        Cost,
        CoverageReport,
        CoverageRow,
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
    from unrolling.evaluation.significance import bounds, few, holm, paired, paired_rows, resampled_values, resamples
    from unrolling.evaluation.three_runs import fixed_points

__getattr__, __dir__ = lazy(
    __name__,
    {
        ".bands": ("calibration_of measure_coverage"),
        ".baselines": ("Affine affine_estimate best linear_mmse run_method"),
        ".budget": ("Allowance Part foreseen left_out of_a_sample on_part part_of shortened"),
        ".classical": ("Trace run_classical stepped steps_of trace"),
        ".compare": ("compare_network"),
        ".comparison": ("Comparison plain"),
        ".conformal": ("Band Calibrated Coverage UnlikeCalibrationWarning calibrate coverage least symbol_sets"),
        ".contenders": ("Measured NAN short training"),
        ".cost": ("cost_of cost_of_long"),
        ".deadline": ("TookTooLongError"),
        ".generic": ("train_generic train_mlp train_working_mlp"),
        ".gradient_modes": ("GradientRow compare_gradients saved_bytes standard_rules"),
        ".half_widths": (
            "Constant DropoutSpread LayerSpread LearnedHalfWidth NoiseSpread learn_half_width usual_score"
        ),
        ".headlines": ("headline is_classical standing stands strongest"),
        ".illustrate": ("atoms parameters"),
        ".layers": ("examine_layers quality_of_layers"),
        ".measure": ("Contender environment interval scored_batches spread time_all"),
        ".records": (
            "Cost CoverageReport CoverageRow Criterion Curve Interval LayerReport Paired Parameter Row SafeguardReport "
            "Seconds ShiftCurve ShiftReport SizeCurve Spread"
        ),
        ".shifts": ("FewSamples size_sweep sweep"),
        ".significance": ("bounds few holm paired paired_rows resampled_values resamples"),
        ".three_runs": ("fixed_points"),
    },
)
# fmt: off
__all__ = [
    "Affine", "Allowance", "Band", "Calibrated", "Comparison", "Constant", "Contender", "Cost", "Coverage",
    "CoverageReport", "CoverageRow", "Criterion", "Curve", "DropoutSpread", "FewSamples", "GradientRow",
    "Interval", "LayerReport", "LayerSpread", "LearnedHalfWidth", "Measured", "NAN", "NoiseSpread", "Paired",
    "Parameter", "Part", "Row", "SafeguardReport", "Seconds", "ShiftCurve", "ShiftReport", "SizeCurve",
    "Spread", "TookTooLongError", "Trace", "UnlikeCalibrationWarning", "affine_estimate", "atoms", "best",
    "bounds", "calibrate", "calibration_of", "compare_gradients", "compare_network", "cost_of",
    "cost_of_long", "coverage", "environment", "examine_layers", "few", "fixed_points", "foreseen",
    "headline", "holm", "interval", "is_classical", "learn_half_width", "least", "left_out", "linear_mmse",
    "measure_coverage", "of_a_sample", "on_part", "paired", "paired_rows", "parameters", "part_of", "plain",
    "quality_of_layers", "resampled_values", "resamples", "run_classical", "run_method", "saved_bytes",
    "scored_batches", "short", "shortened", "size_sweep", "spread", "standard_rules", "standing", "stands",
    "stepped", "steps_of", "strongest", "sweep", "symbol_sets", "time_all", "trace", "train_generic",
    "train_mlp", "train_working_mlp", "training", "usual_score",
]
# fmt: on
# End of what is written.
