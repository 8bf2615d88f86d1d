"""Two pinned worker processes for one repetition of one row, and what they bring back."""

from __future__ import annotations

import ctypes
import gc
import os
import resource
import signal
from array import array
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkServerContext
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from hft.errors import CheckFailedError
from hft.units import NS_PER_S
from tools.bench.row import Place, Row
from tools.bench.side import Side

WARM_DIVISOR: Final = 10
DEADLINE_S: Final = 120
"""A worker ends itself then: one whose partner is stuck does not spin for ever."""
PR_SET_PDEATHSIG: Final = 1
"""Linux prctl: the signal a process gets when its parent dies."""
READY: Final = "ready"
DONE: Final = "done"


class Counts(NamedTuple):
    """Messages (records, when streaming) of each phase; some more go first, unmeasured."""

    tight: int
    paced: int
    stream: int


class Repetition(NamedTuple):
    """One row, once."""

    round_trip_ns: npt.NDArray[np.int64]
    paced_ns: npt.NDArray[np.int64]
    records_per_s: float
    checksum: int
    """Over the records of all three phases, as received."""
    preempted: int
    """Times the scheduler gave a worker's cpu to somebody else."""


class Report(NamedTuple):
    """What one worker says at the end."""

    samples_ns: bytes
    """Near: round trips; far: ages of the paced records."""
    echo_checksum: int
    """Near only: of the echoes, each of which it verified."""
    checksums: tuple[int, int]
    """Paced, streaming: what near sent, what far received."""
    stream_at_ns: int
    preempted: int


def measure(row: Row, place: Place, cpus: tuple[int, int], counts: Counts) -> Repetition:
    """Run the row's three phases once, on two fresh processes.

    Raises:
        CheckFailedError: A worker failed, or what arrived is not what was sent.
    """
    with row.link(place) as link:
        near, far = _Pair(row, link, place.context, cpus, counts).run()
    if near.checksums != far.checksums:
        raise CheckFailedError(
            f"{row.name}: checksums differ: sent {near.checksums}, received {far.checksums}",
            remedy="the transport lost or changed records: its figures mean nothing",
        )
    return Repetition(
        round_trip_ns=np.frombuffer(near.samples_ns, np.int64),
        paced_ns=np.frombuffer(far.samples_ns, np.int64),
        records_per_s=counts.stream * NS_PER_S / (far.stream_at_ns - near.stream_at_ns),
        checksum=(near.echo_checksum + sum(far.checksums)) % 2**64,
        preempted=near.preempted + far.preempted,
    )


class _Pair:
    """The parent's end of the two workers."""

    def __init__(
        self,
        row: Row,
        link: object,
        context: ForkServerContext,
        cpus: tuple[int, int],
        counts: Counts,
    ) -> None:
        self._name = row.name
        self._connections: list[Connection] = []
        self._processes = []
        for near, cpu in zip((True, False), cpus, strict=True):
            ours, theirs = context.Pipe()
            process = context.Process(
                target=work, args=(row, near, link, cpu, counts, theirs), daemon=True
            )
            process.start()
            theirs.close()
            self._connections.append(ours)
            self._processes.append(process)

    def run(self) -> tuple[Report, Report]:
        """Start both once both are connected, and collect what they report."""
        try:
            self._collect()
            for connection in self._connections:
                connection.send(READY)
            near, far = self._collect()
            for connection in self._connections:
                connection.send(DONE)
            for process in self._processes:
                process.join()
            return near, far
        finally:
            for process in self._processes:
                process.kill()
                process.join()

    def _collect(self) -> list[Any]:
        """One message of each worker, near first; the first failure of either ends the wait."""
        messages: dict[Connection, Any] = {}
        while len(messages) < len(self._connections):
            for connection in wait([c for c in self._connections if c not in messages]):
                assert isinstance(connection, Connection)
                try:
                    message = connection.recv()
                except EOFError:
                    message = RuntimeError("ended without a word, or was stuck and ended itself")
                if isinstance(message, Exception):
                    raise CheckFailedError(
                        f"{self._name}: a worker failed: {message}",
                        remedy="leave the row out: --peers names those to measure",
                    ) from message
                messages[connection] = message
        return [messages[connection] for connection in self._connections]


def work(
    row: Row, near: bool, link: object, cpu: int, counts: Counts, connection: Connection
) -> None:
    """Body of a worker process: pin, connect, meet the other side, measure, report."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides what an interrupt means
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    signal.alarm(DEADLINE_S)
    try:
        os.sched_setaffinity(0, {cpu})
        side = row.connect(link, near)
        gc.collect()
        gc.freeze()
        gc.disable()
        connection.send(READY)
        connection.recv()
        connection.send((_near if near else _far)(side, counts))
        connection.recv()  # neither side hangs up before both have everything
    except Exception as error:
        connection.send(RuntimeError(f"{type(error).__name__}: {error}"))


def _near(side: Side, counts: Counts) -> Report:
    samples = array("q", bytes(8 * counts.tight))
    before = _preempted()
    echo_checksum = side.ping(memoryview(samples), _warm(counts.tight))
    paced_checksum = side.send_paced(counts.paced + _warm(counts.paced))
    stream = side.send_stream(counts.stream)
    return Report(
        samples_ns=samples.tobytes(),
        echo_checksum=echo_checksum,
        checksums=(paced_checksum, stream.checksum),
        stream_at_ns=stream.at_ns,
        preempted=_preempted() - before,
    )


def _far(side: Side, counts: Counts) -> Report:
    samples = array("q", bytes(8 * counts.paced))
    before = _preempted()
    side.pong(counts.tight + _warm(counts.tight))
    paced_checksum = side.receive_paced(memoryview(samples), _warm(counts.paced))
    stream = side.receive_stream(counts.stream)
    return Report(
        samples_ns=samples.tobytes(),
        echo_checksum=0,
        checksums=(paced_checksum, stream.checksum),
        stream_at_ns=stream.at_ns,
        preempted=_preempted() - before,
    )


def _warm(count: int) -> int:
    return max(1, count // WARM_DIVISOR)


def _preempted() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw
