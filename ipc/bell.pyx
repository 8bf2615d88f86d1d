"""The doorbell of a process, as those see it who wake that process."""

import os
import stat

from libc.stdint cimport uint32_t, uint64_t, uintptr_t
from posix.unistd cimport close

from ipc.atomics cimport fence_seq_cst, fetch_add, load_relaxed_u32

from ipc import layout
from ipc.errors import SegmentFileError, SegmentKindError


def bell_offset(segment, Py_ssize_t index) -> int:
    """Byte offset of bell ``index`` of a BELLS segment.

    Raises:
        SegmentKindError: The segment holds something else than bells.
        IndexError: There is no such bell.
    """
    spec = segment.spec
    if spec.kind != layout.SegmentKind.BELLS:
        raise SegmentKindError(
            spec.name, "the kind", expected="bells", found=spec.kind.name.lower(), remedy=""
        )
    if not 0 <= index < spec.capacity:
        raise IndexError(f"{spec.name} has {spec.capacity} bells, there is no bell {index}")
    return layout.ITEMS_OFFSET + index * spec.item_bytes


cdef class Bell:
    """Wakes process ``index``: rings and cells ring it after they published.

    Args:
        segment: The bells, mapped for writing.
        index: Whose bell; never the caller's own.
        fifo_path: The FIFO of a process that sleeps in an event loop. Without it such a process is
            not woken and finds the work at its next timer.

    Raises:
        ReadOnlyError: The segment is mapped for reading.
    """

    def __init__(self, segment, Py_ssize_t index, fifo_path=None):
        segment.require_writable()
        cdef uintptr_t address = segment.address + <size_t> bell_offset(segment, index)
        self.state.word = <uint32_t*> address
        self.posted = <uint64_t*> (address + <size_t> layout.BELL_POSTED_OFFSET)
        self.state.fifo = -1
        self.state.path = NULL
        if fifo_path is not None:
            self.path = os.fsencode(fifo_path)
            self.state.path = self.path
        self.hold = memoryview(segment.buffer)

    def __dealloc__(self):
        if self.posted != NULL and self.state.fifo >= 0:
            close(self.state.fifo)

    def ring(self) -> None:
        """Wake the process for something that is in no ring: a command, a halt.

        What happened is counted first, so that a process on its way to sleep sees it at its second
        look; otherwise this wake-up could be lost.
        """
        fetch_add(self.posted, 1)
        fence_seq_cst()
        ring_if_parked(&self.state)

    @property
    def is_parked(self) -> bool:
        """Whether the process sleeps, or is about to."""
        return load_relaxed_u32(self.state.word) != AWAKE


def make_fifo(path, int mode=0o660) -> None:
    """Make the FIFO through which an event loop is woken; one that is there is kept.

    Raises:
        SegmentFileError: Something else has that name.
    """
    try:
        os.mkfifo(path, mode)
        os.chmod(path, mode)
    except FileExistsError:
        if not stat.S_ISFIFO(os.lstat(path).st_mode):
            raise SegmentFileError(
                str(path), "this is not a FIFO", remedy="remove it: the name is taken by a file"
            ) from None
