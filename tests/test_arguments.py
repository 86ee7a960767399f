"""Operators and networks refuse what does not fit, by the argument's name, before any work; nothing is broadcast."""

import inspect

import numpy as np
import pytest
import torch
from families import some_recipes
from torch import nn

import unrolling.operators as operators
from unrolling import LinearOperator, Matrix, solve, unroll
from unrolling.algorithms import ADMM, ISTA, ProximalGradient
from unrolling.algorithms.splitting import CoilSampling, Splitting
from unrolling.core import Equilibrium, Safeguarded, deploy, tree
from unrolling.operators import (
    DCT,
    STFT,
    BayerInterpolation,
    BayerMosaic,
    BicubicReduction,
    BlockSensing,
    CentredFourier,
    CircularConvolution,
    CircularFilterBank,
    CodedDiffraction,
    Decimation,
    DirectionalDifferences,
    FilterBank,
    FilteredBackProjection,
    FiniteDifferences,
    Identity,
    LayerConvolution,
    MaskedFourier,
    ModulationTransfer,
    MultiCoilFourier,
    ParallelBeam,
    PatchDictionary,
    PerBlockSensing,
    PointSpread,
    RadialConvolution,
    Radon,
    RealOutputs,
    ScrambledHadamard,
    StridedDictionary,
    ValidConvolution,
    VolumeConvolution,
    Wavelet,
)
from unrolling.operators.fourier import CoilData
from unrolling.operators.linear import RowMatrix
from unrolling.prox import soft_threshold
from unrolling.systems.catalogue import find
from unrolling.tasks.base import first
from unrolling.tasks.catalogue import find_task
from unrolling.testing import check_operator


def rand(*shape, dtype=torch.float32):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0), dtype=dtype)


MAPS = rand(3, 8, 4, dtype=torch.complex64)
# operator, shape of one input, dtype of the inputs
OPERATORS = {
    "Matrix": (Matrix(rand(5, 6)), (6,), torch.float32),
    "Adjoint": (Matrix(rand(5, 6)).H, (5,), torch.float32),
    "Composition": (Matrix(rand(5, 6)) @ Matrix(rand(6, 3)), (3,), torch.float32),
    "Sum": (Matrix(rand(5, 6)) + Matrix(rand(5, 6)), (6,), torch.float32),
    "Scaled": (2 * Matrix(rand(5, 6)), (6,), torch.float32),
    "BayerInterpolation": (BayerInterpolation(), (8, 6), torch.float32),
    "BayerMosaic": (BayerMosaic(), (3, 8, 6), torch.float32),
    "BicubicReduction": (BicubicReduction(2), (8, 4), torch.float32),
    "BlockSensing": (BlockSensing(rand(2, 4)), (8, 4), torch.float32),
    "CentredFourier": (CentredFourier(torch.ones(8, 4)), (8, 4), torch.complex64),
    "CircularConvolution": (CircularConvolution(rand(3, 3)), (8, 4), torch.float32),
    "CircularConvolution of each": (CircularConvolution(rand(2, 3, 3)), (8, 4), torch.float32),
    "CircularFilterBank": (CircularFilterBank(rand(3, 3, 3)), (8, 4), torch.float32),
    "CodedDiffraction": (CodedDiffraction(8, 4, 10), (8, 4), torch.complex64),
    "DCT": (DCT(), (8, 4), torch.float32),
    "ModulationTransfer": (ModulationTransfer(2), (2, 8, 6), torch.float32),
    "Decimation": (Decimation(rand(3, 3), 2), (8, 4), torch.float32),
    "FilteredBackProjection": (FilteredBackProjection(ParallelBeam.even(3, 8)), (3, 13), torch.float32),
    "FilterBank": (FilterBank(rand(3, 3, 3)), (8, 4), torch.float32),
    "DirectionalDifferences": (DirectionalDifferences((2, 1)), (8, 4), torch.float32),
    "FiniteDifferences": (FiniteDifferences(), (8, 4), torch.float32),
    "Identity": (Identity(), (8, 4), torch.float32),
    "LayerConvolution": (LayerConvolution(nn.Conv2d(2, 3, 3, padding=1), (8, 6)), (2, 8, 6), torch.float32),
    "MaskedFourier": (MaskedFourier(torch.ones(8, 4)), (8, 4), torch.complex64),
    "MaskedFourier of each": (MaskedFourier(torch.ones(2, 8, 4)), (8, 4), torch.complex64),
    "MaskedFourier of columns": (MaskedFourier(torch.ones(1, 4)), (8, 4), torch.complex64),
    "MultiCoilFourier": (MultiCoilFourier(torch.ones(8, 4), MAPS), (8, 4), torch.complex64),
    "PatchDictionary": (PatchDictionary(rand(3, 4, 4), 2), (5, 3, 3), torch.float32),
    "StridedDictionary": (StridedDictionary(rand(3, 2, 4, 4), 2), (3, 5, 3), torch.float32),
    "PerBlockSensing": (PerBlockSensing(rand(4, 2, 2, 4)), (8, 4), torch.float32),
    "PointSpread": (PointSpread((4, 2), 2, 0.8), (8, 4), torch.float32),
    "RadialConvolution": (RadialConvolution(rand(3)), (8, 4), torch.float32),
    "Radon": (Radon(ParallelBeam.even(3, 8)), (8, 8), torch.float32),
    "RealOutputs": (RealOutputs(STFT(8, 2, length=24)), (24,), torch.float32),
    "STFT": (STFT(8, 2, length=24), (24,), torch.float32),
    "ScrambledHadamard": (ScrambledHadamard(8, 4, 10), (8, 4), torch.float32),
    "VolumeConvolution": (VolumeConvolution(rand(3, 3, 1)), (8, 4, 3), torch.float32),
    "VolumeConvolution of each": (VolumeConvolution(rand(2, 3, 3, 1)), (8, 4, 3), torch.float32),
    "Wavelet": (Wavelet(1), (8, 4), torch.float32),
    "ValidConvolution": (ValidConvolution(rand(3, 3)), (8, 4), torch.float32),
    "ValidConvolution of each": (ValidConvolution(rand(2, 3, 3)), (8, 4), torch.float32),
}


