"""Drives the real codec and the real book with recorded market data and says whether they hold.

Two line formats are read, gzip-compressed, of Binance USD-M streams:

- ``<receive time in ns or µs> <JSON>``: stream frames, and bare REST depth replies between them;
- ``<receive time in s>: <JSON>``, with HTTP bodies as ``<url> -> <time>: <body>``.

Files that continue each other (same symbol, at most a minute between them) form one session.
"""

from __future__ import annotations

import gzip
import json
import sys
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from time import perf_counter_ns
from typing import Final, NamedTuple, TypeAlias

from hft.core.book import Book, BookEvent
from hft.core.generated.views import TopOfBook
from hft.errors import EXIT_CHECK_FAILED, EXIT_OK, UsageError
from hft.records import SLOT_BYTES
from hft.units import NS_PER_S, NS_PER_US
from hft.venues.binance_usdm.codec import DEPTH, GARBAGE, OTHER, TOP, TRADE, MarketDecoder
from tools.terminal import paint

APPLIED: Final = int(BookEvent.APPLIED)
SNAPSHOT: Final = -1
"""Beside the decoder's messages: a REST depth reply."""
CHUNK_BYTES: Final = 1 << 20
LINE_BYTES_MAX: Final = 16 << 20
NAME_COLUMNS: Final = 20
COLUMN_WIDTHS: Final = {"frames": 9, "diffs": 8, "gaps": 4, "crossed": 7, "comparisons": 11,
                        "mismatches": 10}  # fmt: skip
HEAD_LINES_MAX: Final = 10_000
CONTINUES_NS_MAX: Final = 60 * NS_PER_S
MICROSECOND_DIGITS_MAX: Final = 17
"""Times in µs since 1970 have 16 digits until the year 2286, those in ns 19."""
FORMATS: Final = (
    "expected is a gzip file with lines '<time> <JSON>', as recorded from the venue's streams"
)


Line: TypeAlias = tuple[int, bytes, str | None]
"""One recorded message: receive time in ns, JSON, and None for a stream frame. A REST depth reply
has its symbol there, empty where it was not recorded. Plain tuples: a recording has millions."""


class Head(NamedTuple):
    """What the beginning of a file tells."""

    path: Path
    has_urls: bool
    """The format with HTTP bodies."""
    symbol: str
    start_ns: int


@dataclass(slots=True)
class Counts:
    """What was seen, and what did not hold."""

    frames: int = 0
    diffs: int = 0
    snapshots: int = 0
    gaps: int = 0
    resyncs: int = 0
    crossed: int = 0
    comparisons: int = 0
    mismatches: int = 0
    garbage: int = 0

    def add(self, other: Counts, sign: int = 1) -> None:
        """Add, or with ``sign`` -1 subtract, every count."""
        for name in self.__slots__:
            setattr(self, name, getattr(self, name) + sign * getattr(other, name))


@dataclass(slots=True)
class Report:
    """The outcome over all files, and of each."""

    totals: Counts = field(default_factory=Counts)
    files: list[tuple[Path, Counts]] = field(default_factory=list)
    never_live: list[str] = field(default_factory=list)
    """Symbols with diffs whose book never came in step."""
    process_ns: int = 0
    """Time spent in decoding and in the books, over lines that were already in memory."""
    read_ns: int = 0
    """Time spent in reading, decompressing and splitting into lines."""

    @property
    def frames_per_s(self) -> int:
        """Frames through codec and book in a second, without reading the files."""
        return self.totals.frames * NS_PER_S // max(self.process_ns, 1)

    @property
    def frames_per_s_with_reading(self) -> int:
        """Frames in a second, reading and decompression included."""
        return self.totals.frames * NS_PER_S // max(self.process_ns + self.read_ns, 1)

    @property
    def holds(self) -> bool:
        """Did every book stay in step and equal the ticker?"""
        totals = self.totals
        return not (totals.gaps or totals.crossed or totals.mismatches or self.never_live)

    def as_dict(self) -> dict[str, object]:
        """For JSON."""
        return {
            **asdict(self.totals),
            "frames_per_s": self.frames_per_s,
            "frames_per_s_with_reading": self.frames_per_s_with_reading,
            "never_live": self.never_live,
            "holds": self.holds,
            "files": [{"file": str(path), **asdict(counts)} for path, counts in self.files],
        }


