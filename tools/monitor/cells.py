"""Cells as plain values, made again only when they were written."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

import ipc
from ipc import CellContendedError

Thing = TypeVar("Thing")


class Cells(Generic[Thing]):
    """What cells were made into, until they are written again."""

    def __init__(self, reader: ipc.CellReader, make: Callable[[int], Thing | None]) -> None:
        """``make`` gets the number of the cell that was read into the reader's buffer."""
        self._reader, self._make = reader, make
        self._known: dict[int, tuple[int, Thing | None]] = {}

    def at(self, index: int) -> Thing | None:
        """What stands in a cell; None: nothing, or nothing that counts."""
        version = self._reader.version(index)  # before the value, which may then only be younger
        known = self._known.get(index)
        if known is not None and known[0] == version:
            return known[1]
        try:
            is_there = self._reader.read(index)
        except CellContendedError:  # its writer is faster than we are: the next look may read it
            return known[1] if known is not None else None
        thing = self._make(index) if is_there else None
        self._known[index] = version, thing
        return thing

    def replace(self, index: int, thing: Thing) -> None:
        """The same value with another age."""
        self._known[index] = self._known[index][0], thing

    def forget(self) -> None:
        """Make all of them again: what they refer to has changed."""
        self._known.clear()
