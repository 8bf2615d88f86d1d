"""One round trip at a time: what the built-in strategies that take a side have in common.

A *trip* begins when the position is at least what the venue takes as an order, and ends when it is
less. What remains below that cannot be worked off by quotes, and is part of the next trip.

Orders are quotes that join the touch: they never take, and earn the spread instead of paying it.
A trip that has to end may be ended by taking, where the strategy is told so.
"""

from __future__ import annotations

from typing import Annotated, Final

from msgspec import Meta

from hft.core.generated.views import TopOfBook
from hft.core.instruments import InstrumentRules
from hft.records import Side, Tif
from hft.strategy.base import Count, DecimalText, StrategyParameters
from hft.strategy.signals import BPS, Kept
from hft.strategy.sizing import BPS_E8, SignedDecimalText, Sizing
from hft.strategy.targets import QuoteRules, QuoteTargets
from hft.units import NS_PER_MS, ceil_to, floor_to

BUY: Final = Side.BUY
SELL: Final = Side.SELL
IOC: Final = Tif.IOC
"""Kept, for to ask an enumeration for a member takes 0.1 us each time (CPython 3.11)."""
TAKE_NS_MIN: Final = 250 * NS_PER_MS
"""Time between two attempts to take: one that risk or the venue refused is not repeated at once."""


class TripParameters(StrategyParameters, frozen=True):
    """What every strategy of this kind may be told."""

    quote_notional: DecimalText = "250"
    """Size of the position it takes, in the quote asset; raised to the least the venue takes."""
    position_notional_max: DecimalText = "600"
    """No order that could take the position beyond this, in the quote asset."""
    maker_fee_bps: SignedDecimalText = "2"
    """What the venue takes for a fill of a resting order, in bps; negative: what it pays."""
    edge_bps: SignedDecimalText = "0"
    """What a trip is expected to earn after fees, in bps; negative: what it may cost."""
    is_taking: bool = False
    """True: what has to end is ended by an immediate order that takes, not by joining the touch."""
    take_bps: DecimalText = "2"
    """How far beyond the touch such an order may go, in bps."""
    reprice_ticks: Annotated[int, Meta(ge=1)] = 1
    """Orders nearer than this to where they should be are left in their queue."""
    rest_ms_min: Count = 100
    """Least time between two changes of a side."""
    feed_age_ms_max: Annotated[int, Meta(gt=0)] = 1_000
    """Orders are pulled when nothing was heard for so long."""
    is_amending: bool = True
    """False: orders are moved by cancelling and placing anew."""

    @property
    def quote_rules(self) -> QuoteRules:
        """How hard its orders cling to their place."""
        return QuoteRules(
            reprice_ticks=self.reprice_ticks,
            rest_ns_min=self.rest_ms_min * NS_PER_MS,
            is_amending=self.is_amending,
        )


class Trip(Kept):
    """Which way the position goes, since when, and from which mid."""

    __slots__ = ("_taken_ns", "entry_mid_e8", "side", "since_ns")
    KEPT = ("_taken_ns", "entry_mid_e8", "side", "since_ns")

    def __init__(self) -> None:
        self.side = 0
        """1: long, −1: short, 0: flat."""
        self.since_ns = 0
        """When the side last changed."""
        self.entry_mid_e8 = 0
        self._taken_ns = -TAKE_NS_MIN

    def observe(self, now_ns: int, mid_e8: int, position_e8: int, least_e8: int) -> None:
        """Look at the position; the mid at which its side changes is the entry."""
        side = 0 if abs(position_e8) < least_e8 else 1 if position_e8 > 0 else -1
        if side != self.side:
            self.side, self.since_ns, self.entry_mid_e8 = side, now_ns, mid_e8

    def gain_bps(self, mid_e8: int) -> float:
        """How far the mid went our way since the entry, bps; without fees."""
        return self.side * (mid_e8 / self.entry_mid_e8 - 1.0) * BPS if self.side else 0.0

    def take(
        self,
        now_ns: int,
        targets: QuoteTargets,
        top: TopOfBook,
        position_e8: int,
        take_bps_e8: int,
        instrument: InstrumentRules,
    ) -> None:
        """Be flat at once: an immediate order that only reduces, once no quote rests any more.

        Args:
            take_bps_e8: how far beyond the touch it may go, 1e-8 bps.
        """
        targets.pull_all()
        if not targets.is_empty or now_ns - self._taken_ns < TAKE_NS_MIN:
            return
        qty_e8 = floor_to(min(abs(position_e8), instrument.qty_max_e8), instrument.step_e8)
        if position_e8 > 0:
            worst_e8 = top.bid_e8 - top.bid_e8 * take_bps_e8 // BPS_E8
            side, price_e8 = SELL, ceil_to(worst_e8, instrument.tick_e8)
        else:
            worst_e8 = top.ask_e8 + top.ask_e8 * take_bps_e8 // BPS_E8
            side, price_e8 = BUY, floor_to(worst_e8, instrument.tick_e8)
        if qty_e8:
            self._taken_ns = now_ns
            targets.orders.place(side, price_e8, qty_e8, tif=IOC, reduce_only=True)


def enter(
    targets: QuoteTargets, top: TopOfBook, direction: int, position_e8: int, sizing: Sizing
) -> None:
    """Want one quote's size as the position: what is missing is bid for, or offered, at the touch.

    What rests on a side and its position together never exceed the greatest position.
    """
    side, other = (BUY, SELL) if direction > 0 else (SELL, BUY)
    mid_e8 = (top.bid_e8 + top.ask_e8) // 2
    held_e8 = direction * position_e8
    room_e8 = sizing.position_max_e8(mid_e8) - held_e8
    qty_e8 = max(0, min(sizing.at(mid_e8) - held_e8, room_e8))
    targets.pull(other)
    targets.set(side, top.bid_e8 if direction > 0 else top.ask_e8, qty_e8)


def leave(targets: QuoteTargets, top: TopOfBook, position_e8: int, price_e8: int = 0) -> None:
    """Want to be flat: offer, or bid for, the whole position.

    ``price_e8``: not worse than this; 0: at the touch.
    """
    if position_e8 > 0:
        targets.pull(BUY)
        targets.set(SELL, max(top.ask_e8, price_e8), position_e8)
    elif position_e8 < 0:
        targets.pull(SELL)
        price_e8 = min(top.bid_e8, price_e8) if price_e8 else top.bid_e8
        targets.set(BUY, price_e8, -position_e8)
    else:
        targets.pull_all()
