"""The project's own source, as the structure tests look at it."""

from __future__ import annotations

import ast
import functools
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.support.openapi_files import REPOSITORY

PACKAGES = ("matrixd", "workers")


@dataclass(frozen=True)
class Module:
    """One file of the product; ``path`` is relative to the repository, with slashes."""

    path: str
    tree: ast.Module

    def place(self, node: ast.AST) -> str:
        """``path:line`` of a node."""
        return f"{self.path}:{getattr(node, 'lineno', 1)}"


@functools.cache
def modules() -> tuple[Module, ...]:
    """Every Python file of the product (not the tests, not the benchmarks)."""
    files = sorted(file for package in PACKAGES for file in (REPOSITORY / package).rglob("*.py"))
    return tuple(
        Module(file.relative_to(REPOSITORY).as_posix(), ast.parse(file.read_text("utf-8"), str(file))) for file in files
    )


def tracked_files() -> list[Path]:
    """Every file under version control, and those that are about to be."""
    shown = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=REPOSITORY,
        capture_output=True,
        check=True,
    )
    found = [REPOSITORY / name for name in shown.stdout.decode().split("\0") if name]
    return [file for file in found if file.is_file()]


def dotted(node: ast.AST) -> str:
    """``a.b.c`` of a name or attribute, else an empty string."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        inner = dotted(node.value)
        return f"{inner}.{node.attr}" if inner else node.attr
    return ""


def assignments(tree: ast.AST) -> Iterator[tuple[str, ast.expr]]:
    """(name, value) of every assignment to a plain name or an attribute of ``self``."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign):
            for target in node.targets:
                yield from ((name, node.value) for name in [_target(target)] if name)
        elif isinstance(node, ast.AnnAssign) and node.value is not None:
            yield from ((name, node.value) for name in [_target(node.target)] if name)


def _target(node: ast.expr) -> str:
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "self":
        return node.attr
    return ""
