"""The panels: what each table shows, and the ladder. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

from hft.counters import HOPS
from tools.monitor.latest import latest
from tools.monitor.model import (
    Alert,
    Book,
    Desk,
    Fill,
    Hop,
    Instrument,
    Order,
    Position,
    RingReader,
    Role,
    Snapshot,
)
from tools.monitor.state import Panel, State
from tools.monitor.style import Line, Span, Style, fill
from tools.monitor.table import Column, select, table
from tools.monitor.text import (
    NOTHING,
    age,
    bar,
    clean,
    clock,
    count,
    decimal,
    duration,
    fit,
    money,
    sparkline,
)

MONEY_WIDTH: Final = 9
AGE_WIDTH: Final = 6
DURATION_WIDTH: Final = 7
SPARK_WIDTH: Final = 24
MANY: Final = 50.0
"""Share of a ring in percent from which its reader's lag is worth a word."""


def _price(value_e8: int, instrument: Instrument) -> str:
    return decimal(value_e8, instrument.price_places) if value_e8 else NOTHING


def _qty(value_e8: int, instrument: Instrument, *, signed: bool = False) -> str:
    return decimal(value_e8, instrument.qty_places, signed=signed)


def _profit(value_e8: int) -> Span:
    """Money gained or lost: the sign says it, the colour repeats it."""
    style = Style.GOOD if value_e8 > 0 else Style.BAD if value_e8 < 0 else Style.PLAIN
    return Span(money(value_e8), style)


def _side(side: int) -> Span:
    return Span("buy", Style.BUY) if side > 0 else Span("sell", Style.SELL)


def _mode(mode: str) -> Span:
    return Span(mode, Style.PLAIN if mode == "live" else Style.WARN)


POSITIONS: Final[tuple[Column[Position], ...]] = (
    Column("symbol", lambda p: Span(p.instrument.symbol, Style.BOLD), 0),
    Column("qty", lambda p: Span(_qty(p.qty_e8, p.instrument, signed=True),
                                 Style.PLAIN if p.qty_e8 else Style.DIM), 0, align=">",
           order=lambda p: p.qty_e8),
    Column("entry", lambda p: Span(_price(p.entry_e8, p.instrument)), 2, align=">",
           order=lambda p: p.entry_e8),
    Column("mark", lambda p: Span(_price(p.mark_e8, p.instrument)), 3, align=">",
           order=lambda p: p.mark_e8),
    Column("open P&L", lambda p: _profit(p.unrealised_e8), 1, MONEY_WIDTH, ">",
           lambda p: p.unrealised_e8),
    Column("net P&L", lambda p: _profit(p.net_e8), 1, MONEY_WIDTH, ">", lambda p: p.net_e8),
    Column("realised", lambda p: _profit(p.realised_e8), 4, MONEY_WIDTH, ">",
           lambda p: p.realised_e8),
    Column("fees", lambda p: Span(money(p.fee_e8, signed=False)), 5, MONEY_WIDTH, ">",
           lambda p: p.fee_e8),
    Column("funding", lambda p: _profit(p.funding_e8), 6, MONEY_WIDTH, ">",
           lambda p: p.funding_e8),
    Column("worth", lambda p: Span(money(p.notional_e8, signed=False)), 5, MONEY_WIDTH, ">",
           lambda p: p.notional_e8),
    Column("mode", lambda p: _mode(p.mode), 6),
    Column("fills", lambda p: Span(count(p.fills)), 7, align=">", order=lambda p: p.fills),
    Column("venue", lambda p: Span("DIFFERS", Style.BAD) if p.differs else Span("agrees"), 4),
)  # fmt: skip

ORDERS: Final[tuple[Column[Order], ...]] = (
    Column("symbol", lambda o: Span(o.instrument.symbol, Style.BOLD), 0),
    Column("side", lambda o: _side(o.side), 0),
    Column("qty", lambda o: Span(_qty(o.qty_e8, o.instrument)), 0, align=">",
           order=lambda o: o.qty_e8),
    Column("price", lambda o: Span(_price(o.price_e8, o.instrument)), 0, align=">",
           order=lambda o: o.price_e8),
    Column("filled", lambda o: Span(_qty(o.filled_e8, o.instrument) if o.filled_e8 else NOTHING),
           3, 8, ">", lambda o: o.filled_e8),
    Column("state", lambda o: _order_state(o), 1, 8),
    Column("age", lambda o: Span(age(o.age_ns)), 2, AGE_WIDTH, ">", lambda o: o.age_ns),
    Column("whose", lambda o: Span(clean(o.owner), Style.WARN if o.owner == "not ours"
                                   else Style.PLAIN), 4),
    Column("pending", lambda o: Span(o.pending or NOTHING), 6),
    Column("venue id", lambda o: Span(str(o.venue_order_id or NOTHING)), 7, align=">",
           order=lambda o: o.venue_order_id),
    Column("order id", lambda o: Span(f"{o.order_id:#018x}"), 8, order=lambda o: o.order_id),
)  # fmt: skip


