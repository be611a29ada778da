"""A configuration in a directory, and a stand-in for the server that behaves as a test wants."""

import os
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from matrixd.ops import installation
from matrixd.ops.installation import Installation
from matrixd.util import pid_file, processes

STAND_IN = """
import http.server, json, os, signal, socket, sys, threading, time
mode, port, directory = {mode!r}, {port}, {directory!r}
assert sys.argv[1] == "-c", sys.argv
print("the stand-in says hello", flush=True)
if mode == "fails":
    sys.exit("no room at the inn")
if mode == "wrong configuration":
    sys.exit(78)
open(directory + "/homeserver.pid", "w").write(str(os.getpid()))

class Versions(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        status = 200 if self.path == "/_matrix/client/versions" else 404
        self.send_response(503 if mode == "unwell" else status)
        self.end_headers()
        self.wfile.write(b"{{}}")
    def log_message(self, *arguments):
        pass

server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Versions)
threading.Thread(target=server.serve_forever, daemon=True).start()
ended = threading.Event()
signal.signal(signal.SIGTERM, lambda *a: None if mode == "stubborn" else ended.set())
notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
notify.connect(os.environ["NOTIFY_SOCKET"])
notify.send(b"STATUS=migrating the database")
with open(directory + "/homeserver.status", "w") as status:
    json.dump({{"name": "master", "pid": os.getpid(), "started_ts": 1, "listeners": ["http://127.0.0.1"],
               "positions": {{"events": 42}}}}, status)
notify.send(b"READY=1")
while not ended.wait(0.1):
    pass
os.unlink(directory + "/homeserver.pid")
"""

Server = tuple[Installation, list[str]]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def config_path(tmp_path: Path) -> Path:
    path = tmp_path / "homeserver.yaml"
    listener = f"{{port: {_free_port()}, bind_addresses: [127.0.0.1]}}"
    path.write_text(f"server_name: test.example\npid_file: homeserver.pid\nlisteners: [{listener}]\n")
    return path


@pytest.fixture
def stand_in(config_path: Path, tmp_path: Path) -> Iterator[Callable[[str], Server]]:
    """Makes the installation, and the command that starts a stand-in of the given mode."""

    def make(mode: str) -> Server:
        found = installation.find([config_path])
        script = tmp_path / "matrixd"
        script.write_text(STAND_IN.format(mode=mode, port=found.config.listeners[0].port, directory=str(tmp_path)))
        return found, [sys.executable, str(script)]

    yield make
    pid = pid_file.read(tmp_path / "homeserver.pid")
    if pid and pid != os.getpid() and (process := processes.find(pid)) and process.runs("matrixd"):
        os.kill(pid, 9)
