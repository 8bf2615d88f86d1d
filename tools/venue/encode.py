"""Text of numbers and market frames, with the venue's key orders and paddings."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from hft.records import Side
from hft.units import E8
from tools.venue.exchange_info import SymbolRules

UNITS: Final = tuple(10 ** (8 - places) for places in range(9))


def fixed(value_e8: int, places: int) -> str:
    """A non-negative number with exactly ``places`` decimals; further ones are cut."""
    scaled = value_e8 // UNITS[places]
    if not places:
        return str(scaled)
    whole, fraction = divmod(scaled, 10**places)
    return f"{whole}.{fraction:0{places}d}"


def signed(value_e8: int, places: int) -> str:
    """As ``fixed``, for numbers that may be negative."""
    return f"-{fixed(-value_e8, places)}" if value_e8 < 0 else fixed(value_e8, places)


class FrameEncoder:
    """Market frames of one symbol, encoded once for all who listen."""

    def __init__(self, rules: SymbolRules) -> None:
        self.symbol = rules.symbol
        self._price_places = rules.price_places
        self._qty_places = rules.qty_places

    def price(self, price_e8: int) -> str:
        """A price as the venue pads it."""
        return fixed(price_e8, self._price_places)

    def qty(self, qty_e8: int) -> str:
        """A quantity as the venue pads it."""
        return fixed(qty_e8, self._qty_places)

    def levels(self, levels: Iterable[tuple[int, int]]) -> str:
        """``[["price","quantity"],…]``."""
        price, qty = self.price, self.qty
        return "[" + ",".join([f'["{price(p)}","{qty(q)}"]' for p, q in levels]) + "]"

    def book_ticker(
        self, *, update_id: int, bid: tuple[int, int], ask: tuple[int, int], now_ms: int
    ) -> str:
        """``<symbol>@bookTicker``."""
        price, qty = self.price, self.qty
        return (
            f'{{"e":"bookTicker","u":{update_id},"s":"{self.symbol}","ps":"{self.symbol}",'
            f'"b":"{price(bid[0])}","B":"{qty(bid[1])}","a":"{price(ask[0])}",'
            f'"A":"{qty(ask[1])}","T":{now_ms},"E":{now_ms},"st":1}}'
        )

    def depth(
        self,
        *,
        first_id: int,
        last_id: int,
        previous_id: int,
        bids: Iterable[tuple[int, int]],
        asks: Iterable[tuple[int, int]],
        trade_ms: int,
        now_ms: int,
    ) -> str:
        """``<symbol>@depth…``: changes, or for partial depth the best levels."""
        return (
            f'{{"e":"depthUpdate","E":{now_ms},"T":{trade_ms},"s":"{self.symbol}",'
            f'"ps":"{self.symbol}","U":{first_id},"u":{last_id},"pu":{previous_id},'
            f'"b":{self.levels(bids)},"a":{self.levels(asks)},"st":1}}'
        )

    def force_order(
        self,
        *,
        side: Side,
        qty_e8: int,
        price_e8: int,
        average_e8: int,
        filled_e8: int,
        status: str,
        now_ms: int,
    ) -> str:
        """``<symbol>@forceOrder``: a liquidation."""
        price, qty = self.price, self.qty
        return (
            f'{{"e":"forceOrder","E":{now_ms},"o":{{"s":"{self.symbol}","S":"{side.name}",'
            f'"o":"LIMIT","f":"IOC","q":"{qty(qty_e8)}","p":"{price(price_e8)}",'
            f'"ap":"{price(average_e8)}","X":"{status}","l":"{qty(filled_e8)}",'
            f'"z":"{qty(filled_e8)}","T":{now_ms},"ps":"{self.symbol}","st":1}}}}'
        )

    def snapshot(
        self,
        *,
        last_id: int,
        bids: Iterable[tuple[int, int]],
        asks: Iterable[tuple[int, int]],
        trade_ms: int,
        now_ms: int,
    ) -> str:
        """Body of ``GET /fapi/v1/depth``."""
        return (
            f'{{"lastUpdateId":{last_id},"E":{now_ms},"T":{trade_ms},'
            f'"bids":{self.levels(bids)},"asks":{self.levels(asks)}}}'
        )

    def trade(self, *, trade_id: int, price_e8: int, qty_e8: int, side: Side, now_ms: int) -> str:
        """``<symbol>@trade``; ``side`` is the aggressor's."""
        return (
            f'{{"e":"trade","E":{now_ms},"T":{now_ms},"s":"{self.symbol}","t":{trade_id},'
            f'"p":"{self.price(price_e8)}","q":"{self.qty(qty_e8)}","X":"MARKET",'
            f'"m":{"true" if side < 0 else "false"},"st":1}}'
        )

    def aggregate_trade(
        self,
        *,
        aggregate_id: int,
        price_e8: int,
        qty_e8: int,
        first_id: int,
        last_id: int,
        side: Side,
        trade_ms: int,
        now_ms: int,
    ) -> str:
        """``<symbol>@aggTrade``."""
        qty = self.qty(qty_e8)
        return (
            f'{{"e":"aggTrade","E":{now_ms},"a":{aggregate_id},"s":"{self.symbol}",'
            f'"p":"{self.price(price_e8)}","q":"{qty}","nq":"{qty}","f":{first_id},'
            f'"l":{last_id},"T":{trade_ms},"m":{"true" if side < 0 else "false"},"st":1}}'
        )

    def mark_price(
        self, *, mark_e8: int, average_e8: int, rate_e8: int, next_funding_ms: int, now_ms: int
    ) -> str:
        """``<symbol>@markPrice``; the index is taken to be the mark's own average."""
        mark, average = fixed(mark_e8, 8), fixed(average_e8, 8)
        return (
            f'{{"e":"markPriceUpdate","E":{now_ms},"s":"{self.symbol}","p":"{mark}",'
            f'"ap":"{average}","P":"{average}","i":"{average}","r":"{signed(rate_e8, 8)}",'
            f'"T":{next_funding_ms},"st":1}}'
        )


def average_price(quote_e8: int, qty_e8: int, places: int) -> str:
    """Quote over quantity, rounded half up, with ``places`` decimals; ``"0"`` padded when empty."""
    if not qty_e8:
        return fixed(0, places)
    unit = UNITS[places]
    value_e8 = (2 * quote_e8 * E8 + qty_e8 * unit) // (2 * qty_e8 * unit) * unit
    return fixed(value_e8, places)
