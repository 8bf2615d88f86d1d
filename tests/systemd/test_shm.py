"""A system without a supervisor: made, started role by role, armed, looked at, removed."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

import ipc
from hft.graph import ROLES
from tools.system import shm, status
from tools.system.waiting import wait_until

FIRST_UID = 61_000


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


@pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("setpriv") is None,
    reason="only root can start processes of other users, with setpriv",
)
def test_every_role_has_a_user_of_its_own_and_only_the_writer_can_write(host: Any) -> None:
    host.owners = {role: FIRST_UID + number for number, role in enumerate(ROLES)}
    os.environ["CREDENTIALS_DIRECTORY"] = str(host.credentials)
    try:
        shm.make(host.config, lambda line: None, host.owners)
    finally:
        del os.environ["CREDENTIALS_DIRECTORY"]
    host.start_all()
    assert host.hft("arm", "--reason", "test")[0] == 0
    owner_of = {path.name.removeprefix(f"hft.{host.name}."): path.stat().st_uid
                for path in Path("/dev/shm").glob(f"hft.{host.name}.*")}  # fmt: skip
    assert owner_of["decisions"] == host.owners["risk"]
    assert owner_of["market"] == owner_of["page.feed"] == host.owners["feed"]
    assert owner_of["halt"] == owner_of["bells"] == 0
    found = status.read(host.run_dir)
    assert found.problems == ()
    execution = next(role for role in found.roles if role.name == "execution")
    assert wait_until(
        lambda: status.read(host.run_dir).open_orders > 0, pid=execution.pid, timeout_s=30
    )
    assert "no order is open" in host.hft("halt")[1]


def test_a_user_that_does_not_exist_is_told(host: Any) -> None:
    exit_code, _, err = host.hft("shm", "create", str(host.path), "--user-prefix", "nobody-has-")
    assert exit_code == 2
    assert "there is no user nobody-has-feed" in err
    assert "systemd-sysusers" in err
