"""Recorded streams played as the market: real books, tickers and trades at a chosen speed.

Two line formats, plain or gzip:

- ``<receive time> <JSON>``, time in ns or µs since 1970, combined-stream frames, and REST depth
  snapshots as bare bodies;
- ``<receive time in s>: <JSON>``, and HTTP bodies as ``<url> -> <time>: <body>``.

What is played keeps its ids; times are rewritten to now. Our own orders are matched against the
recorded book and trades but not shown in the streamed book: the recorded bookTickers would
contradict it. Each symbol starts at its first snapshot, by the documented synchronisation.
"""

from __future__ import annotations

import gzip
import heapq
import re
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any, Final, NamedTuple
from urllib.parse import parse_qs, urlsplit

import orjson

from hft.errors import UsageError
from hft.records import Side
from hft.units import parse_e8
from tools.venue.exchange import Exchange
from tools.venue.exchange_info import SymbolRules, inferred_rules
from tools.venue.market import NS_PER_MS, SymbolMarket

_TIMED: Final = re.compile(r"(\d+)(\.\d+)?:? (.*)", re.DOTALL)
_HTTP: Final = re.compile(r"(https?://\S+) -> (\d+\.\d+): (.*)", re.DOTALL)
LINES_SAMPLED: Final = 4_000
SESSION_GAP_NS: Final = 3_600_000_000_000
"""Recordings further apart than this belong to different sessions and are played side by side."""
QUIET_MAX_NS: Final = 5_000_000_000
"""A longer silence of all symbols is cut to this."""
EVENTS_PER_TURN_MAX: Final = 2_000


class Frame(NamedTuple):
    """One recorded line: a stream frame, or a snapshot (``kind`` "snapshot")."""

    time_ns: int
    symbol: str
    kind: str
    data: dict[str, Any]


def parse_line(line: str, symbol_hint: str) -> Frame | None:
    """A line of either format; None for what is neither frame nor depth snapshot.

    ``symbol_hint`` names the symbol of a snapshot whose line does not.
    """
    http = _HTTP.match(line)
    if http is not None:
        url, seconds, body = http.groups()
        parts = urlsplit(url)
        if not parts.path.endswith("/depth"):
            return None
        symbol = parse_qs(parts.query).get("symbol", [""])[0]
        return Frame(_seconds_ns(seconds), symbol, "snapshot", orjson.loads(body))
    timed = _TIMED.match(line)
    if timed is None or not timed[3].startswith("{"):
        return None
    whole, fraction, text = timed.groups()
    if fraction:
        time_ns = _seconds_ns(whole + fraction)
    else:
        time_ns = int(whole) if len(whole) > 17 else int(whole) * 1_000
    message = orjson.loads(text)
    if "lastUpdateId" in message:
        return Frame(time_ns, symbol_hint, "snapshot", message)
    data = message.get("data", message)
    kind, symbol = data.get("e"), data.get("s")
    if not isinstance(kind, str) or not isinstance(symbol, str):
        return None
    return Frame(time_ns, symbol, kind, data)


def _seconds_ns(text: str) -> int:
    whole, _, fraction = text.partition(".")
    return int(whole) * 1_000_000_000 + int(fraction[:9].ljust(9, "0"))


class Recording:
    """The files of one replay, merged by time."""

    def __init__(self, files: tuple[str, ...]) -> None:
        """Look into the files.

        Raises:
            UsageError: a file that cannot be read, or that holds no market data.
        """
        self._files = [Path(name) for name in files]
        samples = {path: list(islice(_frames(path), LINES_SAMPLED)) for path in self._files}
        for path, frames in samples.items():
            if not frames:
                raise UsageError(
                    f"recording {path} holds no market data",
                    remedy="give files of '<time> <JSON>' or '<time>: <JSON>' lines",
                )
        self._shifts_ns = _shifts(samples)
        self._sampled = [frame for frames in samples.values() for frame in frames]
        self.symbols = list(dict.fromkeys(frame.symbol for frame in self._sampled))
        self.with_trades = {frame.symbol for frame in self._sampled if frame.kind == "trade"}
        """Symbols whose single trades were recorded: their aggregates would count twice."""

    def rules(self) -> list[SymbolRules]:
        """Trading rules of the recorded symbols, from a table or from their numbers."""
        found = []
        for symbol in self.symbols:
            prices, quantities = [], []
            for frame in self._sampled:
                if frame.symbol == symbol:
                    for price, qty in _numbers(frame):
                        prices.append(price)
                        if qty.strip("0."):
                            quantities.append(qty)
            found.append(inferred_rules(symbol, prices, quantities))
        return found

    def frames(self) -> Iterator[Frame]:
        """All frames in the order of their (shifted) times, each symbol from its snapshot on."""
        merged = heapq.merge(
            *(_shifted(_frames(path), self._shifts_ns[path]) for path in self._files),
            key=lambda frame: frame.time_ns,
        )
        return _from_snapshots(merged)


