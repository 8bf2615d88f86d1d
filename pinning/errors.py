"""Every error of the ``pinning`` package.

::

    PinningError           what is wrong and where; ``remedy`` says what to do
    ├── CpuListError       text that is not a list of cpus, such as ``0-3,8``
    ├── TopologyError      the host does not say which cpus it has
    └── PlanError          wishes that contradict each other or the host
"""

from __future__ import annotations


class PinningError(Exception):
    """Base of the tree: always something that a person can mend, never a defect of ours."""

    def __init__(self, message: str, *, remedy: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy


class CpuListError(PinningError):
    """Text that the kernel's list format does not allow."""

    def __init__(self, text: str) -> None:
        super().__init__(
            f"{text!r} is not a list of cpus",
            remedy="Write numbers and ranges, for example 2-5,8.",
        )
        self.text = text


class TopologyError(PinningError):
    """``/sys`` lacks what has to be known before anything can be planned."""


class PlanError(PinningError):
    """The requested cpus or the requested wait strategy cannot be had."""
