"""What of Twisted's own messages reaches the log."""

from __future__ import annotations

import subprocess
import sys

_PROGRAM = """
from matrixd.util import logs
logs.start({
    "version": 1,
    "handlers": {"out": {"class": "logging.StreamHandler", "stream": "ext://sys.stdout"}},
    "root": {"level": "INFO", "handlers": ["out"]},
})
from twisted.logger import Logger
from twisted.python import log
log.msg("a packet came")
Logger("twisted.web._newclient").info("another server sent a line")
Logger("twisted.web._newclient").error("it broke")
Logger("elsewhere").info("of interest")
log.err(ZeroDivisionError(), "an accident")
"""


def test_chatter_is_left_out_and_errors_are_told() -> None:
    done = subprocess.run([sys.executable, "-c", _PROGRAM], capture_output=True, text=True, timeout=60, check=True)
    lines = [line for line in done.stdout.splitlines() if line]
    said = [line for line in lines if "Error" not in line and "Trace" not in line]
    assert said == ["it broke", "of interest", "an accident"]
    assert any(line.endswith("builtins.ZeroDivisionError: ") for line in lines)
