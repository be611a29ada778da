"""The master process, from its configuration to its end."""

import logging
import os
import signal
import sys
import time
from collections.abc import Callable
from typing import Any

import sdnotify
from twisted.internet import reactor as _reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.error import CannotListenError
from twisted.internet.task import LoopingCall

from matrixd import __version__
from matrixd.config import Config
from matrixd.core.streams import Stream
from matrixd.master.build import Master, build
from matrixd.master.listen import Listening, listen
from matrixd.storage.engines import open_engine
from matrixd.storage.engines.base import Claimed
from matrixd.storage.migrations import SchemaTooNew, migrate
from matrixd.storage.work import sentence
from matrixd.util import garbage, status_file
from matrixd.util.clock import SystemClock

logger = logging.getLogger(__name__)

# zope's interfaces mean nothing to the type checker.
installed_reactor: Any = _reactor

_STATUS_SECONDS = 5.0
#: How long a master that was killed may still seem to have the database.
_CLAIM_SECONDS = 5.0
_CLAIM_POLL_SECONDS = 0.5


def run(config: Config) -> int:
    """Run the master in the foreground until SIGINT or SIGTERM; the exit status.

    It is ready (systemd is told, and the status file written) when it listens.
    """
    notifier = sdnotify.SystemdNotifier()
    master = _open(config, notifier)
    if master is None:
        return 1
    process = _Process(config, master, notifier)
    installed_reactor.callWhenRunning(process.start)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: installed_reactor.callFromThread(process.stop))
    signal.signal(signal.SIGHUP, lambda *_: installed_reactor.callFromThread(process.forget))
    installed_reactor.run(installSignalHandlers=False)
    return process.exit_status


def _open(config: Config, notifier: sdnotify.SystemdNotifier) -> Master | None:
    """The master with its database open and up to date; None if that cannot be, which is then said."""
    engine = open_engine(config.database)
    deadline = time.monotonic() + _CLAIM_SECONDS
    while True:
        try:
            migrate(engine, lambda step: _progress(notifier, step))
            return build(config, installed_reactor, engine)
        except Claimed as error:
            # PostgreSQL takes a moment to notice that a master was killed.
            if time.monotonic() > deadline:
                _complain(str(error))
                return None
            _progress(notifier, f"waiting: {error}")
            time.sleep(_CLAIM_POLL_SECONDS)
        except SchemaTooNew as error:
            _complain(str(error))
            return None
        except engine.error as error:
            logger.debug("opening the database", exc_info=True)
            _complain(f"the database cannot be used: {sentence(error)}")
            return None


def _complain(problem: str) -> None:
    logger.error("%s", problem)
    print(f"matrixd is not started: {problem}", file=sys.stderr)


def _progress(notifier: sdnotify.SystemdNotifier, step: str) -> None:
    logger.info("%s", step)
    notifier.notify(f"STATUS={step}\nEXTEND_TIMEOUT_USEC=600000000")


class _Process:
    """The running master: its listeners, its status file, its end."""

    def __init__(self, config: Config, master: Master, notifier: sdnotify.SystemdNotifier) -> None:
        self._config = config
        self._master = master
        self._notifier = notifier
        self._clock = SystemClock()
        self._listening: list[Listening] = []
        self._started_ts = 0
        self._stopping = False
        #: Fires when `start` has come to its end, well or not.
        self._begun: Deferred[None] = Deferred()
        self._status = LoopingCall(self._write_status)
        self.exit_status = 0

    def start(self) -> None:
        """Start the parts, then listen."""
        Deferred.fromCoroutine(self._start()).addErrback(self._failed).chainDeferred(self._begun)

    async def _start(self) -> None:
        await self._master.start()
        if self._stopping:
            return
        try:
            await self._listen()
        except CannotListenError as error:
            where = f"port {error.port} of {error.interface}" if error.interface else error.port
            _complain(f"{where} cannot be had: {error.socketError.strerror}")
            self.exit_status = 1
            self.stop()
            return
        self._started_ts = self._clock.now_ms()
        self._status.start(_STATUS_SECONDS)
        garbage.settle()
        addresses = ", ".join(listening.address for listening in self._listening)
        logger.info("matrixd %s serves %s on %s", __version__, self._config.server.server_name, addresses)
        print(f"matrixd {__version__} serves {self._config.server.server_name} on {addresses}", flush=True)
        self._notifier.notify("READY=1\nSTATUS=Serving")

    async def _listen(self) -> None:
        for listener in self._config.listeners:
            self._listening += await listen(installed_reactor, listener, self._config.tls, self._master.dispatchers)

    def stop(self) -> None:
        """Take no more requests, let those under way finish, and end."""
        if not self._stopping:
            self._stopping = True
            self._notifier.notify("STOPPING=1")
            Deferred.fromCoroutine(self._stop()).addErrback(self._failed)

    async def _stop(self) -> None:
        self._master.database.hurry()
        await self._begun
        for listening in self._listening:
            await listening.stop()
        sites = dict.fromkeys(listening.site for listening in self._listening)
        await gatherResults([Deferred.fromCoroutine(site.stop()) for site in sites])
        if self._status.running:
            self._status.stop()
        await self._master.stop()
        _stop_reactor()

    def forget(self) -> None:
        """Forget what is remembered of tokens: a command (`reset_password`) has changed them in the database."""
        logger.info("SIGHUP: looking tokens up again")
        self._master.authenticator.forget_all()

    def _failed(self, failure: object) -> None:
        get_error: Callable[[], str] = getattr(failure, "getErrorMessage", lambda: str(failure))
        logger.error("%s", getattr(failure, "getTraceback", lambda: str(failure))())
        print(f"matrixd: {get_error()}", file=sys.stderr)
        self.exit_status = 1
        _stop_reactor()

    def _write_status(self) -> None:
        pid_file = self._config.server.pid_file
        if pid_file is None:
            return
        token = self._master.feed.token
        status = status_file.Status(
            name="master",
            pid=os.getpid(),
            started_ts=self._started_ts,
            listeners=tuple(listening.address for listening in self._listening),
            positions={stream.label: token[stream] for stream in Stream},
        )
        try:
            status_file.write(status_file.beside(pid_file), status)
        except OSError as error:
            logger.warning("cannot write the status file: %s", error)


def _stop_reactor() -> None:
    if installed_reactor.running:
        installed_reactor.stop()
