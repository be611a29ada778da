"""Nothing in the product remembers without bound: every cache takes part in the byte budget."""

from __future__ import annotations

import ast
import re

import pytest

from tests.meta.source import Module, assignments, dotted, modules

# (file, name) -> why this one needs no part of the budget.
ALLOWED = {
    ("matrixd/storage/writer.py", "_memo"): "numbers of ids, at most _MEMO_ENTRIES, dropped together",
    ("matrixd/util/lru.py", "_entries"): "the budget's own caches",
    ("matrixd/util/lru.py", "caches"): "one entry for each cache",
    ("matrixd/util/ratelimit.py", "_buckets"): "two floats for each of at most _MAX_KEYS keys",
}
# A pure function's few results; what is larger belongs into the budget.
MAX_LRU_ENTRIES = 1024
_REMEMBERING = re.compile(r"cache|memo(?!ry)|(^|_)lru(_|$)", re.IGNORECASE)
_MAPPINGS = frozenset({"dict", "defaultdict", "OrderedDict", "collections.defaultdict", "collections.OrderedDict"})
_ORDERED = frozenset({"OrderedDict", "collections.OrderedDict"})


def unbounded_functions(module: Module) -> list[str]:
    """Uses of functools.cache, and of lru_cache without a small constant size."""
    found = []
    for node in ast.walk(module.tree):
        name = dotted(node).removeprefix("functools.")
        if name == "cache" and _is_functools_cache(module, node):
            found.append(f"{module.place(node)}: functools.cache has no bound")
        if isinstance(node, ast.Call) and dotted(node.func).removeprefix("functools.") == "lru_cache":
            sizes = [*node.args, *(word.value for word in node.keywords if word.arg == "maxsize")]
            if sizes and not _is_small(sizes[0]):
                found.append(
                    f"{module.place(node)}: lru_cache(maxsize=…) needs a constant of at most {MAX_LRU_ENTRIES}"
                )
    return found


def unregistered_mappings(module: Module) -> list[str]:
    """Mappings that are called a cache, or are kept in order of use, or are empty at module level and so must grow."""
    found = []
    for name, value in assignments(module.tree):
        kind = _mapping_kind(value)
        if kind and (kind in _ORDERED or _REMEMBERING.search(name)) and (module.path, name) not in ALLOWED:
            found.append(f"{module.place(value)}: {name} is a mapping of its own, not a cache of the budget")
    for statement in module.tree.body:
        for name, value in assignments(statement) if _may_grow(statement) else ():
            if _is_empty_container(value) and (module.path, name) not in ALLOWED:
                found.append(f"{module.place(value)}: {name} is an empty container at module level")
    return found


def unregistered_caches(module: Module) -> list[str]:
    """LruCache made without the budget."""
    if module.path == "matrixd/util/lru.py":
        return []
    return [
        f"{module.place(node)}: make it with CacheBudget.cache"
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Call) and dotted(node.func).rpartition(".")[2] == "LruCache"
    ]


def _may_grow(statement: ast.stmt) -> bool:
    if isinstance(statement, ast.AnnAssign):
        # The type checker lets nobody write to what is declared as read-only.
        declared = ast.unparse(statement.annotation).removeprefix("Final[")
        return not declared.startswith(("Mapping[", "Sequence[", "Collection["))
    return isinstance(statement, ast.Assign)


def _is_functools_cache(module: Module, node: ast.AST) -> bool:
    if isinstance(node, ast.Attribute):
        return dotted(node) == "functools.cache"
    imported = (
        alias.asname or alias.name
        for statement in ast.walk(module.tree)
        if isinstance(statement, ast.ImportFrom) and statement.module == "functools"
        for alias in statement.names
    )
    return "cache" in imported


def _is_small(size: ast.expr) -> bool:
    return isinstance(size, ast.Constant) and isinstance(size.value, int) and size.value <= MAX_LRU_ENTRIES


def _mapping_kind(value: ast.expr) -> str:
    if isinstance(value, ast.Dict) and not value.keys:
        return "dict"
    if isinstance(value, ast.Call):
        function = value.func.value if isinstance(value.func, ast.Subscript) else value.func
        return dotted(function) if dotted(function) in _MAPPINGS else ""
    return ""


def _is_empty_container(value: ast.expr) -> bool:
    if isinstance(value, ast.Dict):
        return not value.keys
    if isinstance(value, ast.List):
        return not value.elts
    return isinstance(value, ast.Call) and dotted(value.func) in {*_MAPPINGS, "list", "set"} and not value.args


def _module(source: str) -> Module:
    return Module("matrixd/example.py", ast.parse(source))


@pytest.mark.parametrize("check", [unbounded_functions, unregistered_mappings, unregistered_caches])
def test_every_cache_is_bounded(check: object) -> None:
    assert callable(check)
    assert [complaint for module in modules() for complaint in check(module)] == []


def test_the_allow_list_is_in_use() -> None:
    names = {(module.path, name) for module in modules() for name, _ in assignments(module.tree)}
    assert ALLOWED.keys() - names == set()


@pytest.mark.parametrize(
    "source",
    [
        "import functools\n@functools.cache\ndef f(): ...",
        "from functools import cache\n@cache\ndef f(): ...",
        "from functools import lru_cache\n@lru_cache(maxsize=None)\ndef f(): ...",
        "from functools import lru_cache\n@lru_cache(None)\ndef f(): ...",
        "from functools import lru_cache\n@lru_cache(maxsize=100_000)\ndef f(): ...",
        "class A:\n    def __init__(self):\n        self._event_cache = {}",
        "class A:\n    def __init__(self):\n        self._recent = OrderedDict()",
        "seen: dict[str, int] = {}",
        "from matrixd.util.lru import LruCache\nkept = LruCache(budget, 'x', None)",
    ],
)
def test_what_remembers_without_bound_is_found(source: str) -> None:
    module = _module(source)
    assert unbounded_functions(module) + unregistered_mappings(module) + unregistered_caches(module)


@pytest.mark.parametrize(
    "source",
    [
        "from functools import lru_cache\n@lru_cache(maxsize=128)\ndef f(): ...",
        "class A:\n    def __init__(self, budget):\n        self._event_cache = budget.cache('events', str, str)",
        "class A:\n    def __init__(self):\n        self._waiting = {}",
        "TABLE = {'a': 1}",
        "NOTHING: Mapping[str, int] = {}",
        "memory = {}.get('x')",
    ],
)
def test_what_is_bounded_passes(source: str) -> None:
    module = _module(source)
    assert unbounded_functions(module) + unregistered_mappings(module) + unregistered_caches(module) == []
