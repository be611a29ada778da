"""What `synctl status` shows: each process with pid, uptime, memory, listeners and positions."""

from matrixd.ops.installation import PROGRAM, Installation
from matrixd.util import pid_file, processes, status_file
from matrixd.util.exit_codes import State
from matrixd.util.processes import Process
from matrixd.util.status_file import Status


def show(installation: Installation) -> int:
    """Prints the status and returns the LSB's exit code for it."""
    name = installation.config.server.server_name
    pid = pid_file.read(installation.pid_file)
    process = pid_file.running(installation.pid_file, PROGRAM)
    if process is None and pid is None:
        print(f"{PROGRAM} for {name} does not run.")
        return State.NOT_RUNNING
    if process is None:
        other = processes.find(pid) if pid else None
        what = f"pid {pid} is another program's now" if other else f"pid {pid} is dead"
        print(f"{PROGRAM} for {name} does not run, and has not ended well: {installation.pid_file} is left, {what}.")
        return State.DEAD_WITH_PID_FILE
    told = status_file.read(status_file.beside(installation.pid_file))
    print(f"{PROGRAM} for {name}")
    print(describe(process, told if told and told.pid == process.pid else None))
    if installation.config.registration.mode == "open":
        print("  registration is open to anybody")
    return State.RUNNING


def describe(process: Process, told: Status | None) -> str:
    """The lines about one process."""
    lines = [f"  {told.name if told else 'master'}: runs, pid {process.pid}"]
    if process.uptime_s is not None:
        lines.append(f"    uptime     {duration(process.uptime_s)}")
    if process.rss_bytes is not None:
        lines.append(f"    memory     {process.rss_bytes / 1024**2:.0f} MiB")
    if told is None:
        lines.append("    is not ready yet")
        return "\n".join(lines)
    lines.append(f"    listeners  {', '.join(told.listeners) or 'none'}")
    lines.append(f"    positions  {', '.join(f'{name} {at}' for name, at in told.positions.items()) or 'none'}")
    return "\n".join(lines)


def duration(seconds: float) -> str:
    """A time span in its two largest units: `3 d 4 h`, `5 min 6 s`."""
    units = (("d", 86400), ("h", 3600), ("min", 60), ("s", 1))
    rest = int(seconds)
    parts: list[str] = []
    for unit, size in units:
        count, rest = divmod(rest, size)
        if count or (unit == "s" and not parts):
            parts.append(f"{count} {unit}")
    return " ".join(parts[:2])
