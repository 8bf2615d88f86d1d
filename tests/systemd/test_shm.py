"""A system without a supervisor: made, started role by role, armed, looked at, removed."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

import ipc
from hft.graph import ROLES
from hft.roles.context import load_plan
from tools.system import status
from tools.system.waiting import wait_until

NEEDS_USERS = pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("setpriv") is None,
    reason="only root can start processes of other users, with setpriv",
)


def test_what_is_made_is_removed_and_nothing_to_remove_is_no_mistake(host: Any) -> None:
    host.make()
    assert len(ipc.list_segments(host.name)) > 20
    host.make()  # also over what a crash has left
    exit_code, _, err = host.hft("shm", "remove")
    assert exit_code == 0, err
    assert ipc.list_segments(host.name) == []
    assert not host.run_dir.exists()
    assert host.hft("shm", "remove")[:2] == (0, "there is nothing to remove\n")


def test_roles_run_one_by_one_and_everything_is_refused_beside_them(host: Any) -> None:
    host.make()
    host.start_all()
    for role in ROLES:
        host.hear(role, "WATCHDOG=1")
    found = status.read(host.run_dir)
    assert (found.problems, found.supervisor_pid) == ((), 0)
    assert {process.pid for process in found.processes} == {p.pid for p in host.roles.values()}
    assert "―" in "\n".join(status.render(found))
    assert host.hft("arm", "--reason", "test")[0] == 0
    for command in (("shm", "create", str(host.path)), ("shm", "remove"), ("down",),
                    ("up", str(host.path))):  # fmt: skip
        exit_code, _, err = host.hft(*command)
        assert exit_code == 2, command
        assert "feed" in err
        assert "systemctl stop hft.target" in err
    exit_code, out, _ = host.hft("status", "--json")
    assert exit_code == 0
    assert json.loads(out)["trading_state"] == "ACTIVE"
    for role in ("strategy", "execution", "risk", "feed", "account", "recorder"):
        assert host.stop(role) == 0
    assert host.hft("shm", "remove")[0] == 0


def test_a_system_of_hft_up_is_left_alone(host: Any) -> None:
    assert host.hft("up", str(host.path), "--detach")[0] == 0
    for command in (("shm", "create", str(host.path)), ("shm", "remove")):
        exit_code, _, err = host.hft(*command)
        assert exit_code == 2
        assert "hft down" in err
    assert host.hft("down")[0] == 0


def test_a_killed_role_is_started_again_alone(host: Any) -> None:
    host.make()
    host.start_all()
    host.roles["risk"].kill()
    host.roles["risk"].wait()
    host.start("risk")
    host.hear("risk", "READY=1")
    assert host.hft("arm", "--reason", "again")[0] == 0
    host.kill_all()
    exit_code, out, err = host.hft("down")
    assert exit_code == 0, err
    assert "orders of ours cancelled by REST" in out + err
    assert not host.run_dir.exists()


@NEEDS_USERS
def test_every_role_has_a_user_of_its_own_and_only_the_writer_can_write(host: Any) -> None:
    host.make_owned()
    host.start_all()
    assert host.hft("arm", "--reason", "test")[0] == 0
    owner_of = {path.name.removeprefix(f"hft.{host.name}."): path.stat().st_uid
                for path in Path("/dev/shm").glob(f"hft.{host.name}.*")}  # fmt: skip
    assert owner_of["decisions"] == host.owners["risk"]
    assert owner_of["market"] == owner_of["page.feed"] == host.owners["feed"]
    assert owner_of["intents.manual"] == owner_of["page.control"] == host.owners["control"]
    assert owner_of["halt"] == owner_of["bells"] == 0
    pid = host.roles["execution"].pid
    for holds in (lambda: not status.read(host.run_dir).problems,
                  lambda: status.read(host.run_dir).open_orders > 0):  # fmt: skip
        assert wait_until(holds, pid=pid, timeout_s=60)
    assert "no order is open" in host.hft("halt")[1]


def test_demo_and_paper_arm_themselves_and_live_waits_for_a_person(host: Any) -> None:
    text = host.path.read_text()
    for mode, state in (("paper", "ACTIVE"), ("live", "HALTED")):
        host.path.write_text(text.replace("[system]\n", f'[system]\nmode = "{mode}"\n'))
        host.make()
        roles = load_plan(host.run_dir).roles
        assert ("paper" in roles) == (host.run_dir / "paper.planned").exists() == (mode == "paper")
        host.start_all(roles)
        exit_code, out, err = host.hft("shm", "arm")
        assert exit_code == 0, err
        assert mode in out
        assert status.read(host.run_dir).trading_state == state
        host.kill_all()
        assert host.hft("down")[0] == 0


@NEEDS_USERS
def test_people_trade_by_hand_and_change_limits_without_being_root(host: Any) -> None:
    text = host.path.read_text().replace(
        "[[strategies]]", "[risk.manual]\nenabled = true\n\n[[strategies]]"
    )
    host.path.write_text(text.replace('name = "maker"', 'name = "maker"\nmode = "paper"'))
    host.make_owned()
    host.start_all(load_plan(host.run_dir).roles)
    assert host.hft_as("control", "arm", "--reason", "test")[0] == 0
    place = ("order", "buy", "BTCUSDT", "0.002", "--market", "--yes")
    exit_code, out, err = host.hft_as("control", *place)
    assert (exit_code, "bought 0.002" in out) == (0, True), err
    exit_code, _, err = host.hft_as("person", *place)  # of the group, and not the ring's owner
    assert exit_code != 0
    assert "Traceback" not in err
    for who, limit in (("person", "400"), ("control", "300")):
        set_limit = f"order_notional_max={limit}"
        exit_code, out, err = host.hft_as(who, "risk", "set", set_limit, "--reason", "test")
        assert exit_code == 0, err
    risk = host.roles["risk"]
    risk.kill()
    risk.wait()
    host.start("risk")  # and the successor reads what people have written
    host.hear("risk", "READY=1")
    exit_code, out, err = host.hft_as("person", "strategy", "mode", "maker", "observe")
    assert exit_code == 0, err
    assert host.hft_as("person", "audit")[0] == 0
    assert host.hft_as("person", "halt", "--reason", "enough")[0] == 0
    journal = host.root / "state" / host.name / "journal"
    assert not os.access(journal, os.W_OK) or os.geteuid() == 0


def test_a_user_that_does_not_exist_is_told(host: Any) -> None:
    exit_code, _, err = host.hft("shm", "create", str(host.path), "--user-prefix", "nobody-has-")
    assert exit_code == 2
    assert "there is no user nobody-has-feed" in err
    assert "systemd-sysusers" in err
