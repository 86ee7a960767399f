"""Convolutional ISTA on whole images: the weights are the analytic ones, and the step is ISTA's."""

import pytest
import torch
from iterations import gaussian

from unrolling import testing, unroll
from unrolling.algorithms import ISTA, SynthesisISTA
from unrolling.algorithms.sparse.analytic import analytic_weights
from unrolling.algorithms.sparse.convolutional import ConvolutionalISTA, tight_frame
from unrolling.operators import BlockSensing, dct_atoms

SENSING = BlockSensing(torch.linalg.qr(gaussian(16, 5, seed=1))[0].T.contiguous())  # orthonormal rows
FRAME = tight_frame(dct_atoms(4).double(), 2)
Y = gaussian(3, 2, 3, 5, seed=2)  # images of 8 x 12 pixels
WEIGHTS = torch.linspace(0.02, 0.1, 16, dtype=torch.float64)


def iteration():
    return ConvolutionalISTA(SENSING, FRAME, WEIGHTS)


@pytest.mark.parametrize("stride", [1, 2, 4])
def test_the_frame_is_tight_on_images_of_any_size(stride):
    frame = tight_frame(dct_atoms(4).double(), stride)
    for height, width in ((8, 8), (12, 20)):
        image = gaussian(2, height, width, seed=3)
        torch.testing.assert_close(frame(frame.adjoint(image)), image, rtol=1e-6, atol=1e-6)


def test_its_weights_are_the_analytic_ones_up_to_the_scale_of_their_rows():
    """W = A^H for A = Phi D, and the closed form of ALISTA applied to the matrix of A, row by row; atoms that the
    measurements do not see have none.
    """
    code = FRAME.adjoint(SENSING.adjoint(Y[:1]))
    shape = code.shape[1:]
    columns = [
        SENSING(FRAME(unit.reshape(1, *shape))).flatten() for unit in torch.eye(shape.numel(), dtype=torch.float64)
    ]
    matrix = torch.stack(columns, dim=1)
    seen = torch.linalg.vector_norm(matrix, dim=0) > 1e-9
    matrix = matrix[:, seen]
    weights = analytic_weights(matrix)
    rows = matrix.T / matrix.square().sum(0).unsqueeze(1)
    torch.testing.assert_close(weights, rows, rtol=1e-5, atol=1e-6 * float(rows.abs().max()))


def test_before_training_it_is_ista_on_the_product_of_sensing_and_dictionary():
    synthesis = unroll(SynthesisISTA(SENSING, FRAME, WEIGHTS), 6)
    ista = ISTA(SENSING @ FRAME, WEIGHTS, step_size=1.0)
    code = torch.zeros_like(FRAME.adjoint(SENSING.adjoint(Y)))
    for state, other in zip(unroll(iteration(), 6).trajectory(Y), synthesis.trajectory(Y), strict=True):
        code = ista(code, Y)
        torch.testing.assert_close(state.code, code, rtol=1e-9, atol=1e-12)
        torch.testing.assert_close(state.code, other.code, rtol=1e-12, atol=1e-13)
        torch.testing.assert_close(state.residual, Y - SENSING(FRAME(code)), rtol=1e-9, atol=1e-12)


def test_shifting_the_image_by_whole_blocks_shifts_the_estimate_away_from_the_borders():
    net = unroll(iteration(), 3, untied=("step_size", "threshold"))
    with torch.no_grad():
        for number, parameter in enumerate(net.parameters()):
            parameter += 0.2 * gaussian(parameter.numel(), seed=number).reshape(parameter.shape)
    y = torch.zeros(1, 9, 9, 5, dtype=torch.float64)
    y[:, 3:5, 3:5] = gaussian(1, 2, 2, 5, seed=4)
    torch.testing.assert_close(net(y.roll((1, 1), (1, 2))), net(y).roll((4, 4), (1, 2)), rtol=1e-9, atol=1e-10)


def test_convolutional_alista_learns_a_step_and_a_threshold_per_atom_and_layer():
    net = unroll(iteration(), 7, untied=("step_size", "threshold"))
    assert sum(p.numel() for p in net.parameters() if p.requires_grad) == 7 * (1 + 16)


def test_it_conforms():
    testing.check_iteration(iteration(), Y, skip=("compile", "export"))


def test_atoms_that_are_no_basis_make_no_tight_frame():
    with pytest.raises(ValueError, match="are not an orthonormal basis"):
        tight_frame(2 * dct_atoms(4), 2)
    with pytest.raises(ValueError, match="are not an orthonormal basis"):
        tight_frame(dct_atoms(4, 7), 2)
