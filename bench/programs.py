"""Finding or installing the homeservers that are compared."""

import fcntl
import subprocess
import sys
from pathlib import Path

from bench.servers import Program

BENCH = Path(__file__).parent
SERVERS = ("matrixd", "synapse")


class InstallFailed(Exception):
    """Synapse could not be installed; the message is what the command said."""


def matrixd(python: str | None) -> Program:
    """This repository's server, run by `python`, else by the repository's virtual environment, else by this python."""
    chosen = matrixd_python(python)
    version = _output([chosen, "-c", "import matrixd; print(matrixd.__version__)"])
    return Program("matrixd", (chosen, "-m", "matrixd"), version)


def matrixd_python(python: str | None) -> str:
    """The Python that has matrixd."""
    own = BENCH.parent / ".venv" / "bin" / "python"
    return python or (str(own) if own.exists() else sys.executable)


def synapse(python: str | None) -> Program:
    """Synapse from PyPI, in a virtual environment of its own, which is made when it is first needed."""
    chosen = python or str(synapse_environment())
    version = _output([chosen, "-c", "import importlib.metadata as m; print(m.version('matrix-synapse'))"])
    return Program("synapse", (chosen, "-m", "synapse.app.homeserver"), version)


def synapse_environment() -> Path:
    """The Python of that environment; the first that asks installs it, others wait for that. Raises InstallFailed."""
    environment = BENCH / ".venv"
    python = environment / "bin" / "python"
    ready = environment / "ready"
    with (BENCH / ".venv.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not ready.exists():
            print(f"installing Synapse into {environment} (some minutes)", file=sys.stderr)
            _run([sys.executable, "-m", "venv", "--clear", str(environment)])
            _run([str(python), "-m", "pip", "install", "--quiet", "matrix-synapse", "psycopg2-binary"])
            ready.touch()
    return python


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise InstallFailed(f"{' '.join(command)} failed:\n{done.stdout}{done.stderr}")


def _output(command: list[str]) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True, cwd=BENCH.parent).stdout.strip()
