"""Conformance checks for an iteration."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.gradcheck import GradcheckError

from unrolling.core import Iteration, Unrolled, solve, tree, unroll
from unrolling.core.naming import parameter_names, resolve
from unrolling.testing.compare import close, rounding, same_bits

Group = tuple[tuple[str, ...], tuple[str, ...]]


def groups(iteration: Iteration) -> list[Group]:
    """Ways to divide the parameters into (tied, untied): none learned, all tied, all untied, and the two alternating
    mixtures.
    """
    names = tuple(parameter_names(iteration))
    if not names:
        return [((), ())]
    ways: list[Group] = [((), ()), (names, ()), ((), names)]
    if len(names) > 1:
        ways += [(names[::2], names[1::2]), (names[1::2], names[::2])]
    return ways


def check_parent_equality(iteration: Iteration, data: Any, *, depth: int = 4) -> None:
    """The first law: the network before training equals ``depth`` steps of its parent to the bit, in each layer, at a
    batch of 1 and of all, however tied.
    """
    for part in (_first(data, 1), data):
        states = _loop(iteration, part, depth)
        problem = iteration.prepare(part)
        for tied, untied in groups(iteration):
            net = unroll(iteration, depth, tied=tied, untied=untied)
            how = f"tied={list(tied)}, untied={list(untied)}, batch {_batch(part)}"
            same_bits(net(part), iteration.estimate(states[-1], problem), f"the estimate of the network ({how})")
            same_bits(net.run(part), states[-1], f"the last state ({how})")
            for number, (got, wanted) in enumerate(zip(net.trajectory(part), states, strict=True)):
                same_bits(got, wanted, f"the state after layer {number} ({how})")


def check_prepare_once(iteration: Iteration, data: Any, *, depth: int = 4) -> None:
    """``prepare`` runs once per network when it is a sub-module without untied parameters, else once per distinct
    layer.
    """
    for tied, untied in groups(iteration):
        net = unroll(iteration, depth, tied=tied, untied=untied)
        if isinstance(iteration._modules.get("prepare"), nn.Module):
            inside = {
                resolve(iteration, f"prepare.{name}", "prepare")[0] for name in parameter_names(iteration.prepare)
            }  # pyright: ignore[reportArgumentType]
            wanted = depth if inside & set(untied) else 1
        else:
            wanted = depth if untied else 1
        calls = _count_prepare([layer for layer in net.layers if isinstance(layer, Iteration)])
        net(data)
        assert len(calls) == wanted, (
            f"prepare ran {len(calls)} times in one call of a network with untied={list(untied)}; expected {wanted}"
        )


def check_solve(
    iteration: Iteration, data: Any, *, tolerance: float = 1e-3, max_iterations: int = 500, depth: int = 4
) -> None:
    """``solve`` prepares once, takes the same steps as a loop to the bit, and gives each sample what it gets alone, up
    to the tolerance.
    """
    counted = copy.deepcopy(iteration)
    calls = _count_prepare([counted])
    solution = solve(counted, data, tolerance=0.0, max_iterations=depth)
    assert len(calls) == 1, f"prepare ran {len(calls)} times in one solve; it must run once"
    same_bits(solution.state, _loop(iteration, data, depth)[-1], f"the state after {depth} steps of solve")
    together = solve(iteration, data, tolerance=tolerance, max_iterations=max_iterations)
    for sample in range(min(_batch(data), 4)):
        alone = solve(iteration, _sample(data, sample), tolerance=tolerance, max_iterations=max_iterations)
        what = f"the solution of sample {sample} among {_batch(data)}, compared with the one alone,"
        close(together.estimate[sample : sample + 1], alone.estimate, what, tolerance=10 * tolerance)


def check_purity(iteration: Iteration, data: Any, *, depth: int = 4) -> None:
    """Nothing writes into data, problem or state, and the same inputs give the same step twice: no state is hidden in
    the module.
    """
    data = tree.apply(lambda t: t.clone(), data)
    watch = _Watch(data, "data")
    problem = iteration.prepare(data)
    watch.unchanged("prepare")
    watch_problem = _Watch(problem, "problem")
    state = iteration.start(problem)
    for step in range(1, depth + 1):
        watch_state = _Watch(state, "state")
        new = iteration(state, problem)
        for watched in (watch, watch_problem, watch_state):
            watched.unchanged(f"step {step}")
        same_bits(iteration(state, problem), new, f"the second result of step {step} from the same inputs")
        watch_state = _Watch(new, "state")
        iteration.estimate(new, problem)
        watch_state.unchanged("estimate")
        state = new


def check_gradients(iteration: Iteration, data: Any, *, depth: int = 2, samples: int = 2) -> None:
    """Gradients of a small network in float64, in every parameter (tied, and untied) and in the data, agree with finite
    differences.
    """
    data = tree.apply(_double, _first(data, samples))
    names = parameter_names(iteration)
    for tied, untied in ((names, ()), ((), names)) if names else (((), ()),):
        net = _double_net(unroll(iteration, depth, tied=tied, untied=untied))
        leaves = tree.apply(lambda t: t.clone().requires_grad_(_is_differentiable(t)), data)
        inputs = [
            *(t for t in tree.tensors(leaves) if t.requires_grad),
            *(p for p in net.parameters() if p.requires_grad),
        ]
        # gradcheck moves its inputs in place, and the network reads the same tensors.
        _explain(
            lambda net=net, leaves=leaves, inputs=inputs: torch.autograd.gradcheck(
                lambda *_: net(leaves), inputs, eps=1e-6, atol=1e-6, rtol=1e-4
            ),
            f"the gradient with tied={list(tied)}, untied={list(untied)}",
        )


def check_batch_independence(iteration: Iteration, data: Any, *, depth: int = 4) -> None:
    """A sample's result does not depend on its batch mates, up to rounding."""
    net = unroll(iteration, depth)
    together = net(data)
    assert together.shape[0] == _batch(data), (
        f"the estimate has leading size {together.shape[0]} and the batch is {_batch(data)}; estimates are batch first"
    )
    for sample in range(min(_batch(data), 8)):
        what = f"the estimate of sample {sample} among {_batch(data)}, compared with the one alone,"
        close(together[sample : sample + 1], net(_sample(data, sample)), what, tolerance=rounding(together))


