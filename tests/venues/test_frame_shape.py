"""A frame that is known by its shape reads as one that is read the long way."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hft.core.generated.views import Trade
from hft.records import Side
from hft.units import INT64_MAX, parse_e8
from hft.venues.binance_usdm import codec
from hft.venues.binance_usdm.codec import MarketDecoder

LONG = "A" * 36
"""Symbols that begin like this cannot be told apart by the beginning of their streams' names."""
SYMBOLS = {"BTCUSDT": 1, "ETHUSDT": 7, f"{LONG}1": 8, f"{LONG}2": 9}
RECV_NS = 123_456_789
AHEAD_NS = 1_795_350_000_000_000_000


def enveloped(symbol: str, stream: str, data: str) -> bytes:
    return f'{{"stream":"{symbol.lower()}@{stream}","data":{data}}}'.encode()


def top(
    symbol: str = "BTCUSDT",
    bid: str = "95123.40",
    bid_qty: str = "0.512",
    ask: str = "95123.50",
    ask_qty: str = "12.004",
    update: object = 8_214_400_934,
    event_ms: object = 1_795_350_000_131,
) -> bytes:
    return enveloped(
        symbol,
        "bookTicker",
        f'{{"e":"bookTicker","u":{update},"s":"{symbol}","ps":"{symbol}","b":"{bid}",'
        f'"B":"{bid_qty}","a":"{ask}","A":"{ask_qty}","T":1795350000130,"E":{event_ms}}}',
    )


def levels(*pairs: tuple[str, str]) -> str:
    return ",".join(f'["{price}","{qty}"]' for price, qty in pairs)


def depth(
    symbol: str = "BTCUSDT",
    bids: str = '["95123.40","0.512"],["95120","0"]',
    asks: str = '["95123.50","12.004"]',
    update: object = 8_214_400_934,
) -> bytes:
    return enveloped(
        symbol,
        "depth@0ms",
        f'{{"e":"depthUpdate","E":1795350000133,"T":1795350000129,"s":"{symbol}",'
        f'"U":8214400911,"u":{update},"pu":8214400902,"b":[{bids}],"a":[{asks}],"st":1}}',
    )


def trade(
    symbol: str = "BTCUSDT",
    price: str = "95123.50",
    qty: str = "0.012",
    update: object = 3_535_186_050,
    maker: str = "true",
    cause: str = "MARKET",
) -> bytes:
    return enveloped(
        symbol,
        "trade",
        f'{{"e":"trade","E":1795350000133,"T":1795350000129,"s":"{symbol}","t":{update},'
        f'"p":"{price}","q":"{qty}","X":"{cause}","m":{maker},"st":1}}',
    )


def decoder() -> tuple[MarketDecoder, bytearray]:
    record = bytearray(128)
    made = MarketDecoder(SYMBOLS, record)
    made.venue_ahead_ns = AHEAD_NS
    return made, record


class Pair:
    """One decoder that sees every frame, and for each frame one that has seen none before it."""

    def __init__(self) -> None:
        self.seasoned, self._record = decoder()

    def decode(self, frame: bytes) -> int:
        """What both say, after comparing it."""
        fresh, fresh_record = decoder()
        self._record[:] = bytes(128)
        message = self.seasoned.decode(frame, RECV_NS)
        assert fresh.decode(frame, RECV_NS) == message, frame
        assert self._record == fresh_record, frame
        assert facts(self.seasoned) == facts(fresh), frame
        return message

    @property
    def trade(self) -> Trade:
        """The record of the last message, a trade."""
        return Trade(self._record)

    @property
    def number(self) -> int:
        """What the venue has numbered the last message with."""
        return self.seasoned.last_seq or self.trade.trade_id


def facts(of: MarketDecoder) -> tuple[object, ...]:
    return (
        (of.instrument_id, of.symbol, of.first_seq, of.last_seq, of.previous_seq),
        (of.recv_ns, of.as_of_ns, of.venue_ns, of.event_ns),
        (of.bids, of.asks),
    )


MAKERS = ((top, codec.TOP), (depth, codec.DEPTH), (trade, codec.TRADE))


@pytest.fixture
def pair() -> Pair:
    return Pair()


@pytest.mark.parametrize("make", [top, depth, trade])
def test_a_frame_like_the_last_one_is_known(pair: Pair, make: Callable[..., bytes]) -> None:
    for update in range(9, 2_000, 7):
        pair.decode(make(update=update))
        pair.decode(make("ETHUSDT", update=update))
    assert pair.seasoned.known_frames >= 2 * 284 - 2
    assert pair.number == 1_997


