"""What a demo shows: it fits a narrow terminal, is plain in a pipe, and outlives its reader."""

import errno
import io
import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from tools.demo.ledger import StrategyResult
from tools.demo.report import Account, Latency, Market, Orders, Report
from tools.demo.screen import COLUMNS, LATENCY_ROWS, Screen, summary_lines
from tools.terminal import tell

HOP = Latency(count=55_020, p50=3_100, p99=60_000, p999=190_000, max=4_100_000)
ACCOUNT = Account(
    position={"BTCUSDT": "0.012", "ETHUSDT": "-0.15", "SOLUSDT": "0", "1000SHIBUSDT": "123456"},
    venue_position={"BTCUSDT": "0.012", "ETHUSDT": "-0.15", "SOLUSDT": "0",
                    "1000SHIBUSDT": "123456"},
    wallet="9992.43595072", venue_wallet="9992.43595072", realised="-1234.68091998",
    unrealised="1234.00955234", fee="1238.24496926", funding="0", symbols={},
)  # fmt: skip
REPORT = Report(
    name="demo-1", topology="compact", policy="demo", venue="simulator, seed 42", seconds=20.0,
    processes=(),
    market=Market(frames=5_552_508, records=0, gaps=0, resyncs=0, crossed=0, garbage=0,
                  book_checks=555_387, book_mismatches=0),
    orders=Orders(intents=0, approved=0, refused=1_095, sent=11_370, acked=11_363, fills=11_339,
                  canceled=11_023, rejected=7, expired=1, dropped=69, never_accepted=3, unknown=0),
    account=ACCOUNT, latency_ns={name: HOP for _, name in LATENCY_ROWS}, venue_violations=0,
    passed=True, failures=(),
)  # fmt: skip

MAKER = StrategyResult(
    name="maker", plugin="hft.strategy.maker:Maker", mode="live", symbols=("BTCUSDT",),
    orders=11_370, fills=11_339, maker_fills=11_339, canceled=0, rejected=0, dropped=0,
    refused=1_095, refusals={"TRADING_HALTED": 95, "PRICE_COLLAR": 1_000}, volume="1360000",
    position={"BTCUSDT": "0.012"}, position_notional_max="590.5", realised="-1234.68091998",
    unrealised="0", fee="1238.24496926", net="-2472.92588924", paused={},
)  # fmt: skip


class ClosedTerminal(io.StringIO):
    """Refuses what is written, as the kernel does when the window was closed."""

    def write(self, _text: str) -> int:
        raise OSError(errno.EIO, "Input/output error")


def test_summary_fits_a_narrow_terminal_and_tells_everything() -> None:
    lines = summary_lines(REPORT)
    assert max(map(len, lines)) <= COLUMNS
    text = "\n".join(lines)
    for told in ("11,370 sent", "1,095 refused by risk", "7 rejected", "1 expired", "69 dropped",
                 "3 never accepted", "0 of 555,387 checks of the book differ", "venue agrees ✓",
                 "1000SHIBUSDT +123456", "fees 1238.24496926 USDT", "4.1 ms"):  # fmt: skip
        assert told in text
    assert lines[-1].startswith("Next: ")


def test_every_strategy_has_a_row_with_its_money_and_its_refusals() -> None:
    paid = msgspec.structs.replace(MAKER, name="paid", refusals={}, fee="-0.5", net="1234.567891")
    lines = summary_lines(msgspec.structs.replace(REPORT, strategies=(MAKER, paid)))
    assert max(map(len, lines)) <= COLUMNS
    rows = {line.split()[0]: line.split()[1:] for line in lines if line.strip()}
    assert rows["maker"] == [
        "11,370", "11,339", "1,095", "-1234.6809", "+0.0000", "-1238.2450", "-2472.9259",
    ]  # fmt: skip
    assert rows["paid"][-2:] == ["+0.5000", "+1234.5679"]
    assert "    refused 1,000: price collar" in lines


def test_difference_is_told_beside_the_account_and_at_the_end() -> None:
    account = msgspec.structs.replace(ACCOUNT, wallet="1")
    report = msgspec.structs.replace(REPORT, account=account, failures=("our wallet is 1",))
    lines = summary_lines(report)
    assert any("the venue DIFFERS ✗" in line for line in lines)
    assert lines[-1] == "  ✗ our wallet is 1"


def test_event_is_no_obstacle_when_nobody_reads_any_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", ClosedTerminal())
    with Screen(as_json=False) as screen:
        screen.event("hot was ended by SIGKILL; starting it again")
    tell("down")


def test_progress_stays_on_one_line_of_a_narrow_terminal(project_root: Path) -> None:
    code = (
        "from tools.demo.screen import Screen\n"
        "with Screen(as_json=False) as screen:\n"
        "    screen.progress(15, 20, '41,310 frames · 268 orders · 57 fills')\n"
    )
    ours, theirs = pty.openpty()
    environment = {**os.environ, "COLUMNS": "80", "TERM": "xterm"}
    with subprocess.Popen(
        [sys.executable, "-c", code], cwd=project_root, env=environment, stdout=theirs
    ) as process:
        os.close(theirs)
        shown = b""
        try:
            while chunk := os.read(ours, 4096):
                shown += chunk
        except OSError:  # the other end is closed
            os.close(ours)
    assert process.returncode == 0
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown.decode())
    bars = [line for line in re.split(r"[\r\n]+", text) if "trading" in line]
    assert bars
    for bar in bars:
        assert "15 / 20 s   41,310 frames · 268 orders · 57 fills" in bar
        assert len(bar) <= 80