def test_the_cases_are_all_public_operators():
    known = {type(operator) for operator, _, _ in OPERATORS.values()}
    public = {getattr(operators, name) for name in operators.__all__}
    concrete = {
        item
        for item in public
        if inspect.isclass(item) and issubclass(item, LinearOperator) and {"forward", "adjoint"} & set(vars(item))
    }
    assert concrete - known <= {LinearOperator, RowMatrix}


def wrong(shape, declared, leading=False):
    """Shapes that are not (2, *shape): fewer and more dimensions (``leading`` ones may lie in between), sizes of one,
    sizes in another order.
    """
    yield (2, *shape[1:]) if len(shape) > 1 else shape
    yield shape
    if not leading:
        yield (2, 1, *shape)
        yield (2, 3, *shape)
    if not leading or None not in declared:
        yield (2, *shape, 1)
    for position, size in enumerate(declared):
        if size is not None and size != 1:
            yield (2, *shape[:position], 1, *shape[position + 1 :])
            yield (2, *shape[:position], size + 1, *shape[position + 1 :])
    if len(shape) > 1 and None not in declared and shape != shape[::-1]:
        yield (2, *shape[::-1])


@pytest.mark.parametrize("name", OPERATORS)
def test_an_operator_refuses_shapes_that_are_not_its_own(name):
    operator, shape, dtype = OPERATORS[name]
    image = operator(torch.ones(2, *shape, dtype=dtype))
    sides = [
        ("input", "x", operator, shape, operator.input_shape, dtype),
        ("output", "y", operator.adjoint, tuple(image.shape[1:]), operator.output_shape, image.dtype),
    ]
    for side, argument, call, own, declared, kind in sides:
        for bad in wrong(own, declared, operator.leading):
            with pytest.raises(ValueError, match=rf"needs an {side} of shape \(batch, .*\), and got"):
                call(torch.ones(bad, dtype=kind))
        for value in ([[1.0]], np.ones((2, *own)), None):
            with pytest.raises(TypeError, match=f"^{argument} is (a list|a NumPy array|None)"):
                call(value)


