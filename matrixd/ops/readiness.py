"""Waiting until a server that was just started is ready: it says READY=1, as it would say it to systemd."""

import contextlib
import socket
import ssl
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

PATIENCE_S = 60.0
_POLL_S = 0.2


class Readiness:
    """A socket for the messages of sd_notify(3); `environment` tells the server of it."""

    def __init__(self, receiver: socket.socket, path: Path) -> None:
        self._receiver = receiver
        self.environment = {"NOTIFY_SOCKET": str(path)}

    def wait(self, alive: Callable[[], bool], tell: Callable[[str], None], patience_s: float = PATIENCE_S) -> bool:
        """True once the server is ready; False if it has ended or has been silent for too long.

        What the server reports meanwhile goes to `tell`, and gives it more time (a migration may take long).
        """
        deadline = time.monotonic() + patience_s
        while alive() and time.monotonic() < deadline:
            for field in self._receive():
                name, _, text = field.partition("=")
                if field == "READY=1":
                    return True
                if name == "STATUS":
                    tell(text)
                if name in ("STATUS", "EXTEND_TIMEOUT_USEC"):
                    deadline = time.monotonic() + patience_s
        return False

    def _receive(self) -> list[str]:
        try:
            return self._receiver.recv(65536).decode("utf-8", errors="replace").splitlines()
        except TimeoutError:
            return []


@contextlib.contextmanager
def listen() -> Iterator[Readiness]:
    """Opens the socket in a directory that only this user can enter."""
    with tempfile.TemporaryDirectory(prefix="synctl-") as directory, contextlib.ExitStack() as stack:
        path = Path(directory) / "notify"
        receiver = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM))
        receiver.bind(str(path))
        receiver.settimeout(_POLL_S)
        yield Readiness(receiver, path)


def answers(url: str, timeout_s: float = 10.0) -> str | None:
    """Asks for `/_matrix/client/versions`. None if that is answered, else why not.

    Certificates are not checked: the server has them for its public name, and this asks on the machine itself.
    """
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    try:
        with urllib.request.urlopen(f"{url}/_matrix/client/versions", timeout=timeout_s, context=context):
            return None
    except (OSError, ValueError) as error:
        return str(error)
