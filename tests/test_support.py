"""Support selection against a stable sort, its limits, its gradient, and its kernel against torch operators."""

import pytest
import torch
from families import by_day
from hypothesis import given
from hypothesis import strategies as st
from iterations import gaussian
from support_selection import both_ways, by, needs_kernel, reference, selected

from unrolling import hard_threshold, soft_threshold
from unrolling.prox import support
from unrolling.prox.support import support_select


@st.composite
def problems(draw):
    """z with or without equal magnitudes, a threshold of each shape that broadcasts, a count for all rows or one for
    each.
    """
    lead, n = draw(st.sampled_from([(), (0,), (1,), (5,), (2, 3)])), draw(st.integers(1, 40))
    seed, dtype = draw(st.integers(0, 1000)), draw(st.sampled_from([torch.float32, torch.float64]))
    z = gaussian((*lead, n), seed=seed).to(dtype)
    if draw(st.booleans()):
        z = (2 * z).round() / 2
    shape = draw(st.sampled_from([None, (), (1,), (n,), (*lead, 1), (*lead, n)]))
    level = draw(st.sampled_from([0.0, 0.3, 1.0, 3.0]))
    threshold = level if shape is None else level * (1 + gaussian(shape, seed=seed + 1).abs().to(dtype).round())
    count = draw(st.integers(0, n + 2))
    if draw(st.booleans()):
        count = torch.randint(
            0, n + 2, draw(st.sampled_from([lead, (1,) * len(lead)])), generator=torch.Generator().manual_seed(seed)
        )
    return z, threshold, count


@both_ways
@given(problem=problems(), grad=st.booleans())
def test_what_passes_are_the_first_of_a_stable_sort(way, problem, grad):
    with by(way), torch.set_grad_enabled(grad):
        assert torch.equal(support_select(*problem), reference(*problem))


@given(problem=problems())
def test_traced_operators_give_the_same(problem):
    z, threshold, count = problem
    if z.numel():
        assert torch.equal(support._plain(z, threshold, count, traced=True), reference(*problem))


@both_ways
@given(problem=problems())
def test_limits(way, problem):
    z, threshold, _ = problem
    n = z.shape[-1]
    with by(way):
        assert torch.equal(support_select(z, threshold, 0), soft_threshold(z, threshold))
        assert torch.equal(support_select(z, threshold, torch.tensor(0)), soft_threshold(z, threshold))
        for count in (n, n + 5, torch.tensor(n)):
            assert torch.equal(support_select(z, threshold, count), hard_threshold(z, threshold))


@both_ways
def test_of_equal_magnitudes_the_first_pass(way):
    z = torch.tensor([[2.0, -3.0, 2.0, -2.0, 0.5], [2.0, 2.0, 2.0, 2.0, 2.0], [0.0, 0.0, 0.0, 0.0, 4.0]])
    with by(way):
        assert support_select(z, 1.0, 2).tolist() == [
            [2.0, -3.0, 1.0, -1.0, 0.0],
            [2.0, 2.0, 1.0, 1.0, 1.0],
            [0.0, 0.0, 0.0, 0.0, 4.0],
        ]
        assert support_select(z, 1.0, torch.tensor([3, 0, 1])).tolist() == [
            [2.0, -3.0, 2.0, -1.0, 0.0],
            [1.0] * 5,
            [0.0, 0.0, 0.0, 0.0, 4.0],
        ]


@both_ways
@pytest.mark.parametrize("threshold", [1.0, torch.full((5,), 1.0)])
def test_a_larger_entry_below_its_own_threshold_takes_a_place(way, threshold):
    z = torch.tensor([[5.0, 3.0, 2.0, 0.0, 0.0]])
    with by(way):
        assert support_select(z, torch.tensor([6.0, 1.0, 1.0, 1.0, 1.0]), 1).tolist() == [[0.0, 2.0, 1.0, 0.0, 0.0]]
        assert support_select(z, threshold, 1).tolist() == [[5.0, 2.0, 1.0, 0.0, 0.0]]


