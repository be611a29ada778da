"""Starting the log: Python's logging as configured, and Twisted's own messages into it."""

import logging
import logging.config
from collections.abc import Mapping
from typing import Any, cast

from twisted.logger import (
    FilteringLogObserver,
    ILogObserver,
    LogLevel,
    LogLevelFilterPredicate,
    STDLibLogObserver,
    globalLogBeginner,
)

#: Where Twisted tells of each packet and of each line that another server sends: four messages for one DNS look-up, and
#: as many as that server likes for one HTTP answer. Errors are told.
_TALKATIVE = ("log_legacy", "twisted.web._newclient")


def start(dict_config: Mapping[str, Any]) -> None:
    """Configures logging. Raises ValueError, with a sentence, for a configuration that logging refuses."""
    logging.config.dictConfig(dict(dict_config))
    logging.captureWarnings(True)
    quiet = LogLevelFilterPredicate(defaultLogLevel=LogLevel.debug)
    for namespace in _TALKATIVE:
        quiet.setLogLevelForNamespace(namespace, LogLevel.warn)
    # zope.interface does not show itself to type checkers
    observer = FilteringLogObserver(cast(ILogObserver, STDLibLogObserver()), [cast(Any, quiet)])
    globalLogBeginner.beginLoggingTo([cast(ILogObserver, observer)], redirectStandardIO=False)
