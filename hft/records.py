"""The records: everything that crosses a ring, stands in a cell, or lands in a journal.

This file is the single source. ``tools/gen_records.py`` makes the C structs and the typed views in
``hft/core/generated`` from it, and a test fails when they are stale. Layouts are native, aligned,
without hidden padding; reserved bytes are named and zero. Wire enums have fixed numbers that are
never reused; 0 is always "unknown" or "none".
"""

from __future__ import annotations

from enum import IntEnum, IntFlag
from hashlib import sha256
from typing import TYPE_CHECKING, Final, NamedTuple

from hft.reasons import AlertCode as AlertCode
from hft.reasons import Reason as Reason

if TYPE_CHECKING:
    import numpy as np

SLOT_BYTES: Final = 128
"""One slot of every ring: two cache lines."""
HEADER_BYTES: Final = 48
BOOK_LEVELS: Final = 20
"""Levels a side in a ``BOOK`` cell."""
DEPTH_LEVELS_PER_RECORD: Final = 4
LAYOUT_VERSION: Final = 1


class Kind(IntEnum):
    """What a record is: how to read the bytes after the header."""

    UNKNOWN = 0
    TOP_OF_BOOK = 1
    TRADE = 2
    MARK_PRICE = 3
    FEED_STATUS = 4
    DEPTH = 5
    INTENT = 10
    DECISION = 11
    EXECUTION = 12
    ALERT = 13
    JOURNAL = 14
    BOOK = 20
    POSITION = 21
    BALANCE = 22
    ORDER = 23
    INSTRUMENT = 24


class Mode(IntEnum):
    """Where an order goes."""

    UNKNOWN = 0
    LIVE = 1
    PAPER = 2
    OBSERVE = 3


class Flag(IntFlag):
    """Header flags."""

    NONE = 0
    LAST = 1
    """Last record of one venue event."""
    SNAPSHOT = 2
    """Part of a full state, not a change."""
    REPLAYED = 4
    """Published again by a successor that could not know whether its predecessor had."""


class FeedState(IntEnum):
    """How far an instrument's market data may be trusted."""

    UNKNOWN = 0
    SYNCING = 1
    LIVE = 2
    GAPPED = 3
    STALE = 4
    HALTED = 5


class Side(IntEnum):
    """Signed, so that ``side * qty`` is the change of a position."""

    SELL = -1
    NONE = 0
    BUY = 1


class Action(IntEnum):
    """What an intent asks for."""

    UNKNOWN = 0
    PLACE = 1
    AMEND = 2
    CANCEL = 3
    CANCEL_ALL = 4


class OrderType(IntEnum):
    """Order type."""

    UNKNOWN = 0
    LIMIT = 1
    MARKET = 2


class Tif(IntEnum):
    """Time in force; post-only is a flag of its own."""

    UNKNOWN = 0
    GTC = 1
    IOC = 2
    FOK = 3
    GTD = 4
    """Good till ``good_till_s``: the venue wants at least 600 s."""


class OrderState(IntEnum):
    """States of an order; those from 10 are terminal."""

    NONE = 0
    PENDING_NEW = 1
    """Journalled and, as far as we know, on its way."""
    WORKING = 2
    UNRESOLVED = 3
    """Unanswered past its deadline: counted at its worst until the venue settles it."""
    FILLED = 10
    CANCELED = 11
    REJECTED = 12
    EXPIRED = 13
    NEVER_ACCEPTED = 14


class ExecKind(IntEnum):
    """What an execution record reports."""

    UNKNOWN = 0
    SENT = 1
    ACK = 2
    FILL = 3
    CANCELED = 4
    REJECTED = 5
    EXPIRED = 6
    AMENDED = 7
    CANCEL_REJECTED = 8
    AMEND_REJECTED = 9
    UNRESOLVED = 10
    NEVER_ACCEPTED = 11
    DROPPED = 12
    """An approved decision that execution did not send; ``reason`` says why."""
    ADOPTED = 13
    """An open order that the venue has and the books had not: it counts from now on.

    ``reason`` says whose it is: ``OWN_RECOVERY`` ours from an earlier life, else FOREIGN_ORDER,
    LIQUIDATION, AUTO_DELEVERAGING or SETTLEMENT.
    """