@both_ways
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_nan_stays_in_sight_and_ranks_first_and_infinity_passes(way, dtype):
    nan, inf = float("nan"), float("inf")
    z = torch.tensor(
        [[nan, 3.0, -2.0, 0.1], [nan, nan, 3.0, inf], [inf, 3.0, -inf, 0.1], [1.0, 3.0, -2.0, 0.1]], dtype=dtype
    )
    # the NaN with the largest bits
    z[0, 0] = torch.tensor(-1).to({torch.float32: torch.int32, torch.float64: torch.int64}[dtype]).view(dtype)
    expected = torch.tensor(
        [[nan, 3.0, -1.0, 0.0], [nan, nan, 2.0, inf], [inf, 2.0, -inf, 0.0], [0.0, 3.0, -2.0, 0.0]], dtype=dtype
    )
    with by(way):
        assert torch.equal(support_select(z, 1.0, 2).nan_to_num(7.0), expected.nan_to_num(7.0))
        assert support_select(z, torch.tensor(nan, dtype=dtype), 2).isnan().all()


@both_ways
@given(problem=problems(), seed=st.integers(0, 1000))
def test_rows_are_independent_and_columns_have_no_order(way, problem, seed):
    z, _, count = problem
    if z.dim() != 2 or len(z.abs().unique()) < z.numel():
        return
    generator = torch.Generator().manual_seed(seed)
    rows, columns = torch.randperm(z.shape[0], generator=generator), torch.randperm(z.shape[1], generator=generator)
    moved = count.expand(z.shape[0])[rows] if isinstance(count, torch.Tensor) else count
    with by(way):
        assert torch.equal(
            support_select(z[rows][:, columns], 0.3, moved), support_select(z, 0.3, count)[rows][:, columns]
        )


@both_ways
@given(problem=problems(), power=st.integers(-10, 10))
def test_scale_goes_through(way, problem, power):
    z, threshold, count = problem
    with by(way):
        assert torch.equal(
            support_select(z * 2.0**power, threshold * 2.0**power, count),
            support_select(z, threshold, count) * 2.0**power,
        )


@both_ways
@given(problem=problems())
def test_the_gradient(way, problem):
    z, threshold, count = problem
    if not isinstance(threshold, torch.Tensor):
        return
    z.requires_grad_()
    threshold.requires_grad_()
    upstream = gaussian(z.shape, seed=3).to(z.dtype)
    with by(way):
        by_z, by_threshold = torch.autograd.grad(support_select(z, threshold, count), (z, threshold), upstream)
    active = z.abs() > threshold
    shrunk = active & ~selected(z, count)
    assert torch.equal(by_z, upstream * active)
    torch.testing.assert_close(by_threshold, -(z.sign() * upstream * shrunk).sum_to_size(threshold.shape))


@both_ways
@pytest.mark.parametrize("shape", [(), (6,), (3, 1), (1, 6), (3, 6)])
@pytest.mark.parametrize("count", [2, torch.tensor([0, 3, 9])])
def test_the_gradient_is_that_of_finite_differences(way, shape, count):
    # no two magnitudes are near
    z = (torch.randperm(18, generator=torch.Generator().manual_seed(0)).double() - 8.6).reshape(3, 6).requires_grad_()
    threshold = torch.full(shape, 2.05, dtype=torch.float64, requires_grad=True)
    with by(way):
        assert torch.autograd.gradcheck(lambda z, t: support_select(z, t, count), (z, threshold))
        assert torch.autograd.gradcheck(lambda z: support_select(z, 2.05, count), (z,))
        assert torch.autograd.gradcheck(lambda t: support_select(z.detach(), t, count), (threshold,))