class Session:
    """One connection's worth of messages: a decoder, and a book for each symbol that turns up."""

    def __init__(self, head: Head) -> None:
        self.counts = Counts()
        self.last_recv_ns = head.start_ns
        self._has_urls = head.has_urls
        self._record = bytearray(SLOT_BYTES)
        self._top = TopOfBook(self._record)
        self._symbols: dict[str, int] = {}
        self._books: dict[int, Book] = {}
        self._checks: dict[int, Callable[[TopOfBook], int]] = {}
        self._add_symbol(head.symbol)

    def _add_symbol(self, symbol: str) -> None:
        instrument_id = len(self._symbols) + 1
        self._symbols[symbol] = instrument_id
        book = self._books[instrument_id] = Book(instrument_id)
        self._checks[instrument_id] = book.check_top
        self._decoder = MarketDecoder(self._symbols, self._record)

    def is_continued_by(self, head: Head) -> bool:
        """Does the file carry on where this session ended?"""
        gap_ns = head.start_ns - self.last_recv_ns
        return (
            head.has_urls == self._has_urls
            and head.symbol in self._symbols
            and 0 <= gap_ns <= CONTINUES_NS_MAX
        )

    def process(self, lines: Sequence[Line]) -> None:
        """Decode every line and bring the books forward."""
        snapshots = self.counts.snapshots
        self._drive(lines)
        self.counts.frames += len(lines) - (self.counts.snapshots - snapshots)
        if lines:
            self.last_recv_ns = lines[-1][0]

    def _drive(self, lines: Sequence[Line]) -> None:
        """What comes most is asked for first: codec and book are timed together with this loop."""
        counts, top, checks, decoder = self.counts, self._top, self._checks, self._decoder
        for line in lines:
            recv_ns, text, snapshot_of = line
            message = SNAPSHOT if snapshot_of is not None else decoder.decode(text, recv_ns)
            if message == TOP:
                checks[decoder.instrument_id](top)
            elif message == DEPTH:
                counts.diffs += 1
                book = self._books[decoder.instrument_id]
                if book.on_depth(decoder) == APPLIED:
                    counts.crossed += book.is_crossed
            elif message != TRADE:
                self._take_rare(message, line)
                decoder = self._decoder

    def _take_rare(self, message: int, line: Line) -> None:
        """All that is neither top, depth event nor trade; it may bring another symbol."""
        _, text, snapshot_of = line
        if snapshot_of is not None:
            self._on_snapshot(text, snapshot_of)
        elif message == GARBAGE:
            self.counts.garbage += 1
        elif message == OTHER and self._is_new_symbol():
            self._drive([line])

    def _is_new_symbol(self) -> bool:
        symbol = self._decoder.symbol.decode(errors="replace")
        if not symbol or symbol in self._symbols:
            return False
        self._add_symbol(symbol)
        return True

    def _on_snapshot(self, body: bytes, symbol: str) -> None:
        self.counts.snapshots += 1
        if not symbol and len(self._symbols) > 1:
            raise UsageError(
                f"a depth snapshot does not say which of {', '.join(self._symbols)} it is of",
                remedy="record one symbol per file, or the snapshots with their URL",
            )
        if symbol and symbol not in self._symbols:
            self._add_symbol(symbol)
        instrument_id = self._symbols[symbol] if symbol else 1
        if not self._decoder.decode_snapshot(body, instrument_id):
            self.counts.garbage += 1
        elif self._books[instrument_id].on_snapshot(self._decoder) == APPLIED:
            self.counts.crossed += self._books[instrument_id].is_crossed

    def settle(self) -> None:
        """Take over what the books have counted."""
        books = self._books.values()
        self.counts.gaps = sum(book.gaps for book in books)
        self.counts.resyncs = sum(book.resyncs for book in books)
        self.counts.comparisons = sum(book.comparisons for book in books)
        self.counts.mismatches = sum(book.mismatches for book in books)

    def finish(self) -> None:
        """The recording is over: decide what no later ticker will decide."""
        for book in self._books.values():
            book.finish_checks()
        self.settle()

    def never_live(self) -> list[str]:
        """Symbols whose book never came in step."""
        return [name for name, number in self._symbols.items() if not self._books[number].last_seq]


def verify(paths: Sequence[Path]) -> Report:
    """Replay the recordings, in the order of their times, through codec and book.

    Raises:
        UsageError: a file is missing, not gzip, cut off, or holds no market data.
    """
    if not paths:
        raise UsageError("no recording given", remedy="name one or more files")
    report = Report()
    sessions: list[tuple[Session, list[Counts]]] = []
    for head in sorted((read_head(path) for path in paths), key=lambda head: head.start_ns):
        found = next((entry for entry in sessions if entry[0].is_continued_by(head)), None)
        if found is None:
            found = (Session(head), [])
            sessions.append(found)
        session, rows = found
        before = Counts()
        before.add(session.counts)
        _replay(head.path, session, report)
        session.settle()
        counts = Counts()
        counts.add(session.counts)
        counts.add(before, -1)
        rows.append(counts)
        report.files.append((head.path, counts))
    for session, rows in sessions:
        before = Counts()
        before.add(session.counts)
        session.finish()
        rows[-1].add(session.counts)
        rows[-1].add(before, -1)
        report.totals.add(session.counts)
        report.never_live += session.never_live()
    return report


def run(files: Sequence[Path], as_json: bool) -> int:
    """``hft verify-feed``: verify, print the outcome, return the exit code."""
    report = verify(files)
    if as_json:
        sys.stdout.write(json.dumps(report.as_dict()) + "\n")
    else:
        _print_table(report)
    return EXIT_OK if report.holds else EXIT_CHECK_FAILED


def _replay(path: Path, session: Session, report: Report) -> None:
    """One file, in chunks; reading and processing are timed apart."""
    chunks = read_chunks(path)
    while True:
        start_ns = perf_counter_ns()
        lines = next(chunks, None)
        read_ns = perf_counter_ns()
        report.read_ns += read_ns - start_ns
        if lines is None:
            return
        session.process(lines)
        report.process_ns += perf_counter_ns() - read_ns


