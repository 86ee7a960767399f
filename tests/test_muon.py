"""Muon for the kernels of convolutions."""

import pytest
import torch

from unrolling.training.optimizers import Muon


@pytest.mark.parametrize("shape", [(12, 30), (12, 3, 5, 5), (40, 2, 3, 3)])
@pytest.mark.parametrize("size", [1e-3, 1.0, 100.0])
def test_a_step_of_muon_for_kernels_is_orthogonal_and_a_part_of_their_norm(shape, size):
    torch.manual_seed(0)
    kernel = torch.nn.Parameter(size * torch.randn(shape))
    before, gradient = kernel.detach().clone(), torch.randn(shape)
    (optimizer,) = Muon(kernels=True).make([{"params": [kernel], "lr": 0.01}])
    kernel.grad = gradient.clone()
    optimizer.step()
    moved = (before - kernel.detach()).flatten(1)
    values = torch.linalg.svdvals(moved) / (0.01 * before.norm() / min(moved.shape) ** 0.5)
    assert float(values.min()) > 0.6  # Newton-Schulz brings them near 1, no nearer
    assert float(values.max()) < 1.3
    left, _, right = torch.linalg.svd(gradient.flatten(1), full_matrices=False)
    assert torch.nn.functional.cosine_similarity(moved.flatten(), (left @ right).flatten(), 0) > 0.97


def test_muon_for_kernels_leaves_thresholds_to_the_other_optimizer_and_moves_zeros():
    kernel, threshold = torch.nn.Parameter(torch.zeros(4, 2, 3, 3)), torch.nn.Parameter(torch.ones(4, 1, 1))
    for p in (kernel, threshold):
        p.grad = torch.randn(p.shape, generator=torch.Generator().manual_seed(1))
    made = Muon(kernels=True).make([{"params": [kernel, threshold], "lr": 0.01}])
    for optimizer in made:
        optimizer.step()
    assert len(made) == 2
    assert kernel.any()
    assert (threshold != 1).all()
    with pytest.raises(ValueError, match="weight_decay"):
        Muon(kernels=True, weight_decay=0.1)
