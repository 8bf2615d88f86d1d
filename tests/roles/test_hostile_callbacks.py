"""Every misdeed in every callback: the plug-in is paused, its orders go, nobody else notices."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator

import msgspec
import pytest

from hft import counters
from hft.config import StrategyConfig
from hft.core.generated.views import Book, MarkPrice, Trade
from hft.records import Action, ExecKind, FeedState, Kind, Reason, Side
from hft.roles.strategy import StrategyEngine
from hft.roles.strategy_status import EngineStatus
from hft.strategy.base import OPTIONAL_CALLBACKS
from hft.units import E8, NS_PER_MS

BTC, ETH = 1, 2
BID = [(Action.PLACE, Side.BUY, 100, BTC)]
CALLBACKS = ("on_top_of_book", "on_timer", *OPTIONAL_CALLBACKS)
PLUGIN = '''
import sys, time
from hft.records import Side
from hft.strategy.base import QuoteRules, StrategyParameters

class Silent(Exception):
    """Cannot even be told."""
    def __str__(self):
        raise RuntimeError("no words")
    __repr__ = message = property(__str__)

class Endless(Exception):
    """Takes its time to tell."""
    def __str__(self):
        while True: pass

class Joiner:
    """Bids at the touch; once it is armed, one of its callbacks does what the file is made for."""

    class Parameters(StrategyParameters, frozen=True):
        pass

    quote_rules = QuoteRules(rest_ns_min=0, is_amending=True)

    def __init__(self, parameters, instrument):
        self.is_armed = False
        self.seen = []
        self.bid_e8 = 0

    def on_top_of_book(self, now_ns, record, position_e8, targets):
        self.bid_e8 = record.bid_e8
        targets.set(Side.BUY, record.bid_e8, 10**8)

    def on_timer(self, now_ns, targets):
        record = targets

    def misbehave(self, record, targets):
        bid_e8 = self.bid_e8
        MISDEED
'''
CALLBACK = """
    def {name}(self, now_ns, record, position_e8, targets):
        self.seen.append({name!r})
