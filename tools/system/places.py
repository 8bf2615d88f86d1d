"""Where a system lives on disk: its run directory (this boot only) and its state directory.

Each system has a directory of its own name below a root. The run directory holds lock files,
FIFOs, the plan, the supervisor's notes and the halt file; it is removed when the system goes down.
"""

from __future__ import annotations

import os
import shutil
import stat
from pathlib import Path
from typing import Final, NamedTuple

from hft.config import PLAN_FILE, Config
from hft.errors import UnreachableError, UsageError
from ipc import lock_holder

SUPERVISOR: Final = "supervisor"
"""Role name of the supervisor: its lock says whether a system is watched."""
RUN_DIR_VARIABLE: Final = "HFT_RUN_DIR"
RUN_DIR_MODE: Final = 0o750


class Places(NamedTuple):
    """The two directories of one system."""

    name: str
    run_dir: Path
    state_dir: Path


def run_root(setting: str = "") -> Path:
    """Root of the run directories: the setting, else HFT_RUN_DIR, else the usual place."""
    if chosen := setting or os.environ.get(RUN_DIR_VARIABLE, ""):
        return Path(chosen)
    if os.geteuid() == 0:
        return Path("/run/hft")
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    if runtime and os.access(runtime, os.W_OK):
        return Path(runtime) / "hft"
    return Path(f"/tmp/hft-{os.geteuid()}")


def state_root(setting: str = "") -> Path:
    """Root of the state directories: the setting, /var/lib/hft, or the user's state directory."""
    if setting:
        return Path(setting)
    if os.geteuid() == 0:
        return Path("/var/lib/hft")
    home = os.environ.get("XDG_STATE_HOME", "") or Path.home() / ".local" / "state"
    return Path(home) / "hft"


def places_of(config: Config) -> Places:
    """Where the system of these settings lives."""
    system = config.system
    return Places(
        system.name,
        run_root(system.run_dir) / system.name,
        state_root(system.state_dir) / system.name,
    )


def make_run_dir(places: Places) -> None:
    """Make the run directory.

    Raises:
        UsageError: it cannot be made, or the root belongs to somebody else.
    """
    root = places.run_dir.parent
    try:
        root.mkdir(mode=0o755, parents=True, exist_ok=True)
        status = root.lstat()
        if not stat.S_ISDIR(status.st_mode) or status.st_uid not in (os.geteuid(), 0):
            raise UsageError(
                f"{root} is not a directory of yours: somebody else could stand in for it.",
                remedy="Set system.run_dir to a directory that belongs to you.",
            )
        places.run_dir.mkdir(mode=RUN_DIR_MODE, exist_ok=True)
    except OSError as error:
        raise UsageError(
            f"cannot make {error.filename}: {error.strerror}.",
            remedy=f"Set system.run_dir or {RUN_DIR_VARIABLE} to a directory that you may write.",
        ) from None


def make_state_dir(state_dir: Path) -> None:
    """Make the state directory where it is not there yet.

    Raises:
        UsageError: it cannot be made.
    """
    try:
        state_dir.mkdir(mode=0o750, parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(
            f"cannot make {state_dir}: {error.strerror}.",
            remedy="Set system.state_dir to a directory that you may write.",
        ) from None


def write_whole(path: Path, content: bytes) -> None:
    """Write a file whole or not at all, also when the power goes.

    Raises:
        UsageError: it cannot be written; what was there before is there still.
    """
    draft = path.with_name(path.name + ".new")
    try:
        with draft.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except OSError as error:
        draft.unlink(missing_ok=True)
        raise UsageError(
            f"cannot write {path}: {error.strerror}.",
            remedy=f"Make room, or give this user the right to write in {path.parent}.",
        ) from None


def remove_run_dir(run_dir: Path) -> None:
    """Remove the run directory with everything in it, and the root when it is empty then."""
    shutil.rmtree(run_dir, ignore_errors=True)
    if run_dir.parent.name.startswith("hft"):
        try:
            run_dir.parent.rmdir()
        except OSError:
            return  # other systems live there, or it is not ours to remove


def known_systems(root: Path) -> list[str]:
    """Names below the root that a system runs or ran from, sorted."""
    if not root.is_dir():
        return []
    return sorted(
        entry.name
        for entry in root.iterdir()
        if (entry / PLAN_FILE).exists() or (entry / f"{SUPERVISOR}.lock").exists()
    )


def supervisor_pid(run_dir: Path) -> int | None:
    """Process id of the living supervisor; None: nobody watches this system."""
    return lock_holder(run_dir, SUPERVISOR)


def find_running(root: Path, name: str | None) -> Path:
    """Run directory of the system meant: the one named, ``default``, or the only one there is.

    Raises:
        UnreachableError: no system runs, or none of that name.
        UsageError: several run and none is named.
    """
    known = known_systems(root)
    if name is not None:
        if name in known:
            return root / name
        others = (
            f"Running here: {', '.join(known)}." if known else "None runs: `hft up` starts one."
        )
        raise UnreachableError(f'no system "{name}" runs (looked in {root}).', remedy=others)
    if not known:
        raise UnreachableError(
            f"no system runs (looked in {root}).", remedy="`hft up` or `hft demo` starts one."
        )
    if "default" in known:
        return root / "default"
    if len(known) == 1:
        return root / known[0]
    raise UsageError(
        f"several systems run: {', '.join(known)}.", remedy=f"Say which: --name {known[0]}."
    )
