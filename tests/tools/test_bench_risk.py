"""The benchmark of risk, at a size that only shows that it measures what it says."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hft.core.generated.views import Intent
from hft.errors import EXIT_CHECK_FAILED, EXIT_OK, CheckFailedError, UsageError
from hft.records import Reason
from ipc import list_segments
from tools.bench import risk
from tools.bench.risk import BURST, COLLARED_EVERY, Size, Steps, measure_core, run


def document(
    capsys: pytest.CaptureFixture[str], instruments: int, strategies: int
) -> dict[str, object]:
    size = Size(instruments, strategies, 64)
    assert run(as_json=True, repetitions=2, **size._asdict()) == EXIT_OK
    found: dict[str, object] = json.loads(capsys.readouterr().out)
    return found


def test_json_has_every_row_and_the_same_checksum_each_time(
    capsys: pytest.CaptureFixture[str],
) -> None:
    first = document(capsys, 3, 2)
    again = document(capsys, 3, 2)
    assert first["checksum"] == again["checksum"]
    assert first["checksum"] != document(capsys, 2, 2)["checksum"]
    rows = first["latency_ns"]
    assert isinstance(rows, dict)
    assert list(rows) == ["judge", "on_execution", "answer", "turn", "clock"]
    assert all(row["n"] == 128 and 0 < row["p50"] <= row["p99"] for row in rows.values())
    assert first["command"] == "hft bench risk --instruments 3 --strategies 2"


def test_the_table_names_machine_and_budgets_and_nothing_is_left_behind(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(as_json=False, instruments=100, judgements=128, repetitions=1) == EXIT_OK
    lines = capsys.readouterr().out
    assert "100 instruments, 20 strategies" in lines
    assert "intent in to decision out" in lines
    assert "machine  " in lines
    assert not list_segments(risk.make_plan(Size(1, 1, 1), Path()).name)


def test_check_fails_when_a_budget_is_exceeded(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(risk, "ROLE_P50_NS_MAX", 1)
    assert run(as_json=False, check=True, judgements=16, repetitions=1) == EXIT_CHECK_FAILED
    assert "NOT reached" in capsys.readouterr().out


def test_a_wrong_judgement_ends_the_measurement(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(risk, "COLLARED_EVERY", 1_000)
    assert measure_core(Size(1, 1, 4))[0].ns
    monkeypatch.setattr(Steps, "next", lambda self, intent: Reason.DUPLICATE)
    with pytest.raises(CheckFailedError, match="MALFORMED where DUPLICATE was due"):
        measure_core(Size(1, 1, 4))


def test_steps_stay_below_every_message_limit() -> None:
    steps, intent = Steps(Size(3, 2, 0), 0), Intent()
    times = []
    reasons = []
    for _ in range(2 * BURST):
        reasons.append(steps.next(intent))
        times.append(steps.now_ns)
    assert reasons.count(Reason.PRICE_COLLAR) == 2 * BURST // COLLARED_EVERY
    assert times == sorted(set(times))
    assert times[BURST] - times[BURST - 1] >= 60 * 10**9


@pytest.mark.parametrize(("instruments", "strategies"), [(0, 1), (128, 1), (1, 0), (1, 128)])
def test_impossible_sizes_are_refused(instruments: int, strategies: int) -> None:
    with pytest.raises(UsageError, match="cannot be measured"):
        run(as_json=True, instruments=instruments, strategies=strategies)
