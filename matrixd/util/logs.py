"""Starting the log: Python's logging as configured, and Twisted's own messages into it."""

import logging
import logging.config
from collections.abc import Mapping
from typing import Any, cast

from twisted.logger import ILogObserver, STDLibLogObserver, globalLogBeginner


def start(dict_config: Mapping[str, Any]) -> None:
    """Configures logging. Raises ValueError, with a sentence, for a configuration that logging refuses."""
    logging.config.dictConfig(dict(dict_config))
    logging.captureWarnings(True)
    observer = cast(ILogObserver, STDLibLogObserver())  # zope.interface does not show itself to type checkers
    globalLogBeginner.beginLoggingTo([observer], redirectStandardIO=False)
