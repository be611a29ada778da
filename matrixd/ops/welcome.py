"""What `make run` prints once the server is ready: its address, and how to make the first user."""

import argparse
import time
from pathlib import Path

from matrixd.config import ConfigError, load
from matrixd.config.server import guessed_url
from matrixd.ops import readiness
from matrixd.util import processes, status_file

_PATIENCE_S = 600.0
_POLL_S = 0.3


def main() -> int:
    """Waits for the server that the shell becomes; says nothing if that ends before it is ready."""
    parser = argparse.ArgumentParser("matrixd-welcome")
    parser.add_argument("-c", "--config", required=True, type=Path)
    parser.add_argument("--pid", required=True, type=int, help="the server's pid")
    parser.add_argument("--bin", default="", help="what stands before the commands' names, such as `.venv/bin/`")
    options = parser.parse_args()
    try:
        config = load([options.config], read_files=False)
    except ConfigError:
        return 0  # the server itself tells what is wrong
    url = guessed_url(config.listeners)
    if url and config.server.pid_file and _wait(config.server.pid_file, options.pid, url):
        print(
            f"\n  {config.server.server_name} answers at {url}\n\n"
            f"  Make the first user, in another terminal:\n\n"
            f"      {options.bin}register_new_matrix_user -c {options.config} --admin\n\n"
            f"  Ctrl-C stops the server.\n",
            flush=True,
        )
    return 0


def _wait(path: Path, pid: int, url: str) -> bool:
    """Whether the process `pid` listens and answers, before it ends; `path` is the pid file's.

    An answer alone may be that of another server on the same port.
    """
    deadline = time.monotonic() + _PATIENCE_S
    while time.monotonic() < deadline:
        listening = status_file.read(status_file.beside(path))
        if listening and listening.pid == pid and readiness.answers(url) is None:
            return True
        if processes.find(pid) is None:
            return False
        time.sleep(_POLL_S)
    return False


if __name__ == "__main__":
    raise SystemExit(main())
