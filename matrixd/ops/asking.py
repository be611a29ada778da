"""Asking an admin at the terminal for what the command line left out."""

import getpass
import sys
from pathlib import Path


class Refused(Exception):
    """The command cannot go on; the text says why."""


def password(given: str | None, file: str | None, prompt: str = "Password") -> str:
    """The password: as given, the first line of `file` (`-`: of standard input), or asked for twice, unseen."""
    if file is not None:
        given = _first_line(file)
    if given is None:
        given = _ask_twice(prompt)
    if not given:
        raise Refused("The password is empty.")
    return given


def line(prompt: str, default: str = "") -> str:
    """One line of text; an empty one means `default`."""
    try:
        return input(f"{prompt}{f' [{default}]' if default else ''}: ").strip() or default
    except EOFError:
        raise Refused(f"{prompt}: nothing was entered.") from None


def yes(prompt: str) -> bool:
    """Whether the admin says yes; no is the default."""
    return line(f"{prompt} [no]").lower() in ("y", "yes")


def _first_line(file: str) -> str:
    try:
        text = sys.stdin.read() if file == "-" else Path(file).read_text(encoding="utf-8")
    except OSError as error:
        raise Refused(f"{file} cannot be read: {error.strerror}") from None
    return text.splitlines()[0] if text else ""


def _ask_twice(prompt: str) -> str:
    try:
        first = getpass.getpass(f"{prompt}: ")
        if getpass.getpass(f"{prompt} again: ") != first:
            raise Refused("The two passwords differ.")
    except EOFError:
        raise Refused(f"{prompt}: nothing was entered.") from None
    return first
