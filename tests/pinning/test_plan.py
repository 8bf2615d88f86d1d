from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pinning import PlanError, Topology, make_plan, read_topology

FAKE_SYS = Path(__file__).resolve().parent.parent / "fake_sys"
HOT = ("feed", "strategy", "risk", "execution")


def host(cores: int, *, isolated: frozenset[int] = frozenset()) -> Topology:
    cpus = tuple(range(cores))
    return Topology(
        cpus=cpus,
        cores=tuple((cpu,) for cpu in cpus),
        allowed=frozenset(cpus),
        isolated=isolated,
        nohz_full=isolated,
        rcu_nocbs=isolated,
    )


def test_compact_on_two_cpus_keeps_the_hot_process_off_the_first() -> None:
    plan = make_plan(read_topology(FAKE_SYS / "two_cpus"), ["hot"], ["cold", "venue"])
    assert (plan.cpu("hot"), plan.wait("hot")) == (1, "spin_then_park")
    assert (plan.cpu("cold"), plan.wait("cold")) == (0, "park")
    assert plan.cpu("venue") == 0


def test_dedicated_on_two_cpus_shares_one_and_parks() -> None:
    plan = make_plan(read_topology(FAKE_SYS / "two_cpus"), HOT, ["account"])
    assert {plan.cpu(name) for name in HOT} == {1}
    assert {plan.wait(name) for name in HOT} == {"park"}
    assert plan.cpu("account") == 0
    assert plan.of("risk").reason == "shares cpu 1 with feed, strategy, execution"


def test_two_threads_of_one_core_do_not_spin_for_ever() -> None:
    plan = make_plan(read_topology(FAKE_SYS / "two_threads"), ["hot"], ["cold"])
    assert (plan.cpu("hot"), plan.wait("hot")) == (1, "spin_then_park")
    assert plan.cpu("cold") == 0


def test_isolated_cores_are_taken_first_and_spin() -> None:
    plan = make_plan(read_topology(FAKE_SYS / "isolated"), ["feed", "strategy"], ["account"])
    assert [plan.cpu("feed"), plan.cpu("strategy")] == [6, 7]
    assert plan.wait("feed") == plan.wait("strategy") == "busy_spin"
    assert plan.cpu("account") in (0, 1, 4, 5)


def test_an_isolated_core_with_an_ordinary_sibling_is_not_spun_on() -> None:
    topology = Topology(
        cpus=(0, 1, 2, 3),
        cores=((0, 1), (2, 3)),
        allowed=frozenset(range(4)),
        isolated=frozenset({3}),
        nohz_full=frozenset({3}),
        rcu_nocbs=frozenset({3}),
    )
    plan = make_plan(topology, ["hot"], ["cold"])
    assert (plan.cpu("hot"), plan.wait("hot")) == (3, "spin_then_park")
    assert plan.cpu("cold") in (0, 1)


def test_with_too_few_cores_neighbours_of_the_chain_share() -> None:
    plan = make_plan(host(3), HOT, ["account"])
    assert [plan.cpu(name) for name in HOT] == [1, 1, 2, 2]
    assert {plan.wait(name) for name in HOT} == {"park"}


def test_one_cpu_carries_everything() -> None:
    plan = make_plan(host(1), ["hot"], ["cold"])
    assert plan.cpu("hot") == plan.cpu("cold") == 0
    assert plan.wait("hot") == "park"


def test_cold_processes_are_spread_over_what_is_left() -> None:
    plan = make_plan(host(6), ["feed", "risk"], ["account", "recorder", "monitor"])
    assert [plan.cpu("account"), plan.cpu("recorder"), plan.cpu("monitor")] == [0, 1, 2]


def test_requested_cpus_are_used_in_order_and_the_rest_stays_free() -> None:
    plan = make_plan(host(6), ["hot"], ["cold"], requested=[3, 4, 5])
    assert plan.cpu("hot") == 3
    assert plan.cpu("cold") == 0


@pytest.mark.parametrize(
    ("cpu", "sentence"),
    [(7, "cpu 7 is not there: this process may use 0, 1"), (-2, "cpu -2 is not there")],
)
def test_a_requested_cpu_that_is_not_there_is_refused(cpu: int, sentence: str) -> None:
    with pytest.raises(PlanError, match=sentence):
        make_plan(host(2), ["hot"], ["cold"], requested=[cpu])


def test_a_requested_cpu_outside_of_the_control_group_is_refused() -> None:
    with pytest.raises(PlanError, match="cpu 0 may not be used here: this process may use 1, 2"):
        make_plan(read_topology(FAKE_SYS / "old_groups"), ["hot"], [], requested=[0])


@pytest.mark.parametrize("requested", [(6, 6), (6, 2), (3,)])
def test_two_hot_processes_on_one_core_are_refused_while_there_are_others(
    requested: tuple[int, ...],
) -> None:
    with pytest.raises(PlanError, match="share one physical core") as caught:
        make_plan(read_topology(FAKE_SYS / "isolated"), ["feed", "risk"], [], requested=requested)
    assert "0+4 1+5 2+6 3+7" in caught.value.remedy


def test_sharing_is_accepted_where_nothing_else_is_available() -> None:
    plan = make_plan(host(2), HOT, ["account"], requested=[1])
    assert {plan.cpu(name) for name in HOT} == {1}


@pytest.mark.parametrize("wait", ["busy_spin", "spin_then_park", "park"])
def test_a_configured_wait_is_kept_where_the_core_is_not_shared(wait: str) -> None:
    plan = make_plan(host(2), ["hot"], ["cold"], wait=wait)
    assert plan.wait("hot") == wait
    assert plan.wait("cold") == "park"


