"""The log: whole lines from several writers, no secrets, and readable by level, time and follow."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hft.config import Config, SystemConfig
from hft.errors import UnreachableError, UsageError
from tools.logs.entry import HIDDEN, LEVELS, redact, render, timestamp
from tools.logs.log_file import FILES_MAX, LogFile, log_path, pieces
from tools.logs.reading import Tail, Wanted, parse_since, show
from tools.logs.writing import Sinks, make_log, told

WAIT_S = 60.0
NOON = datetime(2026, 1, 31, 12, 0, 0, tzinfo=UTC)


def lines_of(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for one in pieces(path) for line in one.read_bytes().splitlines()]


# --- writing --------------------------------------------------------------------------------------


def test_an_entry_says_when_how_bad_who_and_what(tmp_path: Path) -> None:
    path = tmp_path / "log" / "hft.log"
    sinks = Sinks(LogFile(path))
    log = make_log(sinks, "supervisor")
    log.warning("started again", process="hot", took_s=0.3)
    log.info("as the feed says", source="feed")
    first, second = lines_of(path)
    assert list(first) == ["time", "level", "source", "event", "process", "took_s"]
    assert (first["level"], first["source"], first["event"]) == (
        "warning", "supervisor", "started again",
    )  # fmt: skip
    assert second["source"] == "feed"
    sinks.close()


def test_the_console_shows_words_or_json_from_its_level_on() -> None:
    words, objects = io.StringIO(), io.StringIO()
    for console, as_json in ((words, False), (objects, True)):
        sinks = Sinks(None, console=console, console_level=LEVELS["warning"], as_json=as_json)
        log = make_log(sinks, "risk")
        log.info("quiet")
        log.error("loud", text="twice", reason="a b", empty="")
    shown = words.getvalue()
    assert shown.count("\n") == 1
    assert shown.endswith("Z ERROR   risk       loud: twice reason='a b'\n")
    assert json.loads(objects.getvalue())["event"] == "loud"


@pytest.mark.parametrize(
    "text",
    [
        "GET /fapi/v1/order?symbol=BTCUSDT&signature=TOPSECRET&x=1",
        "X-MBX-APIKEY: TOPSECRET",
        '{"listenKey": "TOPSECRET"}',
        "api_key=TOPSECRET",
        "secret = 'TOPSECRET'",
        "-----BEGIN PRIVATE KEY-----\nTOPSECRET\n-----END PRIVATE KEY-----",
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nTOPSECRET cut off",
    ],
)
def test_no_secret_reaches_the_log(tmp_path: Path, text: str) -> None:
    path = tmp_path / "hft.log"
    console = io.StringIO()
    sinks = Sinks(LogFile(path), console=console, console_level=LEVELS["info"])
    make_log(sinks, "x").info(text, text=text, nested={"a": [text]}, api_key="TOPSECRET")
    assert "TOPSECRET" not in path.read_text() + console.getvalue()
    assert HIDDEN in path.read_text()
    sinks.close()


def test_what_is_no_secret_stays() -> None:
    entry = {"event": "order session up", "key_file": "key", "symbol": "BTCUSDT", "count": 3}
    assert redact(entry) == entry


@given(st.text(), st.dictionaries(st.text(min_size=1), st.text() | st.integers() | st.none()))
def test_an_entry_of_any_text_is_one_line(event: str, facts: dict[str, object]) -> None:
    console = io.StringIO()
    sinks = Sinks(None, console=console, console_level=LEVELS["info"], as_json=True)
    facts = {f"x_{name}": value for name, value in facts.items()}
    make_log(sinks, "x").info(event, **facts)
    assert console.getvalue().count("\n") == 1
    assert set(json.loads(console.getvalue())) == {"time", "level", "source", "event", *facts}


def test_a_full_disk_loses_lines_and_says_how_many(tmp_path: Path) -> None:
    blocked = tmp_path / "log"
    blocked.touch()  # a file where the folder should be
    file = LogFile(blocked / "hft.log")
    sinks = Sinks(file)
    log = make_log(sinks, "x")
    log.info("one")
    log.info("two")
    assert file.lost == 2
    blocked.unlink()
    log.info("three")
    (line,) = lines_of(blocked / "hft.log")
    assert (line["event"], line["lost_before"]) == ("three", 2)
    assert file.lost == 0
    sinks.close()


def test_pieces_have_a_size_and_a_number(tmp_path: Path) -> None:
    path = tmp_path / "hft.log"
    file = LogFile(path, bytes_max=100)
    for number in range(100):
        assert file.append(b"%030d\n" % number)
    found = pieces(path)
    assert len(found) == FILES_MAX
    assert all(one.stat().st_size <= 100 for one in found)
    kept = b"".join(one.read_bytes() for one in found).split()
    assert [int(line) for line in kept] == list(range(100 - len(kept), 100))
    file.close()


WRITER = """\
import sys
from pathlib import Path
from tools.logs.log_file import LogFile
file = LogFile(Path(sys.argv[1]), bytes_max=4_000)
for number in range(300):
    assert file.append(f"{sys.argv[2]} {number} {'x' * (number % 50)}\\n".encode())
