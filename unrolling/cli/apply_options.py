"""The options of ``unroll apply`` that come from the system: its application to files declares them."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

# Where the context keeps the parameters that the system adds, and their values.
EXTRA, GIVEN = "unrolling.cli.apply_options.extra", "unrolling.cli.apply_options.given"
TASK = "unrolling.cli.apply_options.task"


class ApplyCommand(TyperCommand):
    """A command whose further options depend on the system that is named: they are parsed, listed by ``--help``, and
    found in ``given(context)``.
    """

    def parse_args(self, ctx: typer.Context, args: list[str]) -> list[str]:  # pyright: ignore
        if ctx.resilient_parsing:  # of a shell that completes a word
            return super().parse_args(ctx, args)
        usual = self.get_params(ctx)
        positional, flags, task = _tokens(args, usual)
        system = _system(positional)
        declared: tuple[Any, ...] = ()
        if system is not None:
            name = system.recipe(task)[0] if "--weights" in flags else system.applied(task)
            if task is None and (other := _meant(system, name, flags)) is not None:
                name = ctx.meta[TASK] = other
            application = system.apply.get(name)
            declared = application.options if application else ()
            ctx.meta[EXTRA] = _parameters(system.name, declared)
            params = [*usual, *ctx.meta[EXTRA]]
            known = [word for param in params for word in (*param.opts, *param.secondary_opts)]
            for flag in flags:
                if flag not in known:
                    system.application(name)
                    raise ValueError(_unknown(system.name, flag, declared, known))
        rest = super().parse_args(ctx, _spread(args, self.get_params(ctx)))
        values = {option: ctx.params.pop(option.name, None) for option in declared}
        ctx.meta[GIVEN] = {
            option.name: option.kind(value)
            for option, value in values.items()
            if value is not None and value is not False
        }
        return rest

    def get_params(self, ctx: typer.Context) -> list[Any]:  # pyright: ignore[reportIncompatibleMethodOverride]
        usual = super().get_params(ctx)
        return [*usual[:-1], *ctx.meta.get(EXTRA, []), *usual[-1:]]  # --help stays last


def given(ctx: typer.Context) -> dict[str, Any]:
    """The values of the application's options that were typed."""
    return dict(ctx.meta.get(GIVEN, {}))


def task_of(ctx: typer.Context) -> str | None:
    """The task that the typed options belong to, where it was not named and is not the system's first; else None."""
    return ctx.meta.get(TASK)


def _meant(system: Any, usual: str, flags: Sequence[str]) -> str | None:
    """The task whose application has a typed option that the usual one lacks, where it is the only one."""
    own = {option.flag for option in system.apply[usual].options} if usual in system.apply else set()
    others = [
        name
        for name, application in system.apply.items()
        if any(option.flag in flags and option.flag not in own for option in application.options)
    ]
    return others[0] if len(others) == 1 else None


def _parameters(system: str, declared: Sequence[Any]) -> list[Any]:
    """Parameters of the command line as Typer makes them from a function's signature."""
    if not declared:
        return []

    def function(**values: Any) -> None:
        pass

    annotations = {
        option.name: Annotated[
            bool if option.kind is bool else option.kind | None,
            typer.Option(option.flag, help=option.words, rich_help_panel=f"Options of {system}"),
        ]
        for option in declared
    }
    parameters = [
        inspect.Parameter(
            option.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=False if option.kind is bool else None,
            annotation=annotations[option.name],
        )
        for option in declared
    ]
    function.__signature__ = inspect.Signature(parameters)  # pyright: ignore[reportFunctionMemberAccess]
    function.__annotations__ = annotations
    app = typer.Typer(add_completion=False)
    app.command()(function)
    return list(typer.main.get_command(app).params)


def _tokens(args: Iterable[str], params: Sequence[Any]) -> tuple[list[str], list[str], str | None]:
    """What stands among the arguments, the options that were typed, and the task. An option that is not known may take
    a value or not; what follows it is counted as an argument.
    """
    options = {word: param for param in params if param.param_type_name == "option" for word in param.opts}
    positional: list[str] = []
    flags: list[str] = []
    task, waiting = None, None
    for word in args:
        if waiting is not None:
            task = word if waiting == "--task" else task
            waiting = None
        elif word == "--":
            break
        elif word.startswith("--"):
            flag, sign, value = word.partition("=")
            flags.append(flag)
            if flag in options and not options[flag].is_flag:
                waiting = None if sign else flag
            task = value if sign and flag == "--task" else task
        elif word in options and not options[word].is_flag:
            waiting = word
        elif not word.startswith("-"):
            positional.append(word)
    return positional, flags, task


def _spread(args: Sequence[str], params: Sequence[Any]) -> list[str]:
    """``INPUT -o A B`` as ``INPUT -o A -o B``, where inputs stand elsewhere; else what follows the first name after
    ``-o`` are the inputs.
    """
    options = {word: param for param in params if param.param_type_name == "option" for word in param.opts}
    spread: list[str] = []
    elsewhere = 0
    group: list[int] | None = None  # where the further names are put
    places: list[int] = []
    waiting = False
    for place, word in enumerate(args):
        if waiting:
            waiting = False
        elif word == "--":
            elsewhere += len(args) - place - 1
            break
        elif word.startswith("-") and word != "-":
            flag, sign, _ = word.partition("=")
            waiting = flag in options and not options[flag].is_flag and not sign
            group = places if flag in ("-o", "--output") else None
        elif group is not None:
            group.append(place)
        else:
            elsewhere += 1
    for place, word in enumerate(args):
        spread += ["-o", word] if place in places and elsewhere > 1 else [word]
    return spread


def _system(positional: Sequence[str]) -> Any:
    """The first argument that names a system; none where there are no arguments.

    Raises:
        ValueError: none of them does.
    """
    from unrolling.systems.catalogue import find

    for word in positional:
        try:
            return find(word)
        except ValueError:
            continue
    return find(positional[0]) if positional else None


def _unknown(system: str, flag: str, declared: Sequence[Any], known: Sequence[str]) -> str:
    near = get_close_matches(flag, known, n=1, cutoff=0.85)  # --mask is no misspelt --task
    own = ", ".join(option.flag for option in declared)
    return "; ".join(
        [
            f"{system} has no option {flag}",
            *([f"it has {own}"] if own else []),
            *([f"did you mean {near[0]}?"] if near else []),
        ]
    )
