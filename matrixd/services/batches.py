"""The same work for many rooms: some at a time, so that neither one after the other nor all at once."""

from collections.abc import Callable, Coroutine, Sequence
from typing import Any, TypeVar

from twisted.internet.defer import Deferred, gatherResults

T = TypeVar("T")

#: How many are worked on together: enough to share commits, few enough to leave the server to others.
AT_ONCE = 20


async def in_batches(items: Sequence[T], work: Callable[[T], Coroutine[Any, Any, object]]) -> None:
    """Run `work(item)` for all items. Raises what the first of them raised, when its batch is through."""
    for start in range(0, len(items), AT_ONCE):
        batch = items[start : start + AT_ONCE]
        await gatherResults([Deferred.fromCoroutine(work(item)) for item in batch], consumeErrors=True)
