from __future__ import annotations

import json
from itertools import pairwise
from random import Random
from typing import Any

import pytest

from hft.records import Side
from hft.units import format_e8
from tools.venue.market_synthetic import Activity, SyntheticMarket

BUSY = Activity(600.0, 60.0, 30.0, 0.0001, 1.0, 0.3, 4.0)


class Follower:
    """Keeps a book from one depth stream and holds it against the bookTickers."""

    def __init__(self, market: Any) -> None:
        self.market = market
        self.books: dict[str, dict[str, str]] = {"b": {}, "a": {}}
        self.tickers: dict[int, tuple[str, ...]] = {}
        self.previous_id = self.diffs = self.compared = 0

    def write(self, payload: bytes) -> None:
        frame = json.loads(payload)
        if frame["e"] == "bookTicker":
            assert frame["u"] not in self.tickers
            self.tickers[frame["u"]] = tuple(frame[key] for key in "bBaA")
            return
        assert not self.diffs or frame["pu"] == self.previous_id
        assert self.previous_id < frame["U"] <= frame["u"]
        self.previous_id = frame["u"]
        self.diffs += 1
        for side in "ba":
            for price, qty in frame[side]:
                if float(qty):
                    self.books[side][price] = qty
                else:
                    self.books[side].pop(price, None)
        best = {"b": max(self.books["b"], key=float), "a": min(self.books["a"], key=float)}
        assert float(best["b"]) < float(best["a"])
        ticker = self.tickers.get(frame["u"])
        if ticker is not None:
            self.compared += 1
            expected = (
                best["b"],
                self.books["b"][best["b"]],
                best["a"],
                self.books["a"][best["a"]],
            )
            assert ticker == expected

    def assert_is_the_published_book(self) -> None:
        for side, name in ((Side.BUY, "b"), (Side.SELL, "a")):
            shown = {format_e8(p): format_e8(q) for p, q in self.market.public.levels(side, 9_999)}
            followed = {strip(p): strip(q) for p, q in self.books[name].items()}
            assert followed == shown


def strip(text: str) -> str:
    return text.rstrip("0").rstrip(".")


def random_request(random: Random, venue: Any, number: int) -> dict[str, str]:
    top = venue.market.public.top()
    side = random.choice(["BUY", "SELL"])
    distance = random.randint(-8, 8) * 10**7
    price_e8 = (top.bid_e8 if side == "BUY" else top.ask_e8) + distance
    return {
        "account": random.choice(["test-key", "other-key"]),
        "side": side,
        "price": f"{price_e8 / 1e8:.1f}",
        "quantity": random.choice(["0.002", "0.010", "0.500"]),
        "timeInForce": random.choice(["GTC", "GTX", "IOC", "FOK"]),
        "reduceOnly": random.choice(["true", "false", "false", "false"]),
        "newClientOrderId": f"n{number}",
    }


@pytest.mark.parametrize("stream", ["depth@0ms", "depth@100ms", "depth", "depth@500ms"])
def test_every_depth_stream_tells_the_book_that_the_ticker_shows(make_venue, stream):
    venue = make_venue(open_orders_per_symbol=20)
    random, market = Random(11), venue.market
    for side, price in ((Side.BUY, "64000.00"), (Side.SELL, "64000.10")):
        venue.level(side, price, "0")
    follower = Follower(market)
    venue.exchange.hub.listen(follower, f"btcusdt@{stream}", is_combined=False)
    venue.exchange.hub.listen(follower, "btcusdt@bookTicker", is_combined=False)
    crowd = SyntheticMarket(market, BUSY, seed=4)
    crowd.start(venue.now_ms)
    accounts = (venue.account, venue.other)
    for number in range(1_000):
        venue.now_ms += 10
        crowd.advance(number / 100, venue.now_ms)
        request = random_request(random, venue, number)
        assert venue.refusal(**request) in (0, -5021, -5022, -2022, -2019, -2025)
        account = random.choice(accounts)
        opened = list(account.opened("BTCUSDT"))
        if opened and random.random() < 0.3:
            named = {"symbol": "BTCUSDT", "orderId": str(random.choice(opened))}
            venue.desk.cancel(account, named)
        market.update_mark()
        market.on_timer(venue.now_ms)
    venue.now_ms += 500
    market.on_timer(venue.now_ms)
    follower.assert_is_the_published_book()
    assert follower.compared > (400 if stream == "depth@0ms" else 5)
    assert len(follower.tickers) > 2_000
    for account in accounts:
        position_e8 = account.position("BTCUSDT").qty_e8
        assert position_e8 == sum(fill.side * fill.qty_e8 for fill in account.fills)
        assert position_e8 == market.book.positions_e8.get(account.account_id, 0)
        gains_e8 = sum(fill.realised_e8 - fill.fee_e8 for fill in account.fills)
        assert account.wallet_e8 == account.deposited_e8 + gains_e8
        assert len(account.fills) > 50


def test_partial_depth_is_the_top_of_the_book(make_venue):
    venue = make_venue()
    frames: list[Any] = []

    class Recorder:
        def write(self, payload: bytes) -> None:
            frames.append(json.loads(payload))

    venue.exchange.hub.listen(Recorder(), "btcusdt@depth5@100ms", is_combined=False)
    for tick in range(8):
        venue.level(Side.BUY, f"{63999 - tick}.0", "2")
    venue.market.on_timer(venue.now_ms)
    assert frames[0]["b"][0] == ["64000.00", "1.000"]
    assert [len(frames[0][side]) for side in "ba"] == [5, 1]


def test_trades_of_one_price_and_side_are_aggregated_for_100_ms(venue):
    frames: list[Any] = []

    class Recorder:
        def write(self, payload: bytes) -> None:
            frames.append(json.loads(payload))

    venue.exchange.hub.listen(Recorder(), "btcusdt@aggTrade", is_combined=False)
    venue.take(Side.SELL, "64000.00", "0.2")
    venue.take(Side.SELL, "64000.00", "0.3")
    venue.now_ms += 100
    venue.market.on_timer(venue.now_ms)
    assert [(f["q"], f["l"] - f["f"], f["m"]) for f in frames] == [("0.500", 1, True)]


def test_two_cadences_have_their_own_chains(make_venue):
    venue = make_venue()
    chains: dict[str, list[Any]] = {}
    for stream in ("depth@0ms", "depth@100ms"):
        chains[stream] = []

        class Recorder:
            def __init__(self, frames: list[Any]) -> None:
                self.frames = frames

            def write(self, payload: bytes) -> None:
                self.frames.append(json.loads(payload))

        venue.exchange.hub.listen(Recorder(chains[stream]), f"btcusdt@{stream}", is_combined=False)
    for number in range(40):
        venue.now_ms += 10
        venue.level(Side.BUY, "63999.00", f"{number + 1}")
        venue.market.on_timer(venue.now_ms)
    fast, slow = chains["depth@0ms"], chains["depth@100ms"]
    assert len(fast) >= 4 * len(slow)
    for frames in (fast, slow):
        for earlier, later in pairwise(frames):
            assert later["pu"] == earlier["u"]
