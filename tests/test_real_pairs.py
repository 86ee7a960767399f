"""Complex operators written in real ones: each against torch's own, at batches of other sizes, and back through
ONNX.
"""

import pytest
import torch
from exported import run
from families import by_day
from iterations import gaussian
from torch import nn
from torch.export import Dim

from unrolling.export import ExportError, export
from unrolling.export.real_pairs import RealPairs, is_complex


def complex_gaussian(*shape, seed=0):
    return torch.complex(gaussian(*shape, seed=seed), gaussian(*shape, seed=seed + 100))


M, N, KERNEL = complex_gaussian(5, 5), complex_gaussian(5, 7, seed=1), complex_gaussian(3, 1, 3, seed=2)


def written(z):
    """Entries assigned in place, with tensors and with numbers."""
    w = torch.zeros_like(z)
    w[:, 1:3], w[:, 0] = z[:, :2], 2j
    w[:, torch.tensor([3, 4])] = 1.0
    return w


PRODUCTS = {
    "matrix": lambda z: z @ M,
    "adjoint": lambda z: (z @ M.mH).conj(),
    "transposed": lambda z: z @ N,
    "vector": lambda z: z @ M[0],
    "batched": lambda z: (z.unsqueeze(-1) @ z.conj().unsqueeze(1)) @ M,
    "affine": lambda z: torch.addmm(N[:1].sum(0), z, N, beta=0.5, alpha=2),
    "affine, batched": lambda z: torch.baddbmm(M.unsqueeze(0), z.unsqueeze(2), z.unsqueeze(1)),
    "einsum": lambda z: torch.einsum("bi,bj,ij->bi", z, z.conj(), M),
    "inner": lambda z: torch.linalg.vecdot(z, 1j * z),
    "linear": lambda z: nn.functional.linear(z, N.mT, N[0]),
    "convolution": lambda z: nn.functional.conv1d(z.unsqueeze(1), KERNEL, padding=1),
    "convolution with bias": lambda z: nn.functional.conv1d(z.unsqueeze(1), KERNEL, KERNEL.flatten()[:3], padding=1),
    "solve": lambda z: torch.linalg.solve(M, z.unsqueeze(-1)).squeeze(-1),
    "solve, a vector each": lambda z: torch.linalg.solve(M.expand(z.shape[0], 5, 5), z),
    "inverse": lambda z: z @ torch.linalg.inv(M),
}
ARITHMETIC = {
    "numbers": lambda z: z * (1 + 2j) * 0.5 + 3j - 1,
    "from a number": lambda z: 1j - z,
    "from a real number": lambda z: 2 - z,
    "to a real tensor": lambda z: 3j + z.real,
    "real minus complex": lambda z: z.real - z,
    "scaled difference": lambda z: torch.sub(z, z.conj(), alpha=2),
    "times real": lambda z: -z * z.abs(),
    "quotient": lambda z: z / (2 + z * z),
    "by real": lambda z: z / (1 + z.abs()),
    "by a number": lambda z: z / (1 + 1j),
    "reciprocal": lambda z: 1 / z,
    "real by complex": lambda z: z.abs() / z,
    "powers": lambda z: z**3 + z**-2 + z.square(),
    "addcmul": lambda z: torch.addcmul(z, z, z.conj(), value=0.5),
    "lerp": lambda z: torch.lerp(z, z.conj(), 0.3),
    "magnitude": lambda z: z.abs(),
    "sign": torch.sgn,
    "sign of zero": lambda z: torch.sgn(z - z),
    "angle": torch.angle,
    "exponential": torch.exp,
    "phase": lambda z: torch.exp(1j * z.real),
    "polar": lambda z: torch.polar(z.abs(), z.angle()),
    "parts": lambda z: torch.complex(z.imag, z.real) + z.conj().imag,
    "as real": lambda z: torch.view_as_real(z).flatten(1),
    "soft threshold": lambda z: torch.sgn(z) * torch.relu(z.abs() - 0.3),
    "normalised": lambda z: z / torch.linalg.vector_norm(z, dim=1, keepdim=True),
    "equal": lambda z: torch.stack([z == z.conj(), z != z.real]).double().movedim(0, 1),
}
SHAPES = {
    "concatenated with real": lambda z: torch.cat([z, z.real], 1),
    "stacked": lambda z: torch.stack([z, z.conj()], 1).flatten(1),
    "where": lambda z: torch.where(z.real > 0, z, 0) + torch.where(z.abs() > 1, z, z.imag),
    "masked": lambda z: z.masked_fill(z.real > 0, 1.0),
    "padded": lambda z: nn.functional.pad(z, (1, 2)) + nn.functional.pad(z, (2, 1), value=2.0),
    "written": written,
    "sums": lambda z: z.sum(1, keepdim=True) + z.mean(1, keepdim=True) + z.cumsum(1),
    "parts": lambda z: torch.cat(z.split([2, 3], 1)[::-1], 1),
    "gathered": lambda z: z.gather(1, z.abs().sort(dim=1).indices),
    "scattered": lambda z: torch.zeros_like(z).scatter(1, z.abs().argmax(1, keepdim=True), z[:, :1]),
    "indexed": lambda z: z[:, [0, 0, 3]],
    "rolled": lambda z: z.roll(1, 1).flip(1),
    "diagonal": lambda z: torch.diagonal(z.unsqueeze(1) * M, dim1=1, dim2=2),
    "triangle": lambda z: torch.tril(z.unsqueeze(1) * z.unsqueeze(2)),
    "zeros, ones, full": lambda z: (
        z.new_zeros(z.shape[0], 5) + torch.ones_like(z) + torch.full((z.shape[0], 5), 1 + 2j) * z
    ),
    "real zeros": lambda z: torch.zeros_like(z, dtype=torch.float64) + z.real,
    "identity": lambda z: torch.eye(5, dtype=torch.complex128) + z.unsqueeze(1),
    "cast": lambda z: z.real.to(torch.complex128) * z,
}
TRANSFORMS = {
    "there and back": lambda z: torch.fft.ifft2(
        torch.fft.fft2(z.unsqueeze(2) * M[:1, :4].unsqueeze(1), norm="ortho") * 2
    ),
    "of real signals": lambda z: torch.fft.irfft(torch.fft.rfft(z.real) * 2j, n=5),
    "shifted": lambda z: torch.fft.fftshift(torch.fft.fft(z), dim=-1),
}
GROUPS = {"products": PRODUCTS, "arithmetic": ARITHMETIC, "shapes": SHAPES, "transforms": TRANSFORMS}


