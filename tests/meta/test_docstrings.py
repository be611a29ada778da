"""The core is where a reader learns Matrix from: what is public there says what it is."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from tests.meta.source import Module, modules

_DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
_SELF_EXPLAINING = frozenset({"property", "functools.cached_property", "overload", "typing.overload"})


def public(node: ast.Module | ast.ClassDef, prefix: str = "") -> Iterator[tuple[str, ast.AST]]:
    """The public functions and classes of a module, and the public methods of those classes that are no properties."""
    for child in node.body:
        if isinstance(child, _DEFINITIONS) and not child.name.startswith("_"):
            decorators = {ast.unparse(decorator) for decorator in child.decorator_list}
            if not decorators & _SELF_EXPLAINING:
                yield prefix + child.name, child
            if isinstance(child, ast.ClassDef):
                yield from public(child, f"{child.name}.")


def undocumented(module: Module) -> list[str]:
    """Public names without docstring, and the module itself when it holds something and lacks one."""
    missing = [f"{module.place(node)}: {name}" for name, node in public(module.tree) if not _docstring(node)]
    if module.tree.body and not _docstring(module.tree):
        missing.append(f"{module.path}: the module")
    return missing


def _docstring(node: ast.AST) -> str | None:
    assert isinstance(node, (ast.Module, *_DEFINITIONS))
    return ast.get_docstring(node)


def test_what_is_public_in_the_core_has_a_docstring() -> None:
    core = [module for module in modules() if module.path.startswith("matrixd/core/")]
    assert len(core) > 10
    assert [name for module in core for name in undocumented(module)] == []


def test_every_module_says_what_it_is_about() -> None:
    missing = [module.path for module in modules() if module.tree.body and not _docstring(module.tree)]
    assert missing == []