def check_saving(iteration: Iteration, data: Any, *, depth: int = 4) -> None:
    """A network whose parameters have moved survives deepcopy, ``state_dict`` and safetensors to the bit."""
    from safetensors.torch import load, save

    for tied, untied in groups(iteration):
        net = unroll(iteration, depth, tied=tied, untied=untied)
        _move(net)
        wanted = net(data)
        same_bits(copy.deepcopy(net)(data), wanted, "the estimate of a deep copy")
        fresh = unroll(iteration, depth, tied=tied, untied=untied)
        fresh.load_state_dict(net.state_dict())
        same_bits(fresh(data), wanted, "the estimate after load_state_dict")
        learned = net.learned()
        fresh = unroll(iteration, depth, tied=tied, untied=untied)
        fresh.load_learned(_complex(load(save(_real(learned))), learned))
        same_bits(fresh.learned(), learned, "the learned values after safetensors and load_learned")
        same_bits(fresh(data), wanted, "the estimate after safetensors and load_learned")


def check_training(iteration: Iteration, data: Any, *, depth: int = 4) -> None:
    """Training a network moves what is learned and leaves its parent, and what is fixed, as they were."""
    before = {name: value.detach().clone() for name, value in iteration.state_dict().items()}
    for tied, untied in groups(iteration):
        net = unroll(iteration, depth, tied=tied, untied=untied)
        fixed = {name: value.clone() for name, value in net.fixed().items()}
        parameters = [p for p in net.parameters() if p.requires_grad]
        old = [p.detach().clone() for p in parameters]
        loss = net(data).abs().square().mean()
        if loss.requires_grad:
            loss.backward()
            with torch.no_grad():
                for p in parameters:
                    p -= 1e-3 * (torch.zeros_like(p) if p.grad is None else p.grad)
        same_bits(dict(iteration.state_dict()), before, "the parent after training its network")
        same_bits(net.fixed(), fixed, "what the network keeps fixed, after training,")
        assert all(p.grad is None for p in iteration.parameters()), (
            "training the network left gradients in its parent; they share a learned tensor"
        )
        moved = any(not torch.equal(p, q) for p, q in zip(parameters, old, strict=True))
        learns = not parameters or moved
        assert learns, (
            f"no parameter of the network with tied={list(tied)}, untied={list(untied)} receives a "
            "gradient; is a step detached?"
        )