def _frames(path: Path) -> Iterator[Frame]:
    """All frames of a file; a snapshot without a symbol belongs to the symbol of its neighbours."""
    hint = ""
    nameless: list[Frame] = []
    try:
        is_gzip = path.read_bytes()[:2] == b"\x1f\x8b"
        with gzip.open(path, "rt") if is_gzip else path.open() as lines:
            for line in lines:
                frame = parse_line(line, hint)
                if frame is None:
                    continue
                if not frame.symbol:
                    nameless.append(frame)
                    continue
                hint = frame.symbol
                for earlier in nameless:
                    yield earlier._replace(symbol=hint)
                nameless.clear()
                yield frame
    except (OSError, EOFError, ValueError) as error:
        # The system's own text names the path once more.
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise UsageError(
            f"recording {path} cannot be read: {reason}", remedy="check the file's path and content"
        ) from None


def _shifted(frames: Iterator[Frame], shift_ns: int) -> Iterator[Frame]:
    return (frame._replace(time_ns=frame.time_ns - shift_ns) for frame in frames)


def _shifts(samples: dict[Path, list[Frame]]) -> dict[Path, int]:
    """How much earlier each file is played, so that sessions of different days run together."""
    starts = {path: frames[0].time_ns for path, frames in samples.items()}
    symbols = {path: frozenset(f.symbol for f in frames) for path, frames in samples.items()}
    session_start = {
        path: min(starts[other] for other in samples if symbols[other] & symbols[path])
        for path in samples
    }
    if max(session_start.values()) - min(session_start.values()) <= SESSION_GAP_NS:
        return dict.fromkeys(samples, 0)
    return session_start


def _numbers(frame: Frame) -> Iterator[tuple[str, str]]:
    """Prices and quantities of a frame."""
    data = frame.data
    match frame.kind:
        case "snapshot":
            yield from ((p, q) for p, q in (*data["bids"], *data["asks"]))
        case "depthUpdate":
            yield from ((p, q) for p, q in (*data["b"], *data["a"]))
        case "trade":
            yield data["p"], data["q"]
        case _:
            return


def _from_snapshots(frames: Iterator[Frame]) -> Iterator[Frame]:
    """Begin each symbol with its snapshot and the first diff that joins it; drop what is older."""
    waiting: dict[str, list[Frame]] = {}
    snapshot_ids: dict[str, int] = {}
    for frame in frames:
        symbol = frame.symbol
        snapshot_id = snapshot_ids.get(symbol)
        if frame.kind == "snapshot":
            # Later snapshots of a running book tell nothing new.
            if snapshot_id is None:
                snapshot_id = snapshot_ids[symbol] = frame.data["lastUpdateId"]
                yield frame
                for held in waiting.pop(symbol, []):
                    if held.data["u"] >= snapshot_id:
                        yield held._replace(time_ns=frame.time_ns)
        elif snapshot_id is None:
            if frame.kind == "depthUpdate":
                waiting.setdefault(symbol, []).append(frame)
        elif frame.data.get("u", snapshot_id) >= snapshot_id:
            yield frame