"""


def test_several_processes_write_whole_lines_across_pieces(
    tmp_path: Path, project_root: Path
) -> None:
    path = tmp_path / "hft.log"
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITER, str(path), name], cwd=project_root)
        for name in ("a", "b", "c")
    ]
    assert [writer.wait(WAIT_S) for writer in writers] == [0, 0, 0]
    kept: dict[str, list[int]] = {"a": [], "b": [], "c": []}
    for piece in pieces(path):
        assert piece.stat().st_size <= 4_000
        for line in piece.read_text().splitlines():
            name, number, rest = line.split(" ")
            assert rest == "x" * (int(number) % 50)
            kept[name].append(int(number))
    for numbers in kept.values():
        assert numbers == sorted(set(numbers))
    assert any(numbers and numbers[-1] == 299 for numbers in kept.values())


def test_what_a_command_tells_a_person_stands_in_the_log(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = Config(symbols=("BTCUSDT",), system=SystemConfig(name="desk", state_dir=str(tmp_path)))
    with pytest.raises(UsageError), told(config):
        raise UsageError("no key.")
    assert not (tmp_path / "desk").exists()  # a first start that fails leaves nothing
    (tmp_path / "desk").mkdir()
    with told(config) as say:
        say("  hot is ready")
    wrong = UsageError("the key is wrong.", remedy="Take another.")
    with pytest.raises(UsageError), told(config):
        raise wrong
    assert capsys.readouterr().out == "  hot is ready\n"
    found = lines_of(log_path(tmp_path / "desk"))
    assert [line["event"] for line in found] == [
        "starting", "hot is ready", "ended", "starting", "ended",
    ]  # fmt: skip
    assert (found[-1]["level"], found[-1]["text"], found[-1]["remedy"]) == (
        "error", "the key is wrong.", "Take another.",
    )  # fmt: skip


# --- reading --------------------------------------------------------------------------------------


def write(state_dir: Path, *entries: tuple[str, str, str]) -> None:
    path = log_path(state_dir)
    path.parent.mkdir(exist_ok=True)
    with path.open("a") as file:
        for when, level, event in entries:
            line = {"time": when, "level": level, "source": "x", "event": event}
            file.write(json.dumps(line) + "\n")


def shown(state_dir: Path, **wanted: object) -> list[str]:
    said: list[str] = []
    show(state_dir, Wanted(**wanted), said.append)
    return [line.rpartition(" ")[2] for line in said]


@pytest.fixture
def state_dir(tmp_path: Path) -> Path:
    write(
        tmp_path,
        ("2026-01-31T09:00:00.000Z", "info", "first"),
        ("2026-01-31T10:00:00.000Z", "warning", "second"),
        ("2026-01-31T11:00:00.000Z", "error", "third"),
        ("2026-01-31T11:59:00.000Z", "info", "fourth"),
    )
    return tmp_path


def test_levels_are_a_lower_bound(state_dir: Path) -> None:
    assert shown(state_dir) == ["first", "second", "third", "fourth"]
    assert shown(state_dir, level="warning") == ["second", "third"]
    assert shown(state_dir, level="error") == ["third"]


def test_the_last_few_are_counted_after_the_level(state_dir: Path) -> None:
    assert shown(state_dir, last=1) == ["fourth"]
    assert shown(state_dir, last=1, level="warning") == ["third"]
    assert shown(state_dir, last=0) == ["first", "second", "third", "fourth"]


def test_since_is_a_moment(state_dir: Path) -> None:
    assert shown(state_dir, since="2026-01-31T10:30") == ["third", "fourth"]


def test_older_pieces_come_first(state_dir: Path) -> None:
    path = log_path(state_dir)
    path.rename(path.with_name("hft.log.1"))
    write(state_dir, ("2026-01-31T12:00:00.000Z", "info", "fifth"))
    assert shown(state_dir)[-2:] == ["fourth", "fifth"]


def test_json_is_passed_on_as_it_stands(state_dir: Path) -> None:
    said: list[str] = []
    show(state_dir, Wanted(as_json=True, last=1), said.append)
    assert json.loads(said[0])["event"] == "fourth"


def test_a_damaged_line_is_shown_not_hidden(state_dir: Path) -> None:
    with log_path(state_dir).open("ab") as file:
        file.write(b"half a li\n")
    said: list[str] = []
    show(state_dir, Wanted(level="error"), said.append)
    assert "damaged line: half a li" in said[-1]


def test_where_there_is_no_log_is_told(tmp_path: Path) -> None:
    with pytest.raises(UnreachableError, match="there is no log in"):
        show(tmp_path, Wanted(), print)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("90s", "2026-01-31T11:58:30.000Z"),
        ("10m", "2026-01-31T11:50:00.000Z"),
        ("1.5h", "2026-01-31T10:30:00.000Z"),
        ("2d", "2026-01-29T12:00:00.000Z"),
        ("09:30", "2026-01-31T09:30:00.000Z"),
        ("9:30", "2026-01-31T09:30:00.000Z"),
        ("09:30:15", "2026-01-31T09:30:15.000Z"),
        ("2026-01-30", "2026-01-30T00:00:00.000Z"),
        ("2026-01-30T08:00+02:00", "2026-01-30T06:00:00.000Z"),
    ],
)
def test_moments_are_written_in_several_ways(text: str, moment: str) -> None:
    assert parse_since(text, NOON) == moment


@pytest.mark.parametrize("text", ["", "soon", "10 parsecs", "25:99", "2026-13-01"])
def test_what_is_no_moment_is_told(text: str) -> None:
    with pytest.raises(UsageError, match="no moment that --since knows"):
        parse_since(text, NOON)


def test_times_sort_as_text() -> None:
    assert timestamp(1_769_860_800_123_999_999) == "2026-01-31T12:00:00.123Z"
    assert timestamp(0) < timestamp(10**18) < timestamp(2 * 10**18)


def test_a_line_for_a_person_keeps_a_text_of_many_lines_on_one() -> None:
    line = render({"time": "t", "level": "error", "source": "x", "event": "e", "text": "a\nb"})
    assert "\n" not in line
    assert "a ⏎ b" in line


def test_the_tail_gives_whole_lines_across_a_change_of_file(tmp_path: Path) -> None:
    path = tmp_path / "hft.log"
    path.write_bytes(b"one\ntw")
    tail = Tail(path)
    assert list(tail.past()) == [b"one\n"]
    with path.open("ab") as file:
        file.write(b"o\n")
    assert list(tail.news()) == [b"two\n"]
    path.rename(path.with_name("hft.log.1"))
    assert list(tail.news()) == []
    path.write_bytes(b"three\n")
    assert list(tail.news()) == [b"three\n"]
    tail.close()


def test_the_tail_waits_for_a_file_that_is_not_there_yet(tmp_path: Path) -> None:
    tail = Tail(tmp_path / "hft.log")
    assert list(tail.past()) == list(tail.news()) == []
    (tmp_path / "hft.log").write_bytes(b"first\n")
    assert list(tail.news()) == [b"first\n"]
    tail.close()


def test_following_shows_what_comes_until_a_signal(
    project_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state_dir = tmp_path / "desk"
    (state_dir / "journal").mkdir(parents=True)
    write(state_dir, ("2026-01-31T12:00:00.000Z", "info", "before"))
    process = subprocess.Popen(
        [sys.executable, "-m", "hft.cli", "logs", "--follow", "--state-dir", str(tmp_path),
         "--run-dir", str(tmp_path / "run"), "--name", "desk"],
        cwd=project_root, stdout=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline().endswith("before\n")
    write(state_dir, ("2026-01-31T12:00:01.000Z", "info", "after"))
    assert process.stdout.readline().endswith("after\n")
    process.send_signal(signal.SIGINT)
    deadline = time.monotonic() + WAIT_S
    assert process.wait(deadline - time.monotonic()) == 0
    process.stdout.close()
