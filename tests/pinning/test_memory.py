"""Pages that are there before they are touched. Each process of its own: memory is filled once."""

from __future__ import annotations

import json
import subprocess
import sys

from pinning.memory import LARGE_BYTES, mappings_to_fill

TOUCH = """
import ctypes, json, mmap, os, resource, sys
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
room = mmap.mmap(-1, 1 << 20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
held = bytearray(1 << 19)
parent, child = os.pipe()
if os.fork():
    os.wait()
    print(os.read(parent, 100).decode())
    sys.exit()
import pinning
filled = pinning.fill_memory() if {fills} else 0
before = faults()
for at in range(0, len(room), 4096):
    room[at] = 1
for at in range(0, len(held), 4096):
    held[at] = 1
os.write(child, json.dumps([filled, faults() - before]).encode())
"""


def filled_and_faults(*, fills: bool) -> tuple[int, int]:
    done = subprocess.run(
        [sys.executable, "-c", TOUCH.format(fills=fills)],
        capture_output=True,
        text=True,
        check=True,
    )
    filled, faults = json.loads(done.stdout)
    return filled, faults


def test_a_forked_process_waits_for_no_page_once_its_memory_is_filled() -> None:
    filled, faults = filled_and_faults(fills=True)
    _, usual = filled_and_faults(fills=False)
    assert usual >= 256 + 128
    if filled:  # the kernel knows how: Linux 5.14
        assert faults < 32


SMAPS = f"""\
00001000-00002000 rw-p 00000000 00:00 0    /lib/x.so
Size:                  4 kB
Rss:                   0 kB
00002000-00003000 r-xp 00000000 00:00 0
Rss:                   4 kB
00003000-00004000 rw-s 00000000 00:00 0    /dev/shm/ring
Rss:                   4 kB
10000000-{0x10000000 + 2 * LARGE_BYTES:08x} rw-p 00000000 00:00 0
Rss:                   8 kB
20000000-{0x20000000 + 2 * LARGE_BYTES:08x} rw-p 00000000 00:00 0
Rss:                {LARGE_BYTES // 1024 + 4} kB
30000000-{0x30000000 + 2 * LARGE_BYTES:08x} rw-p 00000000 00:00 0    [heap]
Rss:                   0 kB
"""


def test_stacks_and_room_for_later_are_left_as_they_are() -> None:
    assert list(mappings_to_fill(SMAPS)) == [
        (0x1000, 0x1000),
        (0x20000000, 2 * LARGE_BYTES),
        (0x30000000, 2 * LARGE_BYTES),
    ]