def _order_state(order: Order) -> Span:
    if order.state == "unresolved":
        return Span("UNKNOWN", Style.BAD)
    if order.state == "pending_new":
        return Span("sent", Style.WARN)
    return Span(order.state)


FILLS: Final[tuple[Column[Fill], ...]] = (
    Column("time", lambda f: Span(clock(f.wall_ns), Style.DIM), 0, order=lambda f: f.wall_ns),
    Column("symbol", lambda f: Span(f.instrument.symbol, Style.BOLD), 0),
    Column("side", lambda f: _side(f.side), 0),
    Column("qty", lambda f: Span(_qty(f.qty_e8, f.instrument)), 0, align=">",
           order=lambda f: f.qty_e8),
    Column("price", lambda f: Span(_price(f.price_e8, f.instrument)), 0, align=">",
           order=lambda f: f.price_e8),
    Column("as", lambda f: Span("maker") if f.is_maker else Span("taker", Style.WARN), 1, 5),
    Column("fee", lambda f: Span(money(f.fee_e8, signed=False)), 3, 7, ">",
           lambda f: f.fee_e8),
    Column("whose", lambda f: Span(clean(f.owner)), 2),
)  # fmt: skip

STRATEGIES: Final[tuple[Column[Desk], ...]] = (
    Column("strategy", lambda d: Span(clean(d.strategy), Style.BOLD), 0),
    Column("symbol", lambda d: Span(d.instrument.symbol), 0),
    Column("mode", lambda d: _mode(d.mode), 2),
    Column("state", lambda d: Span(d.state, Style.GOOD if d.is_well and d.orders else
                                   Style.PLAIN if d.is_well else Style.BAD), 0, 8),
    Column("bid", lambda d: Span(_price(d.bid_e8, d.instrument), Style.BUY), 4, 9, ">",
           lambda d: d.bid_e8),
    Column("ask", lambda d: Span(_price(d.ask_e8, d.instrument), Style.SELL), 4, 9, ">",
           lambda d: d.ask_e8),
    Column("orders", lambda d: Span(count(d.orders)), 6, align=">", order=lambda d: d.orders),
    Column("intent", lambda d: Span(age(d.intent_age_ns)), 3, AGE_WIDTH, ">",
           lambda d: d.intent_age_ns),
    Column("which, or what is wrong",
           lambda d: Span(clean(d.detail), Style.BAD) if d.detail else
           Span(d.last_intent or NOTHING), 5, 24, takes_rest=True),
)  # fmt: skip

_SEVERITIES: Final = {
    1: Span("·", Style.DIM),
    2: Span("!", Style.WARN),
    3: Span("✗", Style.BAD),
}
_SEVERITY_WORDS: Final = {1: "information", 2: "warning", 3: "INCIDENT"}
ALERTS: Final[tuple[Column[Alert], ...]] = (
    Column("", lambda a: _SEVERITIES.get(a.severity, Span("?")), 0, order=lambda a: -a.severity),
    Column("time", lambda a: Span(clock(a.wall_ns), Style.DIM), 0, order=lambda a: a.wall_ns),
    Column("severity", lambda a: Span(_SEVERITY_WORDS.get(a.severity, "?")), 4),
    Column("from", lambda a: Span(a.source), 3),
    Column("what", lambda a: Span(clean(a.text), Style.BAD if a.severity == 3 else Style.PLAIN),
           0, 36, takes_rest=True),
)  # fmt: skip