@both_ways
def test_dtypes_promote_as_in_the_soft_threshold(way):
    z = gaussian(4, 9).float().requires_grad_()
    with by(way):
        for threshold in (
            torch.tensor(0.3, dtype=torch.float64, requires_grad=True),
            torch.full((9,), 0.3, dtype=torch.float64, requires_grad=True),
        ):
            out, soft = support_select(z, threshold, 3), soft_threshold(z, threshold)
            assert out.dtype == soft.dtype
            assert torch.equal(out, torch.where(selected(z, 3) & (z.abs() > threshold), z, soft))
            out.sum().backward()
            assert threshold.grad is not None
            assert threshold.grad.dtype == torch.float64
        half = z.detach().bfloat16()
        assert torch.equal(
            support_select(half, 0.5, 3),
            torch.where(selected(half, 3) & (half.abs() > 0.5), half, soft_threshold(half, 0.5)),
        )


def test_complex_numbers_go_by_magnitude():
    z = torch.complex(gaussian(4, 9), gaussian(4, 9, seed=1)).requires_grad_()
    threshold = torch.tensor(0.5, dtype=torch.float64, requires_grad=True)
    torch.testing.assert_close(support_select(z, threshold, 3), reference(z, threshold, 3))
    assert torch.equal(support_select(z, threshold, 0), soft_threshold(z, threshold))
    assert torch.autograd.gradcheck(lambda z, t: support_select(z, t, 3), (z, threshold))


@both_ways
def test_strides_modes_and_parameters_change_nothing(way):
    z, threshold = gaussian(6, 8, 10), torch.nn.Parameter(torch.tensor(0.4, dtype=torch.float64))
    with by(way):
        for view in (
            z.transpose(0, 2),
            z[::2, :, 1::3],
            z.expand(2, 6, 8, 10),
            torch.complex(z, z).conj().imag,
            torch.complex(z, z).conj().imag[:1, :1, :1],
        ):
            assert torch.equal(support_select(view, threshold, 3), reference(view.clone(), threshold, 3))
            spread = gaussian(view.shape, seed=2).abs().transpose(-1, -2).contiguous().transpose(-1, -2)
            assert torch.equal(support_select(view, spread, 3), reference(view.clone(), spread, 3))
        expected = reference(z, threshold, 3)
        for mode in (torch.no_grad, torch.inference_mode):
            with mode():
                assert torch.equal(support_select(z, threshold, 3), expected)
        assert torch.equal(support_select(torch.nn.Parameter(z), threshold, 3), expected)


@needs_kernel
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_kernel_equals_torch_operators_on_one_thread_and_on_several(dtype):
    z, upstream = gaussian(300, 500).to(dtype), gaussian(300, 500, seed=1).to(dtype)
    z[100:200] = (20 * z[100:200]).round() / 20  # equal magnitudes
    counts = torch.arange(300)
    threads = torch.get_num_threads()
    for threshold in (
        torch.tensor(0.7, dtype=dtype),
        gaussian(500, seed=2).abs().to(dtype),
        gaussian(300, 1, seed=2).abs().to(dtype),
    ):
        for count in (40, counts):
            leaf, level = z.clone().requires_grad_(), threshold.clone().requires_grad_()
            with by("torch"):
                expected = support_select(leaf, level, count)
                slopes = torch.autograd.grad(expected, (leaf, level), upstream)
            try:
                for some in (1, 4):
                    torch.set_num_threads(some)
                    out = support_select(leaf, level, count)
                    assert torch.equal(out, expected)
                    by_leaf, by_level = torch.autograd.grad(out, (leaf, level), upstream)
                    assert torch.equal(by_leaf, slopes[0])
                    torch.testing.assert_close(by_level, slopes[1], rtol=1e-4, atol=1e-4)
            finally:
                torch.set_num_threads(threads)


class Selection(torch.nn.Module):
    def __init__(self, count, threshold):
        super().__init__()
        self.count, self.threshold = count, torch.nn.Parameter(threshold)

    def forward(self, z, counts):
        return support_select(z, self.threshold, counts if self.count is None else self.count)