"""
ARMED = "        if self.is_armed: self.misbehave(record, targets)\n"
MISDEEDS = {
    "raises": "raise RuntimeError('the beast')",
    "raises what cannot be told": "raise Silent",
    "raises and cannot stop telling": "raise Endless",
    "raises at length": "raise RuntimeError('x' * 10**7)",
    "raises what no file takes": "raise RuntimeError('\\udc80')",
    "exits": "sys.exit(3)",
    "recurses": "self.misbehave(record, targets)",
    "wants NaN": "targets.set(Side.BUY, float('nan'), 10**8)",
    "wants a negative price": "targets.set(Side.BUY, -bid_e8, 10**8)",
    "wants a negative quantity": "targets.set(Side.BUY, bid_e8, -1)",
    "wants the moon": "targets.set(Side.BUY, 2**70, 10**8)",
    "wants all there is": "targets.set(Side.BUY, bid_e8, 10**18 + 10**5)",
    "orders off the tick": "targets.orders.place(Side.BUY, bid_e8 + 1, 10**8)",
    "orders NaN": "targets.orders.place(Side.BUY, float('nan'), 10**8)",
    "orders a negative quantity": "targets.orders.place(Side.BUY, bid_e8, -(10**8))",
    "orders all there is": "targets.orders.place(Side.BUY, bid_e8, 10**18 + 10**5)",
    "floods": "[targets.orders.place(Side.BUY, bid_e8, 10**8) and targets.orders._open.clear()"
    " for _ in range(1000)]",
}
ENDLESS = {
    "loops": "while True: pass",
    "loops and catches": "while True:\n            try:\n                while True: pass\n"
    "            except Exception: pass",
    "sleeps": "time.sleep(60)",
}
HARMLESS = {
    "returns something": "return float('nan')",
    "wants what is off tick and step": "targets.set(Side.BUY, bid_e8 + 7, 10**8 + 7)",
}


def write(path, callback: str, misdeed: str):
    """A plug-in with every callback, one of which misbehaves."""
    source = PLUGIN.replace("MISDEED", misdeed)
    for name in OPTIONAL_CALLBACKS:
        source += CALLBACK.format(name=name) + (ARMED if name == callback else "")
    if callback == "on_top_of_book":
        source = source.replace("record.bid_e8, 10**8)\n", f"record.bid_e8, 10**8)\n{ARMED}", 1)
    elif callback == "on_timer":
        source = source.replace("record = targets\n", f"record = targets\n{ARMED}", 1)
    path.write_text(source)
    return path


class Events:
    """Lets happen what a callback is called for, on BTC."""

    def __init__(self, market) -> None:
        self._market = market
        self._books, buffer = market.feed.cell_writer("books")
        self._book = Book(buffer)
        self._trade, self._mark = Trade(market.buffer), MarkPrice(market.buffer)
        self.order_id = 0

    def show(self, record: Trade | MarkPrice, kind: Kind, **fields: int) -> None:
        record.clear()
        record.kind, record.instrument_id = int(kind), BTC
        for name, value in fields.items():
            setattr(record, name, value)
        self._market._market.offer()

    def on_top_of_book(self) -> None:
        self._market.tick(100, 103)

    def on_timer(self) -> None:
        """It comes by itself."""

    def on_book(self) -> None:
        self._book.clear()
        self._book.kind, self._book.instrument_id = int(Kind.BOOK), BTC
        self._book.venue_seq = 7
        self._books.write(BTC)

    def on_trade(self) -> None:
        self.show(self._trade, Kind.TRADE, price_e8=101 * E8, qty_e8=E8)

    def on_mark(self) -> None:
        self.show(self._mark, Kind.MARK_PRICE, mark_e8=101 * E8)

    def on_feed_status(self) -> None:
        self._market.announce(FeedState.LIVE)

    def on_execution(self) -> None:
        self._market.report(self.order_id, ExecKind.ACK)

    def on_refusal(self) -> None:
        self._market.refuse(Reason.PRICE_COLLAR)

    def on_instrument(self) -> None:
        self._market.change()


class Scene:
    """A bid of the plug-in's rests on BTC; another object of the same class trades ETH."""

    def __init__(self, house, make_market, path) -> None:
        self.house = house
        self.market = make_market(path)
        self.events = Events(self.market)
        self.context = house.context("strategy")
        self.engine = StrategyEngine(self.context)
        self.now_ns = time.monotonic_ns()
        self.engine.on_start(self.now_ns)
        self.turn()
        self.market.tick(100, 102)
        self.turn()
        assert self.market.intents() == BID
        self.events.order_id = self.market.intent.order_id
        self.market.report(self.events.order_id, ExecKind.ACK)
        self.turn(30)
        self.desk, self.neighbour = self.engine.desks

    def turn(self, duration_ms: int = 0) -> None:
        self.now_ns += duration_ms * NS_PER_MS
        self.market.feed.page.beat(self.now_ns)
        self.engine.do_work(self.now_ns)

    def provoke(self, callback: str) -> None:
        """Arm the plug-in, let its event happen beside one of the neighbour's, and let time pass.

        One turn may end with the callback, so that its order goes in a later one.
        """
        self.desk.plugin.is_armed = True
        getattr(self.events, callback)()
        self.market.tick(50, 52, ETH)
        for _ in range(3):
            self.turn(110)

    def check_contained(self, callback: str) -> None:
        intents = self.market.intents()
        assert (Action.CANCEL, Side.BUY, 100, BTC) in intents
        assert (Action.PLACE, Side.BUY, 50, ETH) in intents
        assert self.desk.pause_reason.startswith(f"{callback}: ")
        assert self.desk.errors == 1, "it is not called again"
        assert not self.neighbour.pause_reason
        assert self.context.page.counter(counters.PLUGIN_ERRORS.id) == 1
        told = (self.house.run_dir / "strategies" / "joiner" / "last_error.txt").read_text()
        assert "Traceback" in told
        assert "in misbehave" in told
        assert "event:\n  " in told
        raw = (self.house.run_dir / "strategies" / "status.json").read_bytes()
        kept = msgspec.json.decode(raw, type=EngineStatus).strategies[0].desks[0]
        assert kept.reason == self.desk.pause_reason
        assert len(kept.reason) < 600
        self.check_silent()

    def check_silent(self) -> None:
        """Whatever happens after that, the plug-in is not called and wants nothing."""
        before = list(self.desk.plugin.seen)
        bid_e8 = self.desk.plugin.bid_e8
        for name in CALLBACKS:
            getattr(self.events, name)()
        self.market.tick(101, 103)
        self.market.tick(51, 53, ETH)
        self.turn(110)
        assert self.desk.plugin.seen == before
        assert self.desk.plugin.bid_e8 == bid_e8
        assert self.neighbour.plugin.bid_e8 == 51 * E8
        assert self.desk.targets.wanted(Side.BUY) == (0, 0)
        assert not any(action is Action.PLACE for action, *_ in self.market.intents())


