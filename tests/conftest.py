"""Fixtures that every test may use: names of its own, ports of its own, and nothing left behind."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, settings

# A shared or slow machine is no failure of the code; the build server repeats the same examples.
settings.register_profile(
    "project",
    deadline=None,
    derandomize="CI" in os.environ,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("project")

# Who is started in the background of a script inherits an ignored Ctrl-C, and would pass it on.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

ROOT = Path(__file__).resolve().parent.parent
SHM = Path("/dev/shm")


@pytest.fixture(scope="session")
def project_root() -> Path:
    """The checkout."""
    return ROOT


@pytest.fixture(scope="session")
def run_hft(project_root: Path) -> Callable[..., tuple[int, str, str]]:
    """Runs ``hft ARGUMENTS`` from the checkout: exit code, output, errors.

    ``environment`` is all of it; ``prefix`` stands before the command, ``umask`` is its own.
    """

    def run(
        *arguments: str, environment: Mapping[str, str], prefix: Sequence[str] = (),
        umask: int = -1,
    ) -> tuple[int, str, str]:  # fmt: skip
        done = subprocess.run(
            [*prefix, sys.executable, "-m", "hft.cli", *arguments],
            cwd=project_root,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
            umask=umask,
        )
        return done.returncode, done.stdout, done.stderr

    return run


@pytest.fixture
def system_name() -> Iterator[str]:
    """A system name that nobody else uses; the test fails if it leaves a segment of that name."""
    name = f"t-{os.getpid()}-{uuid4().hex[:8]}"
    yield name
    left = sorted(path.name for path in SHM.glob(f"hft.{name}.*"))
    for segment in left:
        (SHM / segment).unlink(missing_ok=True)
    assert not left, f"the test left shared memory behind: {', '.join(left)}"


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    """An empty run directory: lock files, FIFOs, halt file."""
    path = tmp_path / "run"
    path.mkdir()
    return path


@pytest.fixture
def free_ports() -> Callable[[int], list[int]]:
    """Ask for that many TCP ports of 127.0.0.1 which nobody listens on, all different."""

    def find(count: int) -> list[int]:
        with ExitStack() as stack:
            sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
            for one in sockets:
                one.bind(("127.0.0.1", 0))
            return [one.getsockname()[1] for one in sockets]

    return find


@pytest.fixture
def free_port(free_ports: Callable[[int], list[int]]) -> int:
    """One TCP port of 127.0.0.1 which nobody listens on."""
    return free_ports(1)[0]


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The recordings beside the checkout; the test is skipped where they are not installed."""
    path = ROOT.parent / "shared" / "data"
    if not (path / "INDEX.md").is_file():
        pytest.skip("needs the recordings of ../shared/data, which are not part of the repository")
    return path