ROLES: Final[tuple[Column[Role], ...]] = (
    Column("", lambda r: Span("✓", Style.GOOD) if r.is_well else Span("✗", Style.BAD), 0),
    Column("role", lambda r: Span(r.name, Style.BOLD), 0),
    Column("state", lambda r: Span(r.state, Style.PLAIN if r.is_well else Style.BAD), 0, 8),
    Column("beat", lambda r: Span(duration(r.beat_ns)), 0, DURATION_WIDTH, ">",
           lambda r: r.beat_ns),
    Column("work/s", lambda r: Span(count(r.work_per_s)), 1, 7, ">", lambda r: r.work_per_s),
    Column("what it does", lambda r: Span(clean(r.detail)), 2, 24, takes_rest=True),
    Column("restarts", lambda r: Span(count(r.restarts), Style.WARN if r.restarts else
                                      Style.PLAIN), 1, align=">", order=lambda r: r.restarts),
    Column("process", lambda r: Span(r.process), 4),
    Column("pid", lambda r: Span(str(r.pid)), 5, align=">", order=lambda r: r.pid),
    Column("core", lambda r: Span(str(r.cpu) if r.cpu >= 0 else NOTHING), 4, align=">"),
    Column("cpu", lambda r: Span(f"{r.cpu_percent:.0f} %"), 3, 5, ">",
           lambda r: r.cpu_percent),
    Column("memory", lambda r: Span(f"{r.memory_mb:.0f} MB"), 3, 7, ">",
           lambda r: r.memory_mb),
)  # fmt: skip


def _share(reader: RingReader) -> float:
    """How full the ring is for this reader, percent."""
    return 100 * reader.behind / reader.capacity


def _behind(reader: RingReader) -> Span:
    if reader.behind < 0:
        return Span(NOTHING, Style.DIM)
    return Span(count(reader.behind), Style.BAD if _share(reader) > MANY else Style.PLAIN)


RINGS: Final[tuple[Column[RingReader], ...]] = (
    Column("ring", lambda r: Span(r.ring, Style.BOLD), 0),
    Column("writer", lambda r: Span(r.writer), 0),
    Column("reader", lambda r: Span(r.reader or "nobody"), 0),
    Column("it", lambda r: Span(r.kind or NOTHING), 1, 8),
    Column("behind", _behind, 0, 7, ">", lambda r: r.behind),
    Column("full", lambda r: Span(f"{_share(r):.1f} %" if r.behind >= 0 else NOTHING), 2, 7, ">",
           _share),
    Column("records/s", lambda r: Span(count(r.records_per_s)), 1, align=">",
           order=lambda r: r.records_per_s),
    Column("lapped", lambda r: Span(count(r.lost), Style.BAD if r.lost else Style.PLAIN), 1, 7,
           ">", lambda r: r.lost),
    Column("slots", lambda r: Span(count(r.capacity)), 4, align=">",
           order=lambda r: r.capacity),
    Column("when full", lambda r: Span(r.when_full), 3),
)  # fmt: skip

LATENCY: Final[tuple[Column[Hop], ...]] = (
    Column("hop", lambda h: Span(h.name, Style.BOLD), 0),
    Column("p50", lambda h: Span(_ns(h.recent_p50_ns)), 0, DURATION_WIDTH, ">",
           lambda h: h.recent_p50_ns),
    Column("p99", lambda h: Span(_ns(h.recent_p99_ns)), 0, DURATION_WIDTH, ">",
           lambda h: h.recent_p99_ns),
    Column("p99, 1 s each", lambda h: Span(sparkline(h.p99_history_ns, SPARK_WIDTH), Style.GOOD),
           1, SPARK_WIDTH),
    Column("p50 all", lambda h: Span(_ns(h.p50_ns)), 3, DURATION_WIDTH, ">",
           lambda h: h.p50_ns),
    Column("p99 all", lambda h: Span(_ns(h.p99_ns)), 2, DURATION_WIDTH, ">",
           lambda h: h.p99_ns),
    Column("max all", lambda h: Span(_ns(h.max_ns)), 2, DURATION_WIDTH, ">",
           lambda h: h.max_ns),
    Column("count", lambda h: Span(count(h.total)), 4, 10, ">", lambda h: h.total),
    Column("p50, 1 s each", lambda h: Span(sparkline(h.p50_history_ns, SPARK_WIDTH), Style.GOOD),
           6, SPARK_WIDTH),
    Column("from … to", lambda h: Span(h.meaning, Style.DIM), 5, 30, takes_rest=True),
)  # fmt: skip


def _ns(value: int) -> str:
    return duration(value) if value else NOTHING


