"""Who is not pinned by the plan stays away from the cores that are."""

from __future__ import annotations

import os
from types import SimpleNamespace
from typing import Any

import pytest

from tools.system.placement import keep_off_hot_cpus, off_hot_cpus

ALLOWED = sorted(os.sched_getaffinity(0))


def plan(**cpus: int) -> Any:
    return SimpleNamespace(
        processes=[SimpleNamespace(cpu=cpu, roles=(role,)) for role, cpu in cpus.items()]
    )


@pytest.mark.skipif(len(ALLOWED) < 2, reason="there is one cpu only")
def test_a_supervisor_leaves_the_hot_cores_while_the_system_is_there() -> None:
    with off_hot_cpus(plan(feed=ALLOWED[-1], account=ALLOWED[0])):
        assert os.sched_getaffinity(0) == set(ALLOWED[:-1])
    assert sorted(os.sched_getaffinity(0)) == ALLOWED


def test_where_all_cores_are_hot_it_stays_where_it_is() -> None:
    with off_hot_cpus(plan(**{f"role-{cpu}": cpu for cpu in ALLOWED})):
        assert sorted(os.sched_getaffinity(0)) == ALLOWED


def test_what_is_not_pinned_takes_no_core_from_anybody() -> None:
    try:
        keep_off_hot_cpus(plan(feed=-1, strategy=-1))
        assert sorted(os.sched_getaffinity(0)) == ALLOWED
    finally:
        os.sched_setaffinity(0, ALLOWED)
