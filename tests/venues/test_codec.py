"""Frames become records exactly, or are counted as garbage and change nothing."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from decimal import Decimal, InvalidOperation
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hft.core.generated.views import Depth, Header, MarkPrice, TopOfBook, Trade
from hft.records import Flag, Kind, Mode, Side
from hft.units import INT64_MAX, NO_PRICE_E8, parse_e8
from hft.venues.binance_usdm import codec
from hft.venues.binance_usdm.codec import MarketDecoder

SYMBOLS = {"BTCUSDT": 1, "ETHUSDT": 7, "币安人生USDT": 9}
RECV_NS = 123_456_789
UNTOUCHED = bytes(range(128))

# Frames in the key order of 2026 (Binance USD-M API, market streams); values are invented.
TOP = (
    b'{"e":"bookTicker","u":8214400934,"s":"ETHUSDT","ps":"ETHUSDT","b":"3120.54","B":"14.208",'
    b'"a":"3120.55","A":"3.911","T":1795350000130,"E":1795350000131,"st":1}'
)
DEPTH = (
    b'{"e":"depthUpdate","E":1795350000133,"T":1795350000129,"s":"ETHUSDT","ps":"ETHUSDT",'
    b'"U":8214400911,"u":8214400934,"pu":8214400902,"b":[["3120.54","14.208"],["3120.10","0.000"]],'
    b'"a":[["3120.55","3.911"],["3120.60","1.5"],["3121","2"]],"st":1}'
)
TRADE = (
    b'{"e":"trade","E":1795350000190,"T":1795350000189,"s":"ETHUSDT","t":6022114455,"p":"3120.55",'
    b'"q":"0.400","X":"MARKET","m":true,"st":1}'
)
AGG_TRADE = (
    b'{"e":"aggTrade","E":1795350000340,"a":2145550021,"s":"ETHUSDT","p":"3120.55","q":"1.250",'
    b'"nq":"1.250","f":6022114455,"l":6022114458,"T":1795350000189,"m":false,"st":1}'
)
MARK = (
    b'{"e":"markPriceUpdate","E":1795350001000,"s":"ETHUSDT","p":"3120.41203344",'
    b'"ap":"3120.40187201","P":"3120.77410000","i":"3121.02000000","r":"-0.00006211",'
    b'"T":1795363200000,"st":1}'
)
SNAPSHOT = (
    b'{"lastUpdateId":8214400917,"E":1795350000128,"T":1795350000121,'
    b'"bids":[["3120.54","14.208"],["3120.53","0.480"]],"asks":[["3120.55","3.911"]]}'
)
EVENTS = {
    codec.TOP: TOP,
    codec.DEPTH: DEPTH,
    codec.TRADE: TRADE,
    codec.AGG_TRADE: AGG_TRADE,
    codec.MARK: MARK,
}


def envelope(payload: bytes, stream: bytes = b"ethusdt@stream") -> bytes:
    return b'{"stream":"' + stream + b'","data":' + payload + b"}"


def changed(frame: bytes, **fields: Any) -> bytes:
    """The frame with some fields set; None removes one."""
    values = {**json.loads(frame), **fields}
    return json.dumps({k: v for k, v in values.items() if v is not None}).encode()


class Rig:
    """A decoder and views on its record."""

    def __init__(self) -> None:
        self.record = bytearray(UNTOUCHED)
        self.decoder = MarketDecoder(SYMBOLS, self.record)
        self.top = TopOfBook(self.record)
        self.trade = Trade(self.record)
        self.mark = MarkPrice(self.record)
        self.header = Header(self.record)

    def decode(self, frame: bytes) -> int:
        self.record[:] = UNTOUCHED
        return self.decoder.decode(frame, RECV_NS)

    def assert_garbage(self, frame: bytes) -> None:
        before = self.decoder.garbage
        assert self.decode(frame) == codec.GARBAGE, frame
        assert self.decoder.garbage == before + 1
        assert self.record == UNTOUCHED
        assert (self.decoder.bid_count, self.decoder.ask_count, self.decoder.last_seq) == (0, 0, 0)


@pytest.fixture
def rig() -> Rig:
    return Rig()


# -- what the fields mean ---------------------------------------------------------------------


@pytest.mark.parametrize("wrap", [bytes, envelope])
def test_a_ticker_fills_the_whole_record(rig: Rig, wrap: Callable[[bytes], bytes]) -> None:
    assert rig.decode(wrap(TOP)) == codec.TOP
    top = rig.top
    assert (top.bid_e8, top.bid_qty_e8) == (312_054_000_000, 1_420_800_000)
    assert (top.ask_e8, top.ask_qty_e8) == (312_055_000_000, 391_100_000)
    assert (top.as_of_ns, top.origin_ns) == (RECV_NS, RECV_NS)
    assert (top.venue_ns, top.venue_seq) == (1_795_350_000_130_000_000, 8_214_400_934)
    assert (top.instrument_id, top.kind, top.mode) == (7, Kind.TOP_OF_BOOK, Mode.LIVE)
    assert (top.seq, top.publish_ns, top.cause_seq, top.flags, top.is_book) == (0, 0, 0, 0, 0)
    assert rig.decoder.symbol == b"ETHUSDT"
    assert rig.decoder.event_ns == 1_795_350_000_131_000_000


def test_a_ticker_without_one_side_has_no_price_there(rig: Rig) -> None:
    assert rig.decode(changed(TOP, b="0.00", B="0.000")) == codec.TOP
    assert (rig.top.bid_e8, rig.top.bid_qty_e8) == (NO_PRICE_E8, 0)
    assert rig.top.ask_e8 == 312_055_000_000


def test_the_seller_took_when_the_buyer_was_the_maker(rig: Rig) -> None:
    assert rig.decode(TRADE) == codec.TRADE
    assert (rig.trade.aggressor_side, rig.trade.is_aggregate) == (Side.SELL, 0)
    assert rig.trade.trade_id == 6_022_114_455
    assert rig.decode(AGG_TRADE) == codec.AGG_TRADE
    assert (rig.trade.aggressor_side, rig.trade.is_aggregate) == (Side.BUY, 1)
    assert (rig.trade.price_e8, rig.trade.qty_e8) == (312_055_000_000, 125_000_000)
    assert rig.decode(changed(TRADE, m=None)) == codec.TRADE
    assert rig.trade.aggressor_side == Side.NONE


@pytest.mark.parametrize(
    "fields", [{"X": "INSURANCE_FUND"}, {"X": "ADL"}, {"p": "0"}, {"q": "0.000"}]
)
def test_trades_that_are_not_of_the_market_are_not_for_us(rig: Rig, fields: dict[str, str]) -> None:
    assert rig.decode(changed(TRADE, **fields)) == codec.OTHER
    assert rig.record == UNTOUCHED


def test_a_mark_price_takes_its_time_from_the_event(rig: Rig) -> None:
    assert rig.decode(MARK) == codec.MARK
    mark = rig.mark
    assert (mark.mark_e8, mark.index_e8) == (312_041_203_344, 312_102_000_000)
    assert mark.funding_rate_e8 == -6211
    assert mark.next_funding_ns == 1_795_363_200_000_000_000
    assert mark.venue_ns == rig.decoder.venue_ns == 1_795_350_001_000_000_000


def test_a_delivery_contract_has_no_funding(rig: Rig) -> None:
    assert rig.decode(changed(MARK, r="", T=0)) == codec.MARK
    assert (rig.mark.funding_rate_e8, rig.mark.next_funding_ns) == (0, 0)


def test_a_depth_event_fills_the_arrays_and_leaves_the_record(rig: Rig) -> None:
    assert rig.decode(envelope(DEPTH, b"ethusdt@depth@100ms")) == codec.DEPTH
    decoder = rig.decoder
    assert decoder.bids == [(312_054_000_000, 1_420_800_000), (312_010_000_000, 0)]
    assert [price for price, _ in decoder.asks] == [
        312_055_000_000, 312_060_000_000, 312_100_000_000,
    ]  # fmt: skip
    assert (decoder.first_seq, decoder.last_seq) == (8_214_400_911, 8_214_400_934)
    assert decoder.previous_seq == 8_214_400_902
    assert (decoder.bid_count, decoder.ask_count, decoder.instrument_id) == (2, 3, 7)
    assert rig.record == UNTOUCHED


def test_depth_records_carry_four_levels_and_mark_the_last(rig: Rig) -> None:
    rig.decode(DEPTH)
    decoder, depth = rig.decoder, Depth()
    assert decoder.depth_records == 2
    levels = []
    for index in range(decoder.depth_records):
        decoder.fill_depth(depth, index)
        assert depth.flags == (Flag.LAST if index == 1 else 0)
        assert (depth.venue_seq, depth.instrument_id) == (8_214_400_934, 7)
        assert (depth.origin_ns, depth.kind, depth.mode) == (RECV_NS, Kind.DEPTH, Mode.LIVE)
        data = depth.tobytes()
        for i in range(depth.level_count):
            price_e8 = int.from_bytes(data[48 + 8 * i : 56 + 8 * i], "little")
            qty_e8 = int.from_bytes(data[80 + 8 * i : 88 + 8 * i], "little")
            levels.append((bool(depth.ask_mask >> i & 1), price_e8, qty_e8))
    assert levels == [
        *((False, *level) for level in decoder.bids),
        *((True, *level) for level in decoder.asks),
    ]
    with pytest.raises(IndexError):
        decoder.fill_depth(depth, 2)


@pytest.mark.parametrize("stream", [b"ethusdt@depth20@100ms", b"ethusdt@depth5", b"e@rpiDepth"])
def test_partial_depth_is_not_taken_for_a_diff(rig: Rig, stream: bytes) -> None:
    assert rig.decode(envelope(DEPTH, stream)) == codec.OTHER


@pytest.mark.parametrize("stream", [b"ethusdt@depth", b"ethusdt@depth@0ms", b"ethusdt@depth@100ms"])
def test_diff_streams_of_every_speed_are_taken(rig: Rig, stream: bytes) -> None:
    assert rig.decode(envelope(DEPTH, stream)) == codec.DEPTH
    reordered = b'{"data":' + DEPTH + b',"stream":"' + stream + b'"}'
    assert rig.decode(reordered) == codec.DEPTH


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (b'{"result":null,"id":11}', codec.REPLY),
        (b'{"id":3,"error":{"code":2,"msg":"no"}}', codec.REPLY),
        (b'{"code":2,"msg":"Invalid request"}', codec.REPLY),
        (b'{"e":"contractInfo","E":1,"s":"FOOUSDT","cs":"TRADING","bks":[{"bs":1}]}', 7),
        (b'{"e":"kline","s":"ETHUSDT","k":{"o":"1", "x":false}}', codec.OTHER),
        (b'{"e":"forceOrder","E":1,"o":{"s":"ETHUSDT","b":[1]}}', codec.OTHER),
        (b'{"stream":"!markPrice@arr","data":[{"e":"markPriceUpdate"}]}', codec.OTHER),
        (b'[{"e":"bookTicker"}, 1.5e3, "x", null]', codec.OTHER),
        (b"{}", codec.OTHER),
        (changed(TOP, s="XRPUSDT"), codec.OTHER),
    ],
)
def test_messages_that_carry_no_record_say_what_they_are(
    rig: Rig, frame: bytes, message: int
) -> None:
    assert rig.decode(frame) == message
    assert rig.record == UNTOUCHED
    assert rig.decoder.garbage == 0


def test_an_unknown_symbol_is_named(rig: Rig) -> None:
    rig.decode(changed(TOP, s="XRPUSDT"))
    assert rig.decoder.symbol == b"XRPUSDT"


@pytest.mark.parametrize("ensure_ascii", [True, False])
def test_a_symbol_in_any_script_is_found_escaped_or_not(rig: Rig, ensure_ascii: bool) -> None:
    frame = json.dumps({**json.loads(TOP), "s": "币安人生USDT"}, ensure_ascii=ensure_ascii)
    assert rig.decode(frame.encode()) == codec.TOP
    assert rig.top.instrument_id == 9
    assert rig.decoder.symbol.decode() == "币安人生USDT"


def test_ids_use_all_64_bits(rig: Rig) -> None:
    assert rig.decode(changed(DEPTH, u=2**64 - 1)) == codec.DEPTH
    assert rig.decoder.last_seq == 2**64 - 1
    rig.assert_garbage(changed(DEPTH, u=2**64))
    assert rig.decode(changed(TRADE, t=INT64_MAX)) == codec.TRADE
    assert rig.trade.trade_id == INT64_MAX
    rig.assert_garbage(changed(TRADE, t=INT64_MAX + 1))


def test_keys_that_a_record_can_do_without_may_be_missing(rig: Rig) -> None:
    assert rig.decode(changed(TOP, u=None, T=None, E=None, st=None)) == codec.TOP
    assert (rig.top.venue_seq, rig.top.venue_ns) == (0, 0)
    assert rig.decode(changed(DEPTH, b=None)) == codec.DEPTH
    assert (rig.decoder.bid_count, rig.decoder.ask_count) == (0, 3)


@pytest.mark.parametrize(
    ("frame", "keys"), [(TOP, "sbBaA"), (TRADE, "spqt"), (AGG_TRADE, "spqa"), (MARK, "sp")]
)
def test_keys_that_a_record_needs_may_not_be_missing(rig: Rig, frame: bytes, keys: str) -> None:
    for key in keys:
        rig.assert_garbage(changed(frame, **{key: None}))


@pytest.mark.parametrize("key", ["s", "U", "u", "pu"])
def test_a_depth_event_needs_its_numbers(rig: Rig, key: str) -> None:
    rig.assert_garbage(changed(DEPTH, **{key: None}))


@pytest.mark.parametrize(
    "text", ["3120.541234567", "92233720368.6", "-1", "", "1e3", " 1", "NaN", "0x1", 3120.54, None]
)
def test_a_number_that_does_not_fit_exactly_is_garbage(rig: Rig, text: object) -> None:
    for frame in (changed(TOP, b=[text]), changed(TOP, A={"x": text})):
        rig.assert_garbage(frame)
    if text is not None:
        rig.assert_garbage(changed(TOP, b=text))
        rig.assert_garbage(changed(DEPTH, b=[["1", "1"], ["2", text]]))
        rig.assert_garbage(changed(DEPTH, a=[[text, "1"]]))


@pytest.mark.parametrize(
    "frame",
    [
        b"", b" ", b"null", b"5", b'"x"', b"{", b"}", b"[", b'{"e"', b'{"e":', b'{"e":"trade"',
        b"{,}", b'{"a":1,}', b'{"a" 1}', b'{"a":01}', b'{"a":1.}', b'{"a":1e}', b'{"a":+1}',
        b'{"a":tru}', b'{"a":nulls}', b'{"a":"\\x"}', b'{"a":"\\u12g4"}', b'{"a":"\n"}', b"{} {}",
        b"[1,]", b"[1 2]", b'{"a":[}', b"\x00", b"\xff\xfe", TOP + b"x", TOP + TOP,
        b'{"e":"trade","data":{"e":"trade"},"e":"trade"' * 3,
        b'{"data":{"e":"trade"},"e":"trade"}', b"[" * 100_000, b'{"x":' * 100_000,
    ],
)  # fmt: skip
def test_malformed_text_is_garbage(rig: Rig, frame: bytes) -> None:
    rig.assert_garbage(frame)


@pytest.mark.parametrize("buffer", [bytes, bytearray, memoryview])
def test_any_contiguous_buffer_is_a_frame(rig: Rig, buffer: Callable[[bytes], Any]) -> None:
    assert rig.decode(buffer(TOP)) == codec.TOP
    assert rig.decoder.frames == 1


def test_wrong_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match="128"):
        MarketDecoder(SYMBOLS, bytearray(127))
    with pytest.raises((BufferError, TypeError)):
        MarketDecoder(SYMBOLS, bytes(128))
    with pytest.raises(ValueError, match="instrument 0"):
        MarketDecoder({"BTCUSDT": 0}, bytearray(128))
    with pytest.raises(TypeError):
        MarketDecoder(SYMBOLS, bytearray(128)).decode("text", 0)  # type: ignore[arg-type]  # wrong


def test_many_symbols_are_told_apart() -> None:
    symbols = {f"S{i}USDT": i for i in range(1, 1001)}
    record = bytearray(128)
    decoder = MarketDecoder(symbols, record)
    for symbol, instrument_id in symbols.items():
        assert decoder.decode(changed(TOP, s=symbol), 0) == codec.TOP
        assert decoder.instrument_id == instrument_id


def test_a_frame_of_many_levels_grows_the_arrays(rig: Rig) -> None:
    bids = [[f"{price}.5", "1"] for price in range(5_000)]
    asks = [[f"{price}", "0"] for price in range(20_000)]
    assert rig.decode(changed(DEPTH, b=bids, a=asks)) == codec.DEPTH
    assert (rig.decoder.bid_count, rig.decoder.ask_count) == (5_000, 20_000)
    assert rig.decoder.bids[-1] == (499_950_000_000, 100_000_000)
    assert rig.decoder.asks[-1] == (1_999_900_000_000, 0)


# -- snapshots --------------------------------------------------------------------------------


def test_a_snapshot_is_read_in_any_key_order(rig: Rig) -> None:
    reordered = json.dumps(dict(reversed(json.loads(SNAPSHOT).items())), indent=1).encode()
    for body in (SNAPSHOT, reordered):
        assert rig.decoder.decode_snapshot(body, 7)
        assert rig.decoder.last_seq == 8_214_400_917
        assert rig.decoder.is_snapshot
        assert len(rig.decoder.bids) == 2
        assert rig.decoder.asks == [(312_055_000_000, 391_100_000)]
    assert rig.record == UNTOUCHED


@pytest.mark.parametrize(
    "body",
    [
        b"", b'{"code":-1121,"msg":"Invalid symbol."}', b"<html>", SNAPSHOT[:-1],
        changed(SNAPSHOT, lastUpdateId=None), changed(SNAPSHOT, bids=None),
        changed(SNAPSHOT, asks=[["1", 2]]), changed(SNAPSHOT, asks="none"),
    ],
)  # fmt: skip
def test_what_is_not_a_snapshot_leaves_nothing_behind(rig: Rig, body: bytes) -> None:
    assert not rig.decoder.decode_snapshot(body, 7)
    assert (rig.decoder.instrument_id, rig.decoder.last_seq, rig.decoder.bids) == (0, 0, [])


# -- against a slow decoder that is plainly right ----------------------------------------------

MISSING = object()


def slow_e8(text: object) -> int:
    if not isinstance(text, str):
        raise InvalidOperation
    value_e8 = parse_e8(str(Decimal(text)))
    if value_e8 < 0:
        raise InvalidOperation
    return value_e8


def slow_top(event: dict[str, Any]) -> dict[str, object]:
    bid_e8, bid_qty_e8, ask_e8, ask_qty_e8 = (slow_e8(event[key]) for key in "bBaA")
    return {
        "bid_e8": bid_e8 if bid_e8 or bid_qty_e8 else NO_PRICE_E8,
        "ask_e8": ask_e8 if ask_e8 or ask_qty_e8 else NO_PRICE_E8,
        "bid_qty_e8": bid_qty_e8,
        "ask_qty_e8": ask_qty_e8,
        "venue_seq": event["u"],
        "venue_ns": event["T"] * 1_000_000,
    }


def slow_trade(event: dict[str, Any]) -> dict[str, object]:
    return {
        "price_e8": slow_e8(event["p"]),
        "qty_e8": slow_e8(event["q"]),
        "trade_id": event["t"] if event["e"] == "trade" else event["a"],
        "aggressor_side": Side.SELL if event["m"] else Side.BUY,
        "venue_ns": event["T"] * 1_000_000,
    }


def decimals(places: int = 8, smallest: str = "0") -> st.SearchStrategy[str]:
    return st.decimals(Decimal(smallest), Decimal(10) ** 10, places=places).map(lambda d: f"{d:f}")


NUMBERS = st.integers(0, 8).flatmap(decimals)
POSITIVE = decimals(8, "0.00000001")
IDS = st.integers(0, 2**63 - 1)
TIMES = st.integers(0, 9_000_000_000_000)
LEVEL_LISTS = st.lists(st.tuples(NUMBERS, NUMBERS).map(list), max_size=12)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.floats(allow_nan=False,
                                                                    allow_infinity=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip
OUR_KEYS = set("eETsUubBaApqtXmir") | {"pu", "data", "stream", "result", "error", "code"}
EXTRAS = st.dictionaries(st.text().filter(lambda key: key not in OUR_KEYS), JSON, max_size=4)
COMMON = {"E": TIMES, "T": TIMES, "s": st.sampled_from(sorted(SYMBOLS)), "st": st.just(1)}
GENERATED = st.one_of(
    st.fixed_dictionaries({"e": st.just("bookTicker"), "u": IDS,
                           **dict.fromkeys("bBaA", NUMBERS)} | COMMON),
    st.fixed_dictionaries({"e": st.just("trade"), "t": IDS, "p": POSITIVE, "q": POSITIVE,
                           "X": st.just("MARKET"), "m": st.booleans()} | COMMON),
    st.fixed_dictionaries({"e": st.just("aggTrade"), "a": IDS, "p": POSITIVE, "q": POSITIVE,
                           "f": IDS, "l": IDS, "m": st.booleans()} | COMMON),
    st.fixed_dictionaries({"e": st.just("depthUpdate"), "U": IDS, "u": IDS, "pu": IDS,
                           "b": LEVEL_LISTS, "a": LEVEL_LISTS} | COMMON),
)  # fmt: skip


@st.composite
def frames(draw: st.DrawFn) -> tuple[dict[str, Any], bytes]:
    """An event with extra keys, its keys in random order, written in one of JSON's many ways."""
    event = draw(GENERATED)
    items = draw(st.permutations([*event.items(), *draw(EXTRAS).items()]))
    text = json.dumps(
        dict(items),
        ensure_ascii=draw(st.booleans()),
        indent=draw(st.sampled_from([None, 1])),
        separators=draw(st.sampled_from([None, (",", ":"), (" ,\t", " : ")])),
    )
    if draw(st.booleans()):
        text = json.dumps({"stream": "x@depth@0ms", "data": 0}).replace("0}", text + "}")
    return event, text.encode("utf-8", "surrogatepass")


