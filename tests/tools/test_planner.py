"""From settings to the plan: processes, cores, persistent numbers."""

from pathlib import Path

import msgspec
import pytest

from hft.config import Config, PaperConfig, Plan, RateLimits, StrategyConfig, SystemConfig
from hft.errors import UsageError
from hft.graph import COLD_ROLES, INSTRUMENTS_MAX, ROLES
from hft.roles.context import load_plan
from pinning import PlanError, Topology
from tools.system.places import Places
from tools.system.planner import (
    in_system_mode,
    make_plan,
    number_instruments,
    plan_processes,
    write_plan,
)

LIMITS = RateLimits(weight_1m=2_400, orders_10s=300, orders_1m=1_200)


def host(count: int, isolated: frozenset[int] = frozenset()) -> Topology:
    return Topology(
        cpus=tuple(range(count)),
        cores=tuple((cpu,) for cpu in range(count)),
        allowed=frozenset(range(count)),
        isolated=isolated,
        nohz_full=frozenset(),
        rcu_nocbs=frozenset(),
    )


def config(**system: object) -> Config:
    return Config(symbols=("BTCUSDT", "ETHUSDT"), system=SystemConfig(**system))


def plan_in(directory: Path, **system: object) -> Plan:
    directory.mkdir(exist_ok=True)
    places = Places("default", directory, directory / "state")
    return make_plan(
        config(**system), places, limits=LIMITS, equity_e8=7, now_wall_ns=1, host=host(2)
    )


@pytest.mark.parametrize("topology", ["compact", "dedicated"])
def test_every_role_runs_once_with_a_bell_of_its_process(topology: str) -> None:
    processes = plan_processes(config(topology=topology), host(8))
    assert sorted(role for process in processes for role in process.roles) == sorted(ROLES)
    assert [process.bell for process in processes] == list(range(len(processes)))


def with_strategy(its_mode: str, **system: object) -> Config:
    strategy = StrategyConfig(name="one", plugin="a:B", symbols=("BTCUSDT",), mode=its_mode)  # type: ignore[arg-type]
    return msgspec.structs.replace(config(**system), strategies=(strategy,))


@pytest.mark.parametrize(
    ("wanted", "has_paper"),
    [
        (with_strategy("live"), False),
        (with_strategy("observe"), False),
        (with_strategy("paper"), True),
        (with_strategy("live", mode="paper"), True),
        (msgspec.structs.replace(with_strategy("live"), paper=PaperConfig(start="always")), True),
    ],
    ids=["live", "observe", "a strategy", "the system", "always"],
)
def test_paper_runs_only_where_somebody_needs_it(wanted: Config, has_paper: bool) -> None:
    for topology in ("compact", "dedicated"):
        system = msgspec.structs.replace(wanted.system, topology=topology)
        processes = plan_processes(msgspec.structs.replace(wanted, system=system), host(8))
        hosts = [process for process in processes if "paper" in process.roles]
        assert len(hosts) == has_paper
        if has_paper:
            alone = topology == "dedicated"
            expected = ("paper",) if alone else ("account", "recorder", "paper")
            assert hosts[0].roles == expected


def test_in_paper_mode_no_strategy_is_live() -> None:
    for mode, forced in (("live", "paper"), ("paper", "paper"), ("observe", "observe")):
        (strategy,) = in_system_mode(with_strategy(mode, mode="paper")).strategies
        assert strategy.mode == forced
        assert in_system_mode(with_strategy(mode)).strategies[0].mode == mode


def test_two_cores_are_shared_by_hot_processes_and_the_cold_one_is_apart() -> None:
    compact = plan_processes(config(), host(2))
    assert [(p.name, p.cpu, p.wait) for p in compact] == [
        ("hot", 1, "spin_then_park"),
        ("cold", 0, "park"),
    ]
    dedicated = plan_processes(config(topology="dedicated"), host(2))
    assert {p.cpu for p in dedicated if p.name not in COLD_ROLES} == {1}
    assert {p.cpu for p in dedicated if p.name in COLD_ROLES} == {0}
    assert {p.wait for p in dedicated} == {"park"}


def test_isolated_core_is_spun_on() -> None:
    hot = plan_processes(config(), host(4, frozenset({2, 3})))[0]
    assert (hot.cpu in (2, 3), hot.wait) == (True, "busy_spin")


def test_spinning_on_a_shared_core_is_refused() -> None:
    with pytest.raises(PlanError, match="cannot wait by busy_spin: it shares cpu 1"):
        plan_processes(config(topology="dedicated", wait="busy_spin"), host(2))


def test_instrument_numbers_persist_and_are_never_reused(tmp_path: Path) -> None:
    first = number_instruments(tmp_path / "state", ("BTCUSDT", "ETHUSDT"))
    second = number_instruments(tmp_path / "state", ("SOLUSDT", "ETHUSDT"))
    third = number_instruments(tmp_path / "state", ("BTCUSDT",))
    assert [(one.symbol, one.instrument_id) for one in (*first, *second, *third)] == [
        ("BTCUSDT", 1), ("ETHUSDT", 2), ("SOLUSDT", 3), ("ETHUSDT", 2), ("BTCUSDT", 1),
    ]  # fmt: skip


def test_numbers_that_are_used_up_are_told(tmp_path: Path) -> None:
    number_instruments(tmp_path, tuple(f"S{i}" for i in range(INSTRUMENTS_MAX - 1)))
    with pytest.raises(UsageError, match="all 127 instrument numbers"):
        number_instruments(tmp_path, ("NEW",))


def test_damaged_numbers_stop_the_start(tmp_path: Path) -> None:
    (tmp_path / "instruments.json").write_text("{")
    with pytest.raises(UsageError, match="damaged"):
        number_instruments(tmp_path, ("BTCUSDT",))


def test_roles_read_the_plan_that_was_written(tmp_path: Path) -> None:
    plan = plan_in(tmp_path, topology="dedicated")
    write_plan(plan)
    assert load_plan(tmp_path) == plan
    assert plan.equity_e8 == 7
    assert not (tmp_path / "plan.json.new").exists()
