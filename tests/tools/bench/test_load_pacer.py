import json
import socket
import time
from collections.abc import Iterator

import numpy as np
import pytest

from hft.records import Side
from hft.units import E8
from tools.bench.load.market import LEVEL_E8, LoadMarket, symbols_of
from tools.bench.load.pacer import QTY_FIRST_UNITS, Pacer
from tools.bench.load.slots import Slots, depth_slots, ticker_slots
from tools.venue.encode import FrameEncoder
from tools.venue.exchange_info import synthetic_rules
from tools.venue.hub import Hub
from tools.venue.market import IdSource, SymbolMarket
from tools.venue.outlet import Outlet

FIRST_ID = 8_214_400_000_000
BID_E8, ASK_E8 = 101_000_000, 101_020_000


def slots_of(symbol: str) -> tuple[Slots, Slots]:
    encoder = FrameEncoder(synthetic_rules(symbol))
    envelope = f'{{"stream":"{symbol.lower()}@any","data":%s}}'
    bids = [(BID_E8 - level * 10_000, LEVEL_E8) for level in range(3)]
    asks = [(ASK_E8 + level * 10_000, LEVEL_E8) for level in range(3)]
    return (
        ticker_slots(encoder, envelope, BID_E8, ASK_E8),
        depth_slots(encoder, envelope, bids, asks),
    )


@pytest.fixture
def wire() -> Iterator[tuple[socket.socket, socket.socket]]:
    pair = socket.socketpair()
    yield pair
    for one in pair:
        one.close()


def pacer_of(fd: int, *, instruments: int, depth_every: int, room: int) -> Pacer:
    pacer = Pacer(
        first_id=FIRST_ID,
        start_ns=1_000,
        spacing_ns=50,
        depth_every=depth_every,
        write_ns=np.zeros(room, np.int64),
    )
    for symbol in symbols_of(instruments):
        pacer.add(fd, FIRST_ID - 1, *slots_of(symbol))
    return pacer


def texts(received: bytes) -> list[dict[str, object]]:
    found = []
    while received:
        assert received[0] == 0x81
        head, size = 2, received[1]
        if size == 126:
            head, size = 4, int.from_bytes(received[2:4], "big")
        found.append(json.loads(received[head : head + size])["data"])
        received = received[head + size :]
    return found


def test_frames_are_those_of_a_venue_whose_best_quantities_change(wire):
    ours, theirs = wire
    pacer = pacer_of(ours.fileno(), instruments=3, depth_every=3, room=20)
    before_ms = time.time_ns() // 1_000_000
    marked = None
    for number in range(30):
        if number == 10:
            marked = pacer.mark()
        assert pacer.due_ns == 1_000 + 50 * number
        pacer.send()
    assert (pacer.frames, pacer.tickers, pacer.depths, pacer.waits) == (30, 20, 10, 0)
    frames = texts(theirs.recv(1 << 20))
    assert len(frames) == 30
    tickers = [frame for frame in frames if frame["e"] == "bookTicker"]
    assert [frame["u"] for frame in tickers] == [FIRST_ID + number for number in range(20)]
    tops: dict[str, tuple[int, str, str]] = {}
    shown: dict[str, int] = {}
    changes = []
    for frame in frames:
        symbol = frame["s"]
        assert before_ms <= frame["E"] == frame["T"] <= before_ms + 60_000
        if frame["e"] == "bookTicker":
            assert (frame["b"], frame["a"]) == ("1.0100", "1.0102")
            before = tops.get(symbol)
            tops[symbol] = (frame["u"], frame["B"], frame["A"])
            assert before is None or before[1] != frame["B"]
            if before is not None and before[2] != frame["A"]:
                changes.append((symbol, frame["u"] - FIRST_ID))
            continue
        last_id, bid_qty, ask_qty = tops[symbol]
        assert frame["pu"] == shown.get(symbol, FIRST_ID - 1)
        assert (frame["U"], frame["u"]) == (frame["pu"] + 1, last_id)
        assert frame["b"] == [["1.0100", bid_qty], ["1.0099", "100000.0"], ["1.0098", "100000.0"]]
        assert frame["a"] == [["1.0102", ask_qty], ["1.0103", "100000.0"], ["1.0104", "100000.0"]]
        shown[symbol] = last_id
    assert marked is not None
    assert changes == [(symbols_of(3)[marked[0]], marked[1])]
    for index, symbol in enumerate(symbols_of(3)):
        last_id, bid_units, ask_units = pacer.state(index)
        assert tops[symbol] == (last_id, f"{bid_units}.0", f"{ask_units}.0")


