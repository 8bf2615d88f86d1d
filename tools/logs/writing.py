"""Loggers for cold code: structlog, into the system's log file and, if wanted, to the terminal."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final, TextIO

import msgspec
import structlog
from structlog.typing import EventDict, FilteringBoundLogger, WrappedLogger

from hft.config import Config
from hft.errors import HftError
from ipc import IpcError
from tools.logs import entry
from tools.logs.log_file import LogFile, log_path
from tools.system.places import places_of
from tools.terminal import tell

Log = FilteringBoundLogger
"""``log.warning("what happened", source="who", fact=…)``."""
NOWHERE: Final = 100
"""A level that no entry has."""


class Sinks:
    """Where entries go: a file, as JSON; and a console from some level on, in words or as JSON."""

    def __init__(
        self,
        file: LogFile | None,
        *,
        console: TextIO | None = None,
        console_level: int = NOWHERE,
        as_json: bool = False,
    ) -> None:
        self._file = file
        self._console = console or sys.stderr
        self._console_level = console_level
        self._as_json = as_json

    def take(self, found: dict[str, Any]) -> None:
        """Write an entry wherever it belongs."""
        line = msgspec.json.encode(found, enc_hook=str)
        if self._file is not None:
            if lost := self._file.lost:
                found_lost = msgspec.json.encode({**found, "lost_before": lost}, enc_hook=str)
                if self._file.append(found_lost + b"\n"):
                    self._file.lost = 0
            else:
                self._file.append(line + b"\n")
        if entry.LEVELS.get(found["level"], 0) >= self._console_level:
            with suppress(OSError):  # nobody listens any more
                self._console.write(
                    (line.decode() if self._as_json else entry.render(found)) + "\n"
                )
                self._console.flush()

    info = warning = error = take

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()


def make_log(sinks: Sinks, source: str) -> Log:
    """A logger whose entries name ``source`` unless they say otherwise."""
    log: Log = structlog.wrap_logger(
        sinks,
        processors=[structlog.stdlib.add_log_level, _finish],
        wrapper_class=structlog.make_filtering_bound_logger(entry.LEVELS["info"]),
        cache_logger_on_first_use=True,
        source=source,
    )
    return log


def _finish(_logger: WrappedLogger, _method: str, found: EventDict) -> tuple[tuple[Any], Any]:
    """Put what matters first, take secrets out, and hand it to the sinks."""
    first = {
        "time": entry.timestamp(time.time_ns()),
        "level": found.pop("level"),
        "source": found.pop("source"),
        "event": found.pop("event"),
    }
    return (entry.redact({**first, **found}),), {}


@contextmanager
def told(config: Config) -> Iterator[Any]:
    """What a foreground command says to a person, said to the log as well; and why it ended.

    Yields a function that takes one line.
    """
    places = places_of(config)
    sinks = Sinks(LogFile(log_path(places.state_dir)))
    log = make_log(sinks, "supervisor")

    def say(text: str) -> None:
        tell(text)
        log.info(text.strip())

    log.info("starting", system=config.system.name, mode=config.system.mode,
             topology=config.system.topology)  # fmt: skip
    try:
        yield say
    except (HftError, IpcError) as error:
        log.error("ended", text=str(error), remedy=getattr(error, "remedy", ""))
        raise
    except BaseException as error:
        log.error("ended", text=f"{type(error).__name__}: {error}")
        raise
    else:
        log.info("ended")
    finally:
        sinks.close()
