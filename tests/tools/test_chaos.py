"""Chaos: what is injected repeats, real processes survive it, broken ones are caught."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Any

import msgspec
import pytest

import ipc
from hft.errors import UsageError
from hft.units import NS_PER_S
from tools.chaos import Options, run
from tools.chaos.mutants import MUTANTS
from tools.chaos.points import KILL, POINTS, Words, role_of
from tools.chaos.recovery import times
from tools.chaos.report import RoleTimes, too_slow
from tools.chaos.schedule import ANYWHERE, RINGS, Schedule, Strike
from tools.chaos.soak import FLAT, Growth, ProcessGrowth, Soak, SoakReport, _growth, troubles
from tools.chaos.trials import TRIALS
from tools.chaos.venue_faults import INCIDENT_EVERY_S, INCIDENTS, plan, seconds_of
from tools.venue.fault_kinds import KINDS as FAULT_KINDS

WAIT_S = 280
HOSTS = {
    "feed": ("feed",),
    "hot": ("strategy", "risk"),
    "execution": ("execution",),
    "cold": ("account", "recorder", "paper"),
}


def strikes(seed: int, count: int = 400, only: tuple[str, ...] = ()) -> list[Strike]:
    schedule = Schedule(seed, HOSTS, only)
    return [schedule.next() for _ in range(count)]


def test_a_seed_repeats_its_strikes_and_another_seed_does_not() -> None:
    assert strikes(7) == strikes(7)
    assert strikes(7) != strikes(8)


def test_strikes_are_of_the_kinds_asked_for() -> None:
    assert {one.kind for one in strikes(1, only=("stop", "pair"))} == {"stop", "pair"}
    for one in strikes(1):
        assert len(one.processes) == {"pair": 2, "all": 4}.get(one.kind, 1)
        assert (one.hold_ms > 0) == (one.kind in ("stop", "starve"))
        assert len(set(one.processes)) == len(one.processes)


def test_a_named_point_is_aimed_at_in_the_process_that_hosts_its_role() -> None:
    aimed = [one for one in strikes(1) if one.point in POINTS]
    assert {one.point for one in aimed} == set(POINTS)
    for one in aimed:
        assert role_of(one.point) in HOSTS[one.processes[0]]
    assert {one.point for one in strikes(1)} - set(POINTS) == {ANYWHERE, *RINGS}


def test_a_point_is_reached_once_it_holds_a_time(tmp_path: Path) -> None:
    ours, theirs = Words(tmp_path), Words(tmp_path)
    ours.arm("risk.after_decide")
    assert theirs.words[POINTS.index("risk.after_decide")] == KILL
    assert ours.reached_ns("risk.after_decide") == 0
    theirs.words[POINTS.index("risk.after_decide")] = 12_345
    assert ours.reached_ns("risk.after_decide") == 12_345
    ours.disarm("risk.after_decide")
    assert ours.reached_ns("risk.after_decide") == 0
    for words in (ours, theirs):
        words.close()


def test_ten_minutes_bring_every_fault_of_the_venue_and_three_hundred_in_all() -> None:
    kinds = tuple(FAULT_KINDS)
    planned = plan(7, 600.0, kinds)
    assert planned == plan(7, 600.0, kinds)
    assert planned != plan(8, 600.0, kinds)
    assert {one.kind for one in planned} == set(FAULT_KINDS)
    assert len(planned) >= 300
    assert all(0 <= one.at_s < 600 for one in planned)
    stops = [one.at_s for one in planned if one.kind in INCIDENTS]
    gaps = [b - a for a, b in pairwise(stops)]
    assert min(gaps) >= INCIDENT_EVERY_S * 0.99


@pytest.mark.parametrize("kind", FAULT_KINDS)
def test_a_fault_lasts_as_long_as_its_kind_allows(kind: str) -> None:
    shortest, longest = FAULT_KINDS[kind].seconds
    assert shortest <= seconds_of(kind, Random(1)) <= longest


def test_percentiles_are_values_that_were_measured() -> None:
    assert times([]).count == 0
    found = times(n * 1_000_000 for n in range(1, 101))
    assert (found.count, found.p50, found.p99, found.max) == (100, 50.0, 99.0, 100.0)


def test_missed_recovery_times_are_named_with_their_target() -> None:
    fast, slow = times([1_000_000]), times([9_000_000_000])
    quick = RoleTimes(safe=fast, trading=fast, resumed=fast, hindered=slow)
    lame = RoleTimes(safe=fast, trading=slow, resumed=fast, hindered=fast)
    assert too_slow({"feed": quick}) == []
    assert too_slow({"risk": lame}) == ["risk: trading p50 9000 ms, the target is 3000"]


def test_a_process_that_grows_is_named() -> None:
    flat, grown = Growth(early=100, late=101), Growth(early=100, late=103)
    still = ProcessGrowth(memory_bytes=flat, descriptors=Growth(early=9, late=9))
    leaky = ProcessGrowth(memory_bytes=grown, descriptors=Growth(early=9, late=10))
    report = SoakReport(samples=60, processes={"hot": still, "cold": leaky}, segments=flat)
    found = troubles(report)
    assert len(found) == 3
    assert sum(one.startswith("cold: ") for one in found) == 2


def test_every_broken_variant_has_its_trial() -> None:
    assert set(MUTANTS) == set(TRIALS)


@pytest.mark.parametrize("mutant", MUTANTS)
def test_every_broken_variant_can_still_be_made(project_root: Path, mutant: str) -> None:
    program = f"from tools.chaos.mutants import install; install({mutant!r})"
    subprocess.run([sys.executable, "-c", program], cwd=project_root, check=True)


@pytest.mark.parametrize("only", [("earthquake",), ("halt", "kill"), ("soak", "ban")])
def test_kinds_that_cannot_be_run_are_refused(only: tuple[str, ...]) -> None:
    with pytest.raises(UsageError):
        run(Options(only=only))


def test_a_broken_variant_that_does_not_exist_is_refused() -> None:
    with pytest.raises(UsageError):
        run(Options(mutant="healthy"))


def test_only_says_which_strikes_and_which_faults_of_the_venue_come() -> None:
    both = Options(only=("kill", "ban", "drop_user"))
    assert (both.strikes, both.fault_kinds) == (("kill",), ("ban", "drop_user"))
    assert Options(faults=False).fault_kinds == ()
    assert Options(only=("soak",)).fault_kinds == Options(only=("soak",)).strikes == ()
    assert set(Options().fault_kinds) == set(FAULT_KINDS)


Chaos = Callable[..., tuple[int, dict[str, Any]]]
PROGRAM = """
import sys, msgspec
from tools.chaos import Options, run
sys.exit(run(msgspec.json.decode(sys.argv[1], type=Options)))
"""


@pytest.fixture
def chaos(project_root: Path, tmp_path: Path) -> Chaos:
    """Run chaos in a process of its own, whose children are then all of that run."""

    def start(options: Options) -> tuple[int, dict[str, Any]]:
        settings = msgspec.json.encode(msgspec.structs.replace(options, as_json=True)).decode()
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, settings],
            cwd=project_root,
            env={**os.environ, "HFT_RUN_DIR": str(tmp_path / "run")},
            capture_output=True,
            text=True,
            timeout=WAIT_S,
        )
        assert done.stdout, done.stderr
        report: dict[str, Any] = json.loads(done.stdout)
        assert ipc.list_segments(report["name"]) == []
        assert not (tmp_path / "run" / report["name"]).exists()
        return done.returncode, report

    return start


HAPPENS = ("strikes", "kill_count", "venue_fault_count", "orders", "by_hand", "paper_orders")
MINUTES = (0.07, 0.35, 1.5)
"""A slow machine needs longer until all of it has happened."""


@pytest.mark.parametrize(("topology", "seed"), [("compact", 1), ("dedicated", 2)])
def test_no_order_is_lost_whatever_is_struck(chaos: Chaos, topology: str, seed: int) -> None:
    missing: tuple[str, ...] = HAPPENS
    for minutes in MINUTES:
        exit_code, report = chaos(Options(minutes=minutes, seed=seed, topology=topology))
        assert report["findings"] == []
        assert (exit_code, report["violations"], report["passed"]) == (0, 0, True)
        report["kill_count"] += report["stop_count"]
        missing = tuple(what for what in HAPPENS if not report[what])
        if not missing:
            return
    pytest.fail(f"has not happened: {', '.join(missing)}")


def test_the_halt_empties_the_book(chaos: Chaos) -> None:
    exit_code, report = chaos(Options(only=("halt",), drills=3))
    assert report["findings"] == []
    assert exit_code == 0
    assert report["strikes"] == report["halt_ms"]["nothing_open"]["count"] == 3


@pytest.mark.parametrize(
    ("mutant", "invariant"),
    [
        ("cursor_first", "every intent judged once"),
        ("permit_ignored", "nothing sent on an old look"),
    ],
)
def test_a_broken_variant_is_caught(chaos: Chaos, mutant: str, invariant: str) -> None:
    exit_code, report = chaos(Options(mutant=mutant))
    assert exit_code == 1
    assert invariant in [finding["invariant"] for finding in report["findings"]]


def test_a_leak_is_what_stays_and_not_a_connection_that_comes_and_goes() -> None:
    busy = [10] * 30 + [15, 10, 15] * 10
    assert _growth(busy, min).share == 0
    leaky = [10 + second // 10 for second in range(60)]
    assert _growth(leaky, min).late > _growth(leaky, min).early


class Sampled:
    """A system of one process, which a test ends and begins anew."""

    def __init__(self, name: str) -> None:
        self.plan = self.supervisor = self
        self.children = [self]
        self.name, self.pid = name, 0


def test_a_process_that_ends_in_a_soak_is_a_fault_and_its_end_is_no_sample(
    system_name: str,
) -> None:
    system = Sampled(system_name)
    soak = Soak(system)  # type: ignore[arg-type]
    for life in range(2):
        sleeper = subprocess.Popen(["sleep", "60"])
        system.pid = sleeper.pid
        soak.poll((3 * life + 1) * NS_PER_S)
        sleeper.kill()
        os.waitid(os.P_PID, sleeper.pid, os.WEXITED | os.WNOWAIT)
        soak.poll((3 * life + 2) * NS_PER_S)  # a zombie holds nothing
        sleeper.wait()
        soak.poll((3 * life + 3) * NS_PER_S)
    report = soak.report()
    assert report.samples == 6
    assert report.processes[system_name].descriptors.early > 0
    assert troubles(report) == [f"{system_name}: 2 lives, though nobody struck it"]


def test_a_soak_samples_every_process(chaos: Chaos) -> None:
    for minutes in MINUTES:
        _, report = chaos(Options(only=("soak",), minutes=minutes))
        assert {one["invariant"] for one in report["findings"]} <= {FLAT}  # too short to be flat
        if report["soak"]["samples"] >= 2:
            break
    assert report["soak"]["samples"] >= 2
    assert all(one["memory_bytes"]["late"] > 0 for one in report["soak"]["processes"].values())
