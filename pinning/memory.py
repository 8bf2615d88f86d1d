"""Memory that is there before it is needed: later nothing waits for the kernel to find a page.

A process made by a fork server shares its memory with it: the first write to each page copies it.
What was allocated and never written has no page at all. Either costs the first who comes by a
microsecond or two, and 40 to 160 in a virtual machine whose host has to find the page as well.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from pathlib import Path
from typing import Final

MADV_POPULATE_WRITE: Final = 23
"""Linux 5.14 and later: as if each page were written now."""
M_TRIM_THRESHOLD: Final = -1
M_TOP_PAD: Final = -2
M_MMAP_THRESHOLD: Final = -3
"""Parameters of ``mallopt`` (glibc)."""
HEAP_SPARE_BYTES: Final = 4 << 20
"""By so much the heap grows at once, and so much of it is there from the beginning."""
LARGE_BYTES: Final = 2 << 20
"""A mapping beyond this of which less than half is there is a thread's stack, or room kept for
later: it is left as it is."""


def fill_memory() -> int:
    """Give the process, at the end of its start, every page it may write to; returns bytes.

    The heap gets a spare part and never gives anything back. Best effort: where the C library or
    the kernel do not know how, pages come as they are touched.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    mallopt = getattr(libc, "mallopt", None)
    if mallopt is not None:
        mallopt(M_TRIM_THRESHOLD, 1 << 30)
        mallopt(M_TOP_PAD, HEAP_SPARE_BYTES)
        mallopt(M_MMAP_THRESHOLD, HEAP_SPARE_BYTES)
        libc.malloc.restype = ctypes.c_void_p
        libc.free.argtypes = [ctypes.c_void_p]
        libc.free(libc.malloc(ctypes.c_size_t(HEAP_SPARE_BYTES - (64 << 10))))
    try:
        smaps = Path("/proc/self/smaps").read_text()
    except OSError:  # a sandbox may hide it
        return 0
    return sum(
        size
        for address, size in mappings_to_fill(smaps)
        if not libc.madvise(ctypes.c_void_p(address), ctypes.c_size_t(size), MADV_POPULATE_WRITE)
    )


def mappings_to_fill(smaps: str) -> Iterator[tuple[int, int]]:
    """Address and bytes of each private mapping that may be written, and is meant to be full."""
    address = size = 0
    is_heap = False
    for line in smaps.splitlines():
        name, *rest = line.split()
        if not name.endswith(":"):
            first, last = (int(part, 16) for part in name.split("-"))
            address, size = first, last - first if rest[0] == "rw-p" else 0
            is_heap = rest[-1] == "[heap]"
        elif name == "Rss:" and size:
            is_used = size <= LARGE_BYTES or 2 * 1024 * int(rest[0]) >= size
            if is_heap or is_used:
                yield address, size
