"""The system that is looked at: attached when it is there, let go when it goes away."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import ipc
from hft.config import Plan
from hft.errors import HftError
from hft.roles.context import PERMIT_SPEC
from tools.monitor.attached import Attached
from tools.system.placement import keep_off_hot_cpus
from tools.system.places import find_running
from tools.system.status import Looker

ABSENT: Final = (HftError, ipc.IpcError, OSError)
"""Why a system cannot be attached to: it is not there, is being made or removed, or is not ours."""


class View:
    """One life of a system, mapped for reading."""

    def __init__(self, run_dir: Path) -> None:
        """Attach.

        Raises:
            HftError, IpcError, OSError: it is not there, or not whole.
        """
        self.run_dir: Final = run_dir
        with contextlib.ExitStack() as stack:
            self.attached: Final = Attached(run_dir)
            stack.callback(self.attached.close)
            self.plan: Final[Plan] = self.attached.plan
            permit = ipc.Segment.attach(self.plan.name, PERMIT_SPEC)
            stack.callback(permit.close)
            self.permit: Final = ipc.Word(permit)
            self.looker: Final = Looker(run_dir)
            stack.callback(self.looker.close)
            self._closing = stack.pop_all()

    def close(self) -> None:
        """Detach."""
        self._closing.close()


class Watched:
    """A system by its name, through all its lives; used by several threads, one at a time.

    Memory that was mapped stays readable when the system removes its segments, so that a look at
    one that goes away sees its last state and nothing worse.
    """

    def __init__(
        self, root: Path, name: str | None, on_attach: Callable[[View], None] | None = None
    ) -> None:
        self._root, self._name = root, name
        self._on_attach = on_attach
        self._lock = threading.Lock()
        self._view: View | None = None
        self._why_absent = ""

    @contextlib.contextmanager
    def view(self) -> Iterator[View | None]:
        """The system as long as the block runs; None: it is not there now."""
        with self._lock:
            if self._view is not None and not self._view.attached.is_current:
                self._detach()
            if self._view is None:
                self._attach()
            yield self._view

    def _attach(self) -> None:
        try:
            self._view = View(find_running(self._root, self._name))
        except ABSENT as error:
            self._why_absent = getattr(error, "message", str(error))
            return
        self._name = self._view.plan.name  # from now on this one, however many run
        keep_off_hot_cpus(self._view.plan)
        if self._on_attach is not None:
            self._on_attach(self._view)

    def _detach(self) -> None:
        assert self._view is not None
        self._view.close()
        self._view = None

    def problems(self) -> tuple[str, ...]:
        """What is wrong, as `hft status` judges; empty: the system is well."""
        with self.view() as view:
            return (self._why_absent,) if view is None else view.looker.look().problems

    def close(self) -> None:
        """Detach."""
        with self._lock:
            if self._view is not None:
                self._detach()
