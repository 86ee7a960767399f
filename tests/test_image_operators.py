"""Operators on images: conformance, and each against something independent of it."""

import numpy as np
import pytest
import scipy.fft
import scipy.signal
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from iterations import gaussian

from unrolling.operators.blocks import CodedDiffraction, PerBlockSensing, ScrambledHadamard, hadamard
from unrolling.operators.borders import extend, fold
from unrolling.operators.convolution import CircularConvolution, ValidConvolution, convolve_valid
from unrolling.operators.dct import DCT, dct, dct2, dct_matrix, idct
from unrolling.operators.differences import FiniteDifferences
from unrolling.operators.filters import CircularFilterBank, FilterBank
from unrolling.operators.fourier import MaskedFourier, MultiCoilFourier, normalise_maps
from unrolling.operators.normal_equations import conjugate_gradients, solve_positive, solve_regularised
from unrolling.operators.patches import BlockSensing
from unrolling.operators.resize import BicubicReduction, Decimation, bicubic_matrix, resize
from unrolling.operators.spectral import Circulant, Identity, fast_size, transfer
from unrolling.testing import check_operator, dense

DTYPES = [torch.float64, torch.complex128, torch.float32, torch.complex64]
COMPLEX = [torch.complex128, torch.complex64]
sides = st.integers(4, 9)


def random(*shape, dtype=torch.float64, seed=0):
    real = gaussian(*shape, seed=seed)
    return (torch.complex(real, gaussian(*shape, seed=seed + 1)) if dtype.is_complex else real).to(dtype)


def mask(height, width, seed=0, dtype=torch.float64):
    drawn = (torch.rand(height, width, generator=torch.Generator().manual_seed(seed)) > 0.5).to(dtype)
    drawn[0, 0] = 1
    return drawn


MAKERS = {
    "circular": lambda real: CircularConvolution(random(3, 4, dtype=real)),
    "valid": lambda real: ValidConvolution(random(2, 3, dtype=real)),
    "filters": lambda real: CircularFilterBank(random(3, 3, 2, dtype=real)),
    "mirrored filters": lambda real: FilterBank(random(3, 3, 4, dtype=real), "symmetric"),
    # positive: one singular value stands out
    "filters among zeros": lambda real: FilterBank(random(2, 5, 3, dtype=real).abs(), "zero"),
    "differences": lambda real: FiniteDifferences(),
    "periodic differences": lambda real: FiniteDifferences("circular"),
    "cosines": lambda real: DCT(),
    "identity": lambda real: Identity(),
}


@pytest.mark.parametrize("name", MAKERS)
@settings(max_examples=8)
@given(height=sides, width=sides, dtype=st.sampled_from(DTYPES))
def test_operators_on_images_of_any_size_pass_every_check(name, height, width, dtype):
    check_operator(MAKERS[name](dtype.to_real()), shape=(height, width), dtype=dtype)


@pytest.mark.parametrize("dtype", DTYPES)
def test_operators_on_images_of_whole_blocks_pass_every_check(dtype):
    real = dtype.to_real()
    for factor, shape in ((2, (8, 6)), (3, (9, 6)), (1, (4, 5))):
        check_operator(Decimation(random(3, 4, dtype=real), factor), shape=shape, dtype=dtype)
        check_operator(BicubicReduction(factor), shape=shape, dtype=dtype)
    check_operator(DCT(4), shape=(8, 12), dtype=dtype)
    check_operator(BlockSensing(random(3, 4, dtype=dtype)), shape=(4, 6), dtype=dtype)
    check_operator(PerBlockSensing(random(2, 3, 3, 4, dtype=dtype)), dtype=dtype)
    check_operator(ScrambledHadamard(4, 8, 11), dtype=dtype)