class JournalKind(IntEnum):
    """What a journal entry notes."""

    UNKNOWN = 0
    CONSUMED = 1
    """A decision that caused no send: refused, not live, expired, throttled."""
    PLACE = 2
    AMEND = 3
    CANCEL = 4
    """Written before the bytes leave."""
    UPDATE = 5
    """What the venue said of an order."""
    FILL = 6
    ADOPT = 7
    """An order of the venue's was taken into the books."""


class TradingState(IntEnum):
    """May orders be sent? Low bits of the permit word."""

    HALTED = 0
    REDUCING = 1
    ACTIVE = 2


class InstrumentStatus(IntEnum):
    """The venue's trading status, as far as it matters here."""

    UNKNOWN = 0
    TRADING = 1
    CANCEL_ONLY = 2
    HALTED = 3
    DELISTED = 4


class Field(NamedTuple):
    """One field: name (unit last), numpy type, optional array length, meaning with its unit."""

    name: str
    type: str
    meaning: str
    length: int = 0

    @property
    def item_bytes(self) -> int:
        """Bytes of one value."""
        return int(self.type[1:])

    @property
    def alignment(self) -> int:
        """A number lies at a multiple of its own size, text anywhere."""
        return 1 if self.type[0] == "S" else self.item_bytes

    @property
    def layout(self) -> str:
        """Type and shape, as numpy writes them."""
        if self.length:
            return f"|V{self.item_bytes * self.length}({self.length},)"
        return f"{'|' if self.alignment == 1 else '<'}{self.type}()"


def _reserved(words: int) -> Field:
    return Field("reserved", "u8", "zero", words)


HEADER: Final = (
    Field("seq", "u8", "number of the record in its ring, from 1; top bit set while being written"),
    Field("publish_ns", "i8", "monotonic time at which the writer published it"),
    Field(
        "origin_ns", "i8", "monotonic time of the network event that caused it, through all hops"
    ),
    Field("cause_seq", "u8", "sequence, in cause_ring, of the record that caused it; 0: none"),
    Field("instrument_id", "u4", "our number of the instrument; 0: none"),
    Field("kind", "u2", "Kind: how to read the rest"),
    Field("cause_ring", "u2", "ring id of the record that caused it; 0: none"),
    Field("source", "u2", "source id of the writer"),
    Field("instrument_version", "u2", "version of the instrument's row that the writer used"),
    Field("flags", "u2", "Flag bits"),
    Field("mode", "u2", "Mode: live, paper, observe"),
)