class Content(NamedTuple):
    """What a panel is called, in short how it stands, and its rows."""

    title: str
    summary: Callable[[Snapshot], Line]
    columns: tuple[Column[Any], ...]
    rows: Callable[[Snapshot], Sequence[Any]]
    nothing: str
    """What stands there when there is no row."""


def _profit_summary(snapshot: Snapshot) -> Line:
    net_e8 = sum(position.net_e8 for position in snapshot.positions if position.mode == "live")
    wallet = f" · {money(snapshot.wallet_e8, signed=False)} {snapshot.wallet_asset}"
    return [Span("net "), _profit(net_e8), Span(wallet)]


def _orders_summary(snapshot: Snapshot) -> Line:
    unknown = sum(order.state == "unresolved" for order in snapshot.orders)
    return [Span(f"{unknown} unknown", Style.BAD)] if unknown else []


@latest
def _as_in_the_ladder(orders: Sequence[Order]) -> Sequence[Order]:
    """So that rows stay where they are."""
    return sorted(orders, key=lambda o: (o.instrument.symbol, -o.price_e8, o.order_id))


@latest
def _used(hops: Sequence[Hop]) -> Sequence[Hop]:
    return [hop for hop in hops if hop.total]


CONTENTS: Final = {
    Panel.POSITIONS: Content("Positions", _profit_summary, POSITIONS, lambda s: s.positions,
                             "no instrument is traded"),
    Panel.ORDERS: Content("Orders", _orders_summary, ORDERS,
                          lambda s: _as_in_the_ladder(s.orders), "no open order"),
    Panel.FILLS: Content("Fills", lambda _: [], FILLS, lambda s: s.fills, "nothing traded yet"),
    Panel.STRATEGIES: Content("Strategies", lambda _: [], STRATEGIES, lambda s: s.desks,
                              "no strategy is configured"),
    Panel.ALERTS: Content("Alerts", lambda _: [], ALERTS, lambda s: s.alerts,
                          "nothing to report ✓"),
    Panel.ROLES: Content("Roles", lambda _: [], ROLES, lambda s: s.roles, "no role runs"),
    Panel.RINGS: Content("Rings", lambda _: [], RINGS, lambda s: s.rings, "no ring is known yet"),
    Panel.LATENCY: Content("Latency", lambda _: [Span("last minute; all: since the start")],
                           LATENCY, lambda s: _used(s.hops),
                           "nothing was measured yet"),
}  # fmt: skip
COUNTED: Final = (Panel.ORDERS, Panel.FILLS, Panel.ALERTS)
"""Panels whose number of rows stands in the title."""


def title(state: State, panel: Panel) -> Line:
    """Name of a panel with its number, and how it stands."""
    style = Style.FOCUS if panel is state.focus else Style.TITLE
    if panel is Panel.BOOK:
        return _book_title(state, style)
    content, view = CONTENTS[panel], state.views[panel]
    rows = content.rows(state.snapshot)
    line = [Span(f"{int(panel)} {content.title}", style)]
    if view.filter:
        left = len(select(content.columns, rows, view))
        line.append(Span(f" {left}/{len(rows)} /{clean(view.filter)}", Style.WARN))
    elif panel in COUNTED and rows:
        line.append(Span(f" {len(rows)}", style))
    if summary := content.summary(state.snapshot):
        line += [Span(" · "), *summary]
    return line


def _book_title(state: State, style: Style) -> Line:
    book = state.snapshot.book
    if book is None:
        return [Span(f"{int(Panel.BOOK)} Book", style)]
    line = [Span(f"{int(Panel.BOOK)} Book {book.instrument.symbol}", style)]
    if book.feed_state != "live":
        line += [Span(" "), Span(book.feed_state.upper(), Style.BAD)]
    return line


def body(state: State, panel: Panel, columns: int, lines: int) -> list[Line]:
    """The inside of a panel: at most ``lines`` lines of exactly ``columns`` columns."""
    if panel is Panel.BOOK:
        return ladder(state.snapshot.book, columns, lines)
    content = CONTENTS[panel]
    rows = content.rows(state.snapshot)
    view = state.views[panel]
    has_focus = panel is state.focus
    state.column_counts[panel] = len(content.columns)
    if has_focus:
        state.row_symbols[panel] = _symbols(select(content.columns, rows, view))
    if panel is Panel.ORDERS and state.may_trade:
        shown = select(content.columns, rows, view)
        state.row_orders = tuple(order.order_id for order in shown)
    return table(
        content.columns,
        rows,
        view,
        (columns, lines),
        has_focus=has_focus,
        nothing=content.nothing,
    )


