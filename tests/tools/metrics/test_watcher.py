"""What hot roles leave in shared memory becomes lines of the log, each once."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

import pytest

from hft import counters
from hft.counters import RoleState
from hft.graph import OPTIONAL_ROLES, ROLES
from hft.records import AlertCode, TradingState
from hft.units import E8
from tools.logs.log_file import LogFile, log_path
from tools.logs.writing import Sinks, make_log
from tools.metrics.watched import View
from tools.metrics.watcher import COUNTED, COUNTER_PAUSE_NS, WATCHES, Watcher


class Desk:
    """A watcher over a made system, and what it has logged."""

    def __init__(self, system) -> None:
        self.system = system
        self.view = View(system.run_dir)
        self.sinks = Sinks(LogFile(log_path(system.state_dir)))
        self.watcher = Watcher(self.view, make_log(self.sinks, "metrics"))
        self.now_ns = 10**18
        self._read = len(self._all())

    def _all(self) -> list[dict[str, str]]:
        path = log_path(self.system.state_dir)
        return [json.loads(line) for line in path.read_bytes().splitlines()]

    def news(self) -> list[dict[str, str]]:
        self.watcher.step(self.now_ns)
        found = self._all()[self._read :]
        self._read += len(found)
        return found

    def told(self) -> list[tuple[str, str, str]]:
        return [(one["level"], one["source"], one["event"]) for one in self.news()]

    def close(self) -> None:
        self.view.close()
        self.sinks.close()


@pytest.fixture
def desk(make_system) -> Iterator[Desk]:
    made_system = make_system(roles=(*ROLES, *OPTIONAL_ROLES))
    for role, gauge in (("feed", counters.SESSION_UP), ("execution", counters.SESSION_UP),
                        ("account", counters.SESSION_UP)):  # fmt: skip
        made_system.pages[role].set_gauge(gauge.id, 1)
    found = Desk(made_system)
    yield found
    found.close()


def test_a_system_that_goes_on_as_it_was_is_no_news(desk: Desk) -> None:
    assert desk.news() == []
    desk.system.beat()
    desk.system.pages["feed"].count(counters.FRAMES.id, 1_000)
    assert desk.news() == []


def test_a_role_that_fails_and_comes_back_is_told(desk: Desk) -> None:
    page = desk.system.pages["account"]
    page.fail("Traceback …\nValueError: no such asset")
    page.state = int(RoleState.FAILED)
    failed, state = desk.news()
    assert (failed["level"], failed["source"], failed["event"]) == ("error", "account", "failed")
    assert failed["text"].endswith("ValueError: no such asset")
    assert (state["level"], state["event"]) == ("error", "is failed")
    page.adopt()
    page.state = int(RoleState.READY)
    assert desk.told() == [
        ("warning", "account", "started again"),
        ("info", "account", "is ready"),
    ]


def test_halt_and_arming_are_told_with_their_reason(desk: Desk) -> None:
    desk.system.halt("drawdown")
    (halted,) = desk.news()
    assert (halted["level"], halted["event"]) == ("warning", "halted")
    assert halted["text"].startswith("drawdown (by a test")
    desk.system.arm()
    page = desk.system.pages["risk"]
    page.set_gauge(counters.PERMIT_STATE.id, int(TradingState.ACTIVE))
    assert desk.told() == [
        ("info", "halt", "the halt is taken back"),
        ("info", "risk", "grants ACTIVE"),
    ]


@pytest.mark.parametrize("watch", WATCHES, ids=lambda one: f"{one.role}-{one.gauge.name}")
def test_a_gauge_that_turns_bad_and_good_is_told_once_each(desk: Desk, watch) -> None:
    page = desk.system.pages[watch.role]
    good, bad = (0, 5) if watch.is_good_at_zero else (1, 0)
    page.set_gauge(watch.gauge.id, good)
    desk.news()
    page.set_gauge(watch.gauge.id, bad)
    assert desk.told() == [(watch.level, watch.role, watch.bad)]
    assert desk.told() == []
    page.set_gauge(watch.gauge.id, good)
    assert desk.told() == [("info", watch.role, watch.good)]


@pytest.mark.parametrize(("role", "counter", "level"), COUNTED)
def test_a_counter_that_should_stand_still_is_told_now_and_then(
    desk: Desk, role: str, counter, level: str
) -> None:
    page = desk.system.pages[role]
    page.count(counter.id, 3)
    (line,) = desk.news()
    assert (line["level"], line["source"], line["event"]) == (level, role, counter.name)
    assert (line["text"], line["more"]) == (counter.meaning, 3)
    page.count(counter.id, 2)
    assert desk.news() == []
    desk.now_ns += COUNTER_PAUSE_NS
    (line,) = desk.news()
    assert line["more"] == 2


def alert(system, number: int, code: AlertCode = AlertCode.POSITION_DIFFERS) -> None:
    system.publish(
        "alerts", instrument_id=3, severity=3, code=int(code), value_e8=number * E8, limit_e8=0,
        text=f"alert {number}".encode(),
    )  # fmt: skip


def test_an_alert_keeps_its_words_and_figures(desk: Desk) -> None:
    alert(desk.system, 2)
    (line,) = desk.news()
    assert (line["level"], line["source"], line["event"]) == (
        "error", "account", "position differs",
    )  # fmt: skip
    assert (line["text"], line["symbol"], line["value"]) == ("alert 2", "BTCUSDT", "2")


def test_an_alert_is_logged_once_however_often_the_watcher_starts(desk: Desk) -> None:
    alert(desk.system, 1)
    assert len(desk.news()) == 1
    alert(desk.system, 2)
    again = Desk(desk.system)
    assert [line["text"] for line in again.news()] == ["alert 2"]
    again.close()


def test_alerts_from_before_the_watcher_are_not_lost(made_system) -> None:
    alert(made_system, 1)
    desk = Desk(made_system)
    assert [line["text"] for line in desk.news()] == ["alert 1"]
    desk.close()


def test_the_alerts_of_a_new_system_start_anew(make_system: Callable) -> None:
    first = make_system()
    desk = Desk(first)
    alert(first, 1)
    assert len(desk.news()) == 1
    desk.close()
    first.remove()
    second = make_system()
    alert(second, 1)
    desk = Desk(second)
    assert len(desk.news()) == 1
    desk.close()


def test_a_flood_of_alerts_is_read_to_its_end_and_what_is_lost_is_told(desk: Desk) -> None:
    for number in range(1_500):
        alert(desk.system, number)
    found = [line for _ in range(10) for line in desk.news()]
    lost = sum(int(line["more"]) for line in found if line["event"] == "alerts lost")
    shown = [line for line in found if line["event"] == "position differs"]
    assert lost + len(shown) == 1_500
    assert shown[-1]["text"] == "alert 1499"
