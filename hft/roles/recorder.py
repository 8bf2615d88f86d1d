"""Keeps the order journal on disk. It only looks: nobody waits for it, and nobody rings it.

A disk that refuses does not end the process, as others may live in it: the role is FAILED, says
why in its page, and tries again with a fresh file. Execution sees by ``COPIED_SEQ`` how far the
copy is, and takes no new orders before the ring would overwrite what is not on disk.
"""

from __future__ import annotations

from hft import counters, graph
from hft.counters import RoleState
from hft.records import SLOT_BYTES
from hft.roles.audit_trail import AuditTrail
from hft.roles.context import Context, ring_spec
from hft.roles.journal_copy import JournalCopy
from hft.roles.journal_files import CAPACITY, FOLDER, LAYOUT_HASH, FileHeader
from hft.units import NS_PER_MS
from ipc import RingReader, Segment, layout
from ipc.memory import load_u64

RING = "journal"
CLOSE_S_MAX = 2.0
"""How long the end of the process waits for the disk."""


class Recorder:
    """The journal's copy as a role: starts it, and says how it is."""

    name = "recorder"

    def __init__(self, context: Context) -> None:
        settings = context.config.recorder
        self._page = context.page
        self._segment = Segment.attach(context.plan.name, ring_spec(RING))
        self._newest = RingReader(self._segment, bytearray(SLOT_BYTES))
        self._confirmed = context.page.cursor(graph.cursor_index(RING))
        self._reported_seq = self._confirmed.value
        self._syncs = self._lost = 0
        self._copy = JournalCopy(
            RingReader(self._segment, bytearray(SLOT_BYTES)),
            graph.ring(RING).capacity,
            context.state_dir / FOLDER,
            journal_identity(self._segment, recorder_epoch=context.epoch),
            confirmed_seq=self._reported_seq,
            keep=settings.keep_files,
            sync_s=settings.sync_ms * NS_PER_MS / 1e9,
        )
        context.page.set_gauge(counters.COPIED_SEQ.id, self._reported_seq)
        self._audit = AuditTrail(context)
        self._audited = context.page.cursor(graph.cursor_index("acts"))

    def on_start(self, now_ns: int) -> None:
        """Begin to copy; what the predecessor left is looked at there, as the disk may hang."""
        self._page.state = int(RoleState.RECOVERING)
        self._copy.start()
        self._audit.start()

    def do_work(self, now_ns: int) -> int:
        """Tell how far the copy is; returns how many entries became safe."""
        copy = self._copy
        if copy.crash is not None:
            raise copy.crash
        self._tell_state()
        self._audited.store(self._audit.written_seq)
        if copy.syncs == self._syncs:
            return 0
        syncs, lost, copied_seq = copy.syncs, copy.lost, copy.copied_seq
        count = max(0, copied_seq - self._reported_seq - (lost - self._lost))
        self._confirmed.store(copied_seq)
        self._page.set_gauge(counters.COPIED_SEQ.id, copied_seq)
        self._page.count(counters.COPIED.id, count)
        self._page.count(counters.SYNCS.id, syncs - self._syncs)
        self._page.count(counters.GAPS_COPIED.id, lost - self._lost)
        self._syncs, self._lost, self._reported_seq = syncs, lost, copied_seq
        return count

    def _tell_state(self) -> None:
        """READY while there is a file to write to, FAILED while the disk refuses one."""
        page, error = self._page, self._copy.error
        if error and page.state != RoleState.FAILED:
            page.fail(f"the journal is not copied: {error}")
            page.set_gauge(counters.WAITS.id, 1)  # a restart would not mend the disk
            page.state = int(RoleState.FAILED)
        elif not error and self._copy.is_open and page.state != RoleState.READY:
            page.set_gauge(counters.WAITS.id, 0)
            page.state = int(RoleState.READY)

    def on_stop(self, now_ns: int) -> bool:
        """Whether everything is on disk, or the disk refuses."""
        self._copy.hurry()
        self.do_work(now_ns)
        return bool(self._copy.error) or self._reported_seq >= self._newest.newest_seq

    def on_close(self) -> None:
        """Close the file; a thread that hangs in the disk is left to the end of the process."""
        self._audit.end(CLOSE_S_MAX)
        if self._copy.end(CLOSE_S_MAX):
            self._segment.close()


def journal_identity(segment: Segment, *, recorder_epoch: int) -> FileHeader:
    """What all files of the journal in this ring have in common."""
    return FileHeader(
        layout_hash=LAYOUT_HASH,
        boot_hash=load_u64(segment.buffer, layout.BOOT_HASH_OFFSET),
        recorder_epoch=recorder_epoch,
        first_seq=0,
        begin_seq=0,
        capacity=CAPACITY,
        journal_ns=load_u64(segment.buffer, layout.CREATED_WALL_NS_OFFSET),
        created_wall_ns=0,
        created_ns=0,
        system=segment.system,
    )