class RecordSpec(NamedTuple):
    """A record type: class name of its view, snake-case name, kind, fields after the header."""

    class_name: str
    name: str
    kind: Kind
    meaning: str
    fields: tuple[Field, ...]

    @property
    def dtype(self) -> np.dtype[np.void]:
        """Header and fields as an aligned numpy dtype."""
        import numpy as np  # only who reads many records at once pays for its start

        return np.dtype(
            [
                (f.name, f.type, (f.length,)) if f.length else (f.name, f.type)
                for f in (*HEADER, *self.fields)
            ],
            align=True,
        )

    @property
    def offsets(self) -> tuple[int, ...]:
        """Where each field of header and record begins, and last the size of the whole, bytes."""
        found, end = [], 0
        for f in (*HEADER, *self.fields):
            begin = -(-end // f.alignment) * f.alignment
            found.append(begin)
            end = begin + f.item_bytes * max(1, f.length)
        return (*found, -(-end // 8) * 8)

    @property
    def size_bytes(self) -> int:
        """Size of a record: that of its dtype."""
        return self.offsets[-1]

    @property
    def layout_hash(self) -> int:
        """64 bits over names, types and offsets: two builds that disagree refuse each other."""
        text = ";".join(
            f"{f.name}:{f.layout}@{offset}"
            for f, offset in zip((*HEADER, *self.fields), self.offsets, strict=False)
        )
        return int.from_bytes(sha256(f"{LAYOUT_VERSION};{self.name};{text}".encode()).digest()[:8])


TOP_OF_BOOK: Final = RecordSpec(
    "TopOfBook",
    "top_of_book",
    Kind.TOP_OF_BOOK,
    "best bid and ask with their sizes",
    (
        Field("bid_e8", "i8", "best bid price, 1e-8"),
        Field("ask_e8", "i8", "best ask price, 1e-8"),
        Field("bid_qty_e8", "i8", "quantity at the best bid, 1e-8"),
        Field("ask_qty_e8", "i8", "quantity at the best ask, 1e-8"),
        Field("as_of_ns", "i8", "monotonic time as of which it held, at most that of its reading"),
        Field("venue_ns", "i8", "venue transaction time, wall clock of the venue"),
        Field("venue_seq", "u8", "the venue's book update id"),
        Field("feed_state", "u1", "FeedState of the instrument when published"),
        Field("is_book", "u1", "1: taken from the depth book, 0: from the ticker stream"),
        Field("reserved_1", "u2", "zero"),
        Field("reserved_2", "u4", "zero"),
        _reserved(2),
    ),
)
TRADE: Final = RecordSpec(
    "Trade",
    "trade",
    Kind.TRADE,
    "one public trade, or several of one price and side aggregated",
    (
        Field("price_e8", "i8", "price, 1e-8"),
        Field("qty_e8", "i8", "quantity, 1e-8"),
        Field("trade_id", "i8", "the venue's trade id (aggregate id for an aggregate)"),
        Field("as_of_ns", "i8", "monotonic time as of which it held, at most that of its reading"),
        Field("venue_ns", "i8", "venue transaction time"),
        Field("aggressor_side", "i1", "Side of the taker"),
        Field("is_aggregate", "u1", "1: aggregate trade"),
        Field("reserved_1", "u2", "zero"),
        Field("reserved_2", "u4", "zero"),
        _reserved(4),
    ),
)
MARK_PRICE: Final = RecordSpec(
    "MarkPrice",
    "mark_price",
    Kind.MARK_PRICE,
    "the venue's valuation price and funding",
    (
        Field("mark_e8", "i8", "mark price, 1e-8"),
        Field("index_e8", "i8", "index price, 1e-8"),
        Field("funding_rate_e8", "i8", "current funding rate, 1e-8 of notional"),
        Field("next_funding_ns", "i8", "venue time of the next funding"),
        Field("as_of_ns", "i8", "monotonic time as of which it held, at most that of its reading"),
        Field("venue_ns", "i8", "venue event time"),
        _reserved(4),
    ),
)
FEED_STATUS: Final = RecordSpec(
    "FeedStatus",
    "feed_status",
    Kind.FEED_STATUS,
    "an instrument's market data changed its quality",
    (
        Field("recv_ns", "i8", "monotonic time of the change"),
        Field("expected_seq", "u8", "venue number that should have come (gap), or 0"),
        Field("received_seq", "u8", "venue number that came (gap), or 0"),
        Field("gaps", "u8", "gaps of this instrument since the feed started"),
        Field("feed_state", "u1", "FeedState from now on"),
        Field("reserved_1", "u1", "zero"),
        Field("reserved_2", "u2", "zero"),
        Field("reserved_3", "u4", "zero"),
        _reserved(5),
    ),
)
DEPTH: Final = RecordSpec(
    "Depth",
    "depth",
    Kind.DEPTH,
    "up to four changed levels of the book; Flag.LAST ends the event",
    (
        Field("price_e8", "i8", "price of each level, 1e-8", DEPTH_LEVELS_PER_RECORD),
        Field(
            "qty_e8",
            "i8",
            "new total quantity of each level, 0: removed, 1e-8",
            DEPTH_LEVELS_PER_RECORD,
        ),
        Field("venue_seq", "u8", "the venue's last update id of the event"),
        Field("level_count", "u2", "levels used, 1 to 4"),
        Field("ask_mask", "u2", "bit i set: level i is an ask"),
        Field("reserved_1", "u4", "zero"),
    ),
)
_ORDER_WORDS: Final = (
    Field("strategy_id", "u2", "strategy that owns the order"),
    Field("action", "u1", "Action"),
    Field("side", "i1", "Side"),
    Field("order_type", "u1", "OrderType"),
    Field("tif", "u1", "Tif"),
    Field("is_post_only", "u1", "1: reject rather than take"),
    Field("is_reduce_only", "u1", "1: may only shrink the position"),
)
INTENT: Final = RecordSpec(
    "Intent",
    "intent",
    Kind.INTENT,
    "what a strategy asks for: place, amend or cancel",
    (
        Field("order_id", "u8", "our order id: source, epoch, sequence (hft.core.order_id)"),
        Field("price_e8", "i8", "limit price, 1e-8"),
        Field("qty_e8", "i8", "order quantity (total, also for an amend), 1e-8"),
        Field("decide_ns", "i8", "monotonic time at which the strategy decided"),
        *_ORDER_WORDS,
        Field("good_till_s", "u4", "GTD: wall clock of the venue, seconds since 1970; else 0"),
        Field("reserved_1", "u4", "zero"),
        _reserved(4),
    ),
)
DECISION: Final = RecordSpec(
    "Decision",
    "decision",
    Kind.DECISION,
    "risk's judgement of one intent, approved or refused",
    (
        Field("order_id", "u8", "as in the intent"),
        Field("price_e8", "i8", "as in the intent"),
        Field("qty_e8", "i8", "as in the intent"),
        Field("decide_ns", "i8", "as in the intent"),
        *_ORDER_WORDS,
        Field(
            "judge_ns", "i8", "monotonic time of the judgement; its age is checked before sending"
        ),
        Field("risk_epoch", "u8", "epoch of the risk role that judged"),
        Field("position_e8", "i8", "position that the judgement saw, 1e-8"),
        Field("reason", "u2", "Reason; 0: approved"),
        Field("policy_version", "u2", "version of the limits"),
        Field("good_till_s", "u4", "as in the intent"),
        Field("granted_state", "u1", "TradingState under which it was judged"),
        Field("reserved_1", "u1", "zero"),
        Field("reserved_2", "u2", "zero"),
        Field("reserved_3", "u4", "zero"),
    ),
)
EXECUTION: Final = RecordSpec(
    "Execution",
    "execution",
    Kind.EXECUTION,
    "what happened to one of our orders",
    (
        Field("order_id", "u8", "our order id"),
        Field("venue_order_id", "i8", "the venue's order id, 0 while not known"),
        Field("trade_id", "i8", "the venue's trade id of a fill, else 0"),
        Field("price_e8", "i8", "FILL: price of this fill; else the order's limit price, 1e-8"),
        Field("qty_e8", "i8", "FILL: quantity of this fill; else the order's quantity, 1e-8"),
        Field("cum_qty_e8", "i8", "filled so far, 1e-8; never decreases"),
        Field("leaves_qty_e8", "i8", "still open, 1e-8; 0 once terminal"),
        Field("fee_e8", "i8", "FILL: cost positive, rebate negative, 1e-8 of fee_asset_id"),
        Field("venue_ns", "i8", "venue transaction time, 0 where the event is ours"),
        Field("exec_kind", "u1", "ExecKind"),
        Field("side", "i1", "Side of the order"),
        Field("order_state", "u1", "OrderState after this event"),
        Field("is_maker", "u1", "FILL: 1 when the order rested"),
        Field("fee_asset_id", "u2", "asset of the fee (hft.core.assets)"),
        Field("reason", "u2", "Reason of a rejection, drop or cancel"),
    ),
)
ALERT: Final = RecordSpec(
    "Alert",
    "alert",
    Kind.ALERT,
    "something a person should know",
    (
        Field("value_e8", "i8", "the value that raised it"),
        Field("limit_e8", "i8", "the limit it was held against"),
        Field("severity", "u1", "1 information, 2 warning, 3 incident"),
        Field("reserved_1", "u1", "zero"),
        Field("code", "u2", "AlertCode"),
        Field("reserved_2", "u4", "zero"),
        Field("text", "S56", "one sentence, UTF-8, cut to fit"),
    ),
)
JOURNAL: Final = RecordSpec(
    "Journal",
    "journal",
    Kind.JOURNAL,
    "one entry of execution's order journal; cause_seq is the decision, 0: own authority",
    (
        Field("order_id", "u8", "our order id, 0 for an entry without order"),
        Field("venue_order_id", "i8", "the venue's order id, 0 while not known"),
        Field("trade_id", "i8", "FILL: the venue's trade id"),
        Field("price_e8", "i8", "limit price; FILL: price of this fill, 1e-8"),
        Field("qty_e8", "i8", "order quantity; FILL: quantity of this fill, 1e-8"),
        Field("cum_qty_e8", "i8", "filled so far, 1e-8"),
        Field("fee_e8", "i8", "FILL: cost positive, rebate negative, 1e-8 of fee_asset_id"),
        *_ORDER_WORDS,
        Field("journal_kind", "u1", "JournalKind"),
        Field("order_state", "u1", "OrderState after it"),
        Field("reason", "u2", "Reason"),
        Field("crc", "u4", "CRC-32 of the slot without seq, publish_ns and crc"),
        Field("fee_asset_id", "u2", "FILL: asset of the fee (hft.core.assets)"),
        Field("is_maker", "u1", "FILL: 1 when the order rested"),
        Field("exec_kind", "u1", "ExecKind of the execution record that reports it, 0: none"),
        Field("good_till_s", "u4", "PLACE: as in the decision"),
    ),
)

BOOK: Final = RecordSpec(
    "Book",
    "book",
    Kind.BOOK,
    "twenty levels a side",
    (
        Field("as_of_ns", "i8", "monotonic time as of which it held, at most that of its reading"),
        Field("venue_ns", "i8", "venue transaction time"),
        Field("venue_seq", "u8", "the venue's last update id applied"),
        Field("bid_count", "u2", "bid levels used"),
        Field("ask_count", "u2", "ask levels used"),
        Field("feed_state", "u1", "FeedState"),
        Field("reserved_1", "u1", "zero"),
        Field("reserved_2", "u2", "zero"),
        Field("bid_e8", "i8", "bid prices, best first, 1e-8", BOOK_LEVELS),
        Field("bid_qty_e8", "i8", "bid quantities, 1e-8", BOOK_LEVELS),
        Field("ask_e8", "i8", "ask prices, best first, 1e-8", BOOK_LEVELS),
        Field("ask_qty_e8", "i8", "ask quantities, 1e-8", BOOK_LEVELS),
    ),
)
POSITION: Final = RecordSpec(
    "Position",
    "position",
    Kind.POSITION,
    "inventory and profit of one instrument in one mode",
    (
        Field("position_e8", "i8", "signed quantity, buys positive, 1e-8"),
        Field("average_price_e8", "i8", "average entry price of what is open, 1e-8; 0 when flat"),
        Field("realised_pnl_e8", "i8", "realised profit without fees and funding, 1e-8 quote"),
        Field("unrealised_pnl_e8", "i8", "open profit at the mark price, 1e-8 quote"),
        Field("fee_e8", "i8", "fees paid, cost positive, 1e-8 quote"),
        Field("funding_e8", "i8", "funding received, cost negative, 1e-8 quote"),
        Field("mark_e8", "i8", "mark price of the valuation, 1e-8"),
        Field("bought_qty_e8", "i8", "sum of buy fills, 1e-8"),
        Field("sold_qty_e8", "i8", "sum of sell fills, 1e-8"),
        Field("cost_whole_e8", "i8", "what the open quantity cost, signed, whole 1e-8 of quote"),
        Field("cost_rest_e16", "i8", "the rest of that cost below 1e-8, in 1e-16"),
        Field("fills", "u8", "fills applied"),
        Field("executions_seq", "u8", "last executions record included"),
        Field("venue_position_e8", "i8", "position at the venue at the last reconciliation, 1e-8"),
        Field("reconciled_ns", "i8", "monotonic time of the last reconciliation, 0: never"),
        Field("adjusted_e8", "i8", "part of the position that no execution explains, 1e-8"),
        Field("liquidation_e8", "i8", "price of its liquidation when last asked, 1e-8; 0: none"),
        Field("differs", "u1", "1: ours and the venue's are not equal"),
        Field("reserved_1", "u1", "zero"),
        Field("reserved_2", "u2", "zero"),
        Field("reserved_3", "u4", "zero"),
    ),
)
BALANCE: Final = RecordSpec(
    "Balance",
    "balance",
    Kind.BALANCE,
    "wallet of one asset",
    (
        Field("wallet_e8", "i8", "wallet balance from our own sums, 1e-8"),
        Field("venue_wallet_e8", "i8", "the venue's at the last reconciliation, 1e-8"),
        Field("available_e8", "i8", "the venue's available balance, 1e-8"),
        Field("executions_seq", "u8", "last executions record included"),
        Field("reconciled_ns", "i8", "monotonic time of the last reconciliation, 0: never"),
        Field("asset_id", "u2", "asset (hft.core.assets)"),
        Field("differs", "u1", "1: ours and the venue's are not equal"),
        Field("reserved_1", "u1", "zero"),
        Field(
            "margin_ratio_bps",
            "u4",
            "maintenance margin over margin balance, when last asked; 1e4: liquidation",
        ),
    ),
)
ORDER: Final = RecordSpec(
    "Order",
    "order",
    Kind.ORDER,
    "one row of the orders table",
    (
        Field("order_id", "u8", "our order id; 0: the row is free"),
        Field("venue_order_id", "i8", "the venue's order id, 0 while not known"),
        Field("price_e8", "i8", "limit price, 1e-8"),
        Field("qty_e8", "i8", "order quantity, 1e-8"),
        Field("cum_qty_e8", "i8", "filled so far, 1e-8"),
        Field("decision_seq", "u8", "decision that placed or last amended it"),
        Field("executions_seq", "u8", "last executions record that the row includes"),
        Field("journal_seq", "u8", "last journal entry that the row includes"),
        Field("send_ns", "i8", "monotonic time at which the bytes left"),
        Field("ack_ns", "i8", "monotonic time of the acknowledgement, 0: none yet"),
        Field("request_ns", "i8", "monotonic time of the last unanswered request, 0: none"),
        *_ORDER_WORDS,
        Field("order_state", "u1", "OrderState"),
        Field("pending", "u1", "Action that is unanswered, 0: none"),
        Field("reason", "u2", "Reason of the last rejection or cancel"),
        Field("cancel_reason", "u2", "Reason of a cancel on execution's own authority"),
        Field("reserved_1", "u2", "zero"),
        Field("pending_price_e8", "i8", "price of an unanswered amend, 1e-8"),
        Field("pending_qty_e8", "i8", "quantity of an unanswered amend, 1e-8"),
        Field(
            "traded_qty_e8", "i8", "sum of the trades seen, 1e-8; less than cum_qty_e8: some miss"
        ),
        _reserved(2),
    ),
)
INSTRUMENT: Final = RecordSpec(
    "Instrument",
    "instrument",
    Kind.INSTRUMENT,
    "one row of the instrument table",
    (
        Field("symbol", "S40", "the venue's symbol, UTF-8"),
        Field("base_asset", "S16", "base asset"),
        Field("quote_asset", "S16", "quote and margin asset"),
        Field("tick_e8", "i8", "smallest price step, 1e-8"),
        Field("step_e8", "i8", "smallest quantity step, 1e-8"),
        Field("price_min_e8", "i8", "lowest limit price, 0: no rule, 1e-8"),
        Field("price_max_e8", "i8", "highest limit price, 0: no rule, 1e-8"),
        Field("qty_min_e8", "i8", "smallest order quantity, 1e-8"),
        Field("qty_max_e8", "i8", "largest quantity of a limit order, 1e-8"),
        Field("market_qty_max_e8", "i8", "largest quantity of a market order, 1e-8"),
        Field("notional_min_e8", "i8", "smallest notional, 1e-8 quote"),
        Field("multiplier_up_e8", "i8", "a buy may not be priced above mark times this, 1e-8"),
        Field("multiplier_down_e8", "i8", "a sell may not be priced below mark times this, 1e-8"),
        Field("orders_max", "u4", "open orders of this symbol at the venue"),
        Field("quote_asset_id", "u2", "asset id of quote_asset"),
        Field("status", "u1", "InstrumentStatus"),
        Field("price_places", "u1", "decimals of a price on the wire"),
        Field("qty_places", "u1", "decimals of a quantity on the wire"),
        Field("reserved_1", "u1", "zero"),
        Field("reserved_2", "u2", "zero"),
        Field("reserved_3", "u4", "zero"),
        _reserved(4),
    ),
)

RING_RECORDS: Final = (
    TOP_OF_BOOK, TRADE, MARK_PRICE, FEED_STATUS, DEPTH, INTENT, DECISION, EXECUTION, ALERT, JOURNAL,
)  # fmt: skip
CELL_RECORDS: Final = (BOOK, POSITION, BALANCE, ORDER, INSTRUMENT)
RECORDS: Final = RING_RECORDS + CELL_RECORDS

for _spec in RECORDS:
    _packed = sum(f.item_bytes * max(1, f.length) for f in (*HEADER, *_spec.fields))
    assert _spec.size_bytes == _packed, f"{_spec.name}: hidden padding, or not whole words"
    if _spec in RING_RECORDS:
        assert _packed == SLOT_BYTES, f"{_spec.name}: {_packed} bytes"
