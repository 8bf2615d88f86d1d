"""Checks of what we ourselves put on the host: settings, keys, disk, leftovers, interpreter."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

import ipc
from hft.config import Config
from hft.credentials import PREFIX
from hft.errors import ConfigError
from tools.doctor.finding import Finding, fine, note, problem, warning
from tools.doctor.host import Space
from tools.system.disk import REFUSE_BYTES_MAX, REFUSE_SHARE, WARN_BYTES_MAX, WARN_SHARE
from tools.system.places import known_systems

READABLE_BY_GROUP: Final = stat.S_IRWXG
READABLE_BY_ALL: Final = stat.S_IRWXO
PYTHON_MIN: Final = (3, 11)


class Interpreter(msgspec.Struct, frozen=True, kw_only=True):
    """How the Python that runs this was built."""

    version: tuple[int, int, int]
    is_debug: bool
    is_optimised: bool
    """Profile-guided optimisation was on."""


@dataclass(frozen=True, kw_only=True)
class Installation:
    """One system on this host, as its settings name it."""

    interpreter: Interpreter
    run_root: Path
    state_dir: Path
    state_space: Space | None
    """Room on the disk of the state directory; None: the disk cannot be found."""
    config: Config | None = None
    """None: there are no settings, or they do not hold."""
    config_path: Path | None = None
    config_error: ConfigError | None = None
    plan_problem: tuple[str, str] = ("", "")
    """Why the cpus that are configured cannot be had, and what to do."""
    segment_systems: tuple[str, ...] = ()
    """Systems that have shared memory."""
    mapped_systems: frozenset[str] = frozenset()
    """Systems whose shared memory some process uses."""


def settings(found: Installation) -> Iterator[Finding]:
    """Do the settings hold?"""
    if found.config_error is not None:
        for text in found.config_error.problems:
            what, _, remedy = text.partition("\n")
            yield problem("settings", what, remedy, f"hft config validate {found.config_path}")
    elif found.config is None:
        yield note(
            "settings",
            "no settings file: judged for the compact topology",
            "hft doctor --config FILE judges for yours; ./hft.toml and /etc/hft/hft.toml are found"
            " by themselves.",
        )
    else:
        yield fine("settings", f"{found.config_path}: the settings hold")
    what, remedy = found.plan_problem
    if what:
        yield problem("cpus", what, remedy, "hft doctor --json  # machine: what there is")


def keys(found: Installation) -> Iterator[Finding]:
    """Can anybody else read the keys?"""
    if found.config is None:
        return
    venue = found.config.venue
    for setting, text in (
        ("venue.key_file", venue.key_file),
        ("venue.private_key_file", venue.private_key_file),
    ):
        if text.startswith(PREFIX):
            yield note("keys", f"{setting}: handed over by systemd when it starts the role")
        elif text:
            yield _key(setting, Path(text))


def _key(setting: str, path: Path) -> Finding:
    try:
        status = path.stat()
    except OSError as error:
        return problem(
            "keys",
            f"{setting} {path}: {(error.strerror or 'cannot be read').lower()}",
            "Without its key the system does not start.",
        )
    mode = f"{stat.S_IMODE(status.st_mode):04o}"
    if status.st_mode & READABLE_BY_ALL:
        return problem(
            "keys",
            f"{path} is open to every user of this host ({mode})",
            "Who reads it can trade with your account.",
            f"chmod 600 {path}",
        )
    if status.st_mode & READABLE_BY_GROUP:
        return warning(
            "keys",
            f"{path} is open to its group ({mode})",
            "Who reads it can trade with your account.",
            f"chmod 600 {path}",
        )
    return fine("keys", f"{path}: only its owner can read it")


def disk(found: Installation) -> Iterator[Finding]:
    """Has the order journal room?"""
    space = found.state_space
    if space is None:
        yield problem(
            "disk",
            f"{found.state_dir}: not to be looked at by this user",
            "The order journal is written there.",
            "# set system.state_dir to a directory of this user, or run as the user of the system",
        )
        return
    room = f"{space.free / 2**30:,.1f} GB of {space.total / 2**30:,.1f} GB are free"
    fact = f"disk of {found.state_dir}: {room}"
    why = "The order journal is written there; `hft up` refuses to start on a full disk."
    fix = f"sudo du -xh --max-depth=2 {_existing(found.state_dir)} | sort -h | tail"
    if space.free < min(REFUSE_SHARE * space.total, REFUSE_BYTES_MAX):
        yield problem("disk", fact, why, fix)
    elif space.free < min(WARN_SHARE * space.total, WARN_BYTES_MAX):
        yield warning("disk", fact, why, fix)
    else:
        yield fine("disk", fact)


def leftovers(found: Installation) -> Iterator[Finding]:
    """What did dead systems leave behind?"""
    known = known_systems(found.run_root)
    dead = [name for name in known if not _is_alive(found.run_root / name)]
    lost = [
        name
        for name in found.segment_systems
        if name not in known and name not in found.mapped_systems
    ]
    for name in dead:
        yield warning(
            "leftovers",
            f'"{name}" left its run directory, and nothing of it runs',
            "The next start of that name clears it away; until then its memory is taken.",
            f"hft down --name {name}",
        )
    for name in lost:
        yield warning(
            "leftovers",
            f'"{name}" left shared memory that no process uses',
            "It takes room in /dev/shm until the next boot.",
            f"rm /dev/shm/hft.{name}.*",
        )
    if not dead and not lost:
        running = f"; running: {', '.join(known)}" if known else ""
        yield fine("leftovers", f"nothing was left behind by dead systems{running}")


def _is_alive(run_dir: Path) -> bool:
    roles = (path.stem for path in run_dir.glob("*.lock"))
    return any(ipc.lock_holder(run_dir, role) is not None for role in roles)


def python(found: Installation) -> Iterator[Finding]:
    """Is the interpreter a fast one?"""
    built = found.interpreter
    name = "Python " + ".".join(map(str, built.version))
    if built.version < PYTHON_MIN:
        yield problem("python", f"{name} is too old", "Needed is 3.11 or newer.")
    elif built.is_debug:
        yield warning(
            "python",
            f"{name} is a debug build",
            "It runs at a third of the speed.",
            "make distclean && make build PYTHON=/usr/bin/python3",
        )
    elif not built.is_optimised:
        yield warning(
            "python",
            f"{name} was built without optimisation",
            "Builds with --enable-optimizations --with-lto, or those of a distribution, run"
            " plug-ins 10 to 20 % faster. The compiled parts do not change.",
            "make distclean && make build PYTHON=/usr/bin/python3",
        )
    else:
        yield fine("python", f"{name}, an optimised build")


def space_of(path: Path) -> Space | None:
    """Room for the calling user in the file system of a path that need not be there yet."""
    try:
        status = os.statvfs(_existing(path))
    except OSError:
        return None
    return Space(status.f_frsize * status.f_blocks, status.f_frsize * status.f_bavail)


def mapped_systems(proc: Path) -> frozenset[str]:
    """Systems whose shared memory is mapped by a process that we may look at."""
    found: set[str] = set()
    for maps in proc.glob("[0-9]*/maps"):
        try:
            text = maps.read_text(errors="replace")
        except OSError:
            continue  # it has ended meanwhile, or belongs to another user
        found.update(part.split(".", 1)[0] for part in text.split("/dev/shm/hft.")[1:])
    return frozenset(found)


def _existing(path: Path) -> Path:
    while not path.exists() and path != path.parent:
        path = path.parent
    return path


CHECKS: Final[tuple[Callable[[Installation], Iterable[Finding]], ...]] = (
    settings,
    keys,
    disk,
    leftovers,
    python,
)
