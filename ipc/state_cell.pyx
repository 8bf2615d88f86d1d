"""State cells: only the newest value counts, and there always is one.

A cell has two copies and a version that counts the writes. A write fills the copy that is not
current and then stores the version, which makes it current. A writer that dies in the middle leaves
the version, and so the previous value, as they were.
"""

cimport cython
from cpython.buffer cimport PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.mem cimport PyMem_Calloc, PyMem_Free
from libc.stdint cimport uint64_t, uintptr_t

from ipc.atomics cimport (
    copy_bytes,
    cpu_pause,
    fence_acquire,
    fence_release,
    fence_seq_cst,
    load_acquire,
    load_relaxed,
    prefetch_bytes,
    store_release,
)
from ipc.bell cimport Bell, BellState, ring_if_parked

from ipc import layout
from ipc.errors import CellContendedError, SegmentKindError
from ipc.words import Word

cdef int ATTEMPTS_MAX = 100_000
cdef size_t COPIES_OFFSET = layout.LINE_BYTES
cdef enum ReadResult:
    NEVER_WRITTEN = 0
    COPIED = 1
    CONTENDED = 2


cdef CellArray cell_array(segment):
    spec = segment.spec
    if spec.kind != layout.SegmentKind.CELLS:
        raise SegmentKindError(
            spec.name, "the kind", expected="cells", found=spec.kind.name.lower(), remedy=""
        )
    cdef CellArray cells
    cells.first = <char*> (<uintptr_t> segment.address + <size_t> layout.ITEMS_OFFSET)
    cells.cell_stride = layout.cell_stride(spec.item_bytes)
    cells.copy_stride = layout.copy_stride(spec.item_bytes)
    cells.value_bytes = spec.item_bytes
    return cells


cdef bind_buffer(segment, buffer, Py_buffer* view):
    PyObject_GetBuffer(buffer, view, PyBUF_WRITABLE)
    if view.len != segment.spec.item_bytes:
        raise ValueError(
            f"{segment.name} has values of {segment.spec.item_bytes} bytes, the buffer {view.len}"
        )


cdef int read_cell(const CellArray* cells, size_t index, char* into) noexcept nogil:
    cdef char* cell = cells.first + index * cells.cell_stride
    cdef uint64_t version
    cdef int attempt
    for attempt in range(ATTEMPTS_MAX):
        version = load_acquire(<uint64_t*> cell)  # pairs with store_release in write_value()
        if version == 0:
            return NEVER_WRITTEN
        copy_bytes(
            into, cell + COPIES_OFFSET + (version & 1) * cells.copy_stride, cells.value_bytes
        )
        fence_acquire()  # the bytes before the second look; pairs with fence_release in write_value
        # One version further is too far already: the write after it goes into the copy read here.
        if load_relaxed(<uint64_t*> cell) == version:
            return COPIED
        cpu_pause()
    return CONTENDED


cdef index_error(str name, Py_ssize_t capacity, Py_ssize_t index):
    return IndexError(f"{name} has {capacity} cells, there is no cell {index}")


