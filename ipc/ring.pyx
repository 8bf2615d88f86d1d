"""Rings: one writer, any number of readers, fixed slots with a stamp each.

A ring with gates is lossless: the writer never overwrites what the slowest gating reader has not
committed. A ring without gates is a broadcast: the writer never waits, and a reader that was lapped
is told how many records it lost. Other readers may observe either kind; they hold nobody up.

A slot is the record itself. Its first word is the stamp: ``n`` when record n is there, ``n | BUSY``
while it is written. The stamp is the only thing that says a record is visible, and records become
visible in order; ``published`` in the header follows lazily, for who joins and for backlogs.
"""

cimport cython
from cpython.buffer cimport PyBUF_SIMPLE, PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.mem cimport PyMem_Calloc, PyMem_Free
from libc.stdint cimport int64_t, uint64_t, uintptr_t

from ipc.atomics cimport (
    copy_bytes,
    fence_acquire,
    fence_release,
    fence_seq_cst,
    load_acquire,
    load_relaxed,
    monotonic_ns,
    prefetch_bytes,
    prefetch_line,
    store_relaxed,
    store_release,
)
from ipc.bell cimport Bell, BellState, ring_if_parked
from ipc.words cimport Cursor

from ipc import layout
from ipc.errors import CursorError, SegmentKindError

cdef uint64_t BUSY = layout.BUSY
cdef size_t STAMP_AND_TIME_BYTES = 16
cdef size_t SECOND_LINE = layout.LINE_BYTES
cdef uint64_t CHUNK_RECORDS_MAX = 64  # of offer_many: 8 KiB stay in the first-level cache


cdef require_ring(segment):
    spec = segment.spec
    if spec.kind != layout.SegmentKind.RING:
        raise SegmentKindError(
            spec.name, "the kind", expected="ring", found=spec.kind.name.lower(), remedy=""
        )


cdef bint has_record(const RingPosition* position) noexcept nogil:
    """Whether the next call of ``next`` has something to say: a record, or that it was lapped."""
    cdef const char* slot = (
        position.slots + ((position.next_seq - 1) & position.mask) * position.slot_bytes
    )
    cdef uint64_t stamp = load_acquire(<const uint64_t*> slot)
    if stamp == position.next_seq or (stamp & ~BUSY) > position.next_seq:
        return True
    prefetch_line(slot + SECOND_LINE)  # as in next_record()
    return False


