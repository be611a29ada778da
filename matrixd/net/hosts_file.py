"""`/etc/hosts`: what the machine's admin says of names goes before what the DNS says."""

from collections.abc import Callable, Sequence
from pathlib import Path

from matrixd.net.addresses import is_address

#: For so long the file is not looked at again.
_FRESH_S = 10.0
_MAX_BYTES = 1024 * 1024


class HostsFile:
    """The names in a file of the form of `hosts(5)`; read again when it changes."""

    def __init__(self, path: Path, seconds: Callable[[], float]) -> None:
        self._path = path
        self._seconds = seconds
        self._looked_at: float | None = None
        self._modified: float | None = None
        self._addresses: dict[str, list[str]] = {}

    def addresses(self, name: str) -> Sequence[str]:
        """The addresses of a name, in the file's order; empty if it has none."""
        now = self._seconds()
        if self._looked_at is None or now - self._looked_at >= _FRESH_S:
            self._looked_at = now
            self._refresh()
        return self._addresses.get(name.lower(), ())

    def _refresh(self) -> None:
        try:
            modified = self._path.stat().st_mtime
            if modified != self._modified:
                with self._path.open(encoding="utf-8", errors="replace") as file:
                    self._addresses = _parse(file.read(_MAX_BYTES))
                self._modified = modified
        except OSError:
            # A machine may do without the file.
            self._addresses, self._modified = {}, None


def _parse(text: str) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for line in text.splitlines():
        words = line.partition("#")[0].split()
        if not words or not is_address(words[0]):
            continue
        for name in words[1:]:
            addresses = found.setdefault(name.lower().rstrip("."), [])
            if words[0] not in addresses:
                addresses.append(words[0])
    return found