@cython.final
@cython.no_gc_clear  # a cleared Py_buffer would lose its export
cdef class CellWriter:
    """The only writer of a segment of cells.

    Args:
        segment: The cells, mapped for writing.
        buffer: Writable bytes of one value; ``write`` copies from it, ``read`` into it.
        bells: Doorbells to ring after every write.

    Raises:
        ReadOnlyError: The segment is mapped for reading.
        SegmentKindError: The segment does not hold cells.
        WriterTakenError: Another process writes it and is alive.
    """

    def __init__(self, segment, buffer, *, bells=()):
        self.cells = cell_array(segment)
        segment.acquire_writer()
        self.capacity = segment.spec.capacity
        self.name = segment.name
        bind_buffer(segment, buffer, &self.source)
        self.hold = (memoryview(segment.buffer), tuple(bells))
        self.bells = <BellState**> PyMem_Calloc(len(bells) + 1, sizeof(BellState*))
        if self.bells == NULL:
            raise MemoryError
        cdef Bell bell
        for bell in bells:
            self.bells[self.bell_count] = &bell.state
            self.bell_count += 1

    def __dealloc__(self):
        PyMem_Free(self.bells)
        if self.source.obj is not None:
            PyBuffer_Release(&self.source)

    cdef void write_value(self, size_t index, const char* value) noexcept nogil:
        cdef char* cell = self.cells.first + index * self.cells.cell_stride
        cdef uint64_t version = load_relaxed(<uint64_t*> cell) + 1
        cdef Py_ssize_t bell
        fence_release()  # last version before these bytes; pairs with fence_acquire in read_cell
        copy_bytes(
            cell + COPIES_OFFSET + (version & 1) * self.cells.copy_stride,
            value,
            self.cells.value_bytes,
        )
        store_release(<uint64_t*> cell, version)  # pairs with load_acquire in read_cell()
        if self.bell_count:
            fence_seq_cst()  # version before the look at the bells; pairs with Parker.raise_word
            for bell in range(self.bell_count):
                ring_if_parked(self.bells[bell])

    cdef void fetch(self, size_t index) noexcept nogil:
        """Bring into the caches what the next write of a cell will touch. No effect."""
        cdef const char* cell = self.cells.first + index * self.cells.cell_stride
        cdef uint64_t version = load_relaxed(<uint64_t*> cell) + 1
        prefetch_bytes(cell, sizeof(uint64_t))
        prefetch_bytes(
            cell + COPIES_OFFSET + (version & 1) * self.cells.copy_stride, self.cells.value_bytes)

    def write(self, Py_ssize_t index) -> None:
        """Make the bound buffer the value of cell ``index``.

        Raises:
            IndexError: There is no such cell.
        """
        if not 0 <= index < self.capacity:
            raise index_error(self.name, self.capacity, index)
        self.write_value(index, <const char*> self.source.buf)

    def read(self, Py_ssize_t index) -> bool:
        """Copy the value of cell ``index`` back into the bound buffer. False: never written.

        Raises:
            IndexError: There is no such cell.
        """
        if not 0 <= index < self.capacity:
            raise index_error(self.name, self.capacity, index)
        return read_cell(&self.cells, index, <char*> self.source.buf) == COPIED

    def version(self, Py_ssize_t index) -> int:
        """How often cell ``index`` was written; 0: never."""
        if not 0 <= index < self.capacity:
            raise index_error(self.name, self.capacity, index)
        return load_acquire(<uint64_t*> (self.cells.first + index * self.cells.cell_stride))


@cython.final
@cython.no_gc_clear  # a cleared Py_buffer would lose its export
cdef class CellReader:
    """A reader of cells.

    Args:
        segment: The cells.
        buffer: Writable bytes of one value; ``read`` copies into it.

    Raises:
        SegmentKindError: The segment does not hold cells.
    """

    def __init__(self, segment, buffer):
        self.cells = cell_array(segment)
        self.capacity = segment.spec.capacity
        self.name = segment.name
        self.segment = segment
        bind_buffer(segment, buffer, &self.target)
        self.hold = memoryview(segment.buffer)

    def __dealloc__(self):
        if self.target.obj is not None:
            PyBuffer_Release(&self.target)

    cdef int read_value(self, size_t index, char* into) noexcept nogil:
        return read_cell(&self.cells, index, into)

    def read(self, Py_ssize_t index) -> bool:
        """Copy the newest value of cell ``index`` into the bound buffer. False: never written.

        Raises:
            IndexError: There is no such cell.
            CellContendedError: It was overwritten during each of 100,000 attempts to copy it.
        """
        if not 0 <= index < self.capacity:
            raise index_error(self.name, self.capacity, index)
        cdef int result = read_cell(&self.cells, index, <char*> self.target.buf)
        if result == CONTENDED:
            raise CellContendedError(self.name, index=index)
        return result == COPIED

    def version(self, Py_ssize_t index) -> int:
        """How often cell ``index`` was written; 0: never. One load: has it changed?"""
        if not 0 <= index < self.capacity:
            raise index_error(self.name, self.capacity, index)
        return load_acquire(<uint64_t*> (self.cells.first + index * self.cells.cell_stride))

    def word(self, Py_ssize_t index):
        """The version of cell ``index`` as a word that a ``Parker`` can watch."""
        if not 0 <= index < self.capacity:
            raise index_error(self.name, self.capacity, index)
        return Word.at(self.segment, layout.ITEMS_OFFSET + index * self.cells.cell_stride)