@pytest.fixture
def scene(house, make_market, tmp_path) -> Iterator[Callable[[str, str], Scene]]:
    """With the collector switched off, as where plug-ins are called (``freeze_memory``).

    What the tests before leave behind takes longer to collect than a callback may take: the
    interruption would hit a finalizer, which swallows it.
    """

    def make(callback: str, misdeed: str) -> Scene:
        return Scene(house, make_market, write(tmp_path / "hostile.py", callback, misdeed))

    gc.disable()
    yield make
    gc.enable()


@pytest.mark.parametrize("misdeed", MISDEEDS.values(), ids=MISDEEDS)
@pytest.mark.parametrize("callback", CALLBACKS)
def test_a_misdeed_in_a_callback_is_contained(scene, callback, misdeed, alarm, capsys) -> None:
    here = scene(callback, misdeed)
    try:
        here.provoke(callback)
        here.check_contained(callback)
    finally:
        here.engine.on_close()


@pytest.mark.parametrize("misdeed", ENDLESS.values(), ids=ENDLESS)
@pytest.mark.parametrize("callback", CALLBACKS)
def test_a_callback_that_stays_is_interrupted(scene, callback, misdeed, alarm, capsys) -> None:
    here = scene(callback, misdeed)
    try:
        here.provoke(callback)
        here.check_contained(callback)
    finally:
        here.engine.on_close()
    assert "did not return" in here.desk.pause_reason


@pytest.mark.parametrize("callback", CALLBACKS)
def test_what_leaks_in_a_callback_is_paused_and_let_go(scene, callback, capsys) -> None:
    gc.collect()  # what earlier tests have left would be freed just while the process is weighed
    here = scene(callback, "self.hoard = bytearray(b'x') * 100_000_000")
    here.turn(1_100)
    here.engine._control.growth_bytes_max = 20_000_000
    here.provoke(callback)
    here.turn(1_100)
    assert "it holds" in here.desk.pause_reason
    assert not hasattr(here.desk.plugin, "hoard")
    assert (Action.CANCEL, Side.BUY, 100, BTC) in here.market.intents()
    assert not here.neighbour.pause_reason


@pytest.mark.parametrize("deed", HARMLESS.values(), ids=HARMLESS)
@pytest.mark.parametrize("callback", CALLBACKS)
def test_what_does_no_harm_pauses_nobody(scene, callback, deed) -> None:
    here = scene(callback, deed)
    here.provoke(callback)
    assert not here.desk.pause_reason
    assert here.desk.targets.wanted(Side.BUY) == (100 * E8, E8)


@pytest.mark.parametrize("callback", CALLBACKS)
def test_a_legal_but_absurd_wish_is_bounded_and_left_to_risk(scene, callback) -> None:
    """The engine knows no right price: risk's collars and limits refuse this, each with a reason.

    What it wants is no more than the venue takes in one order.
    """
    here = scene(callback, "targets.set(Side.BUY, 90 * bid_e8, 10**18)")
    here.provoke(callback)
    assert not here.desk.pause_reason
    qty_max_e8 = here.desk.instrument.qty_max_e8
    assert here.desk.targets.wanted(Side.BUY) in ((9_000 * E8, qty_max_e8), (100 * E8, E8))
    assert (Action.PLACE, Side.BUY, 50, ETH) in here.market.intents()


SCRIBBLES = {
    "on_trade": ("price_e8", 101 * E8),
    "on_mark": ("mark_e8", 101 * E8),
    "on_feed_status": ("feed_state", int(FeedState.STALE)),
}


@pytest.mark.parametrize("callback", SCRIBBLES)
def test_what_a_plugin_writes_into_a_record_no_other_sees(
    house, make_market, tmp_path, callback
) -> None:
    """The record is a view into memory that both are shown, one after the other."""
    field, value = SCRIBBLES[callback]
    misdeed = f"record.{field} = record.kind = record.instrument_id = 1"
    scribbler = write(tmp_path / "scribbler.py", callback, misdeed)
    reader = write(tmp_path / "reader.py", callback, f"self.found = record.{field}")
    market = make_market(
        None,
        *(
            StrategyConfig(name=path.stem, plugin=f"{path}:Joiner", symbols=("BTCUSDT",))
            for path in (scribbler, reader)
        ),
    )
    events = Events(market)
    engine = StrategyEngine(house.context("strategy"))
    engine.on_start(time.monotonic_ns())
    engine.do_work(time.monotonic_ns())
    for desk in engine.desks:
        desk.plugin.is_armed = True
    market.tick(100, 102)
    if callback == "on_feed_status":
        market.announce(FeedState.STALE)
    else:
        getattr(events, callback)()
    engine.do_work(time.monotonic_ns())
    first, second = engine.desks
    assert (first.pause_reason, second.pause_reason) == ("", "")
    assert second.plugin.found == value
    assert second.is_fed is (callback != "on_feed_status")
