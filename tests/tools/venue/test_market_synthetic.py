from __future__ import annotations

import pytest

from hft.records import Side
from tools.venue.config import VenueConfig
from tools.venue.exchange import Exchange
from tools.venue.exchange_info import synthetic_rules
from tools.venue.market_synthetic import Activity, SyntheticMarket
from tools.venue.outlet import Channel

ACTIVITY = Activity(400.0, 40.0, 20.0, 0.00005, 2.0, 0.3, 4.0)


class Recorder:
    def __init__(self) -> None:
        self.frames: list[bytes] = []

    def write(self, payload: bytes) -> None:
        self.frames.append(payload)


def frames_of(seed: int, symbol: str = "BTCUSDT", seconds: int = 3) -> list[bytes]:
    exchange, crowd = crowd_of(seed, symbol)
    recorder = Recorder()
    for stream in ("bookTicker", "trade", "depth@0ms", "aggTrade"):
        exchange.hub.listen(recorder, f"{symbol.lower()}@{stream}", is_combined=False)
    crowd.start(0)
    for tick in range(1, seconds * 100):
        crowd.advance(tick / 100, tick * 10)
        exchange.markets[symbol].on_timer(tick * 10)
    return recorder.frames


def crowd_of(seed: int, symbol: str) -> tuple[Exchange, SyntheticMarket]:
    exchange = Exchange(
        VenueConfig(symbols=(symbol,)), [synthetic_rules(symbol)], clock_ms=lambda: 0
    )
    return exchange, SyntheticMarket(exchange.markets[symbol], ACTIVITY, seed=seed)


def test_same_seed_makes_the_same_frames_byte_for_byte():
    one = frames_of(7)
    assert len(one) > 500
    assert one == frames_of(7)
    assert one != frames_of(8)


@pytest.mark.parametrize("symbol", ["BTCUSDT", "ETHUSDT", "SOLUSDT", "ODDUSDT"])
def test_book_stays_deep_uncrossed_and_on_the_grid(symbol):
    exchange, crowd = crowd_of(3, symbol)
    market = exchange.markets[symbol]
    crowd.start(0)
    for tick in range(1, 600):
        crowd.advance(tick / 100, tick * 10)
        bids, asks = (market.public.levels(side, 200) for side in (Side.BUY, Side.SELL))
        assert bids[0][0] < asks[0][0]
        assert min(len(bids), len(asks)) >= 30
        assert max(len(bids), len(asks)) <= 100
        for price_e8, qty_e8 in bids + asks:
            assert price_e8 % market.rules.tick_e8 == 0
            assert qty_e8 > 0
            assert qty_e8 % market.rules.step_e8 == 0


def test_crowd_that_falls_behind_says_so():
    _, crowd = crowd_of(3, "BTCUSDT")
    crowd.start(0)
    assert crowd.advance(0.1, 0)
    assert not crowd.advance(1_000.0, 0)


def test_small_quotes_at_the_touch_are_filled_often(make_venue):
    venue = make_venue()
    venue.level(Side.BUY, "64000.00", "0")
    venue.level(Side.SELL, "64000.10", "0")
    crowd = SyntheticMarket(venue.market, ACTIVITY, seed=5)
    crowd.start(venue.now_ms)
    for tick in range(1, 1_000):
        venue.now_ms += 10
        crowd.advance(tick / 100, venue.now_ms)
        if tick % 20 == 0:
            venue.exchange.cancel_all(venue.account, "BTCUSDT")
            top = venue.market.public.top()
            for side, price_e8 in (("BUY", top.bid_e8), ("SELL", top.ask_e8)):
                venue.place(
                    side=side, price=f"{price_e8 / 1e8:.2f}", quantity="0.005", timeInForce="GTX"
                )
        venue.market.update_mark()
    assert len(venue.account.fills) > 40


def test_outlet_hook_takes_the_place_of_the_receiver():
    exchange, crowd = crowd_of(1, "BTCUSDT")
    recorder, seen = Recorder(), []
    exchange.hub.listen(recorder, "btcusdt@bookTicker", is_combined=True)

    def lose_every_second(sink, channel, name, payload):
        seen.append((channel, name))
        if len(seen) % 2:
            sink.write(payload)

    exchange.outlet.frame_hook = lose_every_second
    crowd.start(0)
    crowd.advance(0.5, 0)
    assert seen
    assert set(seen) == {(Channel.MARKET, "btcusdt@bookTicker")}
    assert len(recorder.frames) == (len(seen) + 1) // 2