@cython.final
@cython.no_gc_clear  # a cleared Py_buffer would lose its export
cdef class RingWriter:
    """The only writer of a ring. Continues exactly where its predecessor stopped.

    Args:
        segment: The ring, mapped for writing.
        buffer: Writable bytes of one record; ``offer`` and ``put`` copy from it. Its first two
            words, sequence and time of publication, are the ring's to fill in.
        gates: Cursors of the readers it waits for; none: a broadcast ring.
        bells: Doorbells of the processes to wake.
        late_bells: Of those as well, but ``offer_quietly`` leaves these asleep.

    Raises:
        ReadOnlyError: The segment is mapped for reading.
        SegmentKindError: The segment is not a ring.
        WriterTakenError: Another process writes this ring and is alive.
    """

    def __init__(self, segment, buffer, *, gates=(), bells=(), late_bells=()):
        require_ring(segment)
        segment.acquire_writer()
        spec = segment.spec
        cdef uintptr_t address = segment.address
        self.slots = <char*> (address + <size_t> layout.ITEMS_OFFSET)
        self.published = <uint64_t*> (address + <size_t> layout.PUBLISHED_OFFSET)
        self.slot_bytes = spec.item_bytes
        self.capacity = spec.capacity
        self.mask = self.capacity - 1
        # A batch of a broadcast ring may not reach what a lapped reader is sent back to.
        self.batch_max = self.capacity if gates else self.capacity // 2
        PyObject_GetBuffer(buffer, &self.source, PyBUF_WRITABLE)
        if <size_t> self.source.len != self.slot_bytes:
            raise ValueError(
                f"{spec.name} has records of {spec.item_bytes} bytes, the buffer {self.source.len}"
            )
        self.record = <const char*> self.source.buf
        all_bells = (*bells, *late_bells)
        self.hold = (memoryview(segment.buffer), tuple(gates), all_bells)
        self.gates = <uint64_t**> PyMem_Calloc(len(gates) + 1, sizeof(uint64_t*))
        self.bells = <BellState**> PyMem_Calloc(len(all_bells) + 1, sizeof(BellState*))
        if self.gates == NULL or self.bells == NULL:
            raise MemoryError
        cdef Cursor cursor
        for cursor in gates:
            self.gates[self.gate_count] = cursor.word
            self.gate_count += 1
        cdef Bell bell
        for bell in all_bells:
            self.bells[self.bell_count] = &bell.state
            self.bell_count += 1
        self.prompt_count = len(bells)
        self.resume()

    def __dealloc__(self):
        PyMem_Free(self.gates)
        PyMem_Free(self.bells)
        if self.source.obj is not None:
            PyBuffer_Release(&self.source)

    cdef void resume(self) noexcept nogil:
        """Find the last visible record, and hide for ever what a dead writer left unfinished."""
        cdef uint64_t* stamp
        cdef uint64_t index
        cdef uint64_t seq = load_acquire(self.published)
        while load_acquire(
            <uint64_t*> (self.slots + (seq & self.mask) * self.slot_bytes)
        ) == seq + 1:
            seq += 1
        # Stamps beyond the last visible record belong to a batch whose first stamp was never
        # stored. They must be gone before this writer reaches the first one, or the rest of the
        # dead batch would follow it into view. Their numbers stay, so that an observer of the
        # records they replaced still learns that it was lapped.
        for index in range(self.capacity):
            stamp = <uint64_t*> (self.slots + index * self.slot_bytes)
            if (load_relaxed(stamp) & ~BUSY) > seq:
                store_relaxed(stamp, load_relaxed(stamp) | BUSY)
        fence_release()
        store_release(self.published, seq)
        self.seq = seq
        self.gate = self.slowest_gate()

    cdef uint64_t slowest_gate(self) noexcept nogil:
        cdef uint64_t slowest = self.seq
        cdef uint64_t value
        cdef Py_ssize_t index
        for index in range(self.gate_count):
            value = load_acquire(self.gates[index])  # pairs with store_release in commit()
            if value < slowest:
                slowest = value
        return slowest

    cdef uint64_t room(self, uint64_t wanted) noexcept nogil:
        """How many of ``wanted`` further records fit; looks at the gates only when it has to."""
        cdef uint64_t taken
        cdef uint64_t left = self.batch_max - self.staged
        if self.gate_count:
            taken = self.seq + self.staged - self.gate
            if self.capacity - taken < wanted:
                self.gate = self.slowest_gate()
                taken = self.seq + self.staged - self.gate
            left = self.capacity - taken
        return wanted if wanted < left else left

    cdef void stage(self, uint64_t seq, const char* record) noexcept nogil:
        cdef char* slot = self.slots + ((seq - 1) & self.mask) * self.slot_bytes
        store_relaxed(<uint64_t*> slot, seq | BUSY)
        fence_release()  # the mark before the bytes; pairs with fence_acquire() in next_record()
        copy_bytes(
            slot + STAMP_AND_TIME_BYTES,
            record + STAMP_AND_TIME_BYTES,
            self.slot_bytes - STAMP_AND_TIME_BYTES,
        )

    cdef void show(self, uint64_t count, Py_ssize_t bell_count) noexcept nogil:
        """Make the next ``count`` staged records visible, the first one last: all or nothing.

        The first ``bell_count`` bells are rung.
        """
        cdef int64_t now_ns = monotonic_ns()
        cdef uint64_t seq = self.seq + count
        cdef char* slot
        cdef Py_ssize_t index
        while seq > self.seq:
            slot = self.slots + ((seq - 1) & self.mask) * self.slot_bytes
            (<int64_t*> slot)[1] = now_ns
            store_release(<uint64_t*> slot, seq)  # pairs with load_acquire() in next_record()
            seq -= 1
        self.seq += count
        store_release(self.published, self.seq)
        if bell_count:
            fence_seq_cst()  # the stamps before the look at the bells; pairs with Parker.raise_word
            for index in range(bell_count):
                ring_if_parked(self.bells[index])

    cdef bint offer_record(self, const char* record) noexcept nogil:
        if not self.put_record(record):
            return False
        self.publish_staged()
        return True

    cdef bint offer_record_quietly(self, const char* record) noexcept nogil:
        if not self.put_record(record):
            return False
        self.show_staged(self.prompt_count)
        return True

    cdef bint put_record(self, const char* record) noexcept nogil:
        if self.room(1) == 0:
            return False
        self.staged += 1
        self.stage(self.seq + self.staged, record)
        return True

    cdef uint64_t publish_staged(self) noexcept nogil:
        return self.show_staged(self.bell_count)

    cdef uint64_t show_staged(self, Py_ssize_t bell_count) noexcept nogil:
        cdef uint64_t count = self.staged
        if count:
            self.staged = 0
            self.show(count, bell_count)
        return self.seq

    cdef void fetch_next(self) noexcept nogil:
        """Bring into the caches what the next offer will write. No effect."""
        prefetch_bytes(
            self.slots + ((self.seq + self.staged) & self.mask) * self.slot_bytes, self.slot_bytes)
        prefetch_bytes(self.published, sizeof(uint64_t))

    cdef uint64_t offer_records(self, const char* records, uint64_t count) noexcept nogil:
        cdef uint64_t done = 0
        cdef uint64_t chunk, index
        if self.staged:
            self.publish_staged()
        while done < count:
            chunk = self.room(min(count - done, CHUNK_RECORDS_MAX))
            if chunk == 0:
                break
            for index in range(chunk):
                self.stage(self.seq + 1 + index, records + (done + index) * self.slot_bytes)
            self.show(chunk, self.bell_count)
            done += chunk
        return done

    def offer(self) -> bool:
        """Copy the bound buffer into the ring and show it, with anything staged before it.

        False: the slowest gating reader has not freed the slot yet; nothing changed. A broadcast
        ring always accepts.
        """
        return self.offer_record(self.record)

    def offer_quietly(self) -> bool:
        """As ``offer``, but who has a late bell sleeps on: he sees the record when he wakes anyway.

        For what he need not act on at once; a system call less, and nobody else's core disturbed.
        """
        return self.offer_record_quietly(self.record)

    def put(self) -> bool:
        """Stage a copy of the bound buffer as part of a batch that nobody sees yet.

        False: it does not fit; nothing changed. A batch of a broadcast ring holds at most half its
        capacity.
        """
        return self.put_record(self.record)

    def publish(self) -> int:
        """Show all that is staged, at once, and wake the readers; returns the last sequence."""
        return self.publish_staged()

    def discard(self) -> None:
        """Forget what is staged; its sequences will be taken by other records."""
        self.staged = 0

    def offer_many(self, records) -> int:
        """Copy whole records that lie one behind the other, and show them.

        Returns how many were accepted. They become visible in chunks of up to 64, each at once;
        for a batch that must be one, use ``put`` and ``publish``.

        Raises:
            ValueError: The buffer does not hold whole records.
        """
        cdef Py_buffer view
        PyObject_GetBuffer(records, &view, PyBUF_SIMPLE)
        try:
            if <size_t> view.len % self.slot_bytes:
                raise ValueError(f"{view.len} bytes are not whole records of {self.slot_bytes}")
            return self.offer_records(<const char*> view.buf, <size_t> view.len // self.slot_bytes)
        finally:
            PyBuffer_Release(&view)

    @property
    def next_seq(self) -> int:
        """Sequence the next record will take."""
        return self.seq + self.staged + 1

    @property
    def free(self) -> int:
        """How many records fit at this moment; a broadcast ring: its capacity."""
        return self.left()

    cdef uint64_t left(self) noexcept nogil:
        if self.gate_count == 0:
            return self.capacity
        self.gate = self.slowest_gate()
        return self.capacity - (self.seq + self.staged - self.gate)

    @property
    def backlog(self) -> int:
        """Records shown that the slowest gating reader has not committed."""
        return self.seq - self.slowest_gate()


@cython.final
@cython.no_gc_clear  # a cleared Py_buffer would lose its export
cdef class RingReader:
    """One reader of a ring: gating, if its cursor is among the writer's gates, or an observer.

    Every record is copied and then looked at again, so a record that the writer overwrote meanwhile
    is never handed out.

    Args:
        segment: The ring.
        buffer: Writable bytes of one record; ``next`` copies into it. After a ``next`` that
            returned False its content means nothing.
        cursor: This reader's word in its own role page: reading goes on behind it.
        start_seq: For an observer without cursor: the first sequence to read. Default: the first
            that is published from now on.

    Raises:
        CursorError: The cursor is beyond the newest record: ring and page do not belong together.
        SegmentKindError: The segment is not a ring.
    """

    def __init__(self, segment, buffer, *, Cursor cursor=None, start_seq=None):
        require_ring(segment)
        spec = segment.spec
        cdef uintptr_t address = segment.address
        self.position.slots = <char*> (address + <size_t> layout.ITEMS_OFFSET)
        self.position.slot_bytes = spec.item_bytes
        self.capacity = spec.capacity
        self.position.mask = self.capacity - 1
        self.published = <uint64_t*> (address + <size_t> layout.PUBLISHED_OFFSET)
        PyObject_GetBuffer(buffer, &self.target, PyBUF_WRITABLE)
        if <size_t> self.target.len != self.position.slot_bytes:
            raise ValueError(
                f"{spec.name} has records of {spec.item_bytes} bytes, the buffer {self.target.len}"
            )
        self.record = <char*> self.target.buf
        self.hold = (memoryview(segment.buffer), cursor)
        if cursor is None:
            newest = load_acquire(self.published)
            self.seek(newest + 1 if start_seq is None else start_seq)
            return
        if not cursor.writable:
            cursor.store(0)  # raises: a reader commits in its own page
        self.cursor = cursor.word
        self.position.next_seq = cursor.value + 1
        if not self.was_shown(cursor.value):
            raise CursorError(
                spec.name, cursor=cursor.value, newest=load_acquire(self.published)
            )

    def __dealloc__(self):
        if self.target.obj is not None:
            PyBuffer_Release(&self.target)

    cdef bint next_record(self, char* into) noexcept nogil:
        cdef uint64_t seq = self.position.next_seq
        cdef char* slot = (
            self.position.slots + ((seq - 1) & self.position.mask) * self.position.slot_bytes
        )
        cdef uint64_t stamp = load_acquire(<uint64_t*> slot)  # pairs with store_release in show()
        self.lapped = False
        if stamp == seq:
            copy_bytes(into, slot, self.position.slot_bytes)
            fence_acquire()  # the bytes before the second look; pairs with fence_release in stage()
            if load_relaxed(<uint64_t*> slot) == seq:
                self.position.next_seq = seq + 1
                return True
        elif (stamp & ~BUSY) <= seq:
            # Who polls holds only the stamp's line. Asking for the other one as well makes both
            # travel at once when the writer has changed them: a third of the whole hop.
            prefetch_line(slot + SECOND_LINE)
            return False
        self.skip_lapped()
        return False

    cdef void skip_lapped(self) noexcept nogil:
        """Go on half a ring behind the newest record: far enough not to be lapped again at once."""
        cdef uint64_t newest = load_acquire(self.published)
        cdef uint64_t seq = self.position.next_seq + 1
        if newest > self.capacity // 2 and newest - self.capacity // 2 > seq:
            seq = newest - self.capacity // 2
        self.lost += seq - self.position.next_seq
        self.position.next_seq = seq
        self.lapped = True

    cdef uint64_t next_records(self, char* into, uint64_t count_max) noexcept nogil:
        cdef uint64_t count = 0
        while count < count_max and self.next_record(into + count * self.position.slot_bytes):
            count += 1
        return count

    def next(self) -> bool:
        """Copy the next record into the bound buffer.

        False: there is none; or this reader was lapped: then ``lapped`` is True, ``lost`` has grown
        by the number of records that are gone, and the next call goes on behind them.
        """
        return self.next_record(self.record)

    def next_many(self, into) -> int:
        """Copy as many records as there are and fit; returns their number. ``lapped`` as in next.

        Raises:
            ValueError: The buffer does not hold whole records.
        """
        cdef Py_buffer view
        PyObject_GetBuffer(into, &view, PyBUF_WRITABLE)
        try:
            if <size_t> view.len % self.position.slot_bytes:
                raise ValueError(
                    f"{view.len} bytes are not whole records of {self.position.slot_bytes}"
                )
            return self.next_records(
                <char*> view.buf, <size_t> view.len // self.position.slot_bytes
            )
        finally:
            PyBuffer_Release(&view)

    def commit(self) -> None:
        """Store the cursor: all records read so far are done with. Without a cursor: nothing."""
        self.commit_read()

    cdef void commit_read(self) noexcept nogil:
        if self.cursor != NULL:
            store_release(self.cursor, self.position.next_seq - 1)

    cdef void fetch_next(self) noexcept nogil:
        """Bring into the caches where the next record will be, and the cursor. No effect."""
        cdef const char* slot = (
            self.position.slots
            + ((self.position.next_seq - 1) & self.position.mask) * self.position.slot_bytes
        )
        prefetch_line(slot)
        prefetch_line(slot + SECOND_LINE)
        if self.cursor != NULL:
            prefetch_bytes(self.cursor, sizeof(uint64_t))

    def seek(self, uint64_t seq) -> None:
        """Make ``seq`` the next record to read; nothing counts as lost. A cursor stays as it is.

        Raises:
            ValueError: Sequences start at 1.
        """
        if seq == 0:
            raise ValueError("sequences start at 1")
        self.position.next_seq = seq

    def was_shown(self, uint64_t seq) -> bool:
        """Whether record ``seq`` was ever visible. ``published`` may lag behind a dead writer."""
        cdef uint64_t newest = load_acquire(self.published)
        while newest < seq and load_acquire(<uint64_t*> (
            self.position.slots + (newest & self.position.mask) * self.position.slot_bytes
        )) == newest + 1:
            newest += 1
        return newest >= seq

    @property
    def has_work(self) -> bool:
        """Whether ``next`` would find a record, or that it was lapped."""
        return has_record(&self.position)

    @property
    def seq(self) -> int:
        """Sequence of the last record read; 0: none yet."""
        return self.position.next_seq - 1

    @property
    def newest_seq(self) -> int:
        """Newest sequence the writer has announced; it may be behind what is readable."""
        return load_acquire(self.published)

    @property
    def backlog(self) -> int:
        """Records announced and not yet read."""
        cdef uint64_t newest = load_acquire(self.published)
        cdef uint64_t read = self.position.next_seq - 1
        return newest - read if newest > read else 0
