"""Convolutional sparse coding of whole images with weights that are computed instead of learned: the iteration of
convolutional ALISTA.
"""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from unrolling.algorithms.sparse.dictionary import scalar_parameter
from unrolling.algorithms.sparse.synthesis import SynthesisISTA, SynthesisState
from unrolling.core import Positive, constrain
from unrolling.operators import LinearOperator, PatchDictionary


class ConvolutionalISTA(SynthesisISTA):
    """z <- S_theta(z + gamma W (y - Phi D z)), W = mu D^H Phi^H: ``SynthesisISTA`` with a step size of its own for each
    layer.

    Unrolled with ``step_size`` and ``threshold`` untied and all else fixed it is convolutional ALISTA, Liu, Chen, Wang
    and Yin 2019, openreview:B1lnzn0ctQ, section 4. Their weights minimise |W A|_F^2 subject to w_i a_i = 1, A = Phi D,
    and are rows of A^H (A A^H)^+ up to their scale. For a tight frame D D^H = I behind measurements with orthonormal
    rows A A^H = I: W = A^H up to the scale of its rows, for images of any size.

    Parameters: ``step_size`` gamma, positive, and those of ``SynthesisISTA``.

    Args:
        sensing: Phi, fixed.
        dictionary: D, from codes to images.
        weight: lambda >= 0, a number or a tensor that broadcasts to z, such as one per atom.
        initial: a linear estimate, from measurements to images, whose code is the start; by default z = 0.

    Raises:
        ValueError: a negative weight.
    """

    def __init__(
        self,
        sensing: LinearOperator,
        dictionary: LinearOperator,
        weight: float | Tensor,
        *,
        initial: LinearOperator | None = None,
    ) -> None:
        super().__init__(sensing, dictionary, weight, initial=initial)
        self.step_size = scalar_parameter(1.0, self.threshold.detach())
        constrain(self, "step_size", Positive())

    def forward(self, state: SynthesisState, problem: Float[Tensor, "batch ..."], scale: float = 1.0) -> SynthesisState:
        """One step; ``scale`` multiplies the threshold."""
        threshold = self.threshold if scale == 1.0 else scale * self.threshold
        descent = self.encoder.adjoint(self.back_projection.adjoint(state.residual))
        return self._with_image(self.prox(state.code + self.step_size * descent, threshold), problem)


def tight_frame(atoms: Float[Tensor, "count p p"], stride: int) -> PatchDictionary:
    """Orthonormal atoms of p x p pixels at every ``stride``-th pixel, scaled such that D D^H = I.

    Args:
        atoms: (p p, p, p), an orthonormal basis of patches such as ``dct_atoms(p)``.
        stride: divides p.

    Raises:
        ValueError: atoms that are not an orthonormal basis.
    """
    flat = atoms.flatten(1).double()
    if flat.shape[0] != flat.shape[1] or not bool((flat @ flat.T - flat.new_ones(len(flat)).diag()).abs().max() < 1e-4):
        raise ValueError(
            f"the atoms {tuple(atoms.shape)} are not an orthonormal basis of their patches, and copies "
            "of them no tight frame"
        )
    return PatchDictionary(atoms / (atoms.shape[1] // stride), stride)
