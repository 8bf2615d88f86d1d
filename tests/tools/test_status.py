"""The first line answers the question, the last line says what to do."""

from pathlib import Path

import msgspec

from hft.config import StrategyConfig
from hft.roles.strategy_status import (
    OVERRIDES_FILE,
    PRIORITY_RULE,
    Kept,
    Overrides,
    replace_file,
    strategies_dir,
)
from tools.system import status
from tools.system.status import ProcessStatus, RoleStatus, Status, VenueStatus, render

ROLE = RoleStatus(name="feed", process="hot", pid=7, cpu=3, state="ready", detail="1 of 1 live",
                  beat_ms=0.1, work_per_s=12_410, behind=0, epoch=1, error="")  # fmt: skip
STATUS = Status(
    name="default",
    mode="live",
    topology="compact",
    trading_state="ACTIVE",
    halt_reason="",
    problems=(),
    supervisor_pid=6,
    started_wall_ns=0,
    open_orders=2,
    unknown_orders=0,
    roles=(ROLE, msgspec.structs.replace(ROLE, name="risk", detail="active", behind=4)),
    processes=(
        ProcessStatus(name="hot", roles=("feed", "risk"), pid=7, cpu=3, wait="park", rss_mb=41.2,
                      restarts=1),
    ),
    venue=VenueStatus(round_trip_ms=3.14, feed_age_ms=4.0, weight=312, weight_limit=2_400,
                      orders_10s=41, orders_10s_limit=300, clock_offset_ms=1.8),
    last_event="",
    last_event_wall_ns=0,
)  # fmt: skip


def test_healthy_system_says_so_in_the_first_line() -> None:
    lines = render(STATUS)
    assert lines[0].startswith('hft "default" · LIVE · ACTIVE · up since ')
    assert lines[0].endswith(" · compact · healthy")
    assert lines[2].split() == ["feed", "3", "0.1", "ms", "1", "of", "1", "live", "12,410", "0",
                                "1", "41", "MB"]  # fmt: skip
    assert lines[-2:] == [
        "  venue     feed age 4.0 ms · order round trip 3.1 ms · clock +1.8 ms",
        "            weight 312/2,400 per minute · orders 41/300 per 10 s",
    ]


def test_every_line_fits_a_narrow_terminal() -> None:
    busy = msgspec.structs.replace(ROLE, name="execution", detail="venue DIFFERS, 12.3 s ago",
                                   beat_ms=1_234.5, work_per_s=999_999, behind=99_999)  # fmt: skip
    lines = render(msgspec.structs.replace(STATUS, roles=(ROLE, busy)))
    assert max(map(len, lines)) <= 82


def test_what_was_never_measured_is_not_shown_as_zero() -> None:
    young = msgspec.structs.replace(STATUS.venue, round_trip_ms=0.0, feed_age_ms=-1.0)
    line = render(msgspec.structs.replace(STATUS, venue=young))[-2]
    assert "feed age ― · order round trip not measured yet" in line


def test_memory_of_a_shared_process_stands_once() -> None:
    assert render(STATUS)[3].endswith("―")


def test_what_is_wrong_stands_first_and_the_rest_below() -> None:
    lines = render(msgspec.structs.replace(STATUS, problems=("feed is failed", "2 are unknown")))
    assert lines[0].endswith(" · feed is failed")
    assert lines[1] == "  2 are unknown"


def test_halted_system_ends_with_the_way_out() -> None:
    halted = msgspec.structs.replace(STATUS, trading_state="HALTED", halt_reason="drawdown")
    assert render(halted)[-1] == (
        'halted: drawdown · 2 open orders · hft arm --name default --reason "…"'
    )
    unarmed = msgspec.structs.replace(STATUS, trading_state="HALTED")
    assert render(unarmed)[-1] == 'not armed · hft arm --name default --reason "…"'


def test_role_that_never_started_is_told() -> None:
    dead = msgspec.structs.replace(ROLE, state="never_started", beat_ms=-1.0)
    line = render(msgspec.structs.replace(STATUS, roles=(dead,)))[2]
    assert "never" in line
    assert "never_started" in line


def test_a_paused_strategy_is_a_problem_and_a_mode_is_told_as_it_is_now(made_system) -> None:
    plan = made_system.plan
    one = StrategyConfig(name="one", plugin="hft.strategy.maker:Maker", symbols=("BTCUSDT",))
    other = msgspec.structs.replace(one, name="other")
    config = msgspec.structs.replace(plan.config, strategies=(one, other))
    plan = msgspec.structs.replace(plan, config=config)
    kept = {"one": Kept(pauses={"BTCUSDT": "on_timer: no"}), "other": Kept(mode="observe")}
    changed = Overrides(started_wall_ns=plan.started_wall_ns, strategies=kept)
    replace_file(strategies_dir(Path(plan.state_dir)) / OVERRIDES_FILE, changed)
    assert status._pauses(plan) == ["one is paused on BTCUSDT: on_timer: no"]
    page = made_system.pages["strategy"]
    assert status._detail(plan, "strategy", page, 0) == "1 live, 1 observe, 1 PAUSED"
    assert status._shares_instruments(plan)


def test_the_rule_for_strategies_on_one_instrument_is_told() -> None:
    lines = render(msgspec.structs.replace(STATUS, sharing_rule=PRIORITY_RULE))
    assert any(line.startswith("  shared    On one instrument") for line in lines)
    assert max(map(len, lines)) <= 82
