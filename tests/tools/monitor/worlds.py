"""Snapshots by hand: what the monitor shows of a system in each of its states."""

from __future__ import annotations

from dataclasses import replace

from tools.monitor.model import (
    Alert,
    Book,
    Desk,
    Fill,
    Hop,
    Instrument,
    Level,
    Lost,
    Order,
    Position,
    RingReader,
    Role,
    Snapshot,
)

E8 = 10**8
WALL_NS = 1_795_374_703_000_000_000
"""A moment; tests run in UTC."""
BTC = Instrument(1, "BTCUSDT", 1, 3)
ETH = Instrument(2, "ETHUSDT", 2, 3)
COIN = Instrument(3, "币安USDT", 4, 0)
"""A symbol of the venue's with ideographs: two columns each."""


def roles() -> tuple[Role, ...]:
    names = ("feed", "strategy", "risk", "execution", "account", "recorder")
    return tuple(
        Role(
            name=name,
            process="cold" if name in ("account", "recorder") else "hot",
            pid=4_000 + number,
            cpu=1,
            state="ready",
            detail="3 of 3 live, 0 gaps" if name == "feed" else "",
            beat_ns=120_000,
            work_per_s=1_234.5,
            restarts=1 if name == "account" else 0,
            cpu_percent=12.0,
            memory_mb=81.5,
            is_well=True,
        )
        for number, name in enumerate(names)
    )


def hop(name: str, p50_ns: int) -> Hop:
    return Hop(
        name=name,
        meaning="frame read to record published",
        total=41_310,
        p50_ns=p50_ns,
        p99_ns=2 * p50_ns,
        max_ns=9 * p50_ns,
        recent_total=500,
        recent_p50_ns=p50_ns,
        recent_p99_ns=2 * p50_ns,
        p50_history_ns=(p50_ns,) * 6,
        p99_history_ns=(0, p50_ns, 2 * p50_ns, 3 * p50_ns, 2 * p50_ns, 9 * p50_ns),
    )


def book() -> Book:
    asks = tuple(
        Level(6_394_010_000_000 + i * 10_000_000, (i + 1) * E8 // 10, i == 2) for i in range(20)
    )
    bids = tuple(
        Level(6_394_000_000_000 - i * 10_000_000, (20 - i) * E8 // 10, 2 * (i == 1))
        for i in range(20)
    )
    return Book(BTC, "live", bids, asks)


def order(number: int, side: int = 1, state: str = "working", owner: str = "maker") -> Order:
    return Order(
        order_id=(1 << 56) | number,
        venue_order_id=8_389_765_739_703_636_000 + number,
        instrument=BTC if number % 2 else ETH,
        owner=owner,
        side=side,
        price_e8=6_393_990_000_000 if number % 2 else 309_861_000_000,
        qty_e8=400_000,
        filled_e8=100_000 if number == 3 else 0,
        state=state,
        pending="cancel" if number == 2 else "",
        age_ns=number * 1_200_000_000,
    )


def position(instrument: Instrument, qty_e8: int, net_e8: int) -> Position:
    return Position(
        instrument=instrument,
        mode="live",
        qty_e8=qty_e8,
        entry_e8=(6_392_140_000_000 if instrument is BTC else 341_102_000_000) if qty_e8 else 0,
        mark_e8=6_394_005_000_000 if instrument is BTC else 341_781_000_000,
        unrealised_e8=net_e8 // 2,
        realised_e8=net_e8 - net_e8 // 2 + 2_000_000,
        fee_e8=2_000_000,
        funding_e8=0,
        fills=57,
        differs=False,
    )


def fill(number: int) -> Fill:
    return Fill(
        wall_ns=WALL_NS - number * 1_500_000_000,
        instrument=(BTC, ETH)[number % 2],
        owner="maker",
        side=1 - 2 * (number % 2),
        qty_e8=400_000,
        price_e8=6_393_990_000_000 + number * 10_000_000,
        fee_e8=1_500_000,
        is_maker=number != 1,
    )


def healthy() -> Snapshot:
    """All is well."""
    return Snapshot(
        name="default",
        mode="paper",
        trading_state="ACTIVE",
        halt_reason="",
        wall_ns=WALL_NS,
        feed_age_ns=4_000_000,
        tick_to_trade=hop("tick_to_trade", 14_000),
        wallet_e8=9_999_84120000,
        wallet_asset="USDT",
        instruments=(BTC, ETH, COIN),
        roles=roles(),
        rings=(
            RingReader("market", "feed", "risk", "observes", -1, 8_192, 2_188.4, 0, "lap readers"),
            RingReader("decisions", "risk", "execution", "gates", 3, 4_096, 16.0, 0,
                       "pause intake"),
            RingReader("journal", "execution", "recorder", "polls", 40_000, 65_536, 47.0, 7,
                       "lap readers"),
        ),
        positions=(position(BTC, 1_200_000, 12_000_000), position(ETH, -15_000_000, -102_000_000),
                   position(COIN, 0, 0)),
        orders=(order(1), order(2, -1), order(3, -1, "unresolved"), order(5, 1, "working",
                                                                         "not ours")),
        book=book(),
        fills=tuple(fill(number) for number in range(40)),
        desks=(
            Desk("maker", "live", BTC, "quoting", True, 6_393_990_000_000, 6_394_030_000_000, 2,
                 "place buy 63939.9", 200_000_000, ""),
            Desk("scalper", "paper", ETH, "paused", False, 0, 0, 0, "", -1,
                 "ETHUSDT: ZeroDivisionError('division by zero')"),
        ),
        alerts=(
            Alert(WALL_NS - 60 * 10**9, 3, "account", "BTCUSDT position 1: 0.012, venue 0.010"),
            Alert(WALL_NS - 90 * 10**9, 1, "supervisor", "cold ready again after 0.31 s"),
        ),
        hops=(hop("receive_to_book", 3_100), hop("decision_to_wire", 6_400),
              hop("tick_to_trade", 14_000)),
    )  # fmt: skip


def halted() -> Snapshot:
    """A live system that was stopped."""
    return replace(
        healthy(),
        mode="live",
        trading_state="HALTED",
        halt_reason="drawdown 1.02 % ≥ 1.00 % (by risk, 2026-11-22 19:05:10 UTC)",
        orders=(),
    )


def not_armed() -> Snapshot:
    """A live system before `hft arm`."""
    return replace(healthy(), mode="live", trading_state="HALTED", orders=(), fills=())


def reducing() -> Snapshot:
    """A demo that only shrinks its positions."""
    return replace(healthy(), mode="demo", trading_state="REDUCING")


def ailing() -> Snapshot:
    """One role is silent, the feed is old, the book gapped."""
    sick = roles()[0]._replace(state="silent", beat_ns=4_200_000_000, is_well=False)
    return replace(
        healthy(),
        roles=(sick, *roles()[1:]),
        feed_age_ns=4_100_000_000,
        book=book()._replace(feed_state="gapped"),
    )


def lost() -> Snapshot:
    """A system that was taken down while it was watched."""
    return replace(healthy(), lost=Lost(WALL_NS - 3 * 10**9, "taken down"))


def empty() -> Snapshot:
    """A system in its first moment."""
    return Snapshot(
        name="default",
        mode="paper",
        trading_state="HALTED",
        halt_reason="",
        wall_ns=WALL_NS,
        feed_age_ns=-1,
        tick_to_trade=None,
        wallet_e8=0,
        wallet_asset="USDT",
    )


WORLDS = {
    world.__name__: world for world in (healthy, halted, not_armed, reducing, ailing, lost, empty)
}
