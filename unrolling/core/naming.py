"""The names of an iteration's parameters: those of the algorithm, whatever torch calls the tensors behind them."""

from __future__ import annotations

from collections.abc import Iterable

from torch import Tensor, nn


def resolve(iteration: nn.Module, names: str | Iterable[str], argument: str) -> tuple[str, ...]:
    """The full parameter names meant by names of parameters or sub-modules, in the iteration's order.

    Raises:
        ValueError: a name that means no parameter; the message lists the known ones.
    """
    wanted = (names,) if isinstance(names, str) else tuple(names)
    known = aliases(iteration)
    chosen = set()
    for name in wanted:
        found = {
            full
            for full, others in known.items()
            if any(alias == name or alias.startswith(name + ".") for alias in others)
        }
        if not found:
            raise ValueError(
                f"{argument} names {name!r}, which {class_name(iteration)} does not have; it has "
                f"{', '.join(known) or 'no parameters'}"
            )
        chosen |= found
    return tuple(name for name in known if name in chosen)


def parameter_names(module: nn.Module) -> list[str]:
    """The parameters' names in the algorithm, in order: of a constrained one its own name, not that of its free
    tensor.
    """
    return list(aliases(module))


def aliases(module: nn.Module) -> dict[str, list[str]]:
    """Each parameter's name with all names it goes by. A sub-module that also serves as ``prepare`` is known by its
    other name.
    """
    paths: dict[int, list[str]] = {}
    for path, parameter in module.named_parameters(remove_duplicate=False):
        paths.setdefault(id(parameter), []).append(plain_name(path))
    named: dict[str, list[str]] = {}
    for others in paths.values():
        name = next((alias for alias in others if "prepare" not in alias.split(".")), others[0])
        named.setdefault(name, []).extend(others)
    return named


def plain_name(path: str) -> str:
    """``a.parametrizations.threshold.original`` -> ``a.threshold``."""
    head, found, tail = path.rpartition("parametrizations.")
    return head + tail.split(".")[0] if found else path


def class_name(module: nn.Module) -> str:
    """The class that the user wrote; parametrizations derive one from it."""
    return type(module).__name__.removeprefix("Parametrized")


def names_by_alias(module: nn.Module) -> dict[str, str]:
    """The name of a parameter by each of those that it goes by."""
    return {alias: name for name, others in aliases(module).items() for alias in others}


def owner_of(module: nn.Module, name: str) -> tuple[nn.Module, str]:
    """The sub-module that holds a parameter, and the parameter's name there."""
    path, _, leaf = name.rpartition(".")
    return module.get_submodule(path), leaf


def value_of(module: nn.Module, name: str) -> Tensor:
    """The value of a parameter, constraints applied."""
    owner, leaf = owner_of(module, name)
    return getattr(owner, leaf)