@settings(max_examples=300, deadline=None)
@given(frames())
def test_frames_in_any_order_with_unknown_keys_equal_the_slow_decoder(
    drawn: tuple[dict[str, Any], bytes],
) -> None:
    event, frame = drawn
    rig = Rig()
    message = rig.decode(frame)
    assert rig.decoder.symbol.decode() == event["s"]
    assert rig.decoder.instrument_id == SYMBOLS[event["s"]]
    assert rig.decoder.event_ns == event["E"] * 1_000_000
    if event["e"] == "depthUpdate":
        assert message == codec.DEPTH
        for side, levels in (("b", rig.decoder.bids), ("a", rig.decoder.asks)):
            assert levels == [(slow_e8(price), slow_e8(qty)) for price, qty in event[side]]
        assert rig.decoder.first_seq == event["U"]
        assert rig.decoder.last_seq == event["u"]
        assert rig.decoder.previous_seq == event["pu"]
        return
    is_top = event["e"] == "bookTicker"
    expected = slow_top(event) if is_top else slow_trade(event)
    view = rig.top if is_top else rig.trade
    assert message in (codec.TOP, codec.TRADE, codec.AGG_TRADE)
    assert {name: getattr(view, name) for name in expected} == expected


# -- damage -----------------------------------------------------------------------------------


