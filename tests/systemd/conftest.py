"""A venue, settings of a system that runs without a supervisor, and its roles one by one."""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import pytest

from hft import config_file
from hft.config import Config
from hft.graph import OPTIONAL_ROLES, ROLES
from hft.roles.process import SIGNING_ROLES
from tools.demo.venue import DemoVenue, running_venue
from tools.system import shm
from tools.venue.config import AccountConfig, VenueConfig

KEY: Final = "systemd-key"
SECRET: Final = "systemd-secret"
SYMBOLS: Final = ("BTCUSDT", "ETHUSDT")
SETTINGS = """\
symbols = ["BTCUSDT"]

[system]
name = "{name}"
topology = "dedicated"
run_dir = "{root}/run"
state_dir = "{root}/state"

[venue]
rest_url = "{rest}"
streams_url = "{streams}"
api_url = "{api}"
key_file = "credential:key"

[risk]
policy = "demo"

[[strategies]]
name = "maker"
plugin = "hft.strategy.maker:Maker"
symbols = ["BTCUSDT"]
parameters = {{ quote_notional = "120", position_notional_max = "600" }}
"""
READY_S: Final = 60.0
FIRST_UID: Final = 61_000
PROGRAM = Path(sys.executable).resolve()
PLACES = (PROGRAM, *PROGRAM.parents)


@pytest.fixture
def venue() -> Iterator[DemoVenue]:
    account = AccountConfig(api_key=KEY, secret=SECRET, wallet="10000")
    config = VenueConfig(symbols=SYMBOLS, accounts=(account,), frames_per_s=50)
    with running_venue(config, os.sched_getaffinity(0)) as running:
        yield running


class Host:
    """What systemd is to the units: it starts single roles and hears what they tell."""

    def __init__(
        self, root: Path, name: str, venue: DemoVenue, project_root: Path,
        run_hft: Callable[..., tuple[int, str, str]],
    ) -> None:  # fmt: skip
        self.root = root
        self.name = name
        self.run_dir = root / "run" / name
        self.credentials = root / "credentials"
        self.credentials.mkdir()
        (self.credentials / "key").write_text(f"{KEY}\n{SECRET}\n")
        self.path = root / "hft.toml"
        self.path.write_text(
            SETTINGS.format(
                name=name,
                root=root,
                rest=venue.rest_url,
                streams=venue.streams_url,
                api=venue.api_url,
            )
        )
        self.owners: dict[str, int] = {}
        self.roles: dict[str, subprocess.Popen[bytes]] = {}
        self._project_root, self._run_hft = project_root, run_hft
        self._heard: dict[str, socket.socket] = {}

    @property
    def config(self) -> Config:
        return config_file.load(self.path)

    @property
    def public_environment(self) -> dict[str, str]:
        return {**os.environ, "HFT_RUN_DIR": str(self.root / "run")}

    @property
    def environment(self) -> dict[str, str]:
        return {**self.public_environment, "CREDENTIALS_DIRECTORY": str(self.credentials)}

    def hft(self, *arguments: str) -> tuple[int, str, str]:
        return self._run_hft(*arguments, environment=self.environment)

    def make(self) -> None:
        """What hft-shm.service does."""
        exit_code, out, err = self.hft("shm", "create", str(self.path))
        assert exit_code == 0, err
        assert "segments" in out

    def make_owned(self) -> None:
        """The same, with a user for every role and for who trades by hand."""
        names = (*ROLES, *OPTIONAL_ROLES, "control")
        self.owners = {name: FIRST_UID + number for number, name in enumerate(names)}
        os.environ["CREDENTIALS_DIRECTORY"] = str(self.credentials)
        try:
            shm.make(self.config, lambda line: None, self.owners)
        finally:
            del os.environ["CREDENTIALS_DIRECTORY"]

    def hft_as(self, user: str, *arguments: str) -> tuple[int, str, str]:
        """A command of somebody in the group: of ``control``, or of a person."""
        self.owners.setdefault(user, FIRST_UID + len(self.owners))
        return self._run_hft(
            *arguments, environment=self.public_environment,
            prefix=self._as_user(user, is_person=True), umask=0o022,
        )  # fmt: skip

    def start(self, role: str) -> None:
        """Start a role as its unit does: as its user, with a socket for what it tells."""
        path = self.root / f"notify.{role}"
        path.unlink(missing_ok=True)
        heard = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        heard.bind(str(path))
        path.chmod(0o777)
        heard.settimeout(READY_S)
        if role in self._heard:
            self._heard[role].close()
        self._heard[role] = heard
        self.roles[role] = subprocess.Popen(
            [
                *self._as_user(role),
                sys.executable,
                "-m",
                "hft.cli",
                "run",
                role,
                "--name",
                self.name,
            ],
            cwd=self._project_root,
            env={
                **(self.environment if role in SIGNING_ROLES else self.public_environment),
                "NOTIFY_SOCKET": str(path),
            },
            umask=0o027,
            start_new_session=True,
        )

    def _as_user(self, role: str, *, is_person: bool = False) -> list[str]:
        """As systemd does it; a person has a group of his own, and is a member of the roles'."""
        if role not in self.owners:
            return []
        uid, group = self.owners[role], os.getegid()
        groups = [f"--regid={group}", "--clear-groups"]
        if is_person:
            groups = [f"--regid={uid}", f"--groups={group}"]
        command = ["setpriv", f"--reuid={uid}", *groups, "--inh-caps=-all"]
        if not all(place.stat().st_mode & 0o001 for place in PLACES):
            # The interpreter lies in somebody's home: let the user read, but not write, anywhere.
            command[-1] = "--inh-caps=-all,+dac_read_search"
            command.append("--ambient-caps=-all,+dac_read_search")
        return command

    def hear(self, role: str, wanted: str) -> None:
        """Wait until the role tells that."""
        while wanted not in self._heard[role].recv(4096).decode().split("\n"):
            assert self.roles[role].poll() in (None, 0), f"{role} has failed"

    def stop(self, role: str) -> int:
        """Stop a role as systemd does; returns its exit code."""
        heard = self._heard[role]
        while select.select([heard], [], [], 0)[0]:  # a full queue takes nothing more
            heard.recv(4096)
        self.roles[role].send_signal(signal.SIGTERM)
        self.hear(role, "STOPPING=1")
        return self.roles[role].wait(READY_S)

    def start_all(self, roles: tuple[str, ...] = ROLES) -> None:
        for role in roles:
            self.start(role)
        for role in roles:
            self.hear(role, "READY=1")

    def kill_all(self) -> None:
        for process in self.roles.values():
            if process.poll() is None:
                process.send_signal(signal.SIGKILL)
            process.wait()

    def close(self) -> None:
        self.kill_all()
        for heard in self._heard.values():
            heard.close()
        shm.remove(self.root / "run", None, lambda line: None)


@pytest.fixture
def host(
    system_name: str, venue: DemoVenue, project_root: Path,
    run_hft: Callable[..., tuple[int, str, str]],
) -> Iterator[Host]:  # fmt: skip
    with tempfile.TemporaryDirectory(prefix="hft-host-") as root:
        Path(root).chmod(0o755)  # other users have to get at it
        one = Host(Path(root), system_name, venue, project_root, run_hft)
        yield one
        one.close()
