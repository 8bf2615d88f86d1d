"""verify-feed replays recordings through the real codec and book, and says what does not hold."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable
from pathlib import Path

import pytest

from hft.errors import EXIT_CHECK_FAILED, EXIT_OK, UsageError
from tools.verify_feed import Counts, parse_line, parse_time_ns, run, verify

ROOT = Path(__file__).resolve().parents[2]
RECORDINGS = ROOT.parent / "shared" / "data" / "usdm_streams"
START_NS = 1_721_347_020_000_000_000
needs_recordings = pytest.mark.skipif(
    not RECORDINGS.is_dir(), reason="the recorded streams are not beside this checkout"
)


class Tape:
    """A small recording: one symbol, a bid that walks up, a ticker after each change."""

    def __init__(self, symbol: str = "BTCUSDT", start_ns: int = START_NS) -> None:
        self.symbol = symbol
        self.lines: list[str] = []
        self.now_ns = start_ns
        self.seq = 100
        self.qty = 0

    def write(self, payload: dict[str, object], stream: str = "") -> None:
        self.now_ns += 1_000_000
        body = {"stream": f"{self.symbol.lower()}@{stream}", "data": payload} if stream else payload
        self.lines.append(f"{self.now_ns} {json.dumps(body, separators=(',', ':'))}")

    def diff(self, *, previous: int | None = None, asks: Iterable[list[str]] = ()) -> None:
        first, last = self.seq + 1, self.seq + 3
        self.qty += 1
        self.write(
            {
                "e": "depthUpdate", "E": 1, "T": last, "s": self.symbol, "U": first, "u": last,
                "pu": self.seq if previous is None else previous,
                "b": [["10.0", f"{self.qty}"]], "a": [*asks],
            },
            "depth@0ms",
        )  # fmt: skip
        self.seq = last

    def ticker(self, qty: int | None = None) -> None:
        self.write(
            {
                "e": "bookTicker", "u": self.seq, "s": self.symbol, "b": "10.0",
                "B": f"{self.qty if qty is None else qty}", "a": "11.0", "A": "1",
                "T": 1, "E": 1,
            },
            "bookTicker",
        )  # fmt: skip

    def snapshot(self) -> None:
        self.write(
            {
                "lastUpdateId": self.seq - 1, "E": 1, "T": 1,
                "bids": [["10.0", "1"], ["9.0", "5"]], "asks": [["11.0", "1"]],
            }
        )  # fmt: skip

    def synced(self, diffs: int = 5) -> Tape:
        self.diff()
        self.snapshot()
        for _ in range(diffs):
            self.diff()
            self.ticker()
        return self

    def save(self, path: Path) -> Path:
        path.write_bytes(gzip.compress("".join(f"{line}\n" for line in self.lines).encode()))
        self.lines.clear()
        return path


def test_a_good_recording_holds(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = Tape().synced().save(tmp_path / "a.gz")
    assert run([path], as_json=True) == EXIT_OK
    printed = json.loads(capsys.readouterr().out)
    expected = {
        "frames": 11, "diffs": 6, "snapshots": 1, "gaps": 0, "resyncs": 0, "crossed": 0,
        "comparisons": 5, "mismatches": 0, "garbage": 0,
    }  # fmt: skip
    assert {key: printed[key] for key in expected} == expected
    assert printed["frames_per_s"] > 0
    assert printed["files"] == [{"file": str(path), **expected}]


def test_a_person_gets_a_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([Tape().synced().save(tmp_path / "day.gz")], as_json=False) == EXIT_OK
    printed = capsys.readouterr().out
    for text in ("day.gz", "comparisons", "frames/s", "in memory", "the book equals the ticker"):
        assert text in printed
    assert printed.splitlines()[0] == "the book equals the ticker"
    assert max(map(len, printed.splitlines())) <= 80


def test_a_gap_that_a_snapshot_mends_is_counted(tmp_path: Path) -> None:
    tape = Tape().synced()
    tape.seq += 10
    tape.diff(previous=tape.seq - 5)
    tape.snapshot()
    tape.diff()
    tape.ticker()
    report = verify([tape.save(tmp_path / "gap.gz")])
    assert (report.totals.gaps, report.totals.resyncs, report.totals.mismatches) == (1, 1, 0)
    assert not report.holds


def test_a_book_that_differs_from_the_ticker_fails(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tape = Tape().synced()
    tape.diff()
    tape.ticker(qty=99)
    path = tape.save(tmp_path / "wrong.gz")
    assert run([path], as_json=False) == EXIT_CHECK_FAILED
    assert "NOT hold" in capsys.readouterr().out
    assert verify([path]).totals.mismatches == 1


def test_a_crossed_book_is_counted(tmp_path: Path) -> None:
    tape = Tape().synced()
    tape.diff(asks=[["10.0", "1"]])
    report = verify([tape.save(tmp_path / "crossed.gz")])
    assert report.totals.crossed == 1
    assert not report.holds


def test_garbage_is_counted_and_stepped_over(tmp_path: Path) -> None:
    tape = Tape().synced()
    tape.lines += [f"{tape.now_ns} {{broken", "no time {}", "", "-> {", "5: x"]
    tape.diff()
    tape.ticker()
    report = verify([tape.save(tmp_path / "noise.gz")])
    assert report.totals.garbage == 1
    assert report.holds


def test_a_recording_without_a_snapshot_proves_nothing(tmp_path: Path) -> None:
    tape = Tape()
    tape.diff()
    tape.ticker()
    report = verify([tape.save(tmp_path / "bare.gz")])
    assert report.never_live == ["BTCUSDT"]
    assert not report.holds


def test_files_that_follow_each_other_are_one_session_in_any_order(tmp_path: Path) -> None:
    one, two = Tape("BTCUSDT"), Tape("ETHUSDT", START_NS + 500)
    first, other = one.synced().save(tmp_path / "z1.gz"), two.synced().save(tmp_path / "y1.gz")
    for tape in one, two:
        tape.diff()
        tape.ticker()
    second, another = one.save(tmp_path / "a2.gz"), two.save(tmp_path / "b2.gz")
    report = verify([another, second, other, first])
    assert [path.name for path, _ in report.files] == ["z1.gz", "y1.gz", "a2.gz", "b2.gz"]
    assert (report.totals.diffs, report.totals.comparisons) == (14, 12)
    assert report.files[2][1].comparisons == 1
    assert report.holds


def test_a_later_recording_of_the_same_symbol_is_another_session(tmp_path: Path) -> None:
    first = Tape().synced().save(tmp_path / "monday.gz")
    second = Tape(start_ns=START_NS + 86_400 * 10**9).synced().save(tmp_path / "tuesday.gz")
    report = verify([first, second])
    assert (report.totals.gaps, report.totals.comparisons) == (0, 10)


def test_the_format_with_urls_is_read(tmp_path: Path) -> None:
    tapes = [Tape("BATUSDT").synced(), Tape("NEOUSDT").synced()]
    lines = ["configuration: {}", "wss://host/stream?streams=batusdt@depth -> 1617647797.5: {}"]
    for tape in tapes:
        for line in tape.lines:
            body = line.split(" ", 1)[1]
            if "lastUpdateId" in body:
                url = f"https://host/fapi/v1/depth?symbol={tape.symbol}&limit=1000"
                lines.append(f"{url} -> 1617647797.9072561: {body}")
            else:
                lines.append(f"1617647797.59: {body}")
    path = tmp_path / "boot.gz"
    path.write_bytes(gzip.compress("\n".join(lines).encode()))
    report = verify([path])
    assert report.totals.snapshots == 2
    assert report.totals.comparisons == 10
    assert report.holds


def test_a_snapshot_that_could_be_of_two_symbols_is_refused(tmp_path: Path) -> None:
    one, two = Tape("BTCUSDT").synced(), Tape("ETHUSDT").synced()
    one.lines += two.lines
    with pytest.raises(UsageError, match="which of BTCUSDT, ETHUSDT"):
        verify([one.save(tmp_path / "mixed.gz")])


@pytest.mark.parametrize(
    ("text", "time_ns"),
    [
        (b"1721347020984480942 ", 1_721_347_020_984_480_942),
        (b"1680652700423575 ", 1_680_652_700_423_575_000),
        (b"1617647797.5963788: ", 1_617_647_797_596_378_800),
        (b"1617647797: ", 1_617_647_797_000_000_000),
        (b"yesterday: ", None),
        (b"12x ", None),
        (b": ", None),
    ],
)
def test_receive_times_are_exact_in_every_unit(text: bytes, time_ns: int | None) -> None:
    assert parse_time_ns(text) == time_ns


def test_lines_without_a_message_are_left_out() -> None:
    for text in (b"", b"configuration: {}", b"{}", b"https://host/time -> 1.5: {}", b"\xff{"):
        assert parse_line(text) is None


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"plain text", "not a gzip file"),
        (b"", "no market data"),
        (gzip.compress(b""), "no market data"),
        (gzip.compress(b"\x00" * 100_000), "no market data"),
        (gzip.compress(b"1721347020984480942 {}\n" * 100), "no market data"),
        (gzip.compress(b"x" * (20 << 20)), "a line without end"),
        (gzip.compress(bytes(range(256)) * 999)[:-9], "cut off or damaged"),
        (gzip.compress(b"some text")[:12] + b"\xff" * 20, "cut off or damaged"),
    ],
)
def test_a_file_that_is_no_recording_is_refused(
    tmp_path: Path, content: bytes, complaint: str
) -> None:
    path = tmp_path / "file.gz"
    path.write_bytes(content)
    with pytest.raises(UsageError, match=complaint) as caught:
        run([path], as_json=True)
    assert str(path) in str(caught.value)
    assert caught.value.remedy


def test_a_file_that_cannot_be_opened_is_named(tmp_path: Path) -> None:
    for path in (tmp_path / "missing.gz", tmp_path):
        with pytest.raises(UsageError, match=str(path)):
            verify([path])
    with pytest.raises(UsageError, match="no recording"):
        verify([])


@needs_recordings
@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("btcusdt_2024*", Counts(71_983, 9_022, 1, comparisons=6_099)),
        ("ethusdt_2024*", Counts(69_912, 8_929, 1, comparisons=6_612)),
        ("btcusdt_2023*", Counts(73_764, 16_110, 1, comparisons=9_698)),
        ("bootstrap_*", Counts(8_421, 4_423, 5, comparisons=1_436)),
    ],
)
def test_the_recorded_streams_hold(pattern: str, expected: Counts) -> None:
    report = verify(sorted(RECORDINGS.glob(pattern)))
    assert report.totals == expected
    assert report.holds
