"""The units as `make install` puts them: systemd accepts them, and they give little away."""

import re
import shutil
import subprocess
from configparser import RawConfigParser
from pathlib import Path

import pytest

from hft import config_file
from hft.graph import OPTIONAL_ROLES, ROLES

NEEDS_SYSTEMD = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="needs systemd-analyze"
)
OFFLINE, ONLINE, CREATOR = 10, 20, 25
"""Highest exposure allowed, in tenths: without a network, with one, and who gives segments away."""
EXPOSURES = {
    "hft-risk": OFFLINE,
    "hft-strategy@strategy": OFFLINE,
    "hft-paper": OFFLINE,
    "hft-recorder": OFFLINE,
    "hft-arm": OFFLINE,
    "hft-feed": ONLINE,
    "hft-execution": ONLINE,
    "hft-account": ONLINE,
    "hft-metrics": ONLINE,
    "hft-shm": CREATOR,
    "hft-emergency-cancel": ONLINE,
}
UNIT_OF_ROLE = {role: f"hft-{role}" for role in (*ROLES, *OPTIONAL_ROLES)} | {
    "strategy": "hft-strategy@"
}
OTHER_UNITS = ("hft-shm", "hft-arm", "hft-metrics", "hft-emergency-cancel")


class Installed:
    """What was installed: below ``root`` as a package would hold it."""

    def __init__(self, project_root: Path, root: Path) -> None:
        self.project_root = project_root
        self.prefix = root / "prefix"
        self.package = root / "package"
        self.tree = Path(f"{self.package}{self.prefix}")
        self.units = self.tree / "lib" / "systemd" / "system"

    def make(self, target: str) -> None:
        places = (f"PREFIX={self.prefix}", f"DESTDIR={self.package}")
        subprocess.run(["make", "-s", target, *places], cwd=self.project_root, check=True)

    def analyze(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["systemd-analyze", *arguments],
            env={"SYSTEMD_UNIT_PATH": f"{self.units}:", "PATH": "/usr/bin:/bin"},
            capture_output=True,
            text=True,
            check=False,
        )

    def unit(self, name: str) -> dict[str, list[str]]:
        """Settings of a unit and its drop-ins, as systemd merges them; lists are kept whole."""
        stem, at, _ = name.partition("@")
        drop_ins = [*self.units.glob(f"{stem}{at}.service.d/*.conf")]
        drop_ins += self.units.glob(f"hft-{at}.service.d/*.conf")
        found: dict[str, list[str]] = {}
        for path in [self.units / f"{stem}{at}.service", *sorted(drop_ins, key=lambda p: p.name)]:
            for line in path.read_text().splitlines():
                key, equals, value = line.partition("=")
                if equals and not line.startswith("#"):
                    found.setdefault(key, []).append(value)
        return found

    def files(self) -> set[str]:
        return {str(path.relative_to(self.package)) for path in self.package.rglob("*.*")
                if path.is_file()}  # fmt: skip