@pytest.mark.parametrize("name", [name for name in OPERATORS if name.endswith("of each")])
def test_parameters_of_each_sample_are_for_so_many_samples(name):
    operator, shape, dtype = OPERATORS[name]
    for batch in (1, 3):
        with pytest.raises(ValueError, match="parameters of their own for each of 2 samples, and got an input of"):
            operator(torch.ones(batch, *shape, dtype=dtype))
    with pytest.raises(ValueError, match="needs an input of shape"):
        operator(torch.ones(2, 2, *shape, dtype=dtype))  # kernel i would go to channel i
    assert operator.norm(shape=shape, dtype=dtype) > 0


def test_a_step_and_an_equation_are_not_broadcast_either():
    A = Matrix(rand(5, 6))
    with pytest.raises(ValueError, match=r"Matrix needs an output of shape \(batch, 5\), and got \(2, 1\)"):
        A.gradient_step(torch.ones(2, 6), torch.ones(2, 1), 0.1)
    with pytest.raises(ValueError, match="needs an input of shape"):
        MaskedFourier(torch.ones(8, 8)).solve_normal(torch.ones(1, 8, 1), 0.1)
    with pytest.raises(ValueError, match=r"rho is -1\.0; it must be at least 0"):
        DCT().solve_normal(torch.ones(1, 8, 8), -1.0)


def test_operators_of_other_libraries_look_at_shapes():
    pylops = pytest.importorskip("pylops")
    operator = operators.from_pylops(pylops.Gradient((5, 7)))
    with pytest.raises(ValueError, match=r"needs an input of shape \(batch, 5, 7\), and got \(1, 7, 5\)"):
        operator(torch.rand(1, 7, 5))
    with pytest.raises(ValueError, match="needs an output of shape"):
        operator.adjoint(torch.rand(1, 2, 7, 5))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.int64])
@pytest.mark.parametrize("name", ["Matrix", "BlockSensing", "PatchDictionary", "FilterBank", "PerBlockSensing"])
def test_a_dtype_that_torch_does_not_multiply_is_named(name, dtype):
    operator, shape, _ = OPERATORS[name]
    with pytest.raises(TypeError, match=f"^x is {dtype}"):
        operator(torch.ones(2, *shape, dtype=dtype))


LEARNED = {
    "matrix": (lambda p: Matrix(p), (5, 6)),
    "mask": (lambda p: MaskedFourier(p), (8, 4)),
    "mask drawn": (lambda p: MaskedFourier(p, centred=True), (8, 4)),
    "coil mask": (lambda p: MultiCoilFourier(p, MAPS), (8, 4)),
    "kernel": (lambda p: CircularConvolution(p), (3, 3)),
    "valid kernel": (lambda p: ValidConvolution(p), (3, 3)),
    "decimated kernel": (lambda p: Decimation(p, 2), (3, 3)),
    "filters": (lambda p: FilterBank(p), (2, 3, 3)),
    "blocks": (lambda p: BlockSensing(p), (2, 4)),
    "each block": (lambda p: PerBlockSensing(p), (2, 2, 2, 4)),
    "atoms": (lambda p: PatchDictionary(p, 2), (3, 4, 4)),
    "window": (lambda p: STFT(8, 2, window=p), (8,)),
    "factor": (lambda p: p * Identity(), ()),
    "divisor": (lambda p: Identity() / p, ()),
}


@pytest.mark.parametrize("name", LEARNED)
def test_a_parameter_stays_learned_and_a_tensor_fixed(name):
    make, shape = LEARNED[name]
    value = 0.5 + torch.rand(shape, generator=torch.Generator().manual_seed(0))
    learned, fixed = make(nn.Parameter(value)), make(value)
    assert len(list(learned.parameters())) == 1
    assert list(fixed.parameters()) == []
    assert len(list(fixed.buffers())) == 1 + len(list(learned.buffers()))
    torch.testing.assert_close(next(learned.parameters()).detach(), next(fixed.buffers()))


