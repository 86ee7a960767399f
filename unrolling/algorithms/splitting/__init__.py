"""Operator splitting: ADMM, half-quadratic splitting, primal-dual and proximal gradient methods."""

from typing import TYPE_CHECKING

from unrolling._lazy import lazy

# Written by `python -m tools.public_names`.
if TYPE_CHECKING:
    from unrolling.algorithms.splitting.admm import ADMM, ADMMState, Splitting
    from unrolling.algorithms.splitting.block_projections import (
        BlockProjections,
        BlockSamples,
        RatedProximalGradient,
        check_blocks,
        measure_blocks,
        orthonormalised,
        rate_weights,
        spread_blocks,
    )
    from unrolling.algorithms.splitting.conditioned import Conditioned, ConditionedSplitting, sampling_features
    from unrolling.algorithms.splitting.conjugate_gradient import ConjugateGradient, ConjugateState
    from unrolling.algorithms.splitting.convergence_conditions import (
        PlugAndPlayConditions,
        curvature,
        plug_and_play_conditions,
        residual_lipschitz,
    )
    from unrolling.algorithms.splitting.corona import CORONA, Levelled
    from unrolling.algorithms.splitting.data_terms import (
        Blurred,
        CoilSampling,
        DataTerm,
        KnownBlur,
        LeastSquares,
        Problem,
        SampledFourier,
        check_kspace,
    )
    from unrolling.algorithms.splitting.denoised_least_squares import DenoisedLeastSquares
    from unrolling.algorithms.splitting.denoised_primal_dual import DenoisedPrimalDual, DenoisedPrimalDualState
    from unrolling.algorithms.splitting.dense_gradient import DenseProximalGradient, DenseState
    from unrolling.algorithms.splitting.douglas_rachford import DouglasRachford, DouglasRachfordState
    from unrolling.algorithms.splitting.half_quadratic import HalfQuadraticSplitting, HQSState
    from unrolling.algorithms.splitting.kspace_descent import (
        CoilPreparation,
        CoilProblem,
        KSpaceDescent,
        calibration_mask,
    )
    from unrolling.algorithms.splitting.learned_primal_dual import (
        ForwardOperator,
        LearnedPDHG,
        LearnedPDHGState,
        LearnedPrimalDual,
        LearnedPrimalDualState,
        Transmission,
        least_squares_start,
    )
    from unrolling.algorithms.splitting.learned_projections import LearnedProjections
    from unrolling.algorithms.splitting.objectives import objective_of
    from unrolling.algorithms.splitting.potential_descent import PotentialDescent
    from unrolling.algorithms.splitting.primal_dual import ChambollePock, PrimalDualState
    from unrolling.algorithms.splitting.primal_dual_operator import PDHG, PDHGState, diagonal_steps
    from unrolling.algorithms.splitting.projected_gradient import ProjectedGradient
    from unrolling.algorithms.splitting.proximal_gradient import ProximalGradient
    from unrolling.algorithms.splitting.random_measurements import (
        MatrixMeasurements,
        MatrixSamples,
        ModulatedSamples,
        ModulatedTransform,
        gaussian_matrix,
        measure_modulated,
    )
    from unrolling.algorithms.splitting.rated_splitting import Rated, RatedSplitting
    from unrolling.algorithms.splitting.relaxed_projection import GradientProjection, RelaxedProjection, RelaxedState
    from unrolling.algorithms.splitting.robust_pca import Movies, RobustPCA, Separated, Separation, check_movies
    from unrolling.algorithms.splitting.robust_pca_splitting import (
        AlternatingProjections,
        RobustPCAADMM,
        SplitSeparation,
    )

