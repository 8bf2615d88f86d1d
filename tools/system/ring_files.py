"""How far the rings of a system are, without mapping them: megabytes for a look at one word."""

from __future__ import annotations

import contextlib
import os

import ipc
from hft.graph import RINGS
from ipc.layout import PUBLISHED_OFFSET
from ipc.segment import SHM_DIRECTORY, object_name


class RingFiles:
    """The files of all rings, open for reading."""

    def __init__(self, system: str) -> None:
        """Open them.

        Raises:
            SegmentMissingError: the system has not all of them, or is not there.
        """
        with contextlib.ExitStack() as stack:
            self._descriptors = {ring.name: _open(system, ring.name, stack) for ring in RINGS}
            self._closing = stack.pop_all()

    def newest_seq(self, ring: str) -> int:
        """How many records were published in a ring so far."""
        return int.from_bytes(os.pread(self._descriptors[ring], 8, PUBLISHED_OFFSET), "little")

    def close(self) -> None:
        """Close them."""
        self._closing.close()


def _open(system: str, ring: str, stack: contextlib.ExitStack) -> int:
    path = SHM_DIRECTORY + object_name(system, ring)
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        raise ipc.SegmentMissingError(
            ring, f"system {system!r} has none of that name", remedy="`hft up` starts a system"
        ) from None
    stack.callback(os.close, descriptor)
    return descriptor