@pytest.mark.parametrize("wait", ["busy_spin", "spin_then_park"])
def test_spinning_on_a_shared_cpu_is_refused(wait: str) -> None:
    with pytest.raises(PlanError, match=f"feed cannot wait by {wait}: it shares cpu 1 with") as e:
        make_plan(host(2), HOT, ["account"], wait=wait)
    assert "auto" in e.value.remedy


def server(*, isolated: frozenset[int] = frozenset()) -> Topology:
    """Two nodes of eight cpus, four of which share a last-level cache."""
    cpus = tuple(range(16))
    return Topology(
        cpus=cpus,
        cores=tuple((cpu,) for cpu in cpus),
        allowed=frozenset(cpus),
        isolated=isolated,
        nohz_full=isolated,
        rcu_nocbs=isolated,
        caches=tuple(cpus[first : first + 4] for first in range(0, 16, 4)),
        nodes=(cpus[:8], cpus[8:]),
    )


def test_neighbours_of_the_chain_share_a_cache() -> None:
    plan = make_plan(server(isolated=frozenset({3, 4, 5, 6, 7, 9, 11})), HOT, [])
    assert [plan.cpu(name) for name in HOT] == [4, 5, 6, 7]


def test_a_chain_that_fits_no_cache_stays_in_one_node() -> None:
    plan = make_plan(server(), [*HOT, "more"], [])
    assert {plan.cpu(name) // 8 for name in (*HOT, "more")} == {1}


def test_isolated_cores_far_apart_are_better_than_disturbed_neighbours() -> None:
    plan = make_plan(server(isolated=frozenset({1, 6, 10, 15})), HOT, ["cold"])
    assert [plan.cpu(name) for name in HOT] == [1, 6, 10, 15]
    assert {plan.wait(name) for name in HOT} == {"busy_spin"}


def test_real_time_scheduling_is_given_to_hot_processes_only() -> None:
    plan = make_plan(host(6), HOT, ["cold"], scheduling="fifo")
    assert {plan.of(name).realtime_priority for name in HOT} == {50}
    assert plan.of("cold").realtime_priority == 0


def test_nothing_is_real_time_unless_it_is_asked_for() -> None:
    plan = make_plan(server(isolated=frozenset(range(4, 16))), HOT, ["cold"])
    assert {one.realtime_priority for one in plan.assignments} == {0}


@pytest.mark.parametrize(("cores", "hot"), [(1, 1), (2, 4), (4, 4)])
def test_real_time_scheduling_without_a_free_core_is_refused(cores: int, hot: int) -> None:
    with pytest.raises(PlanError, match="one for everything else") as caught:
        make_plan(host(cores), HOT[:hot], ["cold"], scheduling="fifo")
    assert 'scheduling = "other"' in caught.value.remedy


def test_the_second_thread_of_a_hot_core_is_no_free_core() -> None:
    topology = read_topology(FAKE_SYS / "two_threads")
    with pytest.raises(PlanError, match="real-time scheduling needs"):
        make_plan(topology, ["hot"], ["cold"], scheduling="fifo")


def test_an_unknown_scheduling_class_is_refused_with_the_choice() -> None:
    with pytest.raises(PlanError, match="'rr' is not a scheduling class"):
        make_plan(host(2), ["hot"], [], scheduling="rr")


def test_an_unknown_wait_is_refused_with_the_choice() -> None:
    with pytest.raises(PlanError, match="'spin' is not a wait strategy") as caught:
        make_plan(host(2), ["hot"], [], wait="spin")
    assert "busy_spin" in caught.value.remedy


def test_a_process_named_twice_is_refused() -> None:
    with pytest.raises(PlanError, match="named twice"):
        make_plan(host(2), ["hot"], ["hot"])


def test_asking_for_a_process_that_was_not_planned_is_a_key_error() -> None:
    with pytest.raises(KeyError):
        make_plan(host(2), ["hot"], []).cpu("cold")


@given(
    cores=st.integers(1, 12),
    threads=st.integers(1, 2),
    hot_count=st.integers(0, 6),
    cold_count=st.integers(0, 6),
    isolated_from=st.integers(0, 24),
    disallowed=st.sets(st.integers(0, 23)),
    together=st.integers(1, 12),
)
def test_every_plan_keeps_its_promises(
    cores: int,
    threads: int,
    hot_count: int,
    cold_count: int,
    isolated_from: int,
    disallowed: set[int],
    together: int,
) -> None:
    cpus = range(cores * threads)
    listed = tuple(tuple(range(c, cores * threads, cores)) for c in range(cores))
    topology = Topology(
        cpus=tuple(cpus),
        cores=listed,
        allowed=frozenset(set(cpus) - disallowed or {0}),
        isolated=frozenset(range(isolated_from, cores * threads)),
        nohz_full=frozenset(),
        rcu_nocbs=frozenset(),
        caches=tuple(
            tuple(sorted(cpu for core in listed[first : first + together] for cpu in core))
            for first in range(0, cores, together)
        ),
    )
    hot, cold = [f"h{i}" for i in range(hot_count)], [f"c{i}" for i in range(cold_count)]
    plan = make_plan(topology, hot, cold)
    assert [a.name for a in plan.assignments] == [*hot, *cold]
    for a in plan.assignments:
        assert a.cpu in topology.allowed
        alone = sum(other.cpu == a.cpu for other in plan.assignments) == 1
        if a.wait == "busy_spin":
            assert alone
            assert topology.is_undisturbed(a.cpu)
        if a.name in hot and a.wait == "spin_then_park":
            assert alone
    usable = [core for core in topology.cores if set(core) & topology.allowed]
    if len(usable) > hot_count:
        used = [next(c for c in usable if plan.cpu(name) in c) for name in hot]
        assert len(set(used)) == hot_count, "two hot processes on one core without need"
