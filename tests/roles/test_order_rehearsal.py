"""A rehearsal runs the order path and leaves nothing behind."""

from __future__ import annotations

import asyncio
import select
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest
from picows import WSMsgType

from hft import counters
from hft.config import VenueConfig
from hft.core.generated.views import Execution as ExecutionRecord
from hft.core.generated.views import Journal
from hft.core.orders import Order
from hft.records import ExecKind, JournalKind, Side
from hft.roles.context import Context
from hft.roles.execution import Execution
from hft.roles.order_rehearsal import ORDER_ID, WRITE_EVERY_NS, OrderRehearsal
from hft.roles.scratch import CAPACITY_MAX, ScratchContext
from hft.units import E8, NS_PER_MS, NS_PER_S
from hft.venues.binance_usdm.order_session import OrderSession
from hft.venues.binance_usdm.silent_line import SilentLine
from hft.venues.binance_usdm.venue_clock import VenueClock
from ipc import RingReader
from tools.chaos.taps import _is_rehearsal


class Rest:
    venue_ns = 1_800_000_000 * NS_PER_S
    clock = VenueClock(wall_ns=lambda: Rest.venue_ns)


@pytest.fixture(params=["hmac", "ed25519"])
def real(house: Any, tmp_path: Path, request: pytest.FixtureRequest) -> Execution:
    key = tmp_path / "key"
    key.write_text("api-key\nsecret\n")
    key.chmod(0o600)
    config = msgspec.structs.replace(house.plan.config, venue=VenueConfig(key_file=str(key)))
    house.plan = msgspec.structs.replace(house.plan, config=config)
    role = Execution(house.context("execution"))
    role.on_start(time.monotonic_ns())
    role._credentials.key_type = request.param
    role._encoders.clear()
    role._instruments._versions.clear()
    role._renew_encoders()
    return role


def rehearsal_of(role: Execution) -> OrderRehearsal:
    rest: Any = Rest()
    return OrderRehearsal(role, role._context, rest, role._encoders, role._credentials)


def entries(context: Context) -> list[JournalKind]:
    reader, buffer = _observer(context, "journal")
    entry, found = Journal(buffer), []
    while reader.next():
        found.append(JournalKind(entry.journal_kind))
    return found


def records(context: Context) -> list[ExecKind]:
    reader, buffer = _observer(context, "executions")
    record, found = ExecutionRecord(buffer), []
    while reader.next():
        found.append(ExecKind(record.exec_kind))
    return found


def _observer(context: Context, name: str) -> tuple[RingReader, bytearray]:
    return context.observer(name, 1)


def test_an_order_lives_from_decision_to_fill(real, monkeypatch):
    sent = []
    send = OrderSession.send

    def note(session: OrderSession, text: bytes) -> None:
        sent.append(text)
        send(session, text)

    monkeypatch.setattr(OrderSession, "send", note)
    rehearsal = rehearsal_of(real)
    rehearsal.run()
    context = rehearsal._twin._context
    assert [b'"method":"order.place"' in text for text in sent] == [True]
    assert entries(context) == [JournalKind.PLACE, JournalKind.UPDATE, JournalKind.FILL]
    assert records(context) == [ExecKind.SENT, ExecKind.ACK, ExecKind.FILL]
    assert rehearsal._twin._keeper.table.find(ORDER_ID) is None


def test_any_number_of_rehearsals_goes_the_same_way_and_grows_nothing(real):
    rehearsal = rehearsal_of(real)
    for _ in range(3 * CAPACITY_MAX):
        rehearsal.run()
    twin = rehearsal._twin
    page = twin._context.page
    assert page.counter(counters.SENT.id) == page.counter(counters.FILLS.id) == 3 * CAPACITY_MAX
    assert page.counter(counters.DROPPED.id) == 0
    assert len(twin._keeper.table) == 0
    assert not twin._events._requests
    assert not twin._events.awaited


def test_in_parts_it_is_answered_and_filled_in_turns_and_grows_nothing(real):
    rehearsal = rehearsal_of(real)
    twin = rehearsal._twin
    rehearsal.answer(1)  # nothing was placed yet
    for _ in range(2 * CAPACITY_MAX):
        rehearsal.place(time.monotonic_ns())
        rehearsal.place(time.monotonic_ns())
        rehearsal.answer(time.monotonic_ns())
    page = twin._context.page
    assert page.counter(counters.SENT.id) == rehearsal.count == 4 * CAPACITY_MAX
    assert page.counter(counters.ACKED.id) == 2 * CAPACITY_MAX
    assert page.counter(counters.FILLS.id) == CAPACITY_MAX
    assert page.counter(counters.DROPPED.id) == 0
    assert len(twin._keeper.table) == len(twin._events._requests) == 0
    assert not twin._events.awaited


def test_nothing_of_the_real_role_is_touched(real):
    segments = real._context._segments
    real._rehearsal = rehearsal_of(real)
    before = {name: bytes(segment.buffer) for name, segment in segments.items()}
    page = bytes(real._context.page.segment.buffer)
    rest: Any = Rest()
    calm: Any = rehearsal_of(real)._twin._resolver
    real._rest, real._session, real._resolver = rest, real._rehearsal._session, calm
    real.rehearse(1)
    assert real._rehearsal.count == 1
    assert {name: bytes(segment.buffer) for name, segment in segments.items()} == before
    assert bytes(real._context.page.segment.buffer) == page
    assert real._request_id == 0
    assert len(real._keeper.table) == 0
    assert real._keeper.table.find(ORDER_ID) is None
    assert real._budget.orders_10s.used(time.monotonic_ns()) == 0


