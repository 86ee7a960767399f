"""How potentials are fitted without unrolling: by the likelihood with marginals of long runs, by the "
"pseudo-likelihood."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import one_hot

from unrolling.algorithms.graphs.belief_propagation import BeliefPropagation
from unrolling.algorithms.graphs.mean_field import MeanField
from unrolling.algorithms.graphs.pairwise import Pairwise, score


def moment_difference(
    model: Pairwise, labels: Int[Tensor, "batch nodes"], *, sweeps: int = 50, damping: float = 0.3
) -> Float[Tensor, " batch"]:
    """A number for each graph whose gradient in the potentials is that of -log p(labels), with marginals by so many
    sweeps of belief propagation in the place of exact ones: expected less observed features.

    Exact on a tree after as many sweeps as its longest path has edges. Its value means nothing. (The surrogate
    likelihood of Wainwright 2006, with Bethe's free energy.)
    """
    with torch.no_grad():
        step = BeliefPropagation(damping=damping).to(model.nodes)
        state = step.start(model)
        for _ in range(sweeps):
            state = step(state, model)
        alone, joint = step.estimate(state, model).exp(), step.edge_marginals(state, model).exp()
    expected = (alone * model.nodes).sum((1, 2)) + (joint * model.pairs).sum((1, 2, 3))
    return expected - score(model, labels)


def pseudo_likelihood(model: Pairwise, labels: Int[Tensor, "batch nodes"]) -> Float[Tensor, " batch"]:
    """-sum over nodes of log p(x_i | its neighbours), of each graph (Besag 1975, doi:10.2307/2987782)."""
    marked = one_hot(labels, model.nodes.shape[1]).mT.to(model.nodes)
    conditional = torch.log_softmax(MeanField().fields(marked, model), 1)
    return -(conditional * marked).sum((1, 2))