def test_numbers_and_vectors_beside_operators():
    A, x = Matrix(rand(5, 6)), rand(2, 6)
    for made, factor in ((A * 2, 2), (2 * A, 2), (A / 2, 0.5), (-A, -1), (A + A, 2), (A - 3 * A, -2), (A / 2 * 3, 1.5)):
        torch.testing.assert_close(made(x), factor * A(x))
        check_operator(made)
    torch.testing.assert_close(A @ x, A(x))
    torch.testing.assert_close((A / torch.tensor(4.0))(x), A(x) / 4)
    with pytest.raises(TypeError, match=r"the product of two operators is A @ B"):
        A * A
    with pytest.raises(ValueError, match="multiplied by one number; got shape"):
        A * torch.ones(5)
    with pytest.raises(ZeroDivisionError):
        A / 0


def test_sizes_that_one_side_leaves_open_are_those_of_the_other():
    made = ScrambledHadamard(8, 8, 20) @ DCT().H
    assert (made.input_shape, made.output_shape) == ((8, 8), (20,))
    check_operator(made)
    both = CircularConvolution(rand(3, 3)) + CircularConvolution(rand(3, 3), (8, 4))
    assert both.input_shape == both.output_shape == (8, 4)
    assert (Decimation(rand(3, 3), 2) @ CircularConvolution(rand(3, 3), (8, 4))).output_shape == (4, 2)
    with pytest.raises(ValueError, match="A @ B needs A's input"):
        ScrambledHadamard(8, 8, 20) @ Matrix(rand(8, 8))


def test_transforms_with_both_origins_in_the_middle_are_those_of_scanners():
    x = rand(2, 7, 6, dtype=torch.complex128)
    centred = CentredFourier(torch.ones(7, 6, dtype=torch.float64))
    wanted = np.fft.fftshift(np.fft.fft2(np.fft.ifftshift(x.numpy(), (-2, -1)), norm="ortho"), (-2, -1))
    np.testing.assert_allclose(centred(x), wanted, atol=1e-12)
    mask = (torch.rand(7, 6, generator=torch.Generator().manual_seed(0)) > 0.4).double()
    for origins in (("centre", "centre"), ("corner", "centre"), ("centre", "corner")):
        image, frequency = origins
        check_operator(MaskedFourier(mask, image_origin=image, frequency_origin=frequency), dtype=torch.complex128)
    with pytest.raises(ValueError, match="image_origin is 'middle'"):
        MaskedFourier(mask, image_origin="middle")


@pytest.mark.parametrize("lines", [(1, 6), (8, 1), (1, 1, 6)])
def test_a_mask_of_lines_is_the_whole_mask(lines):
    drawn = (torch.rand(lines, generator=torch.Generator().manual_seed(1)) > 0.3).double()
    whole = MaskedFourier(drawn.expand(*lines[:-2], 8, 6))
    few, x = MaskedFourier(drawn), rand(2, 8, 6, dtype=torch.complex128)
    torch.testing.assert_close(few(x), whole(x))
    torch.testing.assert_close(few.solve_normal(x, 0.3), whole.solve_normal(x, 0.3))


def test_data_with_maps_of_their_own_are_reconstructed_alike_by_two_algorithms():
    generator = torch.Generator().manual_seed(0)
    maps = operators.normalise_maps(torch.randn(2, 3, 8, 6, generator=generator, dtype=torch.complex128))
    x = torch.randn(2, 8, 6, generator=generator, dtype=torch.complex128)
    mask = (torch.rand(1, 1, 6, generator=generator) > 0.3).double()
    data = CoilData(mask.unsqueeze(1) * torch.fft.fft2(maps * x.unsqueeze(1), norm="ortho"), mask, maps)
    both = [
        ADMM(CoilSampling(), [Splitting(Identity(), soft_threshold, 0.05)]).double(),
        ProximalGradient(CoilSampling(), soft_threshold, 0.05).double(),
    ]
    one, other = (solve(each, data, tolerance=1e-9, max_iterations=3000).estimate for each in both)
    torch.testing.assert_close(one, other, atol=1e-6, rtol=1e-6)
    operator = MultiCoilFourier(mask[0], maps)
    problem = both[0].prepare(data)
    torch.testing.assert_close(
        both[0].data_term.solve(x, 0.3, problem), operator.solve_normal(x, 0.3), atol=1e-10, rtol=1e-8
    )
    with pytest.raises(ValueError, match="the maps"):
        both[0].check(data._replace(maps=maps[:, :2]))
    with pytest.raises(TypeError, match=r"data are CoilData\(samples, mask, maps\); got torch.complex128"):
        both[0].check(data.samples)


