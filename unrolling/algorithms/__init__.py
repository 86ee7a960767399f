"""Classical iterative algorithms, each written as one step."""

from typing import TYPE_CHECKING

from unrolling._lazy import lazy

# Written by `python -m tools.public_names`.
if TYPE_CHECKING:
    from unrolling.algorithms.detection import *
    from unrolling.algorithms.dynamics import *
    from unrolling.algorithms.graphs import *
    from unrolling.algorithms.images import *
    from unrolling.algorithms.kernels import *
    from unrolling.algorithms.messages import *
    from unrolling.algorithms.power import *
    from unrolling.algorithms.sound import *
    from unrolling.algorithms.sparse import *
    from unrolling.algorithms.splitting import *
    from unrolling.algorithms.vision import *

__getattr__, __dir__ = lazy(
    __name__,
    {
        ".detection.bit_ratios": ("best_factor exact_llrs gaussian_llrs level_llrs mutual_information"),
        ".detection.breadth_first": ("Listed k_best list_llrs"),
        ".detection.detnet": ("DetNetLayer DetNetState"),
        ".detection.linear_detection": ("lmmse matched_filter zero_forcing"),
        ".detection.mimo": (
            "Detector MatchedFilter MatchedFiltering Modulation Observation Posterior Received adjoint apply "
            "at_unit_gain check_levels check_received check_rising check_symmetric complex_symbols decide "
            "find_modulation gram gray_labels level_posterior mean_gain noise_of pam posterior real_form wrong_bits"
        ),
        ".detection.mmnet": ("Channel FreeMatrix MMNetLayer ScaledAdjoint fixed_oamp"),
        ".detection.received_noise": ("AlphabetFit NoiseEstimate judge_alphabet judge_noise linear_estimate"),
        ".detection.safeguarded": ("Safeguard SafeguardedDetector blocks simulate_received"),
        ".detection.semidefinite": ("Relaxed semidefinite_relaxation"),
        ".detection.soft_detection": ("SoftBits linear_llrs network_llrs soft_bits"),
        ".detection.sphere": ("Decisions sphere_decode"),
        ".detection.taps": ("ChannelEstimate TapsFit fit_to_taps fitted least_squares_taps viterbi_data"),
        ".detection.trellis": ("GaussianLikelihood Observed Trellis check_observed check_trellis"),
        ".detection.viterbi": ("BCJR Messages Viterbi viterbi_path"),
        ".dynamics.kalman": (
            "ExtendedKalmanFilter Filter Forecast KalmanFilter SteadyKalmanFilter Track corrected place steady_gain_of "
            "track written"
        ),
        ".dynamics.kalman_net": ("GainNetwork KalmanNet Tracked"),
        ".dynamics.motions": ("Lorenz Pendulum"),
        ".dynamics.smoother": ("RauchTungStriebel Smoothed"),
        ".dynamics.state_space": (
            "FunctionModel LinearModel Recording StateSpace check_covariance check_recording root"
        ),
        ".dynamics.stream": ("FilterStream"),
        ".graphs.belief_propagation": ("BeliefPropagation GraphInference TreeReweighted batch_of"),
        ".graphs.binary_matrices": ("binary_rank generator_matrix reduced_rows syndrome"),
        ".graphs.decoding": ("MinSum ParityBeliefPropagation decode_words"),
        ".graphs.edges": (
            "chain_edges check_edges check_places components grid_edges independent_sets is_forest random_tree_edges "
            "spanning_tree_probabilities"
        ),
        ".graphs.likelihoods": ("moment_difference pseudo_likelihood"),
        ".graphs.mean_field": ("MeanField"),
        ".graphs.pairwise": (
            "Pairwise bethe_free_energy disjoint_union enumerate_marginals forward_backward gather_nodes "
            "pairwise_model score stacked sum_at_nodes"
        ),
        ".graphs.parity_checks": ("ParityChecks check_parity_check"),
        ".graphs.potentials": ("Featured LinearPotentials"),
        ".graphs.reprocessing": ("ordered_statistics"),
        ".images.alternating_deblurring": ("AlternatingDeblurring AlternatingProblem AlternatingState"),
        ".images.blind_deblurring": (
            "BlindDeblurring BlindState Outcome check_image check_kernel_size cut differences"
        ),
        ".images.blind_steps": (
            "correlations crop_kernel deconvolve fit_kernel kernel_spectrum maps move_kernel normalise_kernel retrieve "
            "sharpen"
        ),
        ".images.blobs": ("Blobs Detected"),
        ".images.component_substitution": ("brovey gram_schmidt_adaptive mtf_glp"),
        ".images.coupled_dictionary": ("coupled_dictionaries patch_pairs pursued"),
        ".images.coupled_patches": (
            "ContrastProblem CoupledSparseCoding EnlargingCascade NormalisedSparseCoding PatchProblem mean_filter "
            "patch_features patch_filters stages_for"
        ),
        ".images.deraining": ("LearnedProx Parts RainADMM RainState across_streaks along_streaks check_colours"),
        ".images.diffusion": ("Compressed Diffusion EdgeStopping PeronaMalik QuantisedBlocks"),
        ".images.dublid": ("BlindProblem Cascade DUBLID"),
        ".images.dublid_levels": ("DUBLIDLevels LevelCascade LevelProblem blended variance"),
        ".images.experts": ("Cliques FieldOfExperts Grouping NonLocalExperts"),
        ".images.halting": ("Halting HaltingRestoration"),
        ".images.inpainting": ("KnownPixels Masked check_known fill_missing"),
        ".images.multiscale_restoration": (
            "Disturbed MultiscaleDeblocking MultiscaleDenoising MultiscaleEnlarging MultiscaleRestoration SmallImage "
            "rounding_level"
        ),
        ".images.pan_sharpening": (
            "BandVariation Fusion GuidedProjection LearnedProjection MultispectralFit Projector Statistics solved "
            "statistics_of"
        ),
        ".images.post_processing": ("PostProcessing"),
        ".images.rain_kernels": ("KernelState LearnedMaps RainKernels streak_kernels"),
        ".images.sharp_features": (
            "Features LearnedFeatures ThresholdedGradients central_differences convolved derivatives_of_gaussians"
        ),
        ".images.sirt": ("SIRT"),
        ".images.sparcom": (
            "EnlargedVariance Fluctuations Sparcom SparcomLayers accelerated_sparcom check_movie temporal_variance"
        ),
        ".kernels.grid_steps": ("GridSteps"),
        ".kernels.movie_steps": ("MovieSteps shrink_entries"),
        ".kernels.packed_steps": ("Products pack rows_of run_packed_steps"),
        ".kernels.product_form": ("ProductForm ProductStep"),
        ".kernels.radial_steps": ("RadialSteps Shrink"),
        ".kernels.residual_form": ("ResidualForm ResidualStep"),
        ".kernels.shrinkage": ("Scratch Shrinkage own_copy suits"),
        ".kernels.thin_step": ("ThinStep check_steps run_thin_steps"),
        ".messages.amp": ("AMP AMPState check_damping check_real clamp_variance damp denoise deviation_of"),
        ".messages.denoised_amp": ("DenoisedAMP DenoisedState"),
        ".messages.denoised_evolution": ("EffectiveNoise effective_noise effective_noise_table kurtosis"),
        ".messages.expectation_propagation": ("EPState ExpectationPropagation Quadratic"),
        ".messages.oamp": ("OAMP Spectral Spectrum inside"),
        ".messages.state_evolution": (
            "Evolution SparsePrior mean_square_error measurement_noise oracle_least_squares oracle_nmse "
            "state_evolution_limit"
        ),
        ".messages.vamp": ("VAMP VAMPState fit_noise"),
        ".power.dense_prox": ("DenseProxLinear DenseProxMaps"),
        ".power.flows": ("power_flow"),
        ".power.forecast": ("Ahead Forecaster RecurrentForecaster StateCells VectorAutoregression Window moment_of"),
        ".power.gauss_newton": ("GaussNewton metric_of"),
        ".power.grid": ("Grid admittances outages phasors rectangular unconnected"),
        ".power.meters": (
            "Linearised Meters PowerMeasurement all_meters check_meters check_observable chosen_meters metered "
            "unseen_buses"
        ),
        ".power.priors": ("StatePrior check_prior precision_of_prior whole_precision"),
        ".power.prox_linear": ("Estimated LinearProx ProxLinear StateEstimator safe_radius turned"),
        ".power.topology": ("Outage suspected_outage"),
        ".sound.misi": ("EqualShares GriffinLim MISI MISIState Magnitudes floor_of"),
        ".sound.nmf": (
            "NMF NMFActivations NMFState PositiveUnitNorm beta_divergence check_nonnegative divergence_of "
            "equal_activations exponent learn_dictionary level_of scaled_sparsity set_sparsity unit_columns "
            "update_activations update_dictionary"
        ),
        ".sound.nmf_enhancement": ("NMFEnhancement"),
        ".sound.nmf_separation": ("Mixture NMFSeparation stack_frames"),
        ".sound.nmf_split": ("Split SplitGradient split_step"),
        ".sound.relaxed_misi": ("RelaxedMISI"),
        ".sparse.analytic": ("analytic_weights minimal_coherence_weights mutual_coherence projected_gradient_weights"),
        ".sparse.augmented": ("AugmentedISTA AugmentedProblem AugmentedState"),
        ".sparse.convolutional": ("ConvolutionalISTA tight_frame"),
        ".sparse.coordinate_descent": ("CoDState CoordinateDescent"),
        ".sparse.coupled": ("CoupledISTA SelectedState Selection SelectiveGramISTA check_selection"),
        ".sparse.dictionary": (
            "as_operator check_dictionary check_step_size check_weight check_width each_weight lipschitz "
            "scalar_parameter step_advice"
        ),
        ".sparse.fista": ("Continuation FISTA FISTAState nesterov"),
        ".sparse.gated": ("GatedISTA"),
        ".sparse.hyper": ("HyperLISTA HyperProblem HyperState"),
        ".sparse.iht": ("IHT"),
        ".sparse.ista": ("GramISTA ISTA ThinISTA is_soft penalty_of"),
        ".sparse.lama": ("LAMA LAMAState Normalised Normalising"),
        ".sparse.learned_iht": ("GramHardISTA GramIHT"),
        ".sparse.strided": ("Codes NoisyImage Shifted Shifts StridedISTA check_noise cosine_atoms"),
        ".sparse.synthesis": ("Decoded SynthesisISTA SynthesisState"),
        ".sparse.varying": ("Mixed Mixing Sensed VaryingISTA"),
        ".splitting.admm": ("ADMM ADMMState Splitting"),
        ".splitting.block_projections": (
            "BlockProjections BlockSamples RatedProximalGradient check_blocks measure_blocks orthonormalised "
            "rate_weights spread_blocks"
        ),
        ".splitting.conditioned": ("Conditioned ConditionedSplitting sampling_features"),
        ".splitting.conjugate_gradient": ("ConjugateGradient ConjugateState"),
        ".splitting.convergence_conditions": (
            "PlugAndPlayConditions curvature plug_and_play_conditions residual_lipschitz"
        ),
        ".splitting.corona": ("CORONA Levelled"),
        ".splitting.data_terms": (
            "Blurred CoilSampling DataTerm KnownBlur LeastSquares Problem SampledFourier check_kspace"
        ),
        ".splitting.denoised_least_squares": ("DenoisedLeastSquares"),
        ".splitting.denoised_primal_dual": ("DenoisedPrimalDual DenoisedPrimalDualState"),
        ".splitting.dense_gradient": ("DenseProximalGradient DenseState"),
        ".splitting.douglas_rachford": ("DouglasRachford DouglasRachfordState"),
        ".splitting.half_quadratic": ("HQSState HalfQuadraticSplitting"),
        ".splitting.kspace_descent": ("CoilPreparation CoilProblem KSpaceDescent calibration_mask"),
        ".splitting.learned_primal_dual": (
            "ForwardOperator LearnedPDHG LearnedPDHGState LearnedPrimalDual LearnedPrimalDualState Transmission "
            "least_squares_start"
        ),
        ".splitting.learned_projections": ("LearnedProjections"),
        ".splitting.objectives": ("objective_of"),
        ".splitting.potential_descent": ("PotentialDescent"),
        ".splitting.primal_dual": ("ChambollePock PrimalDualState"),
        ".splitting.primal_dual_operator": ("PDHG PDHGState diagonal_steps"),
        ".splitting.projected_gradient": ("ProjectedGradient"),
        ".splitting.proximal_gradient": ("ProximalGradient"),
        ".splitting.random_measurements": (
            "MatrixMeasurements MatrixSamples ModulatedSamples ModulatedTransform gaussian_matrix measure_modulated"
        ),
        ".splitting.rated_splitting": ("Rated RatedSplitting"),
        ".splitting.relaxed_projection": ("GradientProjection RelaxedProjection RelaxedState"),
        ".splitting.robust_pca": ("Movies RobustPCA Separated Separation check_movies"),
        ".splitting.robust_pca_splitting": ("AlternatingProjections RobustPCAADMM SplitSeparation"),
        ".vision.dense_crf": (
            "CRFPotentials CRFProblem DenseCRF PixelMeanField ScoredPicture check_picture check_unit_range weighted"
        ),
        ".vision.gaussian_filters": (
            "ExactFilter ExactKernel GridFilter GridKernel SpatialFilter SpatialKernel WindowFilter WindowKernel "
            "window_offsets"
        ),
        ".vision.parsing_network": ("ParsingNetwork"),
    },
)
# fmt: off
__all__ = [
    "ADMM", "ADMMState", "AMP", "AMPState", "Ahead", "AlphabetFit", "AlternatingDeblurring",
    "AlternatingProblem", "AlternatingProjections", "AlternatingState", "AugmentedISTA", "AugmentedProblem",
    "AugmentedState", "BCJR", "BandVariation", "BeliefPropagation", "BlindDeblurring", "BlindProblem",
    "BlindState", "Blobs", "BlockProjections", "BlockSamples", "Blurred", "CORONA", "CRFPotentials",
    "CRFProblem", "Cascade", "ChambollePock", "Channel", "ChannelEstimate", "Cliques", "CoDState", "Codes",
    "CoilPreparation", "CoilProblem", "CoilSampling", "Compressed", "Conditioned", "ConditionedSplitting",
    "ConjugateGradient", "ConjugateState", "Continuation", "ContrastProblem", "ConvolutionalISTA",
    "CoordinateDescent", "CoupledISTA", "CoupledSparseCoding", "DUBLID", "DUBLIDLevels", "DataTerm",
    "Decisions", "Decoded", "DenoisedAMP", "DenoisedLeastSquares", "DenoisedPrimalDual",
    "DenoisedPrimalDualState", "DenoisedState", "DenseCRF", "DenseProxLinear", "DenseProxMaps",
    "DenseProximalGradient", "DenseState", "DetNetLayer", "DetNetState", "Detected", "Detector", "Diffusion",
    "Disturbed", "DouglasRachford", "DouglasRachfordState", "EPState", "EdgeStopping", "EffectiveNoise",
    "EnlargedVariance", "EnlargingCascade", "EqualShares", "Estimated", "Evolution", "ExactFilter",
    "ExactKernel", "ExpectationPropagation", "ExtendedKalmanFilter", "FISTA", "FISTAState", "Featured",
    "Features", "FieldOfExperts", "Filter", "FilterStream", "Fluctuations", "Forecast", "Forecaster",
    "ForwardOperator", "FreeMatrix", "FunctionModel", "Fusion", "GainNetwork", "GatedISTA", "GaussNewton",
    "GaussianLikelihood", "GradientProjection", "GramHardISTA", "GramIHT", "GramISTA", "GraphInference",
    "Grid", "GridFilter", "GridKernel", "GridSteps", "GriffinLim", "Grouping", "GuidedProjection",
    "HQSState", "HalfQuadraticSplitting", "Halting", "HaltingRestoration", "HyperLISTA", "HyperProblem",
    "HyperState", "IHT", "ISTA", "KSpaceDescent", "KalmanFilter", "KalmanNet", "KernelState", "KnownBlur",
    "KnownPixels", "LAMA", "LAMAState", "LearnedFeatures", "LearnedMaps", "LearnedPDHG", "LearnedPDHGState",
    "LearnedPrimalDual", "LearnedPrimalDualState", "LearnedProjection", "LearnedProjections", "LearnedProx",
    "LeastSquares", "LevelCascade", "LevelProblem", "Levelled", "LinearModel", "LinearPotentials",
    "LinearProx", "Linearised", "Listed", "Lorenz", "MISI", "MISIState", "MMNetLayer", "Magnitudes",
    "Masked", "MatchedFilter", "MatchedFiltering", "MatrixMeasurements", "MatrixSamples", "MeanField",
    "Messages", "Meters", "MinSum", "Mixed", "Mixing", "Mixture", "ModulatedSamples", "ModulatedTransform",
    "Modulation", "MovieSteps", "Movies", "MultiscaleDeblocking", "MultiscaleDenoising",
    "MultiscaleEnlarging", "MultiscaleRestoration", "MultispectralFit", "NMF", "NMFActivations",
    "NMFEnhancement", "NMFSeparation", "NMFState", "NoiseEstimate", "NoisyImage", "NonLocalExperts",
    "Normalised", "NormalisedSparseCoding", "Normalising", "OAMP", "Observation", "Observed", "Outage",
    "Outcome", "PDHG", "PDHGState", "Pairwise", "ParityBeliefPropagation", "ParityChecks", "ParsingNetwork",
    "Parts", "PatchProblem", "Pendulum", "PeronaMalik", "PixelMeanField", "PlugAndPlayConditions",
    "PositiveUnitNorm", "PostProcessing", "Posterior", "PotentialDescent", "PowerMeasurement",
    "PrimalDualState", "Problem", "ProductForm", "ProductStep", "Products", "ProjectedGradient", "Projector",
    "ProxLinear", "ProximalGradient", "Quadratic", "QuantisedBlocks", "RadialSteps", "RainADMM",
    "RainKernels", "RainState", "Rated", "RatedProximalGradient", "RatedSplitting", "RauchTungStriebel",
    "Received", "Recording", "RecurrentForecaster", "Relaxed", "RelaxedMISI", "RelaxedProjection",
    "RelaxedState", "ResidualForm", "ResidualStep", "RobustPCA", "RobustPCAADMM", "SIRT", "Safeguard",
    "SafeguardedDetector", "SampledFourier", "ScaledAdjoint", "ScoredPicture", "Scratch", "SelectedState",
    "Selection", "SelectiveGramISTA", "Sensed", "Separated", "Separation", "Shifted", "Shifts", "Shrink",
    "Shrinkage", "SmallImage", "Smoothed", "SoftBits", "Sparcom", "SparcomLayers", "SparsePrior",
    "SpatialFilter", "SpatialKernel", "Spectral", "Spectrum", "Split", "SplitGradient", "SplitSeparation",
    "Splitting", "StateCells", "StateEstimator", "StatePrior", "StateSpace", "Statistics",
    "SteadyKalmanFilter", "StridedISTA", "SynthesisISTA", "SynthesisState", "TapsFit", "ThinISTA",
    "ThinStep", "ThresholdedGradients", "Track", "Tracked", "Transmission", "TreeReweighted", "Trellis",
    "VAMP", "VAMPState", "VaryingISTA", "VectorAutoregression", "Viterbi", "Window", "WindowFilter",
    "WindowKernel", "accelerated_sparcom", "across_streaks", "adjoint", "admittances", "all_meters",
    "along_streaks", "analytic_weights", "apply", "as_operator", "at_unit_gain", "batch_of", "best_factor",
    "beta_divergence", "bethe_free_energy", "binary_rank", "blended", "blocks", "brovey", "calibration_mask",
    "central_differences", "chain_edges", "check_blocks", "check_colours", "check_covariance",
    "check_damping", "check_dictionary", "check_edges", "check_image", "check_kernel_size", "check_known",
    "check_kspace", "check_levels", "check_meters", "check_movie", "check_movies", "check_noise",
    "check_nonnegative", "check_observable", "check_observed", "check_parity_check", "check_picture",
    "check_places", "check_prior", "check_real", "check_received", "check_recording", "check_rising",
    "check_selection", "check_step_size", "check_steps", "check_symmetric", "check_trellis",
    "check_unit_range", "check_weight", "check_width", "chosen_meters", "clamp_variance", "complex_symbols",
    "components", "convolved", "corrected", "correlations", "cosine_atoms", "coupled_dictionaries",
    "crop_kernel", "curvature", "cut", "damp", "decide", "decode_words", "deconvolve", "denoise",
    "derivatives_of_gaussians", "deviation_of", "diagonal_steps", "differences", "disjoint_union",
    "divergence_of", "each_weight", "effective_noise", "effective_noise_table", "enumerate_marginals",
    "equal_activations", "exact_llrs", "exponent", "fill_missing", "find_modulation", "fit_kernel",
    "fit_noise", "fit_to_taps", "fitted", "fixed_oamp", "floor_of", "forward_backward", "gather_nodes",
    "gaussian_llrs", "gaussian_matrix", "generator_matrix", "gram", "gram_schmidt_adaptive", "gray_labels",
    "grid_edges", "independent_sets", "inside", "is_forest", "is_soft", "judge_alphabet", "judge_noise",
    "k_best", "kernel_spectrum", "kurtosis", "learn_dictionary", "least_squares_start", "least_squares_taps",
    "level_llrs", "level_of", "level_posterior", "linear_estimate", "linear_llrs", "lipschitz", "list_llrs",
    "lmmse", "maps", "matched_filter", "mean_filter", "mean_gain", "mean_square_error", "measure_blocks",
    "measure_modulated", "measurement_noise", "metered", "metric_of", "minimal_coherence_weights",
    "moment_difference", "moment_of", "move_kernel", "mtf_glp", "mutual_coherence", "mutual_information",
    "nesterov", "network_llrs", "noise_of", "normalise_kernel", "objective_of", "oracle_least_squares",
    "oracle_nmse", "ordered_statistics", "orthonormalised", "outages", "own_copy", "pack", "pairwise_model",
    "pam", "patch_features", "patch_filters", "patch_pairs", "penalty_of", "phasors", "place",
    "plug_and_play_conditions", "posterior", "power_flow", "precision_of_prior",
    "projected_gradient_weights", "pseudo_likelihood", "pursued", "random_tree_edges", "rate_weights",
    "real_form", "rectangular", "reduced_rows", "residual_lipschitz", "retrieve", "root", "rounding_level",
    "rows_of", "run_packed_steps", "run_thin_steps", "safe_radius", "sampling_features", "scalar_parameter",
    "scaled_sparsity", "score", "semidefinite_relaxation", "set_sparsity", "sharpen", "shrink_entries",
    "simulate_received", "soft_bits", "solved", "spanning_tree_probabilities", "sphere_decode", "split_step",
    "spread_blocks", "stack_frames", "stacked", "stages_for", "state_evolution_limit", "statistics_of",
    "steady_gain_of", "step_advice", "streak_kernels", "suits", "sum_at_nodes", "suspected_outage",
    "syndrome", "temporal_variance", "tight_frame", "track", "turned", "unconnected", "unit_columns",
    "unseen_buses", "update_activations", "update_dictionary", "variance", "viterbi_data", "viterbi_path",
    "weighted", "whole_precision", "window_offsets", "written", "wrong_bits", "zero_forcing",
]
# fmt: on
# End of what is written.