class Every(nn.Module):
    """All of a group side by side, complex results as pairs of real columns."""

    def __init__(self, functions):
        super().__init__()
        self.functions = functions

    def columns(self, data):
        """Each function's result, (batch, columns)."""
        results = (function(data) for function in self.functions.values())
        return [
            (torch.view_as_real(r.resolve_conj()) if r.is_complex() else r).reshape(data.shape[0], -1) for r in results
        ]

    def forward(self, data):
        return torch.cat(self.columns(data), 1)


@pytest.mark.parametrize("group", by_day("transforms", "products", "arithmetic", "shapes", count=2))
def test_every_operator_gives_what_torch_gives(group):
    module, z = Every(GROUPS[group]), complex_gaussian(3, 5)
    shapes = {"data": {0: Dim("batch", min=1)}}
    lowered = RealPairs(torch.export.export(module, (), {"data": z}, dynamic_shapes=shapes), ["data"])
    program = torch.export.export(lowered, (), {"data": torch.view_as_real(z)}, dynamic_shapes=shapes)
    assert group == "transforms" or not is_complex(program)
    for batch in (3, 1, 6):
        x = complex_gaussian(batch, 5, seed=batch)
        wanted = module.columns(x)
        got = program.module()(data=torch.view_as_real(x)).split([w.shape[1] for w in wanted], 1)
        for name, g, w in zip(GROUPS[group], got, wanted, strict=True):
            torch.testing.assert_close(g, w, msg=lambda text, name=name: f"{name}: {text}")


@pytest.mark.nightly
@pytest.mark.slow
@pytest.mark.parametrize("group", by_day("transforms", "products", "arithmetic", "shapes"))
def test_and_so_does_onnxruntime(group, tmp_path):
    pytest.importorskip("onnxruntime")
    # ONNX has no linear solver, and its runtime no convolution and no arctangent of doubles.
    lacking = ("solve", "inverse", "convolution", "angle", "polar")
    functions = {name: function for name, function in GROUPS[group].items() if not name.startswith(lacking)}
    path = export(Every(functions), tmp_path / "every.onnx", complex_gaussian(3, 5), format="onnx").path
    x = complex_gaussian(4, 5, seed=7)
    wanted = Every(functions).columns(x)
    got = torch.from_numpy(run(path, "onnx", data=torch.view_as_real(x).numpy())).split([w.shape[1] for w in wanted], 1)
    for name, g, w in zip(functions, got, wanted, strict=True):
        torch.testing.assert_close(g, w, msg=lambda text, name=name: f"{name}: {text}")


@pytest.mark.parametrize(
    "function", [torch.tanh, torch.linalg.cholesky, lambda z: z**0.5], ids=["tanh", "cholesky", "root"]
)
def test_an_operator_without_a_rule_is_named_and_torch_is_offered(function, tmp_path):
    class Module(nn.Module):
        def forward(self, data):
            return function(data @ data.mH + 9 * torch.eye(4)) @ data

    data = complex_gaussian(3, 4, 4)
    with pytest.raises(
        ExportError,
        match=r"the operator aten\.\w+.* on complex numbers cannot be written in real ones|a complex "
        r"power with the exponent 0\.5",
    ) as caught:
        export(Module(), tmp_path / "a.onnx", data, format="onnx")
    assert str(caught.value).count("\n") == 0
    assert export(Module(), tmp_path / "a.pt2", data).max_relative_error < 1e-12