@pytest.mark.parametrize(
    ("count", "threshold"),
    by_day(
        (3, torch.full((12,), 0.4)),
        (None, torch.tensor(0.4)),
        (0, torch.tensor(0.4)),
        (20, torch.tensor(0.4)),
        count=2,
    ),
)
def test_it_is_traced_in_one_graph_with_a_batch_of_any_size(count, threshold):
    net = Selection(count, threshold)
    batches = [
        ((2 * gaussian(size, 12, seed=size)).float().round() / 2, torch.arange(size) % 14) for size in (5, 2, 30)
    ]
    with torch.inference_mode():
        expected = [net(*batch) for batch in batches]
    torch.compiler.reset()
    compiled = torch.compile(net, fullgraph=True, dynamic=True, backend="aot_eager")
    size = torch.export.Dim("size", min=2)
    exported = torch.export.export(net, batches[0], dynamic_shapes=({0: size}, {0: size})).module()
    for batch, out in zip(batches, expected, strict=True):
        with torch.no_grad():
            assert torch.equal(compiled(*batch), out)
            assert torch.equal(exported(*batch), out)
    net(*batches[2]).sum().backward()
    eager, net.threshold.grad = net.threshold.grad, None
    compiled(*batches[2]).sum().backward()
    torch.testing.assert_close(net.threshold.grad, eager)


@pytest.mark.parametrize("count", by_day(3, None))
def test_onnx_gives_the_same(count, tmp_path):
    pytest.importorskip("onnxscript")
    onnxruntime = pytest.importorskip("onnxruntime")
    net, batch = Selection(count, torch.tensor(0.4)).eval(), (gaussian(5, 12).float(), torch.arange(5))
    torch.onnx.export(
        net, batch, tmp_path / "net.onnx", dynamo=True, dynamic_shapes=({0: torch.export.Dim("size", min=2)},) * 2
    )
    session = onnxruntime.InferenceSession(tmp_path / "net.onnx")
    z, counts = gaussian(7, 12, seed=1).float(), torch.arange(7)
    feed = dict(zip([i.name for i in session.get_inputs()], [z.numpy(), counts.numpy()], strict=False))
    torch.testing.assert_close(
        torch.from_numpy(session.run(None, feed)[0]), net(z, counts).detach(), rtol=1e-6, atol=1e-6
    )


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"count": -1}, ValueError, "count is -1; the number of entries that pass is at least 0"),
        (
            {"count": torch.tensor([1, -2, 3])},
            ValueError,
            "count holds -2; the number of entries that pass is at least 0",
        ),
        ({"count": 2.0}, TypeError, "count is 2.0; it is an int or a tensor of torch.int64"),
        ({"count": True}, TypeError, "count is True; it is an int"),
        (
            {"count": torch.ones(3)},
            TypeError,
            "count has the dtype torch.float32; it is an int or a tensor of torch.int64",
        ),
        (
            {"count": torch.ones(2, dtype=torch.int64)},
            ValueError,
            r"count has the shape \(2,\), which does not "
            r"broadcast to that of the rows of z, \(3,\)",
        ),
        ({"count": torch.ones(3, 1, dtype=torch.int64)}, ValueError, r"count has the shape \(3, 1\)"),
        (
            {"threshold": torch.ones(3)},
            ValueError,
            r"threshold has the shape \(3,\), which does not broadcast to that "
            r"of z, \(3, 4\)",
        ),
        ({"threshold": torch.ones(2, 3, 4)}, ValueError, r"threshold has the shape \(2, 3, 4\)"),
        ({"z": torch.tensor(1.0)}, ValueError, "z has no dimensions"),
    ],
)
def test_bad_input(change, error, message):
    with pytest.raises(error, match=message):
        support_select(**({"z": torch.ones(3, 4), "threshold": 0.5, "count": 2} | change))
