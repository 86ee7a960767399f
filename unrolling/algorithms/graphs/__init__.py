"""Inference on graphs: belief propagation and mean field along lists of edges, and decoding of linear block codes."""

from typing import TYPE_CHECKING

from unrolling._lazy import lazy

# Written by `python -m tools.public_names`.
if TYPE_CHECKING:
    from unrolling.algorithms.graphs.belief_propagation import (
        BeliefPropagation,
        GraphInference,
        TreeReweighted,
        batch_of,
    )
    from unrolling.algorithms.graphs.binary_matrices import binary_rank, generator_matrix, reduced_rows, syndrome
    from unrolling.algorithms.graphs.decoding import MinSum, ParityBeliefPropagation, decode_words
    from unrolling.algorithms.graphs.edges import (
        chain_edges,
        check_edges,
        check_places,
        components,
        grid_edges,
        independent_sets,
        is_forest,
        random_tree_edges,
        spanning_tree_probabilities,
    )
    from unrolling.algorithms.graphs.likelihoods import moment_difference, pseudo_likelihood
    from unrolling.algorithms.graphs.mean_field import MeanField
    from unrolling.algorithms.graphs.pairwise import (
        Pairwise,
        bethe_free_energy,
        disjoint_union,
        enumerate_marginals,
        forward_backward,
        gather_nodes,
        pairwise_model,
        score,
        stacked,
        sum_at_nodes,
    )
    from unrolling.algorithms.graphs.parity_checks import ParityChecks, check_parity_check
    from unrolling.algorithms.graphs.potentials import Featured, LinearPotentials
    from unrolling.algorithms.graphs.reprocessing import ordered_statistics

__getattr__, __dir__ = lazy(
    __name__,
    {
        ".belief_propagation": ("BeliefPropagation GraphInference TreeReweighted batch_of"),
        ".binary_matrices": ("binary_rank generator_matrix reduced_rows syndrome"),
        ".decoding": ("MinSum ParityBeliefPropagation decode_words"),
        ".edges": (
            "chain_edges check_edges check_places components grid_edges independent_sets is_forest random_tree_edges "
            "spanning_tree_probabilities"
        ),
        ".likelihoods": ("moment_difference pseudo_likelihood"),
        ".mean_field": ("MeanField"),
        ".pairwise": (
            "Pairwise bethe_free_energy disjoint_union enumerate_marginals forward_backward gather_nodes "
            "pairwise_model score stacked sum_at_nodes"
        ),
        ".parity_checks": ("ParityChecks check_parity_check"),
        ".potentials": ("Featured LinearPotentials"),
        ".reprocessing": ("ordered_statistics"),
    },
)
# fmt: off
__all__ = [
    "BeliefPropagation", "Featured", "GraphInference", "LinearPotentials", "MeanField", "MinSum", "Pairwise",
    "ParityBeliefPropagation", "ParityChecks", "TreeReweighted", "batch_of", "bethe_free_energy",
    "binary_rank", "chain_edges", "check_edges", "check_parity_check", "check_places", "components",
    "decode_words", "disjoint_union", "enumerate_marginals", "forward_backward", "gather_nodes",
    "generator_matrix", "grid_edges", "independent_sets", "is_forest", "moment_difference",
    "ordered_statistics", "pairwise_model", "pseudo_likelihood", "random_tree_edges", "reduced_rows",
    "score", "spanning_tree_probabilities", "stacked", "sum_at_nodes", "syndrome",
]
# fmt: on
# End of what is written.
