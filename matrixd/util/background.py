"""Work that nobody waits for."""

import logging
from collections.abc import Coroutine
from typing import Any

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

logger = logging.getLogger(__name__)


def in_background(what: str, work: Coroutine[Any, Any, object]) -> Deferred[object]:
    """Run `work`; an error is logged with `what`. The Deferred fires, with None after an error, when it is done."""

    def failed(failure: Failure) -> None:
        logger.error("%s failed:\n%s", what, failure.getTraceback())

    return Deferred.fromCoroutine(work).addErrback(failed)
