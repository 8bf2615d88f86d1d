from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from hft.errors import UsageError
from hft.records import Side
from hft.units import parse_e8
from tools.venue.config import VenueConfig
from tools.venue.exchange import Exchange
from tools.venue.market_recorded import RecordedMarkets, Recording, parse_line
from tools.venue.orders import OrderDesk
from tools.venue.server import build

DEPTH = {
    "e": "depthUpdate", "E": 1, "T": 1, "s": "ABCUSDT", "U": 95, "u": 105, "pu": 90,
    "b": [["1.20", "7"]], "a": [],
}  # fmt: skip
SNAPSHOT = {"lastUpdateId": 100, "bids": [["1.20", "5"], ["1.19", "4"]], "asks": [["1.22", "6"]]}


def stamped(time: str, message: object) -> str:
    return f"{time} {json.dumps(message)}\n"


def wrapped(data: dict[str, object]) -> dict[str, object]:
    return {"stream": "abcusdt@x", "data": data}


def trade(trade_id: int, price: str, qty: str, *, is_buyer_maker: bool) -> dict[str, object]:
    return {
        "e": "trade", "E": 1, "T": 1, "s": "ABCUSDT", "t": trade_id, "p": price, "q": qty,
        "X": "MARKET", "m": is_buyer_maker,
    }  # fmt: skip


def write(path: Path, *messages: object, start_ns: int = 1_700_000_000_000_000_000) -> str:
    text = "".join(
        stamped(str(start_ns + number * 1_000_000_000), message)
        for number, message in enumerate(messages)
    )
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return str(path)


def play(*files: str, loops: bool = False) -> tuple[Exchange, RecordedMarkets]:
    exchange, source = build(VenueConfig(recordings=files, recording_loops=loops))
    assert isinstance(source, RecordedMarkets)
    return exchange, source


@pytest.mark.parametrize(
    ("line", "time_ns"),
    [
        ("1721347020984480942 ", 1_721_347_020_984_480_942),
        ("1680652700423575 ", 1_680_652_700_423_575_000),
        ("1617647797.5963788: ", 1_617_647_797_596_378_800),
    ],
)
def test_times_of_all_formats(line, time_ns):
    frame = parse_line(line + json.dumps(wrapped(DEPTH)), "")
    assert frame is not None
    assert (frame.time_ns, frame.symbol, frame.kind) == (time_ns, "ABCUSDT", "depthUpdate")


def test_http_bodies_tell_their_symbol():
    line = "https://x/fapi/v1/depth?symbol=ABCUSDT&limit=1000 -> 17.5: " + json.dumps(SNAPSHOT)
    frame = parse_line(line, "")
    assert frame is not None
    assert (frame.symbol, frame.kind, frame.time_ns) == ("ABCUSDT", "snapshot", 17_500_000_000)
    assert parse_line('configuration: {"a": 1}', "") is None


def test_play_begins_at_the_snapshot_and_drops_what_is_older(tmp_path):
    old = DEPTH | {"U": 80, "u": 90, "pu": 70, "b": [["1.20", "0"]]}
    exchange, source = play(
        write(tmp_path / "a.gz", wrapped(old), wrapped(DEPTH), SNAPSHOT, wrapped(old))
    )
    source.start(5)
    source.turn(1.0, 5)
    source.turn(9.0, 5)
    market = exchange.markets["ABCUSDT"]
    assert market.public.qty_e8(Side.BUY, parse_e8("1.20")) == parse_e8("7")
    assert market.last_id == 105


def test_trades_fill_our_orders_behind_the_queue_and_the_streamed_book_is_the_recorded_one(
    tmp_path,
):
    exchange, source = play(
        write(
            tmp_path / "a.txt",
            wrapped(DEPTH),
            SNAPSHOT,
            wrapped(trade(1, "1.20", "6", is_buyer_maker=True)),
            wrapped(trade(2, "1.20", "3", is_buyer_maker=True)),
        )
    )
    source.start(5)
    market = exchange.markets["ABCUSDT"]
    assert (market.rules.tick_e8, market.rules.step_e8) == (parse_e8("0.01"), parse_e8("1"))
    account = next(iter(exchange.accounts.values()))
    market.mark_e8 = parse_e8("1.21")
    reply = OrderDesk(exchange).place(
        account,
        {
            "symbol": "ABCUSDT", "side": "BUY", "type": "LIMIT", "timeInForce": "GTC",
            "quantity": "5", "price": "1.20",
        },
        stp_default="NONE",
    )  # fmt: skip
    source.turn(1.0, 5)
    source.turn(2.5, 5)
    order = account.orders[reply["orderId"]]
    assert order.filled_e8 == parse_e8("1")  # five stood before it
    source.turn(3.5, 5)
    assert order.filled_e8 == parse_e8("4")
    assert market.public.levels(Side.BUY, 1) == [(parse_e8("1.20"), parse_e8("7"))]
    assert market.last_id == 105


def test_further_rounds_go_on_with_rising_ids(tmp_path):
    exchange, source = play(
        write(
            tmp_path / "a.txt",
            SNAPSHOT,
            wrapped(DEPTH),
            wrapped(trade(1, "1.20", "1", is_buyer_maker=True)),
        ),
        loops=True,
    )
    source.start(5)
    for second in range(1, 12):
        source.turn(float(second), 5)
    market = exchange.markets["ABCUSDT"]
    ids = [trade_id for trade_id, *_ in market.recent_trades]
    assert len(ids) > 2
    assert ids == list(range(1, len(ids) + 1))
    assert market.last_id > 105


def test_sessions_of_different_days_are_played_side_by_side(tmp_path):
    other = {"data": DEPTH | {"s": "XYZUSDT"}}
    day_ns = 86_400_000_000_000
    files = (
        write(tmp_path / "a.txt", wrapped(DEPTH), SNAPSHOT),
        write(tmp_path / "b.txt", other, SNAPSHOT, start_ns=1_700_000_000_000_000_000 + day_ns),
    )
    recording = Recording(files)
    assert recording.symbols == ["ABCUSDT", "XYZUSDT"]
    assert {frame.time_ns for frame in recording.frames()} == {1_000_000_000}


def test_missing_recording_is_named_once(tmp_path):
    path = tmp_path / "none.txt"
    with pytest.raises(UsageError) as caught:
        Recording([str(path)])
    assert caught.value.message == f"recording {path} cannot be read: No such file or directory"


@pytest.mark.parametrize(
    ("text", "words"),
    [(None, "cannot be read"), ("hello\n", "holds no market data"), ("depth", "no depth snapshot")],
)
def test_unusable_recording_is_explained(tmp_path, text, words):
    path = tmp_path / "r.txt"
    if text == "depth":
        write(path, wrapped(DEPTH))
    elif text is not None:
        path.write_text(text)
    with pytest.raises(UsageError, match=words):
        play(str(path))[1].start(0)


def test_recordings_of_both_formats_begin_with_their_books(shared_data):
    streams = shared_data / "usdm_streams"
    for names, symbols in (
        (("btcusdt_20230404.dat.gz", "btcusdt_20230405.dat.gz"), 1),
        (("btcusdt_20240718.gz", "ethusdt_20240718.gz"), 2),
        (("bootstrap_5symbols_20210405.txt.gz",), 5),
    ):
        exchange, source = play(*(str(streams / name) for name in names))
        source.start(0)
        assert len(exchange.markets) == symbols
        for market in exchange.markets.values():
            top = market.public.top()
            assert 0 < top.bid_e8 < top.ask_e8
