"""Finding or installing the homeservers that are compared."""

import subprocess
import sys
from pathlib import Path

from bench.servers import Program

BENCH = Path(__file__).parent
SERVERS = ("matrixd", "synapse")


def matrixd(python: str | None) -> Program:
    """This repository's server, run by `python`, else by the repository's virtual environment, else by this python."""
    own = BENCH.parent / ".venv" / "bin" / "python"
    chosen = python or (str(own) if own.exists() else sys.executable)
    version = _output([chosen, "-c", "import matrixd; print(matrixd.__version__)"])
    return Program("matrixd", (chosen, "-m", "matrixd"), version)


def synapse(python: str | None) -> Program:
    """Synapse from PyPI, in a virtual environment of its own, which is made when it is first needed."""
    chosen = python or str(_synapse_environment())
    version = _output([chosen, "-c", "import importlib.metadata as m; print(m.version('matrix-synapse'))"])
    return Program("synapse", (chosen, "-m", "synapse.app.homeserver"), version)


def _synapse_environment() -> Path:
    environment = BENCH / ".venv"
    python = environment / "bin" / "python"
    ready = environment / "ready"
    if not ready.exists():
        print(f"installing Synapse into {environment} (some minutes)", file=sys.stderr)
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(environment)], check=True)
        wanted = ["matrix-synapse", "psycopg2-binary"]
        subprocess.run([str(python), "-m", "pip", "install", "--quiet", *wanted], check=True)
        ready.touch()
    return python


def _output(command: list[str]) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True, cwd=BENCH.parent).stdout.strip()
