"""How Python code is being run: plainly, or watched by a compiler, a tracer, a transform of functions, hooks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from torch import nn
from torch._C import _get_tracing_state, _len_torch_dispatch_stack
from torch._C._functorch import peek_interpreter_stack
from torch.autograd import forward_ad
from torch.compiler import is_compiling
from torch.nn.modules.module import _has_any_global_hook

_CALL = nn.Module.__call__


def is_plain() -> bool:
    """Whether tensors hold numbers that may be looked at, and nothing else looks on: no compiler, tracer, function
    transform, dispatch mode or forward-mode differentiation.
    """
    return not (
        is_compiling()
        or _get_tracing_state() is not None
        or _len_torch_dispatch_stack()
        or peek_interpreter_stack() is not None
        or forward_ad._current_level >= 0
    )


def transformed() -> bool:
    """Whether a transform of ``torch.func`` (vmap, jvp, grad, ...) or forward-mode differentiation is at work:
    gradients written by hand then give way to the operators of torch that they stand for, which all transforms know.
    """
    return peek_interpreter_stack() is not None or forward_ad._current_level >= 0


def calls_of(modules: Sequence[nn.Module]) -> Sequence[Callable[..., Any]]:
    """What to call for each module: its ``forward`` where ``Module.__call__`` would do nothing else, which saves the
    time of a small product; the module itself where it has hooks, or a call of its own.
    """
    if is_compiling() or _has_any_global_hook() or _get_tracing_state() is not None:
        return modules
    if any(kind.__call__ is not _CALL for kind in set(map(type, modules))):
        return modules
    return [
        module
        if module._forward_hooks
        or module._forward_pre_hooks
        or module._backward_hooks
        or module._backward_pre_hooks
        or module._compiled_call_impl is not None
        else module.forward
        for module in modules
    ]