def test_each_ticker_is_stamped_right_before_its_write(wire):
    ours, theirs = wire
    write_ns = np.zeros(4, np.int64)
    pacer = Pacer(first_id=FIRST_ID, start_ns=0, spacing_ns=1, depth_every=3, write_ns=write_ns)
    pacer.add(ours.fileno(), FIRST_ID - 1, *slots_of("LOAD000USDT"))
    before_ns = time.monotonic_ns()
    for _ in range(6):
        pacer.send()
    assert before_ns <= write_ns[0] < write_ns[1] < write_ns[2] < write_ns[3]
    assert write_ns[3] <= time.monotonic_ns()
    with pytest.raises(ValueError, match="room"):
        pacer.send()
    assert len(texts(theirs.recv(1 << 20))) == 6


def test_reader_that_is_gone_is_an_error(wire):
    ours, theirs = wire
    pacer = pacer_of(ours.fileno(), instruments=1, depth_every=2, room=1)
    theirs.close()
    with pytest.raises(OSError, match="reader"):
        pacer.send()


def test_event_without_a_ticker_before_it_and_too_many_instruments_are_refused(wire):
    with pytest.raises(ValueError, match="depth_every"):
        pacer_of(0, instruments=1, depth_every=1, room=1)
    with pytest.raises(ValueError, match="instruments"):
        pacer_of(wire[0].fileno(), instruments=129, depth_every=2, room=1)
    with pytest.raises(IndexError):
        pacer_of(wire[0].fileno(), instruments=1, depth_every=2, room=1).state(1)


class Listener:
    def __init__(self) -> None:
        self.frames: list[str] = []

    def write(self, payload: bytes) -> None:
        self.frames.append(payload.decode())


def test_simulator_follows_what_was_written_and_publishes_none_of_it_again(wire):
    outlet = Outlet()
    hub, ids, listener = Hub(outlet), IdSource(FIRST_ID - 3), Listener()
    markets = {
        symbol: SymbolMarket(
            synthetic_rules(symbol), hub, ids, is_recorded=False, depth_interval_ms=10,
            first_trade_id=1, on_events=lambda *_: None,
        )
        for symbol in symbols_of(2)
    }  # fmt: skip
    load = LoadMarket(markets)
    load.start(1_000)
    pacer = Pacer(
        first_id=FIRST_ID + 10, start_ns=0, spacing_ns=1, depth_every=100,
        write_ns=np.zeros(3, np.int64),
    )  # fmt: skip
    for symbol, market in markets.items():
        hub.listen(listener, f"{symbol.lower()}@bookTicker", is_combined=False)
        pacer.add(wire[0].fileno(), market.last_id, *slots_of(symbol))
    for _ in range(3):
        pacer.send()
    load.follow(pacer, 2_000)
    first = markets[symbols_of(2)[0]]
    assert first.last_id == FIRST_ID + 12
    snapshot = json.loads(first.snapshot(5, 2_000))
    assert snapshot["lastUpdateId"] == FIRST_ID + 12
    assert snapshot["bids"][0] == ["1.0000", f"{QTY_FIRST_UNITS + 2}.0"]
    assert snapshot["bids"][1] == ["0.9999", f"{QTY_FIRST_UNITS}.0"]
    for market in markets.values():
        market.commit(2_000)
        market.on_timer(10_000)
    assert listener.frames == []
    load.change(3_000)
    assert len(listener.frames) == 1


def test_prices_name_their_instruments():
    hub, ids = Hub(Outlet()), IdSource(FIRST_ID)
    markets = {
        symbol: SymbolMarket(
            synthetic_rules(symbol), hub, ids, is_recorded=False, depth_interval_ms=10,
            first_trade_id=1, on_events=lambda *_: None,
        )
        for symbol in symbols_of(127)
    }  # fmt: skip
    load = LoadMarket(markets)
    load.start(1_000)
    prices = {load.bid_e8(index) for index in range(127)}
    assert len(prices) == 127
    for index, market in enumerate(markets.values()):
        top = market.public.top()
        assert (top.bid_e8, top.bid_qty_e8) == (load.bid_e8(index), LEVEL_E8)
        assert top.ask_e8 == load.levels(index, Side.SELL, 1)[0][0] > top.bid_e8
        assert top.bid_qty_e8 == QTY_FIRST_UNITS * E8
