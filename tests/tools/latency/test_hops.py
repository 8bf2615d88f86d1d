"""Histograms of all roles that a system has."""

from __future__ import annotations

import pytest

from hft import counters
from hft.graph import OPTIONAL_ROLES, ROLES
from tools.latency.hops import Hops
from tools.monitor.attached import Attached
from tools.monitor.histograms import Histograms


@pytest.mark.parametrize("roles", [ROLES, (*ROLES, *OPTIONAL_ROLES)])
def test_every_role_of_the_system_has_its_turns(make_system, roles: tuple[str, ...]) -> None:
    system = make_system(roles=roles)
    for page in system.pages.values():
        page.record_ns(counters.TURN_NS.id, 900)
    hops, attached = Hops(system.plan), Attached(system.run_dir)
    wanted = [(f"turn.{role}", 1) for role in roles]
    for found in (hops.read(), Histograms(attached.pages).look()):
        assert [(one.name, one.total) for one in found if one.name.startswith("turn.")] == wanted
    hops.close()
    attached.close()
