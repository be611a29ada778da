"""Chance, as something that is passed in."""

import secrets
from typing import Protocol


class Randomness(Protocol):
    """Makes texts that nobody can guess."""

    def text(self, alphabet: str, length: int) -> str:
        """`length` characters, each drawn evenly from `alphabet`."""


class SystemRandomness:
    """The operating system's source of secrets."""

    def text(self, alphabet: str, length: int) -> str:
        """`length` characters, each drawn evenly from `alphabet`."""
        return "".join(secrets.choice(alphabet) for _ in range(length))