def test_looking_ahead_reads_the_next_row_also_when_there_is_none(real):
    keeper = real._keeper
    keeper.look_ahead()
    while keeper.table.free_rows:
        number = len(keeper.table) + 1
        order = Order(
            order_id=number, instrument_id=1, strategy_id=1, side=Side.BUY, price_e8=E8, qty_e8=E8
        )
        following = keeper.table.next_row
        assert keeper.table.add(order) == following
    keeper.look_ahead()


def test_nobody_is_struck_for_a_rehearsal(real):
    twin = rehearsal_of(real)._twin
    assert all(map(_is_rehearsal, (twin, twin._keeper, twin._events)))
    assert not any(map(_is_rehearsal, (real, real._keeper, real._events, object())))


def test_a_scratch_context_attaches_no_segment(house):
    real = house.context("execution")
    attached = set(real._segments)
    scratch = ScratchContext(real)
    for name in ("journal", "executions"):
        writer, buffer = scratch.ring_writer(name)
        buffer[64] = 1
        assert all(writer.offer() for _ in range(2 * CAPACITY_MAX))
    assert set(real._segments) == attached
    assert scratch.page_of("risk") is scratch.page_of("risk") is not real.page_of("risk")
    assert not scratch.bells_of(("risk",))
    assert not scratch.halt.is_set


async def opened(*, is_tls: bool) -> tuple[SilentLine, int]:
    line = SilentLine(is_tls=is_tls)
    await line.open()
    assert line._transport is not None
    assert line._transport.is_secure == is_tls
    for _ in range(3):
        line._transport.send(WSMsgType.TEXT, b"x" * 300)
        line.drain()
    assert line._peer is not None
    with pytest.raises(BlockingIOError):
        line._peer.recv(1)
    count = line._transport.underlying_transport.get_write_buffer_size()
    line.close()
    line.drain()
    return line, count


@pytest.mark.parametrize("is_tls", [False, True])
def test_a_silent_line_sends_to_itself_and_reads_it_away(is_tls):
    line, waiting = asyncio.run(opened(is_tls=is_tls))
    assert waiting == 0
    assert line._transport is None


def speak(real, scheme):
    """Have the venue's order API at an address of this kind."""
    context = real._context
    venue = msgspec.structs.replace(context.config.venue, api_url=f"{scheme}://127.0.0.1:1/api")
    context.config = msgspec.structs.replace(context.config, venue=venue)


def unmasked(frame: bytes) -> bytes:
    """The text of a frame of 126 to 65,535 bytes, as a client sends it (RFC 6455)."""
    assert frame[:2] == b"\x81\xfe"
    length = int.from_bytes(frame[2:4], "big")
    mask, body = frame[4:8], frame[8:]
    assert len(body) == length
    return bytes(byte ^ mask[number % 4] for number, byte in enumerate(body))


@pytest.mark.parametrize("is_replaced", [False, True])
def test_what_is_written_to_the_socket_is_the_order_as_text(real, monkeypatch, is_replaced):
    """From C to C and by name, when somebody has put another ``send`` there."""
    speak(real, "ws")
    if is_replaced:
        send = OrderSession.send
        monkeypatch.setattr(OrderSession, "send", lambda session, text: send(session, text))

    async def sent() -> tuple[bytes, Order]:
        rehearsal = rehearsal_of(real)
        await rehearsal.open()
        monkeypatch.setattr(rehearsal.line, "drain", lambda: None)
        rehearsal.place(time.monotonic_ns())
        assert rehearsal.line._peer is not None
        frame = rehearsal.line._peer.recv(4_096)
        order = rehearsal._twin._keeper.table.get(ORDER_ID)
        assert order is not None
        assert rehearsal._session.in_flight == 1
        rehearsal.close()
        return frame, order

    frame, order = asyncio.run(sent())
    encoder = real._encoders[order.instrument_id]
    assert unmasked(frame) == encoder.place_order(1, order, Rest.venue_ns // NS_PER_MS)


def test_between_two_writes_orders_vanish_in_front_of_the_socket(real, monkeypatch):
    speak(real, "ws")

    async def written() -> list[bool]:
        rehearsal = rehearsal_of(real)
        await rehearsal.open()
        monkeypatch.setattr(rehearsal.line, "drain", lambda: None)
        found = []
        begin_ns = time.monotonic_ns()
        for step in (0, 1, WRITE_EVERY_NS - 1, WRITE_EVERY_NS, 2 * WRITE_EVERY_NS):
            rehearsal.place(begin_ns + step)
            assert rehearsal._twin._keeper.table.get(ORDER_ID) is not None
            assert rehearsal.line._peer is not None
            found.append(bool(select.select([rehearsal.line._peer], [], [], 0)[0]))
            if found[-1]:
                rehearsal.line._peer.recv(65_536)
        assert rehearsal._session.in_flight == rehearsal.count == 5
        rehearsal.close()
        return found

    assert asyncio.run(written()) == [True, False, False, True, True]


@pytest.mark.parametrize("scheme", ["ws", "wss"])
def test_a_rehearsal_encrypts_if_real_orders_are_encrypted(real, scheme):
    speak(real, scheme)
    assert rehearsal_of(real).line.is_tls == (scheme == "wss")