def check_aliasing(iteration: Iteration, data: Any, *, depth: int = 4) -> None:
    """No two layers share an untied tensor, all share a tied one, and none shares a learned tensor with the parent."""
    theirs = {t.untyped_storage().data_ptr() for t in [*iteration.parameters(), *iteration.buffers()]}
    for tied, untied in groups(iteration):
        net = unroll(iteration, depth, tied=tied, untied=untied)
        learned = [p for p in net.parameters() if p.requires_grad]
        wanted = _learned_tensors(unroll(iteration, 1, tied=tied)) + depth * _learned_tensors(
            unroll(iteration, 1, untied=untied)
        )
        assert len(learned) == wanted, (
            f"a network with tied={list(tied)}, untied={list(untied)} has {len(learned)} "
            f"learned tensors, expected {wanted}"
        )
        storages = {p.untyped_storage().data_ptr() for p in learned}
        assert len(storages) == len(learned), (
            f"two learned tensors share memory in a network with tied={list(tied)}, untied={list(untied)}"
        )
        assert not storages & theirs, (
            f"a network with tied={list(tied)}, untied={list(untied)} shares the memory of "
            "a learned tensor with its parent"
        )


def check_compile(iteration: Iteration, data: Any, *, depth: int = 2, backend: str = "inductor") -> None:
    """``torch.compile(fullgraph=True)`` gives the same estimate and gradients up to rounding; slow."""
    names = parameter_names(iteration)
    net = unroll(iteration, depth, untied=names)
    torch._dynamo.reset()
    compiled = torch.compile(net, fullgraph=True, backend=backend)
    parameters = [p for p in net.parameters() if p.requires_grad]
    wanted, got = net(data), compiled(data)
    close(got, wanted, "the compiled estimate", tolerance=rounding(wanted))
    if parameters:
        both = [
            torch.autograd.grad(output.abs().square().sum(), parameters, allow_unused=True) for output in (got, wanted)
        ]
        for compiled_gradient, gradient in zip(*both, strict=True):
            assert (compiled_gradient is None) == (gradient is None), (
                "compiling changes which parameters receive a gradient"
            )
            if gradient is not None:
                close(compiled_gradient, gradient, "a gradient of the compiled network", tolerance=rounding(wanted))


def check_export(iteration: Iteration, data: Any, *, depth: int = 2) -> None:
    """``torch.export`` with a dynamic batch gives the same estimates at other batch sizes, up to rounding."""
    batch = _batch(data)
    assert batch >= 3, (
        f"check_export needs a batch of at least 3, as export takes smaller ones for constants; got {batch}"
    )
    net = unroll(iteration, depth, untied=parameter_names(iteration))
    dimension = torch.export.Dim("batch", min=2)
    shapes = tree.apply(lambda t: {0: dimension} if t.ndim > 0 and t.shape[0] == batch else {}, data)
    program = torch.export.export(net, (data,), dynamic_shapes=(shapes,)).module()
    twice = tree.apply(lambda t: torch.cat([t, t]) if t.ndim > 0 and t.shape[0] == batch else t, data)
    for part in (data, _first(data, 2), twice):
        wanted = net(part)
        close(
            program(part),
            wanted,
            f"the exported network's estimate at a batch of {_batch(part)}",
            tolerance=rounding(wanted),
        )


CHECKS: dict[str, Callable[..., None]] = {
    "parent": check_parent_equality,
    "prepare": check_prepare_once,
    "solve": check_solve,
    "purity": check_purity,
    "gradients": check_gradients,
    "batch": check_batch_independence,
    "saving": check_saving,
    "training": check_training,
    "aliasing": check_aliasing,
    "compile": check_compile,
    "export": check_export,
}