def test_tops_with_any_numbers_are_known(pair: Pair) -> None:
    pair.decode(top())
    numbers = ("1", "0.1", "9999999.99999999", "0.00000001", "0", "0.000", "25", "7.12345678")
    for number in numbers:
        assert pair.decode(top(bid=number, ask_qty=number)) == codec.TOP
    assert pair.seasoned.known_frames == len(numbers)
    assert pair.decode(top(bid_qty="7.12345678")) == codec.TOP
    assert facts(pair.seasoned)[0] == (1, b"BTCUSDT", 0, 8_214_400_934, 0)


def test_depth_events_with_any_number_of_levels_are_known(pair: Pair) -> None:
    pair.decode(depth())
    for count in (0, 1, 2, 300):
        side = levels(*((str(price), f"{price}.5") for price in range(count)))
        assert pair.decode(depth(bids=side)) == codec.DEPTH
        assert pair.decode(depth(asks=side)) == codec.DEPTH
        assert len(pair.seasoned.asks) == count
    assert pair.seasoned.known_frames == 8


@pytest.mark.parametrize(("maker", "side"), [("true", Side.SELL), ("false", Side.BUY)])
def test_trades_of_either_side_are_known(pair: Pair, maker: str, side: Side) -> None:
    pair.decode(trade(maker="false"))
    assert pair.decode(trade(price="7.5", qty="0.25", update=12, maker=maker)) == codec.TRADE
    assert pair.seasoned.known_frames == 1
    known = pair.trade
    assert (known.price_e8, known.qty_e8, known.trade_id) == (750_000_000, 25_000_000, 12)
    assert (known.aggressor_side, known.is_aggregate) == (side, 0)


@pytest.mark.parametrize("maker", ["null", "1", "tru", "truE", "falsey", '"true"', ""])
def test_a_trade_whose_maker_is_no_yes_or_no_is_refused(pair: Pair, maker: str) -> None:
    pair.decode(trade())
    assert pair.decode(trade(maker=maker)) == codec.GARBAGE
    assert pair.decode(trade()) == codec.TRADE


def test_what_is_no_trade_of_the_market_is_none_in_a_known_frame(pair: Pair) -> None:
    pair.decode(trade())
    for other in (trade(cause="INSURANCE_FUND"), trade(price="0"), trade(qty="0.000")):
        assert pair.decode(other) == codec.OTHER
    assert pair.decode(trade()) == codec.TRADE
    assert pair.seasoned.known_frames == 1


def test_aggregate_trades_are_read_the_long_way(pair: Pair) -> None:
    frame = enveloped(
        "BTCUSDT",
        "aggTrade",
        '{"e":"aggTrade","E":1795350000133,"a":5933014,"s":"BTCUSDT","p":"1.001","q":"100",'
        '"f":100,"l":105,"T":1795350000129,"m":true}',
    )
    for _ in range(3):
        assert pair.decode(frame) == codec.AGG_TRADE
    assert (pair.trade.trade_id, pair.seasoned.known_frames) == (5_933_014, 0)


REFUSED = ("", "-1", "1.", ".5", "1e5", "0.123456789", "92233720368.54775808", '1"', " 1", "1 ")
LONG_NUMBERS = ("12345678.5", "123456789.12345678", "1.1234567800", "92233720368.54775807")


@pytest.mark.parametrize("number", REFUSED)
def test_numbers_that_are_refused_are_refused_in_a_known_frame(pair: Pair, number: str) -> None:
    pair.decode(top())
    pair.decode(depth())
    pair.decode(trade())
    assert pair.decode(trade(price=number)) == codec.GARBAGE
    assert pair.decode(trade(qty=number)) == codec.GARBAGE
    assert pair.decode(top(bid=number)) == codec.GARBAGE
    assert pair.decode(top(ask_qty=number)) == codec.GARBAGE
    assert pair.decode(depth(bids=levels((number, "1")))) == codec.GARBAGE
    assert pair.decode(depth(asks=levels(("1", "2"), ("3", number)))) == codec.GARBAGE
    assert pair.decode(top()) == codec.TOP


@pytest.mark.parametrize("number", LONG_NUMBERS)
def test_numbers_that_are_seldom_so_long_are_read(pair: Pair, number: str) -> None:
    pair.decode(depth())
    assert pair.decode(depth(bids=levels((number, number), ("1", number)))) == codec.DEPTH
    assert pair.seasoned.bids == [(parse_e8(number),) * 2, (parse_e8("1"), parse_e8(number))]