@pytest.mark.parametrize("dtype", COMPLEX)
def test_operators_of_magnetic_resonance_pass_every_check(dtype):
    m = mask(6, 7, dtype=dtype.to_real())
    check_operator(MaskedFourier(m), dtype=dtype)
    check_operator(MaskedFourier(0.5 + m), dtype=dtype)
    check_operator(MultiCoilFourier(m, random(3, 6, 7, dtype=dtype)), dtype=dtype)
    check_operator(CodedDiffraction(5, 6, 11).to(dtype.to_real()), dtype=dtype)
    check_operator(CircularConvolution(random(3, 4, dtype=dtype)), shape=(6, 7), dtype=dtype)
    check_operator(ValidConvolution(random(3, 4, dtype=dtype)), shape=(6, 7), dtype=dtype)


# Against other libraries


@given(height=sides, width=sides, rows=st.integers(1, 4), columns=st.integers(1, 4))
def test_convolutions_are_those_of_scipy(height, width, rows, columns):
    x, k = gaussian(1, height, width), gaussian(rows, columns, seed=1)
    whole = scipy.signal.convolve2d(x[0], k, "full")
    valid = scipy.signal.convolve2d(x[0], k, "valid")
    np.testing.assert_allclose(ValidConvolution(k)(x)[0], valid, atol=1e-12)
    periodic = np.zeros((height, width))
    for (i, j), value in np.ndenumerate(whole):
        periodic[(i - rows // 2) % height, (j - columns // 2) % width] += value
    np.testing.assert_allclose(CircularConvolution(k)(x)[0], periodic, atol=1e-12)


@given(count=st.integers(1, 3), rows=st.integers(1, 5), columns=st.integers(1, 5))
def test_filters_are_correlations_with_a_mirrored_border(count, rows, columns):
    x, k = gaussian(1, 6, 7), gaussian(count, rows, columns, seed=1)
    found = FilterBank(k, "symmetric")(x)[0]
    for response, kernel in zip(found, k, strict=True):
        margins = [(rows // 2, rows - 1 - rows // 2), (columns // 2, columns - 1 - columns // 2)]
        wanted = scipy.signal.correlate2d(np.pad(x[0], margins, mode="symmetric"), kernel, "valid")
        np.testing.assert_allclose(response, wanted, atol=1e-12)


@pytest.mark.parametrize("size", [1, 2, 5, 63, 64, 65, 100, 101])
def test_the_cosine_transform_is_that_of_scipy_and_orthonormal(size):
    x = gaussian(3, size)
    np.testing.assert_allclose(dct(x), scipy.fft.dct(x.numpy(), norm="ortho"), atol=1e-12)
    np.testing.assert_allclose(idct(x), scipy.fft.idct(x.numpy(), norm="ortho"), atol=1e-12)
    torch.testing.assert_close(dct_matrix(size) @ dct_matrix(size).T, torch.eye(size, dtype=torch.float64))


def test_blocks_are_transformed_in_their_places():
    x = gaussian(1, 8, 12)
    found = DCT(4)(x)
    torch.testing.assert_close(found[:, 4:8, 8:12], dct2(x[:, 4:8, 8:12]))


def test_fourier_samples_are_those_of_numpy_and_a_full_mask_is_unitary():
    x, m = random(2, 6, 7, dtype=torch.complex128), mask(6, 7)
    np.testing.assert_allclose(MaskedFourier(m)(x), m.numpy() * np.fft.fft2(x.numpy(), norm="ortho"), atol=1e-12)
    full = MaskedFourier(torch.ones(6, 7, dtype=torch.float64))
    torch.testing.assert_close(full.adjoint(full(x)), x)


def test_a_centred_mask_measures_the_frequency_in_its_middle():
    centred = torch.zeros(6, 7, dtype=torch.float64)
    centred[3, 3] = 1
    constant = torch.ones(1, 6, 7, dtype=torch.complex128)
    torch.testing.assert_close(
        MaskedFourier(centred, centred=True).adjoint(MaskedFourier(centred, centred=True)(constant)), constant
    )
    torch.testing.assert_close(
        MultiCoilFourier(centred, torch.ones(1, 6, 7).to(constant), centred=True)(constant)[0, 0, 0, 0].real,
        torch.tensor(42.0**0.5).double(),
    )


def test_all_frequencies_through_normalised_coils_give_the_image_back():
    maps = random(4, 6, 7, dtype=torch.complex128)
    maps[:, :2] = 0  # where no coil sees anything
    operator = MultiCoilFourier(torch.ones(6, 7), normalise_maps(maps))
    x = random(2, 6, 7, dtype=torch.complex128, seed=3)
    seen = x.clone()
    seen[:, :2] = 0
    torch.testing.assert_close(operator.adjoint(operator(x)), seen)


def test_one_coil_that_sees_everything_is_no_coil():
    x, m = random(2, 6, 7, dtype=torch.complex128), mask(6, 7)
    one = MultiCoilFourier(m, torch.ones(1, 6, 7, dtype=torch.complex128))
    torch.testing.assert_close(one(x)[:, 0], MaskedFourier(m)(x))
    torch.testing.assert_close(one.solve_normal(x, 0.3), MaskedFourier(m).solve_normal(x, 0.3))


def test_hadamard_is_that_of_scipy():
    x = gaussian(3, 16)
    np.testing.assert_allclose(hadamard(x), x.numpy() @ scipy.linalg.hadamard(16).T / 4, atol=1e-12)


@pytest.mark.parametrize(
    "operator", [ScrambledHadamard(4, 8, 11), CodedDiffraction(4, 8, 11).double()], ids=["hadamard", "diffraction"]
)
def test_the_rows_of_an_isometry_are_orthonormal(operator):
    A = dense(operator, torch.complex128)
    torch.testing.assert_close(A @ A.mH, torch.eye(11, dtype=torch.complex128), atol=1e-12, rtol=0)


# Properties


@pytest.mark.parametrize("boundary", ["circular", "symmetric", "zero"])
@given(margins=st.tuples(*[st.integers(0, 3)] * 4))
def test_fold_is_the_adjoint_of_extend(boundary, margins):
    x = gaussian(2, 4, 5)
    wide = extend(x, margins, boundary)
    y = gaussian(*wide.shape, seed=1)
    torch.testing.assert_close((wide * y).sum(), (x * fold(y, margins, boundary)).sum())
    mode = {"circular": "wrap", "symmetric": "symmetric", "zero": "constant"}[boundary]
    top, bottom, left, right = margins
    np.testing.assert_array_equal(wide, np.pad(x, [(0, 0), (top, bottom), (left, right)], mode=mode))


def test_a_kernel_for_each_image_is_as_applying_them_one_by_one():
    x, k = gaussian(3, 7, 8), gaussian(3, 4, 3, seed=1)
    for kind in (CircularConvolution, ValidConvolution):
        together = kind(k)
        y = together(x)
        back = together.adjoint(y)
        for i in range(3):
            alone = kind(k[i])
            torch.testing.assert_close(y[i : i + 1], alone(x[i : i + 1]))
            torch.testing.assert_close(back[i : i + 1], alone.adjoint(y[i : i + 1]))
        torch.testing.assert_close((y * y).flatten(1).sum(1), (x * back).flatten(1).sum(1))
    torch.testing.assert_close(
        CircularConvolution(k).solve_normal(x, 0.2)[1:2], CircularConvolution(k[1]).solve_normal(x[1:2], 0.2)
    )
    colours = gaussian(3, 2, 7, 8, seed=2)
    torch.testing.assert_close(convolve_valid(colours, k)[:, 1], convolve_valid(colours[:, 1], k))


def test_masks_for_each_image_are_as_applying_them_one_by_one():
    x = random(2, 6, 7, dtype=torch.complex128)
    both = torch.stack([mask(6, 7), mask(6, 7, seed=1)])
    torch.testing.assert_close(MaskedFourier(both)(x)[1:], MaskedFourier(both[1])(x[1:]))
    maps = random(2, 3, 6, 7, dtype=torch.complex128, seed=5)
    torch.testing.assert_close(MultiCoilFourier(both, maps)(x)[1:], MultiCoilFourier(both[1], maps[1])(x[1:]))


@pytest.mark.parametrize(
    ("operator", "kernel"),
    [
        (CircularConvolution, (3, 3)),
        (ValidConvolution, (3, 2)),
        (CircularFilterBank, (2, 3, 3)),
        (lambda k: Decimation(k, 2), (3, 3)),
    ],
    ids=["circular", "valid", "filters", "decimation"],
)
def test_operators_are_differentiable_in_their_kernels(operator, kernel):
    x = gaussian(2, 6, 6)

    def act(k):
        made = operator(torch.nn.Parameter(k))
        made._parameters.clear()  # the graph must lead to k itself
        setattr(made, "filters" if len(kernel) == 3 else "kernel", k)
        y = made(x)
        return y, made.adjoint(y)

    assert torch.autograd.gradcheck(act, gaussian(*kernel, seed=2).requires_grad_())


def test_the_solution_of_normal_equations_is_differentiable_in_the_weight_and_the_operator():
    matrices = gaussian(4, 3, 3)

    def solved(matrices, b, rho):
        gram = matrices.mT @ matrices
        return solve_positive(lambda x: (gram @ x.unsqueeze(-1)).squeeze(-1) + rho * x, b, tolerance=1e-14)

    rho = torch.tensor(0.3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(solved, (matrices.requires_grad_(), gaussian(4, 3, seed=1).requires_grad_(), rho))


def test_conjugate_gradients_end_after_as_many_steps_as_unknowns_and_take_a_zero():
    matrix = gaussian(5, 5)
    gram = matrix.T @ matrix + torch.eye(5, dtype=torch.float64)
    b = gaussian(3, 5, seed=1)
    b[1] = 0
    found = conjugate_gradients(lambda x: x @ gram, b, tolerance=0.0, max_iterations=6)
    torch.testing.assert_close(found, torch.linalg.solve(gram, b.T).T)
    assert bool((found[1] == 0).all())


def test_a_regularised_solution_is_the_closed_form():
    operator, b = CircularConvolution(gaussian(3, 3)), gaussian(2, 6, 7, seed=1)
    torch.testing.assert_close(solve_regularised(operator, b, 0.5, tolerance=1e-13), operator.solve_normal(b, 0.5))


@pytest.mark.parametrize(
    "operator",
    [
        CircularConvolution(gaussian(3, 4)),
        CircularFilterBank(gaussian(3, 2, 3)),
        FiniteDifferences("circular"),
        Identity(),
    ],
)
def test_the_gram_spectrum_holds_the_eigenvalues(operator):
    A = dense(operator, torch.float64, (5, 6))
    wanted = torch.linalg.eigvalsh(A.T @ A)
    found = operator.gram_spectrum(5, 6).double().flatten().sort().values
    torch.testing.assert_close(found, wanted, atol=1e-10, rtol=0)


@given(st.integers(1, 5000))
def test_a_fast_size_has_small_factors_and_none_below_it_would_do(size):
    def smooth(n):
        for factor in (2, 3, 5):
            while n % factor == 0:
                n //= factor
        return n == 1

    found = fast_size(size)
    assert smooth(found)
    assert not any(smooth(n) for n in range(size, found))


def test_bicubic_interpolation_keeps_constants_lines_and_its_own_size():
    line = torch.arange(24, dtype=torch.float64).expand(1, 24, 24)
    torch.testing.assert_close(resize(torch.ones(1, 12, 18).double(), 4, 6), torch.ones(1, 4, 6).double())
    torch.testing.assert_close(bicubic_matrix(7, 7), torch.eye(7, dtype=torch.float64))
    small = resize(line, 8, 8)[0, 4]
    # antialiasing kernels are symmetric
    torch.testing.assert_close(small[2:-2], 3 * torch.arange(8).double()[2:-2] + 1)
    large = BicubicReduction(2).enlarge(line)[0, 24]
    torch.testing.assert_close(large[6:-6], (torch.arange(48).double()[6:-6] - 0.5) / 2)


# Refusals


def test_a_kernel_larger_than_the_image_is_refused():
    for kind in (CircularConvolution, ValidConvolution):
        with pytest.raises(ValueError, match=r"the kernel has 5 x 3 pixels, more than the image, which has 4 x 9"):
            kind(gaussian(5, 3))(gaussian(1, 4, 9))
    with pytest.raises(ValueError, match="the kernel has 5 x 3 pixels"):
        ValidConvolution(gaussian(5, 3), (4, 9))
    with pytest.raises(ValueError, match="cannot be continued by 3 pixels"):
        FilterBank(gaussian(1, 7, 7))(gaussian(1, 2, 9))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: CircularConvolution(gaussian(3)), r"a kernel is \(kh, kw\), or \(batch, kh, kw\)"),
        (lambda: ValidConvolution(gaussian(1, 1, 3, 3)), "a kernel is"),
        (lambda: FilterBank(gaussian(3, 3)), r"filters are \(count, kh, kw\); got shape \(3, 3\)"),
        (
            lambda: FilterBank(gaussian(1, 3, 3), "reflect"),
            "boundary is 'reflect'; it is one of circular, symmetric, zero",
        ),
        (lambda: FiniteDifferences("zero"), "boundary is 'zero'"),
        (lambda: DCT(0), "block is 0"),
        (lambda: DCT(4)(gaussian(1, 8, 9)), r"multiples of 4; got 8 x 9"),
        (lambda: MaskedFourier(torch.zeros(3, 3)), "zero everywhere: nothing is measured"),
        (lambda: MaskedFourier(torch.tensor([[1.0, float("nan")]])), "a mask holds finite numbers"),
        (lambda: MaskedFourier(torch.ones(3)), r"a mask is \(height, width\)"),
        (lambda: MultiCoilFourier(torch.ones(3, 4), random(2, 4, 3, dtype=torch.complex64)), "of the mask's size"),
        (lambda: Decimation(gaussian(3, 3), 0), "factor is 0"),
        (lambda: Decimation(gaussian(3, 3), 2)(gaussian(1, 5, 4)), "it has 5 x 4 pixels: crop it first"),
        (lambda: BicubicReduction(3)(gaussian(1, 6, 8)), "reduced by 3"),
        (lambda: PerBlockSensing(gaussian(2, 2, 3, 5)), r"\(rows, columns, m, b b\)"),
        (lambda: ScrambledHadamard(3, 4, 2), "takes a power of two; 3 x 4 pixels are 12"),
        (lambda: CodedDiffraction(3, 4, 13), "between 1 and the 12 pixels"),
        (lambda: FilterBank(gaussian(1, 3, 3)).check_input(gaussian(1, 3)), "needs an input"),
    ],
)
def test_what_makes_no_operator_is_refused(make, words):
    with pytest.raises(ValueError, match=words):
        make()


def test_operators_without_what_is_asked_say_so():
    with pytest.raises(TypeError, match="filters must be real"):
        FilterBank(random(1, 3, 3, dtype=torch.complex64))
    with pytest.raises(TypeError, match="no Fourier spectrum"):
        FiniteDifferences().gram_spectrum(3, 3)

    class Nothing(Circulant):
        def forward(self, x):
            return x

        def adjoint(self, y):
            return y

    with pytest.raises(TypeError, match="Nothing is a Circulant without `gram_spectrum`"):
        Nothing((3, 3), (3, 3))
    with pytest.raises(ValueError, match="a kernel is"):
        transfer(gaussian(3), 4, 4)
