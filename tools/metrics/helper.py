"""The metrics process as a part of a system that is started: begun with it, ended with it."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Final

from hft.config import Plan
from tools.system import endpoint
from tools.system.child import python_command, python_environment

END_S_MAX: Final = 5.0
SERVE_S_MAX: Final = 10.0
LOOK_S: Final = 0.05


class Helper:
    """A metrics process beside a system; as a context it ends when the block does."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None

    def start(
        self,
        plan: Plan,
        add_helper: Callable[[str, int], None],
        *,
        port: int | None = None,
        is_quiet: bool = False,
    ) -> None:
        """Start it and note it as the supervisor's helper.

        Args:
            plan: the system.
            add_helper: told name and process id, so that `hft down` finds it when we are gone.
            port: overrides the settings; 0: any free one.
            is_quiet: say nothing on the terminal.
        """
        arguments = ["--name", plan.name, "--run-dir", os.path.dirname(plan.run_dir)]
        arguments += ["--parent", str(os.getpid())]
        arguments += ["--port", str(port)] if port is not None else []
        arguments += ["--quiet"] if is_quiet else []
        self._process = subprocess.Popen(
            python_command("hft.cli", "metrics", *arguments),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            env=python_environment(),
            start_new_session=True,
        )
        add_helper("metrics", self._process.pid)

    def wait_until_served(self, plan: Plan, step: Callable[[float], None]) -> str:
        """Address of the metrics once they are served; empty: they are not, or not in time.

        Args:
            plan: the system.
            step: looks after everything else for so many seconds.
        """
        run_dir = Path(plan.run_dir)
        deadline = time.monotonic() + SERVE_S_MAX
        while not (url := endpoint.url_of(run_dir)):
            is_over = self._process is None or self._process.poll() is not None
            if is_over or time.monotonic() > deadline:
                return ""
            step(LOOK_S)
        return url

    def __enter__(self) -> Helper:
        """Nothing runs yet."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End the process and wait for it."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(END_S_MAX)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
