import os
import re
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import psutil
import pytest

from hft.units import NS_PER_MS, NS_PER_S
from tools.bench.load.observe import Counts, Published
from tools.bench.load.result import Cpu, Outcome, reduce
from tools.bench.load.venue import Course, Sent
from tools.bench.t2t.load import USUAL
from tools.bench.t2t.pairing import Paired
from tools.system.places import run_root

NAME = f"t2t-{os.getpid()}"


@pytest.fixture
def nothing_left() -> Iterator[None]:
    before = {child.pid for child in psutil.Process().children(recursive=True)}
    yield
    assert not [name for name in os.listdir("/dev/shm") if NAME in name]
    assert not (run_root() / NAME).exists()
    workers = [
        child for child in psutil.Process().children(recursive=True) if child.pid not in before
    ]
    # The fork server and the resource tracker stay for the life of this process.
    assert not [one for one in workers if not re.search("forkserver|tracker", _words(one))]


def _words(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return "tracker"


@pytest.fixture
def outcome_of() -> Callable[..., Outcome]:
    return _outcome


def _outcome(
    *,
    lost: int = 0,
    hidden: npt.NDArray[Any] | None = None,
    unseen: int = 0,
    age_ns: Any = NS_PER_MS,
    spacing_ns: int = 2 * NS_PER_MS,
) -> Outcome:
    """Six seconds of 500 tickers that came out so; ``hidden`` ones have no record."""
    course = Course(rate_per_s=500, seconds=6, depth_every=1_000_000, orders_per_s=0.0)
    begin_ns, first_id = 10 * NS_PER_S, 8_214_400_000_000
    write_ns = begin_ns + np.arange(course.tickers, dtype=np.int64) * spacing_ns
    seen = np.ones(course.tickers, bool)
    if hidden is not None:
        seen[hidden] = False
    numbers = np.arange(course.tickers, dtype=np.uint64) + np.uint64(first_id)
    sent = Sent(
        first_id=first_id,
        write_ns=write_ns,
        late_ns=np.zeros(course.tickers, np.int64),
        frames=course.frames,
        depths=0,
        frames_ever=course.frames,
        waits=0,
        triggers=[],
        arrivals=[],
        violations=0,
    )
    return reduce(
        course,
        sent,
        Published(numbers[seen], (write_ns + age_ns)[seen], unseen),
        Counts(course.frames - lost, course.frames - lost, 5, {"gaps": 0}),
        Paired((), 0, 0, 0),
        Cpu(0.7, 0.1),
        USUAL,
        (),
    )