@pytest.fixture(scope="module")
def installed(project_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    one = Installed(project_root, tmp_path_factory.mktemp("install"))
    one.make("install-units")
    programs = one.prefix / "lib" / "hft" / "venv" / "bin"
    programs.mkdir(parents=True)
    (programs / "python").symlink_to("/bin/true")  # systemd-analyze wants to see a program there
    return one


@NEEDS_SYSTEMD
@pytest.mark.parametrize("unit", ["hft.target", *(f"{name}.service" for name in EXPOSURES)])
def test_systemd_finds_nothing_wrong(installed: Installed, unit: str) -> None:
    done = installed.analyze("verify", "--man=no", str(installed.units / unit))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@NEEDS_SYSTEMD
@pytest.mark.parametrize(("unit", "limit"), EXPOSURES.items())
def test_exposure_stays_low(installed: Installed, unit: str, limit: int) -> None:
    path = installed.units / f"{unit}.service"
    done = installed.analyze("security", "--offline=true", f"--threshold={limit}", str(path))
    told = re.search(r"Overall exposure level for .*: ([0-9.]+)", done.stdout)
    assert told is not None, done.stderr
    assert float(told[1]) <= limit / 10
    assert done.returncode == 0, done.stderr


def test_every_role_has_a_unit_and_the_target_wants_it(installed: Installed) -> None:
    target = (installed.units / "hft.target").read_text()
    for role, unit in UNIT_OF_ROLE.items():
        settings = installed.unit(unit)
        instance = "%i" if unit.endswith("@") else role
        assert settings["ExecStart"][0].endswith(f" run {instance}")
        assert settings["User"] == [f"hft-{role}"]
        name = f"{unit}strategy" if unit.endswith("@") else unit
        assert f"{name}.service" in target


@pytest.mark.parametrize("role", UNIT_OF_ROLE)
def test_roles_are_watched_and_their_end_cancels_the_orders(
    installed: Installed, role: str
) -> None:
    settings = installed.unit(UNIT_OF_ROLE[role])
    assert settings["Type"] == ["notify"]
    assert settings["WatchdogSec"] == ["2s"]
    assert settings["WatchdogSignal"] == ["SIGKILL"]
    assert settings["StartLimitBurst"] == ["3"]
    if role in OPTIONAL_ROLES:
        assert "OnFailure" not in settings  # no live order hangs on them
    else:
        assert settings["OnFailure"] == ["hft-emergency-cancel.service"]


def test_an_optional_role_starts_where_the_plan_has_it(installed: Installed) -> None:
    for role in OPTIONAL_ROLES:
        settings = installed.unit(UNIT_OF_ROLE[role])
        assert settings["ConditionPathExistsGlob"] == [f"/run/hft/*/{role}.planned"]


def test_who_arms_waits_for_every_role(installed: Installed) -> None:
    after = " ".join(installed.unit("hft-arm")["After"])
    for unit in UNIT_OF_ROLE.values():
        assert f"{unit}strategy.service" in after if unit.endswith("@") else f"{unit}.service"
    assert installed.unit("hft-arm")["RemainAfterExit"] == ["yes"]  # once, whoever starts again


def test_each_unit_writes_only_where_it_has_to(installed: Installed) -> None:
    writes = {unit: set(" ".join(installed.unit(unit)["ReadWritePaths"]).split())
              for unit in (*UNIT_OF_ROLE.values(), *OTHER_UNITS)}  # fmt: skip
    assert all("/run/hft" in paths for paths in writes.values())
    assert writes["hft-strategy@"] == {"/run/hft", "-/var/lib/hft/default/strategies"}
    for unit in ("hft-risk", "hft-paper", "hft-emergency-cancel"):
        assert writes[unit] == {"/run/hft"}
    for unit in ("hft-recorder", "hft-arm", "hft-shm"):
        assert "/var/lib/hft" in writes[unit]


def test_operators_may_become_only_who_trades_by_hand(installed: Installed) -> None:
    path = installed.package / "etc" / "sudoers.d" / "hft"
    assert path.stat().st_mode & 0o777 == 0o440  # else sudo does not read it
    rules = [line for line in path.read_text().splitlines() if line.startswith("%")]
    assert len(rules) == 1
    who, _, commands = rules[0].partition(" NOPASSWD: ")
    assert who == "%hft-operators ALL=(hft-control)"
    for command in commands.split(", "):
        assert re.fullmatch(rf"{installed.prefix}/bin/hft (order|monitor) \*", command)
    if shutil.which("visudo") is not None:
        done = subprocess.run(["visudo", "-cf", path], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("unit", [*UNIT_OF_ROLE.values(), "hft-shm", "hft-emergency-cancel"])
def test_shared_memory_survives_what_systemd_tidies_up(installed: Installed, unit: str) -> None:
    settings = installed.unit(unit)
    assert settings["RemoveIPC"] == ["no"]
    assert settings["Group"] == ["hft"]
    assert "HFT_BOOT_ID=%b" in settings["Environment"][0]
    assert not {"DynamicUser", "PrivateIPC", "PrivateUsers"} & settings.keys()


def test_only_who_signs_is_given_a_key(installed: Installed) -> None:
    given = {unit for unit in (*UNIT_OF_ROLE.values(), "hft-shm", "hft-emergency-cancel")
             if "LoadCredential" in installed.unit(unit)}  # fmt: skip
    assert given == {"hft-execution", "hft-account", "hft-shm", "hft-emergency-cancel"}


def test_alpha_stops_before_the_orders_and_those_before_their_books(installed: Installed) -> None:
    """systemd stops in the reverse of After=."""
    assert "hft-execution.service" in installed.unit("hft-strategy@")["After"][0]
    for later in ("risk", "account", "recorder"):
        assert f"hft-{later}.service" in installed.unit("hft-execution")["After"][0]
    for unit in UNIT_OF_ROLE.values():
        settings = installed.unit(unit)
        assert "hft-shm.service" in settings["After"][0]
        assert settings["Requires"] == ["hft-shm.service"]
        assert settings["PartOf"] == ["hft.target"]


def test_every_user_of_a_unit_is_a_system_user(installed: Installed) -> None:
    lines = (installed.tree / "lib" / "sysusers.d" / "hft.conf").read_text().splitlines()
    users = {line.split()[1] for line in lines if line.startswith("u ")}
    units = (*UNIT_OF_ROLE.values(), *OTHER_UNITS)
    wanted = {installed.unit(unit)["User"][0] for unit in units}
    assert users == wanted - {"root"}


@pytest.mark.skipif(shutil.which("systemd-sysusers") is None, reason="needs systemd-sysusers")
def test_users_can_be_made(installed: Installed, tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    conf = installed.tree / "lib" / "sysusers.d" / "hft.conf"
    done = subprocess.run(
        ["systemd-sysusers", f"--root={tmp_path}", conf],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "not a valid" not in done.stderr
    names = [line.split(":")[0] for line in (tmp_path / "etc" / "passwd").read_text().splitlines()]
    assert {f"hft-{role}" for role in (*ROLES, *OPTIONAL_ROLES, "control")} <= set(names)
    groups = dict(line.split(":", 1) for line in (tmp_path / "etc" / "group").read_text().split())
    assert groups["hft"].endswith(":hft-control")
    assert groups["hft-operators"].endswith(":")  # nobody, until somebody is let in


def test_example_settings_hold_and_name_the_credentials_of_the_units(
    installed: Installed,
) -> None:
    config = config_file.load(installed.package / "etc" / "hft" / "hft.toml.example")
    assert (config.system.topology, config.system.mode) == ("dedicated", "live")
    for unit in ("hft-execution", "hft-account", "hft-shm", "hft-emergency-cancel"):
        identity, _, directory = installed.unit(unit)["LoadCredential"][0].partition(":")
        assert directory.startswith("/etc/hft/credentials/")
        for named in (config.venue.key_file, config.venue.private_key_file):
            assert named.startswith(f"credential:{identity}_")


def test_tuned_profile_and_sysctl_are_well_formed(installed: Installed) -> None:
    profile = RawConfigParser(delimiters="=")
    profile.read(installed.package / "etc" / "tuned" / "hft" / "tuned.conf")
    assert profile["main"]["include"] == "cpu-partitioning"
    for line in (installed.tree / "lib" / "sysctl.d" / "60-hft.conf").read_text().splitlines():
        assert not line or line.startswith("#") or re.fullmatch(r"[a-z0-9_.]+ = \d+", line)


def test_uninstall_takes_back_what_install_made(project_root: Path, tmp_path: Path) -> None:
    one = Installed(project_root, tmp_path)
    one.make("install-units")
    assert len(one.files()) > 15
    (one.package / "etc" / "hft" / "hft.toml").write_text("symbols = []\n")
    one.make("uninstall")
    assert one.files() == {"etc/hft/hft.toml"}
