"""The kinds under test: one way to write and to read each of them."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final, Protocol

import pytest

import ipc
from ipc import (
    Bell,
    CellReader,
    CellWriter,
    Parker,
    RingReader,
    RingWriter,
    RolePage,
    Segment,
    SegmentKind,
    SegmentSpec,
)

ITEM_BYTES: Final = 128
BODY: Final = struct.Struct("<14Q")
"""A value's words behind the two that belong to a ring."""
BODY_OFFSET: Final = 16
CAPACITY: Final = 16
CELL: Final = 3
BELLS: Final = SegmentSpec("bells", SegmentKind.BELLS, ipc.BELL_BYTES, 4, shared=True)


class Writer(Protocol):
    """Sends whole values."""

    def send(self, value: int) -> None: ...


class Reader(Protocol):
    """Returns the next value (a ring) or the newest (cells), None if there is nothing new."""

    def receive(self) -> int | None: ...


class Kind(Protocol):
    """One kind of channel between one writer and its readers."""

    spec: SegmentSpec
    keeps_every_value: bool

    def writer(self, segment: Segment, bells: list[Bell]) -> Writer: ...

    def reader(self, segment: Segment) -> Reader: ...

    def watch(self, bells: Segment, reader: Reader) -> Parker: ...


def pack(value: int) -> tuple[int, ...]:
    return tuple(value * 31 + word for word in range(14))


def unpack(buffer: bytearray) -> int:
    words = BODY.unpack_from(buffer, BODY_OFFSET)
    value: int = words[0] // 31
    assert words == pack(value), "a torn value"
    return value


class RingEnd:
    """Both ends of a ring, as far as used."""

    def __init__(self, segment: Segment) -> None:
        self.segment: Final = segment
        self.buffer: Final = bytearray(ITEM_BYTES)


class RingSender(RingEnd):
    def __init__(self, segment: Segment, gates: list[ipc.Cursor], bells: list[Bell]) -> None:
        super().__init__(segment)
        self._writer = RingWriter(segment, self.buffer, gates=gates, bells=bells)

    def send(self, value: int) -> None:
        BODY.pack_into(self.buffer, BODY_OFFSET, *pack(value))
        assert self._writer.offer()


class RingReceiver(RingEnd):
    def __init__(self, segment: Segment, cursor: ipc.Cursor | None) -> None:
        super().__init__(segment)
        self.reader: Final = RingReader(
            segment, self.buffer, cursor=cursor, start_seq=None if cursor else 1
        )

    def receive(self) -> int | None:
        while not self.reader.next():
            if not self.reader.lapped:
                return None
        self.reader.commit()
        return unpack(self.buffer)


class LosslessRing:
    spec = SegmentSpec("channel", SegmentKind.RING, ITEM_BYTES, CAPACITY, layout_hash=11)
    keeps_every_value = True

    def __init__(self, page: RolePage) -> None:
        self._page = page

    def writer(self, segment: Segment, bells: list[Bell]) -> RingSender:
        return RingSender(segment, [self._page.cursor(0)], bells)

    def reader(self, segment: Segment) -> RingReceiver:
        return RingReceiver(segment, self._page.cursor(0))

    def watch(self, bells: Segment, reader: RingReceiver) -> Parker:
        return Parker(bells, 0, [reader.reader])


class BroadcastRing(LosslessRing):
    def writer(self, segment: Segment, bells: list[Bell]) -> RingSender:
        return RingSender(segment, [], bells)

    def reader(self, segment: Segment) -> RingReceiver:
        return RingReceiver(segment, None)


class CellSender:
    def __init__(self, segment: Segment, bells: list[Bell]) -> None:
        self._buffer = bytearray(ITEM_BYTES)
        self._writer = CellWriter(segment, self._buffer, bells=bells)

    def send(self, value: int) -> None:
        BODY.pack_into(self._buffer, BODY_OFFSET, *pack(value))
        self._writer.write(CELL)


class CellReceiver:
    def __init__(self, segment: Segment) -> None:
        self._buffer = bytearray(ITEM_BYTES)
        self.reader: Final = CellReader(segment, self._buffer)
        self._version = 0

    def receive(self) -> int | None:
        version = self.reader.version(CELL)
        if version == self._version or not self.reader.read(CELL):
            return None
        self._version = version
        return unpack(self._buffer)


class StateCell:
    spec = SegmentSpec("channel", SegmentKind.CELLS, ITEM_BYTES, CAPACITY, layout_hash=11)
    keeps_every_value = False

    def __init__(self, page: RolePage) -> None:
        pass

    def writer(self, segment: Segment, bells: list[Bell]) -> CellSender:
        return CellSender(segment, bells)

    def reader(self, segment: Segment) -> CellReceiver:
        return CellReceiver(segment)

    def watch(self, bells: Segment, reader: CellReceiver) -> Parker:
        return Parker(bells, 0, extra_words=[reader.reader.word(CELL)])


class Channel:
    """A channel of one kind in a system of its own."""

    def __init__(self, system: str, kind: Kind) -> None:
        self.system: Final = system
        self.kind: Final = kind
        self.spec: Final = kind.spec

    def attach(self, *, writable: bool = False, spec: SegmentSpec | None = None) -> Segment:
        return Segment.attach(self.system, spec or self.spec, writable=writable)

    def writer(self, *, bells: list[Bell] | None = None) -> Writer:
        return self.kind.writer(self.attach(writable=True), bells or [])

    def reader(self) -> Reader:
        return self.kind.reader(self.attach())

    def bells(self) -> Segment:
        return Segment.attach(self.system, BELLS, writable=True)


@pytest.fixture(params=[LosslessRing, BroadcastRing, StateCell])
def channel(system_name: str, request: pytest.FixtureRequest) -> Iterator[Channel]:
    """A channel of each kind in turn."""
    specs = [request.param.spec, BELLS, RolePage.spec("page")]
    for spec in specs:
        ipc.create_segment(system_name, spec)
    page = RolePage.attach(system_name, "page", writable=True)
    yield Channel(system_name, request.param(page))
    for spec in specs:
        ipc.unlink_segment(system_name, spec.name)