@pytest.mark.parametrize(
    ("count", "is_good"),
    [
        (0, True),
        (7, True),
        (12_345_678, True),
        (999_999_999_999_999, True),
        (9_999_999_999_999_999, True),
        (2**64 - 1, True),
        (2**64, False),
        ("007", False),
        (-5, False),
        ("1.5", False),
        ("null", False),
        ('"5"', False),
        ("", False),
    ],
)
def test_update_ids_are_whole_numbers_of_64_bits(pair: Pair, count: object, is_good: bool) -> None:
    pair.decode(top())
    assert pair.decode(top(update=count)) == (codec.TOP if is_good else codec.GARBAGE)
    assert pair.decode(depth(update=count)) == (codec.DEPTH if is_good else codec.GARBAGE)
    pair.decode(trade())
    is_good = is_good and int(str(count)) <= INT64_MAX
    assert pair.decode(trade(update=count)) == (codec.TRADE if is_good else codec.GARBAGE)


def test_a_time_beyond_64_bits_is_garbage(pair: Pair) -> None:
    pair.decode(top())
    assert pair.decode(top(event_ms=INT64_MAX // 1_000_000)) == codec.TOP
    assert pair.decode(top(event_ms=INT64_MAX // 1_000_000 + 1)) == codec.GARBAGE


def test_streams_whose_names_begin_alike_are_kept_apart(pair: Pair) -> None:
    for update in range(50):
        for instrument_id, end in ((8, 1), (9, 2)):
            assert pair.decode(top(f"{LONG}{end}", update=update)) == codec.TOP
            assert pair.seasoned.instrument_id == instrument_id
            assert pair.decode(depth(f"{LONG}{end}", update=update)) == codec.DEPTH
            assert pair.seasoned.instrument_id == instrument_id


def test_more_streams_than_places_are_all_read() -> None:
    symbols = {f"S{n}USDT": n for n in range(1, 400)}
    record = bytearray(128)
    many = MarketDecoder(symbols, record)
    for _ in range(3):
        for symbol, instrument_id in symbols.items():
            for make, message in MAKERS:
                assert many.decode(make(symbol), RECV_NS) == message
                assert (many.instrument_id, many.symbol) == (instrument_id, symbol.encode())
    assert many.known_frames > 0.95 * 2 * len(MAKERS) * len(symbols)


def test_a_changed_shape_is_learnt_anew(pair: Pair) -> None:
    frames = (top(), top().replace(b'"E":', b'"st":2,"E":'), top().replace(b'"ps":"BTCUSDT",', b""))
    for frame in frames:
        known = pair.seasoned.known_frames
        for _ in range(3):
            assert pair.decode(frame) == codec.TOP
        assert pair.seasoned.known_frames == known + 2


def test_a_shape_too_long_to_keep_is_read_the_long_way(pair: Pair) -> None:
    frame = top().replace(b'"ps":', b'"note":"' + b"x" * 300 + b'","ps":')
    for _ in range(3):
        assert pair.decode(frame) == codec.TOP
    assert pair.seasoned.known_frames == 0


def test_nothing_is_read_behind_the_end_of_a_known_frame(
    at_the_end: Callable[[bytes], memoryview],
) -> None:
    made, _ = decoder()
    for frame in (top(), depth(), trade(), top(event_ms=5), depth(bids="", asks="")):
        for size in range(len(frame)):
            made.decode(frame, RECV_NS)
            with at_the_end(frame[:size]) as view:
                assert made.decode(view, RECV_NS) == codec.GARBAGE
            with at_the_end(frame) as view:
                assert made.decode(view, RECV_NS) != codec.GARBAGE


@pytest.mark.parametrize("make", [top, depth, trade])
def test_damaged_frames_read_as_if_no_shape_were_known(
    pair: Pair, make: Callable[..., bytes]
) -> None:
    source = random.Random(make.__name__)
    whole = make()
    for _ in range(4_000):
        damaged = bytearray(whole)
        for _ in range(source.randint(1, 2)):
            letter = source.choice(b'{}[]":,.\\0-eubBaA\x00\xff9 5173tpqmlsr')
            damaged[source.randrange(len(damaged))] = letter
        pair.decode(bytes(damaged))
        assert pair.decode(whole) != codec.GARBAGE


PLAIN = st.decimals(0, 10**8, places=8).map(lambda number: f"{number:f}".rstrip("0").rstrip("."))


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.tuples(PLAIN, PLAIN), max_size=30),
    PLAIN,
    st.integers(0, 2**64 - 1),
    st.sampled_from(("true", "false")),
)
def test_whatever_the_numbers_a_known_frame_says_the_same(
    pairs: list[tuple[str, str]], price: str, update: int, maker: str
) -> None:
    pair = Pair()
    pair.decode(trade())
    pair.decode(trade(price=price, update=update, maker=maker))
    pair.decode(top())
    pair.decode(depth())
    assert pair.decode(depth(bids=levels(*pairs), update=update)) == codec.DEPTH
    assert pair.seasoned.bids == [(parse_e8(price), parse_e8(qty)) for price, qty in pairs]
    assert pair.decode(top(ask=price, update=update)) == codec.TOP
    assert pair.seasoned.last_seq == update
