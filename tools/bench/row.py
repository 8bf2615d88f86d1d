"""What a row of the table is: a transport, how its sides connect, how much is measured."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any, NamedTuple

from tools.bench.side import Side


class Place(NamedTuple):
    """Where the parent may put what connects one pair of workers; nothing else uses it."""

    name: str
    """Unique on this host: letters, digits and hyphens."""
    directory: Path
    """Empty, short enough for socket names, removed afterwards."""
    context: ForkServerContext


class Row(NamedTuple):
    """One transport."""

    name: str
    """As ``--peers`` takes it."""
    path: str
    """As the table shows it."""
    wait: str
    """How its reader waits."""
    tight_count: int
    """Round trips of a full repetition."""
    stream_count: int
    """Records of a full repetition's streaming phase."""
    link: Callable[[Place], AbstractContextManager[Any]]
    """Parent: makes what connects the two sides; the value goes to both workers."""
    connect: Callable[[Any, bool], Side]
    """Worker: its side of the link; True for the near one."""
    module: str = ""
    """Module of the ``bench`` extra the row needs."""
    distribution: str = ""
    batch_count: int = 1
    """Records a message carries."""