__getattr__, __dir__ = lazy(
    __name__,
    {
        ".admm": ("ADMM ADMMState Splitting"),
        ".block_projections": (
            "BlockProjections BlockSamples RatedProximalGradient check_blocks measure_blocks orthonormalised "
            "rate_weights spread_blocks"
        ),
        ".conditioned": ("Conditioned ConditionedSplitting sampling_features"),
        ".conjugate_gradient": ("ConjugateGradient ConjugateState"),
        ".convergence_conditions": ("PlugAndPlayConditions curvature plug_and_play_conditions residual_lipschitz"),
        ".corona": ("CORONA Levelled"),
        ".data_terms": ("Blurred CoilSampling DataTerm KnownBlur LeastSquares Problem SampledFourier check_kspace"),
        ".denoised_least_squares": ("DenoisedLeastSquares"),
        ".denoised_primal_dual": ("DenoisedPrimalDual DenoisedPrimalDualState"),
        ".dense_gradient": ("DenseProximalGradient DenseState"),
        ".douglas_rachford": ("DouglasRachford DouglasRachfordState"),
        ".half_quadratic": ("HQSState HalfQuadraticSplitting"),
        ".kspace_descent": ("CoilPreparation CoilProblem KSpaceDescent calibration_mask"),
        ".learned_primal_dual": (
            "ForwardOperator LearnedPDHG LearnedPDHGState LearnedPrimalDual LearnedPrimalDualState Transmission "
            "least_squares_start"
        ),
        ".learned_projections": ("LearnedProjections"),
        ".objectives": ("objective_of"),
        ".potential_descent": ("PotentialDescent"),
        ".primal_dual": ("ChambollePock PrimalDualState"),
        ".primal_dual_operator": ("PDHG PDHGState diagonal_steps"),
        ".projected_gradient": ("ProjectedGradient"),
        ".proximal_gradient": ("ProximalGradient"),
        ".random_measurements": (
            "MatrixMeasurements MatrixSamples ModulatedSamples ModulatedTransform gaussian_matrix measure_modulated"
        ),
        ".rated_splitting": ("Rated RatedSplitting"),
        ".relaxed_projection": ("GradientProjection RelaxedProjection RelaxedState"),
        ".robust_pca": ("Movies RobustPCA Separated Separation check_movies"),
        ".robust_pca_splitting": ("AlternatingProjections RobustPCAADMM SplitSeparation"),
    },
)
# fmt: off
__all__ = [
    "ADMM", "ADMMState", "AlternatingProjections", "BlockProjections", "BlockSamples", "Blurred", "CORONA",
    "ChambollePock", "CoilPreparation", "CoilProblem", "CoilSampling", "Conditioned", "ConditionedSplitting",
    "ConjugateGradient", "ConjugateState", "DataTerm", "DenoisedLeastSquares", "DenoisedPrimalDual",
    "DenoisedPrimalDualState", "DenseProximalGradient", "DenseState", "DouglasRachford",
    "DouglasRachfordState", "ForwardOperator", "GradientProjection", "HQSState", "HalfQuadraticSplitting",
    "KSpaceDescent", "KnownBlur", "LearnedPDHG", "LearnedPDHGState", "LearnedPrimalDual",
    "LearnedPrimalDualState", "LearnedProjections", "LeastSquares", "Levelled", "MatrixMeasurements",
    "MatrixSamples", "ModulatedSamples", "ModulatedTransform", "Movies", "PDHG", "PDHGState",
    "PlugAndPlayConditions", "PotentialDescent", "PrimalDualState", "Problem", "ProjectedGradient",
    "ProximalGradient", "Rated", "RatedProximalGradient", "RatedSplitting", "RelaxedProjection",
    "RelaxedState", "RobustPCA", "RobustPCAADMM", "SampledFourier", "Separated", "Separation",
    "SplitSeparation", "Splitting", "Transmission", "calibration_mask", "check_blocks", "check_kspace",
    "check_movies", "curvature", "diagonal_steps", "gaussian_matrix", "least_squares_start",
    "measure_blocks", "measure_modulated", "objective_of", "orthonormalised", "plug_and_play_conditions",
    "rate_weights", "residual_lipschitz", "sampling_features", "spread_blocks",
]
# fmt: on
# End of what is written.