# Networks


WRONG = {
    "double": lambda t: t.to(torch.complex128 if t.is_complex() else torch.float64),
    "half": lambda t: t.to(torch.complex32 if t.is_complex() else torch.float16),
    "list": lambda t: t.tolist(),
    "NumPy": lambda t: t.numpy(),
    "unbatched": lambda t: t[0],
    "Boolean": lambda t: t.abs() > 0,
}


@pytest.mark.parametrize(("name", "task"), some_recipes())
def test_every_network_names_the_argument_that_does_not_fit(name, task):
    recipe, held = find(name).recipes[task], find_task(task).small()
    parent, data = recipe.parent(held), first(held.timing, 3).data
    network = unroll(parent, 1)
    paths = [path for path, _ in tree.named_tensors(data, "data")]
    change = {**WRONG, "complex": lambda t: torch.complex(t, t)}
    if any(tensor.is_complex() for tensor in tree.tensors(data)):
        del change["complex"], change["Boolean"]
    for kind, spoil in change.items():
        seen = iter(paths)
        bad = tree.apply(lambda t, seen=seen, spoil=spoil: spoil(t) if next(seen) == paths[0] else t, data)
        for call in (network, lambda wrong: solve(parent, wrong, max_iterations=1)):
            with pytest.raises((TypeError, ValueError)) as caught:
                call(bad)
            words = str(caught.value)
            own = paths[0].split(".")[-1]
            assert own in words or "shape" in words or "(batch" in words, f"{kind}: {words}"
    empty = network(tree.apply(lambda t: t[:0] if t.shape[0] == len(tree.tensors(data)[0]) else t, data))
    assert empty.shape[0] == 0


@pytest.mark.parametrize(
    "make",
    [
        lambda parent: Equilibrium(parent),
        lambda parent: Safeguarded(unroll(parent, 2)),
        lambda parent: deploy(unroll(parent, 2), "plain"),
        lambda parent: deploy(unroll(parent, 2)),
        lambda parent: lambda data: unroll(parent, 2)(data, chunk=2),
        lambda parent: lambda data: list(unroll(parent, 2).estimates(data)),
    ],
    ids=["equilibrium", "safeguarded", "plain", "auto", "pieces", "estimates"],
)
def test_every_way_to_run_a_network_asks_first(make):
    run = make(ISTA(rand(5, 6), 0.1))
    for bad, words in (
        (torch.ones(3, 5, dtype=torch.float64), "data is torch.float64 and the numbers of ISTA are torch.float32"),
        ([[1.0] * 5], "data is a list"),
        (np.ones((3, 5)), "data is a NumPy array of float64"),
        (torch.ones(3, 5, dtype=torch.complex64), "data is torch.complex64; Matrix works on real tensors"),
        (torch.ones(3, 5, dtype=torch.int64), "data is torch.int64"),
    ):
        with pytest.raises(TypeError, match=words):
            run(bad)
    with pytest.raises(ValueError, match=r"needs an output of shape \(batch, 5\), and got \(5,\)"):
        run(torch.ones(5))


def test_the_precision_is_asked_for_as_it_is_now():
    network = unroll(ISTA(rand(5, 6), 0.1), 2, untied="threshold")
    network(torch.ones(3, 5))
    network.double()
    network(torch.ones(3, 5, dtype=torch.float64))
    with pytest.raises(TypeError, match=r"data is torch\.float32"):
        network(torch.ones(3, 5))