@pytest.mark.parametrize("message", EVENTS)
@pytest.mark.parametrize("wrap", [bytes, envelope])
def test_every_truncation_is_garbage(
    rig: Rig, message: int, wrap: Callable[[bytes], bytes]
) -> None:
    frame = wrap(EVENTS[message]).replace(b"@stream", b"@depth")
    assert rig.decode(frame) == message
    for size in range(len(frame)):
        rig.assert_garbage(frame[:size])


def test_nothing_is_read_behind_the_end_of_a_frame(
    rig: Rig, at_the_end: Callable[[bytes], memoryview]
) -> None:
    for frame in (*EVENTS.values(), SNAPSHOT, b'{"s":"\\u5e01","e":"trade","x":[true,null,-1e5]}'):
        for size in range(len(frame) + 1):
            with at_the_end(frame[:size]) as view:
                rig.decoder.decode(view, RECV_NS)
                assert rig.decoder.decode_snapshot(view, 1) == (view == SNAPSHOT)


def reads_as_json(frame: bytes) -> bool:
    def refuse(word: str) -> None:
        raise ValueError(word)

    try:
        json.loads(frame.decode("utf-8", "replace"), parse_constant=refuse)
    except (ValueError, RecursionError):
        return False
    return True


@pytest.mark.parametrize("message", EVENTS)
def test_flipped_bytes_never_crash_and_never_half_fill_a_record(rig: Rig, message: int) -> None:
    source = random.Random(message)
    frame = EVENTS[message]
    filled = {codec.TOP, codec.TRADE, codec.AGG_TRADE, codec.MARK}
    for _ in range(4_000):
        damaged = bytearray(frame)
        for _ in range(source.randint(1, 4)):
            damaged[source.randrange(len(damaged))] = source.choice(b'{}[]":,.\\0-eu\x00\xff9 tfn')
        outcome = rig.decode(bytes(damaged))
        if outcome in filled:
            assert (rig.header.instrument_id, rig.header.mode) == (7, Mode.LIVE)
            assert (rig.header.origin_ns, rig.header.seq) == (RECV_NS, 0)
        else:
            assert rig.record == UNTOUCHED
        is_json = reads_as_json(bytes(damaged))
        assert is_json or outcome == codec.GARBAGE, bytes(damaged)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=300))
def test_noise_never_crashes(noise: bytes) -> None:
    rig = Rig()
    assert rig.decode(noise) in (codec.GARBAGE, codec.OTHER)
    assert rig.record == UNTOUCHED
    assert not rig.decoder.decode_snapshot(noise, 1)