def check_iteration(
    iteration: Iteration, data: Any, *, depth: int = 4, skip: Iterable[str] = (), tolerance: float = 1e-3
) -> None:
    """Everything that this library asks of an iteration. The groups of tied and untied parameters are chosen by
    ``groups``.

    Args:
        iteration: in the dtype of ``data``; it is not changed.
        data: (batch, ...) tensor or NamedTuple, a batch of at least 3; small, as gradients are checked by finite
            differences.
        depth: number of layers.
        skip: names of ``CHECKS`` to leave out: ``gradients`` where the map is discontinuous at the data, ``solve``
            where the state changes its shape.
        tolerance: of the check of ``solve``, which the iteration has to reach within 500 steps.

    Raises:
        AssertionError: what is wrong, headed by the name of the check.
        ValueError: an unknown name in ``skip``.
    """
    left_out = {skip} if isinstance(skip, str) else set(skip)
    if left_out - CHECKS.keys():
        raise ValueError(
            f"skip names {', '.join(sorted(left_out - CHECKS.keys()))}; the checks are {', '.join(CHECKS)}"
        )
    for name, check in CHECKS.items():
        if name in left_out:
            continue
        options: dict[str, Any] = {"tolerance": tolerance} if name == "solve" else {}
        if name not in ("gradients", "compile", "export"):  # slow ones stay at their own small depth
            options["depth"] = depth
        _explain(
            lambda check=check, options=options: check(iteration, data, **options),
            f"{type(iteration).__name__.removeprefix('Parametrized')}, {name}",
        )


def _explain(action: Callable[[], Any], what: str) -> None:
    try:
        action()
    except AssertionError as error:
        raise AssertionError(f"{what}: {error}") from error
    except GradcheckError as error:
        raise AssertionError(f"{what} disagrees with finite differences: {error}") from error


def _loop(iteration: Iteration, data: Any, depth: int) -> list[Any]:
    """The states after each step of a plain loop."""
    problem = iteration.prepare(data)
    state = iteration.start(problem)
    states = []
    for _ in range(depth):
        state = iteration(state, problem)
        states.append(state)
    return states


def _count_prepare(layers: list[Iteration]) -> list[int]:
    """A list that grows by one entry with each call of a layer's ``prepare``; not when a step calls the same module by
    another name.
    """
    calls: list[int] = []
    for layer in {id(layer): layer for layer in layers}.values():
        if "prepare" in layer._modules:
            layer._modules["prepare"] = _Counted(layer.prepare, calls)
        else:
            layer.__dict__["prepare"] = _Counted(layer.prepare, calls)
    return calls


class _Counted(nn.Module):
    def __init__(self, function: Callable[[Any], Any], calls: list[int]) -> None:
        super().__init__()
        self.function, self.calls = function, calls

    def forward(self, data: Any) -> Any:
        self.calls.append(1)
        return self.function(data)


class _Watch:
    """Remembers the values and the version counters of tensors, so that a write shows even if it changes nothing."""

    def __init__(self, item: Any, name: str) -> None:
        self.item, self.name = item, name
        self.versions = [t._version for t in tree.tensors(item)]
        self.values = tree.apply(lambda t: t.detach().clone(), item)

    def unchanged(self, by: str) -> None:
        written = [
            path
            for (path, t), v in zip(tree.named_tensors(self.item, self.name), self.versions, strict=True)
            if t._version != v
        ]
        assert not written, (
            f"{by} wrote into {', '.join(written)}; a step returns new tensors and leaves its inputs alone"
        )
        same_bits(self.item, self.values, f"{self.name} after {by}")


def _batch(data: Any) -> int:
    return tree.batch_size(data, "data")


def _first(data: Any, count: int) -> Any:
    return tree.select(data, torch.arange(min(count, _batch(data))), _batch(data), "data")


def _sample(data: Any, index: int) -> Any:
    return tree.select(data, torch.tensor([index]), _batch(data), "data")


def _is_differentiable(tensor: Tensor) -> bool:
    return tensor.is_floating_point() or tensor.is_complex()


def _double(tensor: Tensor) -> Tensor:
    return tensor.to(torch.promote_types(tensor.dtype, torch.float64)) if _is_differentiable(tensor) else tensor


def _double_net(net: Unrolled) -> Unrolled:
    # Module.double would turn complex tensors into real ones.
    return net._apply(_double)


def _move(net: nn.Module) -> None:
    """Shift every learned tensor a little, each in its own way."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in net.parameters():
            if parameter.requires_grad:
                parameter += 0.01 * torch.randn(parameter.shape, generator=generator, dtype=torch.float64).to(parameter)


def _real(values: dict[str, Tensor]) -> dict[str, Tensor]:
    """Complex tensors as pairs of real ones, as safetensors does not know complex128."""
    return {name: torch.view_as_real(value) if value.is_complex() else value for name, value in values.items()}


def _complex(values: dict[str, Tensor], like: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: torch.view_as_complex(value) if like[name].is_complex() else value for name, value in values.items()}


def _learned_tensors(net: nn.Module) -> int:
    return sum(p.requires_grad for p in net.parameters())
