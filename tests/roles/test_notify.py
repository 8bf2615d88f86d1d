"""What systemd hears of a process: a real socket, both forms of its name, and a loop that hangs."""

import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import pytest

from hft.counters import WAITS, RoleState
from hft.roles.notify import PING_NS, Notifier, connect

LOOP = """\
import os
import select
import sys
from types import SimpleNamespace

from hft.counters import RoleState
from hft.roles.notify import connect
from hft.roles.runner import Stopper, run_loop
from ipc import RolePage, create_segment, unlink_segment


class Turning:
    name = "risk"

    def on_start(self, now_ns):
        pass

    def do_work(self, now_ns):
        asked, _, _ = select.select([sys.stdin], [], [], 0.01)
        while asked:
            pass
        return 0


name = f"notify-{os.getpid()}"
create_segment(name, RolePage.spec("page.risk"))
page, role = RolePage.attach(name, "page.risk", writable=True), Turning()
unlink_segment(name, "page.risk")
page.adopt()
page.state = int(RoleState.READY)
context = SimpleNamespace(page=page)
wait = SimpleNamespace(idle=lambda work_count: None)
run_loop([role], [context], wait, Stopper([role]), connect({"risk": page}))
"""


class Page:
    """A role page of which only the told facts exist."""

    def __init__(self) -> None:
        self.state = int(RoleState.STARTING)
        self.waits = 0

    def gauge(self, index: int) -> int:
        return self.waits if index == WAITS.id else 0


@contextmanager
def listening(address: str) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as heard:
        heard.bind("\0" + address[1:] if address.startswith("@") else address)
        heard.settimeout(60.0)
        yield heard


@pytest.fixture(params=["path", "abstract"])
def address(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return str(tmp_path / "notify") if request.param == "path" else f"@hft-test-{uuid4().hex}"


def told(heard: socket.socket) -> list[str]:
    return heard.recv(4096).decode().split("\n")


def test_a_life_is_told_once_each_and_the_watchdog_is_fed(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = Page()
    monkeypatch.setenv("NOTIFY_SOCKET", address)
    with listening(address) as heard:
        notifier = connect({"feed": page})
        assert notifier is not None
        notifier.turned(1, is_stopping=False)
        assert told(heard) == ["WATCHDOG=1", "STATUS=starting"]
        page.state = int(RoleState.RECOVERING)
        notifier.turned(1 + PING_NS, is_stopping=False)
        assert told(heard) == ["WATCHDOG=1", "STATUS=recovering"]
        page.state = int(RoleState.READY)
        notifier.turned(1 + 2 * PING_NS, is_stopping=False)
        assert told(heard) == ["WATCHDOG=1", "STATUS=ready", "READY=1"]
        notifier.turned(1 + 3 * PING_NS, is_stopping=False)
        assert told(heard) == ["WATCHDOG=1"]
        page.state = int(RoleState.STOPPING)
        notifier.turned(1 + 4 * PING_NS, is_stopping=True)
        assert told(heard) == ["WATCHDOG=1", "STATUS=stopping", "STOPPING=1"]
        notifier.turned(1 + 5 * PING_NS, is_stopping=True)
        assert told(heard) == ["WATCHDOG=1"]
        notifier.close()


def test_turns_between_two_pings_send_nothing(address: str) -> None:
    with listening(address) as heard:
        notifier = Notifier(address, {"feed": Page()})
        for now_ns in range(1, PING_NS, PING_NS // 100):
            notifier.turned(now_ns, is_stopping=False)
        told(heard)
        heard.setblocking(False)
        with pytest.raises(BlockingIOError):
            heard.recv(1)
        notifier.close()


def test_a_process_is_ready_when_all_its_roles_are(address: str) -> None:
    feed, risk = Page(), Page()
    feed.state = int(RoleState.READY)
    with listening(address) as heard:
        notifier = Notifier(address, {"feed": feed, "risk": risk})
        notifier.turned(1, is_stopping=False)
        assert told(heard) == ["WATCHDOG=1", "STATUS=feed ready, risk starting"]
        risk.state = int(RoleState.READY)
        notifier.turned(1 + PING_NS, is_stopping=False)
        assert "READY=1" in told(heard)
        notifier.close()


def test_who_waits_for_the_venue_is_given_more_time_to_start(address: str) -> None:
    page = Page()
    page.waits = 1
    with listening(address) as heard:
        notifier = Notifier(address, {"execution": page})
        notifier.turned(1, is_stopping=False)
        assert "EXTEND_TIMEOUT_USEC=30000000" in told(heard)
        page.state, page.waits = int(RoleState.READY), 0
        notifier.turned(1 + PING_NS, is_stopping=False)
        assert not any(line.startswith("EXTEND") for line in told(heard))
        notifier.close()


def test_ready_is_told_again_when_nobody_could_hear_it(tmp_path: Path) -> None:
    page, path = Page(), tmp_path / "notify"
    page.state = int(RoleState.READY)
    notifier = Notifier(str(path), {"feed": page})
    notifier.turned(1, is_stopping=False)
    with listening(str(path)) as heard:
        notifier.turned(1 + PING_NS, is_stopping=False)
        assert told(heard) == ["WATCHDOG=1", "STATUS=ready", "READY=1"]
    notifier.close()


@pytest.mark.parametrize("value", ["", "vsock:2:1234"])
def test_nobody_listens_nothing_is_told(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", value)
    assert connect({"feed": Page()}) is None


def test_a_loop_that_hangs_feeds_no_watchdog(
    address: str, project_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", address)
    with listening(address) as heard:
        process = subprocess.Popen(
            [sys.executable, "-c", LOOP], cwd=project_root, stdin=subprocess.PIPE
        )
        try:
            assert told(heard) == ["WATCHDOG=1", "STATUS=ready", "READY=1"]
            assert told(heard) == told(heard) == ["WATCHDOG=1"]
            assert process.stdin is not None
            process.stdin.write(b"hang\n")
            process.stdin.flush()
            heard.settimeout(5 * PING_NS / 1e9)
            silent = False
            while not silent:
                try:
                    told(heard)  # what was sent before it hung
                except TimeoutError:
                    silent = True
            assert process.poll() is None
        finally:
            process.send_signal(signal.SIGKILL)
            process.communicate()