class RecordedMarkets:
    """Plays a recording into the markets of an exchange."""

    def __init__(self, exchange: Exchange, recording: Recording) -> None:
        self._exchange = exchange
        self._recording = recording
        self._speed = exchange.config.recording_speed
        self._loops = exchange.config.recording_loops
        self._id_shifts = dict.fromkeys(recording.symbols, 0)
        self._trade_shifts = dict.fromkeys(recording.symbols, 0)
        self._last_trade_ids = dict.fromkeys(recording.symbols, 0)
        self._frames = recording.frames()
        self._next: Frame | None = None
        self._played_ns = 0
        self._last_time_ns = 0
        self._origin_s = 0.0

    def start(self, now_ms: int) -> None:
        """Play until every symbol has its book.

        Raises:
            UsageError: a symbol has no depth snapshot in the recording.
        """
        missing = set(self._recording.symbols)
        while missing:
            frame = next(self._frames, None)
            if frame is None:
                names = ", ".join(sorted(missing))
                raise UsageError(
                    f"the recording has no depth snapshot of {names}",
                    remedy="record the REST depth body next to the streams",
                )
            self._play(frame, now_ms)
            missing.discard(frame.symbol)
            self._last_time_ns = frame.time_ns
        self._next = next(self._frames, None)

    def turn(self, now_s: float, now_ms: int) -> None:
        """Play what is due at the chosen speed."""
        if not self._origin_s:
            self._origin_s = now_s
        due_ns = int((now_s - self._origin_s) * self._speed * 1e9)
        for _ in range(EVENTS_PER_TURN_MAX):
            frame = self._next
            if frame is None:
                if not self._loops:
                    return
                self._frames = self._recording.frames()
                self._next = next(self._frames, None)
                assert self._next is not None
                self._last_time_ns = self._next.time_ns
                continue
            quiet_ns = min(QUIET_MAX_NS, max(0, frame.time_ns - self._last_time_ns))
            if self._played_ns + quiet_ns > due_ns:
                return
            self._played_ns += quiet_ns
            self._last_time_ns = frame.time_ns
            self._play(frame, now_ms)
            self._next = next(self._frames, None)
        # More was due than one turn may take: the recording falls behind instead of piling up.
        self._origin_s = now_s - self._played_ns / 1e9 / self._speed

    def _play(self, frame: Frame, now_ms: int) -> None:
        market = self._exchange.markets[frame.symbol]
        match frame.kind:
            case "snapshot":
                self._restart(market, frame.data, now_ms)
            case "depthUpdate":
                self._diff(market, frame.data, now_ms)
            case "bookTicker":
                self._book_ticker(market, frame.data, now_ms)
            case "trade" if frame.data.get("X", "MARKET") == "MARKET":
                self._trade(market, frame.data, now_ms)
            case "aggTrade" if frame.symbol not in self._recording.with_trades:
                self._aggregate_trade(market, frame.data, now_ms)
            case "markPriceUpdate":
                market.mark_e8 = parse_e8(frame.data["p"])
            case _:
                pass

    def _restart(self, market: SymbolMarket, data: dict[str, Any], now_ms: int) -> None:
        """First snapshot, or the one at the start of a further round: ids go on rising."""
        last_id = data["lastUpdateId"]
        symbol = market.rules.symbol
        if market.public.top().bid_e8:
            self._id_shifts[symbol] = market.last_id + 1 - last_id
        new_id = last_id + self._id_shifts[symbol]
        for side, rows in ((Side.BUY, data["bids"]), (Side.SELL, data["asks"])):
            wanted = {parse_e8(price): parse_e8(qty) for price, qty in rows}
            for price_e8, _ in market.public.levels(side, 1_000_000):
                if price_e8 not in wanted:
                    market.set_public_level(side, price_e8, 0, now_ms)
            for price_e8, qty_e8 in wanted.items():
                market.set_public_level(side, price_e8, qty_e8, now_ms)
        market.commit_recorded(new_id, new_id, now_ms)

    def _diff(self, market: SymbolMarket, data: dict[str, Any], now_ms: int) -> None:
        shift = self._id_shifts[market.rules.symbol]
        last_id = data["u"] + shift
        if last_id <= market.last_id:
            return
        # The first diff after a snapshot reaches back before it.
        first_id = max(data["U"] + shift, market.last_id + 1)
        for side, rows in ((Side.BUY, data["b"]), (Side.SELL, data["a"])):
            for price, qty in rows:
                market.set_public_level(side, parse_e8(price), parse_e8(qty), now_ms)
        market.commit_recorded(first_id, last_id, now_ms)

    def _book_ticker(self, market: SymbolMarket, data: dict[str, Any], now_ms: int) -> None:
        shift = self._id_shifts[market.rules.symbol]
        market.publish_recorded_top(
            market.encoder.book_ticker(
                update_id=data["u"] + shift,
                bid=(parse_e8(data["b"]), parse_e8(data["B"])),
                ask=(parse_e8(data["a"]), parse_e8(data["A"])),
                now_ms=now_ms,
            )
        )

    def _trade(self, market: SymbolMarket, data: dict[str, Any], now_ms: int) -> None:
        side = Side.SELL if data["m"] else Side.BUY
        price_e8, qty_e8 = parse_e8(data["p"]), parse_e8(data["q"])
        symbol = market.rules.symbol
        trade_id = data["t"] + self._trade_shifts[symbol]
        if trade_id <= self._last_trade_ids[symbol]:
            # A further round of the recording: its trades are new ones.
            self._trade_shifts[symbol] += self._last_trade_ids[symbol] + 1 - trade_id
            trade_id = self._last_trade_ids[symbol] + 1
        self._last_trade_ids[symbol] = trade_id
        market.publish_trade(trade_id, price_e8, qty_e8, side, now_ms)
        market.apply(market.book.print_trade(side, price_e8, qty_e8, now_ms * NS_PER_MS))
        market.commit(now_ms)

    def _aggregate_trade(self, market: SymbolMarket, data: dict[str, Any], now_ms: int) -> None:
        """A recording with aggregates instead of trades: each is taken as one trade."""
        self._trade(market, {**data, "t": data["a"]}, now_ms)