def _symbols(rows: Sequence[Any]) -> tuple[str, ...]:
    return tuple(row.instrument.symbol if hasattr(row, "instrument") else "" for row in rows)


# -- the ladder ----------------------------------------------------------------------------------


@latest
def ladder(book: Book | None, columns: int, lines: int) -> list[Line]:
    """Asks above, bids below, the spread between; ← marks prices where orders of ours rest."""
    if book is None or not (book.bids or book.asks):
        return [fill([Span("no book yet", Style.DIM)], columns)]
    depth = max(1, (lines - 1) // 2)
    asks, bids = book.asks[:depth], book.bids[:depth]
    instrument = book.instrument
    shown = (*asks, *bids)
    prices = [_price(level.price_e8, instrument) for level in shown]
    quantities = [_qty(level.qty_e8, instrument) for level in shown]
    price_width, qty_width = max(map(len, prices)), max(map(len, quantities))
    most_e8 = max([level.qty_e8 for level in shown])
    room = max(0, columns - (4 + price_width + 1 + qty_width + 1 + 4))
    found: list[Line] = []
    word, style = _ASK, Style.SELL
    for level, price, qty in zip(shown, prices, quantities, strict=True):
        if len(found) == len(asks):
            word, style = _BID, Style.BUY
        line = [word, Span(price.rjust(price_width), Style.OURS if level.ours else style)]
        if level.ours:
            mark = f"←{level.ours}" if level.ours > 1 else "←"
            line += [Span(f" {qty:>{qty_width}} "), Span(mark.ljust(4), Style.OURS)]
        else:
            line.append(Span(f" {qty:>{qty_width}}     "))
        line.append(Span(bar(level.qty_e8, most_e8, room).ljust(room), style))
        found.append(line)
    spread = fill(_spread(book, price_width), columns)
    return [*reversed(found[: len(asks)]), spread, *found[len(asks) :]]


_ASK, _BID = Span("ask ", Style.DIM), Span("bid ", Style.DIM)


def _spread(book: Book, price_width: int) -> Line:
    if not (book.bids and book.asks):
        return [Span("one side is empty", Style.BAD)]
    bid_e8, ask_e8 = book.bids[0].price_e8, book.asks[0].price_e8
    spread_e8 = ask_e8 - bid_e8
    bps = 20_000 * spread_e8 / (bid_e8 + ask_e8)
    text = fit(_price(spread_e8, book.instrument), price_width, ">")
    return [Span(f"─── {text} spread, {bps:.2f} bps", Style.DIM)]


# -- latency in small ----------------------------------------------------------------------------

_HOP_NAMES: Final = tuple(spec.name for spec in reversed(HOPS))
"""The whole way first: what is cut off below is the least missed."""


@latest
def latency_brief(all_hops: Sequence[Hop], columns: int, lines: int) -> list[Line]:
    """The hops of an order in a few lines."""
    hops = {hop.name: hop for hop in all_hops}
    wanted = [name for name in ("tick_to_trade", *_HOP_NAMES) if name in hops]
    name_width = max((len(name) for name in wanted), default=0)
    wide = columns >= name_width + 3 * (DURATION_WIDTH + 1)
    found = [fill(_brief_heading(name_width, wide), columns)]
    for name in dict.fromkeys(wanted):
        hop = hops[name]
        line = [Span(fit(name, name_width))]
        line.append(Span(fit(_ns(hop.recent_p50_ns or hop.p50_ns), 8, ">")))
        if wide:
            line.append(Span(fit(_ns(hop.recent_p99_ns or hop.p99_ns), 8, ">")))
        used = sum(len(span.text) for span in line) + 1
        line += [Span(" "), Span(sparkline(hop.p99_history_ns, columns - used), Style.GOOD)]
        found.append(fill(line, columns))
    return found[:lines]


def _brief_heading(name_width: int, wide: bool) -> Line:
    p99 = fit("p99", 8, ">") if wide else ""
    return [Span(fit("hop", name_width) + fit("p50", 8, ">") + p99 + " p99/s", Style.DIM)]
