"""No modules import one another in a circle."""

from pathlib import Path

from tools.import_circles import circles


def write(folder, **files):
    for name, text in files.items():
        path = folder / "package" / f"{name.replace('__', '/')}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        (path.parent / "__init__.py").touch()
        path.write_text(text)
    return folder / "package"


def test_the_package_has_none():
    assert circles(Path(__file__).parents[1] / "unrolling") == []


def test_circles_through_functions_type_checkers_and_relative_imports_are_found(tmp_path):
    package = write(
        tmp_path,
        a="def f():\n    from package.b import g\n",
        b="from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from package import c\n",
        c="from .a import f\n",
        d="from package.a import f\n",
        deep__e="from .. import d\nfrom . import h\n",
        deep__h="import package.deep.e\n",
    )
    assert circles(package) == [["package.a", "package.b", "package.c"], ["package.deep.e", "package.deep.h"]]


def test_two_ways_to_one_module_are_no_circle(tmp_path):
    assert (
        circles(
            write(tmp_path, a="import package.b, package.c\n", b="import package.d\n", c="import package.d\n", d="")
        )
        == []
    )