# -- files ------------------------------------------------------------------------------------


def read_head(path: Path) -> Head:
    """Find the format, the first symbol and the first time of a recording."""
    decoder = MarketDecoder({}, bytearray(SLOT_BYTES))
    has_urls = False
    seen = 0
    for lines in read_chunks(path):
        for recv_ns, text, snapshot_of in lines[: HEAD_LINES_MAX - seen]:
            has_urls = has_urls or bool(snapshot_of)
            message = decoder.decode(text, recv_ns)
            if snapshot_of is None and message == OTHER and decoder.symbol:
                symbol = decoder.symbol.decode(errors="replace")
                return Head(path, has_urls, symbol, lines[0][0])
        seen += len(lines)
        if seen >= HEAD_LINES_MAX:
            break
    raise UsageError(f"{path}: no market data in it", remedy=FORMATS)


def read_chunks(path: Path) -> Iterator[list[Line]]:
    """The messages of a file, some megabytes at a time; lines that hold none are left out."""
    rest = b""
    try:
        with gzip.open(path) as file:
            while chunk := file.read(CHUNK_BYTES):
                texts = (rest + chunk).split(b"\n")
                rest = texts.pop()
                if len(rest) > LINE_BYTES_MAX:
                    raise UsageError(f"{path}: a line without end", remedy=FORMATS)
                yield [line for text in texts if (line := parse_line(text)) is not None]
    except gzip.BadGzipFile:
        raise UsageError(f"{path}: not a gzip file", remedy=FORMATS) from None
    except (EOFError, zlib.error):
        raise UsageError(
            f"{path}: the compressed data is cut off or damaged", remedy="record or copy it again"
        ) from None
    except OSError as error:
        reason = error.strerror or str(error)
        raise UsageError(f"{path}: {reason}", remedy="check the path") from None
    last = parse_line(rest)
    if last is not None:
        yield [last]


def parse_line(text: bytes) -> Line | None:
    """One line of either format. None: it holds no message (a header, a URL, an empty line)."""
    start = text.find(b"{")
    if start < 2:
        return None
    before, body = text[:start], text[start:]
    if body.startswith(b'{"stream"') and (digits := before[:-1]).isdigit():
        return int(digits) * _unit_ns(digits), body, None  # nearly every line
    symbol = None
    if b" -> " in before:
        url, before = before.split(b" -> ", 1)
        if b"/depth?" not in url:
            return None
        symbol = url.partition(b"symbol=")[2].partition(b"&")[0].decode(errors="replace")
    recv_ns = parse_time_ns(before)
    if recv_ns is None:
        return None
    if symbol is None and not body.startswith(b'{"stream"') and b'"lastUpdateId"' in body:
        symbol = ""
    return recv_ns, body, symbol


def parse_time_ns(text: bytes) -> int | None:
    """``1721347020984480942 `` (ns), ``1680652700423575 `` (µs) or ``1617647797.59: `` (s)."""
    text = text.rstrip()
    if text.endswith(b":"):
        whole, _, fraction = text[:-1].partition(b".")
        if not whole.isdigit() or not (fraction or b"0").isdigit():
            return None
        return int(whole) * NS_PER_S + int(fraction[:9].ljust(9, b"0"))
    if not text.isdigit():
        return None
    return int(text) * _unit_ns(text)


def _unit_ns(digits: bytes) -> int:
    """Unit of a time since 1970 that is written as a whole number."""
    return NS_PER_US if len(digits) <= MICROSECOND_DIGITS_MAX else 1


# -- output -----------------------------------------------------------------------------------


def _print_table(report: Report) -> None:
    """The answer, then every file, in lines that fit a narrow terminal."""
    held = paint("the book equals the ticker", "green")
    print(held if report.holds else paint("it does NOT hold: the book or the feed is wrong", "red"))
    for symbol in report.never_live:
        print(f"{symbol}: no snapshot brought the book in step")
    print(
        f"  {'file':<{NAME_COLUMNS}}",
        *(f"{name:>{width}}" for name, width in COLUMN_WIDTHS.items()),
    )
    for path, counts in report.files:
        print(_table_line(path.name, counts))
    if len(report.files) > 1:
        print(_table_line("together", report.totals))
    others = {"snapshots": report.totals.snapshots, "resyncs": report.totals.resyncs,
              "messages that are garbage": report.totals.garbage}  # fmt: skip
    print("  " + " · ".join(f"{count:,} {name}" for name, count in others.items()))
    print(
        f"  {report.frames_per_s:,} frames/s through codec and book, in memory;"
        f" {report.frames_per_s_with_reading:,} with reading"
    )


def _table_line(name: str, counts: Counts) -> str:
    cells = (f"{getattr(counts, key):>{width},}" for key, width in COLUMN_WIDTHS.items())
    shown = name if len(name) <= NAME_COLUMNS else "…" + name[1 - NAME_COLUMNS :]
    return " ".join((f"  {shown:<{NAME_COLUMNS}}", *cells))
