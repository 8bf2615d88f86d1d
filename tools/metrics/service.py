"""`hft metrics`: serve what Prometheus reads, log what the roles report, outlive them."""

from __future__ import annotations

import contextlib
import os
import select
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from prometheus_client import CollectorRegistry

import ipc
from hft.config import MetricsConfig
from hft.errors import EXIT_OK, UnreachableError, UsageError
from tools.logs.entry import LEVELS
from tools.logs.log_file import LogFile, log_path
from tools.logs.writing import NOWHERE, Log, Sinks, make_log
from tools.metrics.collector import SystemCollector
from tools.metrics.server import Server, application
from tools.metrics.watched import View, Watched
from tools.metrics.watcher import Watcher
from tools.system import endpoint
from tools.system.places import find_running
from tools.system.stopping import StopRequest

LOOK_S: Final = 0.25
"""Pause between two looks at what the roles report."""
BIND_AGAIN_NS: Final = 5_000_000_000
NICE: Final = 10
"""Whoever trades comes first."""
DEFAULTS: Final = MetricsConfig()


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What the command line may choose."""

    root: Path
    """Root of the run directories."""
    name: str | None = None
    host: str | None = None
    """None: as the settings of the system say."""
    port: int | None = None
    parent: int = 0
    """Process to end with; 0: none. Such a helper never gives up for want of a port."""
    is_quiet: bool = False
    as_json: bool = False


class Service:
    """One process that watches one system by its name."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._watched = Watched(options.root, options.name, self._attached)
        registry = CollectorRegistry()
        registry.register(SystemCollector(self._watched))
        self._application = application(registry, self._watched.problems)
        self._sinks = self._make_sinks(None)
        self._log: Log = make_log(self._sinks, "metrics")
        self._watcher: Watcher | None = None
        self._server: Server | None = None
        self._address = ("", 0)
        self._bind_ns = 0

    def _make_sinks(self, file: LogFile | None) -> Sinks:
        level = LEVELS["warning" if self._options.parent else "info"]
        return Sinks(
            file,
            console=sys.stderr,
            console_level=NOWHERE if self._options.is_quiet else level,
            as_json=self._options.as_json,
        )

    def _attached(self, view: View) -> None:
        """A new life of the system: watch it, log beside it, listen where its settings say."""
        self._sinks.close()
        self._sinks = self._make_sinks(LogFile(log_path(Path(view.plan.state_dir))))
        self._log = make_log(self._sinks, "metrics")
        self._watcher = Watcher(view, self._log)
        if self._server is not None:
            endpoint.note(view.run_dir, self.url)

    def step(self, now_ns: int) -> None:
        """Look at the system once; listen, if we do not yet.

        Raises:
            UsageError: the port is taken, and a person chose it.
        """
        with self._watched.view() as view:
            if view is None and self._watcher is not None:
                self._watcher = None
                self._log.warning("the system is gone", text="waiting for its return")
            settings = view.plan.config.metrics if view is not None else DEFAULTS
            if view is not None and self._watcher is not None:
                self._watcher.step(now_ns)
            self._listen(settings, view, now_ns)

    def _listen(self, settings: MetricsConfig, view: View | None, now_ns: int) -> None:
        """Serve at the address of options and settings; where it is taken, try again later."""
        host = settings.host if self._options.host is None else self._options.host
        port = settings.port if self._options.port is None else self._options.port
        is_new = self._address != (host, port)
        if (self._server is not None and not is_new) or (not is_new and now_ns < self._bind_ns):
            return
        if self._server is not None:
            if view is None:
                return  # where it will want to be seen next is not known yet
            self._server.close()
            self._server = None
        self._address, self._bind_ns = (host, port), now_ns + BIND_AGAIN_NS
        try:
            self._server = Server(host, port, self._application)
        except OSError as error:
            what = f"metrics cannot be served at {host}:{port}: {error.strerror}."
            if not self._options.parent:
                raise UsageError(what, remedy="Choose another with --port or --host.") from None
            if is_new:
                self._log.warning("not served", text=f"{what} Set metrics.port to another one.")
            return
        self._log.info("serving", url=self.url)
        if view is not None:
            endpoint.note(view.run_dir, self.url)

    @property
    def url(self) -> str:
        """Where the metrics are."""
        host = self._address[0]
        shown = f"[{host}]" if ":" in host else host
        return f"http://{shown}:{self._server.port if self._server else 0}/metrics"

    def close(self) -> None:
        """Stop serving and let go."""
        if self._server is not None:
            self._server.close()
        with self._watched.view() as view:
            if view is not None:
                endpoint.forget(view.run_dir)
        self._watched.close()
        self._sinks.close()


def run(options: Options) -> int:
    """Serve until a signal, or until the parent has ended.

    Raises:
        UsageError: the port is taken; or several systems run and none is named.
    """
    with contextlib.suppress(UnreachableError):  # it may come later
        find_running(options.root, options.name)
    with contextlib.suppress(PermissionError):  # under systemd the unit has done it
        os.nice(NICE)
    try:
        parent = ipc.Pidfd(options.parent) if options.parent else None
    except ProcessLookupError:
        return EXIT_OK
    with StopRequest().installed() as stop:
        service = Service(options)
        ends = [stop.fileno(), *([parent.fileno()] if parent else [])]
        try:
            while True:
                service.step(time.monotonic_ns())
                if select.select(ends, [], [], LOOK_S)[0]:
                    return EXIT_OK
        finally:
            service.close()
