"""Exit codes of commands: sysexits for the server, the Linux Standard Base for `synctl`."""

from enum import IntEnum


class Exit(IntEnum):
    """What a program's end says."""

    OK = 0
    FAILED = 1
    USAGE = 2
    CONFIG = 78  # EX_CONFIG of sysexits.h


class Action(IntEnum):
    """LSB: how start, stop and restart ended."""

    OK = 0
    FAILED = 1
    USAGE = 2
    NO_PRIVILEGE = 4
    NOT_INSTALLED = 5
    NOT_CONFIGURED = 6
    NOT_RUNNING = 7


class State(IntEnum):
    """LSB: what status found."""

    RUNNING = 0
    DEAD_WITH_PID_FILE = 1
    NOT_RUNNING = 3
    UNKNOWN = 4
