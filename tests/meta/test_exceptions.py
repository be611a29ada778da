"""``except Exception`` stands only at the edges, where an error becomes an answer or a line in the log."""

from __future__ import annotations

import ast

import pytest

from tests.meta.source import Module, dotted, modules

# file -> which edge it is.
EDGES = {
    "matrixd/http/kit/dispatch.py": "a request: the client gets 500 and the log the traceback",
    "matrixd/services/persister.py": "a batch of events: each sender gets its own error, the others commit",
    "matrixd/services/receiving/edus.py": "EDUs of one type: those of the others are taken, the log has the traceback",
    "matrixd/services/receiving/receiver.py": "one event: the others are taken, the log has the traceback",
    "matrixd/storage/database.py": "a reader's unit of work: its caller gets the error",
    "matrixd/storage/work.py": "a unit of work in a database thread: its caller gets the error",
    "matrixd/storage/writer.py": "a group of writes: each caller gets the error, or the group waits for the database",
    "matrixd/ops/database.py": "a command: whatever keeps an engine from connecting is told in a sentence",
}
_BROAD = frozenset({"Exception", "BaseException"})


def broad_handlers(module: Module) -> list[ast.ExceptHandler]:
    """Handlers that take everything and do not raise it again."""
    return [
        node
        for node in ast.walk(module.tree)
        if isinstance(node, ast.ExceptHandler) and _is_broad(node) and not _raises_again(node)
    ]


def _is_broad(handler: ast.ExceptHandler) -> bool:
    if handler.type is None:
        return True
    kinds = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
    return any(dotted(kind) in _BROAD for kind in kinds)


def _raises_again(handler: ast.ExceptHandler) -> bool:
    last = handler.body[-1]
    return isinstance(last, ast.Raise) and last.exc is None


def test_everything_is_caught_only_at_the_edges() -> None:
    found = [module.place(node) for module in modules() for node in broad_handlers(module) if module.path not in EDGES]
    assert found == []


def test_the_list_of_edges_is_in_use() -> None:
    used = {module.path for module in modules() if broad_handlers(module)}
    assert EDGES.keys() - used == set()


@pytest.mark.parametrize(
    ("handler", "broad"),
    [
        ("except Exception: pass", True),
        ("except: pass", True),
        ("except (ValueError, Exception): pass", True),
        ("except BaseException: undo(); raise", False),
        ("except ValueError: pass", False),
    ],
)
def test_broad_handlers_are_found(handler: str, broad: bool) -> None:
    module = Module("matrixd/example.py", ast.parse(f"try:\n    f()\n{handler}"))
    assert bool(broad_handlers(module)) is broad
